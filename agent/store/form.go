package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
)

const (
	// formsKept is how many forms that were sent are remembered: some days of a busy
	// counter, at 100 octets each.
	formsKept = 5000
	// formLength bounds what a page may name a form, in octets.
	formLength = 64
	// CodeFormUsed is the refusal of a form that was sent before and asks for something
	// else now.
	CodeFormUsed = "SYS-128"
)

// act is do for what a person on site asks. What comes with a form (hotspot.Staff) is
// done once, in the transaction that notes the form: sent again it changes nothing and
// succeeds, after a restart too. What was refused was not done, and may be sent again.
func (db *DB) act(ctx context.Context, by hotspot.Staff, asked []string, op func(*tx) error) error {
	if by.Form == "" {
		return db.do(ctx, op)
	}
	if len(by.Form) > formLength {
		return fault.New(fault.Invalid, "store: the name of a form is too long", nil).WithCode("", "Load the page anew.")
	}
	return db.do(ctx, func(t *tx) error {
		var was string
		found, err := t.row("look for the form", "SELECT what FROM sent_form WHERE token = ?", []any{by.Form}, &was)
		if err != nil {
			return err
		}
		if found {
			return sameForm(was, asked)
		}
		if err := op(t); err != nil {
			return err
		}
		if _, err := t.exec("note the form", "INSERT INTO sent_form (token, what) VALUES (?, ?)", by.Form, digest(asked)); err != nil {
			return err
		}
		_, err = t.exec("forget old forms", "DELETE FROM sent_form WHERE n <= (SELECT MAX(n) FROM sent_form) - ?", formsKept)
		return err
	})
}

// repeats reports whether a form was sent before, for what must not be judged again.
func (db *DB) repeats(ctx context.Context, by hotspot.Staff, asked []string) (again bool, err error) {
	if by.Form == "" {
		return false, nil
	}
	err = db.query(ctx, "look for a form", "SELECT what FROM sent_form WHERE token = ?", []any{by.Form}, func(scan func(...any) error) error {
		var was string
		if err := scan(&was); err != nil {
			return err
		}
		again = true
		return sameForm(was, asked)
	})
	return again, err
}

// sameForm refuses what is no second press of a button: the page was gone back to, and
// filled in otherwise.
func sameForm(was string, asked []string) error {
	if was == digest(asked) {
		return nil
	}
	return fault.New(fault.Conflict, "store: this form was sent before, and asked for something else", nil).
		WithCode(CodeFormUsed, "What it asked for then was done. Load the page anew, and do there what is wanted besides.")
}

// digest hides what was asked: a password may be in it.
func digest(asked []string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q", asked))
	return hex.EncodeToString(sum[:])
}

// SoldBy returns what was sold with a form, in the order of the sales; kind NotFound if
// nothing was.
func (db *DB) SoldBy(ctx context.Context, form string) (sold []Sold, err error) {
	if form == "" {
		return nil, fault.New(fault.NotFound, "store: a sale without a form", nil)
	}
	boxes := map[int]string{}
	err = db.query(ctx, "read what was sold", `SELECT s.at, s.body, COALESCE(a.password, '') FROM sale s
		LEFT JOIN account a ON a.id = json_extract(s.body, '$.account') AND a.kind = 'user' WHERE s.form = ? ORDER BY s.n`, []any{form}, func(scan func(...any) error) error {
		var at int64
		var body, box string
		if err := scan(&at, &body, &box); err != nil {
			return err
		}
		b, sale, err := readSale(at, body)
		if err != nil {
			return err
		}
		one := Sold{Sale: sale, ValidUntil: b.PassDoc.ValidUntil}
		if one.Limits, err = b.PassDoc.Limits.Limits(); err != nil {
			return fault.New(fault.Damaged, "store: limits of a sale", err)
		}
		if sale.New && box != "" {
			boxes[len(sold)] = box
		}
		sold = append(sold, one)
		return nil
	})
	for i, box := range boxes {
		if err != nil {
			break
		}
		var text string
		if text, err = db.vault.Open(box, string(sold[i].Account)); err != nil {
			err = fault.New(fault.Damaged, "store: open the password of "+sold[i].Username, err)
		}
		sold[i].Password = hotspot.Password(text)
	}
	if err == nil && len(sold) == 0 {
		err = fault.New(fault.NotFound, "store: nothing was sold with this form", nil).WithCode("", "The newest sales are listed at the counter.")
	}
	return sold, err
}

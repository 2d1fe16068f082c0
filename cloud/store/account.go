package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/secret"
	"iwas/internal/wire"
)

// Bounds of what people type.
const (
	maxUsername = 64  // octets; RADIUS would take 253, no keyboard should
	maxPassword = 128 // octets (RFC 2865 §5.2)
	maxText     = 500 // octets of notes and reasons
	codeLength  = 8   // of vouchers; those made on a site have nine
)

// CreateAccount makes an account with one pass of a plan. The password is what
// to hand to the guest: the user's password, the voucher's code, "" for a
// device.
func (db *DB) CreateAccount(ctx context.Context, actor hotspot.Operator, n hotspot.NewAccount) (id hotspot.AccountID, password hotspot.Password, err error) {
	if err := checkAccount(&n); err != nil {
		return "", "", err
	}
	err = db.write(ctx, "create account", func(t *tx) error {
		c, err := t.change(actor.Organization, n.Site)
		if err != nil {
			return err
		}
		plan, err := t.plan(actor.Organization, n.Plan)
		if err != nil {
			return err
		}
		a := hotspot.Account{ID: hotspot.AccountID(hotspot.NewID(t.now)), Kind: n.Kind, Username: n.Username, Note: n.Note}
		if a.Username, err = c.freeName(n); err != nil {
			return err
		}
		switch n.Kind {
		case hotspot.User:
			password = n.Password
			if password == "" {
				password = hotspot.Password(secret.Random(8).Reveal())
			}
		case hotspot.Voucher:
			password = hotspot.Password(a.Username)
		}
		if err := c.insertAccount(a, password); err != nil {
			return err
		}
		if err := c.insertPass(a.ID, plan); err != nil {
			return err
		}
		id = a.ID
		if err := c.finish(); err != nil {
			return err
		}
		if err := t.soldHere(actor, n.Site, a, plan); err != nil {
			return err
		}
		return t.audit(actor, n.Site, "account.created", string(a.ID), nil,
			map[string]string{"kind": string(a.Kind), "username": a.Username, "plan": plan.Name})
	})
	return id, password, err
}

func checkAccount(n *hotspot.NewAccount) error {
	bad := func(text string) error { return fault.New(fault.Invalid, "store: create account: "+text, nil) }
	n.Note = strings.TrimSpace(n.Note)
	if !printable(n.Username) || !printable(n.Note) || !printable(n.Password.Reveal()) {
		return bad("name, password and note must be text without control characters")
	}
	if len(n.Note) > maxText {
		return bad(fmt.Sprintf("the note may have %d octets", maxText))
	}
	switch n.Kind {
	case hotspot.User:
		if n.Username == "" || len(n.Username) > maxUsername || strings.TrimSpace(n.Username) != n.Username {
			return bad(fmt.Sprintf("a user name of 1 to %d octets without blanks at the ends is needed", maxUsername))
		}
		if len(n.Password) > maxPassword {
			return bad(fmt.Sprintf("a password may have %d octets", maxPassword))
		}
	case hotspot.Device:
		m, ok := hotspot.ParseMAC(strings.TrimSpace(n.Username))
		if !ok || m.IsZero() || n.Password != "" {
			return bad("a device is named by its MAC address, such as AA:BB:CC:DD:EE:FF, and has no password")
		}
		n.Username = m.String()
	case hotspot.Voucher:
		if n.Username != "" || n.Password != "" {
			return bad("a voucher's code is made here: give neither name nor password")
		}
	default:
		return bad("the kind is user, voucher or device")
	}
	return nil
}

func printable(s string) bool {
	return utf8.ValidString(s) && strings.IndexFunc(s, unicode.IsControl) < 0
}

// freeName returns the account's name: as asked if nobody has it, or a fresh
// voucher code. The site's row is held, so nobody can take it meanwhile.
func (c *change) freeName(n hotspot.NewAccount) (string, error) {
	for range 20 {
		name := n.Username
		if n.Kind == hotspot.Voucher {
			name = secret.Code(codeLength)
		}
		var one int64
		taken, err := c.t.one(`SELECT 1 FROM account WHERE site = $1 AND login_key = $2`,
			[]any{string(c.site), hotspot.LoginKey(n.Kind, name)}, &one)
		switch {
		case err != nil:
			return "", err
		case !taken:
			return name, nil
		case n.Kind != hotspot.Voucher:
			return "", fault.New(fault.Conflict, name+" exists at this site", nil).
				WithCode("", "Choose another name, or open the guest that has it.")
		}
	}
	return "", fault.New(fault.Internal, "no voucher code is free", nil)
}

func (c *change) insertAccount(a hotspot.Account, password hotspot.Password) error {
	sealed := ""
	if a.Kind == hotspot.User {
		var err error
		if sealed, err = c.t.db.o.Key.Public().Seal(password.Reveal()); err != nil {
			return fault.New(fault.Internal, "seal password", err)
		}
	}
	key := hotspot.LoginKey(a.Kind, a.Username)
	if err := c.t.exec(`INSERT INTO account (site, id, kind, username, login_key, password, note, search, created_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`, string(c.site), string(a.ID), string(a.Kind), a.Username, key, sealed, a.Note,
		searchText(a), ms(c.t.now)); err != nil {
		return err
	}
	return c.putAccount(a, password)
}

// putAccount writes the account's document. Without a confirmed agent there is
// nobody to seal the password to: it is left out, and sealed when one is.
func (c *change) putAccount(a hotspot.Account, password hotspot.Password) error {
	doc := wire.AccountDoc{Kind: a.Kind, Username: a.Username, Note: a.Note}
	if a.Kind == hotspot.User && c.seal != nil {
		var err error
		if doc.Password, err = c.seal.Seal(password.Reveal()); err != nil {
			return fault.New(fault.Internal, "seal password", err)
		}
	}
	return c.put(wire.DocAccount, string(a.ID), doc)
}

// sealAgain writes every document that holds a secret anew, for the agent that
// has just become the site's.
func (c *change) sealAgain() error {
	type row struct {
		a      hotspot.Account
		sealed string
	}
	var rows []row
	err := c.t.each(`SELECT id, kind, username, note, password FROM account WHERE site = $1 AND password <> '' ORDER BY id`,
		[]any{string(c.site)}, func(scan func(...any) error) error {
			var r row
			err := scan(&r.a.ID, &r.a.Kind, &r.a.Username, &r.a.Note, &r.sealed)
			rows = append(rows, r)
			return err
		})
	if err != nil {
		return err
	}
	for _, r := range rows {
		text, err := c.t.db.o.Key.Open(r.sealed)
		if err != nil {
			return fault.New(fault.Damaged, "password of account "+string(r.a.ID), err).
				WithCode("DB-107", "The key file does not belong to this database: restore both from the same backup.")
		}
		if err := c.putAccount(r.a, hotspot.Password(text)); err != nil {
			return err
		}
	}
	return nil
}

func (c *change) insertPass(account hotspot.AccountID, plan hotspot.Plan) error {
	now := c.t.now
	p := hotspot.Pass{ID: hotspot.PassID(hotspot.NewID(now)), Account: account, Plan: plan.ID, PlanName: plan.Name, Limits: plan.Limits}
	if v := plan.Limits.Validity; v > 0 {
		p.ValidUntil = now.Add(v)
	}
	doc := wire.PassDoc{Account: account, Plan: plan.ID, PlanName: plan.Name, Limits: wire.FromLimits(plan.Limits),
		ValidFrom: p.ValidFrom, ValidUntil: p.ValidUntil, SoldAt: now}
	limits, err := json.Marshal(doc.Limits)
	if err != nil {
		return fault.New(fault.Internal, "encode limits", err)
	}
	if err := c.t.exec(`INSERT INTO pass (site, id, account, plan, plan_name, limits, valid_from, valid_until, sold_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`, string(c.site), string(p.ID), string(account), string(plan.ID), plan.Name,
		string(limits), ms(p.ValidFrom), ms(p.ValidUntil), ms(now)); err != nil {
		return err
	}
	return c.put(wire.DocPass, string(p.ID), doc)
}

func (t *tx) plan(org hotspot.OrganizationID, id hotspot.PlanID) (p hotspot.Plan, err error) {
	p, err = scanPlan(func(dest ...any) error {
		found, err := t.one(`SELECT id, name, price_minor, currency, limits FROM plan WHERE organization = $1 AND id = $2`,
			[]any{string(org), string(id)}, dest...)
		if err == nil && !found {
			err = notFound("plan", string(id))
		}
		return err
	})
	return p, err
}

// siteOf returns the site of an account of the organization.
func (t *tx) siteOf(org hotspot.OrganizationID, account hotspot.AccountID) (hotspot.SiteID, error) {
	var site hotspot.SiteID
	found, err := t.one(`SELECT a.site FROM account a JOIN site s ON s.id = a.site WHERE a.id = $1 AND s.organization = $2`,
		[]any{string(account), string(org)}, &site)
	if err == nil && !found {
		err = notFound("account", string(account))
	}
	return site, err
}

// searchText is what a guest is found by, lower case: the name, a code without
// its dash, and the note.
func searchText(a hotspot.Account) string {
	return strings.ToLower(strings.Join([]string{a.Username, hotspot.LoginKey(a.Kind, a.Username), compactMAC(a), a.Note}, " "))
}

// compactMAC is a device's address as twelve digits, "" for others.
func compactMAC(a hotspot.Account) string {
	if a.Kind != hotspot.Device {
		return ""
	}
	return strings.ReplaceAll(a.Username, ":", "")
}

var errNoText = errors.New("reason must be text without control characters, at most 500 octets")

func checkReason(reason string) error {
	if !printable(reason) || len(reason) > maxText {
		return fault.New(fault.Invalid, "store: lock", errNoText)
	}
	return nil
}

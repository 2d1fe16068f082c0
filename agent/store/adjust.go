package store

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

const (
	// adjustmentsBound is how many changes on site one pass takes: each stays
	// named in its document for as long as the pass lives.
	adjustmentsBound = 200
	// wordsBound is for who and why, in octets.
	wordsBound = 200
)

// AdjustSpeed gives an account another speed: of its pass, or with once of the
// sessions now open only. The pass, the event that tells the cloud, and the end
// of cached answers are one commit; the reconciler then changes the sessions.
// Kind NotFound for a name nobody has, Conflict where the pass cannot take it.
func (db *DB) AdjustSpeed(ctx context.Context, name string, rate hotspot.RateLimit, once bool, by string) error {
	if err := rate.Validate(); err != nil {
		return fault.New(fault.Invalid, "store: speed", err).WithCode("", "Give upload/download, such as 2M/10M or 512k/2M.")
	}
	return db.adjust(ctx, name, hotspot.Staff{Name: by}, "speed "+rate.String(), "", func(t *tx, p *hotspot.Pass) (hotspot.Adjustment, error) {
		return hotspot.Adjustment{SetRate: true, Rate: rate, Once: once}, nil
	})
}

// Extend gives an account more time: d more than is left, or d from now on when
// its pass is over.
func (db *DB) Extend(ctx context.Context, name string, d time.Duration, by hotspot.Staff, reason string) error {
	return db.adjust(ctx, name, by, "extend "+d.String(), reason, func(t *tx, p *hotspot.Pass) (hotspot.Adjustment, error) {
		a, err := p.Extension(d, t.now)
		switch {
		case errors.Is(err, hotspot.ErrEndless):
			err = fault.New(fault.Conflict, "store: extend", err).WithCode("", "Nothing to do: this guest's time has no limit.")
		case err != nil:
			err = fault.New(fault.Invalid, "store: extend", err).WithCode("", "Give a duration such as 30m, 2h or 1d.")
		}
		return a, err
	})
}

func (db *DB) adjust(ctx context.Context, name string, by hotspot.Staff, what, reason string, make func(*tx, *hotspot.Pass) (hotspot.Adjustment, error)) error {
	account, known, err := db.passNamed(ctx, name)
	if err != nil {
		return err
	}
	return db.act(ctx, by, []string{what, name, reason}, func(t *tx) error {
		p, err := t.pass(known.ID) // as it is now
		if err == nil && p == nil {
			err = fault.New(fault.Conflict, "store: the pass of "+name+" is gone", nil).WithCode("", "Try again.")
		}
		if err == nil {
			err = t.roomFor(known.ID)
		}
		if err != nil {
			return err
		}
		a, err := make(t, p)
		if err != nil {
			return err
		}
		a.Account, a.Pass, a.By, a.Reason = account.ID, p.ID, words(by.String()), words(reason)
		if a.Once {
			return t.adjustOnce(a)
		}
		body, err := json.Marshal(wire.FromAdjustment(a))
		if err != nil {
			return fault.New(fault.Internal, "store: encode adjustment", err)
		}
		e := wire.Event{ID: hotspot.NewID(t.now), Kind: wire.EventAdjusted, At: t.now.UTC().Truncate(time.Millisecond), Body: body}
		if _, err := t.exec("store adjustment", "INSERT INTO adjustment (id, pass, at, body) VALUES (?, ?, ?, ?)", e.ID, p.ID, millis(t.now), string(body)); err != nil {
			return err
		}
		if err := t.readPassAgain(p.ID); err != nil {
			return err
		}
		return t.append(e)
	})
}

// adjustOnce sets the speed of the open sessions of the account.
func (t *tx) adjustOnce(a hotspot.Adjustment) error {
	n, err := t.exec("set the speed of sessions", `INSERT INTO session_change (session, rate, want, outcome, code, detail, at)
		SELECT id, ?, '', '', '', '', ? FROM session WHERE account = ? AND state <> 'closed'
		ON CONFLICT (session) DO UPDATE SET rate = excluded.rate`, a.Rate.String(), millis(t.now), a.Account)
	if err != nil {
		return err
	}
	if n == 0 {
		return fault.New(fault.Conflict, "store: speed of the open sessions: none is open", nil).
			WithCode("", "Leave --once out to change what the guest has bought.")
	}
	return t.event(wire.EventAdjusted, wire.FromAdjustment(a))
}

// named returns what is known of the account a person names; kind NotFound for
// nobody.
func (db *DB) named(ctx context.Context, name string) (*facts, error) {
	id, err := db.accountOf(ctx, name)
	if err != nil {
		return nil, err
	}
	var sealed string
	var text hotspot.Password
	var f *facts
	if id != "" {
		if f, err = db.readFacts(ctx, id, db.o.Now(), &sealed, &text); err != nil {
			return nil, err
		}
	}
	if f == nil || f.account == nil {
		return nil, fault.New(fault.NotFound, "store: nobody here is called "+name, nil).
			WithCode("", "Give the name, the voucher's code, or the MAC as it is sold; the console lists them.")
	}
	return f, nil
}

// passInUse is the pass a person means: that of the newest open session, else
// the one a login would be judged by; nil without any.
func (db *DB) passInUse(f *facts) *hotspot.Pass {
	var newest *hotspot.Session
	for _, s := range f.sessions {
		if newest == nil || s.StartedAt.After(newest.StartedAt) {
			newest = s
		}
	}
	if newest != nil {
		for _, p := range f.passes {
			if p.ID == newest.Pass {
				return p
			}
		}
	}
	return db.passOf(f.passes, db.o.Now())
}

func (db *DB) passNamed(ctx context.Context, name string) (*hotspot.Account, *hotspot.Pass, error) {
	f, err := db.named(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	p := db.passInUse(f)
	if p == nil {
		return nil, nil, fault.New(fault.Conflict, "store: "+name+" has no pass", nil).WithCode("", "Sell one in the console.")
	}
	return f.account, p, nil
}

func (t *tx) roomFor(pass hotspot.PassID) error {
	var n int
	if _, err := t.row("count adjustments", "SELECT COUNT(*) FROM adjustment WHERE pass = ?", []any{pass}, &n); err != nil {
		return err
	}
	if n >= adjustmentsBound {
		return fault.New(fault.Conflict, "store: this pass was changed on site as often as it can be", nil).WithCode("", "Change it in the console, or sell another.")
	}
	return nil
}

// readPassAgain brings a pass's document into force anew.
func (t *tx) readPassAgain(id hotspot.PassID) error {
	d := wire.Doc{Kind: wire.DocPass, ID: string(id)}
	var body []byte
	found, err := t.row("read document", "SELECT rev, body FROM document WHERE kind = ? AND id = ? AND in_force = 1", []any{string(d.Kind), d.ID}, &d.Rev, &body)
	if err != nil {
		return err
	}
	if !found {
		if found, err = t.row("read pass made here", "SELECT body FROM made WHERE kind = ? AND id = ?", []any{string(d.Kind), d.ID}, &body); err != nil {
			return err
		}
	}
	if !found {
		return fault.New(fault.Conflict, "store: the pass's document is not in force here", nil).
			WithCode("", "Update iwas-agent: the cloud has sent what this version does not understand.")
	}
	d.Body = body
	apply, err := read(document{Doc: d})
	if err != nil {
		return fault.New(fault.Damaged, "store: document of pass "+d.ID, err)
	}
	return apply(t)
}

// adjusted returns what a pass document means together with what was changed on
// site and is not in it yet.
func (t *tx) adjusted(id hotspot.PassID, limits hotspot.Limits, doc wire.PassDoc) (until time.Time, text string, err error) {
	p := hotspot.Pass{ID: id, Limits: limits, ValidUntil: doc.ValidUntil}
	err = t.rows("read adjustments", "SELECT id, body FROM adjustment WHERE pass = ? ORDER BY id", []any{id}, func(scan func(...any) error) error {
		var event, body string
		if err := scan(&event, &body); err != nil || slices.Contains(doc.Adjusted, event) {
			return err
		}
		var b wire.AdjustedBody
		if err := json.Unmarshal([]byte(body), &b); err != nil {
			return fault.New(fault.Damaged, "store: adjustment "+event, err)
		}
		a, err := b.Adjustment(event, time.Time{})
		if err != nil {
			return fault.New(fault.Damaged, "store: adjustment "+event, err)
		}
		p.Adjust(a)
		return nil
	})
	if err != nil {
		return until, "", err
	}
	b, err := json.Marshal(wire.FromLimits(p.Limits))
	return p.ValidUntil, string(b), err
}

// words cuts what a person typed to what fits a line.
func words(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == utf8.RuneError {
			return ' '
		}
		return r
	}, strings.TrimSpace(s))
	for len(s) > wordsBound {
		_, n := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-n]
	}
	return s
}

// AccountView is one account as the site sees it.
type AccountView struct {
	Account  hotspot.Account
	Pass     *hotspot.Pass // nil without one
	Lock     *hotspot.Lock
	Sessions []hotspot.Session // open ones, with speed and what became of changing it
	Wanted   []hotspot.Terms   // of each session; the zero value where nothing can be said
	Waiting  bool              // a change of theirs is not concluded yet
	Unsent   int               // changes made here that the document does not hold yet
}

// AccountNamed returns what is known of a name; kind NotFound for nobody.
func (db *DB) AccountNamed(ctx context.Context, name string) (v AccountView, err error) {
	f, err := db.named(ctx, name)
	if err != nil {
		return v, err
	}
	v = AccountView{Account: *f.account, Lock: f.lock, Pass: db.passInUse(f)}
	sessions, err := db.running(ctx, "terms <> '' AND pass <> '' AND state <> 'closed' AND account = ?", v.Account.ID)
	if err == nil {
		err = db.changes(ctx, sessions)
	}
	if err == nil && v.Pass != nil {
		err = db.query(ctx, "count changes to send", `SELECT COUNT(*) FROM adjustment a WHERE pass = ? AND NOT EXISTS (SELECT 1 FROM document d, json_each(CAST(d.body AS TEXT), '$.adjusted') j
			WHERE d.kind = 'pass' AND d.id = a.pass AND j.value = a.id)`, []any{v.Pass.ID}, func(scan func(...any) error) error { return scan(&v.Unsent) })
	}
	if err != nil {
		return v, err
	}
	now, zone := db.o.Now(), db.zone()
	for _, r := range sessions {
		var want hotspot.Terms
		if v.Pass != nil && v.Pass.ID == r.Pass && db.o.Terms != nil {
			if w, _, ok := db.wanted(v.Pass, &r, now, r.HeardAt, zone); ok {
				want = w
				v.Waiting = v.Waiting || r.State == hotspot.Live && !r.have.Same(want) && !r.concluded(want)
			}
		}
		v.Sessions, v.Wanted = append(v.Sessions, r.Session), append(v.Wanted, want)
	}
	return v, nil
}

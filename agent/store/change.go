package store

import (
	"context"
	"encoding/json"
	"strconv"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// termsBody is how terms are stored.
type termsBody struct {
	Rate     string   `json:"rate,omitempty"`
	TimeoutS int64    `json:"timeout_s,omitempty"`
	Total    uint64   `json:"total,omitempty"`
	Lists    []string `json:"lists,omitempty"`
}

// fromTerms writes a termsBody. It is part of every Accept, so it is put together
// here; only names of address-lists need JSON's care.
func fromTerms(t hotspot.Terms) string {
	b := append(make([]byte, 0, 96), '{')
	key := func(name string) {
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(append(append(b, '"'), name...), '"', ':')
	}
	if rate := t.Rate.String(); rate != "" {
		key("rate")
		b = append(append(append(b, '"'), rate...), '"') // digits, letters, "/" and blanks
	}
	if s := int64(t.Timeout / time.Second); s != 0 {
		key("timeout_s")
		b = strconv.AppendInt(b, s, 10)
	}
	if t.Total != 0 {
		key("total")
		b = strconv.AppendUint(b, uint64(t.Total), 10)
	}
	if len(t.AddressLists) > 0 {
		lists, err := json.Marshal(t.AddressLists)
		if err != nil {
			return "" // text only: it cannot happen, and unknown terms are left alone
		}
		key("lists")
		b = append(b, lists...)
	}
	return string(append(b, '}'))
}

func toTerms(text string) (t hotspot.Terms, err error) {
	var b termsBody
	if err := json.Unmarshal([]byte(text), &b); err != nil {
		return t, fault.New(fault.Damaged, "store: terms of a session", err)
	}
	t = hotspot.Terms{Timeout: time.Duration(b.TimeoutS) * time.Second, Total: hotspot.Octets(b.Total), AddressLists: b.Lists}
	if t.Rate, err = hotspot.ParseRateLimit(b.Rate); err != nil {
		return t, fault.New(fault.Damaged, "store: terms of a session", err)
	}
	return t, nil
}

// rateOf is the speed in stored terms, nil if they cannot be read.
func rateOf(text string) *hotspot.RateLimit {
	t, err := toTerms(text)
	if err != nil {
		return nil
	}
	return &t.Rate
}

// given is what an Accept for a pass gives, as stored with its permit.
func (db *DB) given(v *hotspot.Verdict, p *hotspot.Pass) string {
	if db.o.Terms == nil {
		return ""
	}
	given := hotspot.Terms{Rate: v.Rate, Timeout: v.SessionTimeout, AddressLists: v.AddressLists}
	if v.TotalLeft > 0 && p != nil {
		given.Total = p.Limits.Total
	}
	return fromTerms(given)
}

// planRate marks a session whose speed is that of its pass.
const planRate = "plan"

// running is an open session with what it runs under.
type running struct {
	hotspot.Session
	terms   string // as stored; "" cannot be known
	have    hotspot.Terms
	own     string // session_change.rate
	tried   string // session_change.want
	outcome hotspot.ChangeOutcome
}

// Adjusting returns every live session that does not run under the terms its
// pass gives now, and was not found out to be beyond change: the difference that
// the reconciler closes, as Targets is.
func (db *DB) Adjusting(ctx context.Context) ([]hotspot.Change, error) {
	if db.o.Terms == nil {
		return nil, nil
	}
	now, zone := db.o.Now(), db.zone()
	var out []hotspot.Change
	err := db.eachOnline(ctx, func(_ hotspot.AccountID, a *onlineAccount) {
		for i := range a.sessions {
			r := &a.sessions[i]
			p := a.pass(r.Pass)
			if p == nil || !r.changeable() {
				continue
			}
			want, elapsed, ok := db.wanted(p, r, now, a.heard(r.Pass), zone)
			if !ok {
				continue
			}
			c := hotspot.Change{Session: r.Session, Have: r.have, Want: want, Elapsed: elapsed, Reconnect: p.Limits.Reconnect}
			if c.Any() && !r.concluded(want) {
				out = append(out, c)
			}
		}
	})
	return out, err
}

// wanted is what a session should run under. Time is counted on the session's
// own scale, from its start: so a wall clock that was set changes nothing here
// that it does not change of the pass itself. Metered time goes on since the
// newest record of any device of the pass.
func (db *DB) wanted(p *hotspot.Pass, r *running, now, heard time.Time, zone *time.Location) (want hotspot.Terms, elapsed time.Duration, ok bool) {
	elapsed = r.Time + max(0, now.Sub(r.HeardAt))
	if p.Limits.Clock == hotspot.Metered {
		by := *p
		by.Usage.Time += max(0, now.Sub(heard))
		p = &by
	}
	rate, left, ok := db.o.Terms(p, now, zone)
	if !ok {
		return want, elapsed, false
	}
	want = hotspot.Terms{Rate: rate, Total: r.have.Total, AddressLists: p.Limits.ListsInAccept()}
	if !p.Limits.Slows() {
		want.Total = p.Limits.Total
	}
	if left > 0 {
		want.Timeout = elapsed + left
	}
	if r.own != planRate {
		if own, err := hotspot.ParseRateLimit(r.own); err == nil { // a person's word for this session
			want.Rate = own
		}
	}
	return want, elapsed, true
}

// concluded reports whether the same was tried before and came to an end.
func (r *running) concluded(want hotspot.Terms) bool {
	if r.tried == "" || !r.outcome.Final() {
		return false
	}
	tried, err := toTerms(r.tried)
	return err == nil && tried.Same(want)
}

// changeable reports whether the session lives, and what it runs under is known.
func (r *running) changeable() bool { return r.State == hotspot.Live && r.terms != "" && r.Pass != "" }

// running reads sessions with what they run under.
func (db *DB) running(ctx context.Context, where string, args ...any) (out []running, err error) {
	err = db.query(ctx, "read sessions with their terms", "SELECT "+sessionColumns+`, terms, COALESCE(c.rate, '`+planRate+`'), COALESCE(c.want, ''), COALESCE(c.outcome, '')
		FROM session s LEFT JOIN session_change c ON c.session = s.id WHERE `+where, args,
		func(scan func(...any) error) error {
			var r running
			s, err := scanSession(func(into ...any) error { return scan(append(into, &r.terms, &r.own, &r.tried, &r.outcome)...) })
			if err != nil {
				return err
			}
			r.Session = s.Session
			if r.have, err = toTerms(r.terms); err != nil {
				r.terms = "" // to be left alone
			}
			out = append(out, r)
			return nil
		})
	return out, err
}

// zone is the site's; UTC until the cloud has said it.
func (db *DB) zone() *time.Location {
	if zone := db.site.Load().location; zone != nil {
		return zone
	}
	return time.UTC
}

// Adjusted keeps what came of changing a session, in the transaction of the
// event that tells the cloud. A pending outcome is told once for each code.
func (db *DB) Adjusted(ctx context.Context, c hotspot.Changed) error {
	return db.do(ctx, func(t *tx) error {
		var account hotspot.AccountID
		open, err := t.row("read session", "SELECT account FROM session WHERE id = ? AND state <> 'closed'", []any{c.Session}, &account)
		if err != nil || !open {
			return err // it ended meanwhile: nothing runs under anything
		}
		if _, err := t.exec("store terms", "UPDATE session SET terms = ? WHERE id = ?", fromTerms(c.Now), c.Session); err != nil {
			return err
		}
		var want, code string
		var outcome hotspot.ChangeOutcome
		if _, err := t.row("read change", "SELECT want, outcome, code FROM session_change WHERE session = ?", []any{c.Session}, &want, &outcome, &code); err != nil {
			return err
		}
		if _, err := t.exec("store change", `INSERT INTO session_change (session, rate, want, outcome, code, detail, at) VALUES (?, '`+planRate+`', ?, ?, ?, ?, ?)
			ON CONFLICT (session) DO UPDATE SET want = excluded.want, outcome = excluded.outcome, code = excluded.code, detail = excluded.detail, at = excluded.at`,
			c.Session, fromTerms(c.Want), string(c.Outcome), c.Code, c.Detail, millis(t.now)); err != nil {
			return err
		}
		if before, err := toTerms(want); want != "" && err == nil && before.Same(c.Want) && outcome == c.Outcome && code == c.Code {
			return nil // told before
		}
		return t.event(wire.EventSessionChanged, wire.FromChanged(account, c))
	})
}

// changes returns what became of the last change of each of the sessions.
func (db *DB) changes(ctx context.Context, sessions []running) error {
	byID := make(map[hotspot.SessionID]*running, len(sessions))
	for i := range sessions {
		byID[sessions[i].ID] = &sessions[i]
		rate := sessions[i].have.Rate
		sessions[i].Rate = &rate
	}
	return db.query(ctx, "read changes", "SELECT session, want, outcome, code, detail, at FROM session_change WHERE want <> ''", nil, func(scan func(...any) error) error {
		var c hotspot.Changed
		var want string
		var at int64
		if err := scan(&c.Session, &want, &c.Outcome, &c.Code, &c.Detail, &at); err != nil {
			return err
		}
		r := byID[c.Session]
		if r == nil {
			return nil
		}
		var err error
		c.Want, err = toTerms(want)
		c.Now, c.At = r.have, fromMillis(at)
		r.Changed = &c
		return err
	})
}

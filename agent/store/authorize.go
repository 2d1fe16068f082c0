package store

import (
	"context"
	"crypto/rand"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

const (
	// reservationTime is how long an Accept counts as a device before its
	// Accounting Start: the router's three tries of each packet, and slack.
	reservationTime = 60 * time.Second
	// tokenBytes of randomness make a permit's token unforgeable, where the
	// permit itself cannot travel.
	tokenBytes = 16
)

// Authorize judges one Access-Request by the facts at the desk. An Accept takes
// a device's place before it returns; the start of the pass's clock on first
// use, and the permit where the NAS is not known to echo Class, are on disk by
// then. An error means that no judgement was possible.
func (db *DB) Authorize(ctx context.Context, r hotspot.Request) (hotspot.Verdict, error) {
	for {
		if err := ctx.Err(); err != nil {
			return hotspot.Verdict{}, fault.New(fault.Unavailable, "store: authorize", err)
		}
		e, err := db.find(ctx, r.Username)
		if err != nil {
			return hotspot.Verdict{}, err
		}
		if e == nil {
			f := db.factsOfNobody()
			f.Device = db.deviceLock(r.MAC)
			v := db.o.Decide(f, r)
			v.Serial = db.committed.Load()
			return v, nil
		}
		v, p, done, err := db.judge(ctx, e, r)
		if err != nil {
			return hotspot.Verdict{}, err
		}
		if !done {
			continue // the entry left the desk, or a commit overtook the reading
		}
		if !v.Accept {
			return v, nil
		}
		if err := db.give(ctx, e, r, &v, p); err != nil {
			return hotspot.Verdict{}, err
		}
		return v, nil
	}
}

// find returns the desk's entry of a login name, or nil when nobody has it.
// Names of nobody are not remembered: they are one look into an index each, and
// a flood of them must not fill the memory.
func (db *DB) find(ctx context.Context, name string) (*entry, error) {
	for ctx.Err() == nil {
		e, renames := db.desk.byName(name)
		if e != nil {
			return e, nil
		}
		id, err := db.accountOf(ctx, name)
		if err != nil || id == "" {
			return nil, err
		}
		if e = db.desk.seat(id, name, renames); e != nil {
			return e, nil
		}
	}
	return nil, fault.New(fault.Unavailable, "store: find account", ctx.Err())
}

// judge decides on the entry's facts, and reserves a place on Accept. The facts
// are read first where they are not at hand; done is false when the caller must
// look the entry up again.
//
// Serial is what makes an Accept on its way void: it is read while the facts are
// held, and a commit that puts the account off takes the facts away before it
// tells the caches its own, higher number. It is read before the locked devices
// are: a commit puts those in place before its number is seen, so whoever still
// sees the old ones carries a lower number.
func (db *DB) judge(ctx context.Context, e *entry, r hotspot.Request) (v hotspot.Verdict, p permit, done bool, err error) {
	now := db.o.Now()
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.gone {
		return v, p, false, nil
	}
	if f := e.facts; f == nil || now.Before(f.readAt.Add(-time.Minute)) { // a clock set back makes other passes of use
		if done, err := db.renew(ctx, e, now); !done || err != nil {
			return v, p, false, err
		}
	}
	e.lapse(now)
	serial := db.committed.Load()
	known := db.factsFor(e, now)
	known.Device = db.deviceLock(r.MAC)
	v = db.o.Decide(known, r)
	v.Serial = serial
	if !v.Accept {
		e.judged = nil
		if len(v.Others) > 0 {
			e.judged = make(map[hotspot.SessionID]time.Time, len(v.Others))
			for _, s := range v.Others {
				e.judged[s.ID] = s.HeardAt
			}
		}
		return v, p, true, nil
	}
	v.Permit, v.Departures = hotspot.PermitID(hotspot.NewID(now)), e
	e.promise(r, v, now)
	return v, permit{id: v.Permit, account: v.Account, pass: v.Pass, nas: r.NAS, at: now, terms: db.given(&v, known.Pass)}, true, nil
}

// renew reads the entry's facts. e.mu is held, and let go while it reads.
func (db *DB) renew(ctx context.Context, e *entry, now time.Time) (done bool, err error) {
	version, sealed, text := e.version, e.sealed, e.clear
	var f *facts
	func() {
		e.mu.Unlock()
		defer e.mu.Lock()
		f, err = db.readFacts(ctx, e.account, now, &sealed, &text)
	}()
	if err != nil || e.gone || e.version != version {
		return false, err
	}
	e.facts, e.sealed, e.clear = f, sealed, text
	return true, nil
}

// promise reserves a device's place; a device that logs in again replaces its
// own promise. e.mu is held.
func (e *entry) promise(r hotspot.Request, v hotspot.Verdict, now time.Time) {
	if !r.MAC.IsZero() {
		e.withdraw(func(p *hotspot.Session) bool { return p.Pass == v.Pass && p.MAC == r.MAC })
	}
	if len(e.promises) >= promisesBound {
		e.promises = e.promises[1:]
	}
	e.promises = append(e.promises, &hotspot.Session{ID: hotspot.SessionID(v.Permit), Permit: v.Permit, Account: v.Account, Pass: v.Pass, NAS: r.NAS,
		AcctSessionID: r.AcctSessionID, Username: r.Username, MAC: r.MAC, IP: r.IP, HostIP: r.HostIP, Server: r.Server,
		State: hotspot.Reserved, StartedAt: now, HeardAt: now})
}

// give completes an Accept: its Class, and what must be on disk before it leaves.
func (db *DB) give(ctx context.Context, e *entry, r hotspot.Request, v *hotspot.Verdict, p permit) error {
	v.Class = sealClass(db.classKey, p)
	row := !db.nases.echoes(r.NAS) || v.Class == nil
	if v.Class == nil {
		v.Class = make([]byte, tokenBytes)
		rand.Read(v.Class)
	}
	if !row && !v.FirstUse {
		return nil
	}
	err := db.keepPermit(ctx, row, v.FirstUse, r, v.Class, p)
	if full(err) {
		if !v.FirstUse && len(v.Class) > tokenBytes {
			// The permit travels in the Class. A NAS that does not echo it has its session
			// kept as nobody's: better than to keep a guest out who has paid.
			return nil
		}
		err = noRoom(err)
	}
	if err != nil {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.withdraw(func(s *hotspot.Session) bool { return s.Permit == p.id })
	}
	return err
}

// keepPermit puts on disk what must be there before an Accept leaves: the
// permit's row, the first use of its pass. It is apart from give so that an
// Accept which needs neither costs no memory.
func (db *DB) keepPermit(ctx context.Context, row, firstUse bool, r hotspot.Request, class []byte, p permit) error {
	return db.submit(ctx, &op{own: true, run: func(t *tx) error {
		if row {
			if err := t.storePermit(r, class, p); err != nil {
				return err
			}
		}
		if firstUse {
			return t.firstUse(p)
		}
		return nil
	}})
}

func (t *tx) storePermit(r hotspot.Request, class []byte, p permit) error {
	_, err := t.exec("store permit", `INSERT INTO permit (token, id, account, pass, nas, acct_session_id, username, mac, ip, at, started, terms)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?)`,
		class, p.id, p.account, p.pass, r.NAS, r.AcctSessionID, r.Username, r.MAC.String(), addrText(r.IP), millis(p.at), p.terms)
	return err
}

// firstUse starts a pass's clock, once.
func (t *tx) firstUse(p permit) error {
	row, err := t.passRow(p.pass)
	if err != nil || !row.usage.FirstUsed.IsZero() {
		return err
	}
	row.usage.FirstUsed = fromMillis(millis(p.at))
	t.saveUsage(p.account, p.pass, row)
	return t.event(wire.EventPassFirstUsed, wire.UsageBody{Pass: p.pass, Account: p.account, FirstUsed: row.usage.FirstUsed})
}

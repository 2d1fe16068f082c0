package store

import (
	"context"
	"encoding/json"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// MakesPlans reports whether plans are made here: where there is a cloud, it makes them.
func (db *DB) MakesPlans(ctx context.Context) (here bool, err error) {
	err = db.query(ctx, "look for a cloud", "SELECT lineage = '' FROM mark", nil, func(scan func(...any) error) error { return scan(&here) })
	return here, err
}

// NameOf returns what the holder of an account logs in as; kind NotFound for none.
func (db *DB) NameOf(ctx context.Context, id hotspot.AccountID) (name string, err error) {
	err = db.query(ctx, "find the name of an account", "SELECT username FROM account WHERE id = ?", []any{id}, func(scan func(...any) error) error { return scan(&name) })
	if err == nil && name == "" {
		err = fault.New(fault.NotFound, "store: this guest is not there any more", nil).WithCode("", "Look for them anew.")
	}
	return name, err
}

// LockView is the lock of an account and how far it is enforced.
type LockView struct {
	LockInfo
	Method string         // how it was proven
	Code   string         // of the catalogue: what leads past it, or why it is not proven
	Steps  []hotspot.Step // of the newest attempt that was told, which may be of an earlier outcome
}

// proofsRead is how many of the newest proofs are looked through for an account's.
const proofsRead = 2000

// LockNow returns the lock of an account; nil without one. The steps are there while
// their event is kept.
func (db *DB) LockNow(ctx context.Context, account hotspot.AccountID) (v *LockView, err error) {
	err = db.query(ctx, "read a lock", "SELECT set_by, reason, set_at, revision, received_at, outcome, pause FROM lock WHERE account = ?", []any{account}, func(scan func(...any) error) error {
		v = &LockView{}
		v.Account = account
		var at, received int64
		err := scan(&v.By, &v.Reason, &at, &v.Revision, &received, &v.Outcome, &v.Pause)
		v.At, v.ReceivedAt = fromMillis(at), fromMillis(received)
		return err
	})
	if err != nil || v == nil || v.Outcome == "" {
		return v, err
	}
	var body string
	err = db.query(ctx, "read the proof of a lock", `SELECT body FROM (SELECT seq, CAST(body AS TEXT) AS body FROM event WHERE kind = 'lock.proof' ORDER BY seq DESC LIMIT ?)
		WHERE json_extract(body, '$.account') = ? ORDER BY seq DESC LIMIT 1`, []any{proofsRead, account}, func(scan func(...any) error) error { return scan(&body) })
	if err != nil || body == "" {
		return v, err
	}
	var p wire.LockProof
	if err := json.Unmarshal([]byte(body), &p); err != nil {
		return v, fault.New(fault.Damaged, "store: the proof of a lock", err)
	}
	// An earlier lock of the same guest has proofs too.
	if p.Outcome == v.Outcome && p.Revision == v.Revision && !p.At.Before(v.ReceivedAt) {
		v.Method, v.Code = p.Method, p.Code
		for _, s := range p.Steps {
			v.Steps = append(v.Steps, hotspot.Step{Name: s.Name, At: s.At, Took: time.Duration(s.TookMS * float64(time.Millisecond)), OK: s.OK, Detail: s.Detail})
		}
	}
	return v, nil
}

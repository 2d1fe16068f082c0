package store

import (
	"context"
	"encoding/json"
	"errors"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// ApplyProofs takes in the proofs a hello carries ahead of their events. It
// reports whether any was news. Kind Denied for an agent that is not in force.
func (db *DB) ApplyProofs(ctx context.Context, agent hotspot.AgentID, proofs []wire.LockProof) (news bool, err error) {
	// Lazily: the event is the durable record, and repeats it without effect.
	err = db.writeLazily(ctx, "apply proofs", func(t *tx) error {
		news = false
		site, err := t.agentInForce(agent, "")
		if err != nil {
			return err
		}
		for _, p := range proofs {
			changed, err := t.applyProof(site, p)
			var bad *unreadable
			if errors.As(err, &bad) {
				db.o.Log.Warn("store: proof in a hello cannot be read", "site", site, "agent", agent, "err", err)
				continue // its event is set aside where people see it
			}
			if err != nil {
				return err
			}
			news = news || changed
		}
		return nil
	})
	return news, err
}

// applyProof stores what is known of putting an account off. A proof counts for
// the lock whose revision it names, never for another; a final outcome is
// replaced only by a later final one, so that repeats, in any order, end the
// same.
func (t *tx) applyProof(site hotspot.SiteID, p wire.LockProof) (news bool, err error) {
	if err := checkProof(p); err != nil {
		return false, err
	}
	body, err := json.Marshal(p)
	if err != nil {
		return false, fault.New(fault.Internal, "encode proof", err)
	}
	if p.Revision > 0 {
		var outcome hotspot.Outcome
		var proven, received int64
		found, err := t.one(`SELECT outcome, proven_at, received_at FROM account_lock WHERE site = $1 AND account = $2 AND revision = $3`+t.db.dialect.forUpdate,
			[]any{string(site), string(p.Account), p.Revision}, &outcome, &proven, &received)
		if err != nil {
			return false, err
		}
		if found {
			final := hotspot.Outcome(p.Outcome).Final()
			if outcome.Final() && (!final || ms(p.At) <= proven) || !final && outcome == p.Outcome && ms(p.At) <= proven {
				return false, nil
			}
			return true, t.exec(`UPDATE account_lock SET outcome = $4, proven_at = $5, received_at = $6, proof = $7
				WHERE site = $1 AND account = $2 AND revision = $3`,
				string(site), string(p.Account), p.Revision, string(p.Outcome), ms(p.At), earlier(received, ms(p.ReceivedAt)), string(body))
		}
	}
	n, err := t.touched(`INSERT INTO off_proof (site, account, revision, at, outcome, proof) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (site, account, revision, at, outcome) DO NOTHING`,
		string(site), string(p.Account), p.Revision, ms(p.At), string(p.Outcome), string(body))
	return n > 0, err
}

func checkProof(p wire.LockProof) error {
	switch p.Outcome {
	case hotspot.OutcomeEnforced, hotspot.OutcomeLeaks, hotspot.OutcomeUnproven, hotspot.OutcomePending:
	default:
		return unreadablef("outcome %q is not known", p.Outcome)
	}
	if !name(string(p.Account), maxEventID) || p.Revision < 0 {
		return unreadablef("a proof names an account and a revision of at least 0")
	}
	return nil
}

// received notes when a site had committed a lock, by its own clock.
func (t *tx) received(site hotspot.SiteID, account hotspot.AccountID, revision, at int64) error {
	return t.exec(`UPDATE account_lock SET received_at = $4 WHERE site = $1 AND account = $2 AND revision = $3
		AND (received_at = 0 OR received_at > $4)`, string(site), string(account), revision, at)
}

// earlier is the smaller of two times that are not 0.
func earlier(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

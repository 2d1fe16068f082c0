package store

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// place is where a site said something: the number of its event in one log of
// one agent. A hello of an agent before 2026-11-28 gives no number.
type place struct {
	agent hotspot.AgentID
	epoch string
	seq   int64 // 0: not known
}

// said is one outcome of a lock, with what tells whether it was said before or
// after another.
type said struct {
	outcome hotspot.Outcome // "": nothing was said
	at      int64           // site's clock, Unix milliseconds
	place
}

// compare is above 0 when a was said after b, 0 when they are the same. The
// numbers of one log tell, whenever both have one. What another agent says came
// after all of the one before: only the one in force is heard, and their clocks
// say nothing of each other. What is left is one machine's clock.
func (a said) compare(b said) int {
	switch {
	case b.outcome == "":
		return 1
	case a.epoch == b.epoch && a.epoch != "" && a.seq > 0 && b.seq > 0:
		return cmp.Compare(a.seq, b.seq)
	case a.agent != b.agent && b.agent != "" && a.epoch != b.epoch:
		return 1
	case a.at != b.at:
		return cmp.Compare(a.at, b.at)
	case a.outcome == b.outcome:
		return 0
	case a.outcome.Final() && !b.outcome.Final():
		return 1 // at the same moment the work ends with what is final
	}
	return -1
}

// ApplyProofs takes in the proofs that a hello of the epoch carries ahead of
// their events. It reports whether any was news. Kind Denied for an agent that
// is not in force.
func (db *DB) ApplyProofs(ctx context.Context, agent hotspot.AgentID, epoch string, proofs []wire.LockProof) (news bool, err error) {
	// Lazily: the event is the durable record, and repeats it without effect.
	err = db.writeLazily(ctx, "apply proofs", func(t *tx) error {
		news = false
		site, err := t.agentInForce(agent, "")
		if err != nil {
			return err
		}
		if !name(epoch, maxEpoch) {
			epoch = "" // of no log: numbers in it mean nothing
		}
		unnumbered := map[wire.LockReceived]bool{} // locks told of without a number
		for _, p := range proofs {
			if lock := (wire.LockReceived{Account: p.Account, Revision: p.Revision}); p.Seq <= 0 && p.Revision > 0 {
				if unnumbered[lock] {
					continue // newest first: this one is older than the one taken
				}
				unnumbered[lock] = true
			}
			changed, err := t.applyProof(site, p, place{agent, epoch, p.Seq})
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
// the lock whose revision it names, never for another. What was said last holds,
// also where it opens again what had ended, so that repeats, in any order, end
// the same.
func (t *tx) applyProof(site hotspot.SiteID, p wire.LockProof, from place) (news bool, err error) {
	if err := checkProof(p); err != nil {
		return false, err
	}
	p.Seq = 0 // stored as its event has it
	body, err := json.Marshal(p)
	if err != nil {
		return false, fault.New(fault.Internal, "encode proof", err)
	}
	if p.Revision > 0 {
		found, news, err := t.proveLock(site, p, said{p.Outcome, ms(p.At), from}, string(body))
		if found || err != nil {
			return news, err
		}
	}
	n, err := t.touched(`INSERT INTO off_proof (site, account, revision, at, outcome, proof) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (site, account, revision, at, outcome) DO NOTHING`,
		string(site), string(p.Account), p.Revision, ms(p.At), string(p.Outcome), string(body))
	return n > 0, err
}

// proveLock stores a proof with its lock, if that is one of ours.
func (t *tx) proveLock(site hotspot.SiteID, p wire.LockProof, now said, body string) (found, news bool, err error) {
	var was, ended said
	var received int64
	key := []any{string(site), string(p.Account), p.Revision}
	found, err = t.one(`SELECT outcome, proven_at, proof_agent, proof_epoch, proof_seq, received_at, ended_outcome, ended_at, ended_epoch, ended_seq
		FROM account_lock WHERE site = $1 AND account = $2 AND revision = $3`+t.db.dialect.forUpdate, key,
		&was.outcome, &was.at, &was.agent, &was.epoch, &was.seq, &received, &ended.outcome, &ended.at, &ended.epoch, &ended.seq)
	if err != nil || !found {
		return found, false, err
	}
	set := func(columns string, values ...any) error {
		return t.exec(`UPDATE account_lock SET `+columns+` WHERE site = $1 AND account = $2 AND revision = $3`, append(key, values...)...)
	}
	order := now.compare(was)
	switch {
	case order > 0:
		news = true
		err = set(`outcome = $4, proven_at = $5, received_at = $6, proof = $7, proof_agent = $8, proof_epoch = $9, proof_seq = $10`,
			string(now.outcome), now.at, earlier(received, ms(p.ReceivedAt)), body, string(now.agent), now.epoch, now.seq)
	case order == 0 && now.seq > 0 && now.place != was.place: // its event, or the same after a fork
		err = set(`proof_agent = $4, proof_epoch = $5, proof_seq = $6`, string(now.agent), now.epoch, now.seq)
	}
	// Also one that was overtaken by what opened the lock again: it tells how the
	// lock had ended.
	if err == nil && now.outcome.Final() && (order > 0 || now.compare(ended) > 0) {
		news = true
		err = set(`ended_outcome = $4, ended_at = $5, ended_epoch = $6, ended_seq = $7`, string(now.outcome), now.at, now.epoch, now.seq)
	}
	return true, news && err == nil, err
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

package fleet

import (
	"context"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// take works on one message of an agent.
func (f *Fleet) take(ctx context.Context, agent hotspot.AgentID, m message) {
	ctx, cancel := context.WithTimeout(ctx, storeLimit)
	defer cancel()
	err := f.answer(ctx, agent, m)
	switch {
	case err == nil || ctx.Err() != nil && fault.Is(err, fault.Unavailable):
	case fault.Is(err, fault.Invalid), fault.Is(err, fault.Denied), fault.Is(err, fault.NotFound):
		f.o.Refused(agent, m.channel, len(m.payload), err)
	default: // the agent says it again within a minute
		f.o.Log.Error("fleet: message not answered", "agent", agent, "channel", m.channel, "err", err)
	}
}

func (f *Fleet) answer(ctx context.Context, agent hotspot.AgentID, m message) error {
	if m.channel == wire.UpPresence && len(m.payload) == 0 {
		return nil // a retained message taken back
	}
	a, err := f.o.Store.Agent(ctx, agent)
	if err != nil {
		return err
	}
	r := f.remote(agent)
	switch {
	case !a.RetiredAt.IsZero(): // the broker should have known
		f.drop(agent)
		return nil
	case !a.Confirmed:
		r.waitForConfirmation(m)
		f.o.Notify(a.Site) // the console shows that a box is there
		return nil
	}
	if m.channel == wire.UpPresence {
		return f.presence(ctx, a, r, m)
	}
	return f.hello(ctx, a, r, m)
}

func (f *Fleet) presence(ctx context.Context, a hotspot.Agent, r *remote, m message) error {
	var p wire.Presence
	if err := decode(m.payload, &p, &p.V); err != nil {
		return err
	}
	counts, err := f.o.Store.RecordPresence(ctx, a.ID, p, m.at)
	if err != nil || !counts {
		return err
	}
	r.mu.Lock()
	switch {
	case p.State != hotspot.Online:
		r.online = false
		r.sent = sent{}
	case !r.online || r.boot != p.Boot || r.conn != p.Conn:
		// A new connection: what was sent into the old one may be lost. The
		// hello that follows says where the site stands.
		r.online, r.boot, r.conn = true, p.Boot, p.Conn
		r.sent, r.lockedAt, r.lockTries = sent{}, time.Time{}, 0
	}
	r.mu.Unlock()
	f.o.Log.Info("fleet: presence", "site", a.Site, "agent", a.ID, "state", p.State, "reason", p.Reason)
	f.o.Notify(a.Site)
	return nil
}

// hello takes in where an agent stands, the proofs first: people wait for them.
func (f *Fleet) hello(ctx context.Context, a hotspot.Agent, r *remote, m message) error {
	var h wire.Hello
	if err := decode(m.payload, &h, &h.V); err != nil {
		return err
	}
	counts, copied, err := f.o.Store.Speaks(ctx, a.ID, h.Boot, m.at)
	if err != nil {
		return err
	}
	if copied != "" {
		f.copied(a.ID, copied)
		f.o.Notify(a.Site)
	}
	if !counts {
		return nil
	}
	if len(h.Proofs) > 0 {
		if _, err := f.o.Store.ApplyProofs(ctx, a.ID, h.Epoch, h.Proofs); err != nil {
			return err
		}
	}
	if err := f.o.Store.RecordHello(ctx, a.ID, h, m.at); err != nil {
		return err
	}
	if _, err := f.o.Store.ApplyCommands(ctx, a.ID, h); err != nil {
		return err
	}
	f.o.Notify(a.Site)
	if len(h.NotInForce) > 0 {
		f.o.Log.Warn("fleet: documents are not in force at the site", "site", a.Site, "agent", a.ID, "documents", len(h.NotInForce), "first", h.NotInForce[0])
	}
	if err := f.acknowledge(ctx, a, h); err != nil {
		return err
	}
	return f.compare(ctx, a, r, h)
}

func decode(payload []byte, v any, version *int) error {
	if err := wire.Decode(payload, v); err != nil {
		return err
	}
	if err := wire.CheckVersion(*version); err != nil {
		return fault.New(fault.Invalid, "fleet", err)
	}
	return nil
}

// acknowledge tells an agent the mark of its log when it has another in mind:
// an acknowledgement got lost, or the store here is an older one.
func (f *Fleet) acknowledge(ctx context.Context, a hotspot.Agent, h wire.Hello) error {
	through, err := f.o.Store.Mark(ctx, a.Site, h.Epoch)
	if err != nil || through == h.AckedSeq || h.Epoch == "" {
		return err
	}
	payload, err := wire.Encode(wire.Ack{V: wire.Version, Epoch: h.Epoch, Through: through, Time: f.now()})
	if err == nil {
		err = f.o.Publish(wire.Topic(a.ID, wire.DownAck), payload, false)
	}
	if err != nil {
		f.o.Log.Info("fleet: mark not sent", "agent", a.ID, "err", err)
	}
	return nil
}

// compare brings the site to what is wanted, if it is not there.
func (f *Fleet) compare(ctx context.Context, a hotspot.Agent, r *remote, h wire.Hello) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.site, r.online, r.known = a.Site, true, true
	if r.boot != h.Boot {
		r.boot, r.conn, r.sent = h.Boot, 0, sent{}
	}
	worked := r.bringing()
	r.held, r.staged = position{h.Lineage, h.Revision}, h.Staged
	if r.bringing() && !worked {
		r.wholes, r.wholeAt = r.wholes+1, time.Now()
	}
	lineage, revision, hash, err := f.o.Store.Wanted(ctx, a.Site)
	if err != nil {
		return err
	}
	there := position{lineage, revision}
	switch {
	case r.held == there && h.Hash == hash:
		if r.sent.waiting && f.o.Delivered != nil {
			f.o.Delivered(time.Since(r.sent.first))
		}
		r.sent, r.wholes = sent{}, 0
		return nil
	case r.bringing():
		r.sent = sent{}
		return f.remindOfLocks(ctx, r) // for the rest, it says hello once that is in force
	case !r.sent.waiting:
	case r.sent.through != nil && r.sent.from == r.held && h.Staged != nil:
		more, on := r.sent.windowed(h.Staged.Through)
		if on {
			r.sent.at, r.sent.tries = time.Now(), 0
		}
		if !more {
			return nil
		}
	case r.sent.from == r.held:
		return nil // what leads on from there is on its way; again repeats it
	case r.sent.between(r.held):
		r.sent.from, r.sent.at, r.sent.tries = r.held, time.Now(), 0
		return nil // it got on, and the rest is on its way
	}
	whole := r.held == there || h.Lineage != lineage || h.Revision > revision
	if whole && h.Lineage != "" && (h.Staged == nil || h.Staged.Snapshot == "") {
		f.o.Log.Warn("fleet: the site holds another set than it should: it gets the whole", "site", a.Site, "agent", a.ID,
			"lineage", h.Lineage, "want_lineage", lineage, "revision", h.Revision, "want_revision", revision)
	}
	return f.send(ctx, r, r.held, whole, 0)
}

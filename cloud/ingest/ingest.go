// Package ingest takes in what sites say happened: it reads batches of events
// as they came over MQTT, has them stored, and answers with the mark. It keeps
// nothing itself, judges no event (the store sets aside what it cannot read) and
// does not know MQTT.
package ingest

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/lanes"
	"iwas/internal/wire"
)

// Bounds.
const (
	workers    = 4                // batches stored at once, over all sites
	depth      = 4                // batches of one agent waiting; a site has one in flight, the rest are repeats
	storeLimit = 30 * time.Second // for one batch; then the site asks again
	maxTallies = 10_000           // agents counted apart; above it new ones are counted together under ""
)

// Store is what ingest needs of the cloud's store.
type Store interface {
	// Ingest stores a batch and moves the mark in one transaction; kind Denied
	// for an agent that is not in force.
	Ingest(ctx context.Context, agent hotspot.AgentID, b wire.Batch) (wire.Ack, error)
	// AgentSite returns the site of an agent in force.
	AgentSite(ctx context.Context, agent hotspot.AgentID) (hotspot.SiteID, error)
}

// Result is how one batch ended.
type Result string

const (
	Stored     Result = "stored"     // acknowledged, all of it
	Gap        Result = "gap"        // refused by acknowledging the mark
	Fork       Result = "fork"       // another history
	Denied     Result = "denied"     // agent not in force; no answer
	Unreadable Result = "unreadable" // not a batch; no answer, cursor unharmed
	Failed     Result = "failed"     // could not be stored now; no answer
	Dropped    Result = "queue_full" // too many waiting; no answer
)

// Handler takes in batches. The fields are set before Serve and not changed.
type Handler struct {
	Store   Store
	Publish func(topic string, payload []byte, retained bool) error
	// Notify says that there is news of a site; nil is nobody cares.
	Notify func(site hotspot.SiteID)
	// Refused is told of each payload that is no batch, or breaks the contract; nil
	// is nobody cares.
	Refused func(agent hotspot.AgentID, channel wire.Channel, octets int, why error)
	Log     *slog.Logger // nil discards

	once  sync.Once
	lanes lanes.Lanes[hotspot.AgentID, []byte]

	mu    sync.Mutex
	sites map[hotspot.AgentID]hotspot.SiteID // guarded by mu; an agent's site never changes
	tally map[hotspot.AgentID]map[Result]uint64
}

// Handle queues a payload of up/events and returns at once. One that finds the
// queue of its agent full is dropped: the site sends it again.
func (h *Handler) Handle(_ context.Context, agent hotspot.AgentID, payload []byte) {
	h.init()
	if !h.lanes.Push(agent, payload) {
		h.count(agent, Dropped)
	}
}

// Serve stores what Handle queues until ctx ends.
func (h *Handler) Serve(ctx context.Context) error {
	h.init()
	return h.lanes.Serve(ctx)
}

func (h *Handler) init() {
	h.once.Do(func() {
		if h.Log == nil {
			h.Log = slog.New(slog.DiscardHandler)
		}
		if h.Refused == nil {
			h.Refused = func(hotspot.AgentID, wire.Channel, int, error) {}
		}
		h.sites, h.tally = map[hotspot.AgentID]hotspot.SiteID{}, map[hotspot.AgentID]map[Result]uint64{}
		h.lanes.Workers, h.lanes.Depth = workers, depth
		h.lanes.Do = func(ctx context.Context, agent hotspot.AgentID, payload []byte) {
			h.count(agent, h.take(ctx, agent, payload))
		}
	})
}

// take stores one batch and answers it.
func (h *Handler) take(ctx context.Context, agent hotspot.AgentID, payload []byte) Result {
	var b wire.Batch
	err := wire.Decode(payload, &b)
	if err == nil {
		err = wire.CheckVersion(b.V)
	}
	if err != nil {
		h.Refused(agent, wire.UpEvents, len(payload), err)
		return Unreadable
	}
	ctx, cancel := context.WithTimeout(ctx, storeLimit)
	defer cancel()
	ack, err := h.Store.Ingest(ctx, agent, b)
	if err != nil {
		return h.refused(agent, len(payload), err)
	}
	h.answer(agent, ack)
	switch {
	case ack.Fork:
		return Fork
	case ack.Through < b.First+int64(len(b.Events))-1:
		h.Log.Info("ingest: batch is past the mark", "agent", agent, "first", b.First, "through", ack.Through)
		return Gap
	}
	h.notify(ctx, agent)
	return Stored
}

// refused tells why there is no answer: a site must not take a trouble of ours,
// or a refusal, for its events being stored.
func (h *Handler) refused(agent hotspot.AgentID, octets int, err error) Result {
	switch fault.KindOf(err) {
	case fault.Denied:
		h.Log.Debug("ingest: agent not in force", "agent", agent, "err", err)
		return Denied
	case fault.Invalid:
		h.Refused(agent, wire.UpEvents, octets, err)
		return Unreadable
	}
	h.Log.Error("ingest: not stored; the site sends it again", "agent", agent, "err", err)
	return Failed
}

func (h *Handler) answer(agent hotspot.AgentID, ack wire.Ack) {
	payload, err := wire.Encode(ack)
	if err == nil {
		err = h.Publish(wire.Topic(agent, wire.DownAck), payload, false)
	}
	if err != nil { // the site asks again
		h.Log.Info("ingest: acknowledgement not sent", "agent", agent, "err", err)
	}
}

func (h *Handler) notify(ctx context.Context, agent hotspot.AgentID) {
	if h.Notify == nil {
		return
	}
	h.mu.Lock()
	site, known := h.sites[agent]
	h.mu.Unlock()
	if !known {
		var err error
		if site, err = h.Store.AgentSite(ctx, agent); err != nil {
			h.Log.Debug("ingest: site of agent", "agent", agent, "err", err)
			return
		}
		h.mu.Lock()
		h.sites[agent] = site
		h.mu.Unlock()
	}
	h.Notify(site)
}

func (h *Handler) count(agent hotspot.AgentID, r Result) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.tally[agent] == nil {
		if len(h.tally) >= maxTallies {
			agent = ""
		}
		if h.tally[agent] == nil {
			h.tally[agent] = map[Result]uint64{}
		}
	}
	h.tally[agent][r]++
}

// Counts returns how many batches of each agent ended how, since the start.
func (h *Handler) Counts() map[hotspot.AgentID]map[Result]uint64 {
	h.init()
	h.mu.Lock()
	defer h.mu.Unlock()
	all := make(map[hotspot.AgentID]map[Result]uint64, len(h.tally))
	for agent, results := range h.tally {
		all[agent] = make(map[Result]uint64, len(results))
		for r, n := range results {
			all[agent][r] = n
		}
	}
	return all
}

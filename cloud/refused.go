package main

import (
	"context"
	"log/slog"
	"math/bits"
	"sync"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

const (
	maxRefusers = 10_000          // agents and channels counted apart; those above share one count, under ""
	nameLimit   = 2 * time.Second // for looking up whose they are
)

// refused counts the messages of agents that could not be taken in, and tells of
// them with the site's name: the 1st, 2nd, 4th, 8th of an agent's channel and so on, so
// that a box gone mad is seen and fills no log.
type refused struct {
	of  func(ctx context.Context, agent hotspot.AgentID) (hotspot.SiteID, string, error)
	log *slog.Logger

	mu     sync.Mutex
	counts map[refuser]uint64 // guarded by mu
}

type refuser struct {
	agent   hotspot.AgentID
	channel wire.Channel
}

// note is called for each message refused.
func (r *refused) note(agent hotspot.AgentID, channel wire.Channel, octets int, why error) {
	key := refuser{agent, channel}
	r.mu.Lock()
	if r.counts == nil {
		r.counts = map[refuser]uint64{}
	}
	if _, known := r.counts[key]; !known && len(r.counts) >= maxRefusers {
		key = refuser{}
	}
	r.counts[key]++
	n := r.counts[key]
	r.mu.Unlock()
	if bits.OnesCount64(n) != 1 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), nameLimit)
	defer cancel()
	site, name, err := r.of(ctx, agent)
	if err != nil {
		name = "not known"
	}
	r.log.Warn("a message of a site was refused; nothing of it was taken in", "site_name", name, "site", site, "agent", agent,
		"channel", channel, "octets", octets, "refused", n, "code", "CLD-312", "err", why)
}

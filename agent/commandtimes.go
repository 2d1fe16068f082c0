package main

import (
	"context"
	"sync"
	"time"

	"iwas/agent/statuspage"
	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// Of commands of the cloud, on the page.
const (
	commandsShown = 20
	commandsTimed = 200 // whose times are kept; more are forgotten, the oldest first
)

// commandTimes keeps when commands came and were begun in this run of the program: the
// inbox keeps no dates, since an expiry is never compared with one.
type commandTimes struct {
	mu   sync.Mutex // guards what follows
	seen map[string]commandTime
}

type commandTime struct {
	nas                        hotspot.NASID
	received, expires, started time.Time // expires: zero is never
}

// received notes a command when it comes first.
func (k *commandTimes) received(c wire.Command, nas hotspot.NASID, now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, known := k.seen[c.ID]; known {
		return
	}
	if k.seen == nil {
		k.seen = map[string]commandTime{}
	}
	t := commandTime{nas: nas, received: now}
	if c.TTL > 0 {
		t.expires = now.Add(time.Duration(c.TTL) * time.Millisecond)
	}
	k.seen[c.ID] = t
	for len(k.seen) > commandsTimed {
		oldest := c.ID
		for id, t := range k.seen {
			if t.received.Before(k.seen[oldest].received) {
				oldest = id
			}
		}
		delete(k.seen, oldest)
	}
}

// started notes that a command is begun.
func (k *commandTimes) started(id string, now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if t, known := k.seen[id]; known {
		t.started = now
		k.seen[id] = t
	}
}

func (k *commandTimes) of(id string) commandTime {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.seen[id]
}

// commandFacts are the newest commands of the cloud with their times.
func (s *site) commandFacts(ctx context.Context) ([]statuspage.Command, error) {
	all, err := s.db.Commands(ctx, commandsShown)
	var out []statuspage.Command
	for _, c := range all {
		t := s.remote.times.of(c.ID)
		one := statuspage.Command{ID: c.ID, Kind: string(c.Kind), NAS: t.nas, State: c.State, ReceivedAt: t.received, ExpiresAt: t.expires, StartedAt: t.started}
		if a := c.Answer; a != nil {
			one.EndedAt, one.Code, one.Detail = a.At, a.Code, a.Detail
		}
		out = append(out, one)
	}
	return out, err
}

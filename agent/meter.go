package main

import (
	"context"
	"strings"
	"sync"
	"time"

	"iwas/agent/radius"
	"iwas/agent/router"
	"iwas/agent/store"
	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/metrics"
	"iwas/internal/routeros"
)

// meter counts what passes between the parts and is counted by none of them.
type meter struct {
	mu          sync.Mutex
	disconnects map[string]uint64              // by result
	locks       map[hotspot.Outcome]uint64     // attempts at locks, by how they ended
	received    map[hotspot.AccountID]heldLock // locks that are not proven off
	errors      map[routerFailure]uint64
	success     map[hotspot.NASID]time.Time
	took        map[routerWork]*metrics.Histogram
	enforce     metrics.Histogram // from a lock's commit here to its proof
}

type heldLock struct {
	revision int64
	at       time.Time
}

type routerFailure struct {
	nas  hotspot.NASID
	code string // of the catalogue; "" has none
}

type routerWork struct {
	nas hotspot.NASID
	op  string
}

// routerOps are the words a command may end in; others are "other".
var routerOps = []string{"print", "set", "add", "remove", "other"}

func newMeter() *meter {
	return &meter{disconnects: map[string]uint64{}, locks: map[hotspot.Outcome]uint64{}, received: map[hotspot.AccountID]heldLock{}, errors: map[routerFailure]uint64{},
		success: map[hotspot.NASID]time.Time{}, took: map[routerWork]*metrics.Histogram{}}
}

// meteredClient counts Disconnect-Requests.
type meteredClient struct {
	*radius.Client
	m *meter
}

func (c meteredClient) Disconnect(ctx context.Context, nas hotspot.NASID, s hotspot.Session) (hotspot.Disconnected, error) {
	d, err := c.Client.Disconnect(ctx, nas, s)
	result := string(d.Result)
	if err != nil || result == "" { // nothing could be asked
		result = "unverified"
	}
	c.m.mu.Lock()
	c.m.disconnects[result]++
	c.m.mu.Unlock()
	return d, err
}

// meteredStore counts how attempts at locks end, and how long a lock takes.
type meteredStore struct {
	*store.DB
	m *meter
}

func (s meteredStore) Targets(ctx context.Context) ([]hotspot.Target, error) {
	targets, err := s.DB.Targets(ctx)
	if err != nil {
		return targets, err
	}
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	clear(s.m.received)
	s.m.hold(targets)
	return targets, nil
}

func (s meteredStore) LockTargets(ctx context.Context) ([]hotspot.Target, error) {
	targets, err := s.DB.LockTargets(ctx)
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	s.m.hold(targets)
	return targets, err
}

// hold notes when locks were received; m.mu is held.
func (m *meter) hold(targets []hotspot.Target) {
	for _, t := range targets {
		if t.Lock != nil {
			m.received[t.Account] = heldLock{t.Lock.Revision, t.ReceivedAt}
		}
	}
}

func (s meteredStore) Prove(ctx context.Context, p hotspot.Proof) error {
	if err := s.DB.Prove(ctx, p); err != nil {
		return err
	}
	if p.Reason != hotspot.OffLocked {
		return nil
	}
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	s.m.locks[p.Outcome]++
	if held, ok := s.m.received[p.Account]; ok && p.Outcome.Final() && held.revision == p.Revision && !p.At.Before(held.at) {
		s.m.enforce.Observe(p.At.Sub(held.at))
		delete(s.m.received, p.Account)
	}
	return nil
}

// meteredConn counts what is asked of a router.
type meteredConn struct {
	routeros.Conn
	m   *meter
	nas hotspot.NASID
}

// dialed counts the outcome of a dial, and all that the connection carries.
func (m *meter) dialed(nas hotspot.NASID, conn routeros.Conn, err error) (routeros.Conn, error) {
	if err != nil {
		m.failed(nas, err)
		return nil, err
	}
	return meteredConn{conn, m, nas}, nil
}

func (c meteredConn) Run(ctx context.Context, sentence ...string) ([]routeros.Row, error) {
	begun := time.Now()
	rows, err := c.Conn.Run(ctx, sentence...)
	c.m.ran(c.nas, sentence, time.Since(begun), err)
	return rows, err
}

// Each counts as Run does.
func (c meteredConn) Each(ctx context.Context, visit func(routeros.Row), sentence ...string) error {
	begun := time.Now()
	err := routeros.Each(ctx, c.Conn, visit, sentence...)
	c.m.ran(c.nas, sentence, time.Since(begun), err)
	return err
}

// ran counts one command. One that the router refused was answered all the same.
func (m *meter) ran(nas hotspot.NASID, sentence []string, took time.Duration, err error) {
	if err != nil {
		m.failed(nas, err)
	}
	if err != nil && !routeros.Refused(err) {
		return
	}
	op := "other"
	if len(sentence) > 0 {
		word := sentence[0][strings.LastIndexByte(sentence[0], '/')+1:]
		for _, known := range routerOps {
			if word == known {
				op = known
			}
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	key := routerWork{nas, op}
	if m.took[key] == nil {
		m.took[key] = new(metrics.Histogram)
	}
	m.took[key].Observe(took)
	m.success[nas] = time.Now()
}

// failed counts what went wrong; that a menu is not there is an answer.
func (m *meter) failed(nas hotspot.NASID, err error) {
	if reason := routeros.ReasonOf(err); reason == routeros.NoSuchCommand || reason == routeros.NoSuchItem {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.errors[routerFailure{nas, fault.Code(err)}]++
}

// Both stand where the enforcer wants an interface.
var (
	_ router.Store        = meteredStore{}
	_ router.Disconnector = meteredClient{}
)

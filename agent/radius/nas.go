package radius

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/secret"
)

// Policy says whether an Access-Request must carry a Message-Authenticator. One
// that is there must always be right (RFC 3579 §3.2).
type Policy string

const (
	// Learn demands it from the first time the NAS sends a valid one in an
	// Access-Request, for good: what it did once it does always, unless
	// somebody tampers (BlastRADIUS, CVE-2024-3596). The zero value is Learn.
	Learn Policy = "learn"
	// Require demands it from the beginning.
	Require Policy = "require"
	// Off never demands it.
	Off Policy = "off"
)

// NAS is a router that may ask.
type NAS struct {
	ID      hotspot.NASID
	Name    string
	Network netip.Prefix   // its packets come from here; one address, or a network
	Also    []netip.Prefix // and from here
	Secret  secret.Value
	// Previous is the secret before the last change, accepted until
	// PreviousUntil so that both sides need not change at once; zero is no end.
	Previous             secret.Value
	PreviousUntil        time.Time
	MessageAuthenticator Policy
	CoA                  netip.AddrPort // /radius/incoming
	CoASource            netip.Addr     // our address in the router's /radius entry; invalid is the one it asks, once heard
	CoATimestamp         bool           // send Event-Timestamp to /radius/incoming (RFC 5176 §6.3)
}

// overlaps reports whether the previous secret is accepted besides the current one.
func (n *NAS) overlaps(now time.Time) bool {
	return n.Previous != "" && n.Previous != n.Secret && (n.PreviousUntil.IsZero() || now.Before(n.PreviousUntil))
}

// Memory keeps what is learnt of NASes over restarts.
type Memory interface {
	// KnownNASes returns everything learnt so far.
	KnownNASes(ctx context.Context) ([]hotspot.NASMemory, error)
	// LearnNAS adds to what is known: what is set becomes true, nothing becomes
	// false. It does not block.
	LearnNAS(m hotspot.NASMemory)
}

// nas is a NAS with what the server keeps of it while it runs.
type nas struct {
	NAS
	current, previous *key // previous is nil when there is none
	signs             atomic.Bool
	// proven is the key of the last packet that proved one. What proves none
	// (CHAP without Message-Authenticator) is answered with it.
	proven               atomic.Pointer[key]
	provenAt, lastAnswer atomic.Int64 // Unix nanoseconds
	counts               tally
}

func newNAS(n NAS) *nas {
	c := &nas{NAS: n, current: newKey(n.Secret)}
	if c.MessageAuthenticator == "" {
		c.MessageAuthenticator = Learn
	}
	if n.overlaps(time.Time{}) {
		c.previous = newKey(n.Previous)
	}
	return c
}

// keys returns the keys accepted now, the current one first; the second is nil
// when there is no other.
func (n *nas) keys(now time.Time) [2]*key {
	if n.overlaps(now) {
		return [2]*key{n.current, n.previous}
	}
	return [2]*key{n.current, nil}
}

// prove returns the key a triaged packet proves, or why it gets silence: a wrong
// Request Authenticator of accounting, a wrong Message-Authenticator, or none
// where one must be (RFC 3579 §3.1, RFC 5997 §3; Proxy-State as BlastRADIUS
// demands, since a NAS never sends it). A packet that proves nothing and need
// not gets the key the NAS used last. ma is where the value of the
// Message-Authenticator stands, 0 if there is none.
func (n *nas) prove(b []byte, ma int, now time.Time) (*key, dropped) {
	why := dropMABad
	if b[0] == codeAccountingRequest {
		why = dropAuthenticator
	} else if ma == 0 {
		return n.unproven(b, now)
	}
	for _, k := range n.keys(now) {
		if k == nil {
			break
		}
		if b[0] == codeAccountingRequest {
			if !k.proves(b) {
				continue
			}
			why = dropMABad
		}
		if ma == 0 || k.signed(b, ma) {
			n.use(k, now)
			return k, ""
		}
	}
	return nil, why
}

func (n *nas) unproven(b []byte, now time.Time) (*key, dropped) {
	switch {
	case b[0] == codeStatusServer, has(b, typeEAPMessage), n.MessageAuthenticator == Require:
		return nil, dropMAMissing
	case n.MessageAuthenticator == Learn && n.signs.Load():
		return nil, dropMAFellBack
	case has(b, typeProxyState):
		return nil, dropProxyState
	}
	keys := n.keys(now)
	if k := n.proven.Load(); k != nil && k == keys[1] {
		return k, ""
	}
	return keys[0], ""
}

// other returns the key accepted now that is not k, nil if there is none.
func (n *nas) other(k *key, now time.Time) *key {
	keys := n.keys(now)
	if keys[0] == k {
		return keys[1]
	}
	return keys[0]
}

// use remembers the key a packet proved.
func (n *nas) use(k *key, now time.Time) {
	if n.proven.Load() != k {
		n.proven.Store(k)
	}
	n.provenAt.Store(now.UnixNano())
}

// learn notes a valid Message-Authenticator in an Access-Request.
func (n *nas) learn(m Memory) {
	if n.signs.Load() || !n.signs.CompareAndSwap(false, true) || m == nil {
		return
	}
	m.LearnNAS(hotspot.NASMemory{NAS: n.ID, SignsRequests: true})
}

// nasTable finds a NAS by address; the most exact network wins.
type nasTable struct {
	all      []*nas
	single   map[netip.Addr]*nas
	networks []network // most exact first
}

type network struct {
	netip.Prefix
	nas *nas
}

func newNASTable(nases []NAS) *nasTable {
	t := &nasTable{single: map[netip.Addr]*nas{}}
	for _, n := range nases {
		c := newNAS(n)
		t.all = append(t.all, c)
		for _, p := range append([]netip.Prefix{n.Network}, n.Also...) {
			switch {
			case !p.IsValid():
			case !p.IsSingleIP():
				t.networks = append(t.networks, network{p, c})
			case t.single[p.Addr()] == nil: // the first of two of the same address wins
				t.single[p.Addr()] = c
			}
		}
	}
	slices.SortStableFunc(t.networks, func(a, b network) int { return cmp.Compare(b.Bits(), a.Bits()) })
	return t
}

// of returns whose address it is, nil if nobody's.
func (t *nasTable) of(a netip.Addr) *nas {
	a = a.WithZone("")
	if c := t.single[a]; c != nil {
		return c
	}
	for _, n := range t.networks {
		if n.Contains(a) {
			return n.nas
		}
	}
	return nil
}

// recall sets what was learnt before the last restart.
func (t *nasTable) recall(ctx context.Context, m Memory) error {
	if m == nil {
		return nil
	}
	known, err := m.KnownNASes(ctx)
	if err != nil {
		return err
	}
	for _, k := range known {
		for _, c := range t.all {
			if c.ID == k.NAS && k.SignsRequests {
				c.signs.Store(true)
			}
		}
	}
	return nil
}

package radius

import (
	"cmp"
	"container/list"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"iwas/internal/hotspot"
	"iwas/internal/metrics"
)

// Stats is what the server has seen since it started.
type Stats struct {
	Counts     []Count
	Offenders  []Offender // newest first: who was met with silence, and why
	NASes      []NASStats // in the order of the configuration
	Sockets    []SocketStats
	LastAnswer time.Time
	P50, P95   time.Duration                 // of the last answers, from arrival to reply
	Remembered int                           // replies held for repeats
	Took       map[string]*metrics.Histogram // by kind of request, from arrival to reply; repeats left out
	BindErr    error                         // why the sockets could not be bound at the last try; nil once they are
}

// Count is one counter.
type Count struct {
	NAS    hotspot.NASID // "" for sources that are no NAS of ours
	Kind   string        // access, accounting, status, malformed, other
	Result string        // accept, a hotspot.Reason, Start…, repeated, or dropped
	Reason string        // of dropped
	N      uint64
}

// NASStats is how a NAS proves itself.
type NASStats struct {
	NAS           hotspot.NASID
	Policy        Policy
	SignsRequests bool      // learnt: it sends Message-Authenticator
	ProvenAt      time.Time // when a packet of it last proved a secret
	Previous      bool      // and that was the secret before the last change
	LastAnswer    time.Time
	PreviousUntil time.Time // the previous secret is accepted until then; zero: without end, or there is none
}

// SocketStats is one listening address.
type SocketStats struct {
	Addr       netip.AddrPort
	Accounting bool
	Buffer     int       // octets the system grants to waiting datagrams, its own overhead included; 0: not known
	Lost       uint64    // datagrams it dropped because that was full
	LostAt     time.Time // when Lost was last seen to have grown
	LostKnown  bool      // the system counts them
}

// Offender is a source that was met with silence.
type Offender struct {
	Source netip.Addr
	NAS    hotspot.NASID // "" if no NAS of ours has that address
	Reason string
	First  time.Time
	Last   time.Time
	N      uint64
}

// BadSecret reports whether the reason points at a wrong shared secret.
func (o Offender) BadSecret() bool {
	switch dropped(o.Reason) {
	case dropAuthenticator, dropMABad, dropSuspectSecret:
		return true
	}
	return false
}

// Meaning says in plain words what the reason points at, and what to do.
func (o Offender) Meaning() string {
	if m, ok := meanings[dropped(o.Reason)]; ok {
		return m
	}
	return "the packet could not be used"
}

var meanings = map[dropped]string{
	dropUnknownNAS:    "no router with this address is configured here: add it as a [[nas]], or set src-address of /radius on the router",
	dropShort:         "not a RADIUS packet",
	dropCode:          "authentication and accounting ports are mixed up, or not a RADIUS client",
	dropAttributes:    "attributes that no RADIUS client may send",
	dropAuthenticator: "the shared secret of /radius on the router is not the one configured here",
	dropMABad:         "the shared secret of /radius on the router is not the one configured here, or the packet is forged",
	dropSuspectSecret: "passwords arrive unreadable: the shared secret of /radius on the router is most likely another one",
	dropMAMissing:     "Message-Authenticator is required of this router and was not sent: set require-message-auth, or update RouterOS",
	dropMAFellBack:    "this router used to send Message-Authenticator and this request had none: it was changed or set back, or somebody forges requests",
	dropProxyState:    "Proxy-State without Message-Authenticator, as the BlastRADIUS attack sends it; a router never does",
	dropQueueFull:     "more requests at once than can be answered in time",
	dropTooOld:        "the request had waited longer than the router does",
	dropNoSessionID:   "accounting without Acct-Session-Id",
	dropStatusType:    "an Acct-Status-Type this program does not know",
	dropUnavailable:   "the database did not answer; the router asks again",
	dropUnencodable:   "the answer does not fit into a packet: shorten the plan's address lists",
	dropPanic:         "a defect of this program: please send the log",
}

// DropReasons lists why a packet may be met with silence, as Count.Reason.
func DropReasons() []string {
	out := []string{string(dropInFlight), string(dropForgotten)}
	for why := range meanings {
		if why != dropSuspectSecret {
			out = append(out, string(why))
		}
	}
	slices.Sort(out)
	return out
}

// dropSuspectSecret is not a drop: the password of a request without
// Message-Authenticator decoded to what nobody types, so it was rejected.
const dropSuspectSecret dropped = "undecodable_password"

const (
	// offenderBound is how many sources and reasons are remembered of our NASes,
	// and as many of strangers, so that a flood of one cannot push out the other.
	// At the bound the one heard longest ago goes first.
	offenderBound = 64
	latencyBound  = 1024 // answers the percentiles are taken from; a power of two
	// logEvery and logBurst limit the lines of each reason, so that nobody can
	// fill the disk: at worst some fifty lines in each half minute for all.
	logEvery = 30 * time.Second
	logBurst = 3
)

// tally counts outcomes. What it counts are constants of this program and
// reasons of hotspot, so it is bounded.
type tally struct {
	mu     sync.RWMutex // guards the map, not the numbers in it
	counts map[outcome]*atomic.Uint64
}

type outcome struct {
	kind, result string
	reason       dropped
}

func (t *tally) add(o outcome) {
	t.mu.RLock()
	n := t.counts[o]
	t.mu.RUnlock()
	if n == nil {
		t.mu.Lock()
		if t.counts == nil {
			t.counts = map[outcome]*atomic.Uint64{}
		}
		if n = t.counts[o]; n == nil {
			n = new(atomic.Uint64)
			t.counts[o] = n
		}
		t.mu.Unlock()
	}
	n.Add(1)
}

func (t *tally) list(id hotspot.NASID) (out []Count) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for o, n := range t.counts {
		out = append(out, Count{NAS: id, Kind: o.kind, Result: o.result, Reason: string(o.reason), N: n.Load()})
	}
	return out
}

type offenderKey struct {
	source netip.Addr
	reason dropped
}

// offenders are sources met with silence, at most offenderBound.
type offenders struct {
	known  map[offenderKey]*list.Element
	recent list.List // of *Offender, the newest first
}

func (all *offenders) add(id hotspot.NASID, why dropped, source netip.Addr, now time.Time) {
	key := offenderKey{source, why}
	e := all.known[key]
	switch {
	case e != nil:
		all.recent.MoveToFront(e)
	case all.recent.Len() >= offenderBound:
		e = all.recent.Back() // its place is taken
		o := e.Value.(*Offender)
		delete(all.known, offenderKey{o.Source, dropped(o.Reason)})
		*o = Offender{Source: source, NAS: id, Reason: string(why), First: now}
		all.recent.MoveToFront(e)
	default:
		e = all.recent.PushFront(&Offender{Source: source, NAS: id, Reason: string(why), First: now})
	}
	if all.known == nil {
		all.known = map[offenderKey]*list.Element{}
	}
	all.known[key] = e
	o := e.Value.(*Offender)
	o.Last = now
	o.N++
}

func (all *offenders) list() (out []Offender) {
	for e := all.recent.Front(); e != nil; e = e.Next() {
		out = append(out, *e.Value.(*Offender))
	}
	return out
}

// voice limits the log lines of one reason.
type voice struct {
	limiter *rate.Limiter
	held    uint64 // lines not written since the last one
}

// stats is the server's part of Stats; what is counted of a NAS stands in nas.
type stats struct {
	log     *slog.Logger
	unknown tally // of sources that are no NAS of ours
	latency [latencyBound]atomic.Int64
	took    map[string]*metrics.Histogram // by kind; the map itself never changes
	answers atomic.Uint64

	mu        sync.Mutex // guards what follows
	ours      offenders  // of our NASes
	strangers offenders
	voices    map[dropped]*voice
	bindErr   error
}

func newStats(log *slog.Logger) *stats {
	return &stats{log: log, voices: map[dropped]*voice{}, took: map[string]*metrics.Histogram{"access": {}, "accounting": {}, "status": {}}}
}

// answered counts an answer that left; took is 0 for a repeated one.
func (s *stats) answered(n *nas, kind, result string, took time.Duration, now time.Time) {
	n.counts.add(outcome{kind: kind, result: result})
	n.lastAnswer.Store(now.UnixNano())
	if took > 0 {
		s.latency[(s.answers.Add(1)-1)%latencyBound].Store(int64(took))
		if h := s.took[kind]; h != nil {
			h.Observe(took)
		}
	}
}

// drop counts a packet met with silence and remembers who sent it; n is nil for
// a source that is no NAS of ours.
func (s *stats) drop(n *nas, kind string, why dropped, from netip.AddrPort, now time.Time) {
	t, id := &s.unknown, hotspot.NASID("")
	if n != nil {
		t, id = &n.counts, n.ID
	}
	t.add(outcome{kind: kind, result: "dropped", reason: why})
	if why == dropInFlight || why == dropForgotten {
		return
	}
	s.offend(n, why, from, now)
	if held, ok := s.loud(why, now); ok {
		s.log.Warn("a RADIUS packet was met with silence", "reason", string(why), "source", from.String(), "nas", id, "kind", kind, "repeated", held)
	}
}

// suspect remembers a NAS whose password nobody can have typed: most likely
// another shared secret. RFC 2865 gives no way to be sure, so the request is
// rejected for that reason.
func (s *stats) suspect(n *nas, from netip.AddrPort, now time.Time) {
	s.offend(n, dropSuspectSecret, from, now)
	if held, ok := s.loud(dropSuspectSecret, now); ok {
		s.log.Warn("a password arrived unreadable and was rejected: the shared secret of /radius on the router is most likely another one than configured here",
			"reason", string(dropSuspectSecret), "source", from.String(), "nas", n.ID, "kind", "access", "repeated", held)
	}
}

// loud reports whether a line about why may be written now, and how many were not.
func (s *stats) loud(why dropped, now time.Time) (held uint64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.voices[why]
	if v == nil {
		v = &voice{limiter: rate.NewLimiter(rate.Every(logEvery), logBurst)}
		s.voices[why] = v
	}
	if !v.limiter.AllowN(now, 1) {
		v.held++
		return 0, false
	}
	held, v.held = v.held, 0
	return held, true
}

func (s *stats) offend(n *nas, why dropped, from netip.AddrPort, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n == nil {
		s.strangers.add("", why, from.Addr(), now)
		return
	}
	s.ours.add(n.ID, why, from.Addr(), now)
}

func (s *stats) bound(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bindErr = err
}

// Stats returns what was seen so far.
func (s *Server) Stats() Stats {
	s.init()
	st, now := s.stats, s.Now()
	out := Stats{Took: st.took, Remembered: s.cache.len(), Counts: st.unknown.list("")}
	if t := s.nases.Load(); t != nil {
		for _, n := range t.all {
			out.Counts = append(out.Counts, n.counts.list(n.ID)...)
			one := n.stats(now)
			out.NASes = append(out.NASes, one)
			if one.LastAnswer.After(out.LastAnswer) {
				out.LastAnswer = one.LastAnswer
			}
		}
	}
	s.mu.Lock()
	for _, k := range s.sockets {
		out.Sockets = append(out.Sockets, k.stats(now))
	}
	s.mu.Unlock()
	slices.SortFunc(out.Counts, func(a, b Count) int {
		return cmp.Or(cmp.Compare(a.NAS, b.NAS), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Result, b.Result), cmp.Compare(a.Reason, b.Reason))
	})
	st.mu.Lock()
	out.BindErr = st.bindErr
	out.Offenders = append(st.ours.list(), st.strangers.list()...)
	st.mu.Unlock()
	slices.SortStableFunc(out.Offenders, func(a, b Offender) int { return b.Last.Compare(a.Last) })
	if n := min(st.answers.Load(), latencyBound); n > 0 {
		took := make([]int64, n)
		for i := range took {
			took[i] = st.latency[i].Load()
		}
		slices.Sort(took)
		out.P50, out.P95 = time.Duration(took[n/2]), time.Duration(took[n*95/100])
	}
	return out
}

// stats says how the NAS proves itself.
func (n *nas) stats(now time.Time) NASStats {
	out := NASStats{NAS: n.ID, Policy: n.MessageAuthenticator, SignsRequests: n.signs.Load(),
		ProvenAt: clock(n.provenAt.Load()), LastAnswer: clock(n.lastAnswer.Load())}
	if k := n.keys(now)[1]; k != nil {
		out.Previous, out.PreviousUntil = n.proven.Load() == k, n.PreviousUntil
	}
	return out
}

// Proven tells which secret a NAS last proved in a packet of its own, the previous
// one or the current, and when; zero is never.
func (s *Server) Proven(nas hotspot.NASID) (previous bool, at time.Time) {
	t := s.nases.Load()
	if t == nil {
		return false, time.Time{}
	}
	for _, n := range t.all {
		if n.ID == nas {
			at = clock(n.provenAt.Load())
			return n.previous != nil && n.proven.Load() == n.previous, at
		}
	}
	return false, time.Time{}
}

// clock is a moment kept as Unix nanoseconds; 0 is never.
func clock(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns)
}

package radius

import (
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"iwas/internal/hotspot"
)

// Stats is what the server has seen since it started.
type Stats struct {
	Counts     []Count
	Offenders  []Offender // newest first: who was met with silence, and why
	LastAnswer time.Time
	P50, P95   time.Duration // of the last answers, from arrival to reply
	Remembered int           // replies held for repeats
	BindErr    error         // why the sockets could not be bound at the last try; nil once they are
}

// Count is one counter.
type Count struct {
	NAS    hotspot.NASID // "" for sources that are no NAS of ours
	Kind   string        // access, accounting, status, malformed, other
	Result string        // accept, a hotspot.Reason, Start…, repeated, or dropped
	Reason string        // of dropped
	N      uint64
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
	dropProxyState:    "Proxy-State without Message-Authenticator, as the BlastRADIUS attack sends it; a router never does",
	dropQueueFull:     "more requests at once than can be answered in time",
	dropTooOld:        "the request had waited longer than the router does",
	dropNoSessionID:   "accounting without Acct-Session-Id",
	dropStatusType:    "an Acct-Status-Type this program does not know",
	dropUnavailable:   "the database did not answer; the router asks again",
	dropPanic:         "a defect of this program: please send the log",
}

// dropSuspectSecret is not a drop: the password of a request without
// Message-Authenticator decoded to what nobody types, so it was rejected.
const dropSuspectSecret dropped = "undecodable_password"

const (
	offenderBound = 64   // sources and reasons remembered; the one heard longest ago goes first
	latencyBound  = 1024 // answers the percentiles are taken from
)

type offenderKey struct {
	source netip.Addr
	reason dropped
}

type stats struct {
	log     *slog.Logger
	now     func() time.Time
	limiter *rate.Limiter // of log lines, so that nobody can fill the disk

	mu         sync.Mutex
	counts     map[Count]uint64 // keyed with N zero
	offenders  map[offenderKey]*Offender
	lastAnswer time.Time
	latency    []time.Duration // ring
	next       int
	unlogged   uint64
	bindErr    error
}

func newStats(log *slog.Logger, now func() time.Time) *stats {
	return &stats{log: log, now: now, limiter: rate.NewLimiter(rate.Every(10*time.Second), 5),
		counts: map[Count]uint64{}, offenders: map[offenderKey]*Offender{}}
}

func (s *stats) answered(nas hotspot.NASID, kind, result string, took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts[Count{NAS: nas, Kind: kind, Result: result}]++
	s.lastAnswer = s.now()
	if took == 0 {
		return
	}
	if len(s.latency) < latencyBound {
		s.latency = append(s.latency, took)
		return
	}
	s.latency[s.next] = took
	s.next = (s.next + 1) % latencyBound
}

// drop counts a packet met with silence and remembers who sent it.
func (s *stats) drop(nas hotspot.NASID, kind string, why dropped, from netip.AddrPort) {
	s.mu.Lock()
	s.counts[Count{NAS: nas, Kind: kind, Result: "dropped", Reason: string(why)}]++
	quiet := why == dropInFlight || why == dropForgotten
	if !quiet {
		s.offend(nas, why, from)
	}
	unlogged := s.unlogged
	loud := !quiet && s.limiter.AllowN(s.now(), 1)
	switch {
	case loud:
		s.unlogged = 0
	case !quiet:
		s.unlogged++
	}
	s.mu.Unlock()
	if loud {
		s.log.Warn("a RADIUS packet was met with silence", "reason", string(why), "source", from.String(), "nas", nas, "kind", kind, "not_logged_before", unlogged)
	}
}

func (s *stats) bound(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bindErr = err
}

// suspectSecret remembers a password that a wrong shared secret would explain.
func (s *stats) suspectSecret(nas hotspot.NASID, from netip.AddrPort) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.offend(nas, dropSuspectSecret, from)
}

func (s *stats) offend(nas hotspot.NASID, why dropped, from netip.AddrPort) {
	key, now := offenderKey{from.Addr(), why}, s.now()
	o := s.offenders[key]
	if o == nil {
		if len(s.offenders) >= offenderBound {
			var oldest offenderKey
			for k, other := range s.offenders {
				if held := s.offenders[oldest]; held == nil || other.Last.Before(held.Last) {
					oldest = k
				}
			}
			delete(s.offenders, oldest)
		}
		o = &Offender{Source: from.Addr(), NAS: nas, Reason: string(why), First: now}
		s.offenders[key] = o
	}
	o.Last = now
	o.N++
}

// Stats returns what was seen so far.
func (s *Server) Stats() Stats {
	s.init()
	st := s.stats
	st.mu.Lock()
	defer st.mu.Unlock()
	out := Stats{LastAnswer: st.lastAnswer, Remembered: s.cache.len(), BindErr: st.bindErr}
	for c, n := range st.counts {
		c.N = n
		out.Counts = append(out.Counts, c)
	}
	slices.SortFunc(out.Counts, func(a, b Count) int {
		for _, d := range []int{cmp(string(a.NAS), string(b.NAS)), cmp(a.Kind, b.Kind), cmp(a.Result, b.Result), cmp(a.Reason, b.Reason)} {
			if d != 0 {
				return d
			}
		}
		return 0
	})
	for _, o := range st.offenders {
		out.Offenders = append(out.Offenders, *o)
	}
	slices.SortFunc(out.Offenders, func(a, b Offender) int { return b.Last.Compare(a.Last) })
	if l := slices.Clone(st.latency); len(l) > 0 {
		slices.Sort(l)
		out.P50, out.P95 = l[len(l)/2], l[len(l)*95/100]
	}
	return out
}

func cmp(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

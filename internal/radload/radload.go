// Package radload is a load generator for RADIUS servers: the traffic of MikroTik
// HotSpots, many guests at once, from many client ports. Every request has an
// authenticator of its own, so that no server can answer from its duplicate
// cache; every reply is verified as a router does, and more. It knows no server's
// inside: what it measures it sees from the network and from /proc.
//
// Sources: RFC 2865, 2866, 2869, 3579, 5080; the order of attributes is that of
// recorded HotSpot packets (facts.md §4).
package radload

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"syscall"
	"time"
)

// Kind is one sort of request.
type Kind byte

// The requests of a guest's life. Both logins are Access-Requests with
// Message-Authenticator; the others are Accounting-Requests.
const (
	PAP Kind = iota
	CHAP
	Start
	Interim
	Stop
)

func (k Kind) login() bool { return k == PAP || k == CHAP }

// door is the server's port that takes the request: 0 authentication, 1 accounting.
func (k Kind) door() int {
	if k.login() {
		return 0
	}
	return 1
}

// Options say what is asked, of whom and how hard.
type Options struct {
	Auth, Acct netip.AddrPort
	Secret     string

	Crowd  *Crowd // its guests stand afterwards where this run left them
	Script []Kind // what a guest does, one after the other; each request waits for the answer to the one before
	Once   bool   // every guest does Script once, and the run ends; else over and over until Time is up

	Outstanding int           // closed loop: so many requests are under way all the time
	Rate        float64       // open loop: requests a second, whatever the answers do; 0 is the closed loop
	Time        time.Duration // bound of the run
	Ports       int           // client ports; 0 is one for every 16 outstanding, at least 4, at most 64

	Resend time.Duration // after so long without an answer the same bytes go again; 0 is 1 s (facts.md §4)
	Tries  int           // sends in all before a request is lost; 0 is 3

	Echo  bool         // the server sends requests back as they are: the work of verifying is done, its outcome ignored
	Acked func(Record) // told of every acknowledged Accounting-Request, from several goroutines; nil for nobody
}

// Record is one acknowledged Accounting-Request.
type Record struct {
	Kind             Kind
	Guest            int // index in the crowd
	AcctSessionID    string
	Seconds          uint32 // Acct-Session-Time
	Upload, Download uint64 // octets from and to the guest
}

// Result is what a run saw.
type Result struct {
	Sent     int // requests, each counted once
	Answered int // with a verified reply of the code hoped for
	Rejected int // with a verified Access-Reject
	Lost     int // not answered within all tries
	Resent   int // repeats of a request
	Wrong    int // replies that did not verify, and were not taken for an answer

	Elapsed time.Duration // from the first request to the last reply
	CPU     time.Duration // of this process meanwhile

	FirstWrong  string // what was wrong with the first such reply
	FirstReject string // Reply-Message of the first Access-Reject

	latencies []time.Duration // from the first send of a request to its reply, sorted
}

// Rate is verified answers a second, Access-Rejects included.
func (r *Result) Rate() float64 {
	if r.Elapsed <= 0 {
		return 0
	}
	return float64(r.Answered+r.Rejected) / r.Elapsed.Seconds()
}

// Quantile returns the latency that the share q of all answers did not exceed.
func (r *Result) Quantile(q float64) time.Duration {
	if len(r.latencies) == 0 {
		return 0
	}
	return r.latencies[min(len(r.latencies)-1, int(q*float64(len(r.latencies))))]
}

// Clean says why the run does not measure what it set out to measure, or nil:
// every request must have been answered as hoped for.
func (r *Result) Clean() error {
	switch {
	case r.Wrong > 0:
		return fmt.Errorf("%d of %d replies did not verify; the first: %s", r.Wrong, r.Sent, r.FirstWrong)
	case r.Rejected > 0:
		return fmt.Errorf("%d of %d logins were rejected; the first: %q", r.Rejected, r.Sent, r.FirstReject)
	case r.Lost > 0:
		return fmt.Errorf("%d of %d requests got no answer in all their tries", r.Lost, r.Sent)
	case r.Answered == 0:
		return errors.New("nothing was answered")
	}
	return nil
}

func (o *Options) defaults() error {
	if o.Crowd == nil || len(o.Crowd.guests) == 0 || len(o.Script) == 0 || o.Time <= 0 {
		return errors.New("radload: a load needs guests, something for them to do, and a time")
	}
	if o.Outstanding <= 0 {
		o.Outstanding = 256
	}
	if o.Ports <= 0 {
		o.Ports = min(64, max(4, o.Outstanding/16))
	}
	o.Ports = min(o.Ports, o.Outstanding, len(o.Crowd.guests))
	if each := (o.Outstanding + o.Ports - 1) / o.Ports; each > identifiers {
		return fmt.Errorf("radload: %d outstanding on each of %d ports; an identifier has one octet", each, o.Ports)
	}
	if o.Resend == 0 {
		o.Resend = time.Second
	}
	if o.Tries == 0 {
		o.Tries = 3
	}
	return nil
}

// Run puts the load on and returns what came back. It ends with ctx, at once; an
// error means that it could not run, not that a server did badly.
func Run(ctx context.Context, o Options) (*Result, error) {
	if err := o.defaults(); err != nil {
		return nil, err
	}
	ports := make([]*port, o.Ports)
	for i := range ports {
		p, err := newPort(&o, i)
		if err != nil {
			return nil, errors.Join(err, closePorts(ports[:i]))
		}
		ports[i] = p
	}
	cpu, began := ownCPU(), time.Now()
	done := make(chan error, len(ports))
	for _, p := range ports {
		go func() { done <- p.run(ctx, began) }()
	}
	var err error
	for range ports {
		err = errors.Join(err, <-done)
	}
	r := &Result{CPU: ownCPU() - cpu}
	for _, p := range ports {
		r.add(&p.got)
		r.Elapsed = max(r.Elapsed, p.last.Sub(began))
	}
	slices.Sort(r.latencies)
	return r, errors.Join(err, closePorts(ports))
}

func (r *Result) add(p *Result) {
	r.Sent += p.Sent
	r.Answered += p.Answered
	r.Rejected += p.Rejected
	r.Lost += p.Lost
	r.Resent += p.Resent
	r.Wrong += p.Wrong
	if r.FirstWrong == "" {
		r.FirstWrong = p.FirstWrong
	}
	if r.FirstReject == "" {
		r.FirstReject = p.FirstReject
	}
	r.latencies = append(r.latencies, p.latencies...)
}

func closePorts(ports []*port) error {
	var err error
	for _, p := range ports {
		err = errors.Join(err, p.udp.Close())
	}
	return err
}

// ownCPU is the processor time this process has used.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

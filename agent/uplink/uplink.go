// Package uplink keeps a site and its cloud at the same facts over MQTT: the
// site's events go up and are acknowledged, the wanted state comes down and is
// handed to the store, presence says whether anybody is there. It also enrols
// the box. It keeps nothing that must survive a restart (the store does that),
// decides about no guest and never waits for the cloud on a guest's behalf.
package uplink

import (
	"context"
	"crypto/tls"
	"log/slog"
	"sync"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/mqttlink"
	"iwas/internal/wire"
)

// Times of the conversation (design.md §5, reference/sync.md §3).
const (
	helloEvery      = time.Minute            // a hello without any other reason
	conditionsEvery = 3 * time.Second        // at most one hello because the conditions have changed
	presenceEvery   = 10 * time.Minute       // presence again, against a stale will kept by the broker
	resendFirst     = 500 * time.Millisecond // a batch without an answer is sent again, doubling
	resendMost      = 30 * time.Second       // up to this
	deafAfter       = 5 * time.Minute        // connected, batches sent, nothing heard: connect anew
)

// Bounds of the queues between the connection and the workers. At a bound the
// newest message is dropped and counted: the cloud repeats what is unanswered.
const (
	stateQueue   = 512 // state messages; an older cloud sends the 360 parts, 24 kB each, of 100,000 accounts at once
	commandQueue = 64
	ackQueue     = 16
)

// Store is what the uplink needs of the site's store.
type Store interface {
	// Standing fills a hello's epoch, cursor, revision, hash, documents not in
	// force, sessions and proofs not yet acknowledged.
	Standing(ctx context.Context) (wire.Hello, error)
	// Events returns the events after a sequence number, in order.
	Events(ctx context.Context, after int64, maxEvents, maxBytes int) (wire.Batch, error)
	// Acked takes in an acknowledgement: it moves the mark, also back, or mints
	// a new epoch on a fork.
	Acked(ctx context.Context, a wire.Ack) error
	// ApplyState applies a delta or keeps a part of a snapshot; false means that it
	// does not continue what is here.
	ApplyState(ctx context.Context, s wire.State) (applied bool, err error)
	// BringState brings a snapshot that is whole into force, which may take long;
	// told means that a hello has something new to say.
	BringState(ctx context.Context) (told bool, err error)
	// Changed ticks after commits that concern the cloud.
	Changed() (ticks <-chan struct{}, cancel func())
}

// Inbox keeps commands before anything comes of them.
type Inbox interface {
	// ReceiveCommand keeps one, once for each id. answer is that of one answered
	// before; begin says that it waits to be begun.
	ReceiveCommand(ctx context.Context, c wire.Command) (answer *wire.CommandResult, begin bool, err error)
}

// Uplink is one site's connection to its cloud.
type Uplink struct {
	Agent   hotspot.AgentID
	Boot    string // id of this run of the program: lower-case letters and digits
	Version string // of the program
	Store   Store
	// Link says where the broker is: URL and TLS, or Dial. The rest is filled in here.
	Link mqttlink.Options
	// Conditions returns the open health conditions; nil is none. It is called
	// from several goroutines.
	Conditions func() []wire.Condition
	// RouterSeenAt returns the last successful round trip to the router; nil is never.
	RouterSeenAt func() time.Time
	// Routers returns how the routers do; nil is not known.
	Routers func() []wire.RouterHealth
	// ClockTrusted reports whether the date of this box is to be believed; nil is yes.
	ClockTrusted func() bool
	// Inbox keeps commands; Carry begins to carry one out, which is in the inbox then,
	// and returns at once. ctx ends with the run of Serve. Without either what the
	// cloud commands is left unanswered.
	Inbox Inbox
	Carry func(ctx context.Context, c wire.Command)
	// Outage tells the cloud another way why there is no MQTT connection; nil is
	// not at all. OutageAfter is how long after the connection broke; 0 is a minute.
	Outage      func(ctx context.Context, o wire.Outage) error
	OutageAfter time.Duration
	// Copied is called when the cloud took this box for a second copy of another,
	// before the connection is given up; nil is nothing to remember.
	Copied func() error
	// StopReason says why the program stops on purpose, for the owner; nil is "stopped".
	StopReason func() string
	Log        *slog.Logger     // nil discards
	Now        func() time.Time // nil is time.Now

	mu      sync.Mutex
	link    *mqttlink.Link // guarded by mu; of the running Serve, or the last
	status  Status         // guarded by mu
	clock   clock          // guarded by mu
	trouble [parts]error   // guarded by mu; what went wrong on our side and has not gone right since
}

// Status is what the status page shows of the cloud link. Times are of this
// box's clock; zero means never.
type Status struct {
	Connected   bool
	Since       time.Time // connected, or not connected, since
	LastContact time.Time // last message from the cloud
	LastAck     time.Time // last acknowledged batch
	LastSeq     int64     // newest event
	AckedSeq    int64     // newest event the cloud has
	Backlog     int64     // events the cloud has not
	InFlight    int       // of them sent and not yet answered
	Revision    int64     // of the wanted state held
	NotInForce  int       // documents that could not be applied
	ClockOffset time.Duration
	ClockKnown  bool // ClockOffset was measured: the cloud's clock minus ours

	Problem string // what is wrong, in plain words with the next step; "" is nothing
	Code    string // of the condition catalogue
	Detail  string // the error behind Problem, for the log and support

	CopySeen time.Time // the cloud heard a second copy of this box; zero: never since the start

	Connects uint64 // connections made
	Failures uint64 // attempts that came to none
	Dropped  uint64 // messages dropped because a queue was full
	Refused  uint64 // messages that could not be read
}

// Serve runs the uplink until ctx ends, then says "stopped" to the cloud,
// disconnects and returns nil. An error means that it cannot run as configured.
func (u *Uplink) Serve(ctx context.Context) error {
	t, err := u.begin()
	if err != nil {
		return err
	}
	linkCtx, hangUp := context.WithCancel(context.WithoutCancel(ctx)) // outlives ctx by a farewell
	defer hangUp()
	var running sync.WaitGroup
	running.Go(func() { _ = t.link.Serve(linkCtx) }) // returns nil always
	running.Go(func() { t.listen(ctx) })
	running.Go(func() { t.applyStates(ctx) })
	running.Go(func() { t.bringStates(ctx) })
	running.Go(func() { t.takeCommands(ctx) })
	running.Go(func() { t.watchConditions(ctx) })
	running.Go(func() { t.watchOutage(ctx) })
	t.talk(ctx)
	t.farewell()
	hangUp()
	running.Wait()
	return nil
}

// begin makes what one run of Serve needs.
func (u *Uplink) begin() (*talk, error) {
	if !wire.ValidAgentID(string(u.Agent)) || u.Boot == "" || u.Store == nil {
		return nil, fault.New(fault.Invalid, "uplink: agent id, boot id and store are needed", nil).
			WithCode("CLD-103", "This box is not enrolled, or its identity is damaged: run iwas-agent enroll.")
	}
	t := newTalk(u)
	o := u.Link
	o.ClientID = string(u.Agent) + "-" + u.Boot
	o.Subscribe = []string{wire.Topic(u.Agent, "down/#")}
	o.Will = func(conn int64) mqttlink.Message { return t.presence(hotspot.Lost, conn, "") }
	o.OnUp = func(*mqttlink.Link) { poke(t.up) }
	o.Log = t.log
	if o.TLS != nil {
		o.TLS = u.dated(o.TLS)
	}
	link, err := mqttlink.New(o)
	if err != nil {
		return nil, err
	}
	t.link = link
	u.mu.Lock()
	defer u.mu.Unlock()
	u.link = link
	return t, nil
}

// dated makes TLS check certificates at the date this program keeps
// (design.md §7), which a box without a battery may not have from its system.
func (u *Uplink) dated(get func() (*tls.Config, error)) func() (*tls.Config, error) {
	return func() (*tls.Config, error) {
		c, err := get()
		if err != nil {
			return nil, err
		}
		c = c.Clone()
		if c.Time == nil {
			c.Time = u.now
		}
		return c, nil
	}
}

// Status returns a snapshot for people.
func (u *Uplink) Status() Status {
	u.mu.Lock()
	defer u.mu.Unlock()
	s := u.status
	s.ClockOffset, s.ClockKnown = u.clock.offset, u.clock.known
	for _, err := range u.trouble {
		if err != nil {
			s.blame(err)
		}
	}
	if u.link == nil {
		return s
	}
	s.Connected, s.Since = u.link.Connected(), u.link.Since()
	s.Dropped += u.link.Dropped()
	s.Connects, s.Failures = u.link.Connects()
	if err := u.link.Err(); err != nil {
		s.blame(err)
	}
	return s
}

// ClockOffset returns the cloud's clock minus ours, and how far off that may
// be. known is false before the first message of the cloud.
func (u *Uplink) ClockOffset() (offset, uncertainty time.Duration, known bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.clock.offset, u.clock.uncertainty, u.clock.known
}

// blame fills in what is wrong.
func (s *Status) blame(err error) {
	s.Detail, s.Code, s.Problem = err.Error(), fault.Code(err), fault.Hint(err)
	if s.Problem == "" {
		s.Problem = s.Detail
	}
}

// note changes the status.
func (u *Uplink) note(change func(*Status)) {
	u.mu.Lock()
	defer u.mu.Unlock()
	change(&u.status)
}

func (u *Uplink) now() time.Time {
	if u.Now != nil {
		return u.Now()
	}
	return time.Now()
}

// poke wakes the reader of a channel of capacity one; a burst is one wake.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

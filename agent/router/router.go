// Package router brings the site's NASes to what is wanted of them: whoever must
// be off is off, and the router itself says so (design.md §6); and its
// address-lists hold the addresses that belong there, until the time when they
// no longer do. It also watches each router: its list of guests, its health,
// and its ways round the HotSpot.
//
// A Check looks at all of the connection at once, for people.
//
// It never decides who must be off (its Store says so), never speaks RADIUS
// (its Disconnector does), and never changes a router's configuration, but for
// entries of address-lists, which end by themselves and carry its mark, and a
// debug log that a person asks for, and that ends by itself.
package router

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/routeros"
)

// Store knows who must be off, and keeps what came of it.
type Store interface {
	// Targets returns every account that must be off now and is not proven off.
	Targets(ctx context.Context) ([]hotspot.Target, error)
	// LockTargets returns those of them that are locked, sooner: a person waits for
	// a lock.
	LockTargets(ctx context.Context) ([]hotspot.Target, error)
	// Prove keeps how an attempt ended. The same proof may come again.
	Prove(ctx context.Context, p hotspot.Proof) error
	// Doubt has the locks of accounts be targets again however they ended; without
	// accounts those that ended as less than enforced.
	Doubt(ctx context.Context, accounts ...hotspot.AccountID) error
	// ObserveActive takes a router's own list of guests, read at the given time.
	ObserveActive(ctx context.Context, nas hotspot.NASID, entries []hotspot.ActiveEntry, at time.Time) error
}

// Disconnector sends Disconnect-Request (RFC 5176 §2.1), retransmissions and
// the second try with fewer attributes included.
type Disconnector interface {
	// Disconnect returns what the NAS answered, or that it did not within ctx.
	// An error means that nothing could be asked.
	Disconnect(ctx context.Context, nas hotspot.NASID, s hotspot.Session) (hotspot.Disconnected, error)
}

// Router is one NAS of the site.
type Router struct {
	NAS hotspot.NASID
	// Dial opens a connection to its API; nil when none is configured: a lock
	// then ends "acknowledged, not proven". Two connections are kept: one for
	// commands, one for watching, so that watching never delays a lock.
	Dial func(ctx context.Context) (routeros.Conn, error)
	// Timeouts says from when it counts the Session-Timeout of a CoA-Request.
	Timeouts TimeoutForm
}

// Enforcer puts accounts off and watches the routers, all NASes of one site.
// Routers and Store are required.
type Enforcer struct {
	Routers      []Router
	Store        Store
	Disconnector Disconnector    // nil: sessions are ended over the API only
	Locks        Locks           // nil: what is open to one locked account is known to its proof only
	Changes      Changes         // nil: live sessions keep the terms they began with
	Changer      Changer         // nil: live sessions are changed by ending them, or not at all
	Lists        Lists           // nil: address-lists are left alone
	Wake         <-chan struct{} // a tick wakes the loop early; it never says what to do
	ListWake     <-chan struct{} // likewise, of the loops that keep address-lists
	Log          *slog.Logger    // nil: nothing is logged
	Now          func() time.Time
	Poll         time.Duration // between two looks at each router's active list; 0 is 5 s

	once    sync.Once
	nases   []*nas
	changer changer

	doubt atomic.Bool   // locks that ended as less than enforced may be enforced now
	worse atomic.Bool   // those that ended as enforced may leak now
	nudge chan struct{} // capacity one: something here changed, look at the targets again
	stir  chan struct{} // capacity one: look at what live sessions need
	// errands are begun by logins and worked on while Serve runs.
	errands chan errand
	// background runs what no one account waits for; set by Serve, which waits for it.
	background func(func(context.Context))

	settling  sync.Mutex                             // guards settledAs
	settledAs map[hotspot.GrantID]hotspot.GrantState // what the store knows of grants

	mu       sync.Mutex // guards what follows
	accounts map[hotspot.AccountID]*account
	running  int
}

// Codes of the condition catalogue that outcomes carry, besides those of
// package routeros.
const (
	CodeFasttrack = "HSP-201" // guests' connections are fasttracked past the HotSpot
	CodeIPv6      = "HSP-202" // IPv6 on the guest network, which the HotSpot does not control
	CodeBinding   = "HSP-203" // a bypassed ip-binding lets the device through
	CodeTrial     = "HSP-204" // the login page offers a trial without an account
	CodeLocalUser = "HSP-205" // a local user of that name is asked before RADIUS
	CodeStillOn   = "HSP-206" // the router keeps letting the guest through whatever is removed
	CodeGarden    = "HSP-208" // the walled garden is open to the internet
	CodeNoAnswer  = "RAD-104" // Disconnect-Request stays unanswered, and there is no API
	CodeNotEnded  = "RAD-105" // the NAS refuses Disconnect-Request, and there is no API
	CodeUnseen    = "RAD-115" // accounting speaks of a session that the router's own list does not show
	CodeNoStop    = "RAD-114" // the NAS says that it ended a session, and its accounting goes on; there is no API
)

// Codes of the rows of a check.
const (
	CodeNoName          = "NET-104" // the router's name is not found
	CodeClocks          = "CLK-102" // its clock and ours differ
	CodeTooOld          = "RTR-107" // RouterOS is older than supported
	CodeNoAPI           = "RTR-110" // none is configured
	CodeCertificateEnds = "RTR-113" // the certificate runs out
	CodeOpenService     = "RTR-114" // its API service lets in everybody
	CodeFewSessions     = "RTR-115" // it allows too few sessions
	CodeSlow            = "RTR-116" // no answer within the time of a probe
	CodeOddAnswer       = "RTR-117" // an answer that is not one to the question
	CodeListRead        = "RTR-118" // address-lists cannot be read
	CodeListWrite       = "RTR-119" // nor written
	CodeDebugLog        = "RTR-120" // RADIUS is logged, and nothing ends it
	CodeNoHotSpot       = "HSP-101" // no server is in force
	CodeHotSpotLocked   = "HSP-220" // device-mode keeps it from running
	CodeNotRADIUS       = "HSP-209" // the HotSpot does not ask RADIUS
	CodeNoUsage         = "HSP-210" // or does not report usage as asked
	CodeNoPage          = "HSP-211" // nobody can type a name and a password
	CodeOwnLimits       = "HSP-212" // the user profile has limits of its own
	CodeLicense         = "HSP-213" // the license allows few guests
	CodeStranger        = "RAD-102" // requests come from an address that is no router of ours
	CodeSecret          = "RAD-103" // the secrets differ
	CodeOldSecret       = "RAD-108" // the router uses the previous secret
	CodeNoEntry         = "RAD-109" // /radius does not name this box
	CodeEntry           = "RAD-110" // its entry does not fit this box
	CodeUnsigned        = "RAD-111" // answers need no signature
	CodeUnanswered      = "RAD-112" // the router's requests are not answered
	CodeBlindACK        = "RAD-113" // it acknowledges what it cannot have done
)

const (
	tick          = time.Second            // between two looks at what is wanted when nothing wakes the loop: what a date brings is seen then
	tickMost      = 5 * time.Second        // and on a box where one look takes long
	maxAtOnce     = 32                     // accounts being put off at once; the others wait for one to end
	attemptTime   = 45 * time.Second       // one attempt at one account, the slowest router included
	settleTime    = 2 * time.Second        // an Access-Accept may take this long to become a login
	backOffFirst  = time.Second            // before the second attempt at an account; doubles
	backOffMost   = 30 * time.Second       //
	defaultPoll   = 5 * time.Second        //
	surveyEvery   = 30 * time.Second       // ways round are looked for in the background,
	surveyFresh   = time.Second            // and again for a lock when the last look is older,
	surveyKept    = time.Minute            // whose result may be used this long if a new look fails
	surveyWait    = 2 * time.Second        // a lock waits for its look no longer
	describeEvery = 30 * time.Second       // version, identity, uptime
	firstRetry    = 250 * time.Millisecond // after a failed dial; doubles up to lastRetry
	lastRetry     = 5 * time.Second        //
	idleTime      = 10 * time.Second       // a command connection unused this long is tried, so that a dead one is known before a lock needs it
	aheadWait     = time.Second            // for a read on the other connection, which may be dead
	cookiePause   = time.Second            // a router that takes longer over cookies gets its Disconnect-Request meanwhile
	patience      = time.Second            // for the answer to Disconnect-Request when there is an API to go on with,
	noPatience    = 100 * time.Millisecond // and when the last one stayed unanswered too
)

// init prepares the parts that Health and Serve share.
func (e *Enforcer) init() {
	e.once.Do(func() {
		if e.Log == nil {
			e.Log = slog.New(slog.DiscardHandler)
		}
		if e.Now == nil {
			e.Now = time.Now
		}
		if e.Poll <= 0 {
			e.Poll = defaultPoll
		}
		e.nudge, e.stir = make(chan struct{}, 1), make(chan struct{}, 1)
		e.errands = make(chan errand, errandsBound)
		e.accounts = map[hotspot.AccountID]*account{}
		for _, r := range e.Routers {
			n := newNAS(r)
			n.survey.changed = e.waysChanged
			e.nases = append(e.nases, n)
		}
		e.doubt.Store(true) // what became of a router while nobody looked is not known
	})
}

// Serve runs until ctx ends, and returns when nothing of it runs any more.
func (e *Enforcer) Serve(ctx context.Context) error {
	e.init()
	var all sync.WaitGroup
	e.background = func(do func(context.Context)) { all.Go(func() { do(ctx) }) }
	for _, n := range e.nases {
		if n.Dial != nil {
			all.Go(func() { e.watch(ctx, n) })
		}
		if n.Dial != nil && e.Lists != nil {
			all.Go(func() { e.keepLists(ctx, n) })
		}
	}
	if e.ListWake != nil {
		all.Go(func() { e.spreadLists(ctx) })
	}
	for range errandWorkers {
		all.Go(func() { e.runErrands(ctx) })
	}
	if e.Changes != nil {
		all.Go(func() { e.keepChanges(ctx, &all) })
	}
	e.reconcile(ctx, &all)
	all.Wait()
	for _, n := range e.nases {
		n.command.close()
		n.watcher.close()
		n.lists.link.close()
	}
	return ctx.Err()
}

// waysChanged notes that something which led past a HotSpot no longer does, or
// that something does which did not.
func (e *Enforcer) waysChanged(closed, opened bool) {
	if closed {
		e.doubt.Store(true)
	}
	if opened {
		e.worse.Store(true)
	}
	e.poke()
}

// doubts has locks proven anew whose end may be another one by now.
func (e *Enforcer) doubts(ctx context.Context) {
	if e.doubt.Swap(false) && e.Store.Doubt(ctx) != nil {
		e.doubt.Store(true) // the next round tries again
	}
	if e.Locks == nil || !e.worse.Swap(false) {
		return
	}
	locked, err := e.Locks.Locked(ctx, lockedRead)
	if err == nil && len(locked) > 0 {
		err = e.Store.Doubt(ctx, accountsOf(locked)...)
	}
	if err != nil {
		e.worse.Store(true)
	}
}

func accountsOf(targets []hotspot.Target) []hotspot.AccountID {
	out := make([]hotspot.AccountID, len(targets))
	for i, t := range targets {
		out[i] = t.Account
	}
	return out
}

// poke wakes the loop.
func (e *Enforcer) poke() { ring(e.nudge) }

func ring(bell chan struct{}) {
	select {
	case bell <- struct{}{}:
	default: // it was rung already
	}
}

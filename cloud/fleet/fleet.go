// Package fleet keeps the sites' agents at what is wanted of them: it commits
// changes and sends them at once, answers where an agent says it stands, sends
// again what got no answer, and enrols, confirms and retires agents. It keeps
// nothing that must survive a restart (the store does that), reads no event and
// does not know MQTT.
package fleet

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/lanes"
	"iwas/internal/secret"
	"iwas/internal/wire"
)

// Bounds.
const (
	workers    = 8                // hellos answered at once, over all agents
	depth      = 16               // messages of one agent waiting; above it the newest is dropped: a hello comes every minute
	storeLimit = 20 * time.Second // for what one message needs of the store
	codeLife   = time.Hour        // of an enrolment code
	codeLength = 8
)

// Changes is the part of the store that changes what is wanted.
type Changes interface {
	CreateAccount(ctx context.Context, actor hotspot.Operator, n hotspot.NewAccount) (hotspot.AccountID, hotspot.Password, error)
	CreateSite(ctx context.Context, actor hotspot.Operator, s hotspot.Site) (hotspot.Site, error)
	CreatePlan(ctx context.Context, actor hotspot.Operator, p hotspot.Plan) (hotspot.Plan, error)
	Lock(ctx context.Context, actor hotspot.Operator, account hotspot.AccountID, reason string) error
	Unlock(ctx context.Context, actor hotspot.Operator, account hotspot.AccountID, reason string) error
	LockDevice(ctx context.Context, actor hotspot.Operator, account hotspot.AccountID, device hotspot.MAC, reason string) (hotspot.AccountID, error)
	SetSpeed(ctx context.Context, actor hotspot.Operator, account hotspot.AccountID, rate hotspot.RateLimit) error
	Extend(ctx context.Context, actor hotspot.Operator, account hotspot.AccountID, d time.Duration, reason string) error
	Guest(ctx context.Context, org hotspot.OrganizationID, account hotspot.AccountID) (hotspot.Guest, error)
	// OnCommit names who hears of every committed change of intent, in the
	// goroutine of the change: the site, its agent ("" if none), the delta.
	OnCommit(func(hotspot.SiteID, hotspot.AgentID, wire.State))
}

// Commands is the part of the store that keeps commands.
type Commands interface {
	// AddCommand keeps a command, not yet sent; it may be begun within ttl.
	AddCommand(ctx context.Context, actor hotspot.Operator, c hotspot.Command, ttl time.Duration) (hotspot.Command, error)
	// DueCommands takes what is to be sent now, each for one caller, and ends what
	// nobody can answer any more.
	DueCommands(ctx context.Context) (due []wire.DueCommand, ended []hotspot.SiteID, err error)
	// ApplyCommands takes in what a hello says of commands, ends those the site once
	// began and knows nothing of any more, and reports whether any of it was news.
	ApplyCommands(ctx context.Context, agent hotspot.AgentID, h wire.Hello) (news bool, err error)
}

// States is the part of the store that says what is wanted.
type States interface {
	// Wanted returns where a site should be.
	Wanted(ctx context.Context, site hotspot.SiteID) (lineage string, revision int64, hash string, err error)
	// Held returns what an agent said last that it holds, to whichever process of the
	// cloud, and whether it is online; kind NotFound where it said nothing yet.
	Held(ctx context.Context, agent hotspot.AgentID) (site hotspot.SiteID, lineage string, revision int64, online bool, err error)
	// Delta returns what leads from a revision to the newest; false when only a
	// snapshot can.
	Delta(ctx context.Context, site hotspot.SiteID, lineage string, from int64) (wire.State, bool, error)
	// Pieces returns the next pieces of the whole set for an agent that has those
	// through staged, and through which revision all locks have left with them.
	Pieces(ctx context.Context, site hotspot.SiteID, staged wire.Staged, most int) (pieces []wire.State, locks int64, err error)
	// Unreceived returns the locks that the site has not said it received.
	Unreceived(ctx context.Context, site hotspot.SiteID) (wire.State, error)
	// Snapshot returns the whole set in numbered parts, for an agent that takes no pieces.
	Snapshot(ctx context.Context, site hotspot.SiteID) ([]wire.State, error)
	// MarkSent notes when the locks up to a revision left.
	MarkSent(ctx context.Context, site hotspot.SiteID, revision int64, sent time.Time) error
}

// Reports is the part of the store that keeps what agents say of themselves.
// All but Mark answer kind Denied for an agent that is not in force.
type Reports interface {
	// Speaks judges which run of the agent's program says hello. copied is the run
	// of a second copy of the box that this gave away, or that says it.
	Speaks(ctx context.Context, agent hotspot.AgentID, boot string, at time.Time) (counts bool, copied string, err error)
	// RecordOutage keeps what a box told over HTTPS.
	RecordOutage(ctx context.Context, agent hotspot.AgentID, o wire.Outage, at time.Time) (hotspot.SiteID, error)
	RecordHello(ctx context.Context, agent hotspot.AgentID, h wire.Hello, at time.Time) error
	// RecordPresence reports whether the presence counts: an older will does not.
	RecordPresence(ctx context.Context, agent hotspot.AgentID, p wire.Presence, at time.Time) (counts bool, err error)
	// ApplyProofs takes in the proofs of a hello of the epoch and reports whether
	// any was news.
	ApplyProofs(ctx context.Context, agent hotspot.AgentID, epoch string, proofs []wire.LockProof) (news bool, err error)
	// Mark returns through which event a log is stored.
	Mark(ctx context.Context, site hotspot.SiteID, epoch string) (through int64, err error)
	// NobodyOnline says that no agent can be connected now.
	NobodyOnline(ctx context.Context) error
}

// Enrolments is the part of the store that keeps agents and codes.
type Enrolments interface {
	// Agent returns an enrolment, retired ones too.
	Agent(ctx context.Context, agent hotspot.AgentID) (hotspot.Agent, error)
	AddEnrolmentCode(ctx context.Context, actor hotspot.Operator, site hotspot.SiteID, hash []byte, expires time.Time) error
	// Offer says what a code is for, without spending it.
	Offer(ctx context.Context, hash []byte) (wire.EnrolOffer, error)
	// Enrol spends a code for the identity that issue makes; a repeat of the
	// same request gets the same answer and makes none.
	Enrol(ctx context.Context, hash []byte, r wire.EnrolRequest, issue func(wire.EnrolOffer) (wire.EnrolReply, error)) (wire.EnrolReply, error)
	// ConfirmAgent makes an agent the site's, and returns those it retired.
	ConfirmAgent(ctx context.Context, actor hotspot.Operator, agent hotspot.AgentID) (hotspot.SiteID, []hotspot.AgentID, error)
	RevokeAgent(ctx context.Context, actor hotspot.Operator, agent hotspot.AgentID) (hotspot.SiteID, error)
	// LeaveAgent retires an agent whose box gave the identity up.
	LeaveAgent(ctx context.Context, agent hotspot.AgentID) (hotspot.SiteID, error)
	// AgentSite returns the site of an agent in force.
	AgentSite(ctx context.Context, agent hotspot.AgentID) (hotspot.SiteID, error)
	// Renew keeps a certificate issued to an agent in force.
	Renew(ctx context.Context, agent hotspot.AgentID, certificate string) error
	// Revoked returns the certificates of retired agents that have not ended.
	Revoked(ctx context.Context) ([]hotspot.RevokedCertificate, error)
	RevokeEnrolmentCode(ctx context.Context, actor hotspot.Operator, site hotspot.SiteID, id string) error
	// NoteWrongCode counts a code that nobody made at the codes that are open, and
	// returns their sites.
	NoteWrongCode(ctx context.Context, from string) ([]hotspot.SiteID, error)
	// ChangeTries lets f change what is counted under keys while nobody else does, at
	// any process; what was not tried for longer than keep is forgotten.
	ChangeTries(ctx context.Context, keys []string, keep time.Duration, f func(map[string]hotspot.Tries)) error
}

// Store is what the fleet needs of the cloud's store.
type Store interface {
	Changes
	Commands
	States
	Reports
	Enrolments
}

// Options of a fleet.
type Options struct {
	Store Store
	// Publish sends to the broker and returns at once; an error means that
	// nothing was sent.
	Publish func(topic string, payload []byte, retained bool) error
	// Kick cuts an agent's live connection; nil where the broker does that by
	// itself.
	Kick func(agent hotspot.AgentID)
	// Notify says that there is news of a site; nil is nobody cares.
	Notify func(site hotspot.SiteID)
	// Refused is told of each message that cannot be taken in; nil is nobody cares.
	Refused func(agent hotspot.AgentID, channel wire.Channel, octets int, why error)
	// Delivered hears how long a change took from its first sending to the site's
	// word that it holds it; nil is nobody cares.
	Delivered func(time.Duration)
	CA        *CA
	SealKey   secret.PublicKey // the cloud's, for secrets inside events
	MQTTURL   string           // as agents reach the broker: tls://host:port
	// BrokerCA is the authority of a broker that is not ours, PEM; "" is ours.
	BrokerCA string
	// RevocationsFile gets the certificates that are revoked, for a broker that is
	// not ours; "" is none.
	RevocationsFile string
	// Replicas says that other processes of the same database answer agents as well:
	// what an agent said to them is looked up before anything rests on it.
	Replicas bool
	// Alone says that the broker lives in this process: at the start nobody can
	// be connected.
	Alone bool
	Now   func() time.Time // nil is time.Now
	Log   *slog.Logger     // nil discards
}

// Fleet is all agents of all sites.
type Fleet struct {
	o      Options
	lanes  lanes.Lanes[hotspot.AgentID, message]
	guards guards // of codes
	knocks guards // of signatures
	askers askers
	// revoked has capacity one: the list of revoked certificates is to be written
	revoked chan struct{}

	mu      sync.Mutex
	remotes map[hotspot.AgentID]*remote // guarded by mu; agents heard of since the start
	due     chan struct{}               // capacity one: look for commands now
}

// message is one of an agent's, as it came.
type message struct {
	channel wire.Channel
	payload []byte
	at      time.Time
}

// New makes a fleet and has the store tell it of every change.
func New(ctx context.Context, o Options) (*Fleet, error) {
	if o.Store == nil || o.Publish == nil || o.CA == nil {
		return nil, fault.New(fault.Invalid, "fleet: store, publish and certificate authority are needed", nil)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Notify == nil {
		o.Notify = func(hotspot.SiteID) {}
	}
	if o.Refused == nil {
		o.Refused = func(hotspot.AgentID, wire.Channel, int, error) {}
	}
	if o.Kick == nil {
		o.Kick = func(hotspot.AgentID) {}
	}
	f := &Fleet{o: o, remotes: map[hotspot.AgentID]*remote{}, due: make(chan struct{}, 1), revoked: make(chan struct{}, 1)}
	f.lanes.Workers, f.lanes.Depth, f.lanes.Do = workers, depth, f.take
	if o.Alone {
		if err := o.Store.NobodyOnline(ctx); err != nil {
			return nil, err
		}
	}
	o.Store.OnCommit(f.committed)
	return f, nil
}

// Serve answers agents, and sends again what got no answer, until ctx ends.
func (f *Fleet) Serve(ctx context.Context) error {
	var running sync.WaitGroup
	running.Go(func() { f.resend(ctx) })
	running.Go(func() { f.sendCommands(ctx) })
	running.Go(func() { f.revocations(ctx) })
	err := f.lanes.Serve(ctx)
	running.Wait()
	return err
}

// HandleHello queues a payload of up/hello and returns at once.
func (f *Fleet) HandleHello(_ context.Context, agent hotspot.AgentID, payload []byte) {
	f.push(agent, message{wire.UpHello, payload, f.now()})
}

// HandlePresence queues a payload of up/presence and returns at once.
func (f *Fleet) HandlePresence(_ context.Context, agent hotspot.AgentID, payload []byte) {
	f.push(agent, message{wire.UpPresence, payload, f.now()})
}

func (f *Fleet) push(agent hotspot.AgentID, m message) {
	if !f.lanes.Push(agent, m) {
		f.o.Log.Warn("fleet: agent says more than can be answered; message dropped", "agent", agent, "channel", m.channel)
	}
}

func (f *Fleet) now() time.Time { return f.o.Now().UTC() }

// Allowed reports whether an agent may connect: enrolled here and not retired.
// One that nobody confirmed yet may, to wait. Without the store the answer is
// no: the agent comes again.
func (f *Fleet) Allowed(agent hotspot.AgentID) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	a, err := f.o.Store.Agent(ctx, agent)
	if err != nil {
		f.o.Log.Warn("fleet: connection refused", "agent", agent, "err", err)
	}
	return err == nil && a.RetiredAt.IsZero()
}

// CreateAccount makes an account with one pass. The password, or the voucher's
// code, is as handed to the guest.
func (f *Fleet) CreateAccount(ctx context.Context, actor hotspot.Operator, n hotspot.NewAccount) (hotspot.Guest, hotspot.Password, error) {
	id, password, err := f.o.Store.CreateAccount(ctx, actor, n)
	if err != nil {
		return hotspot.Guest{}, "", err
	}
	g, err := f.o.Store.Guest(ctx, actor.Organization, id)
	return g, password, err
}

// CreatePlan makes a plan, which goes to all sites of the organization.
func (f *Fleet) CreatePlan(ctx context.Context, actor hotspot.Operator, p hotspot.Plan) (hotspot.Plan, error) {
	return f.o.Store.CreatePlan(ctx, actor, p)
}

// CreateSite makes a site.
func (f *Fleet) CreateSite(ctx context.Context, actor hotspot.Operator, s hotspot.Site) (hotspot.Site, error) {
	return f.o.Store.CreateSite(ctx, actor, s)
}

// Lock makes "off" what is wanted of an account. It returns once that is
// committed and, if the site is connected, sent; whether the guest is off is
// known when the site has proven it.
func (f *Fleet) Lock(ctx context.Context, actor hotspot.Operator, account hotspot.AccountID, reason string) (hotspot.Guest, error) {
	if err := f.o.Store.Lock(ctx, actor, account, reason); err != nil {
		return hotspot.Guest{}, err
	}
	return f.o.Store.Guest(ctx, actor.Organization, account)
}

// Unlock lifts an account's lock.
func (f *Fleet) Unlock(ctx context.Context, actor hotspot.Operator, account hotspot.AccountID, reason string) (hotspot.Guest, error) {
	if err := f.o.Store.Unlock(ctx, actor, account, reason); err != nil {
		return hotspot.Guest{}, err
	}
	return f.o.Store.Guest(ctx, actor.Organization, account)
}

// SetSpeed gives an account's pass another speed. It returns once that is
// committed and, if the site is connected, sent; what the open sessions run at is
// known when the site has said so.
func (f *Fleet) SetSpeed(ctx context.Context, actor hotspot.Operator, account hotspot.AccountID, rate hotspot.RateLimit) (hotspot.Guest, error) {
	if err := f.o.Store.SetSpeed(ctx, actor, account, rate); err != nil {
		return hotspot.Guest{}, err
	}
	return f.o.Store.Guest(ctx, actor.Organization, account)
}

// Extend gives an account's pass more time.
func (f *Fleet) Extend(ctx context.Context, actor hotspot.Operator, account hotspot.AccountID, d time.Duration, reason string) (hotspot.Guest, error) {
	if err := f.o.Store.Extend(ctx, actor, account, d, reason); err != nil {
		return hotspot.Guest{}, err
	}
	return f.o.Store.Guest(ctx, actor.Organization, account)
}

// NewEnrolmentCode makes a code for one box of the site, as XXXX-XXXX.
func (f *Fleet) NewEnrolmentCode(ctx context.Context, actor hotspot.Operator, site hotspot.SiteID) (code string, expires time.Time, err error) {
	code = strings.ToUpper(secret.Random(codeLength).Reveal())
	expires = f.now().Add(codeLife)
	if err := f.o.Store.AddEnrolmentCode(ctx, actor, site, f.o.CA.codeHash(code), expires); err != nil {
		return "", time.Time{}, err
	}
	return code[:codeLength/2] + "-" + code[codeLength/2:], expires, nil
}

// RevokeEnrolmentCode makes a code that nobody has spent worthless.
func (f *Fleet) RevokeEnrolmentCode(ctx context.Context, actor hotspot.Operator, site hotspot.SiteID, id string) error {
	if err := f.o.Store.RevokeEnrolmentCode(ctx, actor, site, id); err != nil {
		return err
	}
	f.o.Notify(site)
	return nil
}

// ConfirmAgent takes an enrolled box for the site's, after a person compared
// the check numbers. The site's other agents are cut off.
func (f *Fleet) ConfirmAgent(ctx context.Context, actor hotspot.Operator, agent hotspot.AgentID) error {
	site, retired, err := f.o.Store.ConfirmAgent(ctx, actor, agent)
	if err != nil {
		return err
	}
	for _, old := range retired {
		f.drop(old)
	}
	if f.o.Replicas { // what it said meanwhile, another may have heard
		if err := f.sendWhole(ctx, site, agent); err != nil {
			f.o.Log.Warn("fleet: state not sent; the next hello brings it", "site", site, "agent", agent, "err", err)
		}
	}
	f.repeat(agent)
	f.o.Notify(site)
	return nil
}

// RevokeAgent retires an agent and cuts its connection.
func (f *Fleet) RevokeAgent(ctx context.Context, actor hotspot.Operator, agent hotspot.AgentID) error {
	site, err := f.o.Store.RevokeAgent(ctx, actor, agent)
	if err != nil {
		return err
	}
	f.drop(agent)
	f.o.Notify(site)
	return nil
}

// drop forgets a retired agent and cuts it off.
func (f *Fleet) drop(agent hotspot.AgentID) {
	f.mu.Lock()
	delete(f.remotes, agent)
	f.mu.Unlock()
	f.o.Kick(agent)
	select {
	case f.revoked <- struct{}{}:
	default:
	}
}

// repeat takes up again what an agent said before it was confirmed.
func (f *Fleet) repeat(agent hotspot.AgentID) {
	r := f.remote(agent)
	r.mu.Lock()
	early := r.early
	r.early = nil
	r.mu.Unlock()
	for _, m := range early {
		f.push(agent, m)
	}
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/thejerf/suture/v4"

	"iwas/agent/edl"
	"iwas/agent/provision"
	"iwas/agent/radius"
	"iwas/agent/router"
	"iwas/agent/statuspage"
	"iwas/agent/store"
	"iwas/agent/uplink"
	"iwas/internal/buildinfo"
	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/logs"
	"iwas/internal/metrics"
	"iwas/internal/mqttlink"
	"iwas/internal/routeros"
	"iwas/internal/sdnotify"
	"iwas/internal/secret"
	"iwas/internal/wire"
)

// site is the running program: every part, and who talks to whom.
type site struct {
	cfg     config
	nases   []radius.NAS // of cfg
	log     *slog.Logger
	boot    string
	started time.Time
	poll    time.Duration // between looks at a router; 0 is the enforcer's own
	window  time.Duration // a person has to confirm; 0 is provision's own

	db       *store.DB
	dbErr    error                        // why db is nil
	usable   atomic.Bool                  // db is nil, and what kept it shut is mended
	counts   atomic.Pointer[store.Counts] // the newest that could be taken
	wall     *wall                        // the date
	gate     *gate                        // closed after a restore, until the cloud was asked
	radius   *radius.Server
	enforcer *router.Enforcer
	uplink   *uplink.Uplink // nil when not enrolled
	identity uplink.Identity
	renewer  *uplink.Renewer // nil when not enrolled
	page     *statuspage.Server
	foreign  atomic.Pointer[strangerCount] // told to the cloud
	guests   *guestBook                    // what routers told of guests' addresses and their own
	checks   *checks
	recorder *recorder
	meter    *meter
	lists    *edl.Server               // nil: no router fetches its lists
	listsErr error                     // why it does not serve
	setups   *provision.Watcher        // of routers with a set-up
	lookNow  chan struct{}             // capacity one: compare set-ups now
	remote   *remote                   // what the cloud commands
	paces    map[string]*routeros.Pace // by router: what asks it over REST waits for each other
	manager  sdnotify.Notifier         // of this service; nobody in tests
}

// serve runs the program until ctx ends. A store that will not open does not end
// it: the status page still serves and says so.
func serve(ctx context.Context, cfg config, talk io.Writer) error {
	tail := &logs.Tail{}
	log, flush := newLog(talk, tail)
	defer flush()
	manager := fromManager(log.Warn)
	defer manager.StoppingWith(ctx)()
	return serveAgain(ctx, log, func(ctx context.Context) error {
		s, err := newSite(cfg, log)
		if err != nil {
			return err
		}
		s.page.Tail, s.manager = tail, manager
		return s.runSound(ctx)
	})
}

// newSite makes the parts that need nothing but the configuration.
func newSite(cfg config, log *slog.Logger) (*site, error) {
	s := &site{cfg: cfg, log: log, meter: newMeter(), boot: hotspot.NewID(time.Now()), started: time.Now(),
		radius: &radius.Server{Auth: cfg.RADIUS.Auth, Acct: cfg.RADIUS.Acct, Log: log.With("part", "radius")}}
	s.wall = newWall(cfg.dateFile(), builtAt(), systemDate, func() time.Duration { return time.Since(s.started) }, log.With("part", "date"))
	s.radius.Now = s.wall.Now
	var err error
	if s.nases, err = cfg.nases(); err != nil {
		return nil, &exitError{exitBadConfig, err}
	}
	s.paces = map[string]*routeros.Pace{}
	for _, n := range cfg.NAS {
		s.paces[n.ID] = new(routeros.Pace)
	}
	s.checks = (&checks{cfg: cfg, client: &radius.Client{NASes: s.nases, Identity: s.radius.Identities.Of, Proven: s.radius.Proven, Log: log.With("part", "radius")},
		pace: func(id string) *routeros.Pace { return s.paces[id] }, heard: s.heard,
		told: func(ctx context.Context) statuspage.Report { return s.page.Report(ctx) }, bell: func() { s.page.Notify() }}).init()
	s.lookNow = make(chan struct{}, 1)
	s.setups = &provision.Watcher{Changed: func() { s.page.Notify() }, Wake: s.lookNow, Routers: s.watched, Log: log.With("part", "set-up")}
	s.remote = s.newRemote()
	s.page = &statuspage.Server{Listen: cfg.Status.Listen, Snapshot: s.snapshot, Check: s.checks.Start, Log: log.With("part", "status"),
		Bound: func(addr string) { log.Info("status page", "url", "http://"+addr) }}
	s.recorder = newRecorder(s)
	s.page.Minutes = s.recorder.Between
	s.page.Support = s.supportPage
	s.page.Why = s.whyPage
	s.wireDoor()
	s.page.Metrics = metrics.Guard(metrics.New("iwas_agent", s.tellMetrics), cfg.Status.MetricsTokenFile)
	return s, nil
}

// run opens the store, wires the parts to each other and runs them until ctx ends.
func (s *site) run(ctx context.Context) (err error) {
	cfg, log, nases := s.cfg, s.log, s.nases
	if err := s.openStore(ctx); err != nil {
		s.dbErr = err
		log.Error("the database will not open; nobody can log in until it does", "err", err, "code", fault.Code(err), "next", fault.Hint(err))
	} else {
		defer func() { err = errors.Join(err, s.db.Close()) }() // last out
	}

	// Three floors, so that they stop in the reverse of the order they started:
	// sockets first, then what reacts, the page last.
	page := supervisor("page", log)
	page.Add(task{"status page", s.page.Serve})
	page.Add(task{"checks", s.checks.Serve})
	page.Add(task{"history", s.recorder.Serve})
	page.Add(task{"date", s.keepDate})
	page.Add(task{"service manager", s.tellManager})
	back := supervisor("back", log)
	front := supervisor("front", log)
	if s.db != nil {
		if err := s.db.Started(ctx, buildinfo.Version(), s.boot); err != nil && fault.Code(err) != store.CodeNoRoom {
			return err
		} else if err != nil { // guests with a pass in use log in all the same, and the page says why others do not
			s.log.Error("the disk is full: the start of this program is not in the log of events", "code", store.CodeNoRoom, "err", err)
		}
		if err := s.wireRouters(ctx, nases, back); err != nil {
			return &exitError{exitBadConfig, err}
		}
		s.wireRADIUS(nases, front)
		desk := counterDesk{db: s.db, now: s.wall.Now, waiting: s.enforcer.Waiting, left: s.wall.remaining}
		s.page.Counter, s.page.Till = desk, desk
		if err := s.wireUplink(back); err != nil {
			return err
		}
		s.wireEDL(back)
		if slices.ContainsFunc(cfg.NAS, func(n nasConfig) bool { return n.Router.URL != "" }) {
			back.Add(task{"set-ups", s.setups.Serve})
		}
		back.Add(task{"sweeper", s.sweep})
		back.Add(task{"care of the database", s.db.Tend})
		if s.gate != nil {
			back.Add(task{"first state after a restore", s.openGate})
		}
		back.Add(task{"page bell", s.bell})
	}
	back.Add(task{"control door", (&control{path: cfg.controlPath(), status: s.page.Status, db: s.db, settles: s.settles(), device: s.device, support: s.supportDoor, mac: s.macOf, ready: s.readyNow}).Serve})
	return s.untilDamaged(ctx, func(ctx context.Context) error {
		return runFloors(ctx, []*suture.Supervisor{page, back, front})
	})
}

// runFloors starts supervisors in order and stops them in reverse.
func runFloors(ctx context.Context, floors []*suture.Supervisor) error {
	type floor struct {
		stop context.CancelFunc
		done <-chan error
	}
	var running []floor
	for _, sup := range floors {
		fctx, stop := context.WithCancel(context.WithoutCancel(ctx))
		running = append(running, floor{stop, sup.ServeBackground(fctx)})
	}
	<-ctx.Done()
	var err error
	for i := len(running) - 1; i >= 0; i-- {
		running[i].stop()
		if ferr := <-running[i].done; ferr != nil && !errors.Is(ferr, context.Canceled) {
			err = errors.Join(err, ferr)
		}
	}
	return err
}

// newLog returns the program's log, whose newest lines tail keeps, and what tells of the lines it held back.
func newLog(w io.Writer, tail *logs.Tail) (log *slog.Logger, flush func()) {
	opts := &slog.HandlerOptions{Level: slog.LevelInfo}
	if os.Getenv("JOURNAL_STREAM") != "" { // systemd: the journal keeps the time
		opts.ReplaceAttr = func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}
	}
	return logs.NewKept(w, opts, tail)
}

// task is a supervised loop with a name for the log.
type task struct {
	name string
	run  func(context.Context) error
}

func (t task) Serve(ctx context.Context) error { return t.run(ctx) }
func (t task) String() string                  { return t.name }

func supervisor(name string, log *slog.Logger) *suture.Supervisor {
	return suture.New(name, suture.Spec{
		FailureBackoff: 2 * time.Second, Timeout: 10 * time.Second,
		EventHook: func(e suture.Event) {
			if _, ok := e.(suture.EventResume); !ok {
				log.Warn("a part failed and will be restarted", "event", e.String())
			}
		},
	})
}

func (s *site) openStore(ctx context.Context) error {
	dir := filepath.Join(s.cfg.StateDir, "identity")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return stateFault(s.cfg.StateDir, err)
	}
	if err := writable(s.cfg.StateDir); err != nil {
		return stateFault(s.cfg.StateDir, err)
	}
	key, err := secret.LoadKey(filepath.Join(dir, "seal.key"))
	if stateTrouble(err) {
		return stateFault(s.cfg.StateDir, err)
	}
	if err != nil {
		return fault.New(fault.Damaged, "load the sealing key", err)
	}
	if err := store.KeepSchema(ctx, filepath.Join(s.cfg.StateDir, "iwas.db")); err != nil { // guests matter more than a way back
		s.log.Warn("the database is not kept as it is before it is brought to a newer schema", "err", err, "code", fault.Code(err), "next", fault.Hint(err))
	}
	s.db, err = store.Open(ctx, store.Options{
		Path: s.cfg.databaseFile(), Copies: s.cfg.copiesDir(), Reserve: reserveSize, DiskFree: func() uint64 { return diskFree(s.cfg.StateDir) }, Key: key, Language: s.cfg.Language, LogCap: int64(s.cfg.OutboxMB) << 20,
		Decide: s.wall.decide, Off: s.wall.off, Terms: s.wall.terms, Now: s.wall.Now, CheckSetup: provision.Validate, DateTrusted: s.dateTrusted,
		BeforeRefusal: func(accounts []hotspot.AccountID, devices []hotspot.MAC, serial uint64) {
			s.radius.Forget(accounts, devices, serial)
		},
		Log: s.log.With("part", "store"),
	})
	if fault.Code(err) == store.CodeNoRoom {
		return fault.New(fault.KindOf(err), "open the database", err).WithCode(store.CodeNoRoom, roomAdvice(s.cfg.StateDir))
	}
	return err
}

func (s *site) wireRADIUS(nases []radius.NAS, sup *suture.Supervisor) {
	s.radius.NASes, s.radius.Accountant, s.radius.Rejected, s.radius.Memory = nases, s.db, s.db.RecordReject, s.db
	s.radius.Decider = s.guarded(&judge{store: s.db, routers: s.enforcer, log: s.log.With("part", "judge"), now: s.wall.Now})
	sup.Add(task{"radius", s.radius.Serve})
}

func (s *site) wireRouters(ctx context.Context, nases []radius.NAS, sup *suture.Supervisor) error {
	wake, _ := s.db.Wanted() // for the life of the program
	lists, _ := s.db.ListsChanged()
	known, err := s.db.KnownNASes(ctx)
	if err != nil {
		return err
	}
	client := &radius.Client{NASes: nases, Identity: s.radius.Identities.Of, Proven: s.radius.Proven, Known: known, Learned: s.db.LearnNAS,
		DateTrusted: s.dateTrusted, Log: s.log.With("part", "radius")}
	s.enforcer = &router.Enforcer{Store: meteredStore{s.db, s.meter}, Disconnector: meteredClient{client, s.meter}, Locks: s.db, Changes: s.db, Changer: client, Lists: s.db, Wake: wake, ListWake: lists, Poll: s.poll, Now: s.wall.Now, Log: s.log.With("part", "router")}
	for _, n := range s.cfg.NAS {
		r := router.Router{NAS: hotspot.NASID(n.ID), Timeouts: router.TimeoutForm(n.CoATimeout)}
		if n.Router.URL != "" {
			password, err := readSecret(n.Router.PasswordFile)
			if err != nil {
				return fmt.Errorf("nas %s: %w", n.ID, err)
			}
			opts := routeros.Options{URL: n.Router.URL, User: n.Router.User, Password: password, Pace: s.paces[n.ID]}
			r.Dial = func(ctx context.Context) (routeros.Conn, error) {
				pin, err := s.cfg.fingerprint(n) // read each time: a person may have trusted another meanwhile
				if err != nil {
					return nil, err
				}
				with := opts
				with.PinnedSHA256 = pin
				conn, err := routeros.Dial(ctx, with)
				return s.meter.dialed(r.NAS, conn, err)
			}
		}
		s.enforcer.Routers = append(s.enforcer.Routers, r)
	}
	sup.Add(task{"router", s.enforcer.Serve})
	return nil
}

// settles reports whether some router can be asked whether it has a grant.
func (s *site) settles() bool {
	return slices.ContainsFunc(s.cfg.NAS, func(n nasConfig) bool { return n.Router.URL != "" })
}

// wireUplink adds the link to the cloud. A box that was never enrolled runs
// without one.
func (s *site) wireUplink(sup *suture.Supervisor) error {
	id, err := uplink.LoadIdentity(s.cfg.StateDir)
	if fault.Is(err, fault.NotFound) {
		s.log.Info("this box is not enrolled; it serves the cafe on its own", "next", "iwas-agent enroll")
		return nil
	}
	if err != nil {
		return err
	}
	s.identity = id
	if err := s.tellPasswords(id); err != nil {
		return err
	}
	s.uplink = &uplink.Uplink{Agent: id.Agent, Boot: s.boot, Version: buildinfo.Version(), Store: s.db,
		Link:         mqttlink.Options{URL: id.MQTTURL, TLS: uplink.TLSFrom(s.cfg.StateDir), Log: s.log.With("part", "mqtt")},
		RouterSeenAt: s.routerSeenAt, Routers: s.routersTold, Conditions: s.conditions, Inbox: s.db, Carry: s.remote.carry, Now: s.wall.Now, ClockTrusted: s.dateTrusted, Log: s.log.With("part", "uplink")}
	s.uplink.StopReason = func() string { return "The service was stopped on the box." }
	s.uplink.Outage, s.uplink.OutageAfter = uplink.PostOutage(s.cfg.StateDir, s.wall.Now), s.cfg.outageAfter()
	s.uplink.Copied = func() error { return uplink.RefuseCopy(s.cfg.StateDir, id, s.wall.Now()) }
	s.renewer = &uplink.Renewer{StateDir: s.cfg.StateDir, Version: buildinfo.Version(), Log: s.log.With("part", "renewal"), Renewed: s.page.Notify, Now: s.wall.Now,
		Refused: func() bool { return s.uplink.Status().Code == "CLD-103" }}
	sup.Add(task{"commands", s.remote.lanes.Serve})
	sup.Add(task{"uplink", s.uplink.Serve})
	sup.Add(task{"renewal", s.renewer.Serve})
	return nil
}

// tellPasswords has the store seal what guests made on site log in with to the cloud.
func (s *site) tellPasswords(id uplink.Identity) error {
	if id.CloudSealKey == "" {
		return nil // enrolled with a cloud of before it had one
	}
	key, err := secret.ParsePublicKey(id.CloudSealKey)
	if err != nil {
		return fault.New(fault.Damaged, "the cloud's sealing key", err).WithCode("", "Enrol this box again: iwas-agent enroll.")
	}
	return s.db.SetCloudKey(context.Background(), key)
}

// routerSeenAt is the last successful round trip to any router.
func (s *site) routerSeenAt() time.Time {
	var seen time.Time
	for _, h := range s.enforcer.Health() {
		if h.SeenAt.After(seen) {
			seen = h.SeenAt
		}
	}
	return seen
}

const (
	conditionsSent = 100             // in a hello, the worst first; the cloud keeps no more
	conditionsWait = 2 * time.Second // a hello waits for them no longer
)

// conditions are what the owner should know is wrong here: what the status page
// shows, in the words of the catalogue.
func (s *site) conditions() []wire.Condition {
	ctx, cancel := context.WithTimeout(context.Background(), conditionsWait)
	defer cancel()
	open := s.page.Conditions(ctx)
	out := make([]wire.Condition, 0, len(open))
	for _, c := range open[:min(len(open), conditionsSent)] {
		out = append(out, wire.Condition{Code: c.Code, Severity: c.Severity, Text: c.Text, Since: c.Since.UTC()})
	}
	return out
}

// watched are the routers whose set-up is compared: those this box wants something
// of, and those of which somebody applied and kept what the cloud wants. What it
// wants and nobody applied is no difference to mend.
func (s *site) watched(ctx context.Context) ([]*provision.Applier, error) {
	var all []*provision.Applier
	for _, n := range s.cfg.NAS {
		if n.Router.URL == "" {
			continue
		}
		setup, from, err := s.wantedSetup(ctx, n)
		if err != nil && !fault.Is(err, fault.Invalid) { // what cannot be applied is wanted of nobody yet
			return nil, err
		}
		rec, applied, err := provision.Keeper(s.cfg.setupFile(n.ID)).Load()
		if err != nil {
			s.log.Warn("what was applied cannot be read", "nas", n.ID, "err", err)
		}
		if setup == nil && !applied {
			continue
		}
		ours := setup != nil && (from == wire.SetupOfBox || applied && rec.State == provision.Confirmed && rec.Setup == provision.SetupKey(*setup))
		if setup == nil {
			setup = &wire.RouterSetup{}
		}
		a, err := s.cfg.applierOf(n, *setup, s.paces[n.ID])
		if err != nil {
			return nil, err
		}
		a.OnlySettle = !ours
		all = append(all, a)
	}
	return all, nil
}

func (s *site) sweep(ctx context.Context) error {
	t := time.NewTicker(10 * time.Second)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			if err := s.db.Sweep(ctx); err != nil {
				return err
			}
		}
	}
}

// bell wakes the status page after every commit that changed something.
func (s *site) bell(ctx context.Context) error {
	ticks, cancel := s.db.Changed()
	defer cancel()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticks:
			s.page.Notify()
		}
	}
}

func joinHostPorts(addrs ...[]string) []string {
	var out []string
	for i, list := range addrs {
		for _, a := range list {
			host, port, err := net.SplitHostPort(a)
			if err != nil {
				continue
			}
			if n, err := strconv.Atoi(port); err == nil {
				out = append(out, [...]string{"authentication", "accounting"}[i]+" UDP "+net.JoinHostPort(host, strconv.Itoa(n)))
			}
		}
	}
	return out
}

// dateOff is how far our date may be from the cloud's and be believed: a NAS
// takes a time within five minutes of its own (RFC 5176 §6.3).
const dateOff = time.Minute

// dateTrusted reports whether our date can be believed now.
func (s *site) dateTrusted() bool {
	var u uplink.Status
	if s.uplink != nil {
		u = s.uplink.Status()
	}
	return !s.wall.Doubtful() && believed(u, followsServer)
}

// believed reports whether the date is right by what is known (design.md §7): the
// cloud has said so, or, while the cloud has said nothing, the kernel follows a
// time server.
func believed(u uplink.Status, follows func() bool) bool {
	if u.ClockKnown {
		return u.ClockOffset.Abs() <= dateOff
	}
	return follows()
}

// Package routersim is a simulated MikroTik router with a HotSpot: the RouterOS
// API door, the HotSpot tables, a RADIUS client, /radius/incoming, and guests
// who misbehave as phones do. The demo and the tests run on it. It refuses what
// a real router refuses (facts.md §10); it never decides anything for IWAS and
// shares no code with the RADIUS and API packages it is used to test.
package routersim

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

const standardTimeout = 1100 * time.Millisecond // of one try; the recorded router's

// Config is how a router is set up. The zero value of a field is the default
// named beside it.
type Config struct {
	Identity     string       // "MikroTik"
	Version      string       // "7.23.7 (long-term)"
	APIListen    string       // "127.0.0.1:0"; the plain API door
	APISSLListen string       // "" is closed; api-ssl with a self-signed certificate
	RESTListen   string       // "" is closed; REST over HTTPS with the same certificate
	CoAListen    string       // "127.0.0.1:0"; /radius/incoming
	Control      string       // "127.0.0.1:0"; HTTP control for tests and the demo
	User         string       // "iwas"; full rights
	Password     string       // of that user
	ReadUser     string       // "" is none; a user of group read, same password
	RADIUS       RADIUSConfig // the /radius entry
	NASIP        netip.Addr   // 127.0.0.1; NAS-IP-Address, and source of RADIUS packets when loopback
	Server       string       // "hotspot1"; name of the HotSpot server
	LoginBy      string       // "http-chap,http-pap,mac,mac-cookie,cookie"
	Pool         netip.Prefix // 10.20.0.0/22; guests' addresses
	Seed         uint64       // of guests' habits
	Agent        Place        // of the agent: all connections to the router come from there, and its packets are judged; without a port nothing is judged
	Guests       Place        // port "ether2", VLAN 20; where guests are
	Fresh        bool         // as it comes from its box: no HotSpot, no RADIUS, no certificate; only ether1 to ether5
	Log          *slog.Logger
}

// RADIUSConfig is the /radius entry of the router.
type RADIUSConfig struct {
	Auth, Acct netip.AddrPort
	Secret     string
	Timeout    time.Duration // 1.1 s; one try of three
}

// Knobs make the router misbehave. All zero is a router that behaves.
type Knobs struct {
	DropRequests     float64       `json:"drop_requests"`     // share of RADIUS packets lost on the way out
	DropReplies      float64       `json:"drop_replies"`      // share of RADIUS replies lost on the way in
	CoAIgnore        bool          `json:"coa_ignore"`        // ACK without acting
	CoASilent        bool          `json:"coa_silent"`        // no answer at all
	CoADelay         time.Duration `json:"coa_delay"`         // before the answer
	CoARefuse        uint32        `json:"coa_refuse"`        // every CoA-Request gets a NAK of this cause
	CoAForge         bool          `json:"coa_forge"`         // before each answer comes one that nobody with the secret made
	CoAUnsigned      bool          `json:"coa_unsigned"`      // answers carry no Message-Authenticator
	CoAFromStart     bool          `json:"coa_from_start"`    // Session-Timeout of a CoA-Request counts from the start of the session, not from now
	NAKCause         uint32        `json:"nak_cause"`         // for a session that is not there: 503 (default) or 406
	NoClass          bool          `json:"no_class"`          // Class is not echoed
	NoMessageAuth    bool          `json:"no_message_auth"`   // require-message-auth=no: older than 7.15
	CommandCost      bool          `json:"command_cost"`      // 150 commands at 1 ms, then 20 ms each (facts.md §1)
	APIDown          bool          `json:"api_down"`          // connections are refused and cut
	Still            bool          `json:"still"`             // phones do nothing by themselves
	RemoveIgnored    bool          `json:"remove_ignored"`    // active/remove answers !done and does nothing
	OneID            string        `json:"one_id"`            // to change or remove several items at once is "refused", or "ignored"
	Leaky            bool          `json:"leaky"`             // phones that are put off go on reaching the internet
	Stall            time.Duration `json:"stall"`             // commands wait this long before they are run
	StallAt          string        `json:"stall_at"`          // only those of this menu, such as "system/clock"; "" is every command after the login
	RESTLimit        time.Duration `json:"rest_limit"`        // of one REST call; 60 s if 0
	AbortDamage      time.Duration `json:"abort_damage"`      // after a REST call that its caller left, connections are reset for so long (facts.md §2)
	LeakSessions     bool          `json:"leak_sessions"`     // REST logins leave rows in /user/active (facts.md §2)
	WriteIgnored     string        `json:"write_ignored"`     // writes to this menu are answered and not done
	RefuseDone       string        `json:"refuse_done"`       // writes to this menu are done and then refused, as a 400 may be (facts.md §2)
	FetchNeedsFTP    bool          `json:"fetch_needs_ftp"`   // /tool/fetch asks for policy ftp beside test, as some versions do (facts.md §7)
	RADIUSFirst      bool          `json:"radius_first"`      // with use-radius=yes local users are not looked at (facts.md §3)
	LicensedSessions int           `json:"licensed_sessions"` // that the license allows at once; 0 is no limit. Which level allows how many is in no fact
	HotSpotOff       bool          `json:"hotspot_off"`       // a HotSpot server that is added without disabled= is disabled (facts.md §7)
	MixUp            string        `json:"mix_up"`            // reads of this menu give another's rows, as REST may after a start (facts.md §2)
	ClockAhead       time.Duration `json:"clock_ahead"`       // of the router's clock, before the right one
	InterimInterval  time.Duration `json:"interim_interval"`  // overrides Acct-Interim-Interval; 0 follows it
}

// Sim is a running router.
type Sim struct {
	c   Config
	log *slog.Logger

	mu       sync.Mutex // guards everything below
	rng      *rand.Rand
	knobs    Knobs
	booted   time.Time
	boot     context.Context // of what dies with the power
	off      context.CancelFunc
	dark     bool // no power, or on the way down
	boots    int  // for Acct-Session-Id: the second digit
	nextID   int  // of rows
	nextSess uint32
	nextPkt  byte
	menus    map[string]*menu
	standard map[string]shape      // of every menu, as this version has it
	paths    []string              // of menus, in the order made
	recent   []answered            // by /radius/incoming
	hosts    map[string]*host      // by MAC in capitals
	names    map[string]netip.Addr // what the router resolves
	ahead    time.Duration         // of the router's clock, as a person set it
	damaged  time.Time             // until then REST suffers from an aborted call
	leaked   []view                // rows of /user/active that REST logins left
	cookies  []*cookie
	trials   map[string]*trial // by MAC
	conns    map[int]*conn
	tracked  []*conn // conns in the order they were opened, and some that are gone
	lives    map[string]context.CancelFunc
	counters Counters
	acts     Acts
	given    int               // by the pool, besides what guests have
	shown    map[string]string // by /system/resource, instead of the truth
	past     octets            // of sessions that ended since the start
	apiConns map[net.Conn]*apiSession

	api, apiSSL, control, rest net.Listener
	coa                        *net.UDPConn
	auth, acct                 *net.UDPConn
	cert                       tls.Certificate
	throttle                   throttle
	wg                         sync.WaitGroup
	ctx                        context.Context
	cancel                     context.CancelFunc
	asks                       asks
	doors                      sync.Mutex        // guards restConns; taken with mu held, never the other way
	restConns                  map[net.Conn]bool // of the REST door
	life                       sync.Mutex        // guards closed, and Add before Wait of wg
	closed                     bool
	http                       []*http.Server
}

// Counters are what /radius/monitor and /radius/incoming/monitor count, and more.
type Counters struct {
	Requests   int `json:"requests"`
	Accepts    int `json:"accepts"`
	Rejects    int `json:"rejects"`
	Resends    int `json:"resends"`
	Timeouts   int `json:"timeouts"`
	BadReplies int `json:"bad_replies"`
	CoA        int `json:"coa_requests"`
	CoABad     int `json:"coa_bad_requests"`
	CoAACKs    int `json:"coa_acks"`
	CoANAKs    int `json:"coa_naks"`
	Commands   int `json:"api_commands"`
	Aborted    int `json:"rest_aborted"` // REST calls whose caller left before the answer
}

// Start runs a router until ctx ends or Close is called. A port that is taken is
// an error naming it.
func Start(ctx context.Context, c Config) (*Sim, error) {
	c = withDefaults(c)
	s := &Sim{c: c, log: c.Log, rng: rand.New(rand.NewPCG(c.Seed, 1)), booted: time.Now(), boots: 1, nextID: 1,
		menus: map[string]*menu{}, hosts: map[string]*host{}, names: map[string]netip.Addr{}, trials: map[string]*trial{}, conns: map[int]*conn{}, lives: map[string]context.CancelFunc{},
		apiConns: map[net.Conn]*apiSession{}, restConns: map[net.Conn]bool{}}
	s.ctx, s.cancel = context.WithCancel(ctx)
	s.boot, s.off = context.WithCancel(s.ctx)
	s.asks.waiting = map[askKey][]*ask{}
	if err := s.open(); err != nil {
		s.cancel()
		return nil, errors.Join(err, s.closeAll())
	}
	s.makeMenus()
	s.run(func() { s.serveAPI("api", s.api) })
	if s.apiSSL != nil {
		s.run(func() { s.serveAPI("api-ssl", s.apiSSL) })
	}
	s.run(s.serveCoA)
	s.run(func() { s.readReplies(s.auth) })
	s.run(func() { s.readReplies(s.acct) })
	s.serveControl()
	s.serveREST()
	s.run(s.tick)
	s.run(func() {
		<-s.ctx.Done()
		if err := s.closeAll(); err != nil {
			s.log.Debug("close", "err", err)
		}
	})
	s.accountingOn()
	return s, nil
}

func withDefaults(c Config) Config {
	set := func(p *string, v string) {
		if *p == "" {
			*p = v
		}
	}
	set(&c.Identity, "MikroTik")
	set(&c.Version, "7.23.7 (long-term)")
	set(&c.APIListen, "127.0.0.1:0")
	set(&c.CoAListen, "127.0.0.1:0")
	set(&c.Control, "127.0.0.1:0")
	set(&c.User, "iwas")
	set(&c.Server, "hotspot1")
	set(&c.LoginBy, "http-chap,http-pap,mac,mac-cookie,cookie")
	if !c.NASIP.IsValid() {
		c.NASIP = netip.MustParseAddr("127.0.0.1")
	}
	if !c.Pool.IsValid() {
		c.Pool = netip.MustParsePrefix("10.20.0.0/22")
	}
	if c.RADIUS.Timeout == 0 {
		c.RADIUS.Timeout = standardTimeout
	}
	if c.Guests.Port == "" {
		c.Guests = Place{Port: "ether2", VLAN: 20}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

func (s *Sim) open() error {
	var err error
	listen := func(what, addr string, into *net.Listener) {
		if err != nil || addr == "" {
			return
		}
		var lc net.ListenConfig
		if *into, err = lc.Listen(s.ctx, "tcp", addr); err != nil {
			err = fmt.Errorf("%s: the port of %s is taken or not ours: %w", what, addr, err)
		}
	}
	listen("RouterOS API", s.c.APIListen, &s.api)
	listen("RouterOS api-ssl", s.c.APISSLListen, &s.apiSSL)
	listen("RouterOS REST", s.c.RESTListen, &s.rest)
	listen("control", s.c.Control, &s.control)
	udp := func(what, addr string, into **net.UDPConn) {
		if err != nil {
			return
		}
		var a *net.UDPAddr
		if a, err = net.ResolveUDPAddr("udp4", addr); err == nil {
			*into, err = net.ListenUDP("udp4", a)
		}
		if err != nil {
			err = fmt.Errorf("%s: the port of %s is taken or not ours: %w", what, addr, err)
		}
	}
	udp("/radius/incoming", s.c.CoAListen, &s.coa)
	source := "0.0.0.0:0"
	if s.c.NASIP.IsLoopback() {
		source = netip.AddrPortFrom(s.c.NASIP, 0).String()
	}
	udp("RADIUS client", source, &s.auth)
	udp("RADIUS client", source, &s.acct)
	if err != nil {
		return err
	}
	if s.cert, err = selfSigned(s.c.Identity); err != nil {
		return err
	}
	if s.apiSSL != nil {
		s.apiSSL = tls.NewListener(s.apiSSL, s.tlsOf("api-ssl"))
	}
	return nil
}

// closeAll closes every socket; Close waits for what uses them.
func (s *Sim) closeAll() error {
	var err error
	for _, l := range []net.Listener{s.api, s.apiSSL, s.control, s.rest} {
		if l != nil {
			err = errors.Join(err, l.Close())
		}
	}
	for _, u := range []*net.UDPConn{s.coa, s.auth, s.acct} {
		if u != nil {
			err = errors.Join(err, u.Close())
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.apiConns {
		err = errors.Join(err, c.Close())
	}
	for _, h := range s.http {
		err = errors.Join(err, h.Close())
	}
	return err
}

// Close stops the router as a power cut does, and waits until it is still.
func (s *Sim) Close() {
	s.life.Lock()
	s.closed = true
	s.life.Unlock()
	s.cancel()
	s.wg.Wait()
}

// run starts f, unless the router is closed: then nothing starts.
func (s *Sim) run(f func()) bool {
	s.life.Lock()
	defer s.life.Unlock()
	if s.closed {
		return false
	}
	s.wg.Go(f)
	return true
}

// serve runs an HTTP door until the router is closed, and sees to it that Close
// waits for the handlers. A door of the router itself is shut while it has no
// power.
func (s *Sim) serve(srv *http.Server, ownPower bool, run func() error) {
	inner := srv.Handler
	srv.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.life.Lock()
		if s.closed {
			s.life.Unlock()
			cut(w)
			return
		}
		s.wg.Add(1)
		s.life.Unlock()
		defer s.wg.Done()
		s.mu.Lock()
		dark := s.dark && !ownPower
		s.mu.Unlock()
		if dark {
			cut(w)
			return
		}
		inner.ServeHTTP(w, r)
	})
	s.mu.Lock()
	s.http = append(s.http, srv)
	s.mu.Unlock()
	s.run(func() {
		if err := run(); err != nil && !errors.Is(err, http.ErrServerClosed) && s.ctx.Err() == nil {
			s.log.Error("HTTP door", "addr", srv.Addr, "err", err)
		}
	})
}

// cut ends a connection without an answer, as no power does.
func cut(w http.ResponseWriter) {
	if c, _, err := http.NewResponseController(w).Hijack(); err == nil {
		_ = c.Close()
	}
}

// APIAddr returns host:port of the plain API door.
func (s *Sim) APIAddr() string { return s.api.Addr().String() }

// APISSLAddr returns host:port of the api-ssl door, or "".
func (s *Sim) APISSLAddr() string {
	if s.apiSSL == nil {
		return ""
	}
	return s.apiSSL.Addr().String()
}

// RESTURL returns the URL of the REST door, or "".
func (s *Sim) RESTURL() string {
	if s.rest == nil {
		return ""
	}
	return "https://" + s.rest.Addr().String() + "/rest"
}

// CoAAddr returns the address of /radius/incoming.
func (s *Sim) CoAAddr() netip.AddrPort { return s.coa.LocalAddr().(*net.UDPAddr).AddrPort() }

// ControlURL returns the URL of the HTTP control.
func (s *Sim) ControlURL() string { return "http://" + s.control.Addr().String() }

// Certificate returns the DER of the certificate of api-ssl and REST.
func (s *Sim) Certificate() []byte { return s.cert.Certificate[0] }

// SetKnobs replaces the knobs.
func (s *Sim) SetKnobs(k Knobs) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.knobs = k
	if k.APIDown {
		for c := range s.apiConns {
			_ = c.Close() // the client sees a cut connection, which is the point
		}
	}
}

// Knobs returns the knobs in force.
func (s *Sim) Knobs() Knobs {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.knobs
}

// Counters returns the counters.
func (s *Sim) Counters() Counters {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counters
}

// tick is the router's second: timeouts, interims, phones.
func (s *Sim) tick() {
	t := time.NewTicker(100 * time.Millisecond)
	defer t.Stop()
	for n := 0; ; n++ {
		select {
		case <-t.C:
		case <-s.ctx.Done():
			return
		}
		s.mu.Lock()
		now := time.Now()
		s.expireLists(now)
		s.dropCookies(func(k *cookie) bool { return now.After(k.expires) })
		served := s.server() != none
		for _, h := range s.hosts {
			if !served {
				s.endSession(h, causeNASRequest) // the HotSpot is gone
			}
			s.renew(h, now)
			s.tickSession(h, now)
			if n%10 == 0 {
				s.expireConnections(h, now)
				if !s.knobs.Still {
					s.phone(h)
				}
			}
		}
		scripts := s.due(now)
		s.mu.Unlock()
		for _, p := range scripts {
			s.run(func() { s.runScript(p) })
		}
	}
}

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/thejerf/suture/v4"

	"iwas/cloud/broker"
	"iwas/cloud/console"
	"iwas/cloud/fleet"
	"iwas/cloud/ingest"
	"iwas/cloud/store"
	"iwas/internal/buildinfo"
	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/logs"
	"iwas/internal/metrics"
	"iwas/internal/mqttlink"
	"iwas/internal/sdnotify"
	"iwas/internal/secret"
	"iwas/internal/webui"
	"iwas/internal/wire"
)

// openStore opens the database with the key that seals guests' passwords.
func openStore(ctx context.Context, c config, log *slog.Logger) (*store.DB, error) {
	if err := os.MkdirAll(c.StateDir, 0o700); err != nil {
		return nil, fault.New(fault.Unavailable, "make the state directory", err)
	}
	key, err := guestsKey(c)
	if err != nil {
		return nil, err
	}
	return store.Open(ctx, store.Options{URL: c.Database, Key: key, Log: log})
}

func guestsKey(c config) (*secret.Key, error) {
	key, err := secret.LoadKey(filepath.Join(c.StateDir, "guests.key"))
	if err != nil {
		return nil, fault.New(fault.Damaged, "load the key of the guests' passwords", err)
	}
	return key, nil
}

// cloud is the running program: every part, and who talks to whom.
type cloud struct {
	cfg     config
	log     *slog.Logger
	db      *store.DB
	ca      *fleet.CA
	broker  *broker.Broker // nil: one that is not ours
	link    *mqttlink.Link // our own connection to the broker
	fleet   *fleet.Fleet
	ingest  *ingest.Handler
	console *console.Server
	meter   *meter
	door    tls.Certificate // of the agents' HTTPS door
}

// serve runs the program until ctx ends.
func serve(ctx context.Context, cfg config, talk io.Writer) (err error) {
	log, flush := logs.New(talk, nil)
	defer flush()
	c := &cloud{cfg: cfg, log: log, meter: &meter{}}
	if c.db, err = openStore(ctx, cfg, log.With("part", "store")); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.db.Close()) }() // last out
	if err := c.wire(ctx); err != nil {
		return err
	}
	sup := suture.New("iwas-cloud", suture.Spec{FailureBackoff: 2 * time.Second, Timeout: 10 * time.Second, EventHook: func(e suture.Event) {
		if _, ok := e.(suture.EventResume); !ok {
			log.Warn("a part failed and will be restarted", "event", e.String())
		}
	}})
	if c.broker != nil {
		sup.Add(task{"broker", c.broker.Serve})
	}
	for _, t := range []task{{"link", c.link.Serve}, {"post", c.post}, {"ingest", c.ingest.Serve}, {"fleet", c.fleet.Serve}, {"sweeper", c.sweep}} {
		sup.Add(t)
	}
	// The doors open last and name a taken port at once.
	doors, err := c.doors(ctx)
	if err != nil {
		return err
	}
	for _, d := range doors {
		sup.Add(d)
	}
	manager, err := sdnotify.FromEnvironment()
	if err != nil {
		return err
	}
	defer manager.StoppingWith(ctx)()
	sup.Add(task{"service manager", func(ctx context.Context) error {
		if err := manager.Ready("Console at " + cfg.Console.PublicURL + "."); err != nil {
			return err
		}
		return manager.Watch(ctx, func(ctx context.Context) { _ = c.db.Ready(ctx) }) // a database that is away is no reason to be killed, one that hangs is
	}})
	mqtt := cfg.Broker.URL
	if c.broker != nil {
		mqtt = c.broker.Addr().String()
	}
	log.Info("iwas-cloud runs", "version", buildinfo.Version(), "console", cfg.Console.PublicURL, "mqtt", mqtt)
	if err := sup.Serve(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// task is a supervised loop with a name for the log.
type task struct {
	name string
	run  func(context.Context) error
}

func (t task) Serve(ctx context.Context) error { return t.run(ctx) }
func (t task) String() string                  { return t.name }

// wire makes the parts and tells them of each other.
func (c *cloud) wire(ctx context.Context) error {
	var err error
	if c.ca, err = fleet.LoadCA(filepath.Join(c.cfg.StateDir, "ca"), nil); err != nil {
		return err
	}
	if c.door, err = c.ca.Server("door", c.cfg.Agents.Names); err != nil {
		return err
	}
	brokerCA, kick, err := c.wireBroker()
	if err != nil {
		return err
	}
	notify := func(site hotspot.SiteID) { c.console.NotifySite(site) }
	refusals := &refused{of: c.db.AgentSiteName, log: c.log.With("part", "ingest")}
	key, err := guestsKey(c.cfg)
	if err != nil {
		return err
	}
	proxies, err := webui.ParseProxies(c.cfg.Console.Proxies)
	if err != nil {
		return err
	}
	c.console = &console.Server{Store: c.db, Log: c.log.With("part", "console"), PublicURL: c.cfg.Console.PublicURL,
		Hosts: c.cfg.consoleHosts(), Proxies: proxies, AgentsURL: c.cfg.agentsURL(), Version: buildinfo.Version(), Fingerprint: fleet.Fingerprint(c.door)}
	if c.cfg.Broker.Shared {
		c.console.Refresh = sharedRefresh
	}
	c.fleet, err = fleet.New(ctx, fleet.Options{Store: meteredStore{c.db, c.meter}, Delivered: c.meter.delivered.Observe, Publish: c.link.Publish, Kick: kick,
		Notify: notify, Refused: refusals.note, CA: c.ca, SealKey: key.Public(), MQTTURL: c.cfg.Broker.PublicURL, BrokerCA: brokerCA,
		RevocationsFile: c.cfg.Broker.Revocations, Alone: c.broker != nil, Replicas: c.cfg.Broker.Shared, Log: c.log.With("part", "fleet")})
	if err != nil {
		return err
	}
	c.console.Fleet = c.fleet
	c.ingest = &ingest.Handler{Store: c.db, Publish: c.link.Publish, Notify: notify, Refused: refusals.note, Log: c.log.With("part", "ingest")}
	return nil
}

// sharedRefresh is how old a live page may be where another process may have heard
// the news.
const sharedRefresh = 2 * time.Second

// wireBroker makes our link to the broker, and the broker itself unless another is
// configured. It returns that one's authority, and what cuts an agent off.
func (c *cloud) wireBroker() (authority string, kick func(hotspot.AgentID), err error) {
	filter := wire.Topic("+", "up/#")
	if c.cfg.Broker.Shared {
		filter = "$share/cloud/" + filter
	}
	o := mqttlink.Options{ClientID: "cloud-" + hotspot.NewID(time.Now()), Subscribe: []string{filter}, Buffer: 1024, Log: c.log.With("part", "mqtt")}
	if c.cfg.Broker.external() {
		if authority, _, err = c.cfg.Broker.clientTLS(); err != nil {
			return "", nil, err
		}
		o.URL = c.cfg.Broker.URL
		o.TLS = func() (*tls.Config, error) { // read at every connect: a new certificate needs no restart
			_, cfg, err := c.cfg.Broker.clientTLS()
			return cfg, err
		}
	} else {
		if err := c.ownBroker(); err != nil {
			return "", nil, err
		}
		o.Dial = c.broker.Dial
		kick = func(a hotspot.AgentID) { c.broker.Kick(a) }
	}
	c.link, err = mqttlink.New(o)
	return authority, kick, err
}

func (c *cloud) ownBroker() error {
	mqtt, err := c.ca.Server("mqtt", c.cfg.brokerHosts())
	if err != nil {
		return err
	}
	c.broker, err = broker.New(broker.Options{Listen: c.cfg.Broker.Listen, Log: c.log.With("part", "broker"),
		TLS:     &tls.Config{Certificates: []tls.Certificate{mqtt}, ClientCAs: c.ca.Pool()},
		Allowed: func(a hotspot.AgentID) bool { return c.fleet.Allowed(a) }})
	return err
}

// clientTLS reads who we are at a broker that is not ours, and the authority we
// believe there, as PEM.
func (b brokerConfig) clientTLS() (authority string, cfg *tls.Config, err error) {
	pair, err := tls.LoadX509KeyPair(b.CertFile, b.KeyFile)
	if err != nil {
		return "", nil, fault.New(fault.Unavailable, "read our certificate for the broker", err)
	}
	ca, err := os.ReadFile(b.CAFile)
	roots := x509.NewCertPool()
	if err != nil || !roots.AppendCertsFromPEM(ca) {
		return "", nil, fault.New(fault.Unavailable, "read the broker's authority in "+b.CAFile, err)
	}
	return string(ca), &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, RootCAs: roots}, nil
}

// post sorts what agents send to who reads it. Both queue and return.
func (c *cloud) post(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case m := <-c.link.Messages():
			agent, channel, err := wire.ParseTopic(m.Topic)
			if err != nil {
				c.log.Warn("a message on a topic that is none of ours", "topic", m.Topic)
				continue
			}
			switch channel {
			case wire.UpEvents:
				c.ingest.Handle(ctx, agent, m.Payload)
			case wire.UpHello:
				c.fleet.HandleHello(ctx, agent, m.Payload)
			case wire.UpPresence:
				c.fleet.HandlePresence(ctx, agent, m.Payload)
			}
		}
	}
}

// sweepEvery is how often what is past keeping is dropped.
const sweepEvery = time.Hour

// sweep drops it. Replicas may do so at the same time.
func (c *cloud) sweep(ctx context.Context) error {
	t := time.NewTicker(sweepEvery)
	defer t.Stop()
	for {
		if _, err := c.db.DropOldHistory(ctx); err != nil && ctx.Err() == nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}

// doors binds the console and the agents' HTTPS door.
func (c *cloud) doors(ctx context.Context) ([]task, error) {
	pages := http.NewServeMux()
	pages.HandleFunc("GET /livez", alive)
	pages.HandleFunc("GET /healthz", alive)
	pages.Handle("GET /metrics", metrics.Guard(metrics.New("iwas_cloud", c.tellMetrics), c.cfg.Console.MetricsTokenFile))
	pages.HandleFunc("GET /readyz", c.ready)
	pages.Handle("/", c.console.Handler())
	var out []task
	for _, d := range []struct {
		name, addr, key string
		handler         http.Handler
		tls             *tls.Config
	}{
		{"console", c.cfg.Console.Listen, "[console] listen", pages, nil},
		{"agents' door", c.cfg.Agents.Listen, "[agents] listen", c.fleet.Door(), &tls.Config{Certificates: []tls.Certificate{c.door}, MinVersion: tls.VersionTLS12}},
	} {
		var lc net.ListenConfig
		l, err := lc.Listen(ctx, "tcp", d.addr)
		if err != nil {
			return nil, fault.New(fault.Unavailable, fmt.Sprintf("listen on TCP %s for the %s", d.addr, d.name), err).
				WithCode("SYS-101", fmt.Sprintf("another program holds TCP %s: stop it, or set %s to another port", d.addr, d.key))
		}
		if d.tls != nil {
			l = tls.NewListener(l, d.tls)
		}
		out = append(out, task{d.name, func(ctx context.Context) error { return serveHTTP(ctx, l, d.handler) }})
	}
	return out, nil
}

// serveHTTP answers until ctx ends. The listener is spent then: a restart of
// this part alone is not possible, so any error but the end is final.
func serveHTTP(ctx context.Context, l net.Listener, h http.Handler) error {
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10,
		BaseContext: func(net.Listener) context.Context { return ctx }}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		grace, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		if err := srv.Shutdown(grace); err != nil {
			_ = srv.Close() // what did not end by itself
		}
	})
	err := srv.Serve(l)
	if !stop() {
		<-stopped
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return errors.Join(suture.ErrTerminateSupervisorTree, err)
}

// consoleHosts are the names the console answers to.
func (c config) consoleHosts() []string {
	u, err := url.Parse(c.Console.PublicURL)
	if err != nil {
		return c.Console.Hosts
	}
	return append([]string{u.Hostname()}, c.Console.Hosts...)
}

// brokerHosts are the names in the broker's certificate.
func (c config) brokerHosts() []string {
	hosts := append([]string(nil), c.Agents.Names...)
	if u, err := url.Parse(c.Broker.PublicURL); err == nil {
		hosts = append(hosts, u.Hostname())
	}
	seen := map[string]bool{}
	var out []string
	for _, h := range hosts {
		if !seen[h] {
			seen[h] = true
			out = append(out, h)
		}
	}
	return out
}

// agentsURL is where boxes enrol, as printed in the console.
func (c config) agentsURL() string {
	_, port, err := net.SplitHostPort(c.Agents.Listen)
	if err != nil {
		return ""
	}
	host := c.Agents.Names[0]
	return "https://" + net.JoinHostPort(host, port)
}

// Package demo runs a whole cafe on one machine: a cloud, an agent, a simulated
// router and its guests, each as its own process from its own binary. `make run`
// and the end-to-end tests use it. It keeps its state in one folder and goes on
// from there; it never touches anything outside of it.
package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"iwas/internal/secret"
)

// Options says where and how.
type Options struct {
	Dir    string // state, configuration, logs
	Bin    string // folder of the binaries
	Ports  Ports  // zero fields are the well-known ports
	Guests bool   // simulated guests live by themselves
	Alone  bool   // no cloud was ever there: a router, and an agent that is configured and not started
	Talk   io.Writer
	Tracer []string // command before the agent's own, such as strace and its flags; for tests

	Join     *Cafe  // another cafe of the same owner, whose cloud this one uses; nil brings its own
	MQTTVia  int    // port agents are told to reach the broker at, for who stands in between; 0 is the broker's own
	Database string // URL of the cloud's database; "" is SQLite in Dir
	Broker   string // further lines of the cloud's [broker]
	Router   Router
}

// Router is which router stands there. The zero value is a cafe's that the agent
// knows already.
type Router struct {
	Unknown bool   // the agent has yet to be told of it, and is not started; its API over TLS is then at the API's port
	Fresh   bool   // as it comes from its box; Unknown with it
	Version string // of RouterOS; "" is the simulator's own
}

// Ports are where everything listens, all on 127.0.0.1.
type Ports struct {
	Console, Agents, MQTT, Status, RADIUSAuth, RADIUSAcct, CoA, RouterAPI, RouterREST, RouterControl int
}

func (p *Ports) each() []struct {
	name string
	port *int
	udp  bool
} {
	return []struct {
		name string
		port *int
		udp  bool
	}{
		{"the console", &p.Console, false}, {"the agents' door", &p.Agents, false}, {"MQTT", &p.MQTT, false}, {"the status page", &p.Status, false},
		{"RADIUS authentication", &p.RADIUSAuth, true}, {"RADIUS accounting", &p.RADIUSAcct, true}, {"the router's CoA door", &p.CoA, true},
		{"the router's API", &p.RouterAPI, false}, {"the router's REST door", &p.RouterREST, false}, {"the router's control", &p.RouterControl, false},
	}
}

func (p *Ports) defaults() {
	for i, v := range []int{8080, 8443, 8883, 8480, 1812, 1813, 3799, 8728, 8729, 8799} {
		if port := p.each()[i].port; *port == 0 {
			*port = v
		}
	}
}

// FreePorts returns ports that nobody held a moment ago, for tests. They are
// below those the system hands out by itself, so that no connection takes one
// while a program that had it is started anew.
func FreePorts() (Ports, error) {
	var p Ports
	var hold []io.Closer
	defer func() {
		for _, c := range hold {
			_ = c.Close()
		}
	}()
	for _, e := range p.each() {
		for tries := 0; *e.port == 0; tries++ {
			addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(10_000+rand.IntN(22_000)))
			l, err := net.Listen("tcp4", addr)
			if err != nil && tries < 100 {
				continue
			}
			if err != nil {
				return p, err
			}
			hold = append(hold, l) // so that no two of ours meet
			u, err := net.ListenPacket("udp4", addr)
			if err != nil {
				continue
			}
			hold = append(hold, u)
			*e.port = l.Addr().(*net.TCPAddr).Port
		}
	}
	return p, nil
}

// check says which port is taken before anything starts.
func (p *Ports) check() error {
	var errs []error
	for _, e := range p.each() {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(*e.port))
		var c io.Closer
		var err error
		kind := "TCP"
		if e.udp {
			kind = "UDP"
			c, err = net.ListenPacket("udp4", addr)
		} else {
			c, err = net.Listen("tcp4", addr)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s port %d, needed for %s, is taken: stop what uses it (ss -lnp shows who)", kind, *e.port, e.name))
			continue
		}
		_ = c.Close()
	}
	return errors.Join(errs...)
}

// Account is a login of the demo.
type Account struct {
	ID       string `json:"id"`
	Username string `json:"username"`
	Password string `json:"password"`
	Kind     string `json:"kind"`
}

// Facts is what demo.json holds: all that a person or a test needs.
type Facts struct {
	ConsoleURL       string    `json:"console_url"`
	APIURL           string    `json:"api_url"`
	APIToken         string    `json:"api_token"`
	OwnerEmail       string    `json:"owner_email"`
	OwnerPassword    string    `json:"owner_password"`
	StatusURL        string    `json:"status_url"`
	StatusPassword   string    `json:"status_password"`
	RADIUSAuth       string    `json:"radius_auth"`
	RADIUSAcct       string    `json:"radius_acct"`
	RADIUSSecret     string    `json:"radius_secret"`
	NASIP            string    `json:"nas_ip"`
	RouterAPI        string    `json:"router_api"`
	RouterREST       string    `json:"router_rest"`
	RouterUser       string    `json:"router_user"`
	RouterPassword   string    `json:"router_password"`
	RouterControlURL string    `json:"router_control_url"`
	MQTTURL          string    `json:"mqtt_url"`
	SiteID           string    `json:"site_id"`
	Accounts         []Account `json:"accounts"`
}

// Cafe is a running demo.
type Cafe struct {
	Facts
	o     Options
	kept  kept
	procs []*process // in the order they started
}

// kept is what the folder remembers from run to run.
type kept struct {
	OwnerPassword  string    `json:"owner_password"`
	APIToken       string    `json:"api_token"`
	RADIUSSecret   string    `json:"radius_secret"`
	RouterPassword string    `json:"router_password"`
	StatusPassword string    `json:"status_password"`
	SiteID         string    `json:"site_id"`
	PlanIDs        []string  `json:"plan_ids"`
	Accounts       []Account `json:"accounts"`
}

const ownerEmail = "owner@cafe.example"

// Start brings the cafe up and returns when guests can log in and the site is in
// step with the cloud. On error nothing is left running.
func Start(ctx context.Context, o Options) (cafe *Cafe, err error) {
	o.Ports.defaults()
	if o.Talk == nil {
		o.Talk = io.Discard
	}
	if o.Dir, err = filepath.Abs(o.Dir); err != nil {
		return nil, err
	}
	c := &Cafe{o: o}
	if err := c.notReady(); err != nil { // one that was killed could not
		return nil, err
	}
	if err := o.Ports.check(); err != nil {
		return nil, err
	}
	if err := c.remember(); err != nil {
		return nil, err
	}
	c.facts()
	if j := o.Join; j != nil {
		c.kept.APIToken, c.kept.PlanIDs = j.kept.APIToken, j.kept.PlanIDs
		c.APIToken, c.APIURL, c.ConsoleURL, c.MQTTURL, c.OwnerPassword = j.APIToken, j.APIURL, j.ConsoleURL, j.MQTTURL, j.OwnerPassword
	}
	defer func() {
		if err != nil {
			c.Stop()
		}
	}()
	for _, step := range []struct {
		say   string
		do    func(context.Context) error
		agent bool // needs one that knows its router
		cloud bool // needs one
	}{
		{"starting the cloud", c.ownCloud, false, true},
		{"configuring the agent", c.configureAgent, false, false},
		{"enrolling the site", c.enrol, false, true},
		{"starting the router", c.startRouter, false, false},
		{"starting the agent", c.StartAgent, true, true},
		{"opening accounts", c.openAccounts, false, true},
		{"waiting for the site to be in step", c.awaitStep, true, true},
		{"letting guests in", c.letGuestsIn, true, true},
	} {
		if step.agent && o.Router.Unknown || step.cloud && o.Alone {
			continue
		}
		began := time.Now()
		if err := step.do(ctx); err != nil {
			return nil, fmt.Errorf("%s: %w", step.say, err)
		}
		fmt.Fprintf(o.Talk, "  %-38s %s\n", step.say, time.Since(began).Round(time.Millisecond))
	}
	c.Accounts = c.kept.Accounts
	b, err := json.MarshalIndent(c.Facts, "", "  ")
	if err != nil {
		return nil, err
	}
	return c, secret.WriteFile(c.path("demo.json"), append(b, '\n'))
}

// notReady takes demo.json away: it says that the cafe is open, to people and to
// scripts that wait for it.
func (c *Cafe) notReady() error {
	if err := os.Remove(c.path("demo.json")); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func (c *Cafe) path(parts ...string) string {
	return filepath.Join(append([]string{c.o.Dir}, parts...)...)
}

// remember reads what an earlier run kept, or makes secrets at random.
func (c *Cafe) remember() error {
	for _, d := range []string{"cloud", "agent", "router"} {
		if err := os.MkdirAll(c.path(d), 0o700); err != nil {
			return err
		}
	}
	b, err := os.ReadFile(c.path("kept.json"))
	switch {
	case errors.Is(err, os.ErrNotExist):
		c.kept = kept{OwnerPassword: secret.Random(12).Reveal(), StatusPassword: secret.Random(12).Reveal(), APIToken: "iwas_" + secret.Random(40).Reveal(),
			RADIUSSecret: secret.Random(24).Reveal(), RouterPassword: secret.Random(16).Reveal()}
		return c.keep()
	case err != nil:
		return err
	}
	if err := json.Unmarshal(b, &c.kept); err != nil {
		return fmt.Errorf("%s is damaged: make clean starts afresh: %w", c.path("kept.json"), err)
	}
	return nil
}

func (c *Cafe) keep() error {
	b, err := json.MarshalIndent(c.kept, "", "  ")
	if err != nil {
		return err
	}
	return secret.WriteFile(c.path("kept.json"), b)
}

func (c *Cafe) facts() {
	at := func(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
	p := c.o.Ports
	c.Facts = Facts{
		ConsoleURL: "http://" + at(p.Console) + "/", APIURL: "http://" + at(p.Console), APIToken: c.kept.APIToken,
		OwnerEmail: ownerEmail, OwnerPassword: c.kept.OwnerPassword, StatusURL: "http://" + at(p.Status) + "/", StatusPassword: c.kept.StatusPassword,
		RADIUSAuth: at(p.RADIUSAuth), RADIUSAcct: at(p.RADIUSAcct), RADIUSSecret: c.kept.RADIUSSecret, NASIP: "127.0.0.1",
		RouterAPI: at(p.RouterAPI), RouterREST: "https://" + at(p.RouterREST) + "/rest", RouterUser: "iwas", RouterPassword: c.kept.RouterPassword,
		RouterControlURL: "http://" + at(p.RouterControl), MQTTURL: "tls://" + at(p.MQTT), SiteID: c.kept.SiteID,
	}
}

// Guide says in plain words what stands where and what to try.
func (c *Cafe) Guide() string {
	var b strings.Builder
	user := c.Accounts[0]
	fmt.Fprintf(&b, `
The cafe is open.

  Console      %s
               sign in as %s, password %s
  Status page  %s
               sign in as technician, password %s
  RADIUS       %s (accounting %s), secret %s
  Router       API %s, user %s, password %s

Try this:
  1. Open the console, choose a guest who is online, press Lock, and watch the
     three steps: sent, received by site, enforced. The guest is then off the
     router, proven, and cannot come back until you press Unlock.
  2. Log in as a guest yourself (needs freeradius-utils):
     echo 'User-Name=%s,User-Password=%s,Calling-Station-Id=02:00:00:00:00:99,Message-Authenticator=0x00' | \
       radclient -x %s auth %s
  3. Look at the status page while you do.

Everything above is in %s as well. Logs are beside it.
Ctrl-C closes the cafe; the next start goes on from here.
`, c.ConsoleURL, c.OwnerEmail, c.OwnerPassword, c.StatusURL, c.StatusPassword, c.RADIUSAuth, c.RADIUSAcct, c.RADIUSSecret, c.Facts.RouterAPI, c.RouterUser, c.RouterPassword,
		user.Username, user.Password, c.RADIUSAuth, c.RADIUSSecret, c.path("demo.json"))
	return b.String()
}

// Dir returns the folder of the demo's state.
func (c *Cafe) Dir() string { return c.o.Dir }

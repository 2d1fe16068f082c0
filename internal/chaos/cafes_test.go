package chaos

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"iwas/internal/demo"
	"iwas/internal/radload"
	"iwas/internal/routersim"
)

// cafes are several sites of one cloud, with guests and staff, and the relay
// between their agents and the broker.
type cafes struct {
	*testing.T
	seed     uint64
	dir      string
	sites    []*demo.Cafe // the first runs the cloud
	relay    *relay
	database string // URL of the cloud's
	disks    map[string]bool
	broker   *broker // nil: the cloud's own

	former  [][]*side // by site: lives of agents that ended with a restore
	backups backups
	tallied []*tallied        // by site
	lost    map[string]bool   // commands that the cloud knew before it was restored, and its backup did not
	undone  []map[string]bool // by site: commands that the agent knew before it was restored, and its backup did not, or otherwise

	files sync.RWMutex // held to read while programs come and go, and wholly while a database is put back

	mu   sync.Mutex
	did  map[string]int // guarded by mu; what staff did, and what was refused
	load map[int]*radload.Result
}

// shape says how a run's cloud is built.
type shape struct {
	sites    int
	database string // "" is SQLite
	broker   *broker
	ample    bool // no disk is small
	shared   bool // with other processes of the cloud
}

// openCafes brings everything up.
func openCafes(t *testing.T, seed uint64, s shape) *cafes {
	t.Helper()
	c := &cafes{T: t, seed: seed, dir: t.TempDir(), relay: startRelay(t, seed), database: s.database, broker: s.broker,
		disks: map[string]bool{}, did: map[string]int{}, load: map[int]*radload.Result{}, former: make([][]*side, s.sites), lost: map[string]bool{}}
	state := func(i int, program string) string { return filepath.Join(c.dir, fmt.Sprint("cafe", i), program) }
	c.relay.cloud = state(0, "cloud")
	for i := range s.sites {
		c.relay.sites = append(c.relay.sites, state(i, "agent"))
	}
	// Programs that a full disk is to meet live on a small one.
	for _, dir := range []string{state(0, "cloud"), state(0, "agent")} {
		if !s.ample {
			c.disks[dir] = c.mount(dir)
		}
	}
	for i := range s.sites {
		ports, err := demo.FreePorts()
		if err != nil {
			t.Fatal(err)
		}
		o := demo.Options{Dir: filepath.Dir(state(i, "agent")), Bin: bin, Ports: ports, MQTTVia: c.relay.port, Database: s.database}
		if i == 0 {
			c.relay.dial = func(_ string, own tls.Certificate, roots *x509.CertPool) (net.Conn, error) {
				d := tls.Dialer{NetDialer: &net.Dialer{Timeout: 5 * time.Second}, Config: &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: roots, Certificates: []tls.Certificate{own}}}
				return d.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", ports.MQTT))
			}
			if s.broker != nil {
				own := s.broker.m.Cloud.Server(t)
				c.relay.own = &own
				c.relay.dial, o.Broker = s.broker.dial, s.broker.config(t, o.Dir)
				if s.shared {
					o.Broker += "shared = true\n"
				}
			}
			c.relay.open()
		} else {
			o.Join = c.sites[0]
		}
		cafe, err := demo.Start(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		c.sites = append(c.sites, cafe)
		c.tallied = append(c.tallied, &tallied{coa: ports.CoA, asked: map[string]string{}})
		c.undone = append(c.undone, map[string]bool{})
		t.Cleanup(func() {
			if err := cafe.Stop(); err != nil {
				t.Errorf("stop: %v", err)
			}
			c.showLogs(i)
		})
	}
	if c.database == "" {
		c.database = filepath.Join(state(0, "cloud"), "iwas.db")
	}
	return c
}

// showLogs prints the end of the logs of a run that failed.
func (c *cafes) showLogs(i int) {
	if !c.Failed() {
		return
	}
	for _, name := range []string{"cloud", "agent"} {
		b, err := os.ReadFile(filepath.Join(c.sites[i].Dir(), name+".log"))
		if err == nil {
			c.Logf("cafe%d/%s.log:\n%s", i, name, b[max(0, len(b)-6000):])
		}
	}
}

func (c *cafes) cloud() *demo.Cafe { return c.sites[0] }

// cloudDB opens the cloud's database to read from.
func (c *cafes) cloudDB() (*sql.DB, error) {
	if strings.HasPrefix(c.database, "postgres:") {
		return sql.Open("pgx", c.database)
	}
	return openFile(c.database)
}

func (c *cafes) agentFile(i int) string { return filepath.Join(c.sites[i].Dir(), "agent", "iwas.db") }

// note counts what was done, or refused.
func (c *cafes) note(what string, err error) {
	if err != nil {
		what += " refused"
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.did[what]++
}

// patience is how long staff wait for an answer.
const patience = 4 * time.Second

// guests are devices that live by themselves at a site's router: they log in,
// use data, log out and come back.
func (c *cafes) letGuestsIn(i int, dice *rand.Rand) {
	cafe := c.sites[i]
	if err := cafe.Control(c.Context(), http.MethodPut, "/router/knobs", routersim.Knobs{InterimInterval: time.Second}, nil); err != nil {
		c.Fatal(err)
	}
	for n, a := range cafe.Accounts {
		if a.Kind == "device" {
			continue
		}
		life := routersim.Life{Login: routersim.Login{Method: []string{"http-chap", "http-pap"}[n%2], Username: a.Username, Password: a.Password},
			OnS: 2 + dice.IntN(8), OffS: 1, Up: 1000 + uint64(n), Down: 9000}
		if err := cafe.Control(c.Context(), http.MethodPost, "/guests/"+guestMAC(n)+"/live", life, nil); err != nil {
			c.Fatal(err)
		}
	}
}

func guestMAC(n int) string { return fmt.Sprintf("02:00:00:00:01:%02X", n) }

// sendGuestsHome ends every session at the routers.
func (c *cafes) sendGuestsHome() {
	for _, cafe := range c.sites {
		macs := []string{countedMAC}
		for n := range cafe.Accounts {
			macs = append(macs, guestMAC(n))
		}
		for _, mac := range macs {
			path := "/guests/" + mac
			_ = cafe.Control(c.Context(), http.MethodPost, path+"/live", routersim.Life{AfterS: 1 << 20}, nil) // takes the life's place
			_ = cafe.Control(c.Context(), http.MethodPost, path+"/logout", nil, nil)                           // who is not there is out
		}
	}
}

// report puts RADIUS load of another kind on a site: a NAS whose guests are on no
// router's list, with requests that go again until they are answered.
func (c *cafes) report(ctx context.Context, i int) error {
	cafe := c.sites[i]
	auth, err := netip.ParseAddrPort(cafe.RADIUSAuth)
	if err != nil {
		return err
	}
	acct, err := netip.ParseAddrPort(cafe.RADIUSAcct)
	if err != nil {
		return err
	}
	who := cafe.Accounts[0]
	got, err := radload.Run(ctx, radload.Options{Auth: auth, Acct: acct, Secret: cafe.RADIUSSecret,
		Crowd:  radload.NewCrowd(2, func(int) (string, string) { return who.Username, who.Password }),
		Script: []radload.Kind{radload.PAP, radload.Start, radload.Interim, radload.Interim, radload.Stop},
		Rate:   10, Time: time.Hour, Resend: 200 * time.Millisecond, Tries: 50})
	if err == nil && got.Wrong > 0 {
		err = got.Clean()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.load[i] = got
	return err
}

// staff do something every so often until ctx ends: in the console, and on site.
func (c *cafes) staff(ctx context.Context, dice *rand.Rand) {
	for n := 0; ctx.Err() == nil; n++ {
		i := dice.IntN(len(c.sites))
		cafe := c.sites[i]
		a := cafe.Accounts[1+dice.IntN(len(cafe.Accounts)-1)] // the first is the load's
		throw, pause := dice.IntN(14), time.Duration(40+dice.IntN(200))*time.Millisecond
		address := fmt.Sprintf("203.0.113.%d", 1+dice.IntN(250))
		c.act(ctx, i, a, throw, n, address)
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

func (c *cafes) act(ctx context.Context, i int, a demo.Account, throw, n int, address string) {
	cafe := c.sites[i]
	post := func(path string, body any) error {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		return cafe.API(ctx, http.MethodPost, "/api/v1"+path, body, nil)
	}
	account := "/accounts/" + a.ID
	switch {
	case throw < 3:
		c.note("lock", post(account+"/lock", map[string]string{"reason": "chaos"}))
	case throw < 5:
		c.note("unlock", post(account+"/unlock", map[string]string{"reason": "chaos"}))
	case throw < 6:
		c.note("sale", post("/sites/"+cafe.SiteID+"/accounts", map[string]any{"kind": "user", "username": fmt.Sprintf("late%d", n), "plan": cafe.PlanID(n % 3)}))
	case throw < 7:
		c.note("time from the cloud", post(account+"/extend", map[string]any{"seconds": 60 * (1 + n%5), "reason": "chaos"}))
	case throw < 8:
		c.note("speed from the cloud", post(account+"/speed", map[string]any{"rate": fmt.Sprintf("%dM/10M", 1+n%5)}))
	case throw < 9:
		c.note("grant from the cloud", post("/sites/"+cafe.SiteID+"/grants", map[string]any{"list": "staff", "addresses": []string{address}, "for_s": 86400}))
	case throw < 10:
		c.note("time on site", c.onSite(ctx, i, "account", "extend", a.Username, "5m", "--reason", "chaos"))
	case throw < 11:
		c.note("speed on site", c.onSite(ctx, i, "account", "speed", a.Username, fmt.Sprintf("%dM/20M", 1+n%5)))
	case throw < 13:
		_, err := c.command(ctx, i, account+"/kick", nil)
		c.note("kick", err)
	default:
		c.note("grant on site", c.onSite(ctx, i, "grant", "add", "site", address, "--for", "1d"))
	}
}

// onSite runs iwas-agent as staff at the counter do.
func (c *cafes) onSite(ctx context.Context, i int, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return exec.CommandContext(ctx, filepath.Join(bin, "iwas-agent"), append([]string{"--config", c.sites[i].AgentConfig()}, args...)...).Run()
}

// look reads both sides of a site, and what its router says was done to it.
func (c *cafes) look(i int) (agent, cloud *side, router *effects, err error) {
	ctx, cancel := context.WithTimeout(c.Context(), 30*time.Second)
	defer cancel()
	here, err := openFile(c.agentFile(i))
	if err != nil {
		return nil, nil, nil, err
	}
	defer here.Close()
	there, err := c.cloudDB()
	if err != nil {
		return nil, nil, nil, err
	}
	defer there.Close()
	agent, err = agentSide(ctx, here)
	cloud, cerr := cloudSide(ctx, there, c.sites[i].SiteID)
	router, rerr := c.acts(ctx, i)
	if err := errors.Join(err, cerr, rerr); err != nil {
		return nil, nil, nil, err
	}
	c.tell(i, agent, cloud)
	return agent, cloud, router, nil
}

// tell gives both sides what the run knows of them.
func (c *cafes) tell(i int, agent, cloud *side) {
	c.mu.Lock()
	defer c.mu.Unlock()
	agent.asked, agent.forgotten, cloud.forgotten = maps.Clone(c.tallied[i].asked), c.undone[i], c.lost
}

// settle waits until both sides of every site agree, and returns the rulings.
func (c *cafes) settle(limit time.Duration) []ruling {
	c.Helper()
	began, last := time.Now(), ""
	for {
		rulings, wrong := make([]ruling, len(c.sites)), 0
		for i := range c.sites {
			agent, cloud, router, err := c.look(i)
			if err != nil {
				rulings[i].wrong = []string{err.Error()}
			} else {
				rulings[i] = judge(agent, cloud, c.former[i], router)
			}
			if wrong += len(rulings[i].wrong); len(rulings[i].wrong) > 0 {
				last = fmt.Sprintf("; the last to agree, at site %d: %.300s", i, rulings[i].wrong[0])
			}
		}
		if wrong == 0 {
			c.Logf("both sides agree %v after the last fault%s", time.Since(began).Round(100*time.Millisecond), last)
			return rulings
		}
		if time.Since(began) > limit {
			for i, r := range rulings {
				for _, w := range r.wrong[:min(len(r.wrong), 20)] {
					c.Errorf("site %d, %v after the last fault, one of %d: %s", i, limit, len(r.wrong), w)
				}
			}
			return rulings
		}
		time.Sleep(300 * time.Millisecond) // between two looks at whole databases
	}
}

// counted prints a map in order.
func counted[N any](m map[string]N) string {
	var names, out []string
	for k := range m {
		names = append(names, k)
	}
	slices.Sort(names)
	for _, k := range names {
		out = append(out, fmt.Sprintf("%s %v", k, m[k]))
	}
	return strings.Join(out, ", ")
}

package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"iwas/internal/routersim"
	"iwas/internal/secret"
)

// ownCloud starts the cloud, where it is not another cafe's.
func (c *Cafe) ownCloud(ctx context.Context) error {
	if c.o.Join != nil {
		return nil
	}
	return c.startCloud(ctx)
}

// startCloud sets the cloud up, makes its owner and the API token, and runs it.
func (c *Cafe) startCloud(ctx context.Context) error {
	p := c.o.Ports
	via, database := p.MQTT, ""
	if c.o.MQTTVia != 0 {
		via = c.o.MQTTVia
	}
	if c.o.Database != "" {
		database = fmt.Sprintf("database = %q\n", c.o.Database)
	}
	config := fmt.Sprintf(`# Made by the demo.
version = 1
state_dir = %q
%s[console]
listen = "127.0.0.1:%d"
public_url = "http://127.0.0.1:%d"
[agents]
listen = "127.0.0.1:%d"
names = ["127.0.0.1", "localhost"]
[broker]
listen = "127.0.0.1:%d"
public_url = "tls://127.0.0.1:%d"
%s`, c.path("cloud"), database, p.Console, p.Console, p.Agents, p.MQTT, via, c.o.Broker)
	file := c.path("cloud.toml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return err
	}
	if c.kept.SiteID == "" {
		for name, text := range map[string]string{"owner-password": c.kept.OwnerPassword, "api-token": c.kept.APIToken} {
			if err := secret.WriteFile(c.path("cloud", name), []byte(text)); err != nil {
				return err
			}
		}
		if err := c.once(ctx, "iwas-cloud", "--config", file, "owner", "add", "--organization", "Demo Cafes", "--email", ownerEmail,
			"--password-file", c.path("cloud", "owner-password")); err != nil {
			return err
		}
		if err := c.once(ctx, "iwas-cloud", "--config", file, "token", "add", "--email", ownerEmail, "--name", "demo", "--token-file", c.path("cloud", "api-token")); err != nil {
			return err
		}
	}
	proc, err := c.start("cloud", "iwas-cloud", "--config", file, "run")
	if err != nil {
		return err
	}
	return c.until(ctx, proc, 20*time.Second, func(ctx context.Context) (bool, error) { return answers(ctx, c.APIURL+"/readyz") })
}

// once runs a program to its end.
func (c *Cafe) once(ctx context.Context, program string, args ...string) error {
	out, err := exec.CommandContext(ctx, filepath.Join(c.o.Bin, program), args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", program, err, out)
	}
	return nil
}

// configureAgent writes its configuration, and lets a technician sign in.
func (c *Cafe) configureAgent(ctx context.Context) error {
	if err := c.writeAgentConfig(); err != nil {
		return err
	}
	return c.setStatusPassword(ctx)
}

// enrol makes the site and joins the agent to it, as a technician would.
func (c *Cafe) enrol(ctx context.Context) error {
	if c.kept.SiteID != "" {
		c.SiteID = c.kept.SiteID
		return nil
	}
	var site struct{ ID string }
	err := c.api(ctx, http.MethodPost, "/api/v1/sites", map[string]any{"name": "Main Street", "time_zone": "Europe/Berlin", "currency": "EUR", "language": "en"}, &site)
	if err != nil {
		return err
	}
	var code struct{ Code, Command string }
	if err := c.api(ctx, http.MethodPost, "/api/v1/sites/"+site.ID+"/enrolment-codes", nil, &code); err != nil {
		return err
	}
	if err := secret.WriteFile(c.path("agent", "code"), []byte(code.Code)); err != nil {
		return err
	}
	// The command is what the console tells people to paste.
	words := strings.Fields(code.Command)
	for len(words) > 0 && words[0] != "enroll" { // sudo, the program's name
		words = words[1:]
	}
	args := append([]string{"--config", c.path("agent.toml")}, words...)
	if err := c.once(ctx, "iwas-agent", append(args, "--code-file", c.path("agent", "code"), "--yes")...); err != nil {
		return err
	}
	var agents struct{ Items []struct{ ID string } }
	if err := c.api(ctx, http.MethodGet, "/api/v1/sites/"+site.ID+"/agents", nil, &agents); err != nil {
		return err
	}
	for _, a := range agents.Items {
		if err := c.api(ctx, http.MethodPost, "/api/v1/agents/"+a.ID+"/confirm", nil, nil); err != nil {
			return err
		}
	}
	c.kept.SiteID, c.SiteID = site.ID, site.ID
	return c.keep()
}

// setStatusPassword lets a technician sign in on the status page. A folder of an
// older demo has no such password and gets one.
func (c *Cafe) setStatusPassword(ctx context.Context) error {
	if c.kept.StatusPassword == "" {
		c.kept.StatusPassword = secret.Random(12).Reveal()
		if err := c.keep(); err != nil {
			return err
		}
	}
	c.StatusPassword = c.kept.StatusPassword
	file := c.path("agent", "status-password")
	if err := secret.WriteFile(file, []byte(c.StatusPassword)); err != nil {
		return err
	}
	return c.once(ctx, "iwas-agent", "--config", c.path("agent.toml"), "password", "set", "technician", "--password-file", file)
}

func (c *Cafe) writeAgentConfig() error {
	for name, text := range map[string]string{"radius-secret": c.kept.RADIUSSecret, "router-password": c.kept.RouterPassword} {
		if err := secret.WriteFile(c.path("router", name), []byte(text)); err != nil {
			return err
		}
	}
	p := c.o.Ports
	config := fmt.Sprintf(`# Made by the demo.
version = 1
state_dir = %q
[radius]
auth = ["127.0.0.1:%d"]
acct = ["127.0.0.1:%d"]
[status]
listen = "127.0.0.1:%d"
`, c.path("agent"), p.RADIUSAuth, p.RADIUSAcct, p.Status)
	if !c.o.Router.Unknown {
		config += fmt.Sprintf(`[[nas]]
id = "router"
name = "MikroTik"
address = "127.0.0.1"
secret_file = %q
message_authenticator = "off" # here people and tools ask from the router's own address, unsigned
coa = "127.0.0.1:%d"
[nas.router]
url = "api://127.0.0.1:%d"
user = "iwas"
password_file = %q
`, c.path("router", "radius-secret"), p.CoA, p.RouterAPI, c.path("router", "router-password"))
	}
	return os.WriteFile(c.path("agent.toml"), []byte(config), 0o600)
}

func (c *Cafe) startRouter(ctx context.Context) error {
	p := c.o.Ports
	at := func(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
	args := []string{"-identity", "CAFE1", "-rest", at(p.RouterREST), "-coa", at(p.CoA), "-control", at(p.RouterControl), "-password-file", c.path("router", "router-password")}
	if r := c.o.Router; r.Unknown {
		args = append(args, "-api", "127.0.0.1:0", "-api-ssl", at(p.RouterAPI), "-user", "admin", fmt.Sprintf("-fresh=%v", r.Fresh))
	} else {
		args = append(args, "-api", at(p.RouterAPI), "-user", "iwas", "-radius-secret-file", c.path("router", "radius-secret"))
	}
	if v := c.o.Router.Version; v != "" {
		args = append(args, "-version", v)
	}
	proc, err := c.start("router", "routersim", append(args, "-radius-auth", at(p.RADIUSAuth), "-radius-acct", at(p.RADIUSAcct))...)
	if err != nil {
		return err
	}
	return c.until(ctx, proc, 10*time.Second, func(ctx context.Context) (bool, error) {
		return answers(ctx, c.RouterControlURL+"/router/counters")
	})
}

// StartCloud runs the cloud again, after StopOne, and returns when it is ready.
func (c *Cafe) StartCloud(ctx context.Context) error { return c.startCloud(ctx) }

// CloudConfig is the cloud's configuration file, for its commands.
func (c *Cafe) CloudConfig() string { return c.path("cloud.toml") }

// AgentConfig is the agent's configuration file, for its commands.
func (c *Cafe) AgentConfig() string { return c.path("agent.toml") }

// StartAgent runs the agent and returns when its RADIUS answers.
func (c *Cafe) StartAgent(ctx context.Context) error {
	proc, err := c.start("agent", "iwas-agent", "--config", c.path("agent.toml"), "run")
	if err != nil {
		return err
	}
	return c.until(ctx, proc, 20*time.Second, func(ctx context.Context) (bool, error) { return answers(ctx, c.StatusURL+"readyz") })
}

// plans are what the demo sells.
var plans = []map[string]any{
	{"name": "2 hours", "price": price(200), "limits": map[string]any{"time_s": 7200, "clock": "metered", "rate": "2M/10M", "devices": 2}},
	{"name": "Day pass", "price": price(500), "limits": map[string]any{"time_s": 86400, "rate": "5M/20M", "devices": 3}},
	{"name": "1 GB", "price": price(300), "limits": map[string]any{"total": 1_000_000_000, "rate": "5M/20M", "devices": 1}},
}

func price(cents int) map[string]any { return map[string]any{"minor": cents, "currency": "EUR"} }

// people are the demo's accounts. The first is nobody's: it is there to try.
var people = []struct {
	kind, username, note string
	plan                 int
	login                string // of a simulated guest
	on, off              int
}{
	{"user", "tess", "For you to try", 1, "", 0, 0},
	{"user", "amira", "Table 4", 0, "http-chap", 0, 0},
	{"user", "bruno", "", 1, "http-pap", 90, 20},
	{"voucher", "", "Sold at the counter", 0, "http-chap", 60, 30},
	{"device", "02:00:00:00:00:14", "Receipt printer", 1, "mac", 0, 0},
	{"user", "chen", "Student", 2, "http-chap", 120, 15},
	{"voucher", "", "", 2, "http-pap", 45, 25},
	{"user", "dalia", "Regular", 1, "http-chap", 0, 0},
}

func (c *Cafe) openAccounts(ctx context.Context) error {
	for len(c.kept.PlanIDs) < len(plans) {
		var plan struct{ ID string }
		if err := c.api(ctx, http.MethodPost, "/api/v1/plans", plans[len(c.kept.PlanIDs)], &plan); err != nil {
			return err
		}
		c.kept.PlanIDs = append(c.kept.PlanIDs, plan.ID)
		if err := c.keep(); err != nil {
			return err
		}
	}
	for len(c.kept.Accounts) < len(people) {
		who := people[len(c.kept.Accounts)]
		body := map[string]any{"kind": who.kind, "plan": c.kept.PlanIDs[who.plan]}
		for k, v := range map[string]string{"username": who.username, "note": who.note} {
			if v != "" {
				body[k] = v
			}
		}
		a, err := c.CreateAccount(ctx, body)
		if err != nil {
			return err
		}
		c.kept.Accounts = append(c.kept.Accounts, a)
		if err := c.keep(); err != nil {
			return err
		}
	}
	return nil
}

// CreateAccount opens an account at the demo's site through the API.
func (c *Cafe) CreateAccount(ctx context.Context, body map[string]any) (Account, error) {
	var a Account
	err := c.api(ctx, http.MethodPost, "/api/v1/sites/"+c.kept.SiteID+"/accounts", body, &a)
	if a.Kind == "voucher" { // the code is the only credential
		a.Password = a.Username
	}
	return a, err
}

// PlanID returns the id of one of the demo's plans: 0 two hours metered, 1 day
// pass, 2 one gigabyte.
func (c *Cafe) PlanID(i int) string { return c.kept.PlanIDs[i] }

// awaitStep returns when the site holds what the cloud wants of it.
func (c *Cafe) awaitStep(ctx context.Context) error {
	return c.until(ctx, c.running("agent"), 30*time.Second, c.InStep)
}

// InStep reports whether the site is online and holds the cloud's revision.
func (c *Cafe) InStep(ctx context.Context) (bool, error) {
	var site struct {
		Presence string `json:"presence"`
		Revision int64  `json:"revision"`
		Applied  int64  `json:"applied"`
	}
	err := c.api(ctx, http.MethodGet, "/api/v1/sites/"+c.kept.SiteID, nil, &site)
	return err == nil && site.Presence == "online" && site.Revision == site.Applied && site.Revision > 0, err
}

func (c *Cafe) letGuestsIn(ctx context.Context) error {
	if !c.o.Guests {
		return nil
	}
	// The router reports more often than it is asked to, so that figures move
	// while somebody looks.
	if err := c.Control(ctx, http.MethodPut, "/router/knobs", routersim.Knobs{InterimInterval: 10 * time.Second}, nil); err != nil {
		return err
	}
	begun := time.Now()
	for i, who := range people {
		if who.login == "" {
			continue
		}
		a := c.kept.Accounts[i]
		mac := fmt.Sprintf("02:00:00:00:00:%02X", 0x10+i)
		life := routersim.Life{Login: routersim.Login{Method: who.login, Username: a.Username, Password: a.Password}, OnS: who.on, OffS: who.off,
			Up: 800 * uint64(i+1), Down: 6_000 * uint64(i+1)}
		if err := post(ctx, c.RouterControlURL+"/guests/"+mac+"/live", "", life, nil); err != nil {
			return err
		}
	}
	return c.until(ctx, c.running("router"), 15*time.Second, func(ctx context.Context) (bool, error) {
		var guests []routersim.Guest
		err := call(ctx, http.MethodGet, c.RouterControlURL+"/guests", "", nil, &guests)
		online := 0
		for _, g := range guests {
			if g.Online {
				online++
			}
		}
		// Who was locked, or had used all up, the last time still is.
		return online >= 3 || err == nil && time.Since(begun) > 5*time.Second, err
	})
}

// API calls the cloud's HTTP API with the demo's token.
func (c *Cafe) API(ctx context.Context, method, path string, body, into any) error {
	return c.api(ctx, method, path, body, into)
}

func (c *Cafe) api(ctx context.Context, method, path string, body, into any) error {
	return call(ctx, method, c.APIURL+path, c.APIToken, body, into)
}

// Control calls the simulated router's control.
func (c *Cafe) Control(ctx context.Context, method, path string, body, into any) error {
	return call(ctx, method, c.RouterControlURL+path, "", body, into)
}

func post(ctx context.Context, url, token string, body, into any) error {
	return call(ctx, http.MethodPost, url, token, body, into)
}

func call(ctx context.Context, method, url, token string, body, into any) error {
	var r io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		r = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, url, r)
	if err != nil {
		return err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %s: %s", method, url, resp.Status, strings.TrimSpace(string(b)))
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(b, into)
}

// answers reports whether a URL answers 200.
func answers(ctx context.Context, url string) (bool, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 4096))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, strings.TrimSpace(string(b)))
	}
	return err == nil, err
}

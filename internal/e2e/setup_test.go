package e2e

import (
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"iwas/internal/demo"
	"iwas/internal/routeros"
	"iwas/internal/secret"
)

// asked is the part of the API's commands the tests look at.
type asked struct {
	ID, State, Code, Detail, Next string
	Plan                          struct {
		Key   string
		Total int
		From  string
		Steps []struct{ Words, Do, Undo string }
	}
	Application struct {
		State string
		LeftS int64 `json:"left_s"`
	}
}

// shownRouter is the part of the API's routers the tests look at.
type shownRouter struct {
	State, From, Mode, Application string
	ConfirmUntil                   *time.Time `json:"confirm_until"`
	StoredLogin                    string     `json:"stored_login"`
}

// TestARouterIsSetUpFromTheCloud: what is wanted goes down as a document; a plan comes
// back in words and commands; apply is refused while no login is stored on the box, and
// works once somebody there stored one; confirmed it stays, and is rolled back at last.
// A restart of the box in between loses nothing.
func TestARouterIsSetUpFromTheCloud(t *testing.T) {
	coa := 0
	c := open(t, func(o *demo.Options) { coa = o.Ports.CoA })
	path := "/api/v1/sites/" + c.SiteID + "/routers/router"
	call := func(method, path string, body, into any) {
		t.Helper()
		if err := c.API(t.Context(), method, path, body, into); err != nil {
			t.Fatal(err)
		}
	}
	router := func() (r shownRouter) {
		t.Helper()
		call(http.MethodGet, path, nil, &r)
		return r
	}
	ask := func(want, kind, plan string) (got asked) {
		t.Helper()
		call(http.MethodPost, path+"/commands", map[string]string{"kind": kind, "plan": plan}, &got)
		id := got.ID
		until(t, kind+" to be over", 60*time.Second, func() bool {
			got = asked{}
			call(http.MethodGet, "/api/v1/sites/"+c.SiteID+"/commands/"+id, nil, &got)
			return got.State != "queued" && got.State != "sent" && got.State != "delivered"
		})
		if got.State != want {
			t.Fatalf("%s: %s %s %q %q, want %s", kind, got.State, got.Code, got.Detail, got.Next, want)
		}
		return got
	}
	until(t, "the box to tell of its router", 30*time.Second, func() bool {
		var all struct{ Items []shownRouter }
		call(http.MethodGet, "/api/v1/sites/"+c.SiteID+"/routers", nil, &all)
		return len(all.Items) == 1
	})
	if got := ask("rejected", "plan", ""); got.Code != "RTR-160" {
		t.Errorf("a plan of nothing wanted: %+v", got)
	}
	call(http.MethodPut, path+"/setup", map[string]any{"mode": "radius-only", "box_address": "127.0.0.1", "coa_port": coa}, nil)
	until(t, "the box to go by it", 20*time.Second, func() bool { r := router(); return r.State == "held" && r.From == "cloud" && r.Mode == "radius-only" })

	before := onRouter(t, c, "/radius/print")
	plan := ask("executed", "plan", "").Plan
	if plan.Total == 0 || len(plan.Steps) != plan.Total || plan.From != "cloud" || plan.Steps[0].Words == "" || !strings.HasPrefix(plan.Steps[0].Do, "/") {
		t.Fatalf("plan: %+v", plan)
	}
	if got := ask("rejected", "apply", plan.Key); got.Code != "RTR-161" || !strings.Contains(got.Next, "iwas-agent router apply router") {
		t.Errorf("without a stored login: %+v", got)
	}
	onSite := func(args ...string) string {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), filepath.Join(bin, "iwas-agent"), append([]string{"--config", c.AgentConfig(), "router"}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("iwas-agent router %v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	if said := onSite("plan", "router"); !strings.Contains(said, plan.Steps[0].Words) {
		t.Errorf("on site the plan of the cloud's wish reads\n%s", said)
	}
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte(c.RouterPassword), 0o600); err != nil {
		t.Fatal(err)
	}
	onSite("login", "store", "router", "--user", c.RouterUser, "--password-file", password)
	if kept, err := os.ReadFile(filepath.Join(c.Dir(), "agent", "routers", "router.login.json")); err != nil || strings.Contains(string(kept), c.RouterPassword) {
		t.Errorf("the stored login is not sealed (%v): %s", err, kept)
	}
	if said := onSite("show"); !strings.Contains(said, "the cloud may apply them, as "+c.RouterUser) {
		t.Errorf("router show does not say that a login is stored:\n%s", said)
	}
	if got := ask("rejected", "apply", "another"); got.Code != "RTR-162" {
		t.Errorf("another plan than the one that was read: %+v", got)
	}
	if got := ask("executed", "apply", plan.Key); got.Application.State != "waiting" || got.Application.LeftS < 60 {
		t.Errorf("applied: %+v", got)
	}
	stands := func(want string, waits bool) {
		t.Helper()
		until(t, "the console to say "+want, 20*time.Second, func() bool {
			r := router()
			return r.Application == want && (r.ConfirmUntil != nil) == waits && r.StoredLogin == c.RouterUser
		})
	}
	stands("waiting", true)
	if err := c.StopOne("agent", true); err != nil {
		t.Fatal(err)
	}
	if err := c.StartAgent(t.Context()); err != nil {
		t.Fatal(err)
	}
	ask("executed", "confirm", "")
	stands("confirmed", false)
	if now := ask("executed", "plan", "").Plan; now.Total != 0 {
		t.Errorf("after it was applied the plan has %d steps", now.Total)
	}
	ask("rejected", "confirm", "")
	ask("executed", "rollback", "")
	stands("undone", false)
	if after := onRouter(t, c, "/radius/print"); after != before {
		t.Errorf("after the rollback the router has\n%s\nwant\n%s", after, before)
	}
	onSite("login", "forget", "router")
	if got := ask("rejected", "apply", plan.Key); got.Code != "RTR-161" {
		t.Errorf("after the login was forgotten: %+v", got)
	}
}

// TestAKickEndsSessionsOnce: asked in the cloud, carried out by the router, proven,
// and nobody is kept out.
func TestAKickEndsSessionsOnce(t *testing.T) {
	c := open(t, nil)
	tess := c.Accounts[0]
	if err := login(t, c, phone, tess, "http-chap"); err != nil {
		t.Fatal(err)
	}
	until(t, "the session in the console", 10*time.Second, func() bool { return len(get(t, c, tess.ID).Sessions) == 1 })
	var k asked
	if err := c.API(t.Context(), http.MethodPost, "/api/v1/accounts/"+tess.ID+"/kick", nil, &k); err != nil {
		t.Fatal(err)
	}
	until(t, "the kick to be done", 20*time.Second, func() bool {
		var got asked
		if err := c.API(t.Context(), http.MethodGet, "/api/v1/sites/"+c.SiteID+"/commands/"+k.ID, nil, &got); err != nil {
			t.Fatal(err)
		}
		return got.State == "executed" && strings.Contains(got.Detail, "1 session ended")
	})
	if g := guest(t, c, phone); g.Online || g.Cookies != 0 {
		t.Errorf("after the kick: online %v with %d cookies", g.Online, g.Cookies)
	}
	if err := login(t, c, phone, tess, "http-pap"); err != nil {
		t.Errorf("a kick keeps out: %v", err)
	}
}

// onRouter is a menu as the router shows it, a row a line.
func onRouter(t *testing.T, c *demo.Cafe, command string) string {
	t.Helper()
	conn, err := routeros.Dial(t.Context(), routeros.Options{URL: "api://" + c.RouterAPI, User: c.RouterUser, Password: secret.Value(c.RouterPassword)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	rows, err := conn.Run(t.Context(), command)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, r := range rows {
		var words []string
		for _, k := range slices.Sorted(maps.Keys(r)) {
			words = append(words, k+"="+r[k])
		}
		out = append(out, strings.Join(words, " "))
	}
	return strings.Join(out, "\n")
}

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"iwas/agent/provision"
	"iwas/internal/routersim"
	"iwas/internal/wire"
)

// fromCloud is a box with its store beside a simulated router, told what to do as the
// cloud does.
type fromCloud struct {
	*testing.T
	*site
	sim  *routersim.Sim
	dir  string
	docs map[string]wire.Doc
	rev  int64
	ids  int
}

func openFromCloud(t *testing.T, setup string) *fromCloud {
	t.Helper()
	nobody := netip.MustParseAddrPort("127.0.0.1:9")
	sim, err := routersim.Start(t.Context(), routersim.Config{Identity: "CAFE1", Version: "7.24 (stable)", User: "admin", Password: "pw",
		RADIUS: routersim.RADIUSConfig{Auth: nobody, Acct: nobody, Secret: lockSecret, Timeout: time.Second}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	sim.SetKnobs(routersim.Knobs{Still: true})
	c := &fromCloud{T: t, sim: sim, dir: t.TempDir(), docs: map[string]wire.Doc{}}
	c.write("secret", lockSecret)
	c.write("password", "pw")
	c.write("agent.toml", "version = 1\nstate_dir = \"state\"\n[radius]\nauth = [\"127.0.0.1:1812\"]\nacct = [\"127.0.0.1:1813\"]\n[[nas]]\nid = \"cafe1\"\nname = \"Counter\"\naddress = \"127.0.0.1\"\nsecret_file = \"secret\"\n"+
		fmt.Sprintf("[nas.router]\nurl = \"api://%s\"\nuser = \"admin\"\npassword_file = \"password\"\n", sim.APIAddr())+setup)
	cfg, err := loadConfig(filepath.Join(c.dir, "agent.toml"), false)
	if err != nil {
		t.Fatal(err)
	}
	if c.site, err = newSite(cfg, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	if err := c.openStore(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	go func() { done <- c.remote.lanes.Serve(ctx) }()
	go func() { done <- c.setups.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-done
		<-done
		if err := c.db.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func (c *fromCloud) write(name, text string) {
	c.Helper()
	if err := os.WriteFile(filepath.Join(c.dir, name), []byte(text), 0o600); err != nil {
		c.Fatal(err)
	}
}

// want has the cloud want a set-up; nil nothing.
func (c *fromCloud) want(s *wire.RouterSetup) {
	c.Helper()
	c.rev++
	delete(c.docs, "cafe1")
	if s != nil {
		b, err := json.Marshal(wire.RouterDoc{RouterSetup: *s, By: "nadia", At: time.Now().UTC()})
		if err != nil {
			c.Fatal(err)
		}
		c.docs["cafe1"] = wire.Doc{Kind: wire.DocRouter, ID: "cafe1", Rev: c.rev, Body: b}
	}
	st := wire.State{V: wire.Version, Lineage: "l1", Snapshot: fmt.Sprint("s", c.rev), Part: 1, Parts: 1, To: c.rev}
	var h wire.SetHash
	for _, d := range c.docs {
		h.Add(d)
		st.Docs = append(st.Docs, d)
	}
	st.Hash = h.String()
	if applied, err := c.db.ApplyState(c.Context(), st); err != nil || !applied {
		c.Fatalf("applied %v, %v", applied, err)
	}
	if told, err := c.db.BringState(c.Context()); err != nil || !told {
		c.Fatalf("in force %v, %v", told, err)
	}
}

// tell asks something as the uplink does, and waits for the answer.
func (c *fromCloud) tell(kind wire.CommandKind, plan string) wire.CommandResult {
	c.Helper()
	c.ids++
	body, err := json.Marshal(wire.RouterCommand{NAS: "cafe1", Plan: plan})
	if err != nil {
		c.Fatal(err)
	}
	m := wire.Command{V: wire.Version, ID: fmt.Sprint("c", c.ids), Kind: kind, TTL: 600_000, Body: body}
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(10 * time.Millisecond) { // a poll with a deadline
		answer, begin, err := c.db.ReceiveCommand(c.Context(), m)
		if err != nil {
			c.Fatal(err)
		}
		if answer != nil {
			return *answer
		}
		if begin {
			c.remote.carry(c.Context(), m)
		}
		if time.Now().After(deadline) {
			c.Fatalf("%s was never answered", kind)
		}
	}
}

// TestCommandsAreShownWithTheirTimes: what waits has the end of its wait, what was done
// its three times in order.
func TestCommandsAreShownWithTheirTimes(t *testing.T) {
	c := openFromCloud(t, "")
	begun := time.Now().Add(-time.Millisecond) // an answer has whole milliseconds
	c.tell(wire.CommandRouterCheck, "")
	waits := wire.Command{V: wire.Version, ID: "waits", Kind: wire.CommandKick, TTL: 600_000, Body: json.RawMessage(`{}`)}
	if _, begin, err := c.db.ReceiveCommand(t.Context(), waits); err != nil || !begin {
		t.Fatalf("received: %v %v", begin, err)
	}
	c.remote.times.received(waits, "", time.Now())
	got, err := c.commandFacts(t.Context())
	if err != nil || len(got) != 2 {
		t.Fatalf("%v: %+v", err, got)
	}
	w, d := got[0], got[1]
	if w.ID != "waits" || w.State != "received" || w.ExpiresAt.Sub(w.ReceivedAt) != 10*time.Minute || !w.StartedAt.IsZero() || !w.EndedAt.IsZero() {
		t.Errorf("what waits: %+v", w)
	}
	if d.Kind != string(wire.CommandRouterCheck) || d.NAS != "cafe1" || d.State != wire.CommandDone || d.ReceivedAt.Before(begun) || d.StartedAt.Before(d.ReceivedAt) ||
		d.EndedAt.Before(d.StartedAt.Add(-time.Millisecond)) || d.EndedAt.IsZero() {
		t.Errorf("what was done: %+v", d)
	}
	for i := range 3 * commandsTimed { // a cloud that commands for ever
		c.remote.times.received(wire.Command{ID: fmt.Sprint("many", i)}, "", time.Now())
	}
	if n := len(c.remote.times.seen); n != commandsTimed || c.remote.times.of(fmt.Sprint("many", 3*commandsTimed-1)).received.IsZero() {
		t.Errorf("the times of %d are kept, want of the newest %d", n, commandsTimed)
	}
}

func (c *fromCloud) plan() wire.PlanResult {
	c.Helper()
	r := c.tell(wire.CommandRouterPlan, "")
	var p wire.PlanResult
	if r.State != wire.CommandDone || json.Unmarshal(r.Body, &p) != nil {
		c.Fatalf("plan: %+v", r)
	}
	return p
}

func (c *fromCloud) export() string {
	c.Helper()
	out, err := c.sim.Paste("admin", "/export")
	if err != nil {
		c.Fatal(err)
	}
	return body(out)
}

func (c *fromCloud) thin() *wire.RouterSetup {
	return &wire.RouterSetup{Mode: provision.RADIUSOnly, BoxAddress: "127.0.0.1", CoAPort: int(c.sim.CoAAddr().Port())}
}

// Applied from the cloud and confirmed by nobody, the router takes it all back by
// itself, and the box says so to the cloud without being asked.
func TestASetUpThatNobodyConfirmsIsTakenBack(t *testing.T) {
	c := openFromCloud(t, "")
	c.window = 8 * time.Second
	if err := c.cfg.storeLogin("cafe1", "admin", "pw"); err != nil {
		t.Fatal(err)
	}
	before := c.export()
	c.want(c.thin())
	plan := c.plan()
	if plan.Total == 0 || plan.From != wire.SetupOfCloud {
		t.Fatalf("plan: %+v", plan)
	}
	r := c.tell(wire.CommandRouterApply, plan.Key)
	var a wire.ApplyResult
	if err := json.Unmarshal(r.Body, &a); err != nil || r.State != wire.CommandDone || a.State != "waiting" || a.Steps != plan.Total || a.LeftS > 8 {
		t.Fatalf("apply: %+v %+v %v", r, a, err)
	}
	if c.export() == before {
		t.Fatal("apply changed nothing")
	}
	n, err := c.cfg.nas("cafe1")
	if err != nil {
		t.Fatal(err)
	}
	if st := c.setupStanding(t.Context(), n); st.State != "waiting" || st.From != wire.SetupOfCloud || st.Login != "admin" || st.Mode != provision.RADIUSOnly {
		t.Errorf("told while it waits: %+v", st)
	}
	for deadline := time.Now().Add(60 * time.Second); c.setupStanding(t.Context(), n).State != "reverted"; time.Sleep(50 * time.Millisecond) { // a poll with a deadline
		if time.Now().After(deadline) {
			t.Fatalf("it was never taken back: %+v", c.setupStanding(t.Context(), n))
		}
	}
	if after := c.export(); after != before {
		t.Errorf("taken back, the router has\n%s\nwant\n%s", after, before)
	}
	if r := c.tell(wire.CommandRouterConfirm, ""); r.State != wire.CommandRejected || r.Code != provision.CodeReverted {
		t.Errorf("confirmed too late: %+v", r)
	}
	if got := c.setups.Findings(); len(got) != 0 {
		t.Errorf("what nobody kept is no difference to mend: %+v", got)
	}
}

// What cannot be done is refused before anything is tried, with a code, and with the
// command to type on site where that helps.
func TestCommandsThatAreRefused(t *testing.T) {
	c := openFromCloud(t, "")
	before := c.export()
	wants := func(r wire.CommandResult, state, code, next string) {
		t.Helper()
		if r.State != state || r.Code != code || !strings.Contains(r.Next, next) || r.Detail == "" {
			t.Errorf("got %+v, want %s %s and %q", r, state, code, next)
		}
	}
	wants(c.tell(wire.CommandRouterPlan, ""), wire.CommandRejected, provision.CodeNoSetup, "[nas.setup]")
	wants(c.tell("router.paint", ""), wire.CommandRejected, "CLD-302", "Update")
	wants(c.tell(wire.CommandRouterConfirm, ""), wire.CommandRejected, provision.CodeReverted, "plan")
	wants(c.tell(wire.CommandRouterRollback, ""), wire.CommandRejected, provision.CodeReverted, "plan")
	c.want(c.thin())
	plan := c.plan()
	wants(c.tell(wire.CommandRouterApply, plan.Key), wire.CommandRejected, provision.CodeNoLogin, "iwas-agent router apply cafe1")
	if err := c.cfg.storeLogin("cafe1", "admin", "pw"); err != nil {
		t.Fatal(err)
	}
	wants(c.tell(wire.CommandRouterApply, "another"), wire.CommandRejected, provision.CodePlanChanged, "plan anew")
	if err := c.cfg.storeLogin("cafe1", "admin", "wrong"); err != nil {
		t.Fatal(err)
	}
	if r := c.tell(wire.CommandRouterApply, plan.Key); r.State == wire.CommandDone || r.Code == "" {
		t.Errorf("a stored login that is wrong: %+v", r)
	}
	if after := c.export(); after != before {
		t.Errorf("what was refused changed the router:\n%s", after)
	}
	// A document that cannot be meant is kept, and not in force.
	bad := c.thin()
	bad.Guests = &wire.NetworkSetup{VLAN: 10}
	c.want(bad)
	h, err := c.db.Standing(t.Context())
	if err != nil || !slices.Contains(h.NotInForce, wire.DocRef{Kind: wire.DocRouter, ID: "cafe1"}) {
		t.Errorf("not in force: %v %v", h.NotInForce, err)
	}
	bads := c.tell(wire.CommandRouterPlan, "")
	wants(bads, wire.CommandRejected, provision.CodeBadSetup, "Correct the fields")
	if !strings.Contains(bads.Detail, "pcs.vlan: 10 is the VLAN of guests too") {
		t.Errorf("it does not name the field: %s", bads.Detail)
	}
	wants(c.tell(wire.CommandRouterRollback, ""), wire.CommandRejected, provision.CodeReverted, "plan")
	if n, err := c.cfg.nas("cafe1"); err != nil || c.setupStanding(t.Context(), n) == nil {
		t.Errorf("a hello tells nothing of the router, as an older agent does (%v)", err)
	}
}

// A set-up in the box's own configuration goes before the cloud's document.
func TestTheBoxsOwnSetUpGoesFirst(t *testing.T) {
	c := openFromCloud(t, "[nas.setup]\nmode = \"radius-only\"\nbox_address = \"127.0.0.1\"\ncoa_port = 3111\n")
	c.want(c.thin())
	plan := c.plan()
	if plan.From != wire.SetupOfBox || !slices.ContainsFunc(plan.Steps, func(s wire.PlanStep) bool { return strings.Contains(s.Do, "port=3111") }) {
		t.Errorf("plan: from %q, %+v", plan.From, plan.Steps)
	}
	n, err := c.cfg.nas("cafe1")
	if err != nil {
		t.Fatal(err)
	}
	if st := c.setupStanding(t.Context(), n); st.From != wire.SetupOfBox {
		t.Errorf("told: %+v", st)
	}
}

// What the cloud wants and somebody confirmed is compared from then on, and no longer
// once something else is wanted.
func TestDriftOfTheCloudsSetUp(t *testing.T) {
	c := openFromCloud(t, "")
	if err := c.cfg.storeLogin("cafe1", "admin", "pw"); err != nil {
		t.Fatal(err)
	}
	c.want(c.thin())
	if r := c.tell(wire.CommandRouterApply, c.plan().Key); r.State != wire.CommandDone {
		t.Fatalf("apply: %+v", r)
	}
	if r := c.tell(wire.CommandRouterConfirm, ""); r.State != wire.CommandDone {
		t.Fatalf("confirm: %+v", r)
	}
	finds := func(what string, want bool) {
		t.Helper()
		c.look()
		for deadline := time.Now().Add(60 * time.Second); (len(c.setups.Findings()) > 0) != want; time.Sleep(20 * time.Millisecond) { // a poll with a deadline
			if time.Now().After(deadline) {
				t.Fatalf("%s: %+v", what, c.setups.Findings())
			}
		}
	}
	if _, err := c.sim.Paste("admin", "/radius/incoming/set accept=no"); err != nil {
		t.Fatal(err)
	}
	finds("changed by hand", true)
	other := c.thin()
	other.RADIUSTimeout = "3s"
	c.want(other)
	finds("another is wanted, and not applied", false)
}

// A login is stored once it was tried and has all rights, shown, and forgotten.
func TestALoginIsStoredOnPurpose(t *testing.T) {
	c := openFromCloud(t, "")
	for _, text := range []string{"/user/group/add name=thin policy=read,write,api", "/user/add name=thin group=thin password=pw"} {
		if out, err := c.sim.Paste("admin", text); err != nil {
			t.Fatalf("%s: %s %v", text, out, err)
		}
	}
	b := box{t: t, dir: c.dir, config: filepath.Join(c.dir, "agent.toml")}
	says := func(want int, text, typed string, args ...string) {
		t.Helper()
		if code, out, talk := b.do(typed, append([]string{"router"}, args...)...); code != want || !strings.Contains(out+talk, text) {
			t.Errorf("router %v: exit %d, want %d and %q\n%s\n%s", args, code, want, text, out, talk)
		}
	}
	says(exitFailed, "lacks", "pw\n", "login", "store", "--user", "thin")
	says(exitFailed, "", "wrong\n", "login", "store")
	if _, stored, err := c.cfg.loginStored("cafe1"); err != nil || stored {
		t.Errorf("what cannot apply was stored: %v %v", stored, err)
	}
	says(exitDone, "Stored", "pw\n", "login", "store")
	says(exitDone, "the cloud may apply them, as admin", "", "show")
	if user, password, err := c.cfg.openLogin("cafe1"); err != nil || user != "admin" || password.Reveal() != "pw" {
		t.Errorf("opened: %s %v", user, err)
	}
	if kept, err := os.ReadFile(c.cfg.loginFile("cafe1")); err != nil || strings.Contains(string(kept), `"pw"`) {
		t.Errorf("kept in clear (%v): %s", err, kept)
	}
	says(exitDone, "Forgotten", "", "login", "forget")
	says(exitFailed, "no login", "", "login", "forget")
	if _, out, _ := b.do("", "router", "show"); strings.Contains(out, "admin") {
		t.Errorf("shown after it was forgotten: %s", out)
	}
}

// A check from the cloud needs no set-up and is the check of the command line: every
// row, with the code of what is wrong; one of a router that is not there says so.
func TestARouterIsCheckedFromTheCloud(t *testing.T) {
	c := openFromCloud(t, "")
	look := func() (out wire.CheckResult, marks map[string]string) {
		t.Helper()
		r := c.tell(wire.CommandRouterCheck, "")
		if r.State != wire.CommandDone || json.Unmarshal(r.Body, &out) != nil || r.Detail != out.Verdict || out.NAS != "cafe1" || len(out.Rows) < 20 || out.Cut != 0 {
			t.Fatalf("got %+v", r)
		}
		marks = map[string]string{}
		for _, row := range out.Rows {
			marks[row.Probe] = row.State
			if row.State == "fail" && (row.Code == "" || row.Cause == "" || row.Next == "") {
				t.Errorf("a row that failed helps nobody: %+v", row)
			}
		}
		return out, marks
	}
	if _, marks := look(); marks["login"] != "ok" || marks["address-list-write"] != "ok" || marks["radius"] == "" {
		t.Errorf("got %v", marks)
	}
	c.write("password", "wrong")
	if out, marks := look(); out.State != "fail" || marks["tcp"] != "ok" || marks["login"] != "fail" || marks["rights"] != "skipped" {
		t.Errorf("with a wrong password: %s, %v", out.State, marks)
	}
}

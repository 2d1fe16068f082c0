package e2e

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"iwas/internal/demo"
)

// agentSays runs iwas-agent as staff do, and reads what it prints.
func agentSays(t *testing.T, c *demo.Cafe, out any, args ...string) {
	t.Helper()
	b, err := exec.CommandContext(t.Context(), filepath.Join(bin, "iwas-agent"), append([]string{"--config", c.AgentConfig(), "--json"}, args...)...).Output()
	if err != nil {
		t.Fatalf("iwas-agent %v: %v\n%s", args, err, b)
	}
	if err := json.Unmarshal(b, out); err != nil {
		t.Fatalf("iwas-agent %v: %v: %s", args, err, b)
	}
}

type counterSale struct {
	Name    string `json:"name"`
	Price   string `json:"price"`
	By      string `json:"by"`
	Account string `json:"account_id"`
}

type counterSales struct {
	Sales []counterSale `json:"sales"`
}

// The cafe without a cloud, from the start: a box that was never enrolled and knows
// nobody makes a plan, sells, lets in, limits, ends, locks and proves the guest off.
// Enrolled afterwards, all of it is in the cloud, once, and who is online stays so.
func TestACafeThatNeverHadACloudSellsAndIsEnrolledLater(t *testing.T) {
	t.Parallel() // most of it is waiting
	c := open(t, nil)
	for _, part := range []string{"agent", "cloud"} {
		if err := c.StopOne(part, false); err != nil {
			t.Fatal(err)
		}
	}
	// What enrolment left on the box goes aside, and its store with it.
	state, aside := filepath.Join(filepath.Dir(c.AgentConfig()), "agent"), t.TempDir()
	about := filepath.Join(state, "identity", "identity.json")
	keep, err := os.ReadFile(about)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(about); err != nil {
		t.Fatal(err)
	}
	stores, err := filepath.Glob(filepath.Join(state, "*.db*"))
	if err != nil || len(stores) == 0 {
		t.Fatalf("no store in %s: %v", state, err)
	}
	for _, f := range stores {
		if err := os.Rename(f, filepath.Join(aside, filepath.Base(f))); err != nil {
			t.Fatal(err)
		}
	}
	voucher, rude := sellsAlone(t, c)
	served := aCashierServesAGuest(t, c)

	// Enrolled.
	if err := c.StopOne("agent", false); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(about, keep, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.StartCloud(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.StartAgent(t.Context()); err != nil {
		t.Fatal(err)
	}
	var sales struct {
		Items []struct {
			Username   string `json:"username"`
			Account    string `json:"account"`
			By         string `json:"by"`
			PriceMinor int64  `json:"price_minor"`
			OnSite     bool   `json:"on_site"`
			Remark     string `json:"remark"`
		} `json:"items"`
	}
	ours := func() (n int) {
		sales.Items = nil
		if err := c.API(t.Context(), http.MethodGet, "/api/v1/sites/"+c.SiteID+"/sales", nil, &sales); err != nil {
			t.Fatal(err)
		}
		for _, s := range sales.Items {
			if s.OnSite {
				n++
			}
		}
		return n
	}
	until(t, "the sales in the cloud", 30*time.Second, func() bool { return ours() == 4 })
	for _, s := range sales.Items {
		if s.OnSite && (s.Remark != "" || s.Username == voucher.Name && (s.PriceMinor != 250 || s.By != voucher.By[:strings.Index(voucher.By, " (")] || s.Account != voucher.Account)) {
			t.Errorf("got %+v of %+v", s, voucher)
		}
		if s.Username == served && (s.By != "maria" || s.PriceMinor != 250 || s.Remark != "") {
			t.Errorf("sold by the page: got %+v, want it maria's for EUR 2.50", s)
		}
	}
	until(t, "the lock, proven, in the cloud", 30*time.Second, func() bool {
		var a account
		return c.API(t.Context(), http.MethodGet, "/api/v1/accounts/"+rude.Account, nil, &a) == nil && a.Lock.Locked && a.Lock.State == "enforced"
	})
	until(t, "everything agreed", 30*time.Second, func() bool {
		var a struct{ Unsent int }
		agentSays(t, c, &a, "account", "show", voucher.Name)
		return a.Unsent == 0
	})
	if g := guest(t, c, phone); !g.Online {
		t.Error("the guest who was online was put off by the enrolment")
	}
	if n := ours(); n != 4 {
		t.Errorf("%d sales, want 4 still", n)
	}
}

// sellsAlone is the day of a cafe without a cloud: a box that knows nobody is started,
// makes plans, sells, lets in, limits, ends, locks and puts off. It returns a voucher
// that is in use, and a guest who is locked.
func sellsAlone(t *testing.T, c *demo.Cafe) (voucher, rude counterSale) {
	t.Helper()
	// It is ready once it knows somebody who can log in.
	ready := make(chan error, 1)
	go func() { ready <- c.StartAgent(t.Context()) }()
	until(t, "the service to take commands", 30*time.Second, func() bool {
		return exec.CommandContext(t.Context(), filepath.Join(bin, "iwas-agent"), "--config", c.AgentConfig(), "plan", "list").Run() == nil
	})

	var plans struct{ Plans []json.RawMessage }
	agentSays(t, c, &plans, "plan", "add", "Hour", "--price", "2.50", "--currency", "EUR", "--time", "1h", "--metered", "--rate", "3M/9M")
	agentSays(t, c, &plans, "plan", "add", "Blink", "--time", "6s", "--metered")
	if agentSays(t, c, &plans, "plan", "list"); len(plans.Plans) != 2 {
		t.Fatalf("%d plans, want 2", len(plans.Plans))
	}
	sell := func(args ...string) counterSale {
		t.Helper()
		var s counterSales
		if agentSays(t, c, &s, args...); len(s.Sales) != 1 {
			t.Fatalf("%v: %+v, want one sale", args, s)
		}
		return s.Sales[0]
	}
	voucher = sell("voucher", "sell", "Hour", "--as", "maria")
	blink := sell("voucher", "sell", "Blink")
	if voucher.Price != "EUR 2.50" || !strings.HasPrefix(voucher.By, "maria by ") {
		t.Errorf("got %+v, want it sold by maria for EUR 2.50", voucher)
	}
	if err := <-ready; err != nil {
		t.Fatal(err)
	}
	// A self-test sells itself what nobody counts.
	var test struct {
		Steps []struct{ Step, Result, Detail string }
	}
	if agentSays(t, c, &test, "test", "login"); len(test.Steps) != 8 || test.Steps[6].Detail != "Access-Reject" {
		t.Errorf("test login: %+v", test)
	}
	var listed counterSales
	if agentSays(t, c, &listed, "sales"); len(listed.Sales) != 2 {
		t.Errorf("sales after a test: %+v, want the two real ones", listed.Sales)
	}
	// Limited.
	if err := login(t, c, phone, demo.Account{Username: voucher.Name}, "http-pap"); err != nil {
		t.Fatal(err)
	}
	if g := guest(t, c, phone); !g.Online || g.Rate != "3M/9M" {
		t.Errorf("got online %v at %q, want online at 3M/9M", g.Online, g.Rate)
	}
	// Over.
	if err := login(t, c, laptop, demo.Account{Username: blink.Name}, "http-pap"); err != nil {
		t.Fatal(err)
	}
	until(t, "the end of six seconds", 60*time.Second, func() bool { return !guest(t, c, laptop).Online })
	if err := login(t, c, laptop, demo.Account{Username: blink.Name}, "http-pap"); err == nil {
		t.Error("who used up their time logs in again")
	}
	var why struct {
		Can bool   `json:"can_log_in"`
		Why string `json:"why"`
	}
	if agentSays(t, c, &why, "account", "why", blink.Name); why.Can || !strings.Contains(why.Why, "used up") {
		t.Errorf("why: %+v, want that the time is used up", why)
	}
	// Locked, and off.
	rude = sell("account", "add", "rude", "--plan", "Hour", "--password-file", passwordFile(t, "secret"))
	if err := login(t, c, laptop, demo.Account{Username: "rude", Password: "secret"}, "http-chap"); err != nil {
		t.Fatal(err)
	}
	var shown struct{ Locked bool }
	if agentSays(t, c, &shown, "account", "lock", "rude", "--reason", "shouted"); !shown.Locked {
		t.Error("locked, and not shown so")
	}
	until(t, "the locked guest off", 20*time.Second, func() bool { g := guest(t, c, laptop); return !g.Online && g.Cookies == 0 })
	if err := login(t, c, laptop, demo.Account{Username: "rude", Password: "secret"}, "http-pap"); err == nil {
		t.Error("who is locked logs in")
	}
	return voucher, rude
}

func passwordFile(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

package e2e

import (
	"encoding/json"
	"net/http"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"iwas/internal/demo"
	"iwas/internal/routersim"
)

// guestFacts is the part of the API's account that speed and time are in.
type guestFacts struct {
	AtSite bool `json:"at_site"`
	Pass   struct {
		Limits struct {
			Rate  string `json:"rate"`
			TimeS int64  `json:"time_s"`
		} `json:"limits"`
	} `json:"pass"`
	Sessions []struct {
		Rate   *string `json:"rate"`
		Change *struct {
			Wanted  string `json:"wanted"`
			Outcome string `json:"outcome"`
			Code    string `json:"code"`
		} `json:"change"`
	} `json:"sessions"`
}

func facts(t *testing.T, c *demo.Cafe, id string) guestFacts {
	t.Helper()
	var f guestFacts
	if err := c.API(t.Context(), http.MethodGet, "/api/v1/accounts/"+id, nil, &f); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f guestFacts) runs(rate, outcome string) bool {
	return len(f.Sessions) == 1 && f.Sessions[0].Rate != nil && *f.Sessions[0].Rate == rate && f.Sessions[0].Change != nil && f.Sessions[0].Change.Outcome == outcome
}

// onSite runs iwas-agent account as staff do.
func onSite(t *testing.T, c *demo.Cafe, args ...string) (out struct {
	Rate     string `json:"rate"`
	TimeS    int64  `json:"time_s"`
	Unsent   int    `json:"unsent"`
	Sessions []struct {
		Rate    string `json:"rate"`
		Outcome string `json:"outcome"`
	} `json:"sessions"`
}) {
	t.Helper()
	b, err := exec.CommandContext(t.Context(), filepath.Join(bin, "iwas-agent"), append([]string{"--config", c.AgentConfig(), "--json", "account"}, args...)...).Output()
	if err != nil {
		t.Fatalf("iwas-agent account %v: %v\n%s", args, err, b)
	}
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	return out
}

func TestSpeedAndTimeOfALiveSessionChange(t *testing.T) {
	c := open(t, nil)
	amira := c.Accounts[1] // two hours, metered, 2M/10M
	if err := login(t, c, phone, amira, "http-chap"); err != nil {
		t.Fatal(err)
	}
	until(t, "the session and its speed in the console", 15*time.Second, func() bool {
		f := facts(t, c, amira.ID)
		return len(f.Sessions) == 1 && f.Sessions[0].Rate != nil && *f.Sessions[0].Rate == "2M/10M"
	})
	left := guest(t, c, phone).TimeLeftMS

	// From the cloud: speed and time, each read back from the router.
	if err := c.API(t.Context(), http.MethodPost, "/api/v1/accounts/"+amira.ID+"/speed", map[string]string{"rate": "5M/20M"}, nil); err != nil {
		t.Fatal(err)
	}
	until(t, "the new speed, applied", 20*time.Second, func() bool { return facts(t, c, amira.ID).runs("5M/20M", "applied") })
	if g := guest(t, c, phone); !g.Online || g.Rate != "5M/20M" {
		t.Errorf("the guest is online %v at %s, want online at 5M/20M", g.Online, g.Rate)
	}
	if err := c.API(t.Context(), http.MethodPost, "/api/v1/accounts/"+amira.ID+"/extend", map[string]any{"seconds": 3600, "reason": "the line was down"}, nil); err != nil {
		t.Fatal(err)
	}
	until(t, "an hour more on the router", 20*time.Second, func() bool { return guest(t, c, phone).TimeLeftMS > left+3_500_000 })

	// On site, with the cloud gone: at once, and never twice.
	if err := c.StopOne("cloud", true); err != nil {
		t.Fatal(err)
	}
	got := onSite(t, c, "speed", amira.Username, "1M/4M")
	if got.Rate != "1M/4M" || len(got.Sessions) != 1 || got.Sessions[0].Rate != "1M/4M" || got.Sessions[0].Outcome != "applied" || got.Unsent != 1 {
		t.Errorf("on site: got %+v, want 1M/4M applied and one change to send", got)
	}
	if g := guest(t, c, phone); g.Rate != "1M/4M" {
		t.Errorf("the guest has %s, want 1M/4M", g.Rate)
	}
	if got := onSite(t, c, "extend", amira.Username, "30m", "--reason", "waited"); got.TimeS != 7200+3600+1800 {
		t.Errorf("on site: %d s, want two hours, one more and a half", got.TimeS)
	}
	if err := c.StopOne("agent", true); err != nil { // killed with both unsent
		t.Fatal(err)
	}
	if err := c.StartCloud(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.StartAgent(t.Context()); err != nil {
		t.Fatal(err)
	}
	until(t, "the cloud to have both", 30*time.Second, func() bool {
		f := facts(t, c, amira.ID)
		return f.AtSite && f.Pass.Limits.Rate == "1M/4M" && f.Pass.Limits.TimeS == 12600
	})
	until(t, "the site to hold the document that has them", 15*time.Second, func() bool { return onSite(t, c, "show", amira.Username).Unsent == 0 })
	if got := onSite(t, c, "show", amira.Username); got.TimeS != 12600 || got.Rate != "1M/4M" {
		t.Errorf("after the round: got %+v, want the same as before", got)
	}

	// What the router will not do is said, not claimed.
	knobs(t, c, routersim.Knobs{CoAIgnore: true})
	if err := c.API(t.Context(), http.MethodPost, "/api/v1/accounts/"+amira.ID+"/speed", map[string]string{"rate": "3M/3M"}, nil); err != nil {
		t.Fatal(err)
	}
	until(t, "from the next login", 20*time.Second, func() bool { return facts(t, c, amira.ID).runs("1M/4M", "next_login") })
	if code := facts(t, c, amira.ID).Sessions[0].Change.Code; code != "HSP-207" {
		t.Errorf("code %q, want HSP-207", code)
	}
	err := exec.CommandContext(t.Context(), filepath.Join(bin, "iwas-agent"), "--config", c.AgentConfig(), "account", "extend", "nobody", "1h").Run()
	if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != 1 {
		t.Errorf("nobody's time: got %v, want exit code 1", err)
	}
}

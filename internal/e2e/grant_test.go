package e2e

import (
	"encoding/json"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"iwas/internal/demo"
	"iwas/internal/routeros"
	"iwas/internal/secret"
)

// granted is the part of the API's grants the tests look at.
type granted struct {
	Items []struct {
		ID      string `json:"id"`
		Address string `json:"address"`
		State   string `json:"state"`
		OnSite  bool   `json:"on_site"`
		EndedBy string `json:"ended_by"`
	} `json:"items"`
}

func (g granted) state(address string) string {
	for _, one := range g.Items {
		if one.Address == address {
			return one.State
		}
	}
	return ""
}

// routerList is what a list holds on the router itself, each address once.
func routerList(t *testing.T, c *demo.Cafe, list string) []string {
	t.Helper()
	conn, err := routeros.Dial(t.Context(), routeros.Options{URL: "api://" + c.RouterAPI, User: c.RouterUser, Password: secret.Value(c.RouterPassword)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var out []string
	for _, menu := range []string{"/ip/firewall/address-list", "/ipv6/firewall/address-list"} {
		rows, err := conn.Run(t.Context(), menu+"/print", "?list="+list)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			out = append(out, r["address"])
		}
	}
	slices.Sort(out)
	return out
}

func grantsOf(t *testing.T, c *demo.Cafe, site string) (g granted) {
	t.Helper()
	if err := c.API(t.Context(), http.MethodGet, "/api/v1/sites/"+site+"/grants?ended=true", nil, &g); err != nil {
		t.Fatal(err)
	}
	return g
}

// TestGrantsFromTheCloudAndOnSite: granted in the cloud, it is in the router's
// list and the cloud says so; granted and removed on site while the cloud is
// away, it counts there at once and in the cloud later. Agent, router and cloud
// may each restart in between.
func TestGrantsFromTheCloudAndOnSite(t *testing.T) {
	c := open(t, nil)
	site := c.SiteID
	onSite := func(args ...string) (out struct {
		Grants []struct {
			ID, Address, State string
			Sent               bool `json:"in_cloud"`
		} `json:"grants"`
	}) {
		t.Helper()
		b, err := exec.CommandContext(t.Context(), filepath.Join(bin, "iwas-agent"), append([]string{"--config", c.AgentConfig(), "--json", "grant"}, args...)...).Output()
		if err != nil {
			t.Fatalf("iwas-agent grant %v: %v\n%s", args, err, b)
		}
		if err := json.Unmarshal(b, &out); err != nil {
			t.Fatalf("%v: %s", err, b)
		}
		return out
	}
	var made granted
	if err := c.API(t.Context(), http.MethodPost, "/api/v1/sites/"+site+"/grants",
		map[string]any{"list": "staff", "addresses": []string{"203.0.113.7", "2001:db8::7"}, "for_s": 3600, "comment": "the accountant"}, &made); err != nil {
		t.Fatal(err)
	}
	inList := func(addresses ...string) func() bool {
		return func() bool {
			g := grantsOf(t, c, site)
			return !slices.ContainsFunc(addresses, func(a string) bool { return g.state(a) != "in_list" })
		}
	}
	begun := time.Now()
	until(t, "both to be said in the list", 20*time.Second, inList("203.0.113.7", "2001:db8::7/128"))
	if got, want := routerList(t, c, "staff"), []string{"2001:db8::7/128", "203.0.113.7"}; !slices.Equal(got, want) {
		t.Errorf("the router's list holds %v, want %v", got, want)
	}
	t.Logf("granted in the cloud, read back and told in %v", time.Since(begun))

	if err := c.StopOne("cloud", true); err != nil {
		t.Fatal(err)
	}
	if got := onSite("add", "staff", "203.0.113.8", "--for", "2h"); len(got.Grants) != 1 || got.Grants[0].State != "in_list" || got.Grants[0].Sent {
		t.Errorf("on site without the cloud: got %+v, want it in the list and not sent", got)
	}
	onSite("remove", "staff", "203.0.113.7")
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
		g := grantsOf(t, c, site)
		return g.state("203.0.113.7") == "removed" && g.state("203.0.113.8") == "in_list"
	})
	until(t, "the site to hold the document of its own grant", 15*time.Second, func() bool {
		got := onSite("list")
		return len(got.Grants) == 2 && !slices.ContainsFunc(got.Grants, func(g struct {
			ID, Address, State string
			Sent               bool `json:"in_cloud"`
		}) bool {
			return !g.Sent || g.State != "in_list"
		})
	})
	if err := c.API(t.Context(), http.MethodDelete, "/api/v1/sites/"+site+"/grants/"+onSite("list").Grants[0].ID, nil, nil); err != nil {
		t.Fatal(err)
	}
	until(t, "the removal to reach the site", 15*time.Second, func() bool { return len(onSite("list").Grants) == 1 && len(routerList(t, c, "staff")) == 1 })
}

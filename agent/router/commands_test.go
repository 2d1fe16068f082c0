package router

import (
	"context"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/routeros"
)

// tree is what one version of RouterOS takes: command and its arguments.
func tree(t *testing.T, version string) map[string][]string {
	t.Helper()
	b, err := os.ReadFile("testdata/commands-" + version + ".txt")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]string{}
	for line := range strings.Lines(string(b)) {
		if command, words, ok := strings.Cut(strings.TrimSpace(line), ":"); ok && !strings.HasPrefix(line, "#") {
			out["/"+command] = strings.Fields(words)
		}
	}
	return out
}

// known reports whether a command takes a word. Two words of the API itself are in
// no tree: .proplist chooses what a print shows, .id is what the console calls
// numbers.
func known(arguments []string, word string) bool {
	return slices.Contains(arguments, word) || word == ".proplist" || word == ".id" && slices.Contains(arguments, "numbers")
}

// recorder keeps every sentence that is sent.
type recorder struct {
	mu   sync.Mutex
	said [][]string
}

type recorded struct {
	routeros.Conn
	r *recorder
}

func (c recorded) Run(ctx context.Context, sentence ...string) ([]routeros.Row, error) {
	c.r.mu.Lock()
	c.r.said = append(c.r.said, sentence)
	c.r.mu.Unlock()
	return c.Conn.Run(ctx, sentence...)
}

// Every command sent, with every argument, is in the command tree of the oldest
// and of the newest RouterOS that is supported; so no version has to be asked first.
func TestCommandsSentAreInBothTrees(t *testing.T) {
	old, young := tree(t, "7.16.2"), tree(t, "7.24")
	var r recorder
	for _, version := range []string{"7.16.2 (stable)", "7.24 (stable)"} {
		h := startHealthy(t, "api-ssl", version)
		h.check.wrap = func(c routeros.Conn) routeros.Conn { return recorded{c, &r} }
		// With what makes the survey read the menus it reads only then.
		h.do("/ip/firewall/filter/add", "=chain=forward", "=action=fasttrack-connection")
		h.do("/ipv6/address/add", "=address=2001:db8::1/64", "=interface=vlan20-guest")
		h.do("/ip/hotspot/walled-garden/ip/add", "=action=accept", "=dst-address-list=banks")
		h.check.Run(t.Context())
		conn, err := h.check.dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := StartDebugLog(t.Context(), conn, time.Minute); err != nil {
			t.Fatal(err)
		}
		if err := StopDebugLog(t.Context(), conn); err != nil {
			t.Fatal(err)
		}
		conn.Close()
	}
	c := open(t, func(c *cafe) {
		c.e.Routers[0].Dial = func(ctx context.Context) (routeros.Conn, error) {
			conn, err := c.dial(ctx)
			if err == nil {
				conn = recorded{conn, &r}
			}
			return conn, err
		}
	})
	c.arrive(1, 3)
	c.lock(nameOf(1))
	c.proof(nameOf(1))
	lists := sayLists(t)
	eventually(t, "every menu of its health is asked for", func() bool { return asked(c.e.Health()[0].Vitals) })
	r.mu.Lock()
	defer r.mu.Unlock()
	r.said = append(r.said, lists...)
	sent := map[string][]string{}
	for _, sentence := range r.said {
		if err := routeros.Sendable(sentence); err != nil {
			t.Error(err)
		}
		command := sentence[0]
		for _, w := range sentence[1:] {
			name, _, _ := strings.Cut(strings.TrimPrefix(w, "="), "=")
			if strings.HasPrefix(w, "=") && !slices.Contains(sent[command], name) {
				sent[command] = append(sent[command], name)
			}
		}
		if sent[command] == nil {
			sent[command] = []string{}
		}
	}
	if len(sent) < 30 {
		t.Errorf("only %d commands were sent: the check asked less than it should", len(sent))
	}
	for _, c := range chores {
		if words := c.asks[0].words(); !slices.ContainsFunc(r.said, func(s []string) bool { return slices.Equal(s, words) }) {
			t.Errorf("%q was not sent", words)
		}
	}
	for command, arguments := range sent {
		if command == "/system/routerboard/print" { // cloud routers lack it, and the trees are of one
			continue
		}
		for version, commands := range map[string]map[string][]string{"7.16.2": old, "7.24": young} {
			takes, there := commands[command]
			if !there {
				t.Errorf("%s has no %s", version, command)
			}
			for _, a := range arguments {
				if there && !known(takes, a) {
					t.Errorf("%s: %s takes no %s", version, command, a)
				}
			}
		}
		slices.Sort(arguments)
		t.Log(command, strings.Join(arguments, " "))
	}
}

// sayLists has address-lists kept in every way there is, and returns what was said.
func sayLists(t *testing.T) [][]string {
	t.Helper()
	w := openLists(t, false)
	g := w.arrive(1, 1)
	w.sim.Neighbour(macOf(1), "2001:db8::77")
	m, _ := hotspot.ParseMAC(macOf(1))
	k := keyOf("paid", g.IP)
	w.mu.Lock()
	w.names["paid"] = true
	w.entries[k] = hotspot.ListEntry{List: "paid", Address: k.address, MAC: m, NAS: nasID, Account: "guest1"}
	w.mu.Unlock()
	gone, stays := w.put("staff", "2001:db8::/64", time.Hour), w.put("staff", "203.0.113.7", time.Hour)
	w.ring()
	w.becomes("added", 5*time.Second, w.holds(k, keyOf("paid", "2001:db8::77"), gone, stays))
	w.must(v4List, "disable", map[string]string{".id": w.rows()[stays][0][".id"]})
	w.put("staff", "203.0.113.7", 2*time.Hour)
	w.drop(gone)
	w.drop(k)
	w.e.nases[0].lists.doubt.Store(true)
	w.ring()
	w.becomes("changed", 5*time.Second, w.holds(stays))
	w.lock(nameOf(1), func(t *hotspot.Target) { t.Lists = []string{"paid"} })
	w.proof(nameOf(1))
	w.sent.mu.Lock()
	defer w.sent.mu.Unlock()
	return w.sent.said
}

package provision

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"iwas/internal/routeros"
	"iwas/internal/wire"
)

// settled is a cafe that is set up and confirmed.
func settled(t *testing.T, repair string) (*stand, *Applier, map[string][]string) {
	t.Helper()
	s := start(t, "api-ssl", "7.24 (stable)", true)
	setup := cafeSetup(func(w *wire.RouterSetup) { w.Repair = repair })
	setup.CoAPort = int(s.CoAAddr().Port())
	before := s.everything()
	a := s.applier(setup)
	if _, err := a.Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Confirm(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s, a, before
}

// id finds a row of ours.
func (s *stand) id(menu, key string) string {
	s.t.Helper()
	rows := s.do(menu+"/print", "?comment="+tag+key)
	if len(rows) != 1 {
		s.t.Fatalf("%s has %d rows of %s", menu, len(rows), key)
	}
	return rows[0][".id"]
}

// damage is what a person may do to a set-up, and what the plan calls it.
var damage = []struct {
	name string
	do   func(*stand)
	key  string
}{
	{"a rule removed", func(s *stand) {
		s.do("/ip/firewall/filter/remove", "=.id="+s.id("/ip/firewall/filter", "fw.guest.shut"))
	}, "fw.guest.shut"},
	{"a rule disabled", func(s *stand) {
		s.do("/ip/firewall/filter/disable", "=.id="+s.id("/ip/firewall/filter", "fw.guest.shut"))
	}, "fw.guest.shut"},
	{"a rule narrowed", func(s *stand) {
		s.do("/ip/firewall/filter/set", "=.id="+s.id("/ip/firewall/filter", "fw.guest.shut"), "=protocol=tcp")
	}, "fw.guest.shut"},
	{"a rule moved to the end", func(s *stand) {
		s.do("/ip/firewall/filter/move", "=.id="+s.id("/ip/firewall/filter", "fw.guest.from"), "=destination=*FFFF")
	}, "the order of our rules"},
	{"a stranger above ours", func(s *stand) {
		s.do("/ip/firewall/filter/add", "=chain=forward", "=action=accept", "=place-before="+s.id("/ip/firewall/filter", "fw.in.known"))
	}, "the order of our rules"},
	{"a stranger among ours", func(s *stand) {
		s.do("/ip/firewall/filter/add", "=chain=forward", "=action=accept", "=place-before="+s.id("/ip/firewall/filter", "fw.guest.shut"))
	}, "the order of our rules"},
	{"a copy of ours", func(s *stand) {
		s.do("/ip/firewall/filter/add", "=chain=forward", "=action=accept", "=comment="+tag+"fw.guest.shut")
	}, "fw.guest.shut.twin"},
	{"a row of ours that nobody wants", func(s *stand) { s.do("/ip/pool/add", "=name=x", "=ranges=10.7.7.7", "=comment="+tag+"pool.x") }, "pool.x.gone"},
	{"another secret", func(s *stand) { s.do("/radius/set", "=.id="+s.id("/radius", "radius"), "=secret=oops") }, "radius"},
	{"incoming off", func(s *stand) { s.do("/radius/incoming/set", "=accept=no") }, "incoming"},
	{"another asked first", func(s *stand) {
		s.do("/radius/add", "=service=hotspot", "=address=10.9.9.9", "=secret=x", "=place-before="+s.id("/radius", "radius"))
	}, "radius.first"},
	{"the HotSpot off", func(s *stand) {
		s.do("/ip/hotspot/disable", "=.id="+s.do("/ip/hotspot/print", "?name=iwas-guests")[0][".id"])
	}, "hotspot.server"},
	{"RADIUS off", func(s *stand) {
		s.do("/ip/hotspot/profile/set", "=.id="+s.do("/ip/hotspot/profile/print", "?name=iwas-guests")[0][".id"], "=radius-accounting=no", "=use-radius=no")
	}, "hotspot.profile"},
	{"spoofing allowed", func(s *stand) {
		s.do("/interface/vlan/set", "=.id="+s.id("/interface/vlan", "vlan.guest"), "=arp=enabled")
	}, "arp.guest"},
	{"VLANs mixed", func(s *stand) {
		s.do("/interface/bridge/set", "=.id="+s.do("/interface/bridge/print", "?name=bridge")[0][".id"], "=vlan-filtering=no")
	}, "bridge.filtering"},
	{"telnet on", func(s *stand) {
		s.do("/ip/service/set", "=.id="+s.do("/ip/service/print", "?name=telnet")[0][".id"], "=disabled=no")
	}, "service.telnet"},
}

// What somebody changes is found and named; it is put back only where the site wants
// that, and then a rollback still leads to before the first apply.
func TestDriftIsFoundAndRepaired(t *testing.T) {
	for _, tc := range damage {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s, a, before := settled(t, "never")
			agreed := s.everything()
			w := &Watcher{Log: slog.New(slog.DiscardHandler)}
			w.SetRouters([]*Applier{a})
			w.visit(t.Context(), a)
			if f := w.Findings(); len(f) != 0 {
				t.Fatalf("found %v in a router as agreed", f)
			}
			tc.do(s)
			foreign := foreignOf(s.everything())
			w.visit(t.Context(), a)
			f := w.Findings()
			if len(f) != 1 || f[0].Code != CodeDrift || f[0].Subject != "r1" || !strings.Contains(f[0].Text, tc.key) {
				t.Fatalf("found %v, want %s naming %s", f, CodeDrift, tc.key)
			}
			w.visit(t.Context(), a)
			if len(w.Findings()) != 1 {
				t.Fatal("it was put back though nobody wants that")
			}
			a.Setup.Repair = "always"
			w.visit(t.Context(), a)
			if f := w.Findings(); len(f) != 0 {
				t.Fatalf("found %v after the repair", f)
			}
			check(t, "rows of strangers after the repair", undeclared(foreignOf(s.everything())), undeclared(foreign))
			if s.pending() {
				t.Error("a net is left after the repair")
			}
			if !strings.HasPrefix(tc.name, "a stranger") && tc.key != "radius.first" { // where a stranger's row came to stay
				check(t, "after the repair", s.everything(), agreed)
				if _, err := a.Rollback(t.Context()); err != nil {
					t.Fatal(err)
				}
				check(t, "after the rollback", s.everything(), before)
			}
		})
	}
}

// fixed answers prints from a table.
type fixed map[string][]routeros.Row

func (f fixed) Run(_ context.Context, sentence ...string) ([]routeros.Row, error) {
	rows, ok := f[sentence[0]]
	if !ok {
		return nil, &routeros.Trap{Command: sentence[0], Message: "no such command", Reason: routeros.NoSuchCommand}
	}
	return rows, nil
}

func (f fixed) Close() error { return nil }

func TestTheRouterTellsWho(t *testing.T) {
	history := []routeros.Row{{"time": "14:02:11", "action": "filter rule removed", "by": "ahmed"}, {"action": "x"}}
	log := []routeros.Row{{"time": "13:00:00", "message": "filter rule added by admin"}, {"time": "13:01:00", "message": "user admin logged in from 1.2.3.4 via winbox"},
		{"time": "13:02:00", "message": "hotspot profile <hsprof1> changed by winbox:omar@192.168.88.9"}}
	for name, tc := range map[string]struct {
		conn fixed
		want string
	}{
		"history":  {fixed{"/system/history/print": history, "/log/print": log}, "14:02:11 filter rule removed by ahmed"},
		"log":      {fixed{"/log/print": log}, "13:02:00 hotspot profile <hsprof1> changed by winbox:omar@192.168.88.9|13:00:00 filter rule added by admin"},
		"no right": {fixed{}, ""},
	} {
		got, err := who(t.Context(), tc.conn)
		if err != nil || strings.Join(got, "|") != tc.want {
			t.Errorf("%s: got %q, %v, want %q", name, got, err, tc.want)
		}
	}
}

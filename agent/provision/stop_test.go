package provision

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"iwas/internal/condition"
	"iwas/internal/fault"
	"iwas/internal/routeros"
	"iwas/internal/wire"
)

// What would go wrong stops the plan with a code, and changes nothing.
func TestPlanStops(t *testing.T) {
	management := netip.MustParseAddr("192.168.99.2")
	for name, tc := range map[string]struct {
		fresh  bool
		before [][]string
		setup  wire.RouterSetup
		box    func(*Box)
		code   string
		says   string
	}{
		"box among the PCs":       {true, nil, cafeSetup(func(s *wire.RouterSetup) { s.BoxPort = "ether3" }), nil, CodeCutOff, "ether3"},
		"box on the trunk":        {true, nil, cafeSetup(func(s *wire.RouterSetup) { s.BoxPort = "ether2" }), nil, CodeCutOff, "trunk"},
		"box on the internet":     {true, nil, cafeSetup(func(s *wire.RouterSetup) { s.BoxPort = "ether1" }), nil, CodeCutOff, "internet"},
		"nobody knows the port":   {true, nil, cafeSetup(func(s *wire.RouterSetup) { s.BoxPort = "" }), nil, CodeCutOff, "not known"},
		"box with a guest's IP":   {true, nil, cafeSetup(), func(b *Box) { b.Address = netip.MustParseAddr("10.20.0.9") }, CodeCutOff, "guests"},
		"management without IP":   {true, nil, cafeSetup(func(s *wire.RouterSetup) { s.Management = &wire.NetworkSetup{Ports: []string{"ether5"}} }), nil, CodeCutOff, "management"},
		"tagged, not let through": {true, nil, cafeSetup(func(s *wire.RouterSetup) { s.BoxVLAN = 7 }), nil, CodeCutOff, "tag 7"},
		"port in a lost VLAN":     {true, [][]string{{"/interface/bridge/port/set", "=.id=ether5", "=pvid=5"}}, cafeSetup(), nil, CodeCutOff, "VLAN 5"},
		"box in management":       {true, nil, cafeSetup(func(s *wire.RouterSetup) { s.Management = &wire.NetworkSetup{Ports: []string{"ether5"}} }), func(b *Box) { b.Address, b.Router = management, netip.MustParseAddr("192.168.99.1") }, "", ""},
		"tagged in management":    {true, nil, cafeSetup(func(s *wire.RouterSetup) { s.BoxPort, s.BoxVLAN = "ether2", 99 }), func(b *Box) { b.Address, b.Router = management, netip.Addr{} }, "", ""},
		"our own door stays":      {true, nil, cafeSetup(), func(b *Box) { b.Service = "api" }, "", ""},
		"VLAN taken":              {true, [][]string{{"/interface/vlan/add", "=name=theirs", "=interface=bridge", "=vlan-id=20"}}, cafeSetup(), nil, CodeInTheWay, "theirs"},
		"name taken":              {true, [][]string{{"/interface/vlan/add", "=name=vlan10-pc", "=interface=bridge", "=vlan-id=7"}}, cafeSetup(), nil, CodeInTheWay, "vlan10-pc"},
		"network taken":           {true, [][]string{{"/ip/address/add", "=address=10.20.1.1/24", "=interface=ether5"}}, cafeSetup(), nil, CodeInTheWay, "10.20.1.1/24"},
		"no such port":            {true, nil, cafeSetup(func(s *wire.RouterSetup) { s.PCPorts = []string{"ether9"} }), nil, CodeInTheWay, "ether9"},
		"WAN in the bridge":       {true, nil, cafeSetup(func(s *wire.RouterSetup) { s.WAN, s.PCPorts = "ether4", []string{"ether3"} }), nil, CodeInTheWay, "ether4"},
		"fasttrack in mangle":     {true, [][]string{{"/ip/firewall/mangle/add", "=chain=forward", "=action=fasttrack-connection"}}, cafeSetup(), nil, CodeFasttrack, "mangle"},
		"fasttrack of all":        {false, [][]string{{"/ip/firewall/filter/add", "=chain=forward", "=action=fasttrack-connection"}}, thinSetup, nil, CodeFasttrack, "new connections"},
		"fasttrack of all, cafe":  {true, [][]string{{"/ip/firewall/filter/add", "=chain=forward", "=action=fasttrack-connection"}}, cafeSetup(), nil, "", ""},
		"fasttrack known":         {false, [][]string{{"/ip/firewall/filter/add", "=chain=forward", "=action=fasttrack-connection", "=connection-state=established,related"}}, thinSetup, nil, "", ""},
		"no HotSpot":              {true, nil, thinSetup, nil, CodeNoHotSpot, "no HotSpot server"},
		"another HotSpot":         {false, nil, wire.RouterSetup{Mode: RADIUSOnly, HotSpot: &wire.HotSpotSetup{Server: "x"}}, nil, CodeNoHotSpot, "server x"},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, "api-ssl", "7.24 (stable)", tc.fresh)
			for _, words := range tc.before {
				if len(words) > 1 && strings.HasPrefix(words[1], "=.id=ether") {
					words = slices.Clone(words)
					words[1] = "=.id=" + s.do(words[0][:strings.LastIndex(words[0], "/")]+"/print", "?interface="+words[1][len("=.id="):])[0][".id"]
				}
				s.do(words...)
			}
			before := s.everything()
			a := s.applier(tc.setup)
			if tc.box != nil {
				tc.box(&a.Box)
			}
			d, err := a.Look(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if tc.code == "" {
				if len(d.Plan.Stops) > 0 {
					t.Errorf("got stops %+v, want none", d.Plan.Stops)
				}
				return
			}
			if !slices.ContainsFunc(d.Plan.Stops, func(x Stop) bool { return x.Code == tc.code && strings.Contains(x.Text, tc.says) && x.Next != "" }) {
				t.Fatalf("got stops %+v, want %s with %q", d.Plan.Stops, tc.code, tc.says)
			}
			if _, ok := condition.Page(tc.code); !ok {
				t.Errorf("%s has no page", tc.code)
			}
			if _, err := a.Apply(t.Context()); fault.Code(err) == "" {
				t.Errorf("it was applied all the same: %v", err)
			}
			check(t, "after a plan that stops", s.everything(), before)
		})
	}
}

func TestLoginWithoutRights(t *testing.T) {
	s := start(t, "api-ssl", "7.24 (stable)", true)
	before := s.everything()
	a := s.applier(cafeSetup())
	a.Dial, a.User = a.Return, "iwas"
	_, err := a.Apply(t.Context())
	if fault.Code(err) != CodeLogin || !strings.Contains(err.Error(), "policy") || !strings.Contains(err.Error(), "ftp") {
		t.Errorf("got %v (%s), want %s naming policy and ftp", err, fault.Code(err), CodeLogin)
	}
	check(t, "after a refused login", s.everything(), before)
}

// Without the scheduler there is no net: it is said with a code, and only who
// accepts it goes on; a step that fails is taken back all the same.
func TestWithoutScheduler(t *testing.T) {
	s := start(t, "www-ssl", "7.24 (stable)", true)
	s.Give("system/device-mode", "", "scheduler", "false")
	setup := cafeSetup()
	setup.CoAPort = int(s.CoAAddr().Port())
	before := s.everything()
	a := s.applier(setup)
	if _, err := a.Apply(t.Context()); fault.Code(err) != CodeNoNet {
		t.Fatalf("got %v, want %s", err, CodeNoNet)
	}
	check(t, "after it was refused", s.everything(), before)
	a.WithoutNet = true
	rec, err := a.Apply(t.Context())
	if err != nil || rec.Net || rec.State != Waiting {
		t.Fatalf("got %+v, %v, want it applied without a net", rec, err)
	}
	if rec, err = a.Rollback(t.Context()); err != nil || rec.State != Reverted {
		t.Fatalf("rollback: %v, %v", rec.State, err)
	}
	check(t, "after the rollback", s.everything(), before)
}

// liar is a router that misbehaves at one command.
type liar struct {
	routeros.Conn
	word string // beginning of the sentence's words, joined
	how  string // "refuse", "refuse and do", "ignore"
}

func (l liar) Run(ctx context.Context, sentence ...string) ([]routeros.Row, error) {
	if !strings.HasPrefix(strings.Join(sentence, " "), l.word) {
		return l.Conn.Run(ctx, sentence...)
	}
	if l.how == "refuse and do" {
		_, _ = l.Conn.Run(ctx, sentence...)
	}
	if l.how == "ignore" {
		return nil, nil
	}
	return nil, &routeros.Trap{Command: sentence[0], Message: "failure: not today", Reason: routeros.Unexplained}
}

// A step that does not take is found by reading back, and all is taken back; one
// that was refused and took all the same counts.
func TestStepsAreReadBack(t *testing.T) {
	for _, tc := range []struct {
		word, how, code string
		says            string
	}{{"/ip/hotspot/add", "refuse", CodeFailed, "A HotSpot for the guests"}, {"/ip/hotspot/add", "ignore", CodeFailed, "A HotSpot for the guests"}, {"/ip/hotspot/add", "refuse and do", "", ""},
		{"/ip/service/set", "ignore", CodeFailed, "telnet is off"}, {"/ip/service/set", "refuse and do", "", ""}} {
		t.Run(tc.word+" "+tc.how, func(t *testing.T) {
			s := start(t, "api-ssl", "7.16.2 (stable)", true)
			setup := cafeSetup()
			setup.CoAPort = int(s.CoAAddr().Port())
			before := s.everything()
			a := s.applier(setup)
			dial := a.Dial
			a.Dial = func(ctx context.Context) (routeros.Conn, error) {
				conn, err := dial(ctx)
				return liar{conn, tc.word, tc.how}, err
			}
			rec, err := a.Apply(t.Context())
			if tc.code == "" {
				if err != nil || rec.State != Waiting {
					t.Errorf("got %v, %v, want it done", rec.State, err)
				}
				return
			}
			if fault.Code(err) != tc.code || rec.State != Reverted || !strings.Contains(err.Error(), tc.says) || !strings.Contains(err.Error(), "old configuration is back") {
				t.Errorf("got %v, %v (%s)", rec.State, err, fault.Code(err))
			}
			check(t, "after a step failed", s.everything(), before)
			if kept, _, err := s.file.Load(); err != nil || kept.State != Reverted {
				t.Errorf("the record says %v, %v", kept.State, err)
			}
		})
	}
}

// A box that cannot come back by itself does not ask for a confirmation.
func TestNoWayBackIsNoSuccess(t *testing.T) {
	s := start(t, "api-ssl", "7.24 (stable)", true)
	setup := cafeSetup()
	setup.CoAPort = int(s.CoAAddr().Port())
	before := s.everything()
	a := s.applier(setup)
	a.Return = func(context.Context) (routeros.Conn, error) {
		return nil, fault.New(fault.Denied, "log in", errors.New("no")).WithCode(routeros.CodeLoginRefused, "")
	}
	rec, err := a.Apply(t.Context())
	if fault.Code(err) != CodeNoReturn || rec.State != Reverted {
		t.Errorf("got %v, %v (%s), want %s", rec.State, err, fault.Code(err), CodeNoReturn)
	}
	check(t, "after no way back", s.everything(), before)
}

// What a profile hides while RADIUS is off comes back as it was.
func TestHiddenSettingsComeBack(t *testing.T) {
	s := start(t, "api-ssl", "7.24 (stable)", false)
	profile := func(words ...string) routeros.Row {
		id := s.do("/ip/hotspot/profile/print", "?name=hsprof1")[0][".id"]
		if len(words) > 0 {
			s.do(append([]string{"/ip/hotspot/profile/set", "=.id=" + id}, words...)...)
		}
		return s.do("/ip/hotspot/profile/print", "?name=hsprof1")[0]
	}
	profile("=use-radius=no", "=radius-accounting=no", "=radius-interim-update=7m")
	a := s.applier(thinSetup)
	if _, err := a.Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r := profile(); r["use-radius"] != "yes" || r["radius-accounting"] != "true" || r["radius-interim-update"] != "received" {
		t.Errorf("after apply: %v", r)
	}
	if _, err := a.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r := profile(); r["use-radius"] != "no" {
		t.Errorf("after the rollback: %v", r)
	}
	if r := profile("=use-radius=yes"); r["radius-accounting"] != "false" || r["radius-interim-update"] != "7m" {
		t.Errorf("hidden before, after the rollback: %v", r)
	}
}

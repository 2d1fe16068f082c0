package provision

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"iwas/internal/fault"
	"iwas/internal/routersim"
	"iwas/internal/wire"
)

// strangers are rows of somebody else that look like ours, in every menu a plan
// touches, disabled ones and odd orders among them.
func strangers(t *rapid.T) [][]string {
	comment := rapid.SampledFrom([]string{"", "", "=comment=iwas", "=comment=IWAS:fw.in.known", "=comment=was iwas:radius once", "=comment=defconf", "=comment=iwas fw.guest.from"})
	flags := rapid.SampledFrom([]string{"", "", "=disabled=yes", "=disabled=no"})
	n := 0
	name := func() string { n++; return fmt.Sprintf("iwas%d", n) }
	row := func(words ...string) []string {
		for _, w := range []string{comment.Draw(t, "comment"), flags.Draw(t, "disabled")} {
			if w != "" {
				words = append(words, w)
			}
		}
		return words
	}
	rule := func(menu string) []string {
		words := []string{menu + "/add", "=chain=" + rapid.SampledFrom([]string{"forward", "forward", "input", "office"}).Draw(t, "chain")}
		actions := []string{"accept", "drop", "passthrough", "log"}
		if menu == "/ip/firewall/filter" {
			actions = append(actions, "fasttrack-connection")
		}
		action := rapid.SampledFrom(actions).Draw(t, "action")
		words = append(words, "=action="+action)
		if action == "fasttrack-connection" {
			words = append(words, "=connection-state=established,related")
		}
		for _, m := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"=protocol=tcp", "=in-interface=ether1", "=dst-address-list=banks", "=connection-mark=x", "=log=yes"}), 0, 3, rapid.ID).Draw(t, "matchers") {
			if menu == "/ip/firewall/filter" || m != "=connection-mark=x" {
				words = append(words, m)
			}
		}
		return row(words...)
	}
	var out [][]string
	for range rapid.IntRange(0, 12).Draw(t, "rows") {
		switch rapid.IntRange(0, 9).Draw(t, "menu") {
		case 0, 1, 2:
			out = append(out, rule("/ip/firewall/filter"))
		case 3:
			out = append(out, row("/ip/firewall/nat/add", "=chain=srcnat", "=action=masquerade", "=out-interface=ether1"))
		case 4:
			out = append(out, rule("/ipv6/firewall/filter"))
		case 5:
			out = append(out, row("/radius/add", "=service="+rapid.SampledFrom([]string{"hotspot", "ppp", "login,hotspot"}).Draw(t, "service"), "=address=192.168.88.2", "=secret=other", "=timeout=1s"))
		case 6:
			out = append(out, []string{"/ip/pool/add", "=name=" + name(), "=ranges=10.77.0.1-10.77.0.9"})
		case 7:
			out = append(out, []string{"/ip/hotspot/profile/add", "=name=" + name(), "=login-by=http-pap", "=radius-accounting=no"})
		case 8:
			out = append(out, row("/ip/hotspot/walled-garden/ip/add", "=action=accept", "=dst-host=bank.example"))
		case 9:
			n++
			out = append(out, row("/ip/address/add", fmt.Sprintf("=address=10.99.%d.1/24", n), "=interface=ether1"))
		}
	}
	return out
}

// Whatever others have on the router stays as it is, to the byte and in its order,
// after apply and after rollback; and a second plan is empty.
func TestForeignRowsStayAsTheyAre(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		setup := thinSetup
		if rapid.IntRange(0, 3).Draw(rt, "whole") == 0 { // the longer one less often
			setup = cafeSetup(func(s *wire.RouterSetup) {
				s.Lists = []wire.AddressListRule{{List: "blocked", Match: "src", Action: "drop"}}
				s.Portal = "wifi.icafe.com"
			})
		}
		s := start(t, "api", rapid.SampledFrom([]string{"7.16.2 (stable)", "7.24 (stable)"}).Draw(rt, "version"), setup.Mode == WholeCafe)
		defer s.Close()
		s.MoveAgent(routersim.Place{}) // rules of strangers may keep anybody out; that is not the point here
		setup.CoAPort = int(s.CoAAddr().Port())
		for _, words := range strangers(rt) {
			s.do(words...)
		}
		before := s.everything()
		a := s.applier(setup)
		if _, err := a.Apply(t.Context()); err != nil {
			rt.Fatalf("%v (%s)", err, fault.Code(err))
		}
		if p := s.plan(setup); !p.Empty() {
			rt.Errorf("the second plan: %+v %+v", p.Steps, p.Stops)
		}
		check(rt, "foreign rows after apply", undeclared(foreignOf(s.everything())), undeclared(foreignOf(before)))
		if _, err := a.Confirm(t.Context()); err != nil {
			rt.Fatal(err)
		}
		if _, err := a.Rollback(t.Context()); err != nil {
			rt.Fatal(err)
		}
		check(rt, "after the rollback", s.everything(), before)
	})
}

package router

import (
	"net/netip"
	"slices"
	"strings"

	"iwas/internal/routeros"
)

// guestNet is where the HotSpot's guests are.
type guestNet struct {
	interfaces map[string]bool
	spans      []span
	lists      map[string]map[string]bool // interface lists: names of members
}

func newGuestNet(servers, addresses []routeros.Row) guestNet {
	g := guestNet{interfaces: map[string]bool{}}
	for _, s := range servers {
		g.interfaces[s["interface"]] = true
	}
	for _, a := range addresses {
		if p, err := netip.ParsePrefix(a["address"]); err == nil && g.on(a) {
			g.spans = append(g.spans, span{p.Masked().Addr(), lastOf(p)})
		}
	}
	return g
}

// on reports whether a row's interface is one of the guests'.
func (g guestNet) on(r routeros.Row) bool {
	return g.interfaces[r["interface"]] || g.interfaces[r["actual-interface"]]
}

// match is how surely a firewall rule takes guests' packets.
type match int

const (
	never match = iota
	maybe
	surely
)

// side names the matchers of one direction: guests' packets on their way out
// have the guest at the near side.
type side struct{ near, far, nearInterface, nearList, hotspot string }

var (
	fromGuests = side{"src-address", "dst-address", "in-interface", "in-interface-list", "from-client"}
	toGuests   = side{"dst-address", "src-address", "out-interface", "out-interface-list", "to-client"}
)

// notMatchers are properties of a rule that do not narrow what it takes.
var notMatchers = []string{".id", "chain", "action", "comment", "disabled", "invalid", "dynamic", "bytes", "packets", "log", "log-prefix",
	"jump-target", "hw-offload", "reject-with", "about", ".nextid"}

// takes says how surely a rule takes packets between guests and the internet in
// one direction. What is not understood is "maybe".
func (g guestNet) takes(r routeros.Row, d side) match {
	sure := surely
	for key, value := range r {
		if value == "" || slices.Contains(notMatchers, key) {
			continue
		}
		m := maybe
		switch key {
		case d.near:
			m = g.network(value)
		case d.far:
			if s, ok := parseSpan(value); ok && s.from.IsPrivate() && s.to.IsPrivate() {
				m = never // local traffic, not the internet
			}
		case d.nearInterface:
			m = named(value, g.interfaces)
		case d.nearList:
			m = g.list(value)
		case "hotspot":
			m = hotspotMatch(value, d)
		case "connection-state":
			if has(value, "established") {
				m = surely // of packets that matter here
			}
		}
		if sure = min(sure, m); sure == never {
			return never
		}
	}
	return sure
}

// network says how an address matcher covers the guests' networks.
func (g guestNet) network(value string) match {
	text, not := strings.CutPrefix(value, "!")
	s, ok := parseSpan(text)
	spans := slices.DeleteFunc(slices.Clone(g.spans), func(o span) bool { return o.from.Is4() != s.from.Is4() })
	if !ok || len(spans) == 0 { // of another family: nothing is known of the guests' addresses there
		return maybe
	}
	all, any := true, false
	for _, guests := range spans {
		all = all && guests.within(s)
		any = any || guests.overlaps(s)
	}
	switch {
	case all && !not, !any && not:
		return surely
	case all && not, !any && !not:
		return never
	}
	return maybe
}

// named says how an interface matcher covers the guests' interfaces.
func named(value string, guests map[string]bool) match {
	name, not := strings.CutPrefix(value, "!")
	switch {
	case guests[name] == not && len(guests) == 1:
		return never
	case guests[name] != not && len(guests) == 1:
		return surely
	case !guests[name] && !not:
		return never
	}
	return maybe
}

// list says how an interface list covers the guests' interfaces.
func (g guestNet) list(value string) match {
	name, not := strings.CutPrefix(value, "!")
	members, known := g.lists[name]
	if !known {
		return maybe
	}
	all, any := true, false
	for i := range g.interfaces {
		all = all && members[i]
		any = any || members[i]
	}
	switch {
	case all && !not, !any && not:
		return surely
	case all && not, !any && !not:
		return never
	}
	return maybe
}

// hotspotMatch reads the hotspot matcher for packets of guests who are logged in.
func hotspotMatch(value string, d side) match {
	sure := surely
	for part := range strings.SplitSeq(value, ",") {
		switch strings.TrimSpace(part) {
		case "!auth", "!" + d.hotspot:
			return never
		case "auth", d.hotspot:
		default:
			sure = maybe
		}
	}
	return sure
}

// fasttracked reports whether connections of guests can be fasttracked: such a
// rule before guest traffic was accepted in both directions.
func (x *explorer) fasttracked(g guestNet) bool {
	rules := x.print("/ip/firewall/filter", "")
	some := slices.ContainsFunc(rules, func(r routeros.Row) bool { return r["action"] == "fasttrack-connection" })
	if !some || len(g.interfaces) == 0 {
		return false
	}
	if settings := x.print("/ip/settings", ""); len(settings) == 1 {
		if fast, told := settings[0]["allow-fast-path"]; told && !flag(fast) {
			return false // nothing is fasttracked at all
		}
	}
	g.lists = x.interfaceLists()
	var accepted [2]bool // from guests, to guests
	return g.chain(rules, "forward", accepted, 0)
}

// chain walks one chain of the firewall. accepted says what earlier rules took
// for sure.
func (g guestNet) chain(rules []routeros.Row, name string, accepted [2]bool, depth int) bool {
	if depth > 8 { // RouterOS follows a loop no further either
		return false
	}
	for _, r := range rules {
		if r["chain"] != name || flag(r["disabled"]) || flag(r["invalid"]) {
			continue
		}
		for i, d := range []side{fromGuests, toGuests} {
			if accepted[i] {
				continue
			}
			m := g.takes(r, d)
			switch {
			case m == never:
			case r["action"] == "fasttrack-connection":
				return true
			case r["action"] == "jump":
				if only := [2]bool{i != 0 || accepted[0], i != 1 || accepted[1]}; g.chain(rules, r["jump-target"], only, depth+1) {
					return true
				}
			case m == surely && (r["action"] == "accept" || r["action"] == "drop" || r["action"] == "reject"):
				accepted[i] = true
			}
		}
	}
	return false
}

func (x *explorer) interfaceLists() map[string]map[string]bool {
	lists := map[string]map[string]bool{}
	for _, r := range enabled(x.print("/interface/list/member", ".id,list,interface,disabled")) {
		if lists[r["list"]] == nil {
			lists[r["list"]] = map[string]bool{}
		}
		lists[r["list"]][r["interface"]] = true
	}
	return lists
}

// ipv6 returns an IPv6 address by which guests reach the internet past the
// HotSpot, or "".
func (x *explorer) ipv6(g guestNet) string {
	rows := enabled(x.print("/ipv6/address", ".id,address,interface,actual-interface,disabled,invalid"))
	for _, r := range rows {
		if p, err := netip.ParsePrefix(r["address"]); err == nil && g.on(r) && !p.Addr().IsLinkLocalUnicast() {
			g.spans = append(g.spans, span{p.Masked().Addr(), lastOf(p)})
		}
	}
	for _, r := range rows {
		p, err := netip.ParsePrefix(r["address"])
		if err != nil || p.Addr().IsLinkLocalUnicast() || !g.on(r) {
			continue
		}
		if settings := x.print("/ipv6/settings", ""); len(settings) == 1 && flag(settings[0]["disable-ipv6"]) {
			return ""
		}
		if g.dropsIPv6(x.print("/ipv6/firewall/filter", "", "?chain=forward")) {
			return ""
		}
		return r["address"]
	}
	return ""
}

// dropsIPv6 reports whether new connections from guests surely end at a drop.
func (g guestNet) dropsIPv6(rules []routeros.Row) bool {
	for _, r := range rules {
		if flag(r["disabled"]) || flag(r["invalid"]) {
			continue
		}
		m := g.takes(r, fromGuests)
		state := r["connection-state"]
		switch r["action"] {
		case "drop", "reject":
			if m == surely && (state == "" || has(state, "new")) {
				return true
			}
		case "accept", "jump", "fasttrack-connection":
			if m != never && (state == "" || has(state, "new")) {
				return false
			}
		}
	}
	return false
}

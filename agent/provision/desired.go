package provision

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"iwas/internal/routeros"
)

// item is one thing wanted on the router.
type item struct {
	key   string // of our tag
	menu  string
	words string // for people
	// find names the row; our tag when empty and the menu is no singleton.
	find []Word
	args []Word
	// given: the row is somebody else's and must be there; only args are ours.
	given bool
	// exact: anything else set in the row is a difference, as a matcher that
	// somebody adds to a firewall rule.
	exact bool
	since string
}

func (i item) comment() string { return tag + i.key }

// named are the menus whose rows have no comment: ours are known by their name.
var named = []string{"/ip/hotspot", "/ip/hotspot/profile"}

// singles are the menus of one row.
var singles = []string{"/ip/dns", "/radius/incoming", "/ipv6/settings"}

// tagged are the words by which a row of ours is found.
func (i item) tagged() []Word {
	switch {
	case len(i.find) > 0:
		return i.find
	case slices.Contains(singles, i.menu):
		return nil
	case slices.Contains(named, i.menu):
		return []Word{{Key: "name", Value: i.arg("name")}}
	}
	return []Word{{Key: "comment", Value: i.comment()}}
}

func (i item) arg(key string) string {
	for _, a := range i.args {
		if a.Key == key {
			return a.Value
		}
	}
	return ""
}

// with makes words of "key=value" pairs.
func with(pairs ...string) []Word {
	var out []Word
	for _, p := range pairs {
		k, v, _ := strings.Cut(p, "=")
		out = append(out, Word{Key: k, Value: v})
	}
	return out
}

// block is the rules of ours in one menu where order counts: they stand together,
// in this order, above what floor finds.
type block struct {
	menu  string
	rules []item
	// floor reports whether a row of somebody else must stand below ours.
	floor func(routeros.Row) bool
}

// cafe is what a whole cafe wants, in the order of facts.md §7: what the box comes
// in by is there before anything is shut, and VLAN filtering comes last.
func (b *builder) cafe() {
	w := b.want
	bridge := b.bridge()
	if bridge == "" {
		return
	}
	for i, port := range append([]string{w.Trunk}, append(slices.Clone(w.PCPorts), w.management.ports...)...) {
		switch {
		case i == 0:
			b.port(bridge, port, "frame-types=admit-only-vlan-tagged", "the trunk takes tagged frames only")
		case i <= len(w.PCPorts):
			b.port(bridge, port, "frame-types=admit-only-untagged-and-priority-tagged", "a port of the PCs", "pvid="+strconv.Itoa(w.pcs.vlan))
		default:
			b.port(bridge, port, "frame-types=admit-only-untagged-and-priority-tagged", "a port of the management network", "pvid="+strconv.Itoa(w.management.vlan))
		}
	}
	untagged := map[string][]string{"pc": w.PCPorts, "mgmt": w.management.ports}
	for _, n := range []network{w.management, w.pcs, w.guests} {
		b.row(item{key: "vlan-table." + n.name, menu: "/interface/bridge/vlan", words: fmt.Sprintf("VLAN %d of the %s reaches the router and the trunk", n.vlan, n.people),
			args: with("bridge="+bridge, "vlan-ids="+strconv.Itoa(n.vlan), "tagged="+bridge+","+w.Trunk, "untagged="+strings.Join(untagged[n.name], ","))})
		b.row(item{key: "vlan." + n.name, menu: "/interface/vlan", words: fmt.Sprintf("The router has a leg in VLAN %d, the %s", n.vlan, n.people),
			args: with("name="+n.link(), "interface="+bridge, "vlan-id="+strconv.Itoa(n.vlan), "disabled=no")})
		b.row(item{key: "address." + n.name, menu: "/ip/address", words: fmt.Sprintf("Its address there is %s", n.own), args: with("address="+n.own.String(), "interface="+n.link(), "disabled=no")})
	}
	for _, n := range []network{w.pcs, w.guests} {
		b.row(item{key: "pool." + n.name, menu: "/ip/pool", words: "Addresses for the " + n.people, args: with("name=iwas-"+n.name, "ranges="+n.pool)})
		b.row(item{key: "dhcp." + n.name, menu: "/ip/dhcp-server", words: "DHCP for the " + n.people,
			args: with("name=iwas-"+n.name, "interface="+n.link(), "address-pool=iwas-"+n.name, "lease-time="+n.lease, "add-arp="+yesNo(w.bind), "disabled=no")})
		b.row(item{key: "network." + n.name, menu: "/ip/dhcp-server/network", words: "What DHCP tells the " + n.people,
			args: with("address="+n.own.Masked().String(), "gateway="+n.own.Addr().String(), "dns-server="+n.own.Addr().String())})
	}
	b.block(b.filter())
	b.row(item{key: "nat.wan", menu: "/ip/firewall/nat", exact: true, words: "What leaves by " + w.WAN + " gets the router's address",
		args: with("chain=srcnat", "action=masquerade", "out-interface="+w.WAN, "disabled=no")})
	b.six([]string{w.guests.link()})
	b.single(item{key: "dns", menu: "/ip/dns", words: "The router answers DNS for its networks; rules above shut it to the internet", args: with("allow-remote-requests=yes")})
	b.radius()
	b.row(item{key: "hotspot.profile", menu: "/ip/hotspot/profile", words: "A HotSpot profile that asks RADIUS and reports to it", args: with("name="+w.hotspot.Profile,
		"hotspot-address="+w.guests.own.Addr().String(), "dns-name="+w.hotspot.DNSName, "login-by="+strings.Join(w.hotspot.LoginBy, ","),
		"use-radius=yes", "radius-accounting=yes", "radius-interim-update="+w.Interim, "nas-port-type=wireless-802.11")})
	b.single(item{key: "hotspot.user-profile", menu: "/ip/hotspot/user/profile", given: true, find: with("name=default"),
		words: "What every guest gets beside the plan: a phone that left is forgotten after two minutes", args: with("shared-users=1", "keepalive-timeout=2m", "idle-timeout=none")})
	b.row(item{key: "hotspot.server", menu: "/ip/hotspot", words: "A HotSpot for the guests", args: with("name="+w.hotspot.Server, "interface="+w.guests.link(),
		"address-pool=iwas-guest", "profile="+w.hotspot.Profile, "disabled=no")})
	b.portal()
	b.services()
	for _, n := range []network{w.pcs, w.guests} {
		mode, words := "reply-only", "Of the "+n.people+" only who got an address by DHCP is answered: an address belongs to one MAC"
		if !w.bind {
			mode, words = "enabled", "Any address is answered among the "+n.people
		}
		b.part(item{key: "arp." + n.name, menu: "/interface/vlan", find: with("comment=" + tag + "vlan." + n.name), words: words, args: with("arp=" + mode)})
		if s := b.last("arp." + n.name); s != nil && w.bind {
			s.Warning = b.cutByReplyOnly(n)
		}
	}
	b.part(item{key: "bridge.filtering", menu: "/interface/bridge", find: b.bridgeFind(bridge), words: "The bridge keeps the VLANs apart from now on; this may cut connections for seconds", args: with("vlan-filtering=yes")})
}

// thin is what radius-only wants: a HotSpot that is there stays.
func (b *builder) thin(servers []routeros.Row) {
	b.radius()
	seen := map[string]bool{}
	for _, s := range servers {
		p := s["profile"]
		if seen[p] {
			continue
		}
		seen[p] = true
		find := with("name=" + p)
		b.part(item{key: "profile." + p + ".ask", menu: "/ip/hotspot/profile", given: true, find: find, words: "The HotSpot " + s["name"] + " asks RADIUS", args: with("use-radius=yes")})
		tell := item{key: "profile." + p + ".tell", menu: "/ip/hotspot/profile", given: true, find: find, words: "The HotSpot " + s["name"] + " reports usage, as often as RADIUS says",
			args: with("radius-accounting=yes", "radius-interim-update="+b.want.Interim)}
		if r := b.one(tell.menu, "name", p); r != nil && written(r["use-radius"]) != "yes" {
			// Not shown while RADIUS is off (facts.md §3): read again before it is done.
			do := Op{Menu: tell.menu, Verb: "set", Find: find, Args: tell.args}
			b.step(tell, do, undoSet(do, r))
			continue
		}
		b.part(tell)
	}
	b.block(b.filter())
	links := b.guestLinks()
	b.six(links)
	b.portal()
	b.services()
}

// bridge returns the bridge of the trunk, or one of ours; "" when the plan stops.
func (b *builder) bridge() string {
	w := b.want
	found := map[string][]string{} // bridge: ports of ours in it
	for _, port := range append([]string{w.Trunk}, append(slices.Clone(w.PCPorts), w.management.ports...)...) {
		if r := b.one("/interface/bridge/port", "interface", port); r != nil && !flag(r["disabled"]) {
			found[r["bridge"]] = append(found[r["bridge"]], port)
		}
	}
	name := w.Bridge
	for bridge, ports := range found {
		if name != "" && name != bridge {
			b.stop(CodeInTheWay, fmt.Sprintf("port %s is in the bridge %s, and others are to be in %s", strings.Join(ports, ", "), bridge, name),
				"Put all ports named in the set-up into one bridge, or take that port out of its bridge.")
			return ""
		}
		name = bridge
	}
	for _, port := range append([]string{w.WAN, w.Trunk}, append(slices.Clone(w.PCPorts), w.management.ports...)...) {
		if b.one("/interface", "name", port) == nil {
			b.stop(CodeInTheWay, "the router has no interface "+port, "Correct its name in the set-up: /interface/print shows those there are.")
			return ""
		}
	}
	if r := b.one("/interface/bridge/port", "interface", w.WAN); r != nil && !flag(r["disabled"]) {
		b.stop(CodeInTheWay, "the port to the internet, "+w.WAN+", is in the bridge "+r["bridge"], "Take it out of the bridge, or name another port in wan.")
		return ""
	}
	if r := b.one("/interface/bridge", "name", cmp.Or(name, "iwas-bridge")); r == nil || r["comment"] == tag+"bridge" {
		name = cmp.Or(name, "iwas-bridge")
		b.row(item{key: "bridge", menu: "/interface/bridge", words: "A bridge for all ports inside", args: with("name="+name, "protocol-mode=rstp", "disabled=no")})
	} else if flag(r["vlan-filtering"]) {
		b.note("the bridge %s keeps VLANs apart already", name)
	}
	return name
}

func (b *builder) bridgeFind(name string) []Word {
	if r := b.one("/interface/bridge", "name", name); r == nil || r["comment"] == tag+"bridge" {
		return with("comment=" + tag + "bridge")
	}
	return with("name=" + name)
}

// port wants a port in the bridge. One that is there already keeps its row: only
// what makes VLANs of it is ours.
func (b *builder) port(bridge, port, frames, words string, more ...string) {
	words = port + " is " + words
	if strings.HasPrefix(words, port+" is the trunk") {
		words = strings.Replace(words, " is the trunk", ", the trunk,", 1)
	}
	args := with(append([]string{frames}, more...)...)
	if r := b.one("/interface/bridge/port", "interface", port); r != nil && !strings.HasPrefix(r["comment"], tag) {
		b.part(item{key: "port." + port, menu: "/interface/bridge/port", given: true, find: with("interface=" + port), words: words, args: args})
		return
	}
	b.row(item{key: "port." + port, menu: "/interface/bridge/port", words: words, args: append(with("bridge="+bridge, "interface="+port), args...)})
}

// radius wants us asked, and heard on /radius/incoming.
func (b *builder) radius() {
	w := b.want
	if !w.box.Address.IsValid() {
		b.stop(CodeCutOff, "it is not known by which address the router reaches this box", "Set box_address under [nas.setup].")
		return
	}
	args := with("service=hotspot", "address="+w.box.Address.String(), fmt.Sprintf("authentication-port=%d", cmp.Or(w.box.Auth, 1812)),
		fmt.Sprintf("accounting-port=%d", cmp.Or(w.box.Acct, 1813)), "timeout="+w.RADIUSTimeout, "disabled=no")
	if w.box.Secret != "" {
		args = slices.Insert(args, 2, Word{Key: "secret", Value: w.box.Secret, Secret: true})
	}
	since := ""
	if atLeast(b.version, 7, 15) {
		args, since = append(args, with("require-message-auth=yes-for-request-resp")...), "7.15"
	}
	b.ordered(item{key: "radius", menu: "/radius", since: since, words: "The HotSpot asks this box, " + w.box.Address.String() + ", who may come in", args: args}, func(r routeros.Row) bool {
		return strings.Contains(r["service"], "hotspot") && !flag(r["disabled"])
	})
	b.single(item{key: "incoming", menu: "/radius/incoming", words: fmt.Sprintf("The router takes Disconnect-Requests, on UDP %d", w.CoAPort), args: with("accept=yes", fmt.Sprintf("port=%d", w.CoAPort))})
}

// portal lets guests reach the portal without a login.
func (b *builder) portal() {
	host := b.want.Portal
	if host == "" {
		return
	}
	dst := "dst-host=" + host
	if a, err := netip.ParseAddr(host); err == nil {
		dst = "dst-address=" + a.String()
	}
	b.row(item{key: "portal", menu: "/ip/hotspot/walled-garden/ip", exact: true, words: "Guests reach " + host + " by HTTPS before they log in",
		args: with("action=accept", dst, "protocol=tcp", "dst-port=443", "disabled=no")})
}

// services shuts what speaks without encryption, but never the door we came in by.
func (b *builder) services() {
	if !b.want.harden {
		return
	}
	for _, name := range []string{"telnet", "ftp", "www", "api"} {
		r := b.one("/ip/service", "name", name)
		if r == nil {
			continue
		}
		if name == b.want.box.Service {
			b.note("the service %s stays on: this box comes in by it", name)
			continue
		}
		b.part(item{key: "service." + name, menu: "/ip/service", given: true, find: with("name=" + name), words: name + " is off: it speaks without encryption", args: with("disabled=yes")})
	}
}

// rule is one rule of the firewall.
func rule(key, words string, pairs ...string) item {
	return item{key: "fw." + key, menu: "/ip/firewall/filter", words: words, exact: true, args: with(append(pairs, "disabled=no")...)}
}

// filter is our rules of the firewall, those that let through first.
func (b *builder) filter() block {
	w := b.want
	if w.Mode != WholeCafe {
		return b.thinFilter()
	}
	g, pc, mgmt := "in-interface="+w.guests.link(), "in-interface="+w.pcs.link(), "in-interface="+w.management.link()
	out := block{menu: "/ip/firewall/filter", floor: func(routeros.Row) bool { return true }}
	add := func(key, words string, pairs ...string) { out.rules = append(out.rules, rule(key, words, pairs...)) }
	add("in.known", "Answers to what the router asked come in", "chain=input", "action=accept", "connection-state=established,related,untracked")
	if w.box.Address.IsValid() {
		add("in.box", "This box reaches the router", "chain=input", "action=accept", "src-address="+w.box.Address.String(), "in-interface=!"+w.WAN)
	}
	add("in.management", "The management network reaches the router", "chain=input", "action=accept", mgmt)
	add("in.ping", "Ping is answered", "chain=input", "action=accept", "protocol=icmp")
	for _, n := range []struct{ name, people, link string }{{"guest", "Guests", g}, {"pc", "PCs", pc}} {
		add("in."+n.name+".dns", n.people+" ask the router for names", "chain=input", "action=accept", n.link, "protocol=udp", "dst-port=53")
		add("in."+n.name+".dns-tcp", n.people+" ask the router for long names", "chain=input", "action=accept", n.link, "protocol=tcp", "dst-port=53")
		add("in."+n.name+".dhcp", n.people+" ask for an address", "chain=input", "action=accept", n.link, "protocol=udp", "dst-port=67")
		add("in."+n.name+".shut", n.people+" reach nothing else of the router", "chain=input", "action=drop", n.link)
	}
	add("in.coa", "Nobody else sends Disconnect-Requests", "chain=input", "action=drop", "protocol=udp", fmt.Sprintf("dst-port=%d", w.CoAPort))
	add("in.wan", "The internet does not reach the router", "chain=input", "action=drop", "in-interface="+w.WAN)
	out.rules = append(out.rules, b.listRules([]string{w.guests.link()})...)
	out.rules = append(out.rules, known([]string{w.guests.link()})...)
	if a, err := netip.ParseAddr(w.Portal); err == nil {
		add("guest.portal", "Guests reach the portal", "chain=forward", "action=accept", g, "dst-address="+a.String(), "protocol=tcp", "dst-port=443")
	}
	add("guest.internet", "Guests reach the internet", "chain=forward", "action=accept", g, "out-interface="+w.WAN)
	add("guest.shut", "Guests reach nothing else: no PC, no camera, no management", "chain=forward", "action=drop", g)
	add("guest.alone", "Nobody opens connections to guests", "chain=forward", "action=drop", "out-interface="+w.guests.link())
	add("pc.shut", "PCs open connections to the internet only", "chain=forward", "action=drop", "connection-state=new", pc, "out-interface=!"+w.WAN)
	add("wan.shut", "The internet opens no connections inward but those forwarded on purpose", "chain=forward", "action=drop", "connection-state=new", "connection-nat-state=!dstnat", "in-interface="+w.WAN)
	return out
}

// known accepts what is under way for guests in both directions, so that no rule
// below fasttracks it past the HotSpot (facts.md §11).
func known(links []string) []item {
	var out []item
	for i, link := range links {
		suffix := ""
		if i > 0 {
			suffix = "." + link
		}
		out = append(out, rule("guest.from"+suffix, "Connections of guests are never fasttracked past the HotSpot", "chain=forward", "action=accept", "connection-state=established,related", "in-interface="+link),
			rule("guest.to"+suffix, "Nor are the answers to them", "chain=forward", "action=accept", "connection-state=established,related", "out-interface="+link))
	}
	return out
}

// listRules are the rules about address-lists; they come first, so that who is put
// on a list is out at once.
func (b *builder) listRules(links []string) []item {
	var out []item
	for i, l := range b.want.Lists {
		for j, link := range links {
			key := fmt.Sprintf("list.%d", i+1)
			if j > 0 {
				key += "." + link
			}
			whose := map[string]string{"src": "Guests", "dst": "Guests to addresses"}[l.Match]
			words := fmt.Sprintf("%s on the list %s are let through", whose, l.List)
			if l.Action == "drop" {
				words = fmt.Sprintf("%s on the list %s are dropped", whose, l.List)
			}
			out = append(out, rule(key, words, "chain=forward", "action="+l.Action, "in-interface="+link, l.Match+"-address-list="+l.List))
		}
	}
	return out
}

// thinFilter is what radius-only needs of the firewall: guests' connections above
// a fasttrack rule, where there is one. Only what is under way is accepted: that
// lets nothing through that the site's own rules did not let through before.
func (b *builder) thinFilter() block {
	out := block{menu: "/ip/firewall/filter", floor: fasttracks}
	links := b.guestLinks()
	out.rules = b.listRules(links)
	if len(out.rules) > 0 {
		out.floor = func(routeros.Row) bool { return true }
	}
	if slices.ContainsFunc(b.rows["/ip/firewall/filter"], func(r routeros.Row) bool {
		return b.foreign(r) && r["action"] == "fasttrack-connection" && !flag(r["disabled"])
	}) {
		out.rules = append(out.rules, known(links)...)
	}
	return out
}

// fasttracks reports whether a rule fasttracks, or leads to others that may.
func fasttracks(r routeros.Row) bool {
	return !flag(r["disabled"]) && (r["action"] == "fasttrack-connection" || r["action"] == "jump" && r["chain"] == "forward")
}

// six keeps guests from IPv6, which the HotSpot does not control.
func (b *builder) six(links []string) {
	switch b.want.IPv6 {
	case "off":
		b.single(item{key: "ipv6", menu: "/ipv6/settings", words: "The router has no IPv6: the HotSpot would not control it", args: with("disable-ipv6=yes")})
	case "filter":
		out := block{menu: "/ipv6/firewall/filter", floor: func(routeros.Row) bool { return true }}
		for i, link := range links {
			suffix := ""
			if i > 0 {
				suffix = "." + link
			}
			for _, r := range []struct{ key, words, chain, side string }{{"in", "Guests do not reach the router by IPv6", "input", "in-interface"},
				{"from", "Nor the internet, past the HotSpot", "forward", "in-interface"}, {"to", "Nor does it reach them", "forward", "out-interface"}} {
				it := rule(r.key, r.words, "chain="+r.chain, "action=drop", r.side+"="+link)
				it.key, it.menu = "six."+r.key+suffix, out.menu
				out.rules = append(out.rules, it)
			}
		}
		b.block(out)
	}
}

func yesNo(v bool) string {
	if v {
		return "yes"
	}
	return "no"
}

// atLeast compares a version such as "7.23.7 (long-term)".
func atLeast(version string, major, minor int) bool {
	var a, m int
	if _, err := fmt.Sscanf(version, "%d.%d", &a, &m); err != nil {
		return false
	}
	return a > major || a == major && m >= minor
}

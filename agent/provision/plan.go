package provision

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"iwas/internal/fault"
	"iwas/internal/routeros"
	"iwas/internal/wire"
)

// read are the menus a plan is made of.
var read = append([]string{"/interface", "/interface/list/member", "/ip/service", "/ip/arp", "/ip/dns", "/radius/incoming", "/ipv6/settings", "/ip/hotspot/user/profile",
	"/ip/firewall/mangle", "/ip/settings", "/system/device-mode"}, ourMenus...)

// Make reads a router and compares it with a set-up. It changes nothing.
func Make(ctx context.Context, conn routeros.Conn, s wire.RouterSetup, box Box) (Plan, error) {
	want, err := resolve(s, box)
	if err != nil {
		return Plan{}, fault.New(fault.Invalid, "set-up of the router", err).WithCode(CodeBadSetup, "Correct the fields that are named, and plan again.")
	}
	b := &builder{want: want, rows: map[string][]routeros.Row{}}
	resource, err := conn.Run(ctx, "/system/resource/print")
	if err != nil {
		return Plan{}, err
	}
	if len(resource) == 1 {
		b.version = resource[0]["version"]
	}
	for _, menu := range read {
		rows, err := conn.Run(ctx, menu+"/print")
		switch {
		case routeros.ReasonOf(err) == routeros.NoSuchCommand:
			continue // not in this version, or its package is not there
		case err != nil:
			return Plan{}, fmt.Errorf("read %s: %w", menu, err)
		}
		b.rows[menu] = rows
	}
	if rows, err := conn.Run(ctx, "/interface/bridge/host/print"); err == nil {
		b.rows["/interface/bridge/host"] = rows // tells the port of this box, where the version has it
	} else if !routeros.Refused(err) {
		return Plan{}, err
	}
	return b.make(), nil
}

// make is the plan of what was read.
func (b *builder) make() Plan {
	b.plan = Plan{Mode: b.want.Mode, Version: b.version, Steps: []Step{}, Stops: []Stop{}, Notes: []string{}, want: b.want}
	if !atLeast(b.version, 7, 1) {
		b.stop(CodeVersion, fmt.Sprintf("RouterOS %q is older than 7.1, which this program does not set up", b.version), "Update RouterOS to the newest stable version of 7.")
		return b.plan
	}
	servers := b.servers()
	b.hotspotAllowed(servers)
	if b.want.Mode == WholeCafe {
		b.cafe()
	} else {
		b.thin(servers)
	}
	wanted := b.plan.Steps
	b.plan.Steps = nil
	b.stale()
	b.plan.Steps = append(append([]Step{}, b.plan.Steps...), wanted...)
	b.fasttrack()
	b.way()
	for i := range b.plan.Steps {
		b.plan.Steps[i].N = i + 1
	}
	return b.plan
}

// servers are the HotSpots that radius-only is about.
func (b *builder) servers() []routeros.Row {
	var out []routeros.Row
	for _, r := range b.rows["/ip/hotspot"] {
		if !flag(r["disabled"]) && (b.want.hotspot.Server == "" || b.want.hotspot.Server == r["name"]) {
			out = append(out, r)
		}
	}
	return out
}

func (b *builder) hotspotAllowed(servers []routeros.Row) {
	if mode := b.rows["/system/device-mode"]; len(mode) == 1 && mode[0]["hotspot"] == "false" || len(mode) == 1 && mode[0]["hotspot"] == "no" {
		b.stop(CodeDeviceMode, "device-mode of the router forbids the HotSpot", "Run /system/device-mode/update hotspot=yes on the router, then press its button or cut its power within five minutes.")
	}
	if b.want.Mode == RADIUSOnly && len(servers) == 0 {
		which := "no HotSpot server is on"
		if name := b.want.hotspot.Server; name != "" {
			which = "no HotSpot server " + name + " is on"
		}
		b.stop(CodeNoHotSpot, which+", and radius-only makes none", "Set up the HotSpot (/ip/hotspot/setup), correct hotspot.server, or choose whole-cafe.")
	}
}

// guestLinks are the interfaces of guests.
func (b *builder) guestLinks() []string {
	if b.want.Mode == WholeCafe {
		return []string{b.want.guests.link()}
	}
	var out []string
	for _, s := range b.servers() {
		if !slices.Contains(out, s["interface"]) {
			out = append(out, s["interface"])
		}
	}
	return out
}

// fasttrack stops a plan that cannot keep guests from a fasttrack rule.
func (b *builder) fasttrack() {
	if s := b.rows["/ip/settings"]; len(s) == 1 && (s[0]["allow-fast-path"] == "false" || s[0]["allow-fast-path"] == "no") {
		return // nothing is fasttracked at all
	}
	for _, menu := range []string{"/ip/firewall/mangle", "/ip/firewall/filter"} {
		for _, r := range b.rows[menu] {
			if flag(r["disabled"]) || flag(r["dynamic"]) || r["action"] != "fasttrack-connection" || b.apart(r) {
				continue
			}
			state := r["connection-state"]
			begins := state == "" || strings.Contains(","+state+",", ",new,") || strings.HasPrefix(state, "!")
			switch {
			case menu == "/ip/firewall/mangle":
				b.stop(CodeFasttrack, "a rule of /ip/firewall/mangle fasttracks connections of guests before any other rule sees them ("+ruleShown(r)+")",
					"Limit that rule to other networks (in-interface and out-interface), or move it to /ip/firewall/filter.")
			case begins && b.want.Mode == RADIUSOnly:
				b.stop(CodeFasttrack, "a rule fasttracks new connections of guests, not only those under way ("+ruleShown(r)+")",
					"Give the rule connection-state=established,related, or limit it to other networks.")
			}
		}
	}
}

// apart reports whether a rule names interfaces in both directions or one, none of
// them guests'.
func (b *builder) apart(r routeros.Row) bool {
	links := b.guestLinks()
	other := func(v string) bool { return v != "" && !strings.HasPrefix(v, "!") && !slices.Contains(links, v) }
	return other(r["in-interface"]) && other(r["out-interface"])
}

func ruleShown(r routeros.Row) string {
	var out []string
	for _, k := range []string{"chain", "action", "connection-state", "in-interface", "comment"} {
		if r[k] != "" {
			out = append(out, k+"="+quote(r[k]))
		}
	}
	return strings.Join(out, " ")
}

// cutByReplyOnly names who is on an interface with an address DHCP did not give.
func (b *builder) cutByReplyOnly(n network) string {
	var who []string
	for _, r := range b.rows["/ip/arp"] {
		if r["interface"] == n.link() && flag(r["dynamic"]) && !flag(r["DHCP"]) && r["mac-address"] != "" {
			who = append(who, r["address"]+" ("+r["mac-address"]+")")
		}
	}
	if len(who) == 0 {
		return ""
	}
	return "cut off until they ask DHCP again, or for good if their address is fixed: " + strings.Join(who, ", ") + "; give fixed ones a row: /ip/arp/add interface=" + n.link() + " address= mac-address="
}

// way stops a plan that would leave this box without a way to the router.
func (b *builder) way() {
	w := b.want
	box := w.box
	cut := func(format string, args ...any) {
		b.stop(CodeCutOff, fmt.Sprintf(format, args...), "Plug this box into a port of the router that the set-up does not name, or give it an address in the management network (box_port, box_vlan, box_address say where it is).")
	}
	if box.Service != "" {
		for _, s := range b.plan.Steps {
			if s.Key == "service."+box.Service {
				cut("the set-up shuts the service %s, by which this box comes in", box.Service)
			}
		}
	}
	if w.Mode != WholeCafe || !box.Address.IsValid() || box.Address.IsLoopback() && w.BoxPort == "" {
		return
	}
	for _, n := range []network{w.guests, w.pcs} {
		if n.own.Masked().Contains(box.Address) {
			cut("this box has an address of the %s, %s: they are kept from the router", n.people, box.Address)
			return
		}
	}
	port := w.BoxPort
	if port == "" {
		port = b.boxPort(box.Address)
	}
	if port == "" {
		b.stop(CodeCutOff, "it is not known by which port of the router this box is connected", "Set box_port under [nas.setup], and box_vlan if its frames are tagged there.")
		return
	}
	managed := w.management.own.Masked().Contains(box.Address) && (!box.Router.IsValid() || box.Router == w.management.own.Addr())
	switch {
	case port == w.WAN:
		cut("this box is connected by %s, the port to the internet", port)
	case port == w.Trunk && w.BoxVLAN == 0:
		cut("this box is connected by the trunk %s without a VLAN tag, and the trunk will take tagged frames only", port)
	case slices.Contains(w.PCPorts, port):
		cut("this box is connected by %s, which is to be a port of the PCs", port)
	case slices.Contains(w.management.ports, port) && w.BoxVLAN == 0, port == w.Trunk && w.BoxVLAN == w.management.vlan:
		if !managed {
			cut("this box will be in the management network %s by its port %s, and it has the address %s and speaks to %s", w.management.own.Masked(), port, box.Address, box.Router)
		}
	case w.BoxVLAN != 0:
		if !b.tagged(port, w.BoxVLAN) {
			cut("this box is connected by %s with the tag %d, which the bridge will not let through", port, w.BoxVLAN)
		}
	default:
		b.untagged(port, cut)
	}
}

// untagged stops where a port's own VLAN does not reach the router once the bridge
// keeps VLANs apart.
func (b *builder) untagged(port string, cut func(string, ...any)) {
	r := b.one("/interface/bridge/port", "interface", port)
	if r == nil || flag(r["disabled"]) {
		return // not in a bridge
	}
	bridge := b.one("/interface/bridge", "name", r["bridge"])
	pvid, own := folded("", "pvid", r), folded("", "pvid", bridge)
	if pvid != own && !b.tagged(r["bridge"], number(pvid)) || r["frame-types"] == "admit-only-vlan-tagged" {
		cut("frames of the port %s, by which this box is connected, are in VLAN %s, which will not reach the router", port, pvid)
	}
}

func number(s string) int {
	n := 0
	for _, c := range s {
		n = n*10 + int(c-'0')
	}
	return n
}

// tagged reports whether the VLAN table lets a tagged VLAN through a port.
func (b *builder) tagged(port string, vlan int) bool {
	return slices.ContainsFunc(b.rows["/interface/bridge/vlan"], func(r routeros.Row) bool {
		return !flag(r["disabled"]) && holdsVLAN(r["vlan-ids"], fmt.Sprint(vlan)) && slices.Contains(strings.Split(r["tagged"], ","), port)
	})
}

// boxPort finds the port by which an address is connected: its MAC is in the ARP
// table, and the bridge knows behind which port that is.
func (b *builder) boxPort(a netip.Addr) string {
	for _, arp := range b.rows["/ip/arp"] {
		if arp["address"] != a.String() || arp["mac-address"] == "" {
			continue
		}
		if b.one("/interface/bridge", "name", arp["interface"]) == nil && b.one("/interface/vlan", "name", arp["interface"]) == nil {
			return arp["interface"]
		}
		for _, h := range b.rows["/interface/bridge/host"] {
			if strings.EqualFold(h["mac-address"], arp["mac-address"]) {
				return h["on-interface"]
			}
		}
	}
	return ""
}

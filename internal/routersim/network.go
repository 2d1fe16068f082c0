package routersim

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Interfaces, bridges, VLANs, addresses and DHCP: what a cafe's networks are made
// of. Defaults are those of the command trees' defaults and of recorded rows.

// kinds are the menus whose rows are interfaces, and the type /interface shows.
var kinds = []struct{ path, kind string }{{"interface/ethernet", "ether"}, {"interface/bridge", "bridge"}, {"interface/vlan", "vlan"}}

const (
	arpModes   = "disabled enabled local-proxy-arp proxy-arp reply-only"
	frameTypes = "admit-all admit-only-untagged-and-priority-tagged admit-only-vlan-tagged"
	someLink   = "<@interface>"
	links      = "list <@interface>"
)

func (s *Sim) networkShapes() map[string]shape {
	return map[string]shape{
		"interface": {values: map[string]string{"disabled": yesNo, "mtu": "auto <68..65535>"}, finish: s.nameLink, done: s.linkRenamed},
		"interface/ethernet": {finish: s.nameLink, done: s.linked,
			fresh:  keys("arp=enabled arp-timeout=auto disabled=false running=true mtu=1500 actual-mtu=1500 loop-protect=default loop-protect-status=off"),
			values: map[string]string{"disabled": yesNo, "arp": arpModes, "mac-address": "<mac>", "mtu": "<68..65535>"}},
		"interface/bridge": {finish: s.nameLink, done: s.linked, gone: s.unlinked,
			fresh: keys("ageing-time=5m arp=enabled arp-timeout=auto auto-mac=true dhcp-snooping=false disabled=false dynamic=false ether-type=0x8100 fast-forward=true forward-delay=15s frame-types=admit-all igmp-snooping=false ingress-filtering=true max-message-age=20s mtu=auto actual-mtu=1500 port-cost-mode=long priority=0x8000 protocol-mode=rstp pvid=1 running=true transmit-hold-count=6 vlan-filtering=false"),
			values: map[string]string{"disabled": yesNo, "vlan-filtering": yesNo, "ingress-filtering": yesNo, "dhcp-snooping": yesNo, "igmp-snooping": yesNo, "fast-forward": yesNo,
				"auto-mac": yesNo, "arp": arpModes, "frame-types": frameTypes, "protocol-mode": "mstp none rstp stp", "pvid": "<1..4094>", "admin-mac": "<mac>", "mtu": "auto <68..65535>",
				"ageing-time": "<10s..1w4d13h46m40s>", "forward-delay": "<4s..30s>", "max-message-age": "<6s..40s>", "ether-type": "0x8100 0x88a8 0x9100"}},
		"interface/bridge/port": {needs: []string{"bridge", "interface"}, once: []string{"interface"}, taken: "device already added as bridge port",
			fresh: keys("auto-isolate=false bpdu-guard=false broadcast-flood=true disabled=false dynamic=false edge=auto fast-leave=false frame-types=admit-all horizon=none hw=true inactive=false ingress-filtering=true learn=auto multicast-router=temporary-query point-to-point=auto priority=0x80 pvid=1 restricted-role=false restricted-tcn=false status=in-bridge tag-stacking=false trusted=false unknown-multicast-flood=true unknown-unicast-flood=true"),
			values: map[string]string{"disabled": yesNo, "bridge": "<@interface/bridge>", "interface": "<@interface,interface/list>", "frame-types": frameTypes, "pvid": "<1..4094>",
				"ingress-filtering": yesNo, "hw": yesNo, "trusted": yesNo, "tag-stacking": yesNo, "bpdu-guard": yesNo, "broadcast-flood": yesNo, "unknown-unicast-flood": yesNo,
				"unknown-multicast-flood": yesNo, "restricted-role": yesNo, "restricted-tcn": yesNo, "fast-leave": yesNo, "auto-isolate": yesNo,
				"edge": "auto no no-discover yes yes-discover", "learn": "auto no yes", "point-to-point": "auto no yes", "horizon": "none <0..4294967295>",
				"multicast-router": "disabled permanent temporary-query"}},
		"interface/bridge/vlan": {needs: []string{"bridge", "vlan-ids"}, finish: s.finishBridgeVLAN,
			fresh:  keys("tagged= untagged= disabled=false dynamic=false mvrp-forbidden= current-tagged= current-untagged="),
			values: map[string]string{"disabled": yesNo, "bridge": "<@interface/bridge>", "tagged": links, "untagged": links, "mvrp-forbidden": links, "vlan-ids": "list <vlans>"}},
		"interface/vlan": {needs: []string{"interface", "vlan-id"}, finish: s.nameLink, done: s.linked, gone: s.unlinked,
			fresh: keys("arp=enabled arp-timeout=auto disabled=false loop-protect=default loop-protect-disable-time=5m loop-protect-send-interval=5s loop-protect-status=off mtu=1500 mvrp=false running=true use-service-tag=false"),
			values: map[string]string{"disabled": yesNo, "interface": someLink, "vlan-id": "<1..4095>", "arp": arpModes, "use-service-tag": yesNo, "mvrp": yesNo, "mtu": "<68..65535>",
				"loop-protect": "default off on"}},
		"interface/list": {needs: []string{"name"}, once: []string{"name"}, taken: nameUsed, fresh: keys("builtin=false dynamic=false exclude= include="),
			values: map[string]string{"include": "list <@interface/list>", "exclude": "list <@interface/list>"}},
		"interface/list/member": {needs: []string{"list", "interface"}, once: []string{"list", "interface"}, taken: "already have such entry", fresh: keys("disabled=false dynamic=false"),
			values: map[string]string{"disabled": yesNo, "list": "<@interface/list>", "interface": someLink}},
		"ip/address": {needs: []string{"address", "interface"}, once: []string{"address", "interface"}, taken: "already have such address",
			fresh: keys("disabled=false dynamic=false invalid=false slave=false vrf=main"), finish: finishAddress,
			values: map[string]string{"disabled": yesNo, "address": "<ip>", "interface": someLink}},
		"ipv6/address": {needs: []string{"interface"}, fresh: keys("advertise=true disabled=false dynamic=false eui-64=false from-pool= global=true invalid=false link-local=false no-dad=false slave=false vrf=main"),
			finish: finishAddress, values: map[string]string{"disabled": yesNo, "advertise": yesNo, "eui-64": yesNo, "no-dad": yesNo, "address": "<ip>", "interface": someLink}},
		"ip/pool": {needs: []string{"name", "ranges"}, once: []string{"name"}, taken: nameUsed,
			values: map[string]string{"ranges": "list <ip>", "next-pool": "none <@ip/pool>"}},
		"ip/arp": {needs: []string{"interface"}, fresh: keys("disabled=false dynamic=false invalid=false published=false DHCP=false complete=true"),
			values: map[string]string{"disabled": yesNo, "published": yesNo, "mac-address": "<mac>", "address": "<ip>", "interface": someLink}},
		"ip/dhcp-client": {needs: []string{"interface"}, once: []string{"interface"}, taken: "already have client on that interface",
			fresh:  keys("add-default-route=yes default-route-distance=1 dhcp-options=hostname,clientid disabled=false dynamic=false invalid=false status=bound use-peer-dns=yes use-peer-ntp=true"),
			values: map[string]string{"disabled": yesNo, "interface": someLink, "add-default-route": "no special-classless yes", "use-peer-dns": "no yes", "use-peer-ntp": yesNo}},
		"ip/dhcp-server": {needs: []string{"interface"}, once: []string{"name"}, taken: "server with such name already exists", finish: s.finishDHCP,
			fresh: keys("address-lists= address-pool=static-only add-dns-entries-suffix= authoritative=yes bootp-lease-time=forever dynamic-lease-identifiers=client-mac,client-id lease-script= lease-time=10m support-broadband-tr101=false use-radius=no use-reconfigure=false disabled=false dynamic=false invalid=false"),
			values: map[string]string{"disabled": yesNo, "interface": someLink, "address-pool": "static-only <@ip/pool>", "add-arp": yesNo, "conflict-detection": yesNo, "always-broadcast": yesNo,
				"lease-time": "<1s..7101w3d6h28m15s>", "use-radius": "accounting no yes", "authoritative": "after-10sec-delay after-2sec-delay no yes", "bootp-support": "dynamic none static",
				"relay": "<ip>", "server-address": "<ip>", "use-reconfigure": yesNo, "support-broadband-tr101": yesNo}},
		"ip/dhcp-server/network": {needs: []string{"address"}, once: []string{"address"}, taken: "such network already exists", finish: finishNetwork,
			fresh:  keys("caps-manager= dhcp-option= dns-server= gateway= ntp-server= wins-server= dynamic=false"),
			values: map[string]string{"address": "<ip>", "gateway": "list <ip>", "dns-server": "list <ip>", "ntp-server": "list <ip>", "wins-server": "list <ip>", "dns-none": yesNo, "ntp-none": yesNo}},
		"ip/dhcp-server/lease": {finish: s.finishLease,
			fresh: keys("address-lists= agent-circuit-id= agent-remote-id= active-agent-circuit-id= active-agent-remote-id= dhcp-option= status=waiting last-seen=never blocked=false radius=false disabled=false dynamic=false"),
			values: map[string]string{"disabled": yesNo, "block-access": yesNo, "always-broadcast": yesNo, "use-src-mac": yesNo, "mac-address": "<mac>", "address": "<ip>",
				"server": "all <@ip/dhcp-server>", "lease-time": "<time>"}},
		"ip/dns": {values: map[string]string{"allow-remote-requests": yesNo, "verify-doh-cert": yesNo, "servers": "list <ip>", "cache-max-ttl": "<time>", "query-server-timeout": "<time>",
			"query-total-timeout": "<time>", "doh-timeout": "<time>", "max-udp-packet-size": "<50..65507>"}},
		"ip/dns/static": {fresh: keys("type=A ttl=1d disabled=false dynamic=false"), once: []string{"name", "regexp", "type", "address"}, taken: "entry already exists",
			values: map[string]string{"disabled": yesNo, "address": "<ip>", "ttl": "<time>", "type": "A AAAA CNAME FWD MX NS NXDOMAIN SRV TXT"}},
	}
}

// nameLink gives an interface a name where nobody did, and refuses one that
// another interface has.
func (s *Sim) nameLink(m *menu, r *row) error {
	base := strings.TrimPrefix(m.path, "interface/")
	for n := 1; r.get("name") == ""; n++ {
		if name := base + itoa(n); s.menus["interface"].find(name) == nil {
			r.props["name"] = name
		}
	}
	for _, other := range s.menus["interface"].rows {
		if other.get("name") == r.get("name") && other.id != r.id {
			return trapf(4, "failure: already have interface with such name")
		}
	}
	if m.path == "interface/vlan" && r.get("interface") == r.get("name") {
		return trapf(1, "input does not match any value of interface")
	}
	if mtu := r.get("mtu"); mtu != "" && mtu != "auto" {
		r.props["actual-mtu"] = mtu
	}
	return nil
}

// linked keeps /interface in step with a row of one of its kinds.
func (s *Sim) linked(_ *menu, r *row, _ map[string]string) {
	all := s.menus["interface"]
	i := slices.IndexFunc(all.rows, func(l *row) bool { return l.id == r.id })
	if i < 0 {
		kind := ""
		for _, k := range kinds {
			if slices.Contains(s.menus[k.path].rows, r) {
				kind = k.kind
			}
		}
		all.rows = append(all.rows, &row{id: r.id, props: map[string]string{"type": kind}})
		i = len(all.rows) - 1
	}
	for _, k := range []string{"name", "default-name", "mac-address", "mtu", "actual-mtu", "disabled", "running", "comment"} {
		if v, ok := r.props[k]; ok {
			all.rows[i].props[k] = v
		} else {
			delete(all.rows[i].props, k)
		}
	}
}

// linkRenamed carries what was set in /interface to the row of its kind.
func (s *Sim) linkRenamed(_ *menu, r *row, _ map[string]string) {
	for _, k := range kinds {
		for _, of := range s.menus[k.path].rows {
			if of.id != r.id {
				continue
			}
			was := of.get("name")
			for _, key := range []string{"name", "mtu", "disabled", "comment"} {
				if v, ok := r.props[key]; ok {
					of.props[key] = v
				} else {
					delete(of.props, key)
				}
			}
			s.refer(k.path, was, of.get("name"))
		}
	}
}

// unlinked takes the interface of a removed row out of /interface.
func (s *Sim) unlinked(_ *menu, r *row) {
	all := s.menus["interface"]
	all.rows = slices.DeleteFunc(all.rows, func(l *row) bool { return l.id == r.id })
	s.refer("interface", r.get("name"), formatID(r.id))
}

// refer rewrites every reference to a row that has another name now, or none: then
// it reads as the row's raw id (facts.md §1).
func (s *Sim) refer(path, was, now string) {
	if was == now || was == "" {
		return
	}
	for _, m := range s.menus {
		for key, spec := range m.shape.values {
			if !refersTo(spec, path) {
				continue
			}
			for _, r := range m.rows {
				s.replace(r, key, was, now)
			}
		}
	}
}

func refersTo(spec, path string) bool {
	for _, kind := range strings.Fields(spec) {
		if menus, ok := strings.CutPrefix(kind, "<@"); ok && slices.Contains(strings.Split(strings.TrimSuffix(menus, ">"), ","), path) {
			return true
		}
	}
	return false
}

func (s *Sim) replace(r *row, key, was, now string) {
	parts := strings.Split(r.get(key), ",")
	changed := false
	for i, part := range parts {
		if name, not := strings.CutPrefix(part, "!"); name == was {
			parts[i] = now
			if not {
				parts[i] = "!" + now
			}
			changed = true
		}
	}
	if !changed {
		return
	}
	r.props[key] = strings.Join(parts, ",")
	if _, can := r.props["invalid"]; can && strings.HasPrefix(now, "*") {
		r.props["invalid"] = "true"
	}
	if key == "interface" && r.props["actual-interface"] != "" {
		r.props["actual-interface"] = now
	}
}

// finishBridgeVLAN refuses a VLAN that another row of that bridge has.
func (s *Sim) finishBridgeVLAN(m *menu, r *row) error {
	for _, id := range vlanIDs(r.get("vlan-ids")) {
		for _, other := range m.rows {
			if other.id != r.id && other.get("bridge") == r.get("bridge") && slices.Contains(vlanIDs(other.get("vlan-ids")), id) {
				return trapf(4, "failure: vlan already added")
			}
		}
	}
	return nil
}

// vlanIDs lists the VLANs of "10,20-22".
func vlanIDs(text string) []int {
	var out []int
	for _, part := range strings.Split(text, ",") {
		from, to, isRange := strings.Cut(part, "-")
		low, err := strconv.Atoi(from)
		high := low
		if isRange && err == nil {
			high, err = strconv.Atoi(to)
		}
		if err != nil || low < 1 || high > 4094 || low > high {
			continue
		}
		for id := low; id <= high; id++ {
			out = append(out, id)
		}
	}
	return out
}

// finishDHCP completes a DHCP server; one a network is enough.
func (s *Sim) finishDHCP(m *menu, r *row) error {
	for n := 1; r.get("name") == ""; n++ {
		if name := "dhcp" + itoa(n); m.find(name) == nil {
			r.props["name"] = name
		}
	}
	for _, other := range m.rows {
		if other.id != r.id && other.get("interface") == r.get("interface") && other.get("relay") == r.get("relay") && !other.is("disabled") && !r.is("disabled") {
			return trapf(4, "failure: can not run two dhcp servers on the same interface without relay")
		}
	}
	return nil
}

func finishNetwork(_ *menu, r *row) error {
	p, err := netip.ParsePrefix(r.get("address"))
	if a, aerr := netip.ParseAddr(r.get("address")); aerr == nil {
		p, err = netip.PrefixFrom(a, a.BitLen()), nil
	}
	if err != nil {
		return trapf(1, "invalid value for argument address")
	}
	if p.Masked() != p {
		return trapf(4, "failure: invalid network")
	}
	r.props["address"] = p.String()
	return nil
}

// finishLease refuses a second static lease of a client or of an address.
func (s *Sim) finishLease(m *menu, r *row) error {
	for _, other := range m.rows {
		if other.id == r.id || other.dynamic || r.dynamic || other.get("server") != r.get("server") {
			continue
		}
		if mac := r.get("mac-address"); mac != "" && mac == other.get("mac-address") {
			return trapf(4, "failure: already have static lease for this client")
		}
		if a := r.get("address"); a != "" && a == other.get("address") {
			return trapf(4, "failure: already have static lease with this IP address")
		}
	}
	return nil
}

// listPools adds what a pool holds and has given out to the stored rows.
func (s *Sim) listPools() []view {
	out := s.menus["ip/pool"].stored()
	for _, v := range out {
		total, used := 0, 0
		for _, part := range strings.Split(v["ranges"], ",") {
			low, high, ok := bounds(part)
			if !ok {
				continue
			}
			total += distance(low, high)
			for _, h := range s.hosts {
				if h.ip.Compare(low) >= 0 && h.ip.Compare(high) <= 0 {
					used++
				}
			}
		}
		maps.Copy(v, map[string]string{"total": itoa(total), "used": itoa(used), "available": itoa(total - used)})
	}
	return out
}

// bounds returns the first and last address of an address, a prefix or a range.
func bounds(text string) (low, high netip.Addr, ok bool) {
	if from, to, isRange := strings.Cut(text, "-"); isRange {
		low, errLow := netip.ParseAddr(from)
		high, errHigh := netip.ParseAddr(to)
		return low, high, errLow == nil && errHigh == nil && low.Compare(high) <= 0
	}
	if p, err := netip.ParsePrefix(text); err == nil {
		last := p.Masked().Addr().AsSlice()
		for bit := p.Bits(); bit < 8*len(last); bit++ {
			last[bit/8] |= 1 << (7 - bit%8)
		}
		high, _ = netip.AddrFromSlice(last) // of the length it had
		return p.Masked().Addr(), high, true
	}
	a, err := netip.ParseAddr(text)
	return a, a, err == nil
}

// distance counts the addresses between two of IPv4, both included.
func distance(low, high netip.Addr) int {
	number := func(a netip.Addr) int {
		b := a.As4()
		return int(b[0])<<24 | int(b[1])<<16 | int(b[2])<<8 | int(b[3])
	}
	if !low.Is4() || !high.Is4() {
		return 0
	}
	return number(high) - number(low) + 1
}

// mac makes up the address of the n-th port.
func portMAC(n int) string { return fmt.Sprintf("48:A9:8A:00:00:%02X", n) }

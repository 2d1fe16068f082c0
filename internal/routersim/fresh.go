package routersim

import "strconv"

// guestInterface is where the guests of the set-up cafe are.
const guestInterface = "vlan20-guest"

func (s *Sim) ports(n int) {
	m := s.stored("interface/ethernet")
	for i := 1; i <= n; i++ {
		name := "ether" + itoa(i)
		m.rows = append(m.rows, s.fresh(m.path, map[string]string{"name": name, "default-name": name, "mac-address": portMAC(i), "orig-mac-address": portMAC(i)}))
	}
}

// interfaceLists makes the lists RouterOS has by itself, WAN and LAN.
func (s *Sim) interfaceLists(members ...map[string]string) {
	m := s.stored("interface/list", keys("name=all builtin=true"), keys("name=none builtin=true"), keys("name=dynamic builtin=true"), keys("name=static builtin=true"))
	for _, r := range m.rows {
		r.served = true
	}
	for _, name := range []string{"WAN", "LAN"} {
		m.rows = append(m.rows, s.fresh(m.path, map[string]string{"name": name}))
	}
	s.stored("interface/list/member", members...)
}

var dnsDefaults = "servers= dynamic-servers= use-doh-server= verify-doh-cert=false doh-max-server-connections=5 doh-max-concurrent-queries=50 doh-timeout=5s allow-remote-requests=false max-udp-packet-size=4096 query-server-timeout=2s query-total-timeout=10s max-concurrent-queries=100 max-concurrent-tcp-sessions=20 cache-size=2048KiB cache-max-ttl=1w cache-used=48KiB address-list-extra-time=0s vrf=main mdns-repeat-ifaces="

// cafeNetwork is what a technician made: a WAN, a trunk, PCs, a bridge and its two
// VLANs.
func (s *Sim) cafeNetwork() {
	s.ports(3)
	s.stored("interface/bridge", keys("name=br-lan vlan-filtering=true mac-address="+portMAC(2)))
	s.stored("interface/bridge/port", keys("bridge=br-lan interface=ether2 frame-types=admit-only-vlan-tagged"),
		keys("bridge=br-lan interface=ether3 pvid=10 frame-types=admit-only-untagged-and-priority-tagged"))
	s.stored("interface/bridge/vlan", keys("bridge=br-lan vlan-ids=10 tagged=br-lan,ether2 untagged=ether3"), keys("bridge=br-lan vlan-ids=20 tagged=br-lan,ether2"))
	s.stored("interface/vlan", keys("name=vlan10-pc interface=br-lan vlan-id=10 mac-address="+portMAC(2)),
		keys("name="+guestInterface+" interface=br-lan vlan-id=20 mac-address="+portMAC(2)))
	s.interfaceLists(keys("list=WAN interface=ether1"), keys("list=LAN interface=vlan10-pc"))
	s.stored("ip/address", map[string]string{"address": s.plannedGateway().String() + "/" + strconv.Itoa(s.c.Pool.Bits()), "network": s.c.Pool.Masked().Addr().String(),
		"interface": guestInterface, "actual-interface": guestInterface})
	s.stored("ip/pool", map[string]string{"name": "pool-guest", "ranges": s.c.Pool.String()})
	s.stored("ip/dhcp-client")
	s.stored("ip/dhcp-server")
	s.stored("ip/dhcp-server/network")
	s.single("ip/dns", keys(dnsDefaults))
	s.stored("ip/firewall/filter")
	s.stored("ipv6/firewall/filter")
	s.stored("ip/firewall/nat", keys("chain=srcnat action=masquerade out-interface=ether1"))
}

// factoryNetwork is a router from its box. That a factory script bridges the ports
// behind the first, marks its rows "defconf", and ships a fasttrack rule is known
// (facts.md §11); its other rows are the fewest that make such a router work, and
// are ours.
func (s *Sim) factoryNetwork() {
	defconf := func(words, comment string) map[string]string {
		p := keys(words)
		p["comment"] = comment
		return p
	}
	const mark = "defconf"
	s.ports(5)
	s.stored("interface/bridge", defconf("name=bridge auto-mac=false admin-mac="+portMAC(2)+" mac-address="+portMAC(2), mark))
	ports := s.stored("interface/bridge/port")
	for i := 2; i <= 5; i++ {
		ports.rows = append(ports.rows, s.fresh(ports.path, defconf("bridge=bridge interface=ether"+itoa(i), mark)))
	}
	s.stored("interface/bridge/vlan")
	s.stored("interface/vlan")
	s.interfaceLists(defconf("list=LAN interface=bridge", mark), defconf("list=WAN interface=ether1", mark))
	s.stored("ip/address", defconf("address=192.168.88.1/24 network=192.168.88.0 interface=bridge actual-interface=bridge", mark))
	s.stored("ip/pool", keys("name=default-dhcp ranges=192.168.88.10-192.168.88.254"))
	s.stored("ip/dhcp-client", defconf("interface=ether1", mark))
	s.stored("ip/dhcp-server", keys("name=defconf interface=bridge address-pool=default-dhcp"))
	s.stored("ip/dhcp-server/network", defconf("address=192.168.88.0/24 gateway=192.168.88.1 dns-server=192.168.88.1", mark))
	dns := keys(dnsDefaults)
	dns["allow-remote-requests"] = "true"
	s.single("ip/dns", dns)
	rules := func(chain string, rows ...[2]string) []map[string]string {
		var out []map[string]string
		for _, r := range rows {
			p := defconf(r[0], mark+": "+r[1])
			p["chain"] = chain
			out = append(out, p)
		}
		return out
	}
	filter := rules("input", [2]string{"action=accept connection-state=established,related,untracked", "what is known"},
		[2]string{"action=drop connection-state=invalid", "invalid"}, [2]string{"action=accept protocol=icmp", "ICMP"}, [2]string{"action=drop in-interface-list=!LAN", "all but the LAN"})
	filter = append(filter, rules("forward", [2]string{"action=fasttrack-connection connection-state=established,related", "fasttrack"},
		[2]string{"action=accept connection-state=established,related,untracked", "what is known"}, [2]string{"action=drop connection-state=invalid", "invalid"},
		[2]string{"action=drop connection-state=new connection-nat-state=!dstnat in-interface-list=WAN", "from the WAN"})...)
	s.stored("ip/firewall/filter", filter...)
	six := rules("input", [2]string{"action=accept connection-state=established,related,untracked", "what is known"},
		[2]string{"action=accept protocol=icmpv6", "ICMPv6"}, [2]string{"action=drop in-interface-list=!LAN", "all but the LAN"})
	six = append(six, rules("forward", [2]string{"action=accept connection-state=established,related,untracked", "what is known"},
		[2]string{"action=drop in-interface-list=!LAN", "all but the LAN"})...)
	s.stored("ipv6/firewall/filter", six...)
	s.stored("ip/firewall/nat", defconf("chain=srcnat action=masquerade out-interface-list=WAN ipsec-policy=out,none", mark+": masquerade"))
}

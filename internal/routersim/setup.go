package routersim

import (
	"maps"
	"net"
	"strconv"
	"strings"
	"time"
)

// The interfaces of the cafe: WAN, a trunk, PCs, a bridge and its two VLANs.
const guestInterface = "vlan20-guest"

var interfaces = []map[string]string{
	{"name": "ether1", "default-name": "ether1", "type": "ether"}, {"name": "ether2", "default-name": "ether2", "type": "ether"},
	{"name": "ether3", "default-name": "ether3", "type": "ether"}, {"name": "br-lan", "type": "bridge"},
	{"name": "vlan10-pc", "type": "vlan"}, {"name": guestInterface, "type": "vlan"},
}

// makeMenus sets the router up as a technician would for a cafe.
func (s *Sim) makeMenus() {
	s.makeSystem()
	s.makeNetwork()
	s.makeHotSpot()
	s.makeAccess()
	verbs, shapes := commands(s.c.Version), s.shapes()
	for path, m := range s.menus {
		m.verbs, m.shape = verbs[path], shapes[path]
	}
}

// stored makes a menu whose rows are kept. A row begins as RouterOS would have
// made it.
func (s *Sim) stored(path string, rows ...map[string]string) *menu {
	m := &menu{path: path}
	fresh := s.shapes()[path].fresh
	for _, p := range rows {
		r := &row{id: s.id(), props: map[string]string{}}
		maps.Copy(r.props, fresh)
		maps.Copy(r.props, p)
		m.rows = append(m.rows, r)
	}
	s.menus[path] = m
	s.paths = append(s.paths, path)
	return m
}

// single makes a menu of one row without an id.
func (s *Sim) single(path string, p map[string]string) {
	s.stored(path, p).single = true
}

func (s *Sim) computed(path string, list func() []view, remove func(int) error) *menu {
	m := &menu{path: path, list: list, remove: remove}
	s.menus[path] = m
	return m
}

func (s *Sim) makeSystem() {
	version := firstWord(s.c.Version)
	s.single("system/identity", map[string]string{"name": s.c.Identity})
	s.single("system/device-mode", keys("mode=advanced allowed-versions=7.13+,6.49.8+ attempt-count=0 flagged=false flagging-enabled=true bandwidth-test=true container=false email=true fetch=true hotspot=true install-any-version=false ipsec=true l2tp=true partitions=false pptp=true proxy=true romon=true routerboard=false scheduler=true smb=true sniffer=true socks=true traffic-gen=false zerotier=true"))
	s.single("system/routerboard", map[string]string{"routerboard": "true", "model": "hAP ax2", "serial-number": "SIM000000001", "firmware-type": "ipq6000",
		"factory-firmware": "7.5", "current-firmware": version, "upgrade-firmware": version})
	s.single("system/license", keys("level=p1 system-id=SIMULATED01"))
	s.stored("system/health", keys("name=voltage value=23.8 type=V"), keys("name=temperature value=39 type=C"))
	s.computed("system/resource", s.resource, nil).single = true
	s.computed("system/clock", s.clock, nil).single = true
	s.stored("log")
	logging := s.stored("system/logging", keys("topics=info action=memory default=true"), keys("topics=error action=memory default=true"),
		keys("topics=warning action=memory default=true"), keys("topics=critical action=echo default=true"))
	for _, r := range logging.rows {
		r.served = true // RouterOS keeps its own rules
	}
	s.stored("system/scheduler")
}

func (s *Sim) makeNetwork() {
	links := s.stored("interface")
	for _, p := range interfaces {
		r := &row{id: s.id(), props: keys("disabled=false running=true mtu=1500 actual-mtu=1500")}
		maps.Copy(r.props, p)
		links.rows = append(links.rows, r)
	}
	builtin := s.stored("interface/list", keys("name=all builtin=true"), keys("name=none builtin=true"), keys("name=dynamic builtin=true"), keys("name=static builtin=true"))
	for _, r := range builtin.rows {
		r.served = true
	}
	for _, name := range []string{"WAN", "LAN"} {
		builtin.rows = append(builtin.rows, &row{id: s.id(), props: keys("name=" + name + " builtin=false dynamic=false exclude= include=")})
	}
	s.stored("interface/list/member", keys("list=WAN interface=ether1"), keys("list=LAN interface=vlan10-pc"))
	gateway := s.gateway().String()
	s.stored("ip/address", map[string]string{"address": gateway + "/" + strconv.Itoa(s.c.Pool.Bits()), "network": s.c.Pool.Masked().Addr().String(),
		"interface": guestInterface, "actual-interface": guestInterface})
	s.stored("ip/pool", map[string]string{"name": "pool-guest", "ranges": s.c.Pool.String()})
	s.stored("ip/arp")
	s.stored("ipv6/address")
	s.stored("ipv6/neighbor")
	s.single("ip/settings", keys("ip-forward=true send-redirects=true accept-redirects=false accept-source-route=false secure-redirects=true rp-filter=no tcp-syncookies=false allow-fast-path=true ipv4-fast-path-active=false ipv4-fasttrack-active=false max-neighbor-entries=8192 arp-timeout=30s icmp-rate-limit=10"))
	s.single("ipv6/settings", keys("disable-ipv6=false forward=true accept-redirects=yes-if-forwarding-disabled accept-router-advertisements=yes-if-forwarding-disabled max-neighbor-entries=8192"))
	for _, path := range lists {
		s.stored(path)
	}
	s.stored("ip/firewall/filter")
	s.stored("ipv6/firewall/filter")
	s.stored("ip/firewall/nat", keys("chain=srcnat action=masquerade out-interface=ether1"))
	s.computed("ip/firewall/connection", s.listConnections, s.removeConnection)
	s.stored("queue/simple").list = s.listQueues
}

func (s *Sim) makeHotSpot() {
	s.stored("ip/hotspot/profile", map[string]string{"name": "hsprof1", "hotspot-address": s.gateway().String(), "dns-name": "login.cafe.lan",
		"login-by": s.c.LoginBy, "use-radius": "yes", "mac-auth-mode": "mac-as-username"}, keys("name=default"))
	s.stored("ip/hotspot", map[string]string{"name": s.c.Server, "interface": guestInterface, "address-pool": "pool-guest", "profile": "hsprof1"})
	s.stored("ip/hotspot/user").secret = "password"
	s.stored("ip/hotspot/user/profile", keys("name=default"))
	s.stored("ip/hotspot/ip-binding")
	s.stored("ip/hotspot/walled-garden").list = s.listGarden
	s.stored("ip/hotspot/walled-garden/ip", map[string]string{"dst-address": walledGarden.String()})
	s.computed("ip/hotspot/host", s.listHosts, s.removeHost)
	s.computed("ip/hotspot/active", s.listActive, s.removeActive)
	s.computed("ip/hotspot/cookie", s.listCookies, s.removeCookie)
	var servers []map[string]string
	if auth := s.c.RADIUS.Auth; auth.IsValid() {
		servers = append(servers, map[string]string{"service": "hotspot", "address": auth.Addr().String(), "secret": s.c.RADIUS.Secret,
			"authentication-port": strconv.Itoa(int(auth.Port())), "accounting-port": strconv.Itoa(int(s.c.RADIUS.Acct.Port())),
			"timeout": formatDuration(s.c.RADIUS.Timeout)})
	}
	s.stored("radius", servers...).secret = "secret"
	s.single("radius/incoming", map[string]string{"accept": "true", "port": strconv.Itoa(int(s.CoAAddr().Port())), "vrf": "main"})
}

func (s *Sim) makeAccess() {
	users := s.stored("user", map[string]string{"name": s.c.User, "password": s.c.Password, "group": "full"})
	users.secret = "password"
	if s.c.ReadUser != "" {
		reader := &row{id: s.id(), props: maps.Clone(users.rows[0].props)}
		reader.props["name"], reader.props["group"] = s.c.ReadUser, "read"
		users.rows = append(users.rows, reader)
	}
	s.stored("user/group",
		keys("name=full policy=local,telnet,ssh,ftp,reboot,read,write,policy,test,winbox,password,web,sniff,sensitive,api,romon,rest-api"),
		keys("name=read policy=local,telnet,ssh,reboot,read,test,winbox,password,web,sniff,api,romon,rest-api,!ftp,!write,!policy,!sensitive"))
	s.computed("user/active", s.listUsers, nil)
	services := s.stored("ip/service").rows
	for _, door := range []struct {
		name string
		at   net.Listener
	}{{"www-ssl", s.rest}, {"api", s.api}, {"api-ssl", s.apiSSL}} {
		p := map[string]string{"name": door.name, "proto": "tcp", "port": "0", "address": "", "disabled": "true", "dynamic": "false", "invalid": "false", "max-sessions": "20", "vrf": "main"}
		if door.name != "api" {
			p["certificate"], p["tls-version"] = "local", "any"
		}
		if door.at != nil {
			_, p["port"], _ = net.SplitHostPort(door.at.Addr().String()) // it listens there
			p["disabled"] = "false"
		}
		services = append(services, &row{id: s.id(), props: p})
	}
	s.menus["ip/service"].rows = services
	s.menus["ip/service"].list = s.listServices
}

func (s *Sim) resource() []view {
	return []view{{"uptime": formatDuration(time.Since(s.booted).Truncate(time.Second)), "version": s.c.Version, "build-time": "2026-06-01 10:00:00",
		"factory-software": "7.5", "free-memory": "734003200", "total-memory": "1073741824", "cpu": "ARM64", "cpu-count": "4", "cpu-frequency": "864", "cpu-load": "3",
		"free-hdd-space": "98566144", "total-hdd-space": "134217728", "write-sect-since-reboot": "1204", "write-sect-total": "90213", "bad-blocks": "0",
		"architecture-name": "arm64", "board-name": "hAP ax2", "platform": "MikroTik"}}
}

func (s *Sim) clock() []view {
	date, clock, _ := strings.Cut(s.stamp(time.Now().Add(s.knobs.ClockAhead)), " ")
	return []view{{"time": clock, "date": date, "time-zone-name": "UTC", "time-zone-autodetect": "false", "gmt-offset": "+00:00", "dst-active": "false"}}
}

// Neighbour has the router see a device use an IPv6 address, until it restarts.
func (s *Sim) Neighbour(mac, address string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.menus["ipv6/neighbor"]
	m.rows = append(m.rows, &row{id: s.id(), dynamic: true, served: true, props: map[string]string{"address": address, "mac-address": canonical(mac),
		"interface": guestInterface, "status": "reachable", "router": "false"}})
}

// Give sets a property of a row as nobody can over the API: what a person at the
// router changes (device-mode), or what the box is (its license). name is "" in
// menus of one row.
func (s *Sim) Give(menu, name, key, value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.menus[menu].rows {
		if name == "" || r.get("name") == name {
			r.props[key] = value
		}
	}
}

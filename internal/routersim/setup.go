package routersim

import (
	"maps"
	"net"
	"slices"
	"strconv"
	"time"
)

// makeMenus sets the router up as a technician would for a cafe, or leaves it as
// it comes from its box.
func (s *Sim) makeMenus() {
	s.standard = s.shapes()
	for path, names := range unknownTo(s.c.Version) {
		for _, name := range names {
			delete(s.standard[path].fresh, name) // a key of other versions
		}
	}
	s.makeSystem()
	s.makeNetwork()
	s.makeHotSpot()
	s.makeAccess()
	s.makeHealth()
	verbs := commands(s.c.Version)
	for path, m := range s.menus {
		m.verbs, m.shape = verbs[path], s.standard[path]
	}
	for _, k := range kinds {
		for _, r := range s.menus[k.path].rows {
			s.linked(nil, r, nil)
		}
	}
	for path, m := range s.menus {
		m.started = map[string]map[string]string{}
		for _, r := range m.rows {
			if m.single || slices.Contains([]string{"ip/service", "interface/ethernet", "user/group"}, path) || r.get("name") == "default" {
				m.started[r.get(m.keyName())] = maps.Clone(r.props)
			}
		}
	}
	s.menus["ip/dns"].started = map[string]map[string]string{"": keys(dnsDefaults)}
	s.menus["system/identity"].started = map[string]map[string]string{s.c.Identity: keys("name=MikroTik")}
	for _, path := range []string{"ip/hotspot/profile", "ip/hotspot/user/profile"} {
		s.menus[path].find("default").id = 0 // *0 is an id like any other
	}
	for path, key := range map[string]string{"user": "password", "radius": "secret", "ip/hotspot/user": "password"} {
		s.menus[path].secret = key
	}
}

// stored makes a menu whose rows are kept. A row begins as RouterOS would have
// made it.
func (s *Sim) stored(path string, rows ...map[string]string) *menu {
	m := &menu{path: path}
	for _, p := range rows {
		m.rows = append(m.rows, s.fresh(path, p))
	}
	s.menus[path] = m
	s.paths = append(s.paths, path)
	return m
}

// fresh makes a row as RouterOS would have made it.
func (s *Sim) fresh(path string, p map[string]string) *row {
	r := &row{id: s.id(), props: map[string]string{}}
	maps.Copy(r.props, s.standard[path].fresh)
	maps.Copy(r.props, p)
	return r
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
	if health := "system/health"; !atLeast(s.c.Version, 7, 0) {
		s.single(health, keys("voltage=23.8 temperature=39"))
	} else {
		s.stored(health, keys("name=voltage value=23.8 type=V"), keys("name=temperature value=39 type=C"))
	}
	s.computed("system/resource", s.resource, nil).single = true
	s.single("system/clock", keys("time-zone-name=UTC time-zone-autodetect=false"))
	s.menus["system/clock"].list = s.clock
	s.stored("log")
	logging := s.stored("system/logging", keys("topics=info action=memory default=true"), keys("topics=error action=memory default=true"),
		keys("topics=warning action=memory default=true"), keys("topics=critical action=echo default=true"))
	for _, r := range logging.rows {
		r.served = true // RouterOS keeps its own rules
	}
	s.stored("system/scheduler").list = s.listSchedulers
	s.stored("system/script")
	s.stored("file")
	s.computed("", nil, nil)
	s.computed("system/backup", nil, nil)
	s.computed("system", nil, nil)
	s.computed("tool", nil, nil)
}

func (s *Sim) makeNetwork() {
	s.stored("interface")
	if s.c.Fresh {
		s.factoryNetwork()
	} else {
		s.cafeNetwork()
	}
	s.menus["ip/pool"].list = s.listPools
	s.stored("ip/dhcp-server/lease")
	s.stored("ip/dns/static")
	s.stored("ip/arp")
	s.stored("ipv6/address")
	s.stored("ipv6/neighbor")
	s.single("ip/settings", keys("ip-forward=true send-redirects=true accept-redirects=false accept-source-route=false secure-redirects=true rp-filter=no tcp-syncookies=false allow-fast-path=true ipv4-fast-path-active=false ipv4-fasttrack-active=false max-neighbor-entries=8192 arp-timeout=30s icmp-rate-limit=10"))
	s.single("ipv6/settings", keys("disable-ipv6=false forward=true accept-redirects=yes-if-forwarding-disabled accept-router-advertisements=yes-if-forwarding-disabled max-neighbor-entries=8192"))
	for _, path := range lists {
		s.stored(path)
	}
	s.stored("ip/firewall/raw")
	s.stored("ip/firewall/mangle")
	s.stored("ipv6/firewall/raw")
	s.computed("ip/firewall/connection", s.listConnections, s.removeConnection)
	s.stored("queue/simple").list = s.listQueues
}

func (s *Sim) makeHotSpot() {
	if s.c.Fresh {
		s.stored("ip/hotspot/profile", keys("name=default"))
		s.stored("ip/hotspot")
	} else {
		s.stored("ip/hotspot/profile", map[string]string{"name": "hsprof1", "hotspot-address": s.plannedGateway().String(), "dns-name": "login.cafe.lan",
			"login-by": s.c.LoginBy, "use-radius": "yes", "mac-auth-mode": "mac-as-username"}, keys("name=default"))
		s.stored("ip/hotspot", map[string]string{"name": s.c.Server, "interface": guestInterface, "address-pool": "pool-guest", "profile": "hsprof1"})
	}
	s.stored("ip/hotspot/user")
	s.stored("ip/hotspot/user/profile", keys("name=default"))
	s.stored("ip/hotspot/ip-binding")
	s.stored("ip/hotspot/walled-garden").list = s.listGarden
	garden := s.stored("ip/hotspot/walled-garden/ip")
	if !s.c.Fresh {
		garden.rows = append(garden.rows, s.fresh("ip/hotspot/walled-garden/ip", map[string]string{"dst-address": walledGarden.String()}))
	}
	s.computed("ip/hotspot/host", s.listHosts, s.removeHost)
	s.computed("ip/hotspot/active", s.listActive, s.removeActive)
	s.computed("ip/hotspot/cookie", s.listCookies, s.removeCookie)
	var servers []map[string]string
	if auth := s.c.RADIUS.Auth; auth.IsValid() && !s.c.Fresh {
		servers = append(servers, map[string]string{"service": "hotspot", "address": auth.Addr().String(), "secret": s.c.RADIUS.Secret,
			"authentication-port": strconv.Itoa(int(auth.Port())), "accounting-port": strconv.Itoa(int(s.c.RADIUS.Acct.Port())),
			"timeout": formatDuration(s.c.RADIUS.Timeout)})
	}
	s.stored("radius", servers...)
	s.single("radius/incoming", map[string]string{"accept": strconv.FormatBool(!s.c.Fresh), "port": strconv.Itoa(int(s.CoAAddr().Port())), "vrf": "main"})
}

func (s *Sim) makeAccess() {
	users := s.stored("user", map[string]string{"name": s.c.User, "password": s.c.Password, "group": "full"})
	if s.c.ReadUser != "" {
		reader := &row{id: s.id(), props: maps.Clone(users.rows[0].props)}
		reader.props["name"], reader.props["group"] = s.c.ReadUser, "read"
		users.rows = append(users.rows, reader)
	}
	s.stored("user/group",
		keys("name=full policy=local,telnet,ssh,ftp,reboot,read,write,policy,test,winbox,password,web,sniff,sensitive,api,romon,rest-api"),
		keys("name=read policy=local,telnet,ssh,reboot,read,test,winbox,password,web,sniff,api,romon,rest-api,!ftp,!write,!policy,!sensitive"))
	s.computed("user/active", s.listUsers, s.removeUser)
	s.makeServices()
	s.menus["ip/service"].list = s.listServices
}

// makeServices makes /ip/service. What nobody can connect to here is off in a
// cafe, and on in a router from its box. So is api-ssl, without a certificate.
func (s *Sim) makeServices() {
	certificates := s.stored("certificate")
	local := "none"
	if !s.c.Fresh {
		r := s.fresh("certificate", map[string]string{"name": "local", "common-name": s.c.Identity, "key-usage": "digital-signature,tls-server"})
		if err := s.certified(r, s.cert); err == nil { // it was made here
			certificates.rows, local = append(certificates.rows, r), "local"
		}
	}
	m := s.stored("ip/service")
	for _, door := range []struct {
		name, port string
		at         net.Listener
		tls        bool
	}{{"telnet", "23", nil, false}, {"ftp", "21", nil, false}, {"www", "80", nil, false}, {"ssh", "22", nil, false}, {"www-ssl", "443", s.rest, true},
		{"api", "8728", s.api, false}, {"winbox", "8291", nil, false}, {"api-ssl", "8729", s.apiSSL, true}} {
		p := map[string]string{"name": door.name, "proto": "tcp", "port": door.port, "address": "", "disabled": "true", "dynamic": "false", "invalid": "false", "max-sessions": "20", "vrf": "main"}
		if door.tls {
			p["certificate"], p["tls-version"] = local, "any"
		}
		if door.at != nil {
			_, p["port"], _ = net.SplitHostPort(door.at.Addr().String()) // it listens there
			p["disabled"] = "false"
		}
		if s.c.Fresh {
			p["disabled"] = strconv.FormatBool(door.name == "www-ssl")
		}
		m.rows = append(m.rows, &row{id: s.id(), props: p})
	}
}

func (s *Sim) resource() []view {
	v := view{"uptime": formatDuration(time.Since(s.booted).Truncate(time.Second)), "version": s.c.Version, "build-time": "2026-06-01 10:00:00",
		"factory-software": "7.5", "free-memory": "734003200", "total-memory": "1073741824", "cpu": "ARM64", "cpu-count": "4", "cpu-frequency": "864", "cpu-load": "3",
		"free-hdd-space": "98566144", "total-hdd-space": "134217728", "write-sect-since-reboot": "1204", "write-sect-total": "90213", "bad-blocks": "0",
		"architecture-name": "arm64", "board-name": "hAP ax2", "platform": "MikroTik"}
	for key, value := range s.shown {
		if value != "" {
			v[key] = value
		}
	}
	return []view{v}
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
	s.reconsider()
}

package routersim

import (
	_ "embed"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// arguments lists what add and set take, menu by menu (facts.md data files).
//
//go:embed arguments.txt
var argumentsText string

// row is one row of a stored menu. Keys that a real row omits are absent.
type row struct {
	id      int
	dynamic bool
	props   map[string]string
	until   time.Time // of a timed address-list entry; zero is for ever
	served  bool      // made by the HotSpot: a client cannot change it
}

func (r *row) get(key string) string { return r.props[key] }

// view is a row as it is read: with .id.
type view map[string]string

// menu is one table or, with single set, one singleton.
type menu struct {
	path   string
	single bool
	rows   []*row
	args   map[string][]string // by command: add, set
	// list, when set, computes the rows instead.
	list func() []view
	// remove, when set, replaces removal from rows.
	remove func(id int) error
	// secret names a key hidden from users without policy sensitive.
	secret string
}

// trap is an error as the API says it.
type trap struct {
	category int // -1: not sent
	message  string
}

func (t *trap) Error() string { return t.message }

func trapf(category int, format string, args ...any) *trap {
	return &trap{category, fmt.Sprintf(format, args...)}
}

func (s *Sim) id() int { s.nextID++; return s.nextID }

// formatID writes an id as RouterOS does: "*" and upper-case hexadecimal.
func formatID(id int) string { return "*" + strings.ToUpper(strconv.FormatInt(int64(id), 16)) }

func parseID(text string) (int, bool) {
	hex, ok := strings.CutPrefix(text, "*")
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseInt(hex, 16, 64)
	return int(n), err == nil
}

// makeMenus sets the router up as a technician would for a cafe.
func (s *Sim) makeMenus() {
	args := map[string][]string{}
	for _, line := range strings.Split(argumentsText, "\n") {
		if key, list, ok := strings.Cut(line, ": "); ok && !strings.HasPrefix(line, "#") {
			args[key] = strings.Fields(list)
		}
	}
	stored := func(path string, single bool, rows ...map[string]string) *menu {
		m := &menu{path: path, single: single, args: map[string][]string{}}
		for _, command := range []string{"add", "set"} {
			if a, ok := args[path+"/"+command]; ok {
				m.args[command] = a
			}
		}
		for _, p := range rows {
			m.rows = append(m.rows, &row{id: s.id(), props: p})
		}
		s.menus[path] = m
		s.paths = append(s.paths, path)
		return m
	}
	computed := func(path string, list func() []view, remove func(int) error) {
		s.menus[path] = &menu{path: path, list: list, remove: remove}
	}
	gateway := s.gateway()
	stored("system/identity", true, map[string]string{"name": s.c.Identity})
	stored("system/device-mode", true, map[string]string{"mode": "advanced", "hotspot": "true", "scheduler": "true", "fetch": "true", "container": "false", "flagged": "false"})
	stored("system/routerboard", true, map[string]string{"routerboard": "true", "model": "hAP ax2", "serial-number": "SIM000000001", "current-firmware": firstWord(s.c.Version), "upgrade-firmware": firstWord(s.c.Version)})
	stored("system/license", true, map[string]string{"level": "p1", "system-id": "SIMULATED01"})
	stored("system/health", false, map[string]string{"name": "voltage", "value": "23.8", "type": "V"}, map[string]string{"name": "temperature", "value": "39", "type": "C"})
	stored("ip/hotspot", false, map[string]string{"name": s.c.Server, "interface": "vlan20-guest", "address-pool": "pool-guest", "profile": "hsprof1",
		"idle-timeout": "5m", "keepalive-timeout": "none", "login-timeout": "none", "addresses-per-mac": "2", "proxy-status": "running",
		"invalid": "false", "HTTPS": "false", "disabled": "false"})
	stored("ip/hotspot/profile", false, map[string]string{"name": "hsprof1", "hotspot-address": gateway.String(), "dns-name": "login.cafe.lan", "html-directory": "hotspot",
		"html-directory-override": "", "http-cookie-lifetime": "3d", "login-by": s.c.LoginBy, "use-radius": "yes", "radius-accounting": "true",
		"radius-interim-update": "received", "nas-port-type": "wireless-802.11", "radius-mac-format": "XX:XX:XX:XX:XX:XX", "mac-auth-mode": "mac-as-username",
		"split-user-domain": "false", "install-hotspot-queue": "false"})
	stored("ip/hotspot/user", false).secret = "password"
	stored("ip/hotspot/user/profile", false, map[string]string{"name": "default", "shared-users": "1", "keepalive-timeout": "2m", "idle-timeout": "none",
		"add-mac-cookie": "true", "mac-cookie-timeout": "3d", "status-autorefresh": "1m", "transparent-proxy": "false"})
	stored("ip/hotspot/ip-binding", false)
	stored("ip/hotspot/walled-garden", false)
	stored("ip/hotspot/walled-garden/ip", false, map[string]string{"action": "accept", "dst-address": walledGarden.String(), "disabled": "false", "invalid": "false"})
	stored("ip/firewall/address-list", false)
	stored("ipv6/firewall/address-list", false)
	stored("ip/firewall/filter", false)
	stored("ip/firewall/nat", false, map[string]string{"chain": "srcnat", "action": "masquerade", "out-interface": "ether1", "bytes": "0", "packets": "0", "dynamic": "false", "invalid": "false"})
	stored("ipv6/address", false)
	stored("ip/address", false,
		map[string]string{"address": gateway.String() + "/" + strconv.Itoa(s.c.Pool.Bits()), "network": s.c.Pool.Addr().String(), "interface": "vlan20-guest", "actual-interface": "vlan20-guest", "disabled": "false", "dynamic": "false", "invalid": "false"})
	stored("radius", false, map[string]string{"service": "hotspot", "address": s.c.RADIUS.Auth.Addr().String(), "secret": s.c.RADIUS.Secret,
		"authentication-port": strconv.Itoa(int(s.c.RADIUS.Auth.Port())), "accounting-port": strconv.Itoa(int(s.c.RADIUS.Acct.Port())),
		"timeout": formatDuration(s.c.RADIUS.Timeout), "protocol": "udp", "require-message-auth": "yes-for-request-resp", "accounting-backup": "false", "disabled": "false"}).secret = "secret"
	stored("radius/incoming", true, map[string]string{"accept": "true", "port": strconv.Itoa(int(s.CoAAddr().Port())), "vrf": "main"})
	users := stored("user", false, map[string]string{"name": s.c.User, "password": s.c.Password, "group": "full", "address": "", "disabled": "false", "expired": "false"})
	users.secret = "password"
	if s.c.ReadUser != "" {
		users.rows = append(users.rows, &row{id: s.id(), props: map[string]string{"name": s.c.ReadUser, "password": s.c.Password, "group": "read", "address": "", "disabled": "false", "expired": "false"}})
	}
	stored("user/group", false,
		map[string]string{"name": "full", "policy": "local,telnet,ssh,ftp,reboot,read,write,policy,test,winbox,password,web,sniff,sensitive,api,romon,rest-api"},
		map[string]string{"name": "read", "policy": "local,telnet,ssh,reboot,read,test,winbox,password,web,sniff,api,romon,rest-api,!ftp,!write,!policy,!sensitive"})
	port := s.api.Addr().String()[strings.LastIndex(s.api.Addr().String(), ":")+1:]
	stored("ip/service", false, map[string]string{"name": "api", "port": port, "proto": "tcp", "address": "", "disabled": "false", "dynamic": "false", "invalid": "false", "max-sessions": "20", "vrf": "main"})
	stored("queue/simple", false)
	stored("log", false)
	s.menus["queue/simple"].list = s.listQueues
	computed("system/resource", s.resource, nil)
	s.menus["system/resource"].single = true
	computed("system/clock", s.clock, nil)
	s.menus["system/clock"].single = true
	computed("ip/hotspot/host", s.listHosts, s.removeHost)
	computed("ip/hotspot/active", s.listActive, s.removeActive)
	computed("ip/hotspot/cookie", s.listCookies, s.removeCookie)
	computed("ip/firewall/connection", s.listConnections, s.removeConnection)
	computed("user/active", func() []view { return nil }, nil)
}

func firstWord(s string) string { w, _, _ := strings.Cut(s, " "); return w }

// print returns the rows of a menu as they read now.
func (m *menu) print() []view {
	if m.list != nil {
		return m.list()
	}
	return m.stored()
}

func (m *menu) stored() []view {
	out := make([]view, 0, len(m.rows))
	for _, r := range m.rows {
		v := make(view, len(r.props)+3)
		for k, val := range r.props {
			v[k] = val
		}
		if !m.single {
			v[".id"] = formatID(r.id)
		}
		if !r.until.IsZero() {
			v["timeout"] = formatDuration(max(time.Until(r.until), 0).Truncate(time.Second))
			v["dynamic"] = "true"
		}
		out = append(out, v)
	}
	return out
}

// find returns the stored row of an id or a name.
func (m *menu) find(id string) *row {
	n, isID := parseID(id)
	for _, r := range m.rows {
		if isID && r.id == n || !isID && id != "" && r.props["name"] == id {
			return r
		}
	}
	return nil
}

// check refuses arguments the command does not know.
func (m *menu) check(command string, args map[string]string) error {
	known, ok := m.args[command]
	if !ok {
		return trapf(-1, "no such command")
	}
	for k := range args {
		if k != ".id" && !slices.Contains(known, k) {
			return trapf(0, "unknown parameter %s", k)
		}
	}
	return nil
}

// add is the add command of a stored menu.
func (s *Sim) add(m *menu, args map[string]string) (string, error) {
	if err := m.check("add", args); err != nil {
		return "", err
	}
	r := &row{id: s.id(), props: map[string]string{}}
	for k, v := range args {
		r.props[k] = normal(k, v)
	}
	delete(r.props, "copy-from")
	delete(r.props, "place-before")
	switch m.path {
	case "ip/firewall/address-list", "ipv6/firewall/address-list":
		if err := s.listEntry(m, r); err != nil {
			return "", err
		}
	case "ip/hotspot/user":
		if r.get("name") == "" {
			return "", trapf(0, "missing =name=")
		}
		for _, other := range m.rows {
			if other.get("name") == r.get("name") {
				return "", trapf(4, "failure: already have user with this name for this server")
			}
		}
	case "user":
		for _, other := range m.rows {
			if other.get("name") == r.get("name") {
				return "", trapf(4, "failure: user with the same name already exists")
			}
		}
	case "ip/hotspot", "ip/hotspot/profile", "ip/hotspot/user/profile":
		for _, other := range m.rows {
			if other.get("name") == r.get("name") {
				return "", trapf(4, "failure: server with such name already exists")
			}
		}
	}
	at := len(m.rows)
	if before := args["place-before"]; before != "" {
		other := m.find(before)
		if other == nil {
			return "", trapf(0, "no such item")
		}
		at = slices.Index(m.rows, other)
	}
	m.rows = slices.Insert(m.rows, at, r)
	return formatID(r.id), nil
}

// normal writes booleans as a read shows them.
func normal(key, v string) string {
	if key == "use-radius" || key == "require-message-auth" {
		return v // enums with a "no" among them
	}
	switch v {
	case "yes":
		return "true"
	case "no":
		return "false"
	}
	return v
}

// listEntry completes an address-list row and refuses a duplicate.
func (s *Sim) listEntry(m *menu, r *row) error {
	if r.get("list") == "" {
		return trapf(0, "missing =list=")
	}
	if r.get("address") == "" {
		return trapf(0, "missing =address=")
	}
	if err := s.listAddress(m, r); err != nil {
		return err
	}
	r.props["creation-time"] = time.Now().UTC().Format(time.DateTime)
	if r.props["disabled"] == "" {
		r.props["disabled"] = "false"
	}
	r.dynamic = r.props["dynamic"] == "true" // lasts until reboot
	r.props["dynamic"] = strconv.FormatBool(r.dynamic)
	return s.timeout(r)
}

// listAddress writes an entry's address as RouterOS does and refuses a second
// entry of the same list and address.
func (s *Sim) listAddress(m *menu, r *row) error {
	p, err := netip.ParsePrefix(r.get("address"))
	if a, aerr := netip.ParseAddr(r.get("address")); aerr == nil {
		p, err = netip.PrefixFrom(a, a.BitLen()), nil
	}
	if err == nil { // a DNS name is allowed as well, and stays as it is
		p = p.Masked()
		r.props["address"] = p.String()
		if p.IsSingleIP() && p.Addr().Is4() {
			r.props["address"] = p.Addr().String()
		}
	}
	for _, other := range m.rows {
		if other.id != r.id && other.get("list") == r.get("list") && other.get("address") == r.get("address") && other.get("disabled") != "true" {
			return trapf(4, "failure: already have such entry")
		}
	}
	return nil
}

// timeout turns the argument into an end.
func (s *Sim) timeout(r *row) error {
	text, ok := r.props["timeout"]
	if !ok {
		return nil
	}
	delete(r.props, "timeout")
	d, err := parseDuration(text)
	if err != nil {
		return trapf(1, "invalid value for argument timeout")
	}
	if d > 35*7*24*time.Hour+3*24*time.Hour+13*time.Hour+13*time.Minute+56*time.Second {
		return trapf(1, "value of timeout is out of range (00:00:00 .. 35w3d13:13:56)")
	}
	r.until, r.dynamic = time.Time{}, d > 0
	if d > 0 {
		r.until = time.Now().Add(d)
	}
	return nil
}

// set is the set command of a stored menu.
func (s *Sim) set(m *menu, args map[string]string) error {
	if err := m.check("set", args); err != nil {
		return err
	}
	var targets []*row
	if m.single {
		targets = m.rows
	} else {
		id := args[".id"]
		if id == "" {
			id = args["numbers"]
		}
		if id == "" {
			return trapf(0, "missing =.id=")
		}
		for _, one := range strings.Split(id, ",") {
			r, err := m.own(one)
			if err != nil {
				return err
			}
			targets = append(targets, r)
		}
	}
	for _, r := range targets {
		if err := s.update(m, r, args); err != nil {
			return err
		}
	}
	return nil
}

// update sets one row, or leaves it as it was.
func (s *Sim) update(m *menu, r *row, args map[string]string) error {
	next := *r
	next.props = maps.Clone(r.props)
	for k, v := range args {
		if k != ".id" && k != "numbers" {
			next.props[k] = normal(k, v)
		}
	}
	if strings.HasSuffix(m.path, "firewall/address-list") {
		if err := s.listAddress(m, &next); err != nil {
			return err
		}
		if err := s.timeout(&next); err != nil {
			return err
		}
	}
	*r = next
	return nil
}

// own finds a row that a client may change.
func (m *menu) own(id string) (*row, error) {
	r := m.find(id)
	if r == nil && m.list != nil {
		for _, v := range m.list() {
			if v[".id"] == id {
				return nil, errDynamic
			}
		}
	}
	if r == nil {
		return nil, trapf(0, "no such item")
	}
	if r.served {
		return nil, errDynamic
	}
	return r, nil
}

// errDynamic refuses a change of what the router made itself; the words are ours.
var errDynamic = trapf(4, "failure: cannot change a dynamic item")

// removeRow is the remove command.
func (s *Sim) removeRow(m *menu, id string) error {
	if id == "" {
		return trapf(0, "missing =.id=")
	}
	for _, one := range strings.Split(id, ",") {
		if m.remove != nil {
			n, ok := parseID(one)
			if !ok {
				return trapf(0, "no such item")
			}
			if err := m.remove(n); err != nil {
				return err
			}
			continue
		}
		r, err := m.own(one)
		if err != nil {
			return err
		}
		if m.single || m.args["add"] == nil {
			return trapf(0, "no such item")
		}
		m.rows = slices.DeleteFunc(m.rows, func(other *row) bool { return other == r })
	}
	return nil
}

// expireLists drops timed entries that are over.
func (s *Sim) expireLists(now time.Time) {
	for _, path := range []string{"ip/firewall/address-list", "ipv6/firewall/address-list"} {
		m := s.menus[path]
		m.rows = slices.DeleteFunc(m.rows, func(r *row) bool { return !r.until.IsZero() && now.After(r.until) })
	}
}

func (s *Sim) resource() []view {
	return []view{{"uptime": formatDuration(time.Since(s.booted).Truncate(time.Second)), "version": s.c.Version, "build-time": "2026-06-01 10:00:00",
		"free-memory": "734003200", "total-memory": "1073741824", "cpu": "ARM64", "cpu-count": "4", "cpu-frequency": "864", "cpu-load": "3",
		"free-hdd-space": "98566144", "total-hdd-space": "134217728", "architecture-name": "arm64", "board-name": "hAP ax2", "platform": "MikroTik"}}
}

func (s *Sim) clock() []view {
	now := time.Now().UTC()
	return []view{{"time": now.Format(time.TimeOnly), "date": now.Format(time.DateOnly), "time-zone-name": "UTC", "time-zone-autodetect": "false", "gmt-offset": "+00:00", "dst-active": "false"}}
}

// formatDuration writes 1w2d3h4m5s, zero as 0s, below a second as 300ms.
func formatDuration(d time.Duration) string {
	if d <= 0 {
		return "0s"
	}
	var b strings.Builder
	for _, u := range []struct {
		unit time.Duration
		name string
	}{{7 * 24 * time.Hour, "w"}, {24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}, {time.Millisecond, "ms"}} {
		if n := d / u.unit; n > 0 {
			fmt.Fprintf(&b, "%d%s", n, u.name)
			d -= n * u.unit
		}
	}
	return b.String()
}

// parseDuration reads what formatDuration writes, and bare seconds.
func parseDuration(s string) (time.Duration, error) {
	if n, err := strconv.ParseUint(s, 10, 31); err == nil {
		return time.Duration(n) * time.Second, nil
	}
	if s == "none" || s == "" {
		return 0, nil
	}
	units := map[string]time.Duration{"w": 7 * 24 * time.Hour, "d": 24 * time.Hour, "h": time.Hour, "m": time.Minute, "s": time.Second, "ms": time.Millisecond}
	var d time.Duration
	for s != "" {
		i := 0
		for i < len(s) && s[i] >= '0' && s[i] <= '9' {
			i++
		}
		j := i
		for j < len(s) && (s[j] < '0' || s[j] > '9') {
			j++
		}
		n, err := strconv.ParseUint(s[:i], 10, 31)
		unit, ok := units[s[i:j]]
		if err != nil || !ok {
			return 0, fmt.Errorf("%q is not a duration", s)
		}
		d += time.Duration(n) * unit
		s = s[j:]
	}
	return d, nil
}

// atLeast compares a version such as "7.23.7 (long-term)".
func atLeast(version string, major, minor int) bool {
	var a, b int
	if _, err := fmt.Sscanf(version, "%d.%d", &a, &b); err != nil {
		return false
	}
	return a > major || a == major && b >= minor
}

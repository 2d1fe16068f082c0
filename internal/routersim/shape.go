package routersim

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// shape is what RouterOS gives a new row by itself, and what it takes: defaults,
// enumerations and ranges of the command trees (facts.md data files).
type shape struct {
	fresh  map[string]string // keys a row has though nobody gave them
	needs  []string          // arguments without which add is refused
	values map[string]string // argument: what it takes, see value
	once   []string          // keys that no two rows may share
	taken  string            // what a second such row is told
	// finish completes a row that was written, and may refuse it.
	finish func(m *menu, r *row) error
	// leave may refuse a removal.
	leave func(r *row) error
	// done is told of a row that was written, with its properties of before; nil: added.
	done func(m *menu, r *row, was map[string]string)
	// gone is told of a row that was removed.
	gone func(m *menu, r *row)
	// hidden takes out what a read does not show.
	hidden func(v view)
}

const (
	yesNo    = "<bool>"
	anyTime  = "none <time>"
	port     = "<1..65535>"
	nameUsed = "item with such name already exists"
)

// keys makes a map of "key=value" words.
func keys(words string) map[string]string {
	out := map[string]string{}
	for _, w := range strings.Fields(words) {
		k, v, _ := strings.Cut(w, "=")
		out[k] = v
	}
	return out
}

const (
	filterActions = "accept add-dst-to-address-list add-src-to-address-list drop fasttrack-connection jump log passthrough reject return tarpit"
	rawActions    = "accept add-dst-to-address-list add-src-to-address-list drop jump log notrack passthrough return"
	mangleActions = "accept add-dst-to-address-list add-src-to-address-list change-dscp change-mss change-ttl clear-df fasttrack-connection jump log mark-connection mark-packet mark-routing passthrough return route set-priority sniff-pc sniff-tzsp strip-ipv4-options"
	natActions    = "accept add-dst-to-address-list add-src-to-address-list dst-nat endpoint-independent-nat jump log masquerade netmap passthrough redirect return same socksify src-nat"
)

// rule is a row of a firewall table: disabled, log and log-prefix are there only
// if they were ever written.
func rule(actions string) shape {
	return shape{fresh: keys("action=accept bytes=0 packets=0 dynamic=false invalid=false"), needs: []string{"chain"}, finish: finishRule,
		values: map[string]string{"action": actions, "disabled": yesNo, "log": yesNo, "in-interface": ruleLink, "out-interface": ruleLink, "in-bridge-port": ruleLink,
			"out-bridge-port": ruleLink, "in-interface-list": ruleList, "out-interface-list": ruleList, "src-address": "<ip>", "dst-address": "<ip>",
			"src-port": "not <ports>", "dst-port": "not <ports>", "port": "not <ports>", "connection-state": "not list invalid established related new untracked",
			"connection-nat-state": "not list srcnat dstnat ein-snat ein-dnat", "hotspot": "list not auth from-client http local-dst to-client",
			"src-mac-address": "not <mac>", "dst-address-type": "not unicast local broadcast multicast blackhole", "src-address-type": "not unicast local broadcast multicast blackhole",
			"address-list-timeout": "none-dynamic none-static <0s..35w3d13h13m56s>"}}
}

const (
	ruleLink = "not all-ethernet all-ppp all-vlan all-wireless <@interface>"
	ruleList = "not <@interface/list>"
)

// finishRule refuses what no packet of the chain could match. The words of the
// refusals are not in facts.md.
func finishRule(_ *menu, r *row) error {
	proto := strings.TrimPrefix(r.get("protocol"), "!")
	if r.get("dst-port")+r.get("src-port")+r.get("port") != "" && !slices.Contains([]string{"tcp", "udp", "udp-lite", "dccp", "sctp", "6", "17"}, proto) {
		return trapf(4, "failure: ports can be specified if proto is tcp or udp")
	}
	if chain := r.get("chain"); (chain == "output" || chain == "postrouting" || chain == "srcnat") && r.get("in-interface")+r.get("in-interface-list") != "" {
		return trapf(4, "failure: incoming interface matching not possible in output and postrouting chains")
	} else if (chain == "input" || chain == "prerouting" || chain == "dstnat") && r.get("out-interface")+r.get("out-interface-list") != "" {
		return trapf(4, "failure: outgoing interface matching not possible in input and prerouting chains")
	}
	if r.get("action") == "jump" && r.get("jump-target") == "" {
		return trapf(4, "failure: jump target must be specified")
	}
	return nil
}

func (s *Sim) shapes() map[string]shape {
	list := shape{fresh: keys("disabled=false dynamic=false"), needs: []string{"list", "address"}, finish: s.finishEntry,
		values: map[string]string{"disabled": yesNo, "dynamic": yesNo, "timeout": "<0s..35w3d13h13m56s>"}}
	out := map[string]shape{
		"ip/hotspot": {needs: []string{"interface"}, finish: s.finishHotSpot, once: []string{"name"}, taken: "server with such name already exists",
			fresh: keys("address-pool=none addresses-per-mac=2 disabled=false HTTPS=false invalid=false idle-timeout=5m keepalive-timeout=none login-timeout=none profile=default proxy-status=running"),
			values: map[string]string{"disabled": yesNo, "profile": "<@ip/hotspot/profile>", "interface": someLink, "address-pool": "none <@ip/pool>", "idle-timeout": anyTime,
				"keepalive-timeout": anyTime, "login-timeout": anyTime, "addresses-per-mac": "unlimited <1..65535>"}},
		"ip/hotspot/profile": {once: []string{"name"}, taken: nameUsed, hidden: hideRADIUS,
			fresh: keys("dns-name= hotspot-address=0.0.0.0 html-directory=hotspot html-directory-override= http-cookie-lifetime=3d http-proxy=0.0.0.0:0 install-hotspot-queue=false login-by=cookie,http-chap nas-port-type=wireless-802.11 radius-accounting=true radius-default-domain= radius-interim-update=received radius-location-id= radius-location-name= radius-mac-format=XX:XX:XX:XX:XX:XX rate-limit= smtp-server=0.0.0.0 split-user-domain=false use-radius=no"),
			values: map[string]string{"use-radius": "no yes", "radius-accounting": yesNo, "split-user-domain": yesNo, "install-hotspot-queue": yesNo,
				"login-by": "list mac cookie http-chap https http-pap trial mac-cookie", "nas-port-type": "cable ethernet wireless-802.11",
				"mac-auth-mode": "mac-as-username mac-as-username-and-password", "radius-interim-update": "received <time>",
				"http-cookie-lifetime": "<time>", "trial-uptime-limit": "<time>", "trial-uptime-reset": "<time>"}},
		"ip/hotspot/user": {needs: []string{"name"}, once: []string{"name", "server"}, taken: "already have user with this name for this server",
			fresh: keys("profile=default uptime=0s bytes-in=0 bytes-out=0 packets-in=0 packets-out=0 dynamic=false disabled=false"),
			values: map[string]string{"disabled": yesNo, "profile": "<@ip/hotspot/user/profile>", "mac-address": "<mac>", "limit-uptime": "<time>",
				"address": "<ip>", "server": "all <@ip/hotspot>"}},
		"ip/hotspot/user/profile": {needs: []string{"name"}, once: []string{"name"}, taken: nameUsed,
			fresh: keys("idle-timeout=none keepalive-timeout=2m status-autorefresh=1m shared-users=1 add-mac-cookie=true mac-cookie-timeout=3d address-list= transparent-proxy=false"),
			values: map[string]string{"shared-users": "unlimited <1..4294967295>", "add-mac-cookie": yesNo, "transparent-proxy": yesNo, "idle-timeout": anyTime,
				"keepalive-timeout": anyTime, "session-timeout": "<time>", "mac-cookie-timeout": "<time>", "status-autorefresh": anyTime}},
		"ip/hotspot/ip-binding": {fresh: keys("disabled=false"),
			values: map[string]string{"disabled": yesNo, "type": "blocked bypassed regular", "mac-address": "<mac>", "address": "<ip>", "to-address": "<ip>",
				"server": "all <@ip/hotspot>"}},
		"ip/hotspot/walled-garden": {fresh: keys("action=allow disabled=false dynamic=false hits=0"),
			values: map[string]string{"disabled": yesNo, "action": "allow deny", "server": "<@ip/hotspot>"}},
		"ip/hotspot/walled-garden/ip": {fresh: keys("action=accept disabled=false invalid=false"),
			values: map[string]string{"disabled": yesNo, "action": "accept drop reject", "dst-address": "<ip>", "src-address": "<ip>", "server": "<@ip/hotspot>"}},
		"ip/firewall/address-list":   list,
		"ipv6/firewall/address-list": list,
		"ip/firewall/filter":         rule(filterActions),
		"ipv6/firewall/filter":       rule(filterActions),
		"ip/firewall/nat":            rule(natActions),
		"ip/firewall/raw":            rule(rawActions),
		"ip/firewall/mangle":         rule(mangleActions),
		"ipv6/firewall/raw":          rule(rawActions),
		"queue/simple": {needs: []string{"target"}, once: []string{"name"}, taken: nameUsed, finish: nameQueue,
			fresh:  keys("bucket-size=0.1/0.1 burst-limit=0/0 burst-threshold=0/0 burst-time=0s/0s bytes=0/0 disabled=false dropped=0/0 dynamic=false invalid=false limit-at=0/0 max-limit=0/0 packet-marks= packets=0/0 parent=none priority=8/8 queue=default-small/default-small rate=0/0"),
			values: map[string]string{"disabled": yesNo}},
		"radius": {fresh: keys("accounting-backup=false accounting-port=1813 address=0.0.0.0 authentication-port=1812 called-id= disabled=false domain= protocol=udp realm= require-message-auth=yes-for-request-resp secret= src-address=0.0.0.0 timeout=300ms"),
			values: map[string]string{"disabled": yesNo, "accounting-backup": yesNo, "service": "list ppp login hotspot wireless dhcp ipsec dot1x", "protocol": "radsec udp",
				"require-message-auth": "no yes-for-request-resp", "authentication-port": port, "accounting-port": port, "timeout": "<10ms..1m>", "src-address": "<ip>"}},
		"radius/incoming": {values: map[string]string{"accept": yesNo, "port": port}},
		"ip/settings": {values: map[string]string{"allow-fast-path": yesNo, "ip-forward": yesNo, "send-redirects": yesNo, "accept-redirects": yesNo, "secure-redirects": yesNo,
			"accept-source-route": yesNo, "tcp-syncookies": yesNo, "rp-filter": "loose no strict", "arp-timeout": "<time>"}},
		"ipv6/settings": {values: map[string]string{"disable-ipv6": yesNo, "forward": yesNo, "accept-redirects": "no yes-if-forwarding-disabled",
			"accept-router-advertisements": "no yes yes-if-forwarding-disabled", "allow-fast-path": yesNo, "disable-link-local-address": yesNo}},
		"system/identity": {finish: func(_ *menu, r *row) error {
			if len(r.get("name")) > 64 {
				return trapf(1, "value of name is too long")
			}
			return nil
		}},
		"user": {needs: []string{"name", "group"}, once: []string{"name"}, taken: "user with the same name already exists",
			fresh:  keys("address= disabled=false expired=false inactivity-policy=none inactivity-timeout=10m"),
			values: map[string]string{"disabled": yesNo, "group": "<@user/group>", "address": "list <ip>"}},
		"user/group":     {needs: []string{"name"}, once: []string{"name"}, taken: nameUsed, fresh: keys("policy= skin=default"), finish: finishPolicy, leave: s.leaveGroup},
		"system/logging": {fresh: keys("action=memory disabled=false invalid=false prefix= topics=info"), values: map[string]string{"disabled": yesNo, "action": "disk echo memory remote"}},
		"ip/service": {values: map[string]string{"disabled": yesNo, "port": port, "max-sessions": "<1..1000>", "address": "list <ip>", "available-from": "list <ip>",
			"certificate": "none <@certificate>", "tls-version": "any only-1.2"}},
	}
	maps.Copy(out, s.networkShapes())
	maps.Copy(out, s.systemShapes())
	return out
}

// hideRADIUS: radius-* is printed only where RADIUS is used (facts.md §3).
func hideRADIUS(v view) {
	if v["use-radius"] == "yes" {
		return
	}
	for k := range v {
		if strings.HasPrefix(k, "radius-") {
			delete(v, k)
		}
	}
}

func finishAddress(m *menu, r *row) error {
	r.props["actual-interface"] = r.get("interface")
	p, err := netip.ParsePrefix(r.get("address"))
	if err != nil {
		return trapf(1, "invalid value for argument address")
	}
	if p.Addr().Is4() != (m.path == "ip/address") {
		return trapf(1, "invalid value for argument address")
	}
	if p.Addr().Is4() {
		r.props["network"] = p.Masked().Addr().String()
	}
	return nil
}

func nameQueue(m *menu, r *row) error {
	for n := 1; r.get("name") == ""; n++ {
		if name := "queue" + itoa(n); m.find(name) == nil {
			r.props["name"] = name
		}
	}
	return nil
}

// policies are in the order in which they are printed.
var policies = strings.Fields("local telnet ssh ftp reboot read write policy test winbox password web sniff sensitive api romon rest-api")

// finishPolicy writes a group's policies as a read shows them: those it has,
// then those it lacks. Writing names changes only these (facts.md §7).
func finishPolicy(m *menu, r *row) error {
	has := map[string]bool{}
	old := m.find(formatID(r.id))
	texts := []string{r.get("policy")}
	if old != nil {
		texts = []string{old.get("policy"), r.get("policy")}
	}
	for _, text := range texts {
		for _, p := range strings.FieldsFunc(text, func(c rune) bool { return c == ',' }) {
			name, not := strings.CutPrefix(p, "!")
			if !slices.Contains(policies, name) {
				return trapf(1, "input does not match any value of policy")
			}
			has[name] = !not
		}
	}
	var with, without []string
	for _, p := range policies {
		if has[p] {
			with = append(with, p)
		} else {
			without = append(without, "!"+p)
		}
	}
	r.props["policy"] = strings.Join(append(with, without...), ",")
	return nil
}

// leaveGroup keeps a group that users are in.
func (s *Sim) leaveGroup(r *row) error {
	for _, u := range s.menus["user"].rows {
		if u.get("group") == r.get("name") {
			return trapf(4, "failure: group has some users")
		}
	}
	return nil
}

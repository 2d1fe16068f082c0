package router

import (
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/routeros"
)

// nas is one router with its connections and what is known of it.
type nas struct {
	Router
	command, watcher *link

	active   *table[active]
	hosts    *table[host]
	cookies  *table[cookie]
	flows    *table[connection] // only the ends of each: the table is long, and half as long so
	bindings *table[binding]
	queues   *table[queue]

	learned learnedForm

	silent atomic.Bool // the last Disconnect-Request was not answered
	roll   roll
	survey survey
	openTo openTo
	lists  *lister
	health report
	vitals monitor
}

func newNAS(r Router) *nas {
	n := &nas{Router: r, command: newLink(r.Dial), watcher: newLink(r.Dial), lists: newLister(r)}
	n.active = newTable("/ip/hotspot/active", ".id,user,domain,address,mac-address,uptime,session-time-left", parseActive)
	n.hosts = newTable("/ip/hotspot/host", ".id,mac-address,address,to-address,authorized,bypassed", parseHost)
	n.cookies = newTable("/ip/hotspot/cookie", ".id,user,domain,mac-address", parseCookie)
	n.flows = newTable("/ip/firewall/connection", ".id,src-address,dst-address", parseConnection)
	n.bindings = newTable("/ip/hotspot/ip-binding", ".id,mac-address,address,type,bypassed,disabled", parseBinding)
	n.queues = newTable("/queue/simple", "target,dynamic,max-limit,burst-limit", parseQueue)
	return n
}

// active is one row of /ip/hotspot/active.
type active struct {
	hotspot.ActiveEntry
	domain string
	left   time.Duration // session-time-left; 0 is no limit
}

// watchedProperties are those of a look at the list; a lock needs fewer.
const watchedProperties = ".id,server,user,domain,address,mac-address,login-by,uptime,bytes-in,bytes-out,radius"

func parseActive(r routeros.Row) active {
	uptime, _ := routeros.ParseDuration(r["uptime"]) // absent or odd: unknown, 0
	left, _ := routeros.ParseDuration(r["session-time-left"])
	return active{domain: r["domain"], left: left, ActiveEntry: hotspot.ActiveEntry{
		ID: r[".id"], Server: r["server"], User: r["user"], IP: address(r["address"]), MAC: mac(r["mac-address"]), LoginBy: r["login-by"],
		Uptime: uptime, Upload: octets(r["bytes-in"]), Download: octets(r["bytes-out"]), RADIUS: flag(r["radius"])}}
}

// host is one row of /ip/hotspot/host: a device the HotSpot sees. Connections
// may show it by either address.
type host struct {
	id                   string
	mac                  hotspot.MAC
	address, to          netip.Addr
	authorized, bypassed bool
}

func parseHost(r routeros.Row) host {
	return host{id: r[".id"], mac: mac(r["mac-address"]), address: address(r["address"]), to: address(r["to-address"]),
		authorized: flag(r["authorized"]), bypassed: flag(r["bypassed"])}
}

// cookie is one row of /ip/hotspot/cookie, of either kind.
type cookie struct {
	id, user, domain string
	mac              hotspot.MAC
}

func parseCookie(r routeros.Row) cookie {
	return cookie{id: r[".id"], user: r["user"], domain: r["domain"], mac: mac(r["mac-address"])}
}

// connectionProperties are those by which it is told where a connection leads.
const connectionProperties = ".id,protocol,src-address,dst-address,dst-port,reply-src-address"

// connection is one row of /ip/firewall/connection.
type connection struct {
	id, protocol string
	src, dst     netip.Addr
	port         string     // destination's; "" if none
	answers      netip.Addr // who answers, after dstnat (reply-src-address): the router itself when it redirects
}

func parseConnection(r routeros.Row) connection {
	src, _ := endpoint(r["src-address"])
	dst, port := endpoint(r["dst-address"])
	if port == "" {
		port = r["dst-port"]
	}
	answers, _ := endpoint(r["reply-src-address"])
	if !answers.IsValid() {
		answers = dst
	}
	return connection{id: r[".id"], protocol: r["protocol"], src: src, dst: dst, port: port, answers: answers}
}

// binding is one row of /ip/hotspot/ip-binding that lets somebody through.
type binding struct {
	mac  hotspot.MAC
	at   span // of addresses; the zero value is none given
	open bool // type=bypassed, and in force
}

// byAddress reports whether a binding that names no device holds for one of the
// addresses.
func (b binding) byAddress(addresses map[netip.Addr]bool) bool {
	if !b.mac.IsZero() || !b.at.from.IsValid() {
		return false
	}
	for a := range addresses {
		if b.at.contains(a) {
			return true
		}
	}
	return false
}

func parseBinding(r routeros.Row) binding {
	at, _ := parseSpan(r["address"]) // absent or odd: none
	return binding{mac: mac(r["mac-address"]), at: at,
		open: (r["type"] == "bypassed" || flag(r["bypassed"])) && !flag(r["disabled"])}
}

func mac(s string) hotspot.MAC {
	m, _ := hotspot.ParseMAC(s) // absent or odd: not known
	return m
}

func flag(s string) bool {
	b, _ := routeros.ParseBool(s) // absent or odd: not set
	return b
}

func octets(s string) hotspot.Octets {
	n, _ := strconv.ParseUint(s, 10, 63) // absent or odd: 0
	return hotspot.Octets(n)
}

func address(s string) netip.Addr {
	a, _ := endpoint(s)
	return a
}

// endpoint reads an address with or without ":port": both forms are seen
// (facts.md §11).
func endpoint(s string) (netip.Addr, string) {
	if i := strings.IndexByte(s, ':'); i > 0 && strings.IndexByte(s, '.') < i { // IPv4 with a port, which a connection table has by the thousand
		if a, err := netip.ParseAddr(s[:i]); err == nil {
			return a.Unmap(), s[i+1:]
		}
	}
	if a, err := netip.ParseAddr(s); err == nil {
		return a.Unmap(), ""
	}
	if i := strings.LastIndexByte(s, ':'); i >= 0 {
		if a, err := netip.ParseAddr(strings.Trim(s[:i], "[]")); err == nil {
			return a.Unmap(), s[i+1:]
		}
	}
	return netip.Addr{}, ""
}

package routersim

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

func (s *Sim) listHosts() []view {
	out := make([]view, 0, len(s.hosts))
	server := s.server().get("name")
	for _, h := range s.sortedHosts() {
		v := view{".id": formatID(h.id), "mac-address": h.mac, "address": h.ip.String(), "to-address": h.ip.String(), "server": server,
			"uptime": formatDuration(time.Since(h.since).Truncate(time.Second)), "idle-time": formatDuration(time.Since(h.heard).Truncate(time.Second)), "keepalive-timeout": "2m", "host-dead-time": "0s",
			"bridge-port": "wifi1", "found-by": "UDP :68 -> :67", "bytes-in": "0", "bytes-out": "0", "packets-in": "0", "packets-out": "0",
			"authorized": "false", "bypassed": "false", "static": "false", "dynamic": "true", "DHCP": "true"}
		if h.session != nil {
			v["authorized"] = "true"
			v["bytes-in"], v["bytes-out"] = utoa(h.session.upload), utoa(h.session.download)
		}
		for _, b := range s.menus["ip/hotspot/ip-binding"].rows {
			if b.get("type") == "bypassed" && b.get("disabled") != "true" && (b.get("mac-address") == h.mac || b.get("address") == h.ip.String()) {
				v["bypassed"] = "true"
			}
		}
		out = append(out, v)
	}
	return out
}

// removeHost makes the HotSpot meet the device anew.
func (s *Sim) removeHost(id int) error {
	for _, h := range s.hosts {
		if h.id == id {
			s.endSession(h, causeAdminReset)
			h.id = s.id()
			h.since = time.Now()
			if h.busy == nil && !s.knobs.Still {
				h.begin(true)
				if !s.run(func() { defer s.finish(h); s.byItself(h) }) {
					h.end()
				}
			}
			return nil
		}
	}
	return errNoItem
}

func (s *Sim) listActive() []view {
	out := make([]view, 0, len(s.hosts))
	server := s.server().get("name")
	for _, h := range s.sortedHosts() {
		x := h.session
		if x == nil {
			continue
		}
		v := view{".id": formatID(x.id), "server": server, "user": x.user, "address": h.ip.String(), "mac-address": h.mac, "login-by": x.loginBy,
			"uptime": formatDuration(time.Since(x.started).Truncate(time.Second)), "idle-time": formatDuration(time.Since(x.lastUse).Truncate(time.Second)),
			"keepalive-timeout": "2m", "bytes-in": utoa(x.upload), "bytes-out": utoa(x.download), "packets-in": utoa(x.upload / 900), "packets-out": utoa(x.download / 1200),
			"radius": strconv.FormatBool(!x.local), "blocked": "false"}
		if x.timeout > 0 {
			v["session-time-left"] = formatDuration((x.timeout - time.Since(x.started)).Truncate(time.Second))
		}
		if x.idle > 0 {
			v["idle-timeout"] = formatDuration(x.idle)
		}
		for key, limit := range map[string]uint64{"limit-bytes-in": x.recvLimit, "limit-bytes-out": x.xmitLimit, "limit-bytes-total": x.totalLimit} {
			if limit > 0 {
				v[key] = utoa(limit)
			}
		}
		out = append(out, v)
	}
	return out
}

func (s *Sim) removeActive(id int) error {
	for _, h := range s.hosts {
		if h.session != nil && h.session.id == id {
			if !s.knobs.RemoveIgnored {
				s.endSession(h, causeAdminReset)
			}
			return nil
		}
	}
	return errNoItem
}

func (s *Sim) listCookies() []view {
	var out []view
	now := time.Now()
	for _, k := range s.cookies {
		v := view{".id": formatID(k.id), "user": k.user, "mac-address": k.mac, "expires-in": formatDuration(k.expires.Sub(now).Truncate(time.Second)), "mac-cookie": strconv.FormatBool(k.byMAC)}
		out = append(out, v)
	}
	return out
}

func (s *Sim) removeCookie(id int) error {
	n := len(s.cookies)
	s.dropCookies(func(k *cookie) bool { return k.id == id })
	if len(s.cookies) == n {
		return errNoItem
	}
	return nil
}

func (s *Sim) listConnections() []view {
	out := make([]view, 0, len(s.conns))
	s.forgetGone()
	for _, c := range s.tracked {
		if c.shown == nil { // a table of thousands is read for every lock, and a row never changes
			c.shown = c.view()
		}
		out = append(out, c.shown)
	}
	return out
}

func (c *conn) view() view {
	src, dst := c.src.String(), c.dst.String()
	v := view{".id": formatID(c.id), "protocol": c.proto, "src-address": src, "dst-address": dst,
		"reply-src-address": dst, "reply-dst-address": src, "timeout": "23h59m", "assured": "true", "confirmed": "true", "seen-reply": "true"}
	if c.fast {
		v["fasttrack"] = "true"
	}
	return v
}

func (s *Sim) removeConnection(id int) error {
	c := s.conns[id]
	if c == nil {
		return errNoItem
	}
	delete(s.conns, id)
	if h := s.hosts[c.mac]; h != nil && h.session == nil && s.knobs.Leaky {
		s.connect(h, internet(s.rng), "tcp") // an app notices at once
	}
	return nil
}

// listQueues puts the HotSpot's own dynamic queues before the stored ones.
func (s *Sim) listQueues() []view {
	var out []view
	for i, server := range s.menus["ip/hotspot"].rows {
		if !server.is("disabled") {
			out = append(out, view{".id": formatID(0x80000001 + i), "name": fmt.Sprintf("hs-<%s>", server.get("name")), "target": server.get("interface"), "max-limit": "0/0", "dynamic": "true", "disabled": "false", "invalid": "false"})
		}
	}
	for _, h := range s.sortedHosts() {
		if x := h.session; x != nil && x.rate != "" && x.rate != "0/0" {
			limits := queueLimits(x.rate)
			out = append(out, view{".id": formatID(0x80010000 + x.id), "name": fmt.Sprintf("<hotspot-%s>", x.user), "target": h.ip.String() + "/32",
				"max-limit": limits[0], "burst-limit": limits[1], "burst-threshold": limits[2], "burst-time": limits[3], "rate": x.rates(time.Now()), "bytes": utoa(x.upload) + "/" + utoa(x.download), "dynamic": "true", "disabled": "false", "invalid": "false"})
		}
	}
	return append(out, s.menus["queue/simple"].stored()...)
}

// flowFades is how long after its last use a guest's queue still shows a rate.
const flowFades = 10 * time.Second

// flow notes a use: its rate is over the time since the one before, a second at
// least.
func (x *session) flow(upload, download uint64, now time.Time) {
	over := max(now.Sub(x.lastUse), time.Second).Seconds()
	x.rateUp, x.rateDown = uint64(float64(8*upload)/over), uint64(float64(8*download)/over)
	x.lastUse = now
}

// rates is what a queue shows as its rate, in bits a second, upload first.
func (x *session) rates(now time.Time) string {
	if now.Sub(x.lastUse) > flowFades {
		return "0/0"
	}
	return utoa(x.rateUp) + "/" + utoa(x.rateDown)
}

// queueLimits turns a Mikrotik-Rate-Limit into max-limit, burst-limit,
// burst-threshold and burst-time as the API shows them: plain numbers, upload
// first (facts.md §3, §8).
func queueLimits(rate string) (out [4]string) {
	out = [4]string{"0/0", "0/0", "0/0", "0s/0s"}
	for i, part := range strings.Fields(rate) {
		if i == len(out) {
			break
		}
		up, down, both := strings.Cut(part, "/")
		if !both {
			down = up
		}
		if i == 3 {
			out[i] = up + "s/" + down + "s"
			continue
		}
		out[i] = plainRate(up) + "/" + plainRate(down)
	}
	return out
}

func plainRate(s string) string {
	zeroes := map[byte]string{'k': "000", 'M': "000000", 'G': "000000000"}
	if n := len(s); n > 0 && zeroes[s[n-1]] != "" {
		return s[:n-1] + zeroes[s[n-1]]
	}
	return s
}

func utoa(n uint64) string { return strconv.FormatUint(n, 10) }
func itoa(n int) string    { return strconv.Itoa(n) }

package router

import (
	"net/netip"

	"iwas/internal/hotspot"
)

// who recognises an account in a router's tables.
type who struct {
	whole    bool
	device   bool // whatever is on with macs is meant, whoever's name it bears
	names    map[string]bool
	codes    map[string]bool      // of a voucher, as hotspot.LoginKey spells them
	macNames map[hotspot.MAC]bool // names that are a MAC: RouterOS spells them in seven ways
	macs     map[hotspot.MAC]bool
	sessions []hotspot.Session // of this NAS
}

func newWho(t hotspot.Target, nas hotspot.NASID) who {
	w := who{whole: t.Whole, device: t.Device, names: map[string]bool{}, codes: map[string]bool{}, macNames: map[hotspot.MAC]bool{}, macs: map[hotspot.MAC]bool{}}
	name := func(s string) {
		if s == "" {
			return
		}
		w.names[s] = true
		if t.Voucher {
			w.codes[hotspot.LoginKey(hotspot.Voucher, s)] = true
		}
		if m, ok := hotspot.ParseMAC(s); ok {
			w.macNames[m] = true
		}
	}
	for _, u := range t.Usernames {
		name(u)
	}
	for _, s := range t.Sessions {
		if !t.Device { // another account's, which may be on elsewhere
			name(s.Username)
		}
		if s.NAS == nas {
			w.sessions = append(w.sessions, s)
		}
		if t.Whole && !s.MAC.IsZero() {
			w.macs[s.MAC] = true
		}
	}
	if t.Whole {
		for _, m := range t.MACs {
			w.macs[m] = true
		}
	}
	for _, s := range w.sessions {
		if !s.MAC.IsZero() {
			w.macs[s.MAC] = true
		}
	}
	return w
}

// named reports whether a user of the router's tables is the account. Names
// are compared byte for byte, as RADIUS does: "anna" is not "Anna". Of a voucher
// it takes any spelling, and so does this.
func (w who) named(user, domain string) bool {
	if w.names[user] || domain != "" && (w.names[user+"@"+domain] || w.names[domain+`\`+user]) {
		return true
	}
	if len(w.codes) > 0 && w.codes[hotspot.LoginKey(hotspot.Voucher, user)] {
		return true
	}
	m, ok := hotspot.ParseMAC(user)
	return ok && w.macNames[m]
}

// entry reports whether an active entry must go. An entry of one of the
// account's devices under another name is another account's: it stays, unless it
// is the device that must be off.
func (w who) entry(e active) bool {
	if w.device && w.macs[e.MAC] {
		return true
	}
	if !w.named(e.User, e.domain) {
		return false
	}
	return w.whole || w.session(e.MAC, e.IP)
}

// session reports whether a device at an address is one of the sessions.
func (w who) session(m hotspot.MAC, ip netip.Addr) bool {
	for _, s := range w.sessions {
		if s.MAC == m && !m.IsZero() || s.MAC.IsZero() && s.IP == ip && ip.IsValid() {
			return true
		}
	}
	return false
}

// cookie reports whether a cookie must go: it would let the phone slip back in.
func (w who) cookie(c cookie) bool {
	if w.whole {
		return w.named(c.user, c.domain) || w.macs[c.mac]
	}
	return w.named(c.user, c.domain) && w.macs[c.mac]
}

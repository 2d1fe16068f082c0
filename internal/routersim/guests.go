package routersim

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"
)

const (
	rowsPerHost = 200              // connections of one device; the oldest give way
	portalLife  = 10 * time.Second // of a row to the router itself
)

// conn is one row of /ip/firewall/connection.
type conn struct {
	id       int
	mac      string
	src, dst netip.AddrPort
	proto    string
	since    time.Time
	fast     bool // fasttracked: it goes on whatever becomes of its guest's session
	shown    view // as listed; nil until it first is
}

// Login is how a guest logs in.
type Login struct {
	Method   string `json:"method"` // http-chap, http-pap, mac, cookie, trial
	Username string `json:"username"`
	Password string `json:"password"`
}

// Guest is what a guest experiences.
type Guest struct {
	MAC         string `json:"mac"`
	IP          string `json:"ip"`
	Online      bool   `json:"online"` // logged in at the HotSpot
	User        string `json:"user,omitempty"`
	LoginBy     string `json:"login_by,omitempty"`
	AcctID      string `json:"acct_session_id,omitempty"`
	Error       string `json:"error,omitempty"` // what the login page says
	Upload      uint64 `json:"upload"`
	Download    uint64 `json:"download"`
	Cookies     int    `json:"cookies"`
	Connections int    `json:"connections"` // leaving the router outside the walled garden
	Fasttracked int    `json:"fasttracked"` // of these, past all rules: they go on after a logout
	UptimeMS    int64  `json:"uptime_ms"`
	TimeLeftMS  int64  `json:"time_left_ms,omitempty"`
	Rate        string `json:"rate,omitempty"`
	Denied      int    `json:"denied"`
}

// ErrNoDevice says that no device of that MAC is on the network.
var ErrNoDevice = errors.New("no such device on the network")

// errBadMAC says that a text is no MAC.
var errBadMAC = errors.New("not a MAC address")

// canonical writes a MAC in capitals with colons; "" for what is none.
func canonical(mac string) string {
	m, err := net.ParseMAC(mac)
	if err != nil || len(m) != 6 {
		return ""
	}
	return strings.ToUpper(m.String())
}

// host returns the device of a MAC in any spelling. The caller holds the lock.
func (s *Sim) host(mac string) (*host, error) {
	if h := s.hosts[canonical(mac)]; h != nil {
		return h, nil
	}
	return nil, fmt.Errorf("%s: %w", mac, ErrNoDevice)
}

// Arrive brings a device to the network: its MAC cookie or its MAC logs it in by
// itself where the HotSpot allows. ip "" takes a free one.
func (s *Sim) Arrive(mac, ip string) (Guest, error) {
	if mac = canonical(mac); mac == "" {
		return Guest{}, errBadMAC
	}
	s.mu.Lock()
	if s.dark {
		s.mu.Unlock()
		return Guest{}, errors.New("the router is off")
	}
	h := s.hosts[mac]
	if h == nil {
		addr, err := s.address(mac, ip)
		if err != nil {
			s.mu.Unlock()
			return Guest{}, err
		}
		h = &host{id: s.id(), mac: mac, ip: addr, since: time.Now(), heard: time.Now()}
		s.hosts[mac] = h
		s.renew(h, h.since)
	}
	asks := h.session == nil && h.busy == nil
	if asks {
		h.begin(true)
	}
	s.mu.Unlock()
	if asks {
		s.byItself(h)
		s.finish(h)
	}
	return s.Guest(mac)
}

func (s *Sim) finish(h *host) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h.end()
}

func (s *Sim) address(mac, ip string) (netip.Addr, error) {
	used := map[netip.Addr]bool{s.gateway(): true}
	for _, h := range s.hosts {
		used[h.ip] = true
	}
	if ip != "" {
		a, err := netip.ParseAddr(ip)
		if err == nil && (!a.Is4() || used[a]) {
			err = fmt.Errorf("%s is in use or not IPv4", ip)
		}
		return a, err
	}
	if server := s.dhcpServer(s.guestLink()); server != nil {
		if a, ok := s.offer(server, mac); ok {
			return a, nil
		}
	} else if ranges := s.guestPool(); ranges == nil {
		return netip.Addr{}, errNoDHCP
	} else if a, ok := freeAddress(ranges, used); ok {
		return a, nil
	}
	return netip.Addr{}, errors.New("cannot assign ip address - no more free addresses from pool")
}

// Login submits the login page. The error is what the page then says. A try the
// phone has under way by itself is waited for; a second submit of the page is not.
func (s *Sim) Login(mac string, l Login) error {
	s.mu.Lock()
	h, err := s.host(mac)
	for err == nil && h.busy != nil {
		if !h.auto {
			s.mu.Unlock()
			return errBusy
		}
		busy := h.busy
		s.mu.Unlock()
		<-busy // ends: a try is bounded by its timeouts
		s.mu.Lock()
		h, err = s.host(mac)
	}
	if err == nil {
		l, err = s.page(h, l)
	}
	if err != nil || h.session != nil {
		s.mu.Unlock()
		return err
	}
	keep := l
	h.wanted = &keep
	h.begin(false)
	s.mu.Unlock()
	defer s.finish(h)
	return s.authenticate(h, l)
}

// page is what the login page checks and fills in before RADIUS is asked.
func (s *Sim) page(h *host, l Login) (Login, error) {
	switch l.Method {
	case "http-chap", "http-pap", "mac", "cookie", "trial":
	default:
		return l, fmt.Errorf("configuration error (%s is not a login method)", l.Method)
	}
	if err := s.unserved(); err != nil {
		return l, fmt.Errorf("there is no login page: %w", err)
	}
	if link := s.guestLink(); !s.answers(link, h.ip, h.mac) {
		return l, fmt.Errorf("there is no login page: %s does not answer ARP of %s", link, h.ip)
	}
	if !s.loginBy(l.Method) {
		return l, fmt.Errorf("configuration error (%s is not in login-by)", l.Method)
	}
	switch l.Method {
	case "trial":
		l.Username, l.Password = "", ""
	case "cookie":
		i := slices.IndexFunc(s.cookies, func(k *cookie) bool { return k.mac == h.mac && !k.byMAC })
		if i < 0 {
			return l, errors.New("no cookie")
		}
		l.Username, l.Password = s.cookies[i].user, s.cookies[i].password
	case "mac":
		l.Username, l.Password = s.macLogin(h.mac)
	default:
		if canonical(l.Username) != "" && canonical(l.Username) != h.mac {
			return l, fmt.Errorf("invalid username (%s): this MAC address is not yours", l.Username)
		}
		if len(l.Username) > 253 || len(l.Password) > 128 {
			return l, errors.New("invalid username or password") // RFC 2865 §5.1, §5.2
		}
	}
	return l, nil
}

// phone is what a device does every second: while online it opens connections
// now and then; put off, it asks DNS and the portal, reaches into the walled
// garden, and tries to come back.
func (s *Sim) phone(h *host) {
	if h.session != nil {
		if s.rng.IntN(5) == 0 {
			s.connect(h, internet(s.rng), "tcp")
		}
		return
	}
	if s.knobs.Leaky {
		s.connect(h, internet(s.rng), "tcp")
	}
	s.connect(h, netip.AddrPortFrom(s.gateway(), 53), "udp")
	s.connect(h, netip.AddrPortFrom(s.gateway(), 64873), "tcp")
	if s.rng.IntN(3) == 0 {
		sites := s.sites()
		s.connect(h, netip.AddrPortFrom(sites[s.rng.IntN(len(sites))], 443), "tcp")
	}
	if h.wanted == nil || h.busy != nil || s.rng.IntN(3) != 0 {
		return
	}
	wanted := *h.wanted
	h.begin(true)
	if !s.run(func() { defer s.finish(h); s.retry(h, wanted) }) {
		h.end()
	}
}

// retry is a phone coming back: by MAC cookie or MAC, by the browser's cookie,
// or by typing once more.
func (s *Sim) retry(h *host, wanted Login) {
	s.byItself(h)
	s.mu.Lock()
	l, err := s.page(h, wanted)
	off := h.session == nil && s.hosts[h.mac] == h
	s.mu.Unlock()
	if err == nil && off && l.Method != "mac" {
		_ = s.authenticate(h, l) // what the page said is in the guest's view
	}
}

func internet(rng *rand.Rand) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(rng.IntN(250) + 1)}), 443)
}

// connect adds a row to the connection table.
func (s *Sim) connect(h *host, dst netip.AddrPort, proto string) {
	h.opened = slices.DeleteFunc(h.opened, func(id int) bool { return s.conns[id] == nil })
	for len(h.opened) >= rowsPerHost {
		delete(s.conns, h.opened[0])
		h.opened = h.opened[1:]
	}
	h.heard = time.Now()
	h.opened = append(h.opened, s.track(&conn{mac: h.mac, src: netip.AddrPortFrom(h.ip, uint16(20000+s.rng.IntN(40000))), dst: dst, proto: proto, fast: h.session != nil && s.fasttracked(h, dst, proto)}))
}

// track gives a connection its place in the table.
func (s *Sim) track(c *conn) (id int) {
	c.id, c.since = s.id(), time.Now()
	s.conns[c.id] = c
	if len(s.tracked) > 2*len(s.conns)+100 {
		s.forgetGone()
	}
	s.tracked = append(s.tracked, c)
	return c.id
}

// forgetGone leaves those in tracked that are there.
func (s *Sim) forgetGone() {
	s.tracked = slices.DeleteFunc(s.tracked, func(c *conn) bool { return s.conns[c.id] != c })
}

// expireConnections ends a device's rows to the router itself, which are short.
func (s *Sim) expireConnections(h *host, now time.Time) {
	for _, id := range h.opened {
		if c := s.conns[id]; c != nil && c.dst.Addr() == s.gateway() && now.Sub(c.since) > portalLife {
			delete(s.conns, id)
		}
	}
}

// Use moves data and opens connections to the internet; nothing happens while
// the guest is not online.
func (s *Sim) Use(mac string, upload, download uint64, connections int) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h, err := s.host(mac)
	if err != nil || h.session == nil {
		return false, err
	}
	h.session.upload += upload
	h.session.download += download
	h.heard = time.Now()
	h.session.flow(upload, download, h.heard)
	for range connections {
		s.connect(h, internet(s.rng), "tcp")
	}
	s.tickSession(h, time.Now())
	return h.session != nil, nil
}

// Age makes a guest's session look older than it is, as if it had lasted for d
// longer.
func (s *Sim) Age(mac string, d time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	h, err := s.host(mac)
	if err == nil && h.session != nil {
		h.session.started = h.session.started.Add(-d)
	}
	return err
}

// Quiet makes a device look as if it had been heard last d earlier than it was.
func (s *Sim) Quiet(mac string, d time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	h, err := s.host(mac)
	if err == nil {
		h.heard = h.heard.Add(-d)
		if h.session != nil {
			h.session.lastUse = h.session.lastUse.Add(-d)
		}
	}
	return err
}

// Logout presses the logout button.
func (s *Sim) Logout(mac string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	h, err := s.host(mac)
	if err == nil {
		s.endSession(h, causeUserRequest)
	}
	return err
}

// Leave takes the device away; the router notices by keepalive, at once.
func (s *Sim) Leave(mac string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	h, err := s.host(mac)
	if err != nil {
		return err
	}
	s.endSession(h, causeLostService)
	delete(s.hosts, h.mac)
	s.unleased(h)
	for _, id := range h.opened {
		delete(s.conns, id)
	}
	return nil
}

// Roam loses the device and brings it back with another address.
func (s *Sim) Roam(mac string) (Guest, error) {
	s.mu.Lock()
	h, err := s.host(mac)
	var wanted *Login
	if err == nil {
		wanted = h.wanted
	}
	s.mu.Unlock()
	if err != nil {
		return Guest{}, err
	}
	if err := s.Leave(mac); err != nil {
		return Guest{}, err
	}
	g, err := s.Arrive(mac, "")
	s.mu.Lock()
	defer s.mu.Unlock()
	if h, err := s.host(mac); err == nil {
		h.wanted = wanted
	}
	return g, err
}

// Guest returns what the guest of a MAC experiences.
func (s *Sim) Guest(mac string) (Guest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h, err := s.host(mac)
	if err != nil {
		return Guest{}, err
	}
	return s.view(h), nil
}

// Guests returns all guests, by address.
func (s *Sim) Guests() []Guest {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []Guest{}
	for _, h := range s.sortedHosts() {
		out = append(out, s.view(h))
	}
	return out
}

func (s *Sim) view(h *host) Guest {
	g := Guest{MAC: h.mac, IP: h.ip.String(), Error: h.error, Denied: h.denied}
	for _, k := range s.cookies {
		if k.mac == h.mac {
			g.Cookies++
		}
	}
	network := s.guestNetwork()
	for _, id := range h.opened {
		if c := s.conns[id]; c != nil && !network.Contains(c.dst.Addr()) && !s.gardened(c.dst.Addr()) {
			g.Connections++
			if c.fast {
				g.Fasttracked++
			}
		}
	}
	if x := h.session; x != nil {
		g.Online, g.User, g.LoginBy, g.AcctID, g.Upload, g.Download, g.Rate = true, x.user, x.loginBy, x.acctID, x.upload, x.download, x.rate
		g.UptimeMS = time.Since(x.started).Milliseconds()
		if x.timeout > 0 {
			g.TimeLeftMS = (x.timeout - time.Since(x.started)).Milliseconds()
		}
	}
	return g
}

func (s *Sim) sortedHosts() []*host {
	var out []*host
	for _, h := range s.hosts {
		out = append(out, h)
	}
	slices.SortFunc(out, func(a, b *host) int { return a.ip.Compare(b.ip) })
	return out
}

// AddConnections fills the table with rows of other devices.
func (s *Sim) AddConnections(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range n {
		s.track(&conn{mac: "background", src: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 10, byte(i >> 8), byte(i)}), uint16(1024+i%60000)), dst: internet(s.rng), proto: "tcp"})
	}
}

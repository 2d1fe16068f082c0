package routersim

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Terminate causes (RFC 2866 §5.10) of the ends of facts.md §4.
const (
	causeUserRequest    = 1
	causeLostService    = 3
	causeIdleTimeout    = 4
	causeSessionTimeout = 5
	causeAdminReset     = 6
	causeNASRequest     = 10
	causeNASReboot      = 11
)

// walledGarden may be reached without a login.
var walledGarden = netip.MustParseAddr("203.0.113.80")

// host is one device on the guest network.
type host struct {
	id      int
	mac     string // capitals with colons
	ip      netip.Addr
	since   time.Time
	session *session // nil: not authorized
	error   string   // what the login page says
	wanted  *Login   // the phone logs in again with this when it is put off
	denied  int      // tries refused since the last success
}

// cookie is one row of /ip/hotspot/cookie.
type cookie struct {
	id             int
	user, password string
	mac            string
	byMAC          bool // mac-cookie; else one of a browser
	expires        time.Time
}

// session is one login.
type session struct {
	id          int
	acctID      string
	port        uint32 // NAS-Port: the number acctID writes
	user        string
	loginBy     string
	started     time.Time
	upload      uint64
	download    uint64
	class       []byte
	timeout     time.Duration // Session-Timeout; 0 is none
	idle        time.Duration
	interim     time.Duration
	lastInterim time.Time
	lastUse     time.Time
	rate        string
	portLimit   int
	recvLimit   uint64
	xmitLimit   uint64
	totalLimit  uint64
	lists       []int // rows of the address-list
	records     chan []byte
	closed      bool
}

func (x *session) close() {
	if !x.closed {
		x.closed = true
		close(x.records)
	}
}

// conn is one row of /ip/firewall/connection.
type conn struct {
	id       int
	mac      string
	src, dst netip.AddrPort
	proto    string
	since    time.Time
}

// Login is how a guest logs in.
type Login struct {
	Method   string `json:"method"` // http-chap, http-pap, mac, cookie
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
	UptimeMS    int64  `json:"uptime_ms"`
	TimeLeftMS  int64  `json:"time_left_ms,omitempty"`
	Rate        string `json:"rate,omitempty"`
	Denied      int    `json:"denied"`
}

// Arrive brings a device to the network: its MAC cookie or its MAC logs it in by
// itself where the HotSpot allows. ip "" takes a free one.
func (s *Sim) Arrive(mac, ip string) (Guest, error) {
	mac = strings.ToUpper(mac)
	s.mu.Lock()
	h := s.hosts[mac]
	if h == nil {
		addr, err := s.address(ip)
		if err != nil {
			s.mu.Unlock()
			return Guest{}, err
		}
		h = &host{id: s.id(), mac: mac, ip: addr, since: time.Now()}
		s.hosts[mac] = h
	}
	s.mu.Unlock()
	s.byItself(h)
	return s.Guest(mac)
}

// byItself is what the HotSpot tries before showing the page.
func (s *Sim) byItself(h *host) {
	s.mu.Lock()
	if h.session != nil {
		s.mu.Unlock()
		return
	}
	var c *cookie
	for _, k := range s.cookies {
		if k.mac == h.mac && k.byMAC && s.loginBy("mac-cookie") {
			c = k
		}
	}
	byMAC := s.loginBy("mac")
	s.mu.Unlock()
	if c != nil {
		if err := s.authenticate(h, Login{Method: "mac-cookie", Username: c.user, Password: c.password}); err == nil {
			return
		}
		s.mu.Lock()
		s.dropCookies(func(k *cookie) bool { return k == c })
		s.mu.Unlock()
	}
	if byMAC {
		_ = s.authenticate(h, Login{Method: "mac", Username: h.mac})
		s.mu.Lock()
		h.error = "" // the page opens without an error
		s.mu.Unlock()
	}
}

func (s *Sim) address(ip string) (netip.Addr, error) {
	if ip != "" {
		return netip.ParseAddr(ip)
	}
	used := map[netip.Addr]bool{}
	for _, h := range s.hosts {
		used[h.ip] = true
	}
	a := s.c.Pool.Addr().Next()
	for range 4096 {
		if a = a.Next(); !s.c.Pool.Contains(a) {
			break
		}
		if !used[a] {
			return a, nil
		}
	}
	return a, fmt.Errorf("cannot assign ip address - no more free addresses from pool")
}

// Login submits the login page. The error is what the page then says.
func (s *Sim) Login(mac string, l Login) error {
	mac = strings.ToUpper(mac)
	s.mu.Lock()
	h := s.hosts[mac]
	if h == nil {
		s.mu.Unlock()
		return fmt.Errorf("no device %s on the network", mac)
	}
	if l.Method == "cookie" {
		i := slices.IndexFunc(s.cookies, func(k *cookie) bool { return k.mac == mac && !k.byMAC })
		if i < 0 || !s.loginBy("cookie") {
			s.mu.Unlock()
			return fmt.Errorf("no cookie")
		}
		l.Username, l.Password = s.cookies[i].user, s.cookies[i].password
	} else if !s.loginBy(l.Method) {
		s.mu.Unlock()
		return fmt.Errorf("configuration error (%s is not in login-by)", l.Method)
	}
	if h.session != nil {
		s.mu.Unlock()
		return nil
	}
	keep := l
	h.wanted = &keep
	s.mu.Unlock()
	return s.authenticate(h, l)
}

// authenticate asks RADIUS and, on an Accept, opens the session.
func (s *Sim) authenticate(h *host, l Login) error {
	s.mu.Lock()
	x := s.newSession(l)
	request, chap := s.accessRequest(h, x, l)
	s.mu.Unlock()
	_ = chap
	answer, err := s.exchange(s.auth, s.c.RADIUS.Auth, request, true)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hosts[h.mac] != h {
		return fmt.Errorf("the device left")
	}
	fail := func(text string) error {
		h.error, h.denied = text, h.denied+1
		s.noteLocked("hotspot,account,info,debug", fmt.Sprintf("->: %s (%s): login failed: %s", l.Username, h.ip, text))
		return fmt.Errorf("%s", text)
	}
	if err != nil {
		return fail("RADIUS server is not responding")
	}
	if answer.code != accessAccept {
		s.counters.Rejects++
		if text := answer.text(replyMessage); text != "" {
			return fail(text)
		}
		return fail("invalid username or password")
	}
	s.counters.Accepts++
	s.obey(x, answer)
	n := 0
	for _, other := range s.hosts {
		if other.session != nil && other.session.user == x.user && other != h {
			n++
		}
	}
	if n >= max(1, x.portLimit) {
		return fail("no more sessions are allowed for user " + l.Username)
	}
	if h.session != nil {
		return nil
	}
	h.session, h.error, h.denied = x, "", 0
	x.started = time.Now()
	x.lastInterim, x.lastUse = x.started, x.started
	s.afterLogin(h, x, l)
	return nil
}

func (s *Sim) newSession(l Login) *session {
	s.nextSess++
	// 80, then the boot's digit, then a counter (facts.md §4).
	port := 0x80000000 | uint32(s.boots)<<20 | s.nextSess&0xfffff
	return &session{id: s.id(), port: port, acctID: fmt.Sprintf("%08x", port), user: l.Username, loginBy: l.Method, records: make(chan []byte, 256)}
}

// afterLogin makes cookies, queue and list rows, and starts accounting.
func (s *Sim) afterLogin(h *host, x *session, l Login) {
	others := 0
	for mac := range s.hosts {
		if mac == h.mac {
			others++
		}
	}
	have := func(byMAC bool) bool {
		return slices.ContainsFunc(s.cookies, func(k *cookie) bool { return k.mac == h.mac && k.byMAC == byMAC && k.user == l.Username })
	}
	page := l.Method == "http-chap" || l.Method == "http-pap"
	if s.loginBy("mac-cookie") && others == 1 && l.Method != "mac" && !have(true) {
		s.cookies = append(s.cookies, &cookie{id: s.id(), user: l.Username, password: l.Password, mac: h.mac, byMAC: true, expires: time.Now().Add(72 * time.Hour)})
	}
	if s.loginBy("cookie") && page && !have(false) {
		s.cookies = append(s.cookies, &cookie{id: s.id(), user: l.Username, password: l.Password, mac: h.mac, expires: time.Now().Add(72 * time.Hour)})
	}
	s.noteLocked("hotspot,account,info,debug", fmt.Sprintf("->: %s (%s): logged in", x.user, h.ip))
	s.run(func() { s.sendRecords(x) })
	x.records <- s.accountingRequest(h, x, acctStart, 0)
}

// endSession logs a guest out. Which ends take the MAC cookie is facts.md §3.
func (s *Sim) endSession(h *host, cause uint32) {
	x := h.session
	if x == nil {
		return
	}
	h.session = nil
	m := s.menus["ip/firewall/address-list"]
	m.rows = slices.DeleteFunc(m.rows, func(r *row) bool { return slices.Contains(x.lists, r.id) })
	switch cause {
	case causeUserRequest, causeAdminReset, causeNASRequest, causeSessionTimeout:
		s.dropCookies(func(k *cookie) bool { return k.mac == h.mac && k.byMAC })
	}
	if cause == causeUserRequest {
		h.wanted = nil
		s.dropCookies(func(k *cookie) bool { return k.mac == h.mac })
	}
	if !x.closed {
		select {
		case x.records <- s.accountingRequest(h, x, acctStop, cause):
		default: // the server was away too long; the router forgets as well
		}
		x.close()
	}
	s.noteLocked("hotspot,account,info,debug", fmt.Sprintf("->: %s (%s): logged out", x.user, h.ip))
}

func (s *Sim) dropCookies(which func(*cookie) bool) {
	s.cookies = slices.DeleteFunc(s.cookies, which)
}

// tickSession ends what is over and sends interims.
func (s *Sim) tickSession(h *host, now time.Time) {
	x := h.session
	if x == nil {
		return
	}
	switch {
	case x.timeout > 0 && now.Sub(x.started) >= x.timeout:
		s.endSession(h, causeSessionTimeout)
	case x.idle > 0 && now.Sub(x.lastUse) >= x.idle:
		s.endSession(h, causeIdleTimeout)
	case x.recvLimit > 0 && x.upload >= x.recvLimit, x.xmitLimit > 0 && x.download >= x.xmitLimit,
		x.totalLimit > 0 && x.upload+x.download >= x.totalLimit:
		s.endSession(h, causeNASRequest)
	default:
		every := x.interim
		if s.knobs.InterimInterval > 0 {
			every = s.knobs.InterimInterval
		}
		if every > 0 && now.Sub(x.lastInterim) >= every {
			x.lastInterim = now
			select {
			case x.records <- s.accountingRequest(h, x, acctInterim, 0):
			default: // still at older ones; interims are cumulative
			}
		}
	}
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
	gateway := s.c.Pool.Addr().Next()
	s.connect(h, netip.AddrPortFrom(gateway, 53), "udp")
	s.connect(h, netip.AddrPortFrom(gateway, 64873), "tcp")
	if s.rng.IntN(3) == 0 {
		s.connect(h, netip.AddrPortFrom(walledGarden, 443), "tcp")
	}
	if w := h.wanted; w != nil && s.rng.IntN(3) == 0 {
		l := *w
		s.run(func() {
			s.byItself(h)
			if l.Method != "mac" {
				_ = s.authenticateIfOff(h, l) // what the page said is in the guest's view
			}
		})
	}
}

func (s *Sim) authenticateIfOff(h *host, l Login) error {
	s.mu.Lock()
	off := h.session == nil && s.hosts[h.mac] == h
	s.mu.Unlock()
	if !off {
		return nil
	}
	return s.authenticate(h, l)
}

func internet(rng *rand.Rand) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(rng.IntN(250) + 1)}), 443)
}

// connect adds a row to the connection table; a device has at most 200.
func (s *Sim) connect(h *host, dst netip.AddrPort, proto string) {
	n := 0
	var oldest *conn
	for _, c := range s.conns {
		if c.mac == h.mac {
			n++
			if oldest == nil || c.since.Before(oldest.since) {
				oldest = c
			}
		}
	}
	if n >= 200 && oldest != nil {
		delete(s.conns, oldest.id)
	}
	id := s.id()
	s.conns[id] = &conn{id: id, mac: h.mac, src: netip.AddrPortFrom(h.ip, uint16(20000+s.rng.IntN(40000))), dst: dst, proto: proto, since: time.Now()}
}

// Use moves data and opens connections to the internet; nothing happens while
// the guest is not online.
func (s *Sim) Use(mac string, upload, download uint64, connections int) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.hosts[strings.ToUpper(mac)]
	if h == nil {
		return false, fmt.Errorf("no device %s on the network", mac)
	}
	if h.session == nil {
		return false, nil
	}
	h.session.upload += upload
	h.session.download += download
	h.session.lastUse = time.Now()
	for range connections {
		s.connect(h, internet(s.rng), "tcp")
	}
	s.tickSession(h, time.Now())
	return h.session != nil, nil
}

// Logout presses the logout button.
func (s *Sim) Logout(mac string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.hosts[strings.ToUpper(mac)]
	if h == nil {
		return fmt.Errorf("no device %s on the network", mac)
	}
	s.endSession(h, causeUserRequest)
	return nil
}

// Leave takes the device away; the router notices by keepalive.
func (s *Sim) Leave(mac string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	mac = strings.ToUpper(mac)
	h := s.hosts[mac]
	if h == nil {
		return fmt.Errorf("no device %s on the network", mac)
	}
	s.endSession(h, causeLostService)
	delete(s.hosts, mac)
	for id, c := range s.conns {
		if c.mac == mac {
			delete(s.conns, id)
		}
	}
	return nil
}

// Roam loses the device and brings it back with another address.
func (s *Sim) Roam(mac string) (Guest, error) {
	s.mu.Lock()
	h := s.hosts[strings.ToUpper(mac)]
	s.mu.Unlock()
	if h == nil {
		return Guest{}, fmt.Errorf("no device %s on the network", mac)
	}
	wanted := h.wanted
	if err := s.Leave(mac); err != nil {
		return Guest{}, err
	}
	g, err := s.Arrive(mac, "")
	s.mu.Lock()
	if h := s.hosts[strings.ToUpper(mac)]; h != nil {
		h.wanted = wanted
	}
	s.mu.Unlock()
	return g, err
}

// Guest returns what the guest of a MAC experiences.
func (s *Sim) Guest(mac string) (Guest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.hosts[strings.ToUpper(mac)]
	if h == nil {
		return Guest{}, fmt.Errorf("no device %s on the network", mac)
	}
	return s.view(h), nil
}

// Guests returns all guests, by address.
func (s *Sim) Guests() []Guest {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Guest
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
	for _, c := range s.conns {
		if c.mac == h.mac && !s.c.Pool.Contains(c.dst.Addr()) && c.dst.Addr() != walledGarden {
			g.Connections++
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
		id := s.id()
		s.conns[id] = &conn{id: id, mac: "background", src: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 10, byte(i >> 8), byte(i)}), uint16(1024+i%60000)),
			dst: internet(s.rng), proto: "tcp", since: time.Now()}
	}
}

func (s *Sim) note(topics, message string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.noteLocked(topics, message)
}

// noteLocked adds a line to /log, a ring of 1000.
func (s *Sim) noteLocked(topics, message string) {
	m := s.menus["log"]
	m.rows = append(m.rows, &row{id: s.id(), props: map[string]string{"time": time.Now().UTC().Format(time.DateTime), "topics": topics, "message": message}})
	if len(m.rows) > 1000 {
		m.rows = m.rows[len(m.rows)-1000:]
	}
}

func itoa(n int) string { return strconv.Itoa(n) }

// atLeast compares a version such as "7.23.7 (long-term)".
func atLeast(version string, major, minor int) bool {
	var a, b int
	if _, err := fmt.Sscanf(version, "%d.%d", &a, &b); err != nil {
		return false
	}
	return a > major || a == major && b >= minor
}

package routersim

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
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

// host is one device on the guest network.
type host struct {
	id      int
	mac     string // capitals with colons
	ip      netip.Addr
	since   time.Time
	heard   time.Time     // its last packet
	session *session      // nil: not authorized
	error   string        // what the login page says
	wanted  *Login        // the phone logs in again with this when it is put off
	denied  int           // tries refused since the last success
	busy    chan struct{} // closed when the try under way is answered; nil: none
	auto    bool          // that try is the phone's own
	renew   time.Time     // when its device asks to keep its address
	opened  []int         // its rows in the connection table, oldest first
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
	local       bool   // let in by the router itself: RADIUS knows nothing of it
	account     *row   // of /ip/hotspot/user; nil: none
	trial       *trial // nil: it is none
	id          int
	acctID      string
	port        uint32 // NAS-Port: the number acctID writes
	user        string
	loginBy     string
	started     time.Time
	upload      uint64
	download    uint64
	class       [][]byte
	timeout     time.Duration // from started; 0 is none
	idle        time.Duration
	interim     time.Duration
	lastInterim time.Time
	lastUse     time.Time
	rateUp      uint64 // of the newest use, bits a second
	rateDown    uint64
	rate        string
	portLimit   int
	recvLimit   uint64 // of upload
	xmitLimit   uint64 // of download
	totalLimit  uint64
	lists       []string // Mikrotik-Address-List
	entries     []*row   // the rows these became
	records     chan []byte
	sent        chan struct{} // closed when the last record is answered or given up
}

var errBusy = errors.New("already authorizing, retry later")

// begin marks a try under way; the caller holds the lock and has seen none.
func (h *host) begin(auto bool) { h.busy, h.auto = make(chan struct{}), auto }

func (h *host) end() { close(h.busy); h.busy = nil }

// byItself is what the HotSpot tries before showing the page: the MAC cookie,
// then the MAC. The caller has begun the try.
func (s *Sim) byItself(h *host) {
	s.mu.Lock()
	var c *cookie
	for _, k := range s.cookies {
		if k.mac == h.mac && k.byMAC && s.loginBy("mac-cookie") {
			c = k
		}
	}
	byMAC := s.loginBy("mac")
	user, password := s.macLogin(h.mac)
	said := h.error
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
		if err := s.authenticate(h, Login{Method: "mac", Username: user, Password: password}); err != nil {
			s.mu.Lock()
			h.error = said // the page opens and says nothing new
			s.mu.Unlock()
		}
	}
}

// macLogin returns what a MAC login is asked with (mac-auth-mode, facts.md §3).
func (s *Sim) macLogin(mac string) (user, password string) {
	p := s.hotspotProfile()
	user = formatMAC(mac, p.get("radius-mac-format"))
	if p.get("mac-auth-mode") == "mac-as-username-and-password" {
		return user, user
	}
	return user, p.get("mac-auth-password")
}

// formatMAC writes a MAC as a pattern of X and separators says.
func formatMAC(mac, pattern string) string {
	digits := strings.ReplaceAll(mac, ":", "")
	if strings.Count(strings.ToUpper(pattern), "X") != len(digits) {
		return mac
	}
	var b strings.Builder
	for _, c := range pattern {
		switch c {
		case 'X':
			b.WriteByte(digits[0])
		case 'x':
			b.WriteString(strings.ToLower(digits[:1]))
		default:
			b.WriteRune(c)
			continue
		}
		digits = digits[1:]
	}
	return b.String()
}

// authenticate asks RADIUS and, on an Accept, opens the session. The caller has
// begun the try.
func (s *Sim) authenticate(h *host, l Login) error {
	s.mu.Lock()
	if h.session != nil {
		s.mu.Unlock()
		return nil
	}
	x := s.newSession(l)
	e, ok := s.radiusEntry()
	ok = ok && s.hotspotProfile().get("use-radius") == "yes"
	known, err := s.locally(h, x, l)
	if known {
		defer s.mu.Unlock()
		return s.enter(h, x, l, err)
	}
	var request []byte
	if ok {
		request = s.accessRequest(e, h, x, l)
	}
	ctx := s.boot
	s.mu.Unlock()
	var answer *message
	err = errors.New("invalid username or password") // nobody to ask, and no user of that name
	if ok {
		answer, err = s.exchange(ctx, &ask{conn: s.auth, to: e.auth, e: e, request: request, access: true})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hosts[h.mac] != h {
		return errors.New("the device left")
	}
	if err == nil {
		err = s.admit(h, x, answer)
	}
	return s.enter(h, x, l, err)
}

// enter opens the session, or says on the page why not. The caller holds the lock.
func (s *Sim) enter(h *host, x *session, l Login, err error) error {
	if err != nil {
		h.error, h.denied = err.Error(), h.denied+1
		s.noteLocked("hotspot,account,info,debug", fmt.Sprintf("->: %s (%s): login failed: %s", l.Username, h.ip, err))
		return err
	}
	h.session, h.error, h.denied = x, "", 0
	x.started = time.Now()
	x.lastInterim, x.lastUse, h.heard = x.started, x.started, x.started
	s.afterLogin(h, x, l)
	return nil
}

// admit reads the answer; the error is what the page says.
func (s *Sim) admit(h *host, x *session, answer *message) error {
	if answer.code != accessAccept {
		s.counters.Rejects++
		if text := answer.text(replyMessage); text != "" {
			return errors.New(text)
		}
		return errors.New("invalid username or password")
	}
	s.counters.Accepts++
	x.obey(answer)
	return s.room(h, x, s.userProfile())
}

func (s *Sim) newSession(l Login) *session {
	s.nextSess++
	// 80, then the boot's digit, then a counter (facts.md §4).
	port := 0x80000000 | uint32(s.boots)<<20 | s.nextSess&0xfffff
	return &session{id: s.id(), port: port, acctID: fmt.Sprintf("%08x", port), user: l.Username, loginBy: l.Method,
		records: make(chan []byte, 256), sent: make(chan struct{})}
}

// afterLogin makes cookies and list rows, and starts accounting.
func (s *Sim) afterLogin(h *host, x *session, l Login) {
	keep := func(byMAC bool, lifetime string) {
		d, err := parseDuration(lifetime)
		if err != nil || d == 0 {
			d = 72 * time.Hour
		}
		s.cookies = append(s.cookies, &cookie{id: s.id(), user: l.Username, password: l.Password, mac: h.mac, byMAC: byMAC, expires: time.Now().Add(d)})
	}
	page := l.Method == "http-chap" || l.Method == "http-pap"
	if s.loginBy("mac-cookie") && l.Method != "mac" && l.Method != "mac-cookie" && l.Method != "trial" && s.userProfile().get("add-mac-cookie") == "true" {
		s.dropCookies(func(k *cookie) bool { return k.mac == h.mac && k.byMAC }) // one a MAC
		keep(true, s.userProfile().get("mac-cookie-timeout"))
	}
	if s.loginBy("cookie") && page && !slices.ContainsFunc(s.cookies, func(k *cookie) bool { return k.mac == h.mac && !k.byMAC && k.user == l.Username }) {
		keep(false, s.hotspotProfile().get("http-cookie-lifetime")) // one browser a device
	}
	for _, list := range x.lists {
		r := &row{id: s.id(), dynamic: true, served: true, props: map[string]string{"list": list, "address": h.ip.String(), "dynamic": "true", "disabled": "false",
			"creation-time": time.Now().UTC().Format(time.DateTime)}}
		x.entries = append(x.entries, r)
		s.menus["ip/firewall/address-list"].rows = append(s.menus["ip/firewall/address-list"].rows, r)
	}
	s.noteLocked("hotspot,account,info,debug", fmt.Sprintf("->: %s (%s): logged in", x.user, h.ip))
	if x.local {
		close(x.sent) // nobody is told
		return
	}
	ctx := s.boot
	if s.run(func() { s.sendRecords(ctx, x) }) {
		s.account(h, x, acctStart, 0)
	}
}

// endSession logs a guest out. Which ends take the MAC cookie is facts.md §3; no
// end takes the cookie of a browser.
func (s *Sim) endSession(h *host, cause uint32) {
	x := h.session
	if x == nil {
		return
	}
	h.session = nil
	s.noteStay(h, x)
	if cause == causeAdminReset {
		s.noteEnded(h, x)
	}
	x.settle(time.Since(x.started))
	s.past.upload, s.past.download = s.past.upload+x.upload, s.past.download+x.download
	m := s.menus["ip/firewall/address-list"]
	m.rows = slices.DeleteFunc(m.rows, func(r *row) bool { return slices.Contains(x.entries, r) })
	switch cause {
	case causeUserRequest, causeAdminReset, causeNASRequest, causeSessionTimeout:
		s.dropCookies(func(k *cookie) bool { return k.mac == h.mac && k.byMAC })
	}
	if cause == causeUserRequest {
		h.wanted = nil
	}
	s.account(h, x, acctStop, cause)
	close(x.records)
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
		if every := s.interimOf(x); every > 0 && now.Sub(x.lastInterim) >= every {
			x.lastInterim = now
			s.account(h, x, acctInterim, 0)
		}
	}
}

// interimOf is how often a session reports: as the Accept said, unless
// radius-interim-update says otherwise.
func (s *Sim) interimOf(x *session) time.Duration {
	if s.knobs.InterimInterval > 0 {
		return s.knobs.InterimInterval
	}
	if d, err := parseDuration(s.hotspotProfile().get("radius-interim-update")); err == nil && d > 0 {
		return d
	}
	return x.interim
}

// none stands for a row that is not there: it has no properties.
var none = &row{}

func orNone(r *row) *row {
	if r == nil {
		return none
	}
	return r
}

// hotspotProfile is the profile of the server that serves the guests.
func (s *Sim) hotspotProfile() *row {
	return orNone(s.menus["ip/hotspot/profile"].find(s.server().get("profile")))
}
func (s *Sim) userProfile() *row { return orNone(s.menus["ip/hotspot/user/profile"].find("default")) }

// plannedGateway is the router's address in the network of the cafe's guests.
func (s *Sim) plannedGateway() netip.Addr { return s.c.Pool.Addr().Next() }

// guestNetwork is the network of the guests, with the router's address in it.
func (s *Sim) guestNetwork() netip.Prefix {
	link := s.guestLink()
	for _, r := range s.menus["ip/address"].rows {
		if p, err := netip.ParsePrefix(r.get("address")); err == nil && !r.is("disabled") && link != "" && r.get("interface") == link {
			return p
		}
	}
	return netip.PrefixFrom(s.plannedGateway(), s.c.Pool.Bits())
}

func (s *Sim) gateway() netip.Addr { return s.guestNetwork().Addr() }

// loginBy reports whether the HotSpot profile allows a login method.
func (s *Sim) loginBy(method string) bool {
	return slices.Contains(strings.Split(s.hotspotProfile().get("login-by"), ","), method)
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
		m.rows = slices.Clone(m.rows[len(m.rows)-1000:])
	}
}

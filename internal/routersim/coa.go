package routersim

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"net/netip"
	"strconv"
	"time"
)

// serveCoA is /radius/incoming: Disconnect-Request and CoA-Request from the
// address of an enabled /radius entry, with that entry's secret; anything else
// meets silence (facts.md §4 "CoA and Disconnect").
func (s *Sim) serveCoA() {
	buf := make([]byte, radiusReplyMaximum)
	for {
		n, from, err := s.coa.ReadFromUDPAddrPort(buf)
		if err != nil {
			if s.ctx.Err() != nil {
				return
			}
			continue
		}
		from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		m := parseMessage(bytes.Clone(buf[:n]))
		s.mu.Lock()
		if s.dark {
			s.mu.Unlock()
			continue
		}
		s.counters.CoA++
		secret, known := s.coaSecret(from.Addr())
		if m == nil || !known || !s.authenticCoA(m, secret) || s.knobs.CoASilent {
			if !s.knobs.CoASilent {
				s.counters.CoABad++
			}
			s.mu.Unlock()
			continue
		}
		var reply []byte
		for _, a := range s.recent {
			if a.from == from && a.id == m.raw[1] && a.auth == [16]byte(m.raw[4:20]) {
				reply = a.reply
			}
		}
		if reply == nil {
			reply = s.answerCoA(m, secret)
			s.recent = append(s.recent, answered{from, m.raw[1], [16]byte(m.raw[4:20]), reply})
			if len(s.recent) > 256 {
				s.recent = s.recent[1:]
			}
		}
		delay, forge := s.knobs.CoADelay, s.knobs.CoAForge
		s.mu.Unlock()
		send := func() {
			if forge {
				if _, err := s.coa.WriteToUDPAddrPort(forged(reply), from); err != nil {
					s.log.Debug("forged CoA reply", "err", err)
				}
			}
			if _, err := s.coa.WriteToUDPAddrPort(reply, from); err != nil {
				s.log.Debug("CoA reply", "err", err)
			}
		}
		if delay > 0 {
			s.run(func() {
				select {
				case <-time.After(delay):
					send()
				case <-s.ctx.Done():
				}
			})
			continue
		}
		send()
	}
}

// forged is what somebody without the secret could send in place of an answer:
// the other one of ACK and NAK, under the authenticator of this one.
func forged(reply []byte) []byte {
	f := bytes.Clone(reply)
	switch f[0] {
	case disconnectACK, coaACK:
		f[0]++
	default:
		f[0]--
	}
	return f
}

// answered is a reply of /radius/incoming: a repeat gets the same bytes.
type answered struct {
	from  netip.AddrPort
	id    byte
	auth  [16]byte
	reply []byte
}

// coaSecret returns the secret shared with a source, if /radius names it.
func (s *Sim) coaSecret(from netip.Addr) (string, bool) {
	incoming := s.menus["radius/incoming"].rows[0]
	if incoming.get("accept") != "true" {
		return "", false
	}
	if s.c.Agent.Port != "" {
		port, _ := strconv.Atoi(incoming.get("port")) // checked when it was written
		if s.blocked("udp", port, "new") != "" {
			return "", false
		}
		from = s.c.Agent.Address
	}
	for _, r := range s.menus["radius"].rows {
		if r.get("disabled") != "true" && r.get("address") == from.String() {
			return r.get("secret"), true
		}
	}
	return "", false
}

func (s *Sim) authenticCoA(m *message, secret string) bool {
	if m.code != disconnectReq && m.code != coaReq {
		return false
	}
	zeroed := bytes.Clone(m.raw)
	clear(zeroed[4:20])
	sum := md5.Sum(append(bytes.Clone(zeroed), secret...))
	if !hmac.Equal(sum[:], m.raw[4:20]) {
		return false
	}
	ok, present := validMessageAuth(zeroed, secret)
	return ok || !present
}

// identifies lists what may name a session; changes lists what CoA may change.
var (
	identifies = map[byte]bool{userName: true, nasIPAddress: true, nasPort: true, framedIP: true, calledStation: true, callingStation: true,
		nasIdentifier: true, acctSessionID: true, eventTimestamp: true, messageAuth: true, nasPortID: true, proxyState: true}
	changes       = map[byte]bool{sessionTimeout: true, idleTimeout: true, portLimit: true}
	vendorChanges = map[byte]bool{mtRateLimit: true, mtRecvLimit: true, mtXmitLimit: true, mtHostIP: true, mtRecvGiga: true, mtXmitGiga: true}
)

func (s *Sim) answerCoA(m *message, secret string) []byte {
	ack, nak := byte(disconnectACK), byte(disconnectNAK)
	if m.code == coaReq {
		ack, nak = coaACK, coaNAK
	}
	refuse := func(cause uint32) []byte {
		s.counters.CoANAKs++
		w := newPacket(nak, m.raw[1])
		w.number(errorCause, cause)
		return s.signReply(w, m, secret)
	}
	if m.code == coaReq && s.knobs.CoARefuse != 0 {
		return refuse(s.knobs.CoARefuse)
	}
	for _, a := range m.attrs {
		switch {
		case a.vendor == 0 && identifies[a.kind]:
		case a.vendor == mikrotik && a.kind == mtHostIP:
		case m.code == coaReq && (a.vendor == 0 && changes[a.kind] || a.vendor == mikrotik && vendorChanges[a.kind]):
		default:
			return refuse(401)
		}
	}
	if v := m.find(0, nasIPAddress); v != nil {
		if a, _ := netip.AddrFromSlice(v); a != s.c.NASIP {
			return refuse(403)
		}
	}
	if v := m.find(0, nasIdentifier); v != nil && string(v) != s.device(entry{}).identity {
		return refuse(403)
	}
	h := s.findSession(m)
	if h == nil {
		cause := s.knobs.NAKCause
		if cause == 0 {
			cause = 503
		}
		return refuse(cause)
	}
	if !s.knobs.CoAIgnore {
		if m.code == disconnectReq {
			s.endSession(h, causeAdminReset)
		} else {
			s.change(h.session, m)
		}
	}
	s.counters.CoAACKs++
	return s.signReply(newPacket(ack, m.raw[1]), m, secret)
}

// findSession needs Framed-IP-Address and one more; all that is given must match.
func (s *Sim) findSession(m *message) *host {
	ip, ok := netip.AddrFromSlice(m.find(0, framedIP))
	if !ok || m.find(0, userName) == nil && m.find(0, acctSessionID) == nil {
		return nil
	}
	for _, h := range s.hosts {
		if h.session != nil && h.ip == ip && s.fits(m, h) {
			return h
		}
	}
	return nil
}

// fits reports whether every identification given is this session's (RFC 5176 §3).
func (s *Sim) fits(m *message, h *host) bool {
	who := s.who(h, h.session)
	for _, t := range []struct {
		kind byte
		want string
	}{{userName, who.user}, {acctSessionID, who.acctID}, {calledStation, who.server}, {nasPortID, who.iface}} {
		if v := m.find(0, t.kind); v != nil && string(v) != t.want {
			return false
		}
	}
	if v := m.find(0, callingStation); v != nil && !sameMAC(string(v), h.mac) {
		return false
	}
	if m.find(0, nasPort) != nil && m.number(0, nasPort) != who.nasPort {
		return false
	}
	v := m.find(mikrotik, mtHostIP)
	return v == nil || bytes.Equal(v, h.ip.AsSlice())
}

// change does what a CoA-Request says; whether Session-Timeout counts from now or
// from the start is a knob (facts.md §4 leaves open what a real router does).
func (s *Sim) change(x *session, m *message) {
	if v := m.find(mikrotik, mtRateLimit); v != nil {
		x.rate = string(v)
	}
	if n := m.number(0, sessionTimeout); n > 0 {
		x.timeout = time.Duration(n) * time.Second
		if !s.knobs.CoAFromStart {
			x.timeout += time.Since(x.started)
		}
	}
	if n := m.number(0, idleTimeout); n > 0 {
		x.idle = time.Duration(n) * time.Second
	}
	if n := m.number(0, portLimit); n > 0 {
		x.portLimit = int(n)
	}
	if m.find(mikrotik, mtRecvLimit) != nil || m.find(mikrotik, mtRecvGiga) != nil {
		x.recvLimit = m.wide(mtRecvLimit, mtRecvGiga)
	}
	if m.find(mikrotik, mtXmitLimit) != nil || m.find(mikrotik, mtXmitGiga) != nil {
		x.xmitLimit = m.wide(mtXmitLimit, mtXmitGiga)
	}
}

// signReply copies Proxy-State, and computes Message-Authenticator and Response
// Authenticator over the request's authenticator (RFC 5176 §2.3, §3.4).
func (s *Sim) signReply(w *writer, request *message, secret string) []byte {
	for _, v := range request.all(0, proxyState) {
		w.put(proxyState, v)
	}
	if !s.knobs.CoAUnsigned {
		w.put(messageAuth, make([]byte, 16))
	}
	b := w.finish()
	copy(b[4:20], request.raw[4:20])
	if !s.knobs.CoAUnsigned {
		mac := hmac.New(md5.New, []byte(secret))
		mac.Write(b)
		copy(b[len(b)-16:], mac.Sum(nil))
	}
	sum := md5.Sum(append(bytes.Clone(b), secret...))
	copy(b[4:20], sum[:])
	return b
}

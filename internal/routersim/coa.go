package routersim

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"encoding/binary"
	"net/netip"
	"time"
)

// serveCoA is /radius/incoming: Disconnect-Request and CoA-Request from the
// address of an enabled /radius entry, with that entry's secret; anything else
// meets silence (facts.md §4 "CoA and Disconnect").
func (s *Sim) serveCoA() {
	buf := make([]byte, 4096)
	type answered struct {
		from  netip.AddrPort
		id    byte
		auth  [16]byte
		reply []byte
	}
	var recent []answered // repeats get the same bytes
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
		for _, a := range recent {
			if a.from == from && a.id == m.raw[1] && a.auth == [16]byte(m.raw[4:20]) {
				reply = a.reply
			}
		}
		if reply == nil {
			reply = s.answerCoA(m, secret)
			recent = append(recent, answered{from, m.raw[1], [16]byte(m.raw[4:20]), reply})
			if len(recent) > 256 {
				recent = recent[1:]
			}
		}
		delay := s.knobs.CoADelay
		s.mu.Unlock()
		send := func() {
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

// coaSecret returns the secret shared with a source, if /radius names it.
func (s *Sim) coaSecret(from netip.Addr) (string, bool) {
	if s.menus["radius/incoming"].rows[0].get("accept") != "true" {
		return "", false
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
		nasIdentifier: true, acctSessionID: true, eventTimestamp: true, messageAuth: true, nasPortID: true, 33: true}
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
		return signReply(w, m.raw, secret)
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
	if v := m.find(0, nasIdentifier); v != nil && string(v) != s.c.Identity {
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
	return signReply(newPacket(ack, m.raw[1]), m.raw, secret)
}

// findSession needs Framed-IP-Address and one more; all that is given must match.
func (s *Sim) findSession(m *message) *host {
	ip, ok := netip.AddrFromSlice(m.find(0, framedIP))
	if !ok || m.find(0, userName) == nil && m.find(0, acctSessionID) == nil {
		return nil
	}
	for _, h := range s.hosts {
		x := h.session
		if x == nil || h.ip != ip {
			continue
		}
		if v := m.find(0, userName); v != nil && string(v) != x.user {
			return nil
		}
		if v := m.find(0, acctSessionID); v != nil && string(v) != x.acctID {
			return nil
		}
		if v := m.find(0, callingStation); v != nil && !sameMAC(string(v), h.mac) {
			return nil
		}
		return h
	}
	return nil
}

func (s *Sim) change(x *session, m *message) {
	if v := m.find(mikrotik, mtRateLimit); v != nil {
		x.rate = string(v)
	}
	if n := m.number(0, sessionTimeout); n > 0 {
		x.timeout = time.Since(x.started) + time.Duration(n)*time.Second
	}
	if n := m.number(0, idleTimeout); n > 0 {
		x.idle = time.Duration(n) * time.Second
	}
	if n := m.number(0, portLimit); n > 0 {
		x.portLimit = int(n)
	}
}

// signReply computes Message-Authenticator and Response Authenticator over the
// request's authenticator.
func signReply(w *writer, request []byte, secret string) []byte {
	w.put(messageAuth, make([]byte, 16))
	b := w.finish()
	copy(b[4:20], request[4:20])
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	mac := hmac.New(md5.New, []byte(secret))
	mac.Write(b)
	copy(b[len(b)-16:], mac.Sum(nil))
	sum := md5.Sum(append(bytes.Clone(b), secret...))
	copy(b[4:20], sum[:])
	return b
}

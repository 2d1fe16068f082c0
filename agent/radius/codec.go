package radius

import (
	"crypto/hmac"
	"crypto/md5" // #nosec: RADIUS is built on MD5
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
	"unicode/utf8"

	layeh "layeh.com/radius"
	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2866"
	"layeh.com/radius/rfc2869"
	"layeh.com/radius/rfc3576"

	"iwas/internal/hotspot"
)

// layeh.com/radius is a codec here and nothing more, and this file is its only
// door (a test reads the package and says so): its servers verify too little,
// its vendor Set and Del functions panic or never return, its client trusts any
// reply. Replies are lists of attributes that it encodes, each added once;
// requests are read as they came (decode.go), which costs a quarter of parsing
// them first.

// maxReplyMessage is the room of one attribute (RFC 2865 §5.18).
const maxReplyMessage = 253

// errTooLong is of a reply that does not fit: an attribute, or the packet.
var errTooLong = errors.New("the reply does not fit into a packet")

// encodeVerdict makes the Access-Accept or Access-Reject that answers request,
// signed with k.
func encodeVerdict(request []byte, k *key, v hotspot.Verdict) ([]byte, error) {
	if !v.Accept {
		// RFC 2865 §2: a Reject holds Reply-Message and nothing that grants.
		a := reply(request, codeAccessReject, true)
		if v.Message != "" {
			a.text(typeReplyMessage, cutRunes(v.Message, maxReplyMessage))
		}
		return a.finish(request, k)
	}
	a := reply(request, codeAccessAccept, true)
	if len(v.Class) > 0 {
		a.text(typeClass, string(v.Class))
	}
	a.limit(typeSessionTimeout, seconds(v.SessionTimeout))
	a.limit(typeIdleTimeout, seconds(v.IdleTimeout))
	a.limit(typeAcctInterimInterval, seconds(v.InterimInterval))
	a.limit(typePortLimit, uint32(max(0, v.Devices)))
	if !v.Rate.IsZero() {
		a.mikrotik(typeMikrotikRateLimit, v.Rate.String())
	}
	a.octets(typeMikrotikRecvLimit, typeMikrotikRecvGigawords, v.UploadLeft) // what the router receives from the guest (facts.md §4)
	a.octets(typeMikrotikXmitLimit, typeMikrotikXmitGigawords, v.DownloadLeft)
	a.octets(typeMikrotikTotalLimit, typeMikrotikTotalGigawords, v.TotalLeft)
	for _, list := range v.AddressLists {
		a.mikrotik(typeMikrotikAddressList, list)
	}
	return a.finish(request, k)
}

// seconds rounds down to whole seconds that fit the attribute, and keeps a
// limit a limit: never 0 for something positive.
func seconds(d time.Duration) uint32 {
	if d <= 0 {
		return 0
	}
	return uint32(min(max(1, d/time.Second), 1<<32-1))
}

// cutRunes cuts s to at most n octets on the edge of a rune.
func cutRunes(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// answer is a reply in the making: attributes for layeh, whose values stand in
// one piece of memory that is used again.
type answer struct {
	packet layeh.Packet
	avps   [24]layeh.AVP // those of a usual reply; more are allocated
	n      int
	values []byte
}

var answerPool = sync.Pool{New: func() any { return &answer{values: make([]byte, 0, 1024)} }}

// reply starts the answer to a request, Message-Authenticator first if signed,
// with the value to be filled in: the first position protects one hop even if
// the NAS does not check (radius.md §2.1). It must be finished.
func reply(request []byte, code layeh.Code, signed bool) *answer {
	a := answerPool.Get().(*answer)
	a.n, a.values = 0, a.values[:0]
	a.packet = layeh.Packet{Code: code, Identifier: request[1], Authenticator: [16]byte(request[4:headerLen]), Attributes: a.packet.Attributes[:0]}
	if signed {
		a.add(typeMessageAuthenticator, zeroes[:])
	}
	return a
}

func (a *answer) add(kind layeh.Type, v []byte) {
	if a.n == len(a.avps) {
		a.packet.Attributes.Add(kind, v)
		return
	}
	avp := &a.avps[a.n]
	a.n++
	avp.Type, avp.Attribute = kind, v
	a.packet.Attributes = append(a.packet.Attributes, avp)
}

func (a *answer) text(kind layeh.Type, v string) {
	at := len(a.values)
	a.values = append(a.values, v...)
	a.add(kind, a.values[at:])
}

// limit adds a number; 0 is no limit and is not sent.
func (a *answer) limit(kind layeh.Type, n uint32) {
	if n == 0 {
		return
	}
	at := len(a.values)
	a.values = binary.BigEndian.AppendUint32(a.values, n)
	a.add(kind, a.values[at:])
}

// mikrotik adds an attribute of the vendor (RFC 2865 §5.26). One that is too long
// is found by finish.
func (a *answer) mikrotik(kind byte, v string) {
	at := len(a.values)
	a.values = binary.BigEndian.AppendUint32(a.values, vendorMikrotik)
	a.values = append(append(a.values, kind, byte(len(v)+2)), v...)
	a.add(typeVendorSpecific, a.values[at:])
}

// octets adds a data limit and, above 4 GiB, its companion; 0 is no limit.
func (a *answer) octets(low, high byte, o hotspot.Octets) {
	if o == 0 {
		return
	}
	gigawords, rest := o.Split()
	a.mikrotik(low, string(binary.BigEndian.AppendUint32(nil, rest)))
	if gigawords > 0 {
		a.mikrotik(high, string(binary.BigEndian.AppendUint32(nil, gigawords)))
	}
}

// finish adds the Proxy-States of the request as they came (RFC 2865 §5.33),
// encodes and signs. An error means that it does not fit into a packet.
func (a *answer) finish(request []byte, k *key) ([]byte, error) {
	for kind, v := range attributes(request) {
		if kind == typeProxyState {
			a.add(typeProxyState, v)
		}
	}
	b, err := a.packet.MarshalBinary()
	signed := len(a.packet.Attributes) > 0 && a.packet.Attributes[0].Type == typeMessageAuthenticator
	clear(a.packet.Attributes) // keeps nothing of the request alive
	answerPool.Put(a)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errTooLong, err)
	}
	k.seal(b, signed)
	return b, nil
}

// encodeAccountingResponse answers an Accounting-Request. It carries a
// Message-Authenticator only where the request did: the Response Authenticator
// covers it already, and RouterOS sends none in accounting (facts.md §4).
func encodeAccountingResponse(request []byte, k *key, signed bool) ([]byte, error) {
	return reply(request, codeAccountingResponse, signed).finish(request, k)
}

// encodeStatus answers Status-Server (RFC 5997 §4.2): Access-Accept on the
// authentication port, Accounting-Response on the other.
func encodeStatus(request []byte, k *key, accounting bool) ([]byte, error) {
	if accounting {
		return reply(request, codeAccountingResponse, true).finish(request, k)
	}
	return reply(request, codeAccessAccept, true).finish(request, k)
}

// encodeProbe makes the request of a Probe, attributes in the order of RouterOS.
func encodeProbe(p Probe, k *key) ([]byte, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	codes := map[Ask]layeh.Code{AskLogin: codeAccessRequest, AskAccounting: codeAccountingRequest, AskStatus: codeStatusServer}
	r := layeh.New(codes[p.Ask], k.secret)
	var err error
	add := func(e error) {
		if err == nil {
			err = e
		}
	}
	signed := p.Ask == AskStatus || p.Ask == AskLogin && !p.Unsigned
	if signed {
		r.Attributes.Add(typeMessageAuthenticator, make([]byte, 16))
	}
	if p.Ask == AskAccounting {
		r.Authenticator = zeroes
		add(rfc2866.AcctStatusType_Add(r, rfc2866.AcctStatusType(p.Kind)))
	}
	if p.Ask != AskStatus {
		p.addWho(r, add)
	}
	switch {
	case p.Ask == AskAccounting && (p.Kind == hotspot.Stop || p.Kind == hotspot.Interim):
		p.addCounters(r, add)
	case p.Ask == AskLogin && p.Method == PAP:
		v, e := layeh.NewUserPassword([]byte(p.Password.Reveal()), k.secret, r.Authenticator[:])
		add(e)
		r.Attributes.Add(typeUserPassword, v)
	case p.Ask == AskLogin:
		challenge := random16()
		sum := md5.Sum(append(append([]byte{r.Identifier}, p.Password.Reveal()...), challenge[:]...))
		add(rfc2865.CHAPChallenge_Add(r, challenge[:]))
		add(rfc2865.CHAPPassword_Add(r, append([]byte{r.Identifier}, sum[:]...)))
	}
	add(rfc2865.NASIdentifier_AddString(r, "iwas-agent test"))
	if err != nil {
		return nil, err
	}
	b, err := r.Encode()
	if err == nil && signed {
		sum := k.hmac(b)
		copy(b[headerLen+2:], sum[:])
	}
	return b, err
}

// addWho adds what names the guest.
func (p Probe) addWho(r *layeh.Packet, add func(error)) {
	name := p.Name
	if p.Ask == AskLogin && p.Method == MACLogin {
		name = p.MAC.String()
	}
	if !p.MAC.IsZero() {
		add(rfc2865.CallingStationID_AddString(r, p.MAC.String()))
	}
	if name != "" {
		add(rfc2865.UserName_AddString(r, name))
	}
	if p.AcctSessionID != "" {
		add(rfc2866.AcctSessionID_AddString(r, string(p.AcctSessionID)))
	}
	if p.IP.Is4() {
		add(rfc2865.FramedIPAddress_Add(r, net.IP(p.IP.AsSlice())))
	}
}

// addCounters adds what an Interim-Update and a Stop count.
func (p Probe) addCounters(r *layeh.Packet, add func(error)) {
	upHigh, up := p.Upload.Split()
	downHigh, down := p.Download.Split()
	add(rfc2866.AcctInputOctets_Add(r, rfc2866.AcctInputOctets(up)))
	add(rfc2866.AcctOutputOctets_Add(r, rfc2866.AcctOutputOctets(down)))
	add(rfc2869.AcctInputGigawords_Add(r, rfc2869.AcctInputGigawords(upHigh)))
	add(rfc2869.AcctOutputGigawords_Add(r, rfc2869.AcctOutputGigawords(downHigh)))
	add(rfc2866.AcctSessionTime_Add(r, rfc2866.AcctSessionTime(seconds(p.SessionTime))))
	if p.Kind == hotspot.Stop {
		add(rfc2866.AcctTerminateCause_Add(r, rfc2866.AcctTerminateCause_Value_UserRequest))
	}
}

// disconnectRequest encodes a Disconnect-Request (RFC 5176 §3). short leaves only
// what every HotSpot understands: User-Name and Framed-IP-Address.
func disconnectRequest(id byte, secret []byte, n NAS, s hotspot.Session, at time.Time, short bool) ([]byte, error) {
	p := layeh.New(codeDisconnectRequest, secret)
	p.Identifier = id
	p.Authenticator = [16]byte{} // the HMAC goes over zeroes (RFC 5176 §3.4)
	p.Attributes.Add(typeMessageAuthenticator, make([]byte, 16))
	var err error
	add := func(e error) {
		if err == nil {
			err = e
		}
	}
	if s.Username != "" {
		add(rfc2865.UserName_AddString(p, s.Username))
	}
	if s.IP.Is4() {
		add(rfc2865.FramedIPAddress_Add(p, net.IP(s.IP.AsSlice())))
	}
	if !short {
		if s.AcctSessionID != "" {
			add(rfc2866.AcctSessionID_AddString(p, string(s.AcctSessionID)))
		}
		if !s.MAC.IsZero() {
			add(rfc2865.CallingStationID_AddString(p, s.MAC.String()))
		}
		if ip := n.Network.Addr(); n.Network.IsSingleIP() && ip.Is4() {
			add(rfc2865.NASIPAddress_Add(p, net.IP(ip.AsSlice())))
		}
		if !at.IsZero() {
			add(rfc2869.EventTimestamp_Add(p, at))
		}
	}
	if err != nil {
		return nil, err
	}
	b, err := p.MarshalBinary()
	if err != nil {
		return nil, err
	}
	h := hmac.New(md5.New, secret)
	h.Write(b)
	copy(p.Attributes[0].Attribute, h.Sum(nil))
	return p.Encode()
}

// errorCause reads Error-Cause of a NAK (RFC 5176 §3.5); 0 when absent.
func errorCause(b, secret []byte) uint32 {
	p, err := layeh.Parse(b, secret)
	if err != nil {
		return 0
	}
	return uint32(rfc3576.ErrorCause_Get(p))
}

// validReply checks length, Response Authenticator and, where present,
// Message-Authenticator of the answer to request (RFC 5176 §2.3, §3.4).
func validReply(b, request, secret []byte) ([]byte, bool) {
	if len(b) < headerLen {
		return nil, false
	}
	length := int(binary.BigEndian.Uint16(b[2:]))
	if length < headerLen || length > len(b) {
		return nil, false
	}
	b = b[:length]
	if !layeh.IsAuthenticResponse(b, request, secret) {
		return nil, false
	}
	for at := headerLen; at < len(b); {
		if len(b)-at < 2 || b[at+1] < 2 || int(b[at+1]) > len(b)-at {
			return nil, false
		}
		if b[at] == typeMessageAuthenticator {
			signed := append([]byte(nil), b...)
			copy(signed[4:headerLen], request[4:headerLen])
			return b, b[at+1] == 18 && validMessageAuthenticator(signed, at+2, secret, false)
		}
		at += int(b[at+1])
	}
	return b, true
}

package radius

import (
	"crypto/hmac"
	"crypto/md5" // #nosec: RADIUS is built on MD5
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"

	layeh "layeh.com/radius"
	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2866"
	"layeh.com/radius/rfc2869"
	"layeh.com/radius/vendors/mikrotik"

	"iwas/internal/hotspot"
)

// layeh.com/radius is a codec here and nothing more, and this file is its only
// door (a test reads the package and says so): its servers verify too little,
// its vendor Set and Del functions panic or never return, its client trusts any
// reply. Replies are built with Add, once for each attribute.

// maxReplyMessage is the room of one attribute (RFC 2865 §5.18).
const maxReplyMessage = 253

// decodeRequest understands a triaged, authentic Access-Request. reason is set
// when it is refused for its form alone; undecodable says that the password
// cannot be what anybody typed, as with a wrong shared secret.
func decodeRequest(b, secret []byte, nas hotspot.NASID, at time.Time) (r hotspot.Request, p *layeh.Packet, reason hotspot.Reason, undecodable bool, err error) {
	p, err = layeh.Parse(b, secret)
	if err != nil {
		return r, nil, "", false, err
	}
	r = hotspot.Request{NAS: nas, At: at}
	var users, hidden, chap [][]byte
	var challenge []byte
	for _, a := range p.Attributes {
		switch a.Type {
		case rfc2865.UserName_Type:
			users = append(users, a.Attribute)
		case rfc2865.UserPassword_Type:
			hidden = append(hidden, a.Attribute)
		case rfc2865.CHAPPassword_Type:
			chap = append(chap, a.Attribute)
		case rfc2865.CHAPChallenge_Type:
			challenge = a.Attribute
		}
	}
	r.MAC, r.AcctSessionID, r.Server, r.Port = station(p)
	r.IP, r.HostIP = addresses(p)
	if len(users) != 1 || len(users[0]) == 0 || strings.IndexByte(string(users[0]), 0) >= 0 {
		return r, p, hotspot.ReasonMalformed, false, nil
	}
	r.Username = string(users[0])
	switch {
	case len(hidden)+len(chap) > 1:
		return r, p, hotspot.ReasonTwoCredentials, false, nil // RFC 2865 §4.1
	case len(hidden) == 1:
		password, ok := decodePassword(hidden[0], secret, p.Authenticator[:])
		if !ok || !utf8.ValidString(password) {
			return r, p, hotspot.ReasonMalformed, true, nil
		}
		r.Credential = hotspot.Credential{Kind: hotspot.Clear, Clear: hotspot.Password(password)}
	case len(chap) == 1:
		if len(chap[0]) != 17 {
			return r, p, hotspot.ReasonMalformed, false, nil
		}
		if challenge == nil { // RFC 2865 §5.3
			challenge = p.Authenticator[:]
		}
		r.Credential = hotspot.Credential{Kind: hotspot.CHAP, CHAPID: chap[0][0], Challenge: challenge, Response: chap[0][1:]}
	}
	return r, p, "", false, nil
}

// station reads who and where of any request.
func station(p *layeh.Packet) (mac hotspot.MAC, session hotspot.AcctSessionID, server, port string) {
	mac, _ = hotspot.ParseMAC(rfc2865.CallingStationID_GetString(p))
	return mac, hotspot.AcctSessionID(rfc2866.AcctSessionID_GetString(p)), rfc2865.CalledStationID_GetString(p), rfc2869.NASPortID_GetString(p)
}

func addresses(p *layeh.Packet) (framed, host netip.Addr) {
	if ip, err := rfc2865.FramedIPAddress_Lookup(p); err == nil {
		framed, _ = netip.AddrFromSlice(ip.To4())
	}
	if ip, err := mikrotik.MikrotikHostIP_Lookup(p); err == nil {
		host, _ = netip.AddrFromSlice(ip.To4())
	}
	return framed, host
}

// clockSlack is how far a NAS's Event-Timestamp may lie from our arrival time
// before it is taken for a router whose clock is lost.
const clockSlack = 24 * time.Hour

// decodeAccounting understands a triaged, authentic Accounting-Request.
func decodeAccounting(b, secret []byte, nas hotspot.NASID, at time.Time) (a hotspot.Accounting, p *layeh.Packet, why dropped) {
	p, err := layeh.Parse(b, secret)
	if err != nil {
		return a, nil, dropAttributes
	}
	kind, err := rfc2866.AcctStatusType_Lookup(p)
	a = hotspot.Accounting{Kind: hotspot.AccountingKind(kind), NAS: nas, At: at}
	if err != nil || a.Kind.String() == "unknown" {
		return a, p, dropStatusType
	}
	a.MAC, a.AcctSessionID, a.Server, a.Port = station(p)
	a.IP, a.HostIP = addresses(p)
	if a.AcctSessionID == "" && a.Kind != hotspot.NASOn && a.Kind != hotspot.NASOff {
		return a, p, dropNoSessionID // RFC 2866 §5.5
	}
	a.Username = rfc2865.UserName_GetString(p)
	if class, err := rfc2865.Class_Lookup(p); err == nil {
		a.Class = class
	}
	a.SessionTime = time.Duration(rfc2866.AcctSessionTime_Get(p)) * time.Second
	a.Upload = hotspot.JoinOctets(uint32(rfc2869.AcctInputGigawords_Get(p)), uint32(rfc2866.AcctInputOctets_Get(p)))
	a.Download = hotspot.JoinOctets(uint32(rfc2869.AcctOutputGigawords_Get(p)), uint32(rfc2866.AcctOutputOctets_Get(p)))
	a.TerminateCause = uint32(rfc2866.AcctTerminateCause_Get(p))
	a.Delay = time.Duration(rfc2866.AcctDelayTime_Get(p)) * time.Second
	if t, err := rfc2869.EventTimestamp_Lookup(p); err == nil && t.Sub(at).Abs() <= clockSlack {
		a.EventAt = t
	}
	return a, p, ""
}

// encodeVerdict makes the Access-Accept or Access-Reject that answers p.
func encodeVerdict(p *layeh.Packet, v hotspot.Verdict) ([]byte, error) {
	if !v.Accept {
		r := reply(p, codeAccessReject)
		// RFC 2865 §2: a Reject holds Reply-Message and nothing that grants.
		if v.Message != "" {
			if err := rfc2865.ReplyMessage_AddString(r, cutRunes(v.Message, maxReplyMessage)); err != nil {
				return nil, err
			}
		}
		return seal(p, r)
	}
	r := reply(p, codeAccessAccept)
	// Each Add fails only for a value too long for its attribute.
	var err error
	add := func(e error) {
		if err == nil {
			err = e
		}
	}
	if len(v.Class) > 0 {
		add(rfc2865.Class_Add(r, v.Class))
	}
	if s := seconds(v.SessionTimeout); s > 0 {
		add(rfc2865.SessionTimeout_Add(r, rfc2865.SessionTimeout(s)))
	}
	if s := seconds(v.IdleTimeout); s > 0 {
		add(rfc2865.IdleTimeout_Add(r, rfc2865.IdleTimeout(s)))
	}
	if s := seconds(v.InterimInterval); s > 0 {
		add(rfc2869.AcctInterimInterval_Add(r, rfc2869.AcctInterimInterval(s)))
	}
	if v.Devices > 0 {
		add(rfc2865.PortLimit_Add(r, rfc2865.PortLimit(v.Devices)))
	}
	if !v.Rate.IsZero() {
		add(mikrotik.MikrotikRateLimit_AddString(r, v.Rate.String()))
	}
	addLimit := func(o hotspot.Octets, low func(uint32) error, high func(uint32) error) {
		if o == 0 {
			return
		}
		gigawords, octets := o.Split()
		add(low(octets))
		if gigawords > 0 {
			add(high(gigawords))
		}
	}
	addLimit(v.UploadLeft, // Recv: what the router receives from the guest (facts.md §4)
		func(n uint32) error { return mikrotik.MikrotikRecvLimit_Add(r, mikrotik.MikrotikRecvLimit(n)) },
		func(n uint32) error {
			return mikrotik.MikrotikRecvLimitGigawords_Add(r, mikrotik.MikrotikRecvLimitGigawords(n))
		})
	addLimit(v.DownloadLeft,
		func(n uint32) error { return mikrotik.MikrotikXmitLimit_Add(r, mikrotik.MikrotikXmitLimit(n)) },
		func(n uint32) error {
			return mikrotik.MikrotikXmitLimitGigawords_Add(r, mikrotik.MikrotikXmitLimitGigawords(n))
		})
	addLimit(v.TotalLeft,
		func(n uint32) error { return mikrotik.MikrotikTotalLimit_Add(r, mikrotik.MikrotikTotalLimit(n)) },
		func(n uint32) error {
			return mikrotik.MikrotikTotalLimitGigawords_Add(r, mikrotik.MikrotikTotalLimitGigawords(n))
		})
	for _, list := range v.AddressLists {
		add(mikrotik.MikrotikAddressList_AddString(r, list))
	}
	if err != nil {
		return nil, err
	}
	return seal(p, r)
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

// reply starts the answer to p: Message-Authenticator first, with the value to
// be filled in (first position protects one hop even if the NAS does not check;
// radius.md §2.1), Proxy-States after the rest as they came.
func reply(p *layeh.Packet, code layeh.Code) *layeh.Packet {
	r := p.Response(code)
	r.Attributes.Add(typeMessageAuthenticator, make([]byte, 16))
	return r
}

// seal copies Proxy-State, signs and encodes a reply made by reply.
func seal(p, r *layeh.Packet) ([]byte, error) {
	copyProxyState(p, r)
	b, err := r.MarshalBinary() // still with the request's authenticator, as the HMAC wants it
	if err != nil {
		return nil, err
	}
	h := hmac.New(md5.New, r.Secret)
	h.Write(b)
	copy(r.Attributes[0].Attribute, h.Sum(nil))
	return r.Encode()
}

func copyProxyState(p, r *layeh.Packet) {
	for _, a := range p.Attributes {
		if a.Type == typeProxyState {
			r.Attributes.Add(typeProxyState, a.Attribute)
		}
	}
}

// encodeAccountingResponse answers an Accounting-Request. It carries no
// Message-Authenticator: the Response Authenticator covers it, and the NAS sent none.
func encodeAccountingResponse(p *layeh.Packet) ([]byte, error) {
	r := p.Response(codeAccountingResponse)
	copyProxyState(p, r)
	return r.Encode()
}

// encodeStatus answers Status-Server (RFC 5997 §4.2): Access-Accept on the
// authentication port, Accounting-Response on the other.
func encodeStatus(b, secret []byte, accounting bool) ([]byte, error) {
	p, err := layeh.Parse(b, secret)
	if err != nil {
		return nil, err
	}
	if accounting {
		return seal(p, reply(p, codeAccountingResponse))
	}
	return seal(p, reply(p, codeAccessAccept))
}

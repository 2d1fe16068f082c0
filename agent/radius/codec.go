package radius

import (
	"crypto/md5" // #nosec: RADIUS is built on MD5
	"errors"
	"fmt"
	"net"
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
// reply. Replies are built with Add, once for each attribute; requests are read
// as they came (decode.go), which costs a quarter of parsing them first.

// maxReplyMessage is the room of one attribute (RFC 2865 §5.18).
const maxReplyMessage = 253

// errTooLong is of a reply that does not fit: an attribute, or the packet.
var errTooLong = errors.New("the reply does not fit into a packet")

// encodeVerdict makes the Access-Accept or Access-Reject that answers request,
// signed with k.
func encodeVerdict(request []byte, k *key, v hotspot.Verdict) ([]byte, error) {
	if !v.Accept {
		r := reply(request, codeAccessReject, true)
		// RFC 2865 §2: a Reject holds Reply-Message and nothing that grants.
		if v.Message != "" {
			if err := rfc2865.ReplyMessage_AddString(r, cutRunes(v.Message, maxReplyMessage)); err != nil {
				return nil, err
			}
		}
		return finish(request, k, r)
	}
	r := reply(request, codeAccessAccept, true)
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
		return nil, fmt.Errorf("%w: %w", errTooLong, err)
	}
	return finish(request, k, r)
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

// reply starts the answer to a request, Message-Authenticator first if signed,
// with the value to be filled in: the first position protects one hop even if
// the NAS does not check (radius.md §2.1).
func reply(request []byte, code layeh.Code, signed bool) *layeh.Packet {
	r := &layeh.Packet{Code: code, Identifier: request[1], Authenticator: [16]byte(request[4:headerLen]), Attributes: make(layeh.Attributes, 0, 12)}
	if signed {
		r.Attributes.Add(typeMessageAuthenticator, zeroes[:])
	}
	return r
}

// finish adds the Proxy-States of the request as they came (RFC 2865 §5.33) and
// encodes and signs a reply made by reply. An error means that it does not fit
// into a packet.
func finish(request []byte, k *key, r *layeh.Packet) ([]byte, error) {
	for kind, v := range attributes(request) {
		if kind == typeProxyState {
			r.Attributes.Add(typeProxyState, v)
		}
	}
	b, err := r.MarshalBinary()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errTooLong, err)
	}
	k.seal(b, len(b) > headerLen && b[headerLen] == typeMessageAuthenticator)
	return b, nil
}

// encodeAccountingResponse answers an Accounting-Request. It carries a
// Message-Authenticator only where the request did: the Response Authenticator
// covers it already, and RouterOS sends none in accounting (facts.md §4).
func encodeAccountingResponse(request []byte, k *key, signed bool) ([]byte, error) {
	return finish(request, k, reply(request, codeAccountingResponse, signed))
}

// encodeStatus answers Status-Server (RFC 5997 §4.2): Access-Accept on the
// authentication port, Accounting-Response on the other.
func encodeStatus(request []byte, k *key, accounting bool) ([]byte, error) {
	if accounting {
		return finish(request, k, reply(request, codeAccountingResponse, true))
	}
	return finish(request, k, reply(request, codeAccessAccept, true))
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

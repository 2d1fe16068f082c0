package radius

import (
	"encoding/binary"
	"encoding/hex"
	"iter"
	"net/netip"
	"strconv"
	"time"
)

// form says how the value of an attribute is to be read.
type form uint8

const (
	octets  form = iota
	text         // UTF-8, by habit
	number       // 32 bits
	address      // IPv4
	instant      // seconds since 1970, 32 bits
	chapped      // CHAP identifier and 16 octets (RFC 2865 §5.3)
	vendor       // Vendor-Specific (RFC 2865 §5.26)
)

// size is how many octets a value of this form has; 0 is any number.
func (f form) size() int {
	switch f {
	case number, address, instant:
		return 4
	case chapped:
		return 17
	}
	return 0
}

// attribute is an entry of the dictionary.
type attribute struct {
	name string
	form form
}

// Attributes this package reads by itself. Replies are written by layeh.
const (
	typeUserName             = 1
	typeUserPassword         = 2
	typeCHAPPassword         = 3
	typeNASIPAddress         = 4
	typeServiceType          = 6
	typeFramedIPAddress      = 8
	typeReplyMessage         = 18
	typeClass                = 25
	typeVendorSpecific       = 26
	typeSessionTimeout       = 27
	typeIdleTimeout          = 28
	typeCalledStationID      = 30
	typeCallingStationID     = 31
	typeNASIdentifier        = 32
	typeProxyState           = 33
	typeAcctStatusType       = 40
	typeAcctDelayTime        = 41
	typeAcctInputOctets      = 42
	typeAcctOutputOctets     = 43
	typeAcctSessionID        = 44
	typeAcctSessionTime      = 46
	typeAcctTerminateCause   = 49
	typeAcctInputGigawords   = 52
	typeAcctOutputGigawords  = 53
	typeEventTimestamp       = 55
	typeCHAPChallenge        = 60
	typeNASPortType          = 61
	typePortLimit            = 62
	typeEAPMessage           = 79
	typeMessageAuthenticator = 80
	typeAcctInterimInterval  = 85
	typeNASPortID            = 87
	typeErrorCause           = 101

	vendorMikrotik             = 14988
	typeMikrotikRecvLimit      = 1
	typeMikrotikXmitLimit      = 2
	typeMikrotikRateLimit      = 8
	typeMikrotikHostIP         = 10
	typeMikrotikRecvGigawords  = 14
	typeMikrotikXmitGigawords  = 15
	typeMikrotikTotalLimit     = 17
	typeMikrotikTotalGigawords = 18
	typeMikrotikAddressList    = 19

	vendorWISPr = 14122
)

// dictionary names the attributes a HotSpot and its server send (RFC 2865, 2866,
// 2869, 3162, 5176). A standard attribute whose value has not the size of its
// form is malformed (RFC 2865 §5).
var dictionary = [256]attribute{
	typeUserName: {"User-Name", text}, typeUserPassword: {"User-Password", octets}, typeCHAPPassword: {"CHAP-Password", chapped},
	typeNASIPAddress: {"NAS-IP-Address", address}, 5: {"NAS-Port", number}, typeServiceType: {"Service-Type", number},
	7: {"Framed-Protocol", number}, typeFramedIPAddress: {"Framed-IP-Address", address}, 9: {"Framed-IP-Netmask", address},
	10: {"Framed-Routing", number}, 11: {"Filter-Id", text}, 12: {"Framed-MTU", number}, 13: {"Framed-Compression", number},
	14: {"Login-IP-Host", address}, 15: {"Login-Service", number}, 16: {"Login-TCP-Port", number},
	typeReplyMessage: {"Reply-Message", text}, 22: {"Framed-Route", text}, 24: {"State", octets}, typeClass: {"Class", octets},
	typeVendorSpecific: {"Vendor-Specific", vendor}, typeSessionTimeout: {"Session-Timeout", number}, typeIdleTimeout: {"Idle-Timeout", number},
	29: {"Termination-Action", number}, typeCalledStationID: {"Called-Station-Id", text}, typeCallingStationID: {"Calling-Station-Id", text},
	typeNASIdentifier: {"NAS-Identifier", text}, typeProxyState: {"Proxy-State", octets},
	typeAcctStatusType: {"Acct-Status-Type", number}, typeAcctDelayTime: {"Acct-Delay-Time", number},
	typeAcctInputOctets: {"Acct-Input-Octets", number}, typeAcctOutputOctets: {"Acct-Output-Octets", number},
	typeAcctSessionID: {"Acct-Session-Id", text}, 45: {"Acct-Authentic", number}, typeAcctSessionTime: {"Acct-Session-Time", number},
	47: {"Acct-Input-Packets", number}, 48: {"Acct-Output-Packets", number}, typeAcctTerminateCause: {"Acct-Terminate-Cause", number},
	50: {"Acct-Multi-Session-Id", text}, 51: {"Acct-Link-Count", number}, typeAcctInputGigawords: {"Acct-Input-Gigawords", number},
	typeAcctOutputGigawords: {"Acct-Output-Gigawords", number}, typeEventTimestamp: {"Event-Timestamp", instant},
	typeCHAPChallenge: {"CHAP-Challenge", octets}, typeNASPortType: {"NAS-Port-Type", number}, typePortLimit: {"Port-Limit", number},
	77: {"Connect-Info", text}, typeEAPMessage: {"EAP-Message", octets}, typeMessageAuthenticator: {"Message-Authenticator", octets},
	typeAcctInterimInterval: {"Acct-Interim-Interval", number}, typeNASPortID: {"NAS-Port-Id", text}, 88: {"Framed-Pool", text}, typeErrorCause: {"Error-Cause", number},
}

// vendors names what stands inside Vendor-Specific. It is read leniently: the
// format inside is the vendor's own affair (RFC 2865 §5.26).
var vendors = map[uint32]map[byte]attribute{
	vendorMikrotik: {
		typeMikrotikRecvLimit: {"Mikrotik-Recv-Limit", number}, typeMikrotikXmitLimit: {"Mikrotik-Xmit-Limit", number}, 3: {"Mikrotik-Group", text}, typeMikrotikRateLimit: {"Mikrotik-Rate-Limit", text},
		9: {"Mikrotik-Realm", text}, typeMikrotikHostIP: {"Mikrotik-Host-IP", address}, 11: {"Mikrotik-Mark-Id", text},
		12: {"Mikrotik-Advertise-URL", text}, 13: {"Mikrotik-Advertise-Interval", number}, typeMikrotikRecvGigawords: {"Mikrotik-Recv-Limit-Gigawords", number},
		typeMikrotikXmitGigawords: {"Mikrotik-Xmit-Limit-Gigawords", number}, typeMikrotikTotalLimit: {"Mikrotik-Total-Limit", number}, typeMikrotikTotalGigawords: {"Mikrotik-Total-Limit-Gigawords", number},
		typeMikrotikAddressList: {"Mikrotik-Address-List", text},
	},
	vendorWISPr: {
		1: {"WISPr-Location-ID", text}, 2: {"WISPr-Location-Name", text}, 3: {"WISPr-Logoff-URL", text}, 4: {"WISPr-Redirection-URL", text},
		5: {"WISPr-Bandwidth-Min-Up", number}, 6: {"WISPr-Bandwidth-Min-Down", number}, 7: {"WISPr-Bandwidth-Max-Up", number},
		8: {"WISPr-Bandwidth-Max-Down", number}, 9: {"WISPr-Session-Terminate-Time", text},
	},
}

// words of numbers that people read.
var words = map[byte]map[uint32]string{
	typeServiceType:    {1: "Login-User", 2: "Framed-User"},
	typeAcctStatusType: {1: "Start", 2: "Stop", 3: "Interim-Update", 7: "Accounting-On", 8: "Accounting-Off"},
	typeNASPortType:    {15: "Ethernet", 19: "Wireless-802.11"},
}

// attributes yields type and value of every attribute of a triaged packet.
func attributes(b []byte) iter.Seq2[byte, []byte] {
	return func(yield func(byte, []byte) bool) {
		for at := headerLen; at < len(b); at += int(b[at+1]) {
			if !yield(b[at], b[at+2:at+int(b[at+1])]) {
				return
			}
		}
	}
}

// inside yields vendor, type and value of what a Vendor-Specific holds, until it
// ends or lies about a length.
func inside(v []byte) iter.Seq2[byte, []byte] {
	return func(yield func(byte, []byte) bool) {
		for len(v) >= 2 && v[1] >= 2 && int(v[1]) <= len(v) {
			if !yield(v[0], v[2:v[1]]) {
				return
			}
			v = v[v[1]:]
		}
	}
}

// vendorOf splits a Vendor-Specific into vendor and contents.
func vendorOf(v []byte) (uint32, []byte) {
	if len(v) < 4 {
		return 0, nil
	}
	return binary.BigEndian.Uint32(v), v[4:]
}

// malformed reports whether a value cannot be of its attribute.
func malformed(kind byte, v []byte) bool {
	f := dictionary[kind].form
	if f == vendor {
		return len(v) < 5 // RFC 2865 §5.26: Length is at least 7
	}
	return f.size() != 0 && len(v) != f.size()
}

// has reports whether a triaged packet carries an attribute.
func has(b []byte, kind byte) bool {
	for k := range attributes(b) {
		if k == kind {
			return true
		}
	}
	return false
}

func ip4(v []byte) netip.Addr {
	if len(v) != 4 {
		return netip.Addr{}
	}
	return netip.AddrFrom4([4]byte(v))
}

// Attribute is one attribute in words.
type Attribute struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// inWords spells out every attribute of a triaged packet, in order.
func inWords(b []byte) []Attribute {
	out := []Attribute{}
	for kind, v := range attributes(b) {
		if kind != typeVendorSpecific {
			out = append(out, dictionary[kind].inWords(strconv.Itoa(int(kind)), kind, v))
			continue
		}
		id, rest := vendorOf(v)
		for sub, value := range inside(rest) {
			name := strconv.FormatUint(uint64(id), 10) + "." + strconv.Itoa(int(sub))
			out = append(out, vendors[id][sub].inWords(name, 0, value))
		}
	}
	return out
}

// inWords spells out one value; unnamed is the name of what the dictionary has not.
func (a attribute) inWords(unnamed string, kind byte, v []byte) Attribute {
	out := Attribute{Name: a.name, Value: "0x" + hex.EncodeToString(v)}
	if a.name == "" {
		out.Name = "Attribute-" + unnamed
	}
	if size := a.form.size(); size != 0 && len(v) != size {
		return out
	}
	switch a.form {
	case text:
		out.Value = strconv.Quote(string(v))
	case address:
		out.Value = ip4(v).String()
	case number:
		n := binary.BigEndian.Uint32(v)
		out.Value = strconv.FormatUint(uint64(n), 10)
		if word := words[kind][n]; word != "" {
			out.Value = word
		}
	case instant:
		out.Value = time.Unix(int64(binary.BigEndian.Uint32(v)), 0).UTC().Format(time.RFC3339)
	}
	return out
}

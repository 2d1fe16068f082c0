package radius

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/secret"
)

// Method is how a login proves itself.
type Method string

const (
	PAP  Method = "pap"  // User-Password (RFC 2865 §5.2)
	CHAP Method = "chap" // CHAP-Password (RFC 2865 §5.3)
	// MACLogin is CHAP with the MAC as the name, as RouterOS sends it with
	// login-by=mac (facts.md §3).
	MACLogin Method = "mac"
)

// Ask is what a Probe asks.
type Ask string

const (
	AskLogin      Ask = "login"
	AskAccounting Ask = "accounting"
	AskStatus     Ask = "status"
)

// Probe is one request as a HotSpot sends it, for a person who wants to see what
// a server answers. It is a client of its own and trusts no reply that does not
// prove the secret.
type Probe struct {
	Server netip.AddrPort
	Secret secret.Value
	Ask    Ask
	Method Method // of a login
	// Unsigned leaves Message-Authenticator out of a login, as RouterOS before 7.15.
	Unsigned bool
	Tries    int           // sendings of the same bytes, at least 1
	Wait     time.Duration // after each

	Name          string
	Password      hotspot.Password
	MAC           hotspot.MAC
	IP            netip.Addr // of the guest; IPv4
	AcctSessionID hotspot.AcctSessionID
	// Of accounting:
	Kind             hotspot.AccountingKind
	SessionTime      time.Duration
	Upload, Download hotspot.Octets
}

// Exchange is what a Probe sent and heard.
type Exchange struct {
	Server     string        `json:"server"`
	Request    string        `json:"request"` // name of the code
	Sent       []Attribute   `json:"sent"`
	Reply      string        `json:"reply"` // name of the code; "" is silence
	Received   []Attribute   `json:"received"`
	Attempts   int           `json:"attempts"`
	RoundTrip  time.Duration `json:"round_trip_ns"`
	BadReplies int           `json:"bad_replies"` // that do not prove the secret
	Refused    bool          `json:"refused"`     // the host says that nobody listens there
	// Protected says that the reply begins with a valid Message-Authenticator;
	// RouterOS 7.15 and newer ignores a login's answer without one.
	Protected bool `json:"protected"`
}

// Good reports whether the answer is the one hoped for.
func (e Exchange) Good() bool {
	return e.Reply != "" && e.Reply != codeNames[codeAccessReject]
}

var codeNames = map[byte]string{
	codeAccessRequest: "Access-Request", codeAccessAccept: "Access-Accept", codeAccessReject: "Access-Reject",
	codeAccountingRequest: "Accounting-Request", codeAccountingResponse: "Accounting-Response", codeStatusServer: "Status-Server",
}

// answersTo are the codes that may answer a code.
var answersTo = map[byte][]byte{
	codeAccessRequest:     {codeAccessAccept, codeAccessReject},
	codeAccountingRequest: {codeAccountingResponse},
	codeStatusServer:      {codeAccessAccept, codeAccountingResponse},
}

// Do asks and waits for the answer. Silence is an Exchange without Reply; an
// error means that nothing could be asked.
func (p Probe) Do(ctx context.Context) (Exchange, error) {
	k := newKey(p.Secret)
	request, err := encodeProbe(p, k)
	if err != nil {
		return Exchange{}, fault.New(fault.Invalid, "radius: make the request", err)
	}
	out := Exchange{Server: p.Server.String(), Request: codeNames[request[0]], Sent: hidden(inWords(request)), Received: []Attribute{}}
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(p.Server))
	if err != nil {
		return out, fault.New(fault.Unavailable, "radius: open a socket", err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	for range max(1, p.Tries) {
		if ctx.Err() != nil {
			break
		}
		out.Attempts++
		sent := time.Now()
		if _, err := conn.Write(request); err != nil && !refused(err) {
			return out, fault.New(fault.Unavailable, "radius: send the request", err)
		}
		if p.await(ctx, conn, request, k, sent.Add(p.Wait), &out) {
			out.RoundTrip = time.Since(sent)
			break
		}
	}
	return out, nil
}

// refused reports whether the host answered that nobody listens.
func refused(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && !op.Timeout() && !errors.Is(err, net.ErrClosed)
}

// await reads until a proven answer or the deadline.
func (p Probe) await(ctx context.Context, conn *net.UDPConn, request []byte, k *key, until time.Time, out *Exchange) bool {
	if conn.SetReadDeadline(until) != nil || ctx.Err() != nil {
		return false
	}
	buf := make([]byte, maxPacket+1)
	for {
		n, err := conn.Read(buf)
		if refused(err) {
			out.Refused = true
			<-after(ctx, time.Until(until))
			return false
		}
		if err != nil {
			return false
		}
		b := buf[:n]
		if n < headerLen || b[1] != request[1] || !slices.Contains(answersTo[request[0]], b[0]) {
			continue
		}
		reply, ok := validReply(b, request, k.secret)
		if !ok {
			out.BadReplies++
			continue
		}
		out.Reply, out.Received = codeNames[reply[0]], inWords(reply)
		out.Protected = len(reply) > headerLen && reply[headerLen] == typeMessageAuthenticator
		return true
	}
}

// after is closed when the time or ctx has passed.
func after(ctx context.Context, d time.Duration) <-chan struct{} {
	ctx, cancel := context.WithTimeout(ctx, d)
	context.AfterFunc(ctx, cancel)
	return ctx.Done()
}

// hidden leaves out what helps to guess a password.
func hidden(all []Attribute) []Attribute {
	for i, a := range all {
		if a.Name == dictionary[typeUserPassword].name || a.Name == dictionary[typeCHAPPassword].name {
			all[i].Value = "***"
		}
	}
	return all
}

// random16 are sixteen random octets: a Request Authenticator, a challenge.
func random16() (b [16]byte) {
	rand.Read(b[:])
	return b
}

// check finds what no HotSpot would send.
func (p Probe) check() error {
	switch {
	case p.Ask == AskLogin && p.Method == MACLogin && p.MAC.IsZero():
		return errors.New("a login by MAC needs the MAC")
	case p.Ask == AskLogin && p.Method != MACLogin && p.Name == "":
		return errors.New("a login needs a name")
	case p.Ask == AskAccounting && p.Kind.String() == "unknown":
		return fmt.Errorf("%d is no kind of accounting", p.Kind)
	}
	return nil
}

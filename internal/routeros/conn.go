// Package routeros is the client side of RouterOS: it runs one command with
// its words and returns the rows of the answer: over the binary API, plain
// (api://) or over TLS (api-ssl://), or over REST (https://, or http:// named on
// purpose). TLS means a pinned certificate. Every wait is bounded, every length from the router is checked before memory is taken, and
// every refusal comes back with a code and a next step.
//
// It never decides what to run, never retries, and never speaks to a router
// whose certificate a person has not trusted.
//
// Wire facts are from facts.md §1 and §2. The API's dialogue (login, writing, what ends a
// reply) is github.com/go-routeros/routeros; what that library leaves open
// (time, sizes, big tables, bare-word !fatal) is closed around it in stream.go
// and client.go.
package routeros

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"iwas/internal/fault"
	"iwas/internal/secret"
)

// Row is one sentence of an answer: attribute names without "=", values as the
// router wrote them. Keys the router left out are absent. For add, and for
// anything else whose !done carries attributes, the last row holds those (the
// new id under "ret").
type Row map[string]string

// Conn runs commands on one router. It is safe for concurrent use; commands
// run one after the other.
type Conn interface {
	// Run sends a sentence, the command word first, and returns its rows. A
	// refusal by the router is a *Trap in the chain and leaves the connection
	// usable; after any other error it is dead and must be dialled again.
	Run(ctx context.Context, sentence ...string) ([]Row, error)
	Close() error
}

// Each runs a sentence as c.Run does and hands each row of the answer to visit,
// without keeping any: a table of connections has thousands. A row is valid only
// until visit returns; its values stay. After an error the rows seen so far are no
// answer.
func Each(ctx context.Context, c Conn, visit func(Row), sentence ...string) error {
	if v, ok := c.(visitor); ok {
		return v.Each(ctx, visit, sentence...)
	}
	rows, err := c.Run(ctx, sentence...)
	for _, r := range rows {
		visit(r)
	}
	return err
}

// visitor is a Conn that need not keep rows.
type visitor interface {
	Each(ctx context.Context, visit func(Row), sentence ...string) error
}

// Options says which router, as whom, and how patient.
type Options struct {
	URL          string // api-ssl://host[:8729], https://host[:443]; named on purpose api://host[:8728], http://host[:80]; no user, no path
	User         string
	Password     secret.Value
	PinnedSHA256 string        // SHA-256 of the router's certificate (DER), hex, colons allowed; needed for api-ssl and https
	Timeout      time.Duration // connect, TLS and login together; 0 is 5 s
	RunTimeout   time.Duration // each Run whose context has no earlier deadline; 0 is 10 s
	Pace         *Pace         // shared by the REST connections to one router; nil is one of its own
}

const (
	defaultTimeout    = 5 * time.Second
	defaultRunTimeout = 10 * time.Second
	keepAlive         = 15 * time.Second // TCP probes, so that a dead router shows without traffic
)

// Dial connects and logs in. A plain transport is used only because the URL says so.
func Dial(ctx context.Context, o Options) (Conn, error) {
	where, err := parseURL(o.URL)
	if err != nil {
		return nil, err
	}
	var pin string
	if where.tls {
		if pin, err = normalPin(o.PinnedSHA256); err != nil {
			return nil, err
		}
	}
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	if o.RunTimeout <= 0 {
		o.RunTimeout = defaultRunTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	if where.rest {
		return dialREST(ctx, o, where, pin)
	}
	d := dialer()
	conn, err := d.DialContext(ctx, "tcp", where.address)
	if err != nil {
		return nil, explain("connect to "+o.URL, where, err)
	}
	if where.tls {
		secured, err := handshake(ctx, conn, pin)
		if err != nil {
			conn.Close()
			return nil, explainTLS(o.URL, where, err)
		}
		conn = secured
	}
	c := newClient(conn, where, o.RunTimeout)
	if err := c.login(ctx, o.User, o.Password); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func dialer() *net.Dialer {
	return &net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: keepAlive, Interval: keepAlive, Count: 3}}
}

// place is a parsed URL.
type place struct {
	address string // host:port
	service string // its name in /ip/service
	tls     bool
	rest    bool
}

// transports are the schemes of a router's address.
var transports = map[string]struct {
	place
	port string
}{
	"api":     {place{service: "api"}, "8728"},
	"api-ssl": {place{service: "api-ssl", tls: true}, "8729"},
	"http":    {place{service: "www", rest: true}, "80"},
	"https":   {place{service: "www-ssl", tls: true, rest: true}, "443"},
}

// CheckURL reports what is wrong with a router's address; nil for one that Dial
// would use.
func CheckURL(text string) error {
	_, err := parseURL(text)
	return err
}

// Host returns the host of a router's address.
func Host(text string) (string, error) {
	where, err := parseURL(text)
	if err != nil {
		return "", err
	}
	host, _, err := net.SplitHostPort(where.address)
	return host, err
}

// Door is where a router's address leads.
type Door struct {
	Host, Port string
	Service    string // its name in /ip/service
	TLS, REST  bool
}

// DoorOf reads a router's address.
func DoorOf(text string) (Door, error) {
	where, err := parseURL(text)
	if err != nil {
		return Door{}, err
	}
	host, port, err := net.SplitHostPort(where.address)
	return Door{host, port, where.service, where.tls, where.rest}, err
}

// Reach opens a connection to a router's address and closes it again: nothing is
// said over it. It returns our end's address, which is what the router sees of us.
func Reach(ctx context.Context, text string) (netip.Addr, error) {
	where, err := parseURL(text)
	if err != nil {
		return netip.Addr{}, err
	}
	conn, err := dialer().DialContext(ctx, "tcp", where.address)
	if err != nil {
		return netip.Addr{}, explain("connect to "+text, where, err)
	}
	defer conn.Close()
	at, err := netip.ParseAddrPort(conn.LocalAddr().String())
	return at.Addr().Unmap(), err
}

// parseURL reads scheme://host[:port].
func parseURL(text string) (place, error) {
	bad := func(why string) (place, error) {
		return place{}, fault.New(fault.Invalid, "router address", fmt.Errorf("%s: write api-ssl://host[:8729] or https://host[:443], or, named on purpose, api://host[:8728] or http://host[:80]", why))
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return bad("not a URL") // the URL itself may hold a password: not shown
	case u.User != nil:
		return bad("user and password do not belong in the address")
	case u.Hostname() == "":
		return bad(fmt.Sprintf("%q names no host", text))
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		return bad(fmt.Sprintf("%q has more than a host and a port", text))
	}
	t, ok := transports[u.Scheme]
	if !ok {
		return bad(fmt.Sprintf("%q is not a transport spoken here", u.Scheme))
	}
	port := u.Port()
	if port == "" {
		port = t.port
	}
	t.address = net.JoinHostPort(u.Hostname(), port)
	return t.place, nil
}

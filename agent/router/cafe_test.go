package router

import (
	"context"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"layeh.com/radius"
	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2866"
	"layeh.com/radius/rfc2869"
	"layeh.com/radius/vendors/mikrotik"

	"iwas/internal/hotspot"
	"iwas/internal/routeros"
	"iwas/internal/routersim"
)

const (
	secretText = "testing123"
	nasID      = hotspot.NASID("nas1")
)

// cafe is a simulated router with guests, a RADIUS server that lets everybody
// in but the locked, and an Enforcer that puts them off. It is the Store too.
type cafe struct {
	t    testing.TB
	sim  *routersim.Sim
	e    *Enforcer
	wake chan struct{}
	stop func() // ends the Enforcer and waits
	rest bool   // over REST, else the API
	pace routeros.Pace

	mu       sync.Mutex
	refuse   map[string]bool      // user names RADIUS rejects
	shut     map[hotspot.MAC]bool // devices it rejects, whatever the name
	sessions map[hotspot.SessionID]hotspot.Session
	targets  map[hotspot.AccountID]hotspot.Target
	proofs   []hotspot.Proof
	locks    map[hotspot.AccountID]hotspot.Target // that ended
	proven   chan hotspot.Proof
	listed   []hotspot.ActiveEntry
}

// open starts the cafe; change may alter the Enforcer before it runs.
func open(t testing.TB, change func(*cafe)) *cafe {
	t.Helper()
	return openOn(t, "", change)
}

// everyRouter runs a test over both doors, on both versions.
func everyRouter(t *testing.T, change func(*cafe), do func(t *testing.T, c *cafe)) {
	for _, version := range []string{"7.16.2 (stable)", "7.24 (stable)"} {
		for name, rest := range map[string]bool{"api": false, "rest": true} {
			t.Run(name+" "+version, func(t *testing.T) {
				t.Parallel()
				do(t, openOn(t, version, func(c *cafe) { c.rest = rest; change(c) }))
			})
		}
	}
}

// openOn is open with a version of RouterOS.
func openOn(t testing.TB, version string, change func(*cafe)) *cafe {
	t.Helper()
	c := &cafe{t: t, wake: make(chan struct{}, 1), refuse: map[string]bool{}, shut: map[hotspot.MAC]bool{}, sessions: map[hotspot.SessionID]hotspot.Session{},
		targets: map[hotspot.AccountID]hotspot.Target{}, proven: make(chan hotspot.Proof, 1000)}
	server, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	go c.radius(server)
	at := server.LocalAddr().(*net.UDPAddr).AddrPort()
	ctx, cancel := context.WithCancel(context.Background())
	c.sim, err = routersim.Start(ctx, routersim.Config{Version: version, Password: "pw", RESTListen: "127.0.0.1:0", RADIUS: routersim.RADIUSConfig{Auth: at, Acct: at, Secret: secretText}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); c.sim.Close() })
	c.e = &Enforcer{Routers: []Router{{NAS: nasID, Dial: c.dial}}, Store: c, Disconnector: coa{c.sim.CoAAddr()}, Wake: c.wake, Poll: 200 * time.Millisecond}
	if change != nil {
		change(c)
	}
	c.e.init()
	c.stop = func() {}
	c.serve()
	t.Cleanup(func() { c.stop() })
	return c
}

func (c *cafe) serve() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.e.Serve(ctx) }()
	c.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			c.t.Errorf("Serve returned %v, want the reason it was stopped for", err)
		}
	})
}

func (c *cafe) dial(ctx context.Context) (routeros.Conn, error) {
	if c.rest {
		sum := sha256.Sum256(c.sim.Certificate())
		return routeros.Dial(ctx, routeros.Options{URL: strings.TrimSuffix(c.sim.RESTURL(), "/rest"), User: "iwas", Password: "pw", PinnedSHA256: hex.EncodeToString(sum[:]), Pace: &c.pace})
	}
	return routeros.Dial(ctx, routeros.Options{URL: "api://" + c.sim.APIAddr(), User: "iwas", Password: "pw"})
}

// command runs a sentence as a technician would.
func (c *cafe) command(sentence ...string) []routeros.Row {
	c.t.Helper()
	conn, err := c.dial(context.Background())
	if err != nil {
		c.t.Fatal(err)
	}
	defer conn.Close()
	rows, err := conn.Run(context.Background(), sentence...)
	if err != nil {
		c.t.Fatal(err)
	}
	return rows
}

func macOf(n int) string  { return fmt.Sprintf("AA:BB:CC:00:%02X:%02X", n>>8, n&255) }
func nameOf(n int) string { return fmt.Sprintf("guest%d", n) }

// arrive brings a guest online by page login, with connections of its own.
func (c *cafe) arrive(n, connections int) routersim.Guest {
	c.t.Helper()
	return c.login(macOf(n), nameOf(n), connections)
}

func (c *cafe) login(mac, name string, connections int) routersim.Guest {
	c.t.Helper()
	if _, err := c.sim.Arrive(mac, ""); err != nil {
		c.t.Fatal(err)
	}
	if err := c.sim.Login(mac, routersim.Login{Method: "http-chap", Username: name, Password: "x"}); err != nil {
		c.t.Fatalf("login of %s: %v", name, err)
	}
	if _, err := c.sim.Use(mac, 1000, 5000, connections); err != nil {
		c.t.Fatal(err)
	}
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		if slices.ContainsFunc(c.open(name), func(s hotspot.Session) bool { return s.MAC.String() == mac }) {
			return c.guest(mac)
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("no Accounting Start for %s", name)
		}
	}
}

func (c *cafe) guest(mac string) routersim.Guest {
	c.t.Helper()
	g, err := c.sim.Guest(mac)
	if err != nil {
		c.t.Fatal(err)
	}
	return g
}

// open returns the open sessions of a user name.
func (c *cafe) open(name string) []hotspot.Session {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []hotspot.Session
	for _, s := range c.sessions {
		if s.Username == name && s.IsOpen() {
			out = append(out, s)
		}
	}
	return out
}

// lock makes an account a target, as the agent's store does on a lock.
func (c *cafe) lock(name string, change ...func(*hotspot.Target)) {
	now := time.Now()
	t := hotspot.Target{Account: hotspot.AccountID(name), Reason: hotspot.OffLocked, Lock: &hotspot.Lock{At: now, Revision: 7},
		Usernames: []string{name}, ReceivedAt: now, Whole: true}
	for _, f := range change {
		f(&t)
	}
	c.mu.Lock()
	c.refuse[name] = true
	c.targets[t.Account] = t
	c.mu.Unlock()
	c.poke()
}

func (c *cafe) unlock(name string) {
	c.mu.Lock()
	delete(c.refuse, name)
	delete(c.targets, hotspot.AccountID(name))
	c.mu.Unlock()
	c.poke()
}

func (c *cafe) poke() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// proof waits for the next proof of an account.
func (c *cafe) proof(name string) hotspot.Proof {
	c.t.Helper()
	timeout := time.After(10 * time.Second)
	for {
		select {
		case p := <-c.proven:
			if p.Account == hotspot.AccountID(name) {
				return p
			}
		case <-timeout:
			c.t.Fatalf("no proof of %s; waiting: %+v, health: %+v", name, c.e.Waiting(), c.e.Health())
		}
	}
}

// Targets implements Store as the agent's does: with the sessions open now.
func (c *cafe) Targets(context.Context) ([]hotspot.Target, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []hotspot.Target
	for _, t := range c.targets {
		for _, s := range c.sessions {
			if concerns(t, s) && s.IsOpen() && t.Whole {
				t.Sessions = append(slices.Clone(t.Sessions), s)
				t.MACs = append(slices.Clone(t.MACs), s.MAC)
			}
		}
		out = append(out, t)
	}
	return out, nil
}

// LockTargets implements Store.
func (c *cafe) LockTargets(ctx context.Context) ([]hotspot.Target, error) {
	all, err := c.Targets(ctx)
	return slices.DeleteFunc(all, func(t hotspot.Target) bool { return t.Lock == nil }), err
}

// Doubt implements Store.
func (c *cafe) Doubt(_ context.Context, accounts ...hotspot.AccountID) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range accounts {
		if t, locked := c.locks[a]; locked {
			c.targets[a] = t
		}
	}
	if len(accounts) > 0 {
		return nil
	}
	for _, p := range c.proofs {
		if t, locked := c.locks[p.Account]; locked && p.Outcome == hotspot.OutcomeLeaks && c.refuse[t.Usernames[0]] {
			c.targets[p.Account] = t
		}
	}
	return nil
}

// concerns reports whether a session is a target's: by name, or by device.
func concerns(t hotspot.Target, s hotspot.Session) bool {
	if t.Device {
		return slices.Contains(t.MACs, s.MAC)
	}
	return slices.Contains(t.Usernames, s.Username)
}

// Locked implements Locks.
func (c *cafe) Locked(context.Context, int) (out []hotspot.Target, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range c.locks {
		if c.refuse[t.Usernames[0]] {
			out = append(out, t)
		}
	}
	return out, nil
}

// Prove implements Store.
func (c *cafe) Prove(_ context.Context, p hotspot.Proof) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.proofs = append(c.proofs, p)
	if p.Outcome.Final() {
		for id, s := range c.sessions {
			if concerns(c.targets[p.Account], s) {
				s.State = hotspot.Closed
				c.sessions[id] = s
			}
		}
		if c.locks == nil {
			c.locks = map[hotspot.AccountID]hotspot.Target{}
		}
		c.locks[p.Account] = c.targets[p.Account]
		delete(c.targets, p.Account)
	}
	c.proven <- p
	return nil
}

// ObserveActive implements Store.
func (c *cafe) ObserveActive(_ context.Context, nas hotspot.NASID, entries []hotspot.ActiveEntry, at time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.listed = entries
	return nil
}

// radius answers Access- and Accounting-Requests: everybody comes in but those
// refused, and MACs.
func (c *cafe) radius(conn *net.UDPConn) {
	buf := make([]byte, 4096)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		p, err := radius.Parse(slices.Clone(buf[:n]), []byte(secretText))
		if err != nil {
			continue
		}
		reply := p.Response(radius.CodeAccountingResponse)
		if p.Code == radius.CodeAccessRequest {
			reply.Code = radius.CodeAccessAccept
			c.mu.Lock()
			name := rfc2865.UserName_GetString(p)
			_, isMAC := hotspot.ParseMAC(name) // nobody here logs in by MAC
			from, _ := hotspot.ParseMAC(rfc2865.CallingStationID_GetString(p))
			refused := c.refuse[name] || isMAC || c.shut[from]
			c.mu.Unlock()
			if refused {
				reply.Code = radius.CodeAccessReject
			} else {
				_ = rfc2865.PortLimit_Set(reply, 9)
				_ = rfc2865.SessionTimeout_Set(reply, 3600)
				_ = mikrotik.MikrotikRateLimit_AddString(reply, "2M/10M")
			}
			_ = rfc2869.MessageAuthenticator_Set(reply, make([]byte, 16))
			unsigned, err := reply.MarshalBinary()
			if err != nil {
				continue
			}
			mac := hmac.New(md5.New, []byte(secretText))
			mac.Write(unsigned)
			_ = rfc2869.MessageAuthenticator_Set(reply, mac.Sum(nil))
		} else {
			c.record(p)
		}
		if b, err := reply.Encode(); err == nil {
			_, _ = conn.WriteToUDPAddrPort(b, from)
		}
	}
}

// record keeps what accounting says.
func (c *cafe) record(p *radius.Packet) {
	id := hotspot.SessionID(rfc2866.AcctSessionID_GetString(p))
	m, _ := hotspot.ParseMAC(rfc2865.CallingStationID_GetString(p))
	ip, _ := netip.AddrFromSlice(rfc2865.FramedIPAddress_Get(p))
	s := hotspot.Session{ID: id, NAS: nasID, AcctSessionID: hotspot.AcctSessionID(id), Username: rfc2865.UserName_GetString(p),
		MAC: m, IP: ip.Unmap(), HostIP: ip.Unmap(), State: hotspot.Live}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch rfc2866.AcctStatusType_Get(p) {
	case rfc2866.AcctStatusType_Value_Start:
		c.sessions[id] = s
	case rfc2866.AcctStatusType_Value_Stop:
		s.State = hotspot.Closed
		c.sessions[id] = s
	}
}

// coa sends Disconnect-Requests by a codec that is not ours.
type coa struct{ to netip.AddrPort }

func (d coa) Disconnect(ctx context.Context, _ hotspot.NASID, s hotspot.Session) (hotspot.Disconnected, error) {
	p := radius.New(radius.CodeDisconnectRequest, []byte(secretText))
	err := errors.Join(rfc2865.UserName_SetString(p, s.Username), rfc2866.AcctSessionID_SetString(p, string(s.AcctSessionID)),
		rfc2865.FramedIPAddress_Set(p, s.IP.AsSlice()), rfc2865.CallingStationID_SetString(p, s.MAC.String()))
	if err != nil {
		return hotspot.Disconnected{}, err
	}
	return d.exchange(ctx, p)
}

func (d coa) exchange(ctx context.Context, p *radius.Packet) (hotspot.Disconnected, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	begun := time.Now()
	reply, err := (&radius.Client{Retry: 300 * time.Millisecond}).Exchange(ctx, p, d.to.String())
	out := hotspot.Disconnected{Result: hotspot.ResultTimeout, Attempts: 1, RoundTrip: time.Since(begun)}
	switch {
	case err != nil:
	case reply.Code == radius.CodeDisconnectACK, reply.Code == radius.CodeCoAACK:
		out.Result = hotspot.ResultACK
	default:
		out.Result = hotspot.ResultNAK
		if b := reply.Get(101); len(b) == 4 { // Error-Cause (RFC 5176 §3.5)
			out.ErrorCause = binary.BigEndian.Uint32(b)
		}
	}
	return out, nil
}

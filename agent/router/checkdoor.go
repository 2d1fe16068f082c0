package router

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"iwas/internal/condition"
	"iwas/internal/fault"
	"iwas/internal/routeros"
)

// certificateSoon is how long before its end a certificate is spoken of.
const certificateSoon = 30 * 24 * time.Hour

// doorPause is how long a router that hung up has to notice that the connections
// of the rows above are closed: one that allows few sessions counts them until
// then.
const doorPause = 500 * time.Millisecond

// door goes through what a connection needs, step by step, and returns one that
// is logged in; nil when a step failed: then what needs it is skipped.
func (c Check) door(ctx context.Context, s *sheet, seen *glimpse) routeros.Conn {
	if c.API.URL == "" {
		s.set(condition.CheckRow{Probe: "tcp", State: condition.Warn, Code: CodeNoAPI, Seen: "no API of this router is configured"})
		skipRest(s, "needs the API of the router")
		return nil
	}
	where, err := routeros.DoorOf(c.API.URL)
	if err != nil {
		s.set(failure("tcp", err, c.API.URL))
		skipRest(s, "needs an address that can be read")
		return nil
	}
	steps := []struct {
		probe string
		do    func(context.Context) (condition.CheckRow, error)
	}{
		{"dns", func(ctx context.Context) (condition.CheckRow, error) { return c.resolve(ctx, where) }},
		{"tcp", func(ctx context.Context) (condition.CheckRow, error) { return c.reach(ctx, where, seen) }},
		{"tls", func(ctx context.Context) (condition.CheckRow, error) { return c.certificate(ctx, where) }},
	}
	for _, step := range steps {
		if !c.step(ctx, s, step.probe, step.do) {
			skipRest(s, "needs the row above that failed")
			return nil
		}
	}
	var conn routeros.Conn
	if !c.step(ctx, s, "login", func(ctx context.Context) (condition.CheckRow, error) {
		var err error
		conn, err = c.dial(ctx)
		if fault.Code(err) == routeros.CodeServiceOff && pause(ctx, doorPause) {
			conn, err = c.dial(ctx)
		}
		return condition.CheckRow{State: condition.OK, Seen: "logged in as " + c.API.User + " over " + where.Service}, err
	}) {
		skipRest(s, "needs the login")
		return nil
	}
	return conn
}

// step runs one step within its time, and reports whether the next may follow.
func (c Check) step(ctx context.Context, s *sheet, probe string, do func(context.Context) (condition.CheckRow, error)) bool {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	begun := time.Now()
	r, err := do(ctx)
	if err != nil {
		// Here an error is the fault itself, not an answer that is missing.
		r = condition.CheckRow{State: condition.Fail, Code: fault.Code(err), Seen: plain(err), Next: fault.Hint(err)}
		if r.Code == "" {
			r.Code = CodeOddAnswer
		}
		r.Late = late(err)
	}
	r.Probe, r.Took = probe, time.Since(begun)
	s.set(r)
	return r.State != condition.Fail
}

// skipRest marks what cannot be asked without a login.
func skipRest(s *sheet, why string) {
	for _, p := range points {
		switch p.probe {
		case "radius-secret", "disconnect": // RADIUS tells these
		default:
			if _, there := s.get(p.probe); !there {
				s.set(condition.CheckRow{Probe: p.probe, State: condition.Skipped, Seen: why})
			}
		}
	}
}

func (c Check) resolve(ctx context.Context, where routeros.Door) (condition.CheckRow, error) {
	if _, err := netip.ParseAddr(where.Host); err == nil {
		return condition.CheckRow{State: condition.OK, Seen: where.Host + " is an address: no name has to be looked up"}, nil
	}
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", where.Host)
	if err != nil || len(found) == 0 {
		return condition.CheckRow{State: condition.Fail, Code: CodeNoName, Seen: where.Host + " is not found: " + plain(fault.New(fault.Unavailable, "look up", err)),
			Command: "getent hosts " + where.Host}, nil
	}
	var all []string
	for _, a := range found {
		all = append(all, a.Unmap().String())
	}
	return condition.CheckRow{State: condition.OK, Seen: where.Host + " is " + listed(all)}, nil
}

func (c Check) reach(ctx context.Context, where routeros.Door, seen *glimpse) (condition.CheckRow, error) {
	begun := time.Now()
	local, err := routeros.Reach(ctx, c.API.URL)
	if err != nil {
		r := condition.CheckRow{State: condition.Fail, Code: fault.Code(err), Seen: plain(err), Next: fault.Hint(err), Late: late(err)}
		if r.Code == routeros.CodeServiceOff {
			r.Command = "/ip/service/enable " + where.Service
		}
		return r, nil
	}
	seen.mu.Lock()
	if !seen.address.IsValid() {
		seen.address = local
	}
	seen.mu.Unlock()
	return condition.CheckRow{State: condition.OK, Seen: fmt.Sprintf("port %s answers after %v; the router sees this box as %s", where.Port, rounded(time.Since(begun)), local)}, nil
}

func rounded(d time.Duration) time.Duration {
	if d < time.Millisecond {
		return d.Round(10 * time.Microsecond)
	}
	return d.Round(time.Millisecond)
}

// certificate looks at what the router shows, and compares it with what a person
// trusted.
func (c Check) certificate(ctx context.Context, where routeros.Door) (condition.CheckRow, error) {
	if !where.TLS {
		return condition.CheckRow{State: condition.Skipped, Seen: where.Service + " is not encrypted; the address names it on purpose"}, nil
	}
	cert, err := routeros.LookAt(ctx, c.API.URL)
	if err != nil {
		r := condition.CheckRow{State: condition.Fail, Code: fault.Code(err), Seen: plain(err), Next: fault.Hint(err), Late: late(err)}
		if r.Code == routeros.CodeServiceOff {
			r.Command = "/ip/service/print detail where name=" + where.Service
		}
		return r, nil
	}
	short := cert.SHA256[:16] + "…"
	trust := condition.CheckRow{State: condition.Fail, Code: routeros.CodeCertificateChanged, Command: "iwas-agent router trust " + string(c.NAS)}
	switch now := c.Now(); {
	case strings.TrimSpace(c.API.PinnedSHA256) == "":
		trust.Seen = "nobody has trusted its certificate " + short + " yet; no password was sent"
		trust.Next = "Compare the fingerprint with the router's own (/certificate/print detail), and trust it."
		return trust, nil
	case !routeros.SameFingerprint(c.API.PinnedSHA256, cert.SHA256):
		trust.Seen = "its certificate " + short + " is not the one trusted; no password was sent"
		return trust, nil
	case cert.Expired(now) || cert.Until.Sub(now) < certificateSoon:
		return condition.CheckRow{State: condition.Warn, Code: CodeCertificateEnds, Command: "/certificate/print detail where name=iwas",
			Seen: fmt.Sprintf("trusted (%s), valid %s to %s: it is used all the same", short, cert.From.Format(time.DateOnly), cert.Until.Format(time.DateOnly))}, nil
	}
	return condition.CheckRow{State: condition.OK, Seen: fmt.Sprintf("trusted (%s), valid until %s", short, cert.Until.Format(time.DateOnly))}, nil
}

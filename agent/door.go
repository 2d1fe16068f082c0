package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"iwas/agent/router"
	"iwas/agent/statuspage"
	"iwas/agent/statuspage/access"
	"iwas/internal/hotspot"
	"iwas/internal/secret"
)

func (c config) people() *access.People {
	return &access.People{File: filepath.Join(c.StateDir, "people.json")}
}

// certificate is that of the page's door to the network.
func (c config) certificate() *access.Certificate {
	host, _, _ := net.SplitHostPort(c.Status.Address) // checked when it was read
	return &access.Certificate{Dir: c.StateDir, Hosts: append([]string{host}, c.Status.Names...)}
}

// validateDoor finds the faults of the page's door to the network.
func (c config) validateDoor(bad func(key, format string, args ...any)) {
	s := c.Status
	if s.Address == "" {
		if len(s.Networks) > 0 {
			bad("status.networks", "belongs to status.address, which is empty")
		}
		return
	}
	at, err := netip.ParseAddrPort(s.Address)
	if err != nil || at.Addr().IsUnspecified() || at.Addr().IsLoopback() {
		bad("status.address", "%q is not one address of this box with a port, such as 192.168.99.2:8480", s.Address)
	}
	if len(s.Networks) == 0 {
		bad("status.networks", "must say who is answered on status.address, such as [\"192.168.99.0/24\"]")
	}
	for i, n := range s.Networks {
		key := fmt.Sprintf("status.networks[%d]", i)
		p, err := parseNetwork(n)
		if err != nil {
			bad(key, "%q is not a network such as 192.168.99.0/24", n)
			continue
		}
		if p.Bits() == 0 {
			bad(key, "%s is everybody: name the network of the technicians", n)
		}
		for _, r := range c.routerRanges() {
			if r.From != r.To && r.Contains(p.Addr()) && r.Contains(access.RangeOf(p).To) {
				bad(key, "%s lies within the address of a [[nas]], from which guests may come: give that section the router's one address", n)
			}
		}
	}
	for i, g := range s.Guests {
		if _, err := parseRange(g); err != nil {
			bad(fmt.Sprintf("status.guests[%d]", i), "%q is not a network or a range such as 10.20.0.0/22 or 10.5.5.10-10.5.5.99", g)
		}
	}
	for i, n := range s.Names {
		if n == "" || strings.Trim(strings.ToLower(n), "abcdefghijklmnopqrstuvwxyz0123456789-.") != "" {
			bad(fmt.Sprintf("status.names[%d]", i), "%q is not a name such as box.cafe.lan", n)
		}
	}
}

// parseRange reads an address, a network or a range of addresses.
func parseRange(s string) (access.Range, error) {
	from, to, isRange := strings.Cut(s, "-")
	if !isRange {
		p, err := parseNetwork(s)
		if err != nil {
			return access.Range{}, err
		}
		return access.RangeOf(p), nil
	}
	a, err := netip.ParseAddr(strings.TrimSpace(from))
	b, err2 := netip.ParseAddr(strings.TrimSpace(to))
	if err = errors.Join(err, err2); err == nil && (a.BitLen() != b.BitLen() || b.Less(a)) {
		err = errors.New("it ends before it begins")
	}
	return access.Range{From: a.Unmap(), To: b.Unmap()}, err
}

// routerRanges are the routers' own addresses, as far as the configuration tells.
func (c config) routerRanges() (out []access.Range) {
	for _, n := range c.NAS {
		for _, a := range n.addresses() {
			if p, err := parseNetwork(a); err == nil {
				out = append(out, access.RangeOf(p))
			}
		}
		if u, err := url.Parse(n.Router.URL); err == nil {
			if a, err := netip.ParseAddr(u.Hostname()); err == nil && !a.IsLoopback() {
				out = append(out, access.Range{From: a.Unmap(), To: a.Unmap()})
			}
		}
	}
	return out
}

// guestRanges are guests' addresses, as far as the configuration tells.
func (c config) guestRanges() (out []access.Range) {
	for _, g := range c.Status.Guests {
		if r, err := parseRange(g); err == nil {
			out = append(out, r)
		}
	}
	for _, n := range c.NAS {
		if n.Setup != nil && n.Setup.Mode == "whole-cafe" {
			guests := "10.20.0.0/22" // as agent/provision takes it
			if n.Setup.Guests != nil {
				guests = cmp.Or(n.Setup.Guests.Subnet, guests)
			}
			if p, err := parseNetwork(guests); err == nil {
				out = append(out, access.RangeOf(p))
			}
		}
	}
	return out
}

// wireDoor gives the status page its people and its door to the network.
func (s *site) wireDoor() {
	s.page.People = s.cfg.people()
	if s.cfg.Status.Address == "" {
		return
	}
	s.guests = &guestBook{file: filepath.Join(s.cfg.StateDir, "guests.json"), log: s.log.With("part", "status")}
	s.page.Door = statuspage.Door{Address: s.cfg.Status.Address, Names: s.cfg.Status.Names, Rules: s.doorRules, Certificate: s.cfg.certificate()}
}

// doorRules are whose connections the page takes: by the configuration, and by
// what the routers tell of themselves, or told before the last restart.
func (s *site) doorRules() access.Rules {
	out := access.Rules{Guests: s.cfg.guestRanges(), Routers: s.cfg.routerRanges()}
	for _, n := range s.cfg.Status.Networks {
		if p, err := parseNetwork(n); err == nil {
			out.Networks = append(out.Networks, p)
		}
	}
	var heard []router.Health
	if s.enforcer != nil {
		heard = s.enforcer.Health()
	}
	for _, t := range s.guests.update(heard) {
		for _, g := range t.Guests {
			if r, err := parseRange(g); err == nil {
				out.Guests = append(out.Guests, r)
			}
		}
		for _, a := range t.Addresses {
			if r, err := parseRange(a); err == nil && !r.From.IsLoopback() {
				out.Routers = append(out.Routers, r)
			}
		}
	}
	return out
}

// toldOf is what a router told of addresses.
type toldOf struct {
	Addresses []string `json:"addresses"` // its own
	Guests    []string `json:"guests"`    // ranges of guests
}

// guestBook keeps what the routers told, over restarts: right after one, and while
// a router is away, guests must be known for guests.
type guestBook struct {
	file string
	log  *slog.Logger

	mu    sync.Mutex
	read  bool                        // guarded by mu: file was looked at
	known map[hotspot.NASID]toldOf    // guarded by mu
	at    map[hotspot.NASID]time.Time // guarded by mu: of the reading that known is of
}

// update takes the newest readings in and returns all that is known.
func (g *guestBook) update(heard []router.Health) []toldOf {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.read {
		g.load()
	}
	changed := false
	for _, h := range heard {
		p := h.Vitals.Pools
		if p.At.IsZero() || p.At.Equal(g.at[h.NAS]) {
			continue
		}
		g.at[h.NAS] = p.At
		var t toldOf
		for _, a := range p.Addresses {
			t.Addresses = append(t.Addresses, a.String())
		}
		for _, r := range p.Guests {
			t.Guests = append(t.Guests, access.Range(r).String())
		}
		if old := g.known[h.NAS]; !slices.Equal(old.Addresses, t.Addresses) || !slices.Equal(old.Guests, t.Guests) {
			g.known[h.NAS], changed = t, true
		}
	}
	if changed {
		g.save()
	}
	out := make([]toldOf, 0, len(g.known))
	for _, t := range g.known {
		out = append(out, t)
	}
	return out
}

// load reads the file; mu is held. What cannot be read is learnt anew.
func (g *guestBook) load() {
	g.read, g.known, g.at = true, map[hotspot.NASID]toldOf{}, map[hotspot.NASID]time.Time{}
	b, err := os.ReadFile(g.file)
	if err == nil {
		err = json.Unmarshal(b, &g.known)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		g.log.Warn("what the routers told of guests' addresses cannot be read; they are asked anew", "err", err)
	}
	if g.known == nil { // the file held null
		g.known = map[hotspot.NASID]toldOf{}
	}
}

// save writes the file; mu is held.
func (g *guestBook) save() {
	b, err := json.MarshalIndent(g.known, "", "  ")
	if err == nil {
		err = secret.WriteFile(g.file, append(b, '\n'))
	}
	if err != nil {
		g.log.Warn("what the routers told of guests' addresses is not kept", "err", err)
	}
}

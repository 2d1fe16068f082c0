package routersim

import (
	"context"
	"slices"
	"time"
)

// PowerCut takes the power: no Stop, no Accounting-Off, nothing that was queued
// is sent, every dynamic row is gone. After the given time it boots.
func (s *Sim) PowerCut(dark time.Duration) { s.reboot(false, dark) }

// Reboot is an orderly restart: guests are logged out with Stops first.
func (s *Sim) Reboot() { s.reboot(true, 0) }

func (s *Sim) reboot(orderly bool, dark time.Duration) {
	s.mu.Lock()
	if s.dark {
		s.mu.Unlock()
		return // it is off, or about to boot
	}
	s.dark = true
	var stops []chan struct{}
	for _, h := range s.hosts {
		x := h.session
		if x == nil {
			continue
		}
		if orderly {
			s.endSession(h, causeNASReboot)
			stops = append(stops, x.sent)
		} else {
			close(x.records)
			h.session = nil
			s.noteStay(h, x)
		}
	}
	clear(s.hosts)
	clear(s.conns)
	s.past = octets{} // interfaces count from the start
	for c := range s.apiConns {
		_ = c.Close() // the client sees a cut connection, which is the point
	}
	s.doors.Lock()
	for c := range s.restConns {
		_ = c.Close()
	}
	s.doors.Unlock()
	off := s.off
	if !orderly {
		off() // before the lock is let go: nothing more leaves
	}
	e, _ := s.radiusEntry()
	s.mu.Unlock()
	s.awaitStops(stops, e.timeout)
	off()
	select {
	case <-time.After(dark):
	case <-s.ctx.Done():
		return
	}
	s.bootUp()
}

// awaitStops gives the Stops of an orderly restart one try's time.
func (s *Sim) awaitStops(stops []chan struct{}, limit time.Duration) {
	late := time.After(limit)
	for _, sent := range stops {
		select {
		case <-sent:
		case <-late:
			return
		case <-s.ctx.Done():
			return
		}
	}
}

// bootUp starts with what survives: configuration and cookies. Dynamic rows and
// the log are gone, and rows have other ids (facts.md §1, §6).
func (s *Sim) bootUp() {
	s.mu.Lock()
	s.menus["log"].rows, s.leaked = nil, nil
	s.nextID += 1 + s.rng.IntN(256)
	links := map[int]int{} // ids of interfaces: one row has the same in two menus
	for _, path := range s.paths {
		m := s.menus[path]
		m.rows = slices.DeleteFunc(m.rows, func(r *row) bool { return r.dynamic })
		for _, r := range m.rows {
			was := r.id
			if was == 0 {
				continue // the default of its menu
			}
			if path != "interface" && links[was] != 0 {
				r.id = links[was]
				continue
			}
			r.id = s.id()
			if path == "interface" {
				links[was] = r.id
			}
		}
	}
	s.boots = (s.boots + 1) % 16
	s.nextSess = 0
	s.recent = nil
	s.boot, s.off = context.WithCancel(s.ctx)
	s.booted, s.dark = time.Now(), false
	scripts := s.atStartup()
	s.mu.Unlock()
	for _, p := range scripts {
		s.run(func() { s.runScript(p) })
	}
	s.accountingOn()
}

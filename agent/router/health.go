package router

import (
	"context"
	"fmt"
	"sync"
	"time"

	"iwas/internal/fault"
	"iwas/internal/routeros"
)

// Vitals are how a router does: readings of several menus, each with its own age
// and its own failure, so that one that fails hides no other.
type Vitals struct {
	System  System
	Sensors Sensors
	Board   Board
	WAN     WAN
	HotSpot HotSpot
	Traffic Traffic
	Pools   Pools
	Leases  Leases
	Queues  Queues
	Devices Devices
	Log     Log
	History []Sample // of the last hour, the oldest first
}

// Reading is how one menu was read last.
type Reading struct {
	Menu            string    // "/system/resource"
	At              time.Time // of the newest answer, by our clock; zero: never
	Absent          bool      // this router does not have it
	Err, Code, Hint string    // of the last try, when it failed
}

// readings lists them, in the order of the menus asked.
func (v *Vitals) readings() []*Reading {
	out := make([]*Reading, len(chores))
	for i := range chores {
		out[i] = chores[i].of(v)
		out[i].Menu = chores[i].asks[0].menu
	}
	return out
}

// Readings lists how each menu was read last.
func (v Vitals) Readings() []Reading {
	out := make([]Reading, 0, len(chores))
	for _, r := range v.readings() {
		out = append(out, *r)
	}
	return out
}

const (
	vitalsEvery = 30 * time.Second       // between two readings of a menu
	logEvery    = time.Minute            // of the log, which is read whole: queries know no "newer than"
	vitalsSlice = 250 * time.Millisecond // of one look; the menus left over wait for the next
	vitalsWait  = 3 * time.Second        // for one menu
	vitalsSore  = 5 * time.Minute        // until a menu is asked again that did not answer in time: it cost the connection
	samplesKept = 120                    // an hour
)

// ask is one print. A menu that is missing is empty, unless it is the first of
// its chore.
type ask struct{ menu, properties, query string }

func (a ask) words() []string {
	out := []string{a.menu + "/print"}
	if a.properties != "" {
		out = append(out, "=.proplist="+a.properties)
	}
	if a.query != "" {
		out = append(out, a.query)
	}
	return out
}

// chore reads what belongs together. take is pure; it keeps what it does not
// replace.
type chore struct {
	of    func(*Vitals) *Reading
	every time.Duration
	asks  []ask
	take  func(v *Vitals, now time.Time, answers [][]routeros.Row) error
}

// The system comes first: whether it restarted says what the counters are worth.
var chores = []chore{
	{func(v *Vitals) *Reading { return &v.System.Reading }, vitalsEvery, []ask{{"/system/resource", "uptime,cpu-load,cpu-count,free-memory,total-memory,free-hdd-space,total-hdd-space,bad-blocks", ""}}, takeSystem},
	{func(v *Vitals) *Reading { return &v.WAN.Reading }, vitalsEvery, []ask{{"/ip/route", "gateway,immediate-gw,active,disabled,routing-table", "?dst-address=0.0.0.0/0"}}, takeWAN},
	{func(v *Vitals) *Reading { return &v.HotSpot.Reading }, vitalsEvery, []ask{{"/system/device-mode", "", ""}}, takeDeviceMode},
	{func(v *Vitals) *Reading { return &v.Pools.Reading }, vitalsEvery, []ask{{"/ip/pool", "name,ranges,next-pool", ""}, {"/ip/pool/used", "pool", ""},
		{"/ip/hotspot", "name,interface,address-pool,disabled,invalid", ""}, {"/ip/dhcp-server", "name,interface,address-pool,disabled,invalid", ""},
		{"/ip/address", "address,interface,actual-interface,disabled,invalid", ""}}, takePools},
	{func(v *Vitals) *Reading { return &v.Traffic.Reading }, vitalsEvery, []ask{{"/interface", "name,running,disabled,rx-byte,tx-byte", ""}}, takeTraffic},
	{func(v *Vitals) *Reading { return &v.Sensors.Reading }, vitalsEvery, []ask{{"/system/health", "", ""}}, takeSensors},
	{func(v *Vitals) *Reading { return &v.Leases.Reading }, vitalsEvery, []ask{{"/ip/dhcp-server/lease", "status,disabled", ""}}, takeLeases},
	{func(v *Vitals) *Reading { return &v.Queues.Reading }, vitalsEvery, []ask{{"/queue/simple", "name,target,dynamic,max-limit,rate", ""}}, takeQueues},
	{func(v *Vitals) *Reading { return &v.Devices.Reading }, vitalsEvery, []ask{{"/ip/hotspot/host", "mac-address,address,to-address,authorized,bypassed,idle-time", ""},
		{"/ip/hotspot/cookie", "user,mac-address,mac-cookie,expires-in", ""}}, takeDevices},
	{func(v *Vitals) *Reading { return &v.Log.Reading }, logEvery, []ask{{"/log", ".id,time,topics,message", ""}}, takeLog},
	{func(v *Vitals) *Reading { return &v.Board.Reading }, 10 * time.Minute, []ask{{"/system/routerboard", "", ""}}, takeBoard},
}

// monitor reads the vitals of one router. The watching loop owns due; mu guards
// the rest, and nothing waits under it.
type monitor struct {
	due []time.Time // by chore; zero is at once

	mu sync.Mutex
	v  Vitals
}

// known returns the newest readings. What they refer to is not changed any more.
func (m *monitor) known() Vitals {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.v.readings() // names the menus that were not asked yet
	return m.v
}

// read asks the menus that are due, the one that waits longest first, until the
// slice of this look is over. Its error means that the connection died; that one
// menu is refused, or late, is noted at its reading.
func (m *monitor) read(ctx context.Context, n *nas, now func() time.Time) error {
	if m.due == nil {
		m.due = make([]time.Time, len(chores))
	}
	begun := time.Now()
	for time.Since(begun) < vitalsSlice {
		next := -1
		for i, at := range m.due {
			if !at.After(begun) && (next < 0 || at.Before(m.due[next])) {
				next = i
			}
		}
		if next < 0 {
			return nil
		}
		late, err := m.one(ctx, n, chores[next], now)
		if err != nil {
			return err
		}
		m.due[next] = time.Now().Add(chores[next].every)
		if late {
			m.due[next] = time.Now().Add(vitalsSore)
		}
	}
	return nil
}

// one does a chore. late says that a menu gave no answer in time.
func (m *monitor) one(ctx context.Context, n *nas, c chore, now func() time.Time) (late bool, err error) {
	answers := make([][]routeros.Row, len(c.asks))
	for i, a := range c.asks {
		bounded, cancel := context.WithTimeout(ctx, vitalsWait)
		answers[i], err = n.watcher.do(bounded, a.words()...)
		late = over(bounded)
		cancel()
		missing := routeros.ReasonOf(err) == routeros.NoSuchCommand
		switch {
		case err == nil, missing && i > 0:
			continue
		case ctx.Err() != nil, !late && !routeros.Refused(err):
			return false, err
		case late:
			err = fault.New(fault.Unavailable, fmt.Sprintf("%s: no answer within %v", a.menu, vitalsWait), nil).
				WithCode(CodeSlow, "It is asked again in some minutes. Look at the load of the router.")
		}
		m.failed(c, err, missing)
		return late, nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	at := now()
	if err := c.take(&m.v, at, answers); err != nil {
		note(c.of(&m.v), fault.New(fault.Internal, "read "+c.asks[0].menu, err).WithCode(CodeOddAnswer, "Ask again; if it stays, update iwas-agent or RouterOS."))
		return false, nil
	}
	r := c.of(&m.v)
	r.At, r.Absent = at, false
	note(r, nil)
	m.v.complete()
	return false, nil
}

func (m *monitor) failed(c chore, err error, missing bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := c.of(&m.v)
	r.Absent = missing
	if missing { // nothing is wrong: boards differ
		err = nil
	}
	note(r, err)
}

// note keeps how a try ended.
func note(r *Reading, err error) {
	r.Err, r.Code, r.Hint = "", fault.Code(err), fault.Hint(err)
	if err != nil {
		r.Err = err.Error()
	}
}

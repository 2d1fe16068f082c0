package store

import (
	"context"
	"maps"
	"math"
	"slices"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// Widths of the steps that history is kept in, and for how long.
const (
	FineStep   = 5 * time.Minute
	CoarseStep = time.Hour
	fineKept   = 7 * 24 * time.Hour
	coarseKept = 90 * 24 * time.Hour
	// restartSlack is how far two reckonings of when a router began may differ: the
	// uptime may be read five minutes after the oldest figure, whose time is told.
	restartSlack = 10 * time.Minute
	// restartsKept bounds the restarts told of one step.
	restartsKept = 20
)

var steps = []struct{ width, kept time.Duration }{{FineStep, fineKept}, {CoarseStep, coarseKept}}

// historyBody is one row of site_history.
type historyBody struct {
	Sessions *rolled                      `json:"sessions,omitempty"`
	Routers  map[hotspot.NASID]routerBody `json:"routers,omitempty"`
}

type routerBody struct {
	CPU       *rolled `json:"cpu,omitempty"`
	Memory    *rolled `json:"memory,omitempty"`
	Celsius   *rolled `json:"celsius,omitempty"`
	Volts     *rolled `json:"volts,omitempty"`
	WANUp     *rolled `json:"wan_up,omitempty"`
	Down      *rolled `json:"down_bps,omitempty"`
	Up        *rolled `json:"up_bps,omitempty"`
	Restarted []int64 `json:"restarted_at,omitempty"` // Unix milliseconds
}

// rolled is hotspot.Rolled as stored: how many, mean, lowest, highest, newest.
type rolled struct {
	N    int     `json:"n"`
	Mean float64 `json:"m"`
	Low  float64 `json:"l"`
	High float64 `json:"h"`
	Last float64 `json:"z"`
}

// with is r with one more value; what is no number is no value.
func (r *rolled) with(v *float64) *rolled {
	if v == nil || math.IsNaN(*v) || math.IsInf(*v, 0) {
		return r
	}
	var h hotspot.Rolled
	if r != nil {
		h = r.hotspot()
	}
	h.Add(*v)
	return &rolled{N: h.N, Mean: h.Mean, Low: h.Low, High: h.High, Last: h.Last}
}

func (r rolled) hotspot() hotspot.Rolled {
	return hotspot.Rolled{N: r.N, Low: r.Low, Mean: r.Mean, High: r.High, Last: r.Last}
}

func (r *rolled) told() *hotspot.Rolled {
	if r == nil {
		return nil
	}
	h := r.hotspot()
	return &h
}

// number is a figure as history counts it.
func number[T int | float64 | hotspot.Rate](v *T) *float64 {
	if v == nil {
		return nil
	}
	f := float64(*v)
	return &f
}

func truth(v *bool) *float64 {
	if v == nil {
		return nil
	}
	f := map[bool]float64{true: 1}[*v]
	return &f
}

// add brings in what was heard of one router.
func (b routerBody) add(r hotspot.RouterHealth, restarted time.Time) routerBody {
	b.CPU, b.Memory, b.Celsius, b.Volts = b.CPU.with(number(r.CPU)), b.Memory.with(number(r.Memory)), b.Celsius.with(r.Celsius), b.Volts.with(r.Volts)
	b.WANUp, b.Down, b.Up = b.WANUp.with(truth(r.WANUp)), b.Down.with(number(r.Down)), b.Up.with(number(r.Up))
	if !restarted.IsZero() && len(b.Restarted) < restartsKept {
		b.Restarted = append(b.Restarted, ms(restarted))
	}
	return b
}

// toldBefore is what was known of a site before a hello.
type toldBefore struct {
	routers map[hotspot.NASID]hotspot.RouterHealth
	offset  time.Duration // site's clock minus ours
}

// before reads it. The site's row is there.
func (t *tx) before(site hotspot.SiteID) (toldBefore, error) {
	var text string
	var offset int64
	b := toldBefore{routers: map[hotspot.NASID]hotspot.RouterHealth{}}
	if _, err := t.one(`SELECT routers, clock_offset_ms FROM site_status WHERE site = $1`+t.db.dialect.forUpdate, []any{string(site)}, &text, &offset); err != nil {
		return b, err
	}
	var told []wire.RouterHealth
	if err := unmarshal(text, &told); err != nil {
		return b, err
	}
	for _, r := range told {
		b.routers[r.NAS] = r.Hotspot()
	}
	b.offset = duration(offset)
	return b, nil
}

// heardOf is one router's figures, new since the hello before.
type heardOf struct {
	router    hotspot.RouterHealth
	at        time.Time // of its oldest figure, by our clock
	restarted time.Time // zero: it did not
}

// newsOf are the routers a hello says something new of. A figure told again is
// one figure: a hello goes out on many occasions.
func newsOf(before toldBefore, routers []wire.RouterHealth, offset time.Duration, came time.Time) (out []heardOf) {
	for _, told := range routers {
		r := told.Hotspot()
		old, known := before.routers[r.NAS]
		if r.At.IsZero() || known && old.At.Equal(r.At) {
			continue
		}
		n := heardOf{router: r, at: r.At.Add(-offset)}
		set := n.at.After(came.Add(time.Minute)) || came.Sub(n.at) > time.Hour // its clock was, between two hellos
		if set || n.at.After(came) {
			n.at = came
		}
		if known && r.Uptime != nil && old.Uptime != nil {
			began, beganBefore := n.at.Add(-*r.Uptime), old.At.Add(-before.offset).Add(-*old.Uptime)
			// The uptime fell; or, after a long silence, it is not as long as it would be.
			if *r.Uptime < *old.Uptime || !set && began.Sub(beganBefore) > restartSlack {
				n.restarted = began
			}
		}
		out = append(out, n)
	}
	return out
}

// keepHistory brings a hello into the steps it belongs to.
func (t *tx) keepHistory(site hotspot.SiteID, sessions int, news []heardOf, came time.Time) error {
	for _, s := range steps {
		rows := map[int64][]func(*historyBody){}
		width := s.width.Milliseconds()
		put := func(at time.Time, f func(*historyBody)) {
			row := at.UnixMilli() / width * width
			rows[row] = append(rows[row], f)
		}
		put(came, func(b *historyBody) { n := float64(max(0, sessions)); b.Sessions = b.Sessions.with(&n) })
		for _, n := range news {
			put(n.at, func(b *historyBody) {
				if b.Routers == nil {
					b.Routers = map[hotspot.NASID]routerBody{}
				}
				b.Routers[n.router.NAS] = b.Routers[n.router.NAS].add(n.router, n.restarted)
			})
		}
		for _, at := range slices.Sorted(maps.Keys(rows)) {
			if err := t.keepStep(site, width, at, rows[at]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *tx) keepStep(site hotspot.SiteID, width, at int64, changes []func(*historyBody)) error {
	var body historyBody
	text := ""
	found, err := t.one(`SELECT body FROM site_history WHERE site = $1 AND width = $2 AND at = $3`, []any{string(site), width, at}, &text)
	if err != nil {
		return err
	}
	if found {
		if err := unmarshal(text, &body); err != nil {
			return err
		}
	}
	for _, change := range changes {
		change(&body)
	}
	if text, err = marshal(body); err != nil {
		return err
	}
	return t.exec(`INSERT INTO site_history (site, width, at, body) VALUES ($1, $2, $3, $4) ON CONFLICT (site, width, at) DO UPDATE SET body = excluded.body`,
		string(site), width, at, text)
}

// History returns what a site of the organization said from one time to another,
// in steps of FineStep or CoarseStep, the oldest first. A step in which nothing
// was heard is not there.
func (db *DB) History(ctx context.Context, org hotspot.OrganizationID, site hotspot.SiteID, width time.Duration, from, to time.Time) (out []hotspot.HistoryStep, err error) {
	err = db.read(ctx, "history", func(t *tx) error {
		out = nil
		return t.each(`SELECT h.at, h.body FROM site_history h JOIN site s ON s.id = h.site
			WHERE s.organization = $1 AND h.site = $2 AND h.width = $3 AND h.at >= $4 AND h.at < $5 ORDER BY h.at`,
			[]any{string(org), string(site), width.Milliseconds(), from.UnixMilli(), to.UnixMilli()}, func(scan func(...any) error) error {
				var begin int64
				var text string
				if err := scan(&begin, &text); err != nil {
					return err
				}
				var body historyBody
				if err := unmarshal(text, &body); err != nil {
					return err
				}
				out = append(out, body.step(time.UnixMilli(begin).UTC()))
				return nil
			})
	})
	return out, err
}

func (b historyBody) step(begin time.Time) hotspot.HistoryStep {
	s := hotspot.HistoryStep{At: begin, Sessions: b.Sessions.told(), Routers: map[hotspot.NASID]hotspot.RouterStep{}}
	for nas, r := range b.Routers {
		one := hotspot.RouterStep{CPU: r.CPU.told(), Memory: r.Memory.told(), Celsius: r.Celsius.told(), Volts: r.Volts.told(), WANUp: r.WANUp.told(), Down: r.Down.told(), Up: r.Up.told()}
		for _, ms := range r.Restarted {
			one.RestartedAt = append(one.RestartedAt, at(ms))
		}
		s.Routers[nas] = one
	}
	return s
}

// DropOldHistory takes away the steps that are past keeping, of sites that are
// silent too, and says how many.
func (db *DB) DropOldHistory(ctx context.Context) (dropped int64, err error) {
	for _, s := range steps {
		err = db.writeLazily(ctx, "drop old history", func(t *tx) error {
			n, err := t.touched(`DELETE FROM site_history WHERE width = $1 AND at < $2`, s.width.Milliseconds(), t.now.Add(-s.kept).UnixMilli())
			if err == nil {
				dropped += n
			}
			return err
		})
		if err != nil {
			return dropped, err
		}
	}
	return dropped, nil
}

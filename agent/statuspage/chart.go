package statuspage

import (
	"strconv"
	"strings"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/webui"
)

// Minute is what one minute was like. What is absent was not known then.
type Minute struct {
	Accepts    uint64 `json:"accepts,omitempty"` // logins, and so on, within the minute
	Rejects    uint64 `json:"rejects,omitempty"`
	Dropped    uint64 `json:"dropped,omitempty"`     // met with silence
	P95Micros  *int64 `json:"p95_us,omitempty"`      // 95 % of the newest answers were quicker
	Sessions   *int   `json:"sessions,omitempty"`    // open at its end
	Outbox     *int64 `json:"outbox,omitempty"`      // waiting for the cloud at its end
	StartedNow bool   `json:"started_now,omitempty"` // this program began within it

	Routers map[hotspot.NASID]RouterMinute `json:"routers,omitempty"`
}

// RouterMinute is how a router did at the end of a minute.
type RouterMinute struct {
	CPU         *int          `json:"cpu,omitempty"` // percent
	Memory      *int          `json:"memory,omitempty"`
	Celsius     *float64      `json:"celsius,omitempty"` // of the hottest sensor
	Volts       *float64      `json:"volts,omitempty"`   // of the supply
	WANUp       *bool         `json:"wan_up,omitempty"`
	Down        *hotspot.Rate `json:"down_bps,omitempty"`
	Up          *hotspot.Rate `json:"up_bps,omitempty"`
	RestartedAt time.Time     `json:"restarted_at,omitzero"` // its uptime fell
}

// MinuteAt is a minute and when it began.
type MinuteAt struct {
	At time.Time
	Minute
}

// spans are how far back the charts can go.
var spans = webui.ChartSpans{
	{Key: "1h", Words: "1 hour", Long: time.Hour, Step: time.Minute, Row: 5 * time.Minute},
	{Key: "24h", Words: "24 hours", Long: 24 * time.Hour, Step: 5 * time.Minute, Row: time.Hour},
}

// chartsView is the section of charts.
type chartsView struct {
	Choice []webui.Link
	Words  string
	Groups []webui.ChartGroup
}

// charts draws what is kept. It changes with the minute, not with each look.
func (b board) charts(s webui.ChartSpan, minutes func(from, to time.Time) []MinuteAt) *chartsView {
	if minutes == nil {
		return nil
	}
	from, to := s.Range(b.At)
	v := &chartsView{Words: strings.TrimPrefix(s.Words, "1 "), Choice: spans.Links(s, func(key string) string { return "/?span=" + key + "#charts" })}
	p := plot{b: b, span: s, from: from, to: to, all: minutes(from, to)}
	v.Groups = append(v.Groups, p.group("guests", "Guests", p.guests()))
	for i := range b.Routers {
		if r := &b.Routers[i]; r.API {
			v.Groups = append(v.Groups, p.group("router-"+strconv.Itoa(i), "Router "+r.Name, p.router(r.NAS)))
		}
	}
	return v
}

// plot makes the charts of one span.
type plot struct {
	b        board
	span     webui.ChartSpan
	from, to time.Time
	all      []MinuteAt
}

func (p plot) group(id, name string, charts []webui.Chart) webui.ChartGroup {
	return webui.ChartGroup{Name: name, Charts: charts, Table: webui.TableOf("chart-table-"+id, p.span.Row, charts...)}
}

// of is what a minute has of one figure.
type of func(MinuteAt) (float64, bool)

func (p plot) line(name string, take of) webui.Line {
	var points []webui.Point
	for _, m := range p.all {
		if v, known := take(m); known {
			points = append(points, webui.Point{At: m.At, Value: v})
		}
	}
	return webui.Line{Name: name, Spans: webui.Fold(points, p.from, p.to, p.span.Step)}
}

func (p plot) chart(title string, words func(float64) string, high float64, lines ...webui.Line) webui.Chart {
	return webui.Chart{Title: title, Clock: p.b.Clock, From: p.from, To: p.to, Step: p.span.Step, Lines: lines, High: high, Words: words}
}

func number[T int | int64 | uint64 | float64 | hotspot.Rate](v *T) (float64, bool) {
	if v == nil {
		return 0, false
	}
	return float64(*v), true
}

func (p plot) guests() []webui.Chart {
	logins := p.chart("Logins per minute", webui.Count, 4,
		p.line("Accepted", func(m MinuteAt) (float64, bool) { return float64(m.Accepts), true }),
		p.line("Refused", func(m MinuteAt) (float64, bool) { return float64(m.Rejects), true }),
		p.line("Met with silence", func(m MinuteAt) (float64, bool) { return float64(m.Dropped), true }))
	for _, m := range p.all {
		if m.StartedNow {
			logins.Marks = append(logins.Marks, webui.Mark{At: m.At, Text: "This service began"})
		}
	}
	out := []webui.Chart{logins,
		p.chart("Sessions online", webui.Count, 4, p.line("Sessions", func(m MinuteAt) (float64, bool) { return number(m.Sessions) })),
		p.chart("Answer time of RADIUS", func(v float64) string { return webui.Took(time.Duration(v) * time.Microsecond) }, 1000,
			p.line("95 % within", func(m MinuteAt) (float64, bool) { return number(m.P95Micros) }))}
	if p.b.Cloud.Enrolled {
		out = append(out, p.chart("Facts that wait for the cloud", webui.Count, 4, p.line("Waiting", func(m MinuteAt) (float64, bool) { return number(m.Outbox) })))
	}
	return out
}

func (p plot) router(nas hotspot.NASID) []webui.Chart {
	of := func(take func(RouterMinute) (float64, bool)) of {
		return func(m MinuteAt) (float64, bool) {
			r, ok := m.Routers[nas]
			if !ok {
				return 0, false
			}
			return take(r)
		}
	}
	words := func(v float64) string { return flow(hotspot.Rate(v)) }
	out := []webui.Chart{
		p.chart("Internet reachable", webui.UpDown, 1, p.line("Default route", of(func(r RouterMinute) (float64, bool) {
			if r.WANUp == nil {
				return 0, false
			}
			return map[bool]float64{true: 1}[*r.WANUp], true
		}))),
		p.chart("Traffic to and from the internet", words, 1_000_000,
			p.line("To the guests", of(func(r RouterMinute) (float64, bool) { return number(r.Down) })),
			p.line("From them", of(func(r RouterMinute) (float64, bool) { return number(r.Up) }))),
		p.chart("Processor", webui.Percent, 100, p.line("Busy", of(func(r RouterMinute) (float64, bool) { return number(r.CPU) }))),
		p.chart("Memory", webui.Percent, 100, p.line("In use", of(func(r RouterMinute) (float64, bool) { return number(r.Memory) }))),
	}
	unit := func(u string) func(float64) string {
		return func(v float64) string { return Sensor{Unit: u, Value: v}.words() }
	}
	for _, c := range []webui.Chart{
		p.chart("Temperature", unit("C"), 60, p.line("Hottest sensor", of(func(r RouterMinute) (float64, bool) { return number(r.Celsius) }))),
		p.chart("Voltage", unit("V"), 24, p.line("Supply", of(func(r RouterMinute) (float64, bool) { return number(r.Volts) }))),
	} {
		if !c.Empty() { // not every board has the sensor
			out = append(out, c)
		}
	}
	for i := range out {
		out[i].Marks = p.restarts(nas)
	}
	return out
}

// restarts are the moments at which a router began anew, each once.
func (p plot) restarts(nas hotspot.NASID) (out []webui.Mark) {
	var last time.Time
	for _, m := range p.all {
		at := m.Routers[nas].RestartedAt
		if at.IsZero() || at.Sub(last).Abs() < time.Minute { // its beginning is reckoned anew at each look
			continue
		}
		last = at
		out = append(out, webui.Mark{At: at, Text: "Restarted"})
	}
	return out
}

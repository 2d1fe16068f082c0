package webui

import (
	"cmp"
	"fmt"
	"html/template"
	"math"
	"slices"
	"strings"
	"time"
)

// Span is what was measured in one step of time. A step in which nothing was
// heard has none: a chart draws no line over it.
type Span struct {
	At              time.Time // its begin
	Low, Mean, High float64
	Last            float64 // the newest
}

// Line is one figure over time, the oldest span first.
type Line struct {
	Name  string
	Spans []Span
}

// Mark is a moment that explains a line, such as a restart.
type Mark struct {
	At   time.Time
	Text string // "Restarted"
}

// Chart is one or more lines over the same time, drawn on the server. It says
// in words what it shows, and nothing of it depends on colour.
type Chart struct {
	Title string
	Clock
	From, To time.Time     // whole steps
	Step     time.Duration // from one span to the next
	Lines    []Line        // at most three can be told apart
	Marks    []Mark
	// Low and High are the range drawn at least.
	Low, High float64
	Words     func(float64) string // a value with its unit
}

const (
	chartWide = 1000 // units of the drawing, which is stretched
	chartHigh = 100
	lineKinds = 3 // the sheet has that many ways to draw a line
)

// Fold sums points up in steps; those outside are left out.
func Fold(points []Point, from, to time.Time, step time.Duration) (out []Span) {
	var n float64
	for _, p := range points {
		if p.At.Before(from) || !p.At.Before(to) {
			continue
		}
		at := from.Add(p.At.Sub(from) / step * step)
		if len(out) == 0 || at.After(out[len(out)-1].At) {
			out, n = append(out, Span{at, p.Value, p.Value, p.Value, p.Value}), 1
			continue
		}
		s := &out[len(out)-1]
		n++
		s.Low, s.High, s.Mean, s.Last = min(s.Low, p.Value), max(s.High, p.Value), s.Mean+(p.Value-s.Mean)/n, p.Value
	}
	return out
}

// in are the spans that are drawn.
func (c Chart) in(l Line) []Span {
	return slices.DeleteFunc(slices.Clone(l.Spans), func(s Span) bool { return s.At.Before(c.From) || !s.At.Before(c.To) })
}

// silences are the stretches in which no line has anything. The step under way
// is not silent yet.
func (c Chart) silences() (out []Span) {
	heard := map[int64]bool{}
	for _, l := range c.Lines {
		for _, s := range c.in(l) {
			heard[int64(s.At.Sub(c.From)/c.Step)] = true
		}
	}
	steps := int64(c.To.Sub(c.From) / c.Step)
	for i := int64(0); i < steps; i++ {
		if heard[i] || i == steps-1 {
			continue
		}
		at := c.From.Add(time.Duration(i) * c.Step)
		if n := len(out); n > 0 && out[n-1].High == float64(i) {
			out[n-1].High++
			continue
		}
		out = append(out, Span{At: at, Low: float64(i), High: float64(i + 1)})
	}
	return out
}

// Empty reports whether nothing was heard at all.
func (c Chart) Empty() bool {
	return !slices.ContainsFunc(c.Lines, func(l Line) bool { return len(c.in(l)) > 0 })
}

// scale is the range drawn.
func (c Chart) scale() (low, high float64) {
	low, high = c.Low, c.High
	for _, l := range c.Lines {
		for _, s := range c.in(l) {
			low, high = min(low, s.Low), max(high, s.High)
		}
	}
	if high <= low {
		high = low + 1
	}
	return low, high
}

// told is a line in words.
func (c Chart) told(l Line) string {
	spans := c.in(l)
	if len(spans) == 0 {
		return "nothing heard"
	}
	low, high := math.Inf(1), math.Inf(-1)
	for _, s := range spans {
		low, high = min(low, s.Low), max(high, s.High)
	}
	now := "not known now"
	if last := spans[len(spans)-1]; c.To.Sub(last.At) <= 2*c.Step {
		now = "now " + c.Words(last.Last)
	}
	return fmt.Sprintf("%s, lowest %s, highest %s", now, c.Words(low), c.Words(high))
}

// notes say what else the drawing shows.
func (c Chart) notes() (out []string) {
	var silent time.Duration
	for _, s := range c.silences() {
		silent += time.Duration(s.High-s.Low) * c.Step
	}
	if silent > 0 && !c.Empty() {
		out = append(out, "Nothing was heard for "+Duration(silent)+" of it (hatched).")
	}
	const most = 5
	for i, m := range c.Marks {
		if i == most {
			out = append(out, fmt.Sprintf("And %d more.", len(c.Marks)-most))
			break
		}
		out = append(out, m.Text+" at "+c.Plain(m.At)+".")
	}
	return out
}

// HTML draws the chart.
func (c Chart) HTML() template.HTML {
	c.Marks = slices.DeleteFunc(slices.Clone(c.Marks), func(m Mark) bool { return m.At.Before(c.From) || m.At.After(c.To) })
	var b strings.Builder
	low, high := c.scale()
	about := []string{}
	for _, l := range c.Lines {
		about = append(about, l.Name+": "+c.told(l)+".")
	}
	about = append(about, c.notes()...)
	esc := template.HTMLEscapeString
	fmt.Fprintf(&b, `<figure class="chart"><figcaption>%s</figcaption><div class="plot"><div class="y" aria-hidden="true"><span>%s</span><span>%s</span></div>`,
		esc(c.Title), esc(c.Words(high)), esc(c.Words(low)))
	fmt.Fprintf(&b, `<svg role="img" aria-label="%s" viewBox="0 0 %d %d" preserveAspectRatio="none">`,
		esc(fmt.Sprintf("%s, the last %s. %s", c.Title, Duration(c.To.Sub(c.From)), strings.Join(about, " "))), chartWide, chartHigh)
	for _, s := range c.silences() {
		fmt.Fprintf(&b, `<path class="silent" d="%s"/>`, c.hatch(s))
	}
	for i, l := range c.Lines {
		band, line := c.paths(c.in(l), low, high)
		if band != "" {
			fmt.Fprintf(&b, `<path class="band k%d" d="%s"/>`, i%lineKinds, band)
		}
		fmt.Fprintf(&b, `<path class="line k%d" d="%s"/>`, i%lineKinds, line)
	}
	for _, m := range c.Marks {
		fmt.Fprintf(&b, `<path class="mark" d="M%s 0V%d"/>`, c.x(m.At), chartHigh)
	}
	b.WriteString(`</svg></div><div class="x" aria-hidden="true">`)
	for _, at := range c.ticks() {
		fmt.Fprintf(&b, `<span>%s</span>`, esc(at))
	}
	b.WriteString(`</div><ul class="legend">`)
	for i, l := range c.Lines {
		fmt.Fprintf(&b, `<li><svg class="swatch" aria-hidden="true" viewBox="0 0 24 8"><path class="line k%d" d="M1 4H23"/></svg><span><b>%s</b> %s</span></li>`, i%lineKinds, esc(l.Name), esc(c.told(l)))
	}
	b.WriteString(`</ul>`)
	if notes := c.notes(); len(notes) > 0 {
		fmt.Fprintf(&b, `<p class="quiet">%s</p>`, esc(strings.Join(notes, " ")))
	}
	b.WriteString(`</figure>`)
	return template.HTML(b.String())
}

// x is where a moment stands.
func (c Chart) x(at time.Time) string {
	return fmt.Sprintf("%.4g", chartWide*float64(at.Sub(c.From))/float64(c.To.Sub(c.From)))
}

// hatch draws a stretch of silence: slanted lines, which no colour has to tell
// from a quiet figure.
func (c Chart) hatch(s Span) string {
	var b strings.Builder
	unit := chartWide * float64(c.Step) / float64(c.To.Sub(c.From))
	from, to := unit*s.Low, unit*s.High
	const apart, lean = 14.0, 10.0
	fmt.Fprintf(&b, "M%.4g 0V%dM%.4g 0V%d", from, chartHigh, to, chartHigh)
	for x := from + apart/2; x < to; x += apart {
		fmt.Fprintf(&b, "M%.4g %dL%.4g 0", x, chartHigh, min(x+lean, to))
	}
	return b.String()
}

// paths draws a line and the band between its lowest and highest, broken
// wherever a step is missing. A step alone is a short stroke.
func (c Chart) paths(spans []Span, low, high float64) (band, line string) {
	y := func(v float64) string { return fmt.Sprintf("%.4g", 2+(chartHigh-4)*(high-v)/(high-low)) }
	var l, bands strings.Builder
	for begin := 0; begin < len(spans); {
		end := begin + 1
		for end < len(spans) && spans[end].At.Sub(spans[end-1].At) <= c.Step {
			end++
		}
		run := spans[begin:end]
		begin = end
		middle := func(s Span) string { return c.x(s.At.Add(c.Step / 2)) }
		if len(run) == 1 {
			fmt.Fprintf(&l, "M%s %sH%s", c.x(run[0].At), y(run[0].Mean), c.x(run[0].At.Add(c.Step)))
			continue
		}
		wide := false
		for i, s := range run {
			fmt.Fprintf(&l, "%s%s %s", map[bool]string{true: "M", false: "L"}[i == 0], middle(s), y(s.Mean))
			wide = wide || s.High > s.Low
		}
		if !wide {
			continue
		}
		for i, s := range run {
			fmt.Fprintf(&bands, "%s%s %s", map[bool]string{true: "M", false: "L"}[i == 0], middle(s), y(s.High))
		}
		for _, s := range slices.Backward(run) {
			fmt.Fprintf(&bands, "L%s %s", middle(s), y(s.Low))
		}
		bands.WriteString("Z")
	}
	return bands.String(), l.String()
}

// ticks are the words below: times of day, or days.
func (c Chart) ticks() (out []string) {
	form, n := "15:04", 4
	if c.To.Sub(c.From) > 48*time.Hour {
		form, n = "Mon", 7
	}
	for i := range n + 1 {
		out = append(out, c.From.Add(c.To.Sub(c.From)/time.Duration(n)*time.Duration(i)).In(c.zone()).Format(form))
	}
	return out
}

// ChartRow is a row of the table that says the same as the charts of a group.
type ChartRow struct {
	When  string
	Cells []string
}

// ChartTable are charts of the same time as a table. Template "chart-table".
type ChartTable struct {
	ID      string // of the element that opens, one on the page
	Columns []string
	Rows    []ChartRow // the newest first
}

// TableOf makes a table of charts in steps of every, which is whole steps of
// theirs.
func TableOf(id string, every time.Duration, charts ...Chart) ChartTable {
	t := ChartTable{ID: id}
	if len(charts) == 0 {
		return t
	}
	first := charts[0]
	for _, c := range charts {
		for _, l := range c.Lines {
			name := c.Title
			if len(c.Lines) > 1 {
				name += ": " + strings.ToLower(l.Name)
			}
			t.Columns = append(t.Columns, name)
		}
	}
	for at := first.From.Add((first.To.Sub(first.From) - 1) / every * every); !at.Before(first.From); at = at.Add(-every) {
		row := ChartRow{When: first.rowName(at, every)}
		for _, c := range charts {
			for _, l := range c.Lines {
				row.Cells = append(row.Cells, c.cell(l, at, at.Add(every)))
			}
		}
		for _, m := range first.Marks {
			if !m.At.Before(at) && m.At.Before(at.Add(every)) {
				row.When += ", " + strings.ToLower(m.Text)
			}
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

func (c Chart) rowName(at time.Time, every time.Duration) string {
	form := "15:04"
	if c.To.Sub(c.From) > 24*time.Hour {
		form = "Mon 2 Jan 15:04"
	}
	return at.In(c.zone()).Format(form) + "–" + at.Add(every).In(c.zone()).Format("15:04")
}

// cell sums a line up from one time to another.
func (c Chart) cell(l Line, from, to time.Time) string {
	low, high, sum, n := math.Inf(1), math.Inf(-1), 0.0, 0
	for _, s := range l.Spans {
		if s.At.Before(from) || !s.At.Before(to) {
			continue
		}
		low, high, sum, n = min(low, s.Low), max(high, s.High), sum+s.Mean, n+1
	}
	if n == 0 {
		return "–"
	}
	mean, least, most := c.Words(sum/float64(n)), c.Words(low), c.Words(high)
	if cmp.Compare(least, most) == 0 {
		return mean
	}
	return mean + " (" + least + " to " + most + ")"
}

// Count words a mean of whole things: "3", "3.5".
func Count(v float64) string {
	if v == math.Trunc(v) {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.1f", v)
}

// Percent words a share that is measured as one: "12 %".
func Percent(v float64) string { return fmt.Sprintf("%.0f %%", v) }

// UpDown words a share of the time, where 1 is up: "up", "down", "up 40 % of the
// time".
func UpDown(v float64) string {
	switch v {
	case 0:
		return "down"
	case 1:
		return "up"
	}
	return "up " + Percent(100*v) + " of the time"
}

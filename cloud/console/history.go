package console

import (
	"cmp"
	"context"
	"strconv"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/webui"
)

// Historian knows what sites said over time.
type Historian interface {
	// History returns it in steps of a width that the store keeps: five minutes, or
	// an hour. A step in which nothing was heard is not there.
	History(ctx context.Context, org hotspot.OrganizationID, site hotspot.SiteID, width time.Duration, from, to time.Time) ([]hotspot.HistoryStep, error)
}

// spans are how far back the charts of a site can go.
var spans = webui.ChartSpans{
	{Key: "24h", Words: "24 hours", Long: 24 * time.Hour, Step: 5 * time.Minute, Row: time.Hour},
	{Key: "7d", Words: "7 days", Long: 7 * 24 * time.Hour, Step: time.Hour, Row: 6 * time.Hour},
}

// historyView is the section of charts.
type historyView struct {
	Words  string
	Choice []webui.Link
	Groups []webui.ChartGroup
	Empty  bool // nothing was heard in all that time
}

// history makes the charts of a site.
func (s *Server) history(ctx context.Context, b siteBody, long webui.ChartSpan, org hotspot.OrganizationID) (historyView, error) {
	id := b.Status.Site.ID
	p := plot{clock: b.Clock, span: long}
	p.from, p.to = long.Range(b.Clock.Now)
	var err error
	if p.steps, err = s.Store.History(ctx, org, id, long.Step, p.from, p.to); err != nil {
		return historyView{}, err
	}
	v := historyView{Words: long.Words, Empty: len(p.steps) == 0,
		Choice: spans.Links(long, func(key string) string { return "/sites/" + string(id) + "?span=" + key + "#history" })}
	if v.Empty {
		return v, nil
	}
	v.Groups = append(v.Groups, p.group("site", "Guests", []webui.Chart{p.chart("Sessions online", webui.Count, 4, p.line("Sessions", func(s hotspot.HistoryStep) *hotspot.Rolled { return s.Sessions }))}))
	for i, r := range b.Status.Routers {
		if g := p.group(strconv.Itoa(i), "Router "+cmp.Or(r.Name, string(r.NAS)), p.router(r.NAS)); len(g.Charts) > 0 {
			v.Groups = append(v.Groups, g)
		}
	}
	return v, nil
}

// plot makes the charts of one span.
type plot struct {
	clock    webui.Clock
	span     webui.ChartSpan
	from, to time.Time
	steps    []hotspot.HistoryStep
}

func (p plot) group(id, name string, charts []webui.Chart) webui.ChartGroup {
	return webui.ChartGroup{Name: name, Charts: charts, Table: webui.TableOf("history-table-"+id, p.span.Row, charts...)}
}

func (p plot) chart(title string, words func(float64) string, high float64, lines ...webui.Line) webui.Chart {
	return webui.Chart{Title: title, Clock: p.clock, From: p.from, To: p.to, Step: p.span.Step, Lines: lines, High: high, Words: words}
}

func (p plot) line(name string, of func(hotspot.HistoryStep) *hotspot.Rolled) webui.Line {
	l := webui.Line{Name: name}
	for _, s := range p.steps {
		if r := of(s); r != nil {
			l.Spans = append(l.Spans, webui.Span{At: s.At, Low: r.Low, Mean: r.Mean, High: r.High, Last: r.Last})
		}
	}
	return l
}

// router are the charts of what one router ever told in that time.
func (p plot) router(nas hotspot.NASID) (out []webui.Chart) {
	of := func(name string, take func(hotspot.RouterStep) *hotspot.Rolled) webui.Line {
		return p.line(name, func(s hotspot.HistoryStep) *hotspot.Rolled { return take(s.Routers[nas]) })
	}
	rate := func(v float64) string { return flow(hotspot.Rate(v)) }
	unit := func(u string) func(float64) string {
		return func(v float64) string { return strconv.FormatFloat(v, 'f', 1, 64) + " " + u }
	}
	var restarts []webui.Mark
	for _, s := range p.steps {
		for _, at := range s.Routers[nas].RestartedAt {
			restarts = append(restarts, webui.Mark{At: at, Text: "Restarted"})
		}
	}
	for _, c := range []webui.Chart{
		p.chart("Internet reachable", webui.UpDown, 1, of("Default route", func(r hotspot.RouterStep) *hotspot.Rolled { return r.WANUp })),
		p.chart("Traffic to and from the internet", rate, 1_000_000, of("To the guests", func(r hotspot.RouterStep) *hotspot.Rolled { return r.Down }),
			of("From them", func(r hotspot.RouterStep) *hotspot.Rolled { return r.Up })),
		p.chart("Processor", webui.Percent, 100, of("Busy", func(r hotspot.RouterStep) *hotspot.Rolled { return r.CPU })),
		p.chart("Memory", webui.Percent, 100, of("In use", func(r hotspot.RouterStep) *hotspot.Rolled { return r.Memory })),
		p.chart("Temperature", unit("°C"), 60, of("Hottest sensor", func(r hotspot.RouterStep) *hotspot.Rolled { return r.Celsius })),
		p.chart("Voltage", unit("V"), 24, of("Supply", func(r hotspot.RouterStep) *hotspot.Rolled { return r.Volts })),
	} {
		if !c.Empty() {
			c.Marks = restarts
			out = append(out, c)
		}
	}
	return out
}

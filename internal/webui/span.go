package webui

import (
	"net/http"
	"time"
)

// ChartSpan is how far back the charts of a page go.
type ChartSpan struct {
	Key, Words string // "24h", "24 hours"
	Long, Step time.Duration
	Row        time.Duration // of the table beside them
}

// ChartSpans are those a page offers, the first where nobody asks.
type ChartSpans []ChartSpan

// Of is the one that a request asks for, by its parameter span.
func (all ChartSpans) Of(r *http.Request) ChartSpan {
	for _, s := range all {
		if r.URL.Query().Get("span") == s.Key {
			return s
		}
	}
	return all[0]
}

// Links offer them; href is a page's for a key.
func (all ChartSpans) Links(chosen ChartSpan, href func(key string) string) (out []Link) {
	for _, s := range all {
		out = append(out, Link{Href: href(s.Key), Text: s.Words, Current: s.Key == chosen.Key})
	}
	return out
}

// Range is the whole steps that end now.
func (s ChartSpan) Range(now time.Time) (from, to time.Time) {
	to = now.Truncate(s.Step).Add(s.Step)
	return to.Add(-s.Long), to
}

// ChartGroup is the charts of one thing, with their table.
type ChartGroup struct {
	Name   string
	Charts []Chart
	Table  ChartTable
}

package webui

import (
	"fmt"
	"html/template"
	"math"
	"strings"
	"time"
)

// Point is one value of a series.
type Point struct {
	At    time.Time
	Value float64
}

const (
	sparkWide = 120 // units of the drawing
	sparkHigh = 28
)

// Series is what a sparkline draws.
type Series struct {
	What   string // "Load of the processor"
	Points []Point
	// Low and High are the range drawn at least, so that a step from 31 % to 32 %
	// looks like one.
	Low, High float64
	Words     func(float64) string // a value with its unit
}

// Sparkline draws a series, the oldest first, as a line without axes. What it
// shows is said in words too, for whoever does not see it: over what time, the
// lowest and the highest value. Fewer than two points are nothing.
func Sparkline(s Series) template.HTML {
	points, words := s.Points, s.Words
	if len(points) < 2 {
		return ""
	}
	low, high := math.Inf(1), math.Inf(-1)
	for _, p := range points {
		low, high = min(low, p.Value), max(high, p.Value)
	}
	first, span := points[0].At, points[len(points)-1].At.Sub(points[0].At)
	if span <= 0 {
		return ""
	}
	bottom, top := min(low, s.Low), max(high, s.High)
	var line strings.Builder
	for _, p := range points {
		y := sparkHigh / 2.0 // a flat line in the middle
		if top > bottom {
			y = 2 + (sparkHigh-4)*(top-p.Value)/(top-bottom)
		}
		fmt.Fprintf(&line, "%.1f,%.1f ", sparkWide*float64(p.At.Sub(first))/float64(span), y)
	}
	about := fmt.Sprintf("%s in the last %s: lowest %s, highest %s", s.What, Duration(span), words(low), words(high))
	return template.HTML(fmt.Sprintf(`<figure class="spark"><svg role="img" aria-label="%s" viewBox="0 0 %d %d" preserveAspectRatio="none"><polyline points="%s"/></svg><figcaption>%s to %s in %s</figcaption></figure>`,
		template.HTMLEscapeString(about), sparkWide, sparkHigh, strings.TrimSpace(line.String()), template.HTMLEscapeString(words(low)), template.HTMLEscapeString(words(high)), Duration(span)))
}

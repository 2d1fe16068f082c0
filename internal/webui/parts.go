package webui

import (
	_ "embed"
	"fmt"
	"html/template"
	"strings"

	"iwas/internal/hotspot"
)

// Tone is the colour of a component. It never stands alone: an icon and a word
// always say the same.
type Tone string

const (
	Calm Tone = "calm" // nothing to do
	Good Tone = "good"
	Info Tone = "info"
	Warn Tone = "warn"
	Bad  Tone = "bad"
)

// Icon returns the name of the sprite's icon that goes with the tone.
func (t Tone) Icon() string {
	switch t {
	case Good:
		return "circle-check"
	case Warn:
		return "triangle-alert"
	case Bad:
		return "circle-x"
	}
	return "info"
}

// Link is one place to go.
type Link struct {
	Href, Icon, Text string
	Current          bool // the page shown is this one
}

// Badge is a state in one or two words. Template "badge".
type Badge struct {
	Tone Tone
	Icon string // "" takes the tone's
	Text string
}

// Alert is a message inside a page. Template "alert". Role "alert" is read out
// at once; others politely.
type Alert struct {
	Tone  Tone
	Title string
	Text  string // what happened, and what to do unless Next says it
	Next  string // the next step; "" where Text has it
	Code  string // of the catalogue, for whoever asks for help
	Href  string // where to do it; with Link
	Link  string
	Age   template.HTML // Clock.Ago of since when, after "Found"; "" is of this moment
}

// Verdict is the bar that answers "is all well?" in one sentence. Template
// "verdict"; its element has the id "verdict".
type Verdict struct {
	Tone   Tone
	Title  string        // "Guests can log in"
	Detail string        // why, or what to do next
	Source string        // of what the age is: "Heard from the site"
	Age    template.HTML // Clock.Ago of the oldest fact the sentence leans on
}

// Tile is one figure with its state and age. Template "tile".
type Tile struct {
	Icon   string
	Label  string // "Router"
	Badge  Badge
	Value  string        // "14"; with its unit
	Unit   string        // "sessions"
	Detail string        // one line more
	Age    template.HTML // Clock.Ago of the figure
}

// Dot is one step of a row of steps. Template "steps" takes []Dot.
type Dot struct {
	State string // "done", "now" (waiting for it), "todo", "bad"
	Text  string // "Received by the site"
	At    template.HTML
	Took  string // since the step before
	Note  string
}

// Empty explains why a list has nothing in it. Template "empty".
type Empty struct {
	Icon, Title, Text string
	Href, Link        string
}

// helpers are the functions every template may call.
var helpers = template.FuncMap{
	"asset":    AssetPath,
	"icon":     Icon,
	"bytes":    Bytes,
	"speed":    Speed,
	"duration": Duration,
	"took":     Took,
	"mac":      func(m hotspot.MAC) template.HTML { return BDI(m.String()) },
	"masked":   func(m hotspot.MAC) template.HTML { return BDI(m.Masked()) },
	"bdi":      BDI,
	"badge":    func(t Tone, text string) Badge { return Badge{Tone: t, Text: text} },
	"badgeOf":  func(t Tone, icon, text string) Badge { return Badge{Tone: t, Icon: icon, Text: text} },
}

//go:embed icons/icons.svg
var iconSheet string

var iconBodies = parseIcons(iconSheet)

// parseIcons takes the sheet of <symbol id="…" viewBox="0 0 24 24"> apart, one
// line each.
func parseIcons(sheet string) map[string]string {
	bodies := map[string]string{}
	for line := range strings.Lines(sheet) {
		rest, ok := strings.CutPrefix(line, `<symbol id="`)
		if !ok {
			continue
		}
		name, rest, _ := strings.Cut(rest, `"`)
		_, rest, _ = strings.Cut(rest, ">")
		body, _, _ := strings.Cut(rest, "</symbol>")
		bodies[name] = body
	}
	return bodies
}

// Icon returns one icon of the sheet, hidden from screen readers: the word
// beside it speaks. The outline is written into the page: with an outside
// <use>, Chromium 156 now and then never ends loading the page (seen
// 2026-11-24, 1 load in 5), and a page of icons packs to little anyway.
func Icon(name string) (template.HTML, error) {
	body, ok := iconBodies[name]
	if !ok {
		return "", fmt.Errorf("no icon %q in the sheet", name)
	}
	return template.HTML(`<svg class="icon" aria-hidden="true" focusable="false" viewBox="0 0 24 24">` + body + `</svg>`), nil
}

// BDI sets a name, address or code apart from the direction of the text around
// it, so that Arabic pages do not turn "AA:BB" round.
func BDI(s string) template.HTML {
	return template.HTML("<bdi>" + template.HTMLEscapeString(s) + "</bdi>")
}

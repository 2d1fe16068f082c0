package statuspage

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"iwas/agent/statuspage/access"
	"iwas/internal/condition"
	"iwas/internal/hotspot"
	"iwas/internal/webui"
)

const (
	rowsOpen      = 10  // of a long list; more are folded away
	sessionsShown = 100 // rows; the rest is counted
	locksShown    = 50
	rejectsShown  = 50
)

// board is the page's view of a snapshot.
type board struct {
	Snapshot
	webui.Clock
	Verdict      webui.Verdict
	Alerts       []webui.Alert
	Tiles        []webui.Tile
	Facts        []fact
	Hidden       int       // sessions not shown
	MoreSessions []Session // folded away
	MoreRejects  []Reject
	Checks       []checkView
	Healths      []healthView
	Charts       *chartsView // nil: no history is kept
	Visitor      access.Person
	AskWhy       bool // the page has a box for the question

	Appeared uint64 // refusals of devices that only appeared, not among Rejects
}

// fact is one line about the box.
type fact struct{ Name, Value string }

func newBoard(s Snapshot, open []condition.Open) board {
	b := board{Snapshot: s, Clock: webui.Clock{Now: s.At, Zone: zoneOf(s)}}
	b.Verdict = judge(s, open)
	b.Verdict.Age = b.Ago(b.At)
	b.Alerts = b.alerts(open)
	if len(b.Alerts) > 0 && b.Alerts[0].Next == b.Verdict.Detail { // it stands right below, with the way to the help; a phone shows little at once
		b.Verdict.Detail = ""
	}
	b.Tiles = []webui.Tile{b.cloudTile(), b.routerTile(), b.radiusTile(), b.clockTile(), b.storeTile(), b.outboxTile(), b.sessionsTile(), b.versionTile()}
	b.Facts = facts(s)
	b.Checks = b.checkViews()
	b.Healths = b.healthViews()
	b.Sessions = slices.DeleteFunc(slices.Clone(s.Sessions), func(x Session) bool { return x.State == hotspot.Closed })
	b.Hidden = max(0, len(b.Sessions)-sessionsShown)
	b.Sessions, b.MoreSessions = folded(b.Sessions[:min(len(b.Sessions), sessionsShown)])
	b.Locks = s.Locks[:min(len(s.Locks), locksShown)]
	b.Rejects = slices.DeleteFunc(slices.Clone(s.Rejects), func(r Reject) bool { return r.Appeared })
	b.Appeared = uint64(len(s.Rejects) - len(b.Rejects))
	b.Rejects, b.MoreRejects = folded(b.Rejects[:min(len(b.Rejects), rejectsShown)])
	return b
}

// folded returns the rows that stand open on the page, and those behind them, which a
// phone need not scroll past.
func folded[T any](rows []T) (open, more []T) {
	n := min(len(rows), rowsOpen)
	return rows[:n], rows[n:]
}

// RejectsHere is how many are on the page, folded away or not.
func (b board) RejectsHere() int { return len(b.Rejects) + len(b.MoreRejects) }

// rows are some of the page's rows, with what a template needs of the page.
type rows struct {
	board
	Rows any
}

func some(b board, of any) rows { return rows{b, of} }

// zoneOf returns the zone times are told in. The box's own is named by its
// abbreviation, since Go calls it "Local".
func zoneOf(s Snapshot) *time.Location {
	if z, err := time.LoadLocation(s.TimeZone); err == nil && s.TimeZone != "" {
		return z
	}
	return time.FixedZone(s.At.Local().Zone())
}

var severityTones = map[condition.Severity]webui.Tone{condition.High: webui.Bad, condition.Medium: webui.Warn, condition.Low: webui.Info}

// alerts are the open conditions with their next steps.
func (b board) alerts(open []condition.Open) []webui.Alert {
	out := make([]webui.Alert, 0, len(open))
	for _, o := range open {
		a := webui.Alert{Tone: severityTones[o.Severity], Title: o.Title, Text: o.Cause, Next: o.Next, Href: "/help/" + o.Code, Link: "Help on " + o.Code, Age: b.Ago(o.Since)}
		if o.Text != "" {
			a.Text = capital(o.Text) + "."
		}
		if o.SaysNext() {
			a.Text, a.Next = apart(a.Text, o.Next)
		}
		if o.Next == "" { // of a newer version: there is no page either
			a.Href, a.Link, a.Code = "", "", o.Code
		}
		out = append(out, a)
	}
	return out
}

// apart takes the next step off the end of a text that has it; where it stands
// elsewhere in the text, that has to do.
func apart(text, next string) (string, string) {
	at := len(text) - len(next)
	if at < 0 || !strings.EqualFold(text[at:], next) {
		return text, ""
	}
	what := strings.TrimRight(text[:at], " :,;.")
	if what == "" {
		return text, ""
	}
	return what + ".", next
}

func capital(s string) string {
	s = strings.TrimRight(s, ". ")
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// facts are what support asks first.
func facts(s Snapshot) []fact {
	or := func(v string) string { return cmp.Or(v, "–") }
	out := []fact{{"Site", or(s.Site)}, {"Identity of this box", or(s.Agent)}}
	for i, a := range s.RADIUS.Addresses {
		out = append(out, fact{[]string{"RADIUS listens on", "and on"}[min(i, 1)], a})
	}
	for _, r := range s.Routers {
		about := []string{}
		for _, x := range []string{r.Identity, r.Board, "RouterOS " + r.Version} {
			if x != "" && x != "RouterOS " {
				about = append(about, x)
			}
		}
		if r.Uptime > 0 {
			about = append(about, "up for "+webui.Duration(r.Uptime))
		}
		out = append(out, fact{"Router " + r.Name, or(strings.Join(about, " · "))})
	}
	out = append(out, fact{"Accounts known here", strconv.Itoa(s.Store.Accounts)}, fact{"Version", s.Version})
	return append(out, s.Access.facts()...)
}

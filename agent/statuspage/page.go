package statuspage

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"time"

	"iwas/agent/statuspage/access"
	"iwas/internal/condition"
	"iwas/internal/hotspot"
	"iwas/internal/webui"
)

// funcs are the words of the page's own templates.
var funcs = template.FuncMap{
	"lock":    lockBadge,
	"mark":    markBadge,
	"area":    areaName,
	"command": commandBadge,
	"order":   func(kind string) string { return cmp.Or(commandNames[kind], kind) },
	"area_of": headOf,
	"some":    some,
	"state":   stateBadge,
	"times":   times,
	"times64": func(n int) string { return times(uint64(n)) },
	"size":    func(n int) string { return webui.Bytes(hotspot.Octets(n)) },
	"speed":   speedOf,
	"place":   placeOf,
	"may":     func(p access.Person, role string) bool { return p.Is(access.Role(role)) },
	"cost":    costOf,
	"step":    func(name string) string { return cmp.Or(stepNames[name], name) },
	"entry":   func(name, label, value, hint string) entry { return entry{name, label, value, hint} },
	"empty":   func(icon, title, text string) webui.Empty { return webui.Empty{Icon: icon, Title: title, Text: text} },
}

// entry is one field of a form, for the template of that name.
type entry struct{ Name, Label, Value, Hint string }

func outcomeBadge(o hotspot.Outcome) webui.Badge {
	switch o {
	case hotspot.OutcomeEnforced:
		return webui.Badge{Tone: webui.Good, Icon: "lock", Text: "Off, proven"}
	case hotspot.OutcomeLeaks:
		return webui.Badge{Tone: webui.Warn, Text: "Off at the HotSpot, network leaks"}
	case hotspot.OutcomeUnproven:
		return webui.Badge{Tone: webui.Warn, Text: "Acknowledged, not proven"}
	}
	return webui.Badge{Tone: webui.Info, Icon: "clock", Text: "Being enforced"}
}

// lockBadge is the outcome, or that attempts at it fail.
func lockBadge(l Lock) webui.Badge {
	if !l.Outcome.Final() && l.Problem != "" {
		return webui.Badge{Tone: webui.Warn, Text: "Not proven yet, tried again"}
	}
	return outcomeBadge(l.Outcome)
}

// commandNames are kinds of commands in the words of the page.
var commandNames = map[string]string{"kick": "End a guest’s sessions", "router.plan": "Plan the set-up", "router.check": "Check the router", "router.apply": "Apply the set-up",
	"router.confirm": "Keep the set-up", "router.rollback": "Take the set-up back"}

func commandBadge(c Command) webui.Badge {
	switch c.State {
	case "received":
		return webui.Badge{Tone: webui.Info, Icon: "clock", Text: "Waiting"}
	case "running":
		return webui.Badge{Tone: webui.Info, Icon: "clock", Text: "Being done"}
	case "done":
		return webui.Badge{Tone: webui.Good, Text: "Done"}
	case "failed":
		return webui.Badge{Tone: webui.Bad, Text: "Failed"}
	}
	return webui.Badge{Tone: webui.Warn, Text: capital(c.State)}
}

func stateBadge(s hotspot.SessionState) webui.Badge {
	switch s {
	case hotspot.Reserved:
		return webui.Badge{Tone: webui.Info, Icon: "clock", Text: "Logging in"}
	case hotspot.Suspect:
		return webui.Badge{Tone: webui.Warn, Text: "Not confirmed"}
	}
	return webui.Badge{Tone: webui.Good, Text: "Online"}
}

func (s *Server) render(w http.ResponseWriter, r *http.Request, name string, page webui.Page) {
	s.renderAs(w, r, http.StatusOK, name, page)
}

func (s *Server) renderAs(w http.ResponseWriter, r *http.Request, status int, name string, page webui.Page) {
	page.Product = "IWAS status"
	switch v := visitorOf(r.Context()); {
	case v.Is():
		page.Person, page.SignOut = fmt.Sprintf("%s (%s)", v.Name, v.Role), "/signout"
		page.Nav = s.places(r)
		page.Notes = s.desk.Noted(v.token)
	case name != "signin":
		page.SignIn = "/signin"
	}
	if page.Now.IsZero() {
		page.Clock = s.zone()
	}
	if err := s.pages.Render(w, r, status, name, page); err != nil {
		s.log().Error("render the status page", "page", name, "err", err)
		webui.Plain(w, http.StatusInternalServerError, "The page could not be made", "The log of iwas-agent says why.")
	}
}

func (s *Server) page(w http.ResponseWriter, r *http.Request) {
	st := s.look(r.Context())
	b, long := newBoard(st.Snapshot, st.open), spans.Of(r)
	b.Visitor, b.AskWhy = personOf(r.Context()), s.Why != nil
	b.Charts = b.charts(long, s.Minutes)
	s.render(w, r, "status", webui.Page{Title: cmp.Or(b.Site, "Status"), Live: "/live?span=" + long.Key, Refresh: 10, Clock: b.Clock, Body: b})
}

// parts are the elements that follow the facts.
var parts = []string{"verdict-part", "alerts", "tiles", "checks", "offenders", "locks", "commands", "rejects", "sessions", "foreign", "health", "charts", "refusals", "facts"}

func (s *Server) live(w http.ResponseWriter, r *http.Request) {
	v := visitorOf(r.Context())
	s.hub.Serve(w, r, []string{"status"}, func(ctx context.Context) ([]webui.Part, error) {
		if err := s.stillIn(v); err != nil {
			return nil, err
		}
		st := s.glance(ctx)
		b := newBoard(st.Snapshot, st.open)
		b.Visitor = v.Person
		b.Charts = b.charts(spans.Of(r), s.Minutes)
		out := make([]webui.Part, 0, len(parts))
		for _, id := range parts {
			html, err := s.pages.Fragment(id, b)
			if err != nil {
				return nil, err
			}
			out = append(out, webui.Part{ID: id, HTML: html})
		}
		return out, nil
	})
}

// Report is /status.json: the snapshot, the verdict, and what is wrong.
type Report struct {
	Ready       bool        `json:"ready"` // RADIUS is bound and the store works
	Why         string      `json:"why,omitempty"`
	Next        string      `json:"next,omitempty"`
	Guests      Guests      `json:"guests"`
	Verdict     string      `json:"verdict"`
	VerdictNext string      `json:"verdict_next,omitempty"`
	Conditions  []OpenEntry `json:"conditions"` // the worst first
	Snapshot
}

// Guests says whether guests can log in.
type Guests string

// What the verdict comes to.
const (
	GuestsIn   Guests = "in"
	GuestsSome Guests = "some" // not all of them
	GuestsOut  Guests = "out"
)

// OpenEntry is an open condition in /status.json.
type OpenEntry struct {
	Code         string             `json:"code"`
	Severity     condition.Severity `json:"severity"`
	Title        string             `json:"title"`
	Subject      string             `json:"subject,omitempty"`
	Text         string             `json:"text,omitempty"`
	Next         string             `json:"next,omitempty"`
	Since        time.Time          `json:"since"`
	ImpactsLogin bool               `json:"impacts_login"`
	Help         string             `json:"help"` // path on this server
}

// Report is what the page shows, as data: with lists that are empty rather than
// null, which every reader would have to know about.
func (s *Server) Report(ctx context.Context) Report {
	st := s.look(ctx)
	v := judge(st.Snapshot, st.open)
	out := Report{Guests: guestsOf(v, st.Snapshot), Verdict: v.Title, VerdictNext: v.Detail, Conditions: []OpenEntry{}, Snapshot: st.Snapshot}
	out.Ready, out.Why, out.Next = st.Ready()
	for _, o := range st.open {
		out.Conditions = append(out.Conditions, OpenEntry{o.Code, o.Severity, o.Title, o.Subject, o.Text, o.Next, o.Since, o.ImpactsLogin, "/help/" + o.Code})
	}
	out.Routers, out.Sessions, out.Locks, out.Waiting, out.Rejects = list(out.Routers), list(out.Sessions), list(out.Locks), list(out.Waiting), list(out.Rejects)
	out.Foreign = list(out.Foreign)
	out.RADIUS.Addresses, out.RADIUS.Offenders = list(out.RADIUS.Addresses), list(out.RADIUS.Offenders)
	return out
}

// Status answers with the Report, for whoever may ask it by another door than the page's.
func (s *Server) Status(w http.ResponseWriter, r *http.Request) {
	out := s.Report(r.Context())
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	if err := enc.Encode(out); err != nil {
		s.log().Debug("the reader of /status.json left", "err", err)
	}
}

func list[T any](l []T) []T {
	if l == nil {
		return []T{}
	}
	return l
}

// parts are the rows of a verbose answer: what has to work for a guest to log in,
// then what has no say in it. A clock that is wrong lets guests in: nothing
// expires by a date that is not trusted.
func (s Snapshot) parts() []string {
	row := func(name string, bad bool, why, well string) string {
		if bad {
			return name + " FAIL " + why
		}
		return name + " OK " + well
	}
	clock := "clock - not compared with the cloud's yet"
	if s.Cloud.OffsetKnown {
		off := time.Duration(s.Cloud.OffsetMS) * time.Millisecond
		clock = row("clock", off.Abs() > ClockOff, "the cloud's is "+drift(off)+" this one", "the cloud's is "+drift(off)+" this one")
	}
	cloud := "cloud - not enrolled"
	if s.Cloud.Enrolled {
		cloud = row("cloud", !s.Cloud.Connected, "away; logins go on", "connected")
	}
	return []string{
		row("store", !s.Store.Open || s.Store.Unwritable != "", cmp.Or(s.Store.Problem, s.Store.Unwritable), "open and writable"),
		row("radius", !s.RADIUS.Bound || s.RADIUS.Problem != "", cmp.Or(s.RADIUS.Problem, "starting"), "listens"),
		clock, cloud,
	}
}

// ready answers 200 while this box can let guests in, else 503. With ?verbose
// it lists what is wrong too.
func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
	st := s.look(r.Context())
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	if ok, why, next := st.Ready(); ok {
		fmt.Fprintln(w, "ready: RADIUS is bound and the database is open and writable")
	} else {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintf(w, "guests cannot log in: %s\n%s\n", why, next)
	}
	if r.URL.Query().Has("verbose") {
		for _, row := range st.parts() {
			fmt.Fprintln(w, row)
		}
		for _, o := range st.open {
			fmt.Fprintf(w, "%s %s %s %s\n", o.Code, o.Severity, cmp.Or(o.Subject, "-"), cmp.Or(o.Text, o.Title))
		}
	}
}

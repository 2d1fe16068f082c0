package statuspage

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"iwas/agent/statuspage/access"
	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/webui"
)

// guestView is the body of the page of a guest.
type guestView struct {
	Guest
	webui.Clock
	Visitor access.Person
	Badge   webui.Badge
	Form    string            // of the page: each of its forms is sent once
	Typed   map[string]string // in the form that was refused
	Facts   []fact
	Lock    *guestLock
	Reasons []string // to lock

	Extends bool // the time of the pass can be extended
	Pauses  bool // the guest can be paused
	Unlocks bool // this person may lift the lock
}

// guestLock is the lock of a guest as the page shows it.
type guestLock struct {
	*GuestLock
	Title, Text string
	Dots        []webui.Dot
}

// reasons to lock, as the console offers them.
var reasons = []string{"Not paid", "Misuse", "Guest has left"}

func (s *Server) guestView(ctx context.Context, id hotspot.AccountID, form string) (guestView, error) {
	g, err := s.Counter.Guest(ctx, id)
	if err != nil {
		return guestView{}, err
	}
	v := guestView{Guest: g, Clock: s.clockAt(g.At), Visitor: personOf(ctx), Badge: guestBadge(g), Form: form, Reasons: reasons, Typed: map[string]string{"time": "", "own": "", "why": "", "preset": "", "reason": ""}}
	v.Facts = guestFacts(g, v.Clock)
	if p := g.Pass; p != nil {
		v.Extends = p.Limits.Time > 0 || !p.ValidUntil.IsZero()
		v.Pauses = p.Limits.Clock == hotspot.Metered && g.Lock == nil && !g.Over
	}
	if g.Lock != nil {
		v.Lock = viewGuestLock(*g.Lock, v.Clock)
		v.Unlocks = g.Lock.Pause || g.Lock.Revision == 0 || v.Visitor.Is(access.Technician)
	}
	return v, nil
}

// guestFacts are what a guest has bought and what is left of it.
func guestFacts(g Guest, c webui.Clock) (out []fact) {
	p := g.Pass
	if p == nil {
		return nil
	}
	out = append(out, fact{"Plan", p.PlanName})
	time := "no limit"
	switch {
	case g.Over:
		time = "nothing"
	case g.TimeLeft > 0:
		time = webui.Duration(g.TimeLeft)
	}
	if p.Limits.Clock == hotspot.Metered && p.Limits.Time > 0 {
		time += ", counted while online"
	}
	out = append(out, fact{"Time left", time})
	for _, d := range g.Data {
		out = append(out, fact{"Data " + d.Name, fmt.Sprintf("%s of %s used", webui.Bytes(d.Used), webui.Bytes(d.Allowed))})
	}
	out = append(out, fact{"Speed", upDown(p.Limits.Rate.Max.Upload, p.Limits.Rate.Max.Download)})
	if !p.ValidUntil.IsZero() {
		out = append(out, fact{"Can be used until", c.Plain(p.ValidUntil)})
	}
	return append(out, fact{"Devices at once", fmt.Sprint(p.Limits.DevicesAtOnce())})
}

// viewGuestLock words a lock by what is proven. The guest is off when the router was
// read back, and not before.
func viewGuestLock(l GuestLock, c webui.Clock) *guestLock {
	v := &guestLock{GuestLock: &l}
	what := map[bool]string{true: "Paused", false: "Locked"}[l.Pause]
	last := webui.Dot{State: "now", Text: "Off, as the router itself shows", Note: l.Problem}
	cut := webui.Dot{State: "now", Text: "Put off at the router"}
	at := map[string]hotspot.Step{}
	for _, step := range l.Steps {
		at[step.Name] = step
	}
	switch l.Outcome {
	case hotspot.OutcomeEnforced:
		v.Title, v.Text = what+", proven off", "The router was read: the guest is not online."
		cut.State, last.State, last.Note = "done", "done", ""
	case hotspot.OutcomeLeaks:
		v.Title, v.Text = what+": off at the HotSpot, but the network leaks", "The router has a way round its HotSpot, so the guest may still get out. A technician must close it."
		cut.State, last.State, last.Text = "done", "bad", "Not proven: a way round is open"
	case hotspot.OutcomeUnproven:
		v.Title, v.Text = what+": acknowledged, not proven", "The router said yes, and there is no way to read it back. Set up its API to get proof."
		cut.State, last.State, last.Text = "done", "bad", "Not proven: the router cannot be read"
	default:
		v.Title, v.Text = what+"; not proven off yet", "New logins are refused. The guest may still be online until the last step is done."
		last.State = "todo"
		if l.Tries > 0 || l.Problem != "" {
			cut.Note, last.Note = fmt.Sprintf("Tried %d times, and tried again: %s", max(1, l.Tries), l.Problem), ""
		}
	}
	if cut.State == "done" {
		for _, name := range []string{hotspot.StepConnections, hotspot.StepActive, hotspot.StepStop, hotspot.StepDisconnect} {
			if step, ok := at[name]; ok {
				cut.At = c.Time(step.At)
				break
			}
		}
		if step, ok := at[hotspot.StepReadBack]; ok && last.State == "done" {
			last.At = c.Time(step.At)
			last.Took = webui.Took(step.At.Sub(l.ReceivedAt))
		}
	}
	v.Dots = []webui.Dot{{State: "done", Text: what + " here: new logins are refused", At: c.Time(l.ReceivedAt)}, cut, last}
	return v
}

// stepNames word what was done to put a guest off.
var stepNames = map[string]string{hotspot.StepReceived: "Known here", hotspot.StepCookies: "Cookies removed", hotspot.StepDisconnect: "Disconnect-Request", hotspot.StepStop: "End of the session told",
	hotspot.StepActive: "Entry removed at the HotSpot", hotspot.StepLists: "Taken out of address-lists", hotspot.StepConnections: "Open connections dropped", hotspot.StepReadBack: "Router read back"}

func (s *Server) guestPage(w http.ResponseWriter, r *http.Request) {
	v, err := s.guestView(r.Context(), hotspot.AccountID(r.PathValue("id")), newForm())
	if err != nil {
		s.noGuest(w, r, err)
		return
	}
	s.showGuest(w, r, http.StatusOK, v, nil)
}

// noGuest says that a guest cannot be shown.
func (s *Server) noGuest(w http.ResponseWriter, r *http.Request, err error) {
	status, alert := s.refusal("This guest cannot be shown", err)
	v := counterView{Clock: s.clockAt(time.Now()), Visitor: personOf(r.Context())}
	s.renderAs(w, r, status, "counter", webui.Page{Title: "Counter", Clock: v.Clock, Alert: alert, Body: v})
}

func (s *Server) showGuest(w http.ResponseWriter, r *http.Request, status int, v guestView, alert *webui.Alert) {
	page := webui.Page{Title: "Guest", Live: guestPath(v.ID) + "/live?form=" + v.Form, Clock: v.Clock, Alert: alert, Body: v}
	if v.Lock != nil && !v.Lock.Outcome.Final() {
		page.Refresh = 5 // without a script; at rest nothing that is typed is lost
	}
	s.renderAs(w, r, status, "guest", page)
}

// guestParts are the elements of the page of a guest that follow the facts.
var guestParts = []string{"guest-state", "guest-lock", "guest-left", "guest-acts", "guest-online"}

func (s *Server) guestLive(w http.ResponseWriter, r *http.Request) {
	v := visitorOf(r.Context())
	s.counterHub.Serve(w, r, []string{"counter"}, func(ctx context.Context) ([]webui.Part, error) {
		if err := s.stillIn(v); err != nil {
			return nil, err
		}
		g, err := s.guestView(ctx, hotspot.AccountID(r.PathValue("id")), r.FormValue("form"))
		if err != nil {
			return nil, err
		}
		out := make([]webui.Part, 0, len(guestParts))
		for _, id := range guestParts {
			html, err := s.pages.Fragment(id, g)
			if err != nil {
				return nil, err
			}
			out = append(out, webui.Part{ID: id, HTML: html})
		}
		return out, nil
	})
}

// acts are what can be done to a guest: how it is refused, and what is said when it is
// done. None says "off": that is for the router to show.
var acts = map[string]struct {
	refused string
	done    webui.Alert
}{
	ActLock:   {"The guest was not locked", webui.Alert{Tone: webui.Info, Title: "Locked: new logins are refused", Text: "Whether the guest is off is shown below, as soon as the router shows it."}},
	ActUnlock: {"The lock was not lifted", webui.Alert{Tone: webui.Good, Title: "Unlocked", Text: "The guest may log in again, if there is something left."}},
	ActPause:  {"The guest was not paused", webui.Alert{Tone: webui.Info, Title: "Paused: new logins are refused", Text: "The time stands still once the guest is off, which is shown below."}},
	ActResume: {"The pause was not ended", webui.Alert{Tone: webui.Good, Title: "Resumed", Text: "The guest may log in again; the time runs on from there."}},
	ActKick:   {"No session was ended", webui.Alert{Tone: webui.Info, Title: "The sessions are being ended", Text: "They leave the list below when the router shows that they are over. The guest may log in again."}},
	ActExtend: {"No time was given", webui.Alert{Tone: webui.Good, Title: "Time was given", Text: "It counts at once; what is left is shown below."}},
}

// guestAct does one thing to a guest. Refused, the page comes back with what was typed.
func (s *Server) guestAct(w http.ResponseWriter, r *http.Request) {
	what := r.PathValue("act")
	act, ok := acts[what]
	if !ok {
		webui.Plain(w, http.StatusNotFound, "There is no such page", "The counter is at /counter")
		return
	}
	a := Act{What: what, Guest: hotspot.AccountID(r.PathValue("id")), Time: r.PostFormValue("own"), Reason: r.PostFormValue("reason")}
	if a.Time == "" {
		a.Time = r.PostFormValue("time")
	}
	if a.Reason == "" {
		a.Reason = r.PostFormValue("preset")
	}
	var err error
	if a.By, err = staffOf(r); err == nil {
		err = s.Counter.Act(r.Context(), a)
	}
	if err == nil {
		s.log().Info("the counter", "what", what, "person", a.By.Name, "user_ref", string(a.Guest))
		s.done(w, r, guestPath(a.Guest), act.done)
		return
	}
	form := r.PostFormValue("form")
	if form == "" || fault.Code(err) == codeFormUsed {
		form = newForm()
	}
	v, verr := s.guestView(r.Context(), a.Guest, form)
	if verr != nil {
		s.noGuest(w, r, verr)
		return
	}
	for name := range v.Typed {
		v.Typed[name] = r.PostFormValue(name)
	}
	status, alert := s.refusal(act.refused, err)
	s.showGuest(w, r, status, v, alert)
}

// codeFormUsed is a form that was sent before with something else in it.
const codeFormUsed = "SYS-128"

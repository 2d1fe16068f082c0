package statuspage

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"iwas/agent/statuspage/access"
	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/secret"
	"iwas/internal/webui"
)

// Counter is what staff see of guests and do to them: what the commands do. Its errors
// are faults, whose text and next step people read.
type Counter interface {
	// Find returns guests by name, code, note or the MAC of a device; without a text
	// the newest.
	Find(ctx context.Context, text string) ([]Guest, error)
	// Guest returns one; kind NotFound for nobody.
	Guest(ctx context.Context, id hotspot.AccountID) (Guest, error)
	// Act does something to a guest; what comes with the same form again is done once.
	Act(ctx context.Context, a Act) error
}

// Till is what staff sell.
type Till interface {
	// Plans returns what can be sold, and whether plans are made on this box.
	Plans(ctx context.Context) (plans []hotspot.Plan, here bool, err error)
	// MakePlan makes a plan of what was typed.
	MakePlan(ctx context.Context, p PlanTyped, by hotspot.Staff) error
	// Sell sells; the same form again is the same sale.
	Sell(ctx context.Context, s Sale) error
	// Sold returns what was sold with a form; kind NotFound for nothing.
	Sold(ctx context.Context, form string) ([]Sold, error)
	// Sales returns what was sold here since a time, the newest first.
	Sales(ctx context.Context, since time.Time) ([]hotspot.Sale, error)
}

// Guest is a guest as this box knows them, at At by its date.
type Guest struct {
	hotspot.Account
	At       time.Time
	Pass     *hotspot.Pass // in use, or that a login would be judged by; nil: none
	TimeLeft time.Duration // of Pass; 0: no limit, or Over
	Over     bool          // nothing of Pass is left
	Data     []DataLeft
	CanLogIn bool   // as far as is known
	Why      string // in one line
	Lock     *GuestLock
	Sessions []hotspot.Session // open
	Unsent   int               // changes that the cloud does not know yet
}

// DataLeft is one data allowance.
type DataLeft struct {
	Name          string // "upload", "download" or "both ways"
	Allowed, Used hotspot.Octets
}

// GuestLock is a lock or a pause, and how far the guest is off.
type GuestLock struct {
	hotspot.Lock
	ReceivedAt time.Time
	Outcome    hotspot.Outcome // "": no attempt has ended yet
	Tries      int             // attempts that failed so far
	Code       string          // why the last one did, or what leads past it
	Problem    string
	Steps      []hotspot.Step // of the newest attempt that was told
}

// What can be done to a guest.
const (
	ActLock   = "lock"
	ActUnlock = "unlock"
	ActPause  = "pause"
	ActResume = "resume"
	ActKick   = "kick"
	ActExtend = "extend"
)

// Act is one thing done to a guest.
type Act struct {
	What   string
	Guest  hotspot.AccountID
	Time   string // of ActExtend: "30m", as it was typed
	Reason string
	By     hotspot.Staff
}

// codeNotFitting is what was asked of a guest who is not so any more.
const codeNotFitting = "SYS-129"

// counterRoutes are for who is signed in, on loopback too.
func (s *Server) counterRoutes(mux *http.ServeMux) {
	staff := func(h http.HandlerFunc) http.Handler {
		return s.requireRole(s.whileOpen(h), access.Cashier, access.Technician)
	}
	mux.Handle("GET /counter", staff(s.counterPage))
	mux.Handle("POST /counter/find", staff(s.counterFind))
	mux.Handle("GET /counter/guest/{id}", staff(s.guestPage))
	mux.Handle("GET /counter/guest/{id}/live", staff(s.guestLive))
	mux.Handle("POST /counter/guest/{id}/{act}", staff(s.guestAct))
	mux.Handle("GET /counter/sell", staff(s.sellPage))
	mux.Handle("POST /counter/sell", staff(s.sell))
	mux.Handle("GET /counter/sold/{form}", staff(s.soldPage))
	mux.Handle("GET /counter/plan", s.requireRole(s.whileOpen(s.planPage), access.Technician))
	mux.Handle("POST /counter/plan", s.requireRole(s.whileOpen(s.makePlan), access.Technician))
}

// whileOpen says so where there is no counter: the database will not open.
func (s *Server) whileOpen(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if s.Counter == nil || s.Till == nil {
			webui.Plain(w, http.StatusServiceUnavailable, "The counter is closed: the database is not open", "The first page says why, and what to do.")
			return
		}
		h(w, r)
	}
}

// places are the main places of who is signed in.
func (s *Server) places(r *http.Request) []webui.Link {
	if s.Counter == nil {
		return nil
	}
	at := strings.HasPrefix(r.URL.Path, "/counter")
	return []webui.Link{{Href: "/", Icon: "wifi", Text: "Status", Current: r.URL.Path == "/"}, {Href: "/counter", Icon: "ticket", Text: "Counter", Current: at}}
}

// newForm names a form, so that a second press of its button is no second act.
func newForm() string { return secret.Random(20).Reveal() }

// staffOf is who sent a form.
func staffOf(r *http.Request) (hotspot.Staff, error) {
	p, form := personOf(r.Context()), r.PostFormValue("form")
	if form == "" {
		return hotspot.Staff{}, fault.New(fault.Invalid, "the form has no number, by which a second press would be known", nil).WithCode("", "Load the page anew.")
	}
	return hotspot.Staff{Name: p.Name, Role: hotspot.Role(p.Role), At: hotspot.AtPage, Form: form}, nil
}

// refusal is what a page says of an error, and the status it says it with.
func (s *Server) refusal(title string, err error) (int, *webui.Alert) {
	status := map[fault.Kind]int{fault.Invalid: http.StatusBadRequest, fault.NotFound: http.StatusNotFound, fault.Conflict: http.StatusConflict,
		fault.Denied: http.StatusForbidden, fault.Unavailable: http.StatusServiceUnavailable}[fault.KindOf(err)]
	if status == 0 {
		s.log().Error("the counter", "what", title, "err", err, "code", fault.Code(err), "next", fault.Hint(err))
		return http.StatusInternalServerError, &webui.Alert{Tone: webui.Bad, Title: title, Text: "The log of iwas-agent says why.", Next: fault.Hint(err), Code: fault.Code(err)}
	}
	a := &webui.Alert{Tone: webui.Bad, Title: title, Text: capital(strings.TrimPrefix(strings.TrimPrefix(err.Error(), "store: "), "sell: ")) + ".", Next: fault.Hint(err)}
	code := fault.Code(err)
	if status == http.StatusConflict || status == http.StatusNotFound {
		code = cmp.Or(code, codeNotFitting)
	}
	if code != "" {
		a.Href, a.Link = "/help/"+code, "Help on "+code
	}
	return status, a
}

// clockAt is the moment a page of the counter shows, in the site's zone.
func (s *Server) clockAt(at time.Time) webui.Clock {
	s.mu.Lock()
	zone := s.last.TimeZone
	s.mu.Unlock()
	return webui.Clock{Now: at, Zone: zoneOf(Snapshot{At: at, TimeZone: zone})}
}

// counterView is the body of the first page of the counter.
type counterView struct {
	webui.Clock
	Visitor access.Person
	Text    string // that was looked for; "" is not
	Found   []guestRow
	More    bool // than are shown
	Plans   []planView
	Here    bool // plans are made on this box
	Sales   []hotspot.Sale
	Sold    int
	Sums    []hotspot.Money
}

// PlanHref leads to the sale of a plan.
func (counterView) PlanHref(p planView) string {
	return "/counter/sell?plan=" + url.QueryEscape(string(p.ID))
}

// guestRow is a guest that was found.
type guestRow struct {
	Guest
	Href, Left string
	Badge      webui.Badge
}

const (
	foundShown = 20
	salesShown = 20
)

// counterFind keeps what is looked for with the sign-in and leads to what is found. It
// is in no address: a voucher's code is its password.
func (s *Server) counterFind(w http.ResponseWriter, r *http.Request) {
	text := strings.TrimSpace(r.PostFormValue("text"))
	s.desk.KeepText(visitorOf(r.Context()).token, text)
	if text != "" {
		found, err := s.Counter.Find(r.Context(), text)
		if err == nil && len(found) == 1 {
			http.Redirect(w, r, guestPath(found[0].ID), http.StatusSeeOther)
			return
		}
	}
	http.Redirect(w, r, "/counter", http.StatusSeeOther)
}

func guestPath(id hotspot.AccountID) string { return "/counter/guest/" + string(id) }

func (s *Server) counterPage(w http.ResponseWriter, r *http.Request) {
	v := counterView{Clock: s.clockAt(time.Now()), Visitor: personOf(r.Context()), Text: s.desk.KeptText(visitorOf(r.Context()).token)}
	err := s.fillCounter(r.Context(), &v)
	page := webui.Page{Title: "Counter", Clock: v.Clock, Body: v}
	status := http.StatusOK
	if err != nil {
		status, page.Alert = s.refusal("Not everything can be shown", err)
	}
	s.renderAs(w, r, status, "counter", page)
}

func (s *Server) fillCounter(ctx context.Context, v *counterView) error {
	plans, here, err := s.Till.Plans(ctx)
	if err != nil {
		return err
	}
	v.Plans, v.Here = planViews(plans), here
	today, _ := hotspot.DayOf(v.Now, v.Zone)
	sales, err := s.Till.Sales(ctx, today)
	if err != nil {
		return err
	}
	v.Sold, v.Sums, v.Sales = len(sales), sumsOf(sales), sales[:min(len(sales), salesShown)]
	if v.Text == "" {
		return nil
	}
	found, err := s.Counter.Find(ctx, v.Text)
	v.More = len(found) > foundShown
	for _, g := range found[:min(len(found), foundShown)] {
		v.Found = append(v.Found, guestRow{Guest: g, Href: guestPath(g.ID), Left: leftOf(g), Badge: guestBadge(g)})
	}
	return err
}

// sumsOf adds up what was sold, by currency in the order they come.
func sumsOf(sales []hotspot.Sale) (sums []hotspot.Money) {
	for _, sale := range sales {
		if sale.Price.Minor == 0 {
			continue
		}
		known := false
		for i := range sums {
			if known = sums[i].Currency == sale.Price.Currency; known {
				sums[i].Minor += sale.Price.Minor
				break
			}
		}
		if !known {
			sums = append(sums, sale.Price)
		}
	}
	return sums
}

// guestBadge is a guest's state in a word or two.
func guestBadge(g Guest) webui.Badge {
	switch {
	case g.Lock != nil && g.Lock.Pause:
		return webui.Badge{Tone: webui.Warn, Icon: "clock", Text: "Paused"}
	case g.Lock != nil:
		return webui.Badge{Tone: webui.Bad, Icon: "lock", Text: "Locked"}
	case len(g.Sessions) > 0:
		return webui.Badge{Tone: webui.Good, Icon: "wifi", Text: "Online"}
	case g.Pass == nil:
		return webui.Badge{Tone: webui.Warn, Text: "No pass"}
	case g.Over:
		return webui.Badge{Tone: webui.Warn, Text: "Over"}
	}
	return webui.Badge{Tone: webui.Calm, Icon: "circle-check", Text: "Not online"}
}

// leftOf says what is left of a guest's pass.
func leftOf(g Guest) string {
	switch {
	case g.Pass == nil:
		return "no pass"
	case g.Over:
		return "nothing"
	}
	var parts []string
	if g.TimeLeft > 0 {
		parts = append(parts, webui.Duration(g.TimeLeft))
	}
	for _, d := range g.Data {
		parts = append(parts, fmt.Sprintf("%s %s", webui.Bytes(max(d.Allowed, d.Used)-d.Used), d.Name))
	}
	if len(parts) == 0 {
		return "no limit"
	}
	return strings.Join(parts, ", ")
}

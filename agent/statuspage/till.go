package statuspage

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"iwas/agent/statuspage/access"
	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/webui"
)

// Sale is what somebody sells.
type Sale struct {
	Plan     hotspot.PlanID
	To       hotspot.AccountID // a guest there is; "" makes one
	User     string            // name of the one to make; "" makes vouchers
	Password hotspot.Password  // "" makes one up
	Count    int               // of vouchers
	Note     string
	Shown    hotspot.Money // the price of one, as the page showed it
	By       hotspot.Staff
}

// Sold is a sale with what to hand to the guest.
type Sold struct {
	hotspot.Sale
	Password   hotspot.Password
	Limits     hotspot.Limits
	ValidUntil time.Time
}

// PlanTyped is a plan as it was typed.
type PlanTyped struct {
	Name, Price, Currency      string
	Time, Validity, Rate, Data string // "1h", "7d", "2M/10M", "5G"; "" is no limit
	Devices                    string
	Metered                    bool
}

// planView is a plan that can be sold.
type planView struct {
	hotspot.Plan
	Cost, About string
}

func planViews(plans []hotspot.Plan) []planView {
	out := make([]planView, 0, len(plans))
	for _, p := range plans {
		out = append(out, viewPlan(p))
	}
	slices.SortFunc(out, func(a, b planView) int { return cmp.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)) })
	return out
}

func viewPlan(p hotspot.Plan) planView { return planView{p, costOf(p.Price), aboutLimits(p.Limits)} }

func costOf(m hotspot.Money) string {
	if m.Minor == 0 {
		return "free"
	}
	return m.String()
}

// times is a price so many times.
func timesPrice(m hotspot.Money, n int) hotspot.Money {
	m.Minor *= int64(n)
	return m
}

// aboutLimits says in a line what a plan gives.
func aboutLimits(l hotspot.Limits) string {
	parts := []string{"time without limit"}
	if l.Time > 0 {
		parts[0] = webui.Duration(l.Time)
		if l.Clock == hotspot.Metered {
			parts[0] += " while online"
		} else {
			parts[0] += " from the first login"
		}
	}
	for _, d := range []struct {
		n    hotspot.Octets
		what string
	}{{l.Total, "data"}, {l.Upload, "upload"}, {l.Download, "download"}} {
		if d.n > 0 {
			parts = append(parts, webui.Bytes(d.n)+" "+d.what)
		}
	}
	if up, down := l.Rate.Max.Upload, l.Rate.Max.Download; up > 0 || down > 0 {
		parts = append(parts, upDown(up, down))
	}
	if l.Validity > 0 {
		parts = append(parts, "to be used within "+webui.Duration(l.Validity))
	}
	if n := l.DevicesAtOnce(); n > 1 {
		parts = append(parts, fmt.Sprintf("%d devices at once", n))
	}
	if len(l.Hours) > 0 {
		parts = append(parts, strings.Join(l.Hours.Strings(), ", "))
	}
	return strings.Join(parts, " · ")
}

// sellView is the body of the page that sells.
type sellView struct {
	Visitor access.Person
	Plans   []planView
	Here    bool
	Plan    *planView // nil: to be chosen
	To      *Guest    // nil: a new one
	User    bool      // with a name; otherwise vouchers
	Count   int
	Counts  []webui.Link
	Form    string
	Typed   map[string]string
	Button  string // says what, how many and for how much
}

// countsOffered are numbers of vouchers; any other is typed.
var countsOffered = []int{1, 2, 5, 10, 20}

// vouchersMost is how many are sold at once, which the store refuses to exceed.
const vouchersMost = 1000

// PlanHref and KindHref lead to the same sale with another plan or kind of guest.
func (v sellView) PlanHref(p planView) string { return v.href(p.ID, v.User, 1) }

// KindHref leads to a sale of vouchers, or to one of a guest with a name.
func (v sellView) KindHref(user bool) string { return v.href(v.Plan.ID, user, 1) }

func (v sellView) href(plan hotspot.PlanID, user bool, count int) string {
	q := url.Values{"plan": {string(plan)}}
	if v.To != nil {
		q.Set("to", string(v.To.ID))
	}
	if user {
		q.Set("kind", "user")
	}
	if count > 1 {
		q.Set("count", strconv.Itoa(count))
	}
	return "/counter/sell?" + q.Encode()
}

// sellView reads what is to be sold from a query or a form.
func (s *Server) sellView(r *http.Request) (v sellView, err error) {
	v = sellView{Visitor: personOf(r.Context()), Form: newForm(), Count: 1, Typed: map[string]string{"user": "", "password": "", "note": ""}}
	plans, here, err := s.Till.Plans(r.Context())
	if err != nil {
		return v, err
	}
	v.Plans, v.Here = planViews(plans), here
	for _, p := range v.Plans {
		if string(p.ID) == r.FormValue("plan") {
			v.Plan = &p
		}
	}
	if to := r.FormValue("to"); to != "" {
		g, err := s.Counter.Guest(r.Context(), hotspot.AccountID(to))
		if err != nil {
			return v, err
		}
		v.To = &g
	}
	v.User = v.To == nil && r.FormValue("kind") == "user"
	if n, err := strconv.Atoi(r.FormValue("count")); err == nil && v.To == nil && !v.User {
		v.Count = min(max(n, 1), vouchersMost)
	}
	if v.Plan == nil {
		return v, nil
	}
	v.Button = "Sell for " + costOf(v.Plan.Price)
	if v.Plan.Price.Minor == 0 {
		v.Button = "Hand out, free"
	}
	if v.Count > 1 {
		v.Button = fmt.Sprintf("Sell %d for %s", v.Count, costOf(timesPrice(v.Plan.Price, v.Count)))
	}
	for _, n := range countsOffered {
		v.Counts = append(v.Counts, webui.Link{Href: v.href(v.Plan.ID, false, n), Text: strconv.Itoa(n), Current: n == v.Count})
	}
	return v, nil
}

func (s *Server) sellPage(w http.ResponseWriter, r *http.Request) {
	v, err := s.sellView(r)
	if err != nil {
		status, alert := s.refusal("Nothing can be sold now", err)
		s.showSell(w, r, status, v, alert)
		return
	}
	var alert *webui.Alert
	if r.FormValue("plan") != "" && v.Plan == nil {
		alert = &webui.Alert{Tone: webui.Warn, Title: "That plan is not sold any more", Text: "Choose another one."}
	}
	s.showSell(w, r, http.StatusOK, v, alert)
}

func (s *Server) showSell(w http.ResponseWriter, r *http.Request, status int, v sellView, alert *webui.Alert) {
	s.renderAs(w, r, status, "sell", webui.Page{Title: "Sell", Alert: alert, Body: v})
}

// sell sells and leads to what to hand over, which may be looked at and printed again
// without selling anything.
func (s *Server) sell(w http.ResponseWriter, r *http.Request) {
	v, err := s.sellView(r)
	var by hotspot.Staff
	if err == nil {
		by, err = staffOf(r)
	}
	if err == nil {
		sale := Sale{Plan: hotspot.PlanID(r.PostFormValue("plan")), By: by, Count: v.Count, Note: r.PostFormValue("note")}
		if sale.Shown.Minor, err = strconv.ParseInt(r.PostFormValue("price"), 10, 64); err != nil {
			err = fault.New(fault.Invalid, "the form does not say the price that was shown", nil).WithCode("", "Load the page anew.")
		}
		sale.Shown.Currency = r.PostFormValue("currency")
		switch {
		case v.To != nil:
			sale.To, sale.Count = v.To.ID, 1
		case v.User:
			sale.User, sale.Password, sale.Count = strings.TrimSpace(r.PostFormValue("user")), hotspot.Password(r.PostFormValue("password")), 1
			if sale.User == "" && err == nil {
				err = fault.New(fault.Invalid, "a guest with a name needs one", nil).WithCode("", "Type it as the guest will, or sell a voucher.")
			}
		}
		if err == nil {
			err = s.Till.Sell(r.Context(), sale)
		}
	}
	if err == nil {
		http.Redirect(w, r, "/counter/sold/"+url.PathEscape(by.Form), http.StatusSeeOther)
		return
	}
	for name := range v.Typed {
		v.Typed[name] = r.PostFormValue(name)
	}
	if by.Form != "" && fault.Code(err) != codeFormUsed {
		v.Form = by.Form
	}
	status, alert := s.refusal("Nothing was sold", err)
	if fault.Code(err) == codeFormUsed {
		alert.Title = "Nothing more was sold"
	}
	s.showSell(w, r, status, v, alert)
}

// soldView is the body of the page with what to hand over.
type soldView struct {
	webui.Clock
	Site  string
	Slips []slip
	Total string
	By    string
	Again string // leads to the next sale of the same plan
	Guest string // leads to the guest of the sale, if it is one
}

// slip is what one guest is handed.
type slip struct {
	ID                        string
	Name, Password            string
	Voucher                   bool
	Plan, Cost, About, Before string
}

func (s *Server) soldPage(w http.ResponseWriter, r *http.Request) {
	sold, err := s.Till.Sold(r.Context(), r.PathValue("form"))
	if err != nil {
		status, alert := s.refusal("This sale is not known here", err)
		v := counterView{Clock: s.clockAt(time.Now()), Visitor: personOf(r.Context())}
		s.renderAs(w, r, status, "counter", webui.Page{Title: "Counter", Clock: v.Clock, Alert: alert, Body: v})
		return
	}
	c := s.clockAt(time.Now())
	first := sold[0]
	v := soldView{Clock: c, Site: s.glance(r.Context()).Site, By: first.By.String(), Again: "/counter/sell?plan=" + url.QueryEscape(string(first.Plan)), Total: costOf(timesPrice(first.Price, len(sold)))}
	if len(sold) == 1 {
		v.Guest = guestPath(first.Account)
	}
	for i, one := range sold {
		before := ""
		if !one.ValidUntil.IsZero() { // a date says more than how long
			before, one.Limits.Validity = c.Plain(one.ValidUntil), 0
		}
		x := slip{ID: fmt.Sprintf("code-%d", i), Name: one.Username, Voucher: one.New && one.Password == "", Plan: one.PlanName, Cost: costOf(one.Price), About: aboutLimits(one.Limits), Before: before}
		if one.By.Name == personOf(r.Context()).Name { // what a guest typed is no matter of who did not
			x.Password = one.Password.Reveal()
		}
		v.Slips = append(v.Slips, x)
	}
	s.render(w, r, "sold", webui.Page{Title: "Sold", Clock: c, Body: v})
}

// planForm is the body of the page that makes a plan.
type planForm struct {
	PlanTyped
	Here bool // plans are made on this box
	Form string
}

func (s *Server) planPage(w http.ResponseWriter, r *http.Request) {
	s.showPlan(w, r, http.StatusOK, planForm{PlanTyped: PlanTyped{Devices: "1"}, Form: newForm()}, nil)
}

func (s *Server) showPlan(w http.ResponseWriter, r *http.Request, status int, v planForm, alert *webui.Alert) {
	plans, here, err := s.Till.Plans(r.Context())
	if err != nil && alert == nil {
		status, alert = s.refusal("Plans cannot be read", err)
	}
	if v.Here = here; v.Currency == "" && len(plans) > 0 {
		v.Currency = plans[0].Price.Currency
	}
	s.renderAs(w, r, status, "plan", webui.Page{Title: "Make a plan", Alert: alert, Body: v})
}

func (s *Server) makePlan(w http.ResponseWriter, r *http.Request) {
	get := func(name string) string { return strings.TrimSpace(r.PostFormValue(name)) }
	v := planForm{PlanTyped: PlanTyped{Name: get("name"), Price: get("price"), Currency: get("currency"), Time: get("time"), Validity: get("validity"), Rate: get("rate"),
		Data: get("data"), Devices: get("devices"), Metered: get("metered") != ""}, Form: get("form")}
	by, err := staffOf(r)
	if err == nil {
		err = s.Till.MakePlan(r.Context(), v.PlanTyped, by)
	}
	if err == nil {
		s.done(w, r, "/counter", webui.Alert{Tone: webui.Good, Title: "The plan is made", Text: v.Name + " can be sold at once."})
		return
	}
	if v.Form == "" || fault.Code(err) == codeFormUsed {
		v.Form = newForm()
	}
	status, alert := s.refusal("The plan was not made", err)
	s.showPlan(w, r, status, v, alert)
}

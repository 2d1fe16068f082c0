package console

import (
	"context"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"time"

	"iwas/internal/condition"
	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/webui"
)

// homeBody is the first page: every site with its verdict.
type homeBody struct {
	Clock webui.Clock
	Sites []siteCard
	Add   bool // the person may add sites
	Boxes bool
}

type siteCard struct {
	Status  hotspot.SiteStatus
	Verdict webui.Verdict
	Heard   template.HTML
}

func (s *Server) homeBody(ctx context.Context, op hotspot.Operator) (homeBody, error) {
	sites, err := s.Store.Sites(ctx, op.Organization)
	if err != nil {
		return homeBody{}, err
	}
	b := homeBody{Clock: s.clock(""), Add: may(op, addSites), Boxes: may(op, seeBoxes)}
	for _, st := range sites {
		b.Sites = append(b.Sites, siteCard{Status: st, Verdict: siteVerdict(st, b.Clock), Heard: b.Clock.Ago(st.HeardAt)})
	}
	return b, nil
}

func (s *Server) home(w http.ResponseWriter, r *http.Request, op hotspot.Operator) error {
	body, err := s.homeBody(r.Context(), op)
	if err != nil {
		return err
	}
	p := shell(op, "Sites", "/")
	p.Live, p.Clock, p.Body = "/live", body.Clock, body
	s.render(w, r, http.StatusOK, "home", p)
	return nil
}

func (s *Server) homeLive(w http.ResponseWriter, r *http.Request, op hotspot.Operator) error {
	sites, err := s.Store.Sites(r.Context(), op.Organization)
	if err != nil {
		return err
	}
	var topics []string
	for _, st := range sites {
		topics = append(topics, string(st.Site.ID))
	}
	s.live(w, r, topics, seeSites, func(ctx context.Context, op hotspot.Operator) ([]webui.Part, error) {
		body, err := s.homeBody(ctx, op)
		if err != nil {
			return nil, err
		}
		return s.fragments(body, "sites")
	})
	return nil
}

// guestsPerPage is how many guests a site's page lists at once.
const guestsPerPage = 50

// siteBody is one site: verdict, figures, guests.
type siteBody struct {
	Clock             webui.Clock
	Status            hotspot.SiteStatus
	Verdict           webui.Verdict
	Guests            []guestRow
	Query, Next       string
	After             string
	Sell, Boxes, Hide bool
	Lists             bool // the person may see address-lists
	Sales             bool // the person may see sales
	History           historyView
	SeeRouters        bool
}

// RouterSeen is when the router last answered, by our clock.
func (b siteBody) RouterSeen() time.Time { return routerSeen(b.Status) }

// Alerts are what only the cloud knows of the site's box: that there are two of
// it, and why it has no MQTT connection, told another way.
func (b siteBody) Alerts() (out []webui.Alert) {
	if seen := b.Status.CopyAt; !seen.IsZero() && b.Clock.Now.Sub(seen) < copyShown {
		out = append(out, copyAlert(seen, b.Clock))
	}
	if o := b.Status.Outage; o != nil && b.Status.Presence != hotspot.Online {
		a := webui.Alert{Tone: webui.Warn, Title: "The box is there, but its connection to the broker fails", Text: o.Text, Code: o.Code, Age: b.Clock.Ago(o.At)}
		if c, ok := condition.Lookup(o.Code); ok {
			a.Next = c.Next
		}
		if o.Code == "CLD-101" { // the internet is there: this came over it
			a.Next = "HTTPS gets through from there and MQTT does not: let the broker's port out at the site's firewall."
		}
		out = append(out, a)
	}
	return out
}

// copyShown is how long after a second copy was last heard the site's page says so.
const copyShown = 24 * time.Hour

func copyAlert(seen time.Time, c webui.Clock) webui.Alert {
	known, _ := condition.Lookup("CLD-104")
	return webui.Alert{Tone: webui.Bad, Title: known.Title, Text: "The copy, which came later, is refused: nothing it says counts.",
		Next: "Switch the copy off, or enrol it with a code of its own.", Code: known.Code, Age: c.Ago(seen)}
}

// NextHref leads to the next page of guests.
func (b siteBody) NextHref() string {
	return "/sites/" + string(b.Status.Site.ID) + "?" + url.Values{"q": {b.Query}, "after": {b.Next}}.Encode()
}

func (s *Server) siteBody(ctx context.Context, r *http.Request, op hotspot.Operator) (siteBody, error) {
	id := hotspot.SiteID(r.PathValue("site"))
	st, err := s.Store.Site(ctx, op.Organization, id)
	if err != nil {
		return siteBody{}, err
	}
	b := siteBody{Clock: s.clock(st.Site.TimeZone), Status: st, Query: clip(r.FormValue("q"), 100), After: clip(r.FormValue("after"), 200),
		Sell: may(op, sell), Boxes: may(op, seeBoxes), Hide: masked(op), Lists: may(op, seeGrants), Sales: may(op, seeSales), SeeRouters: may(op, seeRouters)}
	b.Verdict = siteVerdict(st, b.Clock)
	guests, next, err := s.Store.Guests(ctx, op.Organization, id, b.Query, guestsPerPage, b.After)
	if err != nil {
		return siteBody{}, err
	}
	b.Next = next
	for _, g := range guests {
		b.Guests = append(b.Guests, viewGuest(g, st, b.Clock, b.Hide))
	}
	b.History, err = s.history(ctx, b, spans.Of(r), op.Organization)
	return b, err
}

// clip cuts what a person typed to a length in bytes that a question may have.
func clip(s string, n int) string {
	s = strings.TrimSpace(s)
	if len(s) > n {
		s = strings.ToValidUTF8(s[:n], "")
	}
	return s
}

func (s *Server) site(w http.ResponseWriter, r *http.Request, op hotspot.Operator) error {
	body, err := s.siteBody(r.Context(), r, op)
	if err != nil {
		return err
	}
	p := shell(op, body.Status.Site.Name, "")
	p.Live = r.URL.Path + "/live?" + url.Values{"q": {body.Query}, "after": {body.After}, "span": {spans.Of(r).Key}}.Encode()
	p.Clock, p.Body = body.Clock, body
	s.render(w, r, http.StatusOK, "site", p)
	return nil
}

func (s *Server) siteLive(w http.ResponseWriter, r *http.Request, _ hotspot.Operator) error {
	s.live(w, r, []string{r.PathValue("site")}, seeGuests, func(ctx context.Context, op hotspot.Operator) ([]webui.Part, error) {
		body, err := s.siteBody(ctx, r, op)
		if err != nil {
			return nil, err
		}
		parts, err := s.fragments(body, "site-alerts", "site-figures", "site-routers", "site-guests", "site-history")
		if err != nil {
			return nil, err
		}
		verdict, err := s.fragments(body.Verdict, "verdict")
		return append(verdict, parts...), err
	})
	return nil
}

// commonZones are offered while typing; any IANA name is taken.
var commonZones = []string{"Africa/Cairo", "Africa/Johannesburg", "Africa/Lagos", "Africa/Nairobi", "America/Bogota", "America/Mexico_City",
	"America/New_York", "America/Sao_Paulo", "Asia/Amman", "Asia/Baghdad", "Asia/Damascus", "Asia/Dhaka", "Asia/Dubai", "Asia/Jakarta",
	"Asia/Karachi", "Asia/Kolkata", "Asia/Manila", "Asia/Riyadh", "Asia/Tehran", "Europe/Berlin", "Europe/Istanbul", "Europe/London", "UTC"}

// addSiteBody is the form for one more site.
type addSiteBody struct {
	Form  map[string]string
	Wrong map[string]string // field to what is wrong with it
	Zones []string
}

func (s *Server) newSite(w http.ResponseWriter, r *http.Request, op hotspot.Operator) error {
	s.showAddSite(w, r, op, http.StatusOK, addSiteBody{Form: map[string]string{"zone": "", "currency": "", "language": "en", "name": ""}}, nil)
	return nil
}

func (s *Server) showAddSite(w http.ResponseWriter, r *http.Request, op hotspot.Operator, status int, b addSiteBody, alert *webui.Alert) {
	b.Zones = commonZones
	if b.Wrong == nil {
		b.Wrong = map[string]string{}
	}
	p := shell(op, "Add a site", "/sites/new")
	p.Clock, p.Body, p.Alert = s.clock(""), b, alert
	s.render(w, r, status, "addsite", p)
}

func (s *Server) addSite(w http.ResponseWriter, r *http.Request, op hotspot.Operator) error {
	b := addSiteBody{Form: formValues(r, "name", "zone", "currency", "language"), Wrong: map[string]string{}}
	site := hotspot.Site{Name: b.Form["name"], TimeZone: b.Form["zone"], Currency: strings.ToUpper(b.Form["currency"]), Language: b.Form["language"]}
	for field, err := range checkSite(site) {
		b.Wrong[field] = err.Error()
	}
	if len(b.Wrong) > 0 {
		s.showAddSite(w, r, op, http.StatusBadRequest, b, nil)
		return nil
	}
	made, err := s.Fleet.CreateSite(r.Context(), op, site)
	if err != nil {
		return err
	}
	http.Redirect(w, r, "/sites/"+string(made.ID)+"/box", http.StatusSeeOther)
	return nil
}

func formValues(r *http.Request, names ...string) map[string]string {
	m := map[string]string{}
	for _, n := range names {
		m[n] = clip(r.PostFormValue(n), 300)
	}
	return m
}

// checkSite returns what is wrong with a new site, by form field.
func checkSite(site hotspot.Site) map[string]error {
	wrong := map[string]error{}
	if n := len([]rune(site.Name)); n == 0 || n > 80 {
		wrong["name"] = errors.New("give the site a name of 1 to 80 characters")
	}
	if err := knownZone(site.TimeZone); err != nil {
		wrong["zone"] = err
	}
	if !isCurrency(site.Currency) {
		wrong["currency"] = errors.New("give the three letters of a currency, such as EUR")
	}
	if site.Language != "en" && site.Language != "ar" {
		wrong["language"] = errors.New("choose one of the languages offered")
	}
	return wrong
}

// inWords is what is wrong with a form, as it shows beside each field.
func inWords(wrong map[string]error) map[string]string {
	text := make(map[string]string, len(wrong))
	for field, err := range wrong {
		text[field] = err.Error()
	}
	return text
}

// invalid joins what is wrong, by field, into one error of kind Invalid.
func invalid(what string, wrong map[string]error) error {
	var all []error
	for _, field := range sortedKeys(wrong) {
		all = append(all, fmt.Errorf("%s: %w", field, wrong[field]))
	}
	return fault.New(fault.Invalid, what, errors.Join(all...)).WithCode("", "Correct the fields named and send it again.")
}

package console

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/webui"
	"iwas/internal/wire"
)

const (
	grantsPerPage = 100     // on a site's page
	grantsBody    = 1 << 20 // octets of a request to the API: five thousand addresses
	grantsMost    = 5000    // in one request
	maxRemark     = 200
)

// What a grant is said to be, besides what its site says.
const (
	grantSiteAway = "waits_for_site"
	grantOnItsWay = "on_its_way"
	grantNoRouter = "waits_for_router"
	grantNotKnown = "not_known_to_box"
	grantExpired  = "expired"
	grantRemoved  = "removed"
)

// grantState is what is known of a grant. It never claims more than the site said.
func grantState(g hotspot.GrantStatus, st hotspot.SiteStatus, now time.Time) string {
	switch {
	case !g.EndedAt.IsZero() && g.EndedBy != "":
		return grantRemoved
	case g.Over(now):
		return grantExpired
	case g.State != hotspot.GrantWaiting:
		return string(g.State)
	case st.Presence != hotspot.Online && !g.AtSite:
		return grantSiteAway
	case !g.AtSite:
		return grantOnItsWay
	case grantNotInForce(g, st):
		return grantNotKnown
	}
	return grantNoRouter
}

// grantNotInForce reports whether the site said that it cannot apply the grant. It
// names a hundred documents: where it names grants and no more fit, the rest are as
// those.
func grantNotInForce(g hotspot.GrantStatus, st hotspot.SiteStatus) bool {
	return notInForce(st, wire.DocGrant, string(g.ID)) ||
		len(st.NotInForce) >= 100 && slices.ContainsFunc(st.NotInForce, func(d hotspot.DocRef) bool { return d.Kind == string(wire.DocGrant) })
}

// grantBadge words a state.
func grantBadge(state string, g hotspot.GrantStatus, c webui.Clock) webui.Badge {
	switch state {
	case string(hotspot.GrantInList):
		return webui.Badge{Tone: webui.Good, Icon: "circle-check", Text: "In the list since " + c.Plain(g.StateAt)}
	case string(hotspot.GrantForeign):
		return webui.Badge{Tone: webui.Warn, Icon: "info", Text: "In the list, by somebody else’s entry"}
	case string(hotspot.GrantServed):
		return webui.Badge{Tone: webui.Good, Icon: "circle-check", Text: "Fetched by the router " + c.Plain(g.StateAt)}
	case grantSiteAway:
		return webui.Badge{Tone: webui.Warn, Icon: "clock", Text: "Waits for the site"}
	case grantOnItsWay:
		return webui.Badge{Tone: webui.Warn, Icon: "clock", Text: "On its way"}
	case grantNotKnown:
		return webui.Badge{Tone: webui.Bad, Icon: "circle-x", Text: "Not in force: the box’s version does not know it"}
	case grantRemoved:
		return webui.Badge{Tone: webui.Calm, Icon: "circle-x", Text: "Removed"}
	case grantExpired:
		return webui.Badge{Tone: webui.Calm, Icon: "clock", Text: "Expired"}
	}
	return webui.Badge{Tone: webui.Warn, Icon: "router", Text: "Waits for the router"}
}

// grantsPage is the page of a site's address-lists.
type grantsPage struct {
	Clock  webui.Clock
	Status hotspot.SiteStatus
	Grants []grantRow
	Query  string
	Next   string // href of the next page
	Change bool
	Form   map[string]string
	Wrong  map[string]string
}

type grantRow struct {
	ID, List, Address, Comment, By string
	State                          webui.Badge
	Until                          time.Time
	Over                           bool
	Ended                          string // by whom
	OnSite                         bool
}

func (s *Server) grantsPage(ctx context.Context, r *http.Request, op hotspot.Operator) (grantsPage, error) {
	id := hotspot.SiteID(r.PathValue("site"))
	st, err := s.Store.Site(ctx, op.Organization, id)
	if err != nil {
		return grantsPage{}, err
	}
	p := grantsPage{Clock: s.clock(st.Site.TimeZone), Status: st, Query: clip(r.FormValue("q"), 100), Change: may(op, changeGrants), Wrong: map[string]string{},
		Form: map[string]string{"list": "", "address": "", "lasts": "2", "unit": "h", "comment": ""}}
	grants, next, err := s.Store.Grants(ctx, op.Organization, id, p.Query, true, grantsPerPage, clip(r.FormValue("after"), 64))
	if err != nil {
		return p, err
	}
	if next != "" {
		p.Next = "/sites/" + string(id) + "/grants?" + url.Values{"q": {p.Query}, "after": {next}}.Encode()
	}
	for _, g := range grants {
		state := grantState(g, st, p.Clock.Now)
		p.Grants = append(p.Grants, grantRow{ID: string(g.ID), List: g.List, Address: hotspot.FormatListAddress(g.Address), Comment: g.Comment, By: g.By, State: grantBadge(state, g, p.Clock),
			Until: g.Until, Over: g.Over(p.Clock.Now), Ended: g.EndedBy, OnSite: g.OnSite})
	}
	return p, nil
}

func (s *Server) grants(w http.ResponseWriter, r *http.Request, op hotspot.Operator) error {
	return s.showGrants(w, r, op, http.StatusOK, nil, nil, nil)
}

// showGrants shows the page, with what was typed and what is wrong with it.
func (s *Server) showGrants(w http.ResponseWriter, r *http.Request, op hotspot.Operator, status int, form, wrong map[string]string, alert *webui.Alert) error {
	body, err := s.grantsPage(r.Context(), r, op)
	if err != nil {
		return err
	}
	if form != nil {
		body.Form = form
	}
	if wrong != nil {
		body.Wrong = wrong
	}
	p := shell(op, "Address-lists of "+body.Status.Site.Name, "")
	p.Live = "/sites/" + string(body.Status.Site.ID) + "/grants/live?" + url.Values{"q": {body.Query}, "after": {clip(r.FormValue("after"), 64)}}.Encode()
	p.Clock, p.Body, p.Alert = body.Clock, body, alert
	s.render(w, r, status, "grants", p)
	return nil
}

func (s *Server) grantsLive(w http.ResponseWriter, r *http.Request, _ hotspot.Operator) error {
	s.live(w, r, []string{r.PathValue("site")}, seeGrants, func(ctx context.Context, op hotspot.Operator) ([]webui.Part, error) {
		body, err := s.grantsPage(ctx, r, op)
		if err != nil {
			return nil, err
		}
		return s.fragments(body, "site-grants")
	})
	return nil
}

func (s *Server) addGrants(w http.ResponseWriter, r *http.Request, op hotspot.Operator) error {
	form := formValues(r, "list", "address", "lasts", "unit", "comment")
	grants, wrong := grantsOfForm(form, s.now())
	if len(wrong) > 0 {
		return s.showGrants(w, r, op, http.StatusBadRequest, form, inWords(wrong), nil)
	}
	site := r.PathValue("site")
	if _, err := s.Store.CreateGrants(r.Context(), op, hotspot.SiteID(site), grants); err != nil {
		if fault.Is(err, fault.Invalid) || fault.Is(err, fault.Conflict) {
			return s.showGrants(w, r, op, statusOf(err), form, nil, alertOf("Nothing was granted", err))
		}
		return err
	}
	http.Redirect(w, r, "/sites/"+site+"/grants", http.StatusSeeOther)
	return nil
}

// grantsOfForm reads the form: several addresses are several grants.
func grantsOfForm(f map[string]string, now time.Time) ([]hotspot.Grant, map[string]error) {
	wrong := map[string]error{}
	unit, ok := units[f["unit"]]
	n, err := strconv.ParseFloat(strings.Replace(f["lasts"], ",", ".", 1), 64)
	if !ok || err != nil || !(n > 0 && n <= 366*24*60) {
		wrong["lasts"] = errors.New("give a number of minutes, hours or days")
		n, unit = 0, time.Second
	}
	until := now.Add(time.Duration(math.Round(n * float64(unit))))
	addresses := strings.FieldsFunc(f["address"], func(r rune) bool { return r == ',' || r == ';' || r == ' ' })
	grants, more := grantsOf(f["list"], addresses, until, f["comment"], now)
	for field, err := range more {
		if field == "until" {
			field = "lasts"
		}
		if wrong[field] == nil {
			wrong[field] = err
		}
	}
	return grants, wrong
}

// grantsOf makes grants of what people and programs write, and says what is wrong
// with it, by field.
func grantsOf(list string, addresses []string, until time.Time, comment string, now time.Time) (out []hotspot.Grant, wrong map[string]error) {
	wrong = map[string]error{}
	if err := hotspot.CheckListName(list); err != nil {
		wrong["list"] = errors.New("give the name of the list as the router’s rules have it: letters, digits, dot, dash and underscore")
	}
	if left := until.Sub(now); left < time.Second || left > hotspot.LongestGrant {
		wrong["until"] = errors.New("give an end between a second and 366 days from now")
	}
	if utf8.RuneCountInString(comment) > maxRemark || len(comment) > maxRemark || !printable(comment) {
		wrong["comment"] = fmt.Errorf("a comment has at most %d characters and no line breaks", maxRemark)
	}
	if len(addresses) == 0 || len(addresses) > grantsMost {
		wrong["address"] = fmt.Errorf("give 1 to %d addresses or networks", grantsMost)
	}
	for _, a := range addresses {
		p, err := hotspot.ParseListAddress(a)
		if err != nil {
			wrong["address"] = err
			break
		}
		out = append(out, hotspot.Grant{List: list, Address: p, Until: until, Comment: strings.TrimSpace(comment)})
	}
	return out, wrong
}

func (s *Server) removeGrant(w http.ResponseWriter, r *http.Request, op hotspot.Operator) error {
	site := r.PathValue("site")
	if err := s.Store.RemoveGrant(r.Context(), op, hotspot.SiteID(site), hotspot.GrantID(r.PathValue("grant"))); err != nil {
		return err
	}
	http.Redirect(w, r, "/sites/"+site+"/grants", http.StatusSeeOther)
	return nil
}

// apiGrant is a grant in the API.
type apiGrant struct {
	ID      string     `json:"id"`
	List    string     `json:"list"`
	Address string     `json:"address" doc:"An IPv4 host without its length, an IPv6 host with it."`
	Until   *time.Time `json:"until,omitempty" doc:"Absent: made on site while its date was not right, and not known here yet."`
	Comment string     `json:"comment,omitempty"`
	By      string     `json:"by,omitempty" doc:"Who asked."`
	MadeAt  *time.Time `json:"made_at,omitempty" doc:"By the clock of the machine where it was made."`
	OnSite  bool       `json:"on_site" doc:"Made there, by iwas-agent grant add."`
	State   string     `json:"state" enum:"waits_for_site,on_its_way,waits_for_router,not_known_to_box,in_list,foreign,served,expired,removed" doc:"in_list is read back from every router of the site; foreign: on some router by an entry that somebody else made, which stays; served: a router without an API fetched it. not_known_to_box: the box's version is too old for it (CLD-302)."`
	StateAt *time.Time `json:"state_at,omitempty" doc:"Since when it is in_list, foreign or served, by the cloud's clock."`
	EndedAt *time.Time `json:"ended_at,omitempty"`
	EndedBy string     `json:"ended_by,omitempty" doc:"Who removed it."`
}

func toAPIGrant(g hotspot.GrantStatus, st hotspot.SiteStatus, now time.Time) apiGrant {
	a := apiGrant{ID: string(g.ID), List: g.List, Address: hotspot.FormatListAddress(g.Address), Until: moment(g.Until), Comment: g.Comment, By: g.By, MadeAt: moment(g.MadeAt),
		OnSite: g.OnSite, State: grantState(g, st, now), EndedAt: moment(g.EndedAt), EndedBy: g.EndedBy}
	if g.State != hotspot.GrantWaiting {
		a.StateAt = moment(g.StateAt)
	}
	return a
}

type grantsInput struct {
	SiteInput
	Query string `query:"q" maxLength:"100" doc:"Part of a list's name, an address or a comment."`
	Ended bool   `query:"ended" default:"false" doc:"Also those that ended within a day."`
	Limit int    `query:"limit" minimum:"1" maximum:"1000" default:"200"`
	After string `query:"after" maxLength:"64" doc:"Next of the page before."`
}

type createGrantsInput struct {
	SiteInput
	Body struct {
		List      string     `json:"list" minLength:"1" maxLength:"64" doc:"Name of the address-list as the router's rules have it."`
		Address   string     `json:"address,omitempty" maxLength:"64" doc:"An IPv4 or IPv6 address or network."`
		Addresses []string   `json:"addresses,omitempty" maxItems:"5000" doc:"Several instead: one change, each a grant of its own."`
		Until     *time.Time `json:"until,omitempty" doc:"The end; or for_s says it."`
		ForS      int64      `json:"for_s,omitempty" minimum:"0" maximum:"31622400" doc:"Seconds from now instead."`
		Comment   string     `json:"comment,omitempty" maxLength:"200" doc:"Why; the router's list shows it too."`
	}
}

type grantInput struct {
	SiteInput
	Grant string `path:"grant" maxLength:"64"`
}

func (s *Server) grantOperations(api huma.API) {
	register(s, api, operation("GET /api/v1/sites/{site}/grants", "list-grants", "Addresses in the lists of a site's routers, the newest first", http.StatusOK),
		func(ctx context.Context, op hotspot.Operator, in *grantsInput) (list[apiGrant], error) {
			st, err := s.Store.Site(ctx, op.Organization, hotspot.SiteID(in.Site))
			if err != nil {
				return list[apiGrant]{}, err
			}
			grants, next, err := s.Store.Grants(ctx, op.Organization, st.Site.ID, in.Query, in.Ended, in.Limit, in.After)
			return s.apiGrants(grants, next, st), err
		})
	create := operation("POST /api/v1/sites/{site}/grants", "create-grants", "Put addresses in a list until a time; read state for how far each is", http.StatusCreated)
	create.MaxBodyBytes = grantsBody
	register(s, api, create, s.apiCreateGrants)
	register(s, api, operation("DELETE /api/v1/sites/{site}/grants/{grant}", "remove-grant", "Take an address out of a list now", http.StatusOK),
		func(ctx context.Context, op hotspot.Operator, in *grantInput) (apiDone, error) {
			return apiDone{in.Grant}, s.Store.RemoveGrant(ctx, op, hotspot.SiteID(in.Site), hotspot.GrantID(in.Grant))
		})
}

func (s *Server) apiGrants(grants []hotspot.GrantStatus, next string, st hotspot.SiteStatus) list[apiGrant] {
	now := s.now()
	return listOf(grants, next, func(g hotspot.GrantStatus) apiGrant { return toAPIGrant(g, st, now) })
}

func (s *Server) apiCreateGrants(ctx context.Context, op hotspot.Operator, in *createGrantsInput) (list[apiGrant], error) {
	st, err := s.Store.Site(ctx, op.Organization, hotspot.SiteID(in.Site))
	if err != nil {
		return list[apiGrant]{}, err
	}
	b, now := in.Body, s.now()
	addresses := b.Addresses
	if b.Address != "" {
		addresses = append(addresses, b.Address)
	}
	until := now.Add(time.Duration(b.ForS) * time.Second)
	if b.Until != nil {
		until = *b.Until
	}
	grants, wrong := grantsOf(b.List, addresses, until, b.Comment, now)
	if b.Until != nil && b.ForS > 0 {
		wrong["until"] = errors.New("give until or for_s, not both")
	}
	if len(wrong) > 0 {
		return list[apiGrant]{}, invalid("grant", wrong)
	}
	made, err := s.Store.CreateGrants(ctx, op, st.Site.ID, grants)
	return s.apiGrants(made, "", st), err
}

package console

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/webui"
	"iwas/internal/wire"
)

// What is known of the wanted set-up of a router.
const (
	setupNone       = "none"
	setupOnItsWay   = "on_its_way"
	setupHeld       = "held"
	setupNotTaken   = "not_taken"
	setupBoxFirst   = "box_first"
	setupTooOld     = "box_too_old"
	setupWaits      = "waits_for_site"
	setupNoSuchHere = "no_such_router"
)

// routerPage is a router's set-up: what is wanted, what stands between, and how the
// newest application is.
type routerPage struct {
	Clock   webui.Clock
	Status  hotspot.SiteStatus
	NAS     string
	Name    string
	Told    bool // the site told of this router
	Setup   *hotspot.SetupStanding
	Wanted  *wire.RouterDoc
	State   string
	Change  bool
	Form    map[string]string
	Wrong   map[string]string
	Plan    *planView
	Check   *checkView
	Busy    *commandView // a command that is not over
	History []commandView
	Once    string    // of the buttons: the same until something new happens
	Until   time.Time // to confirm, by our clock; zero: nothing waits
	More    string    // what is wanted besides the form, as the API has it
}

// planView is the newest plan.
type planView struct {
	commandView
	wire.PlanResult
	CanApply bool
	Stale    bool // something was applied or wanted since
}

// checkView is the newest check.
type checkView struct {
	commandView
	wire.CheckResult
}

// Wrong are the rows to be seen to, the worst first.
func (c checkView) Wrong() (out []wire.CheckRow) {
	for _, state := range []string{"fail", "warn", "unknown"} {
		for _, r := range c.Rows {
			if r.State == state {
				out = append(out, r)
			}
		}
	}
	return out
}

// Right are the other rows.
func (c checkView) Right() (out []wire.CheckRow) {
	for _, r := range c.Rows {
		if r.State != "fail" && r.State != "warn" && r.State != "unknown" {
			out = append(out, r)
		}
	}
	return out
}

// RowBadge words how a row came out.
func (checkView) RowBadge(state string) webui.Badge {
	switch state {
	case "ok":
		return webui.Badge{Tone: webui.Good, Icon: "circle-check", Text: "OK"}
	case "warn":
		return webui.Badge{Tone: webui.Warn, Icon: "triangle-alert", Text: "Look at it"}
	case "fail":
		return webui.Badge{Tone: webui.Bad, Icon: "circle-x", Text: "Failed"}
	case "skipped":
		return webui.Badge{Tone: webui.Calm, Icon: "info", Text: "Not asked"}
	}
	return webui.Badge{Tone: webui.Warn, Icon: "info", Text: "Not known"}
}

// Waiting reports whether somebody may still confirm.
func (p routerPage) Waiting() bool { return !p.Until.IsZero() && p.Until.After(p.Clock.Now) }

// TimeOver reports whether nobody confirmed in time, and the site has not said yet
// that the old configuration is back.
func (p routerPage) TimeOver() bool { return !p.Until.IsZero() && !p.Waiting() }

// CanRollBack reports whether there is something to take back.
func (p routerPage) CanRollBack() bool {
	return p.Setup != nil && (p.Setup.State == "confirmed" || p.Setup.State == "waiting")
}

// Standing words what the router has.
func (p routerPage) Standing() (out []figure) {
	if p.Setup == nil {
		return nil
	}
	from := map[string]string{wire.SetupOfBox: "the box’s own configuration", wire.SetupOfCloud: "this console", "": "nobody"}[p.Setup.From]
	out = append(out, figure{Name: "Wanted by", Value: orElse(from, p.Setup.From), Note: p.Setup.Mode})
	state := map[string]string{"": "never applied", "applying": "being applied", "waiting": "applied, not confirmed", "confirmed": "applied and confirmed", "reverted": "taken back", "undone": "rolled back"}[p.Setup.State]
	out = append(out, figure{Name: "Newest application", Value: orElse(state, p.Setup.State)})
	if p.Setup.Login == "" {
		return append(out, figure{Name: "Login for applying", Value: "none stored", Note: "apply on site, or: iwas-agent router login store " + p.NAS})
	}
	return append(out, figure{Name: "Login for applying", Value: p.Setup.Login, Note: "stored on the box; iwas-agent router login forget " + p.NAS + " ends that"})
}

// StateBadge words how far the wanted set-up is.
func (p routerPage) StateBadge() webui.Badge {
	switch p.State {
	case setupHeld:
		return webui.Badge{Tone: webui.Good, Icon: "circle-check", Text: "The box has it"}
	case setupOnItsWay:
		return webui.Badge{Tone: webui.Warn, Icon: "clock", Text: "On its way"}
	case setupWaits:
		return webui.Badge{Tone: webui.Warn, Icon: "clock", Text: "Waits for the site"}
	case setupNotTaken:
		return webui.Badge{Tone: webui.Bad, Icon: "circle-x", Text: "The box cannot apply it"}
	case setupBoxFirst:
		return webui.Badge{Tone: webui.Warn, Icon: "info", Text: "Not in force: the box’s own goes first"}
	case setupTooOld:
		return webui.Badge{Tone: webui.Warn, Icon: "info", Text: "The box’s version does not know it"}
	case setupNoSuchHere:
		return webui.Badge{Tone: webui.Warn, Icon: "info", Text: "The box tells of no such router"}
	}
	return webui.Badge{Tone: webui.Calm, Icon: "info", Text: "Nothing wanted here"}
}

// setupState is how far a wanted set-up is. It claims no more than the site said.
func setupState(wanted bool, revision int64, nas string, told bool, setup *hotspot.SetupStanding, st hotspot.SiteStatus) string {
	switch {
	case !wanted && setup != nil && setup.From == wire.SetupOfBox:
		return setupBoxFirst
	case !wanted:
		return setupNone
	case st.Applied < revision && st.Presence != hotspot.Online:
		return setupWaits
	case st.Applied < revision:
		return setupOnItsWay
	case notInForce(st, wire.DocRouter, nas) && told && setup == nil:
		return setupTooOld
	case notInForce(st, wire.DocRouter, nas):
		return setupNotTaken
	case !told:
		return setupNoSuchHere
	case setup == nil:
		return setupTooOld
	case setup.From == wire.SetupOfBox:
		return setupBoxFirst
	}
	return setupHeld
}

// notInForce reports whether the site said that it holds a document and cannot apply
// it.
func notInForce(st hotspot.SiteStatus, kind wire.DocKind, id string) bool {
	return slices.Contains(st.NotInForce, hotspot.DocRef{Kind: string(kind), ID: id})
}

func (s *Server) routerPage(ctx context.Context, r *http.Request, op hotspot.Operator) (routerPage, error) {
	site, nas := hotspot.SiteID(r.PathValue("site")), r.PathValue("router")
	st, err := s.Store.Site(ctx, op.Organization, site)
	if err != nil {
		return routerPage{}, err
	}
	p := routerPage{Clock: s.clock(st.Site.TimeZone), Status: st, NAS: nas, Name: nas, Change: may(op, changeRouters), Wrong: map[string]string{}}
	for _, t := range st.Routers {
		if string(t.NAS) == nas {
			p.Told, p.Setup, p.Name = true, t.Setup, cmp.Or(t.Name, nas)
		}
	}
	doc, revision, found, err := s.Store.RouterSetup(ctx, op.Organization, site, hotspot.NASID(nas))
	if err != nil {
		return p, err
	}
	if !found && !p.Told {
		return p, fault.New(fault.NotFound, "no router "+nas+" at this site", nil).WithCode("", "A router appears once the box speaks to it: iwas-agent router add.")
	}
	if found {
		p.Wanted = &doc
	}
	p.State = setupState(found, revision, nas, p.Told, p.Setup, st)
	p.Form, p.More = setupForm(doc.RouterSetup)
	all, err := s.Store.Commands(ctx, op.Organization, site, nas, commandsShown)
	if err != nil {
		return p, err
	}
	p.commands(all, doc.At)
	return p, nil
}

// commands takes in what was asked of the router, the newest first. wantedAt is when
// what is wanted was said last.
func (p *routerPage) commands(all []hotspot.Command, wantedAt time.Time) {
	p.Once = "first"
	if len(all) > 0 {
		p.Once = all[0].ID
	}
	changed := false // the router, since the plan
	var applied *hotspot.Command
	for _, c := range all {
		v := viewCommand(c, p.Status)
		p.History = append(p.History, v)
		if v.Open && p.Busy == nil {
			p.Busy = &v
		}
		switch wire.CommandKind(c.Kind) {
		case wire.CommandRouterPlan:
			if p.Plan == nil && c.State == hotspot.CommandExecuted {
				plan := planView{commandView: v}
				if json.Unmarshal([]byte(c.Result), &plan.PlanResult) == nil {
					plan.Stale = changed || wantedAt.After(c.AskedAt)
					plan.CanApply = !plan.Stale && plan.Total > 0 && len(plan.Stops) == 0
					p.Plan = &plan
				}
			}
		case wire.CommandRouterCheck:
			if p.Check == nil && c.State == hotspot.CommandExecuted {
				check := checkView{commandView: v}
				if json.Unmarshal([]byte(c.Result), &check.CheckResult) == nil {
					p.Check = &check
				}
			}
		case wire.CommandRouterApply, wire.CommandRouterRollback:
			if c.State != hotspot.CommandRejected && c.State != hotspot.CommandExpired {
				changed = true
			}
			if applied == nil && c.State == hotspot.CommandExecuted {
				applied = &c
			}
		}
	}
	if p.Setup == nil || p.Setup.State != "waiting" {
		return
	}
	// The site told what was left when it said hello; the answer to Apply says it closer.
	p.Until = p.Status.HeardAt.Add(p.Setup.Left)
	var res wire.ApplyResult
	if applied != nil && json.Unmarshal([]byte(applied.Result), &res) == nil && res.LeftS > 0 {
		if at := applied.EndedAt.Add(time.Duration(res.LeftS) * time.Second); at.Before(p.Until) || p.Setup.Left == 0 {
			p.Until = at
		}
	}
}

func (s *Server) routerSetup(w http.ResponseWriter, r *http.Request, op hotspot.Operator) error {
	return s.showRouter(w, r, op, http.StatusOK, nil, nil, nil)
}

func (s *Server) showRouter(w http.ResponseWriter, r *http.Request, op hotspot.Operator, status int, form, wrong map[string]string, alert *webui.Alert) error {
	body, err := s.routerPage(r.Context(), r, op)
	if err != nil {
		return err
	}
	if form != nil {
		body.Form, body.Wrong = form, wrong
	}
	p := shell(op, "Router "+body.Name, "")
	p.Live = fmt.Sprintf("/sites/%s/routers/%s/live", body.Status.Site.ID, body.NAS)
	p.Clock, p.Body, p.Alert = body.Clock, body, alert
	if body.Waiting() || body.Busy != nil {
		p.Refresh = 3 // without scripts the countdown moves by this
	}
	s.render(w, r, status, "router", p)
	return nil
}

func (s *Server) routerLive(w http.ResponseWriter, r *http.Request, _ hotspot.Operator) error {
	s.live(w, r, []string{r.PathValue("site")}, seeRouters, func(ctx context.Context, op hotspot.Operator) ([]webui.Part, error) {
		body, err := s.routerPage(ctx, r, op)
		if err != nil {
			return nil, err
		}
		return s.fragments(body, "router-standing", "router-state", "router-check", "router-plan", "router-history")
	})
	return nil
}

func (s *Server) saveSetup(w http.ResponseWriter, r *http.Request, op hotspot.Operator) error {
	p, err := s.routerPage(r.Context(), r, op)
	if err != nil {
		return err
	}
	form := formValues(r, setupFields...)
	var had wire.RouterSetup
	if p.Wanted != nil {
		had = p.Wanted.RouterSetup
	}
	setup, wrong := setupOf(had, form)
	if len(wrong) > 0 {
		var alert *webui.Alert
		if slices.ContainsFunc(sortedKeys(wrong), func(field string) bool { return !slices.Contains(setupFields, field) }) {
			alert = alertOf("Not saved", invalid("set-up", wrong)) // of what the form does not show
		}
		return s.showRouter(w, r, op, http.StatusBadRequest, form, inWords(wrong), alert)
	}
	if err := s.Store.SetRouterSetup(r.Context(), op, p.Status.Site.ID, hotspot.NASID(p.NAS), &setup); err != nil {
		return err
	}
	http.Redirect(w, r, fmt.Sprintf("/sites/%s/routers/%s", p.Status.Site.ID, p.NAS), http.StatusSeeOther)
	return nil
}

func (s *Server) forgetSetup(w http.ResponseWriter, r *http.Request, op hotspot.Operator) error {
	site, nas := r.PathValue("site"), r.PathValue("router")
	if err := s.Store.SetRouterSetup(r.Context(), op, hotspot.SiteID(site), hotspot.NASID(nas), nil); err != nil {
		return err
	}
	http.Redirect(w, r, "/sites/"+site, http.StatusSeeOther)
	return nil
}

func (s *Server) commandRouter(w http.ResponseWriter, r *http.Request, op hotspot.Operator) error {
	site, nas, kind := r.PathValue("site"), r.PathValue("router"), clip(r.PostFormValue("kind"), 20)
	key := ""
	if once := clip(r.PostFormValue("once"), 64); once != "" {
		key = nas + " " + kind + " " + once
	}
	if _, err := s.routerPage(r.Context(), r, op); err != nil {
		return err // of another organization, or no such router
	}
	if _, err := s.routerCommand(r.Context(), op, hotspot.SiteID(site), nas, kind, clip(r.PostFormValue("plan"), 64), key); err != nil {
		if fault.Is(err, fault.NotFound) {
			return err
		}
		return s.showRouter(w, r, op, statusOf(err), nil, nil, alertOf("Nothing was asked of the box", err))
	}
	http.Redirect(w, r, fmt.Sprintf("/sites/%s/routers/%s", site, nas), http.StatusSeeOther)
	return nil
}

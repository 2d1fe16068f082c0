package console

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// apiRouterSetup is a router's set-up in the API.
type apiRouterSetup struct {
	ID           string          `json:"id"`
	Name         string          `json:"name,omitempty"`
	Wanted       *wire.RouterDoc `json:"wanted,omitempty" doc:"What this console wants; the box applies it by a command only."`
	State        string          `json:"state" enum:"none,on_its_way,waits_for_site,held,not_taken,box_first,box_too_old,no_such_router" doc:"Of what is wanted. box_first: a set-up in the box's own configuration goes before it. not_taken: the box cannot apply it. box_too_old: the box's version does not know it."`
	From         string          `json:"from,omitempty" enum:"box,cloud" doc:"Whose set-up the box goes by; absent: nobody's, or not known."`
	Mode         string          `json:"mode,omitempty"`
	Application  string          `json:"application,omitempty" doc:"Newest, as the box told: applying, waiting, confirmed, reverted, undone."`
	ConfirmUntil *time.Time      `json:"confirm_until,omitempty" doc:"Until then router.confirm keeps what was applied; else the router takes it back by itself."`
	StoredLogin  string          `json:"stored_login,omitempty" doc:"User of the login for applying that somebody stored on the box; absent: apply on site only."`
}

func toAPIRouterSetup(p routerPage) apiRouterSetup {
	a := apiRouterSetup{ID: p.NAS, Name: p.Name, Wanted: p.Wanted, State: p.State}
	if p.Setup != nil {
		a.From, a.Mode, a.Application, a.StoredLogin = p.Setup.From, p.Setup.Mode, p.Setup.State, p.Setup.Login
	}
	if p.Waiting() {
		a.ConfirmUntil = moment(p.Until)
	}
	return a
}

// RouterInput is the address of a router of a site; exported like SiteInput.
type RouterInput struct {
	SiteInput
	Router string `path:"router" maxLength:"64"`
}

type setupInput struct {
	RouterInput
	Body wire.RouterSetup
}

type routerCommandInput struct {
	RouterInput
	Key  string `header:"Idempotency-Key" maxLength:"100" doc:"A repeat with the same key gets the first command instead of a second."`
	Body struct {
		Kind string `json:"kind" enum:"check,plan,apply,confirm,rollback"`
		Plan string `json:"plan,omitempty" maxLength:"64" doc:"For apply: key of the plan that was read. Another plan is not applied."`
	}
}

// routerOf reads a router's page for the API.
func (s *Server) routerOf(ctx context.Context, op hotspot.Operator, in RouterInput) (routerPage, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "/", nil)
	if err != nil {
		return routerPage{}, err
	}
	r.SetPathValue("site", in.Site)
	r.SetPathValue("router", in.Router)
	return s.routerPage(ctx, r, op)
}

func (s *Server) routerOperations(api huma.API) {
	register(s, api, operation("GET /api/v1/sites/{site}/routers", "list-routers", "Routers of a site that are spoken to, and their set-ups", http.StatusOK),
		func(ctx context.Context, op hotspot.Operator, in *SiteInput) (list[apiRouterSetup], error) {
			st, err := s.Store.Site(ctx, op.Organization, hotspot.SiteID(in.Site))
			if err != nil {
				return list[apiRouterSetup]{}, err
			}
			out := list[apiRouterSetup]{Items: []apiRouterSetup{}}
			for _, t := range st.Routers {
				p, err := s.routerOf(ctx, op, RouterInput{*in, string(t.NAS)})
				if err != nil {
					return out, err
				}
				out.Items = append(out.Items, toAPIRouterSetup(p))
			}
			return out, nil
		})
	register(s, api, operation("GET /api/v1/sites/{site}/routers/{router}", "get-router", "One router's set-up, and how its application stands", http.StatusOK),
		func(ctx context.Context, op hotspot.Operator, in *RouterInput) (apiRouterSetup, error) {
			p, err := s.routerOf(ctx, op, *in)
			return toAPIRouterSetup(p), err
		})
	register(s, api, operation("PUT /api/v1/sites/{site}/routers/{router}/setup", "set-router-setup", "Say how a router should be set up; nothing is applied by that", http.StatusOK),
		func(ctx context.Context, op hotspot.Operator, in *setupInput) (apiRouterSetup, error) {
			if _, err := s.routerOf(ctx, op, in.RouterInput); err != nil {
				return apiRouterSetup{}, err
			}
			if wrong := in.Body.Check(); len(wrong) > 0 {
				return apiRouterSetup{}, invalid("set-up", wrong)
			}
			if err := s.Store.SetRouterSetup(ctx, op, hotspot.SiteID(in.Site), hotspot.NASID(in.Router), &in.Body); err != nil {
				return apiRouterSetup{}, err
			}
			p, err := s.routerOf(ctx, op, in.RouterInput)
			return toAPIRouterSetup(p), err
		})
	register(s, api, operation("DELETE /api/v1/sites/{site}/routers/{router}/setup", "forget-router-setup", "Want nothing of a router any more; what was applied stays", http.StatusOK),
		func(ctx context.Context, op hotspot.Operator, in *RouterInput) (apiDone, error) {
			return apiDone{in.Router}, s.Store.SetRouterSetup(ctx, op, hotspot.SiteID(in.Site), hotspot.NASID(in.Router), nil)
		})
	register(s, api, operation("POST /api/v1/sites/{site}/routers/{router}/commands", "command-router", "Check a router, or plan, apply, confirm or roll back its set-up; read the command for what became of it", http.StatusAccepted),
		func(ctx context.Context, op hotspot.Operator, in *routerCommandInput) (apiCommand, error) {
			if _, err := s.routerOf(ctx, op, in.RouterInput); err != nil {
				return apiCommand{}, err
			}
			c, err := s.routerCommand(ctx, op, hotspot.SiteID(in.Site), in.Router, in.Body.Kind, in.Body.Plan, in.Key)
			return toAPICommand(c), err
		})
}

package console

import (
	"context"
	"net/http"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/webui"
)

// codeShown is an enrolment code that was just made.
type codeShown struct {
	Site    string    `json:"s"`
	Code    string    `json:"c"`
	Expires time.Time `json:"e"`
}

// boxBody is the page on which a box is connected to a site.
type boxBody struct {
	Clock   webui.Clock
	Status  hotspot.SiteStatus
	Agents  []hotspot.Agent
	Run     bool // the person may enrol and revoke
	Command string
	Made    *codeShown
	Left    string // how long the code still works
}

func (s *Server) boxBody(ctx context.Context, r *http.Request, op hotspot.Operator) (boxBody, error) {
	id := hotspot.SiteID(r.PathValue("site"))
	st, err := s.Store.Site(ctx, op.Organization, id)
	if err != nil {
		return boxBody{}, err
	}
	b := boxBody{Clock: s.clock(st.Site.TimeZone), Status: st, Run: may(op, runBoxes), Command: s.enrolCommand()}
	if b.Agents, err = s.Store.Agents(ctx, op.Organization, id); err != nil {
		return boxBody{}, err
	}
	var made codeShown
	if readOnce(r, &made) && made.Site == string(id) && made.Expires.After(b.Clock.Now) {
		b.Made, b.Left = &made, webui.Duration(made.Expires.Sub(b.Clock.Now).Round(time.Minute))
	}
	return b, nil
}

// enrolCommand is what a technician pastes on the box. The code is typed when
// asked for: arguments are readable by every user of the box.
func (s *Server) enrolCommand() string {
	c := "sudo iwas-agent enroll --cloud " + orElse(s.AgentsURL, s.PublicURL)
	if s.Fingerprint != "" {
		c += " --fingerprint " + s.Fingerprint
	}
	return c
}

func (s *Server) box(w http.ResponseWriter, r *http.Request, op hotspot.Operator) error {
	body, err := s.boxBody(r.Context(), r, op)
	if err != nil {
		return err
	}
	p := shell(op, "Box of "+body.Status.Site.Name, "")
	p.Live, p.Clock, p.Body = r.URL.Path+"/live", body.Clock, body
	s.render(w, r, http.StatusOK, "box", p)
	return nil
}

func (s *Server) boxLive(w http.ResponseWriter, r *http.Request, _ hotspot.Operator) error {
	s.live(w, r, []string{r.PathValue("site")}, seeBoxes, func(ctx context.Context, op hotspot.Operator) ([]webui.Part, error) {
		body, err := s.boxBody(ctx, r, op)
		if err != nil {
			return nil, err
		}
		return s.fragments(body, "box-agents")
	})
	return nil
}

func (s *Server) addCode(w http.ResponseWriter, r *http.Request, op hotspot.Operator) error {
	site := hotspot.SiteID(r.PathValue("site"))
	if _, err := s.Store.Site(r.Context(), op.Organization, site); err != nil {
		return err
	}
	code, expires, err := s.Fleet.NewEnrolmentCode(r.Context(), op, site)
	if err != nil {
		return err
	}
	path := "/sites/" + string(site) + "/box"
	if err := s.keepOnce(w, path, codeShown{string(site), code, expires}); err != nil {
		return err
	}
	http.Redirect(w, r, path, http.StatusSeeOther)
	return nil
}

func (s *Server) confirmAgent(w http.ResponseWriter, r *http.Request, op hotspot.Operator) error {
	return s.changeAgent(w, r, op, s.Fleet.ConfirmAgent)
}

func (s *Server) revokeAgent(w http.ResponseWriter, r *http.Request, op hotspot.Operator) error {
	return s.changeAgent(w, r, op, s.Fleet.RevokeAgent)
}

func (s *Server) changeAgent(w http.ResponseWriter, r *http.Request, op hotspot.Operator, do func(context.Context, hotspot.Operator, hotspot.AgentID) error) error {
	if err := do(r.Context(), op, hotspot.AgentID(r.PathValue("agent"))); err != nil {
		return err
	}
	http.Redirect(w, r, webui.LocalPath(r.PostFormValue("back")), http.StatusSeeOther)
	return nil
}

package console

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/release"
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
	Codes   []hotspot.EnrolmentCode // that could still be spent
	Run     bool                    // the person may enrol and revoke
	Command string
	Made    *codeShown
	Left    string // how long the code still works
	Over    string // why the code that was made here works no more; "": none was, or it does
	version string // of this cloud
}

func (s *Server) boxBody(ctx context.Context, r *http.Request, op hotspot.Operator) (boxBody, error) {
	id := hotspot.SiteID(r.PathValue("site"))
	st, err := s.Store.Site(ctx, op.Organization, id)
	if err != nil {
		return boxBody{}, err
	}
	b := boxBody{Clock: s.clock(st.Site.TimeZone), Status: st, Run: may(op, runBoxes), Command: s.enrolCommand(), version: s.Version}
	if b.Agents, err = s.Store.Agents(ctx, op.Organization, id); err != nil {
		return boxBody{}, err
	}
	if b.Codes, err = s.Store.EnrolmentCodes(ctx, op.Organization, id); err != nil {
		return boxBody{}, err
	}
	var made codeShown
	if readOnce(r, &made) && made.Site == string(id) {
		b.show(made)
	}
	return b, nil
}

// show shows a code that was made here, as long as it works; after that, why it no
// longer does. The page stays open beside the box, so this changes under the reader's eyes.
func (b *boxBody) show(made codeShown) {
	open := slices.ContainsFunc(b.Codes, func(c hotspot.EnrolmentCode) bool { return c.ExpiresAt.UnixMilli() == made.Expires.UnixMilli() })
	switch {
	case !made.Expires.After(b.Clock.Now):
		b.Over = "The code has expired without being used. Nothing was changed: make another when you are at the box."
	case !open:
		b.Over = "The code works no more: a box has used it, or somebody took it back. A box that used it is on this page, with its check number."
	default:
		b.Made, b.Left = &made, webui.Duration(made.Expires.Sub(b.Clock.Now).Round(time.Minute))
	}
}

// Newer is this cloud's version where a box runs an older one, else "".
func (b boxBody) Newer(a hotspot.Agent) string {
	if !a.RetiredAt.IsZero() || !release.Newer(a.Version, b.version) {
		return ""
	}
	newest, _ := release.Package(b.version) // it is newer than another, so it is one
	return newest
}

// CopyAlert says that a second copy of a box was heard.
func (b boxBody) CopyAlert(a hotspot.Agent) webui.Alert { return copyAlert(a.CopyAt, b.Clock) }

// ClockWords say how far the box's clock is from ours, as its last hello told.
func (b boxBody) ClockWords() string {
	if words := apart(b.Status.ClockOffset); words != "" {
		return strings.TrimPrefix(words, ", ")
	}
	return "right to " + webui.Duration(clocksAgree)
}

// WrongAlert says that codes nobody made were tried while this one was open.
func (b boxBody) WrongAlert(c hotspot.EnrolmentCode) webui.Alert {
	title, from := "A wrong code was tried meanwhile", ""
	if c.Wrong != 1 {
		title = strconv.Itoa(c.Wrong) + " wrong codes were tried meanwhile"
	}
	if c.WrongFrom != "" {
		from = "The newest came from the network " + c.WrongFrom + "."
	}
	return webui.Alert{Tone: webui.Warn, Title: title, Text: from, Next: "If it was nobody of yours, revoke this code.", Code: "CLD-210", Age: b.Clock.Ago(c.WrongAt)}
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
		parts := []string{"box-agents", "box-codes"}
		if body.Made != nil || body.Over != "" { // else this browser's cookie is over, and what it shows is not ours to know
			parts = append(parts, "box-made")
		}
		return s.fragments(body, parts...)
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

func (s *Server) revokeCode(w http.ResponseWriter, r *http.Request, op hotspot.Operator) error {
	site := hotspot.SiteID(r.PathValue("site"))
	if err := s.Fleet.RevokeEnrolmentCode(r.Context(), op, site, r.PathValue("code")); err != nil {
		return err
	}
	http.Redirect(w, r, "/sites/"+string(site)+"/box", http.StatusSeeOther)
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

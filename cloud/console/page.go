package console

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/webui"
)

const product = "IWAS console"

// pageHandler answers one page or form for somebody with the right to it. An
// error means that nothing has been written.
type pageHandler func(w http.ResponseWriter, r *http.Request, op hotspot.Operator) error

// page puts the sign-in and the right of the route before a handler.
func (s *Server) page(pattern string, h pageHandler) http.Handler {
	need := rightFor(pattern)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		op, err := s.person(r.Context(), r)
		if fault.Is(err, fault.Forged) {
			toSignIn(w, r)
			return
		}
		if err == nil && !may(op, need) {
			err = denied(op, need)
		}
		if err == nil {
			err = h(w, r, op)
		}
		if err != nil {
			s.fail(w, r, &op, err)
		}
	})
}

func denied(op hotspot.Operator, need right) error {
	return fault.New(fault.Denied, "console: check right", errors.New("a "+string(op.Role)+" may not "+string(need))).
		WithCode("", "Ask the owner of this organization to do it, or to change your role.")
}

// clock is the present moment in the zone, UTC where the zone is not known.
func (s *Server) clock(zone string) webui.Clock {
	loc, err := time.LoadLocation(zone)
	if err != nil {
		loc = time.UTC
	}
	return webui.Clock{Now: s.now(), Zone: loc}
}

// shell fills what all pages of a signed-in person share.
func shell(op hotspot.Operator, title, place string) webui.Page {
	p := webui.Page{Title: title, Product: product, Person: op.Email, SignOut: "/signout", Refresh: 10}
	add := func(href, icon, text string) {
		p.Nav = append(p.Nav, webui.Link{Href: href, Icon: icon, Text: text, Current: href == place})
	}
	add("/", "house", "Home")
	if may(op, seePlans) {
		add("/plans", "tag", "Plans")
	}
	if may(op, addSites) {
		add("/sites/new", "plus", "Add site")
	}
	return p
}

func (s *Server) render(w http.ResponseWriter, r *http.Request, status int, name string, p webui.Page) {
	p.Product = product
	if p.Person != "" && p.Alert == nil {
		p.Alert = s.told(w, r)
	}
	if err := s.pages.Render(w, r, status, name, p); err != nil {
		s.Log.Error("console: cannot show page", "page", name, "err", err)
		webui.Plain(w, http.StatusInternalServerError, "Something went wrong on our side.", "It has been logged. Go back and try again.")
	}
}

// statusOf is the HTTP status of an error's kind (ARCHITECTURE.md "Faults").
func statusOf(err error) int {
	switch fault.KindOf(err) {
	case fault.Invalid:
		return http.StatusBadRequest
	case fault.Forged:
		return http.StatusUnauthorized
	case fault.Denied:
		return http.StatusForbidden
	case fault.NotFound:
		return http.StatusNotFound
	case fault.Conflict:
		return http.StatusConflict
	case fault.Unavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// why returns the part of an error that a person can use: the cause without
// the trail of operations. Defects of ours give fixed text.
func why(err error) string {
	if statusOf(err) == http.StatusInternalServerError {
		return "Something went wrong on our side. It has been logged."
	}
	text := ""
	for e := err; e != nil; {
		var f *fault.Error
		if !errors.As(e, &f) {
			break
		}
		text, e = f.Op, f.Err
		if f.Err != nil {
			text = f.Err.Error()
		} else if i := strings.LastIndex(text, ": "); i >= 0 {
			text = text[i+2:] // before it stands what was tried
		}
	}
	if text == "" {
		return http.StatusText(statusOf(err))
	}
	return strings.ToUpper(text[:1]) + strings.TrimSuffix(text[1:], ".") + "."
}

func alertOf(title string, err error) *webui.Alert {
	text := why(err)
	if hint := fault.Hint(err); hint != "" {
		text += " " + hint
	}
	return &webui.Alert{Tone: webui.Bad, Title: title, Text: text, Code: fault.Code(err)}
}

// fail shows a page about an error; op may be nil.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, op *hotspot.Operator, err error) {
	status := statusOf(err)
	if status >= 500 && r.Context().Err() == nil {
		s.Log.Error("console: request failed", "method", r.Method, "path", r.URL.Path, "err", err)
	}
	titles := map[int]string{
		http.StatusBadRequest: "That cannot be done", http.StatusForbidden: "Not allowed", http.StatusNotFound: "Not found",
		http.StatusConflict: "That contradicts something", http.StatusServiceUnavailable: "Not possible right now",
	}
	title := titles[status]
	if title == "" {
		title = "Something went wrong"
	}
	page := webui.Page{Title: title, Bare: true}
	if op != nil && op.ID != "" {
		page = shell(*op, title, "")
	}
	page.Clock = s.clock("")
	page.Body = map[string]string{"Title": title, "Text": why(err), "Next": fault.Hint(err), "Code": fault.Code(err)}
	s.render(w, r, status, "problem", page)
}

// nowhere answers for paths that do not exist.
func (s *Server) nowhere(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/api/") {
		writeProblem(w, http.StatusNotFound, "no such address in the API", "See /api/openapi.json for all of them.")
		return
	}
	op, err := s.person(r.Context(), r)
	if err != nil {
		toSignIn(w, r)
		return
	}
	s.fail(w, r, &op, fault.New(fault.NotFound, "there is no such page", nil))
}

// live streams the parts of a page, asking again each time who is looking:
// signing out or losing a right ends the stream.
func (s *Server) live(w http.ResponseWriter, r *http.Request, topics []string, need right, parts func(context.Context, hotspot.Operator) ([]webui.Part, error)) {
	s.hub.Serve(w, r, topics, func(ctx context.Context) ([]webui.Part, error) {
		op, err := s.person(ctx, r)
		if err != nil {
			return nil, err
		}
		if !may(op, need) {
			return nil, denied(op, need)
		}
		return parts(ctx, op)
	})
}

// fragments renders shared templates over one data, each named as its id.
func (s *Server) fragments(data any, names ...string) ([]webui.Part, error) {
	parts := make([]webui.Part, 0, len(names))
	for _, name := range names {
		html, err := s.pages.Fragment(name, data)
		if err != nil {
			return nil, err
		}
		parts = append(parts, webui.Part{ID: name, HTML: html})
	}
	return parts, nil
}

// shownFor is how long a secret that was just made stays on the page of the
// person who made it.
const shownFor = 10 * time.Minute

// keepOnce hands a secret to the next page of the same browser, in a cookie for
// that page's path only: neither the address nor the server's memory has it,
// and any replica can serve the page.
func (s *Server) keepOnce(w http.ResponseWriter, path string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	http.SetCookie(w, &http.Cookie{Name: "iwas_once", Value: base64.RawURLEncoding.EncodeToString(b), Path: path,
		MaxAge: int(shownFor / time.Second), HttpOnly: true, Secure: s.secure(), SameSite: http.SameSiteStrictMode})
	return nil
}

// readOnce reads what keepOnce left, if anything.
func readOnce(r *http.Request, v any) bool {
	c, err := r.Cookie("iwas_once")
	if err != nil {
		return false
	}
	b, err := base64.RawURLEncoding.DecodeString(c.Value)
	return err == nil && json.Unmarshal(b, v) == nil
}

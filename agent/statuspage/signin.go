package statuspage

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"iwas/agent/statuspage/access"
	"iwas/internal/fault"
	"iwas/internal/secret"
	"iwas/internal/webui"
)

// visitor is who asks, as the cookie proves.
type visitor struct {
	access.Person
	token string
}

type visitorKey struct{}

// personOf returns who is signed in; the zero value is nobody.
func personOf(ctx context.Context) access.Person { return visitorOf(ctx).Person }

func visitorOf(ctx context.Context) visitor {
	v, _ := ctx.Value(visitorKey{}).(visitor)
	return v
}

// stillIn says that a sign-in is over, for pages that stay open.
func (s *Server) stillIn(v visitor) error {
	if v.Is() && s.desk.Who(v.token) != v.Person {
		return fault.New(fault.Denied, "the sign-in is over", nil)
	}
	return nil
}

// cookieName is that of the sign-in. Over TLS the browser holds it to this very
// host and to TLS.
func cookieName(r *http.Request) string {
	if r.TLS != nil {
		return "__Host-iwas_status"
	}
	return "iwas_status"
}

// setCookie hands a token out; "" takes it back.
func setCookie(w http.ResponseWriter, r *http.Request, token string) {
	c := &http.Cookie{Name: cookieName(r), Value: token, Path: "/", MaxAge: int(access.SignInLasts / time.Second), HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteStrictMode}
	if token == "" {
		c.MaxAge = -1
	}
	http.SetCookie(w, c)
}

// recognized puts who asks into the request's context.
func (s *Server) recognized(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, err := r.Cookie(cookieName(r)); err == nil && len(c.Value) < 100 {
			if who := s.desk.Who(c.Value); who.Is() {
				r = r.WithContext(context.WithValue(r.Context(), visitorKey{}, visitor{who, c.Value}))
			}
		}
		h.ServeHTTP(w, r)
	})
}

// open is what the network gets without a sign-in. /metrics has a guard of its own.
func open(r *http.Request) bool {
	switch p := r.URL.Path; p {
	case "/healthz", "/signin", "/metrics", "/theme":
		return true
	default:
		return strings.HasPrefix(p, "/assets/")
	}
}

// signedInOnly lets nobody past who is not signed in.
func signedInOnly(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case open(r) || personOf(r.Context()).Is():
			h.ServeHTTP(w, r)
		case strings.HasSuffix(r.URL.Path, "/live"):
			// A stream that is refused is asked for again and again; this word
			// makes the page load anew, which leads to the sign-in.
			w.Header().Set("Content-Type", "text/event-stream")
			w.Header().Set("Cache-Control", "no-store")
			fmt.Fprint(w, "event: leave\ndata: now\n\n")
		case strings.HasSuffix(r.URL.Path, ".json") || r.URL.Path == "/readyz":
			http.Error(w, "sign in first", http.StatusUnauthorized)
		default:
			toSignIn(w, r)
		}
	})
}

// toSignIn leads to the sign-in page and, for something that was only looked at,
// back again.
func toSignIn(w http.ResponseWriter, r *http.Request) {
	to := "/signin?why=changed"
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		to = "/signin"
		if next := webui.LocalPath(r.URL.RequestURI()); next != "/" {
			to += "?next=" + url.QueryEscape(next)
		}
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
}

// requireRole lets past who is signed in and has one of the roles; with no role
// named, whoever is signed in. Every route that changes something goes through it,
// also on loopback. The handler finds the person by personOf.
func (s *Server) requireRole(h http.HandlerFunc, roles ...access.Role) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch who := personOf(r.Context()); {
		case !who.Is():
			toSignIn(w, r)
		case !who.Is(roles...):
			var may []string
			for _, role := range roles {
				may = append(may, "a "+string(role))
			}
			webui.Plain(w, http.StatusForbidden, "This is for "+strings.Join(may, " or "), fmt.Sprintf("You are signed in as %s, a %s. Nothing was changed.", escaped(who.Name), who.Role))
		default:
			h(w, r)
		}
	})
}

// escaped is for the pages of fixed text.
func escaped(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "'", "&#39;", `"`, "&#34;").Replace(s)
}

// done goes to a page of ours and says there what became of the change.
func (s *Server) done(w http.ResponseWriter, r *http.Request, to string, note webui.Alert) {
	s.desk.Note(visitorOf(r.Context()).token, note)
	http.Redirect(w, r, webui.LocalPath(to), http.StatusSeeOther)
}

// signInBody is what the page to sign in shows.
type signInBody struct {
	Name, Next string
	Nobody     bool // can sign in
}

func (s *Server) signInPage(w http.ResponseWriter, r *http.Request) {
	next := webui.LocalPath(r.FormValue("next"))
	if personOf(r.Context()).Is() {
		http.Redirect(w, r, next, http.StatusSeeOther)
		return
	}
	var say *webui.Alert
	if r.FormValue("why") == "changed" {
		say = &webui.Alert{Tone: webui.Info, Title: "Sign in first", Text: "Nothing was changed. Do it once more when you are signed in."}
	}
	s.showSignIn(w, r, http.StatusOK, signInBody{Next: next}, say)
}

func (s *Server) showSignIn(w http.ResponseWriter, r *http.Request, status int, body signInBody, say *webui.Alert) {
	body.Nobody = !s.anybody()
	s.renderAs(w, r, status, "signin", webui.Page{Title: "Sign in", Bare: true, Alert: say, Body: body})
}

func (s *Server) signIn(w http.ResponseWriter, r *http.Request) {
	body := signInBody{Name: strings.TrimSpace(r.PostFormValue("name")), Next: webui.LocalPath(r.PostFormValue("next"))}
	if s.People == nil {
		s.showSignIn(w, r, http.StatusForbidden, body, nil)
		return
	}
	token, who, err := s.desk.SignIn(r.Context(), peerOf(r), body.Name, secret.Value(r.PostFormValue("password")))
	var wait *access.WaitError
	switch {
	case errors.As(err, &wait):
		w.Header().Set("Retry-After", fmt.Sprint(int(wait.Left/time.Second)+1))
		s.showSignIn(w, r, http.StatusTooManyRequests, body, &webui.Alert{Tone: webui.Warn, Title: "Too many wrong passwords",
			Text: fmt.Sprintf("Wait %s, then try again. On the box itself a new password can be set at once: iwas-agent password set", webui.Duration(wait.Left+time.Second))})
	case fault.Is(err, fault.Forged):
		s.showSignIn(w, r, http.StatusUnauthorized, body, &webui.Alert{Tone: webui.Bad, Title: "Name or password is wrong",
			Text: "Check both. After five wrong ones in a row this device has to wait 15 minutes."})
	case err != nil:
		s.log().Error("nobody can sign in", "err", err, "code", fault.Code(err), "next", fault.Hint(err))
		s.showSignIn(w, r, http.StatusServiceUnavailable, body, &webui.Alert{Tone: webui.Bad, Title: "Nobody can sign in now", Text: "Who may sign in cannot be read.", Next: fault.Hint(err)})
	default:
		if old := visitorOf(r.Context()).token; old != "" {
			s.desk.SignOut(old)
		}
		setCookie(w, r, token)
		if body.Next == "/" && s.Counter != nil && who.Is(access.Cashier) {
			body.Next = "/counter" // where they work
		}
		http.Redirect(w, r, body.Next, http.StatusSeeOther)
	}
}

func (s *Server) signOut(w http.ResponseWriter, r *http.Request) {
	if v := visitorOf(r.Context()); v.token != "" {
		s.desk.SignOut(v.token)
		s.log().Info("signed out", "person", v.Name, "addr", peerOf(r).String())
	}
	setCookie(w, r, "")
	s.Notify() // pages that are open elsewhere with the same sign-in
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

package console

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/webui"
)

// sessionLife is how long a sign-in lasts. Signing out ends it in the store.
const sessionLife = 7 * 24 * time.Hour

// tokenHash is the form in which the store knows a session or API token.
func tokenHash(token string) []byte {
	sum := sha256.Sum256([]byte(token))
	return sum[:]
}

// hostName is a cookie's name with the __Host- prefix where TLS allows it: then
// no neighbouring subdomain can plant one.
func (s *Server) hostName(name string) string {
	if s.secure() {
		return "__Host-" + name
	}
	return name
}

// setHostCookie sets a cookie for the whole site; an age of 0 takes it away.
func (s *Server) setHostCookie(w http.ResponseWriter, name, value string, age time.Duration) {
	c := &http.Cookie{Name: s.hostName(name), Value: value, Path: "/", HttpOnly: true, Secure: s.secure(), SameSite: http.SameSiteLaxMode}
	if c.MaxAge = int(age / time.Second); age <= 0 {
		c.MaxAge = -1
	}
	http.SetCookie(w, c)
}

func (s *Server) cookieName() string { return s.hostName("iwas_session") }

func (s *Server) setCookie(w http.ResponseWriter, value string, age time.Duration) {
	s.setHostCookie(w, "iwas_session", value, age)
}

// errSignedOut is answered to whoever shows no valid proof of who they are.
func errSignedOut(err error) error {
	return fault.New(fault.Forged, "console: sign in", err).WithCode("", "Sign in and try again.")
}

// errBadToken is answered to a program whose Authorization header proves
// nothing: it cannot sign in, its owner can make it a token.
func errBadToken(err error) error {
	return fault.New(fault.Forged, "console: API token", err).
		WithCode("", "Make a token on the cloud's machine with: iwas-cloud token add --email YOU --name NAME --token-file FILE. Send it as: Authorization: Bearer iwas_…")
}

// person returns who holds the session cookie of the request.
func (s *Server) person(ctx context.Context, r *http.Request) (hotspot.Operator, error) {
	c, err := r.Cookie(s.cookieName())
	if err != nil || len(c.Value) > 100 {
		return hotspot.Operator{}, errSignedOut(errors.New("you are not signed in"))
	}
	op, err := s.Store.OperatorBySession(ctx, tokenHash(c.Value))
	if fault.Is(err, fault.NotFound) {
		return hotspot.Operator{}, errSignedOut(errors.New("your sign-in is over"))
	}
	return op, err
}

// caller returns who asks the API: a Bearer token when there is one, else the
// person with the session cookie.
func (s *Server) caller(r *http.Request) (hotspot.Operator, error) {
	auth := r.Header.Get("Authorization")
	if auth == "" {
		return s.person(r.Context(), r)
	}
	scheme, token, _ := strings.Cut(auth, " ")
	token = strings.TrimSpace(token)
	if !strings.EqualFold(scheme, "Bearer") || !strings.HasPrefix(token, "iwas_") || len(token) > 200 {
		return hotspot.Operator{}, errBadToken(errors.New(`the Authorization header must be "Bearer iwas_…"`))
	}
	op, err := s.Store.OperatorByToken(r.Context(), tokenHash(token))
	if fault.Is(err, fault.NotFound) {
		return hotspot.Operator{}, errBadToken(errors.New("this API token is unknown, expired or withdrawn"))
	}
	return op, err
}

type signInBody struct {
	Email, Next string
}

func (s *Server) signInPage(w http.ResponseWriter, r *http.Request) {
	if _, err := s.person(r.Context(), r); err == nil {
		http.Redirect(w, r, webui.LocalPath(r.FormValue("next")), http.StatusSeeOther)
		return
	}
	s.showSignIn(w, r, http.StatusOK, signInBody{Next: r.FormValue("next")}, nil)
}

func (s *Server) showSignIn(w http.ResponseWriter, r *http.Request, status int, body signInBody, alert *webui.Alert) {
	body.Next = webui.LocalPath(body.Next)
	s.render(w, r, status, "signin", webui.Page{Title: "Sign in", Bare: true, Alert: alert, Clock: s.clock(""), Body: body})
}

// signIn checks e-mail and password. Wrong ones cost time (argon2id), are
// counted per address and per account, and after five wait longer each time. A
// browser that the person has signed in with before has a count of its own:
// strangers who try the account do not make it wait.
func (s *Server) signIn(w http.ResponseWriter, r *http.Request) {
	email, password := strings.TrimSpace(r.PostFormValue("email")), r.PostFormValue("password")
	body := signInBody{Email: email, Next: r.PostFormValue("next")}
	addr := s.Proxies.RemoteAddr(r)
	account := email
	if known := s.knownBrowser(r, email); known != "" {
		account = known
	}
	wait, err := s.throttle.TryAmong(r.Context(), s.Store, addr, account)
	if err != nil {
		s.fail(w, r, nil, err)
		return
	}
	if wait > 0 {
		seconds := int(wait/time.Second) + 1
		w.Header().Set("Retry-After", fmt.Sprint(seconds))
		s.Log.Warn("console: sign-in refused: too many tries", "addr", addr, "wait_s", seconds)
		s.showSignIn(w, r, http.StatusTooManyRequests, body, &webui.Alert{Tone: webui.Warn, Title: "Too many tries",
			Text: fmt.Sprintf("Wait %s, then try again.", webui.Duration(wait+time.Second))})
		return
	}
	op, hash, err := s.checkPassword(r.Context(), email, password)
	switch {
	case fault.Is(err, fault.Forged):
		s.Log.Warn("console: sign-in refused: wrong e-mail or password", "addr", addr)
		if err := s.Store.NoteFailedSignIn(r.Context(), email, maskAddress(addr)); err != nil {
			s.Log.Error("console: wrong password not counted", "err", err)
		}
		s.showSignIn(w, r, http.StatusUnauthorized, body, &webui.Alert{Tone: webui.Bad, Title: "E-mail or password is wrong",
			Text: "Check both and try again. After five tries each further one has to wait."})
		return
	case err != nil:
		s.fail(w, r, nil, err)
		return
	}
	if err := s.throttle.PassedAmong(r.Context(), s.Store, addr, account); err != nil {
		s.fail(w, r, nil, err)
		return
	}
	raw := make([]byte, 32)
	rand.Read(raw)
	token := base64.RawURLEncoding.EncodeToString(raw)
	failed, err := s.Store.CreateOperatorSession(r.Context(), op.ID, tokenHash(token), s.now().Add(sessionLife))
	if err != nil {
		s.fail(w, r, nil, err)
		return
	}
	s.Log.Info("console: signed in", "operator", op.ID, "addr", addr)
	s.setCookie(w, token, sessionLife)
	s.rememberBrowser(w, op, hash)
	if failed.Count > 0 {
		s.tell(w, failed)
	}
	http.Redirect(w, r, webui.LocalPath(body.Next), http.StatusSeeOther)
}

// checkPassword returns whose e-mail and password these are, with the hash of the
// password.
func (s *Server) checkPassword(ctx context.Context, email, password string) (hotspot.Operator, string, error) {
	op, hash, err := s.Store.OperatorByEmail(ctx, email)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return hotspot.Operator{}, "", err
	}
	ok, err := webui.CheckPassword(ctx, hash, password)
	if err != nil {
		return hotspot.Operator{}, "", err
	}
	if !ok {
		return hotspot.Operator{}, "", fault.New(fault.Forged, "console: check password", nil)
	}
	return op, hash, nil
}

func (s *Server) signOut(w http.ResponseWriter, r *http.Request, _ hotspot.Operator) error {
	if c, err := r.Cookie(s.cookieName()); err == nil {
		if err := s.Store.DeleteOperatorSession(r.Context(), tokenHash(c.Value)); err != nil && !fault.Is(err, fault.NotFound) {
			return err
		}
	}
	s.setCookie(w, "", 0)
	http.Redirect(w, r, "/signin", http.StatusSeeOther)
	return nil
}

// toSignIn leads to the sign-in page and, for something that was only looked
// at, back again.
func toSignIn(w http.ResponseWriter, r *http.Request) {
	to := "/signin"
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		if next := webui.LocalPath(r.URL.RequestURI()); next != "/" {
			to += "?next=" + url.QueryEscape(next)
		}
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
}

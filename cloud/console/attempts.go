package console

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/webui"
)

// Cookies around a sign-in.
const (
	toldCookie  = "iwas_told"
	knownCookie = "iwas_known"
	knownFor    = 180 * 24 * time.Hour // a browser is known after its last sign-in
)

// maskAddress hides whose address it is and leaves whose network: the last octet
// of an IPv4 address, all behind the first 48 bits of an IPv6 address. "" is not
// an address.
func maskAddress(addr string) string {
	a, err := netip.ParseAddr(addr)
	if err != nil {
		return ""
	}
	if a = a.Unmap(); a.Is4() {
		b := a.As4()
		return fmt.Sprintf("%d.%d.%d.··", b[0], b[1], b[2])
	}
	b := a.As16()
	return fmt.Sprintf("%x:%x:%x:··", uint16(b[0])<<8|uint16(b[1]), uint16(b[2])<<8|uint16(b[3]), uint16(b[4])<<8|uint16(b[5]))
}

// tell hands the wrong passwords given meanwhile to the next page of this
// browser, in a cookie: any replica can serve the page.
func (s *Server) tell(w http.ResponseWriter, f hotspot.FailedSignIns) {
	b, err := json.Marshal(f)
	if err != nil {
		s.Log.Error("console: wrong passwords not told", "err", err) // three plain fields: cannot be
		return
	}
	s.setHostCookie(w, toldCookie, base64.RawURLEncoding.EncodeToString(b), shownFor)
}

// told returns what tell left, once; nil if nothing.
func (s *Server) told(w http.ResponseWriter, r *http.Request) *webui.Alert {
	c, err := r.Cookie(s.hostName(toldCookie))
	if err != nil {
		return nil
	}
	s.setHostCookie(w, toldCookie, "", 0)
	var f hotspot.FailedSignIns
	b, err := base64.RawURLEncoding.DecodeString(c.Value)
	if err != nil || json.Unmarshal(b, &f) != nil || f.Count < 1 {
		return nil
	}
	title, text := fmt.Sprintf("%d wrong passwords since your last sign-in", f.Count), "The last one was given "
	if f.Count == 1 {
		title, text = "A wrong password since your last sign-in", "It was given "
	}
	text += webui.Age(s.now().Sub(f.LastAt))
	if f.LastFrom != "" {
		text += " (from " + f.LastFrom + ")"
	}
	return &webui.Alert{Tone: webui.Warn, Title: title,
		Text: text + ". If that was not you, somebody is trying to get in: a long password that is used nowhere else keeps them out."}
}

// proofOf shows that the person of the password's hash has signed in with the
// browser of the nonce. It ends with the password.
func proofOf(op hotspot.Operator, hash, nonce string) string {
	m := hmac.New(sha256.New, []byte(hash))
	m.Write([]byte("known browser\x00" + op.ID + "\x00" + nonce))
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

// rememberBrowser lets the person's next sign-in here be told from a stranger's.
func (s *Server) rememberBrowser(w http.ResponseWriter, op hotspot.Operator, hash string) {
	raw := make([]byte, 16)
	rand.Read(raw)
	nonce := base64.RawURLEncoding.EncodeToString(raw)
	s.setHostCookie(w, knownCookie, nonce+"."+proofOf(op, hash, nonce), knownFor)
}

// knownBrowser names the browser under which tries are counted, if the person of
// the e-mail address has signed in with it before; "" if not. It opens nothing:
// the password is asked for all the same, and the browser has five tries of its
// own before it waits.
func (s *Server) knownBrowser(r *http.Request, email string) string {
	c, err := r.Cookie(s.hostName(knownCookie))
	if err != nil || len(c.Value) > 100 {
		return ""
	}
	nonce, proof, _ := strings.Cut(c.Value, ".")
	op, hash, err := s.Store.OperatorByEmail(r.Context(), email)
	if err != nil || hash == "" || !hmac.Equal([]byte(proof), []byte(proofOf(op, hash, nonce))) {
		return ""
	}
	return "browser " + nonce
}

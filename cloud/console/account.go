package console

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/secret"
	"iwas/internal/webui"
)

// Bounds of what RADIUS can carry (RFC 2865 §5.1, §5.2).
const (
	maxUsername = 64
	maxPassword = 64
	maxNote     = 200
)

// addGuestBody is the form for one more guest.
type addGuestBody struct {
	Status hotspot.SiteStatus
	Plans  []hotspot.Plan
	Kind   string
	Form   map[string]string
	Wrong  map[string]string
	Once   string // makes a second press of the button the same request
}

func (s *Server) newGuest(w http.ResponseWriter, r *http.Request, op hotspot.Operator) error {
	b := addGuestBody{Kind: r.FormValue("kind"), Form: map[string]string{"username": "", "plan": r.FormValue("plan"), "note": ""}}
	return s.showAddGuest(w, r, op, http.StatusOK, b, nil)
}

func (s *Server) showAddGuest(w http.ResponseWriter, r *http.Request, op hotspot.Operator, status int, b addGuestBody, alert *webui.Alert) error {
	st, err := s.Store.Site(r.Context(), op.Organization, hotspot.SiteID(r.PathValue("site")))
	if err != nil {
		return err
	}
	if b.Plans, err = s.Store.Plans(r.Context(), op.Organization); err != nil {
		return err
	}
	b.Status = st
	if kindNames[hotspot.AccountKind(b.Kind)] == "" {
		b.Kind = string(hotspot.Voucher)
	}
	if b.Wrong == nil {
		b.Wrong = map[string]string{}
	}
	if b.Once == "" {
		b.Once = secret.Random(16).Reveal()
	}
	p := shell(op, "Add a guest", "")
	p.Clock, p.Body, p.Alert = s.clock(st.Site.TimeZone), b, alert
	s.render(w, r, status, "addguest", p)
	return nil
}

func (s *Server) addGuest(w http.ResponseWriter, r *http.Request, op hotspot.Operator) error {
	form := formValues(r, "kind", "username", "plan", "note", "once")
	n := hotspot.NewAccount{Site: hotspot.SiteID(r.PathValue("site")), Kind: hotspot.AccountKind(form["kind"]),
		Username: form["username"], Password: hotspot.Password(r.PostFormValue("password")), Plan: hotspot.PlanID(form["plan"]), Note: form["note"]}
	b := addGuestBody{Kind: form["kind"], Form: form, Wrong: map[string]string{}, Once: form["once"]}
	n, wrong := checkAccount(n)
	for field, err := range wrong {
		b.Wrong[field] = err.Error()
	}
	if len(wrong) > 0 {
		return s.showAddGuest(w, r, op, http.StatusBadRequest, b, nil)
	}
	made, _, err := s.createAccount(r.Context(), op, n, form["once"])
	if err != nil {
		if fault.Is(err, fault.NotFound) || statusOf(err) >= 500 {
			return err
		}
		b.Once = "" // what was refused may be corrected and sent again
		return s.showAddGuest(w, r, op, statusOf(err), b, alertOf("No guest was added", err))
	}
	path := "/guests/" + string(made.guest.Account.ID)
	if n.Kind != hotspot.Device {
		shown := secretShown{Account: string(made.guest.Account.ID), Label: "Password", Username: made.guest.Account.Username, Value: made.password.Reveal()}
		if n.Kind == hotspot.Voucher {
			shown.Label, shown.Username = "Voucher code", ""
			shown.Value = displayName(hotspot.Account{Kind: hotspot.Voucher, Username: orElse(shown.Value, made.guest.Account.Username)})
		}
		if err := s.keepOnce(w, path, shown); err != nil {
			return err
		}
	}
	http.Redirect(w, r, path, http.StatusSeeOther)
	return nil
}

// created is what CreateAccount returned, kept for a repeat of the request.
type created struct {
	guest    hotspot.Guest
	password hotspot.Password
	command  hotspot.Command
}

// createAccount asks the fleet once per key and person, however often the
// request is repeated; "" is always a new one. The second result tells a
// repeat.
func (s *Server) createAccount(ctx context.Context, op hotspot.Operator, n hotspot.NewAccount, key string) (created, bool, error) {
	// The site must be of the person's organization before anything is made.
	if _, err := s.Store.Site(ctx, op.Organization, n.Site); err != nil {
		return created{}, false, err
	}
	do := func() (created, error) {
		g, password, err := s.Fleet.CreateAccount(ctx, op, n)
		return created{guest: g, password: password}, err
	}
	if key == "" {
		made, err := do()
		return made, false, err
	}
	body := sha256.Sum256([]byte(strings.Join([]string{string(n.Kind), n.Username, n.Password.Reveal(), string(n.Plan), n.Note}, "\x00")))
	return s.once(ctx, op.ID+"\x00"+string(n.Site)+"\x00"+key, body, do)
}

// checkAccount returns the account in its canonical spelling and what is wrong
// with it, by field.
func checkAccount(n hotspot.NewAccount) (hotspot.NewAccount, map[string]error) {
	wrong := map[string]error{}
	n.Username, n.Note = strings.TrimSpace(n.Username), strings.TrimSpace(n.Note)
	switch n.Kind {
	case hotspot.User:
		if n.Username == "" || len(n.Username) > maxUsername || !printable(n.Username) {
			wrong["username"] = errors.New("give a user name of 1 to 64 bytes without line breaks")
		}
		if len(n.Password.Reveal()) > maxPassword || !printable(n.Password.Reveal()) {
			wrong["password"] = errors.New("a password has at most 64 bytes and no line breaks; leave it empty to have one made")
		}
	case hotspot.Voucher:
		if n.Username != "" {
			wrong["username"] = errors.New("a voucher's code is made at random; leave the name out")
		}
		if n.Password != "" {
			wrong["password"] = errors.New("a voucher has no password besides its code; leave it out")
		}
	case hotspot.Device:
		m, ok := hotspot.ParseMAC(n.Username)
		if !ok || m.IsZero() {
			wrong["username"] = errors.New("give the device's MAC address, such as AA:BB:CC:DD:EE:FF")
		} else {
			n.Username = m.String()
		}
		if n.Password != "" {
			wrong["password"] = errors.New("a device logs in by its address and has no password; leave it out")
		}
	default:
		wrong["kind"] = errors.New("the kind must be user, voucher or device")
	}
	if n.Plan == "" {
		wrong["plan"] = errors.New("choose a plan")
	}
	if utf8.RuneCountInString(n.Note) > maxNote || !printable(n.Note) {
		wrong["note"] = errors.New("a note has at most 200 characters and no line breaks")
	}
	return n, wrong
}

func printable(s string) bool {
	return utf8.ValidString(s) && strings.IndexFunc(s, unicode.IsControl) < 0
}

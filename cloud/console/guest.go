package console

import (
	"context"
	"net/http"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/webui"
)

// reasons are offered for a lock; anything else can be typed.
var reasons = []string{"Not paid", "Misuse", "Guest asked", "Device lost"}

const maxReason = 200 // characters

// secretShown is a credential that was just made.
type secretShown struct {
	Account  string `json:"a"`
	Label    string `json:"l"`
	Username string `json:"u,omitempty"` // shown beside a password; "" for a voucher
	Value    string `json:"v"`
}

// guestBody is one guest.
type guestBody struct {
	Clock     webui.Clock
	Status    hotspot.SiteStatus
	Verdict   webui.Verdict
	ID        hotspot.AccountID
	Row       guestRow
	Kind      string
	Lock      lockView
	Sessions  []sessionView
	Private   bool // a device with a changing address is or was among them
	Pass      *hotspot.Pass
	Limits    []string
	MayLock   bool
	NeedsWhy  bool // the person's role must give a reason
	Hide      bool
	Reasons   []string
	Made      *secretShown
	TimeUsed  string
	UpAllowed string // "of 1.0 GB"
	DnAllowed string
	Change    changeView
	Devices   devicesView
	Kick      *commandView // the newest, nil: none
	Why       whyView
	KickOnce  string // makes a second press of the button the same request
}

func (s *Server) guestBody(ctx context.Context, op hotspot.Operator, account hotspot.AccountID) (guestBody, error) {
	g, err := s.Store.Guest(ctx, op.Organization, account)
	if err != nil {
		return guestBody{}, err
	}
	st, err := s.Store.Site(ctx, op.Organization, g.Site)
	if err != nil {
		return guestBody{}, err
	}
	c := s.clock(st.Site.TimeZone)
	b := guestBody{Clock: c, Status: st, Verdict: siteVerdict(st, c), ID: g.Account.ID, Hide: masked(op),
		Row: viewGuest(g, st, c, masked(op)), Kind: kindNames[g.Account.Kind], Pass: g.Pass,
		MayLock: may(op, lockGuests), NeedsWhy: op.Role == hotspot.Cashier, Reasons: reasons, Sessions: viewSessions(g.Sessions, c, masked(op))}
	b.Lock = b.Row.Lock
	for _, v := range b.Sessions {
		b.Private = b.Private || v.Private
	}
	if m, ok := hotspot.ParseMAC(g.Account.Username); ok && g.Account.Kind == hotspot.Device {
		b.Private = b.Private || m.Private()
	}
	b.Change = viewChange(g, st, c, op)
	if b.Devices, err = s.viewDevices(ctx, op, g, st, c); err != nil {
		return guestBody{}, err
	}
	if b.Kick, err = s.newestKick(ctx, op, st, account); err != nil {
		return guestBody{}, err
	}
	if b.Why, _, _, err = s.whyNot(ctx, op, st, g.Account.Username, false); err != nil {
		return guestBody{}, err
	}
	b.Why.Href = "" // it is this page
	b.KickOnce = "first"
	if b.Kick != nil {
		b.KickOnce = b.Kick.ID
	}
	for i, open := 0, 0; i < len(g.Sessions) && open < len(b.Sessions); i++ {
		if g.Sessions[i].IsOpen() {
			b.Sessions[open].Speed, b.Sessions[open].SpeedNote = speedWords(g, g.Sessions[i])
			open++
		}
	}
	if g.Pass != nil {
		b.Limits, b.TimeUsed = limitWords(g.Pass.Limits), webui.Duration(g.Pass.Usage.Time)
		if n := g.Pass.Limits.Upload; n > 0 {
			b.UpAllowed = "of " + n.String()
		}
		if n := g.Pass.Limits.Download; n > 0 {
			b.DnAllowed = "of " + n.String()
		}
	}
	return b, nil
}

func (s *Server) guest(w http.ResponseWriter, r *http.Request, op hotspot.Operator) error {
	return s.showGuest(w, r, op, http.StatusOK, nil)
}

func (s *Server) showGuest(w http.ResponseWriter, r *http.Request, op hotspot.Operator, status int, alert *webui.Alert) error {
	body, err := s.guestBody(r.Context(), op, hotspot.AccountID(r.PathValue("account")))
	if err != nil {
		return err
	}
	var made secretShown
	if readOnce(r, &made) && made.Account == string(body.ID) {
		body.Made = &made
	}
	p := shell(op, body.Row.Name, "")
	p.Live, p.Clock, p.Body, p.Alert = "/guests/"+string(body.ID)+"/live", body.Clock, body, alert
	s.render(w, r, status, "guest", p)
	return nil
}

func (s *Server) guestLive(w http.ResponseWriter, r *http.Request, op hotspot.Operator) error {
	account := hotspot.AccountID(r.PathValue("account"))
	g, err := s.Store.Guest(r.Context(), op.Organization, account)
	if err != nil {
		return err
	}
	s.live(w, r, []string{string(g.Site)}, seeGuests, func(ctx context.Context, op hotspot.Operator) ([]webui.Part, error) {
		body, err := s.guestBody(ctx, op, account)
		if err != nil {
			return nil, err
		}
		return s.fragments(body, "guest-state", "guest-lock", "guest-form", "guest-private", "guest-usage", "guest-change", "guest-sessions", "guest-why")
	})
	return nil
}

// reasonOf joins the chosen and the typed reason of a lock form.
func reasonOf(r *http.Request) string {
	chosen, typed := clip(r.PostFormValue("preset"), maxReason), clip(r.PostFormValue("reason"), maxReason)
	switch {
	case chosen != "" && typed != "":
		return clip(chosen+": "+typed, maxReason)
	case typed != "":
		return typed
	}
	return chosen
}

// checkReason refuses a lock without a reason where the role must give one.
func checkReason(op hotspot.Operator, reason string) error {
	if op.Role == hotspot.Cashier && reason == "" {
		return fault.New(fault.Invalid, "a cashier must say why", nil).WithCode("", "Choose a reason or type one.")
	}
	return nil
}

func (s *Server) lockGuest(w http.ResponseWriter, r *http.Request, op hotspot.Operator) error {
	return s.change(w, r, op, "Not locked", s.lockWith(r.PostFormValue("devices") == "on"))
}

func (s *Server) unlockGuest(w http.ResponseWriter, r *http.Request, op hotspot.Operator) error {
	return s.change(w, r, op, "Not unlocked", s.Fleet.Unlock)
}

type changeLock func(context.Context, hotspot.Operator, hotspot.AccountID, string) (hotspot.Guest, error)

// change locks or unlocks, then goes to the guest's page, which shows the
// steps as they are reached. When it fails, the page says what did not happen.
func (s *Server) change(w http.ResponseWriter, r *http.Request, op hotspot.Operator, failed string, do changeLock) error {
	account := hotspot.AccountID(r.PathValue("account"))
	// The store limits every answer to the organization: this refuses an
	// account of somebody else before anything is changed.
	if _, err := s.Store.Guest(r.Context(), op.Organization, account); err != nil {
		return err
	}
	reason := reasonOf(r)
	err := checkReason(op, reason)
	if err == nil {
		_, err = do(r.Context(), op, account, reason)
	}
	if err != nil {
		return s.notChanged(w, r, op, failed, err)
	}
	http.Redirect(w, r, "/guests/"+string(account), http.StatusSeeOther)
	return nil
}

// notChanged shows the guest's page with what did not happen.
func (s *Server) notChanged(w http.ResponseWriter, r *http.Request, op hotspot.Operator, failed string, err error) error {
	if statusOf(err) >= 500 {
		s.Log.Error("console: a change of a guest failed", "user_ref", r.PathValue("account"), "err", err)
	}
	return s.showGuest(w, r, op, statusOf(err), alertOf(failed, err))
}

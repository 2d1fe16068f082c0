package console

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/secret"
	"iwas/internal/webui"
)

// Bounds of an extension, in seconds, as the API names them.
const (
	leastExtension = 60
	mostExtension  = 366 * 24 * 3600
)

// changeView is speed and time of a guest as a page shows and changes them.
type changeView struct {
	Wanted              string // speed of what was bought, in words
	Rate                string // the same, as typed
	Text                string // how far the newest change is
	MayExtend, MaySpeed bool
	Once                string // makes a second press of the button the same request
}

// viewChange words how far the newest change is. It never claims that the site
// has what it has not confirmed.
func viewChange(g hotspot.Guest, st hotspot.SiteStatus, c webui.Clock, op hotspot.Operator) changeView {
	v := changeView{MayExtend: may(op, giveTime), MaySpeed: may(op, setSpeed), Once: secret.Random(16).Reveal()}
	if g.Pass == nil {
		return v
	}
	v.Rate = g.Pass.Limits.Rate.String()
	v.Wanted = speedText(g.Pass.Limits.Rate)
	if slow := g.Pass.Limits.RateAfter(g.Pass.Usage); slow != g.Pass.Limits.Rate {
		v.Wanted = speedText(slow) + ", as the data is used"
	}
	switch {
	case g.PassRevision <= g.Applied:
	case g.Presence == hotspot.Online:
		v.Text = "Changed here; the site has not confirmed it yet."
	case st.HeardAt.IsZero():
		v.Text = "Changed here. It counts once the site has been in contact for the first time."
	default:
		v.Text = "Changed here. " + st.Site.Name + " was last heard " + webui.Age(c.Now.Sub(st.HeardAt)) + "; it counts as soon as it is back."
	}
	return v
}

func speedText(r hotspot.RateLimit) string {
	if r.IsZero() {
		return "no limit"
	}
	return r.String()
}

// speedWords say what a session runs at, and how that relates to what is wanted.
func speedWords(g hotspot.Guest, s hotspot.Session) (speed, note string) {
	if s.Rate == nil {
		return "not reported", ""
	}
	speed = speedText(*s.Rate)
	if g.Pass == nil || s.Pass != "" && s.Pass != g.Pass.ID {
		return speed, ""
	}
	wanted := g.Pass.Limits.RateAfter(g.Pass.Usage)
	c := s.Changed
	if *s.Rate == wanted {
		switch {
		case c == nil || c.Want.Rate != wanted:
			return speed, "since the login"
		case c.Outcome == hotspot.ChangeApplied:
			return speed, "the router shows it"
		case c.Outcome == hotspot.ChangeAcknowledged:
			return speed, "acknowledged by the router, not read back"
		}
		return speed, ""
	}
	note = "wanted: " + speedText(wanted)
	switch {
	case g.PassRevision > g.Applied:
		return speed, note + "; the site has not confirmed it yet"
	case c == nil || c.Want.Rate != wanted:
		if c != nil && c.Outcome == hotspot.ChangeApplied && c.Want.Rate == *s.Rate {
			return speed, "set on site, for this session"
		}
		return speed, note + "; not reported yet"
	case c.Outcome == hotspot.ChangeNextLogin:
		return speed, strings.TrimSpace(note + " from the next login " + bracketed(c.Code))
	case c.Outcome == hotspot.ChangeReconnect:
		return speed, note + "; logged out, to log in anew"
	}
	return speed, strings.TrimSpace(note + "; not on the router yet, we keep trying " + bracketed(c.Code))
}

func bracketed(code string) string {
	if code == "" {
		return ""
	}
	return "(" + code + ")"
}

// setSpeed checks and changes a guest's speed.
func (s *Server) setSpeed(ctx context.Context, op hotspot.Operator, account hotspot.AccountID, text string) (hotspot.Guest, error) {
	// The store limits every answer to the organization: this refuses an account
	// of somebody else before anything is changed.
	if _, err := s.Store.Guest(ctx, op.Organization, account); err != nil {
		return hotspot.Guest{}, err
	}
	rate, err := hotspot.ParseRateLimit(text)
	if err == nil {
		err = rate.Validate()
	}
	if err != nil {
		return hotspot.Guest{}, invalid("change speed", map[string]error{"rate": err})
	}
	return s.Fleet.SetSpeed(ctx, op, account, rate)
}

// extend checks and gives time, once for each key that is not "".
func (s *Server) extend(ctx context.Context, op hotspot.Operator, account hotspot.AccountID, d time.Duration, reason, key string) (hotspot.Guest, error) {
	if _, err := s.Store.Guest(ctx, op.Organization, account); err != nil {
		return hotspot.Guest{}, err
	}
	if err := checkReason(op, reason); err != nil {
		return hotspot.Guest{}, err
	}
	if d < leastExtension*time.Second || d > mostExtension*time.Second {
		return hotspot.Guest{}, invalid("extend", map[string]error{"seconds": errors.New("give from one minute to 366 days")})
	}
	if key == "" {
		return s.Fleet.Extend(ctx, op, account, d, reason)
	}
	body := sha256.Sum256([]byte(fmt.Sprint(d, "\x00", reason)))
	made, _, err := s.once(ctx, op.ID+"\x00extend\x00"+string(account)+"\x00"+key, body, func() (created, error) {
		g, err := s.Fleet.Extend(ctx, op, account, d, reason)
		return created{guest: g}, err
	})
	return made.guest, err
}

func (s *Server) speedGuest(w http.ResponseWriter, r *http.Request, op hotspot.Operator) error {
	account := hotspot.AccountID(r.PathValue("account"))
	if _, err := s.setSpeed(r.Context(), op, account, clip(r.PostFormValue("rate"), 120)); err != nil {
		if fault.Is(err, fault.NotFound) {
			return err
		}
		return s.notChanged(w, r, op, "Speed not changed", err)
	}
	http.Redirect(w, r, "/guests/"+string(account), http.StatusSeeOther)
	return nil
}

func (s *Server) extendGuest(w http.ResponseWriter, r *http.Request, op hotspot.Operator) error {
	account := hotspot.AccountID(r.PathValue("account"))
	minutes, err := strconv.Atoi(strings.TrimSpace(r.PostFormValue("minutes")))
	if err != nil || minutes < 0 || minutes > mostExtension/60 {
		minutes = 0 // refused below, with what is right
	}
	if _, err := s.extend(r.Context(), op, account, time.Duration(minutes)*time.Minute, clip(r.PostFormValue("reason"), maxReason), clip(r.PostFormValue("once"), 100)); err != nil {
		if fault.Is(err, fault.NotFound) {
			return err
		}
		return s.notChanged(w, r, op, "No time given", err)
	}
	http.Redirect(w, r, "/guests/"+string(account), http.StatusSeeOther)
	return nil
}

type speedInput struct {
	AccountInput
	Body struct {
		Rate string `json:"rate" maxLength:"120" doc:"Mikrotik-Rate-Limit, upload/download: 2M/10M. Empty is no limit."`
	}
}

func (s *Server) apiSpeed(ctx context.Context, op hotspot.Operator, in *speedInput) (apiAccount, error) {
	g, err := s.setSpeed(ctx, op, hotspot.AccountID(in.Account), in.Body.Rate)
	return toAPIAccount(g, s.now(), false), err
}

type extendInput struct {
	AccountInput
	Key  string `header:"Idempotency-Key" maxLength:"100" doc:"A repeat with the same key gets the first answer instead of the time twice."`
	Body struct {
		Seconds int64  `json:"seconds" minimum:"60" maximum:"31622400" doc:"What the guest gets more than is left; if nothing is, from now on."`
		Reason  string `json:"reason,omitempty" maxLength:"200" doc:"For your records. A cashier must give one."`
	}
}

func (s *Server) apiExtend(ctx context.Context, op hotspot.Operator, in *extendInput) (apiAccount, error) {
	g, err := s.extend(ctx, op, hotspot.AccountID(in.Account), time.Duration(in.Body.Seconds)*time.Second, clip(in.Body.Reason, maxReason), in.Key)
	return toAPIAccount(g, s.now(), false), err
}

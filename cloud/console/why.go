package console

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"iwas/internal/hotspot"
	"iwas/internal/webui"
	"iwas/internal/whynot"
)

// Explainer knows why somebody cannot log in, as far as the sites have said.
type Explainer interface {
	// WhyNot returns what is known of whoever was asked for by name, code, MAC or
	// address; guest is nil where nobody was found. Off is left to the caller.
	WhyNot(ctx context.Context, org hotspot.OrganizationID, site hotspot.SiteID, asked string) (f whynot.Facts, guest *hotspot.Guest, err error)
}

const (
	whyBound   = 253 // longest question, in octets
	failsShown = 20  // failed logins on a page
)

// whyView is the answer as pages show it.
type whyView struct {
	webui.Clock
	whynot.Answer
	Tone  webui.Tone
	Href  string // of the guest; "" where none was found
	Who   string
	Fails []failView
}

// failView is one failed login.
type failView struct {
	At, First   time.Time
	Who, Device string
	NAS         string
	Text        string
	Often       string // "" for once
	Badge       webui.Badge
}

var whyTones = map[whynot.Verdict]webui.Tone{whynot.Can: webui.Good, whynot.Online: webui.Good, whynot.Cannot: webui.Bad, whynot.Unknown: webui.Warn}

// whyNot answers for a site, in the words that the box itself would use. Whoever sees
// guests masked is told no name that they did not type.
func (s *Server) whyNot(ctx context.Context, op hotspot.Operator, st hotspot.SiteStatus, asked string, typed bool) (whyView, whynot.Facts, *hotspot.Guest, error) {
	f, g, err := s.Store.WhyNot(ctx, op.Organization, st.Site.ID, asked)
	if err != nil {
		return whyView{}, f, nil, err
	}
	c := s.clock(st.Site.TimeZone)
	f.Now, f.Zone = c.Now, c.Zone
	if g != nil {
		a := g.Account
		a.Username = displayName(a)
		f.Account, f.Lock, f.Pass = &a, g.Lock.Lock, g.Pass
		if g.Pass != nil {
			f.Off = offOf(g.Pass, c.Now)
		}
		for _, x := range g.Sessions {
			if x.IsOpen() {
				f.Online = append(f.Online, x)
			}
		}
	}
	if masked(op) {
		hide(&f, typed)
	}
	if st.Presence != hotspot.Online {
		f.Stale = "The site is not connected: this is what it had said by then."
		if st.HeardAt.IsZero() {
			f.Stale = "The site has never been connected."
		}
	}
	v := whyView{Clock: c, Answer: whynot.Ask(f)}
	v.Tone = whyTones[v.Verdict]
	if g != nil {
		v.Href, v.Who = "/guests/"+string(g.Account.ID), displayName(g.Account)
		if masked(op) {
			v.Who = mask(g.Account.Username)
		}
	}
	for _, r := range f.Failed[:min(len(f.Failed), failsShown)] {
		v.Fails = append(v.Fails, viewFail(r, masked(op)))
	}
	return v, f, g, nil
}

// offOf says why nobody may be online with a pass, as the site will judge.
func offOf(p *hotspot.Pass, now time.Time) hotspot.OffReason {
	switch left, limited := timeLeft(p, now); {
	case !p.ValidFrom.IsZero() && now.Before(p.ValidFrom), !p.ValidUntil.IsZero() && !now.Before(p.ValidUntil):
		return hotspot.OffNotValid
	case limited && left < time.Second:
		return hotspot.OffTimeUsed
	case dataUsedUp(p):
		return hotspot.OffDataUsed
	}
	return ""
}

// hide takes out the names that nobody typed.
func hide(f *whynot.Facts, typed bool) {
	f.Similar = nil
	if !typed {
		f.Asked = mask(f.Asked)
	}
	if f.Account != nil && f.Account.Username != f.Asked {
		a := *f.Account
		a.Username = mask(a.Username)
		f.Account = &a
	}
	for i := range f.Failed {
		if r := &f.Failed[i]; r.Username != f.Asked && !r.Appeared() {
			r.Username = mask(r.Username)
		}
	}
}

func viewFail(r hotspot.Reject, hide bool) failView {
	v := failView{At: r.Newest(), First: r.At, Who: r.Username, Device: r.MAC.Masked(), NAS: string(r.NAS), Text: orElse(r.Detail, string(r.Reason))}
	if hide {
		v.Who = mask(r.Username)
	}
	if r.NAS == "" && r.Source.IsValid() {
		v.NAS = r.Source.String()
	}
	if r.Count() > 1 {
		v.Often = fmt.Sprintf("%d times", r.Count())
	}
	if r.Flood() {
		v.Badge = webui.Badge{Tone: webui.Warn, Text: "Flood"}
	}
	return v
}

// whyPage is the question of a site, and its answer.
type whyPage struct {
	Clock  webui.Clock
	Status hotspot.SiteStatus
	Asked  string
	Why    *whyView // nil: nothing was asked
}

func (s *Server) why(w http.ResponseWriter, r *http.Request, op hotspot.Operator) error {
	st, err := s.Store.Site(r.Context(), op.Organization, hotspot.SiteID(r.PathValue("site")))
	if err != nil {
		return err
	}
	b := whyPage{Clock: s.clock(st.Site.TimeZone), Status: st, Asked: clip(r.FormValue("q"), whyBound)}
	if b.Asked != "" {
		v, _, _, err := s.whyNot(r.Context(), op, st, b.Asked, true)
		if err != nil {
			return err
		}
		b.Why = &v
	}
	p := shell(op, "Why can’t somebody log in?", "")
	p.Clock, p.Body = b.Clock, b
	s.render(w, r, http.StatusOK, "why", p)
	return nil
}

type whyInput struct {
	SiteInput
	Asked string `query:"q" required:"true" minLength:"1" maxLength:"253" doc:"A guest's name, a voucher's code in any spelling, a MAC or part of one, or the address of a phone."`
}

// apiWhy says in one line why somebody cannot log in.
type apiWhy struct {
	Asked   string          `json:"asked"`
	Verdict string          `json:"verdict" enum:"can,online,cannot,unknown" doc:"unknown: nobody has that name, code or address."`
	Can     bool            `json:"can_log_in" doc:"As far as the cloud knows."`
	Why     string          `json:"why" doc:"One line for people, in English."`
	Next    string          `json:"next,omitempty" doc:"What to do."`
	Code    string          `json:"code,omitempty" doc:"Reason code of what stands in the way."`
	Account string          `json:"account,omitempty" doc:"Whom it is about, if a guest was found."`
	Failed  []apiFailure    `json:"failed" doc:"Failed logins of that guest, name or device, the newest first."`
	Site    apiWhySiteState `json:"site"`
}

type apiWhySiteState struct {
	Presence string     `json:"presence"`
	HeardAt  *time.Time `json:"heard_at,omitempty"`
}

// apiFailure is one failed login, however often it was tried.
type apiFailure struct {
	At       *time.Time `json:"at" doc:"The first time."`
	Until    *time.Time `json:"until" doc:"The newest."`
	Times    int        `json:"times"`
	Flood    bool       `json:"flood" doc:"More often and faster than people do it."`
	Username string     `json:"username,omitempty"`
	MAC      string     `json:"mac,omitempty" doc:"Masked."`
	NAS      string     `json:"nas,omitempty" doc:"Absent: no router of the site."`
	Source   string     `json:"source,omitempty" doc:"The address that asked."`
	Reason   string     `json:"reason"`
	Detail   string     `json:"detail,omitempty" doc:"For staff, in English."`
	Silent   bool       `json:"silent" doc:"It was met with silence: what it says of itself proves nothing."`
}

func toAPIFailure(r hotspot.Reject) apiFailure {
	a := apiFailure{At: moment(r.At), Until: moment(r.Newest()), Times: r.Count(), Flood: r.Flood(), Username: r.Username, MAC: r.MAC.Masked(), NAS: string(r.NAS),
		Reason: string(r.Reason), Detail: r.Detail, Silent: r.Silent}
	if r.Source.IsValid() {
		a.Source = r.Source.String()
	}
	return a
}

func (s *Server) whyOperations(api huma.API) {
	register(s, api, operation("GET /api/v1/sites/{site}/why", "why-not", "Why somebody cannot log in at a site", http.StatusOK),
		func(ctx context.Context, op hotspot.Operator, in *whyInput) (apiWhy, error) {
			st, err := s.Store.Site(ctx, op.Organization, hotspot.SiteID(in.Site))
			if err != nil {
				return apiWhy{}, err
			}
			asked := clip(in.Asked, whyBound)
			v, f, g, err := s.whyNot(ctx, op, st, asked, true)
			if err != nil {
				return apiWhy{}, err
			}
			out := apiWhy{Asked: asked, Verdict: string(v.Verdict), Can: v.Verdict == whynot.Can || v.Verdict == whynot.Online && v.Step == whynot.Nothing, Why: v.Line, Next: v.Next,
				Code: string(v.Reason), Failed: []apiFailure{}, Site: apiWhySiteState{string(st.Presence), moment(st.HeardAt)}}
			if g != nil {
				out.Account = string(g.Account.ID)
			}
			for _, r := range f.Failed[:min(len(f.Failed), failsShown)] {
				out.Failed = append(out.Failed, toAPIFailure(r))
			}
			return out, nil
		})
}

// Package console is the owner's side of the cloud: web pages and the HTTP API
// for sites, guests, plans and the lock. It shows what the store knows, with
// its age, and asks the fleet for changes. It never talks to a broker or a
// router, and never says done before a site has proven it.
package console

import (
	"context"
	"embed"
	"html/template"
	"io/fs"
	"log/slog"
	"net/http"
	"strings"
	"time"
	_ "time/tzdata" // sites live in their own zones; small machines have no zone files

	"iwas/internal/hotspot"
	"iwas/internal/webui"
	"iwas/internal/wire"
)

// Operators finds who is asking. Tokens come as SHA-256 of what the browser or
// the program sent. All answer fault.NotFound for nobody.
type Operators interface {
	// OperatorByEmail returns a person and their password's argon2id hash.
	OperatorByEmail(ctx context.Context, email string) (hotspot.Operator, string, error)
	OperatorBySession(ctx context.Context, tokenHash []byte) (hotspot.Operator, error)
	OperatorByToken(ctx context.Context, tokenHash []byte) (hotspot.Operator, error)
	// CreateOperatorSession returns the wrong passwords given since the person
	// last signed in, and begins to count anew.
	CreateOperatorSession(ctx context.Context, operatorID string, tokenHash []byte, expires time.Time) (hotspot.FailedSignIns, error)
	// NoteFailedSignIn counts a wrong password, from a masked network address. It
	// answers the same whether the e-mail address is somebody's or not.
	NoteFailedSignIn(ctx context.Context, email, from string) error
	DeleteOperatorSession(ctx context.Context, tokenHash []byte) error
	webui.SharedTries
}

// Repeats knows requests that came with a key, at any cloud of the database.
type Repeats interface {
	// BeginOnce reserves a key for keep; who is first ends it with EndOnce, or, when
	// nothing came of it, with ForgetOnce.
	BeginOnce(ctx context.Context, key, body []byte, keep time.Duration) (hotspot.Once, error)
	EndOnce(ctx context.Context, key, answer []byte) error
	ForgetOnce(ctx context.Context, key []byte) error
}

// Store answers questions. Every answer is limited to one organization.
type Store interface {
	Operators
	Sites(ctx context.Context, org hotspot.OrganizationID) ([]hotspot.SiteStatus, error)
	Site(ctx context.Context, org hotspot.OrganizationID, site hotspot.SiteID) (hotspot.SiteStatus, error)
	Plans(ctx context.Context, org hotspot.OrganizationID) ([]hotspot.Plan, error)
	CreatePlan(ctx context.Context, actor hotspot.Operator, p hotspot.Plan) (hotspot.Plan, error)
	// Guests returns one page of a site's accounts, those that match query.
	Guests(ctx context.Context, org hotspot.OrganizationID, site hotspot.SiteID, query string, limit int, after string) ([]hotspot.Guest, string, error)
	Guest(ctx context.Context, org hotspot.OrganizationID, account hotspot.AccountID) (hotspot.Guest, error)
	// Devices returns the devices seen with an account, those seen last first.
	Devices(ctx context.Context, org hotspot.OrganizationID, account hotspot.AccountID) ([]hotspot.SeenDevice, error)
	Sessions(ctx context.Context, org hotspot.OrganizationID, site hotspot.SiteID, openOnly bool, limit int) ([]hotspot.Session, error)
	Agents(ctx context.Context, org hotspot.OrganizationID, site hotspot.SiteID) ([]hotspot.Agent, error)
	// EnrolmentCodes returns those that could still be spent.
	EnrolmentCodes(ctx context.Context, org hotspot.OrganizationID, site hotspot.SiteID) ([]hotspot.EnrolmentCode, error)
	Granter
	Historian
	Commander
	Repeats
	Explainer
}

// Granter knows and changes what is in the address-lists of a site's routers.
type Granter interface {
	// Grants returns one page of them, those that match query, the newest first;
	// with over also those that ended lately.
	Sales(ctx context.Context, org hotspot.OrganizationID, site hotspot.SiteID, from, to time.Time, limit int, after string) ([]hotspot.Sale, []hotspot.Money, string, error)
	Grants(ctx context.Context, org hotspot.OrganizationID, site hotspot.SiteID, query string, over bool, limit int, after string) ([]hotspot.GrantStatus, string, error)
	CreateGrants(ctx context.Context, actor hotspot.Operator, site hotspot.SiteID, grants []hotspot.Grant) ([]hotspot.GrantStatus, error)
	RemoveGrant(ctx context.Context, actor hotspot.Operator, site hotspot.SiteID, grant hotspot.GrantID) error
}

// Commander knows what was asked of sites once, and how their routers should be set up.
type Commander interface {
	// Commands returns the newest, the newest first; of a router or an account where
	// subject is not "".
	Commands(ctx context.Context, org hotspot.OrganizationID, site hotspot.SiteID, subject string, limit int) ([]hotspot.Command, error)
	Command(ctx context.Context, org hotspot.OrganizationID, site hotspot.SiteID, id string) (hotspot.Command, error)
	// RouterSetup returns what is wanted of a router, and the revision that carried it.
	RouterSetup(ctx context.Context, org hotspot.OrganizationID, site hotspot.SiteID, nas hotspot.NASID) (doc wire.RouterDoc, revision int64, found bool, err error)
	// SetRouterSetup says what is wanted; nil is nothing any more.
	SetRouterSetup(ctx context.Context, actor hotspot.Operator, site hotspot.SiteID, nas hotspot.NASID, setup *wire.RouterSetup) error
}

// Fleet makes changes. Each is committed when the call returns, and on its way
// to the site.
type Fleet interface {
	// CreateAccount also returns the password or code as the guest gets it;
	// nobody can read it again.
	CreateAccount(ctx context.Context, actor hotspot.Operator, n hotspot.NewAccount) (hotspot.Guest, hotspot.Password, error)
	Lock(ctx context.Context, actor hotspot.Operator, account hotspot.AccountID, reason string) (hotspot.Guest, error)
	Unlock(ctx context.Context, actor hotspot.Operator, account hotspot.AccountID, reason string) (hotspot.Guest, error)
	// LockDevice locks a device seen with the account, whatever it logs in with. It
	// returns the account that is the device.
	LockDevice(ctx context.Context, actor hotspot.Operator, account hotspot.AccountID, device hotspot.MAC, reason string) (hotspot.Guest, error)
	// SetSpeed and Extend change what the guest has; the site then says what
	// became of the devices online.
	SetSpeed(ctx context.Context, actor hotspot.Operator, account hotspot.AccountID, rate hotspot.RateLimit) (hotspot.Guest, error)
	Extend(ctx context.Context, actor hotspot.Operator, account hotspot.AccountID, d time.Duration, reason string) (hotspot.Guest, error)
	CreateSite(ctx context.Context, actor hotspot.Operator, s hotspot.Site) (hotspot.Site, error)
	NewEnrolmentCode(ctx context.Context, actor hotspot.Operator, site hotspot.SiteID) (code string, expires time.Time, err error)
	// Ask asks something of a site once, to be begun within ttl.
	Ask(ctx context.Context, actor hotspot.Operator, c hotspot.Command, ttl time.Duration) (hotspot.Command, error)
	RevokeEnrolmentCode(ctx context.Context, actor hotspot.Operator, site hotspot.SiteID, id string) error
	ConfirmAgent(ctx context.Context, actor hotspot.Operator, agent hotspot.AgentID) error
	RevokeAgent(ctx context.Context, actor hotspot.Operator, agent hotspot.AgentID) error
}

// Server is the console and its API. Set the fields, then call Handler once.
type Server struct {
	Store       Store
	Fleet       Fleet
	Log         *slog.Logger
	Now         func() time.Time // nil is time.Now
	PublicURL   string           // "https://console.example"; https makes cookies Secure
	Hosts       []string         // names the server answers to; nil is any (behind a proxy that checks)
	Proxies     webui.Proxies    // in front of us, ending TLS
	AgentsURL   string           // the door boxes enrol at, as printed in the command; "" is PublicURL
	Fingerprint string           // SHA-256 of that door's certificate, hex; "" where system roots know it
	MaxLive     int              // live pages at once; 0 is 256
	Refresh     time.Duration    // of a live page that nothing was heard for; 0 is the hub's own
	Version     string           // of this cloud: boxes of an older one are said to be behind; "" says nothing

	hub      webui.Hub
	throttle webui.Throttle
	pages    *webui.Pages
}

//go:embed templates/*.html
var templateFiles embed.FS

func (s *Server) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}

// NotifySite refreshes the live pages that show the site. It never waits.
func (s *Server) NotifySite(site hotspot.SiteID) { s.hub.Notify(string(site)) }

// Handler returns the whole front end. It panics on a template that does not
// parse or a route without a right: both are found by any test.
func (s *Server) Handler() http.Handler {
	if s.Log == nil {
		s.Log = slog.New(slog.DiscardHandler)
	}
	s.hub.Max, s.hub.Log, s.hub.Now, s.hub.Refresh = s.MaxLive, s.Log, s.Now, s.Refresh
	if s.hub.Max == 0 {
		s.hub.Max = 256
	}
	s.throttle.Now = s.Now
	files, err := fs.Sub(templateFiles, "templates")
	if err == nil {
		s.pages, err = webui.NewPages(files, templateFuncs)
	}
	if err != nil {
		panic(err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /assets/", webui.Assets())
	mux.HandleFunc("POST /theme", webui.Theme)
	for pattern, h := range map[string]pageHandler{
		"GET /{$}":                     s.home,
		"GET /live":                    s.homeLive,
		"GET /sites/new":               s.newSite,
		"POST /sites":                  s.addSite,
		"GET /sites/{site}":            s.site,
		"GET /sites/{site}/live":       s.siteLive,
		"GET /sites/{site}/guests/new": s.newGuest,
		"POST /sites/{site}/guests":    s.addGuest,
		"GET /sites/{site}/box":        s.box,
		"GET /sites/{site}/box/live":   s.boxLive,
		"POST /sites/{site}/box/codes": s.addCode,
		"POST /agents/{agent}/confirm": s.confirmAgent,

		"POST /sites/{site}/box/codes/{code}/revoke": s.revokeCode,

		"POST /agents/{agent}/revoke":   s.revokeAgent,
		"GET /guests/{account}":         s.guest,
		"GET /guests/{account}/live":    s.guestLive,
		"POST /guests/{account}/lock":   s.lockGuest,
		"POST /guests/{account}/unlock": s.unlockGuest,
		"POST /guests/{account}/extend": s.extendGuest,
		"POST /guests/{account}/speed":  s.speedGuest,
		"GET /plans":                    s.plans,
		"POST /plans":                   s.addPlan,
		"POST /signout":                 s.signOut,

		"GET /sites/{site}/why":                    s.why,
		"GET /sites/{site}/sales":                  s.sales,
		"GET /sites/{site}/grants":                 s.grants,
		"GET /sites/{site}/grants/live":            s.grantsLive,
		"POST /sites/{site}/grants":                s.addGrants,
		"POST /sites/{site}/grants/{grant}/remove": s.removeGrant,

		"POST /guests/{account}/kick":                      s.kickGuest,
		"GET /sites/{site}/routers/{router}":               s.routerSetup,
		"GET /sites/{site}/routers/{router}/live":          s.routerLive,
		"POST /sites/{site}/routers/{router}/setup":        s.saveSetup,
		"POST /sites/{site}/routers/{router}/setup/remove": s.forgetSetup,
		"POST /sites/{site}/routers/{router}/commands":     s.commandRouter,

		"POST /guests/{account}/devices/{mac}/lock":   s.lockGuestDevice,
		"POST /guests/{account}/devices/{mac}/unlock": s.unlockGuestDevice,
	} {
		mux.Handle(pattern, s.page(pattern, h))
	}
	mux.HandleFunc("GET /signin", s.signInPage)
	mux.HandleFunc("POST /signin", s.signIn)
	s.api(mux)
	mux.HandleFunc("/", s.nowhere)
	return webui.Guard{Hosts: s.Hosts, MaxBody: grantsBody + maxBody, Log: s.Log}.Wrap(bounded(mux))
}

// maxBody bounds the body of every request but those of grants to the API, which
// may name thousands of addresses.
const maxBody = 64 << 10

func bounded(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/api/") || !strings.HasSuffix(r.URL.Path, "/grants") {
			r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		}
		h.ServeHTTP(w, r)
	})
}

// templateFuncs are what the templates of this package call besides webui's.
var templateFuncs = template.FuncMap{
	"money":    money,
	"orElse":   orElse,
	"stepName": stepName,
	"empty": func(icon, title, text, href, link string) webui.Empty {
		return webui.Empty{Icon: icon, Title: title, Text: text, Href: href, Link: link}
	},
	"choice": choice,
	"field":  func(name, label, value, wrong, hint string) field { return field{name, label, value, wrong, hint} },
}

// choice is one field with a few values; each option is "value=text".
func choice(name, label, value, wrong string, options ...string) selection {
	s := selection{Name: name, Label: label, Wrong: wrong}
	for _, o := range options {
		v, text, _ := strings.Cut(o, "=")
		s.Options = append(s.Options, option{v, text, v == value})
	}
	return s
}

type selection struct {
	Name, Label, Wrong string
	Options            []option
}

type option struct {
	Value, Text string
	On          bool
}

// field is one field of a form.
type field struct{ Name, Label, Value, Wrong, Hint string }

func (s *Server) secure() bool { return strings.HasPrefix(s.PublicURL, "https:") }

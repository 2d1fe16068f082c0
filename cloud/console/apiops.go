package console

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"iwas/internal/hotspot"
)

type noInput struct{}

// SiteInput is the address of what belongs to a site. Exported: the API library
// passes over fields of embedded types that are not.
type SiteInput struct {
	Site string `path:"site" maxLength:"64"`
}

type pageInput struct {
	SiteInput
	Query string `query:"q" maxLength:"100" doc:"Part of a name, a voucher code or a MAC in any spelling."`
	Limit int    `query:"limit" minimum:"1" maximum:"200" default:"50"`
	After string `query:"after" maxLength:"200" doc:"Next of the page before."`
}

type sessionsInput struct {
	SiteInput
	Open  bool `query:"open" default:"true" doc:"Only open sessions; false adds closed ones, newest first."`
	Limit int  `query:"limit" minimum:"1" maximum:"1000" default:"200"`
}

type apiMe struct {
	ID           string   `json:"id"`
	Email        string   `json:"email"`
	Name         string   `json:"name"`
	Role         string   `json:"role" enum:"owner,manager,cashier,technician"`
	Organization string   `json:"organization"`
	Rights       []string `json:"rights" doc:"What the role may do."`
}

func (s *Server) siteOperations(api huma.API) {
	register(s, api, operation("GET /api/v1/me", "me", "Who am I", http.StatusOK),
		func(_ context.Context, op hotspot.Operator, _ *noInput) (apiMe, error) {
			me := apiMe{ID: op.ID, Email: op.Email, Name: op.Name, Role: string(op.Role), Organization: string(op.Organization), Rights: []string{}}
			for _, r := range rightsOf[op.Role] {
				me.Rights = append(me.Rights, string(r))
			}
			return me, nil
		})
	register(s, api, operation("GET /api/v1/sites", "list-sites", "All sites with what was last heard of them", http.StatusOK), s.apiSites)
	register(s, api, operation("POST /api/v1/sites", "create-site", "Add a site", http.StatusCreated), s.apiCreateSite)
	register(s, api, operation("GET /api/v1/sites/{site}", "get-site", "One site", http.StatusOK),
		func(ctx context.Context, op hotspot.Operator, in *SiteInput) (apiSite, error) {
			st, err := s.Store.Site(ctx, op.Organization, hotspot.SiteID(in.Site))
			return toAPISite(st, s.now()), err
		})
	register(s, api, operation("GET /api/v1/sites/{site}/sessions", "list-sessions", "Sessions of a site", http.StatusOK), s.apiSessions)
	register(s, api, operation("GET /api/v1/plans", "list-plans", "All plans", http.StatusOK),
		func(ctx context.Context, op hotspot.Operator, _ *noInput) (list[apiPlan], error) {
			plans, err := s.Store.Plans(ctx, op.Organization)
			return listOf(plans, "", toAPIPlan), err
		})
	register(s, api, operation("POST /api/v1/plans", "create-plan", "Add a plan", http.StatusCreated), s.apiCreatePlan)
}

// listOf makes one page of answers.
func listOf[T, A any](items []T, next string, to func(T) A) list[A] {
	l := list[A]{Items: make([]A, 0, len(items)), Next: next}
	for _, item := range items {
		l.Items = append(l.Items, to(item))
	}
	return l
}

func (s *Server) apiSites(ctx context.Context, op hotspot.Operator, _ *noInput) (list[apiSite], error) {
	sites, err := s.Store.Sites(ctx, op.Organization)
	now := s.now()
	return listOf(sites, "", func(st hotspot.SiteStatus) apiSite { return toAPISite(st, now) }), err
}

type createSiteInput struct {
	Body struct {
		Name     string `json:"name" minLength:"1" maxLength:"80"`
		TimeZone string `json:"time_zone" maxLength:"60" doc:"IANA name, such as Europe/Berlin."`
		Currency string `json:"currency" pattern:"^[A-Z]{3}$" doc:"ISO 4217."`
		Language string `json:"language,omitempty" enum:"en,ar" default:"en" doc:"Of what guests read."`
	}
}

func (s *Server) apiCreateSite(ctx context.Context, op hotspot.Operator, in *createSiteInput) (apiSite, error) {
	site := hotspot.Site{Name: in.Body.Name, TimeZone: in.Body.TimeZone, Currency: in.Body.Currency, Language: in.Body.Language}
	if wrong := checkSite(site); len(wrong) > 0 {
		return apiSite{}, invalid("create site", wrong)
	}
	made, err := s.Fleet.CreateSite(ctx, op, site)
	if err != nil {
		return apiSite{}, err
	}
	st, err := s.Store.Site(ctx, op.Organization, made.ID)
	return toAPISite(st, s.now()), err
}

func (s *Server) apiSessions(ctx context.Context, op hotspot.Operator, in *sessionsInput) (list[apiSession], error) {
	if _, err := s.Store.Site(ctx, op.Organization, hotspot.SiteID(in.Site)); err != nil {
		return list[apiSession]{}, err
	}
	sessions, err := s.Store.Sessions(ctx, op.Organization, hotspot.SiteID(in.Site), in.Open, in.Limit)
	now := s.now()
	return listOf(sessions, "", func(v hotspot.Session) apiSession { return toAPISession(v, now, masked(op)) }), err
}

type createPlanInput struct {
	Body struct {
		Name   string    `json:"name" minLength:"1" maxLength:"60"`
		Price  *apiMoney `json:"price,omitempty" doc:"Absent is free."`
		Limits apiLimits `json:"limits"`
	}
}

func (s *Server) apiCreatePlan(ctx context.Context, op hotspot.Operator, in *createPlanInput) (apiPlan, error) {
	l := in.Body.Limits
	rate, rateErr := hotspot.ParseRateLimit(l.Rate)
	slow, slowErr := hotspot.ParseRateLimit(l.SlowRate)
	hours, hoursErr := hotspot.ParseHours(l.Hours)
	wrong := map[string]error{}
	for field, err := range map[string]error{"limits.rate": rateErr, "limits.slow_rate": slowErr, "limits.hours": hoursErr} {
		if err != nil {
			wrong[field] = err
		}
	}
	if len(wrong) > 0 {
		return apiPlan{}, invalid("create plan", wrong)
	}
	for _, n := range []int64{l.TimeS, l.ValidityS, l.IdleTimeoutS} {
		if n > seconds(100*365*24*time.Hour) {
			return apiPlan{}, invalid("create plan", map[string]error{"limits": errors.New("a time is at most a hundred years")})
		}
	}
	p := hotspot.Plan{Name: in.Body.Name, Limits: hotspot.Limits{Hours: hours, SlowRate: slow, Swap: hotspot.DeviceSwap(l.DeviceSwap), Time: time.Duration(l.TimeS) * time.Second, Clock: hotspot.Clock(l.Clock),
		Validity: time.Duration(l.ValidityS) * time.Second, Rate: rate, Upload: hotspot.Octets(l.Upload), Download: hotspot.Octets(l.Download),
		Total: hotspot.Octets(l.Total), Devices: l.Devices, IdleTimeout: time.Duration(l.IdleTimeoutS) * time.Second, AddressLists: l.AddressLists, ListsByAPI: l.ListsByAPI, Reconnect: l.Reconnect}}
	if p.Clock == "" {
		p.Clock = hotspot.Continuous
	}
	if in.Body.Price != nil {
		p.Price = hotspot.Money{Minor: in.Body.Price.Minor, Currency: in.Body.Price.Currency}
	}
	if wrong := checkPlan(p); len(wrong) > 0 {
		return apiPlan{}, invalid("create plan", wrong)
	}
	made, err := s.Store.CreatePlan(ctx, op, p)
	return toAPIPlan(made), err
}

// AccountInput is the address of what belongs to a guest; exported like SiteInput.
type AccountInput struct {
	Account string `path:"id" maxLength:"64"`
}

type lockInput struct {
	AccountInput
	Body *struct {
		Reason  string `json:"reason,omitempty" maxLength:"200" doc:"For your records. A cashier must give one."`
		Devices bool   `json:"devices,omitempty" doc:"When locking: lock the devices seen with the account too, whatever they log in with."`
	}
}

// reason is the reason given, "" without a body.
func (in *lockInput) reason() string {
	if in.Body == nil {
		return ""
	}
	return clip(in.Body.Reason, maxReason)
}

type createAccountInput struct {
	SiteInput
	Key  string `header:"Idempotency-Key" maxLength:"100" doc:"A repeat with the same key gets the first answer instead of a second account."`
	Body struct {
		Kind     string `json:"kind" enum:"user,voucher,device"`
		Username string `json:"username,omitempty" maxLength:"64" doc:"Of a user, or the MAC of a device; a voucher's code is made."`
		Password string `json:"password,omitempty" maxLength:"64" doc:"Of a user; made at random when absent."`
		Plan     string `json:"plan" maxLength:"64" doc:"Id of a plan."`
		Note     string `json:"note,omitempty" maxLength:"200"`
	}
}

func (s *Server) accountOperations(api huma.API) {
	register(s, api, operation("GET /api/v1/sites/{site}/accounts", "list-accounts", "Guests of a site", http.StatusOK), s.apiAccounts)
	register(s, api, operation("POST /api/v1/sites/{site}/accounts", "create-account", "Add a guest with a pass of a plan", http.StatusCreated), s.apiCreateAccount)
	register(s, api, operation("GET /api/v1/accounts/{id}", "get-account", "One guest", http.StatusOK),
		func(ctx context.Context, op hotspot.Operator, in *AccountInput) (apiAccount, error) {
			g, err := s.Store.Guest(ctx, op.Organization, hotspot.AccountID(in.Account))
			return toAPIAccount(g, s.now(), masked(op)), err
		})
	change := func(do func(*lockInput) changeLock) func(context.Context, hotspot.Operator, *lockInput) (apiAccount, error) {
		return func(ctx context.Context, op hotspot.Operator, in *lockInput) (apiAccount, error) {
			if _, err := s.Store.Guest(ctx, op.Organization, hotspot.AccountID(in.Account)); err != nil {
				return apiAccount{}, err
			}
			if err := checkReason(op, in.reason()); err != nil {
				return apiAccount{}, err
			}
			g, err := do(in)(ctx, op, hotspot.AccountID(in.Account), in.reason())
			return toAPIAccount(g, s.now(), false), err
		}
	}
	register(s, api, operation("POST /api/v1/accounts/{id}/lock", "lock-account", "Lock a guest out; read lock.state for how far it is", http.StatusOK), change(func(in *lockInput) changeLock { return s.lockWith(in.Body != nil && in.Body.Devices) }))
	register(s, api, operation("POST /api/v1/accounts/{id}/unlock", "unlock-account", "Let a guest in again", http.StatusOK), change(func(*lockInput) changeLock { return s.Fleet.Unlock }))
	register(s, api, operation("POST /api/v1/accounts/{id}/speed", "set-account-speed", "Give a guest another speed; read sessions[].rate for what each device has", http.StatusOK), s.apiSpeed)
	register(s, api, operation("POST /api/v1/accounts/{id}/extend", "extend-account", "Give a guest more time", http.StatusOK), s.apiExtend)
}

func (s *Server) apiAccounts(ctx context.Context, op hotspot.Operator, in *pageInput) (list[apiAccount], error) {
	if _, err := s.Store.Site(ctx, op.Organization, hotspot.SiteID(in.Site)); err != nil {
		return list[apiAccount]{}, err
	}
	guests, next, err := s.Store.Guests(ctx, op.Organization, hotspot.SiteID(in.Site), in.Query, in.Limit, in.After)
	now := s.now()
	return listOf(guests, next, func(g hotspot.Guest) apiAccount { return toAPIAccount(g, now, masked(op)) }), err
}

func (s *Server) apiCreateAccount(ctx context.Context, op hotspot.Operator, in *createAccountInput) (apiAccount, error) {
	n, wrong := checkAccount(hotspot.NewAccount{Site: hotspot.SiteID(in.Site), Kind: hotspot.AccountKind(in.Body.Kind), Username: in.Body.Username,
		Password: hotspot.Password(in.Body.Password), Plan: hotspot.PlanID(in.Body.Plan), Note: in.Body.Note})
	if len(wrong) > 0 {
		return apiAccount{}, invalid("create account", wrong)
	}
	made, _, err := s.createAccount(ctx, op, n, in.Key)
	if err != nil {
		return apiAccount{}, err
	}
	a := toAPIAccount(made.guest, s.now(), false)
	switch n.Kind {
	case hotspot.User:
		a.Password = made.password.Reveal()
	case hotspot.Voucher:
		a.Code = orElse(made.password.Reveal(), made.guest.Account.Username)
	}
	return a, nil
}

type agentInput struct {
	Agent string `path:"id" maxLength:"64"`
}

type apiCode struct {
	Code      string     `json:"code" doc:"Works once."`
	ExpiresAt *time.Time `json:"expires_at"`
	Command   string     `json:"command" doc:"To run on the box; it asks for the code."`
}

type apiOpenCode struct {
	ID        string     `json:"id" doc:"To revoke it by; the code itself is kept nowhere."`
	By        string     `json:"by"`
	CreatedAt *time.Time `json:"created_at,omitempty"`
	ExpiresAt *time.Time `json:"expires_at"`
	Wrong     int        `json:"wrong_codes" doc:"Codes nobody made that were tried while this one was open."`
	WrongAt   *time.Time `json:"wrong_at,omitempty" doc:"When the newest was tried."`
	WrongFrom string     `json:"wrong_from,omitempty" doc:"Network it came from."`
}

func toAPIOpenCode(c hotspot.EnrolmentCode) apiOpenCode {
	return apiOpenCode{c.ID, c.By, moment(c.CreatedAt), moment(c.ExpiresAt), c.Wrong, moment(c.WrongAt), c.WrongFrom}
}

type codeInput struct {
	SiteInput
	Code string `path:"code" maxLength:"64" doc:"Id of the code, from the list."`
}

type apiDone struct {
	ID string `json:"id"`
}

func (s *Server) boxOperations(api huma.API) {
	register(s, api, operation("GET /api/v1/sites/{site}/agents", "list-agents", "Boxes enrolled at a site", http.StatusOK),
		func(ctx context.Context, op hotspot.Operator, in *SiteInput) (list[apiAgent], error) {
			agents, err := s.Store.Agents(ctx, op.Organization, hotspot.SiteID(in.Site))
			return listOf(agents, "", toAPIAgent), err
		})
	register(s, api, operation("POST /api/v1/sites/{site}/enrolment-codes", "create-enrolment-code", "Make a code that enrols one box", http.StatusCreated),
		func(ctx context.Context, op hotspot.Operator, in *SiteInput) (apiCode, error) {
			if _, err := s.Store.Site(ctx, op.Organization, hotspot.SiteID(in.Site)); err != nil {
				return apiCode{}, err
			}
			code, expires, err := s.Fleet.NewEnrolmentCode(ctx, op, hotspot.SiteID(in.Site))
			return apiCode{code, moment(expires), s.enrolCommand()}, err
		})
	register(s, api, operation("GET /api/v1/sites/{site}/enrolment-codes", "list-enrolment-codes", "Enrolment codes that could still be used, with what was tried beside them", http.StatusOK),
		func(ctx context.Context, op hotspot.Operator, in *SiteInput) (list[apiOpenCode], error) {
			codes, err := s.Store.EnrolmentCodes(ctx, op.Organization, hotspot.SiteID(in.Site))
			return listOf(codes, "", toAPIOpenCode), err
		})
	register(s, api, operation("DELETE /api/v1/sites/{site}/enrolment-codes/{code}", "revoke-enrolment-code", "Take an enrolment code back that no box has used", http.StatusOK),
		func(ctx context.Context, op hotspot.Operator, in *codeInput) (apiDone, error) {
			return apiDone{in.Code}, s.Fleet.RevokeEnrolmentCode(ctx, op, hotspot.SiteID(in.Site), in.Code)
		})
	change := func(do func(context.Context, hotspot.Operator, hotspot.AgentID) error) func(context.Context, hotspot.Operator, *agentInput) (apiDone, error) {
		return func(ctx context.Context, op hotspot.Operator, in *agentInput) (apiDone, error) {
			return apiDone{in.Agent}, do(ctx, op, hotspot.AgentID(in.Agent))
		}
	}
	register(s, api, operation("POST /api/v1/agents/{id}/confirm", "confirm-agent", "Let an enrolled box speak for its site", http.StatusOK), change(s.Fleet.ConfirmAgent))
	register(s, api, operation("POST /api/v1/agents/{id}/revoke", "revoke-agent", "Cut a box off for ever", http.StatusOK), change(s.Fleet.RevokeAgent))
}

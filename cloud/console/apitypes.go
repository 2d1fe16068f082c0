package console

import (
	"math"
	"time"

	"iwas/internal/hotspot"
)

// moment is a time in answers: RFC 3339 in UTC, milliseconds, absent when zero.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	u := t.UTC().Truncate(time.Millisecond)
	return &u
}

// since is the age of t in seconds, absent when t is zero; never below 0.
func since(t, now time.Time) *float64 {
	if t.IsZero() {
		return nil
	}
	age := max(0, math.Round(now.Sub(t).Seconds()*10)/10)
	return &age
}

// asOf is when a figure was recorded, by our clock, never after now: the clock of
// another replica may be a little ahead.
func asOf(t, now time.Time) time.Time {
	if t.After(now) {
		return now
	}
	return t
}

func seconds(d time.Duration) int64 { return int64(d / time.Second) }

// millis is a duration in milliseconds, to the microsecond.
func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

type apiSite struct {
	ID           string         `json:"id"`
	Name         string         `json:"name"`
	TimeZone     string         `json:"time_zone" doc:"IANA name."`
	Currency     string         `json:"currency" doc:"ISO 4217."`
	Language     string         `json:"language"`
	Presence     string         `json:"presence" enum:"online,stopped,lost,never" doc:"What is known of the agent's link."`
	StopReason   string         `json:"stop_reason,omitempty" doc:"Why the agent was stopped, in its own words; only while presence is stopped."`
	HeardAt      *time.Time     `json:"heard_at,omitempty" doc:"Last message of the agent, by the cloud's clock."`
	DataAgeS     *float64       `json:"data_age_s,omitempty" doc:"Seconds since heard_at; absent if never heard."`
	AgentVersion string         `json:"agent_version,omitempty"`
	Revision     int64          `json:"revision" doc:"Number of the latest wanted state."`
	Applied      int64          `json:"applied" doc:"Number of the wanted state that the site holds."`
	RouterSeenAt *time.Time     `json:"router_seen_at,omitempty" doc:"Last answer of the router, by the site's clock."`
	RouterAgeS   *float64       `json:"router_age_s,omitempty" doc:"Seconds since router_seen_at, whatever the site's clock shows; absent if never."`
	ClockOffsetS float64        `json:"clock_offset_s" doc:"The site's clock minus the cloud's, seconds, as of heard_at."`
	Backlog      int64          `json:"backlog" doc:"Events that the site has and the cloud does not."`
	SessionsOpen int            `json:"sessions_open"`
	LocksOpen    int            `json:"locks_open" doc:"Locks asked for and not yet proven."`
	Conditions   []apiCondition `json:"conditions"`
	Routers      []apiRouter    `json:"routers" doc:"How the site's routers do, as last heard; those with an API."`
	Outage       *apiOutage     `json:"outage,omitempty" doc:"Why the box has no connection to the broker, as it told over HTTPS; absent while it has one."`
	CopyHeardAt  *time.Time     `json:"copy_heard_at,omitempty" doc:"When a second copy of the box was last heard, and refused."`
}

type apiOutage struct {
	Code  string     `json:"code" doc:"Of the catalogue."`
	Text  string     `json:"text"`
	Since *time.Time `json:"since" doc:"By the cloud's clock, as at."`
	At    *time.Time `json:"at" doc:"When it was told."`
	AgeS  *float64   `json:"age_s" doc:"Seconds since at."`
}

type apiRouter struct {
	NAS          string     `json:"nas"`
	Name         string     `json:"name,omitempty"`
	At           *time.Time `json:"at,omitempty" doc:"No figure is older, by the site's clock; absent: there is none."`
	AgeS         *float64   `json:"age_s,omitempty" doc:"Seconds since at, whatever the site's clock shows."`
	UptimeS      *int64     `json:"uptime_s,omitempty"`
	CPU          *int       `json:"cpu_percent,omitempty" doc:"An absent figure is not known."`
	Memory       *int       `json:"memory_used_percent,omitempty"`
	Celsius      *float64   `json:"celsius,omitempty" doc:"Of the hottest sensor."`
	WANUp        *bool      `json:"wan_up,omitempty" doc:"A default route is active."`
	DownBPS      *uint64    `json:"down_bps,omitempty" doc:"To the guests, bits a second."`
	UpBPS        *uint64    `json:"up_bps,omitempty"`
	PoolUsed     *int       `json:"pool_used,omitempty" doc:"Addresses given out of the guests' fullest pool."`
	PoolSize     *int       `json:"pool_size,omitempty"`
	ForeignCount *int       `json:"foreign_sessions,omitempty" doc:"Guests on the router's list whom the site did not let in."`
}

func toAPIRouter(r hotspot.RouterHealth, st hotspot.SiteStatus, now time.Time) apiRouter {
	a := apiRouter{NAS: string(r.NAS), Name: r.Name, At: moment(r.At), AgeS: since(siteTime(st, r.At), now), CPU: r.CPU, Memory: r.Memory, Celsius: r.Celsius, WANUp: r.WANUp,
		PoolUsed: r.PoolUsed, PoolSize: r.PoolSize, ForeignCount: r.Foreign}
	if r.Uptime != nil {
		s := seconds(*r.Uptime)
		a.UptimeS = &s
	}
	if r.Down != nil && r.Up != nil {
		down, up := uint64(*r.Down), uint64(*r.Up)
		a.DownBPS, a.UpBPS = &down, &up
	}
	return a
}

type apiCondition struct {
	Code     string     `json:"code"`
	Severity string     `json:"severity"`
	Text     string     `json:"text"`
	Since    *time.Time `json:"since,omitempty"`
}

func toAPISite(st hotspot.SiteStatus, now time.Time) apiSite {
	a := apiSite{ID: string(st.Site.ID), Name: st.Site.Name, TimeZone: st.Site.TimeZone, Currency: st.Site.Currency, Language: st.Site.Language,
		Presence: string(st.Presence), HeardAt: moment(st.HeardAt), DataAgeS: since(st.HeardAt, now), AgentVersion: st.AgentVersion,
		Revision: st.Revision, Applied: st.Applied, RouterSeenAt: moment(st.RouterSeenAt), RouterAgeS: since(routerSeen(st), now), ClockOffsetS: math.Round(st.ClockOffset.Seconds()*10) / 10, Backlog: st.Backlog,
		SessionsOpen: st.SessionsOpen, LocksOpen: st.LocksOpen, Conditions: []apiCondition{}, Routers: []apiRouter{}}
	if a.Presence == "" {
		a.Presence = string(hotspot.Never)
	}
	if st.Presence == hotspot.Stopped {
		a.StopReason = st.Reason
	}
	a.CopyHeardAt = moment(st.CopyAt)
	if o := st.Outage; o != nil && st.Presence != hotspot.Online {
		a.Outage = &apiOutage{o.Code, o.Text, moment(o.Since), moment(o.At), since(o.At, now)}
	}
	for _, r := range st.Routers {
		a.Routers = append(a.Routers, toAPIRouter(r, st, now))
	}
	for _, c := range st.Conditions {
		a.Conditions = append(a.Conditions, apiCondition{c.Code, c.Severity, c.Text, moment(c.Since)})
	}
	return a
}

type apiAccount struct {
	ID       string       `json:"id"`
	Site     string       `json:"site"`
	Kind     string       `json:"kind" enum:"user,voucher,device"`
	Username string       `json:"username" doc:"Name, voucher code or MAC. Masked for roles that may not lock guests."`
	Note     string       `json:"note"`
	Plan     *apiPlanName `json:"plan,omitempty" doc:"What was bought; absent without a pass."`
	Pass     *apiPass     `json:"pass,omitempty"`
	Lock     apiLock      `json:"lock"`
	Sessions []apiSession `json:"sessions" doc:"Open sessions."`
	DataAgeS *float64     `json:"data_age_s,omitempty" doc:"Seconds since the site was last heard; absent if never. Pass and sessions carry the age of their own figures."`
	AtSite   bool         `json:"at_site" doc:"The site holds the pass as it is here; false: a change is on its way."`
	Password string       `json:"password,omitempty" doc:"Only in the answer that created a user."`
	Code     string       `json:"code,omitempty" doc:"Only in the answer that created a voucher."`
}

type apiPlanName struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

type apiPass struct {
	TimeLeftS  *int64     `json:"time_left_s,omitempty" doc:"Seconds; absent when time has no limit."`
	TimeUsedS  int64      `json:"time_used_s" doc:"Seconds online."`
	Upload     uint64     `json:"upload" doc:"Bytes the guest sent."`
	Download   uint64     `json:"download" doc:"Bytes the guest received."`
	AsOf       *time.Time `json:"as_of,omitempty" doc:"When the site recorded what is used, from RADIUS accounting, by the cloud's clock; absent: nothing is recorded."`
	DataAgeS   *float64   `json:"data_age_s,omitempty" doc:"Seconds since as_of."`
	FirstUsed  *time.Time `json:"first_used,omitempty"`
	ValidFrom  *time.Time `json:"valid_from,omitempty"`
	ValidUntil *time.Time `json:"valid_until,omitempty"`
	Limits     apiLimits  `json:"limits"`
}

type apiLimits struct {
	TimeS        int64    `json:"time_s" minimum:"0" required:"false" doc:"Time allowance in seconds; 0 is no limit."`
	Clock        string   `json:"clock" enum:"continuous,metered" required:"false" default:"continuous" doc:"How the time runs: from first login on, or only while online."`
	ValidityS    int64    `json:"validity_s" minimum:"0" required:"false" doc:"How long after the sale it may be used, seconds; 0 is for ever."`
	Rate         string   `json:"rate" maxLength:"120" required:"false" doc:"Mikrotik-Rate-Limit, upload/download: 2M/10M. Empty is no limit."`
	Upload       uint64   `json:"upload" maximum:"9007199254740991" required:"false" doc:"Bytes; 0 is no limit."`
	Download     uint64   `json:"download" maximum:"9007199254740991" required:"false" doc:"Bytes; 0 is no limit."`
	Total        uint64   `json:"total" maximum:"9007199254740991" required:"false" doc:"Bytes both ways; 0 is no limit."`
	Devices      int      `json:"devices" minimum:"0" maximum:"100" required:"false" doc:"Devices at once; 0 reads as 1."`
	IdleTimeoutS int64    `json:"idle_timeout_s" minimum:"0" required:"false" doc:"Seconds; 0 leaves it to the router."`
	AddressLists []string `json:"address_lists,omitempty" maxItems:"8" required:"false" doc:"Mikrotik-Address-List for the length of a session: letters, digits, dot, dash and underscore, at most 64 each."`
	ListsByAPI   bool     `json:"lists_by_api" required:"false" doc:"The site keeps address_lists over the router's API for the length of a session, the device's IPv6 addresses included, instead of naming them in the Accept."`
	Reconnect    bool     `json:"reconnect" required:"false" doc:"A device online that cannot be given a changed speed or time otherwise is logged out, so that it logs in anew; false: it goes on as it is."`
	Hours        []string `json:"hours,omitempty" maxItems:"14" required:"false" doc:"When in the week it may be used, in the site's time zone: days and times such as mon-fri 08:00-16:00. A span whose end is not after its beginning runs into the next day: sat,sun 22:00-02:00. Absent is always."`
	SlowRate     string   `json:"slow_rate,omitempty" maxLength:"120" required:"false" doc:"Mikrotik-Rate-Limit once a data allowance is used, from the next login on at the latest. Absent: the allowance ends the pass."`
	DeviceSwap   string   `json:"device_swap" enum:"refuse,move" required:"false" default:"refuse" doc:"One device too many: refuse it, or move the pass to it by ending the device heard of least lately."`
}

func toAPILimits(l hotspot.Limits) apiLimits {
	clock := l.Clock
	if clock == "" {
		clock = hotspot.Continuous
	}
	swap := l.Swap
	if swap == "" {
		swap = hotspot.SwapRefuse
	}
	return apiLimits{Hours: l.Hours.Strings(), SlowRate: l.SlowRate.String(), DeviceSwap: string(swap), TimeS: seconds(l.Time), Clock: string(clock), ValidityS: seconds(l.Validity), Rate: l.Rate.String(), Upload: uint64(l.Upload),
		Download: uint64(l.Download), Total: uint64(l.Total), Devices: l.DevicesAtOnce(), IdleTimeoutS: seconds(l.IdleTimeout), AddressLists: l.AddressLists,
		ListsByAPI: l.ListsByAPI, Reconnect: l.Reconnect}
}

type apiLock struct {
	Locked    bool          `json:"locked"`
	State     string        `json:"state" enum:"unlocked,requested,waits_for_site,sent,received,enforced,leaks,acknowledged" doc:"enforced is proven by the router; leaks is off at the HotSpot while the network has a way round; acknowledged is not proven."`
	Reason    string        `json:"reason,omitempty"`
	By        string        `json:"by,omitempty"`
	At        *time.Time    `json:"at,omitempty"`
	Method    string        `json:"method,omitempty" doc:"How it was proven: disconnect, api, nothing_to_do, reject_only."`
	Code      string        `json:"code,omitempty" doc:"Condition that keeps it from being proven."`
	Reopened  *apiReopened  `json:"reopened,omitempty" doc:"Only while a lock that had ended is open again: the site found the guest back, or could not read the router later."`
	Steps     []apiLockStep `json:"steps" doc:"The reached ones of requested, sent, received and the outcome, in this order."`
	SiteSteps []apiLockStep `json:"site_steps" doc:"What the site did between received and the outcome."`
}

type apiReopened struct {
	Was   string     `json:"was" enum:"enforced,leaks,acknowledged" doc:"How the lock had ended."`
	WasAt *time.Time `json:"was_at,omitempty" doc:"When it had, by the site's clock."`
	Since *time.Time `json:"since,omitempty" doc:"Since when that no longer holds, by the site's clock."`
}

type apiLockStep struct {
	Order   int        `json:"order" doc:"Place among all steps of the lock, steps and site_steps together; 1 is the first. Order is by this, never by at: the clocks of two machines may be any time apart."`
	Name    string     `json:"name" doc:"requested (accepted by the cloud), sent, received and the outcome; of the site's own: cookies, disconnect, stop, active, lists, connections, read_back."`
	At      *time.Time `json:"at,omitempty" doc:"By the clock of machine."`
	Machine string     `json:"machine" enum:"cloud,site" doc:"Whose clock at is."`
	TookMS  float64    `json:"took_ms" doc:"Milliseconds, on the one clock of machine; 0 is not measured."`
	OK      bool       `json:"ok"`
	Detail  string     `json:"detail,omitempty"`
}

func toAPILock(l hotspot.LockStatus) apiLock {
	state := l.State
	if state == "" {
		state = hotspot.LockNone
	}
	a := apiLock{Locked: state != hotspot.LockNone, State: string(state), Method: l.Method, Code: l.Code}
	if l.Lock != nil && a.Locked {
		a.Reason, a.By, a.At = l.Lock.Reason, l.Lock.By, moment(l.Lock.At)
	}
	if r := l.Reopened; r != nil {
		a.Reopened = &apiReopened{string(r.Was), moment(r.WasAt), moment(r.Since)}
	}
	main, site := splitSteps(l)
	a.Steps, a.SiteSteps = toAPISteps(main), toAPISteps(site)
	return a
}

func toAPISteps(steps []hotspot.LockStep) []apiLockStep {
	out := make([]apiLockStep, 0, len(steps))
	for _, st := range steps {
		out = append(out, apiLockStep{st.Order, st.Name, moment(st.At), st.Machine, millis(st.Took), st.OK, st.Detail})
	}
	return out
}

type apiSession struct {
	ID            string     `json:"id"`
	Account       string     `json:"account,omitempty"`
	Username      string     `json:"username"`
	NAS           string     `json:"nas"`
	AcctSessionID string     `json:"acct_session_id"`
	MAC           string     `json:"mac,omitempty"`
	PrivateMAC    bool       `json:"private_mac" doc:"The device changes its address; it can come back as new."`
	IP            string     `json:"ip,omitempty"`
	State         string     `json:"state" enum:"reserved,live,suspect,closed" doc:"live: accounting says that it is open; suspect: only accounting from before its router restarted does. Sessions that only a router's own list knows do not reach the cloud."`
	StartedAt     *time.Time `json:"started_at,omitempty" doc:"By the site's clock."`
	HeardAt       *time.Time `json:"heard_at,omitempty" doc:"Last accounting record, by the site's clock."`
	AsOf          *time.Time `json:"as_of,omitempty" doc:"When the figures were recorded: heard_at by the cloud's clock."`
	DataAgeS      *float64   `json:"data_age_s,omitempty" doc:"Seconds since as_of."`
	EndedAt       *time.Time `json:"ended_at,omitempty"`
	TimeS         int64      `json:"time_s" doc:"Acct-Session-Time as last received."`
	Upload        uint64     `json:"upload" doc:"Bytes the guest sent."`
	Download      uint64     `json:"download" doc:"Bytes the guest received."`
	Cause         string     `json:"cause,omitempty" doc:"Why it ended."`
	Rate          *string    `json:"rate,omitempty" doc:"Speed the device has, upload/download, as the site reported it; empty is no limit, absent is not reported."`
	Change        *apiChange `json:"change,omitempty" doc:"What became of the last change of the session under way."`
}

type apiChange struct {
	Wanted  string     `json:"wanted" doc:"Speed that was wanted; empty is no limit."`
	Outcome string     `json:"outcome" enum:"applied,acknowledged,next_login,reconnect,pending" doc:"applied is read back from the router; acknowledged is not; next_login: this session goes on as it is; reconnect: it was ended so that the guest logs in anew."`
	Code    string     `json:"code,omitempty" doc:"Condition that kept it from the session."`
	Detail  string     `json:"detail,omitempty"`
	At      *time.Time `json:"at,omitempty" doc:"By the site's clock."`
}

func toAPISession(s hotspot.Session, now time.Time, hide bool) apiSession {
	a := apiSession{ID: string(s.ID), Account: string(s.Account), Username: s.Username, NAS: string(s.NAS), AcctSessionID: string(s.AcctSessionID),
		MAC: s.MAC.String(), PrivateMAC: !s.MAC.IsZero() && s.MAC.Private(), State: string(s.State), StartedAt: moment(s.StartedAt),
		HeardAt: moment(s.HeardAt), AsOf: moment(asOf(s.AsOf, now)), DataAgeS: since(s.AsOf, now), EndedAt: moment(s.EndedAt), TimeS: seconds(s.Time), Upload: uint64(s.Upload), Download: uint64(s.Download), Cause: s.Cause}
	if s.IP.IsValid() {
		a.IP = s.IP.String()
	}
	if s.Rate != nil {
		rate := s.Rate.String()
		a.Rate = &rate
	}
	if c := s.Changed; c != nil {
		a.Change = &apiChange{c.Want.Rate.String(), string(c.Outcome), c.Code, c.Detail, moment(c.At)}
	}
	if hide {
		a.Username, a.MAC, a.IP = mask(s.Username), s.MAC.Masked(), ""
	}
	return a
}

func toAPIAccount(g hotspot.Guest, now time.Time, hide bool) apiAccount {
	a := apiAccount{ID: string(g.Account.ID), Site: string(g.Site), Kind: string(g.Account.Kind), Username: g.Account.Username,
		Note: g.Account.Note, Lock: toAPILock(g.Lock), Sessions: []apiSession{}, DataAgeS: since(g.SeenAt, now),
		AtSite: g.Applied >= g.PassRevision}
	if hide {
		a.Username, a.Note = mask(a.Username), ""
	}
	for _, s := range g.Sessions {
		a.Sessions = append(a.Sessions, toAPISession(s, now, hide))
	}
	if p := g.Pass; p != nil {
		a.Plan = &apiPlanName{string(p.Plan), p.PlanName}
		a.Pass = &apiPass{TimeUsedS: seconds(p.Usage.Time), Upload: uint64(p.Usage.Upload), Download: uint64(p.Usage.Download),
			AsOf: moment(asOf(g.UsageAsOf, now)), DataAgeS: since(g.UsageAsOf, now), FirstUsed: moment(p.Usage.FirstUsed), ValidFrom: moment(p.ValidFrom), ValidUntil: moment(p.ValidUntil), Limits: toAPILimits(p.Limits)}
		if left, limited := timeLeft(p, now); limited {
			whole := seconds(left)
			a.Pass.TimeLeftS = &whole
		}
	}
	return a
}

type apiMoney struct {
	Minor    int64  `json:"minor" minimum:"0" doc:"In the minor unit: 250 is 2.50 EUR."`
	Currency string `json:"currency" pattern:"^[A-Z]{3}$" doc:"ISO 4217."`
}

type apiPlan struct {
	ID     string    `json:"id"`
	Name   string    `json:"name"`
	Price  apiMoney  `json:"price"`
	Limits apiLimits `json:"limits"`
}

func toAPIPlan(p hotspot.Plan) apiPlan {
	return apiPlan{string(p.ID), p.Name, apiMoney{p.Price.Minor, p.Price.Currency}, toAPILimits(p.Limits)}
}

type apiAgent struct {
	ID          string     `json:"id"`
	Site        string     `json:"site"`
	Host        string     `json:"host"`
	Version     string     `json:"version"`
	CheckNumber string     `json:"check_number" doc:"Compare with what the box shows before confirming it."`
	Confirmed   bool       `json:"confirmed"`
	EnrolledAt  *time.Time `json:"enrolled_at,omitempty"`
	RetiredAt   *time.Time `json:"retired_at,omitempty" doc:"Absent while it is in force."`
	LeftAt      *time.Time `json:"left_at,omitempty" doc:"When the box said that it gave its identity up; it is retired by that."`
}

func toAPIAgent(a hotspot.Agent) apiAgent {
	return apiAgent{string(a.ID), string(a.Site), a.Host, a.Version, a.CheckNumber, a.Confirmed, moment(a.EnrolledAt), moment(a.RetiredAt), moment(a.LeftAt)}
}

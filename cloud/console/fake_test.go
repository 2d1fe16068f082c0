package console

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/webui"
	"iwas/internal/wire"
)

var noon = time.Date(2026, 11, 24, 14, 2, 9, 0, time.UTC)

// fakeCloud is a store and a fleet in memory. Its locks stand where the test
// puts them: a lock by the fake is sent, and nothing more happens by itself.
type fakeCloud struct {
	mu        sync.Mutex
	operators map[string]hotspot.Operator // by e-mail
	hash      string                      // of everybody's password
	sessions  map[string]string           // token hash to e-mail
	tokens    map[string]string
	failed    map[string]hotspot.FailedSignIns // by e-mail
	sites     []hotspot.SiteStatus
	plans     []hotspot.Plan
	guests    []hotspot.Guest
	agents    []hotspot.Agent
	codes     []hotspot.EnrolmentCode // of the site main
	grants    []hotspot.GrantStatus
	commands  []hotspot.Command
	setups    map[string]wire.RouterDoc               // by site and router
	past      map[hotspot.AccountID][]hotspot.Session // that ended
	later     time.Duration                           // than noon it is
	fail      error                                   // answered by every change, when set
	calls     []string
	onces     map[string]hotspot.Once  // by key
	tries     map[string]hotspot.Tries // by key
}

func (f *fakeCloud) BeginOnce(_ context.Context, key, body []byte, _ time.Duration) (hotspot.Once, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if o, known := f.onces[string(key)]; known {
		return o, nil
	}
	if f.onces == nil {
		f.onces = map[string]hotspot.Once{}
	}
	f.onces[string(key)] = hotspot.Once{Body: body}
	return hotspot.Once{First: true}, nil
}

func (f *fakeCloud) EndOnce(_ context.Context, key, answer []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	o := f.onces[string(key)]
	o.Answer = answer
	f.onces[string(key)] = o
	return nil
}

func (f *fakeCloud) ForgetOnce(_ context.Context, key []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.onces, string(key))
	return nil
}

func (f *fakeCloud) ChangeTries(_ context.Context, _ []string, _ time.Duration, change func(map[string]hotspot.Tries)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.tries == nil {
		f.tries = map[string]hotspot.Tries{}
	}
	change(f.tries)
	return nil
}

const ownerPassword = "correct horse battery staple"

func operator(role hotspot.Role, org string) hotspot.Operator {
	return hotspot.Operator{ID: "op-" + string(role) + "-" + org, Organization: hotspot.OrganizationID(org),
		Email: string(role) + "@" + org + ".example", Name: string(role), Role: role}
}

// ownerHash costs what a sign-in costs, so it is made once.
var ownerHash = sync.OnceValues(func() (string, error) { return webui.HashPassword(context.Background(), ownerPassword) })

func newFake(t testing.TB) *fakeCloud {
	t.Helper()
	hash, err := ownerHash()
	if err != nil {
		t.Fatal(err)
	}
	f := &fakeCloud{operators: map[string]hotspot.Operator{}, hash: hash, sessions: map[string]string{}, tokens: map[string]string{}}
	for _, op := range []hotspot.Operator{operator(hotspot.Owner, "cafe"), operator(hotspot.Manager, "cafe"), operator(hotspot.Cashier, "cafe"),
		operator(hotspot.Technician, "cafe"), operator(hotspot.Owner, "rival")} {
		f.operators[op.Email] = op
		f.tokens[hex.EncodeToString(tokenHash("iwas_"+string(op.Role)+string(op.Organization)))] = op.Email
	}
	site := func(id, name string, p hotspot.Presence, heard time.Duration) hotspot.SiteStatus {
		st := hotspot.SiteStatus{Site: hotspot.Site{ID: hotspot.SiteID(id), Organization: "cafe", Name: name, TimeZone: "Europe/Berlin", Currency: "EUR", Language: "en"},
			Presence: p, Revision: 41, Applied: 41, AgentVersion: "1.2.0"}
		if heard > 0 {
			st.HeardAt = noon.Add(-heard)
			st.RouterSeenAt = noon.Add(-heard - time.Second)
		}
		return st
	}
	main, harbour, fresh := site("main", "Main Street", hotspot.Online, 12*time.Second), site("harbour", "Harbour", hotspot.Lost, 38*time.Minute), site("fresh", "Old Town", hotspot.Never, 0)
	main.SessionsOpen, main.LocksOpen, harbour.LocksOpen, harbour.SessionsOpen, harbour.Backlog = 3, 1, 1, 2, 0
	rival := site("rival", "Rival", hotspot.Online, time.Second)
	rival.Site.Organization = "rival"
	cpu, memory, heat, up, down, sent, used, size, foreign, lasts := 7, 32, 61.5, true, hotspot.Rate(23_400_000), hotspot.Rate(0), 61, 245, 2, 76*time.Hour
	offline := false
	main.Routers = []hotspot.RouterHealth{{NAS: "counter", Name: "Counter", At: noon.Add(-40 * time.Second), Uptime: &lasts, CPU: &cpu, Memory: &memory, Celsius: &heat, WANUp: &up, Down: &down, Up: &sent,
		PoolUsed: &used, PoolSize: &size, Foreign: &foreign}, {NAS: "attic"}}
	harbour.Outage = &hotspot.Outage{Code: "CLD-101", Text: "mqtt: connect to cloud.example:8883: dial tcp 203.0.113.9:8883: i/o timeout", Since: noon.Add(-38 * time.Minute), At: noon.Add(-4 * time.Minute)}
	harbour.CopyAt = noon.Add(-3 * time.Hour)
	harbour.Routers = []hotspot.RouterHealth{{NAS: "pier", At: noon.Add(-39 * time.Minute), WANUp: &offline}}
	f.sites = []hotspot.SiteStatus{main, harbour, fresh, rival}
	f.plans = []hotspot.Plan{
		{ID: "hour", Name: "One hour", Price: hotspot.Money{Minor: 250, Currency: "EUR"}, Limits: hotspot.Limits{Time: time.Hour, Clock: hotspot.Metered, Validity: 30 * 24 * time.Hour, Rate: rate(2, 10), Devices: 1}},
		{ID: "day", Name: "Day pass", Price: hotspot.Money{Minor: 600, Currency: "EUR"}, Limits: hotspot.Limits{Time: 24 * time.Hour, Clock: hotspot.Continuous, Rate: rate(5, 20), Download: 5_000_000_000, Devices: 2}},
		{ID: "staff", Name: "Staff", Limits: hotspot.Limits{Devices: 3, IdleTimeout: 10 * time.Minute, AddressLists: []string{"staff", "printers"},
			Hours: hotspot.Hours{{Days: 0b0111110, Begin: 8 * 60, End: 16 * 60}, {Days: 0b1000001, Begin: 22 * 60, End: 2 * 60}}, Total: 20_000_000_000, Swap: hotspot.SwapMove,
			Rate:     hotspot.RateLimit{Max: rate(2, 10).Max, Burst: rate(4, 20).Max},
			SlowRate: rate(1, 1)}},
	}
	f.guests = guestsOf(f.plans)
	f.agents = []hotspot.Agent{
		{ID: "agentnew1", Site: "main", Host: "minipc-2", Version: "1.2.0", CheckNumber: "482 913", EnrolledAt: noon.Add(-40 * time.Second)},
		{ID: "agent1234", Site: "main", Host: "minipc", Version: "1.2.0", CheckNumber: "110 226", Confirmed: true, EnrolledAt: noon.Add(-50 * 24 * time.Hour),
			CertificateUntil: noon.Add(315 * 24 * time.Hour), CopyAt: noon.Add(-3 * time.Minute)},
		{ID: "agentold1", Site: "main", Host: "minipc", Version: "1.0.3", CheckNumber: "771 002", Confirmed: true, EnrolledAt: noon.Add(-400 * 24 * time.Hour), RetiredAt: noon.Add(-50 * 24 * time.Hour)},
		{ID: "agentleft", Site: "harbour", Host: "pier-box", Version: "1.2.0", CheckNumber: "300 114", Confirmed: true, EnrolledAt: noon.Add(-90 * 24 * time.Hour), RetiredAt: noon.Add(-time.Hour), LeftAt: noon.Add(-time.Hour)},
		{ID: "agentrival", Site: "rival", Host: "theirs", CheckNumber: "1", EnrolledAt: noon},
	}
	f.codes = []hotspot.EnrolmentCode{{ID: "c0de", By: "owner@cafe.example", CreatedAt: noon.Add(-9 * time.Minute), ExpiresAt: noon.Add(51 * time.Minute),
		Wrong: 4, WrongAt: noon.Add(-time.Minute), WrongFrom: "203.0.113.0/24"}}
	f.grants = grantsOfFake()
	f.setupsOfFake()
	return f
}

func rate(up, down hotspot.Rate) hotspot.RateLimit {
	return hotspot.RateLimit{Max: hotspot.Pair[hotspot.Rate]{Upload: up * 1_000_000, Download: down * 1_000_000}}
}

func step(name, machine string, at time.Time, took time.Duration, detail string) hotspot.LockStep {
	return hotspot.LockStep{Name: name, Machine: machine, At: at, Took: took, OK: true, Detail: detail}
}

// lockAt makes a lock that has come as far as state.
func lockAt(state hotspot.LockState) hotspot.LockStatus {
	t := noon.Add(-2 * time.Minute)
	l := hotspot.LockStatus{State: state, Lock: &hotspot.Lock{By: "owner@cafe.example", Reason: "Not paid", At: t, Revision: 41},
		Steps: []hotspot.LockStep{step("requested", "cloud", t, 0, "")}}
	if state == hotspot.LockRequested || state == hotspot.LockWaiting {
		return l
	}
	l.Steps = append(l.Steps, step("sent", "cloud", t.Add(4*time.Millisecond), 0, ""))
	if state == hotspot.LockSent {
		return l
	}
	l.Steps = append(l.Steps, step("received", "site", t.Add(20*time.Millisecond), 0, ""))
	if state == hotspot.LockReceived {
		return l
	}
	l.Method = "disconnect"
	l.Steps = append(l.Steps, step(hotspot.StepCookies, "site", t.Add(22*time.Millisecond), 2*time.Millisecond, "2 cookies removed"),
		step(hotspot.StepDisconnect, "site", t.Add(25*time.Millisecond), 3*time.Millisecond, "Disconnect-ACK in 3 ms"),
		step(hotspot.StepConnections, "site", t.Add(30*time.Millisecond), 5*time.Millisecond, "14 connections dropped"),
		step(hotspot.StepReadBack, "site", t.Add(36*time.Millisecond), 6*time.Millisecond, "no entry, no cookie, no connection"),
		step(string(state), "site", t.Add(37*time.Millisecond), 17*time.Millisecond, ""))
	if state == hotspot.LockLeaks {
		l.Code = "RTR-301"
	}
	for i := range l.Steps {
		l.Steps[i].Order = i + 1
	}
	return l
}

// lockReopened makes a lock that had been proven and is open again.
func lockReopened(state hotspot.LockState) hotspot.LockStatus {
	l := lockAt(hotspot.LockEnforced)
	l.State, l.Code = state, "HSP-101"
	read := &l.Steps[len(l.Steps)-2]
	read.OK, read.At, read.Detail = false, noon.Add(-20*time.Second), "AC:DE:48:··:··:·· is on the list again"
	l.Reopened = &hotspot.Reopened{Was: hotspot.LockEnforced, WasAt: l.Steps[len(l.Steps)-1].At, Since: noon.Add(-20 * time.Second)}
	l.Steps = l.Steps[:len(l.Steps)-1]
	return l
}

func guestsOf(plans []hotspot.Plan) []hotspot.Guest {
	pass := func(p hotspot.Plan, used time.Duration, up, down hotspot.Octets) *hotspot.Pass {
		v := &hotspot.Pass{ID: "pass", Plan: p.ID, PlanName: p.Name, Limits: p.Limits, Usage: hotspot.Usage{Time: used, Upload: up, Download: down}}
		if used > 0 {
			v.Usage.FirstUsed = noon.Add(-used - 10*time.Minute)
		}
		return v
	}
	session := func(mac string, state hotspot.SessionState, up, down hotspot.Octets) hotspot.Session {
		m, _ := hotspot.ParseMAC(mac)
		return hotspot.Session{ID: hotspot.SessionID("s" + mac), NAS: "router", AcctSessionID: "80000001", Username: "mara", MAC: m,
			IP: netip.MustParseAddr("10.5.50.21"), State: state, StartedAt: noon.Add(-31 * time.Minute), HeardAt: noon.Add(-40 * time.Second), AsOf: noon.Add(-40 * time.Second),
			Time: 30 * time.Minute, Upload: up, Download: down}
	}
	g := func(id, site string, kind hotspot.AccountKind, name, note string, p *hotspot.Pass, l hotspot.LockStatus, ss ...hotspot.Session) hotspot.Guest {
		return hotspot.Guest{Site: hotspot.SiteID(site), Account: hotspot.Account{ID: hotspot.AccountID(id), Kind: kind, Username: name, Note: note},
			Pass: p, Lock: l, Sessions: ss, SeenAt: noon.Add(-12 * time.Second), UsageAsOf: usedAsOf(p)}
	}
	none := hotspot.LockStatus{State: hotspot.LockNone}
	return []hotspot.Guest{
		g("mara", "main", hotspot.User, "mara", "Table 4", pass(plans[1], 47*time.Minute, 48_200_000, 1_234_000_000), none,
			session("02:AB:CD:12:34:56", hotspot.Live, 31_000_000, 900_000_000), session("AC:DE:48:00:11:22", hotspot.Suspect, 1_000_000, 20_000_000)),
		g("code", "main", hotspot.Voucher, "K7QM-PDXW", "", pass(plans[0], 0, 0, 0), none),
		g("enforced", "main", hotspot.User, "sam", "", pass(plans[0], 20*time.Minute, 5_000_000, 80_000_000), lockAt(hotspot.LockEnforced)),
		g("sent", "main", hotspot.User, "noor", "", pass(plans[1], time.Hour, 10_000, 70_000_000), lockAt(hotspot.LockSent), session("AC:DE:48:00:11:23", hotspot.Live, 5_000, 9_000_000)),
		g("received", "main", hotspot.User, "ivo", "", pass(plans[1], time.Hour, 10_000, 70_000_000), lockAt(hotspot.LockReceived)),
		g("leaks", "main", hotspot.User, "lea", "", pass(plans[1], time.Hour, 10_000, 70_000_000), lockAt(hotspot.LockLeaks)),
		g("unproven", "main", hotspot.User, "tom", "", pass(plans[1], time.Hour, 10_000, 70_000_000), lockAt(hotspot.LockUnproven)),
		g("tv", "main", hotspot.Device, "AC:DE:48:00:99:01", "Screen over the counter", pass(plans[2], 100*time.Hour, 900_000, 70_000_000_000), none, session("AC:DE:48:00:99:01", hotspot.Live, 900_000, 3_000_000_000)),
		g("waiting", "harbour", hotspot.User, "rafa", "", pass(plans[1], time.Hour, 10_000, 70_000_000), lockAt(hotspot.LockWaiting)),
		g("reopened", "main", hotspot.User, "ada", "", pass(plans[1], time.Hour, 10_000, 70_000_000), lockReopened(hotspot.LockReceived), session("AC:DE:48:00:11:24", hotspot.Live, 5_000, 9_000_000)),
		g("reopened-lost", "harbour", hotspot.User, "pia", "", pass(plans[1], time.Hour, 10_000, 70_000_000), lockReopened(hotspot.LockWaiting)),
		g("theirs", "rival", hotspot.User, "secret-guest", "", pass(plans[0], 0, 0, 0), none),
	}
}

// usedAsOf is when what a pass has used was recorded: not at all while unused.
func usedAsOf(p *hotspot.Pass) time.Time {
	if p.Usage.Time == 0 {
		return time.Time{}
	}
	return noon.Add(-40 * time.Second)
}

func (f *fakeCloud) now() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return noon.Add(f.later)
}

func gone(what string) error {
	return fault.New(fault.NotFound, "fake: "+what, errors.New("no such "+what))
}

func (f *fakeCloud) OperatorByEmail(_ context.Context, email string) (hotspot.Operator, string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	op, ok := f.operators[strings.ToLower(email)]
	if !ok {
		return op, "", gone("operator")
	}
	return op, f.hash, nil
}

func (f *fakeCloud) by(m map[string]string, hash []byte) (hotspot.Operator, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	op, ok := f.operators[m[hex.EncodeToString(hash)]]
	if !ok {
		return op, gone("token")
	}
	return op, nil
}

func (f *fakeCloud) OperatorBySession(_ context.Context, hash []byte) (hotspot.Operator, error) {
	return f.by(f.sessions, hash)
}

func (f *fakeCloud) OperatorByToken(_ context.Context, hash []byte) (hotspot.Operator, error) {
	return f.by(f.tokens, hash)
}

func (f *fakeCloud) CreateOperatorSession(_ context.Context, id string, hash []byte, _ time.Time) (failed hotspot.FailedSignIns, _ error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for email, op := range f.operators {
		if op.ID == id {
			f.sessions[hex.EncodeToString(hash)] = email
			failed = f.failed[email]
			delete(f.failed, email)
		}
	}
	return failed, nil
}

func (f *fakeCloud) NoteFailedSignIn(_ context.Context, email, from string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failed == nil {
		f.failed = map[string]hotspot.FailedSignIns{}
	}
	f.failed[email] = hotspot.FailedSignIns{Count: f.failed[email].Count + 1, LastAt: noon, LastFrom: from}
	return nil
}

func (f *fakeCloud) DeleteOperatorSession(_ context.Context, hash []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.sessions, hex.EncodeToString(hash))
	return nil
}

func (f *fakeCloud) Sites(_ context.Context, org hotspot.OrganizationID) (out []hotspot.SiteStatus, _ error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, st := range f.sites {
		if st.Site.Organization == org {
			out = append(out, st)
		}
	}
	return out, nil
}

func (f *fakeCloud) Site(ctx context.Context, org hotspot.OrganizationID, id hotspot.SiteID) (hotspot.SiteStatus, error) {
	sites, _ := f.Sites(ctx, org)
	for _, st := range sites {
		if st.Site.ID == id {
			return st, nil
		}
	}
	return hotspot.SiteStatus{}, gone("site")
}

func (f *fakeCloud) Plans(_ context.Context, org hotspot.OrganizationID) ([]hotspot.Plan, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if org != "cafe" {
		return nil, nil
	}
	return slices.Clone(f.plans), nil
}

func (f *fakeCloud) CreatePlan(_ context.Context, _ hotspot.Operator, p hotspot.Plan) (hotspot.Plan, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail != nil {
		return p, f.fail
	}
	p.ID = hotspot.PlanID(fmt.Sprintf("plan%d", len(f.plans)))
	f.plans = append(f.plans, p)
	return p, nil
}

func (f *fakeCloud) Guests(ctx context.Context, org hotspot.OrganizationID, site hotspot.SiteID, query string, limit int, after string) (out []hotspot.Guest, next string, err error) {
	if _, err := f.Site(ctx, org, site); err != nil {
		return nil, "", err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	skipping := after != ""
	for _, g := range f.guests {
		if g.Site != site || !strings.Contains(strings.ToLower(g.Account.Username), strings.ToLower(query)) {
			continue
		}
		if skipping {
			skipping = string(g.Account.ID) != after
			continue
		}
		if len(out) == limit {
			return out, string(out[limit-1].Account.ID), nil
		}
		out = append(out, g)
	}
	return out, "", nil
}

func (f *fakeCloud) index(ctx context.Context, org hotspot.OrganizationID, id hotspot.AccountID) (int, error) {
	f.mu.Lock()
	i := slices.IndexFunc(f.guests, func(g hotspot.Guest) bool { return g.Account.ID == id })
	f.mu.Unlock()
	if i < 0 {
		return 0, gone("guest")
	}
	if _, err := f.Site(ctx, org, f.guests[i].Site); err != nil {
		return 0, gone("guest")
	}
	return i, nil
}

func (f *fakeCloud) Guest(ctx context.Context, org hotspot.OrganizationID, id hotspot.AccountID) (hotspot.Guest, error) {
	i, err := f.index(ctx, org, id)
	if err != nil {
		return hotspot.Guest{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.guests[i], nil
}

func (f *fakeCloud) Sessions(_ context.Context, _ hotspot.OrganizationID, site hotspot.SiteID, _ bool, limit int) (out []hotspot.Session, _ error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, g := range f.guests {
		if g.Site == site {
			out = append(out, g.Sessions...)
		}
	}
	return out[:min(limit, len(out))], nil
}

func (f *fakeCloud) Agents(ctx context.Context, org hotspot.OrganizationID, site hotspot.SiteID) (out []hotspot.Agent, _ error) {
	if _, err := f.Site(ctx, org, site); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range f.agents {
		if a.Site == site {
			out = append(out, a)
		}
	}
	return out, nil
}

// called notes a change and answers the planned failure.
func (f *fakeCloud) called(format string, args ...any) error {
	f.calls = append(f.calls, fmt.Sprintf(format, args...))
	return f.fail
}

func (f *fakeCloud) CreateAccount(_ context.Context, op hotspot.Operator, n hotspot.NewAccount) (hotspot.Guest, hotspot.Password, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.called("create %s %q for %s by %s", n.Kind, n.Username, n.Site, op.Role); err != nil {
		return hotspot.Guest{}, "", err
	}
	password := n.Password
	switch {
	case n.Kind == hotspot.Voucher:
		n.Username = fmt.Sprintf("ABCD-%04d", len(f.guests))
		password = hotspot.Password(n.Username)
	case n.Kind == hotspot.User && password == "":
		password = "made-up-1"
	}
	g := hotspot.Guest{Site: n.Site, Account: hotspot.Account{ID: hotspot.AccountID(fmt.Sprintf("new%d", len(f.guests))), Kind: n.Kind, Username: n.Username, Note: n.Note},
		Lock: hotspot.LockStatus{State: hotspot.LockNone}}
	f.guests = append(f.guests, g)
	return g, password, nil
}

func (f *fakeCloud) Lock(ctx context.Context, op hotspot.Operator, id hotspot.AccountID, reason string) (hotspot.Guest, error) {
	return f.setLock(ctx, op, id, "lock", reason, func() hotspot.LockStatus {
		l := lockAt(hotspot.LockSent)
		l.Lock.Reason, l.Lock.By, l.Lock.At = reason, op.Email, noon
		return l
	}())
}

func (f *fakeCloud) Unlock(ctx context.Context, op hotspot.Operator, id hotspot.AccountID, reason string) (hotspot.Guest, error) {
	return f.setLock(ctx, op, id, "unlock", reason, hotspot.LockStatus{State: hotspot.LockNone})
}

func (f *fakeCloud) SetSpeed(ctx context.Context, op hotspot.Operator, id hotspot.AccountID, r hotspot.RateLimit) (hotspot.Guest, error) {
	return f.adjust(ctx, op, id, fmt.Sprintf("speed %s %s by %s", id, r, op.Role), func(p *hotspot.Pass) { p.Limits.Rate = r })
}

func (f *fakeCloud) Extend(ctx context.Context, op hotspot.Operator, id hotspot.AccountID, d time.Duration, reason string) (hotspot.Guest, error) {
	return f.adjust(ctx, op, id, fmt.Sprintf("extend %s %s %q by %s", id, d, reason, op.Role), func(p *hotspot.Pass) { p.Limits.Time += d })
}

func (f *fakeCloud) adjust(ctx context.Context, op hotspot.Operator, id hotspot.AccountID, what string, do func(*hotspot.Pass)) (hotspot.Guest, error) {
	i, err := f.index(ctx, op.Organization, id)
	if err != nil {
		return hotspot.Guest{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.called("%s", what); err != nil {
		return hotspot.Guest{}, err
	}
	p := *f.guests[i].Pass
	do(&p)
	f.guests[i].Pass, f.guests[i].PassRevision = &p, 42
	return f.guests[i], nil
}

func (f *fakeCloud) setLock(ctx context.Context, op hotspot.Operator, id hotspot.AccountID, what, reason string, l hotspot.LockStatus) (hotspot.Guest, error) {
	i, err := f.index(ctx, op.Organization, id)
	if err != nil {
		return hotspot.Guest{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.called("%s %s %q by %s", what, id, reason, op.Role); err != nil {
		return hotspot.Guest{}, err
	}
	f.guests[i].Lock = l
	return f.guests[i], nil
}

func (f *fakeCloud) CreateSite(_ context.Context, op hotspot.Operator, s hotspot.Site) (hotspot.Site, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.called("site %q", s.Name); err != nil {
		return s, err
	}
	s.ID, s.Organization = hotspot.SiteID(fmt.Sprintf("site%d", len(f.sites))), op.Organization
	f.sites = append(f.sites, hotspot.SiteStatus{Site: s, Presence: hotspot.Never})
	return s, nil
}

func (f *fakeCloud) NewEnrolmentCode(_ context.Context, _ hotspot.Operator, site hotspot.SiteID) (string, time.Time, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.codes = append(f.codes, hotspot.EnrolmentCode{ID: fmt.Sprintf("made%d", len(f.codes)), By: "owner@cafe.example", CreatedAt: noon, ExpiresAt: noon.Add(time.Hour)})
	return "W4HK-72PM", noon.Add(time.Hour), f.called("code for %s", site)
}

func (f *fakeCloud) EnrolmentCodes(ctx context.Context, org hotspot.OrganizationID, site hotspot.SiteID) ([]hotspot.EnrolmentCode, error) {
	if _, err := f.Site(ctx, org, site); err != nil || site != "main" {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.codes), nil
}

func (f *fakeCloud) RevokeEnrolmentCode(ctx context.Context, op hotspot.Operator, site hotspot.SiteID, id string) error {
	if _, err := f.Site(ctx, op.Organization, site); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.codes = slices.DeleteFunc(f.codes, func(c hotspot.EnrolmentCode) bool { return c.ID == id })
	return f.called("revoke code %s", id)
}

func (f *fakeCloud) ConfirmAgent(ctx context.Context, op hotspot.Operator, id hotspot.AgentID) error {
	return f.setAgent(ctx, op, "confirm", id, func(a *hotspot.Agent) { a.Confirmed = true })
}

func (f *fakeCloud) RevokeAgent(ctx context.Context, op hotspot.Operator, id hotspot.AgentID) error {
	return f.setAgent(ctx, op, "revoke", id, func(a *hotspot.Agent) { a.RetiredAt = noon })
}

func (f *fakeCloud) setAgent(ctx context.Context, op hotspot.Operator, what string, id hotspot.AgentID, change func(*hotspot.Agent)) error {
	for i := range f.agents {
		if f.agents[i].ID == id {
			if _, err := f.Site(ctx, op.Organization, f.agents[i].Site); err != nil {
				return gone("box")
			}
			f.mu.Lock()
			defer f.mu.Unlock()
			change(&f.agents[i])
			return f.called("%s %s", what, id)
		}
	}
	return gone("box")
}

package router

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"iwas/internal/condition"
	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/routeros"
	"iwas/internal/secret"
)

// Check is one look at everything between this box and a router: can it be
// reached, may we do what we must, is it set up for us, does RADIUS work. It
// changes nothing that lasts: one entry of an address-list of its own, which
// ends within a minute even if we do.
type Check struct {
	NAS hotspot.NASID
	API routeros.Options // without URL there is no API: only RADIUS is looked at
	Box Box
	// RADIUS knows that side; nil: nobody was asked.
	RADIUS   Witness
	Now      func() time.Time
	Progress func(done, of int) // called as rows come in, one call at a time; may be nil

	wrap func(routeros.Conn) routeros.Conn // of tests; nil wraps nothing
}

// Box is what the router should know of this box.
type Box struct {
	Address    netip.Addr // in its /radius entry; invalid: the one our connections come from
	Auth, Acct uint16     // UDP ports we listen on
	CoA        uint16     // UDP port of its /radius/incoming that we ask
	Secret     secret.Value
}

// Witness knows the RADIUS side of a router.
type Witness interface {
	// Heard returns what the router's packets have shown; an error when that is
	// not known, such as when the service does not run.
	Heard(ctx context.Context, nas hotspot.NASID) (Heard, error)
	Disconnector
}

// Heard is what the packets of a router have shown since the service started.
type Heard struct {
	ProvenAt    time.Time // of the last that proved the shared secret; zero: none
	Previous    bool      // and that was the secret before the last change
	BadSecret   string    // what met silence because of the secret, for people; "" is nothing
	BadSecretAt time.Time
	Strangers   []netip.Addr // that asked lately and are no router of ours: one may be this one
}

const (
	probeTime  = 3 * time.Second  // of each probe
	checkTime  = 12 * time.Second // of all: a router that hangs on everything included
	checkLanes = 5                // connections to the router at once
	restLanes  = 3                // over REST: some versions keep a row of /user/active for each for ever (facts.md §2)
)

// point is one row of a check; its place in points is its place in the table,
// and what stands before may be needed by what follows.
type point struct{ probe, title string }

var points = []point{
	{"dns", "Name of the router"}, {"tcp", "Connection"}, {"tls", "Certificate"}, {"login", "Login"},
	{"rights", "Rights of the service user"}, {"version", "RouterOS version"}, {"device-mode", "Device-mode"},
	{"service", "Limits of the API service"}, {"clock", "Clock of the router"}, {"license", "License"},
	{"hotspot", "HotSpot server"}, {"hotspot-profile", "HotSpot profile"}, {"user-profile", "User profile"},
	{"radius", "RADIUS entry"}, {"radius-secret", "RADIUS secret"}, {"radius-counters", "RADIUS counters of the router"},
	{"radius-incoming", "Incoming RADIUS"}, {"disconnect", "Disconnect-Request"},
	{"fasttrack", "Fasttrack past the HotSpot"}, {"ipv6", "IPv6 past the HotSpot"}, {"bindings", "Bypassed bindings"}, {"trial", "Trial logins"},
	{"walled-garden", "Walled garden"},
	{"address-list-read", "Reading address-lists"}, {"address-list-write", "Writing address-lists"},
	{"debug-log", "Debug log of RADIUS"},
}

// job is what one probe asks; it fills one row or several that come of one look.
type job struct {
	rows []string
	do   func(a *asker, ctx context.Context) error
}

// jobs are asked side by side once the router let us in. Those that write, and a
// monitor, which some versions leave unanswered, come last: over REST a call
// that hangs holds back what is asked after it (facts.md §2).
var jobs = []job{
	{[]string{"rights"}, (*asker).rights},
	{[]string{"version"}, (*asker).version},
	{[]string{"device-mode"}, (*asker).deviceMode},
	{[]string{"service"}, (*asker).service},
	{[]string{"hotspot", "hotspot-profile"}, (*asker).hotspot},
	{[]string{"user-profile"}, (*asker).userProfile},
	{[]string{"radius-incoming"}, (*asker).incoming},
	{[]string{"clock"}, (*asker).clock},
	{[]string{"license"}, (*asker).license},
	{[]string{"fasttrack", "ipv6", "trial", "walled-garden"}, (*asker).ways},
	{[]string{"bindings"}, (*asker).bindings},
	{[]string{"debug-log"}, (*asker).debugLog},
	{[]string{"address-list-read", "address-list-write"}, (*asker).addressList},
	{[]string{"radius", "radius-counters"}, (*asker).radius},
}

// sheet is a check being filled in.
type sheet struct {
	mu       sync.Mutex
	rows     map[string]condition.CheckRow
	progress func(done, of int)
}

func newSheet(progress func(done, of int)) *sheet {
	return &sheet{rows: map[string]condition.CheckRow{}, progress: progress}
}

// set keeps a row; the first of a probe stays.
func (s *sheet) set(r condition.CheckRow) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, there := s.rows[r.Probe]; !there {
		for _, p := range points {
			if p.probe == r.Probe {
				r.Title = p.title
			}
		}
		s.rows[r.Probe] = r
	}
	if s.progress != nil {
		s.progress(len(s.rows), len(points))
	}
}

// more adds a row that not every check has.
func (s *sheet) get(probe string) (condition.CheckRow, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.rows[probe]
	return r, ok
}

// report returns the rows in order. One that nobody came to is late.
func (s *sheet) report() []condition.CheckRow {
	out := make([]condition.CheckRow, 0, len(points))
	for _, p := range points {
		r, ok := s.get(p.probe)
		if !ok {
			r = condition.CheckRow{Probe: p.probe, Title: p.title, State: condition.Unknown, Code: CodeSlow, Late: true, Seen: "it was not come to: others took all the time"}
		}
		out = append(out, r.Explained())
	}
	return out
}

// Run makes the check. It ends within checkTime and a little, whatever the
// router does. Over REST a call that is late is left to finish: ask API.Pace.
func (c Check) Run(ctx context.Context) condition.CheckReport {
	begun := time.Now()
	if c.Now == nil {
		c.Now = time.Now
	}
	r := condition.CheckReport{Version: condition.CheckVersion, Subject: string(c.NAS), At: c.Now()}
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	if c.API.Pace == nil {
		c.API.Pace = new(routeros.Pace)
	}
	s := newSheet(c.Progress)
	var side sync.WaitGroup
	side.Go(func() { c.disconnect(ctx, s) })
	heard := make(chan whatHeard, 1)
	side.Go(func() { heard <- c.hear(ctx) })
	seen := &glimpse{address: c.Box.Address}
	if conn := c.door(ctx, s, seen); conn != nil {
		c.ask(ctx, conn, s, seen)
	}
	side.Wait()
	c.secret(s, seen, <-heard)
	r.Rows = s.report()
	r.Took = time.Since(begun)
	r.Judge()
	return r
}

// glimpse is what one probe saw and another needs.
type glimpse struct {
	mu       sync.Mutex
	address  netip.Addr // ours, as the router sees it
	readBack *secret.Value
}

// ours returns this box's address in the router's /radius.
func (g *glimpse) ours() netip.Addr {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.address
}

// ask runs the jobs over a few connections, of which first is open already. One
// that cannot be opened leaves its jobs to the others.
func (c Check) ask(ctx context.Context, first routeros.Conn, s *sheet, seen *glimpse) {
	queue := make(chan job, len(jobs))
	for _, j := range jobs {
		queue <- j
	}
	close(queue)
	var lanes sync.WaitGroup
	n := checkLanes
	if d, err := routeros.DoorOf(c.API.URL); err == nil && d.REST {
		n = restLanes
	}
	for i := range n {
		l := newLink(func(ctx context.Context) (routeros.Conn, error) { return c.dial(ctx) })
		if i == 0 {
			l.conn = first
		}
		lanes.Go(func() {
			defer l.close()
			if i > 0 && l.open(ctx) != nil {
				return // the service may allow few sessions: the row "service" says so
			}
			for j := range queue {
				c.one(ctx, j, l, s, seen)
			}
		})
	}
	lanes.Wait()
}

// open dials unless it is connected already.
func (l *link) open(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	l.turn <- struct{}{}
	defer func() { <-l.turn }()
	return l.connect(ctx)
}

// forgive lets the next command dial at once: the pause after a failed dial would
// let one lane burn through all the jobs that are left.
func (l *link) forgive() {
	l.turn <- struct{}{}
	defer func() { <-l.turn }()
	l.retryAt = time.Time{}
}

func (c Check) dial(ctx context.Context) (routeros.Conn, error) {
	o := c.API
	o.Timeout, o.RunTimeout = probeTime, probeTime
	conn, err := routeros.Dial(ctx, o)
	if err == nil && c.wrap != nil {
		conn = c.wrap(conn)
	}
	return conn, err
}

// one runs a job within its time and fills the rows it did not fill itself.
func (c Check) one(ctx context.Context, j job, l *link, s *sheet, seen *glimpse) {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	l.forgive()
	a := &asker{Check: c, l: l, s: s, seen: seen, begun: time.Now()}
	err := j.do(a, ctx)
	if err == nil {
		return
	}
	for _, probe := range j.rows {
		a.failed(probe, err)
	}
}

// asker is one job at work.
type asker struct {
	Check
	l     *link
	s     *sheet
	seen  *glimpse
	begun time.Time
}

func (a *asker) set(r condition.CheckRow) {
	r.Took = time.Since(a.begun)
	a.s.set(r)
}

// good fills a row that is as it should be.
func (a *asker) good(probe, format string, args ...any) {
	a.set(condition.CheckRow{Probe: probe, State: condition.OK, Seen: fmt.Sprintf(format, args...)})
}

// print reads a menu.
func (a *asker) print(ctx context.Context, menu, properties string, query ...string) ([]routeros.Row, error) {
	words := []string{menu + "/print"}
	if properties != "" {
		words = append(words, "=.proplist="+properties)
	}
	return a.l.do(ctx, append(words, query...)...)
}

// single reads a menu of one row, which must have a property.
func (a *asker) single(ctx context.Context, menu, property string) (routeros.Row, error) {
	rows, err := a.print(ctx, menu, "")
	if err != nil {
		return nil, err
	}
	if len(rows) != 1 || rows[0][property] == "" {
		return nil, oddAnswer{menu, fmt.Sprintf("%d rows, and %q is in none of them", len(rows), property)}
	}
	return rows[0], nil
}

// oddAnswer is an answer that is not one to the question.
type oddAnswer struct{ menu, why string }

func (o oddAnswer) Error() string { return o.menu + "/print: " + o.why }

// failed fills a row that could not be found out, telling the reasons apart.
func (a *asker) failed(probe string, err error) {
	a.set(failure(probe, err, a.API.URL))
}

func failure(probe string, err error, url string) condition.CheckRow {
	r := condition.CheckRow{Probe: probe, State: condition.Unknown, Code: fault.Code(err), Seen: plain(err), Next: fault.Hint(err)}
	var odd oddAnswer
	switch reason := routeros.ReasonOf(err); {
	case errors.As(err, &odd):
		r.State, r.Code, r.Next = condition.Fail, CodeOddAnswer, ""
	case reason == routeros.NoSuchCommand:
		r.Code, r.Next = CodeTooOld, ""
	case reason == routeros.NoRights, reason == routeros.DeviceMode:
		r.State = condition.Fail
	case reason != routeros.Unexplained:
		r.State, r.Code, r.Next = condition.Fail, CodeOddAnswer, ""
	case late(err):
		r.Late, r.Code, r.Next = true, CodeSlow, ""
		r.Seen = fmt.Sprintf("no answer within %v", probeTime)
		if d, derr := routeros.DoorOf(url); derr == nil && d.REST {
			r.Seen += "; the call is left to finish, because a REST call cut short spoils others"
		}
	case r.Code == "":
		r.Code = CodeOddAnswer
	}
	return r
}

func late(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded)
}

// plain is an error's text in one line.
func plain(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

// quoted writes a value into a RouterOS command.
func quoted(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "$", `\$`, "?", `\?`, "\n", `\n`, "\r", `\r`).Replace(s) + `"`
}

// listed joins with commas and a last "and".
func listed(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}

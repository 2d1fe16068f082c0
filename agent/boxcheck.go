package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"iwas/agent/radius"
	"iwas/agent/statuspage"
	"iwas/agent/store"
	"iwas/agent/uplink"
	"iwas/internal/condition"
	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/mqttlink"
	"iwas/internal/routeros"
	"iwas/internal/webui"
)

// areas of a check, in the order of the table: what stands before may be why what
// follows fails.
var areas = []string{"service", "clock", "network", "cloud", "database", "radius", "router"}

// boxChecker makes the check; told is what the running service says of itself, nil
// when it does not run.
type boxChecker struct {
	cfg  config
	told *statuspage.Report
	why  error // told is nil because of it
	// progress hears how many parts were looked at, of how many; may be nil.
	progress func(done, of int)
}

// boxArea is the rows of one area.
type boxArea struct {
	name string
	look func(context.Context) []condition.CheckRow
}

// run looks at the areas side by side, and at each router at the pace given.
func (b boxChecker) run(ctx context.Context, wanted []string, paces map[string]*routeros.Pace) condition.CheckReport {
	begun := time.Now()
	out := condition.CheckReport{Version: condition.CheckVersion, At: begun.UTC()}
	of := map[string][]boxArea{
		"service": {{"service", b.service}}, "clock": {{"clock", b.clock}}, "network": {{"network", b.network}},
		"cloud": {{"cloud", b.cloud}}, "database": {{"database", b.database}}, "radius": {{"radius", b.radius}},
	}
	for _, n := range b.cfg.NAS {
		check, err := b.routerCheck(n, paces[n.ID])
		if err != nil { // of this router alone: the others, and this box, are worth a look
			check = func(context.Context) condition.CheckReport {
				return condition.CheckReport{Rows: []condition.CheckRow{unread(err)}}
			}
		}
		of["router"] = append(of["router"], boxArea{"router", func(ctx context.Context) []condition.CheckRow {
			return rowsOf("router", nameOf(n), check(ctx).Rows)
		}})
	}
	if len(b.cfg.NAS) == 0 {
		of["router"] = []boxArea{{"router", func(context.Context) []condition.CheckRow {
			return rowsOf("router", "", []condition.CheckRow{row("router", "Routers", condition.Fail, "RTR-109", "none is configured")})
		}}}
	}
	var looks []boxArea
	for _, name := range areas {
		if len(wanted) == 0 || slices.Contains(wanted, name) {
			looks = append(looks, of[name]...)
		}
	}
	rows := make([][]condition.CheckRow, len(looks))
	tell := b.teller(len(looks))
	var all sync.WaitGroup
	for i, a := range looks {
		all.Go(func() { rows[i] = a.look(ctx); tell() })
	}
	all.Wait()
	out.Rows = b.known(slices.Concat(rows...), wanted)
	b.judge(&out)
	out.Took = time.Since(begun)
	return out
}

// teller returns what is to be called at the end of each of so many looks.
func (b boxChecker) teller(of int) func() {
	if b.progress == nil {
		return func() {}
	}
	var mu sync.Mutex // guards done, and that it is told in order
	done := 0
	return func() {
		mu.Lock()
		defer mu.Unlock()
		done++
		b.progress(done, of)
	}
}

// again puts what some areas are found to be now into the report of before. The rest
// of it stays as old as it is.
func (b boxChecker) again(before, now condition.CheckReport, wanted []string) condition.CheckReport {
	rows := slices.DeleteFunc(slices.Clone(before.Rows), func(r condition.CheckRow) bool { return slices.Contains(wanted, r.Area) })
	for _, r := range now.Rows {
		r.At = now.At
		rows = append(rows, r)
	}
	before.Rows = byArea(rows)
	b.judge(&before)
	return before
}

func (b boxChecker) routerCheck(n nasConfig, pace *routeros.Pace) (func(context.Context) condition.CheckReport, error) {
	check, err := b.cfg.checkOf(n)
	if err != nil {
		return nil, err
	}
	nases, err := b.cfg.nases()
	if err != nil {
		return nil, err
	}
	check.API.Pace = pace
	check.RADIUS = onlooker{&radius.Client{NASes: nases}, func(context.Context) (statuspage.Snapshot, error) {
		if b.told == nil {
			return statuspage.Snapshot{}, errNoService
		}
		return b.told.Snapshot, nil
	}}
	return check.Run, nil
}

// unread is the row of a router whose settings on this box cannot be used.
func unread(err error) condition.CheckRow {
	r := row("settings", "Its settings on this box", condition.Fail, cmp.Or(fault.Code(err), "SYS-112"), "%s", strings.Join(strings.Fields(err.Error()), " "))
	r.Next = cmp.Or(fault.Hint(err), r.Next)
	return r
}

var errNoService = errors.New("the service does not run, so nobody here has heard a packet")

func rowsOf(area, target string, rows []condition.CheckRow) []condition.CheckRow {
	for i := range rows {
		rows[i].Area, rows[i].Target = area, target
	}
	return rows
}

// judge sums up: what guests notice is said first, by whoever knows.
func (b boxChecker) judge(r *condition.CheckReport) {
	c := condition.CheckReport{Rows: slices.Clone(r.Rows)}
	for i, row := range c.Rows {
		if row.Target != "" && row.Area == "router" {
			c.Rows[i].Title = row.Target + ", " + row.Title
		}
	}
	c.Judge()
	r.State, r.Verdict = c.State, c.Verdict
	if b.told != nil {
		r.Verdict = sentence(b.told.Verdict) + " " + c.Verdict
	}
}

func row(probe, title string, state condition.Mark, code, format string, args ...any) condition.CheckRow {
	return condition.CheckRow{Probe: probe, Title: title, State: state, Code: code, Seen: fmt.Sprintf(format, args...)}.Explained()
}

func (b boxChecker) service(context.Context) []condition.CheckRow {
	if b.told == nil {
		return rowsOf("service", "", []condition.CheckRow{row("service", "The service", condition.Fail, "SYS-140", "%s", strings.Join(strings.Fields(b.why.Error()), " "))})
	}
	return rowsOf("service", "", []condition.CheckRow{row("service", "The service", condition.OK, "", "%s, started %s", b.told.Version, webui.Age(b.told.At.Sub(b.told.Started)))})
}

// clock says what is known of the date (design.md §7). The router's own clock is
// looked at with the router.
func (b boxChecker) clock(context.Context) []condition.CheckRow {
	const title = "The date of this box"
	now := systemDate().UTC().Format(time.DateTime) + " UTC"
	if b.told != nil { // it knows more of the date than the system does
		for _, code := range []string{codeNoDate, codeSystemOff} {
			if i := slices.IndexFunc(b.told.Conditions, func(c statuspage.OpenEntry) bool { return c.Code == code }); i >= 0 {
				c := b.told.Conditions[i]
				return rowsOf("clock", "", []condition.CheckRow{row("clock", title, condition.Warn, code, "%s by the system; %s", now, c.Text)})
			}
		}
	}
	if b.told != nil && b.told.Cloud.OffsetKnown {
		off := time.Duration(b.told.Cloud.OffsetMS) * time.Millisecond
		if off.Abs() > statuspage.ClockOff {
			return rowsOf("clock", "", []condition.CheckRow{row("clock", title, condition.Fail, "CLK-101", "%s, which is %s from the cloud's", now, webui.Took(off.Abs()))})
		}
		return rowsOf("clock", "", []condition.CheckRow{row("clock", title, condition.OK, "", "%s, %s from the cloud's", now, webui.Took(off.Abs()))})
	}
	if followsServer() {
		return rowsOf("clock", "", []condition.CheckRow{row("clock", title, condition.OK, "", "%s, and the system follows a time server", now)})
	}
	r := row("clock", title, condition.Warn, "CLK-101", "%s; whether that is right is not known", now)
	r.Cause = "This system follows no time server, and no cloud has told it the time."
	return rowsOf("clock", "", []condition.CheckRow{r})
}

// network asks the system for a route and a name. A cafe without the cloud needs
// neither: then they are only told.
func (b boxChecker) network(ctx context.Context) []condition.CheckRow {
	bad := condition.Warn
	if b.enrolled() {
		bad = condition.Fail
	}
	var out []condition.CheckRow
	if from, err := mqttlink.Route(); err != nil {
		out = append(out, row("route", "Way to the internet", bad, "NET-101", "%v", err))
	} else {
		out = append(out, row("route", "Way to the internet", condition.OK, "", "there is a route, from %s", from))
	}
	return rowsOf("network", "", append(out, b.names(ctx, bad)))
}

func (b boxChecker) enrolled() bool {
	_, err := uplink.LoadIdentity(b.cfg.StateDir)
	return !fault.Is(err, fault.NotFound)
}

// names looks up what this box has to find: the cloud's name.
func (b boxChecker) names(ctx context.Context, bad condition.Mark) condition.CheckRow {
	const title = "Names"
	id, err := uplink.LoadIdentity(b.cfg.StateDir)
	if err != nil {
		return row("dns", title, condition.Skipped, "", "this box needs none: it has no cloud")
	}
	host := hostOf(id.CloudURL)
	if net.ParseIP(host) != nil {
		return row("dns", title, condition.Skipped, "", "this box needs none: the cloud is at %s", host)
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	all, err := net.DefaultResolver.LookupHost(ctx, host)
	if err != nil {
		code := "NET-102"
		if mqttlink.NoRoute(err) {
			code = "NET-101"
		}
		return row("dns", title, bad, code, "%v", err)
	}
	return row("dns", title, condition.OK, "", "%s is %s", host, strings.Join(all[:min(len(all), 2)], ", "))
}

func (b boxChecker) cloud(ctx context.Context) []condition.CheckRow {
	target := ""
	if id, err := uplink.LoadIdentity(b.cfg.StateDir); err == nil {
		target = hostOf(id.CloudURL)
	}
	rows := uplink.Way(ctx, b.cfg.StateDir, time.Now)
	switch {
	case target == "" || b.told == nil:
	case b.told.Cloud.Connected:
		rows = append(rows, row("cloud-link", "Link of the service", condition.OK, "", "up since %s, last message %s", webui.Age(b.told.At.Sub(b.told.Cloud.Since)), age(*b.told, b.told.Cloud.LastContact)))
	default:
		rows = append(rows, row("cloud-link", "Link of the service", condition.Fail, cmp.Or(b.told.Cloud.Code, "CLD-101"), "down: %s", cmp.Or(b.told.Cloud.Problem, "no reason is known yet")))
	}
	return rowsOf("cloud", target, rows)
}

func age(r statuspage.Report, t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return webui.Age(r.At.Sub(t))
}

// database looks at the state directory as the service would, and at what the
// service says of its database.
func (b boxChecker) database(context.Context) []condition.CheckRow {
	dir := b.cfg.StateDir
	var out []condition.CheckRow
	at := dir
	for _, err := os.Stat(at); err != nil && filepath.Dir(at) != at; _, err = os.Stat(at) { // the service makes what is missing
		at = filepath.Dir(at)
	}
	free, err := diskRoom(at)
	switch {
	case err != nil:
		out = append(out, row("disk", "Room on the disk", condition.Unknown, "", "it cannot be found out for %s: %v", dir, err))
	case free < fullBelow:
		r := row("disk", "Room on the disk", condition.Fail, store.CodeNoRoom, "%s are free below %s", webui.Bytes(hotspot.Octets(free)), dir)
		r.Next, r.Command = roomAdvice(dir), "sudo du -xh --max-depth=3 / | sort -h | tail"
		out = append(out, r)
	case free < statuspage.DiskLow:
		out = append(out, row("disk", "Room on the disk", condition.Fail, "DB-102", "%s are free below %s", webui.Bytes(hotspot.Octets(free)), dir))
	default:
		out = append(out, row("disk", "Room on the disk", condition.OK, "", "%s are free below %s", webui.Bytes(hotspot.Octets(free)), dir))
	}
	if r, bad := stateRow(dir, b.told); bad {
		out = append(out, r)
	}
	switch {
	case b.told == nil:
		if info, err := os.Stat(filepath.Join(dir, "iwas.db")); err != nil {
			out = append(out, row("database", "The database", condition.Unknown, "", "the service does not run, and %v", err))
		} else {
			out = append(out, row("database", "The database", condition.Unknown, "", "the service does not run; the file holds %s", webui.Bytes(hotspot.Octets(max(info.Size(), 0)))))
		}
	case !b.told.Store.Open:
		r := row("database", "The database", condition.Fail, cmp.Or(b.told.Store.Code, "DB-108"), "%s", b.told.Store.Problem)
		r.Next = cmp.Or(b.told.Store.Next, r.Next)
		out = append(out, r)
	case b.told.Store.Unwritable != "":
		out = append(out, row("database", "The database", condition.Fail, "DB-103", "%s", b.told.Store.Unwritable))
	default:
		out = append(out, row("database", "The database", condition.OK, "", "%d accounts in %s, %d facts wait for the cloud", b.told.Store.Accounts, webui.Bytes(hotspot.Octets(b.told.Store.Bytes)), b.told.Outbox.Waiting))
	}
	return rowsOf("database", "", out)
}

// fullBelow is the room below which SQLite does not grow any more, in octets.
const fullBelow = 256 << 10

// stateRow is what is wrong with the state directory itself, seen from here: while
// the service runs it knows better.
func stateRow(dir string, told *statuspage.Report) (condition.CheckRow, bool) {
	if told != nil {
		return condition.CheckRow{}, false
	}
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist): // the service makes it, or says why it cannot
		return condition.CheckRow{}, false
	case err == nil && info.IsDir():
		return condition.CheckRow{}, false
	case err == nil:
		err = &fs.PathError{Op: "open", Path: dir, Err: syscall.ENOTDIR}
	}
	err = stateFault(dir, err)
	r := row("state-dir", "The state directory", condition.Fail, codeStateDir, "%v", err)
	r.Next = fault.Hint(err)
	return r, true
}

// radius asks the service as a router does, where it lets this box; else it looks
// whether the ports are taken by somebody else.
func (b boxChecker) radius(ctx context.Context) []condition.CheckRow {
	const title = "Answers of this box"
	if b.told == nil {
		return rowsOf("radius", "", b.ports(ctx))
	}
	if !b.told.RADIUS.Bound {
		r := row("radius-ports", title, condition.Fail, cmp.Or(b.told.RADIUS.Code, "RAD-101"), "%s", cmp.Or(b.told.RADIUS.Problem, "the ports are not open yet"))
		r.Next = cmp.Or(b.told.RADIUS.Next, r.Next)
		return rowsOf("radius", "", []condition.CheckRow{r})
	}
	heard := fmt.Sprintf("%d accepted, %d rejected, last answer %s", b.told.RADIUS.Accepts, b.told.RADIUS.Rejects, age(*b.told, b.told.RADIUS.LastAnswer))
	if !b.cfg.RADIUS.TestFromLoopback || len(b.cfg.NAS) == 0 {
		return rowsOf("radius", "", []condition.CheckRow{row("radius-ports", title, condition.OK, "", "%s", heard)})
	}
	secret, err := readSecret(b.cfg.NAS[0].SecretFile)
	var x radius.Exchange
	if err == nil {
		var server netip.AddrPort
		if server, err = serverOf(ctx, "", b.cfg.RADIUS.Auth, "1812"); err == nil {
			x, err = radius.Probe{Server: server, Secret: secret, Ask: radius.AskStatus, Tries: 2, Wait: time.Second}.Do(ctx)
		}
	}
	switch {
	case err != nil:
		return rowsOf("radius", "", []condition.CheckRow{row("radius-ports", title, condition.Unknown, "", "%v", err)})
	case !x.Good():
		return rowsOf("radius", "", []condition.CheckRow{row("radius-ports", title, condition.Fail, "RAD-103", "%s", why(x))})
	}
	return rowsOf("radius", "", []condition.CheckRow{row("radius-ports", title, condition.OK, "", "asked itself, answered after %s; %s", webui.Took(x.RoundTrip), heard)})
}

// ports says whether the ports are free for the service.
func (b boxChecker) ports(ctx context.Context) []condition.CheckRow {
	var out []condition.CheckRow
	for _, l := range []struct{ what, probe string }{{"login", "radius-auth"}, {"accounting", "radius-acct"}} {
		list := b.cfg.RADIUS.Auth
		if l.probe == "radius-acct" {
			list = b.cfg.RADIUS.Acct
		}
		for _, address := range list {
			var lc net.ListenConfig
			c, err := lc.ListenPacket(ctx, "udp", address)
			if err != nil {
				out = append(out, row(l.probe, "Port of "+l.what, condition.Fail, "RAD-101", "%v", err))
				continue
			}
			c.Close()
			out = append(out, row(l.probe, "Port of "+l.what, condition.OK, "", "UDP %s is free for the service", address))
		}
	}
	return out
}

// areaOf is where a condition belongs that no row came upon.
var areaOf = map[condition.Area]string{condition.SYS: "service", condition.UPD: "service", condition.CLK: "clock", condition.NET: "network", condition.CLD: "cloud",
	condition.DB: "database", condition.OUT: "cloud", condition.RAD: "radius", condition.RTR: "router", condition.HSP: "router"}

// known adds what the service found that no row names, so that nothing open on the
// page is missing here.
func (b boxChecker) known(rows []condition.CheckRow, wanted []string) []condition.CheckRow {
	if b.told == nil {
		return rows
	}
	for _, c := range b.told.Conditions {
		if slices.ContainsFunc(rows, func(r condition.CheckRow) bool { return r.Code == c.Code }) {
			continue
		}
		entry, _ := condition.Lookup(c.Code)
		area := areaOf[entry.Area()]
		if area == "" || len(wanted) > 0 && !slices.Contains(wanted, area) {
			continue
		}
		state := condition.Warn
		if c.Severity == condition.High || entry.ImpactsLogin {
			state = condition.Fail
		}
		r := row("condition-"+strings.ToLower(c.Code), cmp.Or(c.Title, entry.Title), state, c.Code, "%s, open for %s", cmp.Or(c.Text, "seen by the service"), webui.Took(b.told.At.Sub(c.Since)))
		r.Next = cmp.Or(c.Next, r.Next)
		rows = append(rows, rowsOf(area, "", []condition.CheckRow{r})[0])
	}
	return byArea(rows)
}

// byArea puts rows in the order of the areas.
func byArea(rows []condition.CheckRow) []condition.CheckRow {
	slices.SortStableFunc(rows, func(x, y condition.CheckRow) int {
		return cmp.Compare(slices.Index(areas, x.Area), slices.Index(areas, y.Area))
	})
	return rows
}

func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return address
	}
	return u.Hostname()
}

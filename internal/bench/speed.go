package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/net/ipv4"

	"iwas/internal/radload"
)

const (
	accounts = 10_000
	online   = 1_000 // guests with a session open, in the figures of accounting

	// patience of the guests where throughput is measured: a router's second would
	// turn a slow peer's figure into that of its repeats. The storm keeps it.
	patience = 10 * time.Second
)

// cafe is a guest's visit.
var cafe = []radload.Kind{radload.PAP, radload.Start, radload.Interim, radload.Interim, radload.Interim, radload.Stop}

// figure is one row: a load, and what is hoped for.
type figure struct {
	name        string
	script      []radload.Kind
	outstanding int
	accounting  bool // durable: a peer that keeps nothing is left out
	target      string
}

var figures = []figure{
	{"PAP, 32 outstanding", []radload.Kind{radload.PAP}, 32, false, "≥ 6 × SQLite, ≥ files"},
	{"PAP, 256 outstanding", []radload.Kind{radload.PAP}, 256, false, "≥ 6 × SQLite, ≥ files"},
	{"CHAP, 32 outstanding", []radload.Kind{radload.CHAP}, 32, false, "≥ 6 × SQLite, ≥ files"},
	{"CHAP, 256 outstanding", []radload.Kind{radload.CHAP}, 256, false, "≥ 6 × SQLite, ≥ files"},
	{"accounting, 256 outstanding", []radload.Kind{radload.Interim}, 256, true, "≥ 10 × SQLite"},
	{"accounting, 1 outstanding", []radload.Kind{radload.Interim}, 1, true, "≥ 1.5 × SQLite"},
	{"cafe mix, 256 outstanding", cafe, 256, true, "≥ 10 × SQLite"},
}

// visitors are the guests of one figure at one server. Those of the accounting
// figures are logged in and started first.
func (f figure) visitors(ctx context.Context, s server) (*radload.Crowd, error) {
	if f.script[0] != radload.Interim {
		return radload.NewCrowd(accounts, account), nil
	}
	c := radload.NewCrowd(online, account)
	_, err := load(ctx, s, radload.Options{Crowd: c, Script: []radload.Kind{radload.PAP, radload.Start}, Once: true, Outstanding: 64, Time: time.Minute})
	return c, err
}

// results are measurements by figure, server and round.
type results map[string]map[string][]measurement

func (r results) add(f figure, s server, m measurement) {
	if r[f.name] == nil {
		r[f.name] = map[string][]measurement{}
	}
	r[f.name][s.Name()] = append(r[f.name][s.Name()], m)
}

// of returns the median over the rounds of what get reads.
func of[T int64 | float64 | time.Duration](r results, f figure, s server, get func(measurement) T) (T, bool) {
	var all []T
	for _, m := range r[f.name][s.Name()] {
		all = append(all, get(m))
	}
	return median(all), len(all) > 0
}

// compare runs every figure at every server, round by round, so that what else
// the machine does meets all alike.
func (r *run) compare(ctx context.Context, figures []figure, servers []server) (results, error) {
	got := results{}
	for _, f := range figures {
		crowds := map[string]*radload.Crowd{}
		for round := range r.rounds {
			for _, s := range servers {
				if fr, ok := s.(*freeRADIUS); ok && f.accounting && fr.in == inFiles {
					continue
				}
				if round == 0 {
					c, err := f.visitors(ctx, s)
					if err != nil {
						return nil, err
					}
					crowds[s.Name()] = c
				}
				m, err := load(ctx, s, radload.Options{Crowd: crowds[s.Name()], Script: f.script, Outstanding: f.outstanding, Time: r.length, Resend: patience})
				if err != nil && m.Result == nil {
					return nil, err
				}
				if err != nil { // the figure would be of something else; the others are not
					r.say("   %s: left out of a median: %v", f.name, err)
					continue
				}
				got.add(f, s, m)
			}
		}
	}
	return got, nil
}

// radius is the table of the issue.
func (r *run) radius(ctx context.Context) (err error) {
	dir, err := r.folder("radius")
	if err != nil {
		return err
	}
	ours := &agent{programs: r.Programs}
	servers := []server{&freeRADIUS{in: inFiles}, &freeRADIUS{in: inSQLite}, &freeRADIUS{in: inPostgres}, ours}
	if err := begin(ctx, dir, accounts, servers...); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end(servers...)) }()
	if err := r.firstVisits(ctx, servers); err != nil {
		return err
	}
	got, err := r.compare(ctx, figures, servers)
	if err != nil {
		return err
	}
	r.print(figures, servers, got)
	r.say("   Known, measured elsewhere and not rebuilt here: ToughRADIUS takes about 20 k/s of accounting, but acknowledges before it stores:")
	r.say("   of 1,026 acknowledged starts 949 were missing after kill -9, of 1,048 without a kill 658.")
	t := table{{"peak memory under all of the above", ""}}
	for _, s := range servers {
		u, err := usage(s)
		if err != nil {
			return err
		}
		t.row("  "+s.Name(), megabytes(u.Peak))
	}
	t.row("  target for ours", "96 MB")
	t.print(r.Out)
	return nil
}

// firstVisits logs every guest in and out once, so that what follows is the
// daily life of a cafe: the passes are in use, and the router is known. Ours
// writes the first use of each pass to disk before it accepts; no peer does.
func (r *run) firstVisits(ctx context.Context, servers []server) error {
	t := table{{"every guest's first visit: login, start, stop", ""}}
	for _, s := range servers {
		script := []radload.Kind{radload.PAP, radload.Start, radload.Stop}
		if fr, ok := s.(*freeRADIUS); ok && fr.in == inFiles {
			script = script[:1] // it keeps no accounting
		}
		m, err := load(ctx, s, radload.Options{Crowd: radload.NewCrowd(accounts, account), Script: script, Once: true, Outstanding: 256, Time: 3 * time.Minute, Resend: patience})
		if err != nil {
			return fmt.Errorf("first visits at %s: %w", s.Name(), err)
		}
		t.row("  "+s.Name(), perSecond(m.Rate()))
	}
	t.print(r.Out)
	r.say("")
	return nil
}

// print prints medians and ratios, then what each answer cost, then latency.
func (r *run) print(figures []figure, servers []server, got results) {
	ours := servers[len(servers)-1]
	rate := func(m measurement) float64 { return m.Rate() }
	head := []string{fmt.Sprintf("medians of %d", r.rounds)}
	for _, s := range servers {
		head = append(head, s.Name())
	}
	for _, s := range servers[:len(servers)-1] {
		head = append(head, "ours/"+string(s.(*freeRADIUS).in))
	}
	t := table{append(head, "target")}
	cost := table{append(head[:len(servers)+1:len(servers)+1], "generator at ours", "target")}
	late := table{append(head[:len(servers)+1:len(servers)+1], "target")}
	cost[0][0], late[0][0] = "server's CPU for each answer", "p99"
	for _, f := range figures {
		row, ratios := []string{f.name}, []string{}
		costs, lates := []string{f.name}, []string{f.name}
		var own time.Duration
		for _, s := range servers {
			v, ok := of(got, f, s, rate)
			cpu, _ := of(got, f, s, func(m measurement) time.Duration { return m.cpu })
			p99, _ := of(got, f, s, func(m measurement) time.Duration { return m.Quantile(.99) })
			own, _ = of(got, f, s, func(m measurement) time.Duration { return m.CPU / time.Duration(m.Answered) })
			if !ok {
				row, costs, lates, ratios = append(row, "–"), append(costs, "–"), append(lates, "–"), append(ratios, "–")
				continue
			}
			row, costs, lates = append(row, perSecond(v)), append(costs, short(cpu)), append(lates, short(p99))
			mine, _ := of(got, f, ours, rate)
			ratios = append(ratios, times(mine, v))
		}
		t.row(append(append(row, ratios[:len(ratios)-1]...), f.target)...)
		target, lateTarget := "", ""
		if !f.accounting {
			target = "≤ 30 µs"
		}
		if f.outstanding == 32 {
			lateTarget = "below files"
		}
		cost.row(append(costs, short(own), target)...)
		late.row(append(lates, lateTarget)...)
	}
	for _, t := range []table{t, cost, late} {
		t.print(r.Out)
		r.say("")
	}
}

// fsync repeats the durable figures on a disk that takes a millisecond to flush.
func (r *run) fsync(ctx context.Context) (err error) {
	dir, err := r.folder("fsync")
	if err != nil {
		return err
	}
	slow := Slow{Flush: time.Millisecond}
	var servers []server
	var disks []*disk
	defer func() {
		err = errors.Join(err, end(servers...))
		for _, d := range disks {
			err = errors.Join(err, d.close())
		}
	}()
	for _, s := range []server{&freeRADIUS{in: inSQLite}, &freeRADIUS{in: inPostgres}, &agent{programs: r.Programs}} {
		own, err := r.folder("disk")
		if err != nil {
			return err
		}
		d, err := newDisk(ctx, r.Self, own, slow)
		if err != nil {
			return noDisk(err)
		}
		disks = append(disks, d)
		if err := r.describe(s, d, slow); err != nil {
			return err
		}
		if err := begin(ctx, d.at, accounts, s); err != nil {
			return err
		}
		servers = append(servers, s)
	}
	took, err := flushTime(dir)
	if err != nil {
		return err
	}
	r.say("   on the disk of the other parts it takes %s", short(took))
	some := []figure{figures[4], figures[6]}
	some[0].target, some[1].target = "≥ 20 × SQLite, ≥ 3 × PostgreSQL", ""
	got, err := r.compare(ctx, some, servers)
	if err != nil {
		return err
	}
	r.print(some, servers, got)
	return nil
}

// generator measures the load generator itself against an echo of its own process.
func (r *run) generator(ctx context.Context) (err error) {
	dir, err := r.folder("generator")
	if err != nil {
		return err
	}
	ports, err := freePorts(1)
	if err != nil {
		return err
	}
	p, err := start(filepath.Join(dir, "echo.log"), nil, nil, r.Self, "echo", "-listen", ports[0].String())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.stop(syscall.SIGKILL)) }()
	o := radload.Options{Auth: ports[0], Acct: ports[0], Secret: sharedSecret, Crowd: radload.NewCrowd(accounts, account), Echo: true, Time: r.length}
	if err := p.until(ctx, 5*time.Second, func() bool {
		probe := o
		probe.Script, probe.Crowd, probe.Once, probe.Resend = []radload.Kind{radload.PAP}, radload.NewCrowd(1, account), true, 50*time.Millisecond
		got, err := radload.Run(ctx, probe)
		return err == nil && got.Answered == 1
	}); err != nil {
		return err
	}
	t := table{{"", "answers", "generator's CPU", "echo's CPU"}}
	for _, f := range []figure{figures[1], figures[3], figures[0]} {
		var rates []float64
		var own, echo []time.Duration
		for range r.rounds {
			before, err := radload.ServerUsage(p.pid())
			if err != nil {
				return err
			}
			o.Script, o.Outstanding = f.script, f.outstanding
			got, err := radload.Run(ctx, o)
			if err != nil {
				return err
			}
			after, err := radload.ServerUsage(p.pid())
			if err != nil {
				return err
			}
			n := time.Duration(max(1, got.Answered))
			rates, own, echo = append(rates, got.Rate()), append(own, got.CPU/n), append(echo, (after.CPU-before.CPU)/n)
		}
		t.row(f.name, perSecond(median(rates)), short(median(own)), short(median(echo)))
	}
	t.print(r.Out)
	return nil
}

// Echo sends every datagram back until the process is killed.
func Echo(listen string) error {
	a, err := netip.ParseAddrPort(listen)
	if err != nil {
		return err
	}
	c, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(a))
	if err != nil {
		return err
	}
	_ = c.SetReadBuffer(4 << 20)
	conn := ipv4.NewPacketConn(c)
	var space [32][4096]byte
	in := make([]ipv4.Message, len(space))
	for {
		for i := range in {
			in[i].Buffers = [][]byte{space[i][:]}
		}
		n, err := conn.ReadBatch(in, 0)
		for i := range in[:max(n, 0)] {
			in[i].Buffers[0] = in[i].Buffers[0][:in[i].N]
		}
		for sent := 0; err == nil && sent < n; {
			var k int
			k, err = conn.WriteBatch(in[sent:n], 0)
			sent += k
		}
		if err != nil {
			return errors.Join(err, c.Close())
		}
	}
}

package e2e

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	layeh "layeh.com/radius"
	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2866"

	"iwas/internal/demo"
)

// cafeFor is a cafe with some accounts, over a line that can be watched.
func cafeFor(b *testing.B, accounts int) (*demo.Cafe, *demo.Link, []demo.Account) {
	ports, err := demo.FreePorts()
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	b.Cleanup(stop)
	link, err := demo.StartLink(ctx, fmt.Sprintf("127.0.0.1:%d", ports.MQTT))
	if err != nil {
		b.Fatal(err)
	}
	c, err := demo.Start(ctx, demo.Options{Dir: b.TempDir(), Bin: bin, Ports: ports, MQTTVia: link.Port()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := c.Stop(); err != nil {
			b.Error(err)
		}
	})
	var out []demo.Account
	for i := range accounts {
		a, err := c.CreateAccount(ctx, map[string]any{"kind": "user", "username": fmt.Sprintf("load%d", i), "plan": c.PlanID(1)})
		if err != nil {
			b.Fatal(err)
		}
		out = append(out, a)
	}
	wait(b, "the accounts at the site", 10*time.Second, func() bool { ok, err := c.InStep(ctx); return ok && err == nil })
	return c, link, out
}

func wait(b *testing.B, what string, limit time.Duration, ok func() bool) {
	b.Helper()
	for end := time.Now().Add(limit); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			b.Fatalf("waited %s in vain for: %s", limit, what)
		}
	}
}

// quantiles prints a row of times.
func quantiles(b *testing.B, what string, took []time.Duration) {
	slices.Sort(took)
	at := func(q float64) string {
		return took[min(len(took)-1, int(q*float64(len(took))))].Round(10 * time.Microsecond).String()
	}
	fmt.Printf("   %-52s median %-9s p99 %-9s max %s   (%d)\n", what, at(.5), at(.99), at(1), len(took))
}

// mark reads how much of a site's log the cloud has stored.
type mark struct {
	b    *testing.B
	db   *sql.DB
	q    *sql.Stmt
	site string
}

// openMark reads of a site in the cloud of a cafe.
func openMark(b *testing.B, c *demo.Cafe, site string) *mark {
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: filepath.Join(c.Dir(), "cloud", "iwas.db"), RawQuery: "_pragma=query_only(1)"}).String())
	if err != nil {
		b.Fatal(err)
	}
	q, err := db.Prepare("SELECT COALESCE(SUM(through), 0) FROM event_mark WHERE site = ?")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = db.Close() })
	return &mark{b, db, q, site}
}

func (m *mark) through() (n int64) {
	if err := m.q.QueryRow(m.site).Scan(&n); err != nil {
		m.b.Fatal(err)
	}
	return n
}

// BenchmarkFactToCloud measures from a fact's commit at the site (its
// Accounting-Response) to its commit in the cloud, while nothing else goes on.
func BenchmarkFactToCloud(b *testing.B) {
	c, _, accounts := cafeFor(b, 1)
	m := openMark(b, c, c.SiteID)
	n := &nas{c: c, mac: "02:00:00:00:02:01"}
	class, err := n.login(b.Context(), accounts[0], "80000001")
	if err != nil {
		b.Fatal(err)
	}
	if err := n.report(b.Context(), accounts[0], "80000001", class, 1, 0); err != nil {
		b.Fatal(err)
	}
	const facts = 1000
	var took []time.Duration
	for i := 1; i <= facts; i++ {
		wait(b, "calm", 10*time.Second, func() bool { return agentBacklog(b, c) == 0 })
		before := m.through()
		if err := n.report(b.Context(), accounts[0], "80000001", class, 3, i); err != nil {
			b.Fatal(err)
		}
		committed := time.Now()
		for m.through() == before {
			time.Sleep(100 * time.Microsecond)
			if time.Since(committed) > 10*time.Second {
				b.Fatal("the fact does not arrive")
			}
		}
		took = append(took, time.Since(committed))
	}
	quantiles(b, "fact: site → cloud (targets: 5 ms, p99 25 ms)", took)
}

// report sends one accounting record and returns after its response.
func (n *nas) report(ctx context.Context, a demo.Account, id string, class []byte, kind rfc2866.AcctStatusType, seconds int) error {
	p := layeh.New(layeh.CodeAccountingRequest, []byte(n.c.RADIUSSecret))
	for _, err := range []error{rfc2865.UserName_AddString(p, a.Username), rfc2865.CallingStationID_AddString(p, n.mac), rfc2866.AcctSessionID_AddString(p, id),
		rfc2866.AcctStatusType_Add(p, kind), rfc2865.Class_Add(p, class), rfc2866.AcctSessionTime_Add(p, rfc2866.AcctSessionTime(seconds)),
		rfc2866.AcctInputOctets_Add(p, rfc2866.AcctInputOctets(seconds*1000)), rfc2866.AcctOutputOctets_Add(p, rfc2866.AcctOutputOctets(seconds*70_003))} {
		if err != nil {
			return err
		}
	}
	_, err := n.exchange(ctx, n.c.RADIUSAcct, p)
	return err
}

// BenchmarkDaysDark has a site come back after days without the cloud, with a
// million events, and looks at locks of that site and facts of another's meanwhile.
func BenchmarkDaysDark(b *testing.B) {
	const events = 1_000_000
	c, _, accounts := cafeFor(b, 10)
	fill := filepath.Join(b.TempDir(), "fill")
	if err := compile(fill, "iwas/agent/store/fill"); err != nil {
		b.Fatal(err)
	}
	other := neighbour(b, c)
	if err := c.StopOne("agent", false); err != nil {
		b.Fatal(err)
	}
	args := []string{"events", filepath.Join(c.Dir(), "agent"), fmt.Sprint(events)}
	for _, a := range accounts[1:] {
		args = append(args, a.Username)
	}
	began := time.Now()
	if out, err := exec.Command(fill, args...).CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	fmt.Printf("   %d events came to be at the site in %s\n", events, time.Since(began).Round(time.Second))
	m := openMark(b, c, c.SiteID)
	from, before := m.through(), busy(b, c.Pid("cloud"))
	began = time.Now()
	if err := c.StartAgent(b.Context()); err != nil {
		b.Fatal(err)
	}
	var locks []time.Duration
	done := make(chan struct{})
	go func() {
		defer close(done)
		wait(b, "the first of them in the cloud", time.Minute, func() bool { return m.through() > from })
		time.Sleep(2 * time.Second) // a box that has just begun waits so long for logins of the run before (agent/router, settleTime)
		for m.through()-from < events {
			locked := time.Now()
			if err := c.API(context.Background(), http.MethodPost, "/api/v1/accounts/"+accounts[0].ID+"/lock", map[string]string{"reason": "bench"}, nil); err != nil {
				b.Error(err)
				return
			}
			for {
				var a account
				if err := c.API(context.Background(), http.MethodGet, "/api/v1/accounts/"+accounts[0].ID, nil, &a); err != nil {
					b.Error(err)
					return
				}
				if a.Lock.State == "enforced" {
					break
				}
				time.Sleep(10 * time.Millisecond) // asking takes from what is measured
				if time.Since(locked) > time.Minute {
					b.Errorf("the lock is %q after a minute", a.Lock.State)
					return
				}
			}
			locks = append(locks, time.Since(locked))
			if err := c.API(context.Background(), http.MethodPost, "/api/v1/accounts/"+accounts[0].ID+"/unlock", map[string]string{"reason": "bench"}, nil); err != nil {
				b.Error(err)
				return
			}
			time.Sleep(time.Second) // a press now and then
		}
	}()
	facts, timed := make(chan []time.Duration, 1), make(chan struct{})
	go func() { facts <- other.time(timed) }()
	last, lastAt := from, began
	for m.through()-from < events {
		time.Sleep(50 * time.Millisecond) // asking takes from what is measured
		now := m.through()
		if time.Since(lastAt) > 5*time.Second {
			fmt.Printf("   %7d stored, %6.0f/s\n", now-from, float64(now-last)/time.Since(lastAt).Seconds())
			last, lastAt = now, time.Now()
		}
		if time.Since(began) > 10*time.Minute {
			b.Fatal("the log does not drain")
		}
	}
	took := time.Since(began)
	fmt.Printf("   CPU an event: agent %s, cloud %s\n", (busy(b, c.Pid("agent")) / events).Round(100*time.Nanosecond), ((busy(b, c.Pid("cloud")) - before) / events).Round(100*time.Nanosecond))
	<-done
	close(timed)
	fmt.Printf("   %d events drained in %s, %.0f/s (target: 20,000/s)\n", events, took.Round(time.Second/10), events/took.Seconds())
	quantiles(b, "press Lock → enforced meanwhile (target: 1 s)", locks)
	quantiles(b, "a fact of another site → cloud meanwhile (target: 1 s)", <-facts)
}

// another is a second site of the same cloud, with a guest who is on.
type another struct {
	b     *testing.B
	guest *nas
	a     demo.Account
	class []byte
	m     *mark
}

func neighbour(b *testing.B, of *demo.Cafe) *another {
	ports, err := demo.FreePorts()
	if err != nil {
		b.Fatal(err)
	}
	c, err := demo.Start(b.Context(), demo.Options{Dir: b.TempDir(), Bin: bin, Ports: ports, Join: of})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := c.Stop(); err != nil {
			b.Error(err)
		}
	})
	a, err := c.CreateAccount(b.Context(), map[string]any{"kind": "user", "username": "neighbour", "plan": c.PlanID(1)})
	if err != nil {
		b.Fatal(err)
	}
	wait(b, "the account at the other site", 20*time.Second, func() bool { ok, err := c.InStep(b.Context()); return ok && err == nil })
	o := &another{b: b, guest: &nas{c: c, mac: "02:00:00:00:03:01"}, a: a, m: openMark(b, of, c.SiteID)}
	if o.class, err = o.guest.login(b.Context(), a, "90000001"); err == nil {
		err = o.guest.report(b.Context(), a, "90000001", o.class, 1, 0)
	}
	if err != nil {
		b.Fatal(err)
	}
	wait(b, "calm at the other site", 20*time.Second, func() bool { return agentBacklog(b, c) == 0 })
	return o
}

// time measures its facts, from the answer of its box to the commit in the cloud,
// until stop is closed.
func (o *another) time(stop chan struct{}) (took []time.Duration) {
	for n := 1; ; n++ {
		select {
		case <-stop:
			return took
		case <-time.After(200 * time.Millisecond): // a guest's record now and then
		}
		before := o.m.through()
		if err := o.guest.report(context.Background(), o.a, "90000001", o.class, 3, n); err != nil {
			o.b.Error(err)
			return took
		}
		committed := time.Now()
		for o.m.through() == before {
			time.Sleep(time.Millisecond) // asking takes from what is measured
			if time.Since(committed) > time.Minute {
				o.b.Error("a fact of the other site is not in the cloud after a minute")
				return took
			}
		}
		took = append(took, time.Since(committed))
	}
}

// busy is the CPU time that a process took so far, proc(5).
func busy(b *testing.B, pid int) time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	user, err := strconv.Atoi(fields[11])
	if err != nil {
		b.Fatal(err)
	}
	system, err := strconv.Atoi(fields[12])
	if err != nil {
		b.Fatal(err)
	}
	return time.Duration(user+system) * 10 * time.Millisecond // 100 ticks a second
}

// BenchmarkIdleSite counts what a site says that has nothing to say.
func BenchmarkIdleSite(b *testing.B) {
	c, link, _ := cafeFor(b, 1)
	wait(b, "calm", 20*time.Second, func() bool { return agentBacklog(b, c) == 0 })
	before := link.Carried()
	const minutes = 3
	time.Sleep(minutes * time.Minute) // what is measured is a time without anything
	octets := link.Carried() - before
	fmt.Printf("   an idle site: %d octets in %d minutes, TLS included; %.1f MB a month (target: 30 MB before TLS)\n", octets, minutes, float64(octets)/minutes*60*24*30/1e6)
}

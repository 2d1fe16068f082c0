//go:build unix

package store

import (
	"context"
	"flag"
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// crowd is a site of n users, whose NAS is known to echo Class. The first few are
// warm: they logged in before, so that no first use is measured.
func crowd(b *testing.B, n, warm int) (*site, []hotspot.Verdict) {
	b.Helper()
	s := newSite(b)
	s.o.Now = nil
	s.reopen()
	sealed := s.cloud.seal("hello")
	for i := range n {
		name := fmt.Sprint("u", i)
		s.cloud.put(wire.DocAccount, "a-"+name, wire.AccountDoc{Kind: hotspot.User, Username: name, Password: sealed})
		s.cloud.put(wire.DocPass, "p-"+name, wire.PassDoc{Account: hotspot.AccountID("a-" + name), PlanName: "Hour", SoldAt: noon,
			Limits: wire.FromLimits(hotspot.Limits{Devices: 2, Total: 1 << 50, Time: 1000 * time.Hour, Clock: hotspot.Metered})})
	}
	for _, p := range s.cloud.snapshot("crowd", 1000) {
		s.must(s.send(p))
	}
	s.cloud.docs = nil
	s.LearnNAS(hotspot.NASMemory{NAS: nas, EchoesClass: true})
	verdicts := make([]hotspot.Verdict, warm)
	many(b, warm, 64, func(i int) error {
		v := s.mustLogin(fmt.Sprint("u", i), "hello", device(i))
		verdicts[i] = v
		a := s.record(hotspot.Start, v, device(i), 0, 0, 0)
		a.At = time.Now()
		return s.Account(context.Background(), a)
	})
	return s, verdicts
}

func device(i int) hotspot.MAC { return hotspot.MAC{2, 0, 0, byte(i >> 16), byte(i >> 8), byte(i)} }

// many calls f n times, from some callers at once.
func many(b *testing.B, n, callers int, f func(i int) error) {
	b.Helper()
	var next atomic.Int64
	done := make(chan error, callers)
	for range callers {
		go func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					done <- nil
					return
				}
				if err := f(i); err != nil {
					done <- err
					return
				}
			}
		}()
	}
	for range callers {
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
}

// measure runs f b.N times and reports the rate, and the CPU each took.
func measure(b *testing.B, callers int, unit string, f func(i int) error) {
	b.Helper()
	before := cpu(b)
	b.ResetTimer()
	many(b, b.N, callers, f)
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), unit+"/s")
	b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(b.N), "cpu-us/op")
}

// cpu is what this process used so far.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkAccount sends durable Interim-Updates.
func BenchmarkAccount(b *testing.B) {
	s, verdicts := crowd(b, 10_000, 10_000)
	for _, callers := range []int{1, 64, 256} {
		rounds := 0
		b.Run(fmt.Sprint(callers), func(b *testing.B) {
			first := rounds
			rounds += b.N/len(verdicts) + 1
			measure(b, callers, "records", func(i int) error {
				g, round := i%len(verdicts), first+i/len(verdicts)+1
				a := s.record(hotspot.Interim, verdicts[g], device(g), round*120+callers*1_000_000, round*1000+callers*100_000_000, round*9000+callers*100_000_000)
				a.At = time.Now()
				return s.Account(context.Background(), a)
			})
		})
	}
}

// BenchmarkCafe is the mix: each guest logs in, starts, reports twice, stops.
func BenchmarkCafe(b *testing.B) {
	s, _ := crowd(b, 10_000, 10_000)
	for _, callers := range []int{32, 256} {
		b.Run(fmt.Sprint(callers), func(b *testing.B) {
			measure(b, callers, "guests", func(i int) error {
				mac := device(1<<20 + i)
				name := fmt.Sprint("u", i%10_000)
				v, err := s.Authorize(context.Background(), hotspot.Request{NAS: nas, Username: name, MAC: mac, At: time.Now(),
					AcctSessionID: "80000001", Credential: hotspot.Credential{Kind: hotspot.Clear, Clear: "hello"}})
				if err != nil || !v.Accept {
					return fmt.Errorf("%s: %+v %w", name, v, err)
				}
				for n, kind := range []hotspot.AccountingKind{hotspot.Start, hotspot.Interim, hotspot.Interim, hotspot.Stop} {
					a := s.record(kind, v, mac, n*60, n*1000, n*9000)
					a.At = time.Now()
					if err := s.Account(context.Background(), a); err != nil {
						return err
					}
				}
				return nil
			})
			b.ReportMetric(5*float64(b.N)/b.Elapsed().Seconds(), "requests/s")
		})
	}
}

// BenchmarkLogin judges Access-Requests: of accounts at the desk (warm), of
// accounts drawn from all of them (cold), with a wrong password, of nobody.
func BenchmarkLogin(b *testing.B) {
	for _, accounts := range []int{10_000, 1_000_000} {
		if accounts > 10_000 && !*million {
			continue
		}
		s, _ := crowd(b, accounts, 10_000)
		for _, callers := range []int{1, 32, 256} {
			ask := func(name string, password hotspot.Password, mac hotspot.MAC) error {
				_, err := s.Authorize(context.Background(), hotspot.Request{NAS: nas, Username: name, MAC: mac, At: time.Now(),
					AcctSessionID: "80000001", Credential: hotspot.Credential{Kind: hotspot.Clear, Clear: password}})
				return err
			}
			label := fmt.Sprintf("accounts=%d/callers=%d/", accounts, callers)
			b.Run(label+"warm", func(b *testing.B) {
				measure(b, callers, "logins", func(i int) error { return ask(fmt.Sprint("u", i%10_000), "hello", device(i%10_000)) })
			})
			b.Run(label+"cold", func(b *testing.B) {
				measure(b, callers, "logins", func(i int) error {
					return ask(fmt.Sprint("u", i*7919%accounts), "wrong", device(i))
				})
			})
			b.Run(label+"nobody", func(b *testing.B) {
				measure(b, callers, "logins", func(i int) error { return ask(fmt.Sprint("nobody", i), "wrong", device(i)) })
			})
		}
	}
}

// BenchmarkOpen opens a store that was closed in good order.
func BenchmarkOpen(b *testing.B) {
	for _, accounts := range []int{10_000, 1_000_000} {
		if accounts > 10_000 && !*million {
			continue
		}
		s, _ := crowd(b, accounts, 1000)
		b.Run(fmt.Sprint("accounts=", accounts), func(b *testing.B) {
			for range b.N {
				s.reopen()
				if v := s.login("u1", "hello", device(1)); !v.Accept {
					b.Fatalf("got %+v", v)
				}
			}
		})
	}
}

// million adds the sites of a million accounts, which take a minute to make.
var million = flag.Bool("million", false, "benchmark a million accounts too")

// BenchmarkLock is a lock from ApplyState to its commit, on 10,000 accounts.
func BenchmarkLock(b *testing.B) {
	s, _ := crowd(b, 10_000, 256)
	b.ResetTimer()
	for i := range b.N {
		s.cloud.changed, s.cloud.gone = nil, nil
		id := fmt.Sprint("a-u", i%10_000)
		s.cloud.rev++
		d := wire.Doc{Kind: wire.DocLock, ID: id, Rev: s.cloud.rev, Body: fmt.Appendf(nil, `{"by":"owner","reason":"r%d","at":"2026-11-24T12:00:00Z"}`, i)}
		var h wire.SetHash
		s.must(s.do(b.Context(), func(t *tx) error {
			h = t.mark.hash
			var old []byte
			if found, err := t.row("read", "SELECT body FROM document WHERE kind = 'lock' AND id = ?", []any{id}, &old); err != nil || !found {
				return err
			}
			h.Remove(wire.Doc{Kind: d.Kind, ID: id, Body: old})
			return nil
		}))
		h.Add(d)
		s.must(s.send(wire.State{V: wire.Version, Lineage: "l1", From: s.cloud.rev - 1, To: s.cloud.rev, Docs: []wire.Doc{d}, Hash: h.String()}))
	}
}

// BenchmarkSnapshot is the first whole set of 20,000 guests.
func BenchmarkSnapshot(b *testing.B) {
	s := newSite(b)
	sealed := s.cloud.seal("hello")
	for i := range 20_000 {
		s.cloud.put(wire.DocAccount, fmt.Sprint("a", i), wire.AccountDoc{Kind: hotspot.User, Username: fmt.Sprint("u", i), Password: sealed})
		s.cloud.put(wire.DocPass, fmt.Sprint("p", i), wire.PassDoc{Account: hotspot.AccountID(fmt.Sprint("a", i)), Limits: wire.LimitsBody{TimeS: 3600}})
	}
	b.ResetTimer()
	for i := range b.N {
		for _, p := range s.cloud.snapshot(fmt.Sprint("s", i), 500) {
			s.must(s.send(p))
		}
	}
}

// BenchmarkDrain is what the site does for each event that a cloud takes in
// after a long time: read, encode, acknowledge.
func BenchmarkDrain(b *testing.B) {
	const events = 20_000
	s := newSite(b)
	body := wire.SessionBody{Permit: "06h0tvat00v5aaf6mde1wynva0", Account: "06h0tvat00v5aaf6mde1wynva1", Pass: "06h0tvat00v5aaf6mde1wynva2", NAS: "router", AcctSessionID: "80000001",
		Username: "guest", MAC: phone.String(), IP: "10.5.50.20", State: hotspot.Live, StartedAt: noon}
	s.must(s.do(b.Context(), func(x *tx) error {
		for i := range events {
			body.ID, body.HeardAt, body.TimeMS, body.Upload, body.Download = hotspot.SessionID(fmt.Sprintf("06h0tvat00v5aaf6mde1wyn%03d", i%200)), noon.Add(time.Duration(i)*time.Second), int64(i), uint64(i*1000), uint64(i*70_003)
			body.PassUsage = &wire.UsageBody{Pass: body.Pass, Account: body.Account, FirstUsed: noon, TimeMS: int64(i), Upload: uint64(i * 1000), Download: uint64(i * 70_003)}
			if err := x.event(wire.EventSessionUsage, body); err != nil {
				return err
			}
		}
		return nil
	}))
	h, err := s.Standing(b.Context())
	s.must(err)
	sent, octets, batches := 0, 0, 0
	for cursor := int64(0); b.Loop(); {
		batch, err := s.Events(b.Context(), cursor, wire.MaxEvents, wire.BatchBytes)
		s.must(err)
		payload, err := wire.Encode(batch)
		s.must(err)
		cursor += int64(len(batch.Events))
		sent, octets, batches = sent+len(batch.Events), octets+len(payload), batches+1
		s.must(s.Acked(b.Context(), wire.Ack{V: 1, Epoch: h.Epoch, First: batch.First, Through: cursor}))
		if cursor == events {
			cursor = 0
			s.must(s.Acked(b.Context(), wire.Ack{V: 1, Epoch: h.Epoch}))
		}
	}
	b.ReportMetric(float64(sent)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(octets)/float64(sent), "octets/event")
	b.ReportMetric(float64(sent)/float64(batches), "events/batch")
}

// BenchmarkCopy takes copies of a database of 100,000 accounts while a guest
// reports, and says how long a record waited then and without a copy.
func BenchmarkCopy(b *testing.B) {
	s, verdicts := crowd(b, 100_000, 8)
	s.must(s.Close())
	s.o.Copies = b.TempDir()
	began := time.Now()
	s.open()
	opened := time.Since(began)
	began = time.Now()
	s.checkWhole(b.Context())
	checked := time.Since(began)
	reports := func(stop <-chan struct{}) (worst, sum time.Duration, n int) { // one guest, one record after the other
		for i := 1; ; i++ {
			select {
			case <-stop:
				return worst, sum, n
			default:
			}
			a := s.record(hotspot.Interim, verdicts[i%8], device(i%8), int(time.Since(began).Milliseconds()), i, i)
			a.At = time.Now()
			at := time.Now()
			s.must(s.Account(context.Background(), a))
			took := time.Since(at)
			worst, sum, n = max(worst, took), sum+took, n+1
		}
	}
	calm := make(chan struct{})
	time.AfterFunc(3*time.Second, func() { close(calm) })
	calmWorst, calmSum, calmN := reports(calm)
	b.ResetTimer()
	for range b.N {
		done := make(chan struct{})
		go func() {
			defer close(done)
			if _, err := s.Snapshot(context.Background()); err != nil {
				b.Error(err)
			}
		}()
		w, sum, n := reports(done)
		b.ReportMetric(float64(w.Microseconds())/1000, "worst-ms")
		b.ReportMetric(float64((sum / time.Duration(n)).Microseconds()), "mean-us")
	}
	st, err := os.Stat(s.o.Path)
	s.must(err)
	b.ReportMetric(float64(st.Size()>>20), "MB")
	b.ReportMetric(float64(opened.Milliseconds()), "open-ms")
	b.ReportMetric(float64(checked.Milliseconds()), "check-ms")
	b.ReportMetric(float64(calmWorst.Microseconds())/1000, "calm-worst-ms")
	b.ReportMetric(float64((calmSum / time.Duration(calmN)).Microseconds()), "calm-us")
}

// BenchmarkWanted reads what the reconciler reads each time it is woken, with
// 200 guests online of 10,000.
func BenchmarkWanted(b *testing.B) {
	s, _ := crowd(b, 10_000, 0)
	s.o.Terms = live
	s.reopen()
	for i := range 200 {
		v := s.mustLogin(fmt.Sprint("u", i), "hello", device(i))
		a := s.record(hotspot.Start, v, device(i), 0, 0, 0)
		a.At = time.Now()
		s.account(a)
	}
	ctx := context.Background()
	b.Run("targets", func(b *testing.B) {
		measure(b, 1, "reads", func(int) error { _, err := s.Targets(ctx); return err })
	})
	b.Run("locks", func(b *testing.B) {
		measure(b, 1, "reads", func(int) error { _, err := s.LockTargets(ctx); return err })
	})
	b.Run("changes", func(b *testing.B) {
		measure(b, 1, "reads", func(int) error { _, err := s.Adjusting(ctx); return err })
	})
}

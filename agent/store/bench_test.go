package store

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// crowd is a site of n users with a session open each.
func crowd(b *testing.B, n int) (*site, []hotspot.Verdict) {
	b.Helper()
	s := newSite(b)
	s.o.Now = nil
	s.reopen()
	for i := range n {
		s.cloud.guest(fmt.Sprint("u", i), "hello", hotspot.Limits{Devices: 2, Total: 1 << 50})
	}
	for _, p := range s.cloud.snapshot("crowd", 1000) {
		s.must(s.send(p))
	}
	verdicts := make([]hotspot.Verdict, min(n, 256))
	for i := range verdicts {
		verdicts[i] = s.mustLogin(fmt.Sprint("u", i), "hello", hotspot.MAC{2, 0, 0, 0, byte(i >> 8), byte(i)})
		a := s.record(hotspot.Start, verdicts[i], hotspot.MAC{2, 0, 0, 0, byte(i >> 8), byte(i)}, 0, 0, 0)
		a.At = time.Now()
		s.account(a)
	}
	return s, verdicts
}

// interims sends b.N durable Interim-Updates from some callers at once.
func interims(b *testing.B, callers int) {
	s, verdicts := crowd(b, 1000)
	var n atomic.Int64
	b.ResetTimer()
	done := make(chan error, callers)
	for range callers {
		go func() {
			for {
				i := n.Add(1)
				if i > int64(b.N) {
					done <- nil
					return
				}
				g := int(i) % len(verdicts)
				round := int(i)/len(verdicts) + 1
				a := s.record(hotspot.Interim, verdicts[g], hotspot.MAC{2, 0, 0, 0, byte(g >> 8), byte(g)}, round*120, round*1000, round*9000)
				a.At = time.Now()
				if err := s.Account(context.Background(), a); err != nil {
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
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

func BenchmarkAccount1(b *testing.B)   { interims(b, 1) }
func BenchmarkAccount64(b *testing.B)  { interims(b, 64) }
func BenchmarkAccount256(b *testing.B) { interims(b, 256) }

// logins sends b.N Access-Requests from some callers at once.
func logins(b *testing.B, callers int, password string) {
	s, _ := crowd(b, 10_000)
	var n atomic.Int64
	b.ResetTimer()
	done := make(chan error, callers)
	for range callers {
		go func() {
			for {
				i := n.Add(1)
				if i > int64(b.N) {
					done <- nil
					return
				}
				_, err := s.Authorize(context.Background(), hotspot.Request{NAS: nas, Username: fmt.Sprint("u", i%10_000), MAC: hotspot.MAC{2, 0, 0, 1, byte(i >> 8), byte(i)}, At: time.Now(),
					AcctSessionID: "80000001", Credential: hotspot.Credential{Kind: hotspot.Clear, Clear: hotspot.Password(password)}})
				if err != nil {
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
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "logins/s")
}

func BenchmarkAccept1(b *testing.B)  { logins(b, 1, "hello") }
func BenchmarkAccept64(b *testing.B) { logins(b, 64, "hello") }
func BenchmarkReject64(b *testing.B) { logins(b, 64, "wrong") }

// BenchmarkLock is a lock from ApplyState to its commit, on 10,000 accounts.
func BenchmarkLock(b *testing.B) {
	s, _ := crowd(b, 10_000)
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

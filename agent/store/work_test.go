package store

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// together has the writer run operations in this order and in one transaction.
func (s *site) together(ops []*op) {
	s.t.Helper()
	gate, entered := make(chan struct{}), make(chan struct{})
	done := make(chan error, 1)
	go func() {
		done <- s.do(context.Background(), func(*tx) error { close(entered); <-gate; return nil })
	}()
	<-entered
	for _, o := range ops {
		o.ctx, o.done = context.Background(), make(chan struct{})
		s.ops <- o
	}
	close(gate)
	s.must(<-done)
	for _, o := range ops {
		<-o.done
		s.must(o.err)
	}
}

// told is what a store holds in the end, without the ids it drew, and its log
// after a sequence number.
func (s *site) told(after int64) (out []string) {
	s.t.Helper()
	sessions, err := s.Sessions(s.t.Context())
	s.must(err)
	names := map[hotspot.SessionID]string{}
	for _, x := range sessions {
		names[x.ID] = fmt.Sprint(x.MAC, x.NAS, x.AcctSessionID, x.StartedAt.Unix(), x.Account)
		x.ID, x.Permit = "", ""
		out = append(out, fmt.Sprintf("%+v", x))
	}
	err = s.query(s.t.Context(), "read usage", "SELECT pass, first_used, time_ms, counted, upload, download FROM usage ORDER BY pass", nil, func(scan func(...any) error) error {
		var pass, counted string
		var first, ms, up, down int64
		err := scan(&pass, &first, &ms, &counted, &up, &down)
		out = append(out, fmt.Sprintln(pass, first, ms, counted, up, down))
		return err
	})
	s.must(err)
	log, err := s.Events(s.t.Context(), after, 1<<20, 1<<30)
	s.must(err)
	for _, e := range log.Events {
		var b wire.SessionBody
		s.must(json.Unmarshal(e.Body, &b))
		usage := ""
		if b.PassUsage != nil {
			usage = fmt.Sprintf("%+v", *b.PassUsage)
		}
		out = append(out, fmt.Sprintln(e.Kind, names[b.ID], b.State, b.TimeMS, b.Upload, b.Download, b.HeardAt, b.EndedAt, usage))
	}
	slices.Sort(out) // of what one operation closes the order is open
	return out
}

// TestWhatIsAtHandIsWhatIsOnDisk plays the same records to two sites. One keeps
// what it works on at hand, takes records many at a time, restarts now and then,
// and has operations fail half way; the other reads everything anew for each. In
// the end both hold, and told, the same; and what is at hand is what SQL says.
func TestWhatIsAtHandIsWhatIsOnDisk(t *testing.T) {
	fast, plain := newSite(t), newSite(t)
	plain.cloud.key, plain.o.Key = fast.cloud.key, fast.o.Key
	plain.reopen() // so that one Class opens in both
	both := []*site{fast, plain}
	fast.start()
	plain.start()
	story := 0
	rapid.Check(t, func(rt *rapid.T) {
		story++
		bob, eve, nas := fmt.Sprint("bob", story), fmt.Sprint("eve", story), hotspot.NASID(fmt.Sprint("nas", story))
		for _, s := range both {
			s.cloud.guest(bob, "hello", hotspot.Limits{Devices: 9, Clock: hotspot.Metered, Time: time.Hour, Total: 50_000})
			s.cloud.guest(eve, "hello", hotspot.Limits{Devices: 9, Clock: hotspot.Metered, Time: time.Hour})
			s.apply()
		}
		h, err := fast.Standing(t.Context())
		fast.must(err)
		noon := fast.clock.Now()
		var permits []permit
		var macs []hotspot.MAC
		for i := range 5 {
			who := []string{bob, eve}[i%2]
			permits = append(permits, permit{id: hotspot.PermitID(fmt.Sprint("permit", story, "-", i)), account: hotspot.AccountID("a-" + who), pass: hotspot.PassID("p-" + who), nas: nas,
				at: noon.Add(time.Duration(i) * 100 * time.Second)})
			macs = append(macs, device(1+i/2)) // two permits of one device among them
		}
		draw := func() hotspot.Accounting {
			g := rapid.IntRange(0, len(permits)-1).Draw(rt, "guest")
			at := fast.clock.Now()
			seconds := rapid.IntRange(0, 600).Draw(rt, "seconds")
			a := hotspot.Accounting{Kind: rapid.SampledFrom([]hotspot.AccountingKind{start, start, interim, interim, interim, stop, nasOn}).Draw(rt, "kind"), NAS: nas,
				AcctSessionID: hotspot.AcctSessionID(fmt.Sprint("8000000", g)), Class: sealClass(fast.classKey, permits[g]), MAC: macs[g], At: at, Username: "g",
				SessionTime: time.Duration(seconds) * time.Second, Upload: hotspot.Octets(seconds * rapid.IntRange(0, 30).Draw(rt, "rate")),
				Delay: time.Duration(rapid.SampledFrom([]int{0, 0, 0, 7}).Draw(rt, "delay")) * time.Second, TerminateCause: 1}
			switch rapid.IntRange(0, 19).Draw(rt, "oddity") {
			case 0:
				a.Class = nil
			case 1:
				a.NAS = "other"
			case 2:
				a.Upload = math.MaxInt64
			}
			return a
		}
		opOf := func(a hotspot.Accounting) *op {
			if a.Kind == nasOn {
				return &op{run: func(t *tx) error { return t.nasRestarted(a) }}
			}
			p, _ := openClass(fast.classKey, a.Class)
			return recordOp(a, p)
		}
		for range rapid.IntRange(1, 8).Draw(rt, "rounds") {
			wait := time.Duration(rapid.IntRange(0, 200).Draw(rt, "wait")) * time.Second
			fast.clock.Add(wait)
			plain.clock.Add(wait)
			var ops []*op
			for range rapid.IntRange(0, 6).Draw(rt, "records") {
				a := draw()
				ops = append(ops, opOf(a))
				plain.together([]*op{opOf(a)})
				clear(plain.w.work.passes) // the writer is idle: nobody else asks
			}
			fast.together(ops)
			switch rapid.IntRange(0, 5).Draw(rt, "then") {
			case 0:
				fast.reopen()
				plain.reopen() // silence is counted from the start of the program
			case 1:
				for _, s := range both {
					s.must(s.ObserveActive(t.Context(), nas, []hotspot.ActiveEntry{{MAC: device(1)}, {MAC: device(3)}}, s.clock.Now()))
				}
			case 2:
				for _, s := range both {
					s.must(s.Sweep(t.Context()))
				}
			case 3: // a record whose transaction is rolled back leaves nothing at hand
				a := draw()
				err := fast.submit(t.Context(), &op{own: true, run: func(x *tx) error {
					if err := opOf(a).run(x); err != nil {
						return err
					}
					_ = x.event("half", nil)
					return fmt.Errorf("after it wrote")
				}})
				if err == nil {
					rt.Fatal("the failing operation did not fail")
				}
			}
			fast.checkWork(rt)
		}
		if got, want := fast.told(h.LastSeq), plain.told(h.LastSeq); !slices.Equal(got, want) {
			rt.Fatalf("kept at hand and read anew differ:\n%s", diff(got, want))
		}
	})
}

// diff shows the lines that two lists do not share.
func diff(got, want []string) (out string) {
	for _, l := range got {
		if !slices.Contains(want, l) {
			out += "got  " + l + "\n"
		}
	}
	for _, l := range want {
		if !slices.Contains(got, l) {
			out += "want " + l + "\n"
		}
	}
	return out
}

// checkWork holds every pass at hand against SQL.
func (s *site) checkWork(rt *rapid.T) {
	s.must(s.do(s.t.Context(), func(x *tx) error {
		at := x.db.w.work.passes
		x.db.w.work.passes = map[hotspot.PassID]*passRow{}
		for id, kept := range at {
			read, err := x.passRow(id)
			if err != nil {
				return err
			}
			if kept.usage != read.usage || kept.counted.String() != read.counted.String() || len(kept.open) != len(read.open) {
				rt.Fatalf("pass %s at hand: %+v %v, %d open; on disk %+v %v, %d open", id, kept.usage, kept.counted, len(kept.open), read.usage, read.counted, len(read.open))
			}
			for _, o := range kept.open {
				if !slices.ContainsFunc(read.open, func(r *hotspot.Session) bool { return *r == *o }) {
					rt.Fatalf("session at hand %+v is not what is on disk", *o)
				}
			}
			for i, e := range kept.ended {
				if i < 2 && !kept.more && (i >= len(read.ended) || !read.ended[i].at.Equal(e.at)) {
					rt.Fatalf("ends at hand %v, on disk %v", kept.ended, read.ended)
				}
			}
		}
		x.db.w.work.passes = at
		return nil
	}))
}

package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"iwas/agent/store"
	"iwas/internal/hotspot"
	"iwas/internal/secret"
	"iwas/internal/wire"
)

// boxClock is the clock of a box: it runs, and somebody may set it.
type boxClock struct {
	date time.Time
	ran  time.Duration
}

func (c *boxClock) pass(d time.Duration) { c.date, c.ran = c.date.Add(d), c.ran+d }
func (c *boxClock) set(to time.Time)     { c.date = to }

// boot is a start of the program on that clock.
func (c *boxClock) boot(file string, built time.Time) *wall {
	return newWall(file, built, func() time.Time { return c.date }, func() time.Duration { return c.ran }, slog.New(slog.DiscardHandler))
}

var (
	monday = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	built  = time.Date(2026, 9, 1, 0, 0, 0, 0, time.UTC)
	epoch  = time.Unix(0, 0).UTC()
)

func TestTheDateOfAStart(t *testing.T) {
	for name, tc := range map[string]struct {
		kept, system time.Time
		want         time.Time
		doubtful     bool
	}{
		"an hour after":              {monday, monday.Add(time.Hour), monday.Add(time.Hour), false},
		"1970":                       {monday, epoch, monday, true},
		"last month":                 {monday, monday.AddDate(0, -1, 0), monday, true},
		"a year ahead":               {monday, monday.AddDate(1, 0, 0), monday, true},
		"a month ahead":              {monday, monday.AddDate(0, 0, 30), monday.AddDate(0, 0, 30), false},
		"the first start":            {time.Time{}, monday, monday, false},
		"the first start in 1970":    {time.Time{}, epoch, built, true},
		"the first start years late": {time.Time{}, built.AddDate(3, 0, 0), built.AddDate(3, 0, 0), false},
		"what is kept is no date":    {epoch, monday, monday, false},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "date")
			text := tc.kept.Format(time.RFC3339)
			if tc.kept.Equal(epoch) {
				text = "?"
			}
			if !tc.kept.IsZero() {
				if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			c := &boxClock{date: tc.system}
			w := c.boot(file, built)
			if !w.Now().Equal(tc.want) || w.Doubtful() != tc.doubtful {
				t.Errorf("%v, doubtful %v; want %v, %v", w.Now(), w.Doubtful(), tc.want, tc.doubtful)
			}
			c.pass(time.Minute)
			if !w.Now().Equal(tc.want.Add(time.Minute)) {
				t.Errorf("a minute later: %v", w.Now())
			}
		})
	}
}

// TestADateThatIsSetIsNotFollowed, unless a time server or the cloud says the same;
// either way, a year.
func TestADateThatIsSetIsNotFollowed(t *testing.T) {
	for name, by := range map[string]int{"a year ahead": 1, "a year back": -1} {
		t.Run(name, func(t *testing.T) {
			c := &boxClock{date: monday}
			w := c.boot(filepath.Join(t.TempDir(), "date"), built)
			c.pass(time.Minute)
			c.set(monday.AddDate(by, 0, 0))
			if step := w.correct(false, 0, 0, false); step != 0 || !w.Now().Equal(monday.Add(time.Minute)) {
				t.Errorf("set by %v to %v", step, w.Now())
			}
			if f := w.findings(); len(f) != 1 || f[0].Code != codeSystemOff || !strings.Contains(f[0].Text, map[bool]string{true: "ahead of", false: "behind"}[by > 0]) {
				t.Errorf("findings %+v", f)
			}
			if step := w.correct(true, 0, 0, false); step.Round(time.Hour) != monday.AddDate(by, 0, 0).Sub(monday).Round(time.Hour) || !w.Now().Equal(c.date) {
				t.Errorf("a time server says so: set by %v to %v", step, w.Now())
			}
			if f := w.findings(); len(f) != 0 {
				t.Errorf("findings %+v", f)
			}
			// The cloud, without a time server: back again, once.
			back := monday.Add(time.Minute).Sub(w.Now())
			if step := w.correct(false, back, time.Second, true); step != back || !w.Now().Equal(monday.Add(time.Minute)) {
				t.Errorf("the cloud says so: set by %v to %v", step, w.Now())
			}
			if step := w.correct(false, time.Second, 5*time.Second, true); step != 0 {
				t.Errorf("set by %v for what may be the line", step)
			}
		})
	}
}

// TestTheNewestDateIsKept, and a doubtful one is not.
func TestTheNewestDateIsKept(t *testing.T) {
	file := filepath.Join(t.TempDir(), "date")
	c := &boxClock{date: monday}
	w := c.boot(file, built)
	w.keep(false)
	c.pass(time.Minute)
	w.keep(false) // too soon
	if b, err := os.ReadFile(file); err != nil || string(b) != monday.Format(time.RFC3339)+"\n" {
		t.Fatalf("kept %q, %v", b, err)
	}
	c.pass(wallKeep)
	w.keep(false)
	kept := monday.Add(time.Minute + wallKeep)

	again := &boxClock{date: epoch}
	w = again.boot(file, built)
	if !w.Doubtful() || !w.Now().Equal(kept) {
		t.Errorf("after a power cut: %v, doubtful %v, want %v", w.Now(), w.Doubtful(), kept)
	}
	again.pass(time.Hour)
	w.keep(true)
	if b, err := os.ReadFile(file); err != nil || string(b) != kept.Format(time.RFC3339)+"\n" {
		t.Errorf("a doubtful date is kept: %q, %v", b, err)
	}
}

// TestABoxThatBootsIn1970EndsNobodyEarly: passes with dates go on, those whose time
// is used end, and once the cloud says what day it is the dates count again.
func TestABoxThatBootsIn1970EndsNobodyEarly(t *testing.T) {
	for name, boots := range map[string]time.Time{"in 1970": epoch, "a year ahead": monday.AddDate(1, 0, 0)} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			key, err := secret.NewKey()
			if err != nil {
				t.Fatal(err)
			}
			c := &boxClock{date: monday}
			w := c.boot(filepath.Join(dir, "date"), built)
			w.keep(true)
			open := func() *store.DB {
				db, err := store.Open(t.Context(), store.Options{Path: filepath.Join(dir, "iwas.db"), Key: key, Decide: w.decide, Off: w.off, Terms: w.terms,
					Now: w.Now, Elapsed: func() time.Duration { return c.ran }})
				if err != nil {
					t.Fatal(err)
				}
				return db
			}
			db := open()
			b := &bench{t: t, key: key, db: db, rev: 1}
			var docs []wire.Doc
			until := monday.AddDate(0, 0, 1)
			for name, doc := range map[string]wire.PassDoc{
				"valid":  {ValidFrom: monday.AddDate(0, 0, -1), ValidUntil: until},
				"later":  {ValidFrom: monday.AddDate(0, 0, 7)},
				"hour":   {Limits: wire.LimitsBody{TimeS: 3600}},
				"metred": {Limits: wire.LimitsBody{TimeS: 60, Clock: hotspot.Metered}},
			} {
				doc.Account = hotspot.AccountID("a-" + name)
				docs = append(docs, b.doc(wire.DocAccount, "a-"+name, wire.AccountDoc{Kind: hotspot.Voucher, Username: name}), b.doc(wire.DocPass, "p-"+name, doc))
			}
			b.apply(wire.State{Snapshot: "s1", Part: 1, Parts: 1, Docs: docs})
			login := func(name string) hotspot.Verdict {
				t.Helper()
				v, err := db.Authorize(t.Context(), hotspot.Request{NAS: "r1", Username: name, MAC: hotspot.MAC{2, 0, 0, 0, 0, byte(len(name))}, At: w.Now()})
				if err != nil {
					t.Fatal(err)
				}
				return v
			}
			var on []hotspot.Accounting
			for _, name := range []string{"valid", "hour", "metred"} {
				v := login(name)
				if !v.Accept {
					t.Fatalf("%s: %s", name, v.Reason)
				}
				a := hotspot.Accounting{Kind: hotspot.Start, NAS: "r1", AcctSessionID: hotspot.AcctSessionID(name), Class: v.Class, Username: name, MAC: hotspot.MAC{2, 0, 0, 0, 0, byte(len(name))}, At: w.Now()}
				if err := db.Account(context.Background(), a); err != nil {
					t.Fatal(err)
				}
				on = append(on, a)
			}
			c.pass(5 * time.Minute)
			w.keep(true)
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}

			// The power was away for ten minutes; the box has no battery.
			c = &boxClock{date: boots}
			w = c.boot(filepath.Join(dir, "date"), built)
			db = open()
			b.db = db
			defer func() {
				if err := errors.Join(db.Close()); err != nil {
					t.Error(err)
				}
			}()
			over := func() (names []string) {
				t.Helper()
				all, err := db.Targets(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				for _, x := range all {
					names = append(names, string(x.Account))
				}
				return names
			}
			if got := over(); len(got) != 0 {
				t.Errorf("put off by a date nobody believes: %q", got)
			}
			for name, want := range map[string]bool{"valid": true, "later": true, "hour": true} {
				if v := login(name); v.Accept != want {
					t.Errorf("%s: accept %v (%s)", name, v.Accept, v.Reason)
				}
			}
			if left := login("hour").SessionTimeout; left > time.Hour-4*time.Minute {
				t.Errorf("the hour has %v left: its first minutes are given away", left)
			}
			on[2].Kind, on[2].SessionTime, on[2].At = hotspot.Interim, 6*time.Minute, w.Now()
			if err := db.Account(context.Background(), on[2]); err != nil {
				t.Fatal(err)
			}
			if got := over(); len(got) != 1 || got[0] != "a-metred" {
				t.Errorf("who used up a minute of time: %q", got)
			}
			if f := w.findings(); len(f) != 1 || f[0].Code != codeNoDate {
				t.Errorf("findings %+v", f)
			}

			// Two days later in truth, says the cloud.
			w.correct(false, monday.AddDate(0, 0, 2).Sub(w.Now()), time.Second, true)
			if v := login("valid"); v.Accept || v.Reason != hotspot.ReasonExpired {
				t.Errorf("a pass of yesterday: %+v", v)
			}
			if v := login("later"); v.Accept || v.Reason != hotspot.ReasonNotYetValid {
				t.Errorf("a pass of next week: %+v", v)
			}
		})
	}
}

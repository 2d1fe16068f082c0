package store

import (
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// rec is one record in a story: after waiting, at a session time, with counters.
type rec struct {
	wait     time.Duration
	kind     hotspot.AccountingKind
	seconds  int
	up, down int
	delay    time.Duration
	class    string // "" as given, "none" not echoed, "other" of somebody else
	mac      hotspot.MAC
	nas      hotspot.NASID
	cause    uint32
}

const (
	start   = hotspot.Start
	interim = hotspot.Interim
	stop    = hotspot.Stop
	nasOn   = hotspot.NASOn
)

func TestAccountingStories(t *testing.T) {
	const s10 = 10 * time.Second
	type outcome struct {
		state    hotspot.SessionState
		seconds  int
		up, down hotspot.Octets
		started  time.Duration // after noon
		ended    time.Duration // after noon; 0 is not
		cause    string
		kinds    []wire.EventKind // after pass.first_used
	}
	started, used, stopped := wire.EventSessionStarted, wire.EventSessionUsage, wire.EventSessionStopped
	for name, tc := range map[string]struct {
		steps []rec
		want  outcome
	}{
		"start, interim, stop": {[]rec{{kind: start}, {wait: s10, kind: interim, seconds: 10, up: 5, down: 50}, {wait: s10, kind: stop, seconds: 20, up: 9, down: 90, cause: 1}},
			outcome{hotspot.Closed, 20, 9, 90, 0, 2 * s10, "User-Request", []wire.EventKind{started, used, stopped}}},
		"every record twice": {[]rec{{kind: start}, {kind: start}, {wait: s10, kind: interim, seconds: 10, up: 5}, {kind: interim, seconds: 10, up: 5}, {wait: s10, kind: stop, seconds: 20, up: 9, cause: 4}, {kind: stop, seconds: 20, up: 9, cause: 4}},
			outcome{hotspot.Closed, 20, 9, 0, 0, 2 * s10, "Idle-Timeout", []wire.EventKind{started, used, stopped}}},
		"repeats with a new Acct-Delay-Time": {[]rec{{kind: start}, {wait: s10, kind: start, delay: s10}, {kind: interim, seconds: 10, up: 5}, {wait: s10, kind: interim, seconds: 10, up: 5, delay: s10}, {kind: stop, seconds: 20, up: 6}, {wait: s10, kind: stop, seconds: 20, up: 6, delay: s10}},
			outcome{hotspot.Closed, 20, 6, 0, 0, 2 * s10, "unknown", []wire.EventKind{started, used, stopped}}},
		"interim without start": {[]rec{{wait: 3 * s10, kind: interim, seconds: 20, up: 5}},
			outcome{hotspot.Live, 20, 5, 0, s10, 0, "", []wire.EventKind{started}}},
		"stop without start": {[]rec{{wait: 3 * s10, kind: stop, seconds: 20, up: 5, cause: 5}},
			outcome{hotspot.Closed, 20, 5, 0, s10, 3 * s10, "Session-Timeout", []wire.EventKind{stopped}}},
		"a delayed stop ends when it happened": {[]rec{{kind: start}, {wait: 3 * s10, kind: stop, seconds: 20, delay: s10}},
			outcome{hotspot.Closed, 20, 0, 0, 0, 2 * s10, "unknown", []wire.EventKind{started, stopped}}},
		"start after stop": {[]rec{{wait: s10, kind: stop, seconds: 10, up: 5}, {kind: start}},
			outcome{hotspot.Closed, 10, 5, 0, 0, s10, "unknown", []wire.EventKind{stopped}}},
		"start after interim": {[]rec{{wait: s10, kind: interim, seconds: 10, up: 5}, {kind: start}},
			outcome{hotspot.Live, 10, 5, 0, 0, 0, "", []wire.EventKind{started}}},
		"interim after stop": {[]rec{{kind: start}, {wait: s10, kind: stop, seconds: 10, up: 5}, {kind: interim, seconds: 11, up: 6}},
			outcome{hotspot.Closed, 10, 5, 0, 0, s10, "unknown", []wire.EventKind{started, stopped}}},
		"a second stop with more": {[]rec{{kind: start}, {wait: s10, kind: stop, seconds: 10, up: 5}, {kind: stop, seconds: 12, up: 6}},
			outcome{hotspot.Closed, 10, 5, 0, 0, s10, "unknown", []wire.EventKind{started, stopped}}},
		"counters that go backwards": {[]rec{{kind: start}, {wait: s10, kind: interim, seconds: 10, up: 50, down: 70}, {wait: s10, kind: interim, seconds: 20, up: 3, down: 80}, {wait: s10, kind: stop, seconds: 30, up: 4, down: 5}},
			outcome{hotspot.Closed, 30, 50, 80, 0, 3 * s10, "unknown", []wire.EventKind{started, used, used, stopped}}},
		"counters of 2^63-1": {[]rec{{kind: start}, {wait: s10, kind: stop, seconds: 10, up: math.MaxInt64, down: math.MaxInt64}},
			outcome{hotspot.Closed, 10, math.MaxInt64, math.MaxInt64, 0, s10, "unknown", []wire.EventKind{started, stopped}}},
		"a NAS that does not echo Class": {[]rec{{kind: start, class: "none"}, {wait: s10, kind: interim, seconds: 10, up: 5, class: "none"}, {wait: s10, kind: stop, seconds: 20, up: 6, class: "none"}},
			outcome{hotspot.Closed, 20, 6, 0, 0, 2 * s10, "unknown", []wire.EventKind{started, used, stopped}}},
		"Accounting-On, then more use": {[]rec{{kind: start}, {wait: s10, kind: nasOn}, {wait: s10, kind: interim, seconds: 20, up: 5}},
			outcome{hotspot.Live, 20, 5, 0, 0, 0, "", []wire.EventKind{started, wire.EventNASRestarted, used}}},
		"Accounting-Off, then the end of it": {[]rec{{kind: start}, {wait: s10, kind: hotspot.NASOff}, {wait: s10, kind: stop, seconds: 10, up: 1, delay: s10, cause: 11}},
			outcome{hotspot.Closed, 10, 1, 0, 0, s10, "NAS-Reboot", []wire.EventKind{started, wire.EventNASRestarted, stopped}}},
		"a Stop that claims to be 136 years late": {[]rec{{kind: start}, {wait: 2 * time.Hour, kind: stop, seconds: 3600, up: 1, delay: math.MaxUint32 * time.Second}},
			outcome{hotspot.Closed, 3600, 1, 0, 0, time.Hour, "unknown", []wire.EventKind{started, stopped}}},
		"Accounting-On twice": {[]rec{{kind: start}, {wait: s10, kind: nasOn}, {kind: nasOn}},
			outcome{hotspot.Suspect, 0, 0, 0, 0, 0, "", []wire.EventKind{started, wire.EventNASRestarted}}},
		"Accounting-On from before the session": {[]rec{{wait: s10, kind: start}, {wait: s10, kind: nasOn, delay: 15 * time.Second}},
			outcome{hotspot.Live, 0, 0, 0, s10, 0, "", []wire.EventKind{started}}},
		"Accounting-On of another NAS": {[]rec{{kind: start}, {wait: s10, kind: nasOn, nas: "nas2"}},
			outcome{hotspot.Live, 0, 0, 0, 0, 0, "", []wire.EventKind{started}}},
		"a suspect stops": {[]rec{{kind: start}, {wait: s10, kind: nasOn}, {wait: s10, kind: stop, seconds: 20, up: 1}},
			outcome{hotspot.Closed, 20, 1, 0, 0, 2 * s10, "unknown", []wire.EventKind{started, wire.EventNASRestarted, stopped}}},
	} {
		t.Run(name, func(t *testing.T) {
			s := cafe(t)
			v := s.mustLogin("bob", "hello", phone)
			for _, st := range tc.steps {
				s.play(v, st)
			}
			got := s.only()
			if got.State != tc.want.state || got.Time != time.Duration(tc.want.seconds)*time.Second || got.Upload != tc.want.up || got.Download != tc.want.down || got.Cause != tc.want.cause {
				t.Errorf("got %+v, want %+v", got, tc.want)
			}
			if want := noon.Add(tc.want.started); !got.StartedAt.Equal(want) {
				t.Errorf("started at %v, want %v", got.StartedAt, want)
			}
			if want := noon.Add(tc.want.ended); tc.want.ended != 0 && !got.EndedAt.Equal(want) || tc.want.ended == 0 && !got.EndedAt.IsZero() {
				t.Errorf("ended at %v, want %v", got.EndedAt, want)
			}
			if got.Permit != v.Permit || got.Account != "a-bob" || got.Pass != "p-bob" {
				t.Errorf("the session is of permit %q, account %q, pass %q", got.Permit, got.Account, got.Pass)
			}
			if kinds := s.kinds()[1:]; !slices.Equal(kinds, tc.want.kinds) {
				t.Errorf("events %v, want %v", kinds, tc.want.kinds)
			}
			want := hotspot.Usage{FirstUsed: noon, Time: got.Time, Upload: tc.want.up, Download: tc.want.down}
			if u := s.usage("p-bob"); u != want {
				t.Errorf("pass usage %+v, want %+v", u, want)
			}
		})
	}
}

// play lets time pass and sends one record of a verdict's session.
func (s *site) play(v hotspot.Verdict, st rec) {
	s.t.Helper()
	s.clock.Add(st.wait)
	mac := st.mac
	if mac.IsZero() {
		mac = phone
	}
	a := s.record(st.kind, v, mac, st.seconds, st.up, st.down)
	a.Delay, a.TerminateCause = st.delay, st.cause
	if st.nas != "" {
		a.NAS = st.nas
	}
	switch st.class {
	case "none":
		a.Class = nil
	case "other":
		a.Class = make([]byte, tokenBytes)
	}
	s.account(a)
}

// TestWhatNobodyPermittedIsKeptAndNotBilled covers forged and stray records.
func TestWhatNobodyPermittedIsKeptAndNotBilled(t *testing.T) {
	for name, stray := range map[string]rec{
		"a token of nobody":               {class: "other"},
		"from a NAS the permit is not of": {nas: "nas2"},
		"no Class, another MAC":           {class: "none", mac: laptop},
		"no Class, a boot too late":       {class: "none", wait: 6 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			s := cafe(t)
			v := s.mustLogin("bob", "hello", phone)
			for _, kind := range []hotspot.AccountingKind{start, interim, interim, stop} {
				st := stray
				st.kind = kind
				if kind != start {
					st.wait, st.seconds, st.up, st.down = time.Minute, 60, 1000, 1000
				}
				if st.kind != start && stray.wait > 0 {
					st.seconds = 60
				}
				s.play(v, st)
			}
			got := s.only()
			if got.Permit != "" || got.Account != "" || got.Pass != "" || got.State != hotspot.Closed || got.Upload != 1000 {
				t.Errorf("got %+v, want a closed session of nobody with its figures", got)
			}
			if u := s.usage("p-bob"); u.Upload != 0 || u.Time != 0 {
				t.Errorf("billed %+v", u)
			}
			if got := s.kinds()[1:]; !slices.Equal(got, []wire.EventKind{wire.EventSessionStarted, wire.EventSessionUsage, wire.EventSessionStopped}) {
				t.Errorf("events %v", got)
			}
		})
	}
}

func TestTheSessionEventIsTheWholeSession(t *testing.T) {
	s := cafe(t)
	v := s.mustLogin("bob", "hello", phone)
	a := s.record(start, v, phone, 0, 0, 0)
	a.IP, a.HostIP, a.Server, a.Port = netip.MustParseAddr("10.5.50.7"), netip.MustParseAddr("192.168.1.7"), "hotspot1", "bridge"
	s.account(a)
	s.clock.Add(time.Minute)
	a = s.record(interim, v, phone, 60, 5, 1<<33)
	s.account(a)
	all := s.events()
	var got wire.SessionBody
	s.must(json.Unmarshal(all[len(all)-1].Body, &got))
	want := wire.SessionBody{ID: got.ID, Permit: v.Permit, Account: "a-bob", Pass: "p-bob", NAS: nas, AcctSessionID: "80000001", Username: "bob",
		MAC: phone.String(), IP: "10.5.50.7", StartedAt: noon, HeardAt: noon.Add(time.Minute), TimeMS: 60_000, Upload: 5, Download: 1 << 33,
		State:     hotspot.Live,
		PassUsage: &wire.UsageBody{Pass: "p-bob", Account: "a-bob", FirstUsed: noon, TimeMS: 60_000, Upload: 5, Download: 1 << 33}}
	if got.ID == "" || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v %+v, want %+v", got, got.PassUsage, want)
	}
	open, err := s.OpenSessions(t.Context())
	s.must(err)
	if len(open) != 1 || open[0].HostIP != netip.MustParseAddr("192.168.1.7") || open[0].Server != "hotspot1" {
		t.Errorf("open sessions %+v", open)
	}
}

func TestAGhostThatSpeaksLives(t *testing.T) {
	s := cafe(t)
	v := s.mustLogin("bob", "hello", phone)
	s.play(v, rec{kind: start})
	s.play(v, rec{wait: time.Minute, kind: interim, seconds: 60, up: 5})
	s.clock.Add(ghostAfter + time.Second)
	s.must(s.ObserveActive(t.Context(), nas, nil, s.clock.Now()))
	if got := s.only(); got.State != hotspot.Closed || got.Cause != causeGhost || !got.EndedAt.Equal(noon.Add(time.Minute)) {
		t.Errorf("got %+v, want a ghost that ended when last heard", got)
	}
	s.play(v, rec{kind: interim, seconds: 60, up: 5})
	if got := s.only(); got.State != hotspot.Closed {
		t.Errorf("a repeat of what was known opened it again: %+v", got)
	}
	s.play(v, rec{kind: interim, seconds: 200, up: 9})
	if got := s.only(); got.State != hotspot.Live || !got.EndedAt.IsZero() || got.Cause != "" || got.Upload != 9 {
		t.Errorf("got %+v, want it live again", got)
	}
	s.play(v, rec{wait: time.Second, kind: stop, seconds: 201, up: 9, cause: 1})
	if got := s.only(); got.State != hotspot.Closed || got.Cause != "User-Request" {
		t.Errorf("got %+v, want it closed by its Stop", got)
	}
}

func TestAStopAfterOurOwnCloseIsTheTruth(t *testing.T) {
	s := cafe(t)
	v := s.mustLogin("bob", "hello", phone)
	s.play(v, rec{kind: start})
	s.clock.Add(ghostAfter + time.Second)
	s.must(s.ObserveActive(t.Context(), nas, nil, s.clock.Now()))
	s.play(v, rec{kind: stop, seconds: 100, up: 7, delay: 31 * time.Second})
	if got := s.only(); got.Upload != 7 || got.Time != 100*time.Second || !got.EndedAt.Equal(noon.Add(100*time.Second)) {
		t.Errorf("got %+v, want the Stop's own figures", got)
	}
	if u := s.usage("p-bob"); u.Upload != 7 || u.Time != 100*time.Second {
		t.Errorf("usage %+v", u)
	}
}

func TestADeviceHasOneSessionPerNAS(t *testing.T) {
	s := cafe(t)
	first := s.mustLogin("bob", "hello", phone)
	s.play(first, rec{kind: start})
	s.clock.Add(time.Minute)
	second := s.mustLogin("bob", "hello", phone)
	s.play(second, rec{kind: start})
	open, err := s.OpenSessions(t.Context())
	s.must(err)
	states := map[hotspot.PermitID]hotspot.SessionState{}
	for _, o := range open {
		states[o.Permit] = o.State
	}
	if states[first.Permit] != hotspot.Suspect || states[second.Permit] != hotspot.Live {
		t.Errorf("got %v, want the older one suspect", states)
	}
	s.clock.Add(time.Second)
	s.must(s.ObserveActive(t.Context(), nas, []hotspot.ActiveEntry{{MAC: phone, User: "bob"}}, s.clock.Now()))
	open, err = s.OpenSessions(t.Context())
	s.must(err)
	if len(open) != 1 || open[0].Permit != second.Permit {
		t.Errorf("after the list came: %+v, want the newer one only", open)
	}
}

func TestUseThatEndsAPassEndsItsCachedAccepts(t *testing.T) {
	s := newSite(t)
	s.cloud.guest("bob", "hello", hotspot.Limits{Total: 1000})
	s.start()
	v := s.mustLogin("bob", "hello", phone)
	s.play(v, rec{kind: start})
	s.play(v, rec{wait: time.Minute, kind: interim, seconds: 60, up: 400, down: 599})
	clear(s.refused)
	s.play(v, rec{wait: time.Minute, kind: interim, seconds: 120, up: 400, down: 600})
	if got := s.refused["a-bob"]; got <= v.Serial {
		t.Errorf("the caches were told serial %d, the Accept has %d", got, v.Serial)
	}
	if v := s.login("bob", "hello", laptop); v.Accept {
		t.Error("let in with nothing left")
	}
}

// TestMeteredTimeIsTheUnionOfWhatWasReported draws devices coming and going,
// reports at any moment, some late, and holds the pass against the plain union.
func TestMeteredTimeIsTheUnionOfWhatWasReported(t *testing.T) {
	s := newSite(t)
	s.start()
	guests := 0
	rapid.Check(t, func(rt *rapid.T) {
		guests++
		bob := fmt.Sprint("bob", guests)
		s.cloud.guest(bob, "hello", hotspot.Limits{Devices: 100, Clock: hotspot.Metered, Time: 1000 * time.Hour})
		s.apply()
		s.clock.Add(time.Hour)
		began := s.clock.Now()
		type device struct {
			v        hotspot.Verdict
			began    time.Time
			reported int
		}
		online := map[hotspot.MAC]*device{}
		covered := map[int64]bool{} // seconds since the story began
		report := func(mac hotspot.MAC, d *device, kind hotspot.AccountingKind, late time.Duration) {
			seconds := int(s.clock.Now().Add(-late).Sub(d.began) / time.Second)
			if seconds < d.reported {
				return
			}
			for at := d.reported; at < seconds; at++ {
				covered[int64(d.began.Sub(began)/time.Second)+int64(at)] = true
			}
			d.reported = seconds
			a := s.record(kind, d.v, mac, seconds, 0, 0)
			a.Delay = late
			s.account(a)
		}
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			s.clock.Add(time.Duration(rapid.IntRange(0, 150).Draw(rt, "wait")) * time.Second)
			mac := hotspot.MAC{2, 0, 0, 0, 0, byte(rapid.IntRange(1, 3).Draw(rt, "device"))}
			late := time.Duration(rapid.SampledFrom([]int{0, 0, 0, 1, 20}).Draw(rt, "late")) * time.Second
			switch d := online[mac]; {
			case d == nil:
				d = &device{v: s.mustLogin(bob, "hello", mac), began: s.clock.Now()}
				online[mac] = d
				report(mac, d, start, 0)
			case rapid.IntRange(0, 3).Draw(rt, "end") == 0:
				report(mac, d, stop, 0)
				delete(online, mac)
			default:
				report(mac, d, interim, late)
			}
		}
		if got, want := s.usage(hotspot.PassID("p-"+bob)).Time, time.Duration(len(covered))*time.Second; got != want {
			rt.Fatalf("counted %v, the devices were online for %v", got, want)
		}
	})
}

// TestADeviceAloneIsCountedByItsOwnTime: records that come a little sooner or
// later than the seconds they count, and a date that is set meanwhile by less than
// anybody would notice, neither give nor take of it.
func TestADeviceAloneIsCountedByItsOwnTime(t *testing.T) {
	s := newSite(t)
	s.cloud.guest("bob", "hello", hotspot.Limits{Devices: 2, Clock: hotspot.Metered, Time: 100 * time.Hour})
	s.start()
	v := s.mustLogin("bob", "hello", phone)
	s.play(v, rec{kind: start})
	seconds := 0
	for i, late := range []time.Duration{900, 0, 999, 500, 1, 0} { // milliseconds
		s.clock.Add(2*time.Minute + late*time.Millisecond)
		if i == 2 {
			s.clock.Set(-30 * time.Second)
		}
		seconds += 120
		if late == 0 {
			seconds += 1
		}
		s.play(v, rec{kind: interim, seconds: seconds})
		if got, want := s.usage("p-bob").Time, time.Duration(seconds)*time.Second; got != want {
			t.Fatalf("after record %d: counted %v, want %v", i, got, want)
		}
	}
}

func TestMeteredTimeSurvivesAClockSetBack(t *testing.T) {
	s := newSite(t)
	s.cloud.guest("bob", "hello", hotspot.Limits{Devices: 2, Clock: hotspot.Metered, Time: 100 * time.Hour})
	s.start()
	a, b := s.mustLogin("bob", "hello", phone), s.mustLogin("bob", "hello", laptop)
	s.play(a, rec{kind: start, mac: phone})
	s.play(b, rec{kind: start, mac: laptop})
	s.play(a, rec{wait: 2 * time.Minute, kind: interim, seconds: 120, mac: phone})
	s.play(b, rec{kind: interim, seconds: 120, mac: laptop})
	s.clock.Add(-time.Hour)
	s.play(a, rec{wait: 2 * time.Minute, kind: interim, seconds: 240, mac: phone})
	s.play(b, rec{kind: interim, seconds: 240, mac: laptop})
	s.clock.Add(5 * time.Hour)
	s.play(a, rec{wait: 2 * time.Minute, kind: stop, seconds: 360, mac: phone})
	s.play(b, rec{kind: stop, seconds: 360, mac: laptop})
	if got := s.usage("p-bob").Time; got != 6*time.Minute {
		t.Errorf("counted %v, want 6m0s", got)
	}
}

func TestStretchesAreBoundedAndNeverForgetWhatTheyCounted(t *testing.T) {
	var k stretches
	var total int64
	for i := range int64(1000) {
		total += k.add(i*1000, i*1000+100)
	}
	if len(k) > stretchBound || total != 100_000 {
		t.Errorf("%d stretches, %d counted; want at most %d, and 100000", len(k), total, stretchBound)
	}
	for i := range int64(1000) {
		if again := k.add(i*1000, i*1000+100); again != 0 {
			t.Fatalf("stretch %d was counted again: %d", i, again)
		}
	}
}

func TestTimesAreKeptToTheMillisecond(t *testing.T) {
	for _, at := range []time.Time{{}, noon, noon.Add(time.Millisecond), time.UnixMilli(1).UTC(), time.Date(2999, 1, 1, 0, 0, 0, 0, time.UTC)} {
		if got := fromMillis(millis(at)); !got.Equal(at) || got.IsZero() != at.IsZero() {
			t.Errorf("got %v, want %v", got, at)
		}
	}
}

// TestWhoLeftSinceIsKnown: a router's list is older than the store.
func TestWhoLeftSinceIsKnown(t *testing.T) {
	s := cafe(t)
	v := s.mustLogin("bob", "hello", phone)
	s.play(v, rec{kind: start})
	s.clock.Add(time.Minute)
	listed := s.clock.Now()
	s.clock.Add(time.Second)
	s.play(v, rec{kind: stop, seconds: 61})
	for at, want := range map[time.Time]int{listed: 1, s.clock.Now().Add(time.Second): 0} {
		left, err := s.EndedSince(t.Context(), at)
		s.must(err)
		if len(left) != want {
			t.Errorf("since %v: %d sessions ended, want %d", at, len(left), want)
		}
	}
}

package statuspage

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"iwas/internal/condition"
	"iwas/internal/hotspot"
	"iwas/internal/webui"
)

var t0 = time.Date(2026, 11, 24, 14, 2, 9, 0, time.UTC)

// well is a cafe where everything works, changed by the caller.
func well(change func(*Snapshot)) Snapshot {
	s := Snapshot{
		At: t0, Version: "v0.1.0", Started: t0.Add(-26 * time.Hour), Site: "Cafe Marea", Agent: "01k0agent00000000000000000", TimeZone: "Europe/Lisbon",
		Cloud:   Cloud{Enrolled: true, Connected: true, Since: t0.Add(-3 * time.Hour), LastContact: t0.Add(-4 * time.Second), Revision: 418, OffsetMS: 38, OffsetKnown: true},
		Routers: []Router{{NAS: "cafe1", Name: "Counter", API: true, Reachable: true, SeenAt: t0.Add(-2 * time.Second), Identity: "CAFE1", Version: "7.20.1 (stable)", Board: "hAP ax2", Uptime: 76 * time.Hour}},
		RADIUS: RADIUS{Bound: true, Addresses: []string{"authentication UDP 0.0.0.0:1812", "accounting UDP 0.0.0.0:1813"}, LastAnswer: t0.Add(-12 * time.Second),
			P95: 2100 * time.Microsecond, Accepts: 412, Rejects: 31, Accounting: 9210, Dropped: 3},
		Store:  Store{Open: true, Bytes: 48_230_400, DiskFree: 21_400_000_000, Accounts: 1204},
		Outbox: Outbox{Waiting: 2, Oldest: t0.Add(-time.Second)},
	}
	if change != nil {
		change(&s)
	}
	return s
}

// shown returns what a board shows once every delay is over.
func shown(s Snapshot) []condition.Open {
	b := condition.Board{Now: func() time.Time { return s.At.Add(-time.Hour) }}
	b.Replace("test", Found(s))
	return b.Open(s.At)
}

func offender(reason string, ago time.Duration) []Offender {
	return []Offender{{Source: "192.168.88.1", NAS: "cafe1", Reason: reason, Meaning: "what it means", N: 7, Last: t0.Add(-ago)}}
}

func TestVerdict(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*Snapshot)
		tone   webui.Tone
		title  string   // its beginning
		codes  []string // of what is shown
	}{
		{"all is well", nil, webui.Good, "Guests can log in", nil},
		{"the cloud is away", func(s *Snapshot) { s.Cloud.Connected = false }, webui.Good, "Guests can log in", []string{"CLD-101"}},
		{"the cloud refuses this box", func(s *Snapshot) {
			s.Cloud.Connected, s.Cloud.Problem, s.Cloud.Code = false, "the cloud refuses this identity", "CLD-103"
		}, webui.Good, "Guests can log in", []string{"CLD-103"}},
		{"the cloud is away for a reason without a code", func(s *Snapshot) { s.Cloud.Connected, s.Cloud.Problem = false, "odd" }, webui.Good, "Guests can log in", []string{"CLD-101"}},
		{"not enrolled, with accounts", func(s *Snapshot) { s.Cloud = Cloud{} }, webui.Good, "Guests can log in", []string{"CLD-106"}},
		{"not enrolled, and nobody known", func(s *Snapshot) { s.Cloud, s.Store.Accounts = Cloud{}, 0 }, webui.Bad, "Guests cannot log in: this box is not enrolled", []string{"CLD-106"}},
		{"the database will not open", func(s *Snapshot) { s.Store = Store{Problem: "no rights"} }, webui.Bad, "Guests cannot log in: the database will not open", []string{"DB-108"}},
		{"the database is damaged", func(s *Snapshot) { s.Store = Store{Problem: "malformed", Code: "DB-101"} }, webui.Bad, "Guests cannot log in: the database is damaged", []string{"DB-101"}},
		{"RADIUS cannot listen", func(s *Snapshot) { s.RADIUS.Bound, s.RADIUS.Problem = false, "UDP 1812 is taken" }, webui.Bad, "Guests cannot log in: the RADIUS port is taken", []string{"RAD-101"}},
		{"starting", func(s *Snapshot) { s.RADIUS.Bound = false }, webui.Info, "Starting: guests cannot log in yet", nil},
		{"no router configured", func(s *Snapshot) { s.Routers = nil }, webui.Bad, "Guests cannot log in: no router is configured", []string{"RTR-109"}},
		{"no router has asked yet", func(s *Snapshot) { s.RADIUS.LastAnswer, s.RADIUS.Accepts = time.Time{}, 0 }, webui.Info, "Ready for guests to log in", nil},
		{"a router without API", func(s *Snapshot) { s.Routers[0] = Router{NAS: "cafe1", Name: "Counter"} }, webui.Good, "Guests can log in", []string{"RTR-110"}},
		{"a router without API that is deaf to disconnects", func(s *Snapshot) { s.Routers[0] = Router{NAS: "cafe1", Name: "Counter", Silent: true} }, webui.Good, "Guests can log in", []string{"RAD-104", "RTR-110"}},
		{"the router's API is away", func(s *Snapshot) { s.Routers[0].Reachable, s.Routers[0].Problem = false, "no answer" }, webui.Good, "Guests can log in", []string{"RTR-101"}},
		{"the router's certificate changed", func(s *Snapshot) {
			s.Routers[0].Reachable, s.Routers[0].Problem, s.Routers[0].Code = false, "not the one trusted", "RTR-104"
		}, webui.Good, "Guests can log in", []string{"RTR-104"}},
		{"the network leaks", func(s *Snapshot) { s.Routers[0].Ways = []Way{{"HSP-201", "fasttrack"}, {"HSP-204", "trial"}} }, webui.Good, "Guests can log in", []string{"HSP-201", "HSP-204"}},
		{"wrong secret from the first day", func(s *Snapshot) {
			s.RADIUS = RADIUS{Bound: true, Offenders: offender("bad_message_authenticator", time.Second), Dropped: 7}
		}, webui.Bad, "Guests cannot log in: the RADIUS secret is not the same on both sides", []string{"RAD-103"}},
		{"wrong secret, passwords unreadable", func(s *Snapshot) {
			s.RADIUS.Accepts, s.RADIUS.Offenders = 0, offender("undecodable_password", time.Second)
		}, webui.Bad, "Guests cannot log in: the RADIUS secret", []string{"RAD-103"}},
		{"wrong secret since an hour", func(s *Snapshot) {
			s.RADIUS.LastAnswer, s.RADIUS.Offenders = t0.Add(-time.Hour), offender("bad_authenticator", time.Second)
		}, webui.Bad, "Guests cannot log in: the RADIUS secret", []string{"RAD-103"}},
		{"one bad packet among good ones", func(s *Snapshot) { s.RADIUS.Offenders = offender("bad_authenticator", time.Second) }, webui.Warn, "Some guests may be unable to log in: the RADIUS secret", []string{"RAD-103"}},
		{"a wrong secret that was mended", func(s *Snapshot) { s.RADIUS.Offenders = offender("bad_authenticator", 6*time.Minute) }, webui.Good, "Guests can log in", nil},
		{"only strangers ask", func(s *Snapshot) {
			s.RADIUS = RADIUS{Bound: true, Offenders: offender("unknown_nas", time.Second), Dropped: 7}
		}, webui.Bad, "Guests cannot log in: RADIUS comes from an address that is no router of ours", []string{"RAD-102"}},
		{"a stranger among good ones, before the first accept", func(s *Snapshot) {
			s.RADIUS.Accepts, s.RADIUS.Offenders = 0, offender("unknown_nas", time.Second)
		}, webui.Warn, "Some guests may be unable to log in: RADIUS comes", []string{"RAD-102"}},
		{"malformed packets harm nobody", func(s *Snapshot) { s.RADIUS.Offenders = offender("malformed_length", time.Second) }, webui.Good, "Guests can log in", nil},
		{"too many requests", func(s *Snapshot) { s.RADIUS.Offenders = offender("queue_full", time.Second) }, webui.Good, "Guests can log in", []string{"RAD-106"}},
		{"the disk is low", func(s *Snapshot) { s.Store.DiskFree = 499 << 20 }, webui.Good, "Guests can log in", []string{"DB-102"}},
		{"the disk's room is not known", func(s *Snapshot) { s.Store.DiskFree = 0 }, webui.Good, "Guests can log in", nil},
		{"the clock is ahead", func(s *Snapshot) { s.Cloud.OffsetMS = -2001 }, webui.Good, "Guests can log in", []string{"CLK-101"}},
		{"the clock is nearly right", func(s *Snapshot) { s.Cloud.OffsetMS = 2000 }, webui.Good, "Guests can log in", nil},
		{"the outbox is full", func(s *Snapshot) { s.Outbox = Outbox{Waiting: 900_000, Oldest: t0, Full: true, Folded: 40_000} }, webui.Good, "Guests can log in", []string{"OUT-102"}},
		{"the outbox is old", func(s *Snapshot) { s.Outbox = Outbox{Waiting: 900, Oldest: t0.Add(-16 * time.Minute)} }, webui.Good, "Guests can log in", []string{"OUT-101"}},
		{"the outbox is old because the cloud was away until now", func(s *Snapshot) {
			s.Outbox, s.Cloud.Since = Outbox{Waiting: 900, Oldest: t0.Add(-16 * time.Minute)}, t0.Add(-time.Minute)
		}, webui.Good, "Guests can log in", nil},
		{"the cloud is away and the outbox old", func(s *Snapshot) {
			s.Cloud.Connected, s.Outbox = false, Outbox{Waiting: 900, Oldest: t0.Add(-16 * time.Minute)}
		}, webui.Good, "Guests can log in", []string{"CLD-101"}},
		{"documents not in force", func(s *Snapshot) { s.Cloud.NotInForce = 2 }, webui.Good, "Guests can log in", []string{"UPD-101"}},
		{"device-mode shuts the only HotSpot", func(s *Snapshot) { s.Routers[0].Health = shutHotSpot(s.At) }, webui.Bad, "Guests cannot log in: the router's device-mode has switched the HotSpot off", []string{"HSP-220"}},
		{"device-mode shuts one of two HotSpots", func(s *Snapshot) {
			s.Routers[0].Health = shutHotSpot(s.At)
			s.Routers = append(s.Routers, Router{NAS: "attic", Name: "Attic", API: true, Reachable: true})
		}, webui.Warn, "Some guests may be unable to log in: the router's device-mode has switched the HotSpot off", []string{"HSP-220"}},
		{"somebody else's finding keeps guests out", func(s *Snapshot) { s.Findings = []condition.Finding{{Code: "HSP-101", Subject: "cafe1"}} }, webui.Bad, "Guests cannot log in: the router has no HotSpot server in force", []string{"HSP-101"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := well(test.change)
			open := shown(s)
			var codes []string
			for _, o := range open {
				codes = append(codes, o.Code)
			}
			if !slices.Equal(codes, test.codes) {
				t.Errorf("got conditions %v, want %v", codes, test.codes)
			}
			v := judge(s, open)
			if v.Tone != test.tone || !strings.HasPrefix(v.Title, test.title) {
				t.Errorf("got %s %q, want %s %q", v.Tone, v.Title, test.tone, test.title)
			}
			if why, ok := readiness(s); !ok && v.Tone != webui.Bad && !strings.HasPrefix(v.Title, "Starting") {
				t.Errorf("not ready (%s), and the verdict is %s %q", why, v.Tone, v.Title)
			}
		})
	}
}

func readiness(s Snapshot) (string, bool) {
	ok, why, _ := s.Ready()
	return why, ok
}

func TestReadyDoesNotNeedTheCloud(t *testing.T) {
	s := well(func(s *Snapshot) { s.Cloud.Connected, s.Cloud.Problem = false, "away" })
	if why, ok := readiness(s); !ok {
		t.Errorf("not ready: %s", why)
	}
}

func TestEveryFindingIsInTheCatalogueAndSaysWhere(t *testing.T) {
	s := well(func(s *Snapshot) {
		s.Routers = append(s.Routers, Router{NAS: "attic", Name: "Attic"}, Router{NAS: "yard", Name: "Yard", API: true, Problem: "no answer"})
		s.RADIUS.Offenders = append(offender("unknown_nas", 0), offender("bad_authenticator", 0)...)
		s.Store.DiskFree, s.Cloud.OffsetMS, s.Cloud.NotInForce = 1, 5000, 3
	})
	found := Found(s)
	if len(found) != 7 {
		t.Errorf("got %d findings, want 7: %+v", len(found), found)
	}
	for _, f := range found {
		if _, ok := condition.Lookup(f.Code); !ok {
			t.Errorf("%s is not in the catalogue", f.Code)
		}
		if f.Text == "" {
			t.Errorf("%s says nothing about where", f.Code)
		}
	}
}

// One source that sends with many wrong secrets is one condition.
func TestOffendersOfOneKindAreOneCondition(t *testing.T) {
	s := well(func(s *Snapshot) {
		for _, reason := range []string{"bad_authenticator", "bad_message_authenticator", "undecodable_password"} {
			s.RADIUS.Offenders = append(s.RADIUS.Offenders, offender(reason, time.Second)...)
		}
	})
	if found := Found(s); len(found) != 1 || found[0].Code != "RAD-103" || found[0].Subject != "cafe1" {
		t.Errorf("got %+v, want one RAD-103 of cafe1", found)
	}
}

func TestTilesSayWhatIsKnownOnly(t *testing.T) {
	text := func(tiles []webui.Tile) string {
		var b strings.Builder
		for _, x := range tiles {
			b.WriteString(x.Label + " | " + x.Badge.Text + " | " + x.Value + " " + x.Unit + " | " + x.Detail + " | " + string(x.Age) + "\n")
		}
		return b.String()
	}
	for _, test := range []struct {
		name   string
		change func(*Snapshot)
		want   []string
	}{
		{"all is well", nil, []string{"Cloud link | Connected | 418 is the revision held", "Router | Answers | 1 of 1", "95 % of answers within 2 ms", "38 ms ahead of this one", "21.4 GB free"}},
		{"before anything happened", func(s *Snapshot) { *s = Snapshot{At: t0, Version: "v0", Started: t0} },
			[]string{"Cloud link | Not enrolled | –", "Router | None | 0 configured", "RADIUS | Starting", "Clock | Not compared", "database | Not open | –", "Outbox | Kept here", "Nobody is online"}},
		{"never heard from the cloud", func(s *Snapshot) { s.Cloud.LastContact, s.Cloud.OffsetKnown = time.Time{}, false }, []string{"No message from it yet", "Not compared"}},
		{"never seen the router", func(s *Snapshot) { s.Routers[0].Reachable, s.Routers[0].SeenAt = false, time.Time{} }, []string{"Does not answer | 0 of 1", "Never seen since the start"}},
		{"a session not confirmed, one logging in", func(s *Snapshot) {
			s.Sessions = []Session{{State: hotspot.Live, HeardAt: t0}, {State: hotspot.Suspect}, {State: hotspot.Reserved}}
		}, []string{"Sessions now | 1 not confirmed | 2 open"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := well(test.change)
			got := text(newBoard(s, shown(s)).Tiles)
			for _, want := range test.want {
				if !strings.Contains(got, want) {
					t.Errorf("got\n%s\nwant %q in it", got, want)
				}
			}
		})
	}
}

func TestTheSitesZoneIsNamed(t *testing.T) {
	own, _ := t0.Local().Zone()
	for _, test := range []struct{ zone, want string }{{"Europe/Lisbon", "Europe/Lisbon"}, {"", own}, {"Not/AZone", own}} {
		s := well(func(s *Snapshot) { s.TimeZone = test.zone })
		if got := zoneOf(s).String(); got != test.want || got == "Local" {
			t.Errorf("zone %q: got %q, want %q", test.zone, got, test.want)
		}
	}
}

// What a router tries by itself must not hide what a person typed wrong.
func TestDevicesThatOnlyAppearedAreCountedNotListed(t *testing.T) {
	s := Snapshot{Rejects: []Reject{{Username: "02:00:00:00:00:01", Appeared: true}, {Username: "ada"}, {Username: "02:00:00:00:00:02", Appeared: true}}}
	b := newBoard(s, nil)
	if len(b.Rejects) != 1 || b.Rejects[0].Username != "ada" || b.Appeared != 2 || len(s.Rejects) != 3 {
		t.Errorf("got %d listed, %d counted, %d of the snapshot left; want 1, 2 and 3", len(b.Rejects), b.Appeared, len(s.Rejects))
	}
}

func TestTheNextStepStandsByItself(t *testing.T) {
	const next = "Do this."
	for _, tc := range []struct{ text, what, next string }{
		{"Counter: it is so: do this.", "Counter: it is so.", next},
		{"Counter: it is so; Do this.", "Counter: it is so.", next},
		{"Counter: do this, or that.", "Counter: do this, or that.", ""},
		{"Do this.", "Do this.", ""},
		{"so", "so", ""},
	} {
		if what, step := apart(tc.text, next); what != tc.what || step != tc.next {
			t.Errorf("%q: got %q and %q, want %q and %q", tc.text, what, step, tc.what, tc.next)
		}
	}
}

func TestWhoWaitsIsNamed(t *testing.T) {
	waits := func(name, code string, lock bool) Waiting {
		return Waiting{Username: name, Lock: lock, Code: code, Problem: "it said no", Tries: 3}
	}
	for _, tc := range []struct {
		name   string
		change func(*Snapshot)
		want   []string // subject and text
	}{
		{"one lock", func(s *Snapshot) { s.Waiting = []Waiting{waits("omar", "HSP-206", true)} }, []string{"cafe1|Counter: the lock of omar is not proven: it said no"}},
		{"one whose time is over", func(s *Snapshot) { s.Waiting = []Waiting{waits("omar", "HSP-206", false)} }, []string{"cafe1|Counter: omar must be off, which is not proven: it said no"}},
		{"many", func(s *Snapshot) {
			for _, n := range []string{"a", "b", "c", "d", ""} {
				s.Waiting = append(s.Waiting, waits(n, "HSP-206", true))
			}
		}, []string{"cafe1|Counter: the lock of a, b, c and 2 more is not proven: it said no"}},
		{"nobody known", func(s *Snapshot) { s.Waiting = []Waiting{waits("", "HSP-206", true), waits("", "HSP-206", true)} },
			[]string{"cafe1|Counter: the lock of a guest not known here and 1 more is not proven: it said no"}},
		{"of a router that is known to be away", func(s *Snapshot) {
			s.Routers[0].Problem, s.Routers[0].Code = "no route", "RTR-101"
			s.Waiting = []Waiting{waits("omar", "RTR-101", true)}
		}, []string{"cafe1|Counter: no route; the lock of omar is not proven"}},
		{"of which router is not known", func(s *Snapshot) {
			s.Routers = append(s.Routers, Router{NAS: "cafe2", Name: "Yard", API: true, Reachable: true})
			s.Waiting = []Waiting{waits("omar", "HSP-206", true)}
		}, []string{"|the lock of omar is not proven: it said no"}},
		{"without a code", func(s *Snapshot) { s.Waiting = []Waiting{waits("omar", "", true)} }, nil},
	} {
		var got []string
		for _, f := range Found(well(tc.change)) {
			got = append(got, f.Subject+"|"+f.Text)
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%s: got %q, want %q", tc.name, got, tc.want)
		}
	}
}

func TestWaysOfOneCodeAreOneCondition(t *testing.T) {
	found := Found(well(func(s *Snapshot) {
		s.Routers[0].Ways = []Way{{"HSP-205", "omar"}, {"HSP-201", "fast"}, {"HSP-205", "tess"}, {"HSP-205", "omar"}}
	}))
	if len(found) != 2 || found[0].Text != "Counter: omar; tess" || found[1].Text != "Counter: fast" {
		t.Errorf("got %+v, want both guests in one condition", found)
	}
}

// A router that has shown the right secret since is no longer said to have a wrong one.
func TestAWrongSecretIsOverOnceProven(t *testing.T) {
	for _, tc := range []struct {
		proven time.Duration // before the moment of the page
		want   int
	}{{time.Second, 0}, {time.Minute, 1}} {
		s := well(func(s *Snapshot) {
			s.RADIUS.Offenders = offender("bad_authenticator", 10*time.Second)
			s.Routers[0].ProvenAt = t0.Add(-tc.proven)
		})
		if got := Found(s); len(got) != tc.want {
			t.Errorf("proven %v ago, wrong 10 s ago: got %+v, want %d", tc.proven, got, tc.want)
		}
	}
}

// A reader who leaves cuts the snapshot short; that says nothing of the database.
func TestASnapshotCutShortRaisesNothing(t *testing.T) {
	s := &Server{Snapshot: func(ctx context.Context) Snapshot {
		if ctx.Err() != nil {
			return well(func(s *Snapshot) { s.Store = Store{Problem: "context canceled"} })
		}
		return well(nil)
	}}
	gone, leave := context.WithCancel(t.Context())
	leave()
	s.look(gone)
	if got := s.Board.Report(time.Now()); len(got) != 0 {
		t.Errorf("got %+v, want nothing", got)
	}
}

// shutHotSpot is a router whose HotSpot is set up and kept from running.
func shutHotSpot(at time.Time) *Health {
	return &Health{HotSpot: HotSpot{Reading: Reading{At: at}, Mode: "home", Locked: true}, Pools: Pools{Reading: Reading{At: at}}, WAN: WAN{Up: true}}
}

package statuspage

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"iwas/internal/hotspot"
	"iwas/internal/webui/webuitest"
)

// busy is a working cafe with something in every list.
func busy() Snapshot {
	given := "2M/10M"
	return well(func(s *Snapshot) {
		for i, x := range []struct {
			name  string
			state hotspot.SessionState
		}{{"mara", hotspot.Live}, {"K7QM-PDXW", hotspot.Live}, {"DE:AD:BE:EF:00:03", hotspot.Suspect}, {"joão.with.a.very.long.name@visitors.example.org", hotspot.Live}, {"", hotspot.Reserved}} {
			s.Sessions = append(s.Sessions, Session{Username: x.name, MAC: fmt.Sprintf("DE:AD:%02X:··:··:··", i), IP: fmt.Sprintf("10.20.0.%d", 17+i), NAS: "cafe1", State: x.state,
				StartedAt: s.At.Add(-time.Duration(i*37+3) * time.Minute), HeardAt: s.At.Add(-time.Duration(i*11+4) * time.Second),
				Upload: hotspot.Octets(i * 18_423_000), Download: hotspot.Octets(i * 742_000_000), Rate: &given, QueueAt: s.At.Add(-12 * time.Second),
				Device: []*Device{{ReadAt: s.At.Add(-12 * time.Second), Seen: true, Authorized: true, Cookie: MACCookie, CookieUser: x.name, CookieUntil: s.At.Add(70 * time.Hour)}, {ReadAt: s.At.Add(-12 * time.Second), Seen: true, IdleS: 95, Cookie: BrowserCookie, CookieUser: "mara", CookieUntil: s.At.Add(70 * time.Hour)},
					{ReadAt: s.At.Add(-12 * time.Second)}, {ReadAt: s.At.Add(-12 * time.Second), Seen: true, Bypassed: true, Address: "10.20.3.9"}, nil}[i],
				Queue: &Queue{LimitUp: 2_000_000, LimitDown: hotspot.Rate(10_000_000 - i%2*5_000_000), Down: hotspot.Rate(i * 1_310_000)}})
		}
		s.Routers[0].Health = healthyRouter()
		s.Foreign = []Foreign{{NAS: "cafe1", Username: "T-DE:AD:BE:EF:00:07", MAC: "DE:AD:BE:··:··:··", IP: "10.20.0.77", LoginBy: "trial", Since: s.At.Add(-14 * time.Minute), SeenAt: s.At.Add(-2 * time.Second)}}
		s.Locks = []Lock{
			{Username: "tess", Reason: "not paid", By: "Ana", AskedAt: s.At.Add(-9 * time.Second), ReceivedAt: s.At.Add(-9 * time.Second)},
			{Username: "omar", Reason: "abuse", By: "Ana", AskedAt: s.At.Add(-3 * time.Minute), ReceivedAt: s.At.Add(-3 * time.Minute), Outcome: hotspot.OutcomePending, Tries: 4, Code: "RTR-101", Problem: "the router does not answer"},
			{Username: "luis", By: "Rui", AskedAt: s.At.Add(-26 * time.Hour), ReceivedAt: s.At.Add(-26 * time.Hour), EndedAt: s.At.Add(-26*time.Hour + time.Second), Outcome: hotspot.OutcomeEnforced},
			{Username: "kim", By: "Rui", AskedAt: s.At.Add(-49 * time.Hour), ReceivedAt: s.At.Add(-49 * time.Hour), EndedAt: s.At.Add(-49 * time.Hour), Outcome: hotspot.OutcomeLeaks},
		}
		s.Commands = commandsOf(s.At)
		s.Rejects = []Reject{
			{At: s.At.Add(-12 * time.Second), Username: "tess", MAC: "DE:AD:BE:··:··:··", Reason: hotspot.ReasonLocked, Meaning: "the account is locked", Message: "This account is locked. Please ask at the counter."},
			{At: s.At.Add(-3 * time.Minute), Until: s.At.Add(-20 * time.Second), Times: 412, Flood: true, NAS: "cafe1", Silent: true, Username: "K7QM-PDXW", MAC: "DE:AD:01:··:··:··", Reason: hotspot.ReasonDuplicates, Meaning: "the same request came again and again: the answers of this box do not arrive at the router (firewall, another route back), its timeout is too short, or somebody replays"},
			{At: s.At.Add(-9 * time.Minute), Until: s.At.Add(-time.Minute), Times: 20_013, Flood: true, Others: true, Source: "192.168.88.7", Silent: true, Reason: hotspot.ReasonUnknownNAS, Meaning: "no router with this address is configured here: add it as a [[nas]], or set src-address of /radius on the router"},
			{At: s.At.Add(-7 * time.Minute), NAS: "cafe1", Times: 3, Until: s.At.Add(-2 * time.Minute), Username: "mara", MAC: "DE:AD:00:··:··:··", Reason: hotspot.ReasonBadPassword, Meaning: "the password is wrong", Message: "Wrong name or password."},
			{At: s.At.Add(-3 * time.Hour), Reason: hotspot.ReasonNoCredential, Meaning: "neither password nor CHAP response was sent"},
			{At: s.At.Add(-4 * time.Hour), Username: "DE:AD:BE:EF:00:01", Appeared: true}, {At: s.At.Add(-5 * time.Hour), Username: "DE:AD:BE:EF:00:02", Appeared: true},
		}
		for i := range rowsOpen { // more than stand open
			s.Rejects = append(s.Rejects, Reject{At: s.At.Add(-time.Duration(6+i) * time.Hour), NAS: "cafe1", Username: fmt.Sprintf("guest%d", i), Reason: hotspot.ReasonExpired, Meaning: "the pass has ended"})
		}
	})
}

// broken is a cafe where little works.
func broken() Snapshot {
	s := busy()
	s.Cloud.Connected, s.Cloud.Problem, s.Cloud.Code = false, "The cloud refuses this identity (revoked, or replaced by a newer enrolment): enrol this box again.", "CLD-103"
	s.Cloud.OffsetMS, s.Cloud.NotInForce = -192_000, 2
	s.Routers = append(s.Routers, Router{NAS: "attic", Name: "Attic", API: true, Problem: "its certificate (SHA-256 4fa6cb7f13407bac1568bff2b0a3f268be7af074b01a7e45bd5a5eafa994e2be) is not the one trusted", Code: "RTR-104"},
		Router{NAS: "yard", Name: "Yard"})
	h := s.Routers[0].Health
	h.WAN.Up, h.Pools.List[0].Used, h.System.RestartedAt, h.Restarts = false, 238, s.At.Add(-9*time.Minute), 1
	h.Sensors.List[0].Value, h.Sensors.List[0].Hot, h.System.MemoryFree, h.System.BadBlocks = 94, true, 60_000_000, 1.3
	h.Leases.Problem, h.Leases.Code = "/ip/dhcp-server/lease/print: not enough permissions (9)", "RTR-105"
	s.Routers[0].Ways = []Way{{"HSP-201", "connections of guests are fasttracked: accept guest traffic above the fasttrack rule, or limit that rule to other networks"}}
	s.RADIUS.Offenders = []Offender{
		{Source: "192.168.88.7", Reason: "unknown_nas", Meaning: "no router with this address is configured here: add it as a [[nas]], or set src-address of /radius on the router", N: 1, Last: s.At.Add(-20 * time.Second)},
		{Source: "2001:db8:12:20:aaaa:bbbb:cccc:dddd", NAS: "attic", Reason: "bad_authenticator", Meaning: "the shared secret of /radius on the router is not the one configured here", N: 1204, Last: s.At.Add(-3 * time.Second)},
	}
	s.RADIUS.LastAnswer = s.At.Add(-2 * time.Hour)
	s.Store.DiskFree, s.Outbox = 148_000_000, Outbox{Waiting: 4127, Oldest: s.At.Add(-5 * time.Hour)}
	return s
}

// site serves a snapshot that grows older with the clock, and whose conditions
// are past their delays.
func site(t *testing.T, make func() Snapshot) (origin string, stop func() error) {
	t.Helper()
	shift := time.Since(t0)
	s := &Server{Snapshot: func(context.Context) Snapshot { return moved(make(), shift) }, Minutes: day, Why: answered}
	s.init()
	s.Board.Now = func() time.Time { return time.Now().Add(-time.Hour) }
	addr, stop := serve(t, s)
	return "http://" + addr, stop
}

// moved makes the snapshot one of now.
func moved(s Snapshot, by time.Duration) Snapshot {
	for _, at := range []*time.Time{&s.At, &s.Started, &s.Cloud.Since, &s.Cloud.LastContact, &s.RADIUS.LastAnswer, &s.Outbox.Oldest} {
		if !at.IsZero() {
			*at = at.Add(by)
		}
	}
	for i := range s.Routers {
		s.Routers[i].SeenAt = s.Routers[i].SeenAt.Add(by)
		if h := s.Routers[i].Health; h != nil {
			for _, at := range []*time.Time{&h.System.At, &h.System.RestartedAt, &h.Sensors.At, &h.Board.At, &h.WAN.At, &h.Traffic.At, &h.Pools.At, &h.Leases.At, &h.Queues.At, &h.Devices.At, &h.Log.At} {
				*at = at.Add(by)
			}
			for i := range h.History {
				h.History[i].At = h.History[i].At.Add(by)
			}
		}
	}
	for i := range s.RADIUS.Offenders {
		s.RADIUS.Offenders[i].Last = s.RADIUS.Offenders[i].Last.Add(by)
	}
	for i := range s.Sessions {
		s.Sessions[i].QueueAt = s.Sessions[i].QueueAt.Add(by)
		if d := s.Sessions[i].Device; d != nil {
			moved := *d
			moved.ReadAt = d.ReadAt.Add(by)
			if d.Cookie != "" {
				moved.CookieUntil = d.CookieUntil.Add(by)
			}
			s.Sessions[i].Device = &moved
		}
		s.Sessions[i].StartedAt, s.Sessions[i].HeardAt = s.Sessions[i].StartedAt.Add(by), s.Sessions[i].HeardAt.Add(by)
	}
	for i := range s.Foreign {
		s.Foreign[i].Since = s.Foreign[i].Since.Add(by)
	}
	for i := range s.Locks {
		s.Locks[i].AskedAt, s.Locks[i].ReceivedAt = s.Locks[i].AskedAt.Add(by), s.Locks[i].ReceivedAt.Add(by)
		if !s.Locks[i].EndedAt.IsZero() {
			s.Locks[i].EndedAt = s.Locks[i].EndedAt.Add(by)
		}
	}
	for i := range s.Commands {
		for _, at := range []*time.Time{&s.Commands[i].ReceivedAt, &s.Commands[i].ExpiresAt, &s.Commands[i].StartedAt, &s.Commands[i].EndedAt} {
			if !at.IsZero() {
				*at = at.Add(by)
			}
		}
	}
	for i := range s.Rejects {
		s.Rejects[i].At = s.Rejects[i].At.Add(by)
		if !s.Rejects[i].Until.IsZero() {
			s.Rejects[i].Until = s.Rejects[i].Until.Add(by)
		}
	}
	return s
}

func TestThePageIsLegible(t *testing.T) {
	t.Parallel()
	browser := webuitest.Start(t)
	some := []webuitest.View{{Width: 360}, {Width: 1280, Dark: true}}
	for _, test := range []struct {
		name    string
		make    func() Snapshot
		path    string
		verdict string // as the page says it; "" is a page without
		views   []webuitest.View
	}{
		{"busy", busy, "/", "Guests can log in", webuitest.Views},
		{"broken", broken, "/", "Guests cannot log in: RADIUS comes from an address that is no router of ours", webuitest.Views},
		{"new", func() Snapshot { return Snapshot{At: t0, Version: "v0.1.0", Started: t0, Store: Store{Open: true}} }, "/", "Starting: guests cannot log in yet", some},
		{"day", busy, "/?span=24h", "Guests can log in", webuitest.Views},
		{"why", busy, "/why?q=mara", "", webuitest.Views},
		{"why-empty", busy, "/why", "", some},
		{"help", busy, "/help/RTR-109", "", some},
		{"codes", busy, "/help/", "", some},
	} {
		origin, stop := site(t, test.make)
		tab := browser.Open(t, origin, nil)
		tab.Visit(t, test.path)
		if got := tab.Received(); got > 150_000 {
			t.Errorf("%s: %d bytes crossed the wire, want at most 150,000", test.name, got)
		}
		if test.verdict != "" {
			var got string // in one step: the live page replaces its elements
			tab.Do(t, "read the verdict", chromedp.Evaluate(`document.querySelector("#verdict .title").textContent`, &got))
			if got != test.verdict {
				t.Errorf("%s: got verdict %q, want %q", test.name, got, test.verdict)
			}
		}
		for _, v := range test.views {
			tab.Inspect(t, test.name, v)
		}
		tab.Close()
		if err := stop(); err != nil {
			t.Error(err)
		}
	}
}

func TestEveryConditionShownLeadsToItsHelp(t *testing.T) {
	t.Parallel()
	origin, stop := site(t, broken)
	tab := webuitest.Start(t).Open(t, origin, nil)
	tab.Visit(t, "/")
	tab.Do(t, "follow the first condition", chromedp.WaitVisible(`#alerts a[href^="/help/"]`),
		chromedp.Evaluate(`document.querySelector('#alerts a[href^="/help/"]').click()`, nil), // at once: the live page may replace what was found a moment ago
		chromedp.WaitVisible(".prose"))
	if got := tab.Text(t, "h1"); !strings.HasPrefix(got, "RAD-10") {
		t.Errorf("got help on %q, want on the worst condition", got)
	}
	tab.Do(t, "go back", chromedp.Click(`.trail a[href="/"]`, chromedp.NodeVisible), chromedp.WaitVisible("#verdict"))
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestThePageSaysThatItIsNotLive(t *testing.T) {
	t.Parallel() // it waits for the 10 s of silence
	origin, stop := site(t, busy)
	tab := webuitest.Start(t).Open(t, origin, nil)
	tab.Visit(t, "/")
	var stale bool
	look := func() bool {
		tab.Do(t, "look", chromedp.Evaluate(`!document.getElementById("not-live").hidden`, &stale))
		return stale
	}
	if look() {
		t.Error("a page just loaded says that it is not live")
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	gone := time.Now()
	for !look() {
		if time.Since(gone) > 12*time.Second {
			t.Fatal("12 s after the server went the page still looks fresh")
		}
		time.Sleep(50 * time.Millisecond)
	}
	tab.Inspect(t, "not-live", webuitest.View{Width: 360})
}

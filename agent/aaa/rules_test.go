package aaa

import (
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"iwas/internal/hotspot"
)

func speed(t testing.TB, text string) hotspot.RateLimit {
	t.Helper()
	r, err := hotspot.ParseRateLimit(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func hours(t testing.TB, texts ...string) hotspot.Hours {
	t.Helper()
	h, err := hotspot.ParseHours(texts)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func berlin(t testing.TB) *time.Location {
	t.Helper()
	z, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// hello is the right login of the account that user makes.
func hello(mac hotspot.MAC) hotspot.Request {
	return hotspot.Request{Username: "bob", Credential: clear("hello"), MAC: mac}
}

func TestEverySpellingOfAMACLogsTheDeviceIn(t *testing.T) {
	f := hotspot.Facts{Account: &hotspot.Account{Kind: hotspot.Device, Username: phone.String()}, Pass: &hotspot.Pass{}, Now: now}
	for _, name := range []string{"AA:BB:CC:00:00:01", "AA-BB-CC-00-00-01", "AABBCC000001", "AABBCC:000001", "AABBCC-000001", "AABB:CC00:0001", "AABB-CC00-0001"} {
		for _, spelled := range []string{name, strings.ToLower(name)} {
			for form, c := range map[string]hotspot.Credential{"no password": {}, "empty": clear(""), "empty CHAP": chap(""), "the name": clear(spelled), "the name by CHAP": chap(spelled)} {
				if got := Decide(f, hotspot.Request{Username: spelled, MAC: phone, Credential: c}); !got.Accept {
					t.Errorf("%s with %s: got %q, want accept", spelled, form, got.Reason)
				}
				if got := Decide(f, hotspot.Request{Username: spelled, MAC: laptop, Credential: c}); got.Reason != hotspot.ReasonMACMismatch {
					t.Errorf("%s with %s from another device: got %q, want %q", spelled, form, got.Reason, hotspot.ReasonMACMismatch)
				}
			}
		}
	}
}

func TestHoursAllowAndEndTheSession(t *testing.T) {
	at := func(text string) time.Time {
		when, err := time.Parse("2006-01-02 15:04:05.000 -0700", text)
		if err != nil {
			t.Fatal(err)
		}
		return when
	}
	for name, tc := range map[string]struct {
		now     string
		hours   []string
		limits  hotspot.Limits
		want    hotspot.Reason
		timeout time.Duration
	}{
		"open until closing time":            {"2026-11-24 12:00:00.000 +0100", []string{"mon-fri 08:00-16:00"}, hotspot.Limits{}, "", 4 * time.Hour},
		"what ends first counts":             {"2026-11-24 12:00:00.000 +0100", []string{"mon-fri 08:00-16:00"}, hotspot.Limits{Time: time.Hour}, "", time.Hour},
		"closing before the time is used":    {"2026-11-24 15:30:00.000 +0100", []string{"mon-fri 08:00-16:00"}, hotspot.Limits{Time: time.Hour}, "", 30 * time.Minute},
		"closed":                             {"2026-11-24 16:00:00.000 +0100", []string{"mon-fri 08:00-16:00"}, hotspot.Limits{}, hotspot.ReasonOutsideHours, 0},
		"open for less than a second":        {"2026-11-24 15:59:59.200 +0100", []string{"mon-fri 08:00-16:00"}, hotspot.Limits{}, hotspot.ReasonOutsideHours, 0},
		"always open sets no end":            {"2026-11-24 12:00:00.000 +0100", []string{"mon-sun 00:00-24:00"}, hotspot.Limits{}, "", 0},
		"the night into a day of 23 hours":   {"2027-03-28 00:00:00.000 +0100", []string{"sat 22:00-06:00"}, hotspot.Limits{}, "", 5 * time.Hour},
		"the night into a day of 25 hours":   {"2026-10-25 00:00:00.000 +0200", []string{"sat 22:00-06:00"}, hotspot.Limits{}, "", 7 * time.Hour},
		"a used pass does not say come back": {"2026-11-24 20:00:00.000 +0100", []string{"mon-fri 08:00-16:00"}, hotspot.Limits{Upload: 1}, hotspot.ReasonDataUsed, 0},
	} {
		f := user(tc.limits, hotspot.Usage{Upload: 1})
		f.Pass.Limits.Hours, f.Now, f.Location = hours(t, tc.hours...), at(tc.now), berlin(t)
		if got := Decide(f, hello(phone)); got.Reason != tc.want || got.SessionTimeout != tc.timeout {
			t.Errorf("%s: got %q, %v; want %q, %v", name, got.Reason, got.SessionTimeout, tc.want, tc.timeout)
		}
	}
}

func TestARefusalSaysWhenHoursOpenNext(t *testing.T) {
	f := user(hotspot.Limits{Hours: hours(t, "mon-fri 08:00-16:00")}, hotspot.Usage{})
	f.Now, f.Location = time.Date(2026, 11, 27, 19, 0, 0, 0, time.UTC), berlin(t)
	got := Decide(f, hello(phone))
	if want := "This pass may be used from Monday 08:00 on."; got.Message != want {
		t.Errorf("got %q, want %q", got.Message, want)
	}
	if want := "allowed mon-fri 08:00-16:00; now it is Fri 27 Nov 2026 20:00 CET, the next opening is Mon 30 Nov 2026 08:00 CET"; got.Detail != want {
		t.Errorf("got %q, want %q", got.Detail, want)
	}
	f.Language = "ar"
	if got := Decide(f, hello(phone)); !strings.Contains(got.Message, "الاثنين") || !strings.Contains(got.Message, "08:00") {
		t.Errorf("got %q, want Monday and the time in Arabic", got.Message)
	}
	f.Location = nil // UTC
	f.Now = time.Date(2026, 11, 27, 15, 0, 0, 0, time.UTC)
	if got := Decide(f, hello(phone)); !got.Accept || got.SessionTimeout != time.Hour {
		t.Errorf("without a zone: got %+v, want an hour until 16:00 UTC", got)
	}
}

// TestASlowerSpeedFollowsTheData: while data is left the guest has the normal
// speed and no limit that would end the session at the router; afterwards the
// slower speed; and is never off for it.
func TestASlowerSpeedFollowsTheData(t *testing.T) {
	fast, slow := speed(t, "2M/10M"), speed(t, "128k/256k")
	l := hotspot.Limits{Rate: fast, SlowRate: slow, Total: 100, Download: 80}
	for name, tc := range map[string]struct {
		limits hotspot.Limits
		usage  hotspot.Usage
		want   hotspot.RateLimit
	}{
		"unused":                          {l, hotspot.Usage{}, fast},
		"nearly used":                     {l, hotspot.Usage{Upload: 20, Download: 79}, fast},
		"used both ways":                  {l, hotspot.Usage{Upload: 25, Download: 75}, slow},
		"one direction used":              {l, hotspot.Usage{Download: 80}, slow},
		"far beyond":                      {l, hotspot.Usage{Upload: 1 << 40, Download: 1 << 40}, slow},
		"slower speed without allowance":  {hotspot.Limits{Rate: fast, SlowRate: slow}, hotspot.Usage{Upload: 1 << 40}, fast},
		"no speed limit before the slope": {hotspot.Limits{SlowRate: slow, Total: 100}, hotspot.Usage{}, hotspot.RateLimit{}},
	} {
		got := Decide(user(tc.limits, tc.usage), hello(phone))
		if !got.Accept || got.Rate != tc.want {
			t.Errorf("%s: got %q with %q, want accept with %q", name, got.Reason, got.Rate, tc.want)
		}
		if got.UploadLeft != 0 || got.DownloadLeft != 0 || got.TotalLeft != 0 {
			t.Errorf("%s: data limits %d, %d, %d would end the session", name, got.UploadLeft, got.DownloadLeft, got.TotalLeft)
		}
		if off := OffReason(&hotspot.Pass{Limits: tc.limits, Usage: tc.usage}, nil, now); off != "" {
			t.Errorf("%s: off for %q, want to stay", name, off)
		}
	}
}

func TestDevicesAtOnce(t *testing.T) {
	tablet, tv := hotspot.MAC{0xaa, 0xbb, 0xcc, 0, 0, 3}, hotspot.MAC{0xaa, 0xbb, 0xcc, 0, 0, 4}
	on := func(id string, mac hotspot.MAC, state hotspot.SessionState, ago time.Duration) *hotspot.Session {
		return &hotspot.Session{ID: hotspot.SessionID(id), MAC: mac, State: state, HeardAt: now.Add(-ago)}
	}
	live, promised := hotspot.Live, hotspot.Reserved
	for name, tc := range map[string]struct {
		devices  int
		swap     hotspot.DeviceSwap
		sessions []*hotspot.Session
		accept   bool
		others   string // ids, in order
		ends     int
	}{
		"nobody else":                        {1, "", nil, true, "", 0},
		"the same device again":              {1, "", []*hotspot.Session{on("a", phone, live, 0)}, true, "", 0},
		"the same device promised":           {1, "", []*hotspot.Session{on("a", phone, promised, 0)}, true, "", 0},
		"another device":                     {1, "", []*hotspot.Session{on("a", laptop, live, 0)}, false, "a", 0},
		"another device promised":            {1, "", []*hotspot.Session{on("a", laptop, promised, 0)}, false, "a", 0},
		"another device, suspect":            {1, "", []*hotspot.Session{on("a", laptop, hotspot.Suspect, 0)}, false, "a", 0},
		"another device, closed":             {1, "", []*hotspot.Session{on("a", laptop, hotspot.Closed, 0)}, true, "", 0},
		"0 devices is one":                   {0, "", []*hotspot.Session{on("a", laptop, live, 0)}, false, "a", 0},
		"two sessions of one device are one": {2, "", []*hotspot.Session{on("a", laptop, live, 0), on("b", laptop, promised, 0)}, true, "", 0},
		"own sessions do not count":          {2, "", []*hotspot.Session{on("a", phone, live, 0), on("b", laptop, live, 0), on("c", phone, promised, 0)}, true, "", 0},
		"unknown MACs are devices each":      {2, "", []*hotspot.Session{on("a", hotspot.MAC{}, live, 0), on("b", hotspot.MAC{}, live, 0)}, false, "a b", 0},
		"refused, the oldest heard first":    {2, "", []*hotspot.Session{on("a", laptop, live, 1), on("b", tablet, live, 5)}, false, "b a", 0},
		"moved, the oldest heard ends":       {2, hotspot.SwapMove, []*hotspot.Session{on("a", laptop, live, 1), on("b", tablet, live, 5)}, false, "b a", 1},
		"moved, one device is one":           {2, hotspot.SwapMove, []*hotspot.Session{on("a", laptop, live, 9), on("b", tablet, live, 5), on("c", laptop, live, 1)}, false, "b a c", 1},
		"moved, all sessions of the device":  {2, hotspot.SwapMove, []*hotspot.Session{on("a", laptop, live, 9), on("b", tablet, live, 5), on("c", laptop, live, 7)}, false, "a c b", 2},
		"moved, a plan with fewer devices":   {1, hotspot.SwapMove, []*hotspot.Session{on("a", laptop, live, 1), on("b", tablet, live, 5), on("c", tv, live, 3)}, false, "b c a", 3},
	} {
		f := user(hotspot.Limits{Devices: tc.devices, Swap: tc.swap}, hotspot.Usage{})
		f.Sessions = tc.sessions
		got := Decide(f, hello(phone))
		var ids []string
		for _, s := range got.Others {
			ids = append(ids, string(s.ID))
		}
		if got.Accept != tc.accept || strings.Join(ids, " ") != tc.others || got.Ends != tc.ends || got.Move != (tc.ends > 0) {
			t.Errorf("%s: got accept %v, others %q, move %v of %d; want %v, %q, %d", name, got.Accept, ids, got.Move, got.Ends, tc.accept, tc.others, tc.ends)
		}
		if !got.Accept && got.Reason != hotspot.ReasonTooManyDevices {
			t.Errorf("%s: got reason %q", name, got.Reason)
		}
	}
}

func TestTheTechnicianReadsTheFigures(t *testing.T) {
	session := hotspot.Session{MAC: laptop, State: hotspot.Live, HeardAt: now.Add(-83 * time.Second)}
	for name, tc := range map[string]struct {
		change func(*hotspot.Facts)
		want   string
	}{
		"lock":    {func(f *hotspot.Facts) { f.Lock = &hotspot.Lock{By: "Ana", Reason: "abuse", At: now} }, "locked on Tue 24 Nov 2026 13:00 CET by Ana: abuse"},
		"expired": {func(f *hotspot.Facts) { f.Pass.ValidUntil = now.Add(-time.Hour) }, "the pass was valid until Tue 24 Nov 2026 12:00 CET; now it is Tue 24 Nov 2026 13:00 CET"},
		"not yet": {func(f *hotspot.Facts) { f.Pass.ValidFrom = now.Add(time.Hour) }, "the pass is valid from Tue 24 Nov 2026 14:00 CET; now it is Tue 24 Nov 2026 13:00 CET"},
		"metered": {func(f *hotspot.Facts) {
			f.Pass.Limits = hotspot.Limits{Time: time.Hour, Clock: hotspot.Metered}
			f.Pass.Usage.Time = 61 * time.Minute
		}, "1h1m0s of 1h0m0s online are used (metered) (1m0s beyond)"},
		"continuous": {func(f *hotspot.Facts) {
			f.Pass.Limits.Time, f.Pass.Usage.FirstUsed = time.Hour, now.Add(-2*time.Hour)
		}, "1h0m0s from the first login on Tue 24 Nov 2026 11:00 CET are over since Tue 24 Nov 2026 12:00 CET"},
		"data": {func(f *hotspot.Facts) {
			f.Pass.Limits.Upload, f.Pass.Limits.Total = 5e9, 6e9
			f.Pass.Usage.Upload, f.Pass.Usage.Download = 1e9, 5e9
		}, "used: 1.0 GB of 5.0 GB upload, 6.0 GB of 6.0 GB both ways"},
		"data, and more": {func(f *hotspot.Facts) {
			f.Pass.Limits.Upload, f.Pass.Limits.Download = 5e9, 6e9
			f.Pass.Usage.Upload, f.Pass.Usage.Download = 5e9+7e6, 5e9
		}, "used: 5.0 GB of 5.0 GB upload (7.0 MB beyond), 5.0 GB of 6.0 GB download"},
		"devices": {func(f *hotspot.Facts) { f.Sessions = []*hotspot.Session{&session} },
			"1 at once allowed; in the way: AA:BB:CC:··:··:·· online, heard 1m23s ago"},
		"many devices": {func(f *hotspot.Facts) { f.Sessions = slices.Repeat([]*hotspot.Session{{State: hotspot.Reserved}}, 6) },
			"1 at once allowed; in the way: " + strings.Repeat("a device without a MAC let in, not yet online; ", 4) + "and 2 more"},
	} {
		f := user(hotspot.Limits{}, hotspot.Usage{})
		f.Location = berlin(t)
		tc.change(&f)
		if got := Decide(f, hello(phone)); got.Detail != tc.want {
			t.Errorf("%s: got %q, want %q", name, got.Detail, tc.want)
		}
	}
}

func TestTextsAreCutOnTheEdgeOfARune(t *testing.T) {
	for _, tc := range []struct {
		text string
		n    int
		want string
	}{{"abc", 3, "abc"}, {"abcd", 3, "abc"}, {"aä", 2, "a"}, {"ää", 3, "ä"}, {"السبت", 5, "ال"}, {"ä", 1, ""}} {
		if got := cut(tc.text, tc.n); got != tc.want || !utf8.ValidString(got) {
			t.Errorf("%q to %d: got %q, want %q", tc.text, tc.n, got, tc.want)
		}
	}
}

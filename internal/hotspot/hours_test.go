package hotspot

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	z, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func hoursOf(t testing.TB, texts ...string) Hours {
	t.Helper()
	h, err := ParseHours(texts)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestHoursOpenAndClose(t *testing.T) {
	const form = "2006-01-02 15:04 -0700"
	for name, tc := range map[string]struct {
		zone, now string
		hours     []string
		open      bool
		change    string // "" is never
	}{
		"none are always open":              {"Europe/Berlin", "2026-11-24 12:00 +0100", nil, true, ""},
		"in the middle":                     {"Europe/Berlin", "2026-11-24 12:00 +0100", []string{"mon-fri 08:00-16:00"}, true, "2026-11-24 16:00 +0100"},
		"the first minute":                  {"Europe/Berlin", "2026-11-24 08:00 +0100", []string{"mon-fri 08:00-16:00"}, true, "2026-11-24 16:00 +0100"},
		"closing time is closed":            {"Europe/Berlin", "2026-11-24 16:00 +0100", []string{"mon-fri 08:00-16:00"}, false, "2026-11-25 08:00 +0100"},
		"before opening":                    {"Europe/Berlin", "2026-11-24 07:59 +0100", []string{"mon-fri 08:00-16:00"}, false, "2026-11-24 08:00 +0100"},
		"over the weekend":                  {"Europe/Berlin", "2026-11-27 17:00 +0100", []string{"mon-fri 08:00-16:00"}, false, "2026-11-30 08:00 +0100"},
		"once a week, a minute late":        {"Europe/Berlin", "2026-11-24 09:00 +0100", []string{"tue 08:00-09:00"}, false, "2026-12-01 08:00 +0100"},
		"the site's zone, not UTC":          {"Asia/Tokyo", "2026-11-23 23:30 +0000", []string{"tue 08:00-16:00"}, true, "2026-11-24 16:00 +0900"},
		"across midnight, the evening":      {"Africa/Cairo", "2026-11-27 23:00 +0200", []string{"fri 22:00-02:00"}, true, "2026-11-28 02:00 +0200"},
		"across midnight, the morning":      {"Africa/Cairo", "2026-11-28 01:00 +0200", []string{"fri 22:00-02:00"}, true, "2026-11-28 02:00 +0200"},
		"the morning before is another's":   {"Africa/Cairo", "2026-11-27 01:00 +0200", []string{"fri 22:00-02:00"}, false, "2026-11-27 22:00 +0200"},
		"spans that touch are one":          {"Europe/Berlin", "2026-11-24 23:00 +0100", []string{"wed 00:00-06:00", "tue 22:00-24:00"}, true, "2026-11-25 06:00 +0100"},
		"spans that overlap are one":        {"Europe/Berlin", "2026-11-24 09:00 +0100", []string{"tue 12:00-20:00", "tue 08:00-13:00"}, true, "2026-11-24 20:00 +0100"},
		"whole days are one":                {"Europe/Berlin", "2026-11-24 09:00 +0100", []string{"mon-fri 00:00-24:00"}, true, "2026-11-28 00:00 +0100"},
		"the whole week never closes":       {"Europe/Berlin", "2026-11-24 09:00 +0100", []string{"mon-sun 00:00-24:00"}, true, ""},
		"the whole week in parts":           {"Europe/Berlin", "2026-10-24 09:00 +0200", []string{"mon-sun 12:00-11:00", "mon-sun 10:00-13:00"}, true, ""},
		"a gap of a minute a week":          {"Europe/Berlin", "2026-11-24 00:01 +0100", []string{"mon,wed-sun 00:00-24:00", "tue 00:01-24:00"}, true, "2026-12-01 00:00 +0100"},
		"a day of 23 hours is shorter":      {"Europe/Berlin", "2027-03-28 00:00 +0100", []string{"sun 00:00-24:00"}, true, "2027-03-29 00:00 +0200"},
		"a day of 25 hours is longer":       {"Europe/Berlin", "2026-10-25 00:00 +0200", []string{"sun 00:00-24:00"}, true, "2026-10-26 00:00 +0100"},
		"closes at the last 02:30 of two":   {"Europe/Berlin", "2026-10-24 23:00 +0200", []string{"sat 22:00-02:30"}, true, "2026-10-25 02:30 +0100"},
		"opens at the first 02:30 of two":   {"Europe/Berlin", "2026-10-25 01:00 +0200", []string{"sun 02:30-05:00"}, false, "2026-10-25 02:30 +0200"},
		"still open between the two":        {"Europe/Berlin", "2026-10-25 02:45 +0200", []string{"sat 22:00-02:30"}, true, "2026-10-25 02:30 +0100"},
		"a skipped opening is the skip":     {"Europe/Berlin", "2027-03-28 01:00 +0100", []string{"sun 02:30-05:00"}, false, "2027-03-28 03:00 +0200"},
		"a skipped closing is the skip":     {"Europe/Berlin", "2027-03-28 01:00 +0100", []string{"sat 22:00-02:30"}, true, "2027-03-28 03:00 +0200"},
		"all of it skipped, next week then": {"Europe/Berlin", "2027-03-28 01:00 +0100", []string{"sun 02:10-02:50"}, false, "2027-04-04 02:10 +0200"},
		"the week before a change of clock": {"Europe/Berlin", "2026-10-20 09:00 +0200", []string{"mon 08:00-10:00"}, false, "2026-10-26 08:00 +0100"},
		"a change of half an hour":          {"Australia/Lord_Howe", "2026-10-04 01:00 +1030", []string{"sun 01:45-02:15"}, false, "2026-10-04 01:45 +1030"},
	} {
		now, err := time.Parse(form, tc.now)
		if err != nil {
			t.Fatal(err)
		}
		open, change := hoursOf(t, tc.hours...).At(now, zone(t, tc.zone))
		got := ""
		if !change.IsZero() {
			got = change.Format(form)
		}
		if open != tc.open || got != tc.change {
			t.Errorf("%s: got open %v until %q, want %v, %q", name, open, got, tc.open, tc.change)
		}
	}
}

// shown says by minute arithmetic on the wall whether hours are open: the
// other way round from At, and only away from changes of the clock.
func shown(h Hours, at time.Time) bool {
	minute := at.Hour()*60 + at.Minute()
	for _, s := range h {
		today, yesterday := s.Days.Has(at.Weekday()), s.Days.Has((at.Weekday()+6)%7)
		switch over := s.End <= s.Begin; {
		case !over && today && minute >= s.Begin && minute < s.End,
			over && today && minute >= s.Begin, over && yesterday && minute < s.End:
			return true
		}
	}
	return false
}

// drawings is how many random weeks each property is tried on.
const drawings = 5000

func drawHours(r *rand.Rand) Hours {
	var h Hours
	for range 1 + r.IntN(4) {
		s := Span{Days: Days(1 + r.IntN(127)), Begin: r.IntN(1440), End: r.IntN(1441)}
		if s.Begin == s.End {
			s.End = (s.End + 1) % 1440
		}
		h = append(h, s)
	}
	return h
}

func TestHoursAgreeWithTheClockOnTheWall(t *testing.T) {
	berlin := zone(t, "Europe/Berlin")
	changes := []time.Time{time.Date(2026, 3, 29, 1, 0, 0, 0, time.UTC), time.Date(2026, 10, 25, 1, 0, 0, 0, time.UTC)}
	for seed := range uint64(drawings) {
		r := rand.New(rand.NewPCG(seed, 1))
		h := drawHours(r)
		now := time.Date(2026, 1, 1, 0, r.IntN(365*1440), 0, 0, time.UTC).In(berlin)
		if slices.ContainsFunc(changes, func(c time.Time) bool { return now.Sub(c).Abs() < 24*time.Hour }) {
			continue // a clock that is set shows some times twice
		}
		if open, _ := h.At(now, berlin); open != shown(h, now) {
			t.Fatalf("seed %d: %v at %v: got open %v", seed, h.Strings(), now, open)
		}
	}
}

// TestHoursStayAsTheyAreUntilTheySay holds every change against the seconds
// before and after it, changes of the clock included.
func TestHoursStayAsTheyAreUntilTheySay(t *testing.T) {
	zones := []*time.Location{zone(t, "Europe/Berlin"), zone(t, "Australia/Lord_Howe"), zone(t, "Africa/Casablanca"), time.UTC, nil}
	for seed := range uint64(drawings) {
		r := rand.New(rand.NewPCG(seed, 2))
		h, z := drawHours(r), zones[r.IntN(len(zones))]
		now := time.Unix(1767225600+r.Int64N(2*365*86400), 0)
		open, change := h.At(now, z)
		if change.IsZero() {
			if !open {
				t.Fatalf("seed %d: %v never open after %v", seed, h.Strings(), now)
			}
			continue
		}
		if !change.After(now) {
			t.Fatalf("seed %d: %v at %v changes at %v, which is not later", seed, h.Strings(), now, change)
		}
		if after, _ := h.At(change, z); after == open {
			t.Fatalf("seed %d: %v at %v: open %v after the change too", seed, h.Strings(), change, open)
		}
		if before, same := h.At(change.Add(-time.Second), z); before != open || !same.Equal(change) {
			t.Fatalf("seed %d: %v: a second before %v got open %v until %v", seed, h.Strings(), change, before, same)
		}
	}
}

func TestHoursAreReadAndWritten(t *testing.T) {
	for text, want := range map[string]string{
		"mon-fri 08:00-16:00": "", "sat,sun 22:00-02:00": "", "mon-sun 00:00-24:00": "", "mon,wed-fri,sun 09:30-10:00": "",
		"sat-mon 10:00-11:00": "mon,sat,sun 10:00-11:00", "sun,mon 10:00-00:00": "mon,sun 10:00-00:00",
	} {
		if want == "" {
			want = text
		}
		if h := hoursOf(t, text); !slices.Equal(h.Strings(), []string{want}) {
			t.Errorf("%q reads back as %q, want %q", text, h.Strings(), want)
		}
	}
	for _, text := range []string{"", "mon", "mon 08:00", "mon 8:00-16:00", "mon 08:00-24:01", "mon 24:00-08:00", "mon 08:00-08:00", "Mon 08:00-16:00", "may 08:00-16:00",
		"mon- 08:00-16:00", ", 08:00-16:00", "mon 08:60-16:00", "mon 08:00–16:00", "mon 08:00-16:00 ", "mon  08:00-16:00", "mon -8:00-16:00"} {
		if h, err := ParseHours([]string{text}); err == nil {
			t.Errorf("%q is read as %v, want an error", text, h)
		}
	}
	if _, err := ParseHours(slices.Repeat([]string{"mon 08:00-09:00"}, HoursBound+1)); err == nil {
		t.Errorf("%d spans are read, want an error", HoursBound+1)
	}
	for _, h := range []Hours{{{Days: 0, End: 5}}, {{Days: 255, End: 5}}, {{Days: 1, Begin: -1, End: 5}}, {{Days: 1, Begin: 1440, End: 5}}, {{Days: 1, End: 1441}}, {{Days: 1, Begin: 5, End: 5}}} {
		if h.Validate() == nil {
			t.Errorf("%+v is valid, want an error", h)
		}
	}
}

func BenchmarkHours(b *testing.B) {
	h, z := hoursOf(b, "mon-fri 08:00-16:00", "sat,sun 22:00-02:00"), zone(b, "Europe/Berlin")
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	b.ReportAllocs()
	for b.Loop() {
		h.At(now, z)
	}
}

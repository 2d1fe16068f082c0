package routeros

import (
	"testing"
	"time"
)

const day = 24 * time.Hour

func TestParseDuration(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want time.Duration
	}{
		{"0s", 0}, {"1w2d3h4m5s", 9*day + 3*time.Hour + 4*time.Minute + 5*time.Second}, {"300ms", 300 * time.Millisecond},
		{"1s500ms", 1500 * time.Millisecond}, {"01:22:53", time.Hour + 22*time.Minute + 53*time.Second},
		{"1d00:00:00", day}, {"2w1d01:00:00.5", 15*day + time.Hour + 500*time.Millisecond}, {"1m1m", 2 * time.Minute},
		{"5s1h", time.Hour + 5*time.Second}, {"10", 10 * time.Second}, {"-5m", -5 * time.Minute}, {"120:00:00", 5 * day},
		{"30us", 30 * time.Microsecond}, {"35w3d13h13m56s", 248*day + 13*time.Hour + 13*time.Minute + 56*time.Second},
	} {
		if got, err := ParseDuration(tc.in); err != nil || got != tc.want {
			t.Errorf("%q: got %v, %v, want %v", tc.in, got, err, tc.want)
		}
	}
	for _, in := range []string{"", "-", "none", "1y", "s", "1:2:3", "00:60:00", "00:00:00:00", "1h2", "1 s", "--1s",
		"99999999999999999999s", "999999999w", "1.5s", "00:00:00.", "00:00:01.1234567890", "9223372036s10000000000ns"} {
		if got, err := ParseDuration(in); err == nil {
			t.Errorf("%q: got %v, want an error", in, got)
		}
	}
}

func TestFormatDuration(t *testing.T) {
	for want, in := range map[string]time.Duration{
		"0s": 0, "1w2d3h4m5s": 9*day + 3*time.Hour + 4*time.Minute + 5*time.Second, "300ms": 300 * time.Millisecond,
		"1h22m53s": time.Hour + 22*time.Minute + 53*time.Second, "52w1d": 365 * day, "-1m": -time.Minute,
	} {
		if got := FormatDuration(in); got != want {
			t.Errorf("%v: got %q, want %q", in, got, want)
		}
	}
}

func FuzzDuration(f *testing.F) {
	for _, s := range []string{"1w2d3h4m5s", "300ms", "01:22:53", "1d00:00:00", "-1s", "10", "00:00:00.000000001"} {
		f.Add(s, int64(len(s)))
	}
	f.Fuzz(func(t *testing.T, s string, n int64) {
		if d, err := ParseDuration(s); err == nil {
			if back, err := ParseDuration(FormatDuration(d)); err != nil || back != d {
				t.Errorf("%q: %v, printed as %q, reads as %v, %v", s, d, FormatDuration(d), back, err)
			}
		}
		if n == -1<<63 {
			return // its magnitude does not fit
		}
		text := FormatDuration(time.Duration(n))
		back, err := ParseDuration(text)
		if err != nil || back != time.Duration(n) || FormatDuration(back) != text {
			t.Errorf("%d printed as %q reads as %v, %v", n, text, back, err)
		}
	})
}

func TestParseTime(t *testing.T) {
	zone := time.FixedZone("AST", 3*3600)
	want := time.Date(2026, 9, 16, 19, 17, 5, 0, zone)
	for _, in := range []string{"2026-09-16 19:17:05", "sep/16/2026 19:17:05", "Sep/16/2026 19:17:05"} {
		if got, err := ParseTime(in, zone); err != nil || !got.Equal(want) {
			t.Errorf("%q: got %v, %v, want %v", in, got, err, want)
		}
	}
	if got, err := ParseTime("jan/02/1970", time.UTC); err != nil || !got.Equal(time.Unix(86400, 0)) {
		t.Errorf("date alone: got %v, %v", got, err)
	}
	for _, in := range []string{"", "never", "16/sep/2026 10:00:00", "2026-13-01 00:00:00", "sep/31/2026 00:00:00", "2026-09-16T19:17:05Z"} {
		if got, err := ParseTime(in, zone); err == nil {
			t.Errorf("%q: got %v, want an error", in, got)
		}
	}
}

func FuzzTime(f *testing.F) {
	f.Add("2026-09-16 19:17:05")
	f.Add("aug/07/2024 11:47:14")
	f.Fuzz(func(t *testing.T, s string) {
		at, err := ParseTime(s, time.UTC)
		if err != nil {
			return
		}
		for _, form := range timeForms[:2] {
			if back, err := ParseTime(at.Format(form), time.UTC); err != nil || !back.Equal(at.Truncate(time.Second)) {
				t.Errorf("%q: %v, printed as %q, reads as %v, %v", s, at, at.Format(form), back, err)
			}
		}
	})
}

func TestParseBool(t *testing.T) {
	for in, want := range map[string]bool{"true": true, "yes": true, "false": false, "no": false, "": false} {
		if got, err := ParseBool(in); err != nil || got != want {
			t.Errorf("%q: got %v, %v, want %v", in, got, err, want)
		}
	}
	if _, err := ParseBool("maybe"); err == nil {
		t.Error(`"maybe": want an error`)
	}
}

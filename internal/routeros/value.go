package routeros

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"iwas/internal/fault"
)

// units of RouterOS durations, largest first.
var units = []struct {
	name   string
	length time.Duration
}{
	{"w", 7 * 24 * time.Hour}, {"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second},
	{"ms", time.Millisecond}, {"us", time.Microsecond}, {"ns", time.Nanosecond},
}

// ParseDuration reads a duration in the forms RouterOS has used: "1w2d3h4m5s",
// "300ms", "01:22:53", "1d00:00:00", "2d3h", and a bare number of seconds.
// Units are additive and in any order. Words such as "none" are not durations.
func ParseDuration(s string) (time.Duration, error) {
	rest, negative := strings.CutPrefix(s, "-")
	if rest == "" {
		return 0, badDuration(s)
	}
	var total int64
	for rest != "" {
		number, after := digits(rest)
		if number == "" {
			return 0, badDuration(s)
		}
		if strings.HasPrefix(after, ":") {
			d, err := parseClock(rest)
			if err != nil || !addTo(&total, 1, int64(d)) {
				return 0, badDuration(s)
			}
			break
		}
		name := after
		if i := strings.IndexAny(after, "0123456789"); i >= 0 {
			name = after[:i]
		}
		length, ok := unit(name)
		if name == "" && rest == strings.TrimPrefix(s, "-") {
			length, ok = time.Second, true
		}
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil || !ok || !addTo(&total, n, int64(length)) {
			return 0, badDuration(s)
		}
		rest = after[len(name):]
	}
	if negative {
		total = -total
	}
	return time.Duration(total), nil
}

func badDuration(s string) error {
	return fault.New(fault.Invalid, fmt.Sprintf("%.40q is not a RouterOS duration such as 1d2h3m4s", s), nil)
}

// digits splits leading decimal digits off.
func digits(s string) (number, rest string) {
	i := 0
	for i < len(s) && s[i] >= '0' && s[i] <= '9' {
		i++
	}
	return s[:i], s[i:]
}

func unit(name string) (time.Duration, bool) {
	for _, u := range units {
		if u.name == name {
			return u.length, true
		}
	}
	return 0, false
}

// addTo adds n times length to total, unless that overflows.
func addTo(total *int64, n, length int64) bool {
	if length != 0 && n > math.MaxInt64/length {
		return false
	}
	if n *= length; *total > math.MaxInt64-n {
		return false
	}
	*total += n
	return true
}

// parseClock reads hh:mm:ss with an optional fraction of up to nine digits.
func parseClock(s string) (time.Duration, error) {
	whole, fraction, dotted := strings.Cut(s, ".")
	parts := strings.Split(whole, ":")
	if len(parts) != 3 || (dotted && (fraction == "" || len(fraction) > 9)) {
		return 0, badDuration(s)
	}
	var total int64
	for i, length := range []time.Duration{time.Hour, time.Minute, time.Second} {
		n, err := strconv.ParseUint(parts[i], 10, 32)
		if err != nil || (i > 0 && (n > 59 || len(parts[i]) != 2)) || !addTo(&total, int64(n), int64(length)) {
			return 0, badDuration(s)
		}
	}
	if dotted {
		n, err := strconv.ParseUint(fraction+strings.Repeat("0", 9-len(fraction)), 10, 32)
		if err != nil || !addTo(&total, int64(n), 1) {
			return 0, badDuration(s)
		}
	}
	return time.Duration(total), nil
}

// FormatDuration prints a duration as RouterOS does: only units that are not
// zero, weeks at most; "0s" for none.
func FormatDuration(d time.Duration) string {
	if d == 0 {
		return "0s"
	}
	var b strings.Builder
	left := uint64(d)
	if d < 0 {
		b.WriteByte('-')
		left = -left
	}
	for _, u := range units {
		if n := left / uint64(u.length); n > 0 {
			fmt.Fprintf(&b, "%d%s", n, u.name)
			left %= uint64(u.length)
		}
	}
	return b.String()
}

// ParseBool reads a flag: "true" and "yes" are true; "false", "no" and an
// absent key ("") are false.
func ParseBool(s string) (bool, error) {
	switch s {
	case "true", "yes":
		return true, nil
	case "false", "no", "":
		return false, nil
	}
	return false, fault.New(fault.Invalid, fmt.Sprintf("%.40q is neither true nor false", s), nil)
}

// timeForms are the dates of RouterOS: since 7.10, and before (month names in
// either case).
var timeForms = []string{"2006-01-02 15:04:05", "Jan/02/2006 15:04:05", "2006-01-02", "Jan/02/2006"}

// ParseTime reads a date with or without a time of day, as shown on a router
// whose clock runs in zone: "2026-09-16 19:17:05", "sep/16/2026 19:17:05".
func ParseTime(s string, zone *time.Location) (time.Time, error) {
	for _, form := range timeForms {
		if t, err := time.ParseInLocation(form, s, zone); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fault.New(fault.Invalid, fmt.Sprintf("%.40q is not a RouterOS date such as 2026-09-16 19:17:05", s), nil)
}

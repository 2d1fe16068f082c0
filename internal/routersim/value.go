package routersim

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// value checks an argument and returns it in the words of a read. A spec lists
// what is taken: words as they are, and kinds in angle brackets. Without a spec
// anything goes. "list" before the rest takes several with commas, "not" one with
// or without an exclamation mark before it.
//
//	<bool> yes, no, true, false    <time> a length of time   <10ms..1m> one within
//	<1..65535> a number within     <mac>  <ip> address, prefix or range, perhaps with !
//	<@menu> the name of a row there, or of one of several menus with commas
//	<vlans> a VLAN or a range of them    <ports> ports and ranges with commas
func (s *Sim) value(name, spec, v string) (string, error) {
	kinds := strings.Fields(spec)
	if len(kinds) == 0 || v == "" {
		return v, nil
	}
	if kinds[0] == "list" {
		parts := strings.Split(v, ",")
		for i, part := range parts {
			one, err := s.value(name, strings.Join(kinds[1:], " "), part)
			if err != nil {
				return "", err
			}
			parts[i] = one
		}
		return strings.Join(parts, ","), nil
	}
	if kinds[0] == "not" {
		bare, not := strings.CutPrefix(v, "!")
		one, err := s.value(name, strings.Join(kinds[1:], " "), bare)
		if not {
			one = "!" + one
		}
		return one, err
	}
	if slices.Contains(kinds, v) {
		return v, nil
	}
	last := kinds[len(kinds)-1]
	if !strings.HasPrefix(last, "<") {
		return "", trapf(1, "input does not match any value of %s", name)
	}
	return s.kind(name, strings.Trim(last, "<>"), v)
}

func (s *Sim) kind(name, kind, v string) (string, error) {
	invalid := trapf(1, "invalid value for argument %s", name)
	switch {
	case kind == "bool":
		if b := normal(v); b == "true" || b == "false" {
			return b, nil
		}
		return "", invalid
	case kind == "mac":
		if mac := canonical(v); mac != "" {
			return mac, nil
		}
		return "", invalid
	case kind == "ip":
		if !isAddress(strings.TrimPrefix(v, "!")) {
			return "", invalid
		}
		return v, nil
	case strings.HasPrefix(kind, "@"):
		for _, path := range strings.Split(kind[1:], ",") {
			if r := s.menus[path].find(v); r != nil {
				return r.get("name"), nil
			}
		}
		return "", trapf(1, "input does not match any value of %s", name)
	case kind == "vlans":
		if len(vlanIDs(v)) == 0 {
			return "", trapf(1, "value of %s out of range (1..4094)", name)
		}
		return v, nil
	case kind == "ports":
		if !isPorts(v) {
			return "", invalid
		}
		return v, nil
	case kind == "time":
		d, err := parseDuration(v)
		if err != nil {
			return "", invalid
		}
		return formatDuration(d), nil
	}
	return within(name, kind, v)
}

// within checks "low..high", of numbers or of lengths of time.
func within(name, kind, v string) (string, error) {
	low, high, _ := strings.Cut(kind, "..")
	if least, err := strconv.ParseUint(low, 10, 64); err == nil {
		most, _ := strconv.ParseUint(high, 10, 64) // written here
		n, err := strconv.ParseUint(v, 10, 64)
		if err != nil {
			return "", trapf(1, "invalid value for argument %s", name)
		}
		if n < least || n > most {
			return "", trapf(1, "value of %s out of range (%s..%s)", name, low, high)
		}
		return strconv.FormatUint(n, 10), nil
	}
	least, _ := parseDuration(low)
	most, _ := parseDuration(high)
	d, err := parseDuration(v)
	if err != nil {
		return "", trapf(1, "invalid value for argument %s", name)
	}
	if d < least || d > most {
		return "", trapf(1, "value of %s is out of range (%s .. %s)", name, clockText(least), clockText(most))
	}
	return formatDuration(d), nil
}

// isAddress takes an address, a prefix, and a range of addresses.
func isAddress(v string) bool {
	if from, to, ok := strings.Cut(v, "-"); ok {
		a, errA := netip.ParseAddr(from)
		b, errB := netip.ParseAddr(to)
		return errA == nil && errB == nil && a.Compare(b) <= 0
	}
	if _, err := netip.ParsePrefix(v); err == nil {
		return true
	}
	_, err := netip.ParseAddr(v)
	return err == nil
}

// isPorts takes "80", "80,443" and "1000-2000".
func isPorts(v string) bool {
	for _, part := range strings.Split(v, ",") {
		from, to, isRange := strings.Cut(part, "-")
		low, err := strconv.ParseUint(from, 10, 16)
		if err == nil && isRange {
			var high uint64
			if high, err = strconv.ParseUint(to, 10, 16); high < low {
				return false
			}
		}
		if err != nil {
			return false
		}
	}
	return true
}

// normal writes booleans as a read shows them.
func normal(v string) string {
	switch v {
	case "yes":
		return "true"
	case "no":
		return "false"
	}
	return v
}

// The units of RouterOS, greatest first.
var units = []struct {
	name string
	unit time.Duration
}{{"w", 7 * 24 * time.Hour}, {"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}, {"ms", time.Millisecond}}

// formatDuration writes 1w2d3h4m5s, zero as 0s, below a second as 300ms.
func formatDuration(d time.Duration) string {
	var b strings.Builder
	for _, u := range units {
		if n := d / u.unit; n > 0 {
			fmt.Fprintf(&b, "%d%s", n, u.name)
			d -= n * u.unit
		}
	}
	if b.Len() == 0 {
		return "0s"
	}
	return b.String()
}

// clockText writes 1d00:00:00, as range errors do.
func clockText(d time.Duration) string {
	var b strings.Builder
	for _, u := range units[:2] {
		if n := d / u.unit; n > 0 {
			fmt.Fprintf(&b, "%d%s", n, u.name)
			d -= n * u.unit
		}
	}
	fmt.Fprintf(&b, "%02d:%02d:%02d", d/time.Hour, d%time.Hour/time.Minute, d%time.Minute/time.Second)
	if ms := d % time.Second / time.Millisecond; ms > 0 {
		fmt.Fprintf(&b, ".%03d", ms)
	}
	return b.String()
}

// longest is more than any argument takes, and far from overflow.
const longest = 200 * 52 * 7 * 24 * time.Hour

// parseDuration reads units in any order, hh:mm:ss at the end, bare seconds, and
// "none" as zero.
func parseDuration(text string) (time.Duration, error) {
	bad := fmt.Errorf("%q is not a length of time", text)
	if text == "none" || text == "" {
		return 0, nil
	}
	var d time.Duration
	for rest := text; rest != ""; {
		digits := 0
		for digits < len(rest) && rest[digits] >= '0' && rest[digits] <= '9' {
			digits++
		}
		n, err := strconv.ParseUint(rest[:digits], 10, 31)
		if err != nil {
			return 0, bad
		}
		unit := time.Second // of a bare number
		switch tail := rest[digits:]; {
		case tail == "":
			rest = ""
		case tail[0] == ':':
			var h, m, s int
			var end string
			if got, _ := fmt.Sscanf(rest+"|", "%d:%d:%d%s", &h, &m, &s, &end); got != 4 || end != "|" || m > 59 || s > 59 {
				return 0, bad
			}
			n, unit, rest = uint64(h*3600+m*60+s), time.Second, ""
		default:
			letters := 0
			for letters < len(tail) && (tail[letters] < '0' || tail[letters] > '9') {
				letters++
			}
			unit = 0
			for _, u := range units {
				if u.name == tail[:letters] {
					unit = u.unit
				}
			}
			if unit == 0 {
				return 0, bad
			}
			rest = tail[letters:]
		}
		if n > uint64(longest/unit) {
			return 0, bad
		}
		if d += time.Duration(n) * unit; d > longest {
			return 0, bad
		}
	}
	return d, nil
}

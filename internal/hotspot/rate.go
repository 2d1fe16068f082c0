package hotspot

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// Rate is a speed in bits per second.
type Rate uint64

// String prints the shortest RouterOS spelling: 512k, 2M, 1500000.
func (r Rate) String() string { return string(r.appendTo(nil)) }

func (r Rate) appendTo(b []byte) []byte {
	for _, unit := range [...]struct {
		times  Rate
		letter byte
	}{{1_000_000_000, 'G'}, {1_000_000, 'M'}, {1000, 'k'}} {
		if r != 0 && r%unit.times == 0 {
			return append(strconv.AppendUint(b, uint64(r/unit.times), 10), unit.letter)
		}
	}
	return strconv.AppendUint(b, uint64(r), 10)
}

func parseRate(s string) (Rate, error) {
	mult := uint64(1)
	if n := len(s); n > 0 {
		switch s[n-1] {
		case 'k', 'K':
			mult, s = 1000, s[:n-1]
		case 'M', 'm':
			mult, s = 1_000_000, s[:n-1]
		case 'G', 'g':
			mult, s = 1_000_000_000, s[:n-1]
		}
	}
	v, err := strconv.ParseUint(s, 10, 64)
	if err != nil || v > 1<<63/mult {
		return 0, fmt.Errorf("%q is not a speed such as 512k or 10M", s)
	}
	return Rate(v * mult), nil
}

// Pair holds one value for each direction. Upload comes first wherever
// RouterOS writes a pair, because rx is from the guest.
type Pair[T any] struct{ Upload, Download T }

// RateLimit is Mikrotik-Rate-Limit (vendor 14988, type 8; facts.md §3
// "Queues and lists"). The zero value means no limit.
//
// The grammar is rx[/tx] [rx-burst[/tx-burst] [rx-threshold[/tx-threshold]
// [rx-time[/tx-time] [priority] [rx-min[/tx-min]]]]].
type RateLimit struct {
	Max            Pair[Rate]
	Burst          Pair[Rate]
	BurstThreshold Pair[Rate]
	BurstTime      Pair[int] // whole seconds
	Priority       int       // 1 (highest) to 8; 0 means not written
	Min            Pair[Rate]
}

// IsZero reports whether there is no limit.
func (r RateLimit) IsZero() bool { return r == RateLimit{} }

// String prints the RouterOS spelling, or "" for no limit.
func (r RateLimit) String() string {
	if r.IsZero() {
		return ""
	}
	const groups = 6 // each is written with all before it
	n := 1
	for i, written := range [groups]bool{true, r.Burst != Pair[Rate]{}, r.BurstThreshold != Pair[Rate]{}, r.BurstTime != Pair[int]{}, r.Priority != 0, r.Min != Pair[Rate]{}} {
		if written {
			n = i + 1
		}
	}
	b := make([]byte, 0, 64)
	rates := func(p Pair[Rate]) {
		b = append(p.Upload.appendTo(b), '/')
		b = p.Download.appendTo(b)
	}
	for i := range n {
		if i > 0 {
			b = append(b, ' ')
		}
		switch i {
		case 0:
			rates(r.Max)
		case 1:
			rates(r.Burst)
		case 2:
			rates(r.BurstThreshold)
		case 3:
			b = append(strconv.AppendInt(b, int64(r.BurstTime.Upload), 10), '/')
			b = strconv.AppendInt(b, int64(r.BurstTime.Download), 10)
		case 4:
			b = strconv.AppendInt(b, int64(cmp.Or(r.Priority, 8)), 10)
		case 5:
			rates(r.Min)
		}
	}
	return string(b)
}

// ParseRateLimit reads the grammar above. A missing download equals the
// upload. "" is no limit.
func ParseRateLimit(s string) (RateLimit, error) {
	var r RateLimit
	f := strings.Fields(s)
	if len(f) == 0 {
		return r, nil
	}
	if len(f) > 6 {
		return r, fmt.Errorf("rate limit %q has %d parts, at most 6 are defined", s, len(f))
	}
	for i, part := range f {
		var err error
		switch i {
		case 0:
			r.Max, err = parsePair(part, parseRate)
		case 1:
			r.Burst, err = parsePair(part, parseRate)
		case 2:
			r.BurstThreshold, err = parsePair(part, parseRate)
		case 3:
			r.BurstTime, err = parsePair(part, parseSeconds)
		case 4:
			r.Priority, err = strconv.Atoi(part)
			if err != nil || r.Priority < 1 || r.Priority > 8 {
				err = fmt.Errorf("priority %q is not 1 to 8", part)
			}
		case 5:
			r.Min, err = parsePair(part, parseRate)
		}
		if err != nil {
			return RateLimit{}, fmt.Errorf("rate limit %q: %w", s, err)
		}
	}
	if r.Max == (Pair[Rate]{}) && len(f) == 1 {
		return RateLimit{}, nil // 0/0 is how RouterOS writes "no limit"
	}
	return r, nil
}

// Validate says what is wrong with a limit that people wrote. RouterOS takes
// some of these and then does not what they mean.
func (r RateLimit) Validate() error {
	for _, d := range []struct {
		name                        string
		most, burst, threshold, min Rate
		seconds                     int
	}{
		{"upload", r.Max.Upload, r.Burst.Upload, r.BurstThreshold.Upload, r.Min.Upload, r.BurstTime.Upload},
		{"download", r.Max.Download, r.Burst.Download, r.BurstThreshold.Download, r.Min.Download, r.BurstTime.Download},
	} {
		switch {
		case d.most > mostRate || d.burst > mostRate || d.threshold > mostRate:
			return fmt.Errorf("the %s speed is above %s", d.name, mostRate)
		case d.burst > 0 && d.most == 0:
			return fmt.Errorf("the %s has a burst of %s but no speed of its own", d.name, d.burst)
		case d.burst > 0 && d.burst < d.most:
			return fmt.Errorf("the %s burst of %s is below the speed of %s", d.name, d.burst, d.most)
		case d.threshold > 0 && d.burst == 0:
			return fmt.Errorf("the %s has a burst threshold of %s but no burst", d.name, d.threshold)
		case d.threshold > d.burst:
			return fmt.Errorf("the %s burst threshold of %s is above the burst of %s and is never reached", d.name, d.threshold, d.burst)
		case d.seconds > 0 && d.burst == 0:
			return fmt.Errorf("the %s has a burst time but no burst", d.name)
		case d.min > 0 && d.min > d.most: // facts.md §3: must not exceed
			return fmt.Errorf("the least %s speed of %s is above the speed of %s", d.name, d.min, d.most)
		}
	}
	return nil
}

// mostRate is far above what any HotSpot carries; more is a slip of the pen.
const mostRate Rate = 1_000_000_000_000

func parseSeconds(s string) (int, error) {
	v, err := strconv.Atoi(strings.TrimSuffix(s, "s"))
	if err != nil || v < 0 || v > 86400 {
		return 0, fmt.Errorf("%q is not a burst time in seconds", s)
	}
	return v, nil
}

func parsePair[T any](s string, parse func(string) (T, error)) (Pair[T], error) {
	up, down, both := strings.Cut(s, "/")
	if !both {
		down = up
	}
	u, err := parse(up)
	if err != nil {
		return Pair[T]{}, err
	}
	d, err := parse(down)
	return Pair[T]{u, d}, err
}

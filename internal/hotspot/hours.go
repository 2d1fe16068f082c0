package hotspot

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Hours are the times of the week at which a pass may be used, in the zone of
// the site. None at all is always.
type Hours []Span

// Span is one stretch of the day on some days of the week. One whose end is not
// after its beginning runs into the next day: "fri,sat 22:00-02:00" ends on
// Saturday and on Sunday.
type Span struct {
	Days       Days
	Begin, End int // minutes after midnight by the clock on the wall, 0 to 1440
}

// Days is a set of days of the week: bit time.Sunday is Sunday.
type Days uint8

// EveryDay is the whole week.
const EveryDay Days = 1<<7 - 1

// HoursBound is how many spans hours may have: two for each day.
const HoursBound = 14

const (
	dayMinutes  = 24 * 60
	daySeconds  = 24 * 60 * 60
	weekSeconds = 7 * daySeconds
)

// dayNames are in the order people write a week.
var dayNames = [...]struct {
	name string
	day  time.Weekday
}{{"mon", time.Monday}, {"tue", time.Tuesday}, {"wed", time.Wednesday}, {"thu", time.Thursday}, {"fri", time.Friday}, {"sat", time.Saturday}, {"sun", time.Sunday}}

// Has reports whether a day is in the set.
func (d Days) Has(day time.Weekday) bool { return d&(1<<day) != 0 }

// String writes the set as ParseSpan reads it: "mon-fri", "sat,sun".
func (d Days) String() string {
	var parts []string
	for i := 0; i < len(dayNames); i++ {
		if !d.Has(dayNames[i].day) {
			continue
		}
		first := i
		for i+1 < len(dayNames) && d.Has(dayNames[i+1].day) {
			i++
		}
		switch i - first {
		case 0:
			parts = append(parts, dayNames[first].name)
		case 1:
			parts = append(parts, dayNames[first].name, dayNames[i].name)
		default:
			parts = append(parts, dayNames[first].name+"-"+dayNames[i].name)
		}
	}
	return strings.Join(parts, ",")
}

// String writes the span as ParseSpan reads it: "mon-fri 08:00-16:00".
func (s Span) String() string {
	return fmt.Sprintf("%s %02d:%02d-%02d:%02d", s.Days, s.Begin/60, s.Begin%60, s.End/60, s.End%60)
}

// ParseSpan reads days and times: "mon-fri 08:00-16:00", "sat,sun 22:00-02:00",
// "mon-sun 00:00-24:00". A row of days may run over the end of the week
// ("sat-mon"). A span must not begin and end at the same minute.
func ParseSpan(text string) (Span, error) {
	days, times, ok := strings.Cut(text, " ")
	begin, end, both := strings.Cut(times, "-")
	if !ok || !both {
		return Span{}, fmt.Errorf("%q is not days and times such as mon-fri 08:00-16:00", text)
	}
	var s Span
	var err error
	if s.Days, err = parseDays(days); err != nil {
		return Span{}, err
	}
	if s.Begin, err = ParseMinute(begin); err != nil {
		return Span{}, err
	}
	if s.End, err = ParseMinute(end); err != nil {
		return Span{}, err
	}
	return s, s.check()
}

// check says what is wrong with a span.
func (s Span) check() error {
	switch {
	case s.Days == 0 || s.Days&^EveryDay != 0:
		return errors.New("hours need at least one day of the week")
	case s.Begin < 0 || s.Begin >= dayMinutes || s.End < 0 || s.End > dayMinutes:
		return errors.New("hours are from 00:00 to 24:00")
	case s.Begin == s.End:
		return fmt.Errorf("hours that begin and end at %02d:%02d have no length; the whole day is 00:00-24:00", s.Begin/60, s.Begin%60)
	}
	return nil
}

func parseDays(text string) (Days, error) {
	var d Days
	index := func(name string) int {
		return slices.IndexFunc(dayNames[:], func(n struct {
			name string
			day  time.Weekday
		}) bool {
			return n.name == name
		})
	}
	for part := range strings.SplitSeq(text, ",") {
		from, to, row := strings.Cut(part, "-")
		if !row {
			to = from
		}
		i, last := index(from), index(to)
		if i < 0 || last < 0 {
			return 0, fmt.Errorf("%q is not one of mon, tue, wed, thu, fri, sat, sun", part)
		}
		for ; ; i = (i + 1) % len(dayNames) {
			d |= 1 << dayNames[i].day
			if i == last {
				break
			}
		}
	}
	return d, nil
}

// ParseMinute reads a time of day, "08:00" to "24:00", as minutes after midnight.
func ParseMinute(text string) (int, error) {
	digit := func(i int) int { return int(text[i] - '0') }
	if len(text) == 5 && text[2] == ':' && strings.Trim(text[:2]+text[3:], "0123456789") == "" {
		if h, m := digit(0)*10+digit(1), digit(3)*10+digit(4); m < 60 && h*60+m <= dayMinutes {
			return h*60 + m, nil
		}
	}
	return 0, fmt.Errorf("%q is not a time of day such as 08:00", text)
}

// ParseHours reads one span from each text.
func ParseHours(texts []string) (Hours, error) {
	if len(texts) > HoursBound {
		return nil, fmt.Errorf("%d hours, at most %d are allowed", len(texts), HoursBound)
	}
	var h Hours
	for _, text := range texts {
		s, err := ParseSpan(text)
		if err != nil {
			return nil, fmt.Errorf("hours: %w", err)
		}
		h = append(h, s)
	}
	return h, nil
}

// Strings writes each span as ParseHours reads it.
func (h Hours) Strings() []string {
	var out []string
	for _, s := range h {
		out = append(out, s.String())
	}
	return out
}

// Validate says what is wrong with hours that were not made by ParseHours.
func (h Hours) Validate() error {
	if len(h) > HoursBound {
		return fmt.Errorf("%d hours, at most %d are allowed", len(h), HoursBound)
	}
	for _, s := range h {
		if err := s.check(); err != nil {
			return err
		}
	}
	return nil
}

// At reports whether the hours are open at now, and when that ends: the closing
// time when open, the next opening time when not. A zero change is never.
//
// A span opens when the clock on the wall first shows its beginning and closes
// when it last shows its end; a time that the clock skips is the moment of the
// skip. So a span over a change of the clock is an hour shorter or longer, and
// spans that touch stay in touch.
func (h Hours) At(now time.Time, zone *time.Location) (open bool, change time.Time) {
	if len(h) == 0 {
		return true, time.Time{}
	}
	w := newWall(now, zone)
	unix := now.Unix()
	if end := h.end(w, unix); end > unix+weekSeconds {
		return true, time.Time{}
	} else if end > unix {
		return true, time.Unix(end, 0).In(w.zone)
	}
	opens := int64(0)
	for day := w.day(unix); day <= w.day(unix)+8; day++ {
		for _, s := range h {
			if begin, stop := w.span(day, s); begin > unix && begin < stop && (opens == 0 || begin < opens) {
				opens = begin
			}
		}
	}
	if opens == 0 {
		return false, time.Time{}
	}
	return false, time.Unix(opens, 0).In(w.zone)
}

// end returns when the hours that are open at a moment close, spans that touch
// taken as one; the moment itself when they are not open. It looks no further
// than a little over a week: what is open that long is open for ever.
func (h Hours) end(w wall, moment int64) int64 {
	end := moment
	for grown := true; grown && end <= moment+weekSeconds; {
		grown = false
		today := w.day(end)
		for _, s := range h {
			for day := today - 1; day <= today; day++ { // a span is at most a day long
				if begin, stop := w.span(day, s); begin <= end && end < stop {
					end, grown = stop, true
				}
			}
		}
	}
	return end
}

// wall turns what a clock on the wall shows into moments. Wall times are
// counted in seconds as if the wall were in UTC.
type wall struct {
	zone   *time.Location
	offset int64 // east of UTC at now
	fixed  bool  // and for all days that are looked at
}

func newWall(now time.Time, zone *time.Location) wall {
	if zone == nil {
		zone = time.UTC
	}
	local := now.In(zone)
	_, offset := local.Zone()
	w := wall{zone: zone, offset: int64(offset), fixed: true}
	if zone != time.UTC {
		from, to := local.ZoneBounds()
		w.fixed = (from.IsZero() || now.Sub(from) > 4*24*time.Hour) && (to.IsZero() || to.Sub(now) > 12*24*time.Hour)
	}
	return w
}

// day is the date on the wall at a moment, in days since 1970.
func (w wall) day(unix int64) int64 {
	offset := w.offset
	if !w.fixed {
		_, o := time.Unix(unix, 0).In(w.zone).Zone()
		offset = int64(o)
	}
	shown := unix + offset
	return (shown - (shown%daySeconds+daySeconds)%daySeconds) / daySeconds
}

// span returns when a span of a day opens and closes, in Unix seconds; nothing
// when it is not a day of the span.
func (w wall) span(day int64, s Span) (begin, stop int64) {
	if !s.Days.Has(time.Weekday((day%7 + 7 + int64(time.Thursday)) % 7)) { // 1 January 1970 was a Thursday
		return 0, 0
	}
	end := s.End
	if end <= s.Begin {
		end += dayMinutes
	}
	begin, stop = day*daySeconds+int64(s.Begin)*60, day*daySeconds+int64(end)*60
	if w.fixed {
		return begin - w.offset, stop - w.offset
	}
	begin, _ = w.moments(begin)
	_, stop = w.moments(stop)
	return begin, stop
}

// moments returns when the wall first and last shows a time.
func (w wall) moments(shown int64) (first, last int64) {
	at := func(unix int64) time.Time { return time.Unix(unix, 0).In(w.zone) }
	offset := func(unix int64) int64 { _, o := at(unix).Zone(); return int64(o) }
	// No offset is as large as a day: these two moments lie on either side.
	before, after := offset(shown-daySeconds), offset(shown+daySeconds)
	first, last = shown-before, shown-after
	byBefore, byAfter := offset(first) == before, offset(last) == after
	switch {
	case byBefore && byAfter:
		return min(first, last), max(first, last)
	case byBefore:
		return first, first
	case byAfter:
		return last, last
	}
	_, skip := at(shown - max(before, after)).ZoneBounds() // never shown: the clock was set forward here
	return skip.Unix(), skip.Unix()
}

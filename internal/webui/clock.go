package webui

import (
	"fmt"
	"html/template"
	"time"

	"iwas/internal/hotspot"
)

// Clock is the moment a page shows and the zone its times are told in. Pages
// carry one, so that every age on a page agrees with every other.
type Clock struct {
	Now  time.Time
	Zone *time.Location // nil is UTC
}

func (c Clock) zone() *time.Location {
	if c.Zone == nil {
		return time.UTC
	}
	return c.Zone
}

// ZoneName names the zone for people: "Europe/Berlin".
func (c Clock) ZoneName() string { return c.zone().String() }

// Unix is the moment in milliseconds, from which a script counts on.
func (c Clock) Unix() int64 { return c.Now.UnixMilli() }

// Ago says how long ago t was, as an element that a script keeps current:
// "12 s ago". The zero time is "never".
func (c Clock) Ago(t time.Time) template.HTML {
	if t.IsZero() {
		return "never"
	}
	return c.element(t, " data-ago", Age(c.Now.Sub(t)))
}

// Left says how many seconds there are until t, as an element that a script counts
// down: "97 s". After t it is "0 s".
func (c Clock) Left(t time.Time) template.HTML {
	return c.element(t, " data-left", fmt.Sprintf("%d s", max(0, int64((t.Sub(c.Now)+time.Second-1)/time.Second))))
}

// Time tells the time of day in the page's zone, with the date where it is not
// today; UTC is in the title. The zero time is "–".
func (c Clock) Time(t time.Time) template.HTML {
	if t.IsZero() {
		return "–"
	}
	return c.element(t, "", c.Plain(t))
}

// Plain is Time as bare text.
func (c Clock) Plain(t time.Time) string {
	local, now := t.In(c.zone()), c.Now.In(c.zone())
	switch {
	case local.YearDay() == now.YearDay() && local.Year() == now.Year():
		return local.Format("15:04:05")
	case local.Year() == now.Year():
		return local.Format("2 Jan 15:04")
	}
	return local.Format("2 Jan 2006 15:04")
}

func (c Clock) element(t time.Time, attr, text string) template.HTML {
	local := t.In(c.zone())
	return template.HTML(fmt.Sprintf(`<time datetime="%s"%s title="%s (%s UTC)">%s</time>`,
		t.UTC().Format("2006-01-02T15:04:05.000Z"), attr,
		template.HTMLEscapeString(local.Format("Mon 2 Jan 2006 15:04:05 MST")), t.UTC().Format("15:04:05"),
		template.HTMLEscapeString(text)))
}

// Age words how long ago something was: "now", "12 s ago", "3 min ago",
// "5 h ago", "4 d ago". A moment in the future reads "now": two clocks differ
// by a little. app.js has the same steps.
func Age(d time.Duration) string {
	switch s := int64(d / time.Second); {
	case s < 1:
		return "now"
	case s < 60:
		return fmt.Sprintf("%d s ago", s)
	case s < 3600:
		return fmt.Sprintf("%d min ago", s/60)
	case s < 48*3600:
		return fmt.Sprintf("%d h ago", s/3600)
	default:
		return fmt.Sprintf("%d d ago", s/86400)
	}
}

// Duration words a length of time with its two largest units: "45 s",
// "12 min", "2 h 5 min", "3 d 4 h". Minutes hide seconds from ten on.
func Duration(d time.Duration) string {
	s := max(0, int64(d/time.Second))
	two := func(a int64, ua string, b int64, ub string) string {
		if b == 0 {
			return fmt.Sprintf("%d %s", a, ua)
		}
		return fmt.Sprintf("%d %s %d %s", a, ua, b, ub)
	}
	switch {
	case s < 60:
		return fmt.Sprintf("%d s", s)
	case s < 600:
		return two(s/60, "min", s%60, "s")
	case s < 3600:
		return fmt.Sprintf("%d min", s/60)
	case s < 86400:
		return two(s/3600, "h", s%3600/60, "min")
	default:
		return two(s/86400, "d", s%86400/3600, "h")
	}
}

// Took words how long a step took: "3 ms", "1.2 s", then as Duration.
func Took(d time.Duration) string {
	switch {
	case d < 0:
		return "0 ms"
	case d < time.Millisecond:
		return "under 1 ms"
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return Duration(d)
}

// Bytes words a count of octets: "742 MB" (powers of 1000).
func Bytes(o hotspot.Octets) string { return o.String() }

// Speed words a rate: "10 Mbit/s"; zero is "no limit".
func Speed(r hotspot.Rate) string {
	switch {
	case r == 0:
		return "no limit"
	case r >= 1_000_000_000:
		return fmt.Sprintf("%.4g Gbit/s", float64(r)/1e9)
	case r >= 1_000_000:
		return fmt.Sprintf("%.4g Mbit/s", float64(r)/1e6)
	case r >= 1000:
		return fmt.Sprintf("%.4g kbit/s", float64(r)/1e3)
	}
	return fmt.Sprintf("%d bit/s", r)
}

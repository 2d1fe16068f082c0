package hotspot

import "time"

// DayStart is the first moment of a day in a zone. Days do not always begin at
// midnight: where the clock jumps over it (Cairo, Santiago) they begin later, and
// where it is shown twice (Havana) with the first.
func DayStart(year int, month time.Month, day int, zone *time.Location) time.Time {
	t := time.Date(year, month, day, 0, 0, 0, 0, zone)
	noon := time.Date(year, month, day, 12, 0, 0, 0, zone)
	changed, _ := noon.ZoneBounds()
	if changed.IsZero() {
		return t
	}
	if !sameDay(t, noon) || t.Hour() != 0 || t.Minute() != 0 { // jumped over
		return changed.In(zone)
	}
	// Of two midnights time.Date does not promise the first.
	_, after := noon.Zone()
	_, before := changed.Add(-1).In(zone).Zone()
	first := time.Date(year, month, day, 0, 0, 0, 0, time.FixedZone("", before)).In(zone)
	if before > after && first.Before(changed) && sameDay(first, noon) { // shown twice
		return first
	}
	return t
}

// DayOf is from when to when the day lasts that a moment is in, 23 or 25 hours some days.
func DayOf(t time.Time, zone *time.Location) (from, to time.Time) {
	year, month, day := t.In(zone).Date()
	return DayStart(year, month, day, zone), DayStart(year, month, day+1, zone)
}

// ParseDay reads a day of a zone, "2026-11-24", as its first moment.
func ParseDay(text string, zone *time.Location) (time.Time, error) {
	t, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return t, err
	}
	return DayStart(t.Year(), t.Month(), t.Day(), zone), nil
}

func sameDay(a, b time.Time) bool { return a.Year() == b.Year() && a.YearDay() == b.YearDay() }

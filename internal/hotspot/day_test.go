package hotspot

import (
	"testing"
	"time"
	_ "time/tzdata" // days of zones that this machine may not know
)

// TestDaysBeginAndEndWithTheZone goes through every day of two years in zones that
// change their clocks at midnight, over it, twice a day or not at all: each begins
// where the one before ends, all of it is that day, and nothing before is.
func TestDaysBeginAndEndWithTheZone(t *testing.T) {
	for _, name := range []string{"UTC", "Europe/Berlin", "Africa/Cairo", "America/Havana", "America/Santiago", "Asia/Beirut", "America/Asuncion", "America/New_York", "Australia/Lord_Howe", "Asia/Amman", "Pacific/Apia", "Asia/Kolkata"} {
		zone, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		lengths := map[time.Duration]int{}
		last := DayStart(2025, 1, 1, zone)
		for d := range 731 {
			noon := time.Date(2025, 1, 1+d, 12, 0, 0, 0, zone)
			from, to := DayOf(noon, zone)
			if !from.Equal(last) {
				t.Errorf("%s: the day of %v begins %v, the one before ended %v", name, noon, from, last)
			}
			last = to
			lengths[to.Sub(from)]++
			for at, inside := range map[time.Time]bool{from: true, to.Add(-1): true, from.Add(-1): false, to: false} {
				if got := sameDay(at.In(zone), noon); got != inside {
					t.Errorf("%s: %v is of the day %s: %v, want %v", name, at.In(zone), noon.Format(time.DateOnly), got, inside)
				}
			}
			parsed, err := ParseDay(noon.Format(time.DateOnly), zone)
			if err != nil || !parsed.Equal(from) {
				t.Errorf("%s: %s reads %v, %v; want %v", name, noon.Format(time.DateOnly), parsed, err, from)
			}
		}
		changes := name != "UTC" && name != "Asia/Kolkata" && name != "Asia/Amman" && name != "Pacific/Apia" && name != "America/Asuncion"
		if short, long := lengths[23*time.Hour]+lengths[23*time.Hour+30*time.Minute], lengths[25*time.Hour]+lengths[24*time.Hour+30*time.Minute]; changes && (short != 2 || long != 2) || !changes && (short != 0 || long != 0) {
			t.Errorf("%s: days last %v, want two shorter and two longer ones where clocks change", name, lengths)
		}
	}
	for text, want := range map[string]string{"2026-04-24": "2026-04-24T01:00:00+03:00", "2026-04-25": "2026-04-25T00:00:00+03:00"} {
		cairo, _ := time.LoadLocation("Africa/Cairo")
		if got, err := ParseDay(text, cairo); err != nil || got.Format(time.RFC3339) != want {
			t.Errorf("%s in Cairo begins %v, %v; want %s", text, got, err, want)
		}
	}
	havana, _ := time.LoadLocation("America/Havana")
	if from, to := DayOf(time.Date(2026, 11, 1, 12, 0, 0, 0, havana), havana); from.Format(time.RFC3339) != "2026-11-01T00:00:00-04:00" || to.Sub(from) != 25*time.Hour {
		t.Errorf("midnight shown twice: from %v to %v", from, to)
	}
	if _, err := ParseDay("2026-02-30", time.UTC); err == nil {
		t.Error("a day that is none was read")
	}
}

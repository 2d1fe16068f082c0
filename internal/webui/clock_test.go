package webui

import (
	"strings"
	"testing"
	"time"
)

func TestAgeIsWordedInOneUnit(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-3 * time.Second: "now", 0: "now", 999 * time.Millisecond: "now", 12 * time.Second: "12 s ago", 59 * time.Second: "59 s ago",
		time.Minute: "1 min ago", 59*time.Minute + 59*time.Second: "59 min ago", time.Hour: "1 h ago",
		47 * time.Hour: "47 h ago", 48 * time.Hour: "2 d ago", 400 * 24 * time.Hour: "400 d ago",
	} {
		if got := Age(d); got != want {
			t.Errorf("Age(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestDurationHasItsTwoLargestUnits(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0 s", 0: "0 s", 45 * time.Second: "45 s", 90 * time.Second: "1 min 30 s", 2 * time.Minute: "2 min", 12*time.Minute + 40*time.Second: "12 min",
		2*time.Hour + 5*time.Minute: "2 h 5 min", 24 * time.Hour: "1 d", 76 * time.Hour: "3 d 4 h",
	} {
		if got := Duration(d); got != want {
			t.Errorf("Duration(%v) = %q, want %q", d, got, want)
		}
	}
	for d, want := range map[time.Duration]string{-1: "0 ms", 300 * time.Microsecond: "under 1 ms", 41 * time.Millisecond: "41 ms", 1240 * time.Millisecond: "1.2 s", 14 * time.Second: "14 s"} {
		if got := Took(d); got != want {
			t.Errorf("Took(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestTimesAreToldInThePagesZoneWithUTCInTheTitle(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 24, 23, 30, 0, 0, time.UTC) // already the 25th in Berlin
	c := Clock{Now: now, Zone: berlin}
	for at, want := range map[time.Time]string{
		now.Add(-10 * time.Minute):     "00:20:00",
		now.Add(-2 * time.Hour):        "24 Nov 22:30",
		now.Add(-365 * 24 * time.Hour): "25 Nov 2025 00:30",
	} {
		if got := c.Plain(at); got != want {
			t.Errorf("Plain(%v) = %q, want %q", at, got, want)
		}
	}
	if got := string(c.Time(now)); !strings.Contains(got, "23:30:00 UTC") || !strings.Contains(got, `datetime="2026-11-24T23:30:00.000Z"`) {
		t.Errorf("Time = %s, want UTC in title and datetime", got)
	}
	if got := string(c.Ago(time.Time{})); got != "never" {
		t.Errorf("Ago(zero) = %q, want never", got)
	}
	if got := (Clock{Now: now}).Plain(now); got != "23:30:00" {
		t.Errorf("without a zone got %q, want UTC", got)
	}
}

package uplink

import (
	"testing"
	"time"
)

// TestAMeasurementMovesWithADateThatIsSet: whoever sets our date by what was measured
// must not find it measured again.
func TestAMeasurementMovesWithADateThatIsSet(t *testing.T) {
	at := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	for name, by := range map[string]time.Duration{"ahead": 365 * 24 * time.Hour, "back": -365 * 24 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			u := &Uplink{}
			u.clock.sample(at.Add(by), at, 20*time.Millisecond)
			off, _, known := u.ClockOffset()
			if !known || off != by+10*time.Millisecond {
				t.Fatalf("measured %v, %v", off, known)
			}
			u.Stepped(off)
			if off, uncertain, known := u.ClockOffset(); off != 0 || uncertain != 10*time.Millisecond || !known {
				t.Errorf("after the step: %v ± %v, %v", off, uncertain, known)
			}
			// A worse measurement of a minute later does not replace it: it has not aged by the step.
			u.clock.sample(at.Add(by+time.Minute+3*time.Second), at.Add(off+time.Minute), 0)
			if off, _, _ := u.ClockOffset(); off != 0 {
				t.Errorf("a worse measurement: %v", off)
			}
		})
	}
}

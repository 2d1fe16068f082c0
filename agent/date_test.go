package main

import (
	"testing"
	"time"

	"iwas/agent/uplink"
)

func TestTheDateIsBelieved(t *testing.T) {
	yes, no := func() bool { return true }, func() bool { return false }
	for name, tc := range map[string]struct {
		u       uplink.Status
		follows func() bool
		want    bool
	}{
		"nobody says anything":        {uplink.Status{}, no, false},
		"the kernel follows a server": {uplink.Status{}, yes, true},
		"the cloud agrees":            {uplink.Status{ClockKnown: true, ClockOffset: 20 * time.Second}, no, true},
		"the cloud is ahead":          {uplink.Status{ClockKnown: true, ClockOffset: 2 * time.Minute}, yes, false},
		"the cloud is behind":         {uplink.Status{ClockKnown: true, ClockOffset: -48 * time.Hour}, yes, false},
	} {
		if got := believed(tc.u, tc.follows); got != tc.want {
			t.Errorf("%s: got %v, want %v", name, got, tc.want)
		}
	}
}

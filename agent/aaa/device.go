package aaa

import (
	"cmp"
	"slices"
	"time"

	"iwas/internal/hotspot"
)

// inTheWay reports whether a session holds a place that mac cannot have. A device
// logging in again replaces its own session; a session whose MAC is not known
// counts as a device of its own.
func inTheWay(s *hotspot.Session, mac hotspot.MAC) bool {
	return s.State != hotspot.Closed && (s.MAC.IsZero() || s.MAC != mac)
}

// devicesInTheWay counts the devices other than mac with a live or promised
// session. Sessions are few: at most those of one pass.
func devicesInTheWay(sessions []*hotspot.Session, mac hotspot.MAC) int {
	n := 0
	for i, s := range sessions {
		if !inTheWay(s, mac) {
			continue
		}
		counted := false
		for j := 0; j < i && !counted && !s.MAC.IsZero(); j++ {
			counted = sessions[j].MAC == s.MAC && sessions[j].State != hotspot.Closed
		}
		if !counted {
			n++
		}
	}
	return n
}

// refuseDevice refuses one device too many: the sessions in the way, those of
// the device heard of least lately first, and how many of them to end when the
// plan moves.
func refuseDevice(f *hotspot.Facts, r *hotspot.Request, tooMany int) hotspot.Verdict {
	heard := map[hotspot.MAC]time.Time{}
	var others []hotspot.Session
	for _, s := range f.Sessions {
		if inTheWay(s, r.MAC) {
			others = append(others, *s)
			if s.HeardAt.After(heard[s.MAC]) {
				heard[s.MAC] = s.HeardAt
			}
		}
	}
	device := func(s hotspot.Session) time.Time { // when it was last heard of
		if s.MAC.IsZero() {
			return s.HeardAt
		}
		return heard[s.MAC]
	}
	slices.SortStableFunc(others, func(a, b hotspot.Session) int {
		return cmp.Or(device(a).Compare(device(b)), slices.Compare(a.MAC[:], b.MAC[:]))
	})
	v := refuse(f, hotspot.ReasonTooManyDevices)
	v.Others = others
	v.Detail = detailOfDevices(f, others)
	if f.Pass.Limits.Swap == hotspot.SwapMove {
		v.Move = true
		for i, s := range others {
			if i == 0 || s.MAC.IsZero() || s.MAC != others[i-1].MAC {
				if tooMany == 0 {
					break
				}
				tooMany--
			}
			v.Ends = i + 1
		}
	}
	return v
}

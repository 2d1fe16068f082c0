package store_test

import (
	"fmt"
	"testing"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// TestAFailedLoginIsKeptAndCounts: told again under its id it counts on, an older
// telling changes nothing, and what cannot be meant is set aside.
func TestAFailedLoginIsKeptAndCounts(t *testing.T) {
	onBoth(t, func(w *world) {
		s := w.teller()
		ask := func(asked string) ([]hotspot.Reject, *hotspot.Guest, []hotspot.Reject) {
			t.Helper()
			f, g, err := w.db.WhyNot(w.Context(), w.owner.Organization, w.site.ID, asked)
			must(w.TB, err)
			return f.Failed, g, f.Trouble
		}
		s.tell(wire.EventSaleMade, w.sold("s1", "a1", "AB2C-D3EFG"))
		first := wire.LoginRefused{ID: "r1", NAS: "cafe1", Username: "ab2cd3efg", MAC: "02:00:00:00:00:01", IP: "10.5.50.7", Account: "a1", Reason: hotspot.ReasonTooManyDevices,
			Detail: "1 at once allowed", Source: "192.0.2.1", At: w.now().Add(-time.Hour)}
		s.tell(wire.EventLoginRefused, first)
		more := first
		more.Times, more.Until = 4, w.now().Add(-time.Minute)
		s.tell(wire.EventLoginRefused, more, first)
		nobody := wire.LoginRefused{ID: "r2", Username: "amena", MAC: "02:00:00:00:00:02", Reason: hotspot.ReasonUnknown, At: w.now()}
		stranger := wire.LoginRefused{ID: "r3", Reason: hotspot.ReasonUnknownNAS, Source: "192.0.2.9", Silent: true, Others: true, Times: 20_000, At: w.now()}
		s.tell(wire.EventLoginRefused, nobody, stranger)
		for _, asked := range []string{"AB2C-D3EFG", "ab2c d3efg", "00:00:01", "0000:0001", "10.5.50.7"} {
			failed, g, trouble := ask(asked)
			if len(failed) != 1 || failed[0].Count() != 4 || failed[0].Reason != hotspot.ReasonTooManyDevices || failed[0].MAC.String() != first.MAC || failed[0].Newest().Before(w.now().Add(-2*time.Minute)) ||
				!failed[0].At.Before(w.now().Add(-50*time.Minute)) || g == nil || g.Account.ID != "a1" || g.Pass == nil {
				t.Errorf("%s: got %+v of %+v, want four of the voucher", asked, failed, g)
			}
			if len(trouble) != 1 || trouble[0].Source.String() != "192.0.2.9" || !trouble[0].Flood() {
				t.Errorf("%s: trouble %+v, want the stranger's flood", asked, trouble)
			}
		}
		if failed, g, _ := ask("amena"); len(failed) != 1 || g != nil {
			t.Errorf("amena: %+v, %+v; want one of nobody", failed, g)
		}
		f, _, err := w.db.WhyNot(w.Context(), w.owner.Organization, w.site.ID, "AB2C-D3EGF")
		must(w.TB, err)
		if len(f.Similar) != 1 || f.Similar[0] != "AB2C-D3EFG" || f.ByDevice {
			t.Errorf("a code that is misspelt: %+v, want the closest", f)
		}
		if f, _, err = w.db.WhyNot(w.Context(), "another", w.site.ID, "amena"); err == nil {
			t.Errorf("another organization was told %+v", f)
		}
		s.tell(wire.EventLoginRefused, wire.LoginRefused{ID: "r4", At: w.now()}, wire.LoginRefused{ID: "r5", Reason: "x", Times: -1, At: w.now()}, wire.LoginRefused{ID: "r 6\n", Reason: "x", At: w.now()})
		dead, err := w.db.DeadEvents(w.Context(), w.owner.Organization, w.site.ID, 10)
		must(w.TB, err)
		if len(dead) != 3 {
			t.Errorf("%d events set aside, want the three that cannot be meant", len(dead))
		}
	})
}

// TestFailedLoginsOfASiteAreBounded: the newest stay.
func TestFailedLoginsOfASiteAreBounded(t *testing.T) {
	onBoth(t, func(w *world) {
		s := w.teller()
		const told, kept = 2300, 2000
		for i := 0; i < told; i += 460 {
			var all []any
			for j := range 460 {
				all = append(all, wire.LoginRefused{ID: fmt.Sprintf("r%04d", i+j), Username: "eve", Reason: hotspot.ReasonUnknown, At: w.now().Add(time.Duration(i+j-told) * time.Second)})
			}
			s.tellMany(wire.EventLoginRefused, all)
		}
		f, _, err := w.db.WhyNot(w.Context(), w.owner.Organization, w.site.ID, "eve")
		must(w.TB, err)
		if n := len(f.Failed); n != kept || f.Failed[0].Ref != fmt.Sprintf("r%04d", told-1) || f.Failed[n-1].Ref != fmt.Sprintf("r%04d", told-kept) {
			t.Errorf("%d kept from %s to %s, want the newest %d", n, f.Failed[n-1].Ref, f.Failed[0].Ref, kept)
		}
	})
}

// tellMany is tell for more than there are letters.
func (s *teller) tellMany(kind wire.EventKind, bodies []any) {
	s.Helper()
	var events []wire.Event
	for i, b := range bodies {
		events = append(events, s.event(fmt.Sprintf("%s%04d", hotspot.NewID(s.now()), i), kind, b))
	}
	s.chain = s.said("one", s.seq, s.chain, events...)
	s.seq += int64(len(events))
}

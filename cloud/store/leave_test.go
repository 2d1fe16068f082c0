package store_test

import (
	"slices"
	"testing"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/secret"
	"iwas/internal/wire"
)

// second enrols another box at the site, which then waits for its person.
func second(w *world) hotspot.AgentID {
	w.Helper()
	key, err := secret.NewKey()
	must(w.TB, err)
	id := hotspot.NewID(w.now())
	must(w.TB, w.db.AddEnrolmentCode(w.Context(), w.owner, w.site.ID, []byte(id), w.now().Add(time.Hour)))
	_, err = w.db.Enrol(w.Context(), []byte(id), enrolRequest(id, key), issuer(w.TB, id))
	must(w.TB, err)
	return hotspot.AgentID(id)
}

// TestABoxThatLeavesIsRetired: at once and for ever, and told apart from one that
// somebody cut off; its site says so until another box speaks there.
func TestABoxThatLeavesIsRetired(t *testing.T) {
	onBoth(t, func(w *world) {
		w.hello(nil)
		w.pass(time.Second)
		for range 2 { // a repeat changes nothing
			site, err := w.db.LeaveAgent(w.Context(), w.agent)
			if err != nil || site != w.site.ID {
				w.Fatalf("got %s, %v", site, err)
			}
		}
		a, err := w.db.Agent(w.Context(), w.agent)
		if err != nil || a.LeftAt.IsZero() || !a.RetiredAt.Equal(a.LeftAt) {
			w.Errorf("got retired %v, left %v (%v), want both the same", a.RetiredAt, a.LeftAt, err)
		}
		_, err = w.db.AgentSite(w.Context(), w.agent)
		wantKind(w.TB, err, fault.Denied)
		if revoked, err := w.db.Revoked(w.Context()); err != nil || len(revoked) != 1 {
			w.Errorf("got %v (%v), want its certificate revoked", revoked, err)
		}
		seen := func() hotspot.SiteStatus {
			st, err := w.db.Site(w.Context(), w.owner.Organization, w.site.ID)
			must(w.TB, err)
			return st
		}
		if st := seen(); !st.Left || st.Presence != hotspot.Lost {
			w.Errorf("got left %v, presence %s, want the site to say so", st.Left, st.Presence)
		}
		_, err = w.db.LeaveAgent(w.Context(), "nobody01")
		wantKind(w.TB, err, fault.Denied)

		next := second(w)
		if st := seen(); !st.Left {
			w.Error("a box that waits for its person takes the word away")
		}
		_, _, err = w.db.ConfirmAgent(w.Context(), w.owner, next)
		must(w.TB, err)
		must(w.TB, w.db.RecordHello(w.Context(), next, wire.Hello{V: 1, Boot: "b9", Epoch: "e9"}, w.now()))
		if st := seen(); st.Left || st.Presence != hotspot.Online {
			w.Errorf("got left %v, presence %s with another box there", st.Left, st.Presence)
		}
		_, err = w.db.RevokeAgent(w.Context(), w.owner, next)
		must(w.TB, err)
		if a, err := w.db.Agent(w.Context(), next); err != nil || !a.LeftAt.IsZero() || seen().Left {
			w.Errorf("got left %v (%v) of a box that was cut off", a.LeftAt, err)
		}

		waiting := second(w)
		_, err = w.db.LeaveAgent(w.Context(), waiting)
		must(w.TB, err)
		_, _, err = w.db.ConfirmAgent(w.Context(), w.owner, waiting)
		wantKind(w.TB, err, fault.Conflict)
		agents, err := w.db.Agents(w.Context(), w.owner.Organization, w.site.ID)
		must(w.TB, err)
		if i := slices.IndexFunc(agents, func(a hotspot.Agent) bool { return a.ID == waiting }); i < 0 || agents[i].LeftAt.IsZero() {
			w.Error("the list of boxes does not say that the waiting one left")
		}
	})
}

package store_test

import (
	"sync"
	"testing"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/secret"
	"iwas/internal/wire"
)

func TestCodeIsSpentOnce(t *testing.T) {
	onBoth(t, func(w *world) {
		ctx := w.Context()
		key, err := secret.NewKey()
		must(w.TB, err)
		hash := []byte("hash of a code")
		_, err = w.db.Offer(ctx, hash)
		wantCode(w.TB, err, "CLD-201")
		must(w.TB, w.db.AddEnrolmentCode(ctx, w.owner, w.site.ID, hash, w.now().Add(time.Hour)))
		for range 3 { // looking does not spend
			offer, err := w.db.Offer(ctx, hash)
			if err != nil || offer.Site != "Main St" || offer.Organization != "Blue Cafe" || offer.SiteID != string(w.site.ID) || !offer.ExpiresAt.Equal(w.now().Add(time.Hour)) {
				w.Fatalf("got %+v (%v), want an offer of Main St", offer, err)
			}
		}
		request := enrolRequest("r1", key)
		first, err := w.db.Enrol(ctx, hash, request, issuer(w.TB, hotspot.NewID(w.now())))
		must(w.TB, err)
		never := func(wire.EnrolOffer) (wire.EnrolReply, error) {
			w.Error("an identity was made for a code that is spent")
			return wire.EnrolReply{}, nil
		}
		again, err := w.db.Enrol(ctx, hash, request, never)
		if err != nil || again.Agent != first.Agent || again.Certificate != first.Certificate || again.Confirmed {
			w.Errorf("got %+v (%v), want the same answer again", again, err)
		}
		_, _, err = w.db.ConfirmAgent(ctx, w.owner, hotspot.AgentID(first.Agent))
		must(w.TB, err)
		if again, err = w.db.Enrol(ctx, hash, request, never); err != nil || !again.Confirmed {
			w.Errorf("got confirmed %v (%v), want it told", again.Confirmed, err)
		}
		other := request
		other.CSR = "another key's"
		_, err = w.db.Enrol(ctx, hash, other, never)
		wantCode(w.TB, err, "CLD-203")
		_, err = w.db.Enrol(ctx, hash, enrolRequest("r2", key), never)
		wantCode(w.TB, err, "CLD-203")
		_, err = w.db.Offer(ctx, hash)
		wantCode(w.TB, err, "CLD-203")
		agents, err := w.db.Agents(ctx, w.owner.Organization, w.site.ID)
		if err != nil || len(agents) != 2 || string(agents[0].ID) != first.Agent && string(agents[1].ID) != first.Agent {
			w.Errorf("got %+v (%v), want the old agent and the new one", agents, err)
		}
	})
}

func TestCodeExpires(t *testing.T) {
	onBoth(t, func(w *world) {
		key, err := secret.NewKey()
		must(w.TB, err)
		must(w.TB, w.db.AddEnrolmentCode(w.Context(), w.owner, w.site.ID, []byte("h"), w.now().Add(time.Hour)))
		w.pass(time.Hour)
		_, err = w.db.Offer(w.Context(), []byte("h"))
		wantCode(w.TB, err, "CLD-202")
		_, err = w.db.Enrol(w.Context(), []byte("h"), enrolRequest("r1", key), issuer(w.TB, "agent0001"))
		wantCode(w.TB, err, "CLD-202")
		_, err = w.db.Agent(w.Context(), "agent0001")
		wantKind(w.TB, err, fault.NotFound)
	})
}

func TestTwoBoxesWithOneCode(t *testing.T) {
	onBoth(t, func(w *world) {
		key, err := secret.NewKey()
		must(w.TB, err)
		must(w.TB, w.db.AddEnrolmentCode(w.Context(), w.owner, w.site.ID, []byte("h"), w.now().Add(time.Hour)))
		var all sync.WaitGroup
		errs := make([]error, 6)
		for i := range errs {
			all.Go(func() {
				_, errs[i] = w.db.Enrol(w.Context(), []byte("h"), enrolRequest(hotspot.NewID(w.now()), key), issuer(w.TB, hotspot.NewID(w.now())))
			})
		}
		all.Wait()
		won := 0
		for _, err := range errs {
			if err == nil {
				won++
			} else {
				wantCode(w.TB, err, "CLD-203")
			}
		}
		if won != 1 {
			w.Errorf("got %d identities, want 1", won)
		}
	})
}

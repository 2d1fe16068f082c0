package store_test

import (
	"testing"
	"time"

	"iwas/internal/hotspot"
)

// TestWrongPasswordsAreToldOnce: counted by person, also over a restart, told at
// the next sign-in and then no more; nothing of an address that nobody has.
func TestWrongPasswordsAreToldOnce(t *testing.T) {
	onBoth(t, func(w *world) {
		ctx, db := w.Context(), w.db
		signIn := func(who hotspot.Operator, want hotspot.FailedSignIns) {
			w.Helper()
			w.tokens++
			got, err := db.CreateOperatorSession(ctx, who.ID, []byte{byte(w.tokens)}, w.now().Add(time.Hour))
			must(w.TB, err)
			if got.Count != want.Count || !got.LastAt.Equal(want.LastAt) || got.LastFrom != want.LastFrom {
				w.Errorf("got %+v, want %+v", got, want)
			}
		}
		other, err := db.EnsureOwner(ctx, "Other", "other@example.org", "hash")
		must(w.TB, err)
		signIn(w.owner, hotspot.FailedSignIns{})
		must(w.TB, db.NoteFailedSignIn(ctx, "owner@example.org", "198.51.100.··"))
		w.pass(time.Minute)
		must(w.TB, db.NoteFailedSignIn(ctx, " OWNER@example.org", "203.0.113.··"))
		must(w.TB, db.NoteFailedSignIn(ctx, "nobody@example.org", "203.0.113.··"))
		last := w.now()
		w.pass(time.Minute)
		w.reopen()
		db = w.db
		signIn(other, hotspot.FailedSignIns{})
		signIn(w.owner, hotspot.FailedSignIns{Count: 2, LastAt: last, LastFrom: "203.0.113.··"})
		signIn(w.owner, hotspot.FailedSignIns{})
		must(w.TB, db.NoteFailedSignIn(ctx, "owner@example.org", ""))
		signIn(w.owner, hotspot.FailedSignIns{Count: 1, LastAt: w.now()})
	})
}

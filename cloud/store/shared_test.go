package store_test

import (
	"bytes"
	"sync"
	"testing"
	"time"

	"iwas/cloud/store"
	"iwas/internal/hotspot"
)

// second opens the database again, as another cloud does.
func (w *world) second() *store.DB {
	w.Helper()
	other, err := store.Open(w.Context(), store.Options{URL: w.url, Now: w.now, Key: w.guests})
	must(w.TB, err)
	w.Cleanup(func() { must(w.TB, other.Close()) })
	return other
}

// TestAKeyIsForOneRequestAtAllClouds: one of many that come at once goes first, the
// others hear of it and then of its answer, and what failed or is long over is free.
func TestAKeyIsForOneRequestAtAllClouds(t *testing.T) {
	onBoth(t, func(w *world) {
		ctx, clouds := w.Context(), []*store.DB{w.db, w.second()}
		key, body := []byte{1, 2, 3}, []byte{4, 5}
		var mu sync.Mutex // guards firsts
		firsts := 0
		var each sync.WaitGroup
		for n := range 8 {
			each.Go(func() {
				o, err := clouds[n%2].BeginOnce(ctx, key, body, time.Hour)
				mu.Lock()
				defer mu.Unlock()
				if err != nil || !o.First && (!bytes.Equal(o.Body, body) || len(o.Answer) > 0) {
					w.Errorf("%+v, %v", o, err)
				}
				if o.First {
					firsts++
				}
			})
		}
		if each.Wait(); firsts != 1 {
			w.Fatalf("%d of 8 requests with one key went first, want one", firsts)
		}
		w.pass(40 * time.Second)
		if o, err := clouds[1].BeginOnce(ctx, key, body, time.Hour); err != nil || o.First || o.Waits != 40*time.Second {
			w.Errorf("%+v, %v; want the first at work for 40 s", o, err)
		}
		must(w.TB, clouds[0].EndOnce(ctx, key, []byte("answer")))
		must(w.TB, clouds[1].ForgetOnce(ctx, key)) // of one that was answered: without effect
		if o, err := clouds[1].BeginOnce(ctx, key, []byte("another"), time.Hour); err != nil || o.First || string(o.Answer) != "answer" || !bytes.Equal(o.Body, body) {
			w.Errorf("%+v, %v; want the answer at the other cloud, and the first body", o, err)
		}
		w.pass(time.Hour)
		if o, err := clouds[1].BeginOnce(ctx, key, body, time.Hour); err != nil || !o.First {
			w.Errorf("%+v, %v; want an hour to free the key", o, err)
		}
		must(w.TB, clouds[1].ForgetOnce(ctx, key))
		if o, err := clouds[0].BeginOnce(ctx, key, body, time.Hour); err != nil || !o.First {
			w.Errorf("%+v, %v; want a failure to free the key", o, err)
		}
	})
}

// TestTriesCountAtAllClouds: what two clouds count side by side is counted whole, and
// forgotten in its time.
func TestTriesCountAtAllClouds(t *testing.T) {
	onBoth(t, func(w *world) {
		ctx, clouds := w.Context(), []*store.DB{w.db, w.second()}
		keys := []string{"a:203.0.113.9", "n:owner@example.org"}
		change := func(db *store.DB, keys []string, f func(map[string]hotspot.Tries)) {
			w.Helper()
			must(w.TB, db.ChangeTries(ctx, keys, time.Hour, f))
		}
		var each sync.WaitGroup
		for n := range 20 {
			each.Go(func() {
				order := keys
				if n%3 == 0 {
					order = []string{keys[1], keys[0]}
				}
				change(clouds[n%2], order, func(all map[string]hotspot.Tries) {
					for _, k := range keys {
						one := all[k]
						one.Failed, one.Last, one.Until = one.Failed+1, w.now(), w.now().Add(time.Minute)
						all[k] = one
					}
				})
			})
		}
		each.Wait()
		look := func(db *store.DB) (all map[string]hotspot.Tries) {
			w.Helper()
			change(db, append(keys, "n:nobody"), func(m map[string]hotspot.Tries) { all = m })
			return all
		}
		want := hotspot.Tries{Failed: 20, Last: w.now(), Until: w.now().Add(time.Minute)}
		if got := look(clouds[1]); len(got) != 2 || got[keys[0]] != want || got[keys[1]] != want {
			w.Errorf("%+v, want both as %+v", got, want)
		}
		change(clouds[0], keys, func(all map[string]hotspot.Tries) { delete(all, keys[1]) })
		w.pass(time.Hour)
		if got := look(clouds[1]); len(got) != 1 || got[keys[0]] != want {
			w.Errorf("%+v, want the one that was not taken away, to the hour", got)
		}
		w.pass(time.Millisecond)
		if got := look(clouds[0]); len(got) != 0 {
			w.Errorf("%+v, want an hour to forget them", got)
		}
	})
}

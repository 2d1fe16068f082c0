package store_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"iwas/internal/wire"
)

// TestMessagesOfReleasedAgentsAreTakenIn stores the golden batches and hellos of the
// contract, octet by octet as an agent of their time sends them; only the place in the
// log, a password's seal, and ids that several files share, are made to fit.
func TestMessagesOfReleasedAgentsAreTakenIn(t *testing.T) {
	golden := func(t testing.TB, kind string) (names []string, messages [][]byte) {
		t.Helper()
		files, err := filepath.Glob("../../internal/wire/testdata/v1/" + kind + "*.json")
		must(t, err)
		for _, f := range files {
			b, err := os.ReadFile(f)
			must(t, err)
			names, messages = append(names, strings.TrimSuffix(filepath.Base(f), ".json")), append(messages, b)
		}
		if len(names) < 5 {
			t.Fatalf("%d golden %s; they are elsewhere", len(names), kind)
		}
		return names, messages
	}
	onBoth(t, func(w *world) {
		names, messages := golden(w.TB, "events")
		kinds := map[wire.EventKind]bool{}
		sealed, err := w.guests.Public().Seal("pw")
		must(w.TB, err)
		for i, name := range names {
			var b wire.Batch
			must(w.TB, wire.Decode(bytes.ReplaceAll(messages[i], []byte("sealed1:AAAA"), []byte(sealed)), &b))
			b.Epoch, b.First, b.Chain, b.Boot = name, 1, "", ""
			for n := range b.Events {
				kinds[b.Events[n].Kind] = true
				b.Events[n].ID = name + "-" + b.Events[n].ID
			}
			ack, err := w.db.Ingest(w.Context(), w.agent, b)
			if err != nil || ack.Fork || ack.Through != int64(len(b.Events)) {
				w.Errorf("%s: %+v, %v; want %d events stored", name, ack, err, len(b.Events))
			}
			if again, err := w.db.Ingest(w.Context(), w.agent, b); err != nil || again.Through != ack.Through {
				w.Errorf("%s once more: %+v, %v", name, again, err)
			}
		}
		if dead := w.dead(); len(dead) != 0 {
			w.Errorf("set aside: %q; want every golden event understood", dead)
		}
		if len(kinds) < 20 {
			w.Errorf("%d kinds of events, want those of the contract", len(kinds))
		}
		all, err := w.db.Sessions(w.Context(), w.owner.Organization, w.site.ID, false, 10)
		if err != nil || len(all) != 1 || all[0].ID != "s1" || all[0].Upload != 5<<30 || all[0].Download != 9<<32 {
			w.Errorf("sessions %+v, %v; want the golden one with its octets above 32 bits", all, err)
		}
		names, messages = golden(w.TB, "hello")
		routers, conditions := 0, 0
		for i, name := range names {
			var h wire.Hello
			must(w.TB, wire.Decode(messages[i], &h))
			if err := w.db.RecordHello(w.Context(), w.agent, h, w.now()); err != nil {
				w.Errorf("%s: %v", name, err)
			}
			st, err := w.db.Site(w.Context(), w.owner.Organization, w.site.ID)
			must(w.TB, err)
			routers, conditions = max(routers, len(st.Routers)), max(conditions, len(st.Conditions))
		}
		if routers != 2 || conditions != 1 {
			w.Errorf("%d routers and %d conditions were told of, want those of the golden hellos, 2 and 1", routers, conditions)
		}
	})
}

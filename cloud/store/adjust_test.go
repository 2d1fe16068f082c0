package store_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"iwas/cloud/store"
	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

func rate(t testing.TB, s string) hotspot.RateLimit {
	t.Helper()
	r, err := hotspot.ParseRateLimit(s)
	must(t, err)
	return r
}

// audited returns the entries of the audit about one sort of change.
func (w *world) audited(what string) (out []store.Entry) {
	w.Helper()
	entries, err := w.db.Audit(w.Context(), w.owner.Organization, 100)
	must(w.TB, err)
	for _, e := range entries {
		if e.What == what {
			out = append(out, e)
		}
	}
	return out
}

// passDoc is the pass document of the newest announced change.
func (w *world) passDoc() (doc wire.PassDoc, id string) {
	w.Helper()
	c := w.last()
	if len(c.state.Docs) != 1 || c.state.Docs[0].Kind != wire.DocPass {
		w.Fatalf("got %+v, want one pass document", c.state)
	}
	must(w.TB, json.Unmarshal(c.state.Docs[0].Body, &doc))
	return doc, c.state.Docs[0].ID
}

func TestSpeedAndTimeOfAGuestAreChanged(t *testing.T) {
	onBoth(t, func(w *world) {
		id := w.user("amal")
		before := w.guest(id)
		must(w.TB, w.db.SetSpeed(w.Context(), w.owner, id, rate(w.TB, "5M/20M")))
		if doc, _ := w.passDoc(); doc.Limits.Rate != "5M/20M" || doc.Limits.TimeS != 3600 {
			w.Errorf("got %+v, want the new speed and the old time", doc)
		}
		must(w.TB, w.db.Extend(w.Context(), w.owner, id, 30*time.Minute, "waited"))
		doc, _ := w.passDoc()
		g := w.guest(id)
		if doc.Limits.TimeS != 5400 || doc.Limits.Rate != "5M/20M" || !doc.ValidUntil.Equal(before.Pass.ValidUntil.Add(30*time.Minute)) {
			w.Errorf("got %+v, want an hour and a half, and half an hour more to use it", doc)
		}
		if g.Pass.Limits.Time != 90*time.Minute || g.Pass.Limits.Rate.String() != "5M/20M" || g.PassRevision != w.last().state.To {
			w.Errorf("got %+v at %d, want what the document says at %d", g.Pass.Limits, g.PassRevision, w.last().state.To)
		}
		if got := w.audited("account.speed"); len(got) != 1 || got[0].Became != `{"rate":"5M/20M"}` || got[0].Subject != string(id) {
			w.Errorf("audit of the speed: %+v", got)
		}
		if got := w.audited("account.extended"); len(got) != 1 || got[0].Became != `{"reason":"waited","seconds":1800}` {
			w.Errorf("audit of the time: %+v", got)
		}
		// Nothing left by the time it was first used: the extension counts from now.
		w.pass(25 * time.Hour)
		must(w.TB, w.db.Extend(w.Context(), w.owner, id, time.Hour, ""))
		if got := w.guest(id).Pass.ValidUntil; !got.Equal(w.now().Add(time.Hour)) {
			w.Errorf("a pass that was over is valid until %v, want an hour from now", got)
		}

		other, err := w.db.EnsureOwner(w.Context(), "Rival", "rival@example.org", "hash")
		must(w.TB, err)
		for name, err := range map[string]error{
			"another business's guest, speed": w.db.SetSpeed(w.Context(), other, id, rate(w.TB, "1M/1M")),
			"another business's guest, time":  w.db.Extend(w.Context(), other, id, time.Hour, ""),
		} {
			if !fault.Is(err, fault.NotFound) {
				w.Errorf("%s: got %v, want not found", name, err)
			}
		}
		if err := w.db.Extend(w.Context(), w.owner, id, time.Second, ""); !fault.Is(err, fault.Invalid) {
			w.Errorf("one second: got %v, want invalid", err)
		}
	})
}

func TestWhatStaffChangedOnSiteIsFoldedOnce(t *testing.T) {
	onBoth(t, func(w *world) {
		id := w.user("amal")
		pass := w.guest(id).Pass.ID
		fast := "5M/20M"
		body := func(v any) json.RawMessage {
			b, err := json.Marshal(v)
			must(w.TB, err)
			return b
		}
		events := []wire.Event{
			{ID: "x1", Kind: wire.EventAdjusted, At: w.now(), Body: body(wire.AdjustedBody{Account: id, Pass: pass, By: "nadia", AskedS: 1800, TimeS: 1800, ValidityS: 1800})},
			{ID: "x2", Kind: wire.EventAdjusted, At: w.now(), Body: body(wire.AdjustedBody{Account: id, Pass: pass, By: "nadia", Rate: &fast})},
			{ID: "x3", Kind: wire.EventAdjusted, At: w.now(), Body: body(wire.AdjustedBody{Account: id, Pass: pass, By: "nadia", Rate: &fast, Once: true})},
			{ID: "x4", Kind: wire.EventAdjusted, At: w.now(), Body: body(wire.AdjustedBody{Account: "lost", Pass: "lost", By: "nadia", TimeS: 60})},
		}
		send := func(epoch string) {
			w.Helper()
			ack, err := w.db.Ingest(w.Context(), w.agent, wire.Batch{V: 1, Epoch: epoch, First: 1, At: w.now(), Events: events})
			if err != nil || ack.Through != int64(len(events)) {
				w.Fatalf("got %+v, %v; want all stored", ack, err)
			}
		}
		send("one")
		doc, docID := w.passDoc()
		if docID != string(pass) || doc.Limits.TimeS != 5400 || doc.Limits.Rate != fast || !slices.Equal(doc.Adjusted, []string{"x1", "x2"}) {
			w.Errorf("got %+v, want both in the document, which names them", doc)
		}
		if g := w.guest(id); g.Pass.Limits.Time != 90*time.Minute || g.Pass.Limits.Rate.String() != fast {
			w.Errorf("got %+v, want the pass as the site has it", g.Pass.Limits)
		}
		rev := w.last().state.To
		send("one") // again
		send("two") // and under other numbers, after a fork
		if w.last().state.To != rev {
			w.Errorf("a repeat made revision %d of %d", w.last().state.To, rev)
		}
		dead, err := w.db.DeadEvents(w.Context(), w.owner.Organization, w.site.ID, 10)
		if err != nil || len(dead) != 0 {
			w.Errorf("%d events were set aside (%v), want none", len(dead), err)
		}
		entries := append(w.audited("account.extended"), w.audited("account.speed")...)
		if len(entries) != 4 {
			w.Errorf("%d entries in the audit, want one for each change", len(entries))
		}
		for _, e := range entries {
			if e.Who != "nadia" || e.Subject != string(id) && !(e.Subject == "lost" && strings.Contains(fmt.Sprint(e), "was removed in the console")) {
				w.Errorf("audit has %+v, want nadia's change", e)
			}
		}
	})
}

func TestASessionSaysWhatItRunsAt(t *testing.T) {
	onBoth(t, func(w *world) {
		id := w.user("amal")
		slow, fast := "2M/10M", "5M/20M"
		body := func(v any) json.RawMessage {
			b, err := json.Marshal(v)
			must(w.TB, err)
			return b
		}
		s := wire.SessionBody{ID: "s1", Account: id, Pass: w.guest(id).Pass.ID, NAS: "r1", AcctSessionID: "80000001", StartedAt: w.now(), HeardAt: w.now(), State: hotspot.Live, Rate: &slow}
		usage := s
		usage.Rate, usage.TimeMS = nil, 60_000
		first := int64(1)
		send := func(events ...wire.Event) {
			w.Helper()
			chain := ""
			_, err := w.db.Ingest(w.Context(), w.agent, wire.Batch{V: 1, Epoch: "e" + events[0].ID, First: first, Chain: chain, At: w.now(), Events: events})
			must(w.TB, err)
		}
		send(wire.Event{ID: "a1", Kind: wire.EventSessionStarted, At: w.now(), Body: body(s)}, wire.Event{ID: "a2", Kind: wire.EventSessionUsage, At: w.now(), Body: body(usage)})
		if got := w.guest(id).Sessions[0]; got.Rate == nil || got.Rate.String() != slow || got.Changed != nil {
			w.Fatalf("got %+v, want the speed of the login", got)
		}
		send(wire.Event{ID: "b1", Kind: wire.EventSessionChanged, At: w.now(), Body: body(wire.SessionChanged{Session: "s1", Account: id, Wanted: fast, Rate: slow,
			Outcome: hotspot.ChangeNextLogin, Code: "HSP-207", Detail: "CoA-NAK", At: w.now()})}, wire.Event{ID: "b2", Kind: wire.EventSessionUsage, At: w.now(), Body: body(usage)})
		got := w.guest(id).Sessions[0]
		if got.Rate.String() != slow || got.Changed == nil || got.Changed.Want.Rate.String() != fast || got.Changed.Outcome != hotspot.ChangeNextLogin || got.Changed.Code != "HSP-207" {
			w.Errorf("got %+v %+v, want the old speed and why", got.Rate, got.Changed)
		}
		send(wire.Event{ID: "c1", Kind: wire.EventSessionChanged, At: w.now(), Body: body(wire.SessionChanged{Session: "s1", Account: id, Wanted: "", Rate: "", Outcome: hotspot.ChangeApplied, At: w.now()})})
		if got := w.guest(id).Sessions[0]; got.Rate == nil || !got.Rate.IsZero() {
			w.Errorf("got %+v, want no limit, and that known", got.Rate)
		}
	})
}

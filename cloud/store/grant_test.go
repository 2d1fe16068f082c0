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

func grantOf(t testing.TB, list, address string, until time.Time) hotspot.Grant {
	t.Helper()
	p, err := hotspot.ParseListAddress(address)
	must(t, err)
	return hotspot.Grant{List: list, Address: p, Until: until, Comment: "the accountant"}
}

func (w *world) grant(list, address string, d time.Duration) hotspot.GrantStatus {
	w.Helper()
	made, err := w.db.CreateGrants(w.Context(), w.owner, w.site.ID, []hotspot.Grant{grantOf(w.TB, list, address, w.now().Add(d))})
	must(w.TB, err)
	return made[0]
}

func (w *world) grants(query string, over bool) []hotspot.GrantStatus {
	w.Helper()
	grants, next, err := w.db.Grants(w.Context(), w.owner.Organization, w.site.ID, query, over, 1000, "")
	must(w.TB, err)
	if next != "" {
		w.Errorf("there is a next page %q, want all on one", next)
	}
	return grants
}

// said has the site tell events, the first of them with the number.
func (w *world) said(epoch string, first int64, chain string, events ...wire.Event) string {
	w.Helper()
	ack, err := w.db.Ingest(w.Context(), w.agent, wire.Batch{V: 1, Epoch: epoch, First: first, Chain: chain, At: w.now(), Events: events})
	if err != nil || ack.Through != first+int64(len(events))-1 {
		w.Fatalf("got %+v, %v; want all stored", ack, err)
	}
	for _, e := range events {
		chain = wire.NextChain(chain, e)
	}
	return chain
}

func (w *world) event(id string, kind wire.EventKind, body any) wire.Event {
	w.Helper()
	b, err := json.Marshal(body)
	must(w.TB, err)
	return wire.Event{ID: id, Kind: kind, At: w.now(), Body: b}
}

func TestGrantsAreDocumentsUntilTheyAreOver(t *testing.T) {
	onBoth(t, func(w *world) {
		g := w.grant("staff", "203.0.113.7", 2*time.Hour)
		doc := w.last().state.Docs[0]
		if want := fmt.Sprintf(`{"list":"staff","address":"203.0.113.7","until":%q,"comment":"the accountant","by":"owner@example.org","at":%q}`,
			w.now().Add(2*time.Hour).Format(time.RFC3339), w.now().Format(time.RFC3339)); doc.Kind != wire.DocGrant || doc.ID != string(g.ID) || string(doc.Body) != want {
			w.Errorf("got %s %s %s, want %s", doc.Kind, doc.ID, doc.Body, want)
		}
		w.pass(time.Second)
		second := w.grant("guests", "2001:db8::/64", 24*time.Hour)
		if got := w.grants("", false); len(got) != 2 || got[0].ID != second.ID || got[1].ID != g.ID || got[1].By != "owner@example.org" || got[1].AtSite || got[1].State != hotspot.GrantWaiting {
			w.Errorf("got %+v, want both, the newest first, not at the site yet", got)
		}
		must(w.TB, w.db.RecordHello(w.Context(), w.agent, wire.Hello{V: 1, Boot: "b", Revision: w.last().state.To, At: w.now()}, w.now()))
		if got := w.grants("203.0.113", false); len(got) != 1 || !got[0].AtSite {
			w.Errorf("got %+v, want the one of that address, at the site", got)
		}
		w.said("one", 1, "", w.event("s1", wire.EventGrantSettled, wire.GrantSettled{State: hotspot.GrantForeign, IDs: []hotspot.GrantID{g.ID, "lost"}}))
		if got := w.grants("staff", false); len(got) != 1 || got[0].State != hotspot.GrantForeign || !got[0].StateAt.Equal(w.now()) {
			w.Errorf("got %+v, want what the site said of it", got)
		}
		must(w.TB, w.db.RemoveGrant(w.Context(), w.owner, w.site.ID, second.ID))
		if gone := w.last().state.Gone; len(gone) != 1 || gone[0].ID != string(second.ID) {
			w.Errorf("got %+v, want the tombstone", gone)
		}
		must(w.TB, w.db.RemoveGrant(w.Context(), w.owner, w.site.ID, second.ID)) // again: nothing
		if got := w.grants("", true); len(got) != 2 || got[0].EndedBy != "owner@example.org" || !got[0].Over(w.now()) {
			w.Errorf("got %+v, want the removed one still listed", got)
		}
		// Over: no longer listed as in force, and out of the set with the next change.
		w.pass(3 * time.Hour)
		if got := w.grants("", false); len(got) != 0 {
			w.Errorf("got %+v, want none in force", got)
		}
		w.grant("staff", "203.0.113.8", time.Hour)
		if s := w.last().state; len(s.Gone) != 1 || s.Gone[0].ID != string(g.ID) || len(s.Docs) != 1 {
			w.Errorf("got %+v, want the one that is over out of the set", s)
		}
		w.pass(25 * time.Hour)
		if got := w.grants("", true); len(got) != 0 {
			w.Errorf("a day later: got %+v, want none listed any more", got)
		}
		if made, removed := w.audited("grant.made"), w.audited("grant.removed"); len(made) != 3 || len(removed) != 1 || !strings.Contains(removed[0].Was, "2001:db8::/64") || !slices.ContainsFunc(made, func(e store.Entry) bool { return strings.Contains(e.Became, `"address":"203.0.113.7"`) }) {
			w.Errorf("audit: %+v, %+v", made, removed)
		}
	})
}

func TestManyGrantsAreOneRevision(t *testing.T) {
	onBoth(t, func(w *world) {
		before := w.last().state.To
		var many []hotspot.Grant
		for i := range 1200 {
			many = append(many, grantOf(w.TB, "staff", fmt.Sprintf("10.1.%d.%d", i>>8, i&255), w.now().Add(time.Hour)))
		}
		made, err := w.db.CreateGrants(w.Context(), w.owner, w.site.ID, many)
		must(w.TB, err)
		if s := w.last().state; s.To != before+1 || len(s.Docs) != len(many) || len(made) != len(many) {
			w.Errorf("got revision %d with %d documents, want %d with %d", s.To, len(s.Docs), before+1, len(many))
		}
		seen, after := map[hotspot.GrantID]bool{}, ""
		for {
			page, next, err := w.db.Grants(w.Context(), w.owner.Organization, w.site.ID, "", false, 500, after)
			must(w.TB, err)
			for _, g := range page {
				seen[g.ID] = true
			}
			if after = next; next == "" {
				break
			}
		}
		if len(seen) != len(many) {
			w.Errorf("pages name %d grants, want %d", len(seen), len(many))
		}
		if got := w.audited("grant.made"); len(got) != 1 || !strings.Contains(got[0].Became, `"grants":1200`) {
			w.Errorf("audit: %+v", got)
		}
		var ids []hotspot.GrantID
		for _, g := range made[:450] {
			ids = append(ids, g.ID)
		}
		w.said("one", 1, "", w.event("s1", wire.EventGrantSettled, wire.GrantSettled{State: hotspot.GrantInList, IDs: ids}))
		in := 0
		for _, g := range func() []hotspot.GrantStatus {
			page, _, err := w.db.Grants(w.Context(), w.owner.Organization, w.site.ID, "", false, 1000, "")
			must(w.TB, err)
			rest, _, err := w.db.Grants(w.Context(), w.owner.Organization, w.site.ID, "", false, 1000, string(page[999].ID))
			must(w.TB, err)
			return slices.Concat(page, rest)
		}() {
			if g.State == hotspot.GrantInList {
				in++
			}
		}
		if in != len(ids) {
			w.Errorf("%d are in the list, want %d", in, len(ids))
		}
	})
}

func TestGrantsMadeOnSiteComeBackAsDocuments(t *testing.T) {
	onBoth(t, func(w *world) {
		doc := wire.GrantDoc{List: "staff", Address: "203.0.113.7", Until: w.now().Add(time.Hour), Comment: "by hand", By: "nadia", At: w.now()}
		made := w.event("e1", wire.EventGrantMade, wire.GrantMade{ID: "g1", GrantDoc: doc, LeftS: 3600})
		chain := w.said("one", 1, "", made)
		if got := w.last().state.Docs; len(got) != 1 || got[0].ID != "g1" || got[0].Kind != wire.DocGrant {
			w.Fatalf("got %+v, want the document of the site's own id", got)
		}
		if got := w.grants("", false); len(got) != 1 || !got[0].OnSite || !got[0].AtSite || got[0].By != "nadia" {
			w.Errorf("got %+v", got)
		}
		rev := w.last().state.To
		w.said("two", 1, "", made) // renumbered after a fork: the same event
		chain = w.said("one", 2, chain, w.event("e2", wire.EventGrantMade, wire.GrantMade{ID: "g1", GrantDoc: doc, LeftS: 3600}))
		if got := w.last().state.To; got != rev {
			w.Errorf("told again: revision %d, want %d", got, rev)
		}

		// Without a date, then with one.
		undated := doc
		undated.Until, undated.Address = time.Time{}, "203.0.113.8"
		chain = w.said("one", 3, chain, w.event("e3", wire.EventGrantMade, wire.GrantMade{ID: "g2", GrantDoc: undated, LeftS: 600}))
		if got := w.grants("203.0.113.8", false); len(got) != 1 || !got[0].Until.IsZero() || w.last().state.To != rev {
			w.Errorf("got %+v at %d, want it listed and no document yet", got, w.last().state.To)
		}
		undated.Until = w.now().Add(time.Hour)
		chain = w.said("one", 4, chain, w.event("e4", wire.EventGrantMade, wire.GrantMade{ID: "g2", GrantDoc: undated, LeftS: 500}))
		if got := w.grants("203.0.113.8", false); len(got) != 1 || got[0].Until.IsZero() || w.last().state.To != rev+1 {
			w.Errorf("got %+v at %d, want its end and a document", got, w.last().state.To)
		}

		// Removed on site, also one of the cloud.
		ours := w.grant("guests", "203.0.113.9", time.Hour)
		chain = w.said("one", 5, chain, w.event("e5", wire.EventGrantRemoved, wire.GrantRemoved{ID: ours.ID, By: "nadia"}), w.event("e6", wire.EventGrantRemoved, wire.GrantRemoved{ID: "nobody's"}))
		if got := w.grants("guests", true); len(got) != 1 || got[0].EndedBy != "nadia" {
			w.Errorf("got %+v, want it removed by who did", got)
		}

		// One made without a date, and removed in the console before it had one.
		undated.Until, undated.Address = time.Time{}, "203.0.113.10"
		chain = w.said("one", 7, chain, w.event("e7", wire.EventGrantMade, wire.GrantMade{ID: "g3", GrantDoc: undated, LeftS: 600}))
		must(w.TB, w.db.RemoveGrant(w.Context(), w.owner, w.site.ID, "g3"))
		if s := w.last().state; len(s.Gone) != 1 || s.Gone[0].ID != "g3" {
			w.Errorf("got %+v, want a tombstone for the site", s)
		}
		undated.Until = w.now().Add(time.Hour)
		w.said("one", 8, chain, w.event("e8", wire.EventGrantMade, wire.GrantMade{ID: "g3", GrantDoc: undated, LeftS: 500}))
		if got := w.grants("203.0.113.10", false); len(got) != 0 {
			w.Errorf("got %+v, want what a person removed to stay so", got)
		}
		if got := w.audited("grant.made"); len(got) != 4 {
			w.Errorf("%d grants were audited as made, want three on site and one here", len(got))
		}
	})
}

func TestGrantsNobodyCanMean(t *testing.T) {
	onBoth(t, func(w *world) {
		later := w.now().Add(time.Hour)
		good := grantOf(w.TB, "staff", "203.0.113.7", later)
		for name, change := range map[string]func(*hotspot.Grant){
			"no list":      func(g *hotspot.Grant) { g.List = "a b" },
			"in the past":  func(g *hotspot.Grant) { g.Until = w.now() },
			"too long":     func(g *hotspot.Grant) { g.Until = w.now().AddDate(2, 0, 0) },
			"no address":   func(g *hotspot.Grant) { g.Address = hotspot.Grant{}.Address },
			"long comment": func(g *hotspot.Grant) { g.Comment = strings.Repeat("x", 201) },
		} {
			bad := good
			change(&bad)
			if _, err := w.db.CreateGrants(w.Context(), w.owner, w.site.ID, []hotspot.Grant{good, bad}); !fault.Is(err, fault.Invalid) {
				w.Errorf("%s: got %v, want a refusal", name, err)
			}
		}
		if got := w.grants("", true); len(got) != 0 {
			w.Errorf("got %+v, want nothing of a refused batch", got)
		}
		other, err := w.db.EnsureOwner(w.Context(), "Rival", "rival@example.org", "hash")
		must(w.TB, err)
		g := w.grant("staff", "203.0.113.7", time.Hour)
		if _, err := w.db.CreateGrants(w.Context(), other, w.site.ID, []hotspot.Grant{good}); !fault.Is(err, fault.NotFound) {
			w.Errorf("another business's site: got %v, want not found", err)
		}
		if err := w.db.RemoveGrant(w.Context(), other, w.site.ID, g.ID); !fault.Is(err, fault.NotFound) {
			w.Errorf("another business's grant: got %v, want not found", err)
		}
		if err := w.db.RemoveGrant(w.Context(), w.owner, w.site.ID, "nobody"); !fault.Is(err, fault.NotFound) {
			w.Errorf("nobody's: got %v, want not found", err)
		}
		if got, _, err := w.db.Grants(w.Context(), other.Organization, w.site.ID, "", true, 10, ""); err != nil || len(got) != 0 {
			w.Errorf("another business sees %+v, %v", got, err)
		}
		w.said("bad", 1, "", w.event("x1", wire.EventGrantMade, wire.GrantMade{ID: "x1", GrantDoc: wire.GrantDoc{List: "a b", Address: "203.0.113.7", Until: later}}),
			w.event("x2", wire.EventGrantMade, wire.GrantMade{ID: "x 2", GrantDoc: wire.GrantDoc{List: "staff", Address: "203.0.113.7", Until: later}}),
			w.event("x3", wire.EventGrantRemoved, wire.GrantRemoved{}))
		if dead := w.dead(); len(dead) != 3 {
			w.Errorf("%d events were set aside (%v), want all three", len(dead), dead)
		}
		w.reopen()
		if got := w.grants("", false); len(got) != 1 {
			w.Errorf("after a restart: got %+v", got)
		}
	})
}

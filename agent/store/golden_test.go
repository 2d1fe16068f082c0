package store

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// TestStatesOfReleasedCloudsComeIntoForce takes in the golden states of the contract,
// octet by octet as a cloud of their time sends them, one after the other; only hashes,
// the password's seal, and the revision a lone part leads from are made to fit.
func TestStatesOfReleasedCloudsComeIntoForce(t *testing.T) {
	s := newSite(t)
	ctx, set := t.Context(), map[wire.DocRef]wire.Doc{}
	send := func(m wire.State) {
		t.Helper()
		if m.Snapshot != "" {
			clear(set)
		}
		for _, r := range m.Gone {
			delete(set, r)
		}
		var h wire.SetHash
		for _, d := range m.Docs {
			set[wire.DocRef{Kind: d.Kind, ID: d.ID}] = d
		}
		for _, d := range set {
			h.Add(d)
		}
		m.Hash = h.String()
		applied, err := s.ApplyState(ctx, m)
		if err == nil && applied && m.Snapshot != "" {
			_, err = s.BringState(ctx)
		}
		if err != nil || !applied {
			t.Fatalf("to revision %d: applied %v, %v", m.To, applied, err)
		}
		now, err := s.Standing(ctx)
		if err != nil || now.Revision != m.To || now.Hash != m.Hash || len(now.NotInForce) > 0 {
			t.Fatalf("stands at %d with %s, not in force %v, %v; want %d with %s, all in force", now.Revision, now.Hash, now.NotInForce, err, m.To, m.Hash)
		}
	}
	golden := func(name string) (m wire.State) {
		t.Helper()
		b, err := os.ReadFile(filepath.Join("../../internal/wire/testdata/v1", name+".json"))
		s.must(err)
		s.must(wire.Decode(bytes.ReplaceAll(b, []byte("sealed1:AAAA"), []byte(s.cloud.seal("hello"))), &m))
		return m
	}
	send(wire.State{V: 1, Lineage: "lin1", Snapshot: "before", Part: 1, Parts: 1, To: 41})
	send(golden("state-delta"))
	if v := s.login("amina", "hello", phone); v.Accept || v.Reason != hotspot.ReasonLocked {
		t.Errorf("the guest of the golden lock: %+v, want locked", v)
	}
	send(golden("state-limits"))
	send(golden("state-adjusted"))
	send(golden("state-grants"))
	send(golden("state-router"))
	if doc, found, err := s.RouterSetup(ctx, "cafe1"); err != nil || !found || doc.Mode != "whole-cafe" || doc.Guests == nil || doc.Guests.VLAN != 20 {
		t.Errorf("the set-up of the golden router: %+v, %v, %v", doc, found, err)
	}
	if p := s.passNow("pass1"); p.Limits.Time.Seconds() != 7320 {
		t.Errorf("the pass that was adjusted: %+v", p)
	}
	send(golden("state-counter"))
	if targets, err := s.Locked(ctx, 10); err != nil || len(targets) != 1 || targets[0].Account != "acc4" {
		t.Errorf("locked: %+v, %v; want the paused account, and the other lock lifted with its set", targets, err)
	}
	whole := golden("state-snapshot")
	whole.Snapshot, whole.Part, whole.Parts, whole.To = "snap3", 1, 1, 48
	send(whole)
	piece := golden("state-piece")
	piece.Snapshot, piece.To, piece.After = "lin1-49", 49, ""
	send(piece)
	later := golden("state-delta")
	later.V = 2
	if applied, err := s.ApplyState(ctx, later); applied || err == nil {
		t.Errorf("of a version of the future: applied %v, %v; want it refused", applied, err)
	}
}

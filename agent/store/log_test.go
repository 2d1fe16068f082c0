package store

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// mirror is what a cloud keeps of a site's log: event ids once, and a mark per
// epoch, as the contract says.
type mirror struct {
	t      *testing.T
	marks  map[string]int64
	chains map[string]string
	ids    []string
	gaps   []wire.Gap
	void   map[string]bool // ids of what came folded
}

func newMirror(t *testing.T) *mirror {
	return &mirror{t: t, marks: map[string]int64{}, chains: map[string]string{}, void: map[string]bool{}}
}

// take stores a batch and answers it.
func (m *mirror) take(b wire.Batch) wire.Ack {
	m.t.Helper()
	mark := m.marks[b.Epoch]
	ack := wire.Ack{V: wire.Version, Epoch: b.Epoch, First: b.First, Through: mark}
	switch {
	case b.First > mark+1:
		return ack
	case !m.continues(b):
		ack.Fork, ack.Chain = true, m.chains[b.Epoch]
		return ack
	}
	for i, e := range b.Events {
		if seq := b.First + int64(i); seq > mark {
			if !slices.Contains(m.ids, e.ID) {
				m.ids = append(m.ids, e.ID)
				m.void[e.ID] = e.Kind == wire.EventVoid
				if e.Kind == wire.EventGap {
					var g wire.Gap
					if err := json.Unmarshal(e.Body, &g); err != nil {
						m.t.Fatal(err)
					}
					m.gaps = append(m.gaps, g)
				}
			}
			m.marks[b.Epoch], m.chains[b.Epoch] = seq, wire.NextChain(m.chains[b.Epoch], e)
		}
	}
	ack.Through = m.marks[b.Epoch]
	return ack
}

// continues carries the chain over what is done already. A batch that ends below
// the mark shows no value to compare with: there ids tell.
func (m *mirror) continues(b wire.Batch) bool {
	old := min(m.marks[b.Epoch]-b.First+1, int64(len(b.Events)))
	chain := b.Chain
	for _, e := range b.Events[:old] {
		chain = wire.NextChain(chain, e)
	}
	if b.First+old-1 == m.marks[b.Epoch] {
		return chain == m.chains[b.Epoch]
	}
	return !slices.ContainsFunc(b.Events[:old], func(e wire.Event) bool { return !slices.Contains(m.ids, e.ID) })
}

// drain sends until the cloud has all, as the uplink does.
func (s *site) drain(m *mirror) {
	s.t.Helper()
	for range 1000 {
		h, err := s.Standing(s.t.Context())
		s.must(err)
		if m.marks[h.Epoch] == h.LastSeq && h.AckedSeq == h.LastSeq {
			return
		}
		b, err := s.Events(s.t.Context(), h.AckedSeq, 7, 1<<20)
		s.must(err)
		s.must(s.Acked(s.t.Context(), m.take(b)))
	}
	s.t.Fatal("the log does not drain")
}

func (s *site) tell(n int) {
	s.t.Helper()
	for range n {
		s.must(s.Started(s.t.Context(), "v", "b"))
	}
}

// idsAre fails unless the cloud holds exactly these events, in order.
func (m *mirror) idsAre(want []wire.Event) {
	m.t.Helper()
	var ids []string
	for _, e := range want {
		ids = append(ids, e.ID)
	}
	if !slices.Equal(m.ids, ids) {
		m.t.Errorf("the cloud holds %d events %v\nwant %d %v", len(m.ids), m.ids, len(ids), ids)
	}
}

func TestBatchesContinueEachOther(t *testing.T) {
	s := newSite(t)
	s.tell(25)
	chain := ""
	var seen int64
	for seen < 25 {
		b, err := s.Events(t.Context(), seen, 10, 1<<20)
		s.must(err)
		if b.First != seen+1 || b.Chain != chain || b.V != wire.Version || len(b.Events) == 0 || len(b.Events) > 10 {
			t.Fatalf("batch from %d with chain %q and %d events, want from %d with %q", b.First, b.Chain, len(b.Events), seen+1, chain)
		}
		for _, e := range b.Events {
			chain = wire.NextChain(chain, e)
			seen++
		}
	}
	b, err := s.Events(t.Context(), 0, 100, 1) // smaller than one event
	s.must(err)
	if len(b.Events) != 1 {
		t.Errorf("%d events in a batch bounded to 1 octet, want 1", len(b.Events))
	}
	b, err = s.Events(t.Context(), 0, 100, 3*len(b.Events[0].Body))
	s.must(err)
	if len(b.Events) != 3 {
		t.Errorf("%d events in a batch bounded to three bodies, want 3", len(b.Events))
	}
	b, err = s.Events(t.Context(), 25, 10, 1<<20)
	s.must(err)
	if len(b.Events) != 0 || b.First != 26 || b.Chain != chain {
		t.Errorf("after the newest: %+v", b)
	}
}

func TestEventsSurviveTheirJSON(t *testing.T) {
	s := cafe(t)
	if _, _, err := s.ReceiveCommand(t.Context(), wire.Command{ID: "c1", Kind: wire.CommandKick}); err != nil {
		t.Fatal(err)
	}
	s.must(s.FinishCommand(t.Context(), wire.CommandResult{ID: "c1", State: "done", Detail: "<b>& \u2028 \"x\" \x01 é"}))
	b, err := s.Events(t.Context(), 0, 10, 1<<20)
	s.must(err)
	raw, err := wire.Encode(b)
	s.must(err)
	var got wire.Batch
	s.must(wire.Decode(raw, &got))
	a, z := "", ""
	for i := range b.Events {
		a, z = wire.NextChain(a, b.Events[i]), wire.NextChain(z, got.Events[i])
	}
	if a != z {
		t.Error("the chain over what arrived is not the chain over what was stored")
	}
}

func TestTheMarkMovesBothWays(t *testing.T) {
	s := newSite(t)
	m := newMirror(t)
	s.tell(30)
	s.drain(m)
	m.idsAre(s.events())
	h, err := s.Standing(t.Context())
	s.must(err)
	// The cloud is restored from a backup and asks again.
	m.ids, m.marks[h.Epoch] = m.ids[:10], 10
	b, err := s.Events(t.Context(), 0, 10, 1<<20)
	s.must(err)
	m.chains[h.Epoch] = ""
	for _, e := range b.Events {
		m.chains[h.Epoch] = wire.NextChain(m.chains[h.Epoch], e)
	}
	s.must(s.Acked(t.Context(), wire.Ack{Epoch: h.Epoch, Through: 10}))
	s.drain(m)
	m.idsAre(s.events())
	after, err := s.Standing(t.Context())
	s.must(err)
	if after.Epoch != h.Epoch || after.AckedSeq != 30 {
		t.Errorf("standing %+v, want the same epoch, acknowledged through 30", after)
	}
	s.must(s.Acked(t.Context(), wire.Ack{Epoch: "another", Through: 5, Fork: true}))
	if h, err := s.Standing(t.Context()); err != nil || h.AckedSeq != 30 || h.Epoch != after.Epoch {
		t.Errorf("an answer to another epoch changed the mark: %+v, %v", h, err)
	}
}

func TestAForkRenumbersAndDoublesNothing(t *testing.T) {
	s := newSite(t)
	m := newMirror(t)
	s.tell(10)
	s.drain(m)
	all := s.events()
	s.tell(5)
	all = append(all, s.events()[10:]...)
	h, err := s.Standing(t.Context())
	s.must(err)
	// A clone of the disk wrote events 11 and 12 of this epoch first.
	m.marks[h.Epoch], m.chains[h.Epoch] = 12, "the clone's"
	b, err := s.Events(t.Context(), 12, 10, 1<<20)
	s.must(err)
	ack := m.take(b)
	if !ack.Fork {
		t.Fatalf("the chain did not show the fork: %+v", ack)
	}
	s.must(s.Acked(t.Context(), ack))
	now, err := s.Standing(t.Context())
	s.must(err)
	if now.Epoch == h.Epoch || now.LastSeq != 16 || now.AckedSeq != 0 {
		t.Errorf("standing %+v, want a new epoch with a gap and all 15 events", now)
	}
	s.tell(1)
	s.drain(m)
	after := s.events()
	m.idsAre(slices.Concat(all[:10], after[:1], all[10:], after[16:]))
	if want := []wire.Gap{{Epoch: h.Epoch, First: 13}}; !slices.Equal(m.gaps, want) {
		t.Errorf("gaps %+v, want %+v: the clone may have gone on, nobody knows how far", m.gaps, want)
	}
	s.reopen()
	if again, err := s.Standing(t.Context()); err != nil || again.Epoch != now.Epoch || again.LastSeq != 17 {
		t.Errorf("after a restart %+v, %v", again, err)
	}
}

// TestAStoreOlderThanTheCloudForks is this file restored from a backup: the
// cloud acknowledges more than it holds.
func TestAStoreOlderThanTheCloudForks(t *testing.T) {
	s := newSite(t)
	s.tell(4)
	h, err := s.Standing(t.Context())
	s.must(err)
	s.must(s.Acked(t.Context(), wire.Ack{Epoch: h.Epoch, Through: 900}))
	now, err := s.Standing(t.Context())
	s.must(err)
	if now.Epoch == h.Epoch || now.LastSeq != 5 || now.AckedSeq != 0 {
		t.Errorf("standing %+v, want a new epoch with a gap and all 4 events", now)
	}
	m := newMirror(t)
	s.drain(m)
	if want := []wire.Gap{{Epoch: h.Epoch, First: 901}}; !slices.Equal(m.gaps, want) {
		t.Errorf("gaps %+v, want %+v", m.gaps, want)
	}
}

// TestACloudRestoredAfterAForkGetsAllAgain: what the cloud had acknowledged under
// the old epoch is in the new one too, for a cloud that then goes back to a backup
// from before both.
func TestACloudRestoredAfterAForkGetsAllAgain(t *testing.T) {
	s := newSite(t)
	m := newMirror(t)
	s.tell(20)
	s.drain(m)
	h, err := s.Standing(t.Context())
	s.must(err)
	s.must(s.Acked(t.Context(), wire.Ack{Epoch: h.Epoch, Through: 20, Fork: true, Chain: "another"}))
	s.drain(m)
	now, err := s.Standing(t.Context())
	s.must(err)
	m = newMirror(t) // knows nothing
	s.must(s.Acked(t.Context(), wire.Ack{Epoch: now.Epoch, Through: 0}))
	s.drain(m)
	if m.idsAre(s.events()); len(m.ids) != 21 {
		t.Errorf("%d events came, want all 20 and the gap", len(m.ids))
	}
}

// TestARewindToWhatIsAllGoneNamesTheGap: nothing is left after the cloud's mark.
func TestARewindToWhatIsAllGoneNamesTheGap(t *testing.T) {
	s := newSite(t)
	m := newMirror(t)
	s.tell(20)
	s.drain(m)
	h, err := s.Standing(t.Context())
	s.must(err)
	s.must(s.do(t.Context(), func(x *tx) error {
		_, err := x.exec("drop all", "DELETE FROM event")
		return err
	}))
	s.must(s.Acked(t.Context(), wire.Ack{Epoch: h.Epoch, Through: 5}))
	s.drain(m)
	if want := []wire.Gap{{Epoch: h.Epoch, First: 6, Last: 20}, {Epoch: h.Epoch, First: 1, Last: 5}}; !slices.Equal(m.gaps, want) {
		t.Errorf("gaps %+v, want %+v", m.gaps, want)
	}
}

func TestARewindPastWhatIsKeptNamesTheGap(t *testing.T) {
	s := newSite(t)
	m := newMirror(t)
	s.tell(20)
	s.drain(m)
	h, err := s.Standing(t.Context())
	s.must(err)
	s.clock.Add(eventsKept + time.Hour)
	s.must(s.Sweep(t.Context()))
	var left int
	s.must(s.query(t.Context(), "count", "SELECT COUNT(*) FROM event", nil, func(scan func(...any) error) error { return scan(&left) }))
	if left != 1 {
		t.Fatalf("%d events left a week after the acknowledgement, want the one at the mark", left)
	}
	s.tell(3) // the log goes on
	b, err := s.Events(t.Context(), h.AckedSeq, 10, 1<<20)
	s.must(err)
	if b.First != 21 || len(b.Events) != 3 || b.Chain == "" {
		t.Fatalf("batch %+v, want 3 events from 21", b)
	}
	s.must(s.Acked(t.Context(), wire.Ack{Epoch: h.Epoch, Through: 5}))
	m.ids = nil
	s.drain(m)
	if want := []wire.Gap{{Epoch: h.Epoch, First: 6, Last: 19}, {Epoch: h.Epoch, First: 1, Last: 5}}; !slices.Equal(m.gaps, want) {
		t.Errorf("gaps %+v, want %+v", m.gaps, want)
	}
	m.idsAre(s.events())
	if len(m.ids) != 6 { // two gaps, the event at the old mark, three
		t.Errorf("%d events came after the rewind, want 6", len(m.ids))
	}
}

func TestRetentionTakesOnlyOldAcknowledgedEvents(t *testing.T) {
	s := newSite(t)
	s.tell(10)
	h, err := s.Standing(t.Context())
	s.must(err)
	s.must(s.Acked(t.Context(), wire.Ack{Epoch: h.Epoch, Through: 6}))
	s.must(s.Sweep(t.Context()))
	first := func() (seq int64) {
		s.must(s.query(t.Context(), "first", "SELECT MIN(seq) FROM event", nil, func(scan func(...any) error) error { return scan(&seq) }))
		return seq
	}
	if got := first(); got != 1 {
		t.Errorf("fresh events were dropped: the first is %d", got)
	}
	s.clock.Add(eventsKept + time.Hour)
	s.must(s.Sweep(t.Context()))
	if got := first(); got != 6 {
		t.Errorf("the first event kept is %d, want 6, the one at the mark", got)
	}
	s.drain2(h.Epoch, 6, 4)
}

// drain2 expects n events after seq of an epoch.
func (s *site) drain2(epoch string, seq int64, n int) {
	s.t.Helper()
	b, err := s.Events(s.t.Context(), seq, 100, 1<<20)
	s.must(err)
	if b.Epoch != epoch || len(b.Events) != n || b.Chain == "" {
		s.t.Errorf("batch of epoch %s with %d events, want %s with %d", b.Epoch, len(b.Events), epoch, n)
	}
}

func TestStandingCarriesWhatWaits(t *testing.T) {
	s := cafe(t)
	v := s.mustLogin("bob", "hello", phone)
	s.account(s.record(hotspot.Start, v, phone, 0, 0, 0))
	s.cloud.lock("a-bob")
	s.apply()
	proof := hotspot.Proof{Account: "a-bob", Revision: s.cloud.rev, Reason: hotspot.OffLocked, Outcome: hotspot.OutcomeEnforced, Method: "disconnect", Sessions: 1, At: noon,
		Steps: []hotspot.Step{{Name: hotspot.StepReceived, At: noon, OK: true}}}
	s.must(s.Prove(t.Context(), proof))
	h, err := s.Standing(t.Context())
	s.must(err)
	if len(h.Proofs) != 1 || h.Proofs[0].Outcome != hotspot.OutcomeEnforced || h.Proofs[0].Method != "disconnect" || !h.Proofs[0].ReceivedAt.Equal(noon) {
		t.Errorf("proofs %+v", h.Proofs)
	}
	b, err := s.Events(t.Context(), h.Proofs[0].Seq-1, 1, 1<<20)
	s.must(err)
	if b.Epoch != h.Epoch || len(b.Events) != 1 || b.Events[0].Kind != wire.EventLockProof || strings.Contains(string(b.Events[0].Body), "seq") {
		t.Errorf("the proof names event %d, which is %+v; want its own, without a number inside", h.Proofs[0].Seq, b.Events)
	}
	if h.Sessions != 0 || h.Revision != s.cloud.rev || h.Hash != s.cloud.hash() || h.Lineage != "l1" || h.Epoch == "" {
		t.Errorf("standing %+v", h)
	}
	c, err := s.Counts(t.Context())
	s.must(err)
	if c.Waiting != h.LastSeq || !c.OldestWaits.Equal(noon) || c.Bytes == 0 || c.Revision != s.cloud.rev {
		t.Errorf("counts %+v", c)
	}
	s.drain(newMirror(t))
	if h, err = s.Standing(t.Context()); err != nil || len(h.Proofs) != 0 {
		t.Errorf("proofs once acknowledged: %+v, %v", h.Proofs, err)
	}
	if c, err = s.Counts(t.Context()); err != nil || c.Waiting != 0 || !c.OldestWaits.IsZero() {
		t.Errorf("counts once acknowledged: %+v, %v", c, err)
	}
}

func TestALongForkIsRenumberedInPieces(t *testing.T) {
	s := newSite(t)
	const n = 1234
	s.must(s.do(t.Context(), func(x *tx) error {
		for i := range n {
			if err := x.event("test", map[string]string{"n": fmt.Sprint(i)}); err != nil {
				return err
			}
		}
		return nil
	}))
	before := s.events()
	h, err := s.Standing(t.Context())
	s.must(err)
	s.must(s.Acked(t.Context(), wire.Ack{Epoch: h.Epoch, Through: 50}))
	s.must(s.Acked(t.Context(), wire.Ack{Epoch: h.Epoch, Through: 60, Fork: true, Chain: "another"}))
	after := s.events()
	chain := ""
	for _, e := range after[:60] {
		chain = wire.NextChain(chain, e)
	}
	s.reopen()
	if b, err := s.Events(t.Context(), 60, 1, 1<<20); err != nil || b.Chain != chain {
		t.Errorf("chain %q after event 60 of the new epoch, %v; want %q", b.Chain, err, chain)
	}
	if after[0].Kind != wire.EventGap || len(after) != n+1 {
		t.Fatalf("%d events, the first %+v; want a gap and %d", len(after), after[0], n)
	}
	after = after[1:] // those acknowledged go along
	for i := range before {
		if before[i].ID != after[i].ID || string(before[i].Body) != string(after[i].Body) || !before[i].At.Equal(after[i].At) {
			t.Fatalf("event %d became %+v, want %+v", i+1, after[i], before[i])
		}
	}
}

// Of what the cloud has acknowledged the newest go into a new epoch, and no more.
func TestANewEpochCarriesNoMoreThanItsBound(t *testing.T) {
	s := newSite(t)
	const n, waiting = eventsCarried + 300, 7
	for left := n + waiting; left > 0; left -= 2000 {
		s.must(s.do(t.Context(), func(x *tx) error {
			for range min(left, 2000) {
				if err := x.event("test", map[string]string{}); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	before := s.events()
	h, err := s.Standing(t.Context())
	s.must(err)
	s.must(s.Acked(t.Context(), wire.Ack{Epoch: h.Epoch, Through: n}))
	s.must(s.Acked(t.Context(), wire.Ack{Epoch: h.Epoch, Through: n, Fork: true, Chain: "another"}))
	after := s.events()
	if len(after) != 2+eventsCarried+waiting || after[0].Kind != wire.EventGap {
		t.Fatalf("%d events, the first %s; want two gaps, %d that were acknowledged and %d that wait", len(after), after[0].Kind, eventsCarried, waiting)
	}
	var left wire.Gap
	if err := json.Unmarshal(after[1].Body, &left); err != nil || left != (wire.Gap{Epoch: h.Epoch, First: 1, Last: 300}) {
		t.Errorf("the second event is %s, %v; want the gap of what is not carried", after[1].Body, err)
	}
	if after[2].ID != before[300].ID || after[len(after)-1].ID != before[len(before)-1].ID {
		t.Error("those carried are not the newest")
	}
}

// TestACloudPutBackToBeforeANewEpochHearsOfWhatIsGone: what retention had dropped
// before the epoch began is named, over a second new epoch too, in which the gaps of
// the first are the same events and mean nothing to a cloud that was not put back.
func TestACloudPutBackToBeforeANewEpochHearsOfWhatIsGone(t *testing.T) {
	s := newSite(t)
	m := newMirror(t)
	s.tell(20)
	s.drain(m)
	first, err := s.Standing(t.Context())
	s.must(err)
	backup := m.copy() // has 20 of the first epoch
	backup.marks[first.Epoch], backup.ids = 5, backup.ids[:5]
	week := func() {
		s.clock.Add(eventsKept + time.Hour)
		s.must(s.Sweep(t.Context()))
	}
	week()
	fork := func(epoch string, through int64) (next string) {
		s.must(s.Acked(t.Context(), wire.Ack{Epoch: epoch, Through: through, Fork: true, Chain: m.chains[epoch]}))
		h, err := s.Standing(t.Context())
		s.must(err)
		return h.Epoch
	}
	second := fork(first.Epoch, 20)
	s.drain(m)
	dropped := wire.Gap{Epoch: first.Epoch, First: 1, Last: 19}
	if !slices.Equal(m.gaps, []wire.Gap{dropped}) {
		t.Fatalf("gaps %+v, want that of what retention had dropped, %+v", m.gaps, dropped)
	}
	s.tell(10)
	s.drain(m)
	week()
	h, err := s.Standing(t.Context())
	s.must(err)
	fork(second, h.LastSeq)
	s.reopen()
	s.drain(m)
	later := wire.Gap{Epoch: second, First: 1, Last: h.LastSeq - 1}
	if !slices.Equal(m.gaps, []wire.Gap{dropped, later}) {
		t.Errorf("gaps %+v; want %+v once and %+v", m.gaps, dropped, later)
	}
	now, err := s.Standing(t.Context())
	s.must(err)
	s.must(s.Acked(t.Context(), wire.Ack{Epoch: now.Epoch, Through: 0})) // a cloud that never heard of it
	s.drain(backup)
	if !slices.Equal(backup.gaps, []wire.Gap{dropped, later}) {
		t.Errorf("the cloud of the backup hears of the gaps %+v, want %+v and %+v", backup.gaps, dropped, later)
	}
}

// An answer to either of the two batches that may be under way or ready costs no
// reading of the log.
func TestTheEndsOfTwoBatchesAreKept(t *testing.T) {
	s := newSite(t)
	s.must(s.do(t.Context(), func(x *tx) error {
		for i := range 30 {
			if err := x.event("test", map[string]string{"n": fmt.Sprint(i)}); err != nil {
				return err
			}
		}
		return nil
	}))
	first, err := s.Events(t.Context(), 0, 10, 1<<20)
	s.must(err)
	second, err := s.Events(t.Context(), 10, 10, 1<<20)
	s.must(err)
	third, err := s.Events(t.Context(), 20, 10, 1<<20)
	s.must(err)
	if got, known := s.newest.chainAfter(first.Epoch, 20); !known || got != third.Chain {
		t.Errorf("the end of the batch in flight: %q, %v; want %q", got, known, third.Chain)
	}
	s.must(s.Acked(t.Context(), wire.Ack{Epoch: first.Epoch, Through: 20}))
	if got, known := s.newest.chainAfter("another", 20); known {
		t.Errorf("another epoch has a chain %q there", got)
	}
	s.newest = batchEnds{}
	if again, err := s.Events(t.Context(), 20, 10, 1<<20); err != nil || again.Chain != third.Chain || again.Chain == second.Chain {
		t.Errorf("got chain %q, %v; want %q, worked out anew", again.Chain, err, third.Chain)
	}
}

package store

import (
	"encoding/json"
	"os"
	"slices"
	"testing"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// TestADatabaseFromABackupSaysSo: a file put back from before what the log had
// come to begins a new epoch by itself, and names what it has lost; a cloud that
// went back too could not tell.
func TestADatabaseFromABackupSaysSo(t *testing.T) {
	s := newSite(t)
	m := newMirror(t)
	s.tell(5)
	s.drain(m)
	s.must(s.Close())
	backup, err := os.ReadFile(s.o.Path)
	s.must(err)
	s.reopen()
	first, err := s.Standing(t.Context())
	s.must(err)
	s.tell(4)
	s.must(s.Close())
	s.must(os.WriteFile(s.o.Path, backup, 0o600))

	s.clock.Add(-time.Hour) // dates tell nothing
	s.reopen()
	now, err := s.Standing(t.Context())
	s.must(err)
	if now.Epoch == first.Epoch || now.AckedSeq != 0 || now.LastSeq != 6 {
		t.Errorf("standing %+v, want a new epoch with a gap and the 5 events of the backup", now)
	}
	s.drain(m)
	if want := []wire.Gap{{Epoch: first.Epoch, First: 6}}; !slices.Equal(m.gaps, want) {
		t.Errorf("gaps %+v, want %+v", m.gaps, want)
	}
	s.must(s.Close())
	s.must(os.WriteFile(s.o.Path, backup, 0o600)) // once more: now an epoch is lost too
	s.clock.Add(time.Minute)
	s.reopen()
	s.drain(m)
	third, err := s.Standing(t.Context())
	s.must(err)
	m.gaps = nil
	s.must(s.Close())
	s.must(os.WriteFile(s.o.Path, backup, 0o600)) // and again: what named the lost epoch is lost itself
	s.clock.Add(time.Minute)
	s.reopen()
	s.drain(m)
	if want := []wire.Gap{{Epoch: first.Epoch, First: 6}, {Epoch: now.Epoch, First: 1}, {Epoch: third.Epoch, First: 1}}; !slices.Equal(m.gaps, want) {
		t.Errorf("gaps %+v, want %+v", m.gaps, want)
	}

	// A restart is no restore, nor is a file that lags, is torn or is gone.
	kept, err := s.Standing(t.Context())
	s.must(err)
	for _, text := range []string{"", "{", "[]", `[{"epoch":"` + kept.Epoch + `","last_seq":1}]`, `[{"epoch":"` + first.Epoch + `","last_seq":900}]`, `[{"epoch":"` + first.Epoch + `","last_seq":900},{"epoch":"` + kept.Epoch + `","last_seq":2}]`} {
		s.must(s.Close())
		s.must(os.WriteFile(s.o.Path+witnessFile, []byte(text), 0o600))
		s.reopen()
		if h, err := s.Standing(t.Context()); err != nil || h.Epoch != kept.Epoch {
			t.Errorf("the file holds %q: epoch %s, %v, want still %s", text, h.Epoch, err, kept.Epoch)
		}
	}
	s.must(s.Close())
	s.must(os.Remove(s.o.Path + witnessFile))
	s.reopen()
	if h, err := s.Standing(t.Context()); err != nil || h.Epoch != kept.Epoch {
		t.Errorf("without the file: epoch %s, %v, want still %s", h.Epoch, err, kept.Epoch)
	}
}

// TestSessionsAreToldAgainAfterARestore: the cloud closes what it hears nothing of,
// and has a closed one as another life told it; rows that follow the log by a
// moment are not lost with the old numbers.
func TestSessionsAreToldAgainAfterARestore(t *testing.T) {
	s := cafe(t)
	m := newMirror(t)
	v := s.mustLogin("bob", "hello", phone)
	s.account(s.record(hotspot.Start, v, phone, 0, 0, 0))
	s.account(s.record(hotspot.Stop, v, phone, 30, 10, 90))
	s.clock.Add(time.Minute)
	v = s.mustLogin("bob", "hello", phone)
	s.account(s.record(hotspot.Start, v, phone, 0, 0, 0))
	s.account(s.record(hotspot.Interim, v, phone, 60, 1000, 9000))
	s.drain(m)
	h, err := s.Standing(t.Context())
	s.must(err)
	s.clock.Add(time.Minute)
	s.must(s.Acked(t.Context(), wire.Ack{Epoch: h.Epoch, Through: 900}))
	events := s.events()
	last := events[len(events)-1]
	var body, ended wire.SessionBody
	s.must(json.Unmarshal(events[len(events)-2].Body, &ended))
	if events[len(events)-2].Kind != wire.EventSessionStopped || ended.State != hotspot.Closed || ended.Download != 90 {
		t.Errorf("before it is %s, want the closed session as it is", events[len(events)-2].Body)
	}
	s.must(json.Unmarshal(last.Body, &body))
	if last.Kind != wire.EventSessionUsage || body.State != hotspot.Live || body.TimeMS != 60_000 || body.Download != 9000 {
		t.Errorf("the newest event is %s %s, want the open session as it is", last.Kind, last.Body)
	}
	s.must(s.Acked(t.Context(), wire.Ack{Epoch: h.Epoch, Through: 5, Fork: true})) // of the epoch that is no more
	if again := s.events(); len(again) != len(events) {
		t.Errorf("%d events, want still %d", len(again), len(events))
	}
	var settled, newest int64
	s.must(s.query(t.Context(), "read mark", "SELECT settled, last_seq FROM mark", nil, func(scan func(...any) error) error { return scan(&settled, &newest) }))
	if settled > newest {
		t.Errorf("rows are said to be settled through %d of %d events: what follows would not be brought up after a power cut", settled, newest)
	}
}

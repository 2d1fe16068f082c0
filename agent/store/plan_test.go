package store

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// bySweep are texts that may read a table from end to end: they run every ten
// minutes, or when the cloud sends a whole set.
var bySweep = regexp.MustCompile(`(?s)^DELETE FROM (permit|staged_|event WHERE seq <=)|staged_|UPDATE event|SUM\(|FROM event$|MIN\(seq\)`)

// TestNoQueryReadsAWholeTable asks SQLite how it would run every text the
// writer has prepared after everything was done once: none may walk a table
// that grows with the accounts or with time.
func TestNoQueryReadsAWholeTable(t *testing.T) {
	s := cafe(t)
	v := s.mustLogin("bob", "hello", phone)
	for _, class := range []string{"", "none", "other"} {
		s.play(v, rec{kind: start, class: class})
		s.play(v, rec{kind: interim, seconds: 5, class: class})
	}
	s.play(v, rec{kind: interim, seconds: 5, class: "none", mac: laptop})
	s.play(v, rec{kind: nasOn})
	s.must(s.ObserveActive(t.Context(), nas, []hotspot.ActiveEntry{{MAC: phone, User: "bob"}}, s.clock.Now()))
	s.must(s.Sweep(t.Context()))
	s.cloud.lock("a-bob")
	s.apply()
	s.prove(s.target(), hotspot.OutcomeEnforced)
	s.cloud.lock("d1")
	s.apply()
	s.prove(s.target(), hotspot.OutcomeEnforced)
	s.cloud.drop(wire.DocLock, "a-bob")
	s.cloud.drop(wire.DocPass, "p-bob")
	s.cloud.drop(wire.DocAccount, "v1")
	s.apply()
	s.RecordReject(hotspot.Reject{})
	h, err := s.Standing(t.Context())
	s.must(err)
	s.must(s.Acked(t.Context(), wire.Ack{Epoch: h.Epoch, Through: 1}))
	s.must(s.Acked(t.Context(), wire.Ack{Epoch: h.Epoch, Through: 0}))

	var texts []string
	s.must(s.do(t.Context(), func(x *tx) error {
		for text := range x.db.w.stmts {
			texts = append(texts, text)
		}
		return nil
	}))
	if len(texts) < 40 {
		t.Fatalf("only %d texts were prepared; the walk does not reach everything", len(texts))
	}
	for reader := range s.reads {
		if strings.Contains(reader, openOf) {
			texts = append(texts, reader)
		}
	}
	few := regexp.MustCompile(`session_open_|permit_reserved|lock_device|lock_ahead|lock_here|pass_lists`)
	scan := regexp.MustCompile(`SCAN (session|permit|account|pass|p|usage|u|event|document|d|s|lock|l)\b`)
	for _, text := range texts {
		if bySweep.MatchString(text) || regexp.MustCompile(`^(BEGIN|COMMIT|ROLLBACK|SAVEPOINT|RELEASE|PRAGMA)`).MatchString(text) {
			continue
		}
		plan := explain(t, s, text)
		for _, line := range plan {
			// A walk over an index of open sessions, of locked devices, or of locks set here, is one over the few.
			if scan.MatchString(line) && !few.MatchString(line) {
				t.Errorf("%s\n\t%s", text, strings.Join(plan, "\n\t"))
				break
			}
		}
	}
}

func explain(t *testing.T, s *site, text string) (plan []string) {
	t.Helper()
	n := strings.Count(text, "?")
	if strings.Contains(text, "?3") {
		n = 3
	}
	err := s.query(t.Context(), "explain", "EXPLAIN QUERY PLAN "+text, make([]any, n), func(scan func(...any) error) error {
		var id, parent, unused int
		var detail string
		err := scan(&id, &parent, &unused, &detail)
		plan = append(plan, detail)
		return err
	})
	if err != nil {
		t.Fatal(fmt.Errorf("%s: %w", text, err))
	}
	return plan
}

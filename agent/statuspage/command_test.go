package statuspage

import (
	"strings"
	"testing"
	"time"
)

// commandsOf are commands of the cloud in every state.
func commandsOf(at time.Time) []Command {
	ago := func(d time.Duration) time.Time { return at.Add(-d) }
	return []Command{
		{ID: "1", Kind: "router.apply", NAS: "cafe1", State: "received", ReceivedAt: ago(2 * time.Minute), ExpiresAt: ago(-8 * time.Minute)},
		{ID: "2", Kind: "kick", State: "running", ReceivedAt: ago(20 * time.Second), ExpiresAt: ago(-time.Minute), StartedAt: ago(19 * time.Second)},
		{ID: "3", Kind: "router.check", NAS: "cafe1", State: "done", ReceivedAt: ago(61 * time.Minute), StartedAt: ago(60 * time.Minute), EndedAt: ago(59 * time.Minute), Detail: "26 rows: everything asked is as it should be"},
		{ID: "4", Kind: "router.rollback", State: "unknown", EndedAt: ago(5 * time.Hour), Code: "RTR-163", Detail: "the program ended while it was being carried out"},
	}
}

func TestCommandsShowTheirThreeTimes(t *testing.T) {
	b := newBoard(well(func(s *Snapshot) { s.Commands = commandsOf(t0) }), nil)
	html, err := pages(t).Fragment("commands", b)
	if err != nil {
		t.Fatal(err)
	}
	rows := strings.Split(html, "<tr>")[2:]
	if len(rows) != 4 {
		t.Fatalf("%d rows in\n%s", len(rows), html)
	}
	at := func(d time.Duration) string { return string(b.Time(t0.Add(-d))) }
	for i, want := range [][]string{
		{"Apply the set-up", "cafe1", "Waiting", `data-label="Received">` + at(2*time.Minute), `data-label="Started">–`, `data-label="Finished">expires ` + at(-8*time.Minute)},
		{"End a guest’s sessions", "Being done", `data-label="Received">` + at(20*time.Second), `data-label="Started">` + at(19*time.Second), `data-label="Finished">–`},
		{"Check the router", "Done", "26 rows", `data-label="Received">` + at(61*time.Minute), `data-label="Started">` + at(60*time.Minute), `data-label="Finished">` + at(59*time.Minute)},
		{"Take the set-up back", "Unknown", "/help/RTR-163", "before the last start", `data-label="Started">–`, `data-label="Finished">` + at(5*time.Hour)},
	} {
		for _, w := range want {
			if !strings.Contains(rows[i], w) {
				t.Errorf("row %d: %q is not in\n%s", i, w, rows[i])
			}
		}
	}
	none, err := pages(t).Fragment("commands", newBoard(well(nil), nil))
	if err != nil || !strings.Contains(none, "hidden") || strings.Contains(none, "<h2") {
		t.Errorf("without a command: %v\n%s", err, none)
	}
}

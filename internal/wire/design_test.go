package wire

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"
)

// The worked values of DESIGN.md are what others check their own code with.
func TestWorkedValuesOfTheDesign(t *testing.T) {
	text, err := os.ReadFile("DESIGN.md")
	if err != nil {
		t.Fatal(err)
	}
	var set SetHash
	set.Add(Doc{Kind: DocLock, ID: "acc1", Rev: 42, Body: json.RawMessage(`{"by":"Ana","reason":"abuse","at":"2026-11-24T08:30:00Z"}`)})
	one := set.String()
	set.Add(Doc{Kind: DocSite, ID: "site1", Rev: 1, Body: json.RawMessage(`{"name":"Harbour"}`)})
	at := time.Date(2026, 11, 24, 8, 30, 0, 123_000_000, time.UTC)
	first := NextChain("", Event{ID: "e1", Kind: EventAgentStarted, At: at, Body: json.RawMessage(`{"version":"1.0.0","boot":"boot1"}`)})
	key, err := hex.DecodeString("3059301306072a8648ce3d020106082a8648ce3d030107034200040102")
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"hash of one document":  one,
		"hash of two documents": set.String(),
		"chain after e1":        first,
		"chain after e2":        NextChain(first, Event{ID: "e2", Kind: EventVoid, At: at}),
		"check number":          CheckNumber(key, "01k0agent00000000000000000"),
	} {
		if !strings.Contains(string(text), value) {
			t.Errorf("DESIGN.md does not hold the %s, %s", name, value)
		}
	}
	for _, c := range []Channel{UpEvents, UpHello, UpPresence, DownAck, DownState, DownCommands} {
		if !strings.Contains(string(text), "`"+string(c)+"`") {
			t.Errorf("DESIGN.md does not name %s", c)
		}
	}
}

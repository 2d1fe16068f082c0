package wire

import (
	"testing"
	"time"

	"iwas/internal/hotspot"
)

func TestGrantsThatCannotBeMeantAreRefused(t *testing.T) {
	good := GrantDoc{List: "staff", Address: "203.0.113.0/24", Until: goldenTime, Comment: "c", By: "b", At: goldenTime}
	g, err := good.Grant("g1")
	if err != nil {
		t.Fatal(err)
	}
	if again := FromGrant(g); again != good {
		t.Errorf("got %+v back, want %+v", again, good)
	}
	for name, change := range map[string]func(*GrantDoc){
		"no list":    func(b *GrantDoc) { b.List = "" },
		"a bad list": func(b *GrantDoc) { b.List = "a b" },
		"no address": func(b *GrantDoc) { b.Address = "" },
		"everybody":  func(b *GrantDoc) { b.Address = "::/0" },
		"no end":     func(b *GrantDoc) { b.Until = time.Time{} },
	} {
		bad := good
		change(&bad)
		if g, err := bad.Grant("g1"); err == nil {
			t.Errorf("%s: got %+v, want a refusal", name, g)
		}
	}
}

func TestGrantMadeWithoutADate(t *testing.T) {
	b := GrantMade{ID: "g1", GrantDoc: GrantDoc{List: "staff", Address: "203.0.113.7", At: goldenTime}, LeftS: 600}
	g, err := b.Grant()
	if err != nil || !g.Until.IsZero() || g.Left != 10*time.Minute {
		t.Errorf("got %+v, %v, want no end and ten minutes left", g, err)
	}
	b.LeftS = int64(hotspot.LongestGrant/time.Second) + 1
	if g, err := b.Grant(); err == nil {
		t.Errorf("got %+v, want more than a year refused", g)
	}
	b.LeftS, b.ID = 600, ""
	if g, err := b.Grant(); err == nil {
		t.Errorf("got %+v, want a grant without an id refused", g)
	}
}

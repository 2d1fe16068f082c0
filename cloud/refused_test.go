package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

func TestRefusalsAreCountedUnderTheSitesName(t *testing.T) {
	var log bytes.Buffer
	r := &refused{log: slog.New(slog.NewTextHandler(&log, nil)), of: func(_ context.Context, a hotspot.AgentID) (hotspot.SiteID, string, error) {
		if a == "nobody00" {
			return "", "", errors.New("no such agent")
		}
		return "site1", "Main Street", nil
	}}
	for range 100 {
		r.note("agent0001", wire.UpEvents, 12, errors.New("rubbish"))
	}
	r.note("agent0001", wire.UpHello, 12, errors.New("rubbish"))
	r.note("nobody00", wire.UpHello, 12, errors.New("rubbish"))
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	if len(lines) != 9 {
		t.Fatalf("got %d lines of 102 refusals, want 7 of the events, of the 1st to the 64th, and one each of the hellos:\n%s", len(lines), log.String())
	}
	for i, want := range []string{"refused=1 ", "refused=2 ", "refused=4 ", "refused=8 ", "refused=16 ", "refused=32 ", "refused=64 "} {
		if !strings.Contains(lines[i], want) || !strings.Contains(lines[i], `site_name="Main Street"`) || !strings.Contains(lines[i], "err=rubbish") {
			t.Errorf("line %d: got %s, want it to say %s, the site's name and why", i, lines[i], want)
		}
	}
	if !strings.Contains(lines[8], `site_name="not known"`) {
		t.Errorf("got %s, want it to say that the site is not known", lines[8])
	}
	for i := range maxRefusers + 10 {
		r.note(hotspot.AgentID(fmt.Sprintf("agent%d", i)), wire.UpEvents, 1, errors.New("rubbish"))
	}
	if len(r.counts) > maxRefusers+1 || r.counts[refuser{}] < 10 {
		t.Errorf("got %d counts, %d of them shared, want a bound", len(r.counts), r.counts[refuser{}])
	}
}

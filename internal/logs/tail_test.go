package logs

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
)

func TestTheTailKeepsTheNewestLines(t *testing.T) {
	var out bytes.Buffer
	tail := &Tail{Most: 5}
	log, _ := NewKept(&out, nil, tail)
	log.With("part", "x").WithGroup("g").Warn("it rains", "n", "two words")
	for i := range 9 {
		log.Info("line "+strings.Repeat("x", i), "i", i)
	}
	log.Debug("not told")
	got := tail.Last(100, slog.LevelInfo)
	if len(got) != 5 || got[0].Text != "line xxxxxxxx" || got[0].Attrs != "i=8" || got[4].Text != "line xxxx" || got[0].At.IsZero() {
		t.Errorf("got %+v, want the newest five, the newest first", got)
	}
	if got := tail.Last(2, slog.LevelInfo); len(got) != 2 {
		t.Errorf("got %d lines, want 2", len(got))
	}
	if got := tail.Last(100, slog.LevelWarn); got != nil {
		t.Errorf("got %+v, want what rained forgotten", got)
	}
	log.With("part", "x").WithGroup("g").Warn("it rains anew", "n", "two words")
	if got := tail.Last(100, slog.LevelWarn); len(got) != 1 || got[0].Text != "it rains anew" || got[0].Attrs != `part=x g.n="two words"` || got[0].Level != slog.LevelWarn {
		t.Errorf("got %+v", got)
	}
	if n := strings.Count(out.String(), "\n"); n != 11 {
		t.Errorf("%d lines were written, want all 11", n)
	}
	log.Info(strings.Repeat("é", 5000))
	if got := tail.Last(1, slog.LevelInfo)[0].Text; len(got) > tailLine+3 || !strings.HasPrefix(got, "é") {
		t.Errorf("a long line takes %d octets", len(got))
	}
}

func TestManyWriteToATailAtOnce(t *testing.T) {
	var out bytes.Buffer
	tail := &Tail{}
	log, _ := NewKept(&out, nil, tail)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for j := range 50 {
				log.Info("line "+strings.Repeat("x", 50*i+j), "by", fmt.Sprint("writer", i))
				tail.Last(10, slog.LevelInfo)
			}
		})
	}
	all.Wait()
	got := tail.Last(1000, slog.LevelInfo)
	if len(got) != 400 {
		t.Fatalf("got %d lines, want 400", len(got))
	}
	for _, l := range got {
		if !strings.HasPrefix(l.Text, "line x") && l.Text != "line " || strings.Count(l.Attrs, "by=writer") != 1 {
			t.Fatalf("a line is %+v", l)
		}
	}
}

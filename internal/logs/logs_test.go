package logs

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"iwas/internal/fault"
)

// paper is what was written, line by line.
type paper struct {
	mu sync.Mutex
	b  strings.Builder
}

func (p *paper) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.b.Write(b)
}

func (p *paper) lines() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Split(strings.TrimSpace(p.b.String()), "\n")
}

// quiet leaves out the time, which is not under test.
var quiet = &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}}

func TestALineThatRepeatsIsToldOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &paper{}
		log, flush := New(p, quiet)
		defer flush()
		for i := range 600 { // ten a second for a minute: a part that fails in a loop
			log.Warn("router cannot be read", NAS, "counter", Err, fmt.Errorf("dial tcp 192.0.2.1:8729 from port %d: refused", 40000+i))
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(time.Second)
		got := p.lines()
		if len(got) != 2 || strings.Contains(got[0], "repeated") || !strings.HasSuffix(got[1], "repeated=599") || !strings.Contains(got[1], "40599") {
			t.Fatalf("got %d lines: %q; want the first, and the newest with how many it stands for", len(got), got)
		}
		time.Sleep(3 * time.Minute) // silence
		log.Warn("router cannot be read", NAS, "counter", Err, errors.New("dial tcp 192.0.2.1:8729 from port 1: refused"))
		if got = p.lines(); len(got) != 3 || strings.Contains(got[2], "repeated") {
			t.Errorf("after three silent minutes it is news: got %q", got)
		}
	})
}

// TestAnEndlessErrorWritesLittle: a day of a loop without a pause.
func TestAnEndlessErrorWritesLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &paper{}
		log, flush := New(p, quiet)
		for range 24 * 3600 {
			log.Error("keep the proof", UserRef, "a1", Err, errors.New("disk I/O error"))
			time.Sleep(time.Second)
		}
		flush()
		total, lines := 0, p.lines()
		for _, l := range lines {
			n := 0
			if at := strings.Index(l, "repeated="); at >= 0 {
				if _, err := fmt.Sscanf(l[at:], "repeated=%d", &n); err != nil {
					t.Fatal(err)
				}
				total += n - 1
			}
			total++
		}
		if len(lines) > 160 || total != 24*3600 {
			t.Errorf("got %d lines that stand for %d, want at most 160 for 86400", len(lines), total)
		}
	})
}

func TestOtherLinesAreNotHeldBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &paper{}
		log, flush := New(p, quiet)
		defer flush()
		log.Warn("met with silence", "source", "192.0.2.1:1000")
		log.Warn("met with silence", "source", "192.0.2.1:2000") // the same again: only its port differs
		log.Warn("met with silence", "source", "192.0.2.2:1000")
		log.Warn("met with silence", NAS, "a")
		log.Info("met with silence", NAS, "a")
		log.With(Part, "radius").Info("met with silence", NAS, "a")
		log.WithGroup("g").Info("met with silence", NAS, "a")
		log.Info("put off", UserRef, "acc1", DurMS, 3)
		log.Info("put off", UserRef, "acc2", DurMS, 3)
		log.Info("put off", UserRef, "acc2", DurMS, 900) // the same again: it took another time
		log.Info("revision", "revision", 41)
		log.Info("revision", "revision", 42)
		if got := p.lines(); len(got) != 10 {
			t.Errorf("got %d lines, want 10:\n%s", len(got), strings.Join(got, "\n"))
		}
	})
}

func TestWhatIsHeldBackIsBoundedAndNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &paper{}
		log, flush := New(p, quiet)
		log.Info("first")
		log.Info("first")
		for i := range 3 * linesKnown {
			log.Info("line", "name", fmt.Sprint(i))
			time.Sleep(time.Millisecond)
		}
		flush()
		told := 0
		for _, l := range p.lines() {
			if strings.Contains(l, "msg=first repeated=1") {
				told++
			}
		}
		if told != 1 || len(p.lines()) != 3*linesKnown+2 {
			t.Errorf("the line held back is told %d times among %d lines", told, len(p.lines()))
		}
	})
}

// TestALineMayStandForOthersAlready: a part that holds lines back before they are
// made says so under the same key, and the counts add up.
func TestALineMayStandForOthersAlready(t *testing.T) {
	p := &paper{}
	log, flush := New(p, quiet)
	for _, n := range []uint64{0, 7, 0, 5} {
		log.Warn("met with silence", "reason", "unknown_nas", Repeated, n)
	}
	flush()
	if got := p.lines(); len(got) != 2 || !strings.HasSuffix(got[1], "reason=unknown_nas repeated=15") {
		t.Errorf("got %q, want the three held back and the twelve they stand for", got)
	}
}

func TestAnErrorHasACode(t *testing.T) {
	p := &paper{}
	log, _ := New(p, quiet)
	log.Error("a", Err, fault.New(fault.Unavailable, "x", nil).WithCode("DB-103", ""))
	log.Error("b", Err, errors.New("x"))
	log.Error("c", Code, "RTR-101", Err, errors.New("x"))
	log.Error("d", Code, "")
	log.With(Code, "RTR-102").Error("e")
	log.Warn("f", Err, errors.New("x"))
	for i, want := range []string{"code=DB-103", "code=SYS-112", "code=RTR-101", "code=SYS-112", "code=RTR-102", "err=x"} {
		if got := p.lines()[i]; !strings.Contains(got, want) || strings.Contains(got, "RTR") && strings.Contains(got, "SYS") || i == 5 && strings.Contains(got, "code") {
			t.Errorf("line %d is %q, want %s", i, got, want)
		}
	}
}

func BenchmarkALineHeldBack(b *testing.B) {
	log, flush := New(io.Discard, nil)
	defer flush()
	for range b.N {
		log.Warn("a RADIUS packet was met with silence", "reason", "unknown_nas", "source", "192.0.2.1:40001", NAS, "", "kind", "access")
	}
}

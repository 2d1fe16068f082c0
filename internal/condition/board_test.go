package condition

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"
)

var t0 = time.Date(2026, 11, 24, 14, 0, 0, 0, time.UTC)

// clocked returns a board with a clock that the test moves.
func clocked() (*Board, *time.Time) {
	now := t0
	return &Board{Now: func() time.Time { return now }}, &now
}

func codes(open []Open) []string {
	out := []string{}
	for _, o := range open {
		name := o.Code
		if o.Subject != "" {
			name += "@" + o.Subject
		}
		out = append(out, name)
	}
	return out
}

func TestBoardShowsTheWorstFirst(t *testing.T) {
	b, now := clocked()
	b.Raise("CLD-106", "")        // low
	b.Raise("CLD-110", "")        // medium
	b.Raise("CLD-103", "")        // high
	*now = t0.Add(time.Hour)      //
	b.Raise("RAD-101", "")        // high, keeps guests out
	b.RaiseOn("RTR-110", "a", "") // low, younger
	want := []string{"RAD-101", "CLD-103", "CLD-110", "CLD-106", "RTR-110@a"}
	if got := codes(b.Open(*now)); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestBoardWaitsTheDelay(t *testing.T) {
	b, now := clocked()
	b.Raise("RTR-101", "no route")
	c, _ := Lookup("RTR-101")
	for _, step := range []struct {
		after time.Duration
		want  int
	}{{0, 0}, {c.Delay - time.Second, 0}, {c.Delay, 1}, {time.Hour, 1}} {
		*now = t0.Add(step.after)
		if got := b.Open(*now); len(got) != step.want {
			t.Errorf("after %v: got %v, want %d shown", step.after, codes(got), step.want)
		}
	}
	b.Raise("RTR-101", "connection refused") // still the same trouble
	if got := b.Open(*now); len(got) != 1 || got[0].Text != "connection refused" || !got[0].Since.Equal(t0) {
		t.Errorf("got %+v, want the new text and the old age", got)
	}
	b.Clear("RTR-101")
	b.Raise("RTR-101", "again")
	if got := b.Open(*now); len(got) != 0 {
		t.Errorf("got %v right after it began anew, want nothing", codes(got))
	}
}

func TestBoardHidesWhatIsExplained(t *testing.T) {
	for _, test := range []struct {
		name  string
		found []Finding
		want  []string
	}{
		{"alone", []Finding{{"OUT-101", "", ""}}, []string{"OUT-101"}},
		{"its cause is open", []Finding{{"OUT-101", "", ""}, {"CLD-101", "", ""}}, []string{"CLD-101"}},
		{"the cause of its cause is open", []Finding{{"OUT-101", "", ""}, {"NET-101", "", ""}}, []string{"NET-101"}},
		{"a chain of three", []Finding{{"OUT-101", "", ""}, {"CLD-101", "", ""}, {"NET-101", "", ""}}, []string{"NET-101"}},
		{"the link between is missing", []Finding{{"HSP-206", "a", ""}, {"RTR-101", "a", ""}}, []string{"RTR-101@a"}},
		{"another router's cause", []Finding{{"RTR-103", "b", ""}, {"RTR-101", "a", ""}}, []string{"RTR-101@a", "RTR-103@b"}},
		{"the same router's cause", []Finding{{"RTR-103", "a", ""}, {"RTR-101", "a", ""}}, []string{"RTR-101@a"}},
		{"a cause of everything", []Finding{{"RTR-103", "a", ""}, {"RTR-101", "", ""}}, []string{"RTR-101"}},
		{"unrelated", []Finding{{"DB-102", "", ""}, {"CLD-101", "", ""}}, []string{"DB-102", "CLD-101"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			b, now := clocked()
			b.Replace("test", test.found)
			*now = t0.Add(time.Hour)
			if got := codes(b.Open(*now)); !slices.Equal(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

// A cause in its own delay explains already, else its children flash up first.
func TestBoardHidesDuringTheDelayOfTheCause(t *testing.T) {
	b, now := clocked()
	b.RaiseOn("RTR-101", "a", "")
	b.RaiseOn("RTR-103", "a", "") // without a delay
	*now = t0.Add(time.Second)
	if got := codes(b.Open(*now)); len(got) != 0 {
		t.Errorf("got %v, want nothing yet", got)
	}
}

func TestReplaceKeepsAgesAndClosesWhatIsGone(t *testing.T) {
	b, now := clocked()
	b.Raise("DB-101", "raised by hand")
	b.Replace("page", []Finding{{"CLD-103", "", "first"}, {"RTR-104", "a", ""}})
	*now = t0.Add(time.Minute)
	b.Replace("page", []Finding{{"CLD-103", "", "second"}, {"DB-101", "", "not mine"}})
	got := b.Open(*now)
	if want := []string{"DB-101", "CLD-103"}; !slices.Equal(codes(got), want) {
		t.Fatalf("got %v, want %v", codes(got), want)
	}
	if got[0].Text != "raised by hand" {
		t.Errorf("got text %q: another source changed what was raised", got[0].Text)
	}
	if !got[1].Since.Equal(t0) || got[1].Text != "second" {
		t.Errorf("got %q since %v, want the new text and the old age", got[1].Text, got[1].Since)
	}
	b.Clear("CLD-103") // of a source: only the source closes it
	b.Replace("other", nil)
	if len(b.Open(*now)) != 2 {
		t.Errorf("got %v, want both still open", codes(b.Open(*now)))
	}
	b.Replace("page", nil)
	b.Clear("DB-101")
	if got := b.Open(*now); len(got) != 0 {
		t.Errorf("got %v, want nothing", codes(got))
	}
}

func TestBoardTellsOfChangesOnly(t *testing.T) {
	b, _ := clocked()
	told := 0
	b.Changed = func() {
		told++
		b.Open(t0) // must not lock up
	}
	for _, step := range []struct {
		name string
		do   func()
		want int
	}{
		{"opened", func() { b.Raise("CLD-103", "x") }, 1},
		{"said again", func() { b.Raise("CLD-103", "x") }, 1},
		{"worded anew", func() { b.Raise("CLD-103", "y") }, 2},
		{"closed", func() { b.Clear("CLD-103") }, 3},
		{"closed again", func() { b.Clear("CLD-103") }, 3},
		{"nothing found", func() { b.Replace("s", nil) }, 3},
		{"found", func() { b.Replace("s", []Finding{{Code: "CLD-103"}}) }, 4},
		{"found again", func() { b.Replace("s", []Finding{{Code: "CLD-103"}}) }, 4},
		{"gone", func() { b.Replace("s", nil) }, 5},
	} {
		if step.do(); told != step.want {
			t.Errorf("%s: told %d times, want %d", step.name, told, step.want)
		}
	}
}

func TestBoardIsBounded(t *testing.T) {
	b, now := clocked()
	for i := range Bound + 10 {
		b.RaiseOn("RTR-104", fmt.Sprintf("nas-%03d", i), "")
	}
	if got := len(b.Open(*now)); got != Bound {
		t.Errorf("got %d open, want %d", got, Bound)
	}
	b.RaiseOn("RTR-104", "nas-000", "one held is still taken in")
	if got := b.Open(*now); got[0].Text == "" {
		t.Errorf("the text of %s did not change", got[0].Subject)
	}
}

func TestBoardShowsCodesItDoesNotKnow(t *testing.T) {
	b, now := clocked()
	b.Raise("CLD-999", "the cloud will move on Sunday")
	got := b.Report(*now)
	if len(got) != 1 || got[0].Code != "CLD-999" || got[0].Severity != "medium" || got[0].Text != "the cloud will move on Sunday" {
		t.Errorf("got %+v, want it shown as medium with its text", got)
	}
}

func TestReportNeedsNoText(t *testing.T) {
	b, now := clocked()
	b.Raise("CLD-103", "")
	got := b.Report(*now)
	if c, _ := Lookup("CLD-103"); len(got) != 1 || got[0].Text != c.Title+". Next: "+c.Next || got[0].Severity != "high" || !got[0].Since.Equal(t0) {
		t.Errorf("got %+v, want the title as text", got)
	}
}

// The cloud cuts a text at 200 octets: it must not be the next step that goes.
func TestReportKeepsTheNextStep(t *testing.T) {
	c, _ := Lookup("RAD-104")
	for _, tc := range []struct{ text, want string }{
		{"Counter: it was deaf.", "Counter: it was deaf. Next: " + c.Next},
		{strings.Repeat("é", 300), strings.Repeat("é", 53) + "…. Next: " + c.Next},
		{"do it: " + c.Next, "do it: " + strings.TrimRight(c.Next, ".")},
	} {
		b, now := clocked()
		b.Raise(c.Code, tc.text)
		got := b.Report(*now)[0].Text
		if got != tc.want || len(got) > 200 || !utf8.ValidString(got) {
			t.Errorf("got %q of %d octets, want %q", got, len(got), tc.want)
		}
	}
}

func TestBoardFromManySides(t *testing.T) {
	var b Board
	b.Changed = func() { b.Open(time.Now()) }
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for range 200 {
				b.RaiseOn("RTR-104", fmt.Sprint(i), "x")
				b.Replace(fmt.Sprint("s", i), []Finding{{"RTR-103", fmt.Sprint(i), ""}})
				b.ClearOn("RTR-104", fmt.Sprint(i))
			}
			b.Replace(fmt.Sprint("s", i), nil)
		})
	}
	all.Wait()
	if got := b.Open(time.Now().Add(time.Hour)); len(got) != 0 {
		t.Errorf("got %v, want nothing left", codes(got))
	}
}

package history

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

var t0 = time.Date(2026, 11, 28, 6, 0, 0, 0, time.UTC)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, dir string) *Log[int] {
	t.Helper()
	l, err := Open[int](dir)
	must(t, err)
	return l
}

// values are the points of all times.
func values(l *Log[int]) (out []int) {
	for _, p := range l.Between(time.Time{}, t0.AddDate(1, 0, 0)) {
		out = append(out, p.V)
	}
	return out
}

func minute(i int) time.Time { return t0.Add(time.Duration(i) * time.Minute) }

func TestADayIsThereAfterARestart(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	for i := range 1443 {
		must(t, l.Add(minute(i), i))
	}
	must(t, l.Flush())
	got := open(t, dir).Between(minute(3), minute(1443))
	if len(got) != 1440 || got[0].V != 3 || !got[0].At.Equal(minute(3)) || got[1439].V != 1442 {
		t.Errorf("got %d points, want the 1440 of the day", len(got))
	}
}

// TestThePowerWentAway: what was not written is a gap, what was half written
// costs one point, and what comes after is whole.
func TestThePowerWentAway(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	for i := range 15 { // ten are written, five are not
		must(t, l.Add(minute(i), i))
	}
	f, err := os.OpenFile(filepath.Join(dir, growing), os.O_APPEND|os.O_WRONLY, 0)
	must(t, err)
	_, err = f.WriteString(`{"at":"2026-11-28T06:10`)
	must(t, err)
	must(t, f.Close())
	l = open(t, dir)
	if got := values(l); len(got) != 10 || got[9] != 9 {
		t.Errorf("got %v, want the ten that were written", got)
	}
	must(t, l.Add(minute(20), 20))
	must(t, l.Flush())
	if got := values(open(t, dir)); len(got) != 11 || got[10] != 20 {
		t.Errorf("got %v, want the ten and the one of after", got)
	}
}

// TestTheDiskIsBounded: a week leaves no more than two files of a day.
func TestTheDiskIsBounded(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	const line = 40 // bytes, more than one takes
	for i := range 7 * 1440 {
		must(t, l.Add(minute(i), i))
		if i == 4000 { // a restart in between counts what the file holds
			must(t, l.Flush())
			l = open(t, dir)
		}
	}
	must(t, l.Flush())
	files, err := os.ReadDir(dir)
	must(t, err)
	var total int64
	for _, f := range files {
		st, err := f.Info()
		must(t, err)
		total += st.Size()
	}
	if most := int64(2*(bound+atOnce)) * line; len(files) != 2 || total > most {
		t.Errorf("got %d files of %d bytes, want two of at most %d", len(files), total, most)
	}
	if got := values(open(t, dir)); len(got) != bound || got[bound-1] != 7*1440-1 {
		t.Errorf("got %d points, want the newest %d", len(got), bound)
	}
}

// TestAWrongDateTakesNothingAway: the box boots in 1970, and once jumps ahead.
func TestAWrongDateTakesNothingAway(t *testing.T) {
	l := open(t, t.TempDir())
	must(t, l.Add(minute(0), 1))
	must(t, l.Add(time.Unix(60, 0), 2))
	must(t, l.Add(t0.AddDate(10, 0, 0), 3))
	must(t, l.Add(minute(5), 4))
	got := l.Between(t0, minute(10))
	if len(got) != 2 || got[0].V != 1 || got[1].V != 4 {
		t.Errorf("got %v, want the two of that time", got)
	}
}

func TestADiskThatFailsIsSaidAndCostsNothingElse(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	must(t, os.Mkdir(filepath.Join(dir, growing), 0o700)) // nobody can write a folder, not even root
	failed := 0
	for i := range 3 * atOnce {
		if l.Add(minute(i), i) != nil {
			failed++
		}
	}
	if failed != 3 || len(values(l)) != 3*atOnce || len(l.late) != 0 {
		t.Errorf("got %d errors and %d points, want one error for each write and all points", failed, len(values(l)))
	}
	if _, err := Open[int](dir); err == nil {
		t.Error("a history that cannot be read is opened in silence")
	}
}

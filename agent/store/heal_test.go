package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// careful is a cafe whose store takes copies, with guests who have been on.
func careful(t *testing.T) *site {
	t.Helper()
	s := cafe(t)
	s.o.Copies = filepath.Join(t.TempDir(), "backup")
	s.reopen()
	v := s.mustLogin("bob", "hello", phone)
	s.account(s.record(hotspot.Start, v, phone, 0, 0, 0))
	s.account(s.record(hotspot.Interim, v, phone, 60, 1000, 9000))
	return s
}

// takes takes a copy and fails the test without one.
func (s *site) takes() string {
	s.t.Helper()
	name, err := s.Snapshot(s.t.Context())
	s.must(err)
	if name == "" {
		s.t.Fatal("no copy was taken")
	}
	return name
}

// pages are the numbers of the pages of a table or index of a database file.
func pages(t *testing.T, path, of string) (out []int64) {
	t.Helper()
	db, err := open(path, "")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	var root int64
	if err := db.QueryRow("SELECT rootpage FROM sqlite_schema WHERE name = ?", of).Scan(&root); err != nil {
		t.Fatal(err)
	}
	return append(out, root)
}

// harm is one way in which a disk loses a file. The store is closed.
var harm = map[string]func(t *testing.T, path string){
	"the header is zeros": func(t *testing.T, path string) { overwrite(t, path, 0, make([]byte, 100)) },
	"the first page is zeros": func(t *testing.T, path string) {
		overwrite(t, path, 0, make([]byte, 4096))
	},
	"it is cut short": func(t *testing.T, path string) {
		st, err := os.Stat(path)
		if err == nil {
			err = os.Truncate(path, st.Size()/2/4096*4096)
		}
		if err != nil {
			t.Fatal(err)
		}
	},
	"it is empty": func(t *testing.T, path string) {
		if err := os.Truncate(path, 0); err != nil {
			t.Fatal(err)
		}
	},
	"it is gone": func(t *testing.T, path string) {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	},
	"it is something else": func(t *testing.T, path string) {
		if err := os.WriteFile(path, bytes.Repeat([]byte("garbage "), 1000), 0o600); err != nil {
			t.Fatal(err)
		}
	},
	"the page of the mark is noise": func(t *testing.T, path string) {
		overwrite(t, path, (pages(t, path, "mark")[0]-1)*4096, bytes.Repeat([]byte{0xa5}, 4096))
	},
}

func overwrite(t *testing.T, path string, at int64, with []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err == nil {
		_, err = f.WriteAt(with, at)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestADamagedFileIsPutBack: whatever the disk did to the file, the next start has
// the newest copy in its place, what was there is kept, nothing that the cloud
// acknowledged comes to it twice, and a gap names what is lost.
func TestADamagedFileIsPutBack(t *testing.T) {
	for name, damage := range harm {
		t.Run(name, func(t *testing.T) {
			s := careful(t)
			m := newMirror(t)
			s.drain(m)
			before, err := s.Standing(t.Context())
			s.must(err)
			s.takes()
			s.tell(3) // after the copy: the cloud gets two thirds of it
			s.drain(m)
			s.tell(2)
			ids := slices.Clone(m.ids)
			s.must(s.Close())
			damage(t, s.o.Path)
			was, rerr := os.ReadFile(s.o.Path)

			s.clock.Add(time.Minute)
			s.open()
			r, now, ever := s.Restored()
			if !now || !ever || r.Why == "" || r.TakenAt.IsZero() {
				t.Fatalf("restored %+v, %v, %v", r, now, ever)
			}
			if rerr == nil {
				if got, err := os.ReadFile(r.Aside); err != nil || !bytes.Equal(got, was) {
					t.Errorf("what was damaged is not kept as it was: %v", err)
				}
			}
			after, err := s.Standing(t.Context())
			s.must(err)
			if after.Epoch == before.Epoch || after.AckedSeq != 0 {
				t.Errorf("standing %+v, want a new epoch", after)
			}
			s.drain(m)
			if len(m.gaps) != 1 || m.gaps[0].Epoch != before.Epoch || m.gaps[0].First != before.LastSeq+1 {
				t.Errorf("gaps %+v, want what came after event %d of the copy", m.gaps, before.LastSeq)
			}
			// What is new to the cloud is the gap, and how the sessions stand; what it was
			// told before comes under the ids it knows.
			for _, e := range s.events() {
				if !slices.Contains(ids, e.ID) && e.Kind != wire.EventGap && e.Kind != wire.EventSessionUsage {
					t.Errorf("the cloud is told %s again under another id", e.Kind)
				}
			}
			if !slices.Equal(m.ids[:len(ids)], ids) {
				t.Error("the cloud's history changed")
			}
			if v := s.login("bob", "hello", phone); !v.Accept {
				t.Errorf("login after it: %q", v.Reason)
			}
			if got, err := s.Check(t.Context()); got != "ok" || err != nil {
				t.Errorf("the file put back is not sound: %s %v", got, err)
			}
			s.reopen() // the notice stays, the restore does not repeat
			if again, now, ever := s.Restored(); now || !ever || !again.At.Equal(r.At) {
				t.Errorf("after a restart: %+v, %v, %v", again, now, ever)
			}
			if h, err := s.Standing(t.Context()); err != nil || h.Epoch != after.Epoch {
				t.Errorf("after a restart: epoch %s, %v, want still %s", h.Epoch, err, after.Epoch)
			}
		})
	}
}

// TestTheCopyBeforeIsTakenWhenTheNewestIsDamaged, and when none is good nothing is
// touched, and what to type is said.
func TestTheCopyBeforeIsTakenWhenTheNewestIsDamaged(t *testing.T) {
	s := careful(t)
	first := s.takes()
	s.tell(1)
	second := s.takes()
	s.must(s.Close())
	harm["the header is zeros"](t, s.o.Path)
	overwrite(t, second, 8192, bytes.Repeat([]byte{7}, 4096))
	s.open()
	if r, _, _ := s.Restored(); r.Copy != first {
		t.Errorf("put back from %s, want %s", r.Copy, first)
	}
	s.must(s.Close())

	for _, name := range []string{first, second, s.o.Path} {
		s.must(os.Truncate(name, 5000))
	}
	before := files(t, filepath.Dir(s.o.Path), s.o.Copies)
	_, err := Open(t.Context(), s.o)
	if !fault.Is(err, fault.Damaged) || fault.Code(err) != CodeNoGood || !strings.Contains(fault.Hint(err), "iwas-agent restore --empty") {
		t.Errorf("got %v (%s, %s)", err, fault.Code(err), fault.Hint(err))
	}
	if after := files(t, filepath.Dir(s.o.Path), s.o.Copies); !slices.Equal(before, after) {
		t.Errorf("files %q\nbefore %q", after, before)
	}
	s.o.Path, s.o.Copies = filepath.Join(t.TempDir(), "site.db"), "" // for the clean-up
	s.open()
}

// files are names and sizes in folders.
func files(t *testing.T, dirs ...string) (out []string) {
	t.Helper()
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			st, err := e.Info()
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, fmt.Sprint(filepath.Join(dir, e.Name()), " ", st.Size()))
		}
	}
	return out
}

// TestDamageMetWhileRunningIsPutBackByTheNextOpening: the store says so once, and
// the next opening checks the whole file, though it opens well.
func TestDamageMetWhileRunningIsPutBackByTheNextOpening(t *testing.T) {
	s := careful(t)
	s.takes()
	s.reopen() // all is in the file, and no page is remembered
	root := pages(t, s.o.Path, "reject")[0]
	overwrite(t, s.o.Path, (root-1)*4096, bytes.Repeat([]byte{0xa5}, 4096))
	if err := s.Damage(); err != nil {
		t.Fatalf("before anybody read it: %v", err)
	}
	if _, err := s.Rejects(t.Context(), 10); !fault.Is(err, fault.Damaged) || fault.Code(err) != CodeDamaged {
		t.Fatalf("reading a page of noise: %v", err)
	}
	select {
	case <-s.Damaged():
	default:
		t.Fatal("nobody was told")
	}
	s.reopen()
	if _, now, _ := s.Restored(); !now {
		t.Error("the file was not put back")
	}
	if _, err := s.Rejects(t.Context(), 10); err != nil {
		t.Error(err)
	}
	s.reopen()
	if _, now, _ := s.Restored(); now {
		t.Error("put back once more")
	}
}

// TestASoundFileThatWasSuspectedStays: a line to the disk that failed once takes
// nothing away.
func TestASoundFileThatWasSuspectedStays(t *testing.T) {
	s := careful(t)
	s.takes()
	s.tell(2)
	want, err := s.Standing(t.Context())
	s.must(err)
	s.must(s.Close())
	s.must(os.WriteFile(s.o.Path+suspectFile, []byte("malformed"), 0o600))
	s.open()
	h, err := s.Standing(t.Context())
	s.must(err)
	if _, now, _ := s.Restored(); now || h.Epoch != want.Epoch || h.LastSeq != want.LastSeq {
		t.Errorf("restored %v, standing %+v, want %+v", now, h, want)
	}
	if _, err := os.Stat(s.o.Path + suspectFile); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the note stays: %v", err)
	}
}

// TestTheCheckOfARunningStoreFindsDamage that nobody has met yet.
func TestTheCheckOfARunningStoreFindsDamage(t *testing.T) {
	s := careful(t)
	s.takes()
	s.reopen()
	s.checkWhole(t.Context())
	if err := s.Damage(); err != nil {
		t.Fatalf("a sound file: %v", err)
	}
	root := pages(t, s.o.Path, "list_grant")[0]
	overwrite(t, s.o.Path, (root-1)*4096, bytes.Repeat([]byte{0xa5}, 4096))
	s.checkWhole(t.Context())
	if s.Damage() == nil {
		t.Fatal("the check found nothing")
	}
	s.reopen()
	if _, now, _ := s.Restored(); !now {
		t.Error("the file was not put back")
	}
}

// TestThreeCopiesAreKept, numbered whatever the date is, and none is taken when
// nothing was written.
func TestThreeCopiesAreKept(t *testing.T) {
	s := careful(t)
	var names []string
	for range 5 {
		names = append(names, s.takes())
		if again, err := s.Snapshot(t.Context()); again != "" || err != nil {
			t.Errorf("a second copy of the same: %q, %v", again, err)
		}
		s.tell(1)
		s.clock.Set(-24 * time.Hour)
	}
	kept, err := copiesIn(s.o.Copies)
	s.must(err)
	var got []string
	for _, c := range kept {
		got = append(got, c.path)
	}
	want := []string{names[4], names[3], names[2]}
	if !slices.Equal(got, want) {
		t.Errorf("kept %q, want %q", got, want)
	}
	for _, f := range files(t, s.o.Copies) {
		if !strings.Contains(f, "copy-") {
			t.Errorf("%s is left beside the copies", f)
		}
	}
}

// TestNoCopyIsTakenWhenTheDiskIsLow.
func TestNoCopyIsTakenWhenTheDiskIsLow(t *testing.T) {
	s := careful(t)
	s.must(s.Close())
	s.o.Reserve, s.o.DiskFree = 1<<20, func() uint64 { return 4<<20 + 100_000 }
	s.open()
	name, err := s.Snapshot(t.Context())
	if name != "" || fault.Code(err) != CodeNoCopy {
		t.Errorf("got %q, %v", name, err)
	}
	s.DB.o.DiskFree = func() uint64 { return 1 << 30 }
	s.takes()
}

// TestACopyIsOfOneMoment: taken while guests report, it opens and says the same in
// its sessions and in its log.
func TestACopyIsOfOneMoment(t *testing.T) {
	s := careful(t)
	v := s.mustLogin("bob", "hello", phone)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		for i := 1; ctx.Err() == nil; i++ {
			a := s.record(hotspot.Interim, v, phone, 60+i, 1000+i, 9000)
			if err := s.Account(context.Background(), a); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	var copies []string
	for range 3 {
		copies = append(copies, s.takes())
	}
	stop()
	s.must(<-done)
	for _, name := range copies {
		o := s.o
		o.Path, o.Copies = filepath.Join(t.TempDir(), "copy.db"), ""
		s.must(copyTo(name, o.Path))
		db, err := Open(t.Context(), o)
		s.must(err)
		sessions, err := db.Sessions(t.Context())
		s.must(err)
		b, err := db.Events(t.Context(), 0, 1<<20, 1<<30)
		s.must(err)
		last := map[hotspot.SessionID]uint64{}
		for _, e := range b.Events {
			if e.Kind == wire.EventSessionUsage || e.Kind == wire.EventSessionStarted {
				var body wire.SessionBody
				s.must(json.Unmarshal(e.Body, &body))
				last[body.ID] = uint64(body.Upload)
			}
		}
		for _, x := range sessions {
			if uint64(x.Upload) != last[x.ID] {
				t.Errorf("session %s has %d octets, its newest event says %d", x.ID, x.Upload, last[x.ID])
			}
		}
		s.must(db.Close())
	}
}

// TestCopiesOfALargeDatabaseComeLessOften, so that they wear no card out.
func TestCopiesOfALargeDatabaseComeLessOften(t *testing.T) {
	for size, want := range map[int64]time.Duration{20 << 20: time.Hour, 170 << 20: time.Hour, 512 << 20: 3 * time.Hour, 8 << 30: 6 * time.Hour} {
		if got := pauseFor(size); got != want {
			t.Errorf("%d MB: every %v, want %v", size>>20, got, want)
		}
	}
}

// TestARestoreBeginsAnEpochWithoutTheWitness: the file beside the database may be
// behind, or gone with it; a restore is a new epoch all the same.
func TestARestoreBeginsAnEpochWithoutTheWitness(t *testing.T) {
	for name, lose := range map[string]func(s *site, h wire.Hello) error{
		"gone": func(s *site, _ wire.Hello) error { return os.Remove(s.o.Path + witnessFile) },
		"behind": func(s *site, h wire.Hello) error {
			return os.WriteFile(s.o.Path+witnessFile, []byte(`[{"epoch":"`+h.Epoch+`","last_seq":1}]`), 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := careful(t)
			before, err := s.Standing(t.Context())
			s.must(err)
			s.takes()
			s.tell(2)
			s.must(s.Close())
			harm["the header is zeros"](t, s.o.Path)
			s.must(lose(s, before))
			s.open()
			after, err := s.Standing(t.Context())
			s.must(err)
			m := newMirror(t)
			s.drain(m)
			if after.Epoch == before.Epoch || len(m.gaps) != 1 || m.gaps[0] != (wire.Gap{Epoch: before.Epoch, First: before.LastSeq + 1}) {
				t.Errorf("epoch %s, was %s, gaps %+v", after.Epoch, before.Epoch, m.gaps)
			}
		})
	}
}

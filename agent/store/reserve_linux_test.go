package store

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
)

// smallDisk is a folder on a disk of a few megabytes. Where this process may not
// mount one the file's own size is bounded instead, by whoever asks; ok says which.
func smallDisk(t *testing.T, size string) (dir string, ok bool) {
	t.Helper()
	dir = t.TempDir()
	err := syscall.Mount("iwas-store", dir, "tmpfs", syscall.MS_NOSUID|syscall.MS_NODEV, "mode=0700,size="+size)
	if errors.Is(err, syscall.EPERM) {
		t.Logf("no disk gets full in this run: mounting one needs root (%v)", err)
		return dir, false
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	return dir, true
}

func freeOn(dir string) func() uint64 {
	return func() uint64 {
		var st unix.Statfs_t
		if unix.Statfs(dir, &st) != nil {
			return 0
		}
		return st.Bavail * uint64(st.Bsize)
	}
}

// filling takes all the room there is.
func filling(t *testing.T, file string) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	for block := make([]byte, 64<<10); err == nil; {
		_, err = f.Write(block)
	}
	for block := make([]byte, 4096); errors.Is(err, syscall.ENOSPC) && len(block) > 0; block = nil {
		_, _ = f.Write(block)
	}
	if err := f.Close(); err != nil && !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
}

// onSmallDisk is a cafe on one, with guests amy and bob, of whom bob is on.
func onSmallDisk(t *testing.T) (s *site, dir string, v hotspot.Verdict, ok bool) {
	t.Helper()
	dir, ok = smallDisk(t, "24m")
	if !ok {
		return nil, "", v, false
	}
	s = newSite(t)
	s.must(s.Close())
	s.o.Path, s.o.Copies, s.o.Reserve, s.o.DiskFree = filepath.Join(dir, "site.db"), filepath.Join(dir, "backup"), 2<<20, freeOn(dir)
	s.open()
	for _, name := range []string{"amy", "bob"} {
		s.cloud.guest(name, "hello", hotspot.Limits{Devices: 3, Time: time.Hour, Clock: hotspot.Metered})
	}
	s.start()
	s.LearnNAS(hotspot.NASMemory{NAS: nas, EchoesClass: true})
	s.must(s.Sweep(t.Context()))
	v = s.mustLogin("bob", "hello", phone)
	s.account(s.record(hotspot.Start, v, phone, 0, 0, 0))
	return s, dir, v, true
}

// TestAFullDisk: the reserve goes first; then a pass that is in use goes on and its
// usage waits in memory, a first use is refused with its code, and all is stored
// once there is room.
func TestAFullDisk(t *testing.T) {
	s, dir, v, ok := onSmallDisk(t)
	if !ok {
		return
	}
	s.must(s.tendDisk(t.Context()))
	if st, err := os.Stat(s.o.Path + reserveFile); err != nil || st.Size() != s.o.Reserve {
		t.Fatalf("the reserve: %v", err)
	}
	filler := filepath.Join(dir, "filler")
	filling(t, filler)
	given := func() bool {
		_, err := os.Stat(s.o.Path + reserveFile)
		return errors.Is(err, os.ErrNotExist)
	}
	stored := 0
	for i := 1; i < 5000 && !given(); i++ { // the file has some room of its own
		s.account(s.record(hotspot.Interim, v, phone, i, 10*i, 0))
		stored = i
	}
	if !given() || !s.Care().Low {
		t.Fatal("the reserve was not given up")
	}
	if _, err := s.WriteTrouble(); err != nil {
		t.Errorf("in trouble though the reserve made room: %v", err)
	}

	filling(t, filler)
	var failed error
	last := stored
	for ; failed == nil && last < 50_000; last++ {
		failed = s.Account(context.Background(), s.record(hotspot.Interim, v, phone, last+1, 10*(last+1), 0))
	}
	if fault.Code(failed) != CodeNoRoom {
		t.Fatalf("after %d records: %v (%s)", last, failed, fault.Code(failed))
	}
	if _, err := s.WriteTrouble(); fault.Code(err) != CodeNoRoom {
		t.Errorf("trouble %v", err)
	}
	if s.Care().Held != 1 {
		t.Errorf("%d records held, want the newest of the session", s.Care().Held)
	}
	if again := s.login("bob", "hello", laptop); !again.Accept {
		t.Errorf("a pass in use: %q", again.Reason)
	}
	if _, err := s.Authorize(t.Context(), hotspot.Request{NAS: nas, Username: "amy", MAC: laptop, At: s.clock.Now(),
		Credential: hotspot.Credential{Kind: hotspot.Clear, Clear: "hello"}}); fault.Code(err) != CodeNoRoom {
		t.Errorf("a first use: %v, want it refused with its code", err)
	}
	var begun int64 // read beside the writer, which has something to write itself
	s.must(s.queryLate(t.Context(), "read first use", "SELECT COALESCE(MAX(first_used), 0) FROM usage WHERE pass = 'p-amy'", nil, func(scan func(...any) error) error { return scan(&begun) }))
	if begun != 0 {
		t.Error("a first use that was refused has begun")
	}
	if name, err := s.Snapshot(t.Context()); err == nil || name != "" {
		t.Errorf("a copy on a full disk: %q, %v", name, err)
	}
	s.must(s.tendDisk(t.Context())) // nothing to be had
	if s.Care().Held != 1 {
		t.Error("what was held went nowhere")
	}
	// The guest leaves: this too is not stored, and is the newest.
	if err := s.Account(context.Background(), s.record(hotspot.Stop, v, phone, last+5, 10*(last+5), 7)); err == nil {
		t.Error("a Stop was acknowledged that the disk did not take")
	}

	s.must(os.Remove(filler))
	_ = s.Sweep(t.Context()) // tries a write
	s.must(s.tendDisk(t.Context()))
	if c := s.Care(); c.Held != 0 {
		t.Errorf("still held: %d", c.Held)
	}
	if u := s.usage("p-bob"); u.Upload != hotspot.Octets(10*(last+5)) || u.Download != 7 {
		t.Errorf("billed %+v, want what was used to the end", u)
	}
	if v := s.login("amy", "hello", laptop); !v.Accept {
		t.Errorf("a first use with room again: %q", v.Reason)
	}
	if got, err := s.Check(t.Context()); got != "ok" || err != nil {
		t.Errorf("the file: %s %v", got, err)
	}
	s.must(s.tendDisk(t.Context()))
	if given() || s.Care().Low {
		t.Errorf("the reserve is not made again, or the disk still counts as low: %v", s.Care())
	}
}

// TestALowDiskGivesUpWhatItCanSpare: copies and damaged files but the newest, and
// what the cloud has.
func TestALowDiskGivesUpWhatItCanSpare(t *testing.T) {
	s := careful(t)
	for range 3 {
		s.takes()
		s.tell(1)
	}
	m := newMirror(t)
	s.drain(m)
	for i := range 2 {
		s.must(os.WriteFile(s.o.Path+".damaged-00000"+string(rune('1'+i))+"-20261124T120000Z", nil, 0o600))
	}
	s.must(s.Close())
	free := uint64(10 << 20)
	s.o.Reserve, s.o.DiskFree = 1<<20, func() uint64 { return free }
	s.open()
	s.must(s.tendDisk(t.Context()))
	if s.Care().Low {
		t.Fatal("low with ten megabytes free of which four are wanted")
	}
	free = 3 << 20
	s.must(s.tendDisk(t.Context()))
	copies, err := copiesIn(s.o.Copies)
	s.must(err)
	aside, err := asideOf(s.o.Path)
	s.must(err)
	if !s.Care().Low || len(copies) != 1 || copies[0].number != 3 || len(aside) != 1 || aside[0].number != 2 {
		t.Errorf("low %v, copies %v, damaged files %v", s.Care().Low, copies, aside)
	}
	s.must(s.Sweep(t.Context()))
	h, err := s.Standing(t.Context())
	s.must(err)
	var first int64
	s.must(s.query(t.Context(), "look", "SELECT MIN(seq) FROM event", nil, func(scan func(...any) error) error { return scan(&first) }))
	if h.AckedSeq != h.LastSeq || first != h.LastSeq {
		t.Errorf("what the cloud has is still there: events from %d on, %d are acknowledged", first, h.AckedSeq)
	}
	free = 7 << 20
	s.must(s.tendDisk(t.Context()))
	if !s.Care().Low {
		t.Error("no longer low with less than twice what is wanted")
	}
	free = 8 << 20
	s.must(s.tendDisk(t.Context()))
	if s.Care().Low {
		t.Error("still low with twice what is wanted")
	}
}

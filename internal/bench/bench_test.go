package bench

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"iwas/internal/radload"
)

// programs builds what is measured, once for all tests.
var programs Programs

func TestMain(m *testing.M) { os.Exit(build(m)) }

func build(m *testing.M) int {
	runtime.LockOSThread() // see Run
	dir, err := os.MkdirTemp("", "iwas-bench-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	programs = Programs{Agent: filepath.Join(dir, "agent"), Fill: filepath.Join(dir, "fill")}
	for out, pkg := range map[string]string{programs.Agent: "iwas/agent", programs.Fill: "iwas/agent/store/fill"} {
		cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", out, pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if b, err := cmd.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build %s: %v\n%s", pkg, err, b)
			return 1
		}
	}
	return m.Run()
}

// started starts a server for the length of a test.
func started(t *testing.T, s server, accounts int) {
	t.Helper()
	dir, err := os.MkdirTemp("", "iwas-bench-test-") // a socket's path may have 107 octets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := begin(t.Context(), dir, accounts, s); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := end(s); err != nil {
			t.Error(err)
		}
	})
}

// TestEveryServerAnswersTheLoad: real servers accept what the generator sends,
// and the generator what they answer: PAP, CHAP and accounting, with
// Message-Authenticator both ways.
func TestEveryServerAnswersTheLoad(t *testing.T) {
	for _, s := range []server{&freeRADIUS{in: inFiles}, &freeRADIUS{in: inSQLite}, &freeRADIUS{in: inPostgres}, &agent{programs: programs}} {
		t.Run(s.Name(), func(t *testing.T) {
			started(t, s, 64)
			m, err := load(t.Context(), s, radload.Options{Crowd: radload.NewCrowd(64, account), Outstanding: 8, Once: true, Time: time.Minute, Resend: 10 * time.Second,
				Script: []radload.Kind{radload.CHAP, radload.PAP, radload.Start, radload.Interim, radload.Interim, radload.Stop}})
			if err != nil {
				t.Fatal(err)
			}
			if m.Answered != 64*6 || m.Resent != 0 {
				t.Errorf("got %d answers after %d repeats, want %d and none", m.Answered, m.Resent, 64*6)
			}
			u, err := usage(s)
			if err != nil || u.CPU <= 0 || u.Peak < 1<<20 {
				t.Errorf("usage: got %+v, %v", u, err)
			}
		})
	}
}

// TestAServerThatDoesNotKnowTheGuestIsSeen: the load can fail.
func TestAServerThatDoesNotKnowTheGuestIsSeen(t *testing.T) {
	for _, s := range []server{&freeRADIUS{in: inFiles}, &agent{programs: programs}} {
		t.Run(s.Name(), func(t *testing.T) {
			started(t, s, 4)
			stranger := radload.NewCrowd(1, func(int) (string, string) { return "u0000000", "wrong" })
			m, err := load(t.Context(), s, radload.Options{Crowd: stranger, Outstanding: 1, Once: true, Time: time.Minute, Script: []radload.Kind{radload.PAP}})
			if err == nil || m.Rejected != 1 {
				t.Errorf("got %+v, %v; want one Access-Reject", m.Result, err)
			}
		})
	}
}

// TestKillsLoseNothingAndTheLedgerAgrees is the bench's kill part, in small.
func TestKillsLoseNothingAndTheLedgerAgrees(t *testing.T) {
	r := &run{Options: Options{Programs: programs}}
	a := &agent{programs: programs}
	dir := t.TempDir()
	if err := begin(t.Context(), dir, 1000, a); err != nil {
		t.Fatal(err)
	}
	l := &ledger{}
	err := underLoad(t.Context(), a, l, func() error {
		for range 10 {
			if err := a.proc.until(t.Context(), time.Minute, l.grows(50)); err != nil {
				return err
			}
			if err := a.Stop(syscall.SIGKILL); err != nil {
				return err
			}
			if err := a.Restart(t.Context()); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Stop(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	all, err := r.sessions(t.Context(), a.state)
	if err != nil {
		t.Fatal(err)
	}
	v := l.judge(all)
	t.Logf("10 kills: %s", v)
	if v.missing+v.doubled+v.wrong > 0 || v.records < 500 {
		t.Errorf("got %s; want at least 500 records and none lost", v)
	}
}

// grows returns a condition that holds once n more records were acknowledged.
func (l *ledger) grows(n int) func() bool {
	count := func() int {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.records
	}
	from := count()
	return func() bool { return count() >= from+n }
}

func TestTheLedgerCanSayNo(t *testing.T) {
	start := radload.Record{Kind: radload.Start, AcctSessionID: "a"}
	interim := radload.Record{Kind: radload.Interim, AcctSessionID: "a", Seconds: 2, Upload: 2000, Download: 18000}
	stop := radload.Record{Kind: radload.Stop, AcctSessionID: "a", Seconds: 4, Upload: 4000, Download: 36000}
	for _, tc := range []struct {
		name                    string
		acked                   radload.Record
		kept                    []kept
		missing, doubled, wrong int
	}{
		{"all there", interim, []kept{{"a", false, 2, 2000, 18000}}, 0, 0, 0},
		{"one step ahead, not acknowledged", interim, []kept{{"a", false, 3, 3000, 27000}}, 0, 0, 0},
		{"the start alone", start, []kept{{"a", false, 0, 0, 0}}, 0, 0, 0},
		{"not there", start, nil, 1, 0, 0},
		{"behind", interim, []kept{{"a", false, 1, 1000, 9000}}, 1, 0, 0},
		{"download behind", interim, []kept{{"a", false, 2, 2000, 9000}}, 1, 0, 0},
		{"stopped, yet open", stop, []kept{{"a", false, 4, 4000, 36000}}, 1, 0, 0},
		{"twice", interim, []kept{{"a", false, 2, 2000, 18000}, {"a", false, 2, 2000, 18000}}, 0, 1, 0},
		{"counted twice", interim, []kept{{"a", false, 4, 4000, 36000}}, 0, 0, 1},
		{"directions mixed", interim, []kept{{"a", false, 3, 3000, 27001}}, 0, 0, 1},
		{"more than its Stop", stop, []kept{{"a", true, 5, 5000, 45000}}, 0, 0, 1},
	} {
		l := &ledger{}
		l.acked(tc.acked)
		v := l.judge(tc.kept)
		if v.missing != tc.missing || v.doubled != tc.doubled || v.wrong != tc.wrong {
			t.Errorf("%s: got %s; want %d missing, %d twice, %d wrong", tc.name, v, tc.missing, tc.doubled, tc.wrong)
		}
	}
}

// TestTheDiskForgetsWhatWasNotFlushed: reads see every write, the image only
// those before a flush.
func TestTheDiskForgetsWhatWasNotFlushed(t *testing.T) {
	name := filepath.Join(t.TempDir(), "image")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const size = 64
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	d := &served{image: f, size: size}
	header := func(at int64, n int) []byte {
		b := make([]byte, fuseIOHeader)
		binary.NativeEndian.PutUint64(b[8:], uint64(at))
		binary.NativeEndian.PutUint32(b[16:], uint32(n))
		return b
	}
	write := func(at int64, text string) {
		t.Helper()
		if errno := d.write(append(header(at, len(text)), text...)); errno != 0 {
			t.Fatal(errno)
		}
	}
	show := func(b []byte) string { return strings.ReplaceAll(string(b), "\x00", ".") }
	see := func(want, platters string) {
		t.Helper()
		b, errno := d.read(header(2, 8))
		if errno != 0 || show(b) != want {
			t.Errorf("read: got %q, %v; want %q", show(b), errno, want)
		}
		image, err := os.ReadFile(name)
		if err != nil || show(image[2:10]) != platters {
			t.Errorf("image: got %q, %v; want %q", show(image[2:10]), err, platters)
		}
	}
	write(0, "abcdef")
	see("cdef....", "........")
	write(4, "XY")
	see("cdXY....", "........")
	if errno := d.flush(); errno != 0 {
		t.Fatal(errno)
	}
	write(8, "zz")
	see("cdXY..zz", "cdXY....")
	if errno := d.write(append(header(size-1, 2), "xx"...)); errno != syscall.ENOSPC {
		t.Errorf("beyond the end: got %v, want %v", errno, syscall.ENOSPC)
	}
	if errno := d.write(header(0, 100)); errno != syscall.EINVAL {
		t.Errorf("fewer octets than said: got %v, want %v", errno, syscall.EINVAL)
	}
	if b, errno := d.read(header(size-4, 100)); errno != 0 || len(b) != 4 {
		t.Errorf("read over the end: got %d octets, %v; want 4", len(b), errno)
	}
}

func TestMediansAndTables(t *testing.T) {
	if got := median([]int{5, 1, 9, 3}); got != 3 {
		t.Errorf("median: got %d, want 3, the lower in the middle", got)
	}
	if got := median[int](nil); got != 0 {
		t.Errorf("median of nothing: got %d, want 0", got)
	}
	var b bytes.Buffer
	table{{"", "µs"}, {"long", "5"}}.print(&b)
	if want := "      µs\nlong   5\n"; b.String() != want {
		t.Errorf("got %q, want %q", b.String(), want)
	}
}

func TestAPartThatIsNotThereIsRefused(t *testing.T) {
	err := Run(context.Background(), Options{Parts: []string{"nothing"}, Out: &bytes.Buffer{}})
	if err == nil || !strings.Contains(err.Error(), "power") {
		t.Errorf("got %v, want the names of the parts", err)
	}
}

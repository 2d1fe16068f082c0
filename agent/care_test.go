package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"iwas/agent/store"
	"iwas/agent/uplink"
	"iwas/internal/fault"
	"iwas/internal/hotspot"
)

// servicing is the whole program on a box, as serve runs it; page is where its status
// page is now.
type servicing struct {
	t    *testing.T
	mu   sync.Mutex
	site *site  // of the newest run; guarded by mu
	addr string // of its page; guarded by mu
	runs int    // guarded by mu
}

// serving starts it. Every run is a new site, as in serve.
func (k *kiosk) serving(change ...func(*config)) *servicing {
	k.t.Helper()
	s := &servicing{t: k.t}
	cfg, err := loadConfig(k.file, false)
	if err != nil {
		k.t.Fatal(err)
	}
	cfg.RADIUS.Auth, cfg.RADIUS.Acct, cfg.Status.Listen = []string{"127.0.0.1:0"}, []string{"127.0.0.1:0"}, "127.0.0.1:0"
	for _, f := range change {
		f(&cfg)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	log := slog.New(slog.DiscardHandler)
	go func() {
		done <- serveAgain(ctx, log, func(ctx context.Context) error {
			x, err := newSite(cfg, log)
			if err != nil {
				return err
			}
			x.page.Bound = func(addr string) {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.site, s.addr, s.runs = x, addr, s.runs+1
			}
			return x.runSound(ctx)
		})
	}()
	k.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			k.t.Error(err)
		}
	})
	s.until("the page", func() bool { _, n := s.now(); return n > 0 })
	return s
}

func (s *servicing) now() (*site, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.site, s.runs
}

func (s *servicing) until(what string, ok func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(20 * time.Millisecond) { // polled: what is waited for has no bell
		if time.Now().After(deadline) {
			s.t.Fatalf("%s did not come", what)
		}
	}
}

// page is the status page as text; "" while it does not answer.
func (s *servicing) page() string {
	s.mu.Lock()
	addr := s.addr
	s.mu.Unlock()
	resp, err := http.Get("http://" + addr + "/status.json")
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return ""
	}
	return string(b)
}

// TestTheServicePutsItsDatabaseBackByItself: damage that a running service meets
// ends in every part beginning anew, on the copy, with a notice.
func TestTheServicePutsItsDatabaseBackByItself(t *testing.T) {
	k := newKiosk(t)
	db := k.open()
	k.guest(db)
	if _, err := db.Snapshot(t.Context()); err != nil {
		t.Fatal(err)
	}
	k.close(db)
	s := k.serving()
	x, _ := s.now()
	before, err := x.db.Standing(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// Noise in every page but the first: the next that reads one meets it.
	f, err := os.OpenFile(k.path("state/iwas.db"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(bytes.Repeat([]byte{0xa5}, int(st.Size())-4096), 4096); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	s.until("the damage", func() bool {
		_, _ = x.db.EndedSince(t.Context(), time.Time{})
		_, _ = x.db.Rejects(t.Context(), 1)
		return x.db.Damage() != nil
	})
	s.until("another run", func() bool { _, n := s.now(); return n > 1 })
	s.until("the notice", func() bool { return strings.Contains(s.page(), store.CodeRestored) })
	x, _ = s.now()
	if _, now, _ := x.db.Restored(); !now {
		t.Fatal("the database was not put back")
	}
	after, err := x.db.Standing(t.Context())
	if err != nil || after.Epoch == before.Epoch {
		t.Errorf("standing %+v, %v: want a new epoch", after, err)
	}
	s.until("a login", func() bool {
		v, err := x.radius.Decider.Authorize(t.Context(), hotspot.Request{NAS: "counter", Username: "bob", MAC: hotspot.MAC{2, 0, 0, 0, 0, 1},
			Credential: hotspot.Credential{Kind: hotspot.Clear, Clear: "hello"}})
		return err == nil && v.Accept
	})
}

// TestThePageServesWhateverIsWrongWithTheStore, says why, and what to type.
func TestThePageServesWhateverIsWrongWithTheStore(t *testing.T) {
	for name, tc := range map[string]struct {
		harm func(k *kiosk)
		code string
		want string // of the text or the next step
	}{
		"garbage": {func(k *kiosk) { k.write("state/iwas.db", strings.Repeat("garbage ", 1000)) }, store.CodeNoGood, "iwas-agent restore --empty"},
		"cut short": {func(k *kiosk) {
			k.close(k.open())
			if err := os.Truncate(k.path("state/iwas.db"), 8192); err != nil {
				t.Fatal(err)
			}
		}, store.CodeNoGood, "iwas-agent restore FILE"},
		"a newer schema": {func(k *kiosk) { k.close(k.open()); k.schema(9999) }, "DB-108", "install the newer program again"},
		"a folder in its place": {func(k *kiosk) {
			if err := os.MkdirAll(k.path("state/iwas.db"), 0o700); err != nil {
				t.Fatal(err)
			}
		}, "DB-108", "unable to open database file"},
		"no sealing key that is one": {func(k *kiosk) { k.write("state/identity/seal.key", "?") }, "DB-108", "not a sealing key"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := newKiosk(t)
			tc.harm(k)
			s := k.serving()
			var page string
			s.until("the verdict", func() bool { page = s.page(); return strings.Contains(page, "Guests cannot log in") })
			if !strings.Contains(page, tc.code) || !strings.Contains(page, tc.want) {
				t.Errorf("want %s and %q in\n%s", tc.code, tc.want, page)
			}
		})
	}
}

// letting counts who came through.
type letting struct{ asked int }

func (l *letting) Authorize(context.Context, hotspot.Request) (hotspot.Verdict, error) {
	l.asked++
	return hotspot.Verdict{Accept: true}, nil
}

func (l *letting) Refuse(context.Context, hotspot.Reason) hotspot.Verdict { return hotspot.Verdict{} }

// TestLoginsWaitForTheCloudAfterARestore, in silence, and not for ever.
func TestLoginsWaitForTheCloudAfterARestore(t *testing.T) {
	let := &letting{}
	g := &gate{Decider: let, open: make(chan struct{})}
	if v, err := g.Authorize(t.Context(), hotspot.Request{}); !fault.Is(err, fault.Unavailable) || v.Accept || let.asked != 0 {
		t.Errorf("while it is closed: %+v, %v", v, err)
	}
	close(g.open)
	if v, err := g.Authorize(t.Context(), hotspot.Request{}); err != nil || !v.Accept {
		t.Errorf("once it is open: %+v, %v", v, err)
	}

	for name, tc := range map[string]struct {
		status func(ran time.Duration) uplink.Status
		heard  bool
		least  time.Duration
		most   time.Duration
	}{
		"no cloud":             {nil, false, 0, 0},
		"a cloud that is away": {func(time.Duration) uplink.Status { return uplink.Status{} }, false, gateMost, gateMost + gateLook},
		"a cloud with nothing to add": {func(ran time.Duration) uplink.Status {
			if ran < time.Second {
				return uplink.Status{Revision: 7}
			}
			return uplink.Status{Revision: 7, LastContact: time.Now()}
		}, true, time.Second + gateQuiet, time.Second + gateQuiet + 3*gateLook},
		"a cloud that sends the state": {func(ran time.Duration) uplink.Status {
			u := uplink.Status{Revision: 7, LastContact: time.Now()}
			if ran >= 1500*time.Millisecond {
				u.Revision = 9
			}
			return u
		}, true, 1500*time.Millisecond + gateQuiet, 1500*time.Millisecond + gateQuiet + 3*gateLook},
		"a state that does not end": {func(ran time.Duration) uplink.Status {
			return uplink.Status{Revision: int64(ran / time.Second), LastContact: time.Now()}
		}, false, gateMost, gateMost + gateLook},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				var status func() uplink.Status
				if tc.status != nil {
					status = func() uplink.Status { return tc.status(time.Since(began)) }
				}
				heard := awaitState(t.Context(), status)
				if took := time.Since(began); heard != tc.heard || took < tc.least || took > tc.most {
					t.Errorf("heard %v after %v, want %v after %v to %v", heard, took, tc.heard, tc.least, tc.most)
				}
			})
		})
	}
}

// TestTheProgramBeginsAnewForDamageAlone, with growing pauses.
func TestTheProgramBeginsAnewForDamageAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at []time.Duration
		began := time.Now()
		other := errors.New("something else")
		err := serveAgain(t.Context(), slog.New(slog.DiscardHandler), func(context.Context) error {
			at = append(at, time.Since(began))
			if len(at) == 5 {
				return other
			}
			return errors.Join(errDamaged, other)
		})
		if !errors.Is(err, other) || errors.Is(err, errDamaged) || len(at) != 5 {
			t.Fatalf("%v after %d runs", err, len(at))
		}
		for i, want := range []time.Duration{0, 1, 3, 7, 15} {
			if at[i] != want*time.Second {
				t.Errorf("run %d began after %v, want %vs", i+1, at[i], int(want))
			}
		}
	})
}

// schema writes the number of the schema into the database.
func (k *kiosk) schema(n int) {
	k.t.Helper()
	setSchema(k.t, k.path("state/iwas.db"), n)
}

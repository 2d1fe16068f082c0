package webui

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"iwas/internal/fault"
)

// follow opens a live page and returns its events as "name data".
func follow(t *testing.T, url string) (events <-chan string, status int) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	ch := make(chan string, 1000)
	go func() {
		defer close(ch)
		name, data := "", []string(nil)
		for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
			field, value, _ := strings.Cut(lines.Text(), ": ")
			switch field {
			case "event":
				name = value
			case "data":
				data = append(data, value)
			case "":
				ch <- name + " " + strings.Join(data, "\n")
				name, data = "", nil
			}
		}
	}()
	return ch, resp.StatusCode
}

// next returns the next event that is not a sign of life.
func next(t *testing.T, events <-chan string) string {
	t.Helper()
	for {
		select {
		case e, ok := <-events:
			if !ok {
				return "end"
			}
			if e != "beat now" {
				return e
			}
		case <-time.After(10 * time.Second):
			t.Fatal("no event within 10 s")
		}
	}
}

// liveServer serves one page of two parts, the second one constant.
func liveServer(t *testing.T, h *Hub, err *atomic.Value) (*httptest.Server, *atomic.Int64) {
	t.Helper()
	var figure atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.Serve(w, r, []string{"main"}, func(context.Context) ([]Part, error) {
			if e, _ := err.Load().(error); e != nil {
				return nil, e
			}
			return []Part{{"figure", fmt.Sprintf("<p id=figure>\n%d</p>", figure.Load())}, {"rest", "<p id=rest></p>"}}, nil
		})
	}))
	t.Cleanup(srv.Close)
	return srv, &figure
}

func TestALivePageGetsWhatChangedAndNothingElse(t *testing.T) {
	h := &Hub{Beat: time.Hour, Refresh: time.Hour, Gap: time.Millisecond}
	var broken atomic.Value
	srv, figure := liveServer(t, h, &broken)
	events, _ := follow(t, srv.URL)
	for _, want := range []string{"part <p id=figure>\n0</p>", "part <p id=rest></p>"} {
		if got := next(t, events); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
	h.Notify("main") // nothing changed: nothing sent
	figure.Store(7)
	h.Notify("elsewhere") // not its topic
	h.Notify("main")
	if got, want := next(t, events), "part <p id=figure>\n7</p>"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestALivePageShowsSignsOfLifeOnlyWhileItCanBeRendered(t *testing.T) {
	h := &Hub{Beat: 20 * time.Millisecond, Refresh: time.Hour, Gap: time.Millisecond}
	var broken atomic.Value
	srv, _ := liveServer(t, h, &broken)
	events, _ := follow(t, srv.URL)
	beats := func(d time.Duration) (n int) {
		for end := time.After(d); ; {
			select {
			case e := <-events:
				if e == "beat now" {
					n++
				}
			case <-end:
				return n
			}
		}
	}
	if n := beats(500 * time.Millisecond); n < 5 {
		t.Errorf("%d signs of life in 500 ms, want at least 5", n)
	}
	broken.Store(error(fault.New(fault.Unavailable, "store is away", nil)))
	h.Notify("main")
	beats(200 * time.Millisecond) // what was on its way
	if n := beats(300 * time.Millisecond); n != 0 {
		t.Errorf("%d signs of life while the store is away, want none", n)
	}
}

func TestALivePageIsLeftWhenTheRightIsGone(t *testing.T) {
	h := &Hub{Beat: time.Hour, Refresh: time.Hour, Gap: time.Millisecond}
	var broken atomic.Value
	srv, _ := liveServer(t, h, &broken)
	events, _ := follow(t, srv.URL)
	next(t, events)
	next(t, events)
	broken.Store(error(fault.New(fault.Forged, "signed out", errors.New("over"))))
	h.Notify("main")
	if got := next(t, events); got != "leave now" {
		t.Errorf("got %q, want leave", got)
	}
	if got := next(t, events); got != "end" {
		t.Errorf("got %q after leave, want the end", got)
	}
}

func TestLivePagesAreBounded(t *testing.T) {
	h := &Hub{Max: 2, Beat: 10 * time.Millisecond}
	var broken atomic.Value
	srv, _ := liveServer(t, h, &broken)
	for range 2 {
		events, status := follow(t, srv.URL)
		if status != http.StatusOK {
			t.Fatalf("got %d, want 200", status)
		}
		next(t, events)
	}
	if _, status := follow(t, srv.URL); status != http.StatusServiceUnavailable {
		t.Errorf("third stream got %d, want 503", status)
	}
	srv.CloseClientConnections()
	for deadline := time.Now().Add(10 * time.Second); h.Open() > 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d streams still held after their readers left", h.Open())
		}
	}
}

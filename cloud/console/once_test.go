package console

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"log/slog"
	"reflect"
	"sync"
	"testing"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
)

// TestARepeatAtAnotherCloudGetsTheSameAnswer: two consoles of one database. The answer
// lies there sealed by the sender's key.
func TestARepeatAtAnotherCloudGetsTheSameAnswer(t *testing.T) {
	f := newFake(t)
	clouds := [2]*Server{{Store: f, Log: slog.New(slog.DiscardHandler)}, {Store: f, Log: slog.New(slog.DiscardHandler)}}
	done := 0
	const secret = "hunter2-hunter2"
	want := created{guest: f.guests[0], password: secret, command: hotspot.Command{ID: "c1", Site: "main", AskedAt: noon, Result: `{"a":1}`}}
	ask := func(cloud int, key, body string) (created, bool, error) {
		return clouds[cloud].once(t.Context(), key, sha256.Sum256([]byte(body)), func() (created, error) {
			done++
			return want, nil
		})
	}
	for n, repeat := range []bool{false, true, true} {
		got, again, err := ask(n%2, "op k1", "body")
		if err != nil || again != repeat || !reflect.DeepEqual(got, want) {
			t.Errorf("request %d at cloud %d: repeat %v, %v\n%+v\nwant %v\n%+v", n+1, n%2, again, err, got, repeat, want)
		}
	}
	if _, _, err := ask(1, "op k1", "another body"); !fault.Is(err, fault.Conflict) {
		t.Errorf("the same key with another body: %v, want a conflict", err)
	}
	if done != 1 {
		t.Errorf("done %d times, want once", done)
	}
	for key, o := range f.onces {
		for _, part := range []string{secret, want.guest.Account.Username, "op k1"} {
			if bytes.Contains(o.Answer, []byte(part)) || bytes.Contains([]byte(key), []byte(part)) {
				t.Errorf("%q can be read in what is kept", part)
			}
		}
		if sum := sha256.Sum256([]byte("body")); bytes.Equal(o.Body, sum[:]) {
			t.Error("what is kept of the body can be guessed without the key")
		}
	}
}

func TestARequestAtWorkIsWaitedForAndOneThatFailedIsNot(t *testing.T) {
	f := newFake(t)
	s := &Server{Store: f, Log: slog.New(slog.DiscardHandler)}
	body := sha256.Sum256(nil)
	if _, _, err := s.once(t.Context(), "k", body, func() (created, error) { return created{}, errors.New("no") }); err == nil {
		t.Fatal("a failure is not told")
	}
	func() {
		defer func() { _ = recover() }()
		_, _, _ = s.once(t.Context(), "k", body, func() (created, error) { panic("in the middle") })
	}()
	begun, proceed := make(chan struct{}), make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		if _, again, err := s.once(t.Context(), "k", body, func() (created, error) {
			close(begun)
			<-proceed
			return created{password: "first"}, nil
		}); again || err != nil {
			t.Errorf("after a failure: repeat %v, %v", again, err)
		}
	})
	<-begun
	never := func() (created, error) {
		t.Error("done twice")
		return created{}, nil
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*onceLook)
	if _, _, err := s.once(ctx, "k", body, never); !fault.Is(err, fault.Unavailable) {
		t.Errorf("a repeat whose sender left: %v", err)
	}
	cancel()
	all.Go(func() {
		if got, again, err := s.once(t.Context(), "k", body, never); !again || err != nil || got.password != "first" {
			t.Errorf("a repeat that waited: %v %v %v", got, again, err)
		}
	})
	close(proceed)
	all.Wait()
	// A cloud that ended in the middle: whether it was done is not known.
	o, err := newOnceSeal("lost")
	if err != nil {
		t.Fatal(err)
	}
	f.onces[string(o.name)] = hotspot.Once{Body: o.body(body), Waits: onceWork + time.Second}
	if _, _, err := s.once(t.Context(), "lost", body, never); !fault.Is(err, fault.Conflict) {
		t.Errorf("after a cloud that died: %v, want a conflict", err)
	}
}

// TestWhatIsKeptOfAnAnswerIsWhole: no field of it is lost on the way.
func TestWhatIsKeptOfAnAnswerIsWhole(t *testing.T) {
	for _, g := range newFake(t).guests {
		b, err := json.Marshal(g)
		if err != nil {
			t.Fatal(err)
		}
		var back hotspot.Guest
		if err := json.Unmarshal(b, &back); err != nil || !reflect.DeepEqual(back, g) {
			t.Errorf("%v\n%+v\nwant\n%+v", err, back, g)
		}
	}
}

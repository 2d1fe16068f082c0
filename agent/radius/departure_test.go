package radius

import (
	"sync"
	"testing"
	"time"

	"iwas/internal/hotspot"
)

// departures is a hotspot.Departures that a test can hold up.
type departures struct {
	mu   sync.Mutex
	left []time.Time
	gate chan struct{} // when set, Left waits for it
}

func (d *departures) Left(at time.Time) {
	d.mu.Lock()
	gate := d.gate
	d.mu.Unlock()
	if gate != nil {
		<-gate
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.left = append(d.left, at)
}

func (d *departures) times() []time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]time.Time(nil), d.left...)
}

func TestEveryDepartureOfAnAcceptIsNoted(t *testing.T) {
	d := &departures{}
	v := grant()
	v.Departures = d
	s := newServer(t, &judge{verdict: v}, nil)
	c := dial(t, s.AuthAddr())
	request := access(7, "bob", "hello")
	for want := 1; want <= 3; want++ { // the second and the third are repeats
		before := time.Now()
		c.exchange(t, request)
		s.Forget(nil, nil, 0) // a commit that puts nobody off waits all the same
		if got := d.times(); len(got) != want || got[want-1].Before(before) || got[want-1].After(time.Now()) {
			t.Errorf("after %d answers: noted %v, want one for each, when it left", want, got)
		}
	}
	c.exchange(t, access(8, "bob", "wrong"))
	if got := len(d.times()); got != 3 {
		t.Errorf("noted %d, want 3: a Reject lets nobody in", got)
	}
}

// TestALockWaitsForTheAcceptsThatAreLeaving: what passed the fence before it
// stood is noted before the lock can be committed, first answers and repeats alike.
func TestALockWaitsForTheAcceptsThatAreLeaving(t *testing.T) {
	for name, repeats := range map[string]int{"a first answer": 0, "a repeat": 1} {
		t.Run(name, func(t *testing.T) {
			d := &departures{}
			v := grant()
			v.Departures = d
			s := newServer(t, &judge{verdict: v}, nil)
			c := dial(t, s.AuthAddr())
			request := access(7, "bob", "hello")
			for range repeats {
				c.exchange(t, request)
			}
			s.Forget(nil, nil, 0)
			gate := make(chan struct{})
			d.mu.Lock()
			d.gate = gate
			d.mu.Unlock()
			c.exchange(t, request) // it has left, and is not noted yet
			forgotten := make(chan struct{})
			go func() {
				defer close(forgotten)
				s.Forget([]hotspot.AccountID{"a1"}, nil, 1000)
			}()
			select {
			case <-forgotten:
				t.Error("the fence did not wait for the Accept that was leaving")
			case <-time.After(100 * time.Millisecond):
			}
			close(gate)
			<-forgotten
			if got := len(d.times()); got != repeats+1 {
				t.Errorf("noted %d departures when the fence stood, want %d", got, repeats+1)
			}
			c.send(t, request)
			until(t, "silence for the repeat of a voided one", func() bool { return s.count("dropped", string(dropForgotten)) == 1 })
		})
	}
}

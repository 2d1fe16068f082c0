package lanes

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestOrderWithinALaneTurnsBetweenLanes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []string
		l := &Lanes[string, int]{Workers: 1, Depth: 10, Do: func(_ context.Context, key string, item int) {
			got = append(got, fmt.Sprint(key, item))
		}}
		for i := range 4 {
			l.Push("busy", i)
		}
		l.Push("calm", 0)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- l.Serve(ctx) }()
		synctest.Wait()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want the context's end", err)
		}
		if want := []string{"busy0", "calm0", "busy1", "busy2", "busy3"}; !reflect.DeepEqual(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		if len(l.lanes) != 0 {
			t.Errorf("got %d lanes kept, want none without work", len(l.lanes))
		}
	})
}

func TestFullLaneRefusesAndOthersDoNot(t *testing.T) {
	l := &Lanes[string, int]{Workers: 1, Depth: 2, Do: func(context.Context, string, int) {}}
	for i, want := range []bool{true, true, false, false} {
		if got := l.Push("a", i); got != want {
			t.Errorf("push %d: got %v, want %v", i, got, want)
		}
	}
	if !l.Push("b", 0) {
		t.Error("a full lane stands in another's way")
	}
}

func TestOneAtATimePerKeyManyAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		in := map[int]int{}
		var most, total atomic.Int64
		l := &Lanes[int, int]{Workers: 4, Depth: 100, Do: func(_ context.Context, key, item int) {
			mu.Lock()
			in[key]++
			if in[key] > 1 {
				t.Errorf("two items of key %d at once", key)
			}
			n := 0
			for _, v := range in {
				n += v
			}
			most.Store(max(most.Load(), int64(n)))
			mu.Unlock()
			time.Sleep(time.Millisecond)
			mu.Lock()
			in[key]--
			mu.Unlock()
			total.Add(1)
		}}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- l.Serve(ctx) }()
		for i := range 200 {
			l.Push(i%8, i)
		}
		time.Sleep(time.Second)
		cancel()
		<-done
		if total.Load() != 200 || most.Load() != 4 {
			t.Errorf("got %d items, at most %d at once, want 200 and 4", total.Load(), most.Load())
		}
	})
}

package uplink

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/mqttlink"
	"iwas/internal/wire"
)

// wantAll fails unless the cloud holds events 1 to n in order, each stored so often.
func wantAll(t *testing.T, c *cloud, n, times int) {
	t.Helper()
	eventually(t, fmt.Sprint(n, " events in the cloud"), func() bool { return c.storedCount() >= n })
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.stored) != n {
		t.Fatalf("got %d events, want %d", len(c.stored), n)
	}
	for i, e := range c.stored {
		if want := fmt.Sprint("event", i+1); e.ID != want {
			t.Fatalf("got %s at place %d, want %s", e.ID, i+1, want)
		}
		if c.all[e.ID] != times {
			t.Fatalf("got %s stored %d times, want %d", e.ID, c.all[e.ID], times)
		}
	}
}

func TestConnectSaysPresenceThenHello(t *testing.T) {
	s := startSite(t, nil)
	h := s.cloud.awaitHello(0, "the boot id", func(h wire.Hello) bool { return h.Boot == "boot1" })
	if h.V != wire.Version || h.Version != "1.0-test" || h.Epoch != "epoch0" || !h.ClockTrusted || h.At.IsZero() {
		t.Errorf("got %+v, want version, epoch, a trusted clock and its time", h)
	}
	eventually(t, "presence", func() bool { return see(s.cloud, func() bool { return len(s.cloud.presence) > 0 }) })
	p := see(s.cloud, func() wire.Presence { return s.cloud.presence[0] })
	if p.State != hotspot.Online || p.Boot != "boot1" || p.Conn < 1 {
		t.Errorf("got %+v, want online with boot and connection", p)
	}
}

func TestOneBatchIsInFlight(t *testing.T) {
	s := startSite(t, func(s *site) {
		s.store.add(1200)
		s.cloud.delay = 100 * time.Millisecond
	})
	wantAll(t, s.cloud, 1200, 1)
	c := s.cloud
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.batches) != 3 {
		t.Fatalf("got %d batches, want 3 of at most 500", len(c.batches))
	}
	for i, want := range []int64{1, 501, 1001} {
		if c.batches[i].First != want {
			t.Errorf("batch %d: got first %d, want %d", i, c.batches[i].First, want)
		}
		if i > 0 && c.arrived[i].Sub(c.arrived[i-1]) < c.delay {
			t.Errorf("batch %d came %v after the one before, want it to wait for the answer after %v", i, c.arrived[i].Sub(c.arrived[i-1]), c.delay)
		}
	}
}

func TestNextBatchFollowsTheAnswerAtOnce(t *testing.T) {
	s := startSite(t, func(s *site) { s.store.add(20 * wire.MaxEvents) })
	wantAll(t, s.cloud, 20*wire.MaxEvents, 1)
	if took := see(s.cloud, func() time.Duration { return s.cloud.arrived[19].Sub(s.cloud.arrived[0]) }); took > 2*time.Second {
		t.Errorf("20 batches took %v, want no waiting for timers", took)
	}
	eventually(t, "the mark", func() bool {
		st := s.Status()
		return st.AckedSeq == 20*wire.MaxEvents && st.InFlight == 0 && st.Backlog == 0
	})
}

// TestWhatIsReadyIsNotSentWhereItDoesNotFit: behind a long batch the next is made
// ready, and the answer may ask for another.
// While the disk takes an answer in, the cloud is at work on the next batch, and on
// no more than that.
func TestTheNextBatchLeavesBeforeTheDiskHasTheAnswer(t *testing.T) {
	busy := make(chan struct{})
	s := startSite(t, func(s *site) {
		s.store.add(1700)
		s.store.busy = busy
	})
	eventually(t, "the second batch", func() bool {
		return see(s.cloud, func() bool { return len(s.cloud.batches) > 1 && s.cloud.batches[1].First == 501 })
	})
	if last := see(s.cloud, func() int64 { return s.cloud.batches[len(s.cloud.batches)-1].First }); last > 501 {
		t.Errorf("a batch from %d left though no answer was taken in", last)
	}
	close(busy)
	wantAll(t, s.cloud, 1700, 1)
}

func TestWhatIsReadyIsNotSentWhereItDoesNotFit(t *testing.T) {
	const events = 3 * wire.MaxEvents
	s := startSite(t, func(s *site) {
		s.store.add(events)
		s.cloud.most = wire.MaxEvents - 100
	})
	wantAll(t, s.cloud, events, 1)
	if got := see(s.cloud, func() int { return s.cloud.gaps }); got != 0 {
		t.Errorf("%d batches began behind what the cloud had asked for", got)
	}
}

// TestABatchThatCannotBeEncodedIsNotSent: one made ready ahead neither, and people
// are told why nothing leaves.
func TestABatchThatCannotBeEncodedIsNotSent(t *testing.T) {
	s := startSite(t, func(s *site) {
		s.store.add(wire.MaxEvents + 100)
		s.store.events[wire.MaxEvents+50].Body = []byte("{") // what a damaged file may hold
	})
	wantAll(t, s.cloud, wire.MaxEvents, 1)
	eventually(t, "the trouble", func() bool { return s.Status().Problem != "" })
	if got := see(s.cloud, func() int { return len(s.cloud.batches) }); got != 1 {
		t.Errorf("%d batches came, want the first alone", got)
	}
}

func TestUnansweredBatchIsSentAgainWithGrowingPauses(t *testing.T) {
	s := startSite(t, func(s *site) {
		s.store.add(10)
		s.cloud.deaf = 2
	})
	wantAll(t, s.cloud, 10, 1)
	c := s.cloud
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.batches) != 3 {
		t.Fatalf("got %d batches, want 3", len(c.batches))
	}
	for i, want := range []time.Duration{resendFirst, 2 * resendFirst} {
		if got := c.arrived[i+1].Sub(c.arrived[i]); got < want*9/10 || got > want*3 {
			t.Errorf("repeat %d came after %v, want about %v", i+1, got, want)
		}
	}
}

func TestLostAnswersDoubleNothing(t *testing.T) {
	s := startSite(t, func(s *site) {
		s.store.add(700)
		s.cloud.silent = true
	})
	eventually(t, "a repeat", func() bool { return see(s.cloud, func() bool { return len(s.cloud.batches) > 1 }) })
	see(s.cloud, func() bool { s.cloud.silent = false; return true })
	wantAll(t, s.cloud, 700, 1)
}

func TestRepeatedAnswersStartNoCascade(t *testing.T) {
	s := startSite(t, func(s *site) {
		s.store.add(10 * wire.MaxEvents)
		s.cloud.repeat = 3
	})
	wantAll(t, s.cloud, 10*wire.MaxEvents, 1)
	time.Sleep(100 * time.Millisecond) // time for a batch too many
	// A slow machine may send one again; a cascade sends each again for each answer.
	if got := see(s.cloud, func() int { return len(s.cloud.batches) }); got > 15 {
		t.Errorf("got %d batches, want about 10: repeated answers must not make repeated batches", got)
	}
}

func TestRewindsWhenTheCloudLostEvents(t *testing.T) {
	s := startSite(t, func(s *site) { s.store.add(600) })
	wantAll(t, s.cloud, 600, 1)
	see(s.cloud, func() bool { s.cloud.stored = s.cloud.stored[:100]; return true }) // restored from a backup
	s.store.add(1)
	wantRewound := func(id string) int { return see(s.cloud, func() int { return s.cloud.all[id] }) }
	eventually(t, "all events again", func() bool { return s.cloud.storedCount() == 601 })
	if wantRewound("event100") != 1 || wantRewound("event101") != 2 || wantRewound("event601") != 1 {
		t.Errorf("got event100 %d, event101 %d, event601 %d times, want 1, 2, 1", wantRewound("event100"), wantRewound("event101"), wantRewound("event601"))
	}
}

func TestRewindsOnTheAnswerToAHello(t *testing.T) {
	s := startSite(t, func(s *site) { s.store.add(600) })
	wantAll(t, s.cloud, 600, 1)
	see(s.cloud, func() bool { s.cloud.stored = s.cloud.stored[:100]; return true })
	s.cloud.send(wire.DownAck, wire.Ack{V: wire.Version, Epoch: "epoch0", Through: 100, Time: time.Now()})
	eventually(t, "all events again", func() bool { return s.cloud.storedCount() == 600 })
}

func TestAnswersThatNeverMoveOnDoNotSpin(t *testing.T) {
	s := startSite(t, nil)
	see(s.cloud, func() bool { s.cloud.deaf = 1 << 30; return true }) // answers below are made by hand
	s.store.add(5)
	stop := time.After(1500 * time.Millisecond)
	for n := 0; ; {
		if got := see(s.cloud, func() int { return len(s.cloud.batches) }); got > n {
			n = got
			s.cloud.send(wire.DownAck, wire.Ack{V: wire.Version, Epoch: "epoch0", First: 1, Through: 0, Time: time.Now()})
		}
		select {
		case <-stop:
			if n < 2 || n > 6 {
				t.Errorf("got %d batches in 1.5 s, want one at once, one more at once, then pauses", n)
			}
			return
		case <-time.After(time.Millisecond):
		}
	}
}

func TestForkBeginsANewEpoch(t *testing.T) {
	s := startSite(t, func(s *site) {
		s.store.add(10)
		s.cloud.forkAt = 4
	})
	eventually(t, "the rest under a new epoch", func() bool {
		return see(s.cloud, func() bool { return s.cloud.epoch == "epoch1" && len(s.cloud.stored) == 6 })
	})
	if got := see(s.cloud, func() string { return s.cloud.stored[0].ID }); got != "event5" {
		t.Errorf("got %s first, want event5: renumbered from 1, with its id from birth", got)
	}
	if s.store.forks != 1 {
		t.Errorf("got %d forks, want 1", s.store.forks)
	}
	s.cloud.awaitHello(0, "the new epoch", func(h wire.Hello) bool { return h.Epoch == "epoch1" })
}

func TestHelloAnswersEveryAppliedRevision(t *testing.T) {
	s := startSite(t, nil)
	s.cloud.awaitHello(0, "revision 0", func(h wire.Hello) bool { return h.Revision == 0 })
	for rev := int64(1); rev <= 3; rev++ {
		s.cloud.send(wire.DownState, wire.State{V: wire.Version, Lineage: "lineage", From: rev - 1, To: rev, Time: time.Now()})
		s.cloud.awaitHello(0, fmt.Sprint("revision ", rev), func(h wire.Hello) bool { return h.Revision == rev })
	}
	if got := s.Status().Revision; got != 3 {
		t.Errorf("status: got revision %d, want 3", got)
	}
}

// TestARepeatIsAnsweredAndNotTold: the log says once what was applied.
func TestARepeatIsAnsweredAndNotTold(t *testing.T) {
	var log bytes.Buffer
	s := startSite(t, func(s *site) { s.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	s.cloud.awaitHello(0, "revision 0", func(h wire.Hello) bool { return true })
	s.store.repeats = true
	for range 3 {
		before := s.cloud.helloCount()
		s.cloud.send(wire.DownState, wire.State{V: wire.Version, Lineage: "lineage", From: 0, To: 1, Time: time.Now()})
		s.cloud.awaitHello(before, "revision 1", func(h wire.Hello) bool { return h.Revision == 1 })
	}
	s.stop()
	if n := strings.Count(log.String(), "wanted state applied"); n != 1 {
		t.Errorf("told %d times, want once:\n%s", n, log.String())
	}
}

func TestHelloAsksForWhatIsMissing(t *testing.T) {
	s := startSite(t, nil)
	s.cloud.awaitHello(0, "revision 0", func(h wire.Hello) bool { return true })
	before := s.cloud.helloCount()
	for i := range int64(20) {
		s.cloud.send(wire.DownState, wire.State{V: wire.Version, Lineage: "lineage", From: 7 + i, To: 8 + i, Time: time.Now()})
	}
	s.cloud.awaitHello(before, "revision 0", func(h wire.Hello) bool { return h.Revision == 0 })
	time.Sleep(200 * time.Millisecond) // time for a hello too many
	if got := s.cloud.helloCount() - before; got != 1 {
		t.Errorf("got %d hellos for 20 deltas that do not fit, want 1", got)
	}
}

func TestSnapshotIsAnsweredWhenItIsWhole(t *testing.T) {
	s := startSite(t, nil)
	s.cloud.awaitHello(0, "revision 0", func(h wire.Hello) bool { return true })
	before := s.cloud.helloCount()
	for part := 1; part <= 5; part++ {
		s.cloud.send(wire.DownState, wire.State{V: wire.Version, Lineage: "lineage", Snapshot: "snap", Part: part, Parts: 5, To: 9, Time: time.Now()})
	}
	s.cloud.awaitHello(before, "revision 9", func(h wire.Hello) bool { return h.Revision == 9 })
	if got := s.cloud.helloCount() - before; got != 1 {
		t.Errorf("got %d hellos for a snapshot of 5 parts, want 1", got)
	}
}

// TestPiecesAreAnsweredWhereTheyAsk: the end of a window, one that is missing, the
// whole, and once more when that is in force.
func TestPiecesAreAnsweredWhereTheyAsk(t *testing.T) {
	s := startSite(t, nil)
	s.cloud.awaitHello(0, "no piece", func(h wire.Hello) bool { return h.Staged != nil && h.Staged.Through == "" })
	piece := func(after, through string, change func(*wire.State)) {
		p := wire.State{V: wire.Version, Lineage: "lineage", Snapshot: "snap", After: after, Through: through, To: 9, Time: time.Now()}
		if change != nil {
			change(&p)
		}
		s.cloud.send(wire.DownState, p)
	}
	before := s.cloud.helloCount()
	piece("", "a", nil)
	piece("a", "b", nil)
	piece("b", "c", func(p *wire.State) { p.Ask = true })
	s.cloud.awaitHello(before, "the window", func(h wire.Hello) bool { return h.Staged.Through == "c" })
	if n := s.cloud.helloCount() - before; n != 1 {
		t.Errorf("%d hellos for a window, want 1", n)
	}
	before = s.cloud.helloCount()
	piece("d", "e", nil) // d was lost
	s.cloud.awaitHello(before, "where it stands", func(h wire.Hello) bool { return h.Staged.Through == "c" })
	piece("c", "e", func(p *wire.State) { p.Ask, p.Whole = true, true })
	s.cloud.awaitHello(before, "revision 9", func(h wire.Hello) bool { return h.Revision == 9 && !h.Staged.Whole })
}

// TestALargeSnapshotWaitsForASlowDisk: the cloud sends 100,000 accounts at once.
func TestALargeSnapshotWaitsForASlowDisk(t *testing.T) {
	s := startSite(t, nil)
	s.cloud.awaitHello(0, "revision 0", func(h wire.Hello) bool { return true })
	s.store.mu.Lock()
	const parts = 360
	for part := 1; part <= parts; part++ {
		s.cloud.send(wire.DownState, wire.State{V: wire.Version, Lineage: "lineage", Snapshot: "snap", Part: part, Parts: parts, To: 9, Time: time.Now()})
	}
	s.cloud.send(wire.DownAck, wire.Ack{V: wire.Version + 1}) // refused, in its turn: all parts are there
	eventually(t, "what came behind the parts", func() bool { return s.Status().Refused == 1 })
	s.store.mu.Unlock()
	s.cloud.awaitHello(0, "revision 9", func(h wire.Hello) bool { return h.Revision == 9 })
	if n := s.Status().Dropped; n != 0 {
		t.Errorf("%d parts dropped", n)
	}
}

func TestProofOvertakesTheBacklog(t *testing.T) {
	s := startSite(t, func(s *site) {
		s.store.add(50_000)
		s.cloud.silent = true
	})
	eventually(t, "a batch in flight", func() bool { return s.Status().InFlight > 0 })
	s.cloud.awaitHello(0, "the first", func(wire.Hello) bool { return true })
	before := s.cloud.helloCount()
	proof := wire.LockProof{Account: "guest", Revision: 7, Outcome: hotspot.OutcomeEnforced, At: time.Now().UTC()}
	asked := time.Now()
	s.store.prove(proof)
	s.cloud.awaitHello(before, "the proof", func(h wire.Hello) bool { return len(h.Proofs) == 1 && h.Proofs[0].Account == "guest" })
	if took := time.Since(asked); took > 5*time.Second {
		t.Errorf("the proof took %v, and the backlog never ends", took)
	}
	s.store.add(1)                     // an event is no reason to send the same proof again
	time.Sleep(100 * time.Millisecond) // time for a hello too many
	if got := s.cloud.helloCount() - before; got != 1 {
		t.Errorf("got %d hellos, want 1 per new proof", got)
	}
}

func TestAHelloTellsOfTheRouters(t *testing.T) {
	up := true
	want := []wire.RouterHealth{{NAS: "a", WANUp: &up}, {NAS: "b"}}
	s := startSite(t, func(s *site) { s.Routers = func() []wire.RouterHealth { return want } })
	s.cloud.awaitHello(0, "the routers", func(h wire.Hello) bool { return reflect.DeepEqual(h.Routers, want) })
}

// TestAChangeOfConditionsIsToldAtOnce: within seconds, not with the hello of the
// next minute; the same conditions in another order are no news, and one that
// comes and goes all the time makes no flood.
func TestAChangeOfConditionsIsToldAtOnce(t *testing.T) {
	var open atomic.Pointer[[]wire.Condition]
	set := func(c ...wire.Condition) { open.Store(&c) }
	full := wire.Condition{Code: "SYS-101", Severity: "high", Text: "The disk is full.", Since: time.Now().UTC()}
	router := wire.Condition{Code: "ROU-101", Severity: "medium", Text: "The router does not answer.", Since: time.Now().UTC()}
	set()
	s := startSite(t, func(s *site) { s.Conditions = func() []wire.Condition { return *open.Load() } })
	s.cloud.awaitHello(0, "no conditions", func(h wire.Hello) bool { return len(h.Conditions) == 0 })

	for n, now := range [][]wire.Condition{{full}, {full, router}, {router}, {}} {
		before, changed := s.cloud.helloCount(), time.Now()
		set(now...)
		s.cloud.awaitHello(before, fmt.Sprint("conditions ", n), func(h wire.Hello) bool { return slices.Equal(h.Conditions, now) })
		if took := time.Since(changed); took > 5*time.Second {
			t.Errorf("conditions %d took %v to arrive, want 5 s at most", n, took)
		}
	}
	worse := full
	worse.Text = "The disk is full and nothing is written."
	set(worse, router)
	s.cloud.awaitHello(0, "the other words", func(h wire.Hello) bool { return len(h.Conditions) == 2 && h.Conditions[0].Text == worse.Text })

	before := s.cloud.helloCount()
	again := worse
	again.Since = again.Since.Add(time.Second)
	set(router, again)
	time.Sleep(2*conditionsEvery + conditionsEvery/2) // time for two hellos too many
	if got := s.cloud.helloCount() - before; got != 0 {
		t.Errorf("got %d hellos while nothing changed, want none", got)
	}

	before = s.cloud.helloCount()
	for end, n := time.Now().Add(2*conditionsEvery+conditionsEvery/2), 0; time.Now().Before(end); n++ {
		flap := full
		flap.Text = fmt.Sprint("The disk is full, ", n)
		set(flap)
		time.Sleep(10 * time.Millisecond)
	}
	if got := s.cloud.helloCount() - before; got < 2 || got > 3 {
		t.Errorf("got %d hellos for conditions that changed a hundred times a second, want 2 or 3 in %v", got, 2*conditionsEvery+conditionsEvery/2)
	}
}

func TestPlannedStopIsNotALoss(t *testing.T) {
	s := startSite(t, func(s *site) { s.StopReason = func() string { return "update to 1.1" } })
	s.stop()
	eventually(t, "stopped", func() bool {
		return see(s.cloud, func() bool {
			p := s.cloud.presence
			return len(p) > 0 && p[len(p)-1].State == hotspot.Stopped && p[len(p)-1].Reason == "update to 1.1"
		})
	})
	time.Sleep(100 * time.Millisecond) // time for a will that must not come
	if last := see(s.cloud, func() wire.Presence { return s.cloud.presence[len(s.cloud.presence)-1] }); last.State != hotspot.Stopped {
		t.Errorf("got %s after the stop, want no last will", last.State)
	}
}

func TestLossIsTheWillOfThatConnection(t *testing.T) {
	s := startSite(t, nil)
	eventually(t, "online", func() bool { return see(s.cloud, func() bool { return len(s.cloud.presence) > 0 }) })
	first := see(s.cloud, func() wire.Presence { return s.cloud.presence[0] })
	// Another connection under the same name: mosquitto throws ours out, as a
	// dead line would.
	thief, err := mqttlink.New(mqttlink.Options{URL: s.mqtt.URL, ClientID: "thief", TLS: s.mqtt.Agents.ClientTLS(t, string(testAgent), s.mqtt.Cloud)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	thief.Serve(ctx)
	var lost, back wire.Presence
	eventually(t, "lost, then online again", func() bool {
		return see(s.cloud, func() bool {
			for _, p := range s.cloud.presence {
				switch {
				case p.State == hotspot.Lost && p.Conn == first.Conn:
					lost = p
				case p.State == hotspot.Online && p.Conn > first.Conn:
					back = p
				}
			}
			return lost.Boot != "" && back.Boot != ""
		})
	})
	if lost.Boot != first.Boot || back.Boot != first.Boot {
		t.Errorf("got boots %s and %s, want %s", lost.Boot, back.Boot, first.Boot)
	}
}

func TestBrokerRestartLosesNothing(t *testing.T) {
	s := startSite(t, func(s *site) { s.store.add(100) })
	wantAll(t, s.cloud, 100, 1)
	s.mqtt.Stop()
	eventually(t, "the loss", func() bool { return !s.Status().Connected })
	s.store.add(100)
	eventually(t, "a reason on the status page", func() bool { st := s.Status(); return st.Problem != "" && st.Code == "CLD-101" && st.Backlog == 100 })
	s.mqtt.Start(t)
	wantAll(t, s.cloud, 200, 1)
	eventually(t, "no problem, nothing left, and the times of contact", func() bool {
		st := s.Status()
		return st.Problem == "" && st.AckedSeq == 200 && st.InFlight == 0 && !st.LastAck.IsZero() && !st.LastContact.IsZero()
	})
}

func TestRefusedCertificateIsNamed(t *testing.T) {
	s := startSite(t, nil)
	s.stop()
	u := &Uplink{Agent: testAgent, Boot: "boot2", Store: newMemory(), Link: mqttlink.Options{URL: s.mqtt.URL, TLS: strangerTLS(t, s.mqtt)}}
	run(t, u)
	eventually(t, "the reason", func() bool { return u.Status().Problem != "" })
	if st := u.Status(); st.Connected || st.Code != "CLD-103" {
		t.Errorf("got %+v, want CLD-103", st)
	}
}

// inbox is an Inbox in memory.
type inbox struct {
	mu      sync.Mutex
	fails   int // so often before anything is kept
	carried []string
	answers map[string]*wire.CommandResult
}

func (b *inbox) ReceiveCommand(_ context.Context, c wire.Command) (*wire.CommandResult, bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fails > 0 {
		b.fails--
		return nil, false, errors.New("disk full")
	}
	answer, known := b.answers[c.ID]
	b.answers[c.ID] = answer
	return answer, !known, nil
}

func (b *inbox) carry(_ context.Context, c wire.Command) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.carried = append(b.carried, c.ID)
}

func (b *inbox) seen() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.carried)
}

// A command is kept first and begun once; what could not be kept is not begun, and
// is said. A repeat of one that was answered is answered again, with a hello at once.
func TestCommandsAreKeptBegunOnceAndAnsweredAgain(t *testing.T) {
	in := &inbox{fails: 1, answers: map[string]*wire.CommandResult{"old": {ID: "old", State: wire.CommandDone, Detail: "1 session ended"}}}
	s := startSite(t, func(s *site) { s.Inbox, s.Carry = in, in.carry })
	send := func(id string) {
		s.cloud.send(wire.DownCommands, wire.Command{V: wire.Version, ID: id, Kind: wire.CommandKick, TTL: 60_000, Time: time.Now()})
	}
	send("c1")
	eventually(t, "the trouble on the status page", func() bool { return s.Status().Problem != "" })
	if got := in.seen(); len(got) != 0 {
		t.Errorf("carried out without being kept: %v", got)
	}
	for range 5 {
		send("c1")
	}
	send("c2")
	eventually(t, "both begun", func() bool { return len(in.seen()) == 2 })
	eventually(t, "the trouble to be over", func() bool { return s.Status().Problem == "" })
	send("old")
	told := func() bool {
		return slices.ContainsFunc(s.cloud.said(), func(h wire.Hello) bool {
			return slices.ContainsFunc(h.Commands, func(r wire.CommandResult) bool { return r.ID == "old" && r.Detail == "1 session ended" })
		})
	}
	eventually(t, "the old answer in a hello", told)
	if got := in.seen(); !slices.Equal(got, []string{"c1", "c2"}) {
		t.Errorf("carried out %v, want c1 and c2 once each", got)
	}
}

// What became of a command is told at once, not with the next hello of the minute,
// and not again while nothing is new.
func TestAnAnswerIsToldAtOnce(t *testing.T) {
	s := startSite(t, nil)
	eventually(t, "a first hello", func() bool { return len(s.cloud.said()) > 0 })
	tell := func(state string) {
		s.store.mu.Lock()
		s.store.commands = []wire.CommandResult{{ID: "c1", State: state}}
		s.store.mu.Unlock()
		poke(s.store.ticks)
		eventually(t, state+" in a hello", func() bool {
			all := s.cloud.said()
			last := all[len(all)-1].Commands
			return len(last) == 1 && last[0].State == state
		})
	}
	tell(wire.CommandRunning)
	tell(wire.CommandDone)
	n := len(s.cloud.said())
	s.store.add(1)
	wantAll(t, s.cloud, 1, 1)
	if again := len(s.cloud.said()); again != n {
		t.Errorf("%d hellos because of an event, want none", again-n)
	}
}

func TestUnreadableMessagesAreCountedAndHarmless(t *testing.T) {
	s := startSite(t, nil)
	bomb, err := wire.Encode(map[string]string{"v": strings.Repeat(" ", wire.MaxInflated)}) // small, and too much inside
	if err != nil || len(bomb) > 10_000 {
		t.Fatalf("no bomb: %d octets, %v", len(bomb), err)
	}
	whole, err := wire.Encode(wire.State{V: wire.Version, Lineage: strings.Repeat("l", 2000), To: 1})
	if err != nil {
		t.Fatal(err)
	}
	bad := []string{"", "not json", `{"v":99}`, "\x28\xb5\x2f\xfdrubbish", `{"v":"1"}`, `{}`, string(bomb), string(whole[:len(whole)/2]), strings.Repeat("x", wire.MaxMessage+1)}
	for _, bad := range bad {
		for _, channel := range []wire.Channel{wire.DownAck, wire.DownState, wire.DownCommands} {
			if err := s.cloud.link.Publish(wire.Topic(testAgent, channel), []byte(bad), false); err != nil {
				t.Fatal(err)
			}
		}
	}
	want := uint64(3 * len(bad))
	eventually(t, fmt.Sprint(want, " refusals"), func() bool { return s.Status().Refused == want })
	if h, err := s.store.Standing(t.Context()); err != nil || h.Revision != 0 || h.AckedSeq != 0 {
		t.Errorf("standing %+v, %v: a refused message had an effect", h, err)
	}
	s.store.add(3)
	wantAll(t, s.cloud, 3, 1)
}

// TestAMessageForAnotherBoxIsRefused: a broker that keeps no topics apart.
func TestAMessageForAnotherBoxIsRefused(t *testing.T) {
	ack, err := wire.Encode(wire.Ack{V: wire.Version, Epoch: "epoch0", Through: 5})
	if err != nil {
		t.Fatal(err)
	}
	tk := newTalk(&Uplink{Agent: testAgent})
	if err := tk.sort(t.Context(), mqttlink.Message{Topic: wire.Topic("agenttwo", wire.DownAck), Payload: ack}); !fault.Is(err, fault.Denied) || len(tk.acks) != 0 {
		t.Errorf("got %v and %d answers taken in, want it denied", err, len(tk.acks))
	}
	if err := tk.sort(t.Context(), mqttlink.Message{Topic: wire.Topic(testAgent, wire.DownAck), Payload: ack}); err != nil || len(tk.acks) != 1 {
		t.Errorf("our own: got %v and %d answers taken in, want one", err, len(tk.acks))
	}
}

func TestClockIsMeasuredByAnswers(t *testing.T) {
	s := startSite(t, func(s *site) {
		s.store.add(1)
		s.cloud.clockBy = time.Hour
	})
	wantAll(t, s.cloud, 1, 1)
	eventually(t, "a measurement", func() bool { _, _, known := s.ClockOffset(); return known })
	offset, uncertainty, _ := s.ClockOffset()
	if off := (offset - time.Hour).Abs(); off > uncertainty+time.Millisecond || uncertainty > time.Second {
		t.Errorf("got %v ± %v, want 1h", offset, uncertainty)
	}
}

func TestServeRefusesToRunWithoutAnIdentity(t *testing.T) {
	u := &Uplink{Boot: "b", Store: newMemory()}
	if err := u.Serve(context.Background()); err == nil {
		t.Error("got nil, want an error that says to enrol")
	}
}

func TestClockKeepsTheBetterMeasurement(t *testing.T) {
	at := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	type sample struct {
		after, ahead, roundTrip time.Duration
	}
	for _, test := range []struct {
		name    string
		samples []sample
		want    time.Duration
	}{
		{"the first counts", []sample{{0, time.Minute, 0}}, time.Minute},
		{"half the round trip is added", []sample{{0, time.Minute, 2 * time.Second}}, time.Minute + time.Second},
		{"a shorter round trip replaces", []sample{{0, 0, 4 * time.Second}, {time.Second, 0, 2 * time.Second}}, time.Second},
		{"a longer one does not", []sample{{0, 0, 2 * time.Second}, {time.Second, 0, 3 * time.Second}}, time.Second},
		{"except when the better has aged", []sample{{0, 0, 2 * time.Second}, {time.Hour, 0, 3 * time.Second}}, 1500 * time.Millisecond},
		{"except when a clock was set", []sample{{0, 0, 2 * time.Second}, {time.Second, time.Hour, 3 * time.Second}}, time.Hour + 1500*time.Millisecond},
	} {
		var c clock
		for _, s := range test.samples {
			now := at.Add(s.after)
			c.sample(now.Add(s.ahead), now, s.roundTrip)
		}
		if c.offset != test.want {
			t.Errorf("%s: got %v, want %v", test.name, c.offset, test.want)
		}
	}
}

// BenchmarkEventToCloud measures from the commit of an event to the
// acknowledgement, over TLS and mosquitto on the loopback.
func BenchmarkEventToCloud(b *testing.B) {
	s := startSite(b, nil)
	took := make([]time.Duration, 0, b.N)
	for b.Loop() {
		began := time.Now()
		s.store.add(1)
		for s.Status().AckedSeq < int64(len(took)+1) {
			time.Sleep(20 * time.Microsecond)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "µs-p50")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "µs-p99")
}

// BenchmarkProofToCloud measures from the commit of a proof to the cloud's
// reading of the hello that carries it, with a backlog in the way.
func BenchmarkProofToCloud(b *testing.B) {
	s := startSite(b, func(s *site) {
		s.store.add(100_000)
		s.cloud.silent = true
	})
	took := make([]time.Duration, 0, b.N)
	for b.Loop() {
		began := time.Now()
		s.store.replace(wire.LockProof{Account: "guest", Revision: int64(len(took) + 1), At: began})
		for see(s.cloud, func() bool {
			h := s.cloud.hellos
			return len(h) == 0 || len(h[len(h)-1].Proofs) == 0 || h[len(h)-1].Proofs[0].Revision != int64(len(took)+1)
		}) {
			time.Sleep(20 * time.Microsecond)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "µs-p50")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "µs-p99")
}

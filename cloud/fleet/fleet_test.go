package fleet

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

func (s *fakeStore) writes(n int) {
	for range n {
		s.write(wire.DocAccount)
	}
}

func TestLockLeavesAtOnce(t *testing.T) {
	run(t, func(r *rig) {
		r.store.writes(3)
		r.hello(3, nil)
		r.want("in step")
		before := r.notified
		at := time.Now()
		r.store.write(wire.DocLock)()
		r.want("lock", "delta 3-4")
		if sent := r.store.sentAt(4); !sent.Equal(at) || r.notified == before {
			t.Errorf("got sent at %v, %d notified, want %v and the site", sent, r.notified-before, at)
		}
		if got := r.states[0].Time; !got.Equal(at) {
			t.Errorf("got the cloud's time %v, want %v", got, at)
		}
		r.hello(4, nil)
		r.pass(10 * time.Minute)
		r.want("answered")
	})
}

func TestNothingIsSentToWhoIsNotThere(t *testing.T) {
	run(t, func(r *rig) {
		r.store.write(wire.DocLock)()
		r.want("never seen")
		r.hello(1, nil)
		r.say(agent, wire.UpPresence, wire.Presence{V: 1, State: hotspot.Stopped, Boot: "b1"})
		r.store.write(wire.DocLock)()
		r.pass(10 * time.Minute)
		r.want("stopped")
		if len(r.store.sent) != 0 {
			t.Errorf("got %v marked sent, want nothing", r.store.sent)
		}
		r.say(agent, wire.UpPresence, wire.Presence{V: 1, State: hotspot.Online, Boot: "b2", Conn: 1})
		r.want("back, and has not said where it stands")
		r.hello(1, func(h *wire.Hello) { h.Boot = "b2" })
		r.want("back", "delta 1-2")
		if r.store.sentAt(2).IsZero() {
			t.Error("the lock is not marked sent")
		}
	})
}

func TestWhereTheSiteStandsDecidesWhatItGets(t *testing.T) {
	whole := []string{"part 1/2 of 4", "part 2/2 of 4"}
	for _, tt := range []struct {
		name    string
		rev     int64
		change  func(*wire.Hello)
		want    []string
		strange bool // the operator reads of it
	}{
		{"in step", 4, nil, nil, false},
		{"behind", 1, nil, []string{"delta 1-4"}, false},
		{"holds nothing", 0, func(h *wire.Hello) { h.Lineage = "" }, whole, false},
		{"other lineage", 4, func(h *wire.Hello) { h.Lineage = "l0" }, whole, true},
		{"from the future", 9, nil, whole, true},
		{"other set", 4, func(h *wire.Hello) { h.Hash = "00" }, whole, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			run(t, func(r *rig) {
				var log bytes.Buffer
				r.o.Log = logTo(&log)
				r.store.writes(4)
				r.hello(tt.rev, tt.change)
				r.want("hello", tt.want...)
				r.pass(answerWithin + partTime + lookEvery)
				r.want("no answer", tt.want...)
				if got := strings.Contains(log.String(), "holds another set"); got != tt.strange {
					t.Errorf("got %q logged", log.String())
				}
			})
		})
	}
	t.Run("too far behind", func(t *testing.T) {
		run(t, func(r *rig) {
			r.store.writes(4)
			r.store.noDelta = true
			r.hello(1, nil)
			r.want("hello", whole...)
		})
	})
}

// While something is on its way, a hello that it does not lead on from is answered
// at once, by what does.
func TestWhereTheSiteStandsCountsMoreThanWhatIsOnItsWay(t *testing.T) {
	for _, tt := range []struct {
		name   string
		rev    int64
		change func(*wire.Hello)
		want   []string
	}{
		{"went back", 1, nil, []string{"delta 1-5"}},
		{"came further, and more was written", 4, nil, []string{"delta 4-5"}},
		{"another history", 1, func(h *wire.Hello) { h.Lineage = "l0" }, []string{"part 1/2 of 5", "part 2/2 of 5"}},
		{"at the newest, with another set", 5, func(h *wire.Hello) { h.Hash = "00" }, []string{"part 1/2 of 5", "part 2/2 of 5"}},
		{"a new run of the agent", 3, func(h *wire.Hello) { h.Boot = "b2" }, []string{"delta 3-5"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			run(t, func(r *rig) {
				r.store.writes(3)
				r.hello(3, nil)
				r.store.write(wire.DocLock)()
				r.want("on its way", "delta 3-4")
				r.store.write(wire.DocAccount) // at another process, which knows no such agent
				r.hello(tt.rev, tt.change)
				r.want("hello", tt.want...)
			})
		})
	}
}

func TestALargeChangeIsNotSentAsItIs(t *testing.T) {
	run(t, func(r *rig) {
		r.store.writes(3)
		r.hello(3, nil)
		r.store.noDelta = true // as the store says of so much
		r.store.write(wire.DocAccount)
		r.store.onCommit(site, agent, large(wire.State{V: wire.Version, Lineage: "l1", From: 3, To: 4}))
		r.want("in parts", "part 1/2 of 4", "part 2/2 of 4")
	})
}

func TestWhatGetsNoAnswerIsSentAgain(t *testing.T) {
	run(t, func(r *rig) {
		r.store.writes(2)
		r.hello(2, nil)
		r.store.write(wire.DocLock)()
		r.want("first", "delta 2-3")
		r.pass(1900 * time.Millisecond)
		r.want("not yet")
		r.pass(700 * time.Millisecond)
		r.want("after 2 s", "delta 2-3")
		r.hello(2, nil) // the minute's hello says nothing new
		r.want("asked meanwhile")
		r.pass(5 * time.Second)
		r.want("a delta that led nowhere twice", "part 1/2 of 3", "part 2/2 of 3")
		r.say(agent, wire.UpPresence, wire.Presence{V: 1, State: hotspot.Lost, Boot: "b1"})
		r.pass(time.Hour)
		r.want("lost")
	})
}

// The wait doubles with each repeat, and counts from it; a snapshot has a little
// longer for each part.
func TestEachRepeatWaitsLonger(t *testing.T) {
	run(t, func(r *rig) {
		whole := []string{"part 1/2 of 2", "part 2/2 of 2"}
		r.store.writes(2)
		r.hello(0, func(h *wire.Hello) { h.Lineage = "" })
		r.want("first", whole...)
		r.pass(answerWithin + partTime/2)
		r.want("not yet")
		r.pass(lookEvery)
		r.want("after 2.1 s", whole...)
		r.pass(2 * answerWithin)
		r.want("not yet again")
		r.pass(lookEvery)
		r.want("after 4.1 s more", whole...)
	})
}

// A site that says hello all the time and does not get on is asked no more often
// than one that is silent.
func TestAChattySiteIsNotSentMore(t *testing.T) {
	for _, tt := range []struct {
		name string
		at   int64
		say  func(*wire.Hello)
		each int // messages at a time
	}{
		{"parts", 0, func(h *wire.Hello) { h.Lineage = "" }, 2},
		{"pieces", 0, staging(0), 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			run(t, func(r *rig) {
				r.store.writes(4)
				for range 6000 {
					r.hello(tt.at, tt.say)
					r.pass(100 * time.Millisecond)
				}
				if n := len(r.said()) / tt.each; n < 5 || n > 16 {
					t.Errorf("sent %d times in ten minutes, want a dozen at most", n)
				}
			})
		})
	}
}

// Changes behind one that got lost neither put off its repeat nor hurry it.
func TestChangesDoNotMoveTheRepeat(t *testing.T) {
	run(t, func(r *rig) {
		r.store.writes(1)
		r.hello(1, nil)
		r.pass(lookEvery / 2) // not at the instant of a look
		r.store.write(wire.DocLock)()
		r.pass(time.Second)
		r.store.write(wire.DocAccount)()
		r.pass(900 * time.Millisecond)
		r.store.write(wire.DocAccount)()
		r.want("each as it comes", "delta 1-2", "delta 2-3", "delta 3-4")
		r.pass(lookEvery)
		r.want("2 s after the first", "delta 1-4")
		r.pass(10 * time.Minute)
		repeat := func() {
			for r.said(); len(r.said()) == 0; {
				r.pass(lookEvery)
			}
		}
		repeat()
		r.store.write(wire.DocLock)()
		r.want("a lock to a site that was silent for long", "delta 4-5")
		r.pass(30 * time.Second)
		r.want("a minute after the last repeat")
		repeat()
		r.store.write(wire.DocAccount)
		r.store.write(wire.DocLock)()
		r.want("two, and a delta led nowhere", "part 1/2 of 7", "part 2/2 of 7")
		r.pass(30 * time.Second)
		r.want("a minute after that")
	})
}

// A site that got on part of the way has its time for the rest from there, however
// long it took to get on, and whatever else it says.
func TestTheRestHasItsOwnTime(t *testing.T) {
	run(t, func(r *rig) {
		r.store.writes(1)
		r.hello(1, nil)
		r.pass(10*time.Minute + lookEvery/2)
		r.store.write(wire.DocAccount)()
		r.store.write(wire.DocAccount)()
		r.want("two", "delta 1-2", "delta 2-3")
		r.pass(1600 * time.Millisecond)
		r.hello(2, nil)
		r.pass(time.Second)
		r.hello(2, nil)
		r.pass(lookEvery)
		r.want("not yet")
		r.pass(800 * time.Millisecond)
		r.want("2 s after it got on", "delta 2-3")
		r.pass(10 * time.Minute)
		r.said()
		r.store.write(wire.DocAccount)()
		r.want("behind what got no answer for long", "delta 3-4")
		r.hello(3, nil)
		r.pass(answerWithin + lookEvery)
		r.want("got on after all", "delta 3-4")
	})
}

func TestChangesInAHurryAreNotSentTwice(t *testing.T) {
	run(t, func(r *rig) {
		r.store.writes(1)
		r.hello(1, nil)
		r.store.write(wire.DocAccount)()
		r.store.write(wire.DocAccount)()
		third := r.store.write(wire.DocAccount)
		r.want("two", "delta 1-2", "delta 2-3")
		r.hello(2, nil)
		r.want("the rest is on its way")
		third()
		r.want("third", "delta 3-4")
		r.hello(3, nil)
		r.hello(4, nil)
		r.pass(time.Minute)
		r.want("all answered")
		if len(r.store.sent) != 0 {
			t.Errorf("got %v noted of locks, want nothing: there is none", r.store.sent)
		}
	})
}

func TestChangeBehindASnapshotIsNotSentTwice(t *testing.T) {
	for _, from := range []position{{}, {"l0", 9}} {
		t.Run("from "+from.lineage, func(t *testing.T) {
			run(t, func(r *rig) {
				r.store.writes(2)
				r.hello(from.revision, func(h *wire.Hello) { h.Lineage = from.lineage })
				r.store.write(wire.DocAccount)()
				r.want("snapshot and change", "part 1/2 of 2", "part 2/2 of 2", "delta 2-3")
				r.hello(2, nil)
				r.hello(3, nil)
				r.pass(time.Minute)
				r.want("each answered")
			})
		})
	}
}

func TestCommitsHeardOfOutOfOrder(t *testing.T) {
	run(t, func(r *rig) {
		r.store.writes(1)
		r.hello(1, nil)
		second, third := r.store.write(wire.DocLock), r.store.write(wire.DocLock)
		third()
		second()
		r.want("both in one", "delta 1-3")
		if r.store.sentAt(3).IsZero() {
			t.Error("the locks are not marked sent")
		}
	})
}

func TestALockAmongOtherChangesIsNotedAsSent(t *testing.T) {
	run(t, func(r *rig) {
		r.store.write(wire.DocAccount)
		r.store.write(wire.DocLock)
		r.store.write(wire.DocAccount)
		r.hello(0, nil)
		r.want("all in one", "delta 0-3")
		if r.store.sentAt(3).IsZero() {
			t.Error("the lock is not marked sent")
		}
	})
}

func TestSetThatDeltasCannotReachHealsBySnapshot(t *testing.T) {
	run(t, func(r *rig) {
		r.store.writes(2)
		r.hello(2, nil)
		r.store.skew = true
		r.store.write(wire.DocAccount)()
		r.want("change", "delta 2-3")
		for range 10 { // the agent cannot apply it and says so each time
			r.hello(2, func(h *wire.Hello) { h.Hash = "old" })
			r.pass(time.Second)
		}
		got := r.said()
		if n := len(got); n < 3 || got[n-1] != "part 2/2 of 3" {
			t.Errorf("got %v, want it to end in a snapshot", got)
		}
	})
}

func TestBrokerAway(t *testing.T) {
	run(t, func(r *rig) {
		r.store.writes(2)
		r.hello(2, nil)
		r.lock(func() { r.deaf = true })
		r.store.write(wire.DocLock)()
		r.lock(func() { r.deaf = false })
		if len(r.store.sent) != 0 {
			t.Errorf("got %v marked sent while the broker was away", r.store.sent)
		}
		r.hello(2, nil)
		r.want("next hello", "delta 2-3")
	})
}

// A broker that is back gets what it did not take by itself: the site has no reason to
// say hello where only the cloud's own connection was away.
func TestWhatTheBrokerDidNotTakeGoesAgain(t *testing.T) {
	run(t, func(r *rig) {
		r.store.writes(2)
		r.hello(2, nil)
		r.lock(func() { r.deaf = true })
		r.store.write(wire.DocLock)()
		r.pass(time.Second)
		r.lock(func() { r.deaf = false })
		r.pass(2 * time.Second)
		r.want("back after a second", "delta 2-3")
		r.hello(3, nil)
		r.lock(func() { r.deaf = true })
		before := r.tried
		r.store.write(wire.DocLock)()
		r.pass(time.Hour)
		if n := r.tried - before; n < 50 || n > 80 {
			t.Errorf("tried %d times in an hour without a broker, want about once a minute", n)
		}
		r.lock(func() { r.deaf = false })
		r.pass(answerMost + lookEvery)
		if got := r.said(); len(got) == 0 || got[0] != "delta 3-4" {
			t.Errorf("back after an hour: got %v, want the change first", got)
		}
		r.hello(4, nil)
		r.pass(time.Hour)
		r.want("done")
	})
}

// What the broker did not take is not waited for, though something before it is on
// its way.
func TestBrokerAwayBehindAChange(t *testing.T) {
	run(t, func(r *rig) {
		r.store.writes(2)
		r.hello(2, nil)
		r.store.write(wire.DocAccount)()
		r.want("taken", "delta 2-3")
		r.lock(func() { r.deaf = true })
		r.store.write(wire.DocLock)()
		r.lock(func() { r.deaf = false })
		r.hello(2, nil)
		r.want("next hello", "delta 2-4")
	})
}

// The time of a delivery counts from the first sending, whatever was sent again or
// behind it, to the hello that holds it all.
func TestADeliveryBeginsAtTheFirstSending(t *testing.T) {
	run(t, func(r *rig) {
		var took []time.Duration
		r.o.Delivered = func(d time.Duration) { took = append(took, d) }
		r.store.writes(39)
		r.hello(39, nil)
		r.store.write(wire.DocLock)()
		r.pass(3 * time.Second) // sent again
		r.store.write(wire.DocAccount)()
		r.pass(time.Second)
		r.hello(40, nil)
		r.hello(41, nil)
		r.hello(41, nil)
		r.say(agent, wire.UpPresence, wire.Presence{V: 1, State: hotspot.Online, Boot: "b1", Conn: 2})
		for have := 0; have < 41; have += 16 {
			r.hello(0, staging(have))
			r.pass(time.Second)
		}
		r.hello(41, having(0))
		if want := []time.Duration{4 * time.Second, 3 * time.Second}; !slices.Equal(took, want) {
			t.Errorf("got %v, want %v", took, want)
		}
	})
}

func TestAnotherConnectionGetsWhatTheOldOneLost(t *testing.T) {
	run(t, func(r *rig) {
		r.store.writes(2)
		r.say(agent, wire.UpPresence, wire.Presence{V: 1, State: hotspot.Online, Boot: "b1", Conn: 1})
		r.hello(2, nil)
		r.store.write(wire.DocLock)()
		r.want("into the old connection", "delta 2-3")
		r.say(agent, wire.UpPresence, wire.Presence{V: 1, State: hotspot.Online, Boot: "b1", Conn: 2})
		r.hello(2, nil)
		r.want("into the new one", "delta 2-3")
		r.say(agent, wire.UpPresence, wire.Presence{V: 1, State: hotspot.Lost, Boot: "b1", Conn: 1})
		r.store.write(wire.DocLock)()
		r.want("the old one's will is ignored", "delta 3-4")
	})
}

// What was sent before a site was lost is sent again with its next word, whether its
// presence or its hello is heard first.
func TestALostSiteIsBackWithItsNextWord(t *testing.T) {
	run(t, func(r *rig) {
		presence := func(s hotspot.Presence) {
			r.say(agent, wire.UpPresence, wire.Presence{V: 1, State: s, Boot: "b1", Conn: 1})
		}
		r.store.writes(2)
		presence(hotspot.Online)
		r.store.write(wire.DocLock)()
		r.want("nobody knows yet where it stands")
		r.hello(2, nil)
		r.want("now it is known", "delta 2-3")
		presence(hotspot.Lost)
		r.hello(2, nil)
		r.want("a hello", "delta 2-3")
		r.hello(3, nil)
		presence(hotspot.Online)
		presence(hotspot.Lost)
		presence(hotspot.Online)
		r.store.write(wire.DocLock)()
		r.want("the same connection after all", "delta 3-4")
	})
}

func TestHelloCarriesProofsAndCursor(t *testing.T) {
	run(t, func(r *rig) {
		r.store.marks["e1"] = 7
		r.hello(0, func(h *wire.Hello) {
			h.AckedSeq, h.LastSeq = 5, 9
			h.Proofs = []wire.LockProof{{Account: "a1", Outcome: hotspot.OutcomeEnforced}}
		})
		r.want("older mark", "ack 7")
		if a := r.acks[0]; a.First != 0 || a.Epoch != "e1" || a.Fork || r.store.proofs != 1 {
			t.Errorf("got %+v and %d proofs, want an answer to a hello, and one", a, r.store.proofs)
		}
		r.hello(0, func(h *wire.Hello) { h.AckedSeq = 7 })
		r.want("same mark")
		r.hello(0, func(h *wire.Hello) { h.Epoch, h.AckedSeq = "e2", 3 })
		r.want("a log the store lost", "ack 0")
	})
}

func TestNobodyConfirmedItYet(t *testing.T) {
	run(t, func(r *rig) {
		fresh := hotspot.AgentID("agent0002")
		r.store.writes(2)
		r.store.set(hotspot.Agent{ID: fresh, Site: site})
		for range 10 {
			r.say(fresh, wire.UpPresence, wire.Presence{V: 1, State: hotspot.Online, Boot: "b9", Conn: 1})
			r.say(fresh, wire.UpHello, wire.Hello{V: 1, Boot: "b9", Proofs: []wire.LockProof{{}}})
		}
		r.want("not confirmed")
		if len(r.store.hellos)+len(r.store.presence)+r.store.proofs != 0 {
			t.Errorf("got %d hellos, %d presences, %d proofs counted, want none", len(r.store.hellos), len(r.store.presence), r.store.proofs)
		}
		if !r.Allowed(fresh) || !r.Allowed(agent) || r.Allowed("agent0009") {
			t.Error("an enrolled agent may connect and wait, others may not")
		}
		if err := r.ConfirmAgent(t.Context(), hotspot.Operator{}, fresh); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		r.want("confirmed: what it said before counts now", "part 1/2 of 2 to agent0002", "part 2/2 of 2 to agent0002")
		if len(r.kicked) != 1 || r.kicked[0] != agent || r.Allowed(agent) {
			t.Errorf("got kicked %v, want the old agent cut off and not let in again", r.kicked)
		}
		r.hello(0, nil)
		if len(r.kicked) != 2 {
			t.Errorf("got kicked %v, want a retired agent that is there all the same cut off again", r.kicked)
		}
		if err := r.RevokeAgent(t.Context(), hotspot.Operator{}, fresh); err != nil {
			t.Fatal(err)
		}
		r.store.write(wire.DocLock)()
		r.want("revoked")
		if len(r.kicked) != 3 || r.kicked[2] != fresh {
			t.Errorf("got kicked %v, want the revoked agent cut off", r.kicked)
		}
	})
}

func TestBadMessagesChangeNothing(t *testing.T) {
	run(t, func(r *rig) {
		r.store.writes(1)
		refused := map[string]int{}
		r.o.Refused = func(agent hotspot.AgentID, channel wire.Channel, _ int, why error) {
			r.lock(func() { refused[fmt.Sprint(agent, " ", channel, " ", why != nil)]++ })
		}
		for _, p := range [][]byte{nil, []byte("x"), []byte(`{"v":99}`), {0x28, 0xb5, 0x2f, 0xfd}, make([]byte, wire.MaxMessage+1)} {
			r.HandleHello(t.Context(), agent, p)
			r.HandlePresence(t.Context(), agent, p)
			r.HandleHello(t.Context(), "agent0009", p)
		}
		r.want("bad")
		if len(r.store.hellos)+len(r.store.presence) != 0 {
			t.Errorf("got %d hellos and %d presences, want none", len(r.store.hellos), len(r.store.presence))
		}
		want := map[string]int{"agent0001 up/hello true": 5, "agent0001 up/presence true": 4, "agent0009 up/hello true": 5} // an empty presence takes a retained one back
		r.lock(func() {
			if !maps.Equal(refused, want) {
				t.Errorf("got %v told of as refused, want %v", refused, want)
			}
		})
		r.hello(7, nil) // a revision of the future
		r.want("from the future", "part 1/2 of 1", "part 2/2 of 1")
		r.hello(0, nil)
		r.want("good again", "delta 0-1")
	})
}

func TestOnlyTheOnlyProcessSaysNobodyIsThere(t *testing.T) {
	run(t, func(r *rig) {
		if r.store.nobody != 1 {
			t.Errorf("got %d, want it said once", r.store.nobody)
		}
		o := r.o
		o.Alone = false
		if _, err := New(t.Context(), o); err != nil || r.store.nobody != 1 {
			t.Errorf("got %d (%v), want it not said with a broker elsewhere", r.store.nobody, err)
		}
		if _, err := New(t.Context(), Options{}); err == nil {
			t.Error("got a fleet without a store")
		}
	})
}

package uplink

import (
	"context"
	"time"

	"iwas/internal/fault"
	"iwas/internal/wire"
)

// sendEvents puts the next batch in flight, if there is one.
func (t *talk) sendEvents(ctx context.Context) {
	t.timer.Stop()
	if !t.link.Connected() {
		return // connected starts again
	}
	b := t.ahead
	t.ahead = nil
	if b == nil || b.epoch != t.epoch || b.first != t.cursor+1 {
		var err error
		b, err = t.read(ctx, t.cursor)
		if err == nil && b != nil && b.epoch != t.epoch { // the store minted one meanwhile
			if _, ok := t.standing(ctx); !ok {
				return
			}
			b, err = t.read(ctx, t.cursor)
		}
		if err != nil {
			t.fail(ctx, readingStore, "read events to send", err)
			t.refusals++
			t.timer.Reset(resendAfter(t.refusals))
			return
		}
		t.ok(readingStore)
	}
	if b == nil {
		return
	}
	t.put(b)
	t.getReady(ctx)
}

// getReady makes the batch ready that follows the one in flight, while the cloud is at work.
func (t *talk) getReady(ctx context.Context) {
	if b := t.batch; b.last-b.first >= aheadFrom {
		t.ahead, _ = t.read(ctx, b.last) // an error comes up when it is this batch's turn
	}
}

// sendReady puts the batch that is ready in flight behind one that was stored, before
// the disk has the answer to that: should it never have it, the cloud says it again.
func (t *talk) sendReady(a answer) bool {
	b, next := t.batch, t.ahead
	if a.Fork || a.First == 0 || a.Through != b.last || next == nil || next.epoch != t.epoch || next.first != b.last+1 || !t.link.Connected() {
		return false
	}
	t.settle(a.Through)
	t.ahead, t.refusals = nil, 0
	t.put(next)
	return true
}

// aheadFrom is the size of a batch behind which more is likely to wait: what
// follows it is made ready at once. One batch is in flight all the same.
const aheadFrom = 100

// read makes the next batch after an event ready; nil when there is none.
func (t *talk) read(ctx context.Context, after int64) (*batch, error) {
	b, err := t.u.Store.Events(ctx, after, wire.MaxEvents, wire.BatchBytes)
	if err != nil || len(b.Events) == 0 {
		return nil, err
	}
	b.V, b.At, b.Boot = wire.Version, t.u.now().UTC(), t.u.Boot
	payload, err := wire.Encode(b)
	if err != nil {
		return nil, err
	}
	return &batch{epoch: b.Epoch, first: b.First, last: b.First + int64(len(b.Events)) - 1, payload: payload}, nil
}

// put sends the batch, for the first time or again.
func (t *talk) put(b *batch) {
	t.batch = b
	b.sentAt = time.Now()
	if err := t.link.Publish(wire.Topic(t.u.Agent, wire.UpEvents), b.payload, false); err != nil {
		t.log.Debug("uplink: events not sent", "first", b.first, "err", err)
	}
	t.timer.Reset(resendAfter(b.tries))
	b.tries++
	t.u.note(func(s *Status) { s.InFlight = int(b.last - b.first + 1) })
}

// again runs when the timer does: the batch got no answer, or a pause is over.
func (t *talk) again(ctx context.Context) {
	switch {
	case !t.link.Connected():
	case t.batch != nil:
		t.put(t.batch)
	default:
		t.sendEvents(ctx)
	}
}

// resendAfter doubles from half a second to half a minute.
func resendAfter(tries int) time.Duration {
	if tries > 6 {
		return resendMost
	}
	return min(resendFirst<<tries, resendMost)
}

// acknowledged takes in one answer of the cloud.
func (t *talk) acknowledged(ctx context.Context, a answer) {
	t.heardAt = time.Now()
	b := t.batch
	if a.Copy != "" {
		t.copied(a.Copy)
		return
	}
	if a.Epoch != t.epoch {
		return // of a log that is no more
	}
	if a.First != 0 && (b == nil || a.First != b.first) {
		return // an answer to a repeat; taking it for news starts cascades of repeats
	}
	t.sample(a, b)
	sent := t.sendReady(a)
	if err := t.u.Store.Acked(ctx, a.Ack); err != nil {
		t.fail(ctx, takingAcks, "take in an acknowledgement", err)
		return // the batch goes again by its timer
	}
	t.ok(takingAcks)
	switch {
	case sent:
		t.u.note(func(s *Status) { s.LastAck = t.u.now() })
		t.getReady(ctx)
	case a.Fork:
		t.fork(ctx)
	case a.First == 0:
		t.moved(ctx, a.Through)
	default:
		t.answered(ctx, a.Through)
	}
}

// copied follows the news that two boxes carry this identity. The one that is the
// copy stays away until it is enrolled again.
func (t *talk) copied(boot string) {
	if boot != t.u.Boot {
		t.log.Warn("uplink: the cloud hears a second copy of this box", "code", "CLD-104")
		t.u.note(func(s *Status) { s.CopySeen = t.u.now() })
		return
	}
	err := fault.New(fault.Denied, "uplink: the cloud takes this box for a second copy of another", nil).
		WithCode(codeCopy, "Make a code in the console and enrol this box again, or switch it off if it is the copy.")
	t.log.Warn(err.Error(), "code", codeCopy)
	if t.u.Copied != nil {
		if kept := t.u.Copied(); kept != nil {
			t.log.Error("uplink: being a copy not remembered; the cloud says it again", "err", kept)
		}
	}
	t.link.Drop(err)
}

// sample measures the clocks; the round trip is only known for a batch that
// was sent once.
func (t *talk) sample(a answer, b *batch) {
	var roundTrip time.Duration
	if a.First != 0 && b != nil && b.tries == 1 {
		roundTrip = time.Since(b.sentAt)
	}
	t.u.mu.Lock()
	defer t.u.mu.Unlock()
	t.u.clock.sample(a.Time, a.at, roundTrip)
}

// answered follows the answer to the batch in flight.
func (t *talk) answered(ctx context.Context, through int64) {
	whole := through >= t.batch.last
	t.settle(through)
	if whole {
		t.refusals = 0
		t.u.note(func(s *Status) { s.LastAck = t.u.now() })
		t.sendEvents(ctx)
		return
	}
	t.log.Info("uplink: the cloud asks for events again", "after", through)
	t.retry(ctx)
}

// moved follows an answer to a hello: the cloud's cursor is not where we
// thought. A batch that fits it stays in flight.
func (t *talk) moved(ctx context.Context, through int64) {
	if b := t.batch; b != nil && through >= b.first-1 && through < b.last {
		if time.Since(b.sentAt) > resendFirst { // the cloud is there and has not got it
			b.tries = 0
			t.put(b)
		}
		return
	}
	back := through < t.cursor
	t.settle(through)
	if back {
		t.log.Info("uplink: the cloud asks for events again", "after", through)
		t.retry(ctx)
		return
	}
	t.sendEvents(ctx)
}

// settle ends what is in flight and moves the cursor.
func (t *talk) settle(through int64) {
	t.batch, t.cursor = nil, through
	t.u.note(func(s *Status) {
		s.InFlight, s.AckedSeq = 0, through
		s.Backlog = max(0, s.LastSeq-through)
	})
}

// fork follows a fork: the store has minted a new epoch and renumbered.
func (t *talk) fork(ctx context.Context) {
	t.log.Warn("uplink: the cloud says this log does not continue its own (restored backup, cloned disk); a new one was begun")
	t.batch = nil
	if t.refusals == 0 {
		t.sayHello(ctx) // also reads the new epoch
	} else if _, ok := t.standing(ctx); !ok {
		return
	}
	t.retry(ctx)
}

// retry sends from the new cursor: at once the first time, then after growing
// pauses, so that two sides that cannot agree do not spin.
func (t *talk) retry(ctx context.Context) {
	t.refusals++
	if t.refusals == 1 {
		t.sendEvents(ctx)
		return
	}
	t.timer.Reset(resendAfter(t.refusals - 2))
}

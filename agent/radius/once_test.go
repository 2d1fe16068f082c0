package radius

import (
	"net/netip"
	"testing"
	"time"

	"iwas/internal/hotspot"
)

func TestARejectIsRepeatedTooAndDecidedOnce(t *testing.T) {
	j := &judge{}
	s := newServer(t, j, nil)
	c := dial(t, s.AuthAddr())
	request := access(7, "bob", "wrong")
	first, again := c.exchange(t, request), c.exchange(t, request)
	if first[0] != codeAccessReject || string(first) != string(again) || len(j.requests()) != 1 {
		t.Errorf("got code %d, the same bytes: %v, decided %d times; want a Reject, true, 1", first[0], string(first) == string(again), len(j.requests()))
	}
}

func TestAForgedPacketDoesNotTouchTheCache(t *testing.T) {
	j := &judge{verdict: grant()}
	s := newServer(t, j, nil)
	c := dial(t, s.AuthAddr())
	request := access(7, "bob", "hello")
	first := c.exchange(t, request)
	forged := access(7, "bob", "hello") // the same identifier, another authenticator
	forged[headerLen+2]++
	c.send(t, forged)
	until(t, "the forged one", func() bool { return s.count("dropped", string(dropMABad)) == 1 })
	if again := c.exchange(t, request); string(first) != string(again) || len(j.requests()) != 1 {
		t.Errorf("after a forged packet the repeat was decided anew: %d decisions, want 1", len(j.requests()))
	}
}

func TestTheSameIdentifierOfAnotherCodeIsAnotherRequest(t *testing.T) {
	j := &judge{verdict: grant()}
	s := newServer(t, j, nil)
	c := dial(t, s.AuthAddr())
	login, status := access(7, "bob", "hello"), raw(codeStatusServer, 7, "")
	copy(status[4:headerLen], login[4:headerLen]) // even with the same authenticator
	sum := testKey.hmac(status[:headerLen+2], zeroes[:])
	copy(status[headerLen+2:], sum[:])
	first := c.exchange(t, login)
	if got := c.exchange(t, status); !verifies(got, status, testSecret) || len(got) != headerLen+18 {
		t.Errorf("Status-Server: got %d octets, want an answer of its own", len(got))
	}
	if again := c.exchange(t, login); string(again) != string(first) {
		t.Error("the login's answer was lost to Status-Server")
	}
}

// A NAS with few ports uses an identifier again as soon as it is free.
func TestAnIdentifierUsedAgainRightAfterTheReplyIsANewRequest(t *testing.T) {
	j := &judge{verdict: grant()}
	s := newServer(t, j, nil)
	c := dial(t, s.AuthAddr())
	const logins = 300
	for range logins {
		if got := c.exchange(t, access(1, "bob", "hello")); got[0] != codeAccessAccept {
			t.Fatalf("got code %d, want 2", got[0])
		}
	}
	if n := len(j.requests()); n != logins {
		t.Errorf("decided %d, want %d", n, logins)
	}
}

func TestAccountingIsStoredOnceForTheSameBytes(t *testing.T) {
	j := &judge{}
	s := newServer(t, j, nil)
	c := dial(t, s.AcctAddr())
	stop := func(id byte, delay uint32) []byte {
		return accounting(id, func(p *builder) {
			p.number(typeAcctStatusType, 2)
			p.text(typeAcctSessionID, "80300001")
			p.number(typeAcctDelayTime, delay)
		})
	}
	request := stop(9, 0)
	first, again := c.exchange(t, request), c.exchange(t, request)
	if string(first) != string(again) || len(j.records()) != 1 {
		t.Errorf("the same bytes: stored %d times, want once and the same answer", len(j.records()))
	}
	c.exchange(t, stop(9, 3)) // sent again with its delay: other bytes, so storage must be idempotent
	if n := len(j.records()); n != 2 {
		t.Errorf("with Acct-Delay-Time: passed on %d times, want 2", n)
	}
}

func TestANASThatNeverStopsSendingTheSame(t *testing.T) {
	j := &judge{verdict: grant()}
	s := newServer(t, j, nil)
	c, other := dial(t, s.AuthAddr()), dial(t, s.AuthAddr())
	request := access(1, "bob", "hello")
	first := c.exchange(t, request)
	const rounds, burst = 200, 50
	for range rounds {
		for range burst {
			c.send(t, request)
		}
		for range burst {
			if got := c.receive(t); string(got) != string(first) {
				t.Fatal("another answer to the same bytes")
			}
		}
	}
	if got := other.exchange(t, access(1, "bob", "hello")); got[0] != codeAccessAccept {
		t.Errorf("somebody else meanwhile: got code %d, want 2", got[0])
	}
	if n, held := len(j.requests()), s.Stats().Remembered; n != 2 || held != 2 {
		t.Errorf("decided %d and remembered %d, want 2 and 2", n, held)
	}
}

func TestTheCacheIsBounded(t *testing.T) {
	c, now := newCache(), time.Now()
	from := netip.MustParseAddrPort("10.0.0.1:1024")
	key := func(i int) cacheKey {
		return keyOf(uint16(i>>8), from, []byte{codeAccessRequest, byte(i)})
	}
	working, _, _ := c.begin(key(0), [16]byte{}, now)
	for i := 1; i < 4*cacheBound; i++ {
		e, _, _ := c.begin(key(i), [16]byte{1}, now)
		c.finish(e, hotspot.Verdict{}, make([]byte, 200))
	}
	if n := c.len(); n > cacheBound+1 || n < cacheBound/2 {
		t.Errorf("remembered: got %d, want about %d", n, cacheBound)
	}
	if cap(c.order) > 4*cacheBound {
		t.Errorf("the order has room for %d, want at most %d", cap(c.order), 4*cacheBound)
	}
	if e, reply, _ := c.begin(key(0), [16]byte{}, now); e != nil || reply != nil {
		t.Error("a request at work was forgotten: its repeat would run beside it")
	}
	if !c.finish(working, hotspot.Verdict{}, []byte("answer")) {
		t.Error("its answer was not taken")
	}
	if _, reply, _ := c.begin(key(0), [16]byte{}, now); string(reply) != "answer" {
		t.Errorf("its repeat: got %q", reply)
	}

	for i := range 4 * cacheOctets / maxPacket {
		e, _, _ := c.begin(key(i), [16]byte{2}, now)
		c.finish(e, hotspot.Verdict{}, make([]byte, maxPacket))
	}
	if c.octets > cacheOctets+maxPacket {
		t.Errorf("replies take %d octets, want at most %d", c.octets, cacheOctets)
	}
	c.begin(key(0), [16]byte{3}, now.Add(2*cacheLife))
	for range cacheBound { // each call forgets a few
		c.begin(key(1), [16]byte{3}, now.Add(2*cacheLife))
	}
	if n := c.len(); n > 2 || c.octets != 0 {
		t.Errorf("after their life: %d remembered, %d octets; want 2 and none", n, c.octets)
	}
}

func TestAnAnswerOvertakenByItsIdentifierTakesNoRoom(t *testing.T) {
	c, now := newCache(), time.Now()
	key := keyOf(0, netip.MustParseAddrPort("10.0.0.1:1024"), []byte{1, 1})
	slow, _, _ := c.begin(key, [16]byte{1}, now)
	quick, _, _ := c.begin(key, [16]byte{2}, now)
	c.finish(quick, hotspot.Verdict{}, []byte("quick"))
	c.finish(slow, hotspot.Verdict{}, []byte("slow"))
	if _, reply, _ := c.begin(key, [16]byte{2}, now); string(reply) != "quick" || c.octets != len("quick") {
		t.Errorf("got %q and %d octets, want the newer answer only", reply, c.octets)
	}
}

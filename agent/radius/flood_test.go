package radius

import (
	"bytes"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/ipv4"
)

const maxTries = 40

// lines counts what is logged.
type lines struct {
	mu sync.Mutex
	b  []byte
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b = append(l.b, p...)
	return len(p), nil
}

// flood sends n datagrams to port, each from another address of 127.0.0.0/8, a
// quarter of them from the router's own, and none with its secret.
func flood(t *testing.T, port uint16, n int) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{})
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close()
	p := ipv4.NewPacketConn(conn)
	to := &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(port)}
	kinds := [][]byte{
		signer{"forger"}.sign(codeAccessRequest, 1, chapLogin(1)),
		signer{"forger"}.account(2),
		bytes.Repeat([]byte{0xff}, 1400),
		build(codeAccessRequest, 3, attr(typeProxyState, "x")),
	}
	for i := range n {
		src := net.IPv4(127, byte(1+i>>16), byte(i>>8), byte(i))
		if i%4 == 3 {
			src = net.IPv4(127, 0, 0, 1)
		}
		if _, err := p.WriteTo(kinds[i/4%len(kinds)], &ipv4.ControlMessage{Src: src}, to); err != nil {
			t.Errorf("send: %v", err)
			return
		}
	}
}

// TestAFloodOfSpoofedPackets sends 100,000 and has a guest log in all the while.
// A router gives up after three tries; how many needed more is printed, since it
// hangs on how fast the machine is.
func TestAFloodOfSpoofedPackets(t *testing.T) {
	var log lines
	j := &judge{verdict: grant()}
	s := newServer(t, j, func(s *Server) {
		s.Auth, s.Log = []string{"0.0.0.0:0"}, slog.New(slog.NewTextHandler(&log, nil))
		s.NASes[0].MessageAuthenticator = Require
	})
	guest := dial(t, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), s.AuthAddr().Port()))
	guest.exchange(t, access(0, "bob", "hello"))
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	done := make(chan struct{})
	go func() {
		defer close(done)
		flood(t, s.AuthAddr().Port(), 100_000)
	}()
	var took []time.Duration
	asked := 0
	var tries [maxTries]int // how many were answered at which try
	for flooding := true; flooding; asked++ {
		select {
		case <-done:
			flooding = false
		default:
		}
		request, started := access(byte(asked), "bob", "hello"), time.Now()
		for try := range maxTries {
			guest.send(t, request)
			if err := guest.conn.SetReadDeadline(time.Now().Add(500 * time.Millisecond)); err != nil {
				t.Fatal(err)
			}
			b := make([]byte, maxPacket)
			if n, err := guest.conn.Read(b); err == nil && verifies(b[:n], request, testSecret) {
				took = append(took, time.Since(started))
				tries[try]++
				break
			}
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	st := s.Stats()
	slices.Sort(took)
	t.Logf("%d guests asked, %d answered, %d at the first try, %d within three; median %v, slowest %v; %d datagrams lost in the kernel", asked, len(took), tries[0], tries[0]+tries[1]+tries[2], took[len(took)/2], took[len(took)-1], st.Sockets[0].Lost)
	if len(took) != asked {
		t.Errorf("%d of %d guests got no answer", asked-len(took), asked)
	}
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 8<<20 {
		t.Errorf("the heap grew by %d octets, want at most 8 MiB", grown)
	}
	if len(st.Offenders) > 2*offenderBound {
		t.Errorf("%d offenders remembered, want at most %d", len(st.Offenders), 2*offenderBound)
	}
	if !slices.ContainsFunc(st.Offenders, func(o Offender) bool { return o.NAS == "r1" && o.BadSecret() }) {
		t.Error("the forgeries in the router's name were pushed out by the strangers")
	}
	log.mu.Lock()
	defer log.mu.Unlock()
	if n := bytes.Count(log.b, []byte("\n")); n > 60 {
		t.Errorf("%d lines logged, want some for each reason", n)
	}
	if !bytes.Contains(log.b, []byte("reason=unknown_nas")) || !bytes.Contains(log.b, []byte("reason=bad_message_authenticator")) {
		t.Errorf("the log does not name the reasons:\n%s", log.b)
	}
}

package radius

import (
	"net"
	"net/netip"
	"testing"
	"time"
)

// odd answers every datagram with what reply makes of it.
func odd(t *testing.T, reply func(request []byte) []byte) netip.AddrPort {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, maxPacket)
		for {
			n, from, err := c.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			if b := reply(buf[:n]); b != nil {
				_, _ = c.WriteToUDPAddrPort(b, from)
			}
		}
	}()
	t.Cleanup(func() { c.Close(); <-done })
	return c.LocalAddr().(*net.UDPAddr).AddrPort()
}

func TestAProbeTrustsOnlyWhatIsProven(t *testing.T) {
	accept := func(request []byte, k *key, signed bool) []byte {
		b, err := reply(request, codeAccessAccept, signed).finish(request, k)
		if err != nil {
			panic(err)
		}
		return b
	}
	for name, tc := range map[string]struct {
		reply func([]byte) []byte
		want  Exchange
	}{
		"an older server, without Message-Authenticator": {func(b []byte) []byte { return accept(b, testKey, false) }, Exchange{Reply: "Access-Accept", Attempts: 1}},
		"a server with it":                  {func(b []byte) []byte { return accept(b, testKey, true) }, Exchange{Reply: "Access-Accept", Attempts: 1, Protected: true}},
		"another secret":                    {func(b []byte) []byte { return accept(b, newKey("another"), true) }, Exchange{Attempts: 2, BadReplies: 2}},
		"a wrong Message-Authenticator":     {func(b []byte) []byte { r := accept(b, testKey, true); r[22]++; testKey.seal(r, false); return r }, Exchange{Attempts: 2, BadReplies: 2}},
		"another identifier":                {func(b []byte) []byte { b[1]++; return accept(b, testKey, true) }, Exchange{Attempts: 2}},
		"a code that does not answer":       {func(b []byte) []byte { r, _ := encodeAccountingResponse(b, testKey, true); return r }, Exchange{Attempts: 2}},
		"silence":                           {func([]byte) []byte { return nil }, Exchange{Attempts: 2}},
		"less than a header, and no octets": {func([]byte) []byte { return []byte{2} }, Exchange{Attempts: 2}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wait := 300 * time.Millisecond
			if tc.want.Reply != "" {
				wait = 5 * time.Second
			}
			p := Probe{Server: odd(t, tc.reply), Secret: testSecret, Ask: AskLogin, Method: PAP, Name: "bob", Password: "hello", Tries: 2, Wait: wait}
			got, err := p.Do(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if got.Reply != tc.want.Reply || got.Attempts != tc.want.Attempts || got.BadReplies != tc.want.BadReplies || got.Protected != tc.want.Protected {
				t.Errorf("got %+v, want %+v", got, tc.want)
			}
		})
	}
}

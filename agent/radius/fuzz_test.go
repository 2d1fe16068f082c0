package radius

import (
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"iwas/internal/hotspot"
)

// seeds are datagrams for the fuzz targets: what the tests send, and what real
// routers sent.
func seeds(f *testing.F, add func([]byte)) {
	add(access(1, "bob", "hello"))
	add(routerAccess(1))
	add(access(1, "bob\x00admin", "hello"))
	add(access(1, "bob", "hello\x00junk"))
	add(accounting(2, func(p *builder) { p.number(40, 3); p.text(44, "80300001"); p.number(46, 60) }))
	add([]byte{1, 1, 0, 20})
	add(build(codeAccessRequest, 1, func(p *builder) { p.text(26, "\x00\x00\x3a\x8c\x0a\x00"); p.text(1, "") }))
	add(build(codeAccessRequest, 1, func(p *builder) { p.text(3, "\x00"+strings.Repeat("x", 16)); p.text(60, "c"); p.text(33, "p") }))
	files, err := filepath.Glob("testdata/*.hex")
	if err != nil || len(files) == 0 {
		f.Fatalf("no recorded packets: %v", err)
	}
	for _, name := range files {
		if _, err := os.Stat(name); err != nil {
			f.Fatal(err)
		}
		add(packet(f, name))
	}
}

// FuzzTriage holds what triage lets through to what it promises.
func FuzzTriage(f *testing.F) {
	seeds(f, func(b []byte) { f.Add(b, false); f.Add(b, true) })
	f.Fuzz(func(t *testing.T, b []byte, accounting bool) {
		before := bytes.Clone(b)
		packet, ma, why := triage(b, accounting)
		if !bytes.Equal(before, b) {
			t.Fatal("triage changed the datagram")
		}
		if why != "" {
			return
		}
		if len(packet) != int(binary.BigEndian.Uint16(b[2:])) || len(packet) > maxPacket || !bytes.HasPrefix(b, packet) {
			t.Fatalf("a packet of %d octets from a datagram of %d whose Length is %d", len(packet), len(b), binary.BigEndian.Uint16(b[2:]))
		}
		// What attributes yields, put together, is the packet, byte for byte.
		again, n, authenticators := bytes.Clone(packet[:headerLen]), 0, 0
		for kind, v := range attributes(packet) {
			again = append(append(again, kind, byte(len(v)+2)), v...)
			n++
			if kind == typeMessageAuthenticator {
				authenticators++
				if &v[0] != &packet[ma] {
					t.Fatal("ma points elsewhere")
				}
			}
			if kind == typeVendorSpecific {
				_, rest := vendorOf(v)
				total := 0
				for _, value := range inside(rest) {
					total += len(value) + 2
				}
				if total > len(rest) {
					t.Fatal("more inside a Vendor-Specific than it holds")
				}
			}
		}
		if !bytes.Equal(again, packet) || n > maxAttributes || authenticators > 1 || authenticators == 1 != (ma != 0) {
			t.Fatalf("%d attributes, %d Message-Authenticators, ma %d", n, authenticators, ma)
		}
		if len(inWords(packet)) < n-strings.Count(string(packet), "\x1a") {
			t.Fatal("attributes are missing in words")
		}
	})
}

// FuzzAccess feeds datagrams to all that runs before a login is decided, and
// answers what gets through.
func FuzzAccess(f *testing.F) {
	seeds(f, func(b []byte) { f.Add(b) })
	n := newNAS(NAS{ID: "r1", Secret: testSecret, Previous: "older"})
	f.Fuzz(func(t *testing.T, b []byte) {
		packet, ma, why := triage(b, false)
		if why != "" || packet[0] != codeAccessRequest {
			return
		}
		at := time.Unix(1_700_000_000, 0)
		n.prove(packet, ma, at)
		r, reason, _ := decodeRequest(packet, testKey, "r1", at)
		if reason == "" && (r.Username == "" || strings.IndexByte(r.Username, 0) >= 0 || strings.IndexByte(r.Credential.Clear.Reveal(), 0) >= 0) {
			t.Fatalf("let through: %q", r.Username)
		}
		if len(r.Username) > 253 || len(r.Credential.Clear) > 128 || len(r.Credential.Response)%16 != 0 {
			t.Fatalf("sizes: %+v", r)
		}
		checkReply(t, packet, hotspot.Verdict{Reason: reason, Message: r.Username + strings.Repeat("ب", 60)})
	})
}

// FuzzAccounting feeds datagrams to all that runs before a record is stored.
func FuzzAccounting(f *testing.F) {
	seeds(f, func(b []byte) { f.Add(b) })
	f.Fuzz(func(t *testing.T, b []byte) {
		packet, _, why := triage(b, true)
		if why != "" || packet[0] != codeAccountingRequest {
			return
		}
		testKey.proves(packet)
		a, why := decodeAccounting(packet, "r1", time.Unix(1_700_000_000, 0))
		if why != "" {
			return
		}
		if a.Upload > math.MaxInt64 || a.Download > math.MaxInt64 || a.SessionTime < 0 || a.Delay < 0 {
			t.Fatalf("does not fit the store: %+v", a)
		}
		if a.AcctSessionID == "" && a.Kind != hotspot.NASOn && a.Kind != hotspot.NASOff {
			t.Fatal("a session without Acct-Session-Id")
		}
		reply, err := encodeAccountingResponse(packet, testKey, false)
		if err != nil {
			t.Fatal(err) // Proxy-States that fitted into the request fit into the reply
		}
		checkSealed(t, packet, reply)
	})
}

// FuzzEncode answers a plain request with every sort of verdict.
func FuzzEncode(f *testing.F) {
	f.Add(true, "m", []byte("0123456789abcdef"), int64(time.Hour), uint64(5<<32), "2M/10M", "paid", 2)
	f.Add(false, strings.Repeat("ب", 200), []byte{}, int64(-1), uint64(1), "", "", 0)
	f.Add(true, "", bytes.Repeat([]byte{1}, 254), int64(1), uint64(math.MaxUint64), "1k", strings.Repeat("x", 248), -1)
	request := access(1, "bob", "hello")
	f.Fuzz(func(t *testing.T, accept bool, message string, class []byte, timeout int64, octets uint64, rate, list string, devices int) {
		v := hotspot.Verdict{Accept: accept, Message: message, Class: class, SessionTimeout: time.Duration(timeout), IdleTimeout: time.Duration(timeout),
			UploadLeft: hotspot.Octets(octets), DownloadLeft: 1, TotalLeft: hotspot.Octets(octets), AddressLists: []string{list}, Devices: devices}
		if r, err := hotspot.ParseRateLimit(rate); err == nil {
			v.Rate = r
		}
		checkReply(t, request, v)
	})
}

// checkReply encodes a verdict and reads the reply back.
func checkReply(t *testing.T, request []byte, v hotspot.Verdict) {
	reply, err := encodeVerdict(request, testKey, v)
	if err != nil {
		if fits := len(v.Class) <= 253 && len(strings.Join(v.AddressLists, "")) <= 247; fits && len(request) < 3000 {
			t.Fatal(err)
		}
		return
	}
	if reply[headerLen] != typeMessageAuthenticator {
		t.Fatal("the Message-Authenticator is not the first attribute")
	}
	checkSealed(t, request, reply)
	for kind, value := range attributes(reply) {
		switch {
		case malformed(kind, value):
			t.Fatalf("attribute %d is malformed: % x", kind, value)
		case kind == 27 && binary.BigEndian.Uint32(value) == 0:
			t.Fatal("a Session-Timeout of 0")
		case !v.Accept && kind != typeReplyMessage && kind != typeMessageAuthenticator && kind != typeProxyState:
			t.Fatalf("attribute %d in an Access-Reject", kind)
		}
	}
}

// checkSealed verifies a reply with the means of a client.
func checkSealed(t *testing.T, request, reply []byte) {
	if got, _, ok := proveReply(reply, request, []byte(testSecret)); !ok || !bytes.Equal(got, reply) {
		t.Fatalf("the reply does not verify: % x", reply)
	}
}

func BenchmarkAccessRequest(b *testing.B) {
	request, n, verdict := routerAccess(1), newNAS(NAS{Secret: testSecret}), grant()
	b.ReportAllocs()
	for b.Loop() {
		packet, ma, _ := triage(request, false)
		k, why := n.prove(packet, ma, time.Now())
		if why != "" {
			b.Fatal(why)
		}
		if _, reason, _ := decodeRequest(packet, k, "r1", time.Now()); reason != "" {
			b.Fatal(reason)
		}
		if _, err := encodeVerdict(packet, k, verdict); err != nil {
			b.Fatal(err)
		}
	}
}

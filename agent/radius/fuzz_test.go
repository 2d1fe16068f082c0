package radius

import (
	"testing"
	"time"

	"iwas/internal/hotspot"
)

// FuzzRequest feeds datagrams to all that runs before a decision, and encodes an
// answer to what gets through.
func FuzzRequest(f *testing.F) {
	f.Add(access(1, "bob", "hello"), false)
	f.Add(accounting(2, func(p *builder) { p.number(40, 3); p.text(44, "80300001"); p.number(46, 60) }), true)
	f.Add([]byte{1, 1, 0, 20}, false)
	secret := []byte(testSecret)
	f.Fuzz(func(t *testing.T, b []byte, accounting bool) {
		packet, ma, why := triage(b, accounting)
		if why != "" {
			return
		}
		authentic(packet, ma, secret, false)
		if accounting {
			if a, p, why := decodeAccounting(packet, secret, "r1", time.Now()); why == "" {
				if a.Upload > 1<<63-1 {
					t.Fatalf("upload %d does not fit the store", a.Upload)
				}
				if _, err := encodeAccountingResponse(p); err != nil && len(packet) < 3000 {
					t.Fatal(err)
				}
			}
			return
		}
		r, p, reason, _, err := decodeRequest(packet, secret, "r1", time.Now())
		if err != nil {
			return
		}
		v := hotspot.Verdict{Reason: reason, Message: r.Username}
		if _, err := encodeVerdict(p, v); err != nil && len(packet) < 3000 {
			t.Fatal(err)
		}
	})
}

func BenchmarkAccessRequest(b *testing.B) {
	secret, request := []byte(testSecret), access(1, "bob", "hello")
	b.ReportAllocs()
	for b.Loop() {
		packet, ma, _ := triage(request, false)
		if authentic(packet, ma, secret, true) != "" {
			b.Fatal("not authentic")
		}
		_, p, _, _, err := decodeRequest(packet, secret, "r1", time.Now())
		if err != nil {
			b.Fatal(err)
		}
		if _, err := encodeVerdict(p, grant()); err != nil {
			b.Fatal(err)
		}
	}
}

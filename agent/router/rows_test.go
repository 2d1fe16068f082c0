package router

import (
	"net/netip"
	"testing"
)

func TestEndpoint(t *testing.T) {
	for _, tc := range []struct{ in, address, port string }{
		{"10.20.0.7", "10.20.0.7", ""}, {"10.20.0.7:443", "10.20.0.7", "443"}, {"2001:db8::7", "2001:db8::7", ""},
		{"[2001:db8::7]:443", "2001:db8::7", "443"}, {"::ffff:10.20.0.7", "10.20.0.7", ""},
		{"", "invalid IP", ""}, {"login.cafe.lan:80", "invalid IP", ""}, {"10.20.0:80", "invalid IP", ""},
	} {
		if a, port := endpoint(tc.in); a.String() != tc.address || port != tc.port {
			t.Errorf("%q: got %v port %q, want %s port %q", tc.in, a, port, tc.address, tc.port)
		}
	}
}

// FuzzAddresses reads what a router may write where an address is expected.
func FuzzAddresses(f *testing.F) {
	for _, s := range []string{"10.0.0.1:80", "[::1]:53", "10.0.0.0/22", "10.0.0.1-10.0.0.9", "10.0.0.9-10.0.0.1", "::/0", "!10.0.0.1", "fe80::1%eth0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if a, port := endpoint(text); a.IsValid() {
			back, again := endpoint(netip.AddrPortFrom(a, 80).String())
			if back != a || again != "80" || port != "" && !a.IsValid() {
				t.Errorf("%q: read as %v, which with a port reads as %v %q", text, a, back, again)
			}
		}
		if s, ok := parseSpan(text); ok && (s.to.Less(s.from) || !s.contains(s.from) || !s.contains(s.to) || !s.within(s) || !s.overlaps(s)) {
			t.Errorf("%q: read as %v to %v", text, s.from, s.to)
		}
	})
}

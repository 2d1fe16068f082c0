package radius

import (
	"net/netip"
	"testing"
)

// TestAnswersLeaveFromTheAddressAsked has radclient, which hears only the
// address it asked, ask each of ours.
func TestAnswersLeaveFromTheAddressAsked(t *testing.T) {
	for listen, asked := range map[string][]string{
		"127.0.0.1:0": {"127.0.0.1"},
		"127.0.0.2:0": {"127.0.0.2"},
		"0.0.0.0:0":   {"127.0.0.1", "127.0.0.2", "127.1.2.3"},
		"[::1]:0":     {"::1"},
		"[::]:0":      {"::1"},
	} {
		j := &judge{verdict: grant()}
		s := newServer(t, j, func(s *Server) {
			s.Auth, s.Acct = []string{listen}, []string{listen}
			s.NASes[0].Network, s.NASes[0].Also = netip.MustParsePrefix("127.0.0.0/8"), []netip.Prefix{netip.MustParsePrefix("::1/128")}
		})
		for _, addr := range asked {
			t.Run(listen+" asked at "+addr, func(t *testing.T) {
				to := netip.MustParseAddr(addr)
				radclient(t, netip.AddrPortFrom(to, s.AuthAddr().Port()), "auth", "User-Name = \"bob\"\nUser-Password = \"wrong\"\nMessage-Authenticator = 0x00",
					"Response-Packet-Type == Access-Reject\nMessage-Authenticator =* ANY\nReply-Message == \"wrong\"")
				radclient(t, netip.AddrPortFrom(to, s.AcctAddr().Port()), "acct", "Acct-Status-Type = Start\nAcct-Session-Id = \"80300001\"",
					"Response-Packet-Type == Accounting-Response")
				// A connected socket hears only that address too.
				c := dial(t, netip.AddrPortFrom(to, s.AuthAddr().Port()))
				if got := c.exchange(t, access(1, "bob", "hello")); got[0] != codeAccessAccept {
					t.Errorf("got code %d, want 2", got[0])
				}
			})
		}
	}
}

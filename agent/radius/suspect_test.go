package radius

import (
	"bytes"
	"log/slog"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"iwas/internal/hotspot"
)

// pages is a log that is read while it is written.
type pages struct {
	mu  sync.Mutex
	out bytes.Buffer
}

func (p *pages) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.Write(b)
}

// with returns the lines that hold a text.
func (p *pages) with(text string) (lines []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for line := range strings.Lines(p.out.String()) {
		if strings.Contains(line, text) {
			lines = append(lines, line)
		}
	}
	return lines
}

// TestAnotherSecretWithoutMessageAuthenticator asks as a router of before 7.15
// does whose /radius entry has another secret: nobody can be sure of it (RFC 2865
// has no check of the request), so each request is rejected, with an answer that
// proves nothing to the router, and the technician is told.
func TestAnotherSecretWithoutMessageAuthenticator(t *testing.T) {
	const asked = 8
	var log pages
	var mu sync.Mutex
	var rejected []hotspot.Reject
	j := &judge{verdict: grant()}
	s := newServer(t, j, func(s *Server) {
		s.Log = slog.New(slog.NewTextHandler(&log, nil))
		s.Rejected = func(r hotspot.Reject) { mu.Lock(); defer mu.Unlock(); rejected = append(rejected, r) }
	})
	// Three blocks of random octets are never what somebody typed.
	one := "User-Name = \"bob\"\nUser-Password = \"a password that takes three blocks to hide\"\nCalling-Station-Id = \"AA:BB:CC:DD:EE:FF\"\n"
	ask := exec.Command(program(t, "radclient", "freeradius-utils"), "-x", "-r", "1", "-t", "0.2", "-p", "8", s.AuthAddr().String(), "auth", "another secret")
	ask.Stdin = strings.NewReader(strings.Repeat(one+"\n", asked))
	out, err := ask.CombinedOutput()
	if err == nil || bytes.Contains(out, []byte("Received Access-Reject")) || !bytes.Contains(out, []byte("secret is incorrect")) {
		t.Errorf("radclient took an answer made with another secret: %v\n%s", err, out)
	}

	var rejects, dropped uint64
	for _, c := range s.Stats().Counts {
		switch {
		case c == Count{NAS: "r1", Kind: "access", Result: string(hotspot.ReasonBadSecret), N: c.N}:
			rejects = c.N
		default:
			dropped += c.N
		}
	}
	if rejects != asked || dropped != 0 || len(j.requests()) != 0 {
		t.Errorf("%d rejected, %d counted otherwise, %d judged; want %d, 0, 0: %+v", rejects, dropped, len(j.requests()), asked, s.Stats().Counts)
	}
	st := s.Stats()
	if len(st.Offenders) != 1 || st.Offenders[0].NAS != "r1" || st.Offenders[0].Source.String() != "127.0.0.1" || st.Offenders[0].N != asked || !st.Offenders[0].BadSecret() {
		t.Errorf("offenders %+v, want 127.0.0.1 with a bad secret, %d times", st.Offenders, asked)
	}
	lines := log.with("reason=" + string(dropSuspectSecret))
	if len(lines) != logBurst {
		t.Errorf("%d log lines for %d requests, want %d\n%s", len(lines), asked, logBurst, strings.Join(lines, ""))
	}
	for _, line := range lines {
		if !strings.Contains(line, "source=127.0.0.1:") || !strings.Contains(line, "nas=r1") || !strings.Contains(line, "shared secret") {
			t.Errorf("the line does not name source, NAS and cause: %s", line)
		}
	}
	mu.Lock()
	if len(rejected) != asked || !strings.Contains(rejected[0].Detail, "shared secret") || rejected[0].Reason != hotspot.ReasonBadSecret {
		t.Errorf("remembered %+v, want %d with the likely cause", rejected, asked)
	}
	mu.Unlock()

	// With the right secret the same guest's slip is nobody's offence.
	radclient(t, s.AuthAddr(), "auth", strings.TrimSpace(one), "Response-Packet-Type == Access-Reject\nMessage-Authenticator =* ANY\nReply-Message == \"wrong\"")
	if n := s.Stats().Offenders[0].N; n != asked {
		t.Errorf("a wrong password counts as a wrong secret: %d, want %d", n, asked)
	}
}

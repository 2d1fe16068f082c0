package main

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// received sends one request with FreeRADIUS's client and returns what that
// received; it must be of the code.
func (b *bench) received(kind, request, code string) string {
	b.t.Helper()
	path, err := exec.LookPath("radclient")
	if err != nil {
		b.t.Fatalf("radclient is missing: install the Debian package freeradius-utils (make peers does): %v", err)
	}
	to := b.server.AuthAddr()
	if kind == "acct" {
		to = b.server.AcctAddr()
	}
	cmd := exec.CommandContext(b.t.Context(), path, "-x", "-r", "2", "-t", "5", to.String(), kind, lockSecret)
	cmd.Stdin = strings.NewReader(request)
	out, err := cmd.CombinedOutput()
	_, reply, received := strings.Cut(string(out), "Received "+code)
	if err != nil || !received {
		b.t.Fatalf("radclient %s: %v, want %s\n%s", kind, err, code, out)
	}
	return reply
}

// used reads what is gone of user0's pass.
func (b *bench) used() hotspot.Usage {
	b.t.Helper()
	v, err := b.db.AccountNamed(b.t.Context(), "user0")
	if err != nil || v.Pass == nil {
		b.t.Fatalf("user0: %+v, %v", v, err)
	}
	return v.Pass.Usage
}

// told returns the events of a kind from the site's log.
func told[T any](b *bench, kind wire.EventKind) (out []T) {
	b.t.Helper()
	batch, err := b.db.Events(b.t.Context(), 0, 1<<20, 1<<30)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, e := range batch.Events {
		if e.Kind != kind {
			continue
		}
		var body T
		if err := json.Unmarshal(e.Body, &body); err != nil {
			b.t.Fatal(err)
		}
		out = append(out, body)
	}
	return out
}

// TestRadclientsAccountingInTheStore plays a router with another implementation
// of RADIUS: what an Accept gave comes back as Class with every record, and each
// record is in the session, in the pass and in the log once it is acknowledged.
func TestRadclientsAccountingInTheStore(t *testing.T) {
	b := newBench(t, 1, wire.LimitsBody{Devices: 2})
	who := func(id, mac string) string {
		return fmt.Sprintf("User-Name = \"user0\", Acct-Session-Id = %q, Calling-Station-Id = %q, Framed-IP-Address = 10.5.50.254, NAS-IP-Address = 10.0.0.1, NAS-Identifier = \"MikroTik\"", id, mac)
	}
	login := func(id, mac string) (class string) {
		t.Helper()
		reply := b.received("auth", who(id, mac)+", User-Password = \"pw\", Message-Authenticator = 0x00\n", "Access-Accept")
		m := regexp.MustCompile(`Class = (0x[0-9a-f]+)`).FindStringSubmatch(reply)
		if m == nil {
			t.Fatalf("the Accept has no Class:\n%s", reply)
		}
		return ", Class = " + m[1]
	}
	account := func(attributes ...string) {
		t.Helper()
		b.received("acct", strings.Join(attributes, ", ")+"\n", "Accounting-Response")
	}
	only := func(id hotspot.AcctSessionID) hotspot.Session {
		t.Helper()
		all, err := b.db.Sessions(t.Context())
		all = slices.DeleteFunc(all, func(s hotspot.Session) bool { return s.AcctSessionID != id })
		if err != nil || len(all) != 1 {
			t.Fatalf("sessions %s: %+v, %v; want one", id, all, err)
		}
		return all[0]
	}
	holds := func(when string, s hotspot.Session, state hotspot.SessionState, at time.Duration, up, down hotspot.Octets) {
		t.Helper()
		if s.State != state || s.Account != "a0" || s.Pass != "p0" || s.Permit == "" || s.NAS != "r1" || s.Username != "user0" || s.IP.String() != "10.5.50.254" ||
			s.Time != at || s.Upload != up || s.Download != down {
			t.Errorf("after %s: session %+v; want %s of a0 by its permit, %v, up %d, down %d", when, s, state, at, up, down)
		}
		if got := b.used(); got.Upload != up || got.Download != down {
			t.Errorf("after %s: the pass used %+v, want up %d, down %d", when, got, up, down)
		}
	}

	class := login("80300001", oldPhone)
	if first := b.used().FirstUsed; time.Since(first) > time.Minute {
		t.Errorf("first used %v, want now", first)
	}
	session := who("80300001", oldPhone) + class
	account(session, "Acct-Status-Type = Start")
	holds("Start", only("80300001"), hotspot.Live, 0, 0, 0)
	account(session, "Acct-Status-Type = Interim-Update", "Acct-Session-Time = 120", "Acct-Input-Octets = 4294967295", "Acct-Input-Gigawords = 1", "Acct-Output-Octets = 7", "Acct-Output-Gigawords = 3")
	holds("Interim-Update", only("80300001"), hotspot.Live, 2*time.Minute, 1<<33-1, 3<<32+7)
	stop := []string{session, "Acct-Status-Type = Stop", "Acct-Session-Time = 130", "Acct-Input-Octets = 5", "Acct-Input-Gigawords = 2", "Acct-Output-Octets = 0", "Acct-Output-Gigawords = 4", "Acct-Terminate-Cause = User-Request"}
	account(stop...)
	holds("Stop", only("80300001"), hotspot.Closed, 130*time.Second, 2<<32+5, 4<<32)
	account(append(stop, "Acct-Delay-Time = 3")...) // sent again: other bytes, the same fact
	holds("the Stop sent again", only("80300001"), hotspot.Closed, 130*time.Second, 2<<32+5, 4<<32)
	if s := only("80300001"); s.Cause != "User-Request" || s.EndedAt.IsZero() {
		t.Errorf("it ended %v by %q, want by User-Request", s.EndedAt, s.Cause)
	}

	// A second one is open when the router restarts, a third begins after that.
	class = login("80300002", newPhone)
	second := who("80300002", newPhone) + class
	account(second, "Acct-Status-Type = Start")
	account("Acct-Status-Type = Accounting-On", "Acct-Session-Id = \"00000000\"", "NAS-IP-Address = 10.0.0.1", "NAS-Identifier = \"MikroTik\"")
	if s := only("80300002"); s.State != hotspot.Suspect {
		t.Errorf("after Accounting-On: %+v, want a suspect", s)
	}
	if s := only("80300001"); s.State != hotspot.Closed || s.Cause != "User-Request" {
		t.Errorf("Accounting-On touched a session that had ended: %+v", s)
	}
	account(second, "Acct-Status-Type = Interim-Update", "Acct-Session-Time = 60", "Acct-Input-Octets = 10")
	if s := only("80300002"); s.State != hotspot.Live || s.Upload != 10 {
		t.Errorf("it speaks again: %+v, want it live", s)
	}
	if got := b.used(); got.Upload != 2<<32+15 || got.Download != 4<<32 {
		t.Errorf("the pass used %+v over both, want up %d, down %d", got, uint64(2<<32+15), uint64(4<<32))
	}

	// A Class nobody here gave, one bit away from one that was, is kept and not billed.
	forged := []byte(class)
	forged[len(forged)-1] = "1032547698badcfe"[strings.IndexByte("0123456789abcdef", forged[len(forged)-1])]
	account(who("80300009", newPhone)+string(forged), "Acct-Status-Type = Stop", "Acct-Session-Time = 999", "Acct-Input-Octets = 999")
	if s := only("80300009"); s.Account != "" || s.Pass != "" || s.Upload != 999 {
		t.Errorf("a forged Class: %+v, want a session of nobody", s)
	}
	if got := b.used(); got.Upload != 2<<32+15 {
		t.Errorf("a forged Class was billed: %+v", got)
	}

	for kind, want := range map[wire.EventKind][]string{
		wire.EventSessionStarted: {"80300001 live 0 0", "80300002 live 0 0"},
		wire.EventSessionStopped: {"80300001 closed 8589934597 17179869184", "80300009 closed 999 0"},
	} {
		var got []string
		for _, s := range told[wire.SessionBody](b, kind) {
			got = append(got, fmt.Sprintf("%s %s %d %d", s.AcctSessionID, s.State, s.Upload, s.Download))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: the log tells %q, want %q", kind, got, want)
		}
	}
	if used := told[wire.SessionBody](b, wire.EventSessionUsage); len(used) < 2 || used[0].PassUsage == nil || used[0].PassUsage.Upload != 1<<33-1 || used[0].Download != 3<<32+7 {
		t.Errorf("session.usage: the log tells %+v, want the interims with the totals of the pass", used)
	}
	if first := told[wire.UsageBody](b, wire.EventPassFirstUsed); len(first) != 1 || first[0].Pass != "p0" {
		t.Errorf("pass.first_used: the log tells %+v, want p0 once", first)
	}
	if on := told[struct{}](b, wire.EventNASRestarted); len(on) != 1 {
		t.Errorf("nas.restarted: the log tells it %d times, want once", len(on))
	}
}

package access

import (
	"crypto/ecdsa"
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"iwas/internal/fault"
	"iwas/internal/secret"
	"iwas/internal/webui"
)

var (
	day  = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	home = netip.MustParseAddr("192.168.99.7")
)

func newPeople(t *testing.T) *People {
	t.Helper()
	p := &People{File: filepath.Join(t.TempDir(), "people.json")}
	if _, err := p.Set(t.Context(), "ana", "", "three wet ducks", day); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPeopleAreKeptInAFileOfTheServicesOwn(t *testing.T) {
	p := newPeople(t)
	if who, err := p.Set(t.Context(), "Rui Costa", Cashier, "a blue teapot", day); err != nil || who != (Person{"Rui Costa", Cashier}) {
		t.Fatalf("got %+v, %v", who, err)
	}
	if who, err := p.Set(t.Context(), " rui costa ", "", "another teapot", day.Add(time.Hour)); err != nil || who != (Person{"Rui Costa", Cashier}) {
		t.Errorf("a new password: got %+v, %v, want name and role kept", who, err)
	}
	st, err := os.Stat(p.File)
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("got mode %v, %v, want 0600", st.Mode(), err)
	}
	b, err := os.ReadFile(p.File)
	if err != nil || strings.Contains(string(b), "teapot") || !strings.Contains(string(b), "$argon2id$") {
		t.Errorf("got %s, %v, want argon2id and no password", b, err)
	}
	// Another program reads what this one wrote, and this one what that one did.
	beside := &People{File: p.File}
	if all, err := beside.List(); err != nil || len(all) != 2 || all[1] != (Known{"Rui Costa", Cashier, day.Add(time.Hour)}) {
		t.Errorf("got %+v, %v", all, err)
	}
	if err := beside.Remove("ANA"); err != nil {
		t.Fatal(err)
	}
	if all, err := p.List(); err != nil || len(all) != 1 || all[0].Name != "Rui Costa" {
		t.Errorf("after a removal elsewhere: got %+v, %v", all, err)
	}
	if err := p.Remove("ana"); !fault.Is(err, fault.NotFound) {
		t.Errorf("got %v, want not found", err)
	}
	for name, test := range map[string]struct{ name, password string }{
		"no name": {"", "long enough"}, "a line break": {"a\nb", "long enough"}, "hidden characters": {"ana\u202e", "long enough"}, "a long name": {strings.Repeat("x", 65), "long enough"},
		"markup": {"<b>", "long enough"}, "a short password": {"eve", "nine char"}, "an endless password": {"eve", strings.Repeat("x", 1025)},
	} {
		if _, err := p.Set(t.Context(), test.name, "", secret.Value(test.password), day); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: got %v, want it refused as invalid", name, err)
		}
	}
}

func TestADamagedFileOfPeopleLetsNobodyIn(t *testing.T) {
	p := newPeople(t)
	d := &Desk{People: p}
	token, _, err := d.SignIn(t.Context(), home, "ana", "three wet ducks")
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"{", "", "null", `{"version": 2, "people": []}`} {
		if err := os.WriteFile(p.File, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, err := d.SignIn(t.Context(), home, "ana", "three wet ducks"); fault.Code(err) != CodePeople || fault.Hint(err) == "" {
			t.Errorf("%q: got %v, want %s and a next step", text, err, CodePeople)
		}
		if who := d.Who(token); who.Is() {
			t.Errorf("%q: %v is still signed in", text, who)
		}
		if _, err := p.Set(t.Context(), "eve", "", "long enough", day); fault.Code(err) != CodePeople {
			t.Errorf("%q: got %v, want it not written over", text, err)
		}
	}
}

func TestASignInEnds(t *testing.T) {
	now := day
	for name, end := range map[string]func(*testing.T, *Desk, string){
		"after 12 hours":        func(*testing.T, *Desk, string) { now = now.Add(SignInLasts) },
		"by signing out":        func(_ *testing.T, d *Desk, token string) { d.SignOut(token) },
		"with the password":     func(t *testing.T, d *Desk, _ string) { set(t, d.People, "ana", "") },
		"with the role":         func(t *testing.T, d *Desk, _ string) { set(t, d.People, "ana", Cashier) },
		"with the person":       func(t *testing.T, d *Desk, _ string) { check(t, d.People.Remove("ana")) },
		"when the file is gone": func(t *testing.T, d *Desk, _ string) { check(t, os.Remove(d.People.File)) },
	} {
		now = day
		d := &Desk{People: newPeople(t), Now: func() time.Time { return now }}
		token, _, err := d.SignIn(t.Context(), home, "ana", "three wet ducks")
		if err != nil {
			t.Fatal(err)
		}
		now = now.Add(SignInLasts - time.Second) // and using it makes it no longer
		if got := d.Who(token); got != (Person{"ana", Technician}) {
			t.Errorf("%s: got %+v before", name, got)
		}
		end(t, d, token)
		if got := d.Who(token); got.Is() {
			t.Errorf("%s: %+v is still signed in", name, got)
		}
	}
}

func set(t *testing.T, p *People, name string, role Role) {
	t.Helper()
	_, err := p.Set(t.Context(), name, role, "another password", day)
	check(t, err)
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestSignInsAreBounded(t *testing.T) {
	now := day
	d := &Desk{People: newPeople(t), Now: func() time.Time { now = now.Add(time.Second); return now }}
	all, err := d.People.read()
	check(t, err)
	first := d.begin(all[0])
	second := d.begin(all[0])
	for range signInsMost - 1 {
		d.begin(all[0])
	}
	if len(d.in) != signInsMost || d.Who(first).Is() || !d.Who(second).Is() {
		t.Errorf("%d are kept, the first %v, the second %v; want %d and the oldest gone", len(d.in), d.Who(first), d.Who(second), signInsMost)
	}
}

func TestWrongPasswordsAreThrottled(t *testing.T) {
	now := day
	d := &Desk{People: newPeople(t), Now: func() time.Time { return now }}
	try := func(from, password string) error {
		_, _, err := d.SignIn(t.Context(), netip.MustParseAddr(from), "ana", secret.Value(password))
		return err
	}
	wait := func(err error) time.Duration {
		var w *WaitError
		errors.As(err, &w)
		if w == nil {
			return 0
		}
		return w.Left
	}
	for range 5 {
		if err := try("192.168.99.66", "wrong password"); !fault.Is(err, fault.Forged) {
			t.Fatalf("got %v, want it refused as wrong", err)
		}
	}
	if got := wait(try("192.168.99.66", "three wet ducks")); got != blocked {
		t.Errorf("the sixth from one address waits %v, want %v", got, blocked)
	}
	now = now.Add(blocked - time.Second)
	if got := wait(try("192.168.99.66", "three wet ducks")); got != time.Second {
		t.Errorf("at the end it waits %v, want a second", got)
	}
	now = now.Add(time.Second)
	for range 4 {
		if err := try("192.168.99.66", "wrong password"); !fault.Is(err, fault.Forged) {
			t.Fatalf("after the block: got %v, want five tries again", err)
		}
		now = now.Add(time.Minute)
	}
	if err := try("192.168.99.66", "three wet ducks"); err != nil {
		t.Errorf("the right one after the block: got %v", err)
	}
	// Many addresses share one slow count; the box itself is not among them.
	free := 0
	for i := range 200 {
		if err := try(netip.AddrFrom4([4]byte{192, 168, 99, byte(i + 1)}).String(), "wrong password"); fault.Is(err, fault.Forged) {
			free++
		}
		now = now.Add(time.Second)
	}
	if free > 20 {
		t.Errorf("200 addresses had %d tries in 200 s, want few", free)
	}
	if err := try("127.0.0.1", "three wet ducks"); err != nil {
		t.Errorf("meanwhile the box itself: got %v", err)
	}
	for range 50 {
		_ = try("127.0.0.1", "wrong password") // most of them have to wait
	}
	for _, from := range []string{"127.0.0.1", "::1"} {
		if got := wait(try(from, "three wet ducks")); got > 30*time.Second || got == 0 {
			t.Errorf("the box itself at %s waits %v, want half a minute at most", from, got)
		}
	}
	now = now.Add(30 * time.Second)
	if err := try("127.0.0.1", "three wet ducks"); err != nil {
		t.Errorf("after it: got %v", err)
	}
}

func TestNotesAreOfTheirSignIn(t *testing.T) {
	d := &Desk{People: newPeople(t)}
	token, _, err := d.SignIn(t.Context(), home, "ana", "three wet ducks")
	check(t, err)
	for range notesMost + 3 {
		d.Note(token, webui.Alert{Title: "done"})
	}
	d.Note("another", webui.Alert{Title: "lost"})
	if got := d.Noted(token); len(got) != notesMost {
		t.Errorf("got %d notes, want %d", len(got), notesMost)
	}
	if got := d.Noted(token); got != nil {
		t.Errorf("got %v again", got)
	}
}

func TestTheCertificateIsKeptAndRenewedWithItsKey(t *testing.T) {
	dir, now := t.TempDir(), day
	make := func(hosts ...string) *Certificate {
		return &Certificate{Dir: dir, Hosts: hosts, Now: func() time.Time { return now }}
	}
	c := make("192.168.99.2", "box.cafe.lan")
	print, until, err := c.Printed()
	check(t, err)
	pair, err := c.get()
	check(t, err)
	if len(strings.Split(print, ":")) != 32 || until.Sub(now) > 825*24*time.Hour || pair.Leaf.NotBefore.After(now) {
		t.Errorf("got %s until %v from %v", print, until, pair.Leaf.NotBefore)
	}
	for _, h := range c.Hosts {
		if err := pair.Leaf.VerifyHostname(h); err != nil {
			t.Error(err)
		}
	}
	same := func(what string, c *Certificate, want bool) {
		t.Helper()
		got, _, err := c.Printed()
		check(t, err)
		other, err := c.get()
		check(t, err)
		if (got == print) != want || !pair.PrivateKey.(*ecdsa.PrivateKey).Equal(other.PrivateKey) {
			t.Errorf("%s: the certificate is the same: %v, want %v, with the key of before", what, got == print, want)
		}
		print = got
	}
	same("after a restart", make("192.168.99.2", "box.cafe.lan"), true)
	now = until.Add(-renewed - time.Hour)
	same("before it is due", c, true)
	now = now.Add(2 * time.Hour)
	same("when it is due, while it runs", c, false)
	same("when it was renewed", make("192.168.99.2"), true)
	same("by another address", make("192.168.99.3"), false)
	now = time.Unix(0, 0)
	same("with the clock in 1970", make("192.168.99.3"), true)
	if st, err := os.Stat(filepath.Join(dir, keyFile)); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the key: %v, %v, want mode 0600", st.Mode(), err)
	}
	check(t, os.WriteFile(filepath.Join(dir, certFile), []byte("x"), 0o600))
	same("after the certificate was damaged", make("192.168.99.3"), false)
	check(t, os.WriteFile(filepath.Join(dir, keyFile), []byte("x"), 0o600))
	if _, _, err := make("192.168.99.3").Printed(); fault.Code(err) != CodeCertificate {
		t.Errorf("with a damaged key: got %v, want %s", err, CodeCertificate)
	}
}

func TestWhoseConnectionsAreTaken(t *testing.T) {
	r := Rules{Networks: []netip.Prefix{netip.MustParsePrefix("192.168.0.0/16"), netip.MustParsePrefix("fd00::/8")},
		Guests:  []Range{RangeOf(netip.MustParsePrefix("192.168.20.0/22")), {netip.MustParseAddr("192.168.50.10"), netip.MustParseAddr("192.168.50.99")}},
		Routers: []Range{RangeOf(netip.MustParsePrefix("192.168.99.1/32"))}}
	for addr, want := range map[string]Reason{
		"192.168.99.7": "", "::ffff:192.168.99.7": "", "fd00::7": "", "192.168.50.9": "", "192.168.50.100": "",
		"192.168.99.1": FromRouter, "::ffff:192.168.99.1": FromRouter, "192.168.20.0": FromGuest, "192.168.23.255": FromGuest, "192.168.50.10": FromGuest, "192.168.50.99": FromGuest,
		"10.0.0.1": FromStranger, "203.0.113.9": FromStranger, "fe80::1%eth0": FromStranger, "2001:db8::1": FromStranger,
	} {
		if got := r.Refuses(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: got %q, want %q", addr, got, want)
		}
	}
	if got := (Rules{}).Refuses(home); got != FromStranger {
		t.Errorf("without rules: got %q, want everybody refused", got)
	}
}

func TestRefusalsAreCountedAndBounded(t *testing.T) {
	g := Gate{Rules: func() Rules { return Rules{} }}
	for i := range 3 * refusalsKept {
		if g.Takes(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 1).String()) {
			t.Fatal("taken")
		}
	}
	g.Takes("10.0.0.191:9")
	all, total := g.Refusals()
	if len(all) != refusalsKept || total != 3*refusalsKept+1 || all[0].From != "10.0.0.191" || all[0].N != 2 {
		t.Errorf("got %d of %d, the newest %+v", len(all), total, all[0])
	}
	if g.Takes("nonsense") {
		t.Error("who has no address is taken")
	}
	if b, err := json.Marshal(all[0]); err != nil || !strings.Contains(string(b), `"reason":"network"`) {
		t.Errorf("got %s, %v", b, err)
	}
}

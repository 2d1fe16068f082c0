package main

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"iwas/agent/statuspage"
	"iwas/internal/hotspot"
	"iwas/internal/whynot"
	"iwas/internal/wire"
)

// asks sends one Access-Request with FreeRADIUS's client, signed by key, and does not
// care for the answer.
func (b *bench) asks(key, request string) {
	b.t.Helper()
	path, err := exec.LookPath("radclient")
	if err != nil {
		b.t.Fatalf("radclient is missing: install the Debian package freeradius-utils (make peers does): %v", err)
	}
	cmd := exec.CommandContext(b.t.Context(), path, "-r", "1", "-t", "1", b.server.AuthAddr().String(), "auth", key)
	cmd.Stdin = strings.NewReader(strings.TrimSpace(request) + "\nMessage-Authenticator = 0x00\n") // an empty line would end it
	_ = cmd.Run()                                                                                  // a refusal is a failure to radclient
}

// failedAs waits for the record of a failed login and returns it.
func (b *bench) failedAs(name string, reason hotspot.Reason) hotspot.Reject {
	b.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) { // polls until it is kept
		all, err := b.db.Rejects(b.t.Context(), 1000)
		if err != nil {
			b.t.Fatal(err)
		}
		for _, r := range all {
			if r.Username == name && r.Reason == reason {
				return r
			}
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("no record of %s for %s in %+v", name, reason, all)
		}
	}
}

// TestEveryRefusalIsKeptAndExplained: for each reason there is, an independent client
// is refused, one record tells guest, device, router, reason and time, and the
// question why has a line for it.
func TestEveryRefusalIsKeptAndExplained(t *testing.T) {
	b := newBench(t, 0, wire.LimitsBody{})
	sealed, err := b.key.Public().Seal("pw")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	hour := wire.LimitsBody{TimeS: 3600}
	yesterday := strings.ToLower(now.UTC().Add(-24 * time.Hour).Weekday().String()[:3])
	account := func(name string, pass *wire.PassDoc) {
		docs := []wire.Doc{b.doc(wire.DocAccount, "a-"+name, wire.AccountDoc{Kind: hotspot.User, Username: name, Password: sealed})}
		if pass != nil {
			pass.Account = hotspot.AccountID("a-" + name)
			docs = append(docs, b.doc(wire.DocPass, "p-"+name, *pass))
		}
		b.put(docs...)
	}
	account("fine", &wire.PassDoc{Limits: hour})
	account("locked", &wire.PassDoc{Limits: hour})
	b.put(b.doc(wire.DocLock, "a-locked", wire.LockDoc{By: "Ana", Reason: "abuse", At: now}))
	account("paused", &wire.PassDoc{Limits: hour})
	b.put(b.doc(wire.DocLock, "a-paused", wire.LockDoc{By: "Ana", Reason: "paused", At: now, Pause: true}))
	account("passless", nil)
	account("early", &wire.PassDoc{Limits: hour, ValidFrom: now.Add(24 * time.Hour)})
	account("late", &wire.PassDoc{Limits: hour, ValidUntil: now.Add(-time.Hour)})
	account("closed", &wire.PassDoc{Limits: wire.LimitsBody{Hours: []string{yesterday + " 00:00-00:01"}}})
	b.put(b.doc(wire.DocAccount, "dev", wire.AccountDoc{Kind: hotspot.Device, Username: "02:00:00:00:0D:01"}), b.doc(wire.DocPass, "p-dev", wire.PassDoc{Account: "dev", Limits: hour}))
	b.put(b.doc(wire.DocAccount, "bad", wire.AccountDoc{Kind: hotspot.Device, Username: "02:00:00:00:0D:02"}), b.doc(wire.DocLock, "bad", wire.LockDoc{By: "Ana", At: now}))

	device := 0
	login := func(name, mac, credential string) string {
		if device++; mac == "" {
			mac = fmt.Sprintf("02:00:00:00:03:%02X", device)
		}
		b.asks(lockSecret, fmt.Sprintf("User-Name = %q\nCalling-Station-Id = %q\nFramed-IP-Address = 10.5.50.%d\n%s", name, mac, device, credential))
		return mac
	}
	why := asker{db: b.db}
	right := `User-Password = "pw"`
	for _, tc := range []struct {
		name, mac, credential string
		reason                hotspot.Reason
		verdict               whynot.Verdict
		line                  string // a part of it
	}{
		{"nobody", "", right, hotspot.ReasonUnknown, whynot.Unknown, "no guest called nobody here; it was tried once"},
		{"fine", "", `User-Password = "PW"`, hotspot.ReasonBadPassword, whynot.Cannot, "wrong password once"},
		{"fine", "", `CHAP-Password = "PW"`, hotspot.ReasonBadPassword, whynot.Cannot, "wrong password once"},
		{"fine", "", "", hotspot.ReasonNoCredential, whynot.Cannot, "sent no password"},
		{"fine", "", `MS-CHAP-Password = "pw"`, hotspot.ReasonNoCredential, whynot.Cannot, "sent no password"},
		{"fine", "", right + "\nCHAP-Password = \"pw\"", hotspot.ReasonTwoCredentials, whynot.Cannot, "cannot be read"},
		{"fine", "", right + "\nCHAP-Challenge = 0x01\nCHAP-Challenge = 0x02", hotspot.ReasonMalformed, whynot.Cannot, "cannot be read"},
		{"locked", "", right, hotspot.ReasonLocked, whynot.Cannot, "locked is locked, since"},
		{"paused", "", right, hotspot.ReasonPaused, whynot.Cannot, "paused is paused, since"},
		{"passless", "", right, hotspot.ReasonNoPass, whynot.Cannot, "has no pass"},
		{"early", "", right, hotspot.ReasonNotYetValid, whynot.Cannot, "is valid from"},
		{"late", "", right, hotspot.ReasonExpired, whynot.Cannot, "expired at"},
		{"closed", "", right, hotspot.ReasonOutsideHours, whynot.Cannot, "not be used at this hour"},
		{"02:00:00:00:0D:01", "02:00:00:00:0D:09", "", hotspot.ReasonMACMismatch, whynot.Cannot, "belongs to one device"},
		{"fine", "02:00:00:00:0D:02", right, hotspot.ReasonDeviceLocked, "", ""},
	} {
		t.Run(string(tc.reason)+" "+tc.name, func(t *testing.T) {
			b.t = t
			mac := login(tc.name, tc.mac, tc.credential)
			r := b.failedAs(tc.name, tc.reason)
			shown := rejectOf(r)
			if !strings.EqualFold(r.MAC.String(), mac) && tc.reason != hotspot.ReasonBadPassword && tc.reason != hotspot.ReasonNoCredential || r.NAS != "r1" || r.Silent || time.Since(r.At) > time.Minute || !r.IP.IsValid() || r.Message == "" {
				t.Errorf("kept %+v, want %s on %s, by r1, now, with what the guest read", r, tc.name, mac)
			}
			if shown.MAC == "" || strings.Contains(shown.MAC, mac[9:]) || shown.Meaning == "" {
				t.Errorf("shown %+v, want a masked device and plain words", shown)
			}
			a, err := why.why(t.Context(), tc.name, true)
			if err != nil {
				t.Fatal(err)
			}
			if tc.line != "" && (a.Verdict != tc.verdict || !strings.Contains(a.Why, tc.line) || a.Last == nil || a.Next == "") {
				t.Errorf("why: %+v, want %s, %q, and a next step", a, tc.verdict, tc.line)
			}
		})
	}
	b.t = t
	if a, err := why.why(t.Context(), "02:00:00:00:0D:02", true); err != nil || !strings.Contains(a.Why, "is locked") {
		t.Errorf("the locked device: %+v, %v", a, err)
	}

	// Ten wrong passwords: the next is not judged, and that is a record of its own.
	still := time.Now() // tries come back with time, and this machine may be slow
	b.frozen.Store(&still)
	for range 12 {
		login("guess", "02:00:00:00:0A:01", right)
	}
	if r := b.failedAs("guess", hotspot.ReasonUnknown); r.Count() != 10 {
		t.Errorf("ten guesses are %+v, want one record of ten times", r)
	}
	if r := b.failedAs("guess", hotspot.ReasonTooManyTries); r.Count() != 2 {
		t.Errorf("the two after them are %+v, want one record of two times", r)
	}
	b.frozen.Store(nil)

	// With another secret the guest's name is in the record all the same.
	b.asks("another secret", "User-Name = \"mara\"\nCalling-Station-Id = \"02:00:00:00:03:F1\"\n"+right)
	r := b.failedAs("mara", hotspot.ReasonBadSecret)
	if !r.Silent || r.NAS != "r1" || r.Source.String() != "127.0.0.1" {
		t.Errorf("another secret: %+v", r)
	}
	if a, err := why.why(t.Context(), "fine", true); err != nil || !a.Can && a.Verdict != whynot.Cannot {
		t.Errorf("%+v, %v", a, err)
	}
	if a, err := why.why(t.Context(), "mara", true); err != nil || !strings.Contains(a.Why, "another RADIUS secret") || a.Code != hotspot.ReasonBadSecret {
		t.Errorf("why mara: %+v, %v", a, err)
	}
}

// TestAskedByWhateverIsAtHand: name, code in any spelling, MAC, part of it, address.
func TestAskedByWhateverIsAtHand(t *testing.T) {
	b := newBench(t, 1, wire.LimitsBody{Devices: 1})
	b.put(b.doc(wire.DocAccount, "v", wire.AccountDoc{Kind: hotspot.Voucher, Username: "ABCD-2345"}), b.doc(wire.DocPass, "pv", wire.PassDoc{Account: "v"}))
	class := b.received("auth", "User-Name = \"user0\"\nUser-Password = \"pw\"\nCalling-Station-Id = \"AA:BB:CC:DD:EE:01\"\nAcct-Session-Id = \"80300001\"\nMessage-Authenticator = 0x00\n", "Access-Accept")
	_, class, _ = strings.Cut(class, "Class = ")
	class = strings.Fields(class)[0]
	b.received("acct", "User-Name = \"user0\"\nCalling-Station-Id = \"AA:BB:CC:DD:EE:01\"\nAcct-Session-Id = \"80300001\"\nFramed-IP-Address = 10.5.50.7\nAcct-Status-Type = Start\nClass = "+class+"\n", "Accounting-Response")
	why := asker{db: b.db}
	for asked, want := range map[string]string{
		"user0": "user0 is logged in right now", "AA-BB-CC-DD-EE-01": "user0 is logged in", "dd:ee:01": "user0 is logged in", "ee01": "user0 is logged in", "10.5.50.7": "user0 is logged in",
		"abcd2345": "ABCD-2345 can log in", "Abcd 2345": "ABCD-2345 can log in", "10.5.50.99": "No login came from a device like 10.5.50.99",
		"usr0": "There is no guest called usr0", "ee": "There is no guest called ee",
	} {
		a, err := why.why(t.Context(), asked, true)
		if err != nil || !strings.HasPrefix(a.Why, want) {
			t.Errorf("%q: got %+v, %v; want %q…", asked, a, err, want)
		}
	}
	if a, err := why.why(t.Context(), "usr0", true); err != nil || a.Next != "The closest: user0." {
		t.Errorf("whoever signed in: %+v, %v; want the closest name", a, err)
	}
	if a, err := why.why(t.Context(), "ABCD-2354", false); err != nil || strings.Contains(a.Why+a.Next, "2345") {
		t.Errorf("whoever did not: %+v, %v; a code is a password and is not told", a, err)
	}
	for _, asked := range []string{"", "  ", strings.Repeat("x", askedBound+1)} {
		if a, err := why.why(t.Context(), asked, true); err == nil {
			t.Errorf("%d letters: %+v, want no answer", len(asked), a)
		}
	}
	// The page says what the command says.
	page, err := whyForPage(t.Context(), why, "user0", true)
	command, err2 := (&control{db: b.db}).why(t.Context(), whyAsk{"user0"})
	if err != nil || err2 != nil || page.Line != command.Why || page.Next != command.Next || page.Command != command.Command || page == (statuspage.Why{}) {
		t.Errorf("page %+v, %v\ncommand %+v, %v", page, err, command, err2)
	}
}

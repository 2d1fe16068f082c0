package aaa

import (
	"crypto/md5"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"iwas/internal/hotspot"
)

var (
	now    = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	phone  = hotspot.MAC{0xaa, 0xbb, 0xcc, 0, 0, 1}
	laptop = hotspot.MAC{0xaa, 0xbb, 0xcc, 0, 0, 2}
)

func clear(p string) hotspot.Credential {
	return hotspot.Credential{Kind: hotspot.Clear, Clear: hotspot.Password(p)}
}

func chap(p string) hotspot.Credential {
	c := hotspot.Credential{Kind: hotspot.CHAP, CHAPID: 7, Challenge: []byte("0123456789abcdef")}
	h := md5.Sum([]byte("\x07" + p + "0123456789abcdef"))
	c.Response = h[:]
	return c
}

func user(l hotspot.Limits, u hotspot.Usage) hotspot.Facts {
	return hotspot.Facts{Account: &hotspot.Account{ID: "a1", Kind: hotspot.User, Username: "bob"}, Password: "hello",
		Pass: &hotspot.Pass{ID: "p1", Limits: l, Usage: u}, Now: now}
}

func TestCredentials(t *testing.T) {
	voucher := hotspot.Facts{Account: &hotspot.Account{Kind: hotspot.Voucher, Username: "ABCD-2345"}, Pass: &hotspot.Pass{}, Now: now}
	device := hotspot.Facts{Account: &hotspot.Account{Kind: hotspot.Device, Username: phone.String()}, Pass: &hotspot.Pass{}, Now: now}
	bob := user(hotspot.Limits{}, hotspot.Usage{})
	for name, tc := range map[string]struct {
		facts hotspot.Facts
		req   hotspot.Request
		want  hotspot.Reason
	}{
		"nobody of that name":                  {hotspot.Facts{}, hotspot.Request{Username: "x", Credential: clear("x")}, hotspot.ReasonUnknown},
		"user, PAP":                            {bob, hotspot.Request{Username: "bob", Credential: clear("hello")}, ""},
		"user, CHAP":                           {bob, hotspot.Request{Username: "bob", Credential: chap("hello")}, ""},
		"user, wrong PAP":                      {bob, hotspot.Request{Username: "bob", Credential: clear("hell")}, hotspot.ReasonBadPassword},
		"user, wrong CHAP":                     {bob, hotspot.Request{Username: "bob", Credential: chap("hullo")}, hotspot.ReasonBadPassword},
		"user, empty password":                 {bob, hotspot.Request{Username: "bob", Credential: clear("")}, hotspot.ReasonBadPassword},
		"user, no credential":                  {bob, hotspot.Request{Username: "bob"}, hotspot.ReasonNoCredential},
		"voucher, no password":                 {voucher, hotspot.Request{Username: "abcd2345"}, ""},
		"voucher, empty PAP":                   {voucher, hotspot.Request{Username: "abcd2345", Credential: clear("")}, ""},
		"voucher, code as password, any spell": {voucher, hotspot.Request{Username: "ABCD2345", Credential: clear("abcd-2345")}, ""},
		"voucher, CHAP of the typed code":      {voucher, hotspot.Request{Username: "abcd2345", Credential: chap("abcd2345")}, ""},
		"voucher, other password":              {voucher, hotspot.Request{Username: "ABCD2345", Credential: clear("zzz")}, hotspot.ReasonBadPassword},
		"device, no password":                  {device, hotspot.Request{Username: phone.String(), MAC: phone}, ""},
		"device, CHAP of empty":                {device, hotspot.Request{Username: phone.String(), MAC: phone, Credential: chap("")}, ""},
		"device, name as password":             {device, hotspot.Request{Username: "aabbcc000001", MAC: phone, Credential: clear("aabbcc000001")}, ""},
		"device, from another MAC":             {device, hotspot.Request{Username: phone.String(), MAC: laptop}, hotspot.ReasonMACMismatch},
		"device, MAC not known":                {device, hotspot.Request{Username: phone.String()}, hotspot.ReasonMACMismatch},
		"device, other password":               {device, hotspot.Request{Username: phone.String(), MAC: phone, Credential: clear("x")}, hotspot.ReasonBadPassword},
	} {
		if got := Decide(tc.facts, tc.req); got.Reason != tc.want || got.Accept != (tc.want == "") {
			t.Errorf("%s: got %+v, want reason %q", name, got, tc.want)
		}
	}
}

func TestLimits(t *testing.T) {
	h := time.Hour
	for name, tc := range map[string]struct {
		limits  hotspot.Limits
		usage   hotspot.Usage
		until   time.Time
		want    hotspot.Reason
		timeout time.Duration
	}{
		"no limit at all":               {hotspot.Limits{}, hotspot.Usage{}, time.Time{}, "", 0},
		"first use of continuous time":  {hotspot.Limits{Time: h}, hotspot.Usage{}, time.Time{}, "", h},
		"continuous runs offline too":   {hotspot.Limits{Time: h}, hotspot.Usage{FirstUsed: now.Add(-40 * time.Minute)}, time.Time{}, "", 20 * time.Minute},
		"continuous is over":            {hotspot.Limits{Time: h}, hotspot.Usage{FirstUsed: now.Add(-h)}, time.Time{}, hotspot.ReasonTimeUsed, 0},
		"less than a second is nothing": {hotspot.Limits{Time: h}, hotspot.Usage{FirstUsed: now.Add(-h + 900*time.Millisecond)}, time.Time{}, hotspot.ReasonTimeUsed, 0},
		"metered counts use only":       {hotspot.Limits{Time: h, Clock: hotspot.Metered}, hotspot.Usage{FirstUsed: now.Add(-9 * h), Time: 10 * time.Minute}, time.Time{}, "", 50 * time.Minute},
		"metered is used":               {hotspot.Limits{Time: h, Clock: hotspot.Metered}, hotspot.Usage{Time: h}, time.Time{}, hotspot.ReasonTimeUsed, 0},
		"validity is the least":         {hotspot.Limits{Time: h}, hotspot.Usage{}, now.Add(5 * time.Minute), "", 5 * time.Minute},
		"validity is over":              {hotspot.Limits{}, hotspot.Usage{}, now, hotspot.ReasonExpired, 0},
		"upload used":                   {hotspot.Limits{Upload: 100}, hotspot.Usage{Upload: 100}, time.Time{}, hotspot.ReasonDataUsed, 0},
		"total counts both ways":        {hotspot.Limits{Total: 100}, hotspot.Usage{Upload: 50, Download: 50}, time.Time{}, hotspot.ReasonDataUsed, 0},
		"above 32 bits of seconds":      {hotspot.Limits{Time: 200 * 365 * 24 * h}, hotspot.Usage{}, time.Time{}, "", math.MaxUint32 * time.Second},
	} {
		f := user(tc.limits, tc.usage)
		f.Pass.ValidUntil = tc.until
		got := Decide(f, hotspot.Request{Username: "bob", Credential: clear("hello")})
		if got.Reason != tc.want || got.SessionTimeout != tc.timeout {
			t.Errorf("%s: got %q, %v; want %q, %v", name, got.Reason, got.SessionTimeout, tc.want, tc.timeout)
		}
	}
}

func TestDevicesAtOnceCountsReservationsAndForgivesTheSameDevice(t *testing.T) {
	f := user(hotspot.Limits{Devices: 1}, hotspot.Usage{})
	req := hotspot.Request{Username: "bob", Credential: clear("hello"), MAC: phone}
	f.Sessions = []hotspot.Session{{MAC: phone, State: hotspot.Live}}
	if got := Decide(f, req); !got.Accept {
		t.Errorf("the same device again: got %q, want accept", got.Reason)
	}
	f.Sessions = []hotspot.Session{{MAC: laptop, State: hotspot.Reserved}}
	if got := Decide(f, req); got.Reason != hotspot.ReasonTooManyDevices {
		t.Errorf("a promised session of another device: got %q, want %q", got.Reason, hotspot.ReasonTooManyDevices)
	}
	f.Sessions = []hotspot.Session{{MAC: laptop, State: hotspot.Closed}}
	if got := Decide(f, req); !got.Accept {
		t.Errorf("a closed session: got %q, want accept", got.Reason)
	}
}

func TestAWrongPasswordLearnsNothing(t *testing.T) {
	f := user(hotspot.Limits{}, hotspot.Usage{})
	f.Lock = &hotspot.Lock{}
	if got := Decide(f, hotspot.Request{Username: "bob", Credential: clear("guess")}); got.Reason != hotspot.ReasonBadPassword {
		t.Errorf("got %q, want %q", got.Reason, hotspot.ReasonBadPassword)
	}
	if got := Decide(f, hotspot.Request{Username: "bob", Credential: clear("hello")}); got.Reason != hotspot.ReasonLocked {
		t.Errorf("got %q, want %q", got.Reason, hotspot.ReasonLocked)
	}
}

func TestEveryReasonHasItsSentences(t *testing.T) {
	for reason, s := range sentences {
		for _, text := range []string{s.en, s.ar, s.technician} {
			if text == "" || len(text) > 253 {
				t.Errorf("%s: sentence of %d octets, want 1 to 253: %q", reason, len(text), text)
			}
		}
	}
}

// TestNoAcceptBreaksALimit draws passes at random and holds every Accept
// against the limits themselves.
func TestNoAcceptBreaksALimit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dur := func(label string) time.Duration {
			return time.Duration(rapid.Int64Range(0, 1e6).Draw(t, label)) * time.Second
		}
		oct := func(label string) hotspot.Octets {
			return hotspot.Octets(rapid.Uint64Range(0, 1<<40).Draw(t, label))
		}
		l := hotspot.Limits{Time: dur("time"), Upload: oct("up"), Download: oct("down"), Total: oct("total"),
			Clock: rapid.SampledFrom([]hotspot.Clock{hotspot.Continuous, hotspot.Metered, ""}).Draw(t, "clock")}
		u := hotspot.Usage{Time: dur("used"), Upload: oct("uu"), Download: oct("ud")}
		if rapid.Bool().Draw(t, "used before") {
			u.FirstUsed = now.Add(-dur("ago"))
		}
		f := user(l, u)
		if rapid.Bool().Draw(t, "locked") {
			f.Lock = &hotspot.Lock{}
		}
		v := Decide(f, hotspot.Request{Username: "bob", Credential: clear("hello")})
		if !v.Accept {
			return
		}
		if f.Lock != nil {
			t.Fatal("a locked account was let in")
		}
		if l.Time > 0 {
			end := l.Time - u.Time
			if l.Clock != hotspot.Metered {
				end = l.Time
				if !u.FirstUsed.IsZero() {
					end = u.FirstUsed.Add(l.Time).Sub(now)
				}
			}
			if v.SessionTimeout < time.Second || v.SessionTimeout > end {
				t.Fatalf("Session-Timeout %v, want 1s to %v", v.SessionTimeout, end)
			}
		}
		if l.Total > 0 && (v.TotalLeft == 0 || u.Upload+u.Download+v.TotalLeft > l.Total) {
			t.Fatalf("total left %d of %d after %d", v.TotalLeft, l.Total, u.Upload+u.Download)
		}
	})
}

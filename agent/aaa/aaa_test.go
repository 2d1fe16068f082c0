package aaa

import (
	"crypto/md5"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

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

func short(c hotspot.Credential) hotspot.Credential {
	c.Response = c.Response[:15]
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
	bare, fixed := bob, device
	bare.Password, fixed.Password = "", "mac-secret"
	later := hotspot.Facts{Account: &hotspot.Account{Kind: "passkey", Username: "x"}, Pass: &hotspot.Pass{}, Now: now}
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
		"voucher, CHAP of the code as printed": {voucher, hotspot.Request{Username: "abcd2345", Credential: chap("ABCD-2345")}, ""},
		"voucher, CHAP of the bare code":       {voucher, hotspot.Request{Username: "abcd-2345", Credential: chap("ABCD2345")}, ""},
		"voucher, CHAP of nothing":             {voucher, hotspot.Request{Username: "abcd-2345", Credential: chap("")}, ""},
		"voucher, another's code":              {voucher, hotspot.Request{Username: "ABCD-2346", Credential: clear("ABCD-2346")}, hotspot.ReasonBadPassword},
		"device, MAC in another spelling":      {device, hotspot.Request{Username: phone.String(), MAC: phone, Credential: clear("aabb.cc00.0001")}, ""},
		"device, CHAP of the name as sent":     {device, hotspot.Request{Username: "aa-bb-cc-00-00-01", MAC: phone, Credential: chap("aa-bb-cc-00-00-01")}, ""},
		"device, the router's fixed password":  {fixed, hotspot.Request{Username: phone.String(), MAC: phone, Credential: chap("mac-secret")}, ""},
		"device, another MAC as password":      {device, hotspot.Request{Username: phone.String(), MAC: phone, Credential: clear(laptop.String())}, hotspot.ReasonBadPassword},
		"device, name of another MAC":          {device, hotspot.Request{Username: laptop.String(), MAC: phone}, hotspot.ReasonMACMismatch},
		"device, name that is no MAC":          {device, hotspot.Request{Username: "bob", MAC: phone}, hotspot.ReasonMACMismatch},
		"user without a password, empty PAP":   {bare, hotspot.Request{Username: "bob", Credential: clear("")}, hotspot.ReasonBadPassword},
		"user without a password, empty CHAP":  {bare, hotspot.Request{Username: "bob", Credential: chap("")}, hotspot.ReasonBadPassword},
		"a kind nobody knows, no credential":   {later, hotspot.Request{Username: "x"}, hotspot.ReasonBadPassword},
		"a kind nobody knows, empty PAP":       {later, hotspot.Request{Username: "x", Credential: clear("")}, hotspot.ReasonBadPassword},
		"user, NUL in the name":                {bob, hotspot.Request{Username: "bob\x00admin", Credential: clear("hello")}, hotspot.ReasonMalformed},
		"user, NUL in the password":            {bob, hotspot.Request{Username: "bob", Credential: clear("hello\x00junk")}, hotspot.ReasonMalformed},
		"user, name as the password":           {bob, hotspot.Request{Username: "bob", Credential: clear("bob")}, hotspot.ReasonBadPassword},
		"user, password in capitals":           {bob, hotspot.Request{Username: "bob", Credential: clear("HELLO")}, hotspot.ReasonBadPassword},
		"user, CHAP of one octet too few":      {bob, hotspot.Request{Username: "bob", Credential: short(chap("hello"))}, hotspot.ReasonBadPassword},
		"voucher, spaces in the code":          {voucher, hotspot.Request{Username: "abcd 2345", Credential: clear("AB CD-23 45")}, ""},
		"voucher, CHAP in small letters":       {voucher, hotspot.Request{Username: "ABCD2345", Credential: chap("abcd-2345")}, ""},
		"voucher, CHAP of another code":        {voucher, hotspot.Request{Username: "ABCD2345", Credential: chap("abcd-2346")}, hotspot.ReasonBadPassword},
		"device, the fixed password over PAP":  {fixed, hotspot.Request{Username: phone.String(), MAC: phone, Credential: clear("mac-secret")}, ""},
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
		"no limit at all":                      {hotspot.Limits{}, hotspot.Usage{}, time.Time{}, "", 0},
		"first use of continuous time":         {hotspot.Limits{Time: h}, hotspot.Usage{}, time.Time{}, "", h},
		"continuous runs offline too":          {hotspot.Limits{Time: h}, hotspot.Usage{FirstUsed: now.Add(-40 * time.Minute)}, time.Time{}, "", 20 * time.Minute},
		"continuous is over":                   {hotspot.Limits{Time: h}, hotspot.Usage{FirstUsed: now.Add(-h)}, time.Time{}, hotspot.ReasonTimeUsed, 0},
		"less than a second is nothing":        {hotspot.Limits{Time: h}, hotspot.Usage{FirstUsed: now.Add(-h + 900*time.Millisecond)}, time.Time{}, hotspot.ReasonTimeUsed, 0},
		"a clock set back sells nothing twice": {hotspot.Limits{Time: h}, hotspot.Usage{FirstUsed: now.Add(9 * h)}, time.Time{}, "", h},
		"metered counts use only":              {hotspot.Limits{Time: h, Clock: hotspot.Metered}, hotspot.Usage{FirstUsed: now.Add(-9 * h), Time: 10 * time.Minute}, time.Time{}, "", 50 * time.Minute},
		"metered is used":                      {hotspot.Limits{Time: h, Clock: hotspot.Metered}, hotspot.Usage{Time: h}, time.Time{}, hotspot.ReasonTimeUsed, 0},
		"validity is the least":                {hotspot.Limits{Time: h}, hotspot.Usage{}, now.Add(5 * time.Minute), "", 5 * time.Minute},
		"validity is over":                     {hotspot.Limits{}, hotspot.Usage{}, now, hotspot.ReasonExpired, 0},
		"upload used":                          {hotspot.Limits{Upload: 100}, hotspot.Usage{Upload: 100}, time.Time{}, hotspot.ReasonDataUsed, 0},
		"total counts both ways":               {hotspot.Limits{Total: 100}, hotspot.Usage{Upload: 50, Download: 50}, time.Time{}, hotspot.ReasonDataUsed, 0},
		"above 32 bits of seconds":             {hotspot.Limits{Time: 200 * 365 * 24 * h}, hotspot.Usage{}, time.Time{}, "", math.MaxUint32 * time.Second},
	} {
		f := user(tc.limits, tc.usage)
		f.Pass.ValidUntil = tc.until
		got := Decide(f, hotspot.Request{Username: "bob", Credential: clear("hello")})
		if got.Reason != tc.want || got.SessionTimeout != tc.timeout {
			t.Errorf("%s: got %q, %v; want %q, %v", name, got.Reason, got.SessionTimeout, tc.want, tc.timeout)
		}
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

// TestALockedDeviceIsRefusedWhateverItAsks: with any account, none, or a wrong
// password; and it learns nothing but that it is locked.
func TestALockedDeviceIsRefusedWhateverItAsks(t *testing.T) {
	lock := &hotspot.Lock{By: "owner", Reason: "Misuse", At: now}
	bob := user(hotspot.Limits{}, hotspot.Usage{})
	locked, bare := bob, bob
	locked.Lock, bare.Pass = &hotspot.Lock{}, nil
	voucher := hotspot.Facts{Account: &hotspot.Account{ID: "v1", Kind: hotspot.Voucher, Username: "ABCD-2345"}, Pass: &hotspot.Pass{}, Now: now}
	own := hotspot.Facts{Account: &hotspot.Account{ID: "d1", Kind: hotspot.Device, Username: phone.String()}, Pass: &hotspot.Pass{}, Lock: lock, Now: now}
	full := user(hotspot.Limits{Devices: 1, Swap: hotspot.SwapMove}, hotspot.Usage{})
	full.Sessions = []*hotspot.Session{{MAC: laptop, State: hotspot.Live}}
	for name, tc := range map[string]struct {
		facts hotspot.Facts
		req   hotspot.Request
	}{
		"a user":                    {bob, hello(phone)},
		"a user's wrong password":   {bob, hotspot.Request{Username: "bob", MAC: phone, Credential: clear("guess")}},
		"a locked user":             {locked, hello(phone)},
		"a user without a pass":     {bare, hello(phone)},
		"a user with a device on":   {full, hello(phone)},
		"a voucher":                 {voucher, hotspot.Request{Username: "abcd2345", MAC: phone}},
		"its own account":           {own, hotspot.Request{Username: phone.String(), MAC: phone}},
		"a name that nobody has":    {hotspot.Facts{Now: now}, hotspot.Request{Username: "x", MAC: phone, Credential: clear("x")}},
		"a name with a NUL":         {bob, hotspot.Request{Username: "bob\x00", MAC: phone, Credential: clear("hello")}},
		"a user without credential": {bob, hotspot.Request{Username: "bob", MAC: phone}},
	} {
		tc.facts.Device = lock
		for language, message := range map[string]string{"en": "This device is locked. Please ask at the counter.", "ar": sentences[hotspot.ReasonDeviceLocked].ar} {
			tc.facts.Language = language
			got := Decide(tc.facts, tc.req)
			if got.Accept || got.Reason != hotspot.ReasonDeviceLocked || got.Message != message || got.Move || len(got.Others) > 0 ||
				got.Detail != "this device is locked, whatever account it logs in with: locked on Tue 24 Nov 2026 12:00 UTC by owner: Misuse" {
				t.Errorf("%s: got %+v, want the device refused", name, got)
			}
			tc.facts.Device = nil
			if again := Decide(tc.facts, tc.req); again.Reason == hotspot.ReasonDeviceLocked {
				t.Errorf("%s: refused for its device, which is not locked", name)
			}
			tc.facts.Device = lock
		}
	}
}

// reasons is every code of the vocabulary, in the order of its declaration.
var reasons = []hotspot.Reason{hotspot.ReasonUnknown, hotspot.ReasonBadPassword, hotspot.ReasonNoCredential,
	hotspot.ReasonTwoCredentials, hotspot.ReasonMalformed, hotspot.ReasonMACMismatch, hotspot.ReasonLocked, hotspot.ReasonPaused, hotspot.ReasonDeviceLocked, hotspot.ReasonNoPass,
	hotspot.ReasonNotYetValid, hotspot.ReasonExpired, hotspot.ReasonTimeUsed, hotspot.ReasonDataUsed,
	hotspot.ReasonOutsideHours, hotspot.ReasonTooManyDevices, hotspot.ReasonTooManyTries, hotspot.ReasonNoRoom, hotspot.ReasonBadSecret}

func TestEveryReasonHasItsSentences(t *testing.T) {
	if len(reasons) != len(sentences) {
		t.Errorf("%d reasons, %d of them have sentences", len(reasons), len(sentences))
	}
	for _, reason := range reasons {
		s := sentences[reason]
		for _, text := range []string{s.en, s.ar, s.technician} {
			if text == "" || len(text) > 253 || !utf8.ValidString(text) {
				t.Errorf("%s: sentence of %d octets, want 1 to 253: %q", reason, len(text), text)
			}
		}
	}
}

func TestTheLoginPageDoesNotTellWhichNamesExist(t *testing.T) {
	stranger := Decide(hotspot.Facts{}, hotspot.Request{Username: "alice", Credential: clear("x")})
	wrong := Decide(user(hotspot.Limits{}, hotspot.Usage{}), hotspot.Request{Username: "bob", Credential: clear("x")})
	if stranger.Message != wrong.Message || stranger.Message == "" {
		t.Errorf("unknown name reads %q, wrong password %q; want one sentence", stranger.Message, wrong.Message)
	}
	if a, b := TechnicianMessage(stranger.Reason), TechnicianMessage(wrong.Reason); a == b {
		t.Errorf("the technician reads %q for both", a)
	}
}

func TestTheGuestReadsTheSiteLanguage(t *testing.T) {
	f := user(hotspot.Limits{}, hotspot.Usage{})
	f.Lock = &hotspot.Lock{}
	for language, want := range map[string]string{"ar": sentences[hotspot.ReasonLocked].ar, "en": sentences[hotspot.ReasonLocked].en,
		"": sentences[hotspot.ReasonLocked].en, "fr": sentences[hotspot.ReasonLocked].en} {
		f.Language = language
		if got := Decide(f, hotspot.Request{Username: "bob", Credential: clear("hello")}); got.Message != want {
			t.Errorf("language %q: got %q, want %q", language, got.Message, want)
		}
	}
	if got := GuestMessage("a reason of a later version", "ar"); got == "" {
		t.Error("a reason without a sentence says nothing")
	}
}

// Who paused their time did nothing wrong: they are not told that they are blocked.
func TestAPausedGuestIsToldSo(t *testing.T) {
	f := user(hotspot.Limits{}, hotspot.Usage{})
	f.Lock = &hotspot.Lock{By: "maria (cashier)", At: now, Reason: "lunch", Pause: true}
	for language, want := range map[string]string{"en": "Your time is paused. Please ask at the counter to go on.", "ar": sentences[hotspot.ReasonPaused].ar} {
		f.Language = language
		got := Decide(f, hotspot.Request{Username: "bob", Credential: clear("hello")})
		if got.Accept || got.Reason != hotspot.ReasonPaused || got.Message != want || got.Detail != "paused on Tue 24 Nov 2026 12:00 UTC by maria (cashier): lunch" {
			t.Errorf("in %q: got %+v, want %q", language, got, want)
		}
	}
	if got := Decide(f, hotspot.Request{Username: "bob", Credential: clear("guess")}); got.Reason != hotspot.ReasonBadPassword {
		t.Errorf("a wrong password learns of the pause: %+v", got)
	}
}

func TestAnAcceptCarriesThePlan(t *testing.T) {
	rate, err := hotspot.ParseRateLimit("2M/10M")
	if err != nil {
		t.Fatal(err)
	}
	f := user(hotspot.Limits{Time: time.Hour, Rate: rate, Devices: 3, IdleTimeout: 5 * time.Minute, Upload: 10, Download: 20, Total: 25,
		AddressLists: []string{"vip"}}, hotspot.Usage{Upload: 4, Download: 5})
	got := Decide(f, hotspot.Request{Username: "bob", Credential: clear("hello"), MAC: phone})
	want := hotspot.Verdict{Accept: true, Account: "a1", Pass: "p1", SessionTimeout: time.Hour, IdleTimeout: 5 * time.Minute,
		InterimInterval: 120 * time.Second, Rate: rate, Devices: 3, UploadLeft: 6, DownloadLeft: 15, TotalLeft: 16,
		AddressLists: []string{"vip"}, FirstUse: true}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	f.Pass.Usage.FirstUsed = now
	if got := Decide(f, hotspot.Request{Username: "bob", Credential: clear("hello")}); got.FirstUse {
		t.Error("a pass used before starts its clock again")
	}
	f.Pass.Limits.ListsByAPI = true
	if got := Decide(f, hotspot.Request{Username: "bob", Credential: clear("hello")}); !got.Accept || got.AddressLists != nil {
		t.Errorf("got lists %v in the Accept, want them left to the API", got.AddressLists)
	}
}

func TestOffReason(t *testing.T) {
	used := &hotspot.Pass{Limits: hotspot.Limits{Time: time.Hour, Clock: hotspot.Metered}, Usage: hotspot.Usage{Time: time.Hour}}
	for name, tc := range map[string]struct {
		pass *hotspot.Pass
		lock *hotspot.Lock
		want hotspot.OffReason
	}{
		"in order":                    {&hotspot.Pass{}, nil, ""},
		"locked before all else":      {used, &hotspot.Lock{}, hotspot.OffLocked},
		"time used":                   {used, nil, hotspot.OffTimeUsed},
		"data used":                   {&hotspot.Pass{Limits: hotspot.Limits{Download: 5}, Usage: hotspot.Usage{Download: 6}}, nil, hotspot.OffDataUsed},
		"validity over":               {&hotspot.Pass{ValidUntil: now}, nil, hotspot.OffNotValid},
		"validity not begun":          {&hotspot.Pass{ValidFrom: now.Add(time.Second)}, nil, hotspot.OffNotValid},
		"without a pass":              {nil, nil, hotspot.OffNotValid},
		"validity begins this second": {&hotspot.Pass{ValidFrom: now}, nil, ""},
	} {
		if got := OffReason(tc.pass, tc.lock, now); got != tc.want {
			t.Errorf("%s: got %q, want %q", name, got, tc.want)
		}
	}
}

// TestACredentialOfAnotherNeverOpens draws names and passwords at random: what
// is not the account's credential is refused, whatever form it takes.
func TestACredentialOfAnotherNeverOpens(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		kind := rapid.SampledFrom([]hotspot.AccountKind{hotspot.User, hotspot.Voucher, hotspot.Device}).Draw(t, "kind")
		name := map[hotspot.AccountKind]string{hotspot.User: "bob", hotspot.Voucher: "ABCD-2345", hotspot.Device: phone.String()}[kind]
		f := hotspot.Facts{Account: &hotspot.Account{Kind: kind, Username: name}, Password: "hello", Pass: &hotspot.Pass{}, Now: now}
		guess := rapid.StringMatching(`[a-zA-Z0-9:.-]{1,17}`).Draw(t, "guess")
		bare := strings.ToUpper(strings.NewReplacer("-", "", ":", "", ".", "").Replace(guess))
		if guess == "hello" || bare == "ABCD2345" || bare == "AABBCC000001" {
			return
		}
		c := clear(guess)
		if rapid.Bool().Draw(t, "CHAP") {
			c = chap(guess)
		}
		if v := Decide(f, hotspot.Request{Username: name, MAC: phone, Credential: c}); v.Accept {
			t.Fatalf("%s %q let in with %q", kind, name, guess)
		}
	})
}

package aaa

import (
	"crypto/md5"
	"math/rand/v2"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"iwas/internal/hotspot"
)

// FuzzDecide judges any request of any account by any facts: it never panics, a
// refusal grants nothing, and whoever is let in, or told what keeps them out, has
// proven who they are.
func FuzzDecide(f *testing.F) {
	random := rand.NewChaCha8([32]byte{})
	for range 400 { // each is read as the choices of one login
		seed := make([]byte, 6<<10)
		random.Read(seed)
		f.Add(seed)
	}
	zone := berlin(f)
	f.Fuzz(rapid.MakeFuzz(func(t *rapid.T) {
		facts := drawFacts(t, zone)
		r := drawRequest(t, &facts)
		v := Decide(facts, r)
		if !v.Accept {
			refusalGrantsNothing(t, v)
		}
		switch v.Reason {
		case hotspot.ReasonDeviceLocked, hotspot.ReasonUnknown, hotspot.ReasonBadPassword, hotspot.ReasonNoCredential, hotspot.ReasonMACMismatch, hotspot.ReasonMalformed:
			return
		}
		// Whoever is told more has proven who they are.
		if facts.Account == nil || facts.Device != nil || v.Accept && (facts.Lock != nil || facts.Pass == nil) {
			t.Fatalf("%q by facts %+v", v.Reason, facts)
		}
		if !proven(facts, r) {
			t.Fatalf("%q without proof: a %s %q with %q, asked as %q from %s with %+v", v.Reason, facts.Account.Kind, facts.Account.Username, facts.Password.Reveal(), r.Username, r.MAC, r.Credential)
		}
	}))
}

// drawRequest makes the account one of any kind and asks for it, mostly by what
// is near the truth.
func drawRequest(t *rapid.T, f *hotspot.Facts) (r hotspot.Request) {
	a := *f.Account
	a.Kind = rapid.SampledFrom([]hotspot.AccountKind{hotspot.User, hotspot.Voucher, hotspot.Device, "passkey"}).Draw(t, "kind")
	a.Username = rapid.SampledFrom([]string{"bob", "ABCD-2345", phone.String(), laptop.String(), "", "bob\x00"}).Draw(t, "account")
	f.Account = &a
	f.Password = hotspot.Password(rapid.SampledFrom([]string{"hello", "", "bob", phone.String()}).Draw(t, "password"))
	switch rapid.IntRange(0, 15).Draw(t, "missing") {
	case 0:
		f.Account, f.Password = nil, ""
	case 1:
		f.Pass, f.Sessions = nil, nil
	}
	near := []string{a.Username, f.Password.Reveal(), strings.ToLower(a.Username), "ABCD2345", "aabbcc000001", "hello\x00junk", rapid.String().Draw(t, "any")}
	r.Username = rapid.SampledFrom(near).Draw(t, "name")
	r.MAC = rapid.SampledFrom([]hotspot.MAC{phone, laptop, {}}).Draw(t, "mac")
	sent := rapid.SampledFrom(near).Draw(t, "sent")
	switch rapid.IntRange(0, 3).Draw(t, "method") {
	case 1:
		r.Credential = clear(sent)
	case 2:
		r.Credential = chap(sent)
	case 3: // whatever a decoder lets through
		r.Credential = hotspot.Credential{Kind: hotspot.CHAP, CHAPID: rapid.Byte().Draw(t, "id"),
			Response: rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "response"), Challenge: rapid.SliceOfN(rapid.Byte(), 0, 253).Draw(t, "challenge")}
	}
	return r
}

// proven says in other words than the code's that the request proves the account.
func proven(f hotspot.Facts, r hotspot.Request) bool {
	is := func(password string) bool {
		switch c := r.Credential; c.Kind {
		case hotspot.Clear:
			return c.Clear.Reveal() == password
		case hotspot.CHAP:
			sum := md5.Sum([]byte(string([]byte{c.CHAPID}) + password + string(c.Challenge)))
			return string(sum[:]) == string(c.Response)
		}
		return false
	}
	bare := func(s string) string {
		return strings.ToUpper(strings.NewReplacer("-", "", " ", "", ":", "", ".", "").Replace(s))
	}
	none := r.Credential.Kind == hotspot.NoCredential || is("")
	name, mine := r.Username, f.Account.Username
	sameAsClear := r.Credential.Kind == hotspot.Clear && bare(r.Credential.Clear.Reveal()) == bare(mine)
	spelled := is(name) || is(mine) || is(bare(mine)) || is(strings.ToLower(mine)) || is(strings.ToLower(bare(mine)))
	switch f.Account.Kind {
	case hotspot.User:
		return f.Password != "" && is(f.Password.Reveal())
	case hotspot.Voucher:
		return none || sameAsClear || spelled
	case hotspot.Device:
		return bare(name) == bare(mine) && bare(mine) == bare(r.MAC.String()) && (none || sameAsClear || spelled || is(f.Password.Reveal()))
	}
	return false
}

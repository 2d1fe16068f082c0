package aaa

import (
	"strings"

	"iwas/internal/hotspot"
)

// checkCredential applies the rules of the account's kind. The account was found
// by hotspot.LoginKey of the name, so users' names are equal byte for byte.
func checkCredential(a *hotspot.Account, password hotspot.Password, r *hotspot.Request) hotspot.Reason {
	// "bob\0admin" must never be bob (radius.md §3), whoever decoded it.
	if strings.IndexByte(r.Username, 0) >= 0 || strings.IndexByte(r.Credential.Clear.Reveal(), 0) >= 0 {
		return hotspot.ReasonMalformed
	}
	ok := false
	switch a.Kind {
	case hotspot.User:
		if r.Credential.Kind == hotspot.NoCredential {
			return hotspot.ReasonNoCredential
		}
		// An account without a password is one nobody can log in to: an empty
		// User-Password must never match it.
		ok = r.Credential.Matches(password) && password != ""
	case hotspot.Voucher:
		ok = voucherProves(a, r)
	case hotspot.Device:
		// The router asks for the device it sees; a form that names another one's
		// MAC is no proof of having it.
		m, isMAC := hotspot.ParseMAC(a.Username)
		if named, nameIsMAC := hotspot.ParseMAC(r.Username); !isMAC || !nameIsMAC || named != m || m != r.MAC {
			return hotspot.ReasonMACMismatch
		}
		ok = deviceProves(a, m, password, r)
	}
	// A kind of a later version proves itself in a way nobody here knows.
	if !ok {
		return hotspot.ReasonBadPassword
	}
	return hotspot.ReasonNone
}

// voucherProves: the code is the only credential, so whoever names it has it. A
// page may send it as the password too, in the spelling the guest typed, or
// send none; another password is a sign that something else was meant.
func voucherProves(a *hotspot.Account, r *hotspot.Request) bool {
	if r.Credential.Kind == hotspot.NoCredential {
		return true
	}
	key := hotspot.LoginKey(hotspot.Voucher, a.Username)
	if r.Credential.Kind == hotspot.Clear {
		sent := r.Credential.Clear.Reveal()
		return sent == "" || hotspot.LoginKey(hotspot.Voucher, sent) == key
	}
	return matchesAny(r.Credential, "", r.Username, a.Username, key, strings.ToLower(a.Username), strings.ToLower(key))
}

// deviceProves: mac-as-username sends an empty password, or mac-auth-password
// where the router has one; mac-as-username-and-password the name as spelled
// (facts.md §3, "Login methods").
func deviceProves(a *hotspot.Account, m hotspot.MAC, password hotspot.Password, r *hotspot.Request) bool {
	if r.Credential.Kind == hotspot.NoCredential {
		return true
	}
	if sent, ok := hotspot.ParseMAC(r.Credential.Clear.Reveal()); ok && sent == m {
		return true
	}
	return matchesAny(r.Credential, "", r.Username, a.Username, password.Reveal())
}

// matchesAny tries every form without an early exit, so that the time taken
// does not say which one was close.
func matchesAny(c hotspot.Credential, forms ...string) bool {
	ok := false
	for _, p := range forms {
		ok = c.Matches(hotspot.Password(p)) || ok
	}
	return ok
}

// Package aaa judges who may come in, for how long and how fast. It is pure:
// facts and a request go in, a verdict comes out. It never does I/O and has no
// clock of its own.
package aaa

import (
	"math"
	"strings"
	"time"

	"iwas/internal/hotspot"
)

// InterimInterval is asked of the NAS in every Accept: the age usage can have.
const InterimInterval = 120 * time.Second

// Decide answers one Access-Request.
//
// The credential is checked before anything else is said, so that a wrong
// password learns nothing about the account; then the lock, then the pass.
func Decide(f hotspot.Facts, r hotspot.Request) hotspot.Verdict {
	if f.Account == nil {
		return refuse(f, hotspot.ReasonUnknown)
	}
	if reason := checkCredential(*f.Account, f.Password, r); reason != hotspot.ReasonNone {
		return refuse(f, reason)
	}
	if f.Lock != nil {
		return refuse(f, hotspot.ReasonLocked)
	}
	if f.Pass == nil {
		return refuse(f, hotspot.ReasonNoPass)
	}
	left, reason := Remaining(*f.Pass, f.Now)
	if reason != hotspot.ReasonNone {
		return refuse(f, reason)
	}
	if othersOnline(f.Sessions, r.MAC) >= f.Pass.Limits.DevicesAtOnce() {
		return refuse(f, hotspot.ReasonTooManyDevices)
	}
	l := f.Pass.Limits
	return hotspot.Verdict{
		Accept: true, Account: f.Account.ID, Pass: f.Pass.ID,
		SessionTimeout: left.Time, IdleTimeout: l.IdleTimeout, InterimInterval: InterimInterval,
		Rate: l.Rate, Devices: l.DevicesAtOnce(),
		UploadLeft: left.Upload, DownloadLeft: left.Download, TotalLeft: left.Total,
		AddressLists: l.AddressLists,
		FirstUse:     f.Pass.Usage.FirstUsed.IsZero(),
	}
}

func refuse(f hotspot.Facts, reason hotspot.Reason) hotspot.Verdict {
	v := hotspot.Verdict{Reason: reason, Message: GuestMessage(reason, f.Language)}
	if f.Account != nil {
		v.Account = f.Account.ID
	}
	if f.Pass != nil {
		v.Pass = f.Pass.ID
	}
	return v
}

// checkCredential applies the rules of the account's kind.
func checkCredential(a hotspot.Account, password hotspot.Password, r hotspot.Request) hotspot.Reason {
	none := r.Credential.Kind == hotspot.NoCredential
	switch a.Kind {
	case hotspot.User:
		if none {
			return hotspot.ReasonNoCredential
		}
		// An account without a password is one nobody can log in to: an empty
		// User-Password must never match it.
		if password == "" || !r.Credential.Matches(password) {
			return hotspot.ReasonBadPassword
		}
		return hotspot.ReasonNone
	case hotspot.Voucher:
		// The code is the only credential: a page may send it as the password
		// too, in the spelling the guest typed, or send none.
		key := hotspot.LoginKey(hotspot.Voucher, a.Username)
		if hotspot.LoginKey(hotspot.Voucher, r.Username) != key {
			return hotspot.ReasonBadPassword
		}
		same := r.Credential.Kind == hotspot.Clear && hotspot.LoginKey(hotspot.Voucher, r.Credential.Clear.Reveal()) == key
		if none || same || matchesAny(r.Credential, "", r.Username, a.Username, key, strings.ToLower(key)) {
			return hotspot.ReasonNone
		}
		return hotspot.ReasonBadPassword
	case hotspot.Device:
		m, ok := hotspot.ParseMAC(a.Username)
		if named, isMAC := hotspot.ParseMAC(r.Username); !ok || !isMAC || named != m || m != r.MAC {
			return hotspot.ReasonMACMismatch
		}
		// mac-as-username sends an empty password, or mac-auth-password when
		// the router has one; mac-as-username-and-password the name as spelled
		// (facts.md §3, "Login methods").
		sent, isMAC := hotspot.ParseMAC(r.Credential.Clear.Reveal())
		if none || isMAC && sent == m || matchesAny(r.Credential, "", r.Username, a.Username, password.Reveal()) {
			return hotspot.ReasonNone
		}
		return hotspot.ReasonBadPassword
	}
	return hotspot.ReasonBadPassword // a kind of a later version: nobody here knows how it proves itself
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

// othersOnline counts the devices other than mac with a live or promised
// session. A device logging in again replaces its own session. A session whose
// MAC is not known counts as a device of its own.
func othersOnline(sessions []hotspot.Session, mac hotspot.MAC) int {
	seen := make(map[hotspot.MAC]bool, len(sessions))
	n := 0
	for _, s := range sessions {
		switch {
		case s.State == hotspot.Closed:
		case s.MAC.IsZero():
			n++
		case s.MAC != mac && !seen[s.MAC]:
			seen[s.MAC] = true
			n++
		}
	}
	return n
}

// Left is what remains of a pass. Zero values mean "no limit".
type Left struct {
	Time                    time.Duration // whole seconds, 1 s to 2^32-1 s
	Upload, Download, Total hotspot.Octets
}

// Remaining returns what is left of a pass at now, or why nothing is.
func Remaining(p hotspot.Pass, now time.Time) (Left, hotspot.Reason) {
	var left Left
	limit := func(d time.Duration) {
		if left.Time == 0 || d < left.Time {
			left.Time = d
		}
	}
	if !p.ValidFrom.IsZero() && now.Before(p.ValidFrom) {
		return left, hotspot.ReasonNotYetValid
	}
	if !p.ValidUntil.IsZero() {
		d := p.ValidUntil.Sub(now)
		if d < time.Second {
			return left, hotspot.ReasonExpired
		}
		limit(d)
	}
	if t := p.Limits.Time; t > 0 {
		d := t - p.Usage.Time
		if p.Limits.Clock != hotspot.Metered {
			d = t
			if first := p.Usage.FirstUsed; !first.IsZero() {
				// A clock that was set back must not sell the time twice.
				d = min(t, first.Add(t).Sub(now))
			}
		}
		if d < time.Second {
			return left, hotspot.ReasonTimeUsed
		}
		limit(d)
	}
	if left.Time > 0 {
		// RFC 2865 §5.27: 32 bits of seconds; 0 may be read as no limit.
		left.Time = min(left.Time.Truncate(time.Second), math.MaxUint32*time.Second)
	}
	u := p.Usage
	for _, d := range []struct {
		allowed, used hotspot.Octets
		left          *hotspot.Octets
	}{
		{p.Limits.Upload, u.Upload, &left.Upload},
		{p.Limits.Download, u.Download, &left.Download},
		{p.Limits.Total, u.Upload.Add(u.Download), &left.Total},
	} {
		if d.allowed == 0 {
			continue
		}
		if d.used >= d.allowed {
			return left, hotspot.ReasonDataUsed
		}
		*d.left = d.allowed - d.used
	}
	return left, hotspot.ReasonNone
}

// OffReason says why an account with this pass and lock may not be online at
// now, or "".
func OffReason(p *hotspot.Pass, lock *hotspot.Lock, now time.Time) hotspot.OffReason {
	if lock != nil {
		return hotspot.OffLocked
	}
	if p == nil {
		return hotspot.OffNotValid
	}
	switch _, reason := Remaining(*p, now); reason {
	case hotspot.ReasonTimeUsed:
		return hotspot.OffTimeUsed
	case hotspot.ReasonDataUsed:
		return hotspot.OffDataUsed
	case hotspot.ReasonExpired, hotspot.ReasonNotYetValid:
		return hotspot.OffNotValid
	}
	return ""
}

// Package aaa judges who may come in, for how long and how fast. It is pure:
// facts and a request go in, a verdict comes out. It never does I/O and has no
// clock of its own.
package aaa

import (
	"math"
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
	var accepted []hotspot.Password
	switch a.Kind {
	case hotspot.User:
		if r.Credential.Kind == hotspot.NoCredential {
			return hotspot.ReasonNoCredential
		}
		accepted = []hotspot.Password{password}
	case hotspot.Voucher:
		// The code is the only credential: a page may send it as the password
		// too, in the spelling the guest typed, or send none.
		accepted = []hotspot.Password{"", hotspot.Password(a.Username), hotspot.Password(r.Username)}
	case hotspot.Device:
		if m, ok := hotspot.ParseMAC(a.Username); !ok || m != r.MAC {
			return hotspot.ReasonMACMismatch
		}
		// mac-as-username sends no password; mac-as-username-and-password the
		// name as spelled (facts.md §3, "MAC login").
		accepted = []hotspot.Password{"", hotspot.Password(r.Username), hotspot.Password(a.Username)}
	}
	if r.Credential.Kind == hotspot.NoCredential && a.Kind != hotspot.User {
		return hotspot.ReasonNone
	}
	if a.Kind == hotspot.Voucher && r.Credential.Kind == hotspot.Clear &&
		hotspot.LoginKey(hotspot.Voucher, r.Credential.Clear.Reveal()) == hotspot.LoginKey(hotspot.Voucher, a.Username) {
		return hotspot.ReasonNone
	}
	ok := false
	for _, p := range accepted { // no early exit: the time taken says nothing
		ok = r.Credential.Matches(p) || ok
	}
	if !ok {
		return hotspot.ReasonBadPassword
	}
	return hotspot.ReasonNone
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
				d = first.Add(t).Sub(now)
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

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
// A device that is locked is told so whatever it asks. Otherwise the credential
// is checked before anything else is said, so that a wrong password learns
// nothing about the account; then the lock, the pass and what is left of it, the
// hours, and last the devices, which another one may leave.
//
// The speed is that of Limits.RateAfter. While a pass that slows down has data
// left, the Accept carries no data limit: RouterOS ends a session at its limit
// and takes the MAC cookie (facts.md §3), and a guest who is to stay must not be
// thrown out first. The slower speed then comes with the next login, or earlier
// by a CoA-Request after the interim that used the data up: at most one
// interim interval of each device is carried at the full speed.
func Decide(f hotspot.Facts, r hotspot.Request) hotspot.Verdict {
	if f.Device != nil {
		return refuse(&f, hotspot.ReasonDeviceLocked)
	}
	if f.Account == nil {
		return refuse(&f, hotspot.ReasonUnknown)
	}
	if reason := checkCredential(f.Account, f.Password, &r); reason != hotspot.ReasonNone {
		return refuse(&f, reason)
	}
	if f.Lock != nil && f.Lock.Pause {
		return refuse(&f, hotspot.ReasonPaused)
	}
	if f.Lock != nil {
		return refuse(&f, hotspot.ReasonLocked)
	}
	if f.Pass == nil {
		return refuse(&f, hotspot.ReasonNoPass)
	}
	left, reason := remaining(f.Pass, f.Now)
	if reason != hotspot.ReasonNone {
		return refuse(&f, reason)
	}
	l := &f.Pass.Limits
	if len(l.Hours) > 0 {
		open, change := openHours(l.Hours, f.Now, f.Location)
		if !open {
			return refuseHours(&f, change)
		}
		if !change.IsZero() {
			left.limit(change.Sub(f.Now))
		}
	}
	allowed := l.DevicesAtOnce()
	if others := devicesInTheWay(f.Sessions, r.MAC); others >= allowed {
		return refuseDevice(&f, &r, others-allowed+1)
	}
	return hotspot.Verdict{
		Accept: true, Account: f.Account.ID, Pass: f.Pass.ID,
		SessionTimeout: left.Time, IdleTimeout: l.IdleTimeout, InterimInterval: InterimInterval,
		Rate: l.RateAfter(f.Pass.Usage), Devices: allowed,
		UploadLeft: left.Upload, DownloadLeft: left.Download, TotalLeft: left.Total,
		AddressLists: l.ListsInAccept(),
		FirstUse:     f.Pass.Usage.FirstUsed.IsZero(),
	}
}

// openHours is Hours.At with what is left to use in whole seconds: closing
// within a second is closed.
func openHours(h hotspot.Hours, now time.Time, zone *time.Location) (open bool, change time.Time) {
	open, change = h.At(now, zone)
	if open && !change.IsZero() && change.Sub(now) < time.Second {
		return h.At(change, zone)
	}
	return open, change
}

// Left is what remains of a pass. Zero values mean "no limit".
type Left struct {
	Time                    time.Duration // whole seconds, 1 s to 2^32-1 s
	Upload, Download, Total hotspot.Octets
}

// limit lowers the time left. RFC 2865 §5.27: Session-Timeout has 32 bits of
// seconds, and 0 may be read as no limit, so d is at least a second.
func (l *Left) limit(d time.Duration) {
	d = min(d.Truncate(time.Second), math.MaxUint32*time.Second)
	if l.Time == 0 || d < l.Time {
		l.Time = d
	}
}

// Remaining returns what is left of a pass at now, or why nothing is. A pass
// that slows down after its data has no data limit that ends it. Hours are not
// part of it: they come back by themselves.
func Remaining(p hotspot.Pass, now time.Time) (Left, hotspot.Reason) { return remaining(&p, now) }

func remaining(p *hotspot.Pass, now time.Time) (left Left, reason hotspot.Reason) {
	if !p.ValidFrom.IsZero() && now.Before(p.ValidFrom) {
		return left, hotspot.ReasonNotYetValid
	}
	if !p.ValidUntil.IsZero() {
		d := p.ValidUntil.Sub(now)
		if d < time.Second {
			return left, hotspot.ReasonExpired
		}
		left.limit(d)
	}
	l, u := &p.Limits, &p.Usage
	if l.Time > 0 {
		d := l.Time - u.Time
		if l.Clock != hotspot.Metered {
			d = l.Time
			if !u.FirstUsed.IsZero() {
				// A clock that was set back must not sell the time twice.
				d = min(d, u.FirstUsed.Add(l.Time).Sub(now))
			}
		}
		if d < time.Second {
			return left, hotspot.ReasonTimeUsed
		}
		left.limit(d)
	}
	if l.Slows() {
		return left, hotspot.ReasonNone
	}
	if l.DataUsed(*u) {
		return left, hotspot.ReasonDataUsed
	}
	rest := func(allowed, used hotspot.Octets) hotspot.Octets {
		if allowed == 0 {
			return 0
		}
		return allowed - used
	}
	left.Upload, left.Download = rest(l.Upload, u.Upload), rest(l.Download, u.Download)
	left.Total = rest(l.Total, u.Upload.Add(u.Download))
	return left, hotspot.ReasonNone
}

// OffReason says why an account with this pass and lock may not be online at
// now, or "". Hours are not among the reasons: the Accept let the session end
// with them, by the router's own count of seconds.
func OffReason(p *hotspot.Pass, lock *hotspot.Lock, now time.Time) hotspot.OffReason {
	if lock != nil {
		return hotspot.OffLocked
	}
	if p == nil {
		return hotspot.OffNotValid
	}
	switch _, reason := remaining(p, now); reason {
	case hotspot.ReasonTimeUsed:
		return hotspot.OffTimeUsed
	case hotspot.ReasonDataUsed:
		return hotspot.OffDataUsed
	case hotspot.ReasonExpired, hotspot.ReasonNotYetValid:
		return hotspot.OffNotValid
	}
	return ""
}

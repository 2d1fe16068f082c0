package wire

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"iwas/internal/hotspot"
)

// EventLoginRefused is a login that failed on site, so that a console can say why
// somebody cannot log in. Since 2026-11-29.
const EventLoginRefused EventKind = "login.refused"

// LoginRefused is the body of login.refused: always the whole of it as known then,
// so that one that comes again under its id counts on and a repeat has no effect.
type LoginRefused struct {
	ID       string            `json:"id"`
	NAS      hotspot.NASID     `json:"nas,omitempty"` // absent: of no NAS of the site
	Username string            `json:"username,omitempty"`
	MAC      string            `json:"mac,omitempty"`
	IP       string            `json:"ip,omitempty"`
	Account  hotspot.AccountID `json:"account,omitempty"` // absent: nobody's, or not known
	Reason   hotspot.Reason    `json:"reason"`
	Detail   string            `json:"detail,omitempty"` // for staff, in English
	Source   string            `json:"source,omitempty"` // address that asked
	Silent   bool              `json:"silent,omitempty"` // met with silence: nothing proves what it says of itself
	Others   bool              `json:"others,omitempty"` // many names at once
	Times    int               `json:"times,omitempty"`  // absent: once
	At       time.Time         `json:"at"`               // the first time
	Until    time.Time         `json:"until,omitzero"`   // the newest; absent: At
}

// maxTimes is more than any radio lets through; a larger number is a mistake.
const maxTimes = 1 << 30

// FromReject is the bridge from the vocabulary to the wire.
func FromReject(r hotspot.Reject) LoginRefused {
	b := LoginRefused{ID: r.Ref, NAS: r.NAS, Username: r.Username, MAC: r.MAC.String(), Account: r.Account, Reason: r.Reason, Detail: r.Detail,
		Silent: r.Silent, Others: r.Others, At: r.At.UTC().Truncate(time.Millisecond)}
	if r.IP.IsValid() {
		b.IP = r.IP.String()
	}
	if r.Source.IsValid() {
		b.Source = r.Source.String()
	}
	if r.Count() > 1 {
		b.Times, b.Until = r.Count(), r.Newest().UTC().Truncate(time.Millisecond)
	}
	return b
}

// Reject reads the body back.
func (b LoginRefused) Reject() (hotspot.Reject, error) {
	switch {
	case b.ID == "" || b.Reason == "" || b.At.IsZero():
		return hotspot.Reject{}, errors.New("a failed login without its id, reason or time")
	case b.Times < 0 || b.Times > maxTimes:
		return hotspot.Reject{}, fmt.Errorf("a login that failed %d times", b.Times)
	}
	r := hotspot.Reject{Ref: b.ID, At: b.At, NAS: b.NAS, Username: b.Username, Reason: b.Reason, Detail: b.Detail, Account: b.Account,
		Silent: b.Silent, Others: b.Others, Times: max(1, b.Times), Until: b.Until}
	if r.Until.Before(r.At) {
		r.Until = r.At
	}
	r.MAC, _ = hotspot.ParseMAC(b.MAC)
	r.IP, _ = netip.ParseAddr(b.IP)
	r.Source, _ = netip.ParseAddr(b.Source)
	return r, nil
}

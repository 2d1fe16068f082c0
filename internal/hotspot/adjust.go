package hotspot

import (
	"errors"
	"time"
)

// Adjustment is what a person changed of a pass after the sale. It holds steps
// that add up, never totals, so that those of a site and of its cloud can be
// applied in any order.
type Adjustment struct {
	ID      string // of its event, where it was made on site
	Account AccountID
	Pass    PassID
	By      string // who, for people
	Reason  string
	At      time.Time

	SetRate bool
	Rate    RateLimit // where SetRate
	// Once says that Rate is for the sessions now open only.
	Once bool

	Asked    time.Duration // of an extension, as the person said it
	Time     time.Duration // added to Limits.Time
	Validity time.Duration // added to ValidUntil
}

// Extends reports whether the adjustment gives time.
func (a Adjustment) Extends() bool { return a.Time != 0 || a.Validity != 0 }

// Bounds of an extension.
const (
	leastExtension = time.Minute
	mostExtension  = 366 * 24 * time.Hour
)

// Errors of Extension.
var (
	ErrExtension = errors.New("an extension is from one minute to 366 days")
	ErrEndless   = errors.New("the pass has no limit of time to extend")
)

// Extension says what must be added to the pass so that the guest gets d more
// than is left now; of a pass that is over, d from now on.
func (p Pass) Extension(d time.Duration, now time.Time) (a Adjustment, err error) {
	if d < leastExtension || d > mostExtension || d%time.Second != 0 {
		return a, ErrExtension
	}
	a = Adjustment{Account: p.Account, Pass: p.ID, Asked: d}
	if t := p.Limits.Time; t > 0 {
		over := p.Usage.Time - t
		if p.Limits.Clock != Metered {
			over = 0
			if first := p.Usage.FirstUsed; !first.IsZero() {
				over = now.Sub(first) - t
			}
		}
		a.Time = d + max(0, over.Round(time.Second))
	}
	if !p.ValidUntil.IsZero() {
		a.Validity = d + max(0, now.Sub(p.ValidUntil).Round(time.Second))
	}
	if !a.Extends() {
		return a, ErrEndless
	}
	return a, nil
}

// Adjust applies an adjustment to the pass. One for the open sessions only
// leaves it as it is.
func (p *Pass) Adjust(a Adjustment) {
	if a.SetRate && !a.Once {
		p.Limits.Rate = a.Rate
	}
	if p.Limits.Time > 0 {
		p.Limits.Time = max(time.Second, p.Limits.Time+a.Time)
	}
	if !p.ValidUntil.IsZero() {
		p.ValidUntil = p.ValidUntil.Add(a.Validity)
	}
}

package wire

import (
	"errors"
	"fmt"
	"time"

	"iwas/internal/hotspot"
)

// What staff do at the counter of a site, whether there is a cloud or not. Each is
// in force on site with the event's commit; the cloud makes documents of the same
// ids of it. All of them since 2026-11-28.
const (
	EventPlanMade        EventKind = "plan.made"        // or changed, while the site had no cloud
	EventPlanRemoved     EventKind = "plan.removed"     // likewise
	EventSaleMade        EventKind = "sale.made"        // a pass sold, with its account where that is new
	EventAccountPassword EventKind = "account.password" // of an account made on site
	EventLockSet         EventKind = "lock.set"         // on site
	EventLockLifted      EventKind = "lock.lifted"      // on site
	EventAccountKicked   EventKind = "account.kicked"   // on site
)

// Who says which person of the site did something.
type Who struct {
	By   string       `json:"by"`
	Role hotspot.Role `json:"role,omitempty"` // cashier, technician; absent: not known
	Via  string       `json:"via,omitempty"`  // page, command
}

// FromStaff is the bridge from the vocabulary to the wire.
func FromStaff(s hotspot.Staff) Who { return Who{s.Name, s.Role, s.At} }

// Staff reads it back.
func (w Who) Staff() hotspot.Staff { return hotspot.Staff{Name: w.By, Role: w.Role, At: w.Via} }

// PlanMade is the body of plan.made: the whole plan as it is now.
type PlanMade struct {
	ID hotspot.PlanID `json:"id"`
	PlanDoc
	Who
}

// PlanRemoved is the body of plan.removed.
type PlanRemoved struct {
	ID hotspot.PlanID `json:"id"`
	Who
}

// SaleMade is the body of sale.made. It may come again for the same sale, from a site
// whose cloud has lost it. The limits are those the plan had when it was sold.
type SaleMade struct {
	ID         hotspot.SaleID    `json:"id"`
	Account    hotspot.AccountID `json:"account"`
	New        *AccountDoc       `json:"new,omitempty"` // made with the sale, without its password; absent: it was there
	Pass       hotspot.PassID    `json:"pass"`
	PassDoc    PassDoc           `json:"pass_doc"` // without sold_at where the site's date was not known to be right
	Username   string            `json:"username"` // of the account
	PriceMinor int64             `json:"price_minor"`
	Currency   string            `json:"currency,omitempty"`
	Who
}

// Check says what no site of ours can have meant.
func (b SaleMade) Check() error {
	switch {
	case b.ID == "" || b.Account == "" || b.Pass == "":
		return errors.New("a sale without its ids")
	case b.PassDoc.Account != b.Account:
		return fmt.Errorf("a pass of %q sold to %q", b.PassDoc.Account, b.Account)
	case b.PriceMinor < 0:
		return fmt.Errorf("a price of %d", b.PriceMinor)
	case b.New != nil && hotspot.LoginKey(b.New.Kind, b.New.Username) == "":
		return errors.New("an account without a name")
	case b.New != nil && b.New.Kind != hotspot.User && b.New.Kind != hotspot.Voucher:
		return fmt.Errorf("an account of kind %q", b.New.Kind)
	}
	_, err := b.PassDoc.Limits.Limits()
	return err
}

// AccountPassword is the body of account.password. It is an event of its own, made
// once the site knows the key of a cloud to seal it to.
type AccountPassword struct {
	Account  hotspot.AccountID `json:"account"`
	Password string            `json:"password"` // sealed to the cloud's key
}

// LockSet is the body of lock.set.
type LockSet struct {
	Account hotspot.AccountID `json:"account"`
	Reason  string            `json:"reason"`
	At      time.Time         `json:"at"`
	Pause   bool              `json:"pause,omitempty"` // as LockDoc.Pause
	Who
}

// LockLifted is the body of lock.lifted. It names the lock that the person saw: no
// other is lifted by it.
type LockLifted struct {
	Account  hotspot.AccountID `json:"account"`
	LockedBy string            `json:"locked_by"`
	LockedAt time.Time         `json:"locked_at"`
	Reason   string            `json:"reason,omitempty"`
	Who
}

// AccountKicked is the body of account.kicked.
type AccountKicked struct {
	Account  hotspot.AccountID `json:"account"`
	Sessions int               `json:"sessions"` // open ones that were to end
	Who
}

// Seen says which events of a site are in a set.
type Seen struct {
	Epoch   string `json:"epoch"`
	Through int64  `json:"through"`
}

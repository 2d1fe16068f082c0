package hotspot

import "time"

// SeenDevice is a device that was on with an account, as the console offers it
// to be locked.
type SeenDevice struct {
	MAC     MAC
	SeenAt  time.Time // its last accounting record with the account, by the site's clock
	Online  bool      // with the account, as far as the site has reported
	Account AccountID // of kind Device with that MAC at the site; "" if there is none
	Lock    LockStatus
}

// Locked reports whether the device itself is locked.
func (d SeenDevice) Locked() bool { return d.Lock.State != LockNone && d.Lock.State != "" }

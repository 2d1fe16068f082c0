package fleet

import (
	"context"

	"iwas/internal/hotspot"
)

// LockDevice makes "off" what is wanted of a device that was on with an account,
// whatever it logs in with. It returns the device's own account, with the lock;
// what is true of Lock is true of it.
func (f *Fleet) LockDevice(ctx context.Context, actor hotspot.Operator, account hotspot.AccountID, device hotspot.MAC, reason string) (hotspot.Guest, error) {
	own, err := f.o.Store.LockDevice(ctx, actor, account, device, reason)
	if err != nil {
		return hotspot.Guest{}, err
	}
	return f.o.Store.Guest(ctx, actor.Organization, own)
}

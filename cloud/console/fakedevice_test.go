package console

import (
	"context"
	"slices"

	"iwas/internal/hotspot"
)

// Devices are those of the sessions, open or not, of an account of the fake, and
// of the fake's own list.
func (f *fakeCloud) Devices(ctx context.Context, org hotspot.OrganizationID, id hotspot.AccountID) (out []hotspot.SeenDevice, _ error) {
	g, err := f.Guest(ctx, org, id)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range slices.Concat(g.Sessions, f.past[id]) {
		d := hotspot.SeenDevice{MAC: s.MAC, SeenAt: s.HeardAt, Online: s.IsOpen(), Lock: hotspot.LockStatus{State: hotspot.LockNone}}
		for _, own := range f.guests {
			if own.Site == g.Site && own.Account.Kind == hotspot.Device && own.Account.Username == s.MAC.String() {
				d.Account, d.Lock = own.Account.ID, own.Lock
			}
		}
		out = append(out, d)
	}
	return out, nil
}

func (f *fakeCloud) LockDevice(ctx context.Context, op hotspot.Operator, id hotspot.AccountID, m hotspot.MAC, reason string) (hotspot.Guest, error) {
	devices, err := f.Devices(ctx, op.Organization, id)
	if err != nil {
		return hotspot.Guest{}, err
	}
	i := slices.IndexFunc(devices, func(d hotspot.SeenDevice) bool { return d.MAC == m })
	if i < 0 {
		return hotspot.Guest{}, gone("device of the guest")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.called("lock device %s of %s %q by %s", m, id, reason, op.Role); err != nil {
		return hotspot.Guest{}, err
	}
	l := lockAt(hotspot.LockSent)
	l.Lock.Reason, l.Lock.By, l.Lock.At = reason, op.Email, noon
	for k := range f.guests {
		if f.guests[k].Account.ID == devices[i].Account {
			f.guests[k].Lock = l
			return f.guests[k], nil
		}
	}
	own := hotspot.Guest{Site: "main", Account: hotspot.Account{ID: hotspot.AccountID("device" + m.String()), Kind: hotspot.Device, Username: m.String()}, Lock: l, SeenAt: noon}
	f.guests = append(f.guests, own)
	return own, nil
}

package store

import (
	"context"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// maxDevices is how many devices of an account are told, those seen last.
const maxDevices = 20

// Devices returns the devices that were on with an account of the organization,
// those seen last first, each with the lock of its own.
func (db *DB) Devices(ctx context.Context, org hotspot.OrganizationID, account hotspot.AccountID) (devices []hotspot.SeenDevice, err error) {
	err = db.read(ctx, "devices", func(t *tx) error {
		devices = nil
		site, err := t.siteOf(org, account)
		if err != nil {
			return err
		}
		err = t.each(`SELECT mac, MAX(heard_at), MAX(CASE WHEN state IN ('live', 'suspect') THEN 1 ELSE 0 END) FROM session
			WHERE site = $1 AND account = $2 AND mac <> '' GROUP BY mac ORDER BY 2 DESC, mac LIMIT $3`,
			[]any{string(site), string(account), maxDevices}, func(scan func(...any) error) error {
				var mac string
				var seen, online int64
				if err := scan(&mac, &seen, &online); err != nil {
					return err
				}
				if m, ok := hotspot.ParseMAC(mac); ok {
					devices = append(devices, hotspot.SeenDevice{MAC: m, SeenAt: at(seen), Online: online == 1, Lock: hotspot.LockStatus{State: hotspot.LockNone}})
				}
				return nil
			})
		if err != nil || len(devices) == 0 {
			return err
		}
		return t.ownLocks(site, devices)
	})
	return devices, err
}

// ownLocks fills in the accounts that the devices themselves have, and their locks.
func (t *tx) ownLocks(site hotspot.SiteID, devices []hotspot.SeenDevice) error {
	keys := make([]string, len(devices))
	for i, d := range devices {
		keys[i] = d.MAC.String()
	}
	var own []hotspot.Guest
	in, args := list(t, []any{string(site), string(hotspot.Device)}, keys)
	err := t.each(`SELECT id, kind, username, note FROM account WHERE site = $1 AND kind = $2 AND login_key IN `+in, args,
		func(scan func(...any) error) error {
			g := hotspot.Guest{Site: site}
			err := scan(&g.Account.ID, &g.Account.Kind, &g.Account.Username, &g.Account.Note)
			own = append(own, g)
			return err
		})
	if err != nil {
		return err
	}
	if err := t.complete(site, own); err != nil {
		return err
	}
	byName := make(map[string]hotspot.Guest, len(own))
	for _, g := range own {
		byName[g.Account.Username] = g
	}
	for i := range devices {
		if g, ok := byName[devices[i].MAC.String()]; ok {
			devices[i].Account, devices[i].Lock = g.Account.ID, g.Lock
		}
	}
	return nil
}

// LockDevice locks a device that was on with an account, whatever it logs in
// with: the lock is that of its own account, of kind device. Where the site has
// none it is made, without a pass, so that nobody can log in with it. Locking
// what is locked changes nothing.
func (db *DB) LockDevice(ctx context.Context, actor hotspot.Operator, account hotspot.AccountID, device hotspot.MAC, reason string) (own hotspot.AccountID, err error) {
	if err := checkReason(reason); err != nil {
		return "", err
	}
	err = db.write(ctx, "lock device", func(t *tx) error {
		site, err := t.siteOf(actor.Organization, account)
		if err != nil {
			return err
		}
		if err := t.seenWith(site, account, device); err != nil {
			return err
		}
		c, err := t.change(actor.Organization, site)
		if err != nil {
			return err
		}
		if own, err = c.deviceAccount(actor, device, hotspot.AccountID(hotspot.NewID(t.now))); err != nil {
			return err
		}
		made, err := c.lock(hotspot.Lock{Account: own, By: nameOf(actor), Reason: reason, At: t.now})
		if err != nil {
			return err
		}
		if err := c.finish(); err != nil || !made {
			return err
		}
		return t.audit(actor, site, "account.locked", string(own), nil,
			map[string]string{"reason": reason, "device": device.String(), "seen_with": string(account)})
	})
	return own, err
}

// seenWith refuses a device that was never on with the account at its site.
func (t *tx) seenWith(site hotspot.SiteID, account hotspot.AccountID, device hotspot.MAC) error {
	var one int64
	seen, err := t.one(`SELECT 1 FROM session WHERE site = $1 AND account = $2 AND mac = $3 LIMIT 1`,
		[]any{string(site), string(account), macText(device)}, &one)
	if err == nil && (!seen || device.IsZero()) {
		err = fault.New(fault.NotFound, "no device "+device.String()+" was on with this account", nil).
			WithCode("", "Choose one of the devices seen with it, or open the account that the device was on with.")
	}
	return err
}

// lostDevice returns the device of a kept lock whose account the site does not
// have here; zero when it names none, or an account that is another site's.
func (f *facts) lostDevice(b wire.LockKept) (device hotspot.MAC, err error) {
	device, _ = hotspot.ParseMAC(b.MAC)
	if device.IsZero() || !name(string(b.Account), maxEventID) {
		return hotspot.MAC{}, nil
	}
	var one int64
	taken, err := f.t.one(`SELECT 1 FROM account WHERE id = $1`, []any{string(b.Account)}, &one)
	if err != nil || taken {
		return hotspot.MAC{}, err
	}
	return device, nil
}

// deviceAccount returns the site's account of kind device with the MAC, and makes
// it under an id, without a pass, where there is none.
func (c *change) deviceAccount(actor hotspot.Operator, device hotspot.MAC, fresh hotspot.AccountID) (id hotspot.AccountID, err error) {
	a := hotspot.Account{ID: fresh, Kind: hotspot.Device, Username: device.String(), Note: "Made to lock this device"}
	var kind hotspot.AccountKind
	found, err := c.t.one(`SELECT id, kind FROM account WHERE site = $1 AND login_key = $2`,
		[]any{string(c.site), hotspot.LoginKey(a.Kind, a.Username)}, &id, &kind)
	switch {
	case err != nil:
		return "", err
	case found && kind != hotspot.Device:
		return "", fault.New(fault.Conflict, "a "+string(kind)+" of this site has the device's address as its name", nil).
			WithCode("", "Give that guest another name, then lock the device.")
	case found:
		return id, nil
	}
	if err := c.insertAccount(a, ""); err != nil {
		return "", err
	}
	return a.ID, c.t.audit(actor, c.site, "account.created", string(a.ID), nil, map[string]string{"kind": string(a.Kind), "username": a.Username})
}

package store

import "iwas/internal/hotspot"

// deviceLocks are the locks of accounts that are devices, by MAC. A map never
// changes; a commit that changes who is in it puts another in its place.
type deviceLocks map[hotspot.MAC]*hotspot.Lock

// deviceLock returns the lock on a device, or nil.
func (db *DB) deviceLock(m hotspot.MAC) *hotspot.Lock {
	if m.IsZero() {
		return nil
	}
	return (*db.devices.Load())[m]
}

// lockedDevices reads which devices are locked once this transaction is
// committed, and which of them were not; nil when it changes nothing of that.
func (t *tx) lockedDevices() (locked *deviceLocks, shut []hotspot.MAC, err error) {
	if !t.devices {
		return nil, nil, nil
	}
	now, before := deviceLocks{}, *t.db.devices.Load()
	err = t.rows("read locked devices", "SELECT mac, account, set_by, reason, set_at, revision FROM lock WHERE mac <> '' ORDER BY received_at DESC", nil,
		func(scan func(...any) error) error {
			var l hotspot.Lock
			var text string
			var at int64
			if err := scan(&text, &l.Account, &l.By, &l.Reason, &at, &l.Revision); err != nil {
				return err
			}
			l.At = fromMillis(at)
			m, ok := hotspot.ParseMAC(text)
			if ok && now[m] == nil && before[m] == nil {
				shut = append(shut, m)
			}
			if ok {
				now[m] = &l // of several the first stands
			}
			return nil
		})
	return &now, shut, err
}

// openOf finds the open sessions of a MAC, whoever's, by the index of open ones.
const openOf = "state <> 'closed' AND mac = ? AND nas IN (SELECT nas FROM session INDEXED BY session_open_nas WHERE state <> 'closed')"

// nameLock gives the lock of an account the device it holds for, "" for none.
func (t *tx) nameLock(account, device string) error {
	n, err := t.exec("name the locked device", "UPDATE lock SET mac = ? WHERE account = ? AND mac <> ?", device, account, device)
	t.devices = t.devices || n > 0
	return err
}

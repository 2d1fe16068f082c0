package store_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// on reports sessions of an account on devices, the first heard of last.
func (w *world) on(l *siteLog, account hotspot.AccountID, state hotspot.SessionState, macs ...string) {
	w.Helper()
	for i, mac := range macs {
		heard := w.now().Add(-time.Duration(i) * time.Minute)
		l.add(wire.EventSessionStarted, heard, wire.SessionBody{ID: hotspot.SessionID(hotspot.NewID(heard)), Account: account, NAS: "nas1", Username: "x", MAC: mac,
			State: state, StartedAt: heard.Add(-time.Hour), HeardAt: heard})
	}
	w.all(l)
}

func (w *world) devices(account hotspot.AccountID) []hotspot.SeenDevice {
	w.Helper()
	d, err := w.db.Devices(w.Context(), w.owner.Organization, account)
	must(w.TB, err)
	return d
}

const phoneText, tabletText = "AC:DE:48:00:00:01", "02:AB:CD:00:00:02"

func macOf(t testing.TB, text string) hotspot.MAC {
	t.Helper()
	m, ok := hotspot.ParseMAC(text)
	if !ok {
		t.Fatalf("%q is no MAC", text)
	}
	return m
}

func TestADeviceSeenWithAnAccountIsLocked(t *testing.T) {
	onBoth(t, func(w *world) {
		amal, zeynep := w.user("amal"), w.user("zeynep")
		w.hello(nil)
		l := &siteLog{epoch: "epoch1"}
		w.on(l, amal, hotspot.Closed, phoneText, tabletText, phoneText)
		w.on(l, amal, hotspot.Live, tabletText)
		if got := w.devices(amal); len(got) != 2 || !got[0].SeenAt.Equal(w.now()) || got[0].Locked() || got[1].Locked() || got[0].Account != "" {
			w.Fatalf("devices %+v, want two, none of them locked", got)
		}
		for _, d := range w.devices(amal) {
			if online := d.MAC == macOf(w.TB, tabletText); d.Online != online {
				w.Errorf("%s: online %v, want %v", d.MAC, d.Online, online)
			}
		}
		if got := w.devices(zeynep); len(got) != 0 {
			w.Errorf("devices of somebody who was never on: %+v", got)
		}

		phone := macOf(w.TB, phoneText)
		own, err := w.db.LockDevice(w.Context(), w.owner, amal, phone, "loud")
		must(w.TB, err)
		c := w.last()
		if len(c.state.Docs) != 2 || c.state.Docs[0].Kind != wire.DocAccount || c.state.Docs[1].Kind != wire.DocLock || c.state.Docs[0].ID != string(own) || c.state.Docs[1].ID != string(own) {
			w.Fatalf("got %+v, want an account and its lock in one revision", c.state)
		}
		var account wire.AccountDoc
		decode(w.TB, c.state.Docs[0].Body, &account)
		if account.Kind != hotspot.Device || account.Username != phoneText || account.Password != "" {
			w.Errorf("account %+v, want a device without a password", account)
		}
		g := w.guest(own)
		if g.Pass != nil || g.Account.Kind != hotspot.Device || g.Lock.State != hotspot.LockRequested || g.Lock.Lock.Reason != "loud" || g.Lock.Lock.By != "owner@example.org" {
			w.Errorf("got %+v, want a device without a pass, locked", g)
		}
		if got := w.guest(amal).Lock.State; got != hotspot.LockNone {
			w.Errorf("the account is %s, want it not locked: the device is", got)
		}
		locked := func(want bool) {
			w.Helper()
			for _, d := range w.devices(amal) {
				if d.MAC == phone && (d.Locked() != want || d.Account != own) || d.MAC != phone && d.Locked() {
					w.Errorf("device %+v, want the phone locked: %v", d, want)
				}
			}
		}
		locked(true)

		// The proof of the device is that of its account's lock.
		w.hello(nil)
		_, err = w.db.ApplyProofs(w.Context(), w.agent, "epoch1", []wire.LockProof{proof(own, c.state.To, hotspot.OutcomeEnforced, w.now())})
		must(w.TB, err)
		if got := w.guest(own).Lock.State; got != hotspot.LockEnforced {
			w.Errorf("got %s, want it proven", got)
		}

		// Again, and through another account: the same lock, nothing new to send.
		w.on(l, zeynep, hotspot.Live, phoneText)
		if again, err := w.db.LockDevice(w.Context(), w.owner, zeynep, phone, "again"); err != nil || again != own || w.last().state.To != c.state.To {
			w.Errorf("locked again: account %s, revision %d, %v; want %s, %d and nothing changed", again, w.last().state.To, err, own, c.state.To)
		}
		if d := w.devices(zeynep); len(d) != 1 || d[0].Lock.State != hotspot.LockEnforced || d[0].Lock.Lock.Reason != "loud" {
			w.Errorf("the other guest's devices: %+v, want the phone, off by the first lock", d)
		}
		must(w.TB, w.db.Unlock(w.Context(), w.owner, own, "found"))
		locked(false)
		if again, err := w.db.LockDevice(w.Context(), w.owner, amal, phone, ""); err != nil || again != own {
			w.Errorf("locked anew: account %s, %v; want the same %s", again, err, own)
		}
		if docs := w.last().state.Docs; len(docs) != 1 || docs[0].Kind != wire.DocLock {
			w.Errorf("got %+v, want the lock alone: the account is there", docs)
		}
		locked(true)

		entries, err := w.db.Audit(w.Context(), w.owner.Organization, 100)
		must(w.TB, err)
		var told []string
		for _, e := range entries {
			if e.Subject == string(own) {
				told = append(told, e.What)
			}
			if e.What == "account.locked" && !strings.Contains(e.Became, phoneText) {
				w.Errorf("the audit of the lock says %s, want the device in it", e.Became)
			}
		}
		slices.Sort(told) // those of one moment are in no order
		if got := strings.Join(told, " "); got != "account.created account.locked account.locked account.unlocked" {
			w.Errorf("audit: %s", got)
		}
	})
}

// TestOnlyADeviceOfTheAccountIsLocked, at its site, by its organization.
func TestOnlyADeviceOfTheAccountIsLocked(t *testing.T) {
	onBoth(t, func(w *world) {
		amal, zeynep := w.user("amal"), w.user("zeynep")
		l := &siteLog{epoch: "epoch1"}
		w.on(l, amal, hotspot.Live, phoneText)
		phone := macOf(w.TB, phoneText)
		_, rev, _, err := w.db.Wanted(w.Context(), w.site.ID)
		must(w.TB, err)
		stranger, err := w.db.EnsureOwner(w.Context(), "Rival", "rival@example.org", "hash")
		must(w.TB, err)
		for name, tc := range map[string]struct {
			actor   hotspot.Operator
			account hotspot.AccountID
			device  hotspot.MAC
			reason  string
			want    fault.Kind
		}{
			"never on with the account": {w.owner, amal, macOf(w.TB, tabletText), "", fault.NotFound},
			"on with another account":   {w.owner, zeynep, phone, "", fault.NotFound},
			"no address":                {w.owner, amal, hotspot.MAC{}, "", fault.NotFound},
			"no such account":           {w.owner, "nobody", phone, "", fault.NotFound},
			"another organization":      {stranger, amal, phone, "", fault.NotFound},
			"a reason with a bell":      {w.owner, amal, phone, "\a", fault.Invalid},
		} {
			if _, err := w.db.LockDevice(w.Context(), tc.actor, tc.account, tc.device, tc.reason); !fault.Is(err, tc.want) {
				w.Errorf("%s: got %v, want kind %v", name, err, tc.want)
			}
		}
		if _, err := w.db.Devices(w.Context(), stranger.Organization, amal); !fault.Is(err, fault.NotFound) {
			w.Errorf("devices told to another organization: %v", err)
		}
		w.user(phoneText) // a user whose name is the address
		_, now, _, err := w.db.Wanted(w.Context(), w.site.ID)
		must(w.TB, err)
		if now != rev+1 {
			w.Errorf("revision %d after what was refused, want %d", now, rev+1)
		}
		if _, err := w.db.LockDevice(w.Context(), w.owner, amal, phone, ""); !fault.Is(err, fault.Conflict) {
			w.Errorf("the address is a user's name: got %v, want a conflict", err)
		}
	})
}

// TestADeviceWithAPassKeepsItsAccount: the TV that has an account of its own is
// locked by that one.
func TestADeviceWithAPassKeepsItsAccount(t *testing.T) {
	onBoth(t, func(w *world) {
		amal := w.user("amal")
		tv, _, err := w.db.CreateAccount(w.Context(), w.owner, hotspot.NewAccount{Site: w.site.ID, Kind: hotspot.Device, Username: phoneText, Plan: w.plan.ID})
		must(w.TB, err)
		l := &siteLog{epoch: "epoch1"}
		w.on(l, amal, hotspot.Live, phoneText)
		own, err := w.db.LockDevice(w.Context(), w.owner, amal, macOf(w.TB, phoneText), "lost")
		must(w.TB, err)
		if g := w.guest(tv); own != tv || g.Pass == nil || g.Lock.State == hotspot.LockNone {
			w.Errorf("locked %s, the device's account is %+v; want that one locked, with its pass", own, g)
		}
	})
}

// TestALockOfADeviceTheSiteKeptComesBack though its account was lost with it: it
// must be possible to lift it.
func TestALockOfADeviceTheSiteKeptComesBack(t *testing.T) {
	onBoth(t, func(w *world) {
		elsewhere := w.newSite("Harbour")
		other, _, err := w.db.CreateAccount(w.Context(), w.owner, hotspot.NewAccount{Site: elsewhere.ID, Kind: hotspot.User, Username: "zed", Plan: w.plan.ID})
		must(w.TB, err)
		w.user(tabletText) // a user whose name is the tablet's address
		_, rev, _, err := w.db.Wanted(w.Context(), w.site.ID)
		must(w.TB, err)
		l := &siteLog{epoch: "epoch1"}
		kept := func(account hotspot.AccountID, mac string) {
			l.add(wire.EventLockKept, w.now(), wire.LockKept{Account: account, By: "Mona", Reason: "loud", At: w.now().Add(-time.Hour), MAC: mac})
		}
		kept("no-device", "")
		kept("garbled", "phone")
		kept("two words", phoneText)
		kept(other, phoneText)
		kept("taken", tabletText)
		w.all(l)
		if _, now, _, err := w.db.Wanted(w.Context(), w.site.ID); err != nil || now != rev {
			w.Errorf("revision %d (%v) after what names no device that is lost, want %d", now, err, rev)
		}
		if got := w.guest(other); got.Site != elsewhere.ID || got.Lock.State != hotspot.LockNone {
			w.Errorf("another site's guest: %+v, want it untouched", got)
		}
		kept("lost-device", phoneText)
		w.all(l)
		g := w.guest("lost-device")
		if g.Account.Kind != hotspot.Device || g.Account.Username != phoneText || g.Pass != nil || g.Lock.Lock == nil || g.Lock.Lock.By != "Mona" || g.Site != w.site.ID {
			w.Errorf("got %+v, want the device with Mona's lock", g)
		}
		if docs := w.last().state.Docs; len(docs) != 2 || docs[0].ID != "lost-device" || docs[1].Kind != wire.DocLock || docs[1].ID != "lost-device" {
			w.Errorf("got %+v, want account and lock sent to the site", docs)
		}
		must(w.TB, w.db.Unlock(w.Context(), w.owner, "lost-device", "found"))
		if gone := w.last().state.Gone; len(gone) != 1 || gone[0].ID != "lost-device" {
			w.Errorf("got %+v, want the lock's tombstone", gone)
		}
	})
}

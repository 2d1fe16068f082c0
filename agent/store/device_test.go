package store

import (
	"database/sql"
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// want logs in and fails unless the answer is the reason; "" is an accept.
func (s *site) want(what, name, password string, mac hotspot.MAC, reason hotspot.Reason) {
	s.t.Helper()
	if v := s.login(name, password, mac); v.Accept != (reason == "") || v.Reason != reason {
		s.t.Errorf("%s: %s on %s: got accept %v, reason %q; want %q", what, name, mac, v.Accept, v.Reason, reason)
	}
}

// open returns the open sessions by permit.
func (s *site) openPermits() (out []hotspot.PermitID) {
	s.t.Helper()
	open, err := s.OpenSessions(s.t.Context())
	s.must(err)
	for _, o := range open {
		out = append(out, o.Permit)
	}
	return out
}

func TestALockedDeviceIsOffWhateverItLogsInWith(t *testing.T) {
	s := echoing(t)
	s.cloud.put(wire.DocPass, "pv1", wire.PassDoc{Account: "v1", Limits: wire.LimitsBody{Devices: 2}})
	s.apply()
	onPhone := s.mustLogin("bob", "hello", phone)
	s.play(onPhone, rec{kind: start})
	elsewhere := s.mustLogin("bob", "hello", laptop)
	s.play(elsewhere, rec{kind: start, mac: laptop})
	promised := s.mustLogin("ABCD2345", "", phone)
	s.want("before the lock", "ABCD2345", "", laptop, "")
	s.clock.Add(time.Second)
	s.cloud.lock("d1")
	s.apply()
	committed := s.committed.Load()
	if got := s.shut[phone]; got == 0 || got > committed || onPhone.Serial >= got || promised.Serial >= got || len(s.shut) != 1 {
		t.Errorf("caches were told %v, want the phone alone, above serial %d", s.shut, promised.Serial)
	}
	s.want("locked", "bob", "hello", phone, hotspot.ReasonDeviceLocked)
	s.want("locked", "bob", "guess", phone, hotspot.ReasonDeviceLocked)
	s.want("locked", "abcd-2345", "", phone, hotspot.ReasonDeviceLocked)
	s.want("locked", phone.String(), "", phone, hotspot.ReasonDeviceLocked)
	s.want("locked", "nobody", "", phone, hotspot.ReasonDeviceLocked)
	s.want("the same account on another device", "bob", "hello", laptop, "")
	s.want("the same voucher on another device", "ABCD2345", "", laptop, "")
	if v := s.mustLogin("bob", "hello", laptop); v.Serial < s.shut[phone] {
		t.Errorf("serial %d of a login after the lock, want at least %d", v.Serial, s.shut[phone])
	}
	if v, err := s.Authorize(t.Context(), hotspot.Request{NAS: nas, Username: "bob", Credential: hotspot.Credential{Kind: hotspot.Clear, Clear: "hello"}}); err != nil || v.Reason == hotspot.ReasonDeviceLocked {
		t.Errorf("without a MAC: got %q, %v", v.Reason, err)
	}

	got := s.target()
	if !got.Device || !got.Whole || got.Account != "d1" || got.Reason != hotspot.OffLocked || got.Lock == nil || got.Lock.By != "owner" ||
		!slices.Equal(got.MACs, []hotspot.MAC{phone}) || !slices.Equal(got.Usernames, []string{phone.String()}) {
		t.Errorf("target %+v, want the phone and no name but its own", got)
	}
	if len(got.Sessions) != 2 || got.Sessions[0].Permit != onPhone.Permit || got.Sessions[1].Permit != promised.Permit || got.Sessions[1].State != hotspot.Reserved {
		t.Errorf("sessions %+v, want what is on and what is promised on the phone", got.Sessions)
	}
	locked, err := s.Locked(t.Context(), 10)
	s.must(err)
	if len(locked) != 1 || !locked[0].Device || !slices.Equal(locked[0].MACs, got.MACs) {
		t.Errorf("locked %+v, want the phone", locked)
	}

	// Accounting is counted until the router has ended it.
	s.play(onPhone, rec{wait: time.Minute, kind: interim, seconds: 61, up: 500})
	if u := s.usage("p-bob"); u.Upload != 500 {
		t.Errorf("usage %+v under the lock, want 500 octets", u)
	}
	s.clock.Add(time.Second)
	s.prove(s.target(), hotspot.OutcomeEnforced)
	if open := s.openPermits(); !slices.Equal(open, []hotspot.PermitID{elsewhere.Permit}) {
		t.Errorf("open %v, want the laptop's session %v alone", open, elsewhere.Permit)
	}
	if got := s.targets(); len(got) != 0 {
		t.Errorf("targets after the proof: %+v", got)
	}
	if f := s.facts("ABCD2345"); slices.ContainsFunc(f.Sessions, func(o *hotspot.Session) bool { return o.MAC == phone }) {
		t.Errorf("the phone's promise outlives the proof: %+v", f.Sessions)
	}

	s.reopen()
	s.learn()
	s.want("after a restart", "bob", "hello", phone, hotspot.ReasonDeviceLocked)
	s.cloud.drop(wire.DocLock, "d1")
	s.apply()
	s.want("unlocked", "bob", "hello", phone, "")
	s.want("unlocked", "ABCD2345", "", phone, "")
}

// TestALateStartOnALockedDeviceWakesTheReconciler: an Accept may have left just
// before the lock, for whichever account.
func TestALateStartOnALockedDeviceWakesTheReconciler(t *testing.T) {
	s := echoing(t)
	v := s.mustLogin("bob", "hello", phone)
	s.cloud.lock("d1")
	s.apply()
	s.prove(s.target(), hotspot.OutcomeEnforced)
	wanted, cancel := s.Wanted()
	defer cancel()
	s.play(v, rec{kind: start, wait: time.Second})
	select {
	case <-wanted:
	default:
		t.Error("nobody was told of the session")
	}
	if got := s.target(); got.Account != "d1" || len(got.Sessions) != 1 || got.Sessions[0].Permit != v.Permit {
		t.Errorf("target %+v, want the phone's new session", got)
	}
}

// TestALockHoldsForTheDeviceItsAccountNames, in whichever order documents come,
// and for the last one it named when the account is no more.
func TestALockHoldsForTheDeviceItsAccountNames(t *testing.T) {
	s := cafe(t)
	device := func(m hotspot.MAC) {
		s.cloud.put(wire.DocAccount, "d2", wire.AccountDoc{Kind: hotspot.Device, Username: m.String()})
	}
	s.cloud.lock("d2") // ahead of its account
	s.apply()
	s.want("a lock of nobody", "bob", "hello", laptop, "")
	device(laptop)
	s.apply()
	s.want("its account came", "bob", "hello", laptop, hotspot.ReasonDeviceLocked)
	s.want("its account came", "bob", "hello", phone, "")
	device(phone)
	s.apply()
	s.want("the account is another device", "bob", "hello", laptop, "")
	s.want("the account is another device", "bob", "hello", phone, hotspot.ReasonDeviceLocked)
	s.cloud.put(wire.DocAccount, "d2", wire.AccountDoc{Kind: hotspot.Voucher, Username: "WXYZ-2345"})
	s.apply()
	s.want("the account is no device", "bob", "hello", phone, "")
	device(phone)
	s.apply()
	s.cloud.lock("d1") // a second lock on the same phone
	s.apply()
	s.cloud.drop(wire.DocLock, "d1")
	s.apply()
	s.want("one of two locks lifted", "bob", "hello", phone, hotspot.ReasonDeviceLocked)

	// A cloud restored from a backup of before knows neither account nor lock.
	older := *s.cloud
	older.docs = map[wire.DocRef]wire.Doc{}
	for ref, d := range s.cloud.docs {
		if ref.ID != "d2" {
			older.docs[ref] = d
		}
	}
	older.lineage = "restored"
	for _, p := range older.snapshot("restored", 100) {
		s.must(s.send(p))
	}
	s.cloud = &older
	all := s.events()
	var kept wire.LockKept
	s.must(json.Unmarshal(all[len(all)-1].Body, &kept))
	if all[len(all)-1].Kind != wire.EventLockKept || kept.Account != "d2" || kept.MAC != phone.String() {
		t.Errorf("newest event %s %+v, want the kept lock with its device", all[len(all)-1].Kind, kept)
	}
	s.want("the account is no more, its lock kept", "bob", "hello", phone, hotspot.ReasonDeviceLocked)
	got := s.target()
	if got.Account != "d2" || !got.Device || !slices.Equal(got.MACs, []hotspot.MAC{phone}) {
		t.Errorf("target %+v, want the phone", got)
	}
	locks, err := s.Locks(t.Context(), 10)
	s.must(err)
	if len(locks) != 1 || locks[0].Username != phone.String() {
		t.Errorf("locks %+v, want one that names the phone", locks)
	}
	s.reopen()
	s.want("after a restart", "bob", "hello", phone, hotspot.ReasonDeviceLocked)
	s.cloud.lock("d1") // a person locks the phone by another account, and lifts that: nothing may stay
	s.apply()
	s.cloud.drop(wire.DocLock, "d1")
	s.apply()
	s.want("locked by another account and lifted", "bob", "hello", phone, "")
	for _, p := range s.cloud.snapshot("again", 100) {
		s.must(s.send(p))
	}
	s.cloud.lock("d1")
	s.cloud.lock("d2") // whose account is no more, of a phone not known any longer
	s.apply()
	s.cloud.drop(wire.DocLock, "d1")
	s.apply()
	s.want("the lock of an account without a device", "bob", "hello", phone, "")
}

// TestAKeptLockOfADeviceIsTakenUpAgain: the cloud makes the account anew.
func TestAKeptLockOfADeviceIsTakenUpAgain(t *testing.T) {
	s := cafe(t)
	s.cloud.put(wire.DocAccount, "d2", wire.AccountDoc{Kind: hotspot.Device, Username: phone.String()})
	s.cloud.lock("d2")
	s.apply()
	s.cloud.lineage = "restored"
	for _, kind := range []wire.DocKind{wire.DocAccount, wire.DocLock} {
		delete(s.cloud.docs, wire.DocRef{Kind: kind, ID: "d2"})
	}
	for _, p := range s.cloud.snapshot("restored", 100) {
		s.must(s.send(p))
	}
	s.want("kept", "bob", "hello", phone, hotspot.ReasonDeviceLocked)
	s.cloud.lock("d2") // even ahead of its account
	s.apply()
	s.want("the cloud locks it", "bob", "hello", phone, hotspot.ReasonDeviceLocked)
	s.cloud.drop(wire.DocLock, "d2")
	s.apply()
	s.want("and lifts it", "bob", "hello", phone, "")
}

// TestAnExpiredDeviceLeavesOthersOnItsPhone: only a lock is of the device itself.
func TestAnExpiredDeviceLeavesOthersOnItsPhone(t *testing.T) {
	s := cafe(t)
	s.cloud.put(wire.DocPass, "pd1", wire.PassDoc{Account: "d1", Limits: wire.LimitsBody{Total: 100}})
	s.apply()
	own := s.mustLogin(phone.String(), "", phone)
	s.play(own, rec{kind: start})
	s.play(own, rec{wait: time.Minute, kind: interim, seconds: 60, up: 100})
	v := s.mustLogin("ABCD2345", "", phone)
	got := s.target()
	if got.Account != "d1" || got.Device || len(got.Sessions) != 1 || got.Sessions[0].Permit != own.Permit {
		t.Errorf("target %+v, want the device's own session alone", got)
	}
	s.play(v, rec{kind: start})
	s.want("the phone with a voucher", "ABCD2345", "", phone, "")
}

// TestALockOfADeviceOutlivesTheUpdate opens a store of before MACs were kept with
// locks.
func TestALockOfADeviceOutlivesTheUpdate(t *testing.T) {
	s := cafe(t)
	s.cloud.lock("d1")
	s.cloud.lock("v1")
	s.apply()
	s.must(s.Close())
	db, err := sql.Open("sqlite", "file:"+s.o.Path)
	s.must(err)
	_, err = db.Exec("ALTER TABLE reject DROP COLUMN ref; ALTER TABLE reject DROP COLUMN ip; ALTER TABLE reject DROP COLUMN source; ALTER TABLE reject DROP COLUMN silent; ALTER TABLE reject DROP COLUMN times; ALTER TABLE reject DROP COLUMN until_at; ALTER TABLE reject DROP COLUMN others; DROP TABLE told_gap; ALTER TABLE lock DROP COLUMN proven_at; DROP TABLE sent_form; DROP TABLE made; DROP TABLE sale; DROP TABLE lifted; DROP INDEX lock_here; DROP INDEX event_counter; ALTER TABLE lock DROP COLUMN event; ALTER TABLE lock DROP COLUMN pause; DROP TABLE staging; DROP INDEX staged_account; DROP INDEX lock_ahead; ALTER TABLE lock DROP COLUMN ahead; DROP TABLE command_inbox; DROP INDEX event_command; DROP TABLE chain_point; ALTER TABLE mark ADD COLUMN last_chain TEXT NOT NULL DEFAULT ''; ALTER TABLE event ADD COLUMN chain TEXT NOT NULL DEFAULT ''; DROP TABLE list_grant; DROP TABLE list_name; DROP TABLE running_time; DROP INDEX pass_lists; DROP INDEX lock_device; ALTER TABLE lock DROP COLUMN mac; ALTER TABLE mark DROP COLUMN settled; ALTER TABLE event DROP COLUMN late; PRAGMA user_version = 3")
	s.must(errors.Join(err, db.Close()))
	s.open()
	s.want("after the update", "bob", "hello", phone, hotspot.ReasonDeviceLocked)
	s.want("after the update", "bob", "hello", laptop, "")
	s.want("after the update", "ABCD2345", "", laptop, hotspot.ReasonLocked)
}

// TestALoginJudgedAsItsDeviceIsLockedCannotLeave: the lock of a device takes
// nothing away from the account that logs in on it, so it may be committed while
// that is judged. The Accept must then carry a serial that the caches void.
func TestALoginJudgedAsItsDeviceIsLockedCannotLeave(t *testing.T) {
	s := echoing(t)
	s.mustLogin("bob", "hello", phone)
	decide := s.DB.o.Decide
	defer func() { s.DB.o.Decide = decide }()
	locked := false
	s.DB.o.Decide = func(f hotspot.Facts, r hotspot.Request) hotspot.Verdict {
		if !locked {
			locked = true
			s.cloud.lock("d1")
			s.apply()
		}
		return decide(f, r)
	}
	v := s.login("bob", "hello", phone)
	if !locked || !v.Accept {
		t.Fatalf("locked %v, got %+v; want an accept by what was known before", locked, v)
	}
	if shut := s.shut[phone]; v.Serial >= shut {
		t.Errorf("serial %d, and the caches void those below %d: it would leave", v.Serial, shut)
	}
	s.want("the next", "bob", "hello", phone, hotspot.ReasonDeviceLocked)
}

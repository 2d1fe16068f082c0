package store

import (
	"testing"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

func TestADeviceThatUsedAnAccountIsKnown(t *testing.T) {
	s := cafe(t)
	s.mustLogin("bob", "hello", phone)
	s.mustLogin("abcd-2345", "", phone)
	s.login("bob", "wrong", laptop)
	s.reopen()
	for _, tc := range []struct {
		name string
		mac  hotspot.MAC
		want bool
	}{{"bob", phone, true}, {"bob", laptop, false}, {"BOB", phone, false}, {"ABCD2345", phone, true}, {"ab-cd 2345", phone, true}, {"nobody", phone, false},
		{"", phone, false}, {"bob", hotspot.MAC{}, false}} {
		if got, err := s.UsedBefore(t.Context(), tc.name, tc.mac); err != nil || got != tc.want {
			t.Errorf("%q with %v: got %v, %v; want %v", tc.name, tc.mac, got, err, tc.want)
		}
	}
}

func TestTheSiteLanguageIsTheCloudsElseTheConfigured(t *testing.T) {
	s := newSite(t)
	want := func(language string) {
		t.Helper()
		if got, err := s.Language(t.Context()); err != nil || got != language {
			t.Errorf("got %q, %v, want %q", got, err, language)
		}
	}
	want("en")
	s.cloud.put(wire.DocSite, "s1", wire.SiteDoc{Name: "Blue Cup", Language: "ar"})
	s.start()
	want("ar")
}

func TestGhostsAndVoidPromisesMakeRoom(t *testing.T) {
	s := cafe(t)
	v := s.mustLogin("bob", "hello", phone)
	s.account(s.record(hotspot.Start, v, phone, 0, 0, 0))
	s.mustLogin("bob", "hello", laptop) // promised only
	tablet := hotspot.MAC{0xaa, 0xbb, 0xcc, 0, 0, 3}
	refused := s.login("bob", "hello", tablet)
	if refused.Accept {
		t.Fatal("a third device of two was let in")
	}
	seen := s.facts("bob")
	var ids []hotspot.SessionID
	for _, f := range seen.Sessions {
		if f.NAS != nas || f.Username != "bob" || f.MAC.IsZero() || f.HeardAt.IsZero() {
			t.Errorf("a session in the way lacks what a router is asked by: %+v", f)
		}
		ids = append(ids, f.ID)
	}
	if len(ids) != 2 {
		t.Fatalf("%d sessions in the way, want 2", len(ids))
	}
	s.must(s.CloseGhosts(t.Context(), append(ids, "nobody")))
	s.must(s.CloseGhosts(t.Context(), ids)) // again, without effect
	s.mustLogin("bob", "hello", tablet)
	s.mustLogin("bob", "hello", hotspot.MAC{0xaa, 0xbb, 0xcc, 0, 0, 4})
	stopped := 0
	for _, kind := range s.kinds() {
		if kind == wire.EventSessionStopped {
			stopped++
		}
	}
	if stopped != 1 {
		t.Errorf("%d sessions stopped, want the ghost's once", stopped)
	}
	// The router's Stop comes late and brings what was used since.
	s.clock.Add(time.Minute)
	s.account(s.record(hotspot.Stop, v, phone, 60, 1000, 2000))
	if u := s.usage("p-bob"); u.Upload != 1000 || u.Download != 2000 {
		t.Errorf("used %+v after the late Stop, want its figures", u)
	}
}

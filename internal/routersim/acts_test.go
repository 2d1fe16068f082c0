package routersim

import "testing"

// What others made the router do is counted, once each; what a guest does is not,
// nor a look, nor what was refused. Secrets are left out.
func TestActsOfOthersAreCounted(t *testing.T) {
	s := start(t, nowhere, nowhere, nil)
	s.SetKnobs(Knobs{Still: true})
	r := runs(t, s)
	r.must(t, "ip/hotspot/user", "add", "name=ana", "password=pw")
	log := func() {
		t.Helper()
		if _, err := s.Arrive(phoneMAC, ""); err != nil {
			t.Fatal(err)
		}
		if err := s.Login(phoneMAC, Login{Method: "http-chap", Username: "ana", Password: "pw"}); err != nil {
			t.Fatal(err)
		}
	}
	log()
	if err := s.Logout(phoneMAC); err != nil {
		t.Fatal(err)
	}
	log()
	on := r.row(t, "ip/hotspot/active", "user=ana")
	r.must(t, "ip/hotspot/active", "remove", ".id="+on[".id"])
	a := s.Acts()
	if len(a.Ended) != 1 || a.Ended[0].User != "ana" || a.Ended[0].MAC != phoneMAC || !a.Ended[0].Started.Before(a.Ended[0].At) {
		t.Errorf("ended: %+v, want the one that was removed", a.Ended)
	}
	if len(a.Stays) != 2 || a.Stays[0].Ended.IsZero() || a.Stays[1].Ended.Before(a.Stays[1].Started) || a.Stays[1].User != "ana" || a.Stays[1].MAC != phoneMAC {
		t.Errorf("stays: %+v, want two of ana's that ended", a.Stays)
	}
	if len(a.Written) != 2 || a.Written[0].Command != "ip/hotspot/user/add" || a.Written[0].Args["password"] != "***" || a.Written[1].Command != "ip/hotspot/active/remove" {
		t.Errorf("written: %+v, want the user and the removal", a.Written)
	}
	if _, _, err := s.Command("iwas", "ip/hotspot/active", "remove", map[string]string{"numbers": on[".id"]}, nil); err == nil {
		t.Fatal("a removal of what is gone is done")
	}
	if n := len(s.Acts().Written); n != 2 {
		t.Errorf("%d commands written after one was refused, want 2", n)
	}
	log()
	if a := s.Acts(); len(a.Stays) != 3 || !a.Stays[2].Ended.IsZero() {
		t.Errorf("stays: %+v, want the last to be on", a.Stays)
	}
	s.PowerCut(0)
	if a := s.Acts(); len(a.Stays) != 3 || a.Stays[2].Ended.IsZero() {
		t.Errorf("stays: %+v, want the last to have ended with the power", a.Stays)
	}
}

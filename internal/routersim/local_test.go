package routersim

import (
	"strings"
	"testing"
	"time"
)

// Whom the router lets in by itself, how long, and when no more (facts.md §3).
func TestLocalUsersAndTrials(t *testing.T) {
	s := start(t, nowhere, nowhere, func(c *Config) { c.LoginBy = "http-chap,trial" })
	s.SetKnobs(Knobs{Still: true})
	r := runs(t, s)
	r.must(t, "ip/hotspot/user/profile", "add", "name=slow", "rate-limit=1M/2M", "shared-users=1")
	r.must(t, "ip/hotspot/user", "add", "name=ana", "password=pw", "profile=slow", "limit-uptime=1h", "limit-bytes-total=1000")
	r.must(t, "ip/hotspot/user", "add", "name=off", "password=pw", "disabled=yes")
	r.must(t, "ip/hotspot/user", "add", "name=tied", "password=pw", "mac-address=02:00:00:00:00:99")
	const other = "02:00:00:00:00:12"
	for _, mac := range []string{phoneMAC, other} {
		if _, err := s.Arrive(mac, ""); err != nil {
			t.Fatal(err)
		}
	}
	login := func(mac, method, name, password, says string) {
		t.Helper()
		err := s.Login(mac, Login{Method: method, Username: name, Password: password})
		if (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("%s of %s: got %v, want %q", method, name, err, says)
		}
	}
	login(phoneMAC, "http-chap", "ana", "wrong", "invalid username or password")
	login(phoneMAC, "http-chap", "off", "pw", "RADIUS server is not responding") // asked: nobody of that name here
	login(phoneMAC, "http-chap", "tied", "pw", "not allowed to log in from this MAC address")
	login(phoneMAC, "http-chap", "ana", "pw", "")
	row := r.row(t, "ip/hotspot/active", "user=ana")
	if row["radius"] != "false" || row["session-time-left"] == "" || row["limit-bytes-total"] != "1000" {
		t.Errorf("active: %v", row)
	}
	if g, _ := s.Guest(phoneMAC); g.Rate != "1M/2M" {
		t.Errorf("rate %q, want that of the profile", g.Rate)
	}
	login(other, "http-chap", "ana", "pw", "no more sessions are allowed for user ana")
	if err := s.Age(phoneMAC, 59*time.Minute); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Use(phoneMAC, 400, 500, 0); err != nil {
		t.Fatal(err)
	}
	if err := s.Logout(phoneMAC); err != nil {
		t.Fatal(err)
	}
	if u := r.row(t, "ip/hotspot/user", "name=ana"); u["uptime"] != "59m" && !strings.HasPrefix(u["uptime"], "59m") || u["bytes-in"] != "400" || u["bytes-out"] != "500" {
		t.Errorf("totals: %v", u)
	}
	login(phoneMAC, "http-chap", "ana", "pw", "") // a minute is left, and 100 octets
	if online, err := s.Use(phoneMAC, 100, 0, 0); err != nil || online {
		t.Errorf("with all data used: online %v, %v", online, err)
	}
	login(phoneMAC, "http-chap", "ana", "pw", "has reached traffic limit")

	login(phoneMAC, "trial", "", "", "")
	if err := s.Age(phoneMAC, 30*time.Minute); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Use(phoneMAC, 1, 1, 0); err != nil {
		t.Fatal(err)
	}
	login(phoneMAC, "trial", "", "", "has reached uptime limit")
	login(other, "trial", "", "", "")
	if c := s.Counters(); c.Requests > 3 { // the three tries for the name that is disabled here
		t.Errorf("RADIUS was asked %d times", c.Requests)
	}
}

// The license allows so many sessions at once.
func TestTheLicenseLimitsSessions(t *testing.T) {
	s := start(t, nowhere, nowhere, func(c *Config) { c.LoginBy = "trial" })
	s.SetKnobs(Knobs{Still: true, LicensedSessions: 1})
	for i, mac := range []string{phoneMAC, "02:00:00:00:00:12"} {
		if _, err := s.Arrive(mac, ""); err != nil {
			t.Fatal(err)
		}
		err := s.Login(mac, Login{Method: "trial"})
		if (err == nil) != (i == 0) || err != nil && !strings.Contains(err.Error(), "session limit reached (") {
			t.Errorf("session %d: got %v", i+1, err)
		}
	}
}

package e2e

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"iwas/internal/routersim"
)

// TestTheSamePhoneWithAnotherVoucherIsLockedToo is what a lock of an account does
// not stop, and the offer that does: the device goes, whatever it logs in with,
// and nobody else.
func TestTheSamePhoneWithAnotherVoucherIsLockedToo(t *testing.T) {
	c := open(t, nil)
	tess, amira := c.Accounts[0], c.Accounts[1]
	in := func(mac, name, password string) error {
		if err := c.Control(t.Context(), http.MethodPost, "/guests/"+mac+"/arrive", map[string]string{}, nil); err != nil {
			t.Fatal(err)
		}
		return c.Control(t.Context(), http.MethodPost, "/guests/"+mac+"/login", routersim.Login{Method: "http-chap", Username: name, Password: password}, nil)
	}
	if err := in(phone, tess.Username, tess.Password); err != nil {
		t.Fatal(err)
	}
	until(t, "the session in the console", 10*time.Second, func() bool { return len(get(t, c, tess.ID).Sessions) == 1 })
	act(t, c, tess.ID, "lock", "left without paying")
	until(t, "enforced", 5*time.Second, func() bool { return get(t, c, tess.ID).Lock.State == "enforced" })

	if err := in(phone, amira.Username, amira.Password); err != nil {
		t.Fatalf("the same phone as another guest: %v", err)
	}
	until(t, "the other guest's session in the console", 10*time.Second, func() bool { return len(get(t, c, amira.ID).Sessions) == 1 })

	device := act(t, c, tess.ID, "devices/"+phone+"/lock", "")
	if device.ID == tess.ID || !device.Lock.Locked || device.Lock.Reason != "left without paying" {
		t.Errorf("got %+v, want the account that is the device, locked for the reason of the guest's lock", device)
	}
	until(t, "the device off, with proof", 5*time.Second, func() bool { return get(t, c, device.ID).Lock.State == "enforced" })
	if g := guest(t, c, phone); g.Online || g.Cookies != 0 || g.Connections != 0 {
		t.Errorf("the phone: online %v, %d cookies, %d connections; want off and none", g.Online, g.Cookies, g.Connections)
	}
	if err := in(phone, amira.Username, amira.Password); err == nil || !strings.Contains(err.Error(), "This device is locked") {
		t.Errorf("another guest's login on the locked phone: got %v, want the reason", err)
	}
	if a := get(t, c, amira.ID); a.Lock.Locked {
		t.Errorf("the other guest is locked: %+v", a.Lock)
	}
	if err := in(laptop, amira.Username, amira.Password); err != nil {
		t.Errorf("the other guest on another device: %v", err)
	}

	act(t, c, tess.ID, "devices/"+phone+"/unlock", "paid")
	act(t, c, tess.ID, "unlock", "paid")
	until(t, "a login on the phone after the unlock", 5*time.Second, func() bool { return in(phone, tess.Username, tess.Password) == nil })
}

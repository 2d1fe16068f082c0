package main

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
	"time"

	"iwas/agent/router"
	"iwas/agent/statuspage"
	"iwas/agent/store"
	"iwas/internal/hotspot"
)

// What the HotSpot knows of a session's device is at hand for page, JSON and command:
// of the router the session is on, and of a reading that worked.
func TestADeviceIsTheRoutersAnswerOfItsSession(t *testing.T) {
	now := time.Now()
	mac, _ := hotspot.ParseMAC("AA:BB:CC:00:00:01")
	session := hotspot.Session{Username: "mara", MAC: mac, NAS: "r1"}
	health := func(nas hotspot.NASID, change func(*router.Devices)) router.Health {
		d := router.Devices{Reading: router.Reading{At: now}, List: map[hotspot.MAC]router.Device{mac: {Seen: true, Authorized: true, Address: netip.MustParseAddr("10.0.0.5"), Idle: 42 * time.Second,
			Cookies: []router.Cookie{{User: "mara", Until: now.Add(time.Hour)}, {User: "mara", ByMAC: true, Until: now.Add(2 * time.Hour)}, {User: "mara", Until: now.Add(time.Minute)}}}}}
		if change != nil {
			change(&d)
		}
		return router.Health{NAS: nas, Vitals: router.Vitals{Devices: d}}
	}
	got := deviceOf([]router.Health{health("other", func(d *router.Devices) { d.List = nil }), health("r1", nil)}, session)
	want := statuspage.Device{ReadAt: now, Seen: true, Authorized: true, Address: "10.0.0.5", IdleS: 42, Cookie: statuspage.MACCookie, CookieUser: "mara", CookieUntil: now.Add(2 * time.Hour)}
	if got == nil || *got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for name, change := range map[string]func(*router.Devices){
		"failed": func(d *router.Devices) { d.Err = "no" }, "absent": func(d *router.Devices) { d.Absent = true }, "never read": func(d *router.Devices) { d.At = time.Time{} }} {
		if got := deviceOf([]router.Health{health("r1", change)}, session); got != nil {
			t.Errorf("%s: got %+v, want nothing said", name, got)
		}
	}
	if got := deviceOf([]router.Health{health("r1", func(d *router.Devices) { d.List = nil })}, session); got == nil || got.Seen || got.Cookie != "" {
		t.Errorf("no rows: got %+v, want that it is not seen", got)
	}

	door := &control{device: func(hotspot.Session) *statuspage.Device { return &want }}
	answer := door.described(store.AccountView{Sessions: []hotspot.Session{session}, Wanted: make([]hotspot.Terms, 1)})
	var out bytes.Buffer
	printAccount(&out, answer)
	for _, line := range []string{"    HotSpot  let through, idle 42s (read 0s ago)\n", "    cookie   mac-cookie of mara until " + want.CookieUntil.Local().Format(time.DateTime) + "\n"} {
		if !strings.Contains(out.String(), line) {
			t.Errorf("printed\n%s\nwant %q", out.String(), line)
		}
	}
}

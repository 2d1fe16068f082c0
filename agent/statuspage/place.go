package statuspage

import (
	"time"

	"iwas/internal/hotspot"
)

// place is where a device stands at the HotSpot, for the page.
type place struct {
	Text    string
	Differs bool // the router does not let through who should be online
	Cookie  string
	Until   time.Time // of the cookie
	As      string    // whose it is, if not the session's
}

// placeOf says it once the hosts were read since the session began.
func placeOf(s Session) place {
	d := s.Device
	if d == nil || !d.ReadAt.After(s.StartedAt) {
		return place{}
	}
	var out place
	switch {
	case !d.Seen:
		out.Text = "not seen by the HotSpot"
	case d.Bypassed:
		out.Text = "bypasses the HotSpot"
	case d.Authorized:
		out.Text = "let through by the HotSpot"
	default:
		out.Text = "at the login page"
	}
	out.Differs = s.State == hotspot.Live && !d.Authorized && !d.Bypassed
	if d.Seen && d.IdleS > 0 {
		out.Text += ", idle " + (time.Duration(d.IdleS) * time.Second).String()
	}
	if d.Address != "" && s.IP != "" && d.Address != s.IP {
		out.Text += ", has " + d.Address
	}
	switch d.Cookie {
	case MACCookie:
		out.Cookie, out.Until = "MAC cookie: comes back by itself, until", d.CookieUntil
	case BrowserCookie:
		out.Cookie, out.Until = "cookie: the browser comes back, until", d.CookieUntil
	}
	if d.Cookie != "" && d.CookieUser != s.Username {
		out.As = d.CookieUser
	}
	return out
}

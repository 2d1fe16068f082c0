package console

import (
	"fmt"
	"strings"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/webui"
)

// quietAfter is how long a connected site may be silent before the page says
// so: it sends a hello every minute.
const quietAfter = 150 * time.Second

// toneOf words the severity of a condition as a tone.
func toneOf(severity string) webui.Tone {
	switch severity {
	case "high", "critical", "error":
		return webui.Bad
	case "medium", "warning", "warn":
		return webui.Warn
	}
	return webui.Info
}

// siteVerdict answers "is all well there?" in one sentence, with the age of
// what it leans on.
func siteVerdict(st hotspot.SiteStatus, c webui.Clock) webui.Verdict {
	v := webui.Verdict{Source: "Last heard", Age: c.Ago(st.HeardAt)}
	set := func(tone webui.Tone, title, detail string) { v.Tone, v.Title, v.Detail = tone, title, detail }
	worst := webui.Good
	var texts []string
	for _, cond := range st.Conditions {
		t := toneOf(cond.Severity)
		if t == webui.Bad || t == webui.Warn && worst != webui.Bad {
			worst = t
		}
		if t != webui.Info {
			texts = append(texts, cond.Text)
		}
	}
	switch {
	case st.Presence == hotspot.Never || st.HeardAt.IsZero():
		set(webui.Calm, "No box has been connected yet", "Set up the mini-PC on site with an enrolment code.")
		v.Age = ""
	case st.Presence == hotspot.Stopped:
		set(webui.Warn, "Stopped on purpose", orElse(st.Reason, "Somebody stopped the box on site.")+" New logins are refused until it runs again; locks wait.")
	case st.Left:
		set(webui.Warn, "The box gave its identity up", "Somebody took it off on site. Guests there carry on by what the box holds, and nothing reaches it from here: enrol a box. Locks wait for it.")
	case st.Presence == hotspot.Lost:
		set(webui.Bad, "No contact with the site", "Guests on site carry on: the box decides by itself. Figures are as of the last contact; locks wait for the site.")
	case c.Now.Sub(st.HeardAt) > quietAfter:
		set(webui.Warn, "The site has gone quiet", "It is connected but has not reported. Figures may be old.")
	case worst != webui.Good:
		set(worst, "Needs attention", strings.Join(texts, " · "))
	case st.LocksOpen == 1:
		set(webui.Good, "Connected", "One lock is not proven yet.")
	case st.LocksOpen > 1:
		set(webui.Good, "Connected", fmt.Sprintf("%d locks are not proven yet.", st.LocksOpen))
	case st.Applied < st.Revision:
		set(webui.Good, "Connected", "The latest changes are on their way to the site.")
	default:
		set(webui.Good, "All is well", "Connected, and the site holds the latest changes.")
	}
	return v
}

func orElse(s, other string) string {
	if s != "" {
		return s
	}
	return other
}

// routerSeen is when the site's router last answered, by our clock: the site's
// may be far off. It cannot be after the site told it.
func routerSeen(st hotspot.SiteStatus) time.Time { return siteTime(st, st.RouterSeenAt) }

// siteTime is a time of the site's clock in ours, never after the site was heard;
// zero stays zero.
func siteTime(st hotspot.SiteStatus, t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return asOf(t.Add(-st.ClockOffset), st.HeardAt)
}

// timeLeft returns what is left of a pass's time as last reported, and false
// when its time has no limit.
func timeLeft(p *hotspot.Pass, now time.Time) (time.Duration, bool) {
	if p == nil {
		return 0, false
	}
	left, limited := time.Duration(0), false
	if p.Limits.Time > 0 {
		limited = true
		switch {
		case p.Limits.Clock == hotspot.Metered:
			left = p.Limits.Time - p.Usage.Time
		case p.Usage.FirstUsed.IsZero():
			left = p.Limits.Time
		default:
			left = p.Usage.FirstUsed.Add(p.Limits.Time).Sub(now)
		}
	}
	if !p.ValidUntil.IsZero() {
		if until := p.ValidUntil.Sub(now); !limited || until < left {
			left, limited = until, true
		}
	}
	return max(0, left), limited
}

// dataUsedUp reports whether a data allowance of the pass is gone that ends it.
func dataUsedUp(p *hotspot.Pass) bool { return p.Limits.DataUsed(p.Usage) && !p.Limits.Slows() }

// guestRow is one guest in a list.
type guestRow struct {
	Href, Icon, Name, Note string
	Plan, Left             string
	Upload, Download       string
	AsOf                   time.Time // of what is left and used; zero: nothing is recorded
	Online                 int
	State                  webui.Badge
	Lock                   lockView
}

var kindIcons = map[hotspot.AccountKind]string{hotspot.User: "user", hotspot.Voucher: "ticket", hotspot.Device: "smartphone"}
var kindNames = map[hotspot.AccountKind]string{hotspot.User: "User", hotspot.Voucher: "Voucher", hotspot.Device: "Device"}

func viewGuest(g hotspot.Guest, site hotspot.SiteStatus, c webui.Clock, hide bool) guestRow {
	row := guestRow{
		Href: "/guests/" + string(g.Account.ID), Icon: orElse(kindIcons[g.Account.Kind], "user"),
		Name: displayName(g.Account), Note: g.Account.Note, Plan: "no pass", Left: "–", Upload: "–", Download: "–",
		Lock: viewLock(g.Lock, site, c), State: guestState(g, c),
	}
	if hide {
		row.Name, row.Note = mask(g.Account.Username), ""
	}
	for _, sess := range g.Sessions {
		if sess.IsOpen() {
			row.Online++
		}
	}
	if g.Pass != nil {
		row.Plan, row.AsOf = g.Pass.PlanName, asOf(g.UsageAsOf, c.Now)
		row.Upload, row.Download = g.Pass.Usage.Upload.String(), g.Pass.Usage.Download.String()
		row.Left = "no limit"
		if left, limited := timeLeft(g.Pass, c.Now); limited {
			row.Left = webui.Duration(left)
		}
	}
	if row.Lock.Locked {
		row.State = row.Lock.Badge
	}
	return row
}

// displayName is a login name as people read it: voucher codes in groups of
// four.
func displayName(a hotspot.Account) string {
	if a.Kind != hotspot.Voucher || strings.ContainsAny(a.Username, "- ") || len(a.Username)%4 != 0 {
		return a.Username
	}
	var groups []string
	for s := a.Username; s != ""; s = s[4:] {
		groups = append(groups, s[:4])
	}
	return strings.Join(groups, "-")
}

// guestState says whether a guest who is not locked is on, and if not, whether
// they could come in.
func guestState(g hotspot.Guest, c webui.Clock) webui.Badge {
	sure, unsure := 0, 0
	for _, s := range g.Sessions {
		switch s.State {
		case hotspot.Live:
			sure++
		case hotspot.Suspect:
			unsure++
		}
	}
	switch {
	case sure > 0 && g.Pass != nil && g.Pass.Limits.Slows() && g.Pass.Limits.DataUsed(g.Pass.Usage):
		return webui.Badge{Tone: webui.Good, Icon: "wifi", Text: "Online, data used"}
	case sure > 0:
		return webui.Badge{Tone: webui.Good, Icon: "wifi", Text: "Online"}
	case unsure > 0:
		return webui.Badge{Tone: webui.Warn, Icon: "wifi", Text: "Online, unsure"}
	case g.Pass == nil:
		return webui.Badge{Tone: webui.Calm, Text: "No pass"}
	case dataUsedUp(g.Pass):
		return webui.Badge{Tone: webui.Calm, Icon: "database", Text: "Data used up"}
	}
	if left, limited := timeLeft(g.Pass, c.Now); limited && left == 0 {
		return webui.Badge{Tone: webui.Calm, Icon: "clock", Text: "Time is over"}
	}
	if open, opens := g.Pass.Limits.Hours.At(c.Now, c.Zone); !open {
		return webui.Badge{Tone: webui.Calm, Icon: "clock", Text: "Opens " + opens.Format("Mon 15:04")}
	}
	if g.Pass.Usage.FirstUsed.IsZero() {
		return webui.Badge{Tone: webui.Calm, Icon: "ticket", Text: "Not used yet"}
	}
	return webui.Badge{Tone: webui.Calm, Icon: "user", Text: "Offline"}
}

// sessionView is one session as a page shows it.
type sessionView struct {
	MAC, IP, NAS     string
	Private          bool
	Started, AsOf    time.Time // by our clock
	Time             string
	Upload, Download string
	State            webui.Badge
	Source           string // who says that it is open
	Speed, SpeedNote string // what it runs at, and what is to be said of that
}

func viewSessions(sessions []hotspot.Session, c webui.Clock, hide bool) []sessionView {
	var out []sessionView
	for _, s := range sessions {
		if !s.IsOpen() {
			continue
		}
		v := sessionView{MAC: s.MAC.String(), NAS: string(s.NAS), Private: s.MAC.Private() && !s.MAC.IsZero(),
			Started: s.StartedAt, AsOf: asOf(s.AsOf, c.Now), Source: "by accounting", Time: webui.Duration(s.Time),
			Upload: s.Upload.String(), Download: s.Download.String(),
			State: webui.Badge{Tone: webui.Good, Icon: "wifi", Text: "Online"}}
		if !s.AsOf.IsZero() && !s.HeardAt.IsZero() { // the two moments of the site are apart as its clock says
			v.Started = v.AsOf.Add(-s.HeardAt.Sub(s.StartedAt))
		}
		if s.IP.IsValid() {
			v.IP = s.IP.String()
		}
		if hide {
			v.MAC, v.IP = s.MAC.Masked(), ""
		}
		if v.MAC == "" {
			v.MAC = "address not known"
		}
		if s.State == hotspot.Suspect {
			v.State = webui.Badge{Tone: webui.Warn, Icon: "wifi", Text: "Unsure"}
			v.Source = "by accounting only, from before its router restarted"
		}
		out = append(out, v)
	}
	return out
}

// money words an amount with its currency: "EUR 2.50", "free" for nothing.
func money(m hotspot.Money) string {
	if m.Minor == 0 {
		return "free"
	}
	return m.String()
}

// capitalDays writes "mon-fri 08:00-16:00" as people do: "Mon-Fri 08:00-16:00".
func capitalDays(span string) string {
	b := []byte(span)
	for i, c := range b {
		if c >= 'a' && c <= 'z' && (i == 0 || b[i-1] == ',' || b[i-1] == '-') {
			b[i] = c - 'a' + 'A'
		}
	}
	return string(b)
}

// limitWords words what a plan or pass allows, one line each.
func limitWords(l hotspot.Limits) []string {
	var out []string
	switch {
	case l.Time == 0:
		out = append(out, "No time limit")
	case l.Clock == hotspot.Metered:
		out = append(out, webui.Duration(l.Time)+" online, can be paused")
	default:
		out = append(out, webui.Duration(l.Time)+" from first login")
	}
	if l.Validity > 0 {
		out = append(out, "Valid "+webui.Duration(l.Validity)+" after the sale")
	}
	if !l.Rate.IsZero() {
		out = append(out, fmt.Sprintf("Upload %s, download %s", webui.Speed(l.Rate.Max.Upload), webui.Speed(l.Rate.Max.Download)))
		if b := l.Rate.Burst; b != (hotspot.Pair[hotspot.Rate]{}) {
			out = append(out, fmt.Sprintf("Bursts of %s up, %s down", webui.Speed(b.Upload), webui.Speed(b.Download)))
		}
	}
	for _, s := range l.Hours {
		out = append(out, "Only "+capitalDays(s.String()))
	}
	for _, d := range []struct {
		n    hotspot.Octets
		text string
	}{{l.Total, "of data"}, {l.Upload, "upload"}, {l.Download, "download"}} {
		if d.n > 0 {
			out = append(out, d.n.String()+" "+d.text)
		}
	}
	if l.Slows() {
		out = append(out, fmt.Sprintf("Then upload %s, download %s", webui.Speed(l.SlowRate.Max.Upload), webui.Speed(l.SlowRate.Max.Download)))
	}
	if n := l.DevicesAtOnce(); n > 1 {
		out = append(out, fmt.Sprintf("%d devices at once", n))
	} else {
		out = append(out, "1 device at once")
	}
	if l.Swap == hotspot.SwapMove {
		out = append(out, "A new device takes the place of the oldest")
	}
	if l.IdleTimeout > 0 {
		out = append(out, "Logged out after "+webui.Duration(l.IdleTimeout)+" without use")
	}
	if l.Reconnect {
		out = append(out, "Logged out for a change that cannot be made online")
	}
	if len(l.AddressLists) > 0 {
		how := ""
		if l.ListsByAPI {
			how = ", by the router’s API"
		}
		out = append(out, "Address-lists "+strings.Join(l.AddressLists, ", ")+how)
	}
	return out
}

package console

import (
	"fmt"
	"strings"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/webui"
)

// stages are the steps of a lock as people count them, in order. The last is
// the outcome, under whichever name it came.
var stages = [...]string{"requested", "sent", "received", "enforced"}

// stage returns the place of a step among stages, or -1 for what the site did
// in between.
func stage(name string) int {
	switch hotspot.LockState(name) {
	case hotspot.LockLeaks, hotspot.LockUnproven:
		return len(stages) - 1
	}
	for i, n := range stages {
		if n == name {
			return i
		}
	}
	return -1
}

// splitSteps sorts the steps of a lock: the reached stages in their order, one
// each, and what the site did in between.
func splitSteps(l hotspot.LockStatus) (main, site []hotspot.LockStep) {
	var reached [len(stages)]*hotspot.LockStep
	for i, st := range l.Steps {
		switch n := stage(st.Name); {
		case n < 0:
			site = append(site, st)
		case reached[n] == nil:
			reached[n] = &l.Steps[i]
		}
	}
	for _, st := range reached {
		if st != nil {
			main = append(main, *st)
		}
	}
	return main, site
}

// slowAfter is how long a lock may be on its way to a connected site before
// the page says that it is slow.
const slowAfter = 10 * time.Second

// lockView is the lock of one guest as a page shows it.
type lockView struct {
	Locked  bool
	Badge   webui.Badge
	Title   string
	Text    string // the plain truth in one or two sentences
	Tone    webui.Tone
	Dots    []webui.Dot
	Mini    []string // state of the three dots of a list row; nil when unlocked or settled
	By      string
	At      time.Time
	Reason  string
	Method  string
	Code    string
	Details []hotspot.LockStep // the site's own steps
}

// methods words how the proof was got.
var methods = map[string]string{
	"disconnect":    "The router was told to disconnect, and then read: the guest is gone.",
	"api":           "The entry was removed on the router, and the router was read: the guest is gone.",
	"nothing_to_do": "The router was read: the guest was not online.",
	"reject_only":   "New logins are refused. There was no router to read.",
}

// viewLock words a lock. It never claims more than was heard: only an
// outcome from the site fills the last dot.
func viewLock(l hotspot.LockStatus, site hotspot.SiteStatus, c webui.Clock) lockView {
	v := lockView{Locked: l.State != hotspot.LockNone && l.State != "", Code: l.Code, Method: methods[l.Method]}
	if !v.Locked {
		v.Badge, v.Tone = webui.Badge{Tone: webui.Calm, Icon: "lock-open", Text: "Not locked"}, webui.Calm
		v.Title, v.Text = "Not locked", ""
		if site.Applied < site.Revision {
			v.Text = "The site has not confirmed the latest changes yet. If you have just unlocked this guest, it counts once the site has."
		}
		return v
	}
	if l.Lock != nil {
		v.By, v.At, v.Reason = l.Lock.By, l.Lock.At, l.Lock.Reason
	}
	_, v.Details = splitSteps(l)
	words(&v, l, site, c)
	if l.Lock != nil && l.Lock.Pause {
		v.Badge.Text, v.Title, v.Text = pausing.Replace(v.Badge.Text), pausing.Replace(v.Title), pausing.Replace(v.Text)
	}
	v.Dots = dots(l, site, c)
	if !settled(l.State) {
		for _, d := range v.Dots {
			v.Mini = append(v.Mini, d.State)
		}
	}
	return v
}

// pausing words a lock that is a pause: the guest asked for it, and is not blamed.
var pausing = strings.NewReplacer("Locked", "Paused", "locked", "paused", "Locking", "Pausing", "The lock", "The pause", "the lock", "the pause", "a lock", "a pause", "unlock", "resume", "Unlock", "Resume")

// words fills badge, title and text by the state of the lock.
func words(v *lockView, l hotspot.LockStatus, site hotspot.SiteStatus, c webui.Clock) {
	set := func(tone webui.Tone, icon, badge, title, text string) {
		v.Tone, v.Badge, v.Title, v.Text = tone, webui.Badge{Tone: tone, Icon: icon, Text: badge}, title, text
	}
	slow := ""
	if !v.At.IsZero() && c.Now.Sub(v.At) > slowAfter {
		slow = " The site is slow to answer; we keep trying. The guest may still be online."
	}
	if l.Reopened != nil && !settled(l.State) {
		set(webui.Bad, "triangle-alert", "No longer proven", "No longer proven off", reopenedWords(l, site, c))
		return
	}
	switch l.State {
	case hotspot.LockRequested:
		set(webui.Warn, "clock", "Locking…", "Locking…", "The lock is stored and on its way to the site."+slow)
	case hotspot.LockWaiting:
		heard := "The site has never been heard of."
		if !site.HeardAt.IsZero() {
			heard = site.Site.Name + " was last heard " + webui.Age(c.Now.Sub(site.HeardAt)) + "."
		}
		then := "The lock applies as soon as it is back. The guest may still be online."
		if at := reachedAt(l, hotspot.StepReceived); !at.IsZero() {
			then = "It received the lock at " + c.Plain(at) + ", by its own clock, and goes on by itself; whether the guest is off is known when it is back."
		}
		set(webui.Warn, "clock", "Waits for the site", "Waits for the site", heard+" "+then)
	case hotspot.LockSent:
		set(webui.Warn, "clock", "Locking…", "Locking…", "Sent; the site has not confirmed yet."+slow)
	case hotspot.LockReceived:
		set(webui.Warn, "clock", "Locking…", "Locking…", "The site refuses new logins and is cutting the guest off; not proven yet."+slow)
	case hotspot.LockEnforced:
		set(webui.Bad, "lock", "Locked", "Locked, proven off", v.Method)
	case hotspot.LockLeaks:
		set(webui.Warn, "triangle-alert", "Locked, network leaks", "Off at the HotSpot, but the network leaks",
			"The router has a way round the HotSpot, so the guest may still get out. A technician must close it.")
	case hotspot.LockUnproven:
		set(webui.Warn, "triangle-alert", "Acknowledged, not proven", "Acknowledged, not proven",
			"The router said yes, but the box has no way to read it back. Set up the router's API to get proof.")
	default:
		set(webui.Warn, "triangle-alert", "Lock state unknown", "Lock state unknown", "This console does not know the state "+string(l.State)+".")
	}
}

// reopenedWords say how a lock had ended, since when that no longer holds, and
// what happens now.
func reopenedWords(l hotspot.LockStatus, site hotspot.SiteStatus, c webui.Clock) string {
	was := map[hotspot.LockState]string{hotspot.LockEnforced: "Proven off", hotspot.LockLeaks: "Off at the HotSpot", hotspot.LockUnproven: "Acknowledged by the router"}
	text := fmt.Sprintf("%s at %s, but no longer since %s (the site's clock): the guest came back, or the router could not be read.",
		orElse(was[l.Reopened.Was], "Off"), c.Plain(l.Reopened.WasAt), c.Plain(l.Reopened.Since))
	if l.State != hotspot.LockWaiting {
		return text + " The site keeps cutting the guest off; until that is proven the guest may be online."
	}
	return text + " " + site.Site.Name + " was last heard " + webui.Age(c.Now.Sub(site.HeardAt)) + " and goes on by itself; whether the guest is off is known when the site is back."
}

// reachedAt is when a step was reached, zero if it was not.
func reachedAt(l hotspot.LockStatus, name string) time.Time {
	for _, st := range l.Steps {
		if st.Name == name {
			return st.At
		}
	}
	return time.Time{}
}

// settled reports whether the site has told how the lock ended.
func settled(s hotspot.LockState) bool {
	return s == hotspot.LockEnforced || s == hotspot.LockLeaks || s == hotspot.LockUnproven
}

// dots are the three steps that the owner watches.
func dots(l hotspot.LockStatus, site hotspot.SiteStatus, c webui.Clock) []webui.Dot {
	names := map[string]string{"sent": "Sent", "received": "Received by the site", "enforced": "Cut off, with proof"}
	main, _ := splitSteps(l)
	byName := map[string]hotspot.LockStep{}
	for _, st := range main {
		byName[stages[stage(st.Name)]] = st
	}
	final := settled(l.State)
	out := make([]webui.Dot, 0, 3)
	waiting := false // a step before this one is still open
	for _, name := range stages[1:] {
		d := webui.Dot{Text: names[name], State: "todo"}
		st, reached := byName[name]
		switch {
		case name == "enforced" && final && l.State != hotspot.LockEnforced:
			d.State, d.Text = "bad", "Off at the HotSpot, network leaks"
			if l.State == hotspot.LockUnproven {
				d.Text = "Acknowledged, not proven"
			}
		case reached:
			d.State = "done"
		case !waiting:
			d.State, waiting = "now", true
			if l.State == hotspot.LockWaiting {
				d.Note = "Waits for the site"
			} else if l.Reopened != nil && name == "enforced" {
				d.Note = "It had been, and is tried again"
			}
		}
		if reached {
			d.At, d.Note = c.Time(st.At), st.Detail
			if st.Took > 0 {
				d.Took = webui.Took(st.Took)
			}
			if name == "received" && d.Note == "" && st.Machine == "site" {
				d.Note = "From here on by the site's clock" + apart(site.ClockOffset)
			}
		}
		out = append(out, d)
	}
	return out
}

// clocksAgree is how far apart two clocks may be before a page says so: what a
// hello is under way counts into the measurement.
const clocksAgree = 2 * time.Second

// apart words how far a site's clock is from ours; "" where it is not worth a word.
func apart(offset time.Duration) string {
	switch {
	case offset > clocksAgree:
		return ", " + webui.Duration(offset) + " ahead of ours"
	case offset < -clocksAgree:
		return ", " + webui.Duration(-offset) + " behind ours"
	}
	return ""
}

// stepName words one of the site's own steps.
func stepName(name string) string {
	switch name {
	case hotspot.StepCookies:
		return "HotSpot cookies removed"
	case hotspot.StepDisconnect:
		return "Disconnect-Request"
	case hotspot.StepStop:
		return "Accounting Stop received"
	case hotspot.StepActive:
		return "Active entry removed"
	case hotspot.StepLists:
		return "Taken out of address-lists"
	case hotspot.StepConnections:
		return "Open connections dropped"
	case hotspot.StepReadBack:
		return "Router read back"
	}
	return name
}

package statuspage

import (
	"slices"
	"strings"
	"time"

	"iwas/internal/condition"
	"iwas/internal/webui"
)

// judge answers the one question a technician comes with: can guests log in? It
// is pure. open are the conditions shown, the worst first.
func judge(s Snapshot, open []condition.Open) webui.Verdict {
	v := webui.Verdict{Source: "Checked"}
	say := func(tone webui.Tone, title, detail string) webui.Verdict {
		v.Tone, v.Title, v.Detail = tone, title, detail
		return v
	}
	if ok, code, why, next := s.ready(); !ok {
		if code == "" {
			return say(webui.Info, "Starting: guests cannot log in yet", next)
		}
		if i := slices.IndexFunc(open, func(o condition.Open) bool { return o.Code == code }); i >= 0 { // what exactly stands with it
			why = lower(open[i].Title)
		}
		return say(webui.Bad, "Guests cannot log in: "+why, next)
	}
	for _, o := range open {
		if !o.ImpactsLogin {
			continue
		}
		if nobody(s, o) {
			return say(webui.Bad, "Guests cannot log in: "+lower(o.Title), o.Next)
		}
		return say(webui.Warn, "Some guests may be unable to log in: "+lower(o.Title), o.Next)
	}
	switch {
	case s.RADIUS.LastAnswer.IsZero():
		return say(webui.Info, "Ready for guests to log in", "No router has asked yet. Let one device join the guest WiFi to see it work.")
	case s.Cloud.Enrolled && !s.Cloud.Connected:
		return say(webui.Good, "Guests can log in", "The cloud is away. Logins, limits and counting go on here; everything travels up when it is back.")
	case len(open) > 0 && open[0].Severity == condition.High:
		return say(webui.Good, "Guests can log in", "But something else needs a person: see below.")
	}
	return say(webui.Good, "Guests can log in", "")
}

// guestsOf is the verdict as a word for programs.
func guestsOf(v webui.Verdict, s Snapshot) Guests {
	ready, _, _ := s.Ready()
	switch {
	case !ready || v.Tone == webui.Bad:
		return GuestsOut
	case v.Tone == webui.Warn:
		return GuestsSome
	}
	return GuestsIn
}

// nobody reports whether a condition that hurts logins keeps everybody out: one
// router with a wrong secret among others that are answered hurts some.
func nobody(s Snapshot, o condition.Open) bool {
	if o.Code == codeNoRoom { // passes that are in use go on
		return false
	}
	if o.Code == codeNoHotSpot || o.Code == codeLocked { // guests of another router log in
		return len(s.Routers) < 2 || !slices.ContainsFunc(s.Routers, func(r Router) bool {
			return r.Health == nil || !r.Health.HotSpot.Locked && len(r.Health.HotSpot.Servers) > 0
		})
	}
	if o.Code != codeStranger && o.Code != codeSecret && o.Code != codeFellBack {
		return true
	}
	if s.RADIUS.LastAnswer.IsZero() || s.RADIUS.Accepts == 0 && o.Code != codeStranger {
		return true
	}
	var bad time.Time
	for _, x := range s.RADIUS.Offenders {
		if (x.Reason == "unknown_nas" || x.Reason == "message_authenticator_fell_back" || badSecret(x.Reason)) && x.Last.After(bad) {
			bad = x.Last
		}
	}
	return bad.Sub(s.RADIUS.LastAnswer) > quietAfter
}

// lower makes a title the end of a sentence, and leaves RADIUS as it is.
func lower(title string) string {
	if first, _, _ := strings.Cut(title, " "); first == strings.ToUpper(first) && len(first) > 1 {
		return title
	}
	return strings.ToLower(title[:1]) + title[1:]
}

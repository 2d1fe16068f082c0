// Package whynot answers in one line why somebody cannot log in, and says what to do
// next. It is pure: facts go in, sentences come out. The status page, the command of
// the box and the console ask it, so that they never say different things. It reads
// no database and changes nothing.
package whynot

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"iwas/internal/hotspot"
)

// Verdict is what an answer comes to.
type Verdict string

const (
	Can     Verdict = "can"     // nothing stands in the way of a login
	Online  Verdict = "online"  // and somebody is logged in right now
	Cannot  Verdict = "cannot"  // a login is refused now
	Unknown Verdict = "unknown" // nobody has that name, code or address
)

// Step is what would help.
type Step string

const (
	Nothing     Step = ""
	Sell        Step = "sell"
	Unlock      Step = "unlock"
	Resume      Step = "resume"
	Kick        Step = "kick"
	Spell       Step = "spell"        // look at the name again
	Password    Step = "password"     // of the guest
	Wait        Step = "wait"         // it passes by itself
	FixSecret   Step = "fix_secret"   // of /radius
	FixNAS      Step = "fix_nas"      // tell the box of the router, or the router of its address
	CheckRouter Step = "check_router" // requests do not arrive
	FreeDisk    Step = "free_disk"
)

// Facts are what is known of whoever was asked for.
type Facts struct {
	Nobody     string // why nobody at all can log in, "" where that is not so
	NobodyNext string // what to do about it
	ByDevice   bool   // asked by a MAC or an address, not by a name
	Asked      string // as typed
	Account    *hotspot.Account
	Lock       *hotspot.Lock // of the account
	Device     *hotspot.Lock // of the device that was asked for
	Pass       *hotspot.Pass // that a login would be judged by; nil without one
	Off        hotspot.OffReason
	Online     []hotspot.Session // of the account
	Last       time.Time         // when the account was last heard online; zero: never, or not kept
	// Failed are the failed logins of the account, of the name as typed, or of the
	// device: those that failed last first.
	Failed []hotspot.Reject
	// Trouble are failed logins of nobody in particular that may be the reason why
	// none arrives: routers that are not known, other secrets. Newest first.
	Trouble []hotspot.Reject
	Similar []string // names like the one asked for; empty where they may not be told
	Stale   string   // since when the facts are old, as a sentence; "" where they are of now
	Now     time.Time
	Zone    *time.Location
}

// Answer is what to tell.
type Answer struct {
	Verdict Verdict
	Line    string // one sentence, or two
	Next    string // what to do, "" when nothing is needed
	Step    Step
	Reason  hotspot.Reason // code of what stands in the way, "" for nothing
}

// fresh is for how long trouble of a router may be why nobody arrives, and lately
// how long a failed login says something of the next one.
const (
	fresh  = 15 * time.Minute
	lately = 24 * time.Hour
)

// Ask answers.
func Ask(f Facts) Answer {
	a := ask(&f)
	if f.Stale != "" {
		a.Line += " " + f.Stale
	}
	return a
}

func ask(f *Facts) Answer {
	if f.Nobody != "" {
		return Answer{Cannot, "Nobody can log in now: " + f.Nobody + ".", f.NobodyNext, Step(""), ""}
	}
	if f.Device != nil {
		return Answer{Cannot, "The device " + f.Asked + " is locked, whatever account logs in on it, since " + f.moment(f.Device.At) + " by " + by(f.Device) + ".", "Unlock the device.", Unlock, hotspot.ReasonDeviceLocked}
	}
	if f.Account == nil {
		return f.nobody()
	}
	if a, off := f.off(); off {
		return a
	}
	if len(f.Online) > 0 {
		return f.online()
	}
	if a, tells := f.failed(); tells {
		return a
	}
	return f.nothing()
}

// name is how the account is called, in an answer to a question by a MAC or an IP too.
func (f *Facts) name() string { return f.Account.Username }

func by(l *hotspot.Lock) string {
	text := cmp.Or(l.By, "somebody")
	if l.Reason != "" {
		text += ": " + l.Reason
	}
	return text
}

// off are the reasons that lie in the account.
func (f *Facts) off() (Answer, bool) {
	who := f.name()
	sell := "Sell a pass, or add time to this one."
	switch {
	case f.Lock != nil && f.Lock.Pause:
		return Answer{Cannot, who + " is paused, since " + f.moment(f.Lock.At) + " by " + by(f.Lock) + ".", "Resume it when the guest is back.", Resume, hotspot.ReasonPaused}, true
	case f.Lock != nil:
		return Answer{Cannot, who + " is locked, since " + f.moment(f.Lock.At) + " by " + by(f.Lock) + ".", "Unlock it, if the reason is over.", Unlock, hotspot.ReasonLocked}, true
	case f.Pass == nil:
		return Answer{Cannot, who + " has no pass.", "Sell a pass.", Sell, hotspot.ReasonNoPass}, true
	case !f.Pass.ValidFrom.IsZero() && f.Now.Before(f.Pass.ValidFrom):
		return Answer{Cannot, who + "'s pass is valid from " + f.moment(f.Pass.ValidFrom) + " on.", "Wait until then, or sell another pass.", Wait, hotspot.ReasonNotYetValid}, true
	case f.Off == hotspot.OffNotValid:
		return Answer{Cannot, who + "'s pass expired at " + f.moment(f.Pass.ValidUntil) + ".", sell, Sell, hotspot.ReasonExpired}, true
	case f.Off == hotspot.OffTimeUsed:
		return Answer{Cannot, who + "'s time is used up: " + f.timeUsed() + ".", sell, Sell, hotspot.ReasonTimeUsed}, true
	case f.Off == hotspot.OffDataUsed:
		return Answer{Cannot, who + "'s data is used up: " + dataUsed(f.Pass) + ".", sell, Sell, hotspot.ReasonDataUsed}, true
	}
	if open, change := f.Pass.Limits.Hours.At(f.Now, f.zone()); len(f.Pass.Limits.Hours) > 0 && !open {
		text := who + "'s pass may not be used at this hour"
		if !change.IsZero() {
			text += ": from " + f.moment(change) + " on"
		}
		return Answer{Cannot, text + ".", "Wait until then, or sell another pass.", Wait, hotspot.ReasonOutsideHours}, true
	}
	return Answer{}, false
}

func (f *Facts) timeUsed() string {
	p := f.Pass
	if p.Limits.Clock == hotspot.Metered {
		return fmt.Sprintf("%s of %s online", span(p.Usage.Time), span(p.Limits.Time))
	}
	return fmt.Sprintf("%s from the first login, at %s", span(p.Limits.Time), f.moment(p.Usage.FirstUsed))
}

func dataUsed(p *hotspot.Pass) string {
	l, u := p.Limits, p.Usage
	switch {
	case l.Total > 0 && u.Upload.Add(u.Download) >= l.Total:
		return fmt.Sprintf("%s of %s", u.Upload.Add(u.Download), l.Total)
	case l.Download > 0 && u.Download >= l.Download:
		return fmt.Sprintf("%s of %s download", u.Download, l.Download)
	}
	return fmt.Sprintf("%s of %s upload", u.Upload, l.Upload)
}

// online answers for somebody who is: another device is let in or refused.
func (f *Facts) online() Answer {
	var where []string
	for _, s := range f.Online[:min(len(f.Online), 3)] {
		text := cmp.Or(s.MAC.Masked(), "a device")
		if !s.StartedAt.IsZero() {
			text += " since " + f.moment(s.StartedAt)
		}
		where = append(where, text)
	}
	line := fmt.Sprintf("%s is logged in right now: %s.", f.name(), strings.Join(where, ", "))
	n, most := len(f.Online), f.Pass.Limits.DevicesAtOnce()
	if n < most {
		return Answer{Online, line + fmt.Sprintf(" %d of %d devices.", n, most), "", Nothing, ""}
	}
	if f.Pass.Limits.Swap == hotspot.SwapMove {
		return Answer{Online, line + " Another device takes the place of this one.", "", Nothing, ""}
	}
	return Answer{Online, line + fmt.Sprintf(" %s, so another device is refused.", allDevices(n, most)), "Log that device out, or end its session here, to let another in.", Kick, hotspot.ReasonTooManyDevices}
}

func allDevices(n, most int) string {
	if most == 1 {
		return "The pass is for one device"
	}
	return fmt.Sprintf("%d of %d devices are on", n, most)
}

// failed answers by what the last login came to, where the account itself is fine.
func (f *Facts) failed() (Answer, bool) {
	if len(f.Failed) == 0 {
		return Answer{}, false
	}
	r := f.Failed[0]
	if f.Now.Sub(r.Newest()) > lately || f.Last.After(r.Newest()) {
		return Answer{}, false
	}
	a, ok := f.failure(r, f.name())
	return a, ok
}

// failure words one failed login.
func (f *Facts) failure(r hotspot.Reject, who string) (Answer, bool) {
	n := f.times(r)
	at := f.moment(r.Newest())
	switch r.Reason {
	case hotspot.ReasonBadPassword:
		if f.Account != nil && f.Account.Kind == hotspot.Voucher {
			return Answer{Cannot, fmt.Sprintf("%s: another password than the code %s, last at %s.", who, n, at), "Have the guest leave the password empty, or type the code there too.", Password, r.Reason}, true
		}
		return Answer{Cannot, fmt.Sprintf("%s: wrong password %s, last at %s.", who, n, at), "Have the guest type the password again; capitals count. Set a new one if it is forgotten.", Password, r.Reason}, true
	case hotspot.ReasonUnknown:
		return Answer{Unknown, fmt.Sprintf("%s was tried %s, last at %s, and no guest here is called that.", who, n, at), spelling, Spell, r.Reason}, true
	case hotspot.ReasonNoCredential:
		return Answer{Cannot, fmt.Sprintf("%s: the login page sent no password %s, last at %s.", who, n, at), "Have the guest type the password. If that happens with every guest, the router's login page or login-by is wrong: iwas-agent router check.", CheckRouter, r.Reason}, true
	case hotspot.ReasonMACMismatch:
		return Answer{Cannot, fmt.Sprintf("%s belongs to one device, and another tried it %s, last at %s.", who, n, at), "Use that device, or sell a voucher.", Sell, r.Reason}, true
	case hotspot.ReasonTooManyTries:
		return Answer{Cannot, fmt.Sprintf("%s: too many wrong tries from this device or for this name, last at %s.", who, at), "Wait a minute, then type it once more with care.", Wait, r.Reason}, true
	case hotspot.ReasonTooManyDevices:
		return Answer{Can, fmt.Sprintf("%s can log in now. At %s too many devices were on.", who, at), "", Nothing, ""}, true
	case hotspot.ReasonNoRoom:
		return Answer{Cannot, fmt.Sprintf("%s: the first login cannot be stored, the disk of the box is full (last at %s).", who, at), "Free room on the box.", FreeDisk, r.Reason}, true
	case hotspot.ReasonMalformed, hotspot.ReasonTwoCredentials:
		return Answer{Cannot, fmt.Sprintf("%s: the router sent a request that cannot be read, %s, last at %s.", who, n, at), "Look at the router's login page and its version: iwas-agent router check.", CheckRouter, r.Reason}, true
	}
	return f.unanswered(r, who)
}

// unanswered words a login that got no answer, or none the router believes.
func (f *Facts) unanswered(r hotspot.Reject, who string) (Answer, bool) {
	n, at := f.times(r), f.moment(r.Newest())
	from := cmp.Or(string(r.NAS), addr(r))
	switch r.Reason {
	case hotspot.ReasonBadSecret:
		return Answer{Cannot, fmt.Sprintf("%s: router %s has another RADIUS secret than this box (%s, last at %s).", who, from, n, at), "Set the same secret in /radius on the router and in the box's configuration.", FixSecret, r.Reason}, true
	case hotspot.ReasonUnknownNAS:
		return Answer{Cannot, fmt.Sprintf("%s: the request came from %s, which is no router of this box (%s, last at %s).", who, addr(r), n, at), "Add that address as a [[nas]] of the box, or set src-address in /radius on the router.", FixNAS, r.Reason}, true
	case hotspot.ReasonNotSigned:
		return Answer{Cannot, fmt.Sprintf("%s: router %s sends requests without Message-Authenticator, which it must send (last at %s).", who, from, at), "Set require-message-auth in /radius, or update RouterOS.", CheckRouter, r.Reason}, true
	case hotspot.ReasonDuplicates:
		return Answer{Cannot, fmt.Sprintf("%s: router %s asks the same again and again (%s, last at %s): the answers do not reach it.", who, from, n, at), "Look at the firewall and the routes between box and router: iwas-agent router check.", CheckRouter, r.Reason}, true
	case hotspot.ReasonOverload:
		return Answer{Cannot, fmt.Sprintf("%s: more logins at once than can be answered, last at %s.", who, at), "Wait a minute. If it stays so, somebody floods the box: see the last refused logins.", Wait, r.Reason}, true
	case hotspot.ReasonUnjudged:
		return Answer{Cannot, fmt.Sprintf("%s: this box could not answer at %s.", who, at), "See what is wrong on the status page, or: iwas-agent check.", CheckRouter, r.Reason}, true
	}
	return Answer{}, false
}

func addr(r hotspot.Reject) string {
	if !r.Source.IsValid() {
		return "an unknown address"
	}
	return r.Source.String()
}

const spelling = "Look at the spelling. Codes have no 0, 1, O, I or L."

// nobody answers for a name, code or address that no account has.
func (f *Facts) nobody() Answer {
	for _, r := range f.Failed {
		if r.Reason == hotspot.ReasonUnknown || f.Now.Sub(r.Newest()) > lately || f.Failed[0].Newest().Sub(r.Newest()) > fresh {
			continue
		}
		if a, ok := f.failure(r, f.Asked); ok { // a secret of the router matters more than the name
			return a
		}
	}
	if f.ByDevice {
		return f.device()
	}
	line := "There is no guest called " + f.Asked + " here"
	if len(f.Failed) > 0 {
		r := f.Failed[0]
		line += fmt.Sprintf("; it was tried %s, last at %s", f.times(r), f.moment(r.Newest()))
	} else {
		line += ", and no login with it came"
	}
	a := Answer{Unknown, line + ".", spelling, Spell, hotspot.ReasonUnknown}
	if len(f.Similar) > 0 {
		a.Next = "The closest: " + strings.Join(f.Similar, ", ") + "."
	}
	return a
}

// device answers for a device of which no account is known.
func (f *Facts) device() Answer {
	for _, r := range f.Failed {
		if !r.Appeared() && r.Username != "" {
			return Answer{Unknown, fmt.Sprintf("That device tried %s (%s, last at %s), and no guest here is called that.", r.Username, f.times(r), f.moment(r.Newest())), spelling, Spell, hotspot.ReasonUnknown}
		}
	}
	if len(f.Failed) > 0 {
		return Answer{Unknown, "That device came to the login page at " + f.moment(f.Failed[0].Newest()) + ", and nobody has typed a name or a code on it.", "Have the guest open the login page and type it.", Spell, hotspot.ReasonUnknown}
	}
	return Answer{Unknown, "No login came from a device like " + f.Asked + ".", "Look whether the phone is in the guests' WiFi. If it is, the router does not ask this box: iwas-agent router check.", CheckRouter, ""}
}

// nothing answers for an account that is fine and was not refused lately.
func (f *Facts) nothing() Answer {
	who := f.name()
	for _, r := range f.Trouble {
		if f.Now.Sub(r.Newest()) > fresh || r.Newest().Before(f.Last) {
			continue
		}
		if a, ok := f.unanswered(r, "Nothing stands in the way of "+who+" here, but"); ok {
			a.Line = strings.Replace(a.Line, ", but: ", ", but ", 1)
			a.Verdict = Can
			return a
		}
	}
	if !f.Last.IsZero() {
		return Answer{Can, fmt.Sprintf("%s can log in: nothing stands in the way. Last online at %s.", who, f.moment(f.Last)), "", Nothing, ""}
	}
	return Answer{Can, who + " can log in: nothing stands in the way, and no login was ever tried.", "If the guest gets no further, the router does not ask this box: iwas-agent router check.", CheckRouter, ""}
}

// times says how often, and that no person does it.
func (f *Facts) times(r hotspot.Reject) string {
	text := "once"
	if n := r.Count(); n > 1 {
		text = fmt.Sprintf("%d times", n)
	}
	if r.Flood() {
		text += ", a flood"
	}
	return text
}

func (f *Facts) zone() *time.Location {
	if f.Zone == nil {
		return time.UTC
	}
	return f.Zone
}

// moment is the time of day, with the date unless it is today's, in the site's zone.
func (f *Facts) moment(t time.Time) string {
	if t.IsZero() {
		return "an unknown time"
	}
	t, now := t.In(f.zone()), f.Now.In(f.zone())
	if t.Year() == now.Year() && t.YearDay() == now.YearDay() {
		return t.Format("15:04")
	}
	return t.Format("2006-01-02 15:04")
}

// span is a duration as people say it.
func span(d time.Duration) string {
	d = d.Round(time.Minute)
	days, hours, minutes := int(d/(24*time.Hour)), int(d/time.Hour)%24, int(d/time.Minute)%60
	var out []string
	for _, x := range []struct {
		n    int
		unit string
	}{{days, "d"}, {hours, "h"}, {minutes, "min"}} {
		if x.n > 0 {
			out = append(out, fmt.Sprintf("%d %s", x.n, x.unit))
		}
	}
	if len(out) == 0 {
		return "0 min"
	}
	return strings.Join(out, " ")
}

// Closest returns up to three of names that are spelled almost like asked, the
// nearest first.
func Closest(asked string, names []string) []string {
	type near struct {
		name string
		far  int
	}
	asked = plain(asked)
	var all []near
	for _, n := range names {
		if d := distance(asked, plain(n)); d <= max(1, len(asked)/3) {
			all = append(all, near{n, d})
		}
	}
	slices.SortStableFunc(all, func(a, b near) int { return cmp.Or(cmp.Compare(a.far, b.far), strings.Compare(a.name, b.name)) })
	var out []string
	for _, n := range all[:min(len(all), 3)] {
		out = append(out, n.name)
	}
	return out
}

// plain is a name without what people get wrong without noticing.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '-' || r == ' ' || r == '_' || r == '.' {
			return -1
		}
		return r
	}, strings.ToLower(s))
}

// longestName bounds the work of a comparison.
const longestName = 64

// distance is how many letters have to be put in, taken out or changed, two
// neighbours that changed places counting as one.
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	if len(x) > longestName || len(y) > longestName {
		return math.MaxInt
	}
	before, last, row := make([]int, len(y)+1), make([]int, len(y)+1), make([]int, len(y)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(x); i++ {
		row[0] = i
		for j := 1; j <= len(y); j++ {
			cost := 1
			if x[i-1] == y[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(y)]
}

// MACPart is the part of a MAC that somebody typed, as MACs are written; "" where it is
// none. Two octets are the least: less would be anybody's.
func MACPart(asked string) string {
	digits := strings.Map(func(r rune) rune {
		if r == ':' || r == '-' || r == '.' {
			return -1
		}
		return r
	}, strings.ToUpper(strings.TrimSpace(asked)))
	if len(digits) < 4 || len(digits) > 12 || strings.Trim(digits, "0123456789ABCDEF") != "" {
		return ""
	}
	var b strings.Builder
	for i, r := range digits {
		if i > 0 && i%2 == 0 {
			b.WriteByte(':')
		}
		b.WriteRune(r)
	}
	return b.String()
}

package whynot

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"iwas/internal/hotspot"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// guest is one whom nothing stands in the way of.
func guest() Facts {
	return Facts{Asked: "amina", Account: &hotspot.Account{ID: "a", Kind: hotspot.User, Username: "amina"}, Now: noon, Zone: time.FixedZone("+2", 2*3600),
		Pass: &hotspot.Pass{ID: "p", Limits: hotspot.Limits{Time: time.Hour}}}
}

func failed(reason hotspot.Reason, times int, ago time.Duration) hotspot.Reject {
	return hotspot.Reject{NAS: "cafe1", Username: "amina", Reason: reason, Times: times, At: noon.Add(-ago - time.Minute), Until: noon.Add(-ago), Source: netip.MustParseAddr("192.0.2.7")}
}

func TestAnswers(t *testing.T) {
	with := func(change func(*Facts)) Facts { f := guest(); change(&f); return f }
	evenings, err := hotspot.ParseHours([]string{"mon-sun 18:00-24:00"})
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		facts   Facts
		verdict Verdict
		line    string
		step    Step
	}{
		"nothing stands in the way, never tried": {guest(), Can, "amina can log in: nothing stands in the way, and no login was ever tried.", CheckRouter},
		"was online before":                      {with(func(f *Facts) { f.Last = noon.Add(-26 * time.Hour) }), Can, "amina can log in: nothing stands in the way. Last online at 2026-11-23 12:00.", Nothing},
		"locked":                                 {with(func(f *Facts) { f.Lock = &hotspot.Lock{By: "Ana", Reason: "not paid", At: noon.Add(-time.Hour)} }), Cannot, "amina is locked, since 13:00 by Ana: not paid.", Unlock},
		"paused is not locked":                   {with(func(f *Facts) { f.Lock = &hotspot.Lock{By: "Ana", At: noon, Pause: true} }), Cannot, "amina is paused, since 14:00 by Ana.", Resume},
		"the device is locked":                   {with(func(f *Facts) { f.Asked, f.Device = "AA:BB:CC:DD:EE:FF", &hotspot.Lock{By: "Ana", At: noon} }), Cannot, "The device AA:BB:CC:DD:EE:FF is locked, whatever account logs in on it, since 14:00 by Ana.", Unlock},
		"no pass":                                {with(func(f *Facts) { f.Pass = nil }), Cannot, "amina has no pass.", Sell},
		"expired":                                {with(func(f *Facts) { f.Off, f.Pass.ValidUntil = hotspot.OffNotValid, noon.Add(-time.Hour) }), Cannot, "amina's pass expired at 13:00.", Sell},
		"not yet":                                {with(func(f *Facts) { f.Off, f.Pass.ValidFrom = hotspot.OffNotValid, noon.Add(48*time.Hour) }), Cannot, "amina's pass is valid from 2026-11-26 14:00 on.", Wait},
		"time used":                              {with(func(f *Facts) { f.Off, f.Pass.Usage.FirstUsed = hotspot.OffTimeUsed, noon.Add(-2*time.Hour) }), Cannot, "amina's time is used up: 1 h from the first login, at 12:00.", Sell},
		"metered time used": {with(func(f *Facts) {
			f.Off, f.Pass.Limits.Clock, f.Pass.Usage.Time = hotspot.OffTimeUsed, hotspot.Metered, 61*time.Minute
		}), Cannot, "amina's time is used up: 1 h 1 min of 1 h online.", Sell},
		"data used": {with(func(f *Facts) {
			f.Off, f.Pass.Limits.Total, f.Pass.Usage.Download = hotspot.OffDataUsed, 1_000_000, 1_200_000
		}), Cannot, "amina's data is used up: 1.2 MB of 1.0 MB.", Sell},
		"outside the hours": {with(func(f *Facts) { f.Pass.Limits.Hours = evenings }), Cannot, "amina's pass may not be used at this hour: from 18:00 on.", Wait},
		"online": {with(func(f *Facts) {
			f.Pass.Limits.Devices, f.Online = 2, []hotspot.Session{{MAC: hotspot.MAC{0xaa, 0xbb, 0xcc, 1, 2, 3}, StartedAt: noon.Add(-time.Hour)}}
		}), Online, "amina is logged in right now: AA:BB:CC:··:··:·· since 13:00. 1 of 2 devices.", Nothing},
		"devices full":        {with(func(f *Facts) { f.Online = []hotspot.Session{{StartedAt: noon}} }), Online, "amina is logged in right now: a device since 14:00. The pass is for one device, so another device is refused.", Kick},
		"devices full, moved": {with(func(f *Facts) { f.Pass.Limits.Swap, f.Online = hotspot.SwapMove, []hotspot.Session{{StartedAt: noon}} }), Online, "amina is logged in right now: a device since 14:00. Another device takes the place of this one.", Nothing},
		"wrong password":      {with(func(f *Facts) { f.Failed = []hotspot.Reject{failed(hotspot.ReasonBadPassword, 4, 3*time.Minute)} }), Cannot, "amina: wrong password 4 times, last at 13:57.", Password},
		"a voucher with a password": {with(func(f *Facts) {
			f.Account = &hotspot.Account{Kind: hotspot.Voucher, Username: "ABCD-2345"}
			f.Failed = []hotspot.Reject{failed(hotspot.ReasonBadPassword, 1, 0)}
		}), Cannot, "ABCD-2345: another password than the code once, last at 14:00.", Password},
		"wrong password, and in since": {with(func(f *Facts) {
			f.Failed, f.Last = []hotspot.Reject{failed(hotspot.ReasonBadPassword, 4, 3*time.Minute)}, noon.Add(-time.Minute)
		}), Can, "amina can log in: nothing stands in the way. Last online at 13:59.", Nothing},
		"wrong password long ago": {with(func(f *Facts) { f.Failed = []hotspot.Reject{failed(hotspot.ReasonBadPassword, 4, 25*time.Hour)} }), Can, "amina can log in: nothing stands in the way, and no login was ever tried.", CheckRouter},
		"guessing":                {with(func(f *Facts) { f.Failed = []hotspot.Reject{failed(hotspot.ReasonTooManyTries, 90, 0)} }), Cannot, "amina: too many wrong tries from this device or for this name, last at 14:00.", Wait},
		"the router's secret":     {with(func(f *Facts) { f.Failed = []hotspot.Reject{failed(hotspot.ReasonBadSecret, 1, 0)} }), Cannot, "amina: router cafe1 has another RADIUS secret than this box (once, last at 14:00).", FixSecret},
		"a flood of one request": {with(func(f *Facts) { f.Failed = []hotspot.Reject{failed(hotspot.ReasonDuplicates, 412, 0)} }), Cannot,
			"amina: router cafe1 asks the same again and again (412 times, a flood, last at 14:00): the answers do not reach it.", CheckRouter},
		"a router nobody knows asks": {with(func(f *Facts) {
			r := failed(hotspot.ReasonUnknownNAS, 3, time.Minute)
			r.NAS = ""
			f.Trouble = []hotspot.Reject{r}
		}), Can, "Nothing stands in the way of amina here, but the request came from 192.0.2.7, which is no router of this box (3 times, last at 13:59).", FixNAS},
		"trouble of an hour ago":     {with(func(f *Facts) { f.Trouble = []hotspot.Reject{failed(hotspot.ReasonBadSecret, 3, time.Hour)} }), Can, "amina can log in: nothing stands in the way, and no login was ever tried.", CheckRouter},
		"nobody at all can":          {with(func(f *Facts) { f.Nobody = "RADIUS is not answering: the port is taken" }), Cannot, "Nobody can log in now: RADIUS is not answering: the port is taken.", Nothing},
		"nobody of that name":        {Facts{Asked: "amena", Now: noon}, Unknown, "There is no guest called amena here, and no login with it came.", Spell},
		"nobody, but tried":          {Facts{Asked: "amena", Now: noon, Failed: []hotspot.Reject{failed(hotspot.ReasonUnknown, 2, 0)}}, Unknown, "There is no guest called amena here; it was tried 2 times, last at 12:00.", Spell},
		"nobody, and another secret": {Facts{Asked: "amena", Now: noon, Failed: []hotspot.Reject{failed(hotspot.ReasonBadSecret, 2, 0)}}, Cannot, "amena: router cafe1 has another RADIUS secret than this box (2 times, last at 12:00).", FixSecret},
		"a device nobody saw":        {Facts{Asked: "ee:ff", ByDevice: true, Now: noon}, Unknown, "No login came from a device like ee:ff.", CheckRouter},
		"a device that tried a name": {Facts{Asked: "ee:ff", ByDevice: true, Now: noon, Failed: []hotspot.Reject{{Username: "amena", Reason: hotspot.ReasonUnknown, At: noon}}}, Unknown, "That device tried amena (once, last at 12:00), and no guest here is called that.", Spell},
		"a device that only appeared": {Facts{Asked: "ee:ff", ByDevice: true, Now: noon, Failed: []hotspot.Reject{{Username: "AA:BB:CC:DD:EE:FF", MAC: hotspot.MAC{0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff}, Reason: hotspot.ReasonUnknown, At: noon}}}, Unknown,
			"That device came to the login page at 12:00, and nobody has typed a name or a code on it.", Spell},
	} {
		t.Run(name, func(t *testing.T) {
			got := Ask(tc.facts)
			if got.Verdict != tc.verdict || got.Line != tc.line || got.Step != tc.step {
				t.Errorf("got  %s, %q, step %q\nwant %s, %q, step %q", got.Verdict, got.Line, got.Step, tc.verdict, tc.line, tc.step)
			}
			if got.Verdict == Cannot && got.Next == "" && tc.facts.Nobody == "" {
				t.Error("it says that somebody cannot, and not what to do")
			}
			if strings.Contains(got.Line, "\n") {
				t.Error("it is more than a line")
			}
		})
	}
}

// TestEveryReasonHasWords: whatever a login failed by, the answer says it.
func TestEveryReasonHasWords(t *testing.T) {
	for _, reason := range append(hotspot.Reasons(), hotspot.Silences()...) {
		f := guest()
		f.Failed = []hotspot.Reject{failed(reason, 2, 0)}
		got, ok := f.failure(f.Failed[0], "amina")
		switch reason { // the account itself says so while it is so; afterwards they are no reason any more
		case hotspot.ReasonLocked, hotspot.ReasonPaused, hotspot.ReasonDeviceLocked, hotspot.ReasonNoPass, hotspot.ReasonNotYetValid, hotspot.ReasonExpired, hotspot.ReasonTimeUsed, hotspot.ReasonDataUsed, hotspot.ReasonOutsideHours:
			if ok {
				t.Errorf("%s: %+v, want nothing: it is over", reason, got)
			}
		default:
			if !ok || !strings.Contains(got.Line, "amina") {
				t.Errorf("%s: got %v, %+v; want a sentence about amina", reason, ok, got)
			}
		}
	}
}

func TestTheClosestNames(t *testing.T) {
	names := []string{"amina", "amin", "bob", "joão", "ABCD-2345", "WXYZ-9876", "tess"}
	for asked, want := range map[string][]string{
		"amena": {"amina"}, "AMINA": {"amina", "amin"}, "abcd2354": {"ABCD-2345"}, "joao": {"joão"}, "tses": {"tess"}, "zzzzzzzz": nil, "": nil, strings.Repeat("x", 300): nil,
	} {
		if got := Closest(asked, names); !slices.Equal(got, want) {
			t.Errorf("closest to %q: got %q, want %q", asked, got, want)
		}
	}
	if got := Ask(Facts{Asked: "amena", Now: noon, Similar: []string{"amina", "amin"}}); got.Next != "The closest: amina, amin." {
		t.Errorf("next %q", got.Next)
	}
}

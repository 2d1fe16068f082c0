package aaa

import (
	"math"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"iwas/internal/hotspot"
)

// drawFacts makes an account with a pass of any limits and use, sessions, a
// lock now and then, at any moment.
func drawFacts(t *rapid.T, zone *time.Location) hotspot.Facts {
	// Durations up to some centuries, most of them short; 0 is no limit.
	dur := func(label string) time.Duration {
		most := rapid.SampledFrom([]int64{0, 10, 1e5, 8e9}).Draw(t, label+" size")
		return time.Duration(rapid.Int64Range(0, most).Draw(t, label)) * time.Second
	}
	oct := func(label string) hotspot.Octets {
		most := rapid.SampledFrom([]uint64{0, 10, 1 << 40, math.MaxInt64}).Draw(t, label+" size")
		return hotspot.Octets(rapid.Uint64Range(0, most).Draw(t, label))
	}
	pick := func(label string) bool { return rapid.IntRange(0, 3).Draw(t, label) == 0 }
	l := hotspot.Limits{Time: dur("time"), Upload: oct("up"), Download: oct("down"), Total: oct("total"), Devices: rapid.IntRange(0, 3).Draw(t, "devices"),
		Clock: rapid.SampledFrom([]hotspot.Clock{hotspot.Continuous, hotspot.Metered, ""}).Draw(t, "clock"),
		Swap:  rapid.SampledFrom([]hotspot.DeviceSwap{hotspot.SwapRefuse, hotspot.SwapMove, ""}).Draw(t, "swap")}
	l.Rate.Max = hotspot.Pair[hotspot.Rate]{Upload: 2e6, Download: 1e7}
	if pick("slows") {
		l.SlowRate.Max = hotspot.Pair[hotspot.Rate]{Upload: 1e5, Download: 1e5}
	}
	if rapid.Bool().Draw(t, "has hours") {
		for range rapid.IntRange(1, 3).Draw(t, "spans") {
			begin := rapid.IntRange(0, 1439).Draw(t, "begin")
			l.Hours = append(l.Hours, hotspot.Span{Days: hotspot.Days(rapid.IntRange(1, 127).Draw(t, "days")), Begin: begin, End: (begin + rapid.IntRange(1, 1439).Draw(t, "length")) % 1440})
		}
	}
	u := hotspot.Usage{Time: dur("used"), Upload: oct("uu"), Download: oct("ud")}
	f := user(l, u)
	f.Location, f.Language = zone, rapid.SampledFrom([]string{"en", "ar", ""}).Draw(t, "language")
	f.Now = time.Unix(1767225600+rapid.Int64Range(0, 3*365*86400).Draw(t, "second"), rapid.Int64Range(0, 999_999_999).Draw(t, "ns"))
	if rapid.Bool().Draw(t, "used before") {
		f.Pass.Usage.FirstUsed = f.Now.Add(-dur("ago"))
	}
	if pick("valid from") {
		f.Pass.ValidFrom = f.Now.Add(dur("from") - dur("since"))
	}
	if pick("valid until") {
		f.Pass.ValidUntil = f.Now.Add(dur("until") - dur("over"))
	}
	if pick("locked") {
		f.Lock = &hotspot.Lock{By: rapid.String().Draw(t, "by"), Reason: rapid.String().Draw(t, "why"), At: f.Now}
	}
	if pick("device locked") {
		f.Device = &hotspot.Lock{By: rapid.String().Draw(t, "device by"), Reason: rapid.String().Draw(t, "device why"), At: f.Now}
	}
	for range rapid.IntRange(0, 5).Draw(t, "sessions") {
		f.Sessions = append(f.Sessions, &hotspot.Session{MAC: hotspot.MAC{0xaa, 0xbb, 0xcc, 0, 0, byte(rapid.IntRange(0, 4).Draw(t, "mac"))},
			State:   rapid.SampledFrom([]hotspot.SessionState{hotspot.Live, hotspot.Reserved, hotspot.Suspect, hotspot.Closed}).Draw(t, "state"),
			HeardAt: f.Now.Add(-dur("heard"))})
	}
	return f
}

// end is when time alone ends the use of a pass, by its limits one by one; zero
// when nothing does. over says that it is past that or not yet begun.
func end(f hotspot.Facts) (at time.Time, over bool) {
	p := f.Pass
	until := func(t time.Time) {
		if at.IsZero() || t.Before(at) {
			at = t
		}
	}
	if p.ValidFrom.After(f.Now) {
		over = true
	}
	if !p.ValidUntil.IsZero() {
		until(p.ValidUntil)
	}
	switch first := p.Usage.FirstUsed; {
	case p.Limits.Time == 0:
	case p.Limits.Clock == hotspot.Metered:
		until(f.Now.Add(p.Limits.Time - p.Usage.Time))
	case !first.IsZero():
		until(first.Add(p.Limits.Time))
	default:
		// As in Remaining: time online before the first use is time used.
		until(f.Now.Add(p.Limits.Time))
	}
	open, change := p.Limits.Hours.At(f.Now, f.Location)
	if open && !change.IsZero() {
		until(change)
	}
	return at, over || !open || !at.IsZero() && at.Sub(f.Now) < time.Second
}

func TestAnAcceptBreaksNoLimit(t *testing.T) {
	zone := berlin(t)
	rapid.Check(t, func(t *rapid.T) {
		f := drawFacts(t, zone)
		v := Decide(f, hello(phone))
		if !v.Accept {
			refusalGrantsNothing(t, v)
			return
		}
		l, u := f.Pass.Limits, f.Pass.Usage
		until, over := end(f)
		if f.Lock != nil || f.Device != nil || over {
			t.Fatalf("let in with lock %v, lock of the device %v, over %v", f.Lock, f.Device, over)
		}
		if v.SessionTimeout < 0 || v.SessionTimeout%time.Second != 0 || v.SessionTimeout > math.MaxUint32*time.Second {
			t.Fatalf("Session-Timeout of %v is not whole seconds in 32 bits", v.SessionTimeout)
		}
		if !until.IsZero() && (v.SessionTimeout < time.Second || v.SessionTimeout > until.Sub(f.Now)) {
			t.Fatalf("Session-Timeout of %v, want 1s to %v", v.SessionTimeout, until.Sub(f.Now))
		}
		if until.IsZero() && v.SessionTimeout != 0 {
			t.Fatalf("Session-Timeout of %v where nothing ends", v.SessionTimeout)
		}
		devices := map[hotspot.MAC]bool{phone: true}
		for _, s := range f.Sessions {
			if s.State != hotspot.Closed {
				devices[s.MAC] = true
			}
		}
		if len(devices) > l.DevicesAtOnce() || v.Devices != l.DevicesAtOnce() {
			t.Fatalf("%d devices with a Port-Limit of %d, want at most %d", len(devices), v.Devices, l.DevicesAtOnce())
		}
		used := l.Total > 0 && u.Upload.Add(u.Download) >= l.Total || l.Upload > 0 && u.Upload >= l.Upload || l.Download > 0 && u.Download >= l.Download
		switch slows := !l.SlowRate.IsZero() && l.Upload+l.Download+l.Total > 0; {
		case slows && (v.UploadLeft|v.DownloadLeft|v.TotalLeft) != 0, slows && used && v.Rate != l.SlowRate, slows && !used && v.Rate != l.Rate:
			t.Fatalf("slows at used %v: got %+v", used, v)
		case !slows && (used || v.Rate != l.Rate):
			t.Fatalf("data used %v: got %+v", used, v)
		case !slows && (l.Total > 0 && u.Upload.Add(u.Download)+v.TotalLeft != l.Total || l.Upload > 0 && u.Upload+v.UploadLeft != l.Upload || l.Download > 0 && u.Download+v.DownloadLeft != l.Download):
			t.Fatalf("data left of %+v after %+v: got %+v", l, u, v)
		}
	})
}

// refusalGrantsNothing holds a refusal to what every one must be.
func refusalGrantsNothing(t *rapid.T, v hotspot.Verdict) {
	if v.Reason == "" || v.Message == "" || len(v.Message) > 253 || !utf8.ValidString(v.Message) || v.Detail == "" {
		t.Fatalf("a refusal without code or sentences: %+v", v)
	}
	if v.SessionTimeout != 0 || v.IdleTimeout != 0 || v.InterimInterval != 0 || !v.Rate.IsZero() || v.Devices != 0 || v.UploadLeft != 0 ||
		v.DownloadLeft != 0 || v.TotalLeft != 0 || v.AddressLists != nil || v.FirstUse || v.Class != nil || v.Permit != "" {
		t.Fatalf("a refusal that grants: %+v", v)
	}
	if many := v.Reason == hotspot.ReasonTooManyDevices; many != (len(v.Others) > 0) || v.Move && (v.Ends < 1 || v.Ends > len(v.Others)) {
		t.Fatalf("refused for %s with %d others, move %v of %d", v.Reason, len(v.Others), v.Move, v.Ends)
	}
}

// TestUseAndTimeNeverGiveMore: what is refused stays refused with more use, and
// with more time but for what begins later; and no limit of an Accept grows.
func TestUseAndTimeNeverGiveMore(t *testing.T) {
	zone := berlin(t)
	rapid.Check(t, func(t *rapid.T) {
		before := drawFacts(t, zone)
		before.Pass.Usage.FirstUsed = before.Now.Add(-time.Duration(rapid.Int64Range(0, 1e6).Draw(t, "first")) * time.Second)
		first := Decide(before, hello(phone))
		after := before
		pass := *before.Pass
		after.Pass = &pass
		more := func(label string) hotspot.Octets { return hotspot.Octets(rapid.Uint64Range(0, 1<<41).Draw(t, label)) }
		pass.Usage.Upload, pass.Usage.Download = pass.Usage.Upload.Add(more("more up")), pass.Usage.Download.Add(more("more down"))
		pass.Usage.Time += time.Duration(rapid.Int64Range(0, 1e6).Draw(t, "more time")) * time.Second
		if rapid.Bool().Draw(t, "later") {
			after.Now = before.Now.Add(time.Duration(rapid.Int64Range(0, 1e12).Draw(t, "later by")))
		}
		second := Decide(after, hello(phone))
		if second.Accept && !first.Accept && first.Reason != hotspot.ReasonOutsideHours && first.Reason != hotspot.ReasonNotYetValid {
			t.Fatalf("refused for %s, let in with more use and time", first.Reason)
		}
		if !first.Accept || !second.Accept {
			return
		}
		_, closes := before.Pass.Limits.Hours.At(before.Now, zone)
		left, limited := second.SessionTimeout, first.SessionTimeout > 0
		if sameOpening := closes.IsZero() || after.Now.Before(closes); limited && sameOpening && (left == 0 || left > first.SessionTimeout) {
			t.Fatalf("time left went from %v to %v", first.SessionTimeout, left)
		}
		for _, pair := range [][2]hotspot.Octets{{first.UploadLeft, second.UploadLeft}, {first.DownloadLeft, second.DownloadLeft}, {first.TotalLeft, second.TotalLeft}} {
			if pair[1] > pair[0] || pair[0] > 0 && pair[1] == 0 {
				t.Fatalf("data left went from %d to %d", pair[0], pair[1])
			}
		}
		if first.Rate == before.Pass.Limits.SlowRate && second.Rate != first.Rate {
			t.Fatalf("speed went from slow back to %q", second.Rate)
		}
	})
}

func BenchmarkDecide(b *testing.B) {
	busy := user(hotspot.Limits{Time: time.Hour, Validity: 24 * time.Hour, Rate: speed(b, "2M/10M"), Total: 1 << 34, Devices: 3, AddressLists: []string{"paid"},
		Hours: hours(b, "mon-fri 08:00-20:00", "sat,sun 10:00-02:00")}, hotspot.Usage{FirstUsed: now.Add(-time.Minute)})
	busy.Location, busy.Pass.ValidUntil = berlin(b), now.Add(24*time.Hour)
	busy.Sessions = []*hotspot.Session{{MAC: laptop, State: hotspot.Live}, {MAC: phone, State: hotspot.Live}}
	full, voucher := busy, busy
	full.Pass = &hotspot.Pass{Limits: hotspot.Limits{Devices: 1}}
	voucher.Account = &hotspot.Account{Kind: hotspot.Voucher, Username: "ABCD-2345"}
	for _, bm := range []struct {
		name  string
		facts hotspot.Facts
		req   hotspot.Request
	}{
		{"PAP", busy, hello(phone)},
		{"CHAP", busy, hotspot.Request{Username: "bob", MAC: phone, Credential: chap("hello")}},
		{"voucher", voucher, hotspot.Request{Username: "abcd-2345", MAC: phone, Credential: clear("")}},
		{"wrong password", busy, hotspot.Request{Username: "bob", MAC: phone, Credential: clear("guess")}},
		{"too many devices", full, hello(phone)},
	} {
		b.Run(bm.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Decide(bm.facts, bm.req)
			}
		})
	}
}

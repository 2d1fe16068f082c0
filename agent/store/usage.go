package store

import (
	"cmp"
	"encoding/json"
	"math"
	"slices"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

const (
	// stretchBound is how many stretches a pass remembers. Stretches that touch
	// are one, so a pass with many devices on needs two or three.
	stretchBound = 64
	// clockSlack is how far the newest counted stretch may end after now; beyond
	// it our clock was set back, and what is remembered says nothing.
	clockSlack = time.Minute
)

// use adds what a record brought to the pass and returns it with its totals. before is
// the session as it was; a new one has no counters.
//
// Online time is counted once however many devices are on: each record stands
// for the stretch [event - growth of Acct-Session-Time, event], and adds what of
// it no other device's record covered yet. A device that was alone adds exactly
// its growth, whatever our clock did.
//
// A record that uses the pass up marks the account refused in this same commit,
// and the commit wakes who puts it off. So what can be had beyond an allowance
// is what the devices on did since their last record, at most one interim
// interval each, and the moments a Disconnect takes. A router that keeps the
// limits of the Accept itself (Session-Timeout, the octet limits) leaves less.
func (t *tx) use(s, before hotspot.Session, event time.Time) (*passRow, *wire.UsageBody, error) {
	row, err := t.passRow(s.Pass)
	if err != nil {
		return nil, nil, err
	}
	u, counted := row.usage, row.counted
	if u.FirstUsed.IsZero() {
		u.FirstUsed = fromMillis(millis(s.StartedAt))
	}
	if grown := (s.Time - before.Time).Milliseconds(); grown > 0 {
		alone, err := t.alone(s.Pass, row, s.ID, event.Add(before.Time-s.Time))
		if err != nil {
			return nil, nil, err
		}
		if n := len(counted); alone || n > 0 && counted[n-1][1] > millis(t.now.Add(clockSlack)) {
			counted = nil
		}
		u.Time += time.Duration(counted.add(millis(event)-grown, millis(event))) * time.Millisecond
	}
	u.Upload = u.Upload.Add(s.Upload - before.Upload)
	u.Download = u.Download.Add(s.Download - before.Download)
	if row.doc != nil && t.off(*row.doc, row.usage) == "" && t.off(*row.doc, u) != "" {
		t.refused = append(t.refused, s.Account)
	}
	row.usage, row.counted = u, counted
	t.keepUsage(s.Account, s.Pass, row)
	return row, &wire.UsageBody{Pass: s.Pass, Account: s.Account, FirstUsed: u.FirstUsed, TimeMS: u.Time.Milliseconds(),
		Upload: uint64(u.Upload), Download: uint64(u.Download)}, nil
}

// off says why a pass may not be online after this use.
func (t *tx) off(p hotspot.Pass, u hotspot.Usage) hotspot.OffReason {
	p.Usage = u
	return t.db.o.Off(&p, nil, t.now)
}

// usage reads what is gone of a pass, the stretches counted, and the pass
// itself, which is nil when its document is no more.
func (t *tx) usage(id hotspot.PassID) (u hotspot.Usage, counted string, p *hotspot.Pass, err error) {
	err = t.rows("read usage", "SELECT "+passColumns+`, COALESCE(u.counted, '') FROM pass p LEFT JOIN usage u ON u.pass = p.id WHERE p.id = ?`, []any{id},
		func(scan func(...any) error) error {
			p, err = scanPass(func(into ...any) error { return scan(append(into, &counted)...) })
			return err
		})
	if err != nil || p != nil {
		if p != nil {
			u = p.Usage
		}
		return u, counted, p, err
	}
	var first, timeMS int64
	_, err = t.row("read usage of a removed pass", "SELECT first_used, time_ms, counted, upload, download FROM usage WHERE pass = ?", []any{id},
		&first, &timeMS, &counted, &u.Upload, &u.Download)
	u.FirstUsed, u.Time = fromMillis(first), time.Duration(timeMS)*time.Millisecond
	return u, counted, nil, err
}

// stretches are times counted already, [begin, end) in Unix milliseconds, sorted
// and apart from each other.
type stretches [][2]int64

// add counts a stretch and returns how much of it is new.
func (k *stretches) add(begin, end int64) int64 {
	fresh := end - begin
	merged := [2]int64{begin, end}
	apart := (*k)[:0:0]
	for _, s := range *k {
		if overlap := min(end, s[1]) - max(begin, s[0]); overlap >= 0 {
			fresh -= overlap
			merged = [2]int64{min(merged[0], s[0]), max(merged[1], s[1])}
		} else {
			apart = append(apart, s)
		}
	}
	apart = append(apart, merged)
	slices.SortFunc(apart, func(a, b [2]int64) int { return cmp.Compare(a[0], b[0]) })
	if len(apart) > stretchBound {
		// Forget a gap, not a stretch: what is forgotten can then not be sold twice.
		apart = closeNarrowestGap(apart)
	}
	*k = apart
	return fresh
}

// closeNarrowestGap joins the two neighbours that lie closest.
func closeNarrowestGap(k stretches) stretches {
	at, least := 1, int64(math.MaxInt64)
	for i := 1; i < len(k); i++ {
		if gap := k[i][0] - k[i-1][1]; gap < least {
			at, least = i, gap
		}
	}
	k[at-1][1] = k[at][1]
	return slices.Delete(k, at, at+1)
}

func (k *stretches) parse(s string) error {
	if s == "" {
		return nil
	}
	return json.Unmarshal([]byte(s), k)
}

// String is what parse reads.
func (k stretches) String() string {
	b, err := json.Marshal(k)
	if err != nil {
		panic(err) // numbers only
	}
	return string(b)
}

package store

import (
	"cmp"
	"encoding/json"
	"math"
	"slices"
	"time"

	"iwas/internal/fault"
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

// use adds what a record brought to the pass and returns its totals. before is
// the session as it was; a new one has no counters.
//
// Online time is counted once however many devices are on: each record stands
// for the stretch [event - growth of Acct-Session-Time, event], and adds what of
// it no other device's record covered yet. A device that was alone adds exactly
// its growth, whatever our clock did.
func (t *tx) use(s, before hotspot.Session, event time.Time) (*wire.UsageBody, error) {
	u, counted, p, err := t.usage(s.Pass)
	if err != nil {
		return nil, err
	}
	if u.FirstUsed.IsZero() {
		u.FirstUsed = s.StartedAt
	}
	old := u

	grown := (s.Time - before.Time).Milliseconds()
	var known stretches
	if grown > 0 {
		alone, err := t.alone(s, event.Add(before.Time-s.Time))
		if err != nil {
			return nil, err
		}
		if !alone {
			if err := known.parse(counted); err != nil {
				return nil, fault.New(fault.Damaged, "store: counted time of pass "+string(s.Pass), err)
			}
			if n := len(known); n > 0 && known[n-1][1] > millis(t.now.Add(clockSlack)) {
				known = nil
			}
		}
		u.Time += time.Duration(known.add(millis(event)-grown, millis(event))) * time.Millisecond
		counted = known.String()
	}
	u.Upload = u.Upload.Add(s.Upload - before.Upload)
	u.Download = u.Download.Add(s.Download - before.Download)
	if _, err := t.exec("save usage", `INSERT INTO usage (pass, account, first_used, time_ms, counted, upload, download) VALUES (?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (pass) DO UPDATE SET first_used = excluded.first_used, time_ms = excluded.time_ms, counted = excluded.counted,
		upload = excluded.upload, download = excluded.download`, s.Pass, s.Account, millis(u.FirstUsed), u.Time.Milliseconds(), counted, int64(u.Upload), int64(u.Download)); err != nil {
		return nil, err
	}
	if p != nil && t.off(*p, old) == "" && t.off(*p, u) != "" {
		t.refused = append(t.refused, s.Account) // this record used the pass up
	}
	return &wire.UsageBody{Pass: s.Pass, Account: s.Account, FirstUsed: u.FirstUsed, TimeMS: u.Time.Milliseconds(),
		Upload: uint64(u.Upload), Download: uint64(u.Download)}, nil
}

// alone reports whether no other device of the pass was on since begin.
func (t *tx) alone(s hotspot.Session, begin time.Time) (bool, error) {
	var others int
	_, err := t.row("count devices", `SELECT (SELECT COUNT(*) FROM session WHERE pass = ?1 AND id <> ?2 AND state <> 'closed')
		+ (SELECT COUNT(*) FROM session INDEXED BY session_ended WHERE state = 'closed' AND ended_at > ?3 AND pass = ?1 AND id <> ?2)`,
		[]any{s.Pass, s.ID, millis(begin)}, &others)
	return others == 0, err
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

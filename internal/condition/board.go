package condition

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"

	"iwas/internal/hotspot"
)

// Bound is how many conditions a Board holds. Past it a new one is not taken in:
// what is open by then is reason enough to come.
const Bound = 256

// Board is what is wrong now. The zero value works; it may be used from several
// goroutines.
//
// A condition may be open for several subjects at once, such as two routers;
// Raise and Clear speak of the one without a subject.
type Board struct {
	Now     func() time.Time // nil is time.Now
	Changed func()           // called after a change, without a lock held; nil is nobody

	mu   sync.Mutex
	open map[key]raised // guarded by mu; at most Bound
}

type key struct{ code, subject string }

type raised struct {
	text   string
	since  time.Time
	source string // of Replace; "" is Raise
}

// Finding is one condition that somebody says is open.
type Finding struct {
	Code    string
	Subject string // what it is about, when there may be several: the id of a NAS
	Text    string // for people: what exactly, and where; "" shows the title only
}

// Open is a condition that is open.
type Open struct {
	Condition
	Subject string
	Text    string
	Since   time.Time
}

// reportBound is how many octets of a condition's text reach the owner; the
// cloud keeps no more.
const reportBound = 200

// Hotspot returns the condition as it is reported to the owner: what is wrong
// and what to do. Where both are too long, what is wrong is cut.
func (o Open) Hotspot() hotspot.Condition {
	text := strings.TrimRight(cmp.Or(o.Text, o.Title), ". ")
	next := ""
	if o.Next != "" && !o.SaysNext() {
		next = ". Next: " + o.Next
	}
	if room := max(0, reportBound-len(next)-len("…")); len(text)+len(next) > reportBound {
		text = strings.ToValidUTF8(text[:min(room, len(text))], "") + "…"
	}
	return hotspot.Condition{Code: o.Code, Severity: string(o.Severity), Text: text + next, Since: o.Since}
}

// SaysNext reports whether the text tells the next step already.
func (o Open) SaysNext() bool {
	return strings.Contains(strings.ToLower(o.Text), strings.ToLower(strings.TrimRight(o.Next, ".")))
}

// Raise opens a condition, or changes the text of an open one; its age stays.
func (b *Board) Raise(code, text string) { b.RaiseOn(code, "", text) }

// Clear closes a condition that Raise opened. Closing any other changes nothing.
func (b *Board) Clear(code string) { b.ClearOn(code, "") }

// RaiseOn is Raise for one subject.
func (b *Board) RaiseOn(code, subject, text string) {
	b.change(func() bool { return b.put(Finding{code, subject, text}, "", b.now()) })
}

// ClearOn is Clear for one subject.
func (b *Board) ClearOn(code, subject string) {
	b.change(func() bool {
		r, open := b.open[key{code, subject}]
		if !open || r.source != "" {
			return false
		}
		delete(b.open, key{code, subject})
		return true
	})
}

// Replace opens what source finds now and closes what it found before and no
// longer does. Conditions of other sources, and raised ones, stay.
func (b *Board) Replace(source string, found []Finding) {
	b.change(func() bool {
		now, changed := b.now(), false
		for k, r := range b.open {
			if r.source == source && !slices.ContainsFunc(found, func(f Finding) bool { return f.Code == k.code && f.Subject == k.subject }) {
				delete(b.open, k)
				changed = true
			}
		}
		for _, f := range found {
			changed = b.put(f, source, now) || changed
		}
		return changed
	})
}

func (b *Board) put(f Finding, source string, now time.Time) bool {
	k := key{f.Code, f.Subject}
	was, open := b.open[k]
	if !open && len(b.open) >= Bound {
		return false
	}
	if open && was.source != source {
		return false // who opened it closes it
	}
	is := raised{text: f.Text, since: now, source: source}
	if open {
		is.since = was.since
	}
	if b.open == nil {
		b.open = map[key]raised{}
	}
	b.open[k] = is
	return !open || was.text != is.text
}

func (b *Board) change(do func() bool) {
	b.mu.Lock()
	changed := do()
	b.mu.Unlock()
	if changed && b.Changed != nil {
		b.Changed()
	}
}

// Open returns what is shown at the given moment: open for longer than its
// delay, and not explained by another open condition. The worst comes first,
// then what stops logins, then the oldest.
func (b *Board) Open(now time.Time) []Open {
	b.mu.Lock()
	all := make([]Open, 0, len(b.open))
	for k, r := range b.open {
		all = append(all, Open{Condition: entry(k.code, r.text), Subject: k.subject, Text: r.text, Since: r.since})
	}
	b.mu.Unlock()
	shown := slices.DeleteFunc(slices.Clone(all), func(o Open) bool {
		return now.Sub(o.Since) < o.Delay || explained(o, all)
	})
	slices.SortFunc(shown, func(x, y Open) int {
		return cmp.Or(cmp.Compare(x.Severity.rank(), y.Severity.rank()), cmp.Compare(order(x.ImpactsLogin), order(y.ImpactsLogin)),
			x.Since.Compare(y.Since), cmp.Compare(x.Code, y.Code), cmp.Compare(x.Subject, y.Subject))
	})
	return shown
}

// Report is Open as it is sent to the owner.
func (b *Board) Report(now time.Time) []hotspot.Condition {
	open := b.Open(now)
	out := make([]hotspot.Condition, 0, len(open))
	for _, o := range open {
		out = append(out, o.Hotspot())
	}
	return out
}

// entry returns the catalogue's entry. A code of a newer cloud is not in ours:
// it is shown all the same.
func entry(code, text string) Condition {
	if c, ok := Lookup(code); ok {
		return c
	}
	if text == "" {
		text = "A condition this version does not know"
	}
	return Condition{Code: code, Severity: Medium, Title: text}
}

// explained reports whether another open condition, of the same subject or of
// none, is the cause of o, directly or through others. The cause counts from the
// moment it is raised, even before it is shown.
func explained(o Open, all []Open) bool {
	seen := map[string]bool{o.Code: true}
	for todo := slices.Clone(o.DependsOn); len(todo) > 0; todo = todo[1:] {
		if seen[todo[0]] {
			continue
		}
		seen[todo[0]] = true
		if slices.ContainsFunc(all, func(p Open) bool { return p.Code == todo[0] && (p.Subject == "" || p.Subject == o.Subject) }) {
			return true
		}
		if c, ok := Lookup(todo[0]); ok {
			todo = append(todo, c.DependsOn...)
		}
	}
	return false
}

func order(first bool) int {
	if first {
		return 0
	}
	return 1
}

func (b *Board) now() time.Time {
	if b.Now != nil {
		return b.Now()
	}
	return time.Now()
}

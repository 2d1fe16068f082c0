package wire

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Unmarshal reads a body as encoding/json does, to the letter. What our own side
// writes by the thousand (batches, sessions, usage) is read in one pass over its
// octets; whatever looks otherwise is left to encoding/json.
func Unmarshal(b []byte, into any) error {
	if f, ok := into.(record); ok {
		r := reader{b: b, s: string(b)}
		if r.record(f) && r.at == len(b) {
			return nil
		}
		f.reset()
	}
	return json.Unmarshal(b, into)
}

// record is a message that reader knows.
type record interface {
	// field is where the value of a name goes; nil is a name that is not known.
	field(name string) any
	reset()
}

func (b *Batch) reset() { *b = Batch{} }
func (b *Batch) field(name string) any {
	switch name {
	case "v":
		return &b.V
	case "epoch":
		return &b.Epoch
	case "first":
		return &b.First
	case "chain":
		return &b.Chain
	case "at":
		return &b.At
	case "boot":
		return &b.Boot
	case "events":
		return &b.Events
	}
	return nil
}

func (e *Event) reset() { *e = Event{} }
func (e *Event) field(name string) any {
	switch name {
	case "id":
		return &e.ID
	case "kind":
		return (*string)(&e.Kind)
	case "at":
		return &e.At
	case "body":
		return &e.Body
	}
	return nil
}

func (b *SessionBody) reset() { *b = SessionBody{} }
func (b *SessionBody) field(name string) any {
	switch name {
	case "id":
		return (*string)(&b.ID)
	case "permit":
		return (*string)(&b.Permit)
	case "account":
		return (*string)(&b.Account)
	case "pass":
		return (*string)(&b.Pass)
	case "nas":
		return (*string)(&b.NAS)
	case "acct_session_id":
		return (*string)(&b.AcctSessionID)
	case "username":
		return &b.Username
	case "mac":
		return &b.MAC
	case "ip":
		return &b.IP
	case "started_at":
		return &b.StartedAt
	case "ended_at":
		return &b.EndedAt
	case "heard_at":
		return &b.HeardAt
	case "time_ms":
		return &b.TimeMS
	case "upload":
		return &b.Upload
	case "download":
		return &b.Download
	case "state":
		return (*string)(&b.State)
	case "cause":
		return &b.Cause
	case "pass_usage":
		if b.PassUsage == nil {
			b.PassUsage = new(UsageBody)
		}
		return b.PassUsage
	case "rate":
		return &b.Rate
	}
	return nil
}

func (b *UsageBody) reset() { *b = UsageBody{} }
func (b *UsageBody) field(name string) any {
	switch name {
	case "pass":
		return (*string)(&b.Pass)
	case "account":
		return (*string)(&b.Account)
	case "first_used":
		return &b.FirstUsed
	case "time_ms":
		return &b.TimeMS
	case "upload":
		return &b.Upload
	case "download":
		return &b.Download
	}
	return nil
}

// reader reads compact JSON without escapes. Its methods report whether they
// could; after a false it is of no more use.
type reader struct {
	b  []byte
	s  string // the same octets: what is kept as text is a part of it
	at int
}

// next takes the octet, if it comes next.
func (r *reader) next(c byte) bool {
	if r.at < len(r.s) && r.s[r.at] == c {
		r.at++
		return true
	}
	return false
}

func (r *reader) record(f record) bool {
	if !r.next('{') {
		return false
	}
	for first := true; !r.next('}'); first = false {
		if !first && !r.next(',') {
			return false
		}
		name, ok := r.text()
		if !ok || !r.next(':') || !r.value(f.field(name)) {
			return false
		}
	}
	return true
}

func (r *reader) value(into any) (ok bool) {
	switch into := into.(type) {
	case *string:
		*into, ok = r.text()
	case **string:
		*into = new(string)
		**into, ok = r.text()
	case *time.Time:
		ok = r.time(into)
	case *int:
		n, read := r.integer()
		*into, ok = int(n), read && n <= math.MaxInt32
	case *int64:
		n, read := r.integer()
		*into, ok = int64(n), read && n <= math.MaxInt64
	case *uint64:
		*into, ok = r.integer()
	case *json.RawMessage:
		from := r.at
		ok = r.skip(0)
		*into = r.b[from:r.at:r.at]
	case *[]Event:
		if *into == nil { // said twice they would be put together in a way of its own
			*into, ok = r.events()
		}
	case record:
		ok = r.record(into)
	}
	return ok
}

func (r *reader) events() ([]Event, bool) {
	events := make([]Event, 0, min(MaxEvents, len(r.b)/64))
	if !r.next('[') {
		return nil, false
	}
	for !r.next(']') {
		if len(events) > 0 && !r.next(',') {
			return nil, false
		}
		events = append(events, Event{})
		if !r.record(&events[len(events)-1]) {
			return nil, false
		}
	}
	return events, true
}

// text reads a string without escapes.
func (r *reader) text() (string, bool) {
	if !r.next('"') {
		return "", false
	}
	end := strings.IndexByte(r.s[r.at:], '"')
	if end < 0 {
		return "", false
	}
	text := r.s[r.at : r.at+end]
	r.at += end + 1
	return text, plain(text)
}

// plain reports whether a text stands for itself between quotes.
func plain(s string) bool {
	ascii := true
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] == '\\' {
			return false
		}
		ascii = ascii && s[i] < utf8.RuneSelf
	}
	return ascii || utf8.ValidString(s)
}

func (r *reader) time(into *time.Time) bool {
	from := r.at + 1
	_, ok := r.text()
	return ok && into.UnmarshalText(r.b[from:r.at-1]) == nil
}

// integer reads a whole number that is not negative, of at most 18 digits.
func (r *reader) integer() (n uint64, ok bool) {
	from := r.at
	digits := r.digits()
	if digits > 18 || digits > 1 && r.s[from] == '0' {
		return 0, false
	}
	for _, c := range []byte(r.s[from:r.at]) {
		n = 10*n + uint64(c-'0')
	}
	return n, digits > 0
}

func (r *reader) digits() (n int) {
	for r.at < len(r.s) && r.s[r.at] >= '0' && r.s[r.at] <= '9' {
		r.at++
		n++
	}
	return n
}

// deepest is how far values may lie in one another.
const deepest = 20

// skip passes over any value.
func (r *reader) skip(depth int) bool {
	if r.at >= len(r.s) || depth > deepest {
		return false
	}
	switch c := r.s[r.at]; c {
	case '{', '[':
		r.at++
		for first := true; !r.next(c + 2); first = false { // '{' + 2 is '}', '[' + 2 is ']'
			if !first && !r.next(',') {
				return false
			}
			if c == '{' {
				if _, ok := r.text(); !ok || !r.next(':') {
					return false
				}
			}
			if !r.skip(depth + 1) {
				return false
			}
		}
		return true
	case '"':
		_, ok := r.text()
		return ok
	case 't':
		return r.word("true")
	case 'f':
		return r.word("false")
	case 'n':
		return r.word("null")
	}
	r.next('-')
	_, ok := r.integer()
	return ok && (!r.next('.') || r.digits() > 0)
}

func (r *reader) word(w string) bool {
	if !strings.HasPrefix(r.s[r.at:], w) {
		return false
	}
	r.at += len(w)
	return true
}

// appendTo writes the batch as encoding/json does, but for bodies, whose octets it
// takes as they are: they are hashed as they are.
func (b Batch) appendTo(out []byte) ([]byte, error) {
	events := b.Events
	b.Events = nil
	head, err := json.Marshal(b)
	if err != nil || events == nil {
		return append(out, head...), err
	}
	const frame = 160 // octets of an event besides its body
	room := len(head)
	for _, e := range events {
		room += len(e.Body) + frame
	}
	out = append(append(slices.Grow(out, room), strings.TrimSuffix(string(head), "null}")...), '[')
	for i, e := range events {
		if i > 0 {
			out = append(out, ',')
		}
		if out, err = e.appendTo(out); err != nil {
			return out, err
		}
	}
	return append(out, "]}"...), nil
}

func (e Event) appendTo(out []byte) (_ []byte, err error) {
	body := e.Body
	if len(body) > 0 && !settled(body) {
		if body, err = json.Marshal(body); err != nil {
			return out, err
		}
	}
	e.Body = nil
	head, err := json.Marshal(e)
	if err != nil || len(body) == 0 {
		return append(out, head...), err
	}
	out = append(append(out, head[:len(head)-1]...), `,"body":`...)
	return append(append(out, body...), '}'), nil
}

// settled reports whether encoding/json would write a body as it is: compact, and
// without what it escapes for the sake of HTML.
func settled(body json.RawMessage) bool {
	r := reader{b: body, s: string(body)}
	return r.skip(0) && r.at == len(body) && !slices.ContainsFunc([]string{"<", ">", "&", "\u2028", "\u2029"}, func(c string) bool { return strings.Contains(r.s, c) })
}

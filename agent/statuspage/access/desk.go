package access

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"iwas/internal/fault"
	"iwas/internal/secret"
	"iwas/internal/webui"
)

const (
	// SignInLasts is how long a sign-in lasts, whatever is done meanwhile.
	SignInLasts = 12 * time.Hour
	// blocked is how long an address is that was wrong five times.
	blocked     = 15 * time.Minute
	signInsMost = 256 // at once; past it the oldest ends
	notesMost   = 4   // kept for one sign-in until its next page
)

// Desk signs people in. Sign-ins are in memory: a restart of the service ends
// them. They count by the steady clock; a date that is set ends none early.
type Desk struct {
	People *People
	Log    *slog.Logger
	Now    func() time.Time // nil is time.Now

	once  sync.Once
	tries webui.Throttle

	mu sync.Mutex
	in map[[32]byte]*signIn // guarded by mu, by the hash of the token
}

type signIn struct {
	name  string
	proof [32]byte // of the password's hash it was made with
	begun time.Time
	notes []webui.Alert // for the next page
	text  string        // looked for last
}

func (d *Desk) init() {
	d.once.Do(func() {
		d.tries.Block, d.tries.Now = blocked, d.Now
		d.in = map[[32]byte]*signIn{}
		if d.Log == nil {
			d.Log = slog.New(slog.DiscardHandler)
		}
	})
}

func (d *Desk) now() time.Time {
	if d.Now != nil {
		return d.Now()
	}
	return time.Now()
}

// WaitError says that too many passwords were wrong, and how long to wait.
type WaitError struct{ Left time.Duration }

// Error says how long, in words.
func (w *WaitError) Error() string {
	return fmt.Sprintf("too many wrong passwords: wait %s", webui.Duration(w.Left))
}

// Who is not of this box shares one slow count with all others who are not, so
// that many addresses do not help; loopback has its own, so that nobody from the
// network can make the box itself wait.
func everybody(from netip.Addr) string {
	if from.IsLoopback() {
		return "this box"
	}
	return "the network"
}

// SignIn checks a name and password and returns what its holder shows from then
// on. The error is a WaitError, or of kind Forged when either is wrong.
func (d *Desk) SignIn(ctx context.Context, from netip.Addr, name string, password secret.Value) (token string, who Person, err error) {
	d.init()
	from = from.Unmap().WithZone("")
	if wait := d.tries.Try(from.String(), everybody(from)); wait > 0 {
		d.Log.Warn("a sign-in was refused: too many wrong passwords", "addr", from.String(), "wait_s", int(wait/time.Second)+1)
		return "", Person{}, &WaitError{wait}
	}
	all, err := d.People.read()
	if err != nil {
		return "", Person{}, err
	}
	var e entry
	if i := find(all, name); i >= 0 {
		e = all[i]
	}
	ok, err := webui.CheckPassword(ctx, e.Hash, password.Reveal())
	if err != nil {
		return "", Person{}, err
	}
	if !ok { // a name that is none of ours may be a password in the wrong field
		d.Log.Warn("a sign-in was refused: wrong name or password", "addr", from.String(), "person", e.Name, "name_known", e.Name != "")
		return "", Person{}, fault.New(fault.Forged, "name or password is wrong", nil)
	}
	d.tries.Passed(from.String(), everybody(from))
	d.Log.Info("signed in", "person", e.Name, "role", string(e.Role), "addr", from.String())
	return d.begin(e), Person{e.Name, e.Role}, nil
}

// begin makes a sign-in.
func (d *Desk) begin(e entry) string {
	d.init()
	var raw [32]byte
	rand.Read(raw[:])
	token := base64.RawURLEncoding.EncodeToString(raw[:])
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.in) >= signInsMost {
		d.makeRoom()
	}
	d.in[sha256.Sum256([]byte(token))] = &signIn{name: e.Name, proof: sha256.Sum256([]byte(e.Hash)), begun: d.now()}
	return token
}

// makeRoom ends the oldest sign-in, and those that are over; mu is held.
func (d *Desk) makeRoom() {
	var oldest [32]byte
	var at time.Time
	for k, s := range d.in {
		if d.now().Sub(s.begun) >= SignInLasts {
			delete(d.in, k)
		} else if at.IsZero() || s.begun.Before(at) {
			oldest, at = k, s.begun
		}
	}
	if len(d.in) >= signInsMost {
		delete(d.in, oldest)
	}
}

// Who returns whose token it is: nobody's once the sign-in is over, the person
// signed out, was removed, or has another password.
func (d *Desk) Who(token string) Person {
	d.init()
	if token == "" || d.People == nil {
		return Person{}
	}
	key := sha256.Sum256([]byte(token))
	d.mu.Lock()
	s := d.in[key]
	d.mu.Unlock()
	if s == nil {
		return Person{}
	}
	all, err := d.People.read()
	if i := find(all, s.name); err == nil && i >= 0 && sha256.Sum256([]byte(all[i].Hash)) == s.proof && d.now().Sub(s.begun) < SignInLasts {
		return Person{all[i].Name, all[i].Role}
	}
	d.SignOut(token)
	return Person{}
}

// SignOut ends a sign-in.
func (d *Desk) SignOut(token string) {
	d.init()
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.in, sha256.Sum256([]byte(token)))
}

// Note keeps a sentence for the next page of a sign-in.
func (d *Desk) Note(token string, a webui.Alert) {
	d.init()
	d.mu.Lock()
	defer d.mu.Unlock()
	if s := d.in[sha256.Sum256([]byte(token))]; s != nil && len(s.notes) < notesMost {
		s.notes = append(s.notes, a)
	}
}

// Noted takes what was kept, the oldest first.
func (d *Desk) Noted(token string) []webui.Alert {
	d.init()
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.in[sha256.Sum256([]byte(token))]
	if s == nil {
		return nil
	}
	out := s.notes
	s.notes = nil
	return out
}

// textMost bounds what is kept of a text that was looked for, in octets.
const textMost = 100

// KeepText keeps what was looked for last with a sign-in: names and codes of guests
// belong into no address and no history of a browser.
func (d *Desk) KeepText(token, text string) {
	d.init()
	d.mu.Lock()
	defer d.mu.Unlock()
	if s := d.in[sha256.Sum256([]byte(token))]; s != nil {
		s.text = text[:min(len(text), textMost)]
	}
}

// KeptText returns it.
func (d *Desk) KeptText(token string) string {
	d.init()
	d.mu.Lock()
	defer d.mu.Unlock()
	if s := d.in[sha256.Sum256([]byte(token))]; s != nil {
		return s.text
	}
	return ""
}

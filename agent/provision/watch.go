package provision

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"iwas/internal/condition"
	"iwas/internal/fault"
	"iwas/internal/routeros"
)

// WatchEvery is how often the running agent compares the router with its set-up.
const WatchEvery = 5 * time.Minute

// Drift is what somebody changed since the set-up was applied.
type Drift struct {
	At   time.Time `json:"at"`
	Plan Plan      `json:"plan"`
	By   []string  `json:"by"` // what the router tells of who did it, the newest first; may be empty
}

// Text says for people what changed, shortly.
func (d Drift) Text() string {
	if n := len(d.Plan.Stops); n > 0 {
		return d.Plan.Stops[0].Text
	}
	var what []string
	for _, s := range d.Plan.Steps {
		one := s.Key + " (" + s.do.Menu + ")"
		if strings.HasSuffix(s.Key, ".place") {
			one = "the order of our rules (" + s.do.Menu + ")"
		}
		if !slices.Contains(what, one) {
			what = append(what, one)
		}
	}
	text := strings.Join(what[:min(3, len(what))], ", ")
	if n := len(what) - 3; n > 0 {
		text += fmt.Sprintf(" and %d more", n)
	}
	text = "not as agreed: " + text
	if len(d.By) > 0 {
		text += "; the router says: " + d.By[0]
	}
	return text
}

// Look compares the router with its set-up, and asks it who changed it.
func (a *Applier) Look(ctx context.Context) (Drift, error) {
	conn, err := a.Return(ctx)
	if err != nil {
		return Drift{}, err
	}
	defer conn.Close()
	d := Drift{At: a.now(), By: []string{}}
	if d.Plan, err = a.plan(ctx, conn); err != nil || d.Plan.Empty() {
		return d, err
	}
	d.By, err = who(ctx, conn)
	return d, err
}

// told is how many lines of the router's own memory are shown.
const told = 3

// who reads what the router remembers of who changed what: its history first, which
// only some versions and users may read, then its log.
func who(ctx context.Context, conn routeros.Conn) ([]string, error) {
	out := []string{}
	rows, err := conn.Run(ctx, "/system/history/print")
	if err != nil && !routeros.Refused(err) {
		return out, err
	}
	for _, r := range rows {
		if r["by"] != "" && len(out) < told {
			out = append(out, strings.TrimSpace(fmt.Sprintf("%s %s by %s", r["time"], r["action"], r["by"])))
		}
	}
	if len(out) > 0 {
		return out, nil
	}
	rows, err = conn.Run(ctx, "/log/print")
	if err != nil && !routeros.Refused(err) {
		return out, err
	}
	for _, r := range slices.Backward(rows) {
		m := r["message"]
		if len(out) < told && slices.ContainsFunc([]string{" changed by ", " added by ", " removed by ", " moved by "}, func(s string) bool { return strings.Contains(m, s) }) {
			out = append(out, strings.TrimSpace(r["time"]+" "+m))
		}
	}
	return out, nil
}

// Watcher compares routers with their set-ups for as long as the agent runs.
type Watcher struct {
	Every   time.Duration
	Changed func() // something else is known now; may be nil
	// Wake has it look at once; nil is never.
	Wake <-chan struct{}
	// Routers finds which there are before each look; nil: SetRouters said it. Dial of
	// each is that of the service user.
	Routers func(context.Context) ([]*Applier, error)
	Log     *slog.Logger

	mu      sync.Mutex // guards what follows
	routers []*Applier
	known   map[string]Drift
}

// SetRouters says which routers there are; Dial of each is that of the service user.
func (w *Watcher) SetRouters(all []*Applier) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.routers = all
}

func (w *Watcher) all() []*Applier {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.routers
}

// Serve works until ctx ends.
func (w *Watcher) Serve(ctx context.Context) error {
	every := w.Every
	if every == 0 {
		every = WatchEvery
	}
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		if w.Routers != nil {
			all, err := w.Routers(ctx)
			if err != nil {
				return err
			}
			w.SetRouters(all)
		}
		for _, a := range w.all() {
			w.visit(ctx, a)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		case <-w.Wake:
		}
	}
}

// visit looks at one router once. A router that does not answer is the enforcer's
// to tell of; what was known of it stays.
func (w *Watcher) visit(ctx context.Context, a *Applier) {
	repairs := a.repairs()
	for _, by := range []*Applier{a, &repairs} {
		rec, ok, err := by.Keep.Load()
		if err != nil {
			w.Log.Warn("what was applied cannot be read", "nas", a.Router, "err", err)
		}
		if ok && (rec.State == Applying || rec.State == Waiting) {
			if rec, err = by.settle(ctx, rec); err != nil || rec.State != Reverted {
				return // somebody is at it
			}
			w.Log.Warn("an application of the set-up was not confirmed; the old configuration is back", "nas", a.Router, "code", CodeReverted)
		}
	}
	if a.OnlySettle {
		w.forget(a.Router)
		return
	}
	d, err := a.Look(ctx)
	if err != nil {
		if ctx.Err() == nil {
			w.Log.Debug("the set-up of the router cannot be compared", "nas", a.Router, "err", err)
		}
		return
	}
	if !d.Plan.Empty() && a.Setup.Repair == "always" && len(d.Plan.Stops) == 0 {
		w.repair(ctx, a, d)
		if again, err := a.Look(ctx); err == nil {
			d = again
		}
	}
	w.keep(a.Router, d)
}

// repairs is who repairs: this box by itself, with a record of its own, so that
// what a person applied can still be rolled back.
func (a *Applier) repairs() Applier {
	by := *a
	by.NoBackup, by.Dial, by.User, by.Keep = true, a.Return, "", a.Keep+".repair"
	return by
}

// repair puts back what was changed, by the same way as a person does.
func (w *Watcher) repair(ctx context.Context, a *Applier, d Drift) {
	w.Log.Info("the set-up of the router was changed and is being put back", "nas", a.Router, "what", d.Text())
	by := a.repairs()
	rec, err := by.Apply(ctx)
	if err == nil && rec.State == Waiting {
		_, err = by.Confirm(ctx)
	}
	if err != nil {
		w.Log.Warn("the set-up could not be put back", "nas", a.Router, "err", err, "code", fault.Code(err), "next", fault.Hint(err))
	}
}

// forget drops what was known of a router of which nothing is wanted any more.
func (w *Watcher) forget(router string) {
	w.mu.Lock()
	_, had := w.known[router]
	delete(w.known, router)
	w.mu.Unlock()
	if had && w.Changed != nil {
		w.Changed()
	}
}

func (w *Watcher) keep(router string, d Drift) {
	w.mu.Lock()
	if w.known == nil {
		w.known = map[string]Drift{}
	}
	was, had := w.known[router]
	w.known[router] = d
	w.mu.Unlock()
	if w.Changed != nil && (!had || was.Plan.Empty() != d.Plan.Empty() || !d.Plan.Empty() && was.Text() != d.Text()) {
		w.Changed()
	}
}

// Findings are the conditions that are open now.
func (w *Watcher) Findings() []condition.Finding {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []condition.Finding
	for _, a := range w.routers {
		d, ok := w.known[a.Router]
		if !ok || d.Plan.Empty() {
			continue
		}
		code := CodeDrift
		if len(d.Plan.Stops) > 0 {
			code = d.Plan.Stops[0].Code
		}
		out = append(out, condition.Finding{Code: code, Subject: a.Router, Text: a.Router + ": " + d.Text()})
	}
	return out
}

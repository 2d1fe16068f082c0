package provision

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"iwas/internal/fault"
	"iwas/internal/routeros"
	"iwas/internal/wire"
)

const (
	// returnTime is how long the router may take to be reachable after a step that
	// cuts connections.
	returnTime = 20 * time.Second
	// redialPause lies between two attempts to come back.
	redialPause = 250 * time.Millisecond

	backupName = "iwas-before" // of backup and export on the router
)

// Event tells how an application goes.
type Event struct {
	Step int           `json:"step"` // 0 is before the first
	Of   int           `json:"of"`
	Text string        `json:"text"`
	Took time.Duration `json:"took_ns,omitempty"`
}

// Applier carries out plans on one router.
type Applier struct {
	Router string // our name of it
	Setup  wire.RouterSetup
	Box    Box
	Keep   Keeper
	// Dial logs in as whoever applies. It is called again after a cut.
	Dial func(context.Context) (routeros.Conn, error)
	// Return logs in as this box does by itself afterwards. It must work before
	// anybody is asked to confirm.
	Return func(context.Context) (routeros.Conn, error)
	User   string // of Dial, to look up its rights
	// Reach finds our address as the router sees it, where Box has none; nil: Box has it.
	Reach func(context.Context) (netip.Addr, error)
	// WithoutNet applies though the router will not take it back by itself.
	WithoutNet bool
	// Expect is the key of the plan that a person saw: another is not applied. "" takes any.
	Expect string
	// NoBackup leaves out backup and export: the service user has no right to them.
	NoBackup bool
	// OnlySettle is of a router whose set-up was not applied, or not kept: a Watcher ends
	// what was cut short there, and compares nothing.
	OnlySettle bool
	Progress   func(Event)
	Window     time.Duration    // 0 is Window
	Now        func() time.Time // nil is time.Now
}

func (a *Applier) now() time.Time {
	if a.Now != nil {
		return a.Now()
	}
	return time.Now()
}

func (a *Applier) window() time.Duration { return cmp.Or(a.Window, Window) }

// stepsTime is how long the steps may take: less than the window, so that the
// router never takes back what is still being done.
func (a *Applier) stepsTime() time.Duration { return a.window() * 4 / 5 }

func (a *Applier) tell(e Event) {
	if a.Progress != nil {
		a.Progress(e)
	}
}

// plan compares the router with its set-up.
func (a *Applier) plan(ctx context.Context, conn routeros.Conn) (Plan, error) {
	box := a.Box
	if !box.Address.IsValid() && a.Setup.BoxAddress == "" && a.Reach != nil {
		var err error
		if box.Address, err = a.Reach(ctx); err != nil {
			return Plan{}, err
		}
	}
	return Make(ctx, conn, a.Setup, box)
}

// session is one application under way.
type session struct {
	*Applier
	conn  routeros.Conn
	rec   Record
	until time.Time
}

// Apply does what stands between the router and its set-up. On success the record
// waits for Confirm, unless there was nothing to do. On an error nothing is changed,
// or the old configuration is back, or the error says what is left.
func (a *Applier) Apply(ctx context.Context) (Record, error) {
	if old, ok, err := a.Keep.Load(); err != nil {
		return Record{}, err
	} else if ok && (old.State == Applying || old.State == Waiting) {
		if old, err = a.settle(ctx, old); err != nil {
			return old, err
		}
	}
	conn, err := a.Dial(ctx)
	if err != nil {
		return Record{}, err
	}
	s := &session{Applier: a, conn: conn}
	defer func() { s.conn.Close() }()
	plan, err := a.plan(ctx, conn)
	if err != nil {
		return Record{}, err
	}
	if len(plan.Stops) > 0 {
		x := plan.Stops[0]
		return Record{}, fault.New(fault.Invalid, "the plan cannot be applied: "+x.Text, nil).WithCode(x.Code, x.Next)
	}
	if a.Expect != "" && a.Expect != plan.Key() {
		return Record{}, fault.New(fault.Conflict, "the router or its set-up is not as it was when the plan was made; nothing was changed", nil).WithCode(CodePlanChanged, "Make the plan anew, read it, and apply that.")
	}
	s.rec = Record{Router: a.Router, Setup: SetupKey(a.Setup), State: Applying, At: a.now().UTC()}
	if len(plan.Steps) == 0 {
		s.rec.State = Confirmed
		return s.rec, nil
	}
	if err := s.prepare(ctx); err != nil {
		return Record{}, err
	}
	s.until = a.now().Add(a.stepsTime())
	for i, step := range plan.Steps {
		if err := s.do(ctx, step, len(plan.Steps)); err != nil {
			return s.fail(ctx, fmt.Sprintf("step %d of %d (%s)", i+1, len(plan.Steps), step.Words), err)
		}
	}
	return s.finish(ctx, plan)
}

// prepare checks rights, saves the configuration and hangs the net up.
func (s *session) prepare(ctx context.Context) error {
	if err := s.rights(ctx); err != nil {
		return err
	}
	allowed, err := netAllowed(ctx, s.conn)
	if err != nil {
		return err
	}
	if !allowed && !s.WithoutNet {
		return fault.New(fault.Denied, "no safety net", errNoNet).WithCode(CodeNoNet, "Allow it: /system/device-mode/update scheduler=yes, then the button or a power cut. Or take the risk: iwas-agent router apply --without-safety-net.")
	}
	s.rec.Net = allowed
	if !s.NoBackup {
		begin := time.Now()
		if _, err := s.conn.Run(ctx, "/system/backup/save", "=name="+backupName, "=dont-encrypt=yes"); err != nil {
			return fault.New(fault.KindOf(err), "save a backup on the router; nothing was changed", err)
		}
		if _, err := s.conn.Run(ctx, "/export", "=file="+backupName); err != nil {
			return fault.New(fault.KindOf(err), "save an export on the router; nothing was changed", err)
		}
		s.tell(Event{Text: "Saved on the router: " + backupName + ".backup and " + backupName + ".rsc", Took: time.Since(begin)})
	}
	if !s.rec.Net {
		return s.Keep.Save(s.rec)
	}
	there, err := pending(ctx, s.conn)
	if err != nil {
		return err
	}
	if there { // of a box that lost its record: to take it down would be to confirm
		return fault.New(fault.Conflict, "the router is about to take back what somebody applied", nil).WithCode(CodeReverted, "Wait two minutes, then apply again.")
	}
	if err := takeDown(ctx, s.conn); err != nil {
		return err
	}
	if err := errors.Join(s.Keep.Save(s.rec), putScript(ctx, s.conn, nil)); err != nil {
		return err
	}
	if err := arm(ctx, s.conn, netName, s.window()); err == nil {
		err = armBoot(ctx, s.conn)
		if err == nil {
			s.tell(Event{Text: fmt.Sprintf("The router takes everything back by itself unless it is confirmed within %d s of the last step", int(s.window().Seconds()))})
			return nil
		}
		return errors.Join(err, takeDown(ctx, s.conn))
	} else if routeros.ReasonOf(err) != routeros.DeviceMode {
		return errors.Join(err, takeDown(ctx, s.conn))
	}
	if !s.WithoutNet {
		return errors.Join(fault.New(fault.Denied, "no safety net", errNoNet).WithCode(CodeNoNet, "Allow it: /system/device-mode/update scheduler=yes. Or: iwas-agent router apply --without-safety-net."), takeDown(ctx, s.conn))
	}
	s.rec.Net = false
	return takeDown(ctx, s.conn)
}

// rights refuses a login that could not take everything back.
func (s *session) rights(ctx context.Context) error {
	if s.User == "" {
		return nil
	}
	return FullRights(ctx, s.conn, s.User)
}

// FullRights refuses a login, which conn is, that could not apply a set-up.
func FullRights(ctx context.Context, conn routeros.Conn, user string) error {
	groups, err := conn.Run(ctx, "/user/group/print")
	if err != nil {
		return err
	}
	users, err := conn.Run(ctx, "/user/print", "?name="+user)
	if err != nil {
		return err
	}
	if len(users) != 1 {
		return nil // of a RADIUS server, perhaps; what is missing shows with the first step
	}
	for _, g := range groups {
		if g["name"] != users[0]["group"] {
			continue
		}
		has := strings.Split(g["policy"], ",")
		var lacks []string
		for _, p := range []string{"read", "write", "policy", "test", "ftp", "sensitive"} {
			if !slices.Contains(has, p) {
				lacks = append(lacks, p)
			}
		}
		if len(lacks) > 0 {
			return fault.New(fault.Denied, fmt.Sprintf("the login %s (group %s) lacks %s", user, g["name"], strings.Join(lacks, ", ")), nil).
				WithCode(CodeLogin, "Use a login of the group full for this once: iwas-agent router apply --user admin. It is not kept.")
		}
	}
	return nil
}

// do carries out one step: first what takes it back, then the step, then a look.
func (s *session) do(ctx context.Context, step Step, of int) error {
	if s.now().After(s.until) {
		return fmt.Errorf("the steps take too long: more than %s", s.stepsTime())
	}
	begin := time.Now()
	undo := step.undo
	if step.do.Verb == "set" { // what it is now, not when the plan was made
		now, done, err := s.current(ctx, step)
		if err != nil {
			return err
		}
		if done {
			s.tell(Event{Step: step.N, Of: of, Text: step.Words + " (so already)", Took: time.Since(begin)})
			return nil
		}
		undo = []Op{now}
	}
	s.rec.Undo, s.rec.Words, s.rec.Done = append(s.rec.Undo, reversed(undo)...), append(s.rec.Words, step.Words), s.rec.Done+1
	if err := s.Keep.Save(s.rec); err != nil {
		return err
	}
	if s.rec.Net {
		if err := s.retry(ctx, func(c routeros.Conn) error { return putScript(ctx, c, s.rec.Undo) }); err != nil {
			return fmt.Errorf("put what takes it back on the router: %w", err)
		}
	}
	err := step.do.run(ctx, s.conn)
	// Whatever the router said, what counts is how it is now: an error may come
	// after the change was made, and success without it (facts.md §2).
	ok := false
	lookErr := s.retry(ctx, func(c routeros.Conn) (e error) { ok, e = holds(ctx, c, step.do); return e })
	switch {
	case lookErr != nil:
		return errors.Join(err, lookErr)
	case !ok && err == nil:
		return errors.New("the router took it, and shows something else")
	case !ok:
		return err
	}
	s.tell(Event{Step: step.N, Of: of, Text: step.Words, Took: time.Since(begin)})
	return nil
}

// reversed turns a step's ways back round: Record.Undo is read from its end.
func reversed(ops []Op) []Op {
	out := slices.Clone(ops)
	slices.Reverse(out)
	return out
}

// current reads what a step is about to set: what takes it back, and whether it is
// so already.
func (s *session) current(ctx context.Context, step Step) (undo Op, done bool, err error) {
	var rows []routeros.Row
	err = s.retry(ctx, func(c routeros.Conn) (e error) { rows, e = c.Run(ctx, step.do.Menu+"/print"); return e })
	if err != nil {
		return Op{}, false, err
	}
	b := &builder{rows: map[string][]routeros.Row{step.do.Menu: rows}}
	have := b.meant(step.do.Menu, step.do.Find)
	if have == nil {
		return Op{}, false, fault.New(fault.NotFound, "the row "+finder(step.do.Find)+" of "+step.do.Menu+" is gone", nil)
	}
	if len(differences(item{menu: step.do.Menu, args: step.do.Args}, have)) == 0 {
		return Op{}, true, nil
	}
	return undoSet(step.do, have), false, nil
}

// retry runs something, and once more on a new connection if the old one died: a
// step may cut it for seconds.
func (s *session) retry(ctx context.Context, run func(routeros.Conn) error) error {
	err := run(s.conn)
	if err == nil || routeros.Refused(err) {
		return err
	}
	s.conn.Close()
	conn, derr := comeBack(ctx, s.Dial)
	if derr != nil {
		return errors.Join(err, derr)
	}
	s.conn = conn
	return run(conn)
}

// comeBack dials until it works, for a while.
func comeBack(ctx context.Context, dial func(context.Context) (routeros.Conn, error)) (routeros.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, returnTime)
	defer cancel()
	for {
		conn, err := dial(ctx)
		if err == nil {
			return conn, nil
		}
		if code := fault.Code(err); code == routeros.CodeLoginRefused || code == routeros.CodeCertificateChanged {
			return nil, err
		}
		t := time.NewTimer(redialPause)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil, err
		}
	}
}

// finish proves that this box comes back by itself and starts a person's time.
func (s *session) finish(ctx context.Context, plan Plan) (Record, error) {
	back, err := comeBack(ctx, s.Return)
	if err == nil {
		_, err = back.Run(ctx, "/system/identity/print")
		back.Close()
	}
	if err != nil {
		return s.fail(ctx, "coming back as this box does by itself", fault.New(fault.Unavailable, "", err).WithCode(CodeNoReturn, "Look at the way between this box and the router in the set-up: box_port, management, /ip/service address=."))
	}
	if s.rec.Net {
		// The new clock starts before the old one stops.
		err := s.retry(ctx, func(c routeros.Conn) error {
			if err := arm(ctx, c, netTimer, s.window()); err != nil {
				return err
			}
			return disarm(ctx, c, netName)
		})
		if err != nil {
			return s.fail(ctx, "start the time to confirm", err)
		}
	}
	s.rec.State, s.rec.Deadline = Waiting, s.now().Add(s.window()).UTC()
	return s.rec, s.Keep.Save(s.rec)
}

// fail takes back what was done.
func (s *session) fail(ctx context.Context, what string, cause error) (Record, error) {
	ctx = context.WithoutCancel(ctx) // a person who presses Ctrl-C wants the old configuration back
	f := fault.New(fault.Internal, what+" failed", cause)
	code, next := CodeFailed, "Read what the router said, mend that, and plan again."
	if c := fault.Code(cause); c != "" {
		code, next = c, fault.Hint(cause)
	}
	err := s.takeBack(ctx)
	switch {
	case err == nil:
		f.Op += "; the old configuration is back"
	case s.rec.Net:
		f.Op += "; this box could not take it back (" + err.Error() + "), so the router does by itself within 120 s"
	default:
		return s.rec, errors.Join(f.WithCode(code, next), fault.New(fault.Internal, "taking it back failed too", err).
			WithCode(CodeLeftover, "Restore the backup on the router: /system/backup/load name="+backupName))
	}
	s.rec.Why = what + ": " + cause.Error()
	if err == nil {
		s.rec.State = Reverted
	}
	return s.rec, errors.Join(f.WithCode(code, next), s.Keep.Save(s.rec))
}

// takeBack has the router undo what the record holds, and looks.
func (s *session) takeBack(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, returnTime+40*time.Second)
	defer cancel()
	return s.retry(ctx, func(c routeros.Conn) error { return takeBack(ctx, c, s.rec.Undo) })
}

// takeBack runs the script on the router, where a cut of this connection cannot
// stop it half-way, and looks whether everything is as before.
func takeBack(ctx context.Context, conn routeros.Conn, undo []Op) error {
	if err := putScript(ctx, conn, undo); err != nil {
		return err
	}
	ids, err := idsOf(ctx, conn, scripts, with("name="+netName))
	if err != nil {
		return err
	}
	if len(ids) == 0 {
		return errors.New("the script that takes it back is gone")
	}
	_, runErr := conn.Run(ctx, scripts+"/run", "=number="+ids[0])
	if runErr != nil && !routeros.Refused(runErr) {
		return runErr
	}
	left, _, err := leftover(ctx, conn, undo)
	if err != nil {
		return err
	}
	if len(left) > 0 {
		return errors.Join(runErr, fault.New(fault.Internal, "not taken back: "+strings.Join(left, "; "), nil).
			WithCode(CodeLeftover, "Paste these on the router, or load the backup: /system/backup/load name="+backupName))
	}
	return nil
}

// leftover are the commands that had no effect, of those that were looked at. Of
// several that change the same row the one done last, which is the oldest, counts.
func leftover(ctx context.Context, conn routeros.Conn, undo []Op) (left []string, looked int, err error) {
	over := map[string]bool{} // rows and properties that an older step decides
	for _, o := range undo {
		o, decided := o, o.Verb == "move"
		var args []Word
		for _, a := range o.Args {
			k := o.Menu + finder(o.Find) + a.Key
			if !over[k] {
				args = append(args, a)
			}
			over[k] = true
		}
		o.Args = args
		if who := o.Menu + finder(identityOf(o)); o.Verb == "remove" || o.Verb == "add" {
			decided = decided || over[who]
			over[who] = true
		} else if over[who] {
			decided = true // the row itself is gone, or new
		}
		if decided {
			continue
		}
		ok, err := holds(ctx, conn, o)
		if err != nil {
			return nil, looked, err
		}
		looked++
		if !ok {
			left = append(left, o.paste(false))
		}
	}
	return left, looked, nil
}

func identityOf(o Op) []Word {
	if o.Verb == "add" {
		return identity(o)
	}
	return o.Find
}

package provision

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"iwas/internal/fault"
	"iwas/internal/routeros"
	"iwas/internal/routersim"
	"iwas/internal/wire"
)

// Both doors, both versions, both modes: applied, confirmed, planned again, and
// rolled back.
func TestApplyConfirmRollback(t *testing.T) {
	for _, door := range []string{"api-ssl", "www-ssl"} {
		for _, version := range []string{"7.16.2 (stable)", "7.24 (stable)"} {
			for name, setup := range map[string]wire.RouterSetup{"whole-cafe": cafeSetup(), "radius-only": thinSetup} {
				t.Run(door+" "+version+" "+name, func(t *testing.T) {
					t.Parallel()
					s := start(t, door, version, setup.Mode == WholeCafe)
					setup.CoAPort = int(s.CoAAddr().Port())
					before := s.everything()
					a := s.applier(setup)
					rec, err := a.Apply(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					if rec.State != Waiting || !rec.Net {
						t.Fatalf("got %+v, want it to wait for a person with the net up", rec)
					}
					if p := s.plan(setup); !p.Empty() {
						t.Errorf("a second plan has %d steps and stops %v: %+v", len(p.Steps), p.Stops, p.Steps[0])
					}
					compare(t, "foreign rows after apply", undeclared(foreignOf(s.everything())), undeclared(foreignOf(before)))
					if rec, err = a.Confirm(t.Context()); err != nil || rec.State != Confirmed {
						t.Fatalf("confirm: %v, %v", rec.State, err)
					}
					if rec, err = a.Apply(t.Context()); err != nil || len(rec.Undo) != 0 {
						t.Errorf("a second apply: %v, %v", rec, err)
					}
					if rec, err = a.Rollback(t.Context()); err != nil || rec.State != Undone {
						t.Fatalf("rollback: %v, %v", rec.State, err)
					}
					compare(t, "after the rollback", s.everything(), before)
				})
			}
		}
	}
}

// until waits for the router to have come to something.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it never came to this: %s", what)
		}
	}
}

// cutter kills this box at a command of a kind: nothing it says reaches the router
// any more, on this connection or another.
type cutter struct {
	routeros.Conn
	left *int // changes that still get through
	lose bool // the last one gets through, and its answer is lost
}

var errCut = errors.New("the cable is out")

func (c cutter) Run(ctx context.Context, sentence ...string) ([]routeros.Row, error) {
	word := sentence[0]
	changes := !hasSuffix(word, "/print")
	if *c.left < 0 {
		return nil, errCut
	}
	if changes {
		if *c.left--; *c.left < 0 {
			if c.lose {
				_, _ = c.Conn.Run(ctx, sentence...)
			}
			return nil, errCut
		}
	}
	return c.Conn.Run(ctx, sentence...)
}

func hasSuffix(s, end string) bool { return len(s) >= len(end) && s[len(s)-len(end):] == end }

// Whatever command is the last that this box gets out, the old configuration comes
// back by the router alone: by its clock, or by a power cut.
func TestKilledAtEveryCommand(t *testing.T) {
	t.Parallel()
	for way, lose := range []bool{false, true} {
		for i := 2 + 2*way; ; i++ {
			if done := killed(t, thinSetup, i, lose); done || t.Failed() {
				if i < 8 {
					t.Errorf("only %d commands were cut", i)
				}
				break
			}
		}
	}
}

// killed cuts one application short; true when it was done before.
func killed(t *testing.T, setup wire.RouterSetup, i int, lose bool) bool {
	what := fmt.Sprintf("cut at command %d (answer lost: %v)", i, lose)
	s := start(t, "api-ssl", "7.24 (stable)", setup.Mode == WholeCafe)
	defer s.Close()
	setup.CoAPort = int(s.CoAAddr().Port())
	before := s.everything()
	a := s.applier(setup)
	left := i
	dial := a.Dial
	a.Dial = func(ctx context.Context) (routeros.Conn, error) {
		if left < 0 {
			return nil, fault.New(fault.Denied, "cut", errCut).WithCode(routeros.CodeLoginRefused, "")
		}
		conn, err := dial(ctx)
		return cutter{conn, &left, lose}, err
	}
	if _, err := a.Apply(t.Context()); err == nil {
		return true
	} else if left >= 0 {
		t.Fatalf("%s: it failed by itself: %v", what, err)
	}
	comesBack(t, s.Sim, before, what, i, i%3 == 0)
	return false
}

// comesBack is a router that nobody speaks to any more after some commands: it takes
// back what was done, by its clock or because the power goes.
func comesBack(t *testing.T, sim *routersim.Sim, before map[string][]string, what string, commands int, power bool) {
	t.Helper()
	count := func(menu string) int {
		rows, err := commanded(sim, menu+"/print")
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		return len(rows)
	}
	if power {
		sim.PowerCut(time.Millisecond) // returns when it is up again
	} else if err := fire(sim); err != nil {
		t.Errorf("%s: %v", what, err)
	}
	for deadline := time.Now().Add(20 * time.Second); count(schedulers) > 0 || count(scripts) > 0 && commands > 4; time.Sleep(5 * time.Millisecond) { // the router's clock is looked at ten times a second
		if time.Now().After(deadline) {
			t.Errorf("%s: it still means to take something back, or a script is left", what)
			return
		}
	}
	after, err := everything(sim)
	if err != nil {
		t.Errorf("%s: %v", what, err)
	}
	after[scripts] = nil // written before the first scheduler, and cut there: nothing runs it
	compare(t, what, after, before)
}

// shadowed has a copy of the router made after every command that changes it.
type shadowed struct {
	routeros.Conn
	copied func()
}

func (f shadowed) Run(ctx context.Context, sentence ...string) ([]routeros.Row, error) {
	rows, err := f.Conn.Run(ctx, sentence...)
	if !hasSuffix(sentence[0], "/print") {
		f.copied()
	}
	return rows, err
}

// The same for a whole cafe, at every command and in both ways: the application goes
// on, and what would become of the router shows on a copy of it that nobody speaks to.
// That this box is silent is all a router notices of its death, as
// TestKilledAtEveryCommand has it; and an answer that is lost leaves the router where
// the next command that is not sent finds it.
func TestWholeCafeKilledAtEveryCommand(t *testing.T) {
	t.Parallel()
	s := start(t, "api-ssl", "7.24 (stable)", true)
	setup := cafeSetup()
	setup.CoAPort = int(s.CoAAddr().Port())
	before := s.everything()
	a := s.applier(setup)
	var looks sync.WaitGroup
	room := make(chan bool, 8) // copies at once
	n := 0
	copied := func() {
		n++
		if n <= 2 { // backup and export: no net yet
			return
		}
		for _, power := range []bool{false, true} {
			if power && n <= 4 { // the script and its clock: the start of the router means nothing yet, and nothing is to be taken back
				continue
			}
			room <- true
			twin, err := s.Copy(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			what := fmt.Sprintf("silent after command %d (power cut: %v)", n, power)
			commands := n
			looks.Go(func() {
				defer func() { twin.Close(); <-room }()
				comesBack(t, twin, before, what, commands, power)
			})
		}
	}
	dial := a.Dial
	a.Dial = func(ctx context.Context) (routeros.Conn, error) {
		conn, err := dial(ctx)
		return shadowed{conn, copied}, err
	}
	rec, err := a.Apply(t.Context())
	looks.Wait()
	if err != nil || rec.State != Waiting {
		t.Fatalf("got %v, %v, want it applied and waiting", rec.State, err)
	}
	if n < 2*rec.Done {
		t.Errorf("%d commands were looked at, want two for each of %d steps: what takes it back, and the step", n, rec.Done)
	}
	t.Logf("%d commands, each with the clock and with a power cut", n-2)
}

// fire has the time of a scheduler pass at once.
func (s *stand) fire() {
	s.t.Helper()
	if err := fire(s.Sim); err != nil {
		s.t.Fatal(err)
	}
}

func fire(sim *routersim.Sim) error {
	rows, err := commanded(sim, schedulers+"/print")
	for _, r := range rows {
		if r["interval"] != "0s" {
			_, failed := commanded(sim, schedulers+"/set", "=.id="+r[".id"], "=interval=1ms")
			err = errors.Join(err, failed)
		}
	}
	return err
}

// up reports whether the router answers.
func (s *stand) up() bool {
	conn, err := s.dial("admin")(context.Background())
	if err == nil {
		conn.Close()
	}
	return err == nil
}

// pending reports whether anything of the net is on the router.
func (s *stand) pending() bool {
	return len(s.do("/system/scheduler/print"))+len(s.do("/system/script/print")) > 0
}

// Not confirmed, the old configuration comes back; and when the router restarts, at
// once.
func TestNotConfirmed(t *testing.T) {
	for _, end := range []string{"time", "reboot", "power cut"} {
		t.Run(end, func(t *testing.T) {
			t.Parallel()
			s := start(t, "www-ssl", "7.16.2 (stable)", true)
			setup := cafeSetup()
			setup.CoAPort = int(s.CoAAddr().Port())
			before := s.everything()
			a := s.applier(setup)
			if _, err := a.Apply(t.Context()); err != nil {
				t.Fatal(err)
			}
			switch end {
			case "time":
				s.fire()
			case "reboot":
				s.Reboot()
			case "power cut":
				s.PowerCut(50 * time.Millisecond)
			}
			until(t, "no net is left", func() bool { return s.up() && !s.pending() })
			compare(t, end, s.everything(), before)
			if rec, err := a.Confirm(t.Context()); fault.Code(err) != CodeReverted || rec.State != Reverted {
				t.Errorf("confirmed too late: got %v, %v, want %s", rec.State, err, CodeReverted)
			}
		})
	}
}

// Confirmed stays, over a restart too.
func TestConfirmedStays(t *testing.T) {
	s := start(t, "api-ssl", "7.24 (stable)", true)
	setup := cafeSetup()
	setup.CoAPort = int(s.CoAAddr().Port())
	a := s.applier(setup)
	if _, err := a.Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Confirm(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s.pending() {
		t.Error("a net is left on the router")
	}
	after := s.everything()
	s.Reboot()
	until(t, "the router is back", s.up)
	compare(t, "after a restart", s.everything(), after)
}

package provision

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"iwas/internal/fault"
	"iwas/internal/routeros"

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
	for name, test := range map[string]struct {
		setup wire.RouterSetup
		every int // of the commands; those of a whole cafe come in turns over the two ways
	}{"whole-cafe": {cafeSetup(), 4}, "radius-only": {thinSetup, 1}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for way, lose := range []bool{false, true} {
				for i := 2 + 2*way; ; i += test.every {
					if done := killed(t, test.setup, i, lose); done || t.Failed() {
						if i < 8 {
							t.Errorf("only %d commands were cut", i)
						}
						break
					}
				}
			}
		})
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
	if i%3 == 0 {
		s.PowerCut(20 * time.Millisecond)
	} else {
		s.fire()
	}
	until(t, what+": the router means to take nothing back any more", func() bool { return s.up() && len(s.do("/system/scheduler/print")) == 0 })
	after := s.everything()
	if len(s.do("/system/script/print")) > 0 && i > 4 {
		t.Errorf("%s: a script is left", what)
	}
	after["/system/script"] = nil // written before the first scheduler, and cut there: nothing runs it
	compare(t, what, after, before)
	return false
}

// fire has the time of a scheduler pass at once.
func (s *stand) fire() {
	for _, r := range s.do("/system/scheduler/print") {
		if r["interval"] != "0s" {
			s.do("/system/scheduler/set", "=.id="+r[".id"], "=interval=100ms")
		}
	}
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

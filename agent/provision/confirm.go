package provision

import (
	"context"
	"errors"
	"fmt"
	"time"

	"iwas/internal/fault"
	"iwas/internal/routeros"
)

// pending reports whether the router still means to take something back.
func pending(ctx context.Context, conn routeros.Conn) (bool, error) {
	for _, name := range []string{netTimer, netName, netBoot} {
		ids, err := idsOf(ctx, conn, schedulers, with("name="+name))
		if err != nil || len(ids) > 0 {
			return err == nil, err
		}
	}
	return false, nil
}

// Confirm keeps what was applied: it takes the net away. It comes as this box does
// by itself, which proves once more that the box still can.
func (a *Applier) Confirm(ctx context.Context) (Record, error) {
	rec, ok, err := a.Keep.Load()
	switch {
	case err != nil:
		return rec, err
	case !ok || rec.State != Waiting:
		return rec, nothingWaits(rec, ok)
	}
	conn, err := a.Return(ctx)
	if err != nil {
		return rec, fault.New(fault.KindOf(err), "this box cannot come back, so nothing is confirmed", err).WithCode(CodeNoReturn, "Leave it: the old configuration comes back by itself at "+rec.Deadline.Local().Format(time.TimeOnly)+".")
	}
	defer conn.Close()
	if rec.Net {
		there, err := pending(ctx, conn)
		if err != nil {
			return rec, err
		}
		if !there {
			return a.tooLate(rec)
		}
		if err := takeDown(ctx, conn); err != nil {
			return rec, fault.New(fault.KindOf(err), "take the safety net away", err).WithCode(fault.Code(err), "Run iwas-agent router confirm again; else the old configuration comes back.")
		}
	}
	// The clock may have run out just before: then the old configuration is back.
	left, looked, err := leftover(ctx, conn, rec.Undo)
	if err != nil {
		return rec, err
	}
	if len(left) == 0 && looked > 0 {
		return a.tooLate(rec)
	}
	rec.State = Confirmed
	return rec, a.Keep.Save(rec)
}

func (a *Applier) tooLate(rec Record) (Record, error) {
	rec.State, rec.Why = Reverted, "it was not confirmed in time"
	return rec, errors.Join(fault.New(fault.Conflict, "it was not confirmed in time: the router took it back", nil).
		WithCode(CodeReverted, "Run iwas-agent router apply again, and confirm within 120 s."), a.Keep.Save(rec))
}

func nothingWaits(rec Record, ok bool) error {
	text := "nothing waits to be confirmed"
	if ok {
		text += fmt.Sprintf("; the last application, of %s, is %s", rec.At.Local().Format(time.DateTime), rec.State)
	}
	return fault.New(fault.NotFound, text, nil).WithCode(CodeReverted, "iwas-agent router plan shows whether there is anything to apply.")
}

// Rollback brings the configuration of before the newest application back, also
// after it was confirmed.
func (a *Applier) Rollback(ctx context.Context) (Record, error) {
	rec, ok, err := a.Keep.Load()
	switch {
	case err != nil:
		return rec, err
	case !ok || rec.State == Reverted || rec.State == Undone || len(rec.Undo) == 0:
		return rec, nothingWaits(rec, ok)
	}
	conn, err := a.Dial(ctx)
	if err != nil {
		return rec, err
	}
	s := &session{Applier: a, conn: conn, rec: rec}
	defer func() { s.conn.Close() }()
	if err := s.takeBack(ctx); err != nil {
		return rec, fault.New(fault.KindOf(err), "roll back", err).WithCode(CodeLeftover, "Run it again; or restore the backup on the router: /system/backup/load name="+backupName)
	}
	was := rec.State
	rec.State, rec.Why = Undone, "a person rolled it back"
	if was != Confirmed {
		rec.State = Reverted
	}
	return rec, a.Keep.Save(rec)
}

// settle ends an application that was cut short, before another begins.
func (a *Applier) settle(ctx context.Context, rec Record) (Record, error) {
	busy := func(text string) (Record, error) {
		return rec, fault.New(fault.Conflict, text, nil).WithCode(CodeReverted, "Confirm it or roll it back (iwas-agent router confirm, rollback), or wait: unconfirmed it ends by itself.")
	}
	if rec.State == Waiting && a.now().Before(rec.Deadline) {
		return busy("an earlier application waits to be confirmed until " + rec.Deadline.Local().Format(time.TimeOnly))
	}
	if rec.State == Applying && a.now().Sub(rec.At) < a.window() && a.now().After(rec.At) {
		return busy("another application runs, or was cut short within the last two minutes")
	}
	conn, err := a.Dial(ctx)
	if err != nil {
		return rec, err
	}
	defer conn.Close()
	there, err := pending(ctx, conn)
	if err != nil {
		return rec, err
	}
	if there || !rec.Net {
		if err := takeBack(ctx, conn, rec.Undo); err != nil {
			return rec, err
		}
	}
	rec.State, rec.Why = Reverted, "it was cut short, or not confirmed in time"
	return rec, a.Keep.Save(rec)
}

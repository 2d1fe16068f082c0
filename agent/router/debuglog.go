package router

import (
	"context"
	"fmt"
	"time"

	"iwas/internal/condition"
	"iwas/internal/fault"
	"iwas/internal/routeros"
)

const (
	// DebugLogTime is how long the router writes down every RADIUS packet.
	DebugLogTime = 10 * time.Minute
	// debugTag marks what is ours: a prefix, since rules of /system/logging have
	// no comment before 7.24.
	debugTag = "iwas-debug"
	debugOff = "iwas-debug-off" // name of the scheduler that ends it

	logging   = "/system/logging"
	scheduler = "/system/scheduler"
)

// DebugLogged is debug logging that was switched on.
type DebugLogged struct {
	Until time.Time `json:"until"`
	// ByItself says that the router ends it, whatever becomes of us. When not,
	// Why tells the reason, and somebody must call StopDebugLog.
	ByItself bool   `json:"ends_by_itself"`
	Why      string `json:"why,omitempty"`
}

// StartDebugLog has the router log RADIUS packets (topics radius,debug) for a
// while. What ends it is put there first: a scheduler of the router, which also
// removes itself.
func StartDebugLog(ctx context.Context, conn routeros.Conn, length time.Duration) (DebugLogged, error) {
	if err := StopDebugLog(ctx, conn); err != nil {
		return DebugLogged{}, err
	}
	d := DebugLogged{Until: time.Now().Add(length), ByItself: true}
	if why, err := noScheduler(ctx, conn); err != nil || why != "" {
		if err != nil {
			return DebugLogged{}, err
		}
		d.ByItself, d.Why = false, why
	} else if _, err := conn.Run(ctx, scheduler+"/add", "=name="+debugOff, "=interval="+routeros.FormatDuration(length), "=policy=read,write",
		`=on-event=`+logging+`/remove [find prefix="`+debugTag+`"]; `+scheduler+`/remove [find name="`+debugOff+`"]`,
		"=comment=IWAS: ends the debug log"); err != nil {
		if !routeros.Refused(err) {
			return DebugLogged{}, err
		}
		d.ByItself, d.Why = false, plain(err)
	}
	_, err := conn.Run(ctx, logging+"/add", "=topics=radius,debug", "=prefix="+debugTag, "=action=memory")
	if err == nil {
		return d, nil
	}
	if stopped := StopDebugLog(ctx, conn); stopped != nil {
		err = fmt.Errorf("%w; and what ends it could not be taken back: %v", err, stopped)
	}
	return DebugLogged{}, err
}

// noScheduler returns why the router will run no script of ours; "" when it may.
func noScheduler(ctx context.Context, conn routeros.Conn) (string, error) {
	rows, err := conn.Run(ctx, "/system/device-mode/print")
	switch {
	case routeros.ReasonOf(err) == routeros.NoSuchCommand:
		return "", nil // older: nothing is forbidden
	case err != nil:
		return "", err
	case len(rows) != 1:
		return "", fault.New(fault.Internal, "device-mode", oddAnswer{"/system/device-mode", fmt.Sprintf("%d rows for one", len(rows))})
	}
	if allowed, told := rows[0]["scheduler"]; told && !flag(allowed) {
		return "device-mode of the router forbids the scheduler (" + routeros.CodeDeviceMode + ")", nil
	}
	return "", nil
}

// StopDebugLog takes away the rule and what would end it. Nothing there is fine.
func StopDebugLog(ctx context.Context, conn routeros.Conn) error {
	for _, of := range []struct{ menu, query string }{{logging, "?prefix=" + debugTag}, {scheduler, "?name=" + debugOff}} {
		rows, err := conn.Run(ctx, of.menu+"/print", "=.proplist=.id", of.query)
		if err != nil {
			return err
		}
		for _, r := range rows {
			if _, err := conn.Run(ctx, of.menu+"/remove", "=.id="+r[".id"]); err != nil && routeros.ReasonOf(err) != routeros.NoSuchItem {
				return err
			}
		}
	}
	return nil
}

// debugLog says whether a debug log of ours is on.
func (a *asker) debugLog(ctx context.Context) error {
	rows, err := a.print(ctx, logging, ".id", "?prefix="+debugTag)
	if err != nil {
		return err
	}
	if len(rows) == 0 {
		a.good("debug-log", "off")
		return nil
	}
	ends, err := a.print(ctx, scheduler, ".id,next-run", "?name="+debugOff)
	if err != nil {
		return err
	}
	if len(ends) == 0 {
		a.set(condition.CheckRow{Probe: "debug-log", State: condition.Warn, Code: CodeDebugLog, Seen: "RADIUS packets are logged, and nothing on the router ends it",
			Command: logging + `/remove [find prefix="` + debugTag + `"]`})
		return nil
	}
	a.good("debug-log", "on for some minutes; the router ends it by itself")
	return nil
}

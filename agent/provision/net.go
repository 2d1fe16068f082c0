package provision

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"iwas/internal/routeros"
)

// The safety net is a script of the router that takes back what was done, newest
// first, and two schedulers that run it: one every 120 s, one whenever the router
// starts. The script is written before the step it takes back. So whatever becomes
// of this box, the cable or the power at any instant, the old configuration comes
// back; the last thing the script does is to take net and itself away.
const (
	netName  = "iwas-revert"       // script, and the scheduler that counts
	netBoot  = "iwas-revert-boot"  // scheduler that runs when the router starts
	netTimer = "iwas-revert-timer" // the scheduler of the time a person has

	// netPolicy is what the script may do: what our steps need, and nothing of
	// users; so a service user with these may put it there as well.
	netPolicy = "read,write,test,sensitive"

	scripts    = "/system/script"
	schedulers = "/system/scheduler"
)

var netRun = scripts + `/run [find name="` + netName + `"]`

// scriptLimit is how long a script may be: RouterOS is said to take 64 kB, and
// builds misbehave before (facts.md §6 "Speed").
const scriptLimit = 30 << 10

// revertScript is the text that takes steps back, the newest first.
func revertScript(undo []Op) string {
	var b strings.Builder
	for i := len(undo) - 1; i >= 0; i-- {
		b.WriteString(undo[i].script())
	}
	for _, name := range []string{netBoot, netTimer, netName} {
		b.WriteString(Op{Menu: schedulers, Verb: "remove", Find: with("name=" + name)}.script())
	}
	b.WriteString(Op{Menu: scripts, Verb: "remove", Find: with("name=" + netName)}.script())
	return b.String()
}

// errNoNet says that the router will not run a scheduler of ours.
var errNoNet = errors.New("device-mode of the router forbids the scheduler")

// netAllowed reports whether the router runs schedulers.
func netAllowed(ctx context.Context, conn routeros.Conn) (bool, error) {
	rows, err := conn.Run(ctx, "/system/device-mode/print")
	if routeros.ReasonOf(err) == routeros.NoSuchCommand {
		return true, nil // older than device-mode
	}
	if err != nil || len(rows) != 1 {
		return false, err
	}
	v, told := rows[0]["scheduler"]
	return !told || flag(v), nil
}

// putScript writes the script, made anew where there is none.
func putScript(ctx context.Context, conn routeros.Conn, undo []Op) error {
	text := revertScript(undo)
	if len(text) > scriptLimit {
		return fmt.Errorf("what takes these steps back is %d octets long, and a script of the router may have %d: apply a smaller part of the set-up first", len(text), scriptLimit)
	}
	ids, err := idsOf(ctx, conn, scripts, with("name="+netName))
	if err != nil {
		return err
	}
	if len(ids) > 0 {
		_, err = conn.Run(ctx, scripts+"/set", "=.id="+ids[0], "=source="+text)
	} else {
		_, err = conn.Run(ctx, scripts+"/add", "=name="+netName, "=policy="+netPolicy, "=source="+text, "=comment=IWAS: takes back what is not confirmed")
	}
	if err != nil && !routeros.Refused(err) {
		return err
	}
	rows, lookErr := conn.Run(ctx, scripts+"/print", "?name="+netName)
	switch {
	case lookErr != nil:
		return lookErr
	case len(rows) == 1 && rows[0]["source"] == text && !flag(rows[0]["invalid"]):
		return nil // an error may come after the change was made
	case err != nil:
		return err
	}
	return errors.New("the router shows another script than the one that was written")
}

// arm starts a scheduler that runs the script after the window, and one that does
// so at the start of the router.
func arm(ctx context.Context, conn routeros.Conn, name string, window time.Duration) error {
	if err := disarm(ctx, conn, name); err != nil {
		return err
	}
	_, err := conn.Run(ctx, schedulers+"/add", "=name="+name, "=interval="+routeros.FormatDuration(window), "=policy="+netPolicy, "=on-event="+netRun,
		"=comment=IWAS: takes back what is not confirmed")
	return err
}

func armBoot(ctx context.Context, conn routeros.Conn) error {
	if err := disarm(ctx, conn, netBoot); err != nil {
		return err
	}
	_, err := conn.Run(ctx, schedulers+"/add", "=name="+netBoot, "=start-time=startup", "=interval=0s", "=policy="+netPolicy, "=on-event="+netRun,
		"=comment=IWAS: takes back what is not confirmed, after a power cut")
	return err
}

// disarm takes a scheduler away; none is fine.
func disarm(ctx context.Context, conn routeros.Conn, name string) error {
	return removeNamed(ctx, conn, schedulers, name)
}

func removeNamed(ctx context.Context, conn routeros.Conn, menu, name string) error {
	ids, err := idsOf(ctx, conn, menu, with("name="+name))
	if err != nil {
		return err
	}
	for _, id := range ids {
		if _, err := conn.Run(ctx, menu+"/remove", "=.id="+id); err != nil && routeros.ReasonOf(err) != routeros.NoSuchItem {
			return err
		}
	}
	return nil
}

// takeDown takes the net away. What starts at boot goes first and the clock next:
// cut short between the two, the clock still brings the old configuration back, so
// that half of a confirmation is none.
func takeDown(ctx context.Context, conn routeros.Conn) error {
	for _, name := range []string{netBoot, netName, netTimer} {
		if err := disarm(ctx, conn, name); err != nil {
			return err
		}
	}
	return removeNamed(ctx, conn, scripts, netName)
}

// holds reports whether the router is as a command left it, or would leave it.
func holds(ctx context.Context, conn routeros.Conn, o Op) (bool, error) {
	find := o.Find
	if o.Verb == "add" {
		find = identity(o)
	}
	if o.Verb == "set" { // it may change what it is found by
		find = append([]Word{}, o.Find...)
		for i, f := range find {
			for _, a := range o.Args {
				if a.Key == f.Key {
					find[i].Value = a.Value
				}
			}
		}
	}
	all, err := conn.Run(ctx, o.Menu+"/print")
	if err != nil {
		return false, err
	}
	var rows []routeros.Row
	for _, r := range all {
		if !flag(r["dynamic"]) {
			rows = append(rows, r)
		}
	}
	at := -1
	for i, r := range rows {
		match := true
		for _, f := range find {
			match = match && r[f.Key] == f.Value
		}
		if match {
			at = i
			break
		}
	}
	switch {
	case o.Verb == "remove":
		return at < 0, nil
	case at < 0:
		return false, nil
	case o.Verb == "move":
		return stands(rows, at, o.Before), nil
	}
	return len(differences(item{menu: o.Menu, args: o.Args}, rows[at])) == 0, nil
}

// stands reports whether the row at a place stands right before another, or last.
func stands(rows []routeros.Row, at int, before []Word) bool {
	if len(before) == 0 {
		return at == len(rows)-1
	}
	if at+1 >= len(rows) {
		return false
	}
	next := rows[at+1]
	for _, w := range before {
		if next[w.Key] != w.Value {
			return false
		}
	}
	return true
}

// identity is what an added row is found by.
func identity(o Op) []Word {
	for _, key := range []string{"comment", "name"} {
		for _, a := range o.Args {
			if a.Key == key {
				return []Word{{Key: key, Value: a.Value}}
			}
		}
	}
	return o.Args
}

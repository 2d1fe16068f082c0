package fleet

import (
	"context"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

const commandsEvery = 2 * time.Second // a look for commands to send, or to send again

// Ask keeps a command and, if the site is there, sends it. What becomes of it
// the site says.
func (f *Fleet) Ask(ctx context.Context, actor hotspot.Operator, c hotspot.Command, ttl time.Duration) (hotspot.Command, error) {
	made, err := f.o.Store.AddCommand(ctx, actor, c, ttl)
	if err != nil {
		return made, err
	}
	f.o.Notify(made.Site)
	f.lookForCommands()
	return made, nil
}

func (f *Fleet) lookForCommands() {
	select {
	case f.due <- struct{}{}:
	default:
	}
}

// sendCommands sends what is due, until ctx ends: at once after a command was asked
// for, and every two seconds, again too. The store gives each command to one of
// several processes that look.
func (f *Fleet) sendCommands(ctx context.Context) {
	tick := time.NewTicker(commandsEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-f.due:
		}
		if err := f.sendDue(ctx); err != nil && ctx.Err() == nil {
			f.o.Log.Error("fleet: commands not sent; tried again", "err", err)
		}
	}
}

func (f *Fleet) sendDue(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, storeLimit)
	defer cancel()
	due, ended, err := f.o.Store.DueCommands(ctx)
	if err != nil {
		return err
	}
	for _, d := range due {
		payload, err := wire.Encode(d.Command)
		if err == nil {
			err = f.o.Publish(wire.Topic(d.Agent, wire.DownCommands), payload, false)
		}
		if err != nil { // it counts as sent, and goes again
			f.o.Log.Warn("fleet: command not sent", "site", d.Site, "agent", d.Agent, "command_id", d.Command.ID, "err", err)
		}
		f.o.Notify(d.Site)
	}
	for _, site := range ended {
		f.o.Notify(site)
	}
	return nil
}

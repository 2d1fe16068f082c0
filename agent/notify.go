package main

import (
	"context"
	"time"

	"iwas/internal/sdnotify"
)

// readyWait is how long the service manager waits for the RADIUS sockets before it
// is told "ready" all the same, with the reason: a unit that never gets ready is
// killed and begun again, and the status page, which says why, with it.
const readyWait = 15 * time.Second

// tellManager tells systemd how it goes, until ctx ends.
func (s *site) tellManager(ctx context.Context) error {
	n := s.manager
	bound, cancel := context.WithTimeout(ctx, readyWait)
	defer cancel()
	status := "Answering RADIUS."
	if s.dbErr != nil {
		status = "The database will not open; nobody can log in. See the status page."
	} else {
		select {
		case <-s.radius.Ready():
		case <-bound.Done():
			status = "RADIUS is not answered yet; see the status page."
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := n.Ready(status); err != nil {
		return err
	}
	// A snapshot goes through what must never hang: the store's readers, the tables
	// of RADIUS and of the routers. What it finds does not matter here.
	return n.Watch(ctx, func(ctx context.Context) { s.snapshot(ctx) })
}

// fromManager is the door of the service manager of this process.
func fromManager(talk func(msg string, args ...any)) sdnotify.Notifier {
	n, err := sdnotify.FromEnvironment()
	if err != nil {
		talk("the environment of the service manager", "err", err)
	}
	return n
}

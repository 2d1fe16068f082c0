//go:build !windows

package main

import "context"

// asService runs the program: signals and systemd need nothing of us.
func asService(ctx context.Context, run func(context.Context) error) error { return run(ctx) }

//go:build !windows

package main

import (
	"context"
	"io"
)

// asService runs the program: signals and systemd need nothing of us.
func asService(ctx context.Context, talk io.Writer, run func(context.Context, io.Writer) error) error {
	return run(ctx, talk)
}

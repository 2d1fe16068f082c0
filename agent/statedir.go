package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"iwas/agent/store"
	"iwas/internal/fault"
)

// codeStateDir is the state directory that cannot be used.
const codeStateDir = "DB-103"

// stateTrouble reports whether an error is of the directory rather than of what is
// in it.
func stateTrouble(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.EROFS) || errors.Is(err, syscall.ENOSPC)
}

// stateFault is why the state directory cannot be used, with what to paste. The error
// names the file.
func stateFault(dir string, err error) error {
	f := fault.New(fault.Unavailable, "the state directory", err)
	switch {
	case errors.Is(err, syscall.ENOSPC):
		return f.WithCode(store.CodeNoRoom, roomAdvice(dir))
	case errors.Is(err, syscall.EROFS):
		return f.WithCode(codeStateDir, "The disk is mounted read-only, most often after an error: save "+dir+" elsewhere, read dmesg | tail, and restart the box.")
	case errors.Is(err, syscall.ENOTDIR):
		return f.WithCode(codeStateDir, fmt.Sprintf("Something that is no directory stands at %s, or above it: move it aside, then: sudo systemctl restart iwas-agent", dir))
	case errors.Is(err, fs.ErrPermission):
		if _, missing := os.Lstat(dir); errors.Is(missing, fs.ErrNotExist) {
			return f.WithCode(codeStateDir, fmt.Sprintf("Make it: sudo install -d -m 0700 -o iwas-agent -g iwas-agent %s", dir))
		}
		return f.WithCode(codeStateDir, fmt.Sprintf("Give it to the service: sudo chown -R iwas-agent: %s", dir))
	}
	return f.WithCode(codeStateDir, "Check owner, rights and free space of "+dir+".")
}

// roomAdvice says how to find what fills a disk.
func roomAdvice(dir string) string {
	return fmt.Sprintf("Free room on the disk of %s; this names what fills it: sudo du -xh --max-depth=3 / | sort -h | tail", dir)
}

// writable tries to make a file in a directory: an error of rights or of the disk is
// clearer here than from within a database. A full disk is the store's to judge,
// which can do without new files.
func writable(dir string) error {
	f, err := os.CreateTemp(dir, ".try-*")
	if errors.Is(err, syscall.ENOSPC) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// errUsable ends a run without a database once what kept it shut is mended: the next
// one opens it.
var errUsable = errors.New("the state directory can be used now")

const usableLook = 5 * time.Second // between two tries

// awaitUsable stops the run once the state directory can be used, where that is what
// kept the database shut.
func (s *site) awaitUsable(ctx context.Context, stop func()) {
	if code := fault.Code(s.dbErr); code != codeStateDir && code != store.CodeNoRoom {
		return
	}
	tick := time.NewTicker(usableLook)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		dir := filepath.Join(s.cfg.StateDir, "identity")
		if os.MkdirAll(dir, 0o700) != nil || writable(s.cfg.StateDir) != nil || writable(dir) != nil {
			continue
		}
		if free, err := diskRoom(s.cfg.StateDir); err != nil || free < fullBelow {
			continue
		}
		s.usable.Store(true)
		stop()
		return
	}
}

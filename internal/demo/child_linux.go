package demo

import (
	"os/exec"
	"runtime"
	"syscall"
)

// childAttr makes a program die with us, and keeps the terminal's Ctrl-C from
// it: we stop our programs in order.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}

// starts runs on one thread that never ends: Pdeathsig fires when the thread
// that started the child does.
var starts = func() chan func() {
	c := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range c {
			f()
		}
	}()
	return c
}()

func startChild(cmd *exec.Cmd) error {
	done := make(chan error)
	starts <- func() { done <- cmd.Start() }
	return <-done
}

package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// process is one of the cafe's programs.
type process struct {
	name string
	cmd  *exec.Cmd
	log  string
	done chan struct{}
	err  error // set when done is closed
}

// start runs a program of the bin folder, its output in NAME.log. It dies with
// us, even if we are killed.
func (c *Cafe) start(name, program string, args ...string) (*process, error) {
	logName := c.path(name + ".log")
	f, err := os.OpenFile(logName, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	line := append([]string{filepath.Join(c.o.Bin, program)}, args...)
	if name == "agent" {
		line = append(slices.Clone(c.o.Tracer), line...)
	}
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Stdout, cmd.Stderr = f, f
	cmd.SysProcAttr = childAttr()
	p := &process{name: name, cmd: cmd, log: logName, done: make(chan struct{})}
	err = startChild(cmd)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", program, err)
	}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	c.procs = append(c.procs, p)
	return p, nil
}

// running returns the process of a name, or nil.
func (c *Cafe) running(name string) *process {
	for _, p := range c.procs {
		if p.name == name {
			return p
		}
	}
	return nil
}

// Signal sends a signal to one of cloud, agent, router, by its process id.
func (c *Cafe) Signal(name string, s syscall.Signal) error {
	p := c.running(name)
	if p == nil {
		return fmt.Errorf("%s does not run", name)
	}
	return p.cmd.Process.Signal(s)
}

// Pid returns the process id of one of cloud, agent, router; 0 when it does not run.
func (c *Cafe) Pid(name string) int {
	if p := c.running(name); p != nil {
		return p.cmd.Process.Pid
	}
	return 0
}

// StopOne ends one program with SIGTERM, or SIGKILL, and waits for it.
func (c *Cafe) StopOne(name string, kill bool) error {
	p := c.running(name)
	if p == nil {
		return fmt.Errorf("%s does not run", name)
	}
	err := p.stop(kill)
	for i := range c.procs {
		if c.procs[i] == p {
			c.procs = append(c.procs[:i], c.procs[i+1:]...)
			break
		}
	}
	return err
}

func (p *process) stop(kill bool) error {
	sig := syscall.SIGTERM
	if kill {
		sig = syscall.SIGKILL
	}
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-p.done:
		return nil
	case <-time.After(15 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.done
		return fmt.Errorf("%s did not stop within 15 s and was killed; its log is %s", p.name, p.log)
	}
}

// Stop ends everything, the newest first.
func (c *Cafe) Stop() error {
	errs := []error{c.notReady()}
	for i := len(c.procs) - 1; i >= 0; i-- {
		errs = append(errs, c.procs[i].stop(false))
	}
	c.procs = nil
	return errors.Join(errs...)
}

// Wait returns when ctx ends, or with an error when a program ended by itself.
// From then on the cafe does not count as ready.
func (c *Cafe) Wait(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, c.notReady()) }()
	ended := make(chan *process, len(c.procs))
	for _, p := range c.procs {
		go func() {
			select {
			case <-p.done:
				ended <- p
			case <-ctx.Done():
			}
		}()
	}
	select {
	case <-ctx.Done():
		return nil
	case p := <-ended:
		return fmt.Errorf("the %s ended by itself: %v; the end of %s:\n%s", p.name, p.err, p.log, tail(p.log))
	}
}

// tail returns the last lines of a log.
func tail(name string) string {
	b, err := os.ReadFile(name)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-15):], "\n")
}

// until asks ok every few milliseconds; it gives up after the time, or when the
// process it waits for ends.
func (c *Cafe) until(ctx context.Context, p *process, limit time.Duration, ok func(context.Context) (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	t := time.NewTicker(20 * time.Millisecond)
	defer t.Stop()
	var last error
	for {
		done, err := ok(ctx)
		if done {
			return nil
		}
		if err != nil && ctx.Err() == nil {
			last = err
		}
		select {
		case <-t.C:
		case <-p.done:
			return fmt.Errorf("it ended: %v; the end of its log:\n%s", p.err, tail(p.log))
		case <-ctx.Done():
			return fmt.Errorf("not after %s (%w); the end of its log:\n%s", limit, errors.Join(ctx.Err(), last), tail(p.log))
		}
	}
}

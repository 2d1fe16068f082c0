package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// process is a program that runs until it is stopped.
type process struct {
	cmd  *exec.Cmd
	log  string // file with what it says
	done chan struct{}
	err  error // of its end; valid once done is closed
}

// start runs a program. It dies with the thread that started it, so Run keeps to
// one thread for the life of this program.
func start(log string, cred *syscall.Credential, env []string, name string, args ...string) (*process, error) {
	f, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	p := &process{cmd: exec.Command(name, args...), log: log, done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = f, f
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true, Credential: cred}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// stop ends the process with a signal and waits for it.
func (p *process) stop(sig syscall.Signal) error {
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-p.done:
		return nil
	case <-time.After(20 * time.Second):
		err := p.cmd.Process.Kill()
		<-p.done
		return errors.Join(fmt.Errorf("%s did not stop within 20 s and was killed", p.cmd.Path), err)
	}
}

// until asks ok every few milliseconds until it says yes, the time is up, or the
// process ends.
func (p *process) until(ctx context.Context, limit time.Duration, ok func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	t := time.NewTicker(5 * time.Millisecond)
	defer t.Stop()
	for !ok() {
		select {
		case <-t.C:
		case <-p.done:
			return fmt.Errorf("%s ended: %v; the end of what it said:\n%s", p.cmd.Path, p.err, tail(p.log))
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready after %s; the end of what it said:\n%s", p.cmd.Path, limit, tail(p.log))
		}
	}
	return nil
}

func tail(name string) string {
	b, err := os.ReadFile(name)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-10):], "\n")
}

// freePorts returns UDP ports of 127.0.0.1 that nobody held a moment ago.
func freePorts(n int) ([]netip.AddrPort, error) {
	var out []netip.AddrPort
	for range n {
		c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			return nil, err
		}
		defer c.Close() // held until all are found, so that no two meet
		out = append(out, c.LocalAddr().(*net.UDPAddr).AddrPort())
	}
	return out, nil
}

// find returns the path of a program, or what to install.
func find(name, pkg string) (string, error) {
	for _, candidate := range []string{name, "/usr/sbin/" + name} {
		if p, err := exec.LookPath(candidate); err == nil {
			return p, nil
		}
	}
	return "", fmt.Errorf("%s is missing: apt-get install %s", name, pkg)
}

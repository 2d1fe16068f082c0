package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"iwas/internal/radload"
)

// agent is our own, as it is shipped: its one program, not enrolled, which serves
// a cafe on its own.
type agent struct {
	programs   Programs
	normal     bool // commit without syncing: only the program with tag e2e can
	doors      []netip.AddrPort
	proc       *process
	dir, state string
	crowd      *radload.Crowd
	firstReply time.Duration // process start → first answer
}

func (a *agent) Name() string                       { return "iwas-agent" }
func (a *agent) Doors() (auth, acct netip.AddrPort) { return a.doors[0], a.doors[1] }
func (a *agent) PIDs() []int                        { return []int{a.proc.pid()} }
func (a *agent) Stop(sig syscall.Signal) error      { return a.proc.stop(sig) }

func (a *agent) Start(ctx context.Context, dir string, accounts int) error {
	if err := a.Prepare(ctx, dir, filepath.Join(dir, "state"), accounts); err != nil {
		return err
	}
	// What was prepared is on the disk before the start is waited for: a slow one
	// would still be writing it.
	if err := exec.CommandContext(ctx, "sync", "-f", dir).Run(); err != nil {
		return err
	}
	return a.Restart(ctx)
}

// Prepare writes configuration and store; the store goes below state.
func (a *agent) Prepare(ctx context.Context, dir, state string, accounts int) (err error) {
	a.dir, a.state, a.crowd = dir, state, radload.NewCrowd(1, account)
	if a.doors, err = freePorts(2); err != nil {
		return err
	}
	page, err := freeTCP()
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "secret"), []byte(sharedSecret+"\n"), 0o600); err != nil {
		return err
	}
	config := fmt.Sprintf("version = 1\nstate_dir = %q\n[radius]\nauth = [%q]\nacct = [%q]\n[status]\nlisten = %q\n[[nas]]\nid = \"router\"\nname = \"MikroTik\"\naddress = \"127.0.0.1\"\nsecret_file = \"secret\"\nmessage_authenticator = \"require\"\n",
		state, a.doors[0], a.doors[1], page)
	if err := os.WriteFile(filepath.Join(dir, "agent.toml"), []byte(config), 0o600); err != nil {
		return err
	}
	return pipe(exec.CommandContext(ctx, a.programs.Fill, "accounts", state, fmt.Sprint(accounts)), nil)
}

// Restart starts the agent on the store that is there.
func (a *agent) Restart(ctx context.Context) (err error) {
	program, env := a.programs.Agent, []string(nil)
	if a.normal {
		program, env = a.programs.TestAgent, []string{"IWAS_E2E_SYNCHRONOUS=NORMAL"}
	}
	began := time.Now()
	if a.proc, err = start(filepath.Join(a.dir, "agent.log"), nil, env, program, "--config", filepath.Join(a.dir, "agent.toml"), "run"); err != nil {
		return err
	}
	if err := a.proc.until(ctx, 60*time.Second, func() bool { a.crowd.Rewind(); return answers(ctx, a, a.crowd) }); err != nil {
		return errors.Join(err, a.Stop(syscall.SIGKILL))
	}
	a.firstReply = time.Since(began)
	return nil
}

// freeTCP returns a TCP port of 127.0.0.1 that nobody held a moment ago.
func freeTCP() (string, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

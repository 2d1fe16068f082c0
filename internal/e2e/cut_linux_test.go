package e2e

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"iwas/internal/demo"
)

// aloneVar says that this process is the one without a network.
const aloneVar = "IWAS_E2E_ALONE"

// The cafe with its network cut off before anything was started: this program runs
// again where there is loopback and nothing else, as the box and the router on one
// desk, and sells, lets in, limits, ends, locks and puts off.
func TestTheCounterWithTheNetworkCutFromTheStart(t *testing.T) {
	if os.Getenv(aloneVar) != "" {
		cutOff(t)
		return
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=5m")
	cmd.Env = append(os.Environ(), binVar+"="+bin, aloneVar+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if id := os.Getuid(); id != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: id, Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("%v\n%s", err, out)
	}
}

// cutOff is the walk, in the namespace.
func cutOff(t *testing.T) {
	loopbackUp(t)
	all, err := net.Interfaces()
	if err != nil || len(all) != 1 || all[0].Flags&net.FlagLoopback == 0 {
		t.Fatalf("%v, %v: want loopback alone", all, err)
	}
	if _, err := net.Dial("tcp", "192.0.2.1:443"); !errors.Is(err, syscall.ENETUNREACH) {
		t.Fatalf("a way out of here: %v", err)
	}
	c := open(t, func(o *demo.Options) { o.Alone = true })
	if _, err := os.Stat(filepath.Join(c.Dir(), "agent", "identity", "identity.json")); !os.IsNotExist(err) {
		t.Fatalf("this box was enrolled: %v", err)
	}
	voucher, _ := sellsAlone(t, c)
	if g := guest(t, c, phone); !g.Online {
		t.Errorf("the guest of %s is off", voucher.Name)
	}
	out, err := exec.CommandContext(t.Context(), filepath.Join(bin, "iwas-agent"), "--config", c.AgentConfig(), "status").CombinedOutput()
	if err != nil || !strings.Contains(string(out), canLogIn) {
		t.Errorf("status: %v\n%s", err, out)
	}
	var sold counterSales
	if agentSays(t, c, &sold, "sales"); len(sold.Sales) != 3 {
		t.Errorf("%d sales, want the voucher, the short one and the guest who was locked: %+v", len(sold.Sales), sold.Sales)
	}
}

func loopbackUp(t *testing.T) {
	t.Helper()
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(s)
	lo, err := unix.NewIfreq("lo")
	if err == nil {
		lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING | unix.IFF_LOOPBACK)
		err = unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, lo)
	}
	if err != nil {
		t.Fatalf("bring loopback up: %v", err)
	}
}

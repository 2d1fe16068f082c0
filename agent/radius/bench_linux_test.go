package radius

import (
	"context"
	"crypto/md5"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"iwas/internal/hotspot"
)

// loadEnv makes the test binary a load generator: "ADDR REQUESTS", and "echo" if
// what comes back is the request itself.
const loadEnv = "IWAS_TEST_RADIUS_LOAD"

const (
	loadSockets     = 8
	loadOutstanding = 32 // on each socket
)

// load asks for REQUESTS logins, each with an authenticator of its own, and
// asks again for what is not answered within a second. It ends once all are.
func load(job string) {
	addr, rest, _ := strings.Cut(job, " ")
	count, how, _ := strings.Cut(rest, " ")
	requests, err := strconv.Atoi(count)
	if err != nil {
		panic(err)
	}
	var all sync.WaitGroup
	for i := range loadSockets {
		n := requests / loadSockets
		if i == 0 {
			n += requests % loadSockets
		}
		all.Go(func() { loadOne(addr, n, how == "echo") })
	}
	all.Wait()
}

func loadOne(addr string, n int, echo bool) {
	c, err := net.Dial("udp", addr)
	if err != nil {
		panic(err)
	}
	defer c.Close()
	var slots [loadOutstanding][]byte
	sent := 0
	next := func(slot int) {
		slots[slot] = nil
		if sent == n {
			return
		}
		sent++
		slots[slot] = routerAccess(byte(slot))
		_, _ = c.Write(slots[slot])
	}
	for i := range slots {
		next(i)
	}
	buf := make([]byte, 4096)
	for left := n; left > 0; {
		_ = c.SetReadDeadline(time.Now().Add(time.Second))
		got, err := c.Read(buf)
		if err != nil {
			for _, b := range slots {
				if b != nil {
					_, _ = c.Write(b)
				}
			}
			continue
		}
		slot := int(buf[1])
		if got < headerLen || slot >= len(slots) || slots[slot] == nil || !echo && !answers(buf[:got], slots[slot]) {
			continue // a late second answer
		}
		left--
		next(slot)
	}
}

// answers holds a reply's Response Authenticator against the request.
func answers(reply, request []byte) bool {
	h := md5.New()
	h.Write(reply[:4])
	h.Write(request[4:20])
	h.Write(reply[20:])
	h.Write([]byte(testSecret))
	return string(h.Sum(nil)) == string(reply[4:20])
}

// yes lets everybody in at once: what is measured is this package.
type yes struct{ verdict hotspot.Verdict }

func (y yes) Refuse(context.Context, hotspot.Reason) hotspot.Verdict { return hotspot.Verdict{} }
func (y yes) Authorize(context.Context, hotspot.Request) (hotspot.Verdict, error) {
	return y.verdict, nil
}
func (yes) Account(context.Context, hotspot.Accounting) error { return nil }

// BenchmarkServer measures what one login costs this process, system calls
// included; the generator is a process of its own. "echo" is the floor: a loop
// that reads and writes in Go and does nothing else.
func BenchmarkServer(b *testing.B) {
	b.Run("echo", func(b *testing.B) { measure(b, echo(b), " echo") })
	for _, listen := range []string{"127.0.0.1:0", "0.0.0.0:0"} {
		b.Run(strings.TrimSuffix(listen, ":0"), func(b *testing.B) {
			s := newServer(b, nil, func(s *Server) {
				s.Auth, s.Decider, s.Accountant = []string{listen}, yes{grant()}, yes{}
			})
			measure(b, s.AuthAddr().Port(), "")
		})
	}
}

// echo sends every datagram back.
func echo(b *testing.B) uint16 {
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		b.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, maxPacket)
		for {
			n, from, err := c.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			_, _ = c.WriteToUDPAddrPort(buf[:n], from)
		}
	}()
	b.Cleanup(func() { c.Close(); <-done })
	return c.LocalAddr().(*net.UDPAddr).AddrPort().Port()
}

// measure has a generator ask b.N times.
func measure(b *testing.B, port uint16, how string) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=127.0.0.1:%d %d%s", loadEnv, port, b.N, how))
	cmd.Stderr = os.Stderr
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	cpu := cpuTime()
	b.ResetTimer()
	if err := cmd.Run(); err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	cpu = cpuTime() - cpu
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "req/s")
	b.ReportMetric(float64(cpu.Nanoseconds())/float64(b.N)/1000, "cpu-µs/req")
	b.ReportMetric(float64(after.Mallocs-before.Mallocs)/float64(b.N), "allocs/req")
	b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc)/float64(b.N), "B/req")
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"iwas/internal/demo"
	"iwas/internal/routersim"
	"iwas/internal/webui/webuitest"
)

// BenchmarkTheBox measures a quiet hour on the mini-PC, with 10,000 guests known and
// 200 of them online and reported of, and what a technician waits for.
func BenchmarkTheBox(b *testing.B) {
	const known, online, settled, idle = 10_000, 200, 75 * time.Second, time.Minute
	ports, err := demo.FreePorts()
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	b.Cleanup(stop)
	c, err := demo.Start(ctx, demo.Options{Dir: b.TempDir(), Bin: bin, Ports: ports, Alone: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := c.Stop(); err != nil {
			b.Error(err)
		}
	})
	fill := filepath.Join(b.TempDir(), "fill")
	if err := compile(fill, "iwas/agent/store/fill"); err != nil {
		b.Fatal(err)
	}
	if out, err := exec.Command(fill, "accounts", filepath.Join(c.Dir(), "agent"), fmt.Sprint(known)).CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	began := time.Now()
	if err := c.StartAgent(ctx); err != nil {
		b.Fatal(err)
	}
	for i := range online {
		mac := fmt.Sprintf("02:00:00:01:%02X:%02X", i>>8, i&255)
		for _, step := range []struct {
			name string
			body any
		}{
			{"arrive", map[string]string{}},
			{"login", routersim.Login{Method: "http-chap", Username: fmt.Sprintf("u%07d", i), Password: fmt.Sprintf("p%07d", i)}},
			{"use", map[string]int{"Upload": 1000, "Download": 9000, "Connections": 5}},
		} {
			if err := c.Control(ctx, http.MethodPost, "/guests/"+mac+"/"+step.name, step.body, nil); err != nil {
				b.Fatalf("guest %d, %s: %v", i, step.name, err)
			}
		}
	}
	time.Sleep(time.Until(began.Add(settled))) // what follows a start and a login is over: the check of the whole file, and its first copy
	before := busy(b, c.Pid("agent"))
	time.Sleep(idle) // what is measured is a time in which nobody does anything
	spent := busy(b, c.Pid("agent")) - before
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.Pid("agent")))
	if err != nil {
		b.Fatal(err)
	}
	resident := regexp.MustCompile(`VmRSS:\s+(\d+) kB`).FindSubmatch(status)
	if resident == nil {
		b.Fatal("the system does not say what is resident")
	}
	fmt.Printf("   %d guests known, %d online: %.2f %% of a core (target: under 1), %s kB resident (target: under 40,000)\n",
		known, online, 100*spent.Seconds()/idle.Seconds(), resident[1])

	var took []time.Duration
	for range 20 {
		began := time.Now()
		if out, err := exec.Command(filepath.Join(bin, "iwas-agent"), "--config", c.AgentConfig(), "status").CombinedOutput(); err != nil {
			b.Fatalf("%v\n%s", err, out)
		}
		took = append(took, time.Since(began))
	}
	quantiles(b, "iwas-agent status (target: 100 ms)", took)

	tab := webuitest.Start(b).Open(b, strings.TrimSuffix(c.StatusURL, "/"), nil)
	for range 3 { // a browser that has just been started is busy with itself
		tab.Visit(b, "/help/")
	}
	var paints []time.Duration
	for range 10 {
		tab.Visit(b, "/")
		var ms float64
		tab.Do(b, "read the first paint", chromedp.Poll(`performance.getEntriesByName("first-contentful-paint")[0]?.startTime`, &ms))
		paints = append(paints, time.Duration(ms*float64(time.Millisecond)))
	}
	quantiles(b, "status page, first paint (target: 300 ms)", paints)
}

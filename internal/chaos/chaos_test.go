// Package chaos throws faults at whole cafes, built binaries all of them, and
// then holds what the agents know against what the cloud knows: programs killed
// and stopped, lines cut and meddled with, disks full, databases put back from
// backups. It has no code of its own but its tests.
package chaos

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	seedFlag   = flag.Uint64("seed", 0, "play the faults of this seed; 0 draws one and prints it")
	faultsFlag = flag.Int("faults", 34, "how many faults to play, each kind at least twice")
	siteFlag   = flag.Int("sites", 2, "sites of the cloud")
)

var bin string // folder of the built binaries

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(build(m))
}

func build(m *testing.M) int {
	dir, err := os.MkdirTemp("", "iwas-chaos-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	bin = dir
	for out, pkg := range map[string]string{"iwas-agent": "iwas/agent", "iwas-cloud": "iwas/cloud", "routersim": "iwas/internal/routersim/cmd/routersim"} {
		cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", filepath.Join(dir, out), pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if b, err := cmd.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build %s: %v\n%s", pkg, err, b)
			return 1
		}
	}
	return m.Run()
}

// seed returns the seed of a run, and prints how to play it again.
func seed(t *testing.T) uint64 {
	t.Helper()
	s := *seedFlag
	if s == 0 {
		s = rand.Uint64N(1_000_000)
	}
	t.Logf("again: go test ./internal/chaos -run '^%s$' -seed %d -faults %d", t.Name(), s, *faultsFlag)
	return s
}

// TestBothSidesAgreeAfterEveryFault: agents and cloud know the same, each thing
// once, whatever happened to programs, disks, lines and databases meanwhile.
func TestBothSidesAgreeAfterEveryFault(t *testing.T) {
	t.Parallel() // most of it is waiting
	c := openCafes(t, seed(t), shape{sites: *siteFlag})
	c.play(*faultsFlag)
	if !t.Failed() {
		c.judgeCanSayNo()
	}
}

// TestBothSidesAgreeWithMosquittoAndPostgreSQL: the same for a cloud that grew, with
// a broker that forgets all when it is killed. Going back to a backup is SQLite's
// matter here.
func TestBothSidesAgreeWithMosquittoAndPostgreSQL(t *testing.T) {
	mosquitto := startBroker(t) // before others run: they could take its port between choosing and listening
	t.Parallel()
	c := openCafes(t, seed(t), shape{sites: 1, database: startPostgres(t), broker: mosquitto})
	c.play(18)
}

// play lets guests and staff live, throws n faults at them, and judges.
func (c *cafes) play(n int) {
	c.Helper()
	began := time.Now()
	ctx, stop := context.WithCancel(c.Context())
	defer stop()
	var living sync.WaitGroup
	dice := rand.New(rand.NewPCG(c.seed, 1))
	for i := range c.sites {
		c.letGuestsIn(i, dice)
		c.letCountedGuestIn(i)
		living.Go(func() {
			if err := c.report(ctx, i); err != nil {
				c.Errorf("RADIUS load at site %d: %v", i, err)
			}
		})
	}
	for i := range c.sites {
		living.Go(func() { c.commandCounted(ctx, i) })
	}
	living.Go(func() { c.staff(ctx, rand.New(rand.NewPCG(c.seed, 2))) })
	if err := c.backUp(dice); err != nil {
		c.Fatal(err)
	}
	played := c.throw(n)
	stop()
	living.Wait()
	c.relay.heal()
	limit := 150 * time.Second // a lost hello comes again after a minute
	if c.Failed() {
		limit = 5 * time.Second // to see more of it, not to wait for what cannot come
	} else {
		c.countOnceMore()
	}
	c.sendGuestsHome()
	c.lastKicks()
	thrown := time.Since(began)
	rulings := c.settle(limit)
	c.Logf("%d faults in %v: %s", total(played), thrown.Round(time.Second), counted(played))
	c.Logf("meddled with: up %s, down %s", c.relay.up.String(), c.relay.down.String())
	c.Logf("staff: %s", counted(c.did))
	for i, r := range rulings {
		records := 0
		if c.load[i] != nil {
			records = c.load[i].Answered
		}
		c.Logf("site %d: %s; %d lives ended with a restore, %d events lost with them and named by a gap; %d RADIUS requests of the load answered",
			i, counted(r.counts), len(c.former[i]), r.lost, records)
	}
	for i, r := range rulings {
		for _, f := range r.forgiven {
			c.Logf("site %d, forgiven: %s", i, f)
		}
		if n := len(r.echoes); n > 0 {
			c.Logf("site %d: %d facts are as a life told them that a restore ended, such as %s", i, n, r.echoes[0])
		}
		for _, e := range r.echoes {
			if strings.HasPrefix(e, "grant") || strings.HasPrefix(e, "document") || strings.HasPrefix(e, "lock") {
				c.Logf("site %d: %s", i, e)
			}
		}
	}
	for kind, times := range played {
		if times < 2 {
			c.Errorf("%q was played %d times, want at least twice", kind, times)
		}
	}
}

func (l *lane) String() string {
	return fmt.Sprintf("%d lost, %d twice, %d changed places, %d cut short, %d torn", l.dropped.Load(), l.doubled.Load(), l.swapped.Load(), l.truncated.Load(), l.torn.Load())
}

func total(m map[string]int) (n int) {
	for _, v := range m {
		n += v
	}
	return n
}

// schedule draws n faults, each kind at least twice.
func schedule(kinds []fault, n int, dice *rand.Rand) []fault {
	var all []fault
	for range 2 {
		all = append(all, kinds...)
	}
	for len(all) < n {
		all = append(all, kinds[dice.IntN(len(kinds))])
	}
	dice.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

// throw plays the faults of machines one after the other, and those of the line
// beside them.
func (c *cafes) throw(n int) map[string]int {
	machines, network := c.machines(), c.network()
	share := n * len(machines) / (len(machines) + len(network))
	var mu sync.Mutex
	played := map[string]int{}
	var both sync.WaitGroup
	run := func(stream uint64, all []fault, dice *rand.Rand, between func(k int)) {
		for k, f := range all {
			if c.Failed() {
				return
			}
			at := time.Now()
			if err := f.happen(c, dice); err != nil {
				c.Errorf("fault %d of %d, %s: %v", stream, k, f.name, err)
				return
			}
			c.Logf("%s: %s, over after %v", at.UTC().Format("15:04:05.000"), f.name, time.Since(at).Round(time.Millisecond))
			mu.Lock()
			played[f.name]++
			mu.Unlock()
			between(k)
		}
	}
	both.Go(func() {
		dice := rand.New(rand.NewPCG(c.seed, 3))
		run(3, schedule(machines, share, dice), dice, func(k int) {
			rest(200+dice.IntN(900), "time to recover, or not quite")
			if k%4 == 3 {
				if err := c.backUp(dice); err != nil {
					c.Errorf("backup: %v", err)
				}
			}
		})
	})
	both.Go(func() {
		dice := rand.New(rand.NewPCG(c.seed, 4))
		run(4, schedule(network, n-share, dice), dice, func(int) { rest(100+dice.IntN(600), "the line is well again") })
	})
	both.Wait()
	return played
}

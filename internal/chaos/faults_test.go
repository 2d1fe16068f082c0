package chaos

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// fault is one kind of mishap. It happens, and is over when happen returns, but
// for what it leaves behind.
type fault struct {
	name   string
	happen func(c *cafes, dice *rand.Rand) error
}

// machines are faults of programs and disks: one at a time. network is what
// happens to the line meanwhile.
func (c *cafes) machines() []fault {
	all := []fault{
		{"kill -9 of an agent", func(c *cafes, d *rand.Rand) error { return c.kill(d.IntN(len(c.sites)), d) }},
		{"kill -9 of the cloud", func(c *cafes, d *rand.Rand) error { return c.killCloud(d) }},
		{"an agent stands still", func(c *cafes, d *rand.Rand) error {
			return freeze(c.sites[d.IntN(len(c.sites))].Signal, "agent", d)
		}},
		{"the cloud stands still", func(c *cafes, d *rand.Rand) error { return freeze(c.cloud().Signal, "cloud", d) }},
		{"an agent restored from a backup", func(c *cafes, d *rand.Rand) error { return c.restoreAgent(d.IntN(len(c.sites)), d) }},
	}
	if !c.postgres() {
		all = append(all,
			fault{"the cloud restored from a backup", func(c *cafes, d *rand.Rand) error { return c.restoreCloud(d) }},
			fault{"agent and cloud restored from backups", func(c *cafes, d *rand.Rand) error {
				return errors.Join(c.restoreAgent(d.IntN(len(c.sites)), d), c.restoreCloud(d))
			}})
	}
	for _, dir := range slices.Sorted(maps.Keys(c.disks)) {
		small := c.disks[dir]
		if small && !(c.postgres() && filepath.Base(dir) == "cloud") { // its database is elsewhere
			all = append(all, fault{"the " + filepath.Base(dir) + "'s disk is full", func(_ *cafes, d *rand.Rand) error { return fill(dir, d) }})
		}
	}
	if c.broker != nil {
		all = append(all, fault{"kill -9 of the broker, which forgets all", func(c *cafes, d *rand.Rand) error { return c.broker.kill(c.T, d) }},
			fault{"the broker stands still", func(c *cafes, d *rand.Rand) error { return freeze(c.broker.signal, "mosquitto", d) }})
	}
	return all
}

func (c *cafes) network() []fault {
	one := func(name string, of func(*relay) *lane, change func(*harm, *rand.Rand)) fault {
		return fault{name, func(c *cafes, d *rand.Rand) error {
			l := of(c.relay)
			l.set(func(h *harm) { *h = harm{}; change(h, d) })
			rest(500+d.IntN(2500), "the fault lasts so long")
			l.set(func(h *harm) { *h = harm{} })
			return nil
		}}
	}
	up, down := func(r *relay) *lane { return &r.up }, func(r *relay) *lane { return &r.down }
	all := []fault{{"every connection cut", func(c *cafes, _ *rand.Rand) error { c.relay.cut(); return nil }}}
	for _, way := range []struct {
		name string
		of   func(*relay) *lane
	}{{"up", up}, {"down", down}} {
		name, of := way.name, way.of
		all = append(all,
			one("nothing passes "+name, of, func(h *harm, _ *rand.Rand) { h.stall = true }),
			one("messages lost on the way "+name, of, func(h *harm, _ *rand.Rand) { h.drop = 0.5 }),
			one("a slow line "+name, of, func(h *harm, d *rand.Rand) { h.delay = time.Duration(20+d.IntN(200)) * time.Millisecond }))
	}
	both := func(name string, change func(*harm)) fault {
		return fault{name, func(c *cafes, d *rand.Rand) error {
			for _, l := range []*lane{&c.relay.up, &c.relay.down} {
				l.set(func(h *harm) { *h = harm{}; change(h) })
			}
			rest(500+d.IntN(2500), "the fault lasts so long")
			c.relay.heal()
			return nil
		}}
	}
	return append(all,
		both("messages come twice", func(h *harm) { h.twice = 0.5 }),
		both("messages change places", func(h *harm) { h.swap = 0.5 }),
		both("messages cut short", func(h *harm) { h.truncate = 0.7 }),
		both("the line breaks inside a message", func(h *harm) { h.tear = 0.3 }))
}

// rest is a pause that is part of a fault, or between two.
func rest(ms int, _ string) { time.Sleep(time.Duration(ms) * time.Millisecond) }

func (c *cafes) kill(i int, dice *rand.Rand) error {
	if err := c.sites[i].StopOne("agent", true); err != nil {
		return err
	}
	rest(dice.IntN(800), "the box is without power")
	return c.sites[i].StartAgent(c.Context())
}

func (c *cafes) killCloud(dice *rand.Rand) error {
	if err := c.cloud().StopOne("cloud", true); err != nil {
		return err
	}
	rest(dice.IntN(1500), "the cloud is away")
	return c.cloud().StartCloud(c.Context())
}

func freeze(signal func(string, syscall.Signal) error, program string, dice *rand.Rand) error {
	if err := signal(program, syscall.SIGSTOP); err != nil {
		return err
	}
	rest(300+dice.IntN(2700), "the program stands still")
	return signal(program, syscall.SIGCONT)
}

// fill leaves no octet free on a disk, and after a while all of it again.
func fill(dir string, dice *rand.Rand) error {
	ballast := filepath.Join(dir, "ballast")
	f, err := os.Create(ballast)
	if err != nil {
		return err
	}
	block := make([]byte, 64<<10)
	take := func() error {
		for size := len(block); size > 0; {
			if _, err := f.Write(block[:size]); errors.Is(err, syscall.ENOSPC) {
				size /= 2
			} else if err != nil {
				return err
			}
		}
		return nil
	}
	err = take()
	for n := 10 + dice.IntN(15); n > 0 && err == nil; n-- {
		rest(100, "the disk stays full")
		err = take() // also what is freed meanwhile
	}
	return errors.Join(err, f.Close(), os.Remove(ballast))
}

// backups are what a run can go back to, the oldest first.
type backups struct {
	n      int
	cloud  []string
	agents map[int][]string
}

// backUp makes a backup of the cloud and of one agent while they run.
func (c *cafes) backUp(dice *rand.Rand) error {
	b := &c.backups
	b.n++
	if b.agents == nil {
		b.agents = map[int][]string{}
	}
	for i := range c.sites {
		if b.n > 1 && dice.IntN(2) > 0 {
			continue
		}
		to := filepath.Join(c.dir, fmt.Sprintf("agent%d-%d.db", i, b.n))
		if err := vacuumInto(c.Context(), c.agentFile(i), to); err != nil {
			return err
		}
		b.agents[i] = append(b.agents[i], to)
	}
	to := filepath.Join(c.dir, fmt.Sprintf("cloud-%d.db", b.n))
	if c.postgres() {
		return nil // its backups are PostgreSQL's own matter
	}
	out, err := c.cloudCommand("backup", to)
	if err != nil {
		return fmt.Errorf("backup: %w\n%s", err, out)
	}
	b.cloud = append(b.cloud, to)
	return nil
}

func (c *cafes) postgres() bool { return strings.HasPrefix(c.database, "postgres:") }

func (c *cafes) cloudCommand(args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(c.Context(), time.Minute)
	defer cancel()
	return exec.CommandContext(ctx, filepath.Join(bin, "iwas-cloud"), append([]string{"--config", c.cloud().CloudConfig()}, args...)...).CombinedOutput()
}

func vacuumInto(ctx context.Context, from, to string) error {
	db, err := sql.Open("sqlite", "file:"+from+"?_pragma=busy_timeout(5000)")
	if err != nil {
		return err
	}
	defer db.Close()
	_, err = db.ExecContext(ctx, "VACUUM INTO ?", to)
	return err
}

// older chooses a backup, not the newest if there is an older.
func older(of []string, dice *rand.Rand) string { return of[dice.IntN(max(1, len(of)-1))] }

// restoreAgent puts an older database in an agent's place, as somebody does who
// copies files. What the agent knew until then is kept for the judge.
func (c *cafes) restoreAgent(i int, dice *rand.Rand) error {
	if err := c.sites[i].StopOne("agent", true); err != nil {
		return err
	}
	if err := c.putAgentBack(i, dice); err != nil {
		return err
	}
	return c.sites[i].StartAgent(c.Context())
}

func (c *cafes) putAgentBack(i int, dice *rand.Rand) error {
	c.files.Lock()
	defer c.files.Unlock()
	db, err := openFile(c.agentFile(i))
	if err != nil {
		return err
	}
	life, err := agentSide(c.Context(), db)
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	c.former[i] = append(c.former[i], life)
	from := older(c.backups.agents[i], dice)
	if db, err = openFile(from); err != nil {
		return err
	}
	kept, err := agentSide(c.Context(), db)
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	forget(c.undone[i], life.commands, kept.commands)
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	for _, log := range []string{"-wal", "-shm"} {
		if err := os.Remove(c.agentFile(i) + log); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return os.WriteFile(c.agentFile(i), b, 0o600)
}

// restoreCloud does what a person does: stop, restore, start.
func (c *cafes) restoreCloud(dice *rand.Rand) error {
	if err := c.cloud().StopOne("cloud", true); err != nil {
		return err
	}
	if err := c.putCloudBack(dice); err != nil {
		return err
	}
	return c.cloud().StartCloud(c.Context())
}

func (c *cafes) putCloudBack(dice *rand.Rand) error {
	c.files.Lock()
	defer c.files.Unlock()
	from := older(c.backups.cloud, dice)
	before, err := commandsIn(c.Context(), c.database)
	if err != nil {
		return err
	}
	kept, err := commandsIn(c.Context(), from)
	if err != nil {
		return err
	}
	for id := range before {
		if _, there := kept[id]; !there {
			c.lost[id] = true
		}
	}
	if out, err := c.cloudCommand("restore", from); err != nil {
		return fmt.Errorf("restore from %s: %w\n%s", from, err, out)
	}
	return nil
}

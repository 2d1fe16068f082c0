package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"iwas/agent/store"
	"iwas/agent/uplink"
	"iwas/internal/fault"
	"iwas/internal/ownership"
)

const (
	previousPackaged = "/usr/lib/iwas-agent/previous/iwas-agent"       // kept by the package's preinst
	previousLocal    = "/usr/local/lib/iwas-agent/previous/iwas-agent" // kept by install
	packagedProgram  = "/usr/bin/iwas-agent"
)

// rollback puts the program from before back, and the database where that one
// cannot read today's.
type rollback struct {
	keeper *linuxKeeper
	cfg    config
	wait   time.Duration // for what is unsent to reach the cloud
	alone  bool          // this box has no cloud: nobody to send to
	say    func(string)
	// waiting asks the running service how many facts the cloud does not have.
	waiting func(ctx context.Context) (n int64, running bool)
}

func rollbackCommand(o *options) *cobra.Command {
	var lose bool
	c := &cobra.Command{
		Use: "rollback", Short: "Put the version from before the last upgrade back", Args: cobra.NoArgs,
		Long: "Stops the service, puts the program back that the last upgrade replaced, and starts it. Where that one cannot read the\n" +
			"database of today, the copy made before the upgrade comes back too: what happened since is lost here then, so the\n" +
			"service first gets half a minute to send it to the cloud. The newer program and database are kept; running rollback\n" +
			"again puts the newer program back. The next upgrade of the package replaces it as usual (apt-mark hold iwas-agent).",
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := o.load(cmd)
			if err != nil {
				return err
			}
			k := &linuxKeeper{config: o.config, euid: os.Geteuid, run: runQuietly}
			var lines []string
			r := rollback{keeper: k, cfg: cfg, wait: 30 * time.Second, say: func(l string) { lines = append(lines, l) }, waiting: cfg.unsent}
			_, err = uplink.LoadIdentity(cfg.StateDir)
			r.alone = fault.Is(err, fault.NotFound)
			if err := r.do(cmd.Context(), lose); err != nil {
				return err
			}
			return sayDone(cmd, o, lines...)
		},
	}
	c.Flags().BoolVar(&lose, "lose-unsent", false, "go on although what happened since the upgrade has not reached the cloud")
	return c
}

// version is what a program says of itself: `version --json`.
type programVersion struct {
	Version string `json:"version"`
	Schema  int    `json:"schema"` // of databases; 0 where the program does not say
}

func (r *rollback) do(ctx context.Context, lose bool) error {
	if r.keeper.euid() != 0 {
		return notRoot("rollback")
	}
	program, previous := installedProgram, previousLocal
	if _, err := os.Stat(r.keeper.at(previousPackaged)); err == nil {
		program, previous = packagedProgram, previousPackaged
	}
	body, err := os.ReadFile(r.keeper.at(previous))
	if errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.NotFound, "no program from before an upgrade is kept on this box", nil).WithCode("UPD-105", "Install the older version by its package: apt install iwas-agent=VERSION --allow-downgrades")
	}
	if err != nil {
		return err
	}
	older, err := r.versionOf(ctx, previous)
	if err != nil {
		return err
	}
	db := filepath.Join(r.cfg.StateDir, "iwas.db")
	have, err := store.FileSchema(ctx, db)
	if err != nil {
		return err
	}
	putBack := older.Schema > 0 && have > older.Schema
	if putBack && !lose {
		if err := r.send(ctx); err != nil {
			return err
		}
	}
	if _, err := r.keeper.run(ctx, "systemctl", "stop", serviceName); err != nil {
		return fault.New(fault.Unavailable, "stop the service", err).WithCode("SYS-132", "See systemctl status iwas-agent.")
	}
	if putBack {
		aside, err := store.PutBackSchema(ctx, db, older.Schema)
		if err != nil {
			return errors.Join(err, r.start(ctx))
		}
		r.say(fmt.Sprintf("The database from before the upgrade is back; the newer one is kept as %s.", aside))
	}
	if err := r.swap(program, previous, body); err != nil {
		return errors.Join(err, r.start(ctx))
	}
	if err := errors.Join(ownership.Settle(r.cfg.StateDir), r.start(ctx)); err != nil {
		return err
	}
	r.say("iwas-agent is " + older.Version + " again, and runs.\nNext: iwas-agent status. To keep the next upgrade away: sudo apt-mark hold iwas-agent")
	return nil
}

func (r *rollback) versionOf(ctx context.Context, program string) (v programVersion, err error) {
	out, err := r.keeper.run(ctx, r.keeper.at(program), "version", "--json")
	if err == nil {
		err = json.Unmarshal([]byte(out), &v)
	}
	if err != nil {
		return v, fault.New(fault.Damaged, "the program kept from before does not run", err).WithCode("UPD-105", "Install the older version by its package: apt install iwas-agent=VERSION --allow-downgrades")
	}
	return v, nil
}

// send gives the running service time to send what the cloud does not have.
func (r *rollback) send(ctx context.Context) error {
	if r.alone {
		return fault.New(fault.Conflict, "the older version cannot read the database of today, and no cloud has what happened since the upgrade", nil).
			WithCode("UPD-106", "Take a copy of today first (iwas-agent backup), then accept the loss: iwas-agent rollback --lose-unsent")
	}
	ctx, cancel := context.WithTimeout(ctx, r.wait)
	defer cancel()
	for {
		n, running := r.waiting(ctx)
		if running && n == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
		case <-time.After(min(time.Second, r.wait/10)):
			if running {
				continue
			}
		}
		text := fmt.Sprintf("%d facts since the upgrade have not reached the cloud, and the older version cannot read them", n)
		if !running {
			text = "the service does not run, so what happened since the upgrade cannot be sent, and the older version cannot read it"
		}
		return fault.New(fault.Conflict, text, nil).WithCode("UPD-106", "Bring the cloud back and try again, or accept the loss: iwas-agent rollback --lose-unsent")
	}
}

// swap exchanges the program and the one from before, so that a second rollback
// undoes the first.
func (r *rollback) swap(program, previous string, body []byte) error {
	now, err := os.ReadFile(r.keeper.at(program))
	if err != nil {
		return err
	}
	if bytes.Equal(now, body) {
		return nil
	}
	if err := replaceFile(r.keeper.at(program), body, 0o755); err != nil {
		return err
	}
	return replaceFile(r.keeper.at(previous), now, 0o755)
}

func (r *rollback) start(ctx context.Context) error {
	_, err := r.keeper.run(ctx, "systemctl", "start", serviceName)
	return err
}

// unsent asks the status page of the service.
func (c config) unsent(ctx context.Context) (n int64, running bool) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.Status.Listen+"/status.json", nil)
	if err != nil {
		return 0, false
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, false
	}
	defer res.Body.Close()
	var s struct {
		Outbox struct {
			Waiting int64 `json:"waiting"`
		} `json:"outbox"`
		Store struct {
			Open bool `json:"open"`
		} `json:"store"`
	}
	if err := json.NewDecoder(res.Body).Decode(&s); err != nil {
		return 0, false
	}
	return s.Outbox.Waiting, s.Store.Open
}

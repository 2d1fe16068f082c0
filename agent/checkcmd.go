package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"iwas/agent/statuspage"
	"iwas/agent/uplink"
	"iwas/internal/condition"
	"iwas/internal/fault"
	"iwas/internal/routeros"
)

func checkCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "check [AREA...]", Short: "Check everything this box depends on", ValidArgs: areas,
		Long: "Looks at the service, the clock, the network, the way to the cloud, the database, RADIUS and every router,\n" +
			"side by side and within 15 seconds. Each row that is not OK says why, what to do, and what to paste. It changes\n" +
			"nothing that lasts, and works with the service stopped: then it looks by itself and knows less.\n\n" +
			"Areas: " + strings.Join(areas, ", ") + ". Without one it looks at all of them.\n\n" +
			"Exit code: 0 nothing failed, 4 something did.",
		Example: "  iwas-agent check\n  iwas-agent check cloud\n  iwas-agent check radius router --json",
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := o.load(cmd)
			if err != nil {
				return err
			}
			for _, a := range args {
				if !slices.Contains(areas, a) {
					return &exitError{exitUsage, fmt.Errorf("there is no area %q; there are %s", a, strings.Join(areas, ", "))}
				}
			}
			return runBoxCheck(cmd, o, cfg, args)
		},
	}
}

func runBoxCheck(cmd *cobra.Command, o *options, cfg config, wanted []string) error {
	b := boxChecker{cfg: cfg}
	b.told, b.why = reportOf(cmd.Context(), cfg)
	paces := map[string]*routeros.Pace{}
	for _, n := range cfg.NAS {
		paces[n.ID] = new(routeros.Pace)
	}
	if talk := cmd.ErrOrStderr(); isTerminal(talk) {
		fmt.Fprint(talk, "Looking, for at most 15 seconds … ")
	}
	r := b.run(cmd.Context(), wanted, paces)
	if talk := cmd.ErrOrStderr(); isTerminal(talk) { // the answer begins on a clean line
		fmt.Fprintf(talk, "\r%-34s\r", "")
	}
	var err error
	if o.json {
		err = printJSON(cmd, r)
	} else {
		printBoxCheck(cmd.OutOrStdout(), r, o.colours(cmd.OutOrStdout()))
	}
	for _, p := range paces {
		drain(cmd, p)
	}
	if err == nil && r.State == condition.Fail {
		err = &exitError{exitFindings, fmt.Errorf("%d of %d rows failed", r.Count(condition.Fail), len(r.Rows))}
	}
	return err
}

// printBoxCheck is the check for people: a sentence, what to do, and a table an area.
func printBoxCheck(w io.Writer, r condition.CheckReport, colour bool) {
	summary{sentence(r.Verdict), tally(r.Count), r.Took, stepsOf(r.Rows)}.print(w, func() { printAreas(w, r, widest(r.Rows), colour) })
}

// printAreas is the table, under the name of each area.
func printAreas(w io.Writer, r condition.CheckReport, wide int, colour bool) {
	head := ""
	for i, x := range r.Rows {
		if now := strings.TrimSpace(x.Area + " " + plain(x.Target)); now != head {
			if i > 0 {
				fmt.Fprintln(w)
			}
			fmt.Fprintln(w, strings.TrimSpace(strings.ToUpper(x.Area)+" "+plain(x.Target)))
			head = now
		}
		printRow(w, x, wide, colour)
	}
}

func testCloudCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "cloud", Short: "Go the way to the cloud, step by step", Args: cobra.NoArgs,
		Long: "Looks the broker up, connects to it, has it take this box's certificate, and knocks at the cloud's HTTPS door,\n" +
			"each step as the service takes it and without disturbing the service. Nothing is sent.\n\n" +
			"Exit code: 0 every step was taken, 3 this box is not enrolled, 4 a step failed.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := o.load(cmd)
			if err != nil {
				return err
			}
			if _, err := uplink.LoadIdentity(cfg.StateDir); fault.Is(err, fault.NotFound) {
				return &exitError{exitNotThere, err}
			}
			r := condition.CheckReport{Version: condition.CheckVersion, Subject: "cloud", At: time.Now().UTC()}
			r.Rows = uplink.Way(cmd.Context(), cfg.StateDir, time.Now)
			r.Took = time.Since(r.At)
			r.Judge()
			if o.json {
				err = printJSON(cmd, r)
			} else {
				printCheck(cmd.OutOrStdout(), r, o.colours(cmd.OutOrStdout()))
			}
			if err == nil && r.State == condition.Fail {
				err = &exitError{exitFindings, errors.New("this box does not get through to its cloud")}
			}
			return err
		},
	}
}

// reportOf reads what the running service says of itself.
func reportOf(ctx context.Context, cfg config) (*statuspage.Report, error) {
	b, err := fetchStatus(ctx, cfg)
	if err != nil {
		return nil, err
	}
	var r statuspage.Report
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, fmt.Errorf("what answers for the service is something else: %w", err)
	}
	return &r, nil
}

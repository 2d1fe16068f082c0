package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"iwas/agent/radius"
	"iwas/agent/router"
	"iwas/agent/statuspage"
	"iwas/internal/condition"
	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/routeros"
	"iwas/internal/webui"
)

// checkOf is the check of a router as it is configured and trusted now.
func (c config) checkOf(n nasConfig) (router.Check, error) {
	nas, err := n.nas()
	if err != nil {
		return router.Check{}, err
	}
	out := router.Check{NAS: nas.ID, Box: router.Box{Address: nas.CoASource, Auth: portOf(c.RADIUS.Auth), Acct: portOf(c.RADIUS.Acct), CoA: nas.CoA.Port(), Secret: nas.Secret}}
	if n.Router.URL == "" {
		return out, nil
	}
	password, err := readSecret(n.Router.PasswordFile)
	if err != nil {
		return out, err
	}
	pin, err := c.fingerprint(n)
	out.API = routeros.Options{URL: n.Router.URL, User: n.Router.User, Password: password, PinnedSHA256: pin}
	return out, err
}

// portOf is the port of the first address listened on; 0 when there is none.
func portOf(listen []string) uint16 {
	for _, a := range listen {
		if _, port, err := net.SplitHostPort(a); err == nil {
			n, _ := strconv.ParseUint(port, 10, 16) // checked with the configuration; a name is not ours
			return uint16(n)
		}
	}
	return 0
}

// onlooker is the RADIUS side of a router: what the service has heard, and a
// client for Disconnect-Request.
type onlooker struct {
	router.Disconnector
	snapshot func(context.Context) (statuspage.Snapshot, error)
}

// Heard implements router.Witness.
func (o onlooker) Heard(ctx context.Context, nas hotspot.NASID) (router.Heard, error) {
	s, err := o.snapshot(ctx)
	if err != nil {
		return router.Heard{}, err
	}
	return heardOf(s, nas), nil
}

// strangerRecent is how long a packet of an address that is no router may explain
// why a router was not heard.
const strangerRecent = 5 * time.Minute

// heardOf is what a snapshot of the service tells of one router's packets.
func heardOf(s statuspage.Snapshot, nas hotspot.NASID) router.Heard {
	var h router.Heard
	for _, r := range s.Routers {
		if r.NAS == nas {
			h.ProvenAt, h.Previous = r.ProvenAt, r.PreviousSecret
		}
	}
	for _, o := range s.RADIUS.Offenders {
		switch {
		case o.NAS == nas && (radius.Offender{Reason: o.Reason}).BadSecret() && o.Last.After(h.BadSecretAt):
			h.BadSecret, h.BadSecretAt = fmt.Sprintf("%d packets from %s met silence: %s", o.N, o.Source, o.Meaning), o.Last
		case o.NAS == "" && s.At.Sub(o.Last) < strangerRecent:
			if a, err := netip.ParseAddr(o.Source); err == nil {
				h.Strangers = append(h.Strangers, a)
			}
		}
	}
	return h
}

func routerCheckCommand(o *options) *cobra.Command {
	var debug bool
	c := &cobra.Command{
		Use: "check [ROUTER]", Short: "Check everything between this box and a router", Args: cobra.MaximumNArgs(1),
		Long: "Looks at the connection to a router, our rights on it, its set-up and RADIUS, side by side and within 15 seconds.\n" +
			"Each row that is not OK says why, what to do, and what to paste. Nothing is changed: one entry is put on an\n" +
			"address-list of its own and taken away again. It works with the service stopped, and knows less then.\n\n" +
			"With --debug-log the router writes every RADIUS packet into its log for ten minutes.\n\n" +
			"Exit code: 0 nothing failed, 4 something did.",
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := o.load(cmd)
			if err != nil {
				return err
			}
			n, err := cfg.nas(strings.Join(args, ""))
			if err != nil {
				return err
			}
			return runCheck(cmd, o, cfg, n, debug)
		},
	}
	c.Flags().BoolVar(&debug, "debug-log", false, "have the router log RADIUS packets for ten minutes")
	return c
}

// checked is the check in JSON.
type checked struct {
	condition.CheckReport
	DebugLog *router.DebugLogged `json:"debug_log,omitempty"`
}

func runCheck(cmd *cobra.Command, o *options, cfg config, n nasConfig, debug bool) error {
	check, err := cfg.checkOf(n)
	if err != nil {
		return &exitError{exitBadConfig, err}
	}
	check.API.Pace = new(routeros.Pace)
	nases, err := cfg.nases()
	if err != nil {
		return &exitError{exitBadConfig, err}
	}
	check.RADIUS = onlooker{&radius.Client{NASes: nases}, func(ctx context.Context) (s statuspage.Snapshot, err error) {
		b, err := fetchStatus(ctx, cfg)
		if err != nil {
			return s, errNoService
		}
		return s, json.Unmarshal(b, &s)
	}}
	out := checked{}
	if debug {
		d, err := startDebugLog(cmd.Context(), check.API)
		if err != nil {
			return fault.New(fault.KindOf(err), "switch the debug log on", err)
		}
		out.DebugLog = &d
	}
	talk := cmd.ErrOrStderr()
	if isTerminal(talk) {
		check.Progress = func(done, of int) { fmt.Fprintf(talk, "\r%d of %d ", done, of) }
	}
	out.CheckReport = check.Run(cmd.Context())
	if check.Progress != nil {
		fmt.Fprint(talk, "\r")
	}
	if o.json {
		if err := printJSON(cmd, out); err != nil {
			return err
		}
	} else {
		printCheck(cmd.OutOrStdout(), out.CheckReport, o.colours(cmd.OutOrStdout()))
	}
	if out.DebugLog != nil {
		if err := waitDebugLog(cmd, check.API, *out.DebugLog); err != nil {
			return err
		}
	}
	drain(cmd, check.API.Pace)
	if out.State == condition.Fail {
		return &exitError{exitFindings, fmt.Errorf("%d of %d rows failed", out.Count(condition.Fail), len(out.Rows))}
	}
	return nil
}

// drain waits for REST calls that came too late for the check: a program that
// ends cuts them short, and RouterOS then mixes up the answers to others.
func drain(cmd *cobra.Command, p *routeros.Pace) {
	n := p.Late()
	if n == 0 {
		return
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "Waiting until the router has answered what was late (%d): cut short, it would mix up the answers to others. At most a minute.\n", n)
	_ = p.Drain(cmd.Context()) // interrupted: a person wants it so
}

// startDebugLog has the router log RADIUS, over a connection of its own.
func startDebugLog(ctx context.Context, api routeros.Options) (router.DebugLogged, error) {
	if api.URL == "" {
		return router.DebugLogged{}, fault.New(fault.NotFound, "no API of this router is configured", nil).WithCode("RTR-110", "Set url, user and password_file under [nas.router].")
	}
	conn, err := routeros.Dial(ctx, api)
	if err != nil {
		return router.DebugLogged{}, err
	}
	defer conn.Close()
	return router.StartDebugLog(ctx, conn, router.DebugLogTime)
}

// waitDebugLog says how the debug log ends, and ends it where the router cannot.
func waitDebugLog(cmd *cobra.Command, api routeros.Options, d router.DebugLogged) error {
	talk := cmd.ErrOrStderr()
	until := d.Until.Local().Format("15:04:05")
	fmt.Fprintln(talk, `The router logs RADIUS packets now: /log/print where topics~"radius"`)
	if d.ByItself {
		fmt.Fprintf(talk, "It stops by itself at %s, whatever becomes of this box.\n", until)
		return nil
	}
	fmt.Fprintf(talk, "Nothing on the router stops it: %s.\nThis command stays, and stops it at %s; Ctrl-C stops it now. If this box dies before, paste on the router:\n  /system/logging/remove [find prefix=\"iwas-debug\"]\n", d.Why, until)
	end := time.NewTimer(time.Until(d.Until))
	defer end.Stop()
	select {
	case <-end.C:
	case <-cmd.Context().Done():
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(cmd.Context()), 15*time.Second)
	defer cancel()
	conn, err := routeros.Dial(ctx, api)
	if err == nil {
		defer conn.Close()
		err = router.StopDebugLog(ctx, conn)
	}
	if err != nil {
		return fault.New(fault.KindOf(err), "stop the debug log", err)
	}
	fmt.Fprintln(talk, "The debug log is off.")
	return nil
}

// words are how a row came out, for people who see no colour.
var words = map[condition.Mark]string{condition.OK: "OK", condition.Warn: "WARN", condition.Fail: "FAIL", condition.Unknown: "UNKNOWN", condition.Skipped: "SKIP"}

// ansi are the colours of those words.
var ansi = map[condition.Mark]string{condition.OK: "\x1b[32m", condition.Warn: "\x1b[33m", condition.Fail: "\x1b[1;31m", condition.Unknown: "\x1b[36m"}

// summary is what a check comes to.
type summary struct {
	verdict, tally string
	took           time.Duration
	steps          []condition.CheckRow
}

const stepsFirst = 3 // so many stand above the table: a screen has 24 lines

// print says the verdict and the first steps, then the table, then the rest; and the
// verdict once more at the end, which is what a terminal shows of a long table.
func (s summary) print(w io.Writer, table func()) {
	fmt.Fprintf(w, "%s\n%s, in %s\n", s.verdict, s.tally, webui.Took(s.took))
	first := s.steps[:min(len(s.steps), stepsFirst)]
	printSteps(w, first, 0)
	fmt.Fprintln(w)
	table()
	printSteps(w, s.steps[len(first):], len(first))
	fmt.Fprintf(w, "\n%s\n", s.verdict)
	if len(s.steps) > 0 {
		fmt.Fprintf(w, "Begin with: %s\n", strings.TrimSpace(cmp.Or(s.steps[0].Next, s.steps[0].Command)+" "+parenthesized(s.steps[0].Code)))
	}
}

func parenthesized(code string) string {
	if code == "" {
		return ""
	}
	return "(" + code + ")"
}

// printCheck is a check for people: a sentence, what to do, and a table.
func printCheck(w io.Writer, r condition.CheckReport, colour bool) {
	summary{sentence(r.Verdict), tally(r.Count), r.Took, stepsOf(r.Rows)}.print(w, func() {
		wide := widest(r.Rows)
		for _, row := range r.Rows {
			printRow(w, row, wide, colour)
		}
	})
}

func widest(rows []condition.CheckRow) int {
	wide := 0
	for _, row := range rows {
		wide = max(wide, len(row.Title))
	}
	return wide
}

func printRow(w io.Writer, row condition.CheckRow, wide int, colour bool) {
	word := fmt.Sprintf("%-7s", words[row.State])
	if c := ansi[row.State]; colour && c != "" {
		word = c + word + "\x1b[0m"
	}
	code := ""
	if row.Code != "" {
		code = "  " + row.Code
	}
	fmt.Fprintf(w, "%-*s  %s  %s%s\n", wide, row.Title, word, plain(row.Seen), code)
}

// tally says how rows came out.
func tally(of func(condition.Mark) int) string {
	warnings := map[bool]string{true: "warning", false: "warnings"}[of(condition.Warn) == 1]
	return fmt.Sprintf("%d ok, %d %s, %d failed, %d unknown, %d skipped", of(condition.OK), of(condition.Warn), warnings, of(condition.Fail), of(condition.Unknown), of(condition.Skipped))
}

// stepsOf are the rows that something can be done about, causes only, the worst first.
func stepsOf(rows []condition.CheckRow) []condition.CheckRow {
	return slices.DeleteFunc(condition.Causes(rows), func(r condition.CheckRow) bool { return r.Next == "" && r.Command == "" })
}

// printSteps says what to do about rows; before is how many were said already.
func printSteps(w io.Writer, steps []condition.CheckRow, before int) {
	for i, row := range steps {
		if i == 0 {
			fmt.Fprintln(w, map[bool]string{true: "\nNext steps:", false: "\nMore steps:"}[before == 0])
		}
		fmt.Fprintf(w, "%d. %s: %s\n", before+i+1, row.Title, plain(row.Seen))
		for _, line := range []struct{ name, text string }{{"why", row.Cause}, {"do", row.Next}, {"paste", row.Command}, {"help", helpOn(row.Code)}} {
			if line.text != "" {
				fmt.Fprintf(w, "   %-5s  %s\n", line.name, line.text)
			}
		}
	}
}

func helpOn(code string) string {
	if code == "" {
		return ""
	}
	return "iwas-agent explain " + code
}

func sentence(s string) string { return strings.TrimRight(s, ". ") + "." }

// colours reports whether a person looks at w and wants colours (no-color.org).
func (o *options) colours(w io.Writer) bool {
	return !o.noColour && isTerminal(w) && os.Getenv("NO_COLOR") == "" && cmp.Or(os.Getenv("TERM"), "dumb") != "dumb"
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

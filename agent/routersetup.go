package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"iwas/agent/provision"
	"iwas/internal/fault"
	"iwas/internal/routeros"
	"iwas/internal/secret"
	"iwas/internal/wire"
)

// setupFile is where the record of the newest set-up of a router is kept. It holds
// secrets of the router's old configuration.
func (c config) setupFile(nas string) string {
	return filepath.Join(c.StateDir, "routers", nas+".setup.json")
}

// dialRouter logs in to a router as somebody; the certificate trusted is read each
// time, because a person may have trusted another meanwhile.
func (c config) dialRouter(n nasConfig, user string, password secret.Value, pace *routeros.Pace) func(context.Context) (routeros.Conn, error) {
	return func(ctx context.Context) (routeros.Conn, error) {
		pin, err := c.fingerprint(n)
		if err != nil {
			return nil, err
		}
		return routeros.Dial(ctx, routeros.Options{URL: n.Router.URL, User: user, Password: password, PinnedSHA256: pin, Pace: pace})
	}
}

// setupOf is what is wanted of a router: by the configuration of this box, which goes
// first, or by the cloud, whose document the running service has.
func (c config) setupOf(ctx context.Context, n nasConfig) (wire.RouterSetup, error) {
	if n.Setup != nil {
		return *n.Setup, nil
	}
	var doc wire.RouterDoc
	if err := callControl(ctx, c.controlPath(), "router/setup", setupAsk{n.ID}, &doc); err == nil {
		return doc.RouterSetup, nil
	}
	return wire.RouterSetup{}, fault.New(fault.NotFound, "router "+n.ID+" has no set-up configured", nil).
		WithCode(provision.CodeNoSetup, `Write [nas.setup] with mode = "radius-only" or "whole-cafe" below its section, or say it in the console; the service must run for that.`)
}

// applierOf is who sets a router up, as the service user.
func (c config) applierOf(n nasConfig, setup wire.RouterSetup, pace *routeros.Pace) (*provision.Applier, error) {
	nas, err := n.nas()
	if err != nil {
		return nil, err
	}
	password, err := readSecret(n.Router.PasswordFile)
	if err != nil {
		return nil, err
	}
	door, err := routeros.DoorOf(n.Router.URL)
	if err != nil {
		return nil, err
	}
	box := provision.Box{Address: nas.CoASource, Service: door.Service, Auth: portOf(c.RADIUS.Auth), Acct: portOf(c.RADIUS.Acct), Secret: nas.Secret.Reveal()}
	if a, err := netip.ParseAddr(door.Host); err == nil {
		box.Router = a.Unmap()
	}
	as := c.dialRouter(n, n.Router.User, password, pace)
	return &provision.Applier{Router: n.ID, Setup: setup, Box: box, Keep: provision.Keeper(c.setupFile(n.ID)), Dial: as, Return: as,
		Reach: func(ctx context.Context) (netip.Addr, error) { return routeros.Reach(ctx, n.Router.URL) }}, nil
}

// setupCommand makes a command about the set-up of one router.
func setupCommand(o *options, use, short, long string, do func(*cobra.Command, config, nasConfig, *provision.Applier) error) *cobra.Command {
	return &cobra.Command{
		Use: use + " [ROUTER]", Short: short, Long: long, Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := o.load(cmd)
			if err != nil {
				return err
			}
			n, err := cfg.nas(strings.Join(args, ""))
			if err != nil {
				return err
			}
			setup, err := cfg.setupOf(cmd.Context(), n)
			if err != nil && needsSetup(use) {
				return err
			}
			a, err := cfg.applierOf(n, setup, new(routeros.Pace))
			if err != nil {
				return err
			}
			return do(cmd, cfg, n, a)
		},
	}
}

// needsSetup tells the commands that compare from those that only end what was begun.
func needsSetup(use string) bool { return use != "confirm" && use != "rollback" }

func routerPlanCommand(o *options) *cobra.Command {
	var detailed bool
	c := setupCommand(o, "plan", "Show what stands between a router and its set-up",
		"Reads the router and prints, step by step, what `iwas-agent router apply` would do: in words, as RouterOS commands,\n"+
			"and what takes each step back. Nothing is changed. What others made is never touched.\n\n"+
			"Exit code: 0, or 4 when something stands in the way; with --detailed-exitcode 6 when there is something to do.",
		func(cmd *cobra.Command, _ config, n nasConfig, a *provision.Applier) error {
			d, err := a.Look(cmd.Context())
			if err != nil {
				return err
			}
			if o.json {
				if err := printJSON(cmd, d.Plan); err != nil {
					return err
				}
			} else {
				printPlan(cmd.OutOrStdout(), n.ID, d.Plan)
			}
			return planned(d.Plan, detailed)
		})
	c.Flags().BoolVar(&detailed, "detailed-exitcode", false, "exit code 6 when there is something to do")
	return c
}

// planned turns a plan into an exit code.
func planned(p provision.Plan, detailed bool) error {
	switch {
	case len(p.Stops) > 0:
		s := p.Stops[0]
		return &exitError{exitFindings, fault.New(fault.Conflict, fmt.Sprintf("the plan cannot be applied (%s): %s", s.Code, s.Text), nil).WithCode(s.Code, s.Next)}
	case detailed && len(p.Steps) > 0:
		return &exitError{exitChanges, fmt.Errorf("%d steps to do", len(p.Steps))}
	}
	return nil
}

// printPlan is a plan for people.
func printPlan(w io.Writer, router string, p provision.Plan) {
	for _, s := range p.Steps {
		fmt.Fprintf(w, "%3d  %s\n     do    %s\n     undo  %s\n", s.N, s.Words, s.Command, s.Undo)
		if s.Since != "" {
			fmt.Fprintf(w, "     since RouterOS %s\n", s.Since)
		}
		if s.Warning != "" {
			fmt.Fprintf(w, "     WARN  %s\n", s.Warning)
		}
	}
	for _, n := range p.Notes {
		fmt.Fprintf(w, "note  %s\n", n)
	}
	for _, s := range p.Stops {
		fmt.Fprintf(w, "STOP  %s  %s\n      do    %s\n      help  %s\n", s.Code, s.Text, s.Next, helpOn(s.Code))
	}
	switch {
	case len(p.Stops) > 0:
	case len(p.Steps) == 0:
		fmt.Fprintf(w, "Nothing to do: %s is set up as agreed (%s).\n", router, p.Mode)
	default:
		fmt.Fprintf(w, "%d steps (%s, RouterOS %s). Next: iwas-agent router apply %s\n", len(p.Steps), p.Mode, p.Version, router)
	}
}

// loginFlags are an administrator's login, used once.
type loginFlags struct{ user, passwordFile string }

func (f *loginFlags) add(c *cobra.Command, user string) {
	c.Flags().StringVar(&f.user, "user", user, "login on the router, used once and not kept")
	c.Flags().StringVar(&f.passwordFile, "password-file", "", "file with its password; - or empty asks for it")
}

// password reads or asks for the login's password.
func (f loginFlags) password(cmd *cobra.Command, in *bufio.Reader) (secret.Value, error) {
	if f.passwordFile != "" && f.passwordFile != "-" {
		return readSecret(f.passwordFile)
	}
	talk := cmd.ErrOrStderr()
	fmt.Fprintf(talk, "Password of %s on the router: ", f.user)
	if file, ok := cmd.InOrStdin().(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		b, err := term.ReadPassword(int(file.Fd()))
		fmt.Fprintln(talk)
		return secret.Value(b), err
	}
	line, err := in.ReadString('\n')
	fmt.Fprintln(talk)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return secret.Value(strings.TrimRight(line, "\r\n")), err
}

func routerApplyCommand(o *options) *cobra.Command {
	var login loginFlags
	var yes, withoutNet bool
	c := setupCommand(o, "apply", "Set a router up, with a way back",
		"Does what `iwas-agent router plan` shows. It asks for a login with all rights (group full), uses it once and forgets\n"+
			"it. A backup and an export are saved on the router first. Before each step the router itself is given what takes it\n"+
			"back; it does so by itself unless `iwas-agent router confirm` comes within 120 seconds after the last step, and at\n"+
			"any restart before.\n\n"+
			"Where device-mode forbids the router's scheduler there is no such net. --without-safety-net accepts that: this\n"+
			"command then stays, and takes everything back unless it is confirmed.",
		func(cmd *cobra.Command, cfg config, n nasConfig, a *provision.Applier) error {
			return applySetup(cmd, o, cfg, n, a, login, yes, withoutNet)
		})
	login.add(c, "admin")
	c.Flags().BoolVar(&yes, "yes", false, "do not ask before the first step")
	c.Flags().BoolVar(&withoutNet, "without-safety-net", false, "go on though the router cannot take it back by itself")
	return c
}

// applied is an application in JSON.
type applied struct {
	Router   string          `json:"router"`
	State    provision.State `json:"state"`
	Steps    int             `json:"steps"`
	Net      bool            `json:"net"`
	Deadline time.Time       `json:"deadline,omitzero"`
}

func appliedOf(r provision.Record, router string) applied {
	return applied{router, r.State, r.Done, r.Net, r.Deadline}
}

func applySetup(cmd *cobra.Command, o *options, cfg config, n nasConfig, a *provision.Applier, login loginFlags, yes, withoutNet bool) error {
	talk, in := cmd.ErrOrStderr(), bufio.NewReader(cmd.InOrStdin())
	d, err := a.Look(cmd.Context())
	if err != nil {
		return err
	}
	if err := planned(d.Plan, false); err != nil {
		printPlan(talk, n.ID, d.Plan)
		return err
	}
	if len(d.Plan.Steps) == 0 {
		if o.json {
			return printJSON(cmd, applied{Router: n.ID, State: provision.Confirmed})
		}
		printPlan(cmd.OutOrStdout(), n.ID, d.Plan)
		return nil
	}
	password, err := login.password(cmd, in)
	if err != nil {
		return err
	}
	if !yes {
		fmt.Fprintf(talk, "Apply %d steps to %s? [y/N] ", len(d.Plan.Steps), n.ID)
		line, err := in.ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if answer := strings.ToLower(strings.TrimSpace(line)); answer != "y" && answer != "yes" {
			return &exitError{exitFailed, errors.New("not applied; nothing was changed")}
		}
	}
	a.Dial, a.User, a.WithoutNet = cfg.dialRouter(n, login.user, password, new(routeros.Pace)), login.user, withoutNet
	a.Progress = func(e provision.Event) {
		if e.Of == 0 {
			fmt.Fprintln(talk, e.Text)
			return
		}
		fmt.Fprintf(talk, "%3d of %d  %s  %s\n", e.Step, e.Of, e.Text, e.Took.Round(time.Millisecond))
	}
	rec, err := a.Apply(cmd.Context())
	if err != nil {
		return err
	}
	if o.json {
		if err := printJSON(cmd, appliedOf(rec, n.ID)); err != nil {
			return err
		}
	}
	if rec.State != provision.Waiting {
		return nil
	}
	fmt.Fprintf(talk, "Done, and this box came back to the router. Let a phone log in, then, before %s:\n  iwas-agent router confirm %s\nElse the old configuration comes back.\n",
		rec.Deadline.Local().Format(time.TimeOnly), n.ID)
	if !rec.Net {
		return waitConfirm(cmd, a, rec)
	}
	return nil
}

// confirmPoll is how often a command looks whether another has confirmed.
const confirmPoll = 500 * time.Millisecond

// waitConfirm is the net of a router that has none: this command stays until
// somebody confirms, and takes everything back if nobody does.
func waitConfirm(cmd *cobra.Command, a *provision.Applier, rec provision.Record) error {
	fmt.Fprintln(cmd.ErrOrStderr(), "The router has no safety net: this command stays until then. Ctrl-C takes everything back at once.")
	t := time.NewTicker(confirmPoll)
	defer t.Stop()
	for ctx := cmd.Context(); ctx.Err() == nil && time.Now().Before(rec.Deadline); {
		select {
		case <-t.C:
		case <-ctx.Done():
		}
		if now, ok, err := a.Keep.Load(); err == nil && ok && now.State != provision.Waiting {
			return nil
		}
	}
	if _, err := a.Rollback(context.WithoutCancel(cmd.Context())); err != nil {
		return err
	}
	return fault.New(fault.Conflict, "not confirmed: the old configuration is back", nil).WithCode(provision.CodeReverted, "Run iwas-agent router apply again.")
}

func routerConfirmCommand(o *options) *cobra.Command {
	return setupCommand(o, "confirm", "Keep what was applied to a router",
		"Takes the safety net of the last `iwas-agent router apply` away, so that the new set-up stays. It logs in as this box\n"+
			"does by itself, which proves that the box still reaches the router. A rollback stays possible.",
		func(cmd *cobra.Command, _ config, n nasConfig, a *provision.Applier) error {
			rec, err := a.Confirm(cmd.Context())
			if err != nil {
				return err
			}
			if o.json {
				return printJSON(cmd, appliedOf(rec, n.ID))
			}
			fmt.Fprintf(cmd.OutOrStdout(), "Confirmed: the set-up of %s stays. To go back all the same: iwas-agent router rollback %s\n", n.ID, n.ID)
			return nil
		})
}

func routerRollbackCommand(o *options) *cobra.Command {
	var login loginFlags
	c := setupCommand(o, "rollback", "Bring back what a router was before the last apply",
		"Takes back every step of the last `iwas-agent router apply`, also after it was confirmed. What others changed since\n"+
			"stays. The service user's rights are enough; --user takes another login.",
		func(cmd *cobra.Command, cfg config, n nasConfig, a *provision.Applier) error {
			if login.user != "" {
				password, err := login.password(cmd, bufio.NewReader(cmd.InOrStdin()))
				if err != nil {
					return err
				}
				a.Dial = cfg.dialRouter(n, login.user, password, new(routeros.Pace))
			}
			rec, err := a.Rollback(cmd.Context())
			if err != nil {
				return err
			}
			if o.json {
				return printJSON(cmd, appliedOf(rec, n.ID))
			}
			fmt.Fprintf(cmd.OutOrStdout(), "Rolled back: %d steps of %s were taken back, and the router shows it.\n", rec.Done, rec.At.Local().Format(time.DateTime))
			return nil
		})
	login.add(c, "")
	return c
}

func routerDriftCommand(o *options) *cobra.Command {
	return setupCommand(o, "drift", "Show what somebody changed on a router since",
		"Compares the router with its set-up, as the service does every five minutes, and shows what the router remembers of\n"+
			"who changed it.\n\nExit code: 0 all as agreed, 4 something differs.",
		func(cmd *cobra.Command, _ config, n nasConfig, a *provision.Applier) error {
			d, err := a.Look(cmd.Context())
			if err != nil {
				return err
			}
			if o.json {
				if err := printJSON(cmd, d); err != nil {
					return err
				}
			} else {
				printPlan(cmd.OutOrStdout(), n.ID, d.Plan)
				for _, by := range d.By {
					fmt.Fprintf(cmd.OutOrStdout(), "the router says: %s\n", by)
				}
			}
			if d.Plan.Empty() {
				return nil
			}
			return &exitError{exitFindings, fault.New(fault.Conflict, d.Text(), nil).WithCode(provision.CodeDrift, "Put it back: iwas-agent router apply "+n.ID)}
		})
}

func routerCommandsCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "commands", Short: "List every command this program can send to a router", Args: cobra.NoArgs,
		Long: "Lists every RouterOS command this program can send, with its arguments in the words of RouterOS's command tree, and\n" +
			"the oldest version it is sent to where that is not every supported one. --json prints [{command,args,since}].",
		RunE: func(cmd *cobra.Command, _ []string) error {
			all := routeros.Commands()
			if o.json {
				return printJSON(cmd, all)
			}
			for _, c := range all {
				fmt.Fprintln(cmd.OutOrStdout(), strings.TrimSpace(strings.Join([]string{c.Command, strings.Join(c.Args, " "), cmp.Or(c.Since, "")}, " ")))
			}
			return nil
		},
	}
}

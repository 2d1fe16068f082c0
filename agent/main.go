// Command iwas-agent is the service on the mini-PC beside the router: it answers
// RADIUS from its own database, puts guests off the router when they must be
// off, shows technicians a status page, and keeps the cloud informed.
//
// This package only wires: flags, configuration, the parts, the exit code.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/spf13/cobra"

	"iwas/agent/store"
	"iwas/internal/buildinfo"
	"iwas/internal/fault"
	"iwas/internal/manual"
	"iwas/internal/ownership"
)

// Exit codes (the unit file names 78 in RestartPreventExitStatus).
const (
	exitDone      = 0
	exitFailed    = 1
	exitUsage     = 2
	exitNotThere  = 3 // the daemon does not run, or this box is not enrolled
	exitFindings  = 4 // a check found failures, or guests cannot log in
	exitRights    = 5 // it needs root, or the rights of the service
	exitChanges   = 6 // a plan has something to do, with --detailed-exitcode
	exitBadConfig = 78
	exitStopped   = 130 // a person interrupted it
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal kills at once
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// exitError carries an exit code of its own.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// run is main without the process: tests call it.
func run(ctx context.Context, args []string, in io.Reader, out, talk io.Writer) int {
	root := commands()
	started := false
	noteStart(root, &started)
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(talk)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitDone
	}
	var e *exitError
	own := errors.As(err, &e)
	// A configuration the service may not read is a fault of the configuration.
	rights := errors.Is(err, fs.ErrPermission) && !(own && e.code == exitBadConfig)
	next := fault.Hint(err)
	switch {
	case rights:
		next = "run it as root: sudo iwas-agent …"
	case next == "" && !started:
		next = cmd.CommandPath() + " --help"
	}
	asked, _ := root.PersistentFlags().GetBool("json")                  // fails only for a flag that does not exist
	complain(talk, err, next, asked || slices.Contains(args, "--json")) // flags behind one that could not be read have not been
	switch {
	case ctx.Err() != nil:
		return exitStopped
	case rights:
		return exitRights
	case own:
		return e.code
	case !started: // words, flags or arguments that no command takes
		return exitUsage
	}
	return exitFailed
}

// complain says what went wrong: in words, or as an object for a program.
func complain(talk io.Writer, err error, next string, asJSON bool) {
	if asJSON {
		e := json.NewEncoder(talk)
		e.SetEscapeHTML(false)
		_ = e.Encode(map[string]string{"error": err.Error(), "code": fault.Code(err), "next": next}) // nobody is left to tell
		return
	}
	fmt.Fprintln(talk, "iwas-agent:", err)
	if next != "" {
		fmt.Fprintln(talk, "Next:", next)
	}
}

// noteStart sets started once any command begins its work.
func noteStart(c *cobra.Command, started *bool) {
	if run := c.RunE; run != nil {
		c.RunE = func(cmd *cobra.Command, args []string) error {
			*started = true
			return run(cmd, args)
		}
	}
	for _, sub := range c.Commands() {
		noteStart(sub, started)
	}
}

// options are the flags every command has.
type options struct {
	config   string
	json     bool
	noColour bool
	stateDir string // once the configuration was read
}

// folders are those of the service, which root's commands write into; none where no
// configuration was read.
func (o *options) folders() []string {
	if o.stateDir == "" {
		return nil
	}
	return []string{o.stateDir, filepath.Dir(o.config)}
}

func (o *options) load(cmd *cobra.Command) (config, error) {
	c, err := loadConfig(o.config, !cmd.Flags().Changed("config"))
	if err != nil {
		return c, &exitError{exitBadConfig, err}
	}
	o.stateDir = c.StateDir
	return c, nil
}

func commands() *cobra.Command {
	o := &options{}
	root := &cobra.Command{
		Use:           "iwas-agent",
		Short:         "The cafe's own service: RADIUS, router, status page, sync",
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       buildinfo.String(),
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &exitError{exitUsage, err} })
	root.PersistentFlags().StringVar(&o.config, "config", defaultConfigFile, "configuration file")
	root.PersistentFlags().BoolVar(&o.json, "json", false, "print JSON; a failure is an object with error, code and next on standard error")
	root.PersistentFlags().BoolVar(&o.noColour, "no-color", false, "no colours; NO_COLOR in the environment does the same")
	root.AddCommand(
		&cobra.Command{
			Use: "run", Short: "Run the service in the foreground", Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				c, err := o.load(cmd)
				if err != nil {
					return err
				}
				return asService(cmd.Context(), cmd.ErrOrStderr(), func(ctx context.Context, talk io.Writer) error { return serve(ctx, c, talk) })
			},
		},
		enrollCommand(o), unenrollCommand(o), statusCommand(o), checkCommand(o), accountCommand(o), voucherCommand(o), planCommand(o), salesCommand(o), grantCommand(o), edlCommand(o), testCommand(o), routerCommand(o), passwordCommand(o), supportCommand(o), backupCommand(o), restoreCommand(o), explainCommand(o), configCommand(o),
		&cobra.Command{
			Use: "version", Short: "Print the version", Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				if o.json {
					return printJSON(cmd, map[string]any{"version": buildinfo.Version(), "schema": store.Schema()})
				}
				fmt.Fprintln(cmd.OutOrStdout(), "iwas-agent", buildinfo.String())
				return nil
			},
		},
	)
	root.AddCommand(serviceCommands(o)...)
	root.AddCommand(updateCommand(o), rollbackCommand(o), setupAllCommand(o))
	root.AddCommand(manual.Command())
	manual.Add(root, helps)
	ownership.After(root, o.folders)
	return root
}

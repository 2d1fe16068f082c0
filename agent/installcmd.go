package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/spf13/cobra"

	"iwas/internal/fault"
)

// serviceName is that of the service, on every system.
const serviceName = "iwas-agent"

// keeper installs this program as a service of the system, and steers it. Every
// method may be called again, and says what it changed through say.
type keeper interface {
	Install(ctx context.Context, program string, say func(string)) error
	// Uninstall leaves guests and settings where they are, unless all is true.
	Uninstall(ctx context.Context, all bool, say func(string)) error
	Control(ctx context.Context, verb string) error // start, stop, restart
}

// notRoot is what a command says that may not do its work.
func notRoot(command string) error {
	next := "Run it as root: sudo iwas-agent " + command
	if runtime.GOOS == "windows" {
		next = "Run it in a terminal that was opened as administrator."
	}
	return &exitError{exitRights, fault.New(fault.Denied, command+" changes the system's services, which this user may not", nil).WithCode("SYS-130", next)}
}

// serviceCommands are those about the service itself.
func serviceCommands(o *options) []*cobra.Command {
	all := []*cobra.Command{installCommand(o), uninstallCommand(o)}
	for verb, short := range map[string]string{"start": "Start the installed service", "stop": "Stop the installed service; guests can then not log in", "restart": "Stop the installed service and start it again"} {
		all = append(all, &cobra.Command{Use: verb, Short: short, Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
			k, err := newKeeper(o.config)
			if err != nil {
				return err
			}
			if err := k.Control(cmd.Context(), verb); err != nil {
				return err
			}
			return sayDone(cmd, o, map[string]string{"start": "The service was started.", "stop": "The service was stopped. Guests cannot log in until it is started again.", "restart": "The service was restarted."}[verb])
		}})
	}
	return all
}

// sayDone prints what was done.
func sayDone(cmd *cobra.Command, o *options, lines ...string) error {
	if o.json {
		return printJSON(cmd, map[string]any{"done": lines})
	}
	for _, l := range lines {
		fmt.Fprintln(cmd.OutOrStdout(), l)
	}
	return nil
}

func installCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "install", Short: "Install this program as a service, where no package does", Args: cobra.NoArgs,
		Long: "Copies this program to its place, makes the user and folders of the service, and starts it now and whenever the\n" +
			"system starts. It may be run again: what is as it should be stays. Where a package installed the service, use the\n" +
			"package's tools instead; this command then changes nothing.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			program, err := os.Executable()
			if err == nil {
				program, err = filepath.EvalSymlinks(program)
			}
			if err != nil {
				return err
			}
			k, err := newKeeper(o.config)
			if err != nil {
				return err
			}
			var lines []string
			if err := k.Install(cmd.Context(), program, func(l string) { lines = append(lines, l) }); err != nil {
				return err
			}
			if len(lines) == 0 {
				lines = append(lines, "Everything is installed as it should be; nothing was changed.")
			}
			return sayDone(cmd, o, append(lines, "Next: iwas-agent enroll --cloud https://HOST, or without a cloud iwas-agent router script --agent-address ADDRESS-OF-THIS-BOX")...)
		},
	}
}

func uninstallCommand(o *options) *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use: "uninstall", Short: "Stop the service and take away what install made", Args: cobra.NoArgs,
		Long: "Stops the service and removes it and the program. Guests, settings and this box's identity stay, so that installing\n" +
			"again goes on where it was; --all deletes them too.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			k, err := newKeeper(o.config)
			if err != nil {
				return err
			}
			var lines []string
			if err := k.Uninstall(cmd.Context(), all, func(l string) { lines = append(lines, l) }); err != nil {
				return err
			}
			if len(lines) == 0 {
				lines = append(lines, "The service is not installed; nothing was changed.")
			}
			return sayDone(cmd, o, lines...)
		},
	}
	c.Flags().BoolVar(&all, "all", false, "delete guests, settings and identity too")
	return c
}

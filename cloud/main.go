// Command iwas-cloud keeps what owners want of their sites and what sites say
// happened: an MQTT broker for the boxes, a console and an HTTP API for people.
//
// This package only wires: flags, configuration, the parts, the exit code.
package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"iwas/internal/buildinfo"
	"iwas/internal/fault"
	"iwas/internal/manual"
	"iwas/internal/ownership"
	"iwas/internal/webui"
)

// Exit codes, as iwas-agent's.
const (
	exitDone      = 0
	exitFailed    = 1
	exitUsage     = 2
	exitBadConfig = 78
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal kills at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// exitError carries an exit code of its own.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// run is main without the process: tests call it.
func run(ctx context.Context, args []string, out, talk io.Writer) int {
	root := commands()
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(talk)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitDone
	}
	fmt.Fprintln(talk, "iwas-cloud:", err)
	if hint := fault.Hint(err); hint != "" {
		fmt.Fprintln(talk, "Next:", hint)
	}
	var e *exitError
	if errors.As(err, &e) {
		return e.code
	}
	return exitFailed
}

const defaultConfigFile = "/etc/iwas-cloud/cloud.toml"

func commands() *cobra.Command {
	var file, stateDir string
	load := func(cmd *cobra.Command) (config, error) {
		c, err := loadConfig(file, !cmd.Flags().Changed("config"))
		if err != nil {
			return c, &exitError{exitBadConfig, err}
		}
		stateDir = c.StateDir
		return c, nil
	}
	root := &cobra.Command{Use: "iwas-cloud", Short: "Console, API and broker for cafes", SilenceUsage: true, SilenceErrors: true, Version: buildinfo.String()}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &exitError{exitUsage, err} })
	root.PersistentFlags().StringVar(&file, "config", defaultConfigFile, "configuration file")
	root.AddCommand(
		&cobra.Command{Use: "run", Short: "Run the service in the foreground", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := load(cmd)
			if err != nil {
				return err
			}
			return serve(cmd.Context(), c, cmd.ErrOrStderr())
		}},
		ownerCommand(load), tokenCommand(load), backupCommand(load), restoreCommand(load),
		&cobra.Command{Use: "version", Short: "Print the version", Args: cobra.NoArgs, Run: func(cmd *cobra.Command, _ []string) {
			fmt.Fprintln(cmd.OutOrStdout(), "iwas-cloud", buildinfo.String())
		}},
	)
	validate := &cobra.Command{Use: "config", Short: "Check the configuration"}
	validate.AddCommand(&cobra.Command{Use: "validate", Short: "Check the configuration file", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		if _, err := load(cmd); err != nil {
			return err
		}
		fmt.Fprintln(cmd.OutOrStdout(), file, "is fine.")
		return nil
	}})
	root.AddCommand(validate, manual.Command())
	manual.Add(root, helps)
	ownership.After(root, func() []string {
		if stateDir == "" { // no command that reads the configuration
			return nil
		}
		return []string{stateDir, filepath.Dir(file)}
	})
	return root
}

type loader func(*cobra.Command) (config, error)

// secretFrom reads a secret from its file: never from the command line, where
// others could read it.
func secretFrom(file string, atLeast int) (string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return "", &exitError{exitUsage, err}
	}
	s := strings.TrimRight(string(b), "\r\n")
	if len(s) < atLeast {
		return "", &exitError{exitUsage, fmt.Errorf("%s holds %d characters; at least %d are needed", file, len(s), atLeast)}
	}
	return s, nil
}

func ownerCommand(load loader) *cobra.Command {
	var organization, email, passwordFile string
	add := &cobra.Command{Use: "add", Short: "Make an owner, and the organization if it is new", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		c, err := load(cmd)
		if err != nil {
			return err
		}
		password, err := secretFrom(passwordFile, 10)
		if err != nil {
			return err
		}
		hash, err := webui.HashPassword(cmd.Context(), password)
		if err != nil {
			return err
		}
		db, err := openStore(cmd.Context(), c, nil)
		if err != nil {
			return err
		}
		o, err := db.EnsureOwner(cmd.Context(), organization, email, hash)
		if err = errors.Join(err, db.Close()); err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s is an owner of %s.\n", o.Email, organization)
		return nil
	}}
	add.Flags().StringVar(&organization, "organization", "", "name of the business")
	add.Flags().StringVar(&email, "email", "", "e-mail address, to sign in with")
	add.Flags().StringVar(&passwordFile, "password-file", "", "file with the password, at least 10 characters")
	c := &cobra.Command{Use: "owner", Short: "Owners of an organization"}
	c.AddCommand(required(add, "organization", "email", "password-file"))
	return c
}

func tokenCommand(load loader) *cobra.Command {
	var email, name, tokenFile string
	add := &cobra.Command{Use: "add", Short: "Let a program use the HTTP API in a person's name", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		c, err := load(cmd)
		if err != nil {
			return err
		}
		token, err := secretFrom(tokenFile, 25)
		if err != nil {
			return err
		}
		if !strings.HasPrefix(token, "iwas_") {
			return &exitError{exitUsage, fmt.Errorf("%s: a token begins with iwas_, so that leaks can be found", tokenFile)}
		}
		db, err := openStore(cmd.Context(), c, nil)
		if err != nil {
			return err
		}
		o, _, err := db.OperatorByEmail(cmd.Context(), email)
		if err == nil {
			sum := sha256.Sum256([]byte(token))
			err = db.CreateToken(cmd.Context(), o, sum[:], name)
		}
		if err = errors.Join(err, db.Close()); err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "The token %q acts for %s.\n", name, email)
		return nil
	}}
	add.Flags().StringVar(&email, "email", "", "for whom the token acts")
	add.Flags().StringVar(&name, "name", "", "what it is for")
	add.Flags().StringVar(&tokenFile, "token-file", "", "file with the token: iwas_ and at least 20 characters of your own making")
	c := &cobra.Command{Use: "token", Short: "Tokens of the HTTP API"}
	c.AddCommand(required(add, "email", "name", "token-file"))
	return c
}

func required(c *cobra.Command, flags ...string) *cobra.Command {
	for _, f := range flags {
		_ = c.MarkFlagRequired(f) // fails only for a flag that does not exist
	}
	return c
}

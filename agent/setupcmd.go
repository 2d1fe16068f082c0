package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"iwas/agent/uplink"
	"iwas/internal/fault"
)

// answers is the file of `setup --answers`: what a person would say at the first run.
// Every secret is a file, named relative to this one.
type answers struct {
	Version int           `toml:"version"`         // of this file's format; 1
	Enroll  *enrollAnswer `toml:"enroll"`          // absent: standalone, without a cloud
	Router  *routerAnswer `toml:"router"`          // absent: no router yet
	Restart bool          `toml:"restart_service"` // so that the service reads what was written
}

type enrollAnswer struct {
	Cloud       string `toml:"cloud"`       // https://HOST[:PORT], as the console prints it
	Fingerprint string `toml:"fingerprint"` // of the cloud's certificate; "" trusts the system's
	CodeFile    string `toml:"code_file"`   // file with the enrolment code
}

type routerAnswer struct {
	ID           string       `toml:"id"`            // our name of it
	Name         string       `toml:"name"`          // for people
	URL          string       `toml:"url"`           // api-ssl://ADDRESS or https://ADDRESS
	Address      string       `toml:"address"`       // where its RADIUS packets come from; "" is that of url
	Fingerprint  string       `toml:"fingerprint"`   // of its certificate: nobody is there to compare it
	User         string       `toml:"user"`          // service user on the router
	PasswordFile string       `toml:"password_file"` // of that user; "" is what router script made
	SecretFile   string       `toml:"secret_file"`   // of RADIUS; "" is what router script made
	Apply        *applyAnswer `toml:"apply"`         // absent: the router is left as it is
}

type applyAnswer struct {
	User         string `toml:"user"`          // login with all rights, used once and not kept
	PasswordFile string `toml:"password_file"` // of that login
}

func setupAllCommand(o *options) *cobra.Command {
	var file string
	c := &cobra.Command{
		Use: "setup --answers FILE", Short: "Do the whole first run from one file, without asking", Args: cobra.NoArgs,
		Long: "Joins this box to its site, adds its router, restarts the service and sets the router up, as one file says. It may be\n" +
			"run again: what is done already is left, so a run that was cut off is finished by the next. The set-up of the router\n" +
			"is confirmed once this box reaches the router after it; otherwise the router takes it back by itself.\n" +
			"An example with every key: /usr/share/iwas-agent/answers.example.toml",
		RunE: func(cmd *cobra.Command, _ []string) error {
			a, err := readAnswers(file)
			if err != nil {
				return &exitError{exitBadConfig, err}
			}
			return a.follow(cmd, o)
		},
	}
	c.Flags().StringVar(&file, "answers", "", "file with the answers")
	_ = c.MarkFlagRequired("answers") // fails only for a flag that does not exist
	return c
}

func readAnswers(file string) (a answers, err error) {
	if err := readTOML(file, &a); err != nil {
		return a, err
	}
	if a.Version != 1 {
		return a, fault.New(fault.Invalid, fmt.Sprintf("%s: version: this program reads version 1, not %d", file, a.Version), nil)
	}
	var all []error
	need := func(key, value string) {
		if value == "" {
			all = append(all, fault.New(fault.Invalid, file+": "+key+" is needed: nobody is there to be asked", nil))
		}
	}
	paths := []*string{}
	if e := a.Enroll; e != nil {
		need("enroll.cloud", e.Cloud)
		need("enroll.code_file", e.CodeFile)
		paths = append(paths, &e.CodeFile)
	}
	if r := a.Router; r != nil {
		need("router.id", r.ID)
		need("router.url", r.URL)
		if !strings.HasPrefix(r.URL, "api://") {
			need("router.fingerprint", r.Fingerprint)
		}
		paths = append(paths, &r.PasswordFile, &r.SecretFile)
		if r.Apply != nil {
			need("router.apply.user", r.Apply.User)
			need("router.apply.password_file", r.Apply.PasswordFile)
			paths = append(paths, &r.Apply.PasswordFile)
		}
	}
	for _, p := range paths {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(filepath.Dir(file), *p)
		}
	}
	return a, errors.Join(all...)
}

// follow gives the commands that a person would, and leaves out what is done.
func (a answers) follow(cmd *cobra.Command, o *options) error {
	cfg, err := o.load(cmd)
	if err != nil {
		return err
	}
	give := func(args ...string) error {
		fmt.Fprintf(cmd.ErrOrStderr(), "== iwas-agent %s\n", strings.Join(args, " "))
		again := commands()
		again.SetArgs(append([]string{"--config", o.config}, args...))
		again.SetIn(strings.NewReader("")) // nobody answers
		again.SetOut(cmd.ErrOrStderr())
		again.SetErr(cmd.ErrOrStderr())
		return again.ExecuteContext(cmd.Context())
	}
	if _, err := uplink.LoadIdentity(cfg.StateDir); a.Enroll != nil && fault.Is(err, fault.NotFound) {
		if err := give(a.Enroll.command()...); err != nil {
			return err
		}
	}
	if a.Router != nil {
		if _, err := cfg.nas(a.Router.ID); err != nil || len(cfg.NAS) == 0 {
			if err := give(a.Router.command()...); err != nil {
				return err
			}
		}
	}
	if a.Restart {
		if err := give("restart"); err != nil {
			return err
		}
	}
	if a.Router != nil && a.Router.Apply != nil {
		if err := give("router", "apply", a.Router.ID, "--yes", "--user", a.Router.Apply.User, "--password-file", a.Router.Apply.PasswordFile); err != nil {
			return err
		}
		if err := give("router", "confirm", a.Router.ID); err != nil {
			return err
		}
	}
	next := "Next: iwas-agent router check"
	if a.Enroll != nil {
		next += ", and in the console compare the check number and press Confirm."
	}
	return sayDone(cmd, o, "Everything in the file is done.", next)
}

func (e enrollAnswer) command() []string {
	args := []string{"enroll", "--yes", "--cloud", e.Cloud, "--code-file", e.CodeFile}
	if e.Fingerprint != "" {
		args = append(args, "--fingerprint", e.Fingerprint)
	}
	return args
}

func (r routerAnswer) command() []string {
	args := []string{"router", "add", r.URL, "--id", r.ID}
	for flag, value := range map[string]string{"--name": r.Name, "--address": r.Address, "--fingerprint": r.Fingerprint, "--user": r.User, "--password-file": r.PasswordFile, "--secret-file": r.SecretFile} {
		if value != "" {
			args = append(args, flag, value)
		}
	}
	return args
}

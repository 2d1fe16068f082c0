package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/spf13/cobra"

	"iwas/agent/uplink"
	"iwas/internal/buildinfo"
	"iwas/internal/condition"
	"iwas/internal/fault"
)

func printJSON(cmd *cobra.Command, v any) error {
	enc := json.NewEncoder(cmd.OutOrStdout())
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

func enrollCommand(o *options) *cobra.Command {
	var cloud, fingerprint, codeFile string
	var yes bool
	c := &cobra.Command{
		Use:   "enroll --cloud https://HOST[:PORT]",
		Short: "Join this box to a site, with a code from the console",
		Long: "Joins this box to a site of the cloud. The code comes from the console (Sites, Enrol a box); it is read\n" +
			"from the terminal or from --code-file, never from the command line, where others could read it.\n" +
			"The cloud is trusted by the system's certificates, or by the fingerprint the console prints.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := o.load(cmd)
			if err != nil {
				return err
			}
			host, err := os.Hostname()
			if err != nil {
				host = "unknown"
			}
			in := bufio.NewReader(cmd.InOrStdin())
			code, err := readCode(cmd, in, codeFile)
			if err != nil {
				return err
			}
			opts := uplink.EnrolOptions{CloudURL: cloud, Fingerprint: fingerprint, Code: code, Host: host, Version: buildinfo.Version(), StateDir: cfg.StateDir}
			if err := os.MkdirAll(cfg.StateDir, 0o700); err != nil {
				return err
			}
			return enroll(cmd, o, in, opts, yes)
		},
	}
	c.Flags().StringVar(&cloud, "cloud", "", "address of the cloud's door for agents, as the console prints it")
	c.Flags().StringVar(&fingerprint, "fingerprint", "", "SHA-256 of the cloud's certificate, as the console prints it; empty trusts the system's certificates")
	c.Flags().StringVar(&codeFile, "code-file", "", "file with the enrolment code; empty asks for it")
	c.Flags().BoolVar(&yes, "yes", false, "do not ask whether this is the right site")
	_ = c.MarkFlagRequired("cloud") // fails only for a flag that does not exist
	return c
}

func unenrollCommand(o *options) *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use:   "unenroll",
		Short: "Take this box's identity off it, so that it serves the cafe on its own",
		Long: "Takes away this box's identity and its key. Guests and figures stay here; nothing is exchanged with the cloud\n" +
			"any more, and only a new enrolment changes that. The cloud is told, and shows the box as given up; where it cannot\n" +
			"be reached the identity goes all the same, and the box is cut off in the console.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := o.load(cmd)
			if err != nil {
				return err
			}
			id, err := uplink.LoadIdentity(cfg.StateDir)
			if fault.Is(err, fault.NotFound) {
				return err
			}
			if err == nil { // one that is damaged can be taken off as well
				fmt.Fprintf(cmd.ErrOrStderr(), "This box is %s of %s, %s.\n", id.Agent, id.SiteName, id.Organization)
			}
			if !yes {
				fmt.Fprint(cmd.ErrOrStderr(), "Take that off it? [y/N] ")
				line, err := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
				if err != nil && err != io.EOF {
					return err
				}
				if a := strings.ToLower(strings.TrimSpace(line)); a != "y" && a != "yes" {
					return &exitError{exitUsage, fmt.Errorf("nothing was changed")}
				}
			}
			return leave(cmd, o, id, cfg.StateDir)
		},
	}
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return c
}

func readCode(cmd *cobra.Command, in *bufio.Reader, file string) (string, error) {
	if file != "" {
		b, err := os.ReadFile(file)
		return strings.TrimSpace(string(b)), err
	}
	fmt.Fprint(cmd.ErrOrStderr(), "Enrolment code: ")
	line, err := in.ReadString('\n')
	if strings.TrimSpace(line) == "" {
		return "", &exitError{exitUsage, fmt.Errorf("no code was given: make one in the console, or name a file with --code-file")}
	}
	if err == io.EOF {
		err = nil
	}
	return strings.TrimSpace(line), err
}

func enroll(cmd *cobra.Command, o *options, in *bufio.Reader, opts uplink.EnrolOptions, yes bool) error {
	talk := cmd.ErrOrStderr()
	offer, err := uplink.Look(cmd.Context(), opts)
	if err != nil {
		return err
	}
	if old, err := uplink.LoadIdentity(opts.StateDir); err == nil {
		fmt.Fprintf(talk, "This box is %s of %s now. That stays until the new enrolment is made, which replaces it.\n", old.Agent, old.SiteName)
	}
	fmt.Fprintf(talk, "This code joins the box to:\n  organization  %s\n  site          %s\n", offer.Organization, offer.Site)
	if !yes {
		fmt.Fprint(talk, "Is this right? [y/N] ")
		line, err := in.ReadString('\n')
		if err != nil && err != io.EOF {
			return err
		}
		if a := strings.ToLower(strings.TrimSpace(line)); a != "y" && a != "yes" {
			return &exitError{exitUsage, fmt.Errorf("nothing was changed; the code is still good until %s", offer.ExpiresAt.Local().Format("15:04"))}
		}
	}
	id, err := uplink.Enrol(cmd.Context(), opts)
	if err != nil {
		return err
	}
	if o.json {
		return printJSON(cmd, map[string]any{"agent": id.Agent, "site_id": id.Site, "site": id.SiteName, "check_number": id.CheckNumber, "confirmed": id.Confirmed})
	}
	fmt.Fprintf(cmd.OutOrStdout(), "Enrolled as %s for %s.\nCheck number: %s\n", id.Agent, id.SiteName, id.CheckNumber)
	if !id.Confirmed {
		fmt.Fprintln(cmd.OutOrStdout(), "Next: in the console, compare this number and press Confirm. Until then nothing is exchanged.")
	}
	fmt.Fprintln(cmd.OutOrStdout(), "Then: restart the service, so that it connects (systemctl restart iwas-agent).")
	return nil
}

// group is a command that only has commands below it.
func group(use, short string, below ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use: use, Short: short,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return &exitError{exitUsage, fmt.Errorf("%s has no command %q; see %s --help", cmd.CommandPath(), args[0], cmd.CommandPath())}
			}
			return cmd.Help()
		},
	}
	c.AddCommand(below...)
	return c
}

func explainCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "explain CODE", Short: "Say what a code such as RTR-104 means and what to do; needs no network", Args: cobra.MaximumNArgs(1),
		Long: "Prints the help page of a code of the catalogue. Without a code it lists them all.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				if o.json {
					return printJSON(cmd, condition.All())
				}
				for _, c := range condition.All() {
					fmt.Fprintf(cmd.OutOrStdout(), "%-8s %-7s %s\n", c.Code, c.Severity, c.Title)
				}
				return nil
			}
			c, ok := condition.Lookup(args[0])
			if !ok {
				return &exitError{exitUsage, fmt.Errorf("there is no code %q; iwas-agent explain lists them all", args[0])}
			}
			page, _ := condition.Page(c.Code) // every code has one; a test sees to it
			if o.json {
				return printJSON(cmd, map[string]any{"code": c.Code, "severity": c.Severity, "title": c.Title, "cause": c.Cause, "next": c.Next, "page": page})
			}
			fmt.Fprint(cmd.OutOrStdout(), page)
			return nil
		},
	}
}

func configCommand(o *options) *cobra.Command {
	return group("config", "Show or check the configuration",
		&cobra.Command{
			Use: "validate", Short: "Check the configuration file", Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				if _, err := o.load(cmd); err != nil {
					return err
				}
				if o.json {
					return printJSON(cmd, map[string]any{"config": o.config, "fine": true})
				}
				fmt.Fprintln(cmd.OutOrStdout(), o.config, "is fine.")
				return nil
			},
		},
		&cobra.Command{
			Use: "show", Short: "Print the configuration in force, defaults included", Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				cfg, err := o.load(cmd)
				if err != nil {
					return err
				}
				if o.json {
					return printJSON(cmd, cfg)
				}
				return toml.NewEncoder(cmd.OutOrStdout()).Encode(cfg)
			},
		},
	)
}

package main

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"iwas/agent/statuspage/access"
	"iwas/internal/fault"
	"iwas/internal/secret"
)

// generatedLength of a password is 12 characters of 31: 59 bits.
const generatedLength = 12

func passwordCommand(o *options) *cobra.Command {
	return group("password", "Who may sign in on the status page", passwordSetCommand(o), passwordListCommand(o), passwordRemoveCommand(o))
}

// passwordFlags are where a password comes from.
type passwordFlags struct {
	role, file string
	generate   bool
}

func passwordSetCommand(o *options) *cobra.Command {
	var f passwordFlags
	c := &cobra.Command{
		Use: "set [NAME]", Short: "Set a password for the status page", Args: cobra.MaximumNArgs(1),
		Long: "Sets the password of a person, who is made if new; without a name, of \"technician\". Sign-ins with the old one end.\n" +
			"The first password opens the page to the network, where [status] names an address and networks. It is asked for twice,\n" +
			"or read from a file or from standard input. The service need not run, and follows at once when it does.",
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := o.load(cmd)
			if err != nil {
				return err
			}
			name := "technician"
			if len(args) > 0 {
				name = args[0]
			}
			return setPassword(cmd, o, cfg, name, f)
		},
	}
	c.Flags().StringVar(&f.role, "role", "", "technician or cashier; a new person is a technician")
	c.Flags().StringVar(&f.file, "password-file", "", "file with the password; - reads standard input")
	c.Flags().BoolVar(&f.generate, "generate", false, "make a password and print it once")
	c.MarkFlagsMutuallyExclusive("password-file", "generate")
	return c
}

// passwordSet is the answer of `password set --json`.
type passwordSet struct {
	Name        string      `json:"name"`
	Role        access.Role `json:"role"`
	Password    string      `json:"password,omitempty"` // a generated one
	URL         string      `json:"url,omitempty"`      // of the page for the network
	Networks    []string    `json:"networks,omitempty"`
	Fingerprint string      `json:"certificate_sha256,omitempty"`
}

func setPassword(cmd *cobra.Command, o *options, cfg config, name string, f passwordFlags) error {
	var role access.Role
	if f.role != "" {
		var err error
		if role, err = access.ParseRole(f.role); err != nil {
			return &exitError{exitUsage, err}
		}
	}
	password, err := f.password(cmd, name)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(cfg.StateDir, 0o700); err != nil {
		return needsRoot(err)
	}
	who, err := cfg.people().Set(cmd.Context(), name, role, password, time.Now())
	if err != nil {
		return needsRoot(err)
	}
	out := passwordSet{Name: who.Name, Role: who.Role}
	if f.generate {
		out.Password = password.Reveal()
	}
	if cfg.Status.Address != "" {
		out.URL, out.Networks = "https://"+cfg.Status.Address, cfg.Status.Networks
		if out.Fingerprint, _, err = cfg.certificate().Printed(); err != nil {
			return needsRoot(err)
		}
	}
	if o.json {
		return printJSON(cmd, out)
	}
	out.print(cmd.OutOrStdout(), cfg.Status.Listen)
	return nil
}

func (p passwordSet) print(w io.Writer, loopback string) {
	fmt.Fprintf(w, "%s may sign in, as a %s.\n", p.Name, p.Role)
	if p.Password != "" {
		fmt.Fprintf(w, "Password: %s\nIt is not shown again.\n", p.Password)
	}
	fmt.Fprintf(w, "On this box: http://%s\n", loopback)
	if p.URL == "" {
		fmt.Fprintln(w, "From the network: not yet. Set address and networks under [status] in the configuration, and restart the service.")
		return
	}
	fmt.Fprintf(w, "From %s: %s\n", strings.Join(p.Networks, ", "), p.URL)
	fmt.Fprintf(w, "The browser asks about the certificate once; it must show this SHA-256:\n  %s\n", p.Fingerprint)
}

// password makes, reads or asks for one.
func (f passwordFlags) password(cmd *cobra.Command, name string) (secret.Value, error) {
	in, isFile := cmd.InOrStdin().(*os.File)
	switch {
	case f.generate:
		return secret.Random(generatedLength), nil
	case f.file != "" && f.file != "-":
		v, err := readSecret(f.file)
		if err != nil {
			return "", &exitError{exitUsage, err}
		}
		return v, nil
	case f.file == "" && isFile && term.IsTerminal(int(in.Fd())):
		return askTwice(cmd.ErrOrStderr(), name, func() ([]byte, error) { return term.ReadPassword(int(in.Fd())) })
	}
	line, err := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return secret.Value(strings.TrimRight(line, "\r\n")), err
}

// askTwice asks a person who does not see what is typed.
func askTwice(talk io.Writer, name string, read func() ([]byte, error)) (secret.Value, error) {
	var typed [2]string
	for i, ask := range []string{"New password of " + name + ": ", "Once more: "} {
		fmt.Fprint(talk, ask)
		b, err := read()
		fmt.Fprintln(talk)
		if err != nil {
			return "", err
		}
		typed[i] = string(b)
	}
	if typed[0] != typed[1] {
		return "", fault.New(fault.Invalid, "the two are not the same; nothing was changed", nil).WithCode("", "Run the command again.")
	}
	return secret.Value(typed[0]), nil
}

// needsRoot says what to do where the files are not this user's.
func needsRoot(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return &exitError{exitRights, fault.New(fault.Denied, "", err).WithCode("", "Run it as root: sudo iwas-agent password …")}
	}
	return err
}

func passwordListCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List who may sign in", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := o.load(cmd)
			if err != nil {
				return err
			}
			all, err := cfg.people().List()
			if err != nil {
				return needsRoot(err)
			}
			if o.json {
				return printJSON(cmd, map[string]any{"people": all})
			}
			if len(all) == 0 {
				fmt.Fprintln(cmd.ErrOrStderr(), "Nobody may sign in. Next: iwas-agent password set")
				return nil
			}
			tw := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(tw, "NAME\tROLE\tPASSWORD SET")
			for _, p := range all {
				fmt.Fprintf(tw, "%s\t%s\t%s\n", cmp.Or(plain(p.Name), "-"), plain(string(p.Role)), p.SetAt.Local().Format("2006-01-02 15:04"))
			}
			return tw.Flush()
		},
	}
}

func passwordRemoveCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "remove NAME", Short: "Take a person's right to sign in away", Args: cobra.ExactArgs(1),
		Long: "The person's sign-ins end at once. With the last person gone the page is shut to the network.",
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := o.load(cmd)
			if err != nil {
				return err
			}
			if err := cfg.people().Remove(args[0]); err != nil {
				return needsRoot(err)
			}
			if o.json {
				return printJSON(cmd, map[string]string{"removed": args[0]})
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s may not sign in any more.\n", plain(args[0]))
			return nil
		},
	}
}

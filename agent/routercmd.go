package main

import (
	"bufio"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"iwas/agent/provision"
	"iwas/internal/fault"
	"iwas/internal/routeros"
	"iwas/internal/secret"
)

// routerCommand is all that a technician does about a router from the terminal.
func routerCommand(o *options) *cobra.Command {
	return group("router", "Add, trust, show, check and set up the routers of this site",
		routerScriptCommand(o), routerAddCommand(o), routerTrustCommand(o), routerShowCommand(o), routerCheckCommand(o), routerPlanCommand(o), routerApplyCommand(o),
		routerConfirmCommand(o), routerRollbackCommand(o), routerDriftCommand(o), loginCommand(o), routerCommandsCommand(o))
}

// yesFlags are how a person's yes is given.
type yesFlags struct {
	yes         bool
	fingerprint string
}

func (f *yesFlags) add(c *cobra.Command) {
	c.Flags().BoolVar(&f.yes, "yes", false, "trust the certificate shown without asking")
	c.Flags().StringVar(&f.fingerprint, "fingerprint", "", "SHA-256 to trust, as the router shows it; anything else is refused")
}

// agree shows a certificate and returns nil once a person trusts it.
func (f *yesFlags) agree(cmd *cobra.Command, in *bufio.Reader, address string, cert routeros.Certificate, old trust) error {
	talk := cmd.ErrOrStderr()
	fmt.Fprintf(talk, "The router at %s shows this certificate:\n  SHA-256  %s\n  subject  %s\n  valid    %s to %s\n", address, spaced(cert.SHA256),
		cert.Subject, cert.From.Format(time.DateOnly), cert.Until.Format(time.DateOnly))
	if cert.Expired(time.Now()) {
		fmt.Fprintln(talk, "Its dates exclude today: it has run out, or one of the two clocks is wrong. A trusted certificate is used all the same.")
	}
	if old.SHA256 != "" && old.SHA256 != cert.SHA256 {
		fmt.Fprintf(talk, "It is NOT the one trusted on %s (%s…).\nIf nobody renewed it and the router was not replaced, somebody stands in between.\n", old.TrustedAt.Format(time.DateOnly), old.SHA256[:16])
	}
	if f.fingerprint != "" {
		if !routeros.SameFingerprint(f.fingerprint, cert.SHA256) {
			return fault.New(fault.Forged, "the certificate is not the one named by --fingerprint", nil).
				WithCode(routeros.CodeCertificateChanged, "Compare with the router: /certificate/print detail, field fingerprint.")
		}
		return nil
	}
	if f.yes {
		return nil
	}
	fmt.Fprint(talk, "The router itself shows the same under /certificate/print detail, field fingerprint.\nIs it the same? [y/N] ")
	line, err := in.ReadString('\n')
	if err != nil && err != io.EOF {
		return err
	}
	if a := strings.ToLower(strings.TrimSpace(line)); a != "y" && a != "yes" {
		return &exitError{exitFailed, fmt.Errorf("not trusted; nothing was changed")}
	}
	return nil
}

// spaced breaks a fingerprint into groups that can be read aloud.
func spaced(hex string) string {
	var b strings.Builder
	for i := 0; i < len(hex); i += 4 {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(hex[i:min(i+4, len(hex))])
	}
	return b.String()
}

func routerTrustCommand(o *options) *cobra.Command {
	var f yesFlags
	c := &cobra.Command{
		Use: "trust [ROUTER]", Short: "Trust the certificate a router shows now", Args: cobra.MaximumNArgs(1),
		Long: "Shows the certificate of a configured router and, after a yes, uses it from then on. Do it once after set-up,\n" +
			"and again after the certificate was renewed or the router replaced (condition RTR-104).",
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := o.load(cmd)
			if err != nil {
				return err
			}
			n, err := cfg.nas(strings.Join(args, ""))
			if err != nil {
				return err
			}
			if n.Router.URL == "" {
				return fault.New(fault.NotFound, "router "+n.ID+" has no API configured", nil).WithCode("RTR-110", "Set url, user and password_file under [nas.router].")
			}
			if n.Router.SHA256 != "" {
				return &exitError{exitBadConfig, fmt.Errorf("router %s has a sha256 in %s: change it there, or remove it and trust again", n.ID, o.config)}
			}
			cert, err := routeros.LookAt(cmd.Context(), n.Router.URL)
			if err != nil {
				return err
			}
			old, err := cfg.trusted(n.ID)
			if err != nil {
				return err
			}
			if err := f.agree(cmd, bufio.NewReader(cmd.InOrStdin()), n.Router.URL, cert, old); err != nil {
				return err
			}
			if err := cfg.keepTrust(n.ID, n.Router.URL, cert, time.Now()); err != nil {
				return err
			}
			if o.json {
				return printJSON(cmd, map[string]any{"router": n.ID, "url": n.Router.URL, "sha256": cert.SHA256, "subject": cert.Subject, "valid_until": cert.Until})
			}
			fmt.Fprintf(cmd.OutOrStdout(), "Trusted. The running service uses it from its next connection on.\n")
			return nil
		},
	}
	f.add(c)
	return c
}

func routerShowCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "show", Short: "List the configured routers and what is trusted of them", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := o.load(cmd)
			if err != nil {
				return err
			}
			type shown struct {
				ID        string    `json:"id"`
				Name      string    `json:"name"`
				Address   string    `json:"address"`
				URL       string    `json:"url"`
				SHA256    string    `json:"sha256"`
				TrustedAt time.Time `json:"trusted_at,omitzero"`
				Login     string    `json:"stored_login,omitempty"` // by which the cloud may have a set-up applied
			}
			all := []shown{}
			for _, n := range cfg.NAS {
				s := shown{ID: n.ID, Name: n.Name, Address: n.Address, URL: n.Router.URL, SHA256: n.Router.SHA256}
				if t, err := cfg.trusted(n.ID); err == nil && s.SHA256 == "" && t.URL == n.Router.URL {
					s.SHA256, s.TrustedAt = t.SHA256, t.TrustedAt
				}
				l, _, err := cfg.loginStored(n.ID)
				if err != nil {
					return err
				}
				s.Login = l.User
				all = append(all, s)
			}
			if o.json {
				return printJSON(cmd, all)
			}
			out := cmd.OutOrStdout()
			for _, s := range all {
				fmt.Fprintf(out, "%s  %s\n  RADIUS from  %s\n  API          %s\n", s.ID, s.Name, s.Address, orText(s.URL, "none; locks end without proof (RTR-110)"))
				if strings.HasPrefix(s.URL, "api-ssl:") || strings.HasPrefix(s.URL, "https:") {
					fmt.Fprintf(out, "  certificate  %s\n", orText(s.SHA256, "not trusted yet: iwas-agent router trust "+s.ID))
				}
				if s.Login != "" {
					fmt.Fprintf(out, "  set-ups      the cloud may apply them, as %s (iwas-agent router login forget %s ends that)\n", s.Login, s.ID)
				}
			}
			if len(all) == 0 {
				fmt.Fprintln(out, "No router is configured. Next: iwas-agent router script")
			}
			return nil
		},
	}
}

func orText(s, empty string) string {
	if s == "" {
		return empty
	}
	return s
}

// secretFileOf is where the commands keep a router's secrets.
func (c config) secretFileOf(nas, what string) string {
	return filepath.Join(c.StateDir, "secrets", nas+"-"+what)
}

// madeSecret returns a secret kept for a router, made at random when there is none.
func (c config) madeSecret(nas, what string, length int) (secret.Value, error) {
	file := c.secretFileOf(nas, what)
	if v, err := readSecret(file); err == nil {
		return v, nil
	} else if _, serr := os.Stat(file); serr == nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return "", err
	}
	v := secret.Random(length)
	return v, secret.WriteFile(file, []byte(v.Reveal()+"\n"))
}

func routerScriptCommand(o *options) *cobra.Command {
	var id, agent, file string
	c := &cobra.Command{
		Use: "script --agent-address ADDRESS", Short: "Print what to paste into a router so that this box may manage it", Args: cobra.NoArgs,
		Long: "Prints RouterOS commands that make a user with the least rights for this box, make and sign a certificate,\n" +
			"open api-ssl and www-ssl to this box only, and enter this box as RADIUS server of the HotSpot. The secrets in\n" +
			"it are made at random and kept below the state directory; the same come again at every call.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := o.load(cmd)
			if err != nil {
				return err
			}
			address, err := netip.ParseAddr(agent)
			if err != nil {
				return &exitError{exitUsage, fmt.Errorf("--agent-address %q is not an address of this box as the router sees it", agent)}
			}
			password, err := cfg.madeSecret(id, "password", 24)
			if err != nil {
				return err
			}
			shared, err := cfg.madeSecret(id, "radius", 32)
			if err != nil {
				return err
			}
			text := provision.Script(address, password, shared)
			if file != "" {
				if err := secret.WriteFile(file, []byte(text)); err != nil {
					return err
				}
				fmt.Fprintf(cmd.ErrOrStderr(), "Written to %s. It holds secrets: remove it once it was pasted.\n", file)
			} else if o.json {
				if err := printJSON(cmd, map[string]string{"script": text}); err != nil {
					return err
				}
			} else {
				fmt.Fprint(cmd.OutOrStdout(), text)
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "Next: paste it into a terminal of the router, note the fingerprint it prints, then run\n  iwas-agent router add api-ssl://ROUTER --id %s\n", id)
			return nil
		},
	}
	c.Flags().StringVar(&id, "id", "router", "our name of the router: lower-case letters, digits, dashes")
	c.Flags().StringVar(&agent, "agent-address", "", "address of this box, as the router sees it")
	c.Flags().StringVar(&file, "out", "", "write to this file instead of the terminal")
	_ = c.MarkFlagRequired("agent-address") // fails only for a flag that does not exist
	return c
}

func routerAddCommand(o *options) *cobra.Command {
	var f yesFlags
	var n nasConfig
	c := &cobra.Command{
		Use: "add URL", Short: "Add a router: trust its certificate, log in, write its configuration", Args: cobra.ExactArgs(1),
		Long: "Adds a router that the output of `iwas-agent router script` was pasted into. URL is api-ssl://ADDRESS or\n" +
			"https://ADDRESS. The certificate is shown and must be trusted; then this box logs in, and writes the router's\n" +
			"section into conf.d beside the configuration file.",
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := o.load(cmd)
			if err != nil {
				return err
			}
			n.Router.URL = args[0]
			return addRouter(cmd, o, cfg, n, f)
		},
	}
	f.add(c)
	c.Flags().StringVar(&n.ID, "id", "router", "our name of the router: lower-case letters, digits, dashes")
	c.Flags().StringVar(&n.Name, "name", "Router", "its name for people")
	c.Flags().StringVar(&n.Address, "address", "", "where its RADIUS packets come from; empty is the host of URL")
	c.Flags().StringVar(&n.SecretFile, "secret-file", "", "file with the RADIUS secret; empty is the one made by router script")
	c.Flags().StringVar(&n.Router.User, "user", "iwas", "service user on the router")
	c.Flags().StringVar(&n.Router.PasswordFile, "password-file", "", "file with its password; empty is the one made by router script")
	return c
}

// addRouter does what each step needs before it writes anything.
func addRouter(cmd *cobra.Command, o *options, cfg config, n nasConfig, f yesFlags) error {
	if _, err := cfg.nas(n.ID); err == nil && len(cfg.NAS) > 0 {
		return &exitError{exitUsage, fmt.Errorf("router %q is configured already; remove it first, or choose another --id", n.ID)}
	}
	host, err := routeros.Host(n.Router.URL)
	if err != nil {
		return &exitError{exitUsage, err}
	}
	if n.Address == "" {
		n.Address = host
	}
	if n.SecretFile == "" {
		n.SecretFile = cfg.secretFileOf(n.ID, "radius")
	}
	if n.Router.PasswordFile == "" {
		n.Router.PasswordFile = cfg.secretFileOf(n.ID, "password")
	}
	for _, file := range []*string{&n.SecretFile, &n.Router.PasswordFile} {
		if *file, err = filepath.Abs(*file); err != nil {
			return err
		}
		if _, err := readSecret(*file); err != nil {
			return fault.New(fault.Invalid, "", err).WithCode("", "Run iwas-agent router script first, or name the file.")
		}
	}
	whole := cfg
	whole.NAS = append(whole.NAS[:len(whole.NAS):len(whole.NAS)], n)
	if err := whole.validate(); err != nil {
		return &exitError{exitUsage, err}
	}
	pin := ""
	if strings.HasPrefix(n.Router.URL, "api-ssl:") || strings.HasPrefix(n.Router.URL, "https:") {
		cert, err := routeros.LookAt(cmd.Context(), n.Router.URL)
		if err != nil {
			return err
		}
		if err := f.agree(cmd, bufio.NewReader(cmd.InOrStdin()), n.Router.URL, cert, trust{}); err != nil {
			return err
		}
		if err := cfg.keepTrust(n.ID, n.Router.URL, cert, time.Now()); err != nil {
			return err
		}
		pin = cert.SHA256
	}
	identity, err := logIn(cmd, n, pin)
	if err != nil {
		return err
	}
	file, err := writeRouterConfig(o.config, n)
	if err != nil {
		return err
	}
	if o.json {
		return printJSON(cmd, map[string]any{"router": n.ID, "identity": identity, "file": file, "sha256": pin})
	}
	fmt.Fprintf(cmd.OutOrStdout(), "Logged in to %s. Written to %s.\nNext: restart the service (systemctl restart iwas-agent), then iwas-agent router check %s.\n", identity, file, n.ID)
	return nil
}

// logIn proves that the service user works, and returns the router's name.
func logIn(cmd *cobra.Command, n nasConfig, pin string) (string, error) {
	password, err := readSecret(n.Router.PasswordFile)
	if err != nil {
		return "", err
	}
	conn, err := routeros.Dial(cmd.Context(), routeros.Options{URL: n.Router.URL, User: n.Router.User, Password: password, PinnedSHA256: pin})
	if err != nil {
		return "", err
	}
	defer conn.Close()
	rows, err := conn.Run(cmd.Context(), "/system/identity/print")
	if err != nil || len(rows) == 0 {
		return "", err
	}
	return rows[0]["name"], nil
}

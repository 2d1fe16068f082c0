package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"iwas/agent/provision"
	"iwas/internal/fault"
	"iwas/internal/routeros"
	"iwas/internal/secret"
)

// storedLogin is a login with all rights that somebody on site stored on purpose, so
// that the cloud may have a set-up applied. Nothing else uses it.
type storedLogin struct {
	User     string    `json:"user"`
	Password string    `json:"password"` // sealed by this box's key
	By       string    `json:"by"`
	At       time.Time `json:"at"`
}

func (c config) loginFile(nas string) string {
	return filepath.Join(c.StateDir, "routers", nas+".login.json")
}

// loginStored returns what is stored, without the password.
func (c config) loginStored(nas string) (storedLogin, bool, error) {
	var l storedLogin
	b, err := os.ReadFile(c.loginFile(nas))
	if errors.Is(err, fs.ErrNotExist) {
		return l, false, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &l)
	}
	if err != nil {
		return l, false, fault.New(fault.Damaged, "read the stored login", err).WithCode(provision.CodeNoLogin, "Store it again: iwas-agent router login store "+nas)
	}
	return l, l.User != "", nil
}

// loginVault seals stored logins by the key of this box, so that a file alone, in a
// backup, opens no router.
func (c config) loginVault() (*secret.Vault, error) {
	dir := filepath.Join(c.StateDir, "identity")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	key, err := secret.LoadKey(filepath.Join(dir, "seal.key"))
	if err != nil {
		return nil, fault.New(fault.Damaged, "load the sealing key", err)
	}
	return key.Vault("router logins")
}

func (c config) storeLogin(nas, user string, password secret.Value) error {
	vault, err := c.loginVault()
	if err != nil {
		return err
	}
	l := storedLogin{User: user, Password: vault.Seal(password.Reveal(), nas), By: whoAsks(), At: time.Now().UTC().Truncate(time.Second)}
	b, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(c.loginFile(nas)), 0o700); err != nil {
		return err
	}
	return secret.WriteFile(c.loginFile(nas), append(b, '\n'))
}

// openLogin returns the stored login; a fault with its code where there is none.
func (c config) openLogin(nas string) (user string, password secret.Value, err error) {
	l, ok, err := c.loginStored(nas)
	if err != nil {
		return "", "", err
	}
	if !ok {
		return "", "", fault.New(fault.Denied, "no login with all rights is stored on the box for "+nas+", so it can be applied on site only", nil).
			WithCode(provision.CodeNoLogin, "On the box: iwas-agent router apply "+nas+", which asks for the login and forgets it. Or, to allow it from here: iwas-agent router login store "+nas)
	}
	vault, err := c.loginVault()
	if err != nil {
		return "", "", err
	}
	text, err := vault.Open(l.Password, nas)
	if err != nil {
		return "", "", fault.New(fault.Damaged, "open the stored login", err).WithCode(provision.CodeNoLogin, "It was sealed by another key. Store it again: iwas-agent router login store "+nas)
	}
	return l.User, secret.Value(text), nil
}

// loginCommand stores and forgets a login with all rights.
func loginCommand(o *options) *cobra.Command {
	return group("login", "Let the cloud apply a router's set-up, or no longer", loginStoreCommand(o), loginForgetCommand(o))
}

func loginStoreCommand(o *options) *cobra.Command {
	var login loginFlags
	c := &cobra.Command{
		Use: "store [ROUTER]", Short: "Store a login with all rights for set-ups from the cloud", Args: cobra.MaximumNArgs(1),
		Long: "Stores a login of the group full, sealed by the key of this box, so that whoever may set routers up in the console can\n" +
			"have the plan applied from there. Without it the cloud can plan, confirm and roll back, and only somebody on site can\n" +
			"apply. It is tried once now, used for nothing else, shown by `iwas-agent router show`, and forgotten by\n" +
			"`iwas-agent router login forget`. Whoever steals the whole box can open it.",
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, n, err := routerOf(cmd, o, args)
			if err != nil {
				return err
			}
			password, err := login.password(cmd, bufio.NewReader(cmd.InOrStdin()))
			if err != nil {
				return err
			}
			conn, err := cfg.dialRouter(n, login.user, password, new(routeros.Pace))(cmd.Context())
			if err != nil {
				return err
			}
			err = provision.FullRights(cmd.Context(), conn, login.user)
			conn.Close()
			if err != nil {
				return err
			}
			if err := cfg.storeLogin(n.ID, login.user, password); err != nil {
				return err
			}
			if o.json {
				return printJSON(cmd, map[string]string{"router": n.ID, "user": login.user})
			}
			fmt.Fprintf(cmd.OutOrStdout(), "Stored: the console can now have a set-up of %s applied as %s. To end that: iwas-agent router login forget %s\n", n.ID, login.user, n.ID)
			return nil
		},
	}
	login.add(c, "admin")
	c.Flags().Lookup("user").Usage = "login on the router, of the group full"
	return c
}

func loginForgetCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "forget [ROUTER]", Short: "Forget the stored login: only somebody on site can apply then", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, n, err := routerOf(cmd, o, args)
			if err != nil {
				return err
			}
			err = os.Remove(cfg.loginFile(n.ID))
			if errors.Is(err, fs.ErrNotExist) {
				return fault.New(fault.NotFound, "no login of "+n.ID+" is stored", nil)
			}
			if err != nil {
				return err
			}
			if o.json {
				return printJSON(cmd, map[string]string{"router": n.ID})
			}
			fmt.Fprintf(cmd.OutOrStdout(), "Forgotten. If others may have read it, change the password on the router too.\n")
			return nil
		},
	}
}

// routerOf is the configured router that a command names.
func routerOf(cmd *cobra.Command, o *options, args []string) (config, nasConfig, error) {
	cfg, err := o.load(cmd)
	if err != nil {
		return cfg, nasConfig{}, err
	}
	name := ""
	if len(args) > 0 {
		name = args[0]
	}
	n, err := cfg.nas(name)
	if err == nil && n.Router.URL == "" {
		err = fault.New(fault.NotFound, "router "+n.ID+" has no API configured", nil).WithCode("RTR-110", "Set url, user and password_file under [nas.router].")
	}
	return cfg, n, err
}

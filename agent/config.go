package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"iwas/agent/router"
	"iwas/internal/fault"
	"iwas/internal/routeros"
	"iwas/internal/secret"
)

// config is agent.toml. Absent keys mean the defaults of defaultConfig.
// No secret stands in it: secrets are files, named here or kept below StateDir.
type config struct {
	Version  int          `toml:"version"`   // of this file's format; 1
	StateDir string       `toml:"state_dir"` // database, identity, secrets
	Control  string       `toml:"control"`   // socket for iwas-agent account; "" is control.sock in StateDir
	Language string       `toml:"language"`  // of guests before the cloud says it: en, ar
	RADIUS   radiusConfig `toml:"radius"`
	Status   statusConfig `toml:"status"`
	NAS      []nasConfig  `toml:"nas"`
}

type radiusConfig struct {
	Auth []string `toml:"auth"` // host:port to answer Access-Request on
	Acct []string `toml:"acct"` // host:port to answer Accounting-Request on
}

type statusConfig struct {
	Listen string `toml:"listen"` // loopback host:port of the status page
}

type nasConfig struct {
	ID         string       `toml:"id"`          // our name of the router: lower-case letters, digits, dashes
	Name       string       `toml:"name"`        // for people
	Address    string       `toml:"address"`     // address or network the router's RADIUS packets come from
	SecretFile string       `toml:"secret_file"` // shared secret of /radius on the router
	RequireMA  bool         `toml:"require_message_authenticator"`
	CoA        string       `toml:"coa"`        // host:port of /radius/incoming; "" is ADDRESS:3799
	CoASource  string       `toml:"coa_source"` // our address in the router's /radius entry; "" lets the system choose
	CoAStamp   bool         `toml:"coa_event_timestamp"`
	CoATimeout string       `toml:"coa_session_timeout"` // from_start, from_now; "" finds it out over the API
	Router     routerConfig `toml:"router"`
}

type routerConfig struct {
	URL          string `toml:"url"`           // api-ssl://host:8729 or https://host; "" leaves locks unproven
	User         string `toml:"user"`          // of the service user on the router
	PasswordFile string `toml:"password_file"` // of that user
	SHA256       string `toml:"sha256"`        // fingerprint of the router's certificate, for api-ssl and https
}

func defaultConfig() config {
	return config{
		Version:  1,
		StateDir: "/var/lib/iwas-agent",
		Language: "en",
		RADIUS:   radiusConfig{Auth: []string{"0.0.0.0:1812"}, Acct: []string{"0.0.0.0:1813"}},
		Status:   statusConfig{Listen: "127.0.0.1:8480"},
	}
}

// loadConfig reads the file at path. A file that does not exist is the
// defaults only if mayMiss. Relative file names are relative to the file.
func loadConfig(path string, mayMiss bool) (config, error) {
	c := defaultConfig()
	if err := readTOML(path, &c); err != nil && !(errors.Is(err, os.ErrNotExist) && mayMiss) {
		return c, err
	}
	dir := filepath.Dir(path)
	if err := c.readParts(filepath.Join(dir, partsDir)); err != nil {
		return c, err
	}
	for _, p := range c.paths() {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
	if err := c.validate(); err != nil {
		return c, fault.New(fault.Invalid, path, err)
	}
	return c, nil
}

// readTOML reads a file into v; unknown keys are errors.
func readTOML(path string, v any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return fault.New(fault.Invalid, "read configuration", err)
	}
	dec := toml.NewDecoder(strings.NewReader(string(b)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return fault.New(fault.Invalid, "", tomlError(path, err))
	}
	return nil
}

// partsDir is the folder beside the configuration file with a file a router, as
// `iwas-agent router add` writes them.
const partsDir = "conf.d"

// part is one file of partsDir.
type part struct {
	NAS []nasConfig `toml:"nas"`
}

// readParts adds the routers of the files in dir, in the order of their names.
func (c *config) readParts(dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.toml"))
	if err != nil {
		return err
	}
	for _, file := range files {
		var p part
		if err := readTOML(file, &p); err != nil {
			return err
		}
		c.NAS = append(c.NAS, p.NAS...)
	}
	return nil
}

// writeRouterConfig writes a router's section beside the configuration file and
// returns where. Nothing that a person wrote is touched.
func writeRouterConfig(config string, n nasConfig) (string, error) {
	dir := filepath.Join(filepath.Dir(config), partsDir)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return "", err
	}
	file, err := filepath.Abs(filepath.Join(dir, n.ID+".toml"))
	if err != nil {
		return "", err
	}
	b, err := toml.Marshal(part{NAS: []nasConfig{n}})
	if err != nil {
		return "", err
	}
	return file, secret.WriteFile(file, append([]byte("# Written by iwas-agent router add; it may be edited.\n"), b...))
}

// controlPath is the socket of the control door.
func (c *config) controlPath() string {
	if c.Control != "" {
		return c.Control
	}
	return filepath.Join(c.StateDir, "control.sock")
}

// paths returns every file name in the configuration.
func (c *config) paths() []*string {
	p := []*string{&c.StateDir, &c.Control}
	for i := range c.NAS {
		p = append(p, &c.NAS[i].SecretFile, &c.NAS[i].Router.PasswordFile)
	}
	return p
}

// tomlError says file, line and key, as a person needs to mend it.
func tomlError(path string, err error) error {
	var strict *toml.StrictMissingError
	if errors.As(err, &strict) && len(strict.Errors) > 0 {
		var all []error
		for _, e := range strict.Errors {
			line, _ := e.Position()
			all = append(all, fmt.Errorf("%s:%d: unknown key %q", path, line, strings.Join(e.Key(), ".")))
		}
		return errors.Join(all...)
	}
	var de *toml.DecodeError
	if errors.As(err, &de) {
		line, col := de.Position()
		if key := strings.Join(de.Key(), "."); key != "" {
			return fmt.Errorf("%s:%d:%d: key %q: %s", path, line, col, key, strings.TrimPrefix(de.Error(), "toml: "))
		}
		return fmt.Errorf("%s:%d:%d: %s", path, line, col, strings.TrimPrefix(de.Error(), "toml: "))
	}
	return fmt.Errorf("%s: %w", path, err)
}

// validate joins every fault it finds, each with the path of its key.
func (c *config) validate() error {
	var errs []error
	bad := func(key, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: %s", key, fmt.Sprintf(format, args...)))
	}
	if c.Version != 1 {
		bad("version", "this program reads version 1, not %d", c.Version)
	}
	if c.StateDir == "" {
		bad("state_dir", "must name a directory")
	}
	hostPort := func(key, v string) {
		if _, _, err := net.SplitHostPort(v); err != nil {
			bad(key, "%q is not host:port", v)
		}
	}
	for i, a := range c.RADIUS.Auth {
		hostPort(fmt.Sprintf("radius.auth[%d]", i), a)
	}
	for i, a := range c.RADIUS.Acct {
		hostPort(fmt.Sprintf("radius.acct[%d]", i), a)
	}
	hostPort("status.listen", c.Status.Listen)
	seen := map[string]bool{}
	for i, n := range c.NAS {
		key := func(k string) string { return fmt.Sprintf("nas[%d].%s", i, k) }
		if n.ID == "" || strings.Trim(n.ID, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			bad(key("id"), "%q must be lower-case letters, digits and dashes", n.ID)
		}
		if seen[n.ID] {
			bad(key("id"), "%q is used twice", n.ID)
		}
		seen[n.ID] = true
		if _, err := parseNetwork(n.Address); err != nil {
			bad(key("address"), "%q is not an address or a network such as 192.168.88.1 or 10.0.0.0/24", n.Address)
		}
		if n.SecretFile == "" {
			bad(key("secret_file"), "must name the file with the shared secret of /radius on the router")
		}
		if n.CoA != "" {
			if _, err := netip.ParseAddrPort(n.CoA); err != nil {
				bad(key("coa"), "%q is not address:port", n.CoA)
			}
		}
		switch router.TimeoutForm(n.CoATimeout) {
		case router.TimeoutProbed, router.TimeoutFromStart, router.TimeoutFromNow:
		default:
			bad(key("coa_session_timeout"), "%q is not %s, %s or empty", n.CoATimeout, router.TimeoutFromStart, router.TimeoutFromNow)
		}
		if n.CoASource != "" {
			if _, err := netip.ParseAddr(n.CoASource); err != nil {
				bad(key("coa_source"), "%q is not an address", n.CoASource)
			}
		}
		if r := n.Router; r.URL != "" {
			if err := routeros.CheckURL(r.URL); err != nil {
				bad(key("router.url"), "%v", err)
			}
			if r.User == "" || r.PasswordFile == "" {
				bad(key("router"), "user and password_file belong to url")
			}
		}
	}
	return errors.Join(errs...)
}

// parseNetwork reads an address or a network.
func parseNetwork(s string) (netip.Prefix, error) {
	if p, err := netip.ParsePrefix(s); err == nil {
		return p.Masked(), nil
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Prefix{}, err
	}
	return netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()), nil
}

// readSecret reads a secret from its own file, without the line end.
func readSecret(path string) (secret.Value, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fault.New(fault.Invalid, "read secret", err)
	}
	v := strings.TrimRight(string(b), "\r\n")
	if v == "" {
		return "", fault.New(fault.Invalid, "secret file "+path+" is empty", nil)
	}
	return secret.Value(v), nil
}

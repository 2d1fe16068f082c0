package main

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"

	"iwas/agent/provision"
	"iwas/agent/radius"
	"iwas/agent/router"
	"iwas/agent/store"
	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/routeros"
	"iwas/internal/secret"
	"iwas/internal/wire"
)

// config is agent.toml. Absent keys mean the defaults of defaultConfig.
// No secret stands in it: secrets are files, named here or kept below StateDir.
type config struct {
	Version  int    `toml:"version"`   // of this file's format; 1
	StateDir string `toml:"state_dir"` // database, identity, secrets
	Control  string `toml:"control"`   // socket for iwas-agent account; "" is control.sock in StateDir
	// OutboxMB is the disk, in MiB, for what the cloud does not have yet; past it
	// readings in between are folded.
	OutboxMB int    `toml:"outbox_mb"`
	Language string `toml:"language"` // of guests before the cloud says it: en, ar
	// OutageAfter is how long MQTT is away before the cloud is told over HTTPS why.
	OutageAfter string `toml:"outage_after"`
	// UpdateURL is the apt repository that `update --check` asks; "" asks apt itself.
	UpdateURL string       `toml:"update_url"`
	RADIUS    radiusConfig `toml:"radius"`
	Status    statusConfig `toml:"status"`
	EDL       edlConfig    `toml:"edl"`
	NAS       []nasConfig  `toml:"nas"`
}

type radiusConfig struct {
	Auth []string `toml:"auth"` // host:port to answer Access-Request on
	Acct []string `toml:"acct"` // host:port to answer Accounting-Request on
	// TestFromLoopback answers `iwas-agent test radius` of this box: requests
	// from a loopback address that prove the secret of the first [[nas]].
	TestFromLoopback bool `toml:"test_from_loopback"`
}

type statusConfig struct {
	Listen string `toml:"listen"` // loopback host:port of the status page
	// Address is the address:port of this box where technicians of Networks reach
	// the page over HTTPS, once a password is set; "" is nowhere.
	Address  string   `toml:"address"`
	Networks []string `toml:"networks"`
	Names    []string `toml:"names"`  // of this box in their browsers, besides the address
	Guests   []string `toml:"guests"` // networks and ranges of guests, besides those the routers tell
	// MetricsTokenFile holds the token that lets others than programs of this box
	// read /metrics; "" is nobody.
	MetricsTokenFile string `toml:"metrics_token_file"`
}

type nasConfig struct {
	ID            string   `toml:"id"`             // our name of the router: lower-case letters, digits, dashes
	Name          string   `toml:"name"`           // for people
	Address       string   `toml:"address"`        // address or network the router's RADIUS packets come from
	MoreAddresses []string `toml:"more_addresses"` // others they may come from
	SecretFile    string   `toml:"secret_file"`    // shared secret of /radius on the router
	// PreviousSecretFile is the secret before the last change, accepted besides
	// until PreviousSecretUntil, a date of this box's time zone; "" is no end.
	PreviousSecretFile  string `toml:"previous_secret_file"`
	PreviousSecretUntil string `toml:"previous_secret_until"`
	// MessageAuthenticator is learn, require or off; "" is learn.
	MessageAuthenticator string `toml:"message_authenticator"`
	// RequireMA is the older spelling of message_authenticator = "require".
	RequireMA  bool         `toml:"require_message_authenticator,omitempty"`
	CoA        string       `toml:"coa"`        // host:port of /radius/incoming; "" is ADDRESS:3799
	CoASource  string       `toml:"coa_source"` // our address in the router's /radius entry; "" is the one the router asks
	CoAStamp   bool         `toml:"coa_event_timestamp"`
	CoATimeout string       `toml:"coa_session_timeout"` // from_start, from_now; "" finds it out over the API
	Router     routerConfig `toml:"router"`
	// Setup is how the router should be set up; absent: this program leaves it alone.
	Setup *wire.RouterSetup `toml:"setup,omitempty"`
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
		StateDir: defaultStateDir,
		OutboxMB: store.DefaultLogCap >> 20,
		Language: "en", OutageAfter: "1m",
		RADIUS: radiusConfig{Auth: []string{"0.0.0.0:1812"}, Acct: []string{"0.0.0.0:1813"}, TestFromLoopback: true},
		Status: statusConfig{Listen: "127.0.0.1:8480"},
		EDL:    edlConfig{Interval: "1m", OnFailure: "keep"},
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

func (c *config) outageAfter() time.Duration {
	d, _ := time.ParseDuration(c.OutageAfter) // checked when it was read
	return d
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
	p := []*string{&c.StateDir, &c.Control, &c.Status.MetricsTokenFile, &c.EDL.Certificate, &c.EDL.CertificateKey, &c.EDL.KeyFile}
	for i := range c.NAS {
		p = append(p, &c.NAS[i].SecretFile, &c.NAS[i].PreviousSecretFile, &c.NAS[i].Router.PasswordFile)
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
	if c.OutboxMB < 16 {
		bad("outbox_mb", "%d is too little, at least 16", c.OutboxMB)
	}
	if d, err := time.ParseDuration(c.OutageAfter); err != nil || d < 5*time.Second || d > time.Hour {
		bad("outage_after", "%q must be a time from 5s to 1h", c.OutageAfter)
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
	c.validateDoor(bad)
	c.validateEDL(bad)
	seen := map[string]bool{loopbackNAS: true}
	owner := map[netip.Prefix]string{} // addresses of the sections before
	for i, n := range c.NAS {
		key := func(k string) string { return fmt.Sprintf("nas[%d].%s", i, k) }
		n.validateRADIUS(owner, func(k, format string, args ...any) { bad(key(k), format, args...) })
		if n.ID == "" || strings.Trim(n.ID, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			bad(key("id"), "%q must be lower-case letters, digits and dashes", n.ID)
		}
		if seen[n.ID] {
			bad(key("id"), "%q is used twice, or is a name of this program's own", n.ID)
		}
		seen[n.ID] = true
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
		if n.Setup != nil {
			if n.Router.URL == "" {
				bad(key("setup"), "needs [nas.router]: a router is set up over its API")
			}
			for _, err := range split(provision.Validate(*n.Setup)) {
				errs = append(errs, fmt.Errorf("%s.%w", key("setup"), err))
			}
		}
		if r := n.Router; r.URL != "" {
			if err := routeros.CheckURL(r.URL); err != nil {
				bad(key("router.url"), "%v", err)
			}
			if r.User == "" || r.PasswordFile == "" {
				bad(key("router"), "user and password_file belong to url")
			}
			if p, err := parseNetwork(n.Address); err == nil && !p.IsSingleIP() {
				bad(key("router.url"), "leads to one router, and address is the network %s: give each router a section of its own, so that what is read back is of the router that was asked", p)
			}
		}
	}
	return errors.Join(errs...)
}

// split takes joined errors apart.
func split(err error) []error {
	if all, ok := err.(interface{ Unwrap() []error }); ok {
		return all.Unwrap()
	}
	if err != nil {
		return []error{err}
	}
	return nil
}

// validateRADIUS finds the faults of who may ask and how it proves itself.
// owner holds whose the addresses of the sections before are.
func (n nasConfig) validateRADIUS(owner map[netip.Prefix]string, bad func(key, format string, args ...any)) {
	for i, a := range n.addresses() {
		key := "address"
		if i > 0 {
			key = fmt.Sprintf("more_addresses[%d]", i-1)
		}
		p, err := parseNetwork(a)
		if err != nil {
			bad(key, "%q is not an address or a network such as 192.168.88.1 or 10.0.0.0/24", a)
			continue
		}
		if other, taken := owner[p]; taken {
			bad(key, "%s belongs to %q already: packets from it can be of one router only", a, other)
		}
		owner[p] = n.ID
	}
	if n.SecretFile == "" {
		bad("secret_file", "must name the file with the shared secret of /radius on the router")
	}
	if n.PreviousSecretUntil != "" {
		if _, err := n.previousUntil(); err != nil {
			bad("previous_secret_until", "%q is not a date such as 2026-12-31", n.PreviousSecretUntil)
		}
		if n.PreviousSecretFile == "" {
			bad("previous_secret_until", "belongs to previous_secret_file, which is empty")
		}
	}
	switch p := radius.Policy(n.MessageAuthenticator); p {
	case "", radius.Learn, radius.Require, radius.Off:
		if n.RequireMA && p != "" && p != radius.Require {
			bad("message_authenticator", "%q contradicts require_message_authenticator = true: leave the older key out", p)
		}
	default:
		bad("message_authenticator", "%q is not learn, require or off", n.MessageAuthenticator)
	}
}

// addresses are all the router's packets may come from.
func (n nasConfig) addresses() []string { return append([]string{n.Address}, n.MoreAddresses...) }

// policy is what the keys about Message-Authenticator mean together.
func (n nasConfig) policy() radius.Policy {
	if n.RequireMA {
		return radius.Require
	}
	return radius.Policy(cmp.Or(n.MessageAuthenticator, string(radius.Learn)))
}

// previousUntil is the end of the last day on which the previous secret is
// accepted; zero if there is no such day.
func (n nasConfig) previousUntil() (time.Time, error) {
	if n.PreviousSecretUntil == "" {
		return time.Time{}, nil
	}
	day, err := hotspot.ParseDay(n.PreviousSecretUntil, time.Local)
	if err != nil {
		return time.Time{}, err
	}
	_, end := hotspot.DayOf(day, time.Local)
	return end, nil
}

// loopbackNAS is the name under which this box's own test requests are counted.
const loopbackNAS = "loopback-test"

// nases turns the configuration into what RADIUS needs.
func (c config) nases() ([]radius.NAS, error) {
	var out []radius.NAS
	for _, n := range c.NAS {
		nas, err := n.nas()
		if err != nil {
			return nil, fmt.Errorf("nas %s: %w", n.ID, err)
		}
		out = append(out, nas)
	}
	if len(out) > 0 && c.RADIUS.TestFromLoopback {
		// A router of that address goes first: the first of two wins.
		out = append(out, radius.NAS{ID: loopbackNAS, Name: "iwas-agent test radius", Network: netip.MustParsePrefix("127.0.0.1/32"),
			Also: []netip.Prefix{netip.MustParsePrefix("::1/128")}, Secret: out[0].Secret, MessageAuthenticator: radius.Require})
	}
	return out, nil
}

func (n nasConfig) nas() (radius.NAS, error) {
	nas := radius.NAS{ID: hotspot.NASID(n.ID), Name: n.Name, MessageAuthenticator: n.policy(), CoATimestamp: n.CoAStamp}
	var err error
	for i, a := range n.addresses() {
		p, err := parseNetwork(a)
		if err != nil {
			return nas, err
		}
		if i == 0 {
			nas.Network = p
		} else {
			nas.Also = append(nas.Also, p)
		}
	}
	if nas.Secret, err = readSecret(n.SecretFile); err != nil {
		return nas, err
	}
	if n.PreviousSecretFile != "" {
		if nas.Previous, err = readSecret(n.PreviousSecretFile); err != nil {
			return nas, err
		}
	}
	if nas.PreviousUntil, err = n.previousUntil(); err != nil {
		return nas, err
	}
	switch {
	case n.CoA != "":
		nas.CoA, err = netip.ParseAddrPort(n.CoA)
	case nas.Network.IsSingleIP():
		nas.CoA = netip.AddrPortFrom(nas.Network.Addr(), 3799)
	}
	if err == nil && n.CoASource != "" {
		nas.CoASource, err = netip.ParseAddr(n.CoASource)
	}
	return nas, err
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

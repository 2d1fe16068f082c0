package main

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"iwas/internal/fault"
	"iwas/internal/webui"
)

// config is cloud.toml. Absent keys mean the defaults of defaultConfig. Secrets
// are files; a database URL with a password belongs into DatabaseFile.
type config struct {
	Version      int           `toml:"version"`       // of this file's format; 1
	StateDir     string        `toml:"state_dir"`     // database, keys, certificate authority
	Database     string        `toml:"database"`      // sqlite:///path or postgres://…; "" is SQLite in state_dir
	DatabaseFile string        `toml:"database_file"` // file with the database URL, when it holds a password
	Console      consoleConfig `toml:"console"`
	Agents       agentsConfig  `toml:"agents"`
	Broker       brokerConfig  `toml:"broker"`
}

type consoleConfig struct {
	Listen    string   `toml:"listen"`          // host:port, plain HTTP: loopback, or behind a proxy that ends TLS
	PublicURL string   `toml:"public_url"`      // as people reach it
	Hosts     []string `toml:"hosts"`           // names answered to besides the host of public_url
	Proxies   []string `toml:"trusted_proxies"` // addresses and networks whose X-Forwarded-For is believed
	// MetricsTokenFile holds the token that lets others than programs of this
	// machine read /metrics; "" is nobody.
	MetricsTokenFile string `toml:"metrics_token_file"`
}

type agentsConfig struct {
	Listen string   `toml:"listen"` // host:port, HTTPS with our own certificate: where boxes enrol
	Names  []string `toml:"names"`  // names and addresses boxes reach this machine by; in the certificate
}

type brokerConfig struct {
	Listen    string `toml:"listen"`     // host:port, MQTT over TLS with client certificates; unused with url
	PublicURL string `toml:"public_url"` // as boxes reach it: tls://host:port

	URL         string `toml:"url"`              // tls://host:port of a broker of your own, the cloud's door of it; "" is the broker in this program
	CAFile      string `toml:"ca_file"`          // PEM, who signed that broker's certificate; boxes are told to believe it too
	CertFile    string `toml:"cert_file"`        // PEM, our client certificate there
	KeyFile     string `toml:"key_file"`         // PEM, its key
	Shared      bool   `toml:"shared"`           // share what boxes send with other replicas ($share)
	Revocations string `toml:"revocations_file"` // written here for that broker: the boxes' certificates that are revoked
}

// external reports whether the broker is not in this program.
func (b brokerConfig) external() bool { return b.URL != "" }

func defaultConfig() config {
	return config{
		Version:  1,
		StateDir: "/var/lib/iwas-cloud",
		Console:  consoleConfig{Listen: "127.0.0.1:8080", PublicURL: "http://127.0.0.1:8080", Proxies: []string{"127.0.0.0/8", "::1"}},
		Agents:   agentsConfig{Listen: "0.0.0.0:8443", Names: []string{"localhost", "127.0.0.1"}},
		Broker:   brokerConfig{Listen: "0.0.0.0:8883", PublicURL: "tls://127.0.0.1:8883"},
	}
}

// loadConfig reads the file at path. A file that does not exist is the defaults
// only if mayMiss.
func loadConfig(path string, mayMiss bool) (config, error) {
	c := defaultConfig()
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) && mayMiss {
		return c.complete("")
	}
	if err != nil {
		return c, fault.New(fault.Invalid, "read configuration", err)
	}
	dec := toml.NewDecoder(strings.NewReader(string(b)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&c); err != nil {
		return c, fault.New(fault.Invalid, "", tomlError(path, err))
	}
	if err := c.validate(); err != nil {
		return c, fault.New(fault.Invalid, path, err)
	}
	return c.complete(filepath.Dir(path))
}

// complete makes file names absolute and reads the database URL.
func (c config) complete(dir string) (config, error) {
	for _, p := range []*string{&c.StateDir, &c.DatabaseFile, &c.Console.MetricsTokenFile, &c.Broker.CAFile, &c.Broker.CertFile, &c.Broker.KeyFile, &c.Broker.Revocations} {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
	if c.DatabaseFile != "" {
		b, err := os.ReadFile(c.DatabaseFile)
		if err != nil {
			return c, fault.New(fault.Invalid, "read database_file", err)
		}
		c.Database = strings.TrimSpace(string(b))
	}
	if c.Database == "" {
		abs, err := filepath.Abs(filepath.Join(c.StateDir, "iwas.db"))
		if err != nil {
			return c, err
		}
		c.Database = (&url.URL{Scheme: "sqlite", Path: filepath.ToSlash(abs)}).String()
	}
	return c, nil
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
		return fmt.Errorf("%s:%d:%d: key %q: %s", path, line, col, strings.Join(de.Key(), "."), strings.TrimPrefix(de.Error(), "toml: "))
	}
	return fmt.Errorf("%s: %w", path, err)
}

func (b brokerConfig) validate(bad func(key, format string, args ...any)) {
	files := map[string]string{"broker.ca_file": b.CAFile, "broker.cert_file": b.CertFile, "broker.key_file": b.KeyFile}
	if !b.external() {
		files["broker.revocations_file"] = b.Revocations
		for key, file := range files {
			if file != "" {
				bad(key, "is for a broker of your own: set broker.url too")
			}
		}
		return
	}
	if u, err := url.Parse(b.URL); err != nil || u.Host == "" || u.Scheme != "tls" {
		bad("broker.url", "%q is not tls://host:port", b.URL)
	}
	for key, file := range files {
		if file == "" {
			bad(key, "is needed with broker.url")
		}
	}
}

func (c *config) validate() error {
	var errs []error
	bad := func(key, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: %s", key, fmt.Sprintf(format, args...)))
	}
	if c.Version != 1 {
		bad("version", "this program reads version 1, not %d", c.Version)
	}
	if _, err := webui.ParseProxies(c.Console.Proxies); err != nil {
		bad("console.trusted_proxies", "%v", err)
	}
	if c.StateDir == "" {
		bad("state_dir", "must name a directory")
	}
	if c.Database != "" && !strings.HasPrefix(c.Database, "sqlite://") && !strings.HasPrefix(c.Database, "postgres://") {
		bad("database", "must begin with sqlite:// or postgres://")
	}
	for key, v := range map[string]string{"console.listen": c.Console.Listen, "agents.listen": c.Agents.Listen, "broker.listen": c.Broker.Listen} {
		if _, _, err := net.SplitHostPort(v); err != nil {
			bad(key, "%q is not host:port", v)
		}
	}
	if u, err := url.Parse(c.Console.PublicURL); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		bad("console.public_url", "%q is not http(s)://host[:port]", c.Console.PublicURL)
	}
	if u, err := url.Parse(c.Broker.PublicURL); err != nil || u.Host == "" || u.Scheme != "tls" {
		bad("broker.public_url", "%q is not tls://host:port", c.Broker.PublicURL)
	}
	c.Broker.validate(bad)
	if len(c.Agents.Names) == 0 {
		bad("agents.names", "must hold the name or address boxes reach this machine by")
	}
	return errors.Join(errs...)
}

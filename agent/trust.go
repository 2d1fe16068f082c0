package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"iwas/internal/fault"
	"iwas/internal/routeros"
	"iwas/internal/secret"
)

// trust is a router's certificate that a person said yes to. It is kept below
// the state directory, one file a router; a sha256 in the configuration goes first.
type trust struct {
	URL       string    `json:"url"`
	SHA256    string    `json:"sha256"`
	Subject   string    `json:"subject"`
	Until     time.Time `json:"valid_until"`
	TrustedAt time.Time `json:"trusted_at"`
}

func (c config) trustFile(nas string) string {
	return filepath.Join(c.StateDir, "routers", nas+".json")
}

// trusted returns what was trusted of a router; the zero value when nothing was.
func (c config) trusted(nas string) (trust, error) {
	var t trust
	b, err := os.ReadFile(c.trustFile(nas))
	if errors.Is(err, fs.ErrNotExist) {
		return t, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &t)
	}
	if err != nil {
		return t, fault.New(fault.Damaged, "read "+c.trustFile(nas), err).WithCode("", "Remove the file and run: iwas-agent router trust "+nas)
	}
	return t, nil
}

// fingerprint is the certificate a router must show: as configured, else as
// trusted for this very address.
func (c config) fingerprint(n nasConfig) (string, error) {
	if n.Router.SHA256 != "" {
		return n.Router.SHA256, nil
	}
	t, err := c.trusted(n.ID)
	if err != nil || t.URL != n.Router.URL {
		return "", err
	}
	return t.SHA256, nil
}

// keepTrust remembers a person's yes.
func (c config) keepTrust(nas, address string, cert routeros.Certificate, now time.Time) error {
	if err := os.MkdirAll(filepath.Dir(c.trustFile(nas)), 0o700); err != nil {
		return err
	}
	b, err := json.MarshalIndent(trust{URL: address, SHA256: cert.SHA256, Subject: cert.Subject, Until: cert.Until.UTC(), TrustedAt: now.UTC().Truncate(time.Second)}, "", "  ")
	if err != nil {
		return err
	}
	return secret.WriteFile(c.trustFile(nas), append(b, '\n'))
}

// nas returns a configured router by name; with no name, the only one.
func (c config) nas(id string) (nasConfig, error) {
	if id == "" && len(c.NAS) == 1 {
		return c.NAS[0], nil
	}
	names := []string{}
	for _, n := range c.NAS {
		if n.ID == id {
			return n, nil
		}
		names = append(names, n.ID)
	}
	switch {
	case len(names) == 0:
		return nasConfig{}, fault.New(fault.NotFound, "no router is configured", nil).WithCode("RTR-109", "iwas-agent router add URL")
	case id == "":
		return nasConfig{}, &exitError{exitUsage, fmt.Errorf("there are several routers, name one of %v", names)}
	}
	return nasConfig{}, &exitError{exitUsage, fmt.Errorf("no router is called %q, there are %v", id, names)}
}

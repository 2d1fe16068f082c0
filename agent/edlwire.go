package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/thejerf/suture/v4"

	"iwas/agent/edl"
	"iwas/internal/condition"
	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/secret"
)

// edlConfig is [edl]: address-lists for routers that fetch them.
type edlConfig struct {
	Listen         string   `toml:"listen"`          // host:port; "" is off
	Names          []string `toml:"names"`           // addresses or names by which routers know this box; empty is the host of listen
	Certificate    string   `toml:"certificate"`     // PEM file; "" is one that this box makes
	CertificateKey string   `toml:"certificate_key"` // PEM file of its key
	KeyFile        string   `toml:"key_file"`        // what routers prove in the header Authorization; "" is made in StateDir
	Allow          []string `toml:"allow"`           // who may fetch; empty is the addresses of every [[nas]]
	Interval       string   `toml:"interval"`        // in which routers fetch
	OnFailure      string   `toml:"on_failure"`      // keep or expire
}

func (c config) validateEDL(bad func(key, format string, args ...any)) {
	e := c.EDL
	if d, err := time.ParseDuration(e.Interval); err != nil || d < 10*time.Second || d > 24*time.Hour || d%time.Second != 0 {
		bad("edl.interval", "%q is not 10s to 24h in whole seconds", e.Interval)
	}
	if f := edl.Failing(e.OnFailure); f != edl.Keep && f != edl.Expire {
		bad("edl.on_failure", "%q is neither %s nor %s", e.OnFailure, edl.Keep, edl.Expire)
	}
	for i, a := range e.Allow {
		if _, err := parseNetwork(a); err != nil {
			bad(fmt.Sprintf("edl.allow[%d]", i), "%q is not an address or a network", a)
		}
	}
	if (e.Certificate == "") != (e.CertificateKey == "") {
		bad("edl", "certificate and certificate_key belong together")
	}
	if e.Listen == "" {
		return
	}
	host, _, err := net.SplitHostPort(e.Listen)
	if err != nil {
		bad("edl.listen", "%q is not host:port", e.Listen)
	}
	if a, err := netip.ParseAddr(host); len(e.Names) == 0 && (host == "" || err == nil && a.IsUnspecified()) {
		bad("edl.names", "must say by which address routers know this box, since listen names none")
	}
}

func (c config) edlKeyFile() string {
	return cmp.Or(c.EDL.KeyFile, filepath.Join(c.StateDir, "secrets", "edl"))
}

func (c config) edlAuthorityDir() string { return filepath.Join(c.StateDir, "edl") }

// edlNames are those by which routers know this box.
func (c config) edlNames() []string {
	if len(c.EDL.Names) > 0 {
		return c.EDL.Names
	}
	host, _, _ := net.SplitHostPort(c.EDL.Listen) // checked when it was read
	return []string{host}
}

func (c config) edlInterval() time.Duration {
	d, _ := time.ParseDuration(c.EDL.Interval) // checked when it was read
	return d
}

// edlRouters are who may fetch.
func (c config) edlRouters() (out []edl.Router) {
	for _, n := range c.NAS {
		r := edl.Router{NAS: hotspot.NASID(n.ID)}
		for _, a := range n.addresses() {
			if p, err := parseNetwork(a); err == nil {
				r.Networks = append(r.Networks, p)
			}
		}
		out = append(out, r)
	}
	if len(c.EDL.Allow) == 0 {
		return out
	}
	var allowed []edl.Router
	for _, a := range c.EDL.Allow {
		p, err := parseNetwork(a)
		if err != nil {
			continue // refused when it was read
		}
		r := edl.Router{Networks: []netip.Prefix{p}}
		for _, n := range out { // whose it is decides which sessions' entries it gets
			for _, own := range n.Networks {
				if own.Overlaps(p) {
					r.NAS = n.NAS
				}
			}
		}
		allowed = append(allowed, r)
	}
	return allowed
}

// wireEDL adds the listener for routers that fetch their lists. What is wrong
// with its files keeps the cafe from nothing else.
func (s *site) wireEDL(sup *suture.Supervisor) {
	if s.cfg.EDL.Listen == "" {
		return
	}
	s.lists = &edl.Server{Listen: s.cfg.EDL.Listen, Routers: s.cfg.edlRouters(), Source: s.db, Interval: s.cfg.edlInterval(), Failing: edl.Failing(s.cfg.EDL.OnFailure),
		Served: s.servedLists, Log: s.log.With("part", "edl"), Bound: func(addr string) { s.log.Info("address-lists for routers", "url", "https://"+addr+"/edl/") }}
	err := s.edlSecrets()
	if err != nil {
		s.listsErr = err
		s.log.Error("address-lists are not offered to routers", "err", err, "code", edl.CodeDoor, "next", fault.Hint(err))
		return
	}
	sup.Add(task{"address-lists", s.lists.Serve})
}

func (s *site) edlSecrets() (err error) {
	if s.lists.Key, err = edl.LoadKey(s.cfg.edlKeyFile()); err != nil {
		return err
	}
	if s.cfg.EDL.Certificate != "" {
		pair, err := tls.LoadX509KeyPair(s.cfg.EDL.Certificate, s.cfg.EDL.CertificateKey)
		s.lists.TLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
		return err
	}
	a, err := edl.LoadAuthority(s.cfg.edlAuthorityDir(), time.Now())
	if err == nil {
		s.lists.TLS = a.TLS(s.cfg.edlNames(), time.Now)
	}
	return err
}

// servedLists notes what a router fetched that cannot be asked what it has.
func (s *site) servedLists(ctx context.Context, nas hotspot.NASID, grants []hotspot.GrantID) error {
	for _, n := range s.cfg.NAS {
		if hotspot.NASID(n.ID) == nas && n.Router.URL != "" {
			return nil
		}
	}
	settled := make([]hotspot.SettledGrant, len(grants))
	for i, id := range grants {
		settled[i] = hotspot.SettledGrant{ID: id, State: hotspot.GrantServed}
	}
	return s.db.SettleGrants(ctx, settled)
}

const (
	wrongKeyRecent = 5 * time.Minute
	fetchesMissed  = 3
)

// edlFindings are what is wrong with lists that routers fetch.
func (s *site) edlFindings(now time.Time) (out []condition.Finding) {
	if s.lists == nil {
		return nil
	}
	st := s.lists.Stats()
	if s.listsErr != nil {
		st.Problem = s.listsErr.Error()
	}
	if st.Problem != "" {
		out = append(out, condition.Finding{Code: edl.CodeDoor, Text: st.Problem})
	}
	if k := st.WrongKey; k.N > 0 && now.Sub(k.Last) < wrongKeyRecent {
		out = append(out, condition.Finding{Code: edl.CodeWrongKey, Text: fmt.Sprintf("%d requests since the start, the last from %s", k.N, k.From)})
	}
	for nas, at := range st.Fetched {
		if late := now.Sub(at); late > fetchesMissed*s.cfg.edlInterval()+10*time.Second {
			out = append(out, condition.Finding{Code: edl.CodeSilent, Subject: string(nas), Text: fmt.Sprintf("%s: the last fetch was %s ago", nas, late.Round(time.Second))})
		}
	}
	return out
}

// edlCommand is for who sets such a router up.
func edlCommand(o *options) *cobra.Command {
	return group("edl", "Address-lists for a router that fetches them", edlScriptCommand(o), edlAuthorityCommand(o))
}

func edlScriptCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "script LIST...", Short: "Print what to paste on the router, the key included", Args: cobra.MinimumNArgs(1),
		Long: "Prints the commands that make a router fetch lists by itself. They hold the key: paste them, keep them nowhere.\n" +
			"The router needs the certificate of `iwas-agent edl authority` as the file iwas-ca.crt first, and its device-mode\n" +
			"must allow scheduler and fetch.",
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, key, err := o.loadEDL(cmd)
			if err != nil {
				return err
			}
			_, port, _ := net.SplitHostPort(cfg.EDL.Listen) // checked when it was read
			script := edl.Script{URL: "https://" + net.JoinHostPort(cfg.edlNames()[0], port), Key: key, Lists: args, Interval: cfg.edlInterval()}
			text, err := script.Commands("iwas-ca.crt")
			if err != nil {
				return &exitError{exitUsage, err}
			}
			if o.json {
				event, err := script.OnEvent()
				if err != nil {
					return err
				}
				return printJSON(cmd, map[string]string{"commands": text, "on_event": event, "policy": edl.Policy})
			}
			_, err = fmt.Fprint(cmd.OutOrStdout(), text)
			return err
		},
	}
}

func edlAuthorityCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "authority", Short: "Print the certificate that the router imports", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, _, err := o.loadEDL(cmd)
			if err != nil {
				return err
			}
			pem, err := os.ReadFile(cfg.EDL.Certificate)
			if cfg.EDL.Certificate == "" {
				var a *edl.Authority
				if a, err = edl.LoadAuthority(cfg.edlAuthorityDir(), time.Now()); err == nil {
					pem = a.PEM
				}
			}
			if err != nil {
				return err
			}
			if o.json {
				return printJSON(cmd, map[string]string{"pem": strings.TrimSpace(string(pem))})
			}
			_, err = cmd.OutOrStdout().Write(pem)
			return err
		},
	}
}

// loadEDL reads the configuration and the key.
func (o *options) loadEDL(cmd *cobra.Command) (cfg config, key secret.Value, err error) {
	if cfg, err = o.load(cmd); err != nil {
		return cfg, key, err
	}
	if cfg.EDL.Listen == "" {
		return cfg, key, &exitError{exitBadConfig, fault.New(fault.Invalid, "no listener is configured", nil).WithCode("", "Set listen under [edl], such as \"10.10.0.2:8443\", and restart the service.")}
	}
	// The service makes both, as the user who reads them.
	for _, file := range []string{cfg.edlKeyFile(), filepath.Join(cfg.edlAuthorityDir(), "ca.crt")} {
		if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) && (cfg.EDL.Certificate == "" || file == cfg.edlKeyFile()) {
			return cfg, key, &exitError{exitNotThere, fault.New(fault.NotFound, "the service has not made "+file+" yet", nil).WithCode("", "Restart the service, then ask again.")}
		}
	}
	key, err = edl.LoadKey(cfg.edlKeyFile())
	return cfg, key, err
}

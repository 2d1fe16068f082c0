package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/pelletier/go-toml/v2"
	"github.com/spf13/cobra"

	"iwas/agent/statuspage"
	"iwas/agent/support"
	"iwas/internal/buildinfo"
	"iwas/internal/hotspot"
	"iwas/internal/logs"
	"iwas/internal/routeros"
	"iwas/internal/secret"
	"iwas/internal/webui"
)

const (
	bundleLines  = 10_000           // of the log
	bundleRouter = 12 * time.Second // for all menus of one router
	bundleCheck  = 12 * time.Second // for reading the database through
)

// secrets are all that this box knows: what must stand in no bundle.
func (c config) secrets() (out []secret.Value) {
	files := []string{c.Status.MetricsTokenFile, c.EDL.CertificateKey, c.edlKeyFile()}
	for _, n := range c.NAS {
		files = append(files, n.SecretFile, n.PreviousSecretFile, n.Router.PasswordFile)
	}
	for _, pattern := range []string{"*.key", "*/*.key", "identity/*.pem", "secrets/*", "people.json", "routers/*login*"} {
		found, _ := filepath.Glob(filepath.Join(c.StateDir, pattern)) // fails for a bad pattern alone
		files = append(files, found...)
	}
	slices.Sort(files)
	for _, f := range slices.Compact(files) {
		if b, err := os.ReadFile(f); err == nil && f != "" {
			out = append(out, secretsIn(b)...)
		}
	}
	return out
}

// secretsIn are the secrets of a file: its text, the lines of private keys, the
// hashes of passwords. A certificate is none.
func secretsIn(b []byte) (out []secret.Value) {
	if block, _ := pem.Decode(b); block != nil {
		for ; block != nil; block, b = pem.Decode(b) {
			if !strings.Contains(block.Type, "KEY") || strings.Contains(block.Type, "PUBLIC") {
				continue
			}
			for line := range strings.Lines(string(pem.EncodeToMemory(block))) {
				if !strings.HasPrefix(line, "-----") {
					out = append(out, secret.Value(strings.TrimSpace(line)))
				}
			}
		}
		return out
	}
	var book struct {
		People []struct {
			Hash string `json:"argon2id"`
		} `json:"people"`
	}
	if json.Unmarshal(b, &book) == nil && len(book.People) > 0 {
		for _, p := range book.People {
			out = append(out, secret.Value(p.Hash))
		}
		return out
	}
	return append(out, secret.Value(strings.TrimSpace(string(b))))
}

// collectors are what can be told of a box whether its service runs or not.
func (c config) collectors() []support.Collector {
	return []support.Collector{
		{Name: "version.txt", About: "version of this program, and of what it was built with", Collect: func(context.Context) ([]byte, error) {
			return fmt.Appendf(nil, "iwas-agent %s\n%s %s/%s\n", buildinfo.String(), runtime.Version(), runtime.GOOS, runtime.GOARCH), nil
		}},
		{Name: "config.toml", About: "configuration in force; secrets are files, of which it has the names", Collect: func(context.Context) ([]byte, error) { return toml.Marshal(c) }},
		{Name: "system.txt", About: "operating system, memory, disk, network addresses", Collect: func(context.Context) ([]byte, error) { return c.systemText(), nil }},
		{Name: "files.txt", About: "names, sizes and rights of the files of the state directory", Collect: func(context.Context) ([]byte, error) { return listFiles(c.StateDir) }},
	}
}

func (c config) systemText() []byte {
	var out bytes.Buffer
	fmt.Fprintf(&out, "time %s\nprocessors %d\nfree on the disk of the state directory %d octets\n", time.Now().Format(time.RFC3339), runtime.NumCPU(), diskFree(c.StateDir))
	for _, f := range []string{"/etc/os-release", "/proc/version", "/proc/uptime", "/proc/loadavg", "/proc/meminfo", "/proc/net/route"} {
		if b, err := os.ReadFile(f); err == nil { // of Linux
			fmt.Fprintf(&out, "\n== %s\n%s", f, b)
		}
	}
	ifaces, err := net.Interfaces()
	fmt.Fprintf(&out, "\n== interfaces\n")
	for _, i := range ifaces {
		addrs, _ := i.Addrs() // of one that went away there are none
		fmt.Fprintf(&out, "%s %s %v\n", i.Name, i.Flags, addrs)
	}
	if err != nil {
		fmt.Fprintln(&out, err)
	}
	return out.Bytes()
}

func listFiles(dir string) ([]byte, error) {
	var out bytes.Buffer
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil {
			fmt.Fprintf(&out, "%s: %v\n", path, err)
			return nil
		}
		fmt.Fprintf(&out, "%s %10d %s %s\n", info.Mode(), info.Size(), info.ModTime().UTC().Format(time.RFC3339), path)
		return nil
	})
	return out.Bytes(), err
}

// supportBundle makes one of the running service.
func (s *site) supportBundle(ctx context.Context) (support.Bundle, error) {
	all := append(s.cfg.collectors(),
		support.Collector{Name: "status.json", About: "what the status page shows: conditions, checks of the routers, sessions", Collect: s.statusText},
		support.Collector{Name: "metrics.txt", About: "counters and gauges", Collect: s.metricsText},
		support.Collector{Name: "log.txt", About: "the newest 10,000 lines of the log since the service started", Collect: func(context.Context) ([]byte, error) { return s.logText(), nil }},
		support.Collector{Name: "goroutines.txt", About: "what every part of the program is doing", Collect: func(context.Context) ([]byte, error) {
			var out bytes.Buffer
			err := pprof.Lookup("goroutine").WriteTo(&out, 1)
			return out.Bytes(), err
		}},
		support.Collector{Name: "database.txt", About: "whether the database is sound", Limit: bundleCheck, Collect: s.databaseText})
	for _, n := range s.cfg.NAS {
		if n.Router.URL != "" {
			all = append(all, support.Collector{Name: "router-" + n.ID + ".json", About: "set-up of the router " + nameOf(n) + ", without secrets and without guests", Limit: bundleRouter,
				Collect: func(ctx context.Context) ([]byte, error) { return s.routerText(ctx, n) }})
		}
	}
	return support.Make(ctx, time.Now(), all, s.cfg.secrets())
}

// cut leaves of a guest's name, or a voucher's code, what tells two apart.
func cut(name string) string {
	if utf8.RuneCountInString(name) <= 2 {
		return name
	}
	r := []rune(name)
	return string(r[:2]) + "…"
}

func (s *site) statusText(ctx context.Context) ([]byte, error) {
	r := s.page.Report(ctx)
	r.Sessions, r.Foreign, r.Locks, r.Waiting, r.Rejects = slices.Clone(r.Sessions), slices.Clone(r.Foreign), slices.Clone(r.Locks), slices.Clone(r.Waiting), slices.Clone(r.Rejects)
	for i := range r.Sessions {
		r.Sessions[i].Username = cut(r.Sessions[i].Username)
		if d := r.Sessions[i].Device; d != nil {
			masked := *d
			masked.CookieUser = cut(d.CookieUser)
			r.Sessions[i].Device = &masked
		}
	}
	for i := range r.Foreign {
		r.Foreign[i].Username = cut(r.Foreign[i].Username)
	}
	for i := range r.Locks {
		r.Locks[i].Username, r.Locks[i].Reason = cut(r.Locks[i].Username), cut(r.Locks[i].Reason)
	}
	for i := range r.Waiting {
		r.Waiting[i].Username = cut(r.Waiting[i].Username)
	}
	for i := range r.Rejects {
		r.Rejects[i].Username = cut(r.Rejects[i].Username)
	}
	r.Routers = slices.Clone(r.Routers)
	for i := range r.Routers {
		if h := r.Routers[i].Health; h != nil { // its log names guests
			bare := *h
			bare.Log.Lines = []statuspage.LogLine{}
			r.Routers[i].Health = &bare
		}
	}
	return json.MarshalIndent(r, "", "  ")
}

// page is an answer kept in memory.
type page struct {
	header http.Header
	body   bytes.Buffer
	status int
}

func (p *page) Header() http.Header         { return p.header }
func (p *page) Write(b []byte) (int, error) { return p.body.Write(b) }
func (p *page) WriteHeader(status int)      { p.status = status }

func (s *site) metricsText(ctx context.Context) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1/metrics", nil)
	if err != nil {
		return nil, err
	}
	r.RemoteAddr = "127.0.0.1:0" // this very program asks
	p := page{header: http.Header{}, status: http.StatusOK}
	s.page.Metrics.ServeHTTP(&p, r)
	if p.status != http.StatusOK {
		return nil, errors.New(p.body.String())
	}
	return p.body.Bytes(), nil
}

func (s *site) logText() []byte {
	var out bytes.Buffer
	var lines []logs.Line
	if s.page.Tail != nil {
		lines = s.page.Tail.Last(bundleLines, slog.LevelInfo)
	}
	for _, l := range slices.Backward(lines) {
		fmt.Fprintf(&out, "%s %s msg=%q %s\n", l.At.UTC().Format("2006-01-02T15:04:05.000Z"), l.Level, l.Text, l.Attrs)
	}
	return out.Bytes()
}

func (s *site) databaseText(ctx context.Context) ([]byte, error) {
	if s.db == nil {
		return fmt.Appendf(nil, "it will not open: %v\n", s.dbErr), nil
	}
	verdict, err := s.db.Check(ctx)
	return fmt.Appendf(nil, "PRAGMA quick_check: %s\n", verdict), err
}

// bundleMenus are a router's set-up. No guest is in them.
var bundleMenus = []string{"/system/resource", "/system/routerboard", "/system/device-mode", "/system/clock", "/system/license", "/interface", "/interface/bridge", "/interface/bridge/port",
	"/interface/vlan", "/ip/address", "/ip/pool", "/ip/route", "/ip/dns", "/ip/dhcp-server", "/ip/dhcp-server/network", "/ip/hotspot", "/ip/hotspot/profile", "/ip/hotspot/walled-garden",
	"/ip/hotspot/walled-garden/ip", "/ip/firewall/filter", "/ip/firewall/nat", "/ip/firewall/mangle", "/ip/service", "/radius", "/radius/incoming", "/system/scheduler", "/system/logging"}

// routerText reads them. /export would write a file on the router, and over the
// API there is nothing to read it by.
func (s *site) routerText(ctx context.Context, n nasConfig) ([]byte, error) {
	password, err := readSecret(n.Router.PasswordFile)
	if err != nil {
		return nil, err
	}
	pin, err := s.cfg.fingerprint(n)
	if err != nil {
		return nil, err
	}
	conn, err := routeros.Dial(ctx, routeros.Options{URL: n.Router.URL, User: n.Router.User, Password: password, PinnedSHA256: pin, Pace: s.paces[n.ID]})
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	type answer struct {
		Menu    string         `json:"menu"`
		Problem string         `json:"problem,omitempty"`
		Rows    []routeros.Row `json:"rows,omitempty"`
	}
	var out []answer
	for _, m := range bundleMenus {
		a := answer{Menu: m}
		rows, err := conn.Run(ctx, m+"/print")
		if err != nil {
			a.Problem = err.Error()
		}
		for _, r := range rows {
			a.Rows = append(a.Rows, withoutSecrets(r))
		}
		if out = append(out, a); err != nil && !routeros.Refused(err) {
			break // the connection is gone
		}
	}
	return json.MarshalIndent(out, "", "  ")
}

// withoutSecrets leaves out what may be a password, by the name of the property.
func withoutSecrets(r routeros.Row) routeros.Row {
	out := routeros.Row{}
	for k, v := range r {
		for _, bad := range []string{"secret", "password", "passphrase", "key", "token", "on-event", "source", "serial", "software-id"} {
			if strings.Contains(k, bad) && v != "" {
				v = "***"
			}
		}
		out[k] = v
	}
	return out
}

// supportAnswer is a bundle on its way through the control door.
type supportAnswer struct {
	At    time.Time      `json:"at"`
	Items []support.Item `json:"files"`
	Zip   []byte         `json:"zip"`
}

func (s *site) supportDoor(ctx context.Context, _ struct{}) (supportAnswer, error) {
	b, err := s.supportBundle(ctx)
	return supportAnswer{b.At, b.Items, b.Zip}, err
}

// supportPage is a bundle for the status page.
func (s *site) supportPage(ctx context.Context) (statuspage.Bundle, error) {
	b, err := s.supportBundle(ctx)
	out := statuspage.Bundle{At: b.At, Zip: b.Zip}
	for _, i := range b.Items {
		out.Files = append(out.Files, statuspage.BundleFile(i))
	}
	return out, err
}

func supportCommand(o *options) *cobra.Command {
	var file string
	c := &cobra.Command{
		Use: "support-bundle", Short: "Make one file for whoever helps you", Args: cobra.NoArgs,
		Long: "Puts version, conditions, checks, configuration, log, metrics, the database's soundness and the routers' set-up into\n" +
			"one zip file, without the secrets of this box. It is searched for them before it is written. Nothing is sent anywhere.\n" +
			"Where the service does not run, it holds what can be told without it.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := o.load(cmd)
			if err != nil {
				return err
			}
			b, err := askBundle(cmd, cfg)
			if err != nil {
				return err
			}
			to := cmp.Or(file, "iwas-support-"+b.At.UTC().Format("20060102-150405")+".zip")
			if err := secret.WriteFile(to, b.Zip); err != nil {
				return needsRoot(err)
			}
			if o.json {
				return printJSON(cmd, map[string]any{"file": to, "bytes": len(b.Zip), "files": b.Items})
			}
			return printBundle(cmd.OutOrStdout(), to, b)
		},
	}
	c.Flags().StringVar(&file, "out", "", "file to write; empty is iwas-support-TIME.zip in this folder")
	return c
}

// askBundle lets the service make it, or makes what can be made without.
func askBundle(cmd *cobra.Command, cfg config) (supportAnswer, error) {
	var b supportAnswer
	err := callControl(cmd.Context(), cfg.controlPath(), "support", struct{}{}, &b)
	var e *exitError
	if !errors.As(err, &e) || e.code != exitNotThere {
		return b, err
	}
	fmt.Fprintln(cmd.ErrOrStderr(), "The service does not answer; this is what can be told without it.")
	made, err := support.Make(cmd.Context(), time.Now(), cfg.collectors(), cfg.secrets())
	return supportAnswer{made.At, made.Items, made.Zip}, err
}

func printBundle(w io.Writer, file string, b supportAnswer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	redacted := 0
	for _, i := range b.Items {
		size := webui.Bytes(hotspot.Octets(i.Bytes))
		if i.Problem != "" {
			size = "left out: " + plain(i.Problem)
		}
		redacted += i.Redacted
		fmt.Fprintf(tw, "%s\t%s\t%s\n", plain(i.Name), size, plain(i.About))
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(w, "%d secrets were taken out. Written to %s, %s. Look at it before you send it.\n", redacted, file, webui.Bytes(hotspot.Octets(len(b.Zip))))
	return nil
}

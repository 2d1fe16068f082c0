// Command routersim runs a simulated MikroTik router with a HotSpot: API, REST,
// RADIUS client, CoA, and guests that an HTTP control moves. It prints one line
// of JSON with its addresses when every door is open, and stops on SIGINT and
// SIGTERM. It is for demos and tests; it routes nothing.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"iwas/internal/routersim"
)

// errUsage is a command line that cannot be meant.
var errUsage = errors.New("see routersim --help")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal kills at once
	os.Exit(exitCode(run(ctx, os.Args[1:], os.Stdout, os.Stderr), os.Stderr))
}

// exitCode is 0 asked to stop, 1 failed, 2 usage.
func exitCode(err error, w io.Writer) int {
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errUsage):
		fmt.Fprintln(w, "routersim:", err)
		return 2
	}
	fmt.Fprintln(w, "routersim:", err)
	return 1
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	c, err := parse(args, stderr)
	if err != nil {
		return err
	}
	s, err := routersim.Start(ctx, c)
	if err != nil {
		return err
	}
	defer s.Close()
	// One line for whoever started us: the doors are open.
	if err := json.NewEncoder(stdout).Encode(map[string]string{"api": s.APIAddr(), "api_ssl": s.APISSLAddr(), "rest": s.RESTURL(),
		"coa": s.CoAAddr().String(), "control": s.ControlURL()}); err != nil {
		return fmt.Errorf("say that all is ready: %w", err)
	}
	<-ctx.Done()
	return nil
}

// parse reads the command line. Secrets come from files: a command line can be
// read by everybody on the machine.
func parse(args []string, stderr io.Writer) (routersim.Config, error) {
	log := slog.New(slog.NewTextHandler(stderr, nil))
	c := routersim.Config{Log: log}
	f := flag.NewFlagSet("routersim", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&c.Identity, "identity", "MikroTik", "system identity, sent as NAS-Identifier")
	f.StringVar(&c.Version, "version", "7.23.7 (long-term)", "RouterOS version to play")
	f.StringVar(&c.APIListen, "api", "127.0.0.1:8728", "listen for the RouterOS API")
	f.StringVar(&c.APISSLListen, "api-ssl", "", "listen for the RouterOS API over TLS; empty is closed")
	f.StringVar(&c.RESTListen, "rest", "", "listen for REST over HTTPS; empty is closed")
	f.StringVar(&c.CoAListen, "coa", "127.0.0.1:3799", "listen for Disconnect-Request and CoA-Request")
	f.StringVar(&c.Control, "control", "127.0.0.1:8799", "listen for HTTP control, which knows no password: keep it on loopback")
	f.StringVar(&c.User, "user", "iwas", "API user of group full")
	f.StringVar(&c.ReadUser, "read-user", "", "API user of group read with the same password; empty is none")
	passwordFile := f.String("password-file", "", "file with the password of both; without it the password is empty")
	secretFile := f.String("radius-secret-file", "", "file with the RADIUS shared secret")
	auth := f.String("radius-auth", "127.0.0.1:1812", "RADIUS server, authentication")
	acct := f.String("radius-acct", "127.0.0.1:1813", "RADIUS server, accounting")
	nasIP := f.String("nas-ip", "127.0.0.1", "NAS-IP-Address; where it is loopback, also the source of RADIUS packets")
	pool := f.String("pool", "10.20.0.0/22", "network of the guests")
	f.StringVar(&c.Server, "server", "hotspot1", "name of the HotSpot server, sent as Called-Station-Id")
	f.StringVar(&c.LoginBy, "login-by", "http-chap,http-pap,mac,mac-cookie,cookie", "login methods of the HotSpot")
	f.BoolVar(&c.Fresh, "fresh", false, "a router as it comes from its box: no HotSpot, no RADIUS, no certificate")
	f.Uint64Var(&c.Seed, "seed", 1, "of the guests' habits")
	f.DurationVar(&c.RADIUS.Timeout, "radius-timeout", 1100*time.Millisecond, "one try of three")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return c, err
		}
		return c, fmt.Errorf("%w: %w", err, errUsage)
	}
	if f.NArg() > 0 {
		return c, fmt.Errorf("%q is no flag: %w", f.Arg(0), errUsage)
	}
	var errs []error
	read := func(flag, file string, into *string) {
		if file == "" {
			return
		}
		b, err := os.ReadFile(file)
		if err != nil {
			errs = append(errs, fmt.Errorf("-%s: %w", flag, err))
		}
		*into = strings.TrimRight(string(b), "\r\n")
	}
	read("password-file", *passwordFile, &c.Password)
	read("radius-secret-file", *secretFile, &c.RADIUS.Secret)
	note := func(flag string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("-%s: %w: %w", flag, err, errUsage))
		}
	}
	var err error
	c.RADIUS.Auth, err = netip.ParseAddrPort(*auth)
	note("radius-auth", err)
	c.RADIUS.Acct, err = netip.ParseAddrPort(*acct)
	note("radius-acct", err)
	c.NASIP, err = netip.ParseAddr(*nasIP)
	note("nas-ip", err)
	c.Pool, err = netip.ParsePrefix(*pool)
	note("pool", err)
	if host, _, err := net.SplitHostPort(c.Control); err == nil && !loopback(host) {
		log.Warn("the control can be reached from the network, and asks nobody who they are", "control", c.Control)
	}
	return c, errors.Join(errs...)
}

func loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}

// Command routersim runs a simulated MikroTik router with a HotSpot.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"iwas/internal/routersim"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "routersim:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("routersim", flag.ContinueOnError)
	c := routersim.Config{Log: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	f.StringVar(&c.Identity, "identity", "MikroTik", "system identity")
	f.StringVar(&c.Version, "version", "7.23.7 (long-term)", "RouterOS version to play")
	f.StringVar(&c.APIListen, "api", "127.0.0.1:8728", "listen for the RouterOS API")
	f.StringVar(&c.APISSLListen, "api-ssl", "", "listen for the RouterOS API over TLS")
	f.StringVar(&c.RESTListen, "rest", "", "listen for REST over HTTPS")
	f.StringVar(&c.CoAListen, "coa", "127.0.0.1:3799", "listen for Disconnect-Request and CoA-Request")
	f.StringVar(&c.Control, "control", "127.0.0.1:8799", "listen for HTTP control; keep it on loopback")
	f.StringVar(&c.User, "user", "iwas", "API user")
	passwordFile := f.String("password-file", "", "file with the API user's password")
	secretFile := f.String("radius-secret-file", "", "file with the RADIUS shared secret")
	auth := f.String("radius-auth", "127.0.0.1:1812", "RADIUS server, authentication")
	acct := f.String("radius-acct", "127.0.0.1:1813", "RADIUS server, accounting")
	nasIP := f.String("nas-ip", "127.0.0.1", "NAS-IP-Address")
	pool := f.String("pool", "10.20.0.0/22", "network of the guests")
	f.Uint64Var(&c.Seed, "seed", 1, "of the guests' habits")
	f.DurationVar(&c.RADIUS.Timeout, "radius-timeout", 1100*time.Millisecond, "one try of three")
	if err := f.Parse(args); err != nil {
		return err
	}
	var err error
	for _, p := range []struct {
		file string
		into *string
	}{{*passwordFile, &c.Password}, {*secretFile, &c.RADIUS.Secret}} {
		if p.file == "" {
			continue
		}
		b, err := os.ReadFile(p.file)
		if err != nil {
			return err
		}
		*p.into = strings.TrimRight(string(b), "\r\n")
	}
	if c.RADIUS.Auth, err = netip.ParseAddrPort(*auth); err != nil {
		return fmt.Errorf("-radius-auth: %w", err)
	}
	if c.RADIUS.Acct, err = netip.ParseAddrPort(*acct); err != nil {
		return fmt.Errorf("-radius-acct: %w", err)
	}
	if c.NASIP, err = netip.ParseAddr(*nasIP); err != nil {
		return fmt.Errorf("-nas-ip: %w", err)
	}
	if c.Pool, err = netip.ParsePrefix(*pool); err != nil {
		return fmt.Errorf("-pool: %w", err)
	}
	s, err := routersim.Start(ctx, c)
	if err != nil {
		return err
	}
	// One line for whoever started us: the doors are open.
	if err := json.NewEncoder(os.Stdout).Encode(map[string]string{"api": s.APIAddr(), "api_ssl": s.APISSLAddr(), "rest": s.RESTURL(),
		"coa": s.CoAAddr().String(), "control": s.ControlURL()}); err != nil {
		return err
	}
	<-ctx.Done()
	s.Close()
	return nil
}

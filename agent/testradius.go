package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"iwas/agent/radius"
	"iwas/internal/hotspot"
	"iwas/internal/webui"
)

// radiusTest are the flags of test radius.
type radiusTest struct {
	server, nas, secretFile string
	name, passwordFile      string
	method, mac, ip         string
	acct, session           string
	status, unsigned        bool
	length                  time.Duration
	upload, download        uint64
	tries                   int
	wait                    time.Duration
}

func testCommand(o *options) *cobra.Command {
	return group("test", "Try out what this box depends on", testRADIUSCommand(o), testLoginCommand(o), testCloudCommand(o))
}

func testRADIUSCommand(o *options) *cobra.Command {
	var f radiusTest
	c := &cobra.Command{
		Use:   "radius",
		Short: "Ask a RADIUS server as a HotSpot does, and show what it answers",
		Long: "Sends one RADIUS request and prints request and answer, attribute by attribute.\n\n" +
			"Without --server it asks the service on this box, with the secret of the first [[nas]]; the service\n" +
			"answers requests from the box itself when test_from_loopback is on. A login is a real one: it may start\n" +
			"the clock of a pass, and holds a place among the devices until it is given back for want of a Start.\n\n" +
			"Secret and password are read from files or asked for, never from the command line.\n" +
			"Exit code: 0 accepted or acknowledged, 1 rejected or no answer, 2 wrong usage.",
		Example: "  iwas-agent test radius --status\n" +
			"  iwas-agent test radius --name KX7P-2MQ4 --mac AA:BB:CC:DD:EE:FF\n" +
			"  iwas-agent test radius --name bob --method chap --password-file - < password\n" +
			"  iwas-agent test radius --method mac --mac AA:BB:CC:DD:EE:FF\n" +
			"  iwas-agent test radius --acct stop --session 80300001 --name bob --length 5m --download 1000000",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd, o) },
	}
	s := c.Flags()
	s.StringVar(&f.server, "server", "", "address[:port] of the server; empty is the service on this box")
	s.StringVar(&f.nas, "nas", "", "take the secret of this [[nas]]; empty is the first")
	s.StringVar(&f.secretFile, "secret-file", "", "take the secret from this file instead")
	s.StringVar(&f.name, "name", "", "User-Name: an account, or a voucher code")
	s.StringVar(&f.passwordFile, "password-file", "", "file with the password, - is standard input; empty asks for it")
	s.StringVar(&f.method, "method", "pap", "how to log in: pap, chap or mac")
	s.StringVar(&f.mac, "mac", "", "Calling-Station-Id: the MAC of the device")
	s.StringVar(&f.ip, "ip", "", "Framed-IP-Address: the IPv4 address of the device")
	s.StringVar(&f.acct, "acct", "", "send accounting instead of a login: start, interim, stop, on or off")
	s.StringVar(&f.session, "session", "", "Acct-Session-Id; accounting of a session needs it")
	s.DurationVar(&f.length, "length", 0, "Acct-Session-Time of interim and stop")
	s.Uint64Var(&f.upload, "upload", 0, "octets from the guest, of interim and stop")
	s.Uint64Var(&f.download, "download", 0, "octets to the guest, of interim and stop")
	s.BoolVar(&f.status, "status", false, "send Status-Server instead of a login: is anybody there?")
	s.BoolVar(&f.unsigned, "no-message-authenticator", false, "log in as RouterOS before 7.15, without Message-Authenticator")
	s.IntVar(&f.tries, "tries", 3, "how often to send")
	s.DurationVar(&f.wait, "wait", time.Second, "how long to wait after each sending")
	return c
}

func (f *radiusTest) run(cmd *cobra.Command, o *options) error {
	p, err := f.probe()
	if err != nil {
		return &exitError{exitUsage, err}
	}
	if err := f.where(cmd, o, &p); err != nil {
		return err
	}
	if p.Ask == radius.AskLogin && (p.Method != radius.MACLogin || f.passwordFile != "") {
		if p.Password, err = f.password(cmd); err != nil {
			return &exitError{exitUsage, err}
		}
	}
	x, err := p.Do(cmd.Context())
	if err != nil {
		return err
	}
	if o.json {
		err = printJSON(cmd, x)
	} else {
		printExchange(cmd.OutOrStdout(), x)
	}
	if err == nil && !x.Good() {
		err = &exitError{exitFailed, errors.New(why(x))}
	}
	return err
}

// probe reads the flags that say what to ask.
func (f *radiusTest) probe() (p radius.Probe, err error) {
	p = radius.Probe{Ask: radius.AskLogin, Method: radius.Method(f.method), Unsigned: f.unsigned, Tries: f.tries, Wait: f.wait, Name: f.name,
		AcctSessionID: hotspot.AcctSessionID(f.session), SessionTime: f.length, Upload: hotspot.Octets(f.upload), Download: hotspot.Octets(f.download)}
	kinds := map[string]hotspot.AccountingKind{"start": hotspot.Start, "interim": hotspot.Interim, "stop": hotspot.Stop, "on": hotspot.NASOn, "off": hotspot.NASOff}
	if f.mac != "" {
		var ok bool
		if p.MAC, ok = hotspot.ParseMAC(f.mac); !ok {
			return p, fmt.Errorf("--mac: %q is not a MAC such as AA:BB:CC:DD:EE:FF", f.mac)
		}
	}
	if f.ip != "" {
		if p.IP, err = netip.ParseAddr(f.ip); err != nil || !p.IP.Is4() {
			return p, fmt.Errorf("--ip: %q is not an IPv4 address", f.ip)
		}
	}
	if p.Kind = kinds[f.acct]; f.acct != "" {
		p.Ask = radius.AskAccounting
	}
	if f.status {
		p.Ask = radius.AskStatus
	}
	switch {
	case f.status && f.acct != "":
		return p, errors.New("--status and --acct are two different requests: give one of them")
	case f.acct != "" && p.Kind == 0:
		return p, fmt.Errorf("--acct: %q is not start, interim, stop, on or off", f.acct)
	case p.Ask == radius.AskAccounting && p.Kind <= hotspot.Interim && f.session == "":
		return p, errors.New("--session is missing: accounting of a session names it")
	case p.Ask == radius.AskLogin && !slices.Contains([]radius.Method{radius.PAP, radius.CHAP, radius.MACLogin}, p.Method):
		return p, fmt.Errorf("--method: %q is not pap, chap or mac", f.method)
	case p.Ask == radius.AskLogin && p.Method == radius.MACLogin && f.mac == "":
		return p, errors.New("--mac is missing: a login by MAC needs it")
	case p.Ask == radius.AskLogin && p.Method != radius.MACLogin && f.name == "":
		return p, errors.New("--name is missing: whom to log in? (or ask with --status)")
	case f.tries < 1 || f.wait <= 0:
		return p, errors.New("--tries and --wait must be more than nothing")
	}
	return p, nil
}

// where finds server and secret: from the flags, else from the configuration.
func (f *radiusTest) where(cmd *cobra.Command, o *options, p *radius.Probe) error {
	var cfg config
	if f.server == "" || f.secretFile == "" {
		var err error
		if cfg, err = o.load(cmd); err != nil {
			return err
		}
	}
	file := f.secretFile
	if file == "" {
		i := 0
		if f.nas != "" {
			i = slices.IndexFunc(cfg.NAS, func(n nasConfig) bool { return n.ID == f.nas })
		}
		if i < 0 || i >= len(cfg.NAS) {
			return &exitError{exitUsage, errors.New("no such [[nas]] is configured: name the secret with --secret-file")}
		}
		file = cfg.NAS[i].SecretFile
	}
	var err error
	if p.Secret, err = readSecret(file); err != nil {
		return &exitError{exitUsage, err}
	}
	listen, port := cfg.RADIUS.Auth, "1812"
	if p.Ask == radius.AskAccounting {
		listen, port = cfg.RADIUS.Acct, "1813"
	}
	p.Server, err = serverOf(cmd.Context(), f.server, listen, port)
	if err != nil {
		return &exitError{exitUsage, err}
	}
	return nil
}

// serverOf reads --server, or takes the first address this box listens on.
func serverOf(ctx context.Context, server string, listen []string, port string) (netip.AddrPort, error) {
	if server == "" {
		if len(listen) == 0 {
			return netip.AddrPort{}, errors.New("this box listens nowhere: name a --server")
		}
		server = listen[0]
	}
	if _, _, err := net.SplitHostPort(server); err != nil {
		server = net.JoinHostPort(strings.Trim(server, "[]"), port)
	}
	host, number, err := net.SplitHostPort(server)
	if err != nil {
		return netip.AddrPort{}, err
	}
	switch host {
	case "", "0.0.0.0":
		host = "127.0.0.1"
	case "::":
		host = "::1"
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil || len(ips) == 0 {
		return netip.AddrPort{}, fmt.Errorf("--server: %q is not found", host)
	}
	n, err := net.DefaultResolver.LookupPort(ctx, "udp", number)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("--server: %q is not a port", number)
	}
	return netip.AddrPortFrom(ips[0].Unmap(), uint16(n)), nil
}

// password reads the password from a file or standard input, or asks for it. A
// voucher has none: an empty one is fine.
func (f *radiusTest) password(cmd *cobra.Command) (hotspot.Password, error) {
	if f.passwordFile != "" && f.passwordFile != "-" {
		b, err := os.ReadFile(f.passwordFile)
		return hotspot.Password(strings.TrimRight(string(b), "\r\n")), err
	}
	if in, ok := cmd.InOrStdin().(*os.File); ok && f.passwordFile == "" && term.IsTerminal(int(in.Fd())) {
		fmt.Fprint(cmd.ErrOrStderr(), "Password (empty for a voucher): ")
		b, err := term.ReadPassword(int(in.Fd()))
		fmt.Fprintln(cmd.ErrOrStderr())
		return hotspot.Password(b), err
	}
	line, err := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return hotspot.Password(strings.TrimRight(line, "\r\n")), err
}

func printExchange(w io.Writer, x radius.Exchange) {
	list := func(all []radius.Attribute) {
		for _, a := range all {
			fmt.Fprintf(w, "  %s = %s\n", a.Name, a.Value)
		}
	}
	fmt.Fprintf(w, "Sent %s to %s%s\n", x.Request, x.Server, map[bool]string{true: fmt.Sprintf(", %d times", x.Attempts)}[x.Attempts > 1])
	list(x.Sent)
	if x.Reply == "" {
		return
	}
	fmt.Fprintf(w, "Received %s after %s\n", x.Reply, webui.Took(x.RoundTrip))
	list(x.Received)
	if !x.Protected && x.Request != "Accounting-Request" {
		fmt.Fprintln(w, "The answer does not begin with a Message-Authenticator: RouterOS 7.15 and newer may ignore it.")
	}
}

// why says what a bad end means, and what to do.
func why(x radius.Exchange) string {
	switch {
	case x.Reply != "":
		message := ""
		for _, a := range x.Received {
			if a.Name == "Reply-Message" {
				message = a.Value
			}
		}
		return "rejected: " + cmp.Or(message, "the server gave no reason")
	case x.BadReplies > 0:
		return "an answer came that does not prove the secret: the secrets are not the same on both sides"
	case x.Refused:
		return "no answer: nobody listens on " + x.Server
	}
	return "no answer: another secret, an address the server does not know (see its status page), or a firewall; RADIUS answers all of them with silence"
}

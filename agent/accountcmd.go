package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/user"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"iwas/agent/aaa"
	"iwas/agent/statuspage"
	"iwas/agent/store"
	"iwas/internal/fault"
	"iwas/internal/hotspot"
)

// accountCommand is what staff on site do about a guest, with or without the
// cloud.
func accountCommand(o *options) *cobra.Command {
	return group("account", "Find, make, sell to and change a guest: time, speed, lock",
		append(accountActions(o), accountShowCommand(o), accountSpeedCommand(o), accountExtendCommand(o))...)
}

func accountShowCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "show NAME", Short: "Show what a guest has, and what their devices run at", Args: cobra.ExactArgs(1),
		Long: "Shows an account as this box knows it. NAME is the user name, the voucher's code in any spelling, or the MAC.",
		RunE: func(cmd *cobra.Command, args []string) error {
			return askAccount(cmd, o, "show", accountAsk{Name: args[0]})
		},
	}
}

func accountSpeedCommand(o *options) *cobra.Command {
	var once bool
	c := &cobra.Command{
		Use: "speed NAME UPLOAD/DOWNLOAD", Short: "Give a guest another speed, at once", Args: cobra.ExactArgs(2),
		Long: "Changes the speed of what the guest has bought, and of the devices now online. The cloud is told.\n" +
			"UPLOAD/DOWNLOAD is such as 2M/10M or 512k/2M, upload first; 0/0 takes the limit away.\n" +
			"With --once only the devices now online change; their next login has the speed of the plan again.",
		Example: "  iwas-agent account speed amira 5M/20M\n  iwas-agent account speed K7QM-2XWP 1M/4M --once",
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, err := hotspot.ParseRateLimit(args[1]); err != nil || strings.TrimSpace(args[1]) == "" {
				return &exitError{exitUsage, fmt.Errorf("%q is not a speed such as 2M/10M", args[1])}
			}
			return askAccount(cmd, o, "speed", accountAsk{Name: args[0], Rate: args[1], Once: once, By: whoAsks()})
		},
	}
	c.Flags().BoolVar(&once, "once", false, "only the devices now online, until they log out")
	return c
}

func accountExtendCommand(o *options) *cobra.Command {
	var reason, as string
	c := &cobra.Command{
		Use: "extend NAME DURATION", Short: "Give a guest more time, at once", Args: cobra.ExactArgs(2),
		Long: "Adds time to what the guest has bought; if it is over, the guest has that long from now on. The cloud is told.\n" +
			"DURATION is such as 30m, 2h, 1h30m or 1d.",
		Example: "  iwas-agent account extend amira 30m --reason \"the line was down\"",
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := parseDuration(args[1])
			if err != nil {
				return &exitError{exitUsage, err}
			}
			return askAccount(cmd, o, "extend", accountAsk{Name: args[0], Seconds: int64(d / time.Second), Reason: reason, By: whoAsks(), As: as})
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why, for the records")
	addAs(c, &as)
	return c
}

// parseDuration reads 30m, 2h, 1h30m, 1d, 1d12h.
func parseDuration(s string) (time.Duration, error) {
	bad := fmt.Errorf("%q is not a duration such as 30m, 2h or 1d", s)
	days, rest, found := strings.Cut(s, "d")
	var d time.Duration
	if found {
		n, err := strconv.Atoi(days)
		if err != nil || n < 0 || n > 3660 {
			return 0, bad
		}
		d = time.Duration(n) * 24 * time.Hour
	} else {
		rest = s
	}
	if rest != "" {
		more, err := time.ParseDuration(rest)
		if err != nil || more < 0 {
			return 0, bad
		}
		d += more
	}
	if d < time.Second || d%time.Second != 0 {
		return 0, bad
	}
	return d, nil
}

// whoAsks is the person at the terminal, as the system knows them.
func whoAsks() string {
	if name := os.Getenv("SUDO_USER"); name != "" {
		return name
	}
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "somebody on site"
}

// askAccount asks the running service and prints its answer.
func askAccount(cmd *cobra.Command, o *options, what string, in accountAsk) error {
	cfg, err := o.load(cmd)
	if err != nil {
		return err
	}
	var out accountAnswer
	if err := callControl(cmd.Context(), cfg.controlPath(), "account/"+what, in, &out); err != nil {
		return err
	}
	if o.json {
		return printJSON(cmd, out)
	}
	printAccount(cmd.OutOrStdout(), out)
	return nil
}

// callControl asks the running service through its socket.
func callControl(ctx context.Context, path, what string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://iwas-agent/v1/"+what, bytes.NewReader(body))
	if err != nil {
		return err
	}
	transport := overSocket(path)
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		hint := "Is the service running (iwas-agent status)? Are you in the service's group, or root?"
		return &exitError{exitNotThere, fault.New(fault.Unavailable, "the service does not answer on "+path, err).WithCode("", hint)}
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, controlAnswer))
	if err != nil {
		return err
	}
	if resp.StatusCode == http.StatusOK {
		return json.Unmarshal(b, out)
	}
	var p problemAnswer
	if err := json.Unmarshal(b, &p); err != nil {
		return fmt.Errorf("the service answered %s", resp.Status)
	}
	return fault.New(fault.Conflict, strings.TrimPrefix(p.Error, "store: "), nil).WithCode("", p.Next)
}

// overSocket carries HTTP to the running service through its socket.
func overSocket(path string) *http.Transport {
	return &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}
}

// controlAnswer bounds an answer, in octets: twenty thousand grants are 8 MB.
const controlAnswer = 32 << 20

func toAnswer(v store.AccountView) accountAnswer {
	out := accountAnswer{Name: v.Account.Username, Kind: string(v.Account.Kind), Unsent: v.Unsent, Waiting: v.Waiting, Sessions: []sessionAnswer{}}
	if l := v.Lock; l != nil {
		out.Locked, out.Paused, out.LockedBy, out.LockReason = !l.Pause, l.Pause, l.By, l.Reason
	}
	if p := v.Pass; p != nil {
		out.Plan, out.Rate = p.PlanName, p.Limits.Rate.String()
		out.TimeS, out.TimeUsedS = int64(p.Limits.Time/time.Second), int64(p.Usage.Time/time.Second)
		out.TimeOverS = int64(aaa.TimeBeyond(p) / time.Second)
		for _, d := range aaa.DataUses(p) {
			out.Data = append(out.Data, dataAnswer{d.Name, uint64(d.Allowed), uint64(d.Used), uint64(d.Beyond())})
		}
		left, reason := aaa.Remaining(*p, time.Now())
		if left.Time > 0 {
			s := int64(left.Time / time.Second)
			out.TimeLeftS = &s
		}
		out.Ended = string(reason)
		if !p.ValidUntil.IsZero() {
			until := p.ValidUntil.UTC()
			out.ValidUntil = &until
		}
	}
	for i, s := range v.Sessions {
		a := sessionAnswer{MAC: s.MAC.String(), NAS: string(s.NAS), Wanted: v.Wanted[i].Rate.String()}
		if s.IP.IsValid() {
			a.IP = s.IP.String()
		}
		if s.Rate != nil {
			a.Rate = s.Rate.String()
		}
		if c := s.Changed; c != nil {
			a.Outcome, a.Code, a.Detail = string(c.Outcome), c.Code, c.Detail
		}
		out.Sessions = append(out.Sessions, a)
	}
	return out
}

// outcomes words how the change of a session ended.
var outcomes = map[string]string{
	string(hotspot.ChangeApplied):      "the router shows it",
	string(hotspot.ChangeAcknowledged): "the router acknowledged it; it cannot be read back",
	string(hotspot.ChangeNextLogin):    "from the next login",
	string(hotspot.ChangeReconnect):    "the session was ended: the guest logs in anew",
	string(hotspot.ChangePending):      "not yet; we keep trying",
}

// printDevice says where a device stands at the HotSpot, and whether it would come
// back by itself.
func printDevice(w io.Writer, d *statuspage.Device) {
	if d == nil {
		return
	}
	at := map[bool]string{false: "at the login page", true: "let through"}[d.Authorized]
	switch {
	case !d.Seen:
		at = "not seen"
	case d.Bypassed:
		at = "bypassed, by an ip-binding"
	}
	if d.Seen {
		at += fmt.Sprintf(", idle %s", time.Duration(d.IdleS)*time.Second)
	}
	fmt.Fprintf(w, "    HotSpot  %s (read %s ago)\n", at, time.Since(d.ReadAt).Round(time.Second))
	if d.Cookie != "" {
		fmt.Fprintf(w, "    cookie   %s of %s until %s\n", d.Cookie, d.CookieUser, d.CookieUntil.Local().Format(time.DateTime))
	} else {
		fmt.Fprintln(w, "    cookie   none")
	}
}

func printAccount(w io.Writer, a accountAnswer) {
	speed := func(s string) string { return cmp.Or(s, "no limit") }
	fmt.Fprintf(w, "%s (%s)\n", a.Name, a.Kind)
	switch {
	case a.Locked:
		fmt.Fprintf(w, "  LOCKED by %s %s\n", cmp.Or(a.LockedBy, "somebody"), a.LockReason)
	case a.Paused:
		fmt.Fprintf(w, "  PAUSED by %s: iwas-agent account resume %s\n", cmp.Or(a.LockedBy, "somebody"), a.Name)
	}
	if a.Plan != "" {
		fmt.Fprintf(w, "  plan    %s\n", a.Plan)
	}
	fmt.Fprintf(w, "  speed   %s\n", speed(a.Rate))
	switch {
	case a.Ended != "":
		fmt.Fprintf(w, "  time    over: %s\n", strings.ReplaceAll(a.Ended, "_", " "))
	case a.TimeLeftS != nil:
		fmt.Fprintf(w, "  time    %s left\n", time.Duration(*a.TimeLeftS)*time.Second)
	default:
		fmt.Fprintln(w, "  time    no limit")
	}
	if a.TimeOverS > 0 {
		fmt.Fprintf(w, "          %s beyond the allowance\n", time.Duration(a.TimeOverS)*time.Second)
	}
	for _, d := range a.Data {
		fmt.Fprintf(w, "  data    %s of %s %s\n", hotspot.Octets(d.Used), hotspot.Octets(d.Allowed), d.Name)
		if d.Beyond > 0 {
			fmt.Fprintf(w, "          %s beyond the allowance\n", hotspot.Octets(d.Beyond))
		}
	}
	if len(a.Sessions) == 0 {
		fmt.Fprintln(w, "  No device is online: what was changed counts from the next login.")
	}
	for _, s := range a.Sessions {
		fmt.Fprintf(w, "  %s %s at %s runs at %s", s.MAC, s.IP, s.NAS, speed(s.Rate))
		if s.Wanted != s.Rate {
			fmt.Fprintf(w, ", wanted %s", speed(s.Wanted))
		}
		if s.Outcome != "" {
			fmt.Fprintf(w, " — %s (%s)", outcomes[s.Outcome], strings.TrimSpace(s.Detail+" "+s.Code))
		}
		fmt.Fprintln(w)
		printDevice(w, s.Device)
	}
	if a.Unsent > 0 {
		fmt.Fprintf(w, "  %d changes made here wait for the cloud; they count here already.\n", a.Unsent)
	}
}

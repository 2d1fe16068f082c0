package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"iwas/agent/statuspage"
	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/webui"
)

func statusCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Say how the running service is", Args: cobra.NoArgs,
		Long: "Says whether guests can log in, what is wrong with its code and next step, which locks wait, and how each part is.\n" +
			"Exit code: 0 guests can log in, 3 the service does not run or is not enrolled, 4 guests cannot log in.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := o.load(cmd)
			if err != nil {
				return err
			}
			b, err := fetchStatus(cmd.Context(), cfg)
			if err != nil {
				return err
			}
			var r statuspage.Report
			if err := json.Unmarshal(b, &r); err != nil {
				return fmt.Errorf("the service answered something else: %w", err)
			}
			if o.json {
				_, err = cmd.OutOrStdout().Write(b)
			} else {
				err = printStatus(cmd.OutOrStdout(), r)
			}
			if err == nil && r.Guests == statuspage.GuestsOut {
				err = &exitError{exitFindings, errors.New("guests cannot log in")}
				if !r.Cloud.Enrolled && r.Store.Open && r.Store.Accounts == 0 {
					err = &exitError{exitNotThere, errors.New("this box is not enrolled")}
				}
			}
			return err
		},
	}
}

// fetchStatus asks the service what it says of itself: through its socket, or, where
// the rights of that keep us out, on the page's loopback address.
func fetchStatus(ctx context.Context, cfg config) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	b, err := getStatus(ctx, overSocket(cfg.controlPath()), "http://iwas-agent/v1/status")
	if err == nil {
		return b, nil
	}
	b, pageErr := getStatus(ctx, &http.Transport{}, "http://"+cfg.Status.Listen+"/status.json")
	if pageErr == nil {
		return b, nil
	}
	strange := errors.Join(strangeSilence(err), strangeSilence(pageErr))
	return nil, &exitError{exitNotThere, fault.New(fault.Unavailable, "nobody answers on "+cfg.controlPath()+" and "+cfg.Status.Listen, strange).
		WithCode("SYS-140", "Start it: systemctl start iwas-agent; why it ended: journalctl -u iwas-agent -n 50")}
}

// strangeSilence is what is worth telling of an attempt that nobody answered: that
// nobody listens says nothing more.
func strangeSilence(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, fs.ErrPermission) {
		return nil
	}
	return err
}

func getStatus(ctx context.Context, transport *http.Transport, url string) ([]byte, error) {
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", url, resp.Status)
	}
	return io.ReadAll(io.LimitReader(resp.Body, 8<<20))
}

// printStatus is `iwas-agent status` for people: the verdict, what is wrong, the
// locks that wait, then a table.
func printStatus(w io.Writer, r statuspage.Report) error {
	fmt.Fprintf(w, "%s.\n", plain(r.Verdict))
	if r.VerdictNext != "" {
		fmt.Fprintf(w, "%s%s\n", map[bool]string{true: "Next: "}[r.Guests != statuspage.GuestsIn], plain(r.VerdictNext))
	}
	ago := func(t time.Time) string {
		if t.IsZero() {
			return "never"
		}
		return webui.Age(r.At.Sub(t))
	}
	printConditions(w, r.Conditions, ago)
	printWaiting(w, r, ago)
	fmt.Fprintln(w)
	return printParts(w, r, ago)
}

func printConditions(w io.Writer, open []statuspage.OpenEntry, ago func(time.Time) string) {
	if len(open) > 0 {
		fmt.Fprintln(w, "\nWhat is wrong, the worst first:")
	}
	for _, c := range open {
		fmt.Fprintf(w, "  %-6s %s  %s, found %s\n", strings.ToUpper(string(c.Severity)), plain(c.Code), plain(c.Title), ago(c.Since))
		if c.Text != "" && c.Text != c.Title {
			fmt.Fprintf(w, "         %s\n", plain(c.Text))
		}
		if c.Next != "" {
			fmt.Fprintf(w, "         Next: %s\n", plain(c.Next))
		}
	}
}

// printWaiting says which guests must be off and are not proven off: locks, and
// whoever's time is over.
func printWaiting(w io.Writer, r statuspage.Report, ago func(time.Time) string) {
	var lines []string
	line := func(name, since string, tries int, code, problem string) {
		s := "  " + cmp.Or(plain(name), "an account not known here") + ", " + since + ": "
		if problem == "" {
			lines = append(lines, s+"being put off")
			return
		}
		if tries > 0 {
			s += fmt.Sprintf("tried %s, the last time: ", map[bool]string{true: "once", false: fmt.Sprintf("%d times", tries)}[tries == 1])
		}
		if s += plain(problem); code != "" {
			s += " (" + plain(code) + ")"
		}
		lines = append(lines, s)
	}
	for _, l := range r.Locks {
		if !l.Outcome.Final() {
			line(l.Username, "lock received "+ago(l.ReceivedAt), l.Tries, l.Code, l.Problem)
		}
	}
	for _, x := range r.Waiting {
		if !x.Lock {
			line(x.Username, "due to be off since "+ago(x.Since), x.Tries, x.Code, x.Problem)
		}
	}
	if len(lines) > 0 {
		fmt.Fprintf(w, "\nNot proven off yet:\n%s\n", strings.Join(lines, "\n"))
	}
}

func printParts(w io.Writer, r statuspage.Report, ago func(time.Time) string) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(name, state, detail string) {
		fmt.Fprintf(tw, "%s\t%s\t%s\n", plain(name), state, strings.TrimSpace(plain(detail)))
	}
	word := func(ok bool, yes, no string) string {
		if ok {
			return yes
		}
		return no
	}
	line("cloud", word(r.Cloud.Connected, "OK", word(r.Cloud.Enrolled, "AWAY", "NOT ENROLLED")), "last message "+ago(r.Cloud.LastContact)+" "+r.Cloud.Problem)
	for _, x := range r.Routers {
		line("router "+x.Name, word(x.Reachable, "OK", word(x.API, "FAIL", "NO API")), "seen "+ago(x.SeenAt)+" "+x.Problem)
	}
	line("radius", word(r.RADIUS.Bound, "OK", "FAIL"), fmt.Sprintf("%d accepted, %d rejected, last answer %s", r.RADIUS.Accepts, r.RADIUS.Rejects, ago(r.RADIUS.LastAnswer)))
	line("database", word(r.Store.Open, "OK", "FAIL"), fmt.Sprintf("%d accounts, %s", r.Store.Accounts, webui.Bytes(hotspot.Octets(r.Store.Bytes))))
	line("outbox", word(r.Outbox.Waiting == 0, "OK", "WAITING"), fmt.Sprintf("%d facts wait for the cloud", r.Outbox.Waiting))
	line("sessions", "OK", fmt.Sprintf("%d open", len(r.Sessions)))
	printDoor(line, r)
	return tw.Flush()
}

// printDoor says where technicians of the network reach the page.
func printDoor(line func(name, state, detail string), r statuspage.Report) {
	switch a := r.Access; {
	case a.Door.URL != "":
		line("page", "OK", a.Door.URL+" for "+strings.Join(a.Networks, ", "))
		line("", "", "certificate SHA-256 "+a.Door.Fingerprint)
	case a.Wanted != "" && a.People == 0:
		line("page", "SHUT", "opens at "+a.Wanted+" once somebody can sign in: iwas-agent password set")
	case a.Wanted != "":
		line("page", "SHUT", a.Door.Problem)
	default:
		line("page", "OK", "on this box only")
	}
}

// plain makes a text that others wrote harmless in a terminal.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
			return ' '
		}
		return r
	}, s)
}

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"iwas/agent/store"
	"iwas/internal/fault"
	"iwas/internal/hotspot"
)

// grantCommand is what staff on site do about address-lists, with or without the
// cloud.
func grantCommand(o *options) *cobra.Command {
	return group("grant", "Put an address in a list of the router until a time", grantAddCommand(o), grantListCommand(o), grantRemoveCommand(o))
}

func grantAddCommand(o *options) *cobra.Command {
	var in grantAsk
	var lasts, until string
	c := &cobra.Command{
		Use: "add LIST ADDRESS", Short: "Put an address in a list until a time", Args: cobra.ExactArgs(2),
		Long: "Puts an address or a network in a firewall address-list of every router of this site, until a time. The router\n" +
			"drops the entry by itself then, also should this box be gone. The cloud is told.\n" +
			"LIST is the name that the router's rules have; ADDRESS is such as 203.0.113.7, 203.0.113.0/24 or 2001:db8::/64.",
		Example: "  iwas-agent grant add staff 203.0.113.7 --for 2h --comment \"the accountant\"\n  iwas-agent grant add staff 2001:db8::/64 --until \"2026-12-31 18:00\"",
		RunE: func(cmd *cobra.Command, args []string) error {
			in.List, in.Address, in.By = args[0], args[1], whoAsks()
			if err := readEnd(&in, lasts, until, time.Now()); err != nil {
				return &exitError{exitUsage, err}
			}
			return askGrants(cmd, o, "add", in)
		},
	}
	c.Flags().StringVar(&lasts, "for", "", "how long, such as 30m, 2h or 1d")
	c.Flags().StringVar(&until, "until", "", "or the end, in this box's time zone: 18:00, 2026-12-31, \"2026-12-31 18:00\"")
	c.Flags().StringVar(&in.Comment, "comment", "", "why; the router's list shows it too")
	return c
}

func grantListCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "Show the grants in force, and whether the routers have them", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return askGrants(cmd, o, "list", grantAsk{}) },
	}
}

func grantRemoveCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "remove ID | LIST ADDRESS", Short: "End a grant now", Args: cobra.RangeArgs(1, 2),
		Long:    "Ends a grant, also one of the cloud, and takes its address out of the list. Entries that others made stay.",
		Example: "  iwas-agent grant remove staff 203.0.113.7",
		RunE: func(cmd *cobra.Command, args []string) error {
			in := grantAsk{By: whoAsks(), ID: args[0]}
			if len(args) == 2 {
				in = grantAsk{By: in.By, List: args[0], Address: args[1]}
			}
			return askGrants(cmd, o, "remove", in)
		},
	}
}

// readEnd takes the end of a grant from its two flags, one of which is given.
func readEnd(in *grantAsk, lasts, until string, now time.Time) error {
	if (lasts == "") == (until == "") {
		return errors.New("say the end, either by --for or by --until")
	}
	if lasts != "" {
		d, err := parseDuration(lasts)
		in.ForS = int64(d / time.Second)
		return err
	}
	t, err := parseUntil(until, now)
	in.Until = &t
	return err
}

// parseUntil reads a moment as people write it: a time of day is the next one, a
// day is its end.
func parseUntil(text string, now time.Time) (time.Time, error) {
	zone := now.Location()
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	if t, err := time.ParseInLocation("2006-01-02 15:04", text, zone); err == nil {
		return t, nil
	}
	if t, err := hotspot.ParseDay(text, zone); err == nil {
		_, end := hotspot.DayOf(t, zone)
		return end, nil
	}
	t, err := time.ParseInLocation("15:04", text, zone)
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is not a time such as 18:00, 2026-12-31 or \"2026-12-31 18:00\"", text)
	}
	at := time.Date(now.Year(), now.Month(), now.Day(), t.Hour(), t.Minute(), 0, 0, zone)
	if !at.After(now) {
		at = at.AddDate(0, 0, 1)
	}
	return at, nil
}

// grantAsk is what a command asks for.
type grantAsk struct {
	ID      string     `json:"id,omitempty"`
	List    string     `json:"list,omitempty"`
	Address string     `json:"address,omitempty"`
	ForS    int64      `json:"for_s,omitempty"`
	Until   *time.Time `json:"until,omitempty"`
	Comment string     `json:"comment,omitempty"`
	By      string     `json:"by,omitempty"` // the user of this box who asks
}

// grantsAnswer is what is in force after it.
type grantsAnswer struct {
	Removed int           `json:"removed,omitempty"`
	Grants  []grantAnswer `json:"grants"` // of add: that one
}

type grantAnswer struct {
	ID      string     `json:"id"`
	List    string     `json:"list"`
	Address string     `json:"address"`
	Until   *time.Time `json:"until,omitempty"` // absent: made while the date of this box was not known to be right
	LeftS   int64      `json:"left_s"`
	Comment string     `json:"comment,omitempty"`
	By      string     `json:"by,omitempty"`
	MadeAt  time.Time  `json:"made_at"`
	Here    bool       `json:"here"`               // made on site
	Sent    bool       `json:"in_cloud"`           // the cloud has it
	State   string     `json:"state"`              // waiting, in_list, foreign, served
	Since   *time.Time `json:"state_at,omitempty"` // absent while it waits
}

func toGrantAnswer(v store.GrantView) grantAnswer {
	a := grantAnswer{ID: string(v.ID), List: v.List, Address: hotspot.FormatListAddress(v.Address), LeftS: int64(v.Left / time.Second), Comment: v.Comment,
		By: v.By, MadeAt: v.MadeAt, Here: v.Here, Sent: v.Document, State: cmp.Or(string(v.State), "waiting")}
	if !v.Until.IsZero() {
		a.Until = &v.Until
	}
	if !v.StateAt.IsZero() {
		a.Since = &v.StateAt
	}
	return a
}

// askGrants asks the running service and prints its answer.
func askGrants(cmd *cobra.Command, o *options, what string, in grantAsk) error {
	cfg, err := o.load(cmd)
	if err != nil {
		return err
	}
	var out grantsAnswer
	if err := callControl(cmd.Context(), cfg.controlPath(), "grant/"+what, in, &out); err != nil {
		return err
	}
	if o.json {
		return printJSON(cmd, out)
	}
	return printGrants(cmd.OutOrStdout(), what, out)
}

// grantStates words what became of a grant.
var grantStates = map[string]string{
	"waiting": "waits for the router",
	"in_list": "in the list since %s",
	"foreign": "in the list since %s, by an entry that somebody else made",
	"served":  "fetched by the router at %s",
}

func printGrants(w io.Writer, what string, out grantsAnswer) error {
	if what == "remove" {
		_, err := fmt.Fprintf(w, "%d removed.\n", out.Removed)
		return err
	}
	if len(out.Grants) == 0 {
		_, err := fmt.Fprintln(w, "No grant is in force.")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "LIST\tADDRESS\tLEFT\tSTATE\tBY\tCOMMENT\tID")
	for _, g := range out.Grants {
		state := grantStates[g.State]
		if g.Since != nil && g.State != "waiting" {
			state = fmt.Sprintf(state, g.Since.Local().Format("2006-01-02 15:04:05"))
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", g.List, g.Address, time.Duration(g.LeftS)*time.Second, state, cmp.Or(g.By, "-"), cmp.Or(g.Comment, "-"), g.ID)
	}
	return t.Flush()
}

// grants adds the grant commands to the control door.
func (c *control) grants(mux *http.ServeMux) {
	mux.HandleFunc("POST /v1/grant/list", func(w http.ResponseWriter, r *http.Request) {
		reply(w, r, func(ctx context.Context, _ grantAsk) (grantsAnswer, error) { return c.listGrants(ctx, "") })
	})
	mux.HandleFunc("POST /v1/grant/add", func(w http.ResponseWriter, r *http.Request) {
		reply(w, r, c.addGrant)
	})
	mux.HandleFunc("POST /v1/grant/remove", func(w http.ResponseWriter, r *http.Request) {
		reply(w, r, func(ctx context.Context, in grantAsk) (grantsAnswer, error) {
			n, err := c.db.RemoveGrant(ctx, hotspot.GrantID(in.ID), in.List, in.Address, in.By)
			if err != nil {
				return grantsAnswer{}, err
			}
			out, err := c.listGrants(ctx, "")
			out.Removed = n
			return out, err
		})
	})
}

// addGrant makes a grant and waits a while for the routers to have it, where one
// can be asked.
func (c *control) addGrant(ctx context.Context, in grantAsk) (grantsAnswer, error) {
	ask := store.GrantAsk{List: in.List, Address: in.Address, For: time.Duration(in.ForS) * time.Second, Comment: in.Comment, By: in.By}
	if in.Until != nil {
		ask.Until = *in.Until
	} else if in.ForS <= 0 {
		return grantsAnswer{}, fault.New(fault.Invalid, "a grant without an end", nil).WithCode("", "Say the end, either by --for or by --until.")
	}
	ticks, cancel := c.db.Changed()
	defer cancel()
	g, err := c.db.AddGrant(ctx, ask)
	if err != nil {
		return grantsAnswer{}, err
	}
	over := time.NewTimer(c.patience())
	defer over.Stop()
	for wait := c.settles; ; {
		out, err := c.listGrants(ctx, g.ID)
		if err != nil || !wait || len(out.Grants) == 0 || out.Grants[0].State != "waiting" {
			return out, err
		}
		select {
		case <-ticks:
		case <-over.C:
			wait = false
		case <-ctx.Done():
			return grantsAnswer{}, ctx.Err()
		}
	}
}

// listGrants returns the grants in force, or the one of an id.
func (c *control) listGrants(ctx context.Context, id hotspot.GrantID) (grantsAnswer, error) {
	views, err := c.db.Grants(ctx)
	out := grantsAnswer{Grants: []grantAnswer{}}
	for _, v := range views {
		if id == "" || v.ID == id {
			out.Grants = append(out.Grants, toGrantAnswer(v))
		}
	}
	return out, err
}

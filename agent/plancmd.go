package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/webui"
	"iwas/internal/wire"
)

// planCommand is what a site without a cloud sells.
func planCommand(o *options) *cobra.Command {
	return group("plan", "Show and make what is sold; where there is a cloud, it is made there", planListCommand(o), planPutCommand(o, "add"), planPutCommand(o, "set"), planRemoveCommand(o))
}

// planBody is a plan as commands and the service tell each other.
type planBody struct {
	ID string `json:"id,omitempty"`
	wire.PlanDoc
	Price string `json:"price,omitempty"` // for people
}

type plansAnswer struct {
	Plans []planBody `json:"plans"`
}

type planAsk struct {
	Plan planBody `json:"plan"`
	Name string   `json:"name,omitempty"` // id or name of the plan to change or to remove
	By   string   `json:"by,omitempty"`
	As   string   `json:"as,omitempty"`
}

func toPlanBody(p hotspot.Plan) planBody {
	return planBody{ID: string(p.ID), Price: p.Price.String(), PlanDoc: wire.PlanDoc{Name: p.Name, PriceMinor: p.Price.Minor, Currency: p.Price.Currency, Limits: wire.FromLimits(p.Limits)}}
}

func (c *control) plans(ctx context.Context, _ struct{}) (plansAnswer, error) {
	plans, err := c.db.Plans(ctx)
	out := plansAnswer{Plans: []planBody{}}
	for _, p := range plans {
		out.Plans = append(out.Plans, toPlanBody(p))
	}
	return out, err
}

func (c *control) putPlan(ctx context.Context, in planAsk) (plansAnswer, error) {
	limits, err := in.Plan.Limits.Limits()
	if err != nil {
		return plansAnswer{}, fault.New(fault.Invalid, "store: plan", err).WithCode("", "See iwas-agent plan add --help.")
	}
	p := hotspot.Plan{Name: in.Plan.Name, Price: hotspot.Money{Minor: in.Plan.PriceMinor, Currency: in.Plan.Currency}, Limits: limits}
	if in.Name != "" {
		was, err := c.db.PlanNamed(ctx, in.Name)
		if err != nil {
			return plansAnswer{}, err
		}
		p.ID = was.ID
	}
	made, err := c.db.SetPlan(ctx, p, staffOf(ctx, in.As, in.By))
	return plansAnswer{Plans: []planBody{toPlanBody(made)}}, err
}

func (c *control) removePlan(ctx context.Context, in planAsk) (plansAnswer, error) {
	p, err := c.db.PlanNamed(ctx, in.Name)
	if err == nil {
		err = c.db.RemovePlan(ctx, p.ID, staffOf(ctx, in.As, in.By))
	}
	return plansAnswer{Plans: []planBody{toPlanBody(p)}}, err
}

func askPlans(cmd *cobra.Command, o *options, what string, in any) (plansAnswer, error) {
	var out plansAnswer
	cfg, err := o.load(cmd)
	if err == nil {
		err = callControl(cmd.Context(), cfg.controlPath(), "plan/"+what, in, &out)
	}
	return out, err
}

func showPlans(cmd *cobra.Command, o *options, out plansAnswer) error {
	if o.json {
		return printJSON(cmd, out)
	}
	printPlans(cmd.OutOrStdout(), out.Plans)
	return nil
}

func planListCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "Show what can be sold here", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			out, err := askPlans(cmd, o, "list", struct{}{})
			if err != nil {
				return err
			}
			return showPlans(cmd, o, out)
		},
	}
}

func planRemoveCommand(o *options) *cobra.Command {
	var as string
	c := &cobra.Command{
		Use: "remove PLAN", Short: "Sell a plan no longer; what was sold stays", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			out, err := askPlans(cmd, o, "remove", planAsk{Name: args[0], By: whoAsks(), As: as})
			if err != nil {
				return err
			}
			if o.json {
				return printJSON(cmd, out)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s is sold no longer. Passes already sold stay as they are.\n", out.Plans[0].Name)
			return nil
		},
	}
	addAs(c, &as)
	return c
}

// planFlags are the limits of a plan as flags.
type planFlags struct {
	name, price, currency, time, validity, rate, slow, data, idle string
	metered                                                       bool
	devices                                                       int
	hours                                                         []string
}

func planPutCommand(o *options, what string) *cobra.Command {
	var f planFlags
	var as string
	c := &cobra.Command{
		Use: "add NAME", Short: "Make a plan, where there is no cloud", Args: cobra.ExactArgs(1),
		Long: "Makes a plan to sell. It is for a site without a cloud; once the site is enrolled its plans become the cloud's,\n" +
			"and are changed there. A pass keeps the limits and the price it was sold at, whatever becomes of the plan.\n" +
			"Times are such as 30m, 2h or 1d; a speed is upload/download, such as 2M/10M.",
		Example: "  iwas-agent plan add \"1 hour\" --price 5 --currency EGP --time 1h --metered --validity 7d --rate 2M/10M\n  iwas-agent plan add \"Day\" --price 20 --currency EGP --time 1d --devices 2",
		RunE: func(cmd *cobra.Command, args []string) error {
			in := planAsk{By: whoAsks(), As: as}
			in.Plan.Name, in.Plan.Limits.Devices = args[0], 1
			if what == "set" {
				now, err := askPlans(cmd, o, "list", struct{}{})
				if err != nil {
					return err
				}
				for _, p := range now.Plans {
					if p.ID == args[0] || strings.EqualFold(p.Name, args[0]) {
						in.Name, in.Plan = p.ID, p
					}
				}
				if in.Name == "" {
					return fault.New(fault.NotFound, fmt.Sprintf("there is no plan %q", args[0]), nil).WithCode("", "`iwas-agent plan list` shows the plans there are.")
				}
				in.Plan.ID, in.Plan.Price = "", ""
			}
			if err := f.into(cmd, &in.Plan.PlanDoc); err != nil {
				return &exitError{exitUsage, err}
			}
			out, err := askPlans(cmd, o, "put", in)
			if err != nil {
				return err
			}
			return showPlans(cmd, o, out)
		},
	}
	if what == "set" {
		c.Use, c.Short = "set PLAN", "Change a plan, where there is no cloud"
		c.Long = "Changes what is named, and leaves the rest. What was sold before stays as it was sold."
		c.Example = "  iwas-agent plan set \"1 hour\" --price 6"
		c.Flags().StringVar(&f.name, "name", "", "another name")
	}
	s := c.Flags()
	s.StringVar(&f.price, "price", "", "price, such as 5 or 5.50; empty is free")
	s.StringVar(&f.currency, "currency", "", "its currency, such as EUR")
	s.StringVar(&f.time, "time", "", "time allowance; empty is no limit")
	s.BoolVar(&f.metered, "metered", false, "time runs only while the guest is online, and can be paused")
	s.StringVar(&f.validity, "validity", "", "how long after the sale it can be used; empty is for ever")
	s.StringVar(&f.rate, "rate", "", "speed, upload/download; empty is no limit")
	s.StringVar(&f.data, "data", "", "data both ways, such as 500M or 5G; empty is no limit")
	s.StringVar(&f.slow, "slow-rate", "", "speed once the data is used; empty: it ends there")
	s.StringVar(&f.idle, "idle", "", "log out after this long without traffic")
	s.IntVar(&f.devices, "devices", 1, "devices at once")
	s.StringArrayVar(&f.hours, "hours", nil, "when in the week, such as \"mon-fri 08:00-16:00\"; repeatable")
	addAs(c, &as)
	return c
}

// into writes the flags that were given into a plan.
func (f *planFlags) into(cmd *cobra.Command, p *wire.PlanDoc) error {
	given := cmd.Flags().Changed
	seconds := func(flag, text string, to *int64) error {
		if !given(flag) {
			return nil
		}
		d, err := parseDuration(text)
		if text == "" || text == "0" {
			d, err = 0, nil
		}
		*to = int64(d / time.Second)
		return err
	}
	if given("name") {
		p.Name = f.name
	}
	if given("price") || given("currency") {
		currency := cmp.Or(strings.ToUpper(f.currency), p.Currency)
		amount := cmp.Or(f.price, "0")
		if !given("price") {
			return fmt.Errorf("--currency needs its --price")
		}
		m, err := hotspot.ParseMoney(amount, currency)
		if err != nil {
			return err
		}
		p.PriceMinor, p.Currency = m.Minor, m.Currency
	}
	for flag, to := range map[string]struct {
		text string
		to   *int64
	}{"time": {f.time, &p.Limits.TimeS}, "validity": {f.validity, &p.Limits.ValidityS}, "idle": {f.idle, &p.Limits.IdleS}} {
		if err := seconds(flag, to.text, to.to); err != nil {
			return err
		}
	}
	if given("metered") {
		p.Limits.Clock = hotspot.Continuous
		if f.metered {
			p.Limits.Clock = hotspot.Metered
		}
	}
	if given("rate") {
		p.Limits.Rate = f.rate
	}
	if given("slow-rate") {
		p.Limits.SlowRate = f.slow
	}
	if given("devices") {
		p.Limits.Devices = f.devices
	}
	if given("hours") {
		p.Limits.Hours = slices.DeleteFunc(f.hours, func(h string) bool { return h == "" }) // one that is empty: at any time
	}
	if given("data") {
		n, err := parseOctets(f.data)
		if err != nil {
			return err
		}
		p.Limits.Total = n
	}
	_, err := p.Limits.Limits()
	return err
}

// parseOctets reads 500M or 5G: decimal, as data is sold.
func parseOctets(s string) (uint64, error) {
	if s == "" || s == "0" {
		return 0, nil
	}
	unit := map[byte]uint64{'k': 1e3, 'K': 1e3, 'M': 1e6, 'G': 1e9, 'T': 1e12}[s[len(s)-1]]
	var n uint64
	if _, err := fmt.Sscanf(s[:len(s)-1], "%d", &n); err != nil || unit == 0 || n == 0 || n > 1e6 || fmt.Sprint(n) != s[:len(s)-1] {
		return 0, fmt.Errorf("%q is not an amount of data such as 500M or 5G", s)
	}
	return n * unit, nil
}

func printPlans(out io.Writer, plans []planBody) {
	if len(plans) == 0 {
		fmt.Fprintln(out, "There is no plan. Next: iwas-agent plan add, or make one in the console.")
		return
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "PLAN\tPRICE\tTIME\tSPEED\tDATA\tDEVICES\tVALID\tID")
	for _, p := range plans {
		l := p.Limits
		span := func(s int64, none string) string {
			if s == 0 {
				return none
			}
			return webui.Duration(time.Duration(s) * time.Second)
		}
		clock := ""
		if l.TimeS > 0 && l.Clock == hotspot.Metered {
			clock = " online"
		}
		data := "no limit"
		if l.Total > 0 {
			data = hotspot.Octets(l.Total).String()
		}
		price := p.Price
		if p.PriceMinor == 0 {
			price = "free"
		}
		fmt.Fprintf(w, "%s\t%s\t%s%s\t%s\t%s\t%d\t%s\t%s\n", p.Name, price, span(l.TimeS, "no limit"), clock, cmp.Or(l.Rate, "no limit"), data, max(1, l.Devices), span(l.ValidityS, "for ever"), p.ID)
	}
	_ = w.Flush() // to a terminal or a pipe that is gone
}

// addAs has a command say for whom somebody at a terminal acts.
func addAs(c *cobra.Command, as *string) {
	c.Flags().StringVar(as, "as", "", "who is at the counter, for the records, beside the user of this box")
}

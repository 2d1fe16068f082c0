package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// accountActions are the commands that do one thing to a guest.
func accountActions(o *options) []*cobra.Command {
	act := func(what, short, long string, reason bool) *cobra.Command {
		var in accountAsk
		c := &cobra.Command{
			Use: what + " NAME", Short: short, Long: long, Args: cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error {
				in.Name, in.By = args[0], whoAsks()
				return askAccount(cmd, o, what, in)
			},
		}
		if reason {
			c.Flags().StringVar(&in.Reason, "reason", "", "why, for the records")
		}
		addAs(c, &in.As)
		return c
	}
	return []*cobra.Command{
		accountFindCommand(o), accountAddCommand(o), accountSellCommand(o), accountWhyCommand(o),
		act("lock", "Put a guest off until somebody unlocks", "Puts a guest off the HotSpot with all devices, and keeps them off. The cloud is told. Of two locks, here and in the\nconsole, the stricter holds until a person lifts it.", true),
		act("unlock", "Lift a guest's lock", "Lifts the lock that is there, also one of the console; the cloud is told. A lock that the console set meanwhile holds when it comes.", true),
		act("pause", "Stop the clock of a guest's time until they resume", "Puts a guest off and keeps what is left of their time. Only plans whose time runs while online can be paused.", false),
		act("resume", "End a pause", "Ends a pause. A lock is not lifted by it.", false),
		act("kick", "End a guest's sessions once", "Ends the sessions of a guest. Whoever has a right to may log in again at once.", false),
	}
}

func accountFindCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "find TEXT", Short: "Search guests by name, code, note, or the MAC of a device online", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := o.load(cmd)
			if err != nil {
				return err
			}
			var out foundAnswers
			if err := callControl(cmd.Context(), cfg.controlPath(), "account/find", findAsk{Text: args[0]}, &out); err != nil {
				return err
			}
			if o.json {
				return printJSON(cmd, out)
			}
			if len(out.Guests) == 0 {
				fmt.Fprintln(cmd.OutOrStdout(), "Nobody here is like that.")
				return nil
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "NAME\tKIND\tPLAN\tONLINE\tSTATE\tNOTE")
			for _, g := range out.Guests {
				state := "ok"
				if g.Locked {
					state = "LOCKED"
				} else if g.Paused {
					state = "PAUSED"
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%s\n", g.Name, g.Kind, g.Plan, g.Online, state, g.Note)
			}
			return w.Flush()
		},
	}
}

func accountAddCommand(o *options) *cobra.Command {
	var in sellAsk
	var file string
	c := &cobra.Command{
		Use: "add NAME", Short: "Make a guest with name and password, and sell them a plan", Args: cobra.ExactArgs(1),
		Long:    "Makes a guest who logs in with name and password. The password is read from --password-file, - being standard input,\nor asked for at a terminal; left empty one is made up and printed.",
		Example: "  iwas-agent account add amira --plan \"1 hour\"",
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if in.Password, err = newPassword(cmd, file); err != nil {
				return &exitError{exitUsage, err}
			}
			in.User, in.By = args[0], whoAsks()
			return askSale(cmd, o, in, false)
		},
	}
	c.Flags().StringVar(&in.Plan, "plan", "", "what to sell: a plan's name or id")
	c.Flags().StringVar(&file, "password-file", "", "file with the password, - is standard input; empty asks for it")
	c.Flags().StringVar(&in.Note, "note", "", "for people; no router sees it")
	addAs(c, &in.As)
	_ = c.MarkFlagRequired("plan") // fails only for a flag that does not exist
	return c
}

// newPassword reads a password to be; empty has one made up.
func newPassword(cmd *cobra.Command, file string) (string, error) {
	if file != "" && file != "-" {
		b, err := os.ReadFile(file)
		return strings.TrimRight(string(b), "\r\n"), err
	}
	if in, ok := cmd.InOrStdin().(*os.File); file == "" && ok && term.IsTerminal(int(in.Fd())) {
		fmt.Fprint(cmd.ErrOrStderr(), "Password (empty makes one up): ")
		b, err := term.ReadPassword(int(in.Fd()))
		fmt.Fprintln(cmd.ErrOrStderr())
		return string(b), err
	}
	if file == "" {
		return "", nil // nobody to ask
	}
	line, err := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return strings.TrimRight(line, "\r\n"), err
}

func accountSellCommand(o *options) *cobra.Command {
	var in sellAsk
	c := &cobra.Command{
		Use: "sell NAME PLAN", Short: "Sell a guest another pass", Args: cobra.ExactArgs(2),
		Long: "Gives a guest there is another pass, at the plan's price of now. What is left of the ones before is used first.",
		RunE: func(cmd *cobra.Command, args []string) error {
			in.To, in.Plan, in.By = args[0], args[1], whoAsks()
			return askSale(cmd, o, in, false)
		},
	}
	addAs(c, &in.As)
	return c
}

// voucherCommand sells codes.
func voucherCommand(o *options) *cobra.Command {
	var in sellAsk
	var print string
	c := &cobra.Command{
		Use: "sell PLAN", Short: "Sell vouchers: a code is all a guest needs", Args: cobra.ExactArgs(1),
		Long:    "Makes vouchers of a plan and prints their codes. They are in force at once, and the cloud is told of the sale.\nWith --print text each is a slip to cut off and hand over.",
		Example: "  iwas-agent voucher sell \"1 hour\" --count 10 --print text",
		RunE: func(cmd *cobra.Command, args []string) error {
			if print != "" && print != "text" {
				return &exitError{exitUsage, fmt.Errorf("--print: %q is not text", print)}
			}
			in.Plan, in.By = args[0], whoAsks()
			return askSale(cmd, o, in, print == "text")
		},
	}
	c.Flags().IntVar(&in.Count, "count", 1, "how many")
	c.Flags().StringVar(&print, "print", "", "text: slips to hand over")
	c.Flags().StringVar(&in.Note, "note", "", "for people; no router sees it")
	addAs(c, &in.As)
	return group("voucher", "Sell vouchers", c)
}

func askSale(cmd *cobra.Command, o *options, in sellAsk, slips bool) error {
	cfg, err := o.load(cmd)
	if err != nil {
		return err
	}
	var out salesAnswer
	if err := callControl(cmd.Context(), cfg.controlPath(), "account/sell", in, &out); err != nil {
		return err
	}
	switch {
	case o.json:
		return printJSON(cmd, out)
	case slips:
		printSlips(cmd.OutOrStdout(), out.Sales)
	default:
		for _, s := range out.Sales {
			fmt.Fprintf(cmd.OutOrStdout(), "%s  %s, %s", s.Name, s.Plan, s.Price)
			if s.Password != "" {
				fmt.Fprintf(cmd.OutOrStdout(), "  password: %s", s.Password)
			}
			fmt.Fprintln(cmd.OutOrStdout())
		}
	}
	return nil
}

// printSlips writes vouchers for a printer that prints text, 32 columns wide as a
// 58 mm roll is.
func printSlips(w io.Writer, sales []saleAnswer) {
	const width = 32
	center := func(s string) {
		fmt.Fprintln(w, strings.Repeat(" ", max(0, (width-len([]rune(s)))/2))+s)
	}
	for _, s := range sales {
		center("WiFi")
		center(s.Plan)
		fmt.Fprintln(w)
		center(s.Name)
		fmt.Fprintln(w)
		center(s.Price)
		center(s.At.Local().Format("2006-01-02 15:04"))
		fmt.Fprintln(w, strings.Repeat("-", width))
	}
}

// salesCommand lists what was sold here.
func salesCommand(o *options) *cobra.Command {
	var today bool
	c := &cobra.Command{
		Use: "sales", Short: "Show what was sold at this counter", Args: cobra.NoArgs,
		Long: "Lists the newest sales made on this box, with who made them. What the console sold is listed there.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := o.load(cmd)
			if err != nil {
				return err
			}
			in := salesAsk{Today: today}
			var out salesAnswer
			if err := callControl(cmd.Context(), cfg.controlPath(), "sales", in, &out); err != nil {
				return err
			}
			if o.json {
				return printJSON(cmd, out)
			}
			printSales(cmd.OutOrStdout(), out)
			return nil
		},
	}
	c.Flags().BoolVar(&today, "today", false, "only those of the site's day, in its time zone")
	return c
}

func printSales(out io.Writer, a salesAnswer) {
	if len(a.Sales) == 0 {
		fmt.Fprintln(out, "Nothing was sold here.")
		return
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "WHEN\tWHO\tPLAN\tPRICE\tGUEST")
	for _, s := range a.Sales {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", s.At.Local().Format(time.DateTime), s.By, s.Plan, s.Price, s.Name)
	}
	_ = w.Flush() // to a terminal or a pipe that is gone
	var sums []string
	for _, m := range a.Sums {
		sums = append(sums, m)
	}
	slices.Sort(sums)
	fmt.Fprintf(out, "%d sales, %s\n", len(a.Sales), strings.Join(append(sums, []string{"free"}[min(1, len(sums)):]...), " and "))
}

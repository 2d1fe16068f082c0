package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"iwas/agent/radius"
	"iwas/internal/hotspot"
	"iwas/internal/secret"
)

// loginStep is one step of test login.
type loginStep struct {
	Step   string `json:"step"`
	Result string `json:"result"` // OK, FAIL
	Detail string `json:"detail,omitempty"`
}

// testMAC is the device of a test: locally administered, and nobody's.
var testMAC = hotspot.MAC{0x02, 0x00, 0x5e, 0x00, 0x53, 0x01}

func testLoginCommand(o *options) *cobra.Command {
	var f radiusTest
	var plan string
	c := &cobra.Command{
		Use: "login", Short: "Sell a throw-away voucher, log in with it, lock it, and see the refusal", Args: cobra.NoArgs,
		Long: "Walks the way of a guest through this box: a voucher of a test, a login by RADIUS as a HotSpot asks, the session in\n" +
			"the records, a lock, and the refusal after it. The voucher is gone afterwards; it is among no sales, and the cloud is\n" +
			"told of none. No router takes part: `iwas-agent router check` looks at it.\n" +
			"Exit code: 0 all went well, 3 the service does not run, 4 a step failed.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := o.load(cmd)
			if err != nil {
				return err
			}
			p := radius.Probe{Method: radius.PAP, Tries: 3, Wait: time.Second, MAC: testMAC, IP: netip.MustParseAddr("192.0.2.1"),
				AcctSessionID: hotspot.AcctSessionID("test-" + secret.Random(8).Reveal())}
			steps, err := walkLogin(cmd, o, &f, cfg.controlPath(), plan, p)
			if len(steps) > 0 {
				err = errors.Join(err, showSteps(cmd, o, steps))
			}
			return err
		},
	}
	c.Flags().StringVar(&plan, "plan", "", "what the voucher is of; empty is the first plan there is")
	c.Flags().StringVar(&f.nas, "nas", "", "take the secret of this [[nas]]; empty is the first")
	return c
}

// walkLogin does the steps, up to the first that fails, and clears up.
func walkLogin(cmd *cobra.Command, o *options, f *radiusTest, door, plan string, p radius.Probe) (steps []loginStep, err error) {
	ctx := cmd.Context()
	if plan == "" {
		plans, err := askPlans(cmd, o, "list", struct{}{})
		if err != nil {
			return nil, err
		}
		if len(plans.Plans) == 0 {
			return nil, &exitError{exitFindings, errors.New("there is no plan to sell: iwas-agent plan add, or make one in the console")}
		}
		plan = plans.Plans[0].ID
	}
	var sold salesAnswer
	if err := callControl(ctx, door, "account/sell", sellAsk{Plan: plan, Test: true, By: whoAsks(), Note: "test login"}, &sold); err != nil {
		return nil, err
	}
	voucher := sold.Sales[0]
	defer func() {
		clear := context.WithoutCancel(ctx) // also when interrupted
		err = errors.Join(err, callControl(clear, door, "account/remove-test", removeTestAsk{voucher.AccountID, voucher.PassID}, &struct{}{}))
	}()
	p.Name = voucher.Name
	ask := func(what radius.Ask, kind hotspot.AccountingKind, length time.Duration) (radius.Exchange, error) {
		q := p
		q.Ask, q.Kind, q.SessionTime = what, kind, length
		if err := f.where(cmd, o, &q); err != nil {
			return radius.Exchange{}, err
		}
		return q.Do(ctx)
	}
	account := func(kind hotspot.AccountingKind, length time.Duration) func() (string, error) {
		return func() (string, error) {
			x, err := ask(radius.AskAccounting, kind, length)
			if err == nil && !x.Good() {
				err = errors.New(why(x))
			}
			return x.Reply, err
		}
	}
	inForce := accountAsk{Name: voucher.Name, By: whoAsks(), Reason: "test login"}
	for _, s := range []struct {
		name string
		do   func() (string, error)
	}{
		{"voucher", func() (string, error) { return voucher.Name + " of " + voucher.Plan, nil }},
		{"log in", func() (string, error) {
			x, err := ask(radius.AskLogin, 0, 0)
			if err == nil && !x.Good() {
				err = errors.New(why(x))
			}
			return x.Reply, err
		}},
		{"accounting start", account(hotspot.Start, 0)},
		{"accounting interim", account(hotspot.Interim, time.Second)},
		{"session in the records", func() (string, error) {
			var a accountAnswer
			err := callControl(ctx, door, "account/show", inForce, &a)
			if err == nil && len(a.Sessions) != 1 {
				err = fmt.Errorf("%d sessions, want 1", len(a.Sessions))
			}
			return "speed " + cmp.Or(a.Rate, "no limit"), err
		}},
		{"lock", func() (string, error) {
			var a accountAnswer
			err := callControl(ctx, door, "account/lock", inForce, &a)
			if err == nil && !a.Locked {
				err = errors.New("it is not locked")
			}
			return "", err
		}},
		{"refused", func() (string, error) {
			x, err := ask(radius.AskLogin, 0, 0)
			if err == nil && x.Reply != "Access-Reject" {
				err = fmt.Errorf("got %s, want Access-Reject", cmp.Or(x.Reply, "no answer"))
			}
			return x.Reply, err
		}},
		{"accounting stop", account(hotspot.Stop, 2*time.Second)},
	} {
		detail, err := s.do()
		if err != nil {
			return append(steps, loginStep{s.name, "FAIL", err.Error()}), &exitError{exitFindings, fmt.Errorf("%s: %w", s.name, err)}
		}
		steps = append(steps, loginStep{s.name, "OK", detail})
	}
	return steps, nil
}

func showSteps(cmd *cobra.Command, o *options, steps []loginStep) error {
	if o.json {
		return printJSON(cmd, map[string]any{"steps": steps})
	}
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "STEP\tRESULT\tDETAIL")
	for _, s := range steps {
		fmt.Fprintf(w, "%s\t%s\t%s\n", s.Step, s.Result, s.Detail)
	}
	return w.Flush()
}

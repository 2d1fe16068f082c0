package main

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"iwas/agent/aaa"
	"iwas/agent/statuspage"
	"iwas/agent/store"
	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/whynot"
)

type whyAsk struct {
	Name string `json:"name"`
}

// whyAnswer says in one line why a name cannot log in.
type whyAnswer struct {
	Name    string         `json:"name"`
	Verdict whynot.Verdict `json:"verdict"`
	Can     bool           `json:"can_log_in"` // as far as this box knows
	Why     string         `json:"why"`
	Next    string         `json:"next,omitempty"`
	Command string         `json:"command,omitempty"` // that does the next step
	Code    hotspot.Reason `json:"code,omitempty"`    // of what stands in the way

	Last *rejectAnswer `json:"last_reject,omitempty"`
}

type rejectAnswer struct {
	At     time.Time `json:"at"`
	NAS    string    `json:"nas"`
	MAC    string    `json:"mac"` // masked
	Reason string    `json:"reason"`
	Text   string    `json:"text"`
	Times  int       `json:"times"`
}

// asker answers why somebody cannot log in. The page and the command ask it, so that
// they say the same.
type asker struct {
	db *store.DB
	// mac is the device that has an address at the HotSpot; nil: nobody knows.
	mac func(netip.Addr) (hotspot.MAC, bool)
	// ready reports whether guests can log in at all, and why not; nil: they can.
	ready func(context.Context) (ok bool, why, next string)
}

// why answers; names says that other guests' names may be told.
func (a asker) why(ctx context.Context, asked string, names bool) (whyAnswer, error) {
	asked = strings.TrimSpace(asked)
	if asked == "" || len(asked) > askedBound {
		return whyAnswer{}, fault.New(fault.Invalid, fmt.Sprintf("a name has 1 to %d letters", askedBound), nil).WithCode("", "Give a name, a voucher's code, a MAC or part of one, or the address of a phone.")
	}
	f, err := a.db.WhyNot(ctx, asked, names)
	if err != nil {
		return whyAnswer{}, err
	}
	if ip, err := netip.ParseAddr(asked); err == nil && f.Account == nil && len(f.Failed) == 0 && a.mac != nil {
		if m, ok := a.mac(ip); ok {
			if f, err = a.db.WhyNot(ctx, m.String(), names); err != nil {
				return whyAnswer{}, err
			}
		}
	}
	if a.ready != nil {
		if ok, why, next := a.ready(ctx); !ok {
			f.Nobody, f.NobodyNext = why, next
		}
	}
	got := whynot.Ask(f)
	out := whyAnswer{Name: asked, Verdict: got.Verdict, Can: got.Verdict == whynot.Can || got.Verdict == whynot.Online && got.Step == whynot.Nothing,
		Why: got.Line, Next: got.Next, Code: got.Reason, Command: commandFor(got.Step, f.Account)}
	if len(f.Failed) > 0 {
		r := f.Failed[0]
		out.Last = &rejectAnswer{At: r.Newest(), NAS: string(r.NAS), MAC: r.MAC.Masked(), Reason: string(r.Reason), Text: cmp.Or(r.Detail, r.Message, string(r.Reason)), Times: r.Count()}
	}
	return out, nil
}

// askedBound is the longest question, in octets: a User-Name is no longer.
const askedBound = 253

// commandFor is the command that takes a step; "" where no single one does.
func commandFor(s whynot.Step, a *hotspot.Account) string {
	if a == nil {
		return map[whynot.Step]string{whynot.CheckRouter: "iwas-agent router check", whynot.Spell: "iwas-agent account find TEXT"}[s]
	}
	name := a.Username
	return map[whynot.Step]string{
		whynot.Sell: "iwas-agent account sell " + name + " PLAN", whynot.Unlock: "iwas-agent account unlock " + name, whynot.Resume: "iwas-agent account resume " + name,
		whynot.Kick: "iwas-agent account kick " + name, whynot.CheckRouter: "iwas-agent router check", whynot.FreeDisk: "iwas-agent check",
	}[s]
}

func (c *control) why(ctx context.Context, in whyAsk) (whyAnswer, error) {
	return asker{db: c.db, mac: c.mac, ready: c.ready}.why(ctx, in.Name, true)
}

// whyPage answers the status page. Without a store there is nobody to ask about.
func (s *site) whyPage(ctx context.Context, asked string, names bool) (statuspage.Why, error) {
	if s.db == nil {
		return statuspage.Why{Verdict: whynot.Cannot, Line: "Nobody can log in now: the database will not open.", Next: fault.Hint(s.dbErr)}, nil
	}
	return whyForPage(ctx, asker{db: s.db, mac: s.macOf, ready: s.readyNow}, asked, names)
}

func whyForPage(ctx context.Context, who asker, asked string, names bool) (statuspage.Why, error) {
	a, err := who.why(ctx, asked, names)
	if err != nil {
		return statuspage.Why{}, err
	}
	out := statuspage.Why{Verdict: a.Verdict, Line: a.Why, Next: a.Next, Command: a.Command}
	if a.Last != nil {
		out.LastAt, out.LastNAS, out.LastMAC, out.LastText, out.LastTimes = a.Last.At, a.Last.NAS, a.Last.MAC, a.Last.Text, a.Last.Times
	}
	return out, nil
}

// rejectOf is a failed login as the page shows it.
func rejectOf(r hotspot.Reject) statuspage.Reject {
	out := statuspage.Reject{At: r.At, NAS: r.NAS, Username: r.Username, MAC: r.MAC.Masked(), Reason: r.Reason, Meaning: cmp.Or(r.Detail, aaa.TechnicianMessage(r.Reason)), Message: r.Message,
		Appeared: r.Appeared(), Silent: r.Silent, Others: r.Others, Flood: r.Flood()}
	if r.Count() > 1 {
		out.Times, out.Until = r.Count(), r.Newest()
	}
	if r.Source.IsValid() {
		out.Source = r.Source.String()
	}
	return out
}

// readyNow reports whether guests can log in at all.
func (s *site) readyNow(ctx context.Context) (ok bool, why, next string) {
	return s.snapshot(ctx).Ready()
}

// macOf asks what was read of the routers' HotSpots whose an address is.
func (s *site) macOf(ip netip.Addr) (hotspot.MAC, bool) {
	for _, h := range s.enforcer.Health() {
		for m, d := range h.Vitals.Devices.List {
			if d.Address == ip.Unmap() {
				return m, true
			}
		}
	}
	return hotspot.MAC{}, false
}

func accountWhyCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "why NAME", Short: "Say in one line why a guest cannot log in", Args: cobra.ExactArgs(1),
		Long: "Says in one line why somebody cannot log in now, and what to do next. NAME is a guest's name, a voucher's code in any\n" +
			"spelling, the MAC of a device or part of it, or the address of a phone. The status page says the same.",
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := o.load(cmd)
			if err != nil {
				return err
			}
			var a whyAnswer
			if err := callControl(cmd.Context(), cfg.controlPath(), "account/why", whyAsk{args[0]}, &a); err != nil {
				return err
			}
			if o.json {
				return printJSON(cmd, a)
			}
			fmt.Fprintln(cmd.OutOrStdout(), a.Why)
			if a.Last != nil {
				fmt.Fprintf(cmd.OutOrStdout(), "Last failed %s at %s, device %s: %s\n", a.Last.At.Local().Format(time.DateTime), cmp.Or(a.Last.NAS, "no router of this box"), cmp.Or(a.Last.MAC, "not told"), a.Last.Text)
			}
			if a.Next != "" {
				fmt.Fprintln(cmd.OutOrStdout(), "Next:", a.Next)
			}
			if a.Command != "" {
				fmt.Fprintln(cmd.OutOrStdout(), "Command:", a.Command)
			}
			return nil
		},
	}
}

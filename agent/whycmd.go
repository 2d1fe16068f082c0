package main

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"iwas/agent/store"
	"iwas/internal/hotspot"
)

type whyAsk struct {
	Name string `json:"name"`
}

// whyAnswer says in one line why a name cannot log in.
type whyAnswer struct {
	Name string `json:"name"`
	Can  bool   `json:"can_log_in"` // as far as this box knows
	Why  string `json:"why"`
	Next string `json:"next,omitempty"`

	Last *rejectAnswer `json:"last_reject,omitempty"`
}

type rejectAnswer struct {
	At     time.Time `json:"at"`
	NAS    string    `json:"nas"`
	MAC    string    `json:"mac"` // masked
	Reason string    `json:"reason"`
	Text   string    `json:"text"`
}

func (c *control) why(ctx context.Context, in whyAsk) (whyAnswer, error) {
	s, err := c.db.WhyNot(ctx, in.Name)
	if err != nil {
		return whyAnswer{}, err
	}
	return whyOf(in.Name, s), nil
}

// offWords say why nobody may be on with a pass.
var offWords = map[hotspot.OffReason]string{hotspot.OffTimeUsed: "its time is used up", hotspot.OffDataUsed: "its data is used up", hotspot.OffNotValid: "its pass is over, or does not begin yet"}

// whyOf words what stands in the way now; of what only a login shows, such as a wrong
// password, the newest refusal tells.
func whyOf(name string, s store.LoginStanding) whyAnswer {
	a := whyAnswer{Name: name}
	if r := s.Last; r != nil {
		a.Last = &rejectAnswer{At: r.At, NAS: string(r.NAS), MAC: maskMAC(r.MAC), Reason: string(r.Reason), Text: cmp.Or(r.Detail, r.Message, string(r.Reason))}
	}
	switch {
	case s.Account == nil:
		a.Why, a.Next = "Nobody here is called "+name+".", "Look for it: iwas-agent account find, with a part of the name. Codes have no 0, 1, O, I or L."
		if a.Last == nil {
			a.Why += " No login with that name came here either."
		}
	case s.Lock != nil && s.Lock.Pause:
		a.Why, a.Next = "Paused by "+s.Lock.By+".", "iwas-agent account resume "+name
	case s.Lock != nil:
		a.Why, a.Next = "Locked by "+s.Lock.By+": "+cmp.Or(s.Lock.Reason, "no reason given")+".", "iwas-agent account unlock "+name
	case s.Pass == nil:
		a.Why, a.Next = "There is no pass.", "iwas-agent account sell "+name+" PLAN"
	case s.Off != "":
		a.Why, a.Next = "It is over: "+cmp.Or(offWords[s.Off], string(s.Off))+".", "iwas-agent account sell "+name+" PLAN, or iwas-agent account extend "+name+" 1h"
	case s.Online >= s.Pass.Limits.DevicesAtOnce() && s.Pass.Limits.Swap != hotspot.SwapMove:
		a.Why, a.Next = fmt.Sprintf("%d of %d devices are online: another is refused.", s.Online, s.Pass.Limits.DevicesAtOnce()), "iwas-agent account kick "+name
	case a.Last != nil:
		a.Can, a.Why = true, "Nothing stands in the way now. The last refusal: "+a.Last.Text+"."
	default:
		a.Can, a.Why = true, "Nothing stands in the way, and no refusal is remembered."
		a.Next = "If the guest is refused all the same, the request does not reach this box: iwas-agent router check"
	}
	return a
}

// maskMAC shows the maker of a device and not which it is.
func maskMAC(m hotspot.MAC) string {
	if m.IsZero() {
		return ""
	}
	return m.String()[:8] + ":xx:xx:xx"
}

func accountWhyCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "why NAME", Short: "Say in one line why a guest cannot log in", Args: cobra.ExactArgs(1),
		Long: "Says what stands in the way of a login by that name now, and how the last one was refused.\nNAME is as the guest types it.",
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
				fmt.Fprintf(cmd.OutOrStdout(), "Last refused %s at %s, device %s: %s\n", a.Last.At.Local().Format(time.DateTime), a.Last.NAS, cmp.Or(a.Last.MAC, "not told"), a.Last.Text)
			}
			if a.Next != "" {
				fmt.Fprintln(cmd.OutOrStdout(), "Next:", a.Next)
			}
			return nil
		},
	}
}

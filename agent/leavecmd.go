package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"iwas/agent/uplink"
	"iwas/internal/fault"
)

// leave takes the identity off this box, tells the cloud, and says what is next.
// That the cloud could not be told is no failure: the box has done its part.
func leave(cmd *cobra.Command, o *options, id uplink.Identity, stateDir string) error {
	if !o.json && id.CloudURL != "" {
		fmt.Fprintln(cmd.ErrOrStderr(), "Taking it off, and telling the cloud …")
	}
	told, err := uplink.Leave(cmd.Context(), stateDir, time.Now)
	if err != nil {
		return err
	}
	next := "restart the service (systemctl restart iwas-agent)"
	if told != nil {
		next += ", and in the console, on the site's page, open Box and cut this box off"
		if id.Agent != "" {
			next += " (its id is " + string(id.Agent) + ")"
		}
	}
	if o.json {
		out := map[string]any{"agent": id.Agent, "enrolled": false, "cloud_told": told == nil, "next": next}
		if told != nil {
			out["why"], out["code"] = told.Error(), fault.Code(told)
		}
		return printJSON(cmd, out)
	}
	w := cmd.OutOrStdout()
	fmt.Fprintln(w, "This box has no identity any more.")
	if told == nil {
		fmt.Fprintln(w, "The cloud knows: the console shows the box as given up.")
	} else {
		fmt.Fprintf(w, "The cloud does not know: %v\n", told)
	}
	_, err = fmt.Fprintf(w, "Next: %s.\n", next)
	return err
}

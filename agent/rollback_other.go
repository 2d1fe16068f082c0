//go:build !linux

package main

import (
	"github.com/spf13/cobra"

	"iwas/internal/fault"
)

func rollbackCommand(*options) *cobra.Command {
	return &cobra.Command{
		Use: "rollback", Short: "Put the version from before the last upgrade back (Linux only)", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return fault.New(fault.Invalid, "this system's versions are put back by hand", nil).WithCode("UPD-105", "Unpack the older version's archive and run its iwas-agent install.")
		},
	}
}

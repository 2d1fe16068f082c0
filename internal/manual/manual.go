// Package manual writes a program's manual from its commands themselves, so that it
// cannot say anything else.
package manual

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"iwas/internal/fault"
)

// Command is "man FOLDER" of the program whose root it is added to.
func Command() *cobra.Command {
	var date string
	c := &cobra.Command{
		Use: "man FOLDER", Short: "Write the manual pages into a folder", Args: cobra.ExactArgs(1),
		Long: "Writes one manual page for each command into a folder, for section 8. An installed package has them already:\n" +
			"see man and the name of the program.",
		RunE: func(cmd *cobra.Command, args []string) error {
			at := time.Now()
			if date != "" {
				var err error
				if at, err = time.Parse(time.DateOnly, date); err != nil {
					return fault.New(fault.Invalid, fmt.Sprintf("--date %q is not a date such as 2026-12-31", date), nil)
				}
			}
			return write(cmd.Root(), at, args[0])
		},
	}
	c.Flags().StringVar(&date, "date", "", "date on the pages, such as 2026-12-31; empty is today")
	return c
}

func write(root *cobra.Command, at time.Time, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return tree(root, at, dir)
}

// Package ownership lets a command that root runs write where a service of
// lesser rights reads: afterwards the files belong to whom the folder belongs to.
package ownership

import (
	"errors"

	"github.com/spf13/cobra"
)

// After settles the folders once any command of c has run, whatever came of it.
// folders is asked then: they are known once the configuration was read.
func After(c *cobra.Command, folders func() []string) {
	if run := c.RunE; run != nil {
		c.RunE = func(cmd *cobra.Command, args []string) error {
			err := run(cmd, args)
			for _, dir := range folders() {
				err = errors.Join(err, Settle(dir))
			}
			return err
		}
	}
	for _, sub := range c.Commands() {
		After(sub, folders)
	}
}

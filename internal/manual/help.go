package manual

import (
	"strings"

	"github.com/spf13/cobra"
)

// Help is what a command's help and its page in the manual say beside its flags.
type Help struct {
	Long    string // what it does, in sentences; "" leaves what the command has
	Example string // lines to type, without the indent; "" leaves what the command has
}

// Add gives commands their help, by their path without the program's name.
func Add(root *cobra.Command, of map[string]Help) {
	for _, c := range root.Commands() {
		add(c, "", of)
	}
}

func add(c *cobra.Command, above string, of map[string]Help) {
	path := strings.TrimSpace(above + " " + c.Name())
	h := of[path]
	if h.Long != "" {
		c.Long = h.Long
	}
	if h.Example != "" {
		c.Example = "  " + strings.ReplaceAll(h.Example, "\n", "\n  ")
	}
	for _, sub := range c.Commands() {
		add(sub, path, of)
	}
}

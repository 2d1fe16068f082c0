//go:build e2e

package store

import (
	"cmp"
	"os"
)

// synchronous is FULL, unless a proof that others can tell the difference sets
// IWAS_E2E_SYNCHRONOUS. Only programs built with the tag e2e hear it.
func synchronous() string { return cmp.Or(os.Getenv("IWAS_E2E_SYNCHRONOUS"), "FULL") }

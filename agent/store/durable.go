//go:build !e2e

package store

// synchronous is how far a commit goes before it is one: FULL, to the disk. An
// acknowledged record survives a power cut (sync.md §4).
func synchronous() string { return "FULL" }

// Package buildinfo says which build a program is.
package buildinfo

import "runtime"

var version = "dev" // set by the linker: -X iwas/internal/buildinfo.version=…

// Version returns the version stamped from git at build time, or "dev".
func Version() string { return version }

// String returns what `version` prints: version, Go release, system.
func String() string {
	return version + " (" + runtime.Version() + ", " + runtime.GOOS + "/" + runtime.GOARCH + ")"
}

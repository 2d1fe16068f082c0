//go:build !linux && !windows

package metrics

// process tells nothing where nobody runs this program but its developers.
func process(Writer) {}

//go:build !linux && !windows

package main

import (
	"runtime"

	"iwas/internal/fault"
)

func newKeeper(string) (keeper, error) {
	return nil, fault.New(fault.Invalid, "a service is installed on Linux and Windows only, not on "+runtime.GOOS, nil).WithCode("", "Run it in the foreground: iwas-agent run")
}

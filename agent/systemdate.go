//go:build !e2e

package main

import "time"

// systemDate is what the system says the date is.
func systemDate() time.Time { return time.Now() }

// followsServer reports whether that date follows a time server.
func followsServer() bool { return kernelSynchronised() }

package main

import "golang.org/x/sys/unix"

// kernelSynchronised reports whether the kernel's clock follows a time server:
// what an NTP service tells it, and what runs out by itself when that ends.
func kernelSynchronised() bool {
	var t unix.Timex
	state, err := unix.Adjtimex(&t) // reads only: Modes is 0
	return err == nil && state != unix.TIME_ERROR && t.Status&unix.STA_UNSYNC == 0
}

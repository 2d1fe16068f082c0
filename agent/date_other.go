//go:build !linux

package main

// kernelSynchronised is believed where the system does not say: what is no
// mini-PC has a battery for its clock.
func kernelSynchronised() bool { return true }

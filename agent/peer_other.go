//go:build !linux

package main

import "net"

// peerOf is "" where the system does not say who is at the other end of a socket.
func peerOf(net.Conn) string { return "" }

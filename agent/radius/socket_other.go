//go:build !linux

package radius

import (
	"net"
	"net/netip"
)

// kernelCounts is not known here.
func kernelCounts(*net.UDPConn, netip.AddrPort) (lost uint64, buffer int, ok bool) {
	return 0, 0, false
}

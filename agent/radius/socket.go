package radius

import (
	"context"
	"net"
	"net/netip"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// socket is one bound UDP address. On a wildcard address the kernel is asked
// which of ours a datagram was sent to, and the reply leaves from it: a NAS
// ignores an answer from any other.
type socket struct {
	index      int // in Server.sockets; part of the duplicate key
	accounting bool
	addr       netip.AddrPort
	conn       *net.UDPConn
	v4         *ipv4.PacketConn // set on the IPv4 wildcard
	v6         *ipv6.PacketConn // set on the IPv6 wildcard
}

func listen(ctx context.Context, addr string) (*socket, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	network := "udp4"
	if ip, err := netip.ParseAddr(host); err == nil && ip.Is6() && !ip.Is4In6() {
		network = "udp6"
	}
	var lc net.ListenConfig
	pc, err := lc.ListenPacket(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	conn := pc.(*net.UDPConn)
	_ = conn.SetReadBuffer(recvBuffer) // the kernel may grant less; bursts then show as drops there
	k := &socket{conn: conn, addr: conn.LocalAddr().(*net.UDPAddr).AddrPort()}
	if k.addr.Addr().IsUnspecified() {
		if network == "udp4" {
			k.v4 = ipv4.NewPacketConn(conn)
			err = k.v4.SetControlMessage(ipv4.FlagDst, true)
		} else {
			k.v6 = ipv6.NewPacketConn(conn)
			err = k.v6.SetControlMessage(ipv6.FlagDst, true)
		}
		if err != nil { // a system that cannot say: bind each address there instead
			k.v4, k.v6 = nil, nil
		}
	}
	return k, nil
}

// read returns one datagram, who sent it, and which of our addresses it was for.
func (k *socket) read(b []byte) (n int, from netip.AddrPort, local netip.Addr, err error) {
	var sender net.Addr
	switch {
	case k.v4 != nil:
		var cm *ipv4.ControlMessage
		if n, cm, sender, err = k.v4.ReadFrom(b); err == nil && cm != nil {
			local, _ = netip.AddrFromSlice(cm.Dst.To4())
		}
	case k.v6 != nil:
		var cm *ipv6.ControlMessage
		if n, cm, sender, err = k.v6.ReadFrom(b); err == nil && cm != nil {
			local, _ = netip.AddrFromSlice(cm.Dst)
		}
	default:
		n, from, err = k.conn.ReadFromUDPAddrPort(b)
	}
	if u, ok := sender.(*net.UDPAddr); ok {
		from = u.AddrPort()
	}
	return n, netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), local, err
}

// write sends a reply from the address that was asked.
func (k *socket) write(b []byte, to netip.AddrPort, local netip.Addr) error {
	var err error
	switch {
	case k.v4 != nil && local.IsValid():
		_, err = k.v4.WriteTo(b, &ipv4.ControlMessage{Src: local.AsSlice()}, net.UDPAddrFromAddrPort(to))
	case k.v6 != nil && local.IsValid():
		_, err = k.v6.WriteTo(b, &ipv6.ControlMessage{Src: local.AsSlice()}, net.UDPAddrFromAddrPort(to))
	default:
		_, err = k.conn.WriteToUDPAddrPort(b, to)
	}
	return err
}

package radius

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// socket is one bound UDP address. On a wildcard address the kernel is asked
// which of ours a datagram was sent to, and the reply leaves from it: a NAS
// ignores an answer from any other.
type socket struct {
	index      uint16 // in Server.sockets; part of the duplicate key
	accounting bool
	addr       netip.AddrPort
	conn       *net.UDPConn
	asked      asked // nil unless addr is a wildcard

	// Of the one reader:
	oob     []byte
	sources map[netip.Addr][]byte

	locals sync.Map // *byte, the first of what sources holds → netip.Addr it is of

	mu     sync.Mutex // guards what follows
	lost   uint64     // as last read
	lostAt time.Time
}

// asked reads which of our addresses a datagram was sent to, from the control
// message it came with.
type asked func(oob []byte) net.IP

// sourceBound is how many of our addresses a socket keeps the control message
// of. A box has a handful; past the bound it is built anew each time.
const sourceBound = 64

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
	_ = conn.SetReadBuffer(recvBuffer) // the kernel may grant less; Stats says how much, and what was lost for it
	k := &socket{conn: conn, addr: conn.LocalAddr().(*net.UDPAddr).AddrPort(), sources: map[netip.Addr][]byte{}}
	if k.addr.Addr().IsUnspecified() {
		k.askWhich(network)
	}
	return k, nil
}

// askWhich has the kernel say where each datagram was sent to. A system that
// cannot answers from an address of its choice: bind each address there instead.
func (k *socket) askWhich(network string) {
	if network == "udp4" {
		if ipv4.NewPacketConn(k.conn).SetControlMessage(ipv4.FlagDst, true) != nil {
			return
		}
		var cm ipv4.ControlMessage
		k.oob = ipv4.NewControlMessage(ipv4.FlagDst)
		k.asked = func(oob []byte) net.IP {
			if cm.Parse(oob) != nil {
				return nil
			}
			return cm.Dst
		}
		return
	}
	if ipv6.NewPacketConn(k.conn).SetControlMessage(ipv6.FlagDst, true) != nil {
		return
	}
	var cm ipv6.ControlMessage
	k.oob = ipv6.NewControlMessage(ipv6.FlagDst)
	k.asked = func(oob []byte) net.IP {
		if cm.Parse(oob) != nil {
			return nil
		}
		return cm.Dst
	}
}

// read returns one datagram, who sent it, and the control message with which the
// reply leaves from the address it was for (nil: no need). Only one goroutine
// may read.
func (k *socket) read(b []byte) (n int, from netip.AddrPort, source []byte, err error) {
	if k.asked == nil {
		n, from, err = k.conn.ReadFromUDPAddrPort(b)
	} else {
		var size int
		if n, size, _, from, err = k.conn.ReadMsgUDPAddrPort(b, k.oob); err == nil {
			source = k.source(k.asked(k.oob[:size]))
		}
	}
	if from.Addr().Is4In6() {
		from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
	}
	return n, from, source, err
}

// source returns the control message of a reply that leaves from ip.
func (k *socket) source(ip net.IP) []byte {
	local, ok := netip.AddrFromSlice(ip)
	if local = local.Unmap(); !ok || local.IsMulticast() || local == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return nil // asked by a group: any address of ours is as good
	}
	if oob, ok := k.sources[local]; ok {
		return oob
	}
	oob := (&ipv6.ControlMessage{Src: local.AsSlice()}).Marshal()
	if local.Is4() {
		oob = (&ipv4.ControlMessage{Src: local.AsSlice()}).Marshal()
	}
	if len(k.sources) < sourceBound {
		k.sources[local] = oob
		k.locals.Store(&oob[0], local)
	}
	return oob
}

// local returns which address of ours a datagram was sent to, given what read
// returned with it; invalid when that is not known.
func (k *socket) local(source []byte) netip.Addr {
	if !k.addr.Addr().IsUnspecified() {
		return k.addr.Addr()
	}
	if len(source) == 0 {
		return netip.Addr{}
	}
	local, _ := k.locals.Load(&source[0])
	a, _ := local.(netip.Addr)
	return a
}

// write sends a reply from the address that was asked.
func (k *socket) write(b []byte, to netip.AddrPort, source []byte) error {
	if source == nil {
		_, err := k.conn.WriteToUDPAddrPort(b, to)
		return err
	}
	_, _, err := k.conn.WriteMsgUDPAddrPort(b, source, to)
	return err
}

// stats says what the system lost of this socket.
func (k *socket) stats(now time.Time) SocketStats {
	out := SocketStats{Addr: k.addr, Accounting: k.accounting}
	k.mu.Lock()
	defer k.mu.Unlock()
	if lost, buffer, ok := kernelCounts(k.conn, k.addr); ok {
		if lost > k.lost {
			k.lostAt = now
		}
		k.lost, out.Buffer, out.LostKnown = lost, buffer, true
	}
	out.Lost, out.LostAt = k.lost, k.lostAt
	return out
}

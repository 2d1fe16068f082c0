package radius

import (
	"bufio"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// kernelCounts returns how many datagrams the kernel dropped on a socket because
// its buffer was full, and how large that is.
func kernelCounts(conn *net.UDPConn, addr netip.AddrPort) (lost uint64, buffer int, ok bool) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, 0, false
	}
	var st unix.Stat_t
	var errStat, errOpt error
	if raw.Control(func(fd uintptr) {
		buffer, errOpt = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF)
		errStat = unix.Fstat(int(fd), &st)
	}) != nil || errOpt != nil || errStat != nil {
		return 0, 0, false
	}
	table := "/proc/net/udp"
	if addr.Addr().Is6() {
		table = "/proc/net/udp6"
	}
	lost, ok = dropsOf(table, strconv.FormatUint(st.Ino, 10))
	return lost, buffer, ok
}

// dropsOf finds a socket by its inode in a table of proc(5): the tenth column is
// the inode, the last one the drops.
func dropsOf(table, inode string) (uint64, bool) {
	f, err := os.Open(table)
	if err != nil {
		return 0, false
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		columns := strings.Fields(lines.Text())
		if len(columns) < 13 || columns[9] != inode {
			continue
		}
		n, err := strconv.ParseUint(columns[len(columns)-1], 10, 64)
		return n, err == nil
	}
	return 0, false
}

package radius

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestTheReceiveBufferIsAsLargeAsTheSystemGrants: the kernel doubles what is
// asked for its own overhead (socket(7)), and grants no more than rmem_max.
func TestTheReceiveBufferIsAsLargeAsTheSystemGrants(t *testing.T) {
	text, err := os.ReadFile("/proc/sys/net/core/rmem_max")
	if err != nil {
		t.Fatal(err)
	}
	most, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	k, err := listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer k.conn.Close()
	if got, want := k.stats(time.Now()).Buffer, 2*min(recvBuffer, most); got != want {
		t.Errorf("got %d octets, want %d", got, want)
	}
}

func TestWhatTheKernelDropsIsCounted(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0"} {
		k, err := listen(t.Context(), addr)
		if err != nil {
			t.Fatal(err)
		}
		defer k.conn.Close()
		now := time.Now()
		if st := k.stats(now); !st.LostKnown || st.Lost != 0 || st.Buffer == 0 || !st.LostAt.IsZero() {
			t.Errorf("%s, before: got %+v, want a buffer and no loss", addr, st)
		}
		c := dial(t, k.addr) // nobody reads
		for sent := 0; sent < 2*recvBuffer && k.stats(now).Lost == 0; sent += 64 * 1000 {
			for range 64 {
				c.send(t, make([]byte, 1000))
			}
		}
		if st := k.stats(now); st.Lost == 0 || !st.LostAt.Equal(now) {
			t.Errorf("%s, full: got %+v, want losses seen now", addr, st)
		}
	}
}

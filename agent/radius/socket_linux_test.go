package radius

import (
	"testing"
	"time"
)

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

package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	layeh "layeh.com/radius"

	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// holdDisk keeps the store's file from being written for a while, as a disk does
// that takes long over an fsync. It returns once the file is held.
func (b *bench) holdDisk(d time.Duration) {
	b.t.Helper()
	other, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: b.path, RawQuery: "_pragma=busy_timeout(10000)"}).String())
	if err != nil {
		b.t.Fatal(err)
	}
	conn, err := other.Conn(context.Background())
	if err == nil {
		_, err = conn.ExecContext(context.Background(), "BEGIN IMMEDIATE")
	}
	if err != nil {
		b.t.Fatal(err)
	}
	done := make(chan struct{})
	b.t.Cleanup(func() { <-done })
	time.AfterFunc(d, func() {
		defer close(done)
		defer other.Close()
		if _, err := conn.ExecContext(context.Background(), "ROLLBACK"); err != nil {
			b.t.Error(err)
		}
	})
}

// lockProofs are those the site's log tells of.
func (b *bench) lockProofs() (out []wire.LockProof) {
	b.t.Helper()
	batch, err := b.db.Events(b.t.Context(), 0, 1<<20, 1<<30)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, e := range batch.Events {
		if e.Kind != wire.EventLockProof {
			continue
		}
		var p wire.LockProof
		if err := json.Unmarshal(e.Body, &p); err != nil {
			b.t.Fatal(err)
		}
		out = append(out, p)
	}
	return out
}

// TestALockLooksAgainTwoSecondsAfterTheAcceptLeft: an Accept that waited for the
// disk, or was sent once more from the duplicate cache, may reach the router
// after the lock's first look there.
func TestALockLooksAgainTwoSecondsAfterTheAcceptLeft(t *testing.T) {
	const settle = 2 * time.Second // design.md §6 step 6
	for name, let := range map[string]func(c *cafe, conn net.Conn) (layeh.Code, error){
		"held up by the disk for 3 s": func(c *cafe, conn net.Conn) (layeh.Code, error) {
			c.holdDisk(3 * time.Second)
			return ask(conn, c.request("user0", 1)) // a first use waits for the disk
		},
		"repeated from the cache": func(c *cafe, conn net.Conn) (layeh.Code, error) {
			request := c.request("user0", 1)
			if code, err := ask(conn, request); code != layeh.CodeAccessAccept {
				return code, err
			}
			time.Sleep(settle + 500*time.Millisecond) // the first Accept no longer counts, nor does the opening of the store
			return ask(conn, request)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := openCafe(t, wire.LimitsBody{Devices: 3})
			c.db.LearnNAS(hotspot.NASMemory{NAS: "r1", EchoesClass: true}) // no row tells of the permit
			conn, err := net.Dial("udp", c.server.AuthAddr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if code, err := let(c, conn); err != nil || code != layeh.CodeAccessAccept {
				t.Fatalf("got %v, %v; want Access-Accept", code, err)
			}
			left := time.Now() // and a little
			c.lock("a0")
			var proofs []wire.LockProof
			for deadline := time.Now().Add(20 * time.Second); len(proofs) == 0 && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
				proofs = c.lockProofs()
			}
			if len(proofs) == 0 || proofs[0].Outcome != hotspot.OutcomeEnforced {
				t.Fatalf("got proofs %+v, want the lock enforced", proofs)
			}
			p := proofs[0]
			if after := p.At.Sub(left); after < settle-100*time.Millisecond {
				t.Errorf("proven %v after the Accept left, want no sooner than %v", after, settle)
			}
			last := p.Steps[len(p.Steps)-1]
			late := last.At.Sub(left) > settle // on a slow machine the first look may be late enough
			if last.Name != hotspot.StepReadBack || !late && !strings.Contains(last.Detail, "after the last Access-Accept") {
				t.Errorf("the last step is %+v, want a read-back that was repeated", last)
			}
		})
	}
}

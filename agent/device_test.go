package main

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	layeh "layeh.com/radius"

	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// TestTheFirstRequestAfterALockOfADeviceIsRejected locks one phone after the
// other while all accounts log in on all phones without pause. From the return of
// ApplyState until the unlocking nothing on that phone may be accepted, whatever
// the account: neither a new request nor a repeat of one that was accepted
// before; and the same account is let in on another phone.
func TestTheFirstRequestAfterALockOfADeviceIsRejected(t *testing.T) {
	t.Run("judged in memory", func(t *testing.T) { lockDevicesUnderLoad(t, hotspot.NASMemory{NAS: "r1", EchoesClass: true}) })
	t.Run("judged and stored", func(t *testing.T) { lockDevicesUnderLoad(t, hotspot.NASMemory{NAS: "r1"}) })
}

func deviceMAC(n int) string { return fmt.Sprintf("02:00:00:00:01:%02X", n) }

func lockDevicesUnderLoad(t *testing.T, nas hotspot.NASMemory) {
	const accounts, phones, free = 8, 4, 9
	b := newBench(t, accounts, wire.LimitsBody{Devices: 1000})
	b.db.LearnNAS(nas)
	var docs []wire.Doc
	for n := range phones {
		docs = append(docs, b.doc(wire.DocAccount, fmt.Sprintf("d%d", n), wire.AccountDoc{Kind: hotspot.Device, Username: deviceMAC(n)}))
	}
	b.rev++
	b.apply(wire.State{From: b.rev - 1, Docs: docs})
	var locked [phones]atomic.Int64 // odd while a lock of the phone is in force
	ctx, stop := context.WithCancel(t.Context())
	var load sync.WaitGroup
	var logins, refused atomic.Int64
	for w := range 4 {
		load.Go(func() {
			conn, err := net.Dial("udp", b.server.AuthAddr().String())
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			for i := 0; ctx.Err() == nil; i++ {
				phone := (w + i) % phones
				before := locked[phone].Load()
				code, err := ask(conn, b.requestFrom(deviceMAC(phone), fmt.Sprintf("user%d", (w*3+i/phones)%accounts), byte(i)))
				if err != nil {
					t.Error(err)
					return
				}
				logins.Add(1)
				if before%2 == 1 && locked[phone].Load() == before {
					refused.Add(1)
					if code != layeh.CodeAccessReject {
						t.Errorf("sent under a lock of the phone: got %v, want Access-Reject", code)
					}
				}
			}
		})
	}
	conn, err := net.Dial("udp", b.server.AuthAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for i := range *locks {
		phone := i % phones
		one, other := fmt.Sprintf("user%d", i%accounts), fmt.Sprintf("user%d", (i+3)%accounts)
		before := b.requestFrom(deviceMAC(phone), one, byte(4*i))
		if code, err := ask(conn, before); err != nil || code != layeh.CodeAccessAccept {
			t.Fatalf("before lock %d: %v, %v; want Access-Accept", i, code, err)
		}
		d := b.lock(fmt.Sprintf("d%d", phone))
		locked[phone].Add(1)
		for _, next := range []struct {
			what   string
			packet []byte
			want   layeh.Code
		}{
			{"a repeat of an accepted one", before, layeh.CodeAccessReject},
			{"another account", b.requestFrom(deviceMAC(phone), other, byte(4*i+1)), layeh.CodeAccessReject},
			{"the same account", b.requestFrom(deviceMAC(phone), one, byte(4*i+2)), layeh.CodeAccessReject},
			{"the same account on another phone", b.requestFrom(deviceMAC(free), one, byte(4*i+3)), layeh.CodeAccessAccept},
		} {
			code, err := ask(conn, next.packet)
			if err != nil {
				t.Fatal(err)
			}
			if code != next.want {
				t.Errorf("lock %d, %s: got %v, want %v", i, next.what, code, next.want)
			}
		}
		locked[phone].Add(1)
		b.unlock(d)
		if t.Failed() {
			break
		}
	}
	stop()
	load.Wait()
	t.Logf("%d locks of a phone with %d logins beside them, %d of those under a lock", *locks, logins.Load(), refused.Load())
}

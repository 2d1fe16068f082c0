package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	layeh "layeh.com/radius"
	"layeh.com/radius/rfc2865"

	"iwas/agent/aaa"
	"iwas/agent/radius"
	"iwas/agent/store"
	"iwas/internal/hotspot"
	"iwas/internal/secret"
	"iwas/internal/wire"
)

// locks is how often TestTheFirstRequestAfterALockIsRejected locks; make bench
// asks for 10,000.
var locks = flag.Int("locks", 1000, "locks under load")

const lockSecret = "testing123"

// bench is a store with a RADIUS server before it, wired as main does.
type bench struct {
	t      testing.TB
	path   string // of the store's file
	key    *secret.Key
	db     *store.DB
	server *radius.Server
	judge  *judge
	calls  *counted                  // the judge's routers
	frozen atomic.Pointer[time.Time] // the judge's clock, when it stands still
	hash   wire.SetHash
	rev    int64
}

// newBench has users user0, user1, … with the password "pw" and a pass each.
func newBench(t testing.TB, accounts int, limits wire.LimitsBody) *bench {
	t.Helper()
	key, err := secret.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, key: key, path: filepath.Join(t.TempDir(), "iwas.db"), server: &radius.Server{Auth: []string{"127.0.0.1:0"}, Acct: []string{"127.0.0.1:0"},
		NASes: []radius.NAS{{ID: "r1", Network: netip.MustParsePrefix("127.0.0.1/32"), Secret: lockSecret}}}}
	b.db, err = store.Open(t.Context(), store.Options{Path: b.path, Key: key, Decide: aaa.Decide, Off: aaa.OffReason, Terms: aaa.Terms,
		BeforeRefusal: func(a []hotspot.AccountID, m []hotspot.MAC, serial uint64) { b.server.Forget(a, m, serial) }})
	if err != nil {
		t.Fatal(err)
	}
	b.calls = &counted{}
	b.judge = &judge{store: b.db, routers: b.calls, log: slog.New(slog.DiscardHandler), now: func() time.Time {
		if at := b.frozen.Load(); at != nil {
			return *at
		}
		return time.Now()
	}}
	b.server.Decider, b.server.Accountant, b.server.Rejected = b.judge, b.db, b.db.RecordReject
	var docs []wire.Doc
	sealed, err := key.Public().Seal("pw")
	if err != nil {
		t.Fatal(err)
	}
	for i := range accounts {
		docs = append(docs, b.doc(wire.DocAccount, fmt.Sprintf("a%d", i), wire.AccountDoc{Kind: hotspot.User, Username: fmt.Sprintf("user%d", i), Password: sealed}),
			b.doc(wire.DocPass, fmt.Sprintf("p%d", i), wire.PassDoc{Account: hotspot.AccountID(fmt.Sprintf("a%d", i)), Limits: limits}))
	}
	b.rev = 1
	b.apply(wire.State{Snapshot: "s1", Part: 1, Parts: 1, Docs: docs})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.server.Serve(ctx) }()
	<-b.server.Ready()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := b.db.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func (b *bench) doc(kind wire.DocKind, id string, body any) wire.Doc {
	j, err := json.Marshal(body)
	if err != nil {
		b.t.Fatal(err)
	}
	d := wire.Doc{Kind: kind, ID: id, Rev: b.rev + 1, Body: j}
	b.hash.Add(d)
	return d
}

func (b *bench) apply(s wire.State) {
	s.V, s.Lineage, s.To, s.Hash = wire.Version, "l1", b.rev, b.hash.String()
	if ok, err := b.db.ApplyState(b.t.Context(), s); !ok || err != nil {
		b.t.Errorf("apply revision %d: %v, %v", b.rev, ok, err)
	}
	if _, err := b.db.BringState(b.t.Context()); err != nil {
		b.t.Errorf("bring revision %d into force: %v", b.rev, err)
	}
}

func (b *bench) lock(account string) wire.Doc {
	d := b.doc(wire.DocLock, account, wire.LockDoc{By: "owner", Reason: "test"})
	b.rev++
	b.apply(wire.State{From: b.rev - 1, Docs: []wire.Doc{d}})
	return d
}

func (b *bench) unlock(d wire.Doc) {
	b.hash.Remove(d)
	b.rev++
	b.apply(wire.State{From: b.rev - 1, Gone: []wire.DocRef{{Kind: d.Kind, ID: d.ID}}})
}

// request is an Access-Request of a user, as bytes.
func (b *bench) request(user string, id byte) []byte {
	return b.requestFrom("02:00:00:00:00:01", user, id)
}

// requestFrom is one from a device.
func (b *bench) requestFrom(mac, user string, id byte) []byte {
	p := layeh.New(layeh.CodeAccessRequest, []byte(lockSecret))
	p.Identifier = id
	for _, err := range []error{rfc2865.UserName_AddString(p, user), rfc2865.UserPassword_AddString(p, "pw"), rfc2865.CallingStationID_AddString(p, mac)} {
		if err != nil {
			b.t.Fatal(err)
		}
	}
	out, err := p.Encode()
	if err != nil {
		b.t.Fatal(err)
	}
	return out
}

func ask(conn net.Conn, packet []byte) (layeh.Code, error) {
	buf := make([]byte, 4096)
	for range 20 {
		if _, err := conn.Write(packet); err != nil {
			return 0, err
		}
		if err := conn.SetReadDeadline(time.Now().Add(500 * time.Millisecond)); err != nil {
			return 0, err
		}
		n, err := conn.Read(buf)
		if err == nil && n > 1 && buf[1] == packet[1] {
			return layeh.Code(buf[0]), nil
		}
	}
	return 0, fmt.Errorf("no answer after 20 tries")
}

// TestTheFirstRequestAfterALockIsRejected locks and unlocks one account after
// the other while all log in without pause. Once ApplyState has returned, no
// request of the account may be accepted: neither a new one nor a repeat of one
// that was accepted before.
//
// It holds for both ways an Accept can take: from memory alone, and through a
// commit of its own where the NAS does not echo Class.
func TestTheFirstRequestAfterALockIsRejected(t *testing.T) {
	t.Run("judged in memory", func(t *testing.T) { lockUnderLoad(t, hotspot.NASMemory{NAS: "r1", EchoesClass: true}) })
	t.Run("judged and stored", func(t *testing.T) { lockUnderLoad(t, hotspot.NASMemory{NAS: "r1"}) })
}

func lockUnderLoad(t *testing.T, nas hotspot.NASMemory) {
	const accounts = 8
	b := newBench(t, accounts, wire.LimitsBody{Devices: 1000})
	b.db.LearnNAS(nas)
	ctx, stop := context.WithCancel(t.Context())
	var load sync.WaitGroup
	var logins atomic.Int64
	for w := range 4 {
		load.Go(func() {
			conn, err := net.Dial("udp", b.server.AuthAddr().String())
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			for i := 0; ctx.Err() == nil; i++ {
				if _, err := ask(conn, b.request(fmt.Sprintf("user%d", (w+i)%accounts), byte(i))); err != nil {
					t.Error(err)
					return
				}
				logins.Add(1)
			}
		})
	}
	conn, err := net.Dial("udp", b.server.AuthAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	let := 0
	for i := range *locks {
		user := i % accounts
		name := fmt.Sprintf("user%d", user)
		before := b.request(name, byte(2*i))
		if code, err := ask(conn, before); err != nil || code != layeh.CodeAccessAccept {
			t.Fatalf("before lock %d: %v, %v; want Access-Accept", i, code, err)
		}
		d := b.lock(fmt.Sprintf("a%d", user))
		for what, packet := range map[string][]byte{"a repeat of an accepted one": before, "a new one": b.request(name, byte(2*i+1))} {
			code, err := ask(conn, packet)
			if err != nil {
				t.Fatal(err)
			}
			if code != layeh.CodeAccessReject {
				let++
				t.Errorf("lock %d, %s: got %v, want Access-Reject", i, what, code)
			}
		}
		b.unlock(d)
		if t.Failed() {
			break
		}
	}
	stop()
	load.Wait()
	t.Logf("%d locks with %d logins beside them: %d requests let in after a lock's commit", *locks, logins.Load(), let)
}

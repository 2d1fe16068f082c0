package bench

import (
	"context"
	"fmt"
	"net/netip"
	"syscall"
	"time"

	"iwas/internal/radload"
)

// server is a RADIUS server to measure: ours, or a peer.
type server interface {
	// Name is its row in the tables.
	Name() string
	// Start prepares its data in a new folder and starts it; it answers once
	// Start returned.
	Start(ctx context.Context, dir string, accounts int) error
	// Stop ends it.
	Stop(sig syscall.Signal) error
	// Doors are where it listens.
	Doors() (auth, acct netip.AddrPort)
	// PIDs are its processes, without their children.
	PIDs() []int
}

const sharedSecret = "a secret of the bench"

// passwords come again beyond so many accounts, as agent/store/fill has them.
const passwords = 100_000

// account is guest i's login at every server.
func account(i int) (name, password string) {
	return fmt.Sprintf("u%07d", i), fmt.Sprintf("p%07d", i%passwords)
}

// usage is what all processes of a server took so far.
func usage(s server) (radload.Usage, error) {
	var sum radload.Usage
	for _, pid := range s.PIDs() {
		u, err := radload.ServerUsage(pid)
		if err != nil {
			return sum, err
		}
		sum.CPU += u.CPU
		sum.Peak += u.Peak
	}
	return sum, nil
}

// measurement is one run against one server.
type measurement struct {
	*radload.Result
	cpu time.Duration // of the server, for each answer
}

// load puts a load on a server. An unclean run is an error: its figures would
// be those of something else.
func load(ctx context.Context, s server, o radload.Options) (measurement, error) {
	o.Auth, o.Acct = s.Doors()
	o.Secret = sharedSecret
	before, err := usage(s)
	if err != nil {
		return measurement{}, err
	}
	r, err := radload.Run(ctx, o)
	if err != nil {
		return measurement{}, err
	}
	if err := r.Clean(); err != nil {
		return measurement{Result: r}, fmt.Errorf("%s: %w", s.Name(), err)
	}
	after, err := usage(s)
	if err != nil {
		return measurement{}, err
	}
	return measurement{r, (after.CPU - before.CPU) / time.Duration(r.Answered)}, nil
}

// answers reports whether a server accepts one guest's login within a moment.
func answers(ctx context.Context, s server, crowd *radload.Crowd) bool {
	auth, acct := s.Doors()
	r, err := radload.Run(ctx, radload.Options{Auth: auth, Acct: acct, Secret: sharedSecret, Crowd: crowd, Script: []radload.Kind{radload.PAP},
		Once: true, Outstanding: 1, Time: time.Second, Resend: 10 * time.Millisecond, Tries: 1})
	return err == nil && r.Clean() == nil
}

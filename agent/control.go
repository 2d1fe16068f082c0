package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"iwas/agent/statuspage"
	"iwas/agent/store"
	"iwas/internal/fault"
	"iwas/internal/hotspot"
)

// control is the door for `iwas-agent status`, `account …` and `grant …`: HTTP over a socket in the file
// system, which the rights of its file and folder guard. It is the same on
// Windows 10 1803 and newer, where the folder's rights alone guard it.
type control struct {
	path   string
	status http.HandlerFunc // what the service says of itself
	db     *store.DB        // nil while the database will not open: then nothing but status is answered
	limit  time.Duration    // how long an answer waits for the router; 0 is 5 s
	// settles says that a router can be asked whether it has a grant.
	settles bool
	// device is what the HotSpot knows of a session's device; nil: nobody asks it.
	device func(hotspot.Session) *statuspage.Device
	// mac is the device that has an address at the HotSpot; nil: nobody asks it.
	mac func(netip.Addr) (hotspot.MAC, bool)
	// ready reports whether guests can log in at all; nil: nobody asks it.
	ready func(context.Context) (ok bool, why, next string)
	// support makes a bundle; nil: none can be made.
	support func(context.Context, struct{}) (supportAnswer, error)
}

// patience is how long an answer waits for the router.
func (c *control) patience() time.Duration {
	if c.limit == 0 {
		return 5 * time.Second
	}
	return c.limit
}

// socketLength is what every system allows for the name of a socket, in octets.
const socketLength = 103

// Serve answers until ctx ends.
func (c *control) Serve(ctx context.Context) error {
	if len(c.path) > socketLength {
		return fault.New(fault.Invalid, fmt.Sprintf("control: the name %s is longer than %d octets", c.path, socketLength), nil).
			WithCode("", "Set control to a shorter one, such as /run/iwas-agent/control.sock.")
	}
	if err := os.MkdirAll(filepath.Dir(c.path), 0o750); err != nil {
		return fault.New(fault.Unavailable, "control: make the folder", err)
	}
	// One left by a run that was killed would keep us out.
	if err := os.Remove(c.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.Unavailable, "control: remove the old socket", err)
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "unix", c.path)
	if err != nil {
		return fault.New(fault.Unavailable, "control: listen", err)
	}
	if err := os.Chmod(c.path, 0o660); err != nil {
		return errors.Join(fault.New(fault.Unavailable, "control: guard the socket", err), l.Close())
	}
	srv := &http.Server{Handler: c.handler(), ReadHeaderTimeout: 5 * time.Second, ConnContext: withPeer}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	err = srv.Shutdown(grace)
	if served := <-done; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return errors.Join(err, ctx.Err())
}

func (c *control) handler() http.Handler {
	mux := http.NewServeMux()
	if c.status != nil {
		mux.HandleFunc("GET /v1/status", c.status)
	}
	if c.support != nil {
		mux.HandleFunc("POST /v1/support", func(w http.ResponseWriter, r *http.Request) { reply(w, r, c.support) })
	}
	if c.db == nil { // it will not open: who helps needs status and bundle all the same
		mux.HandleFunc("POST /", func(w http.ResponseWriter, _ *http.Request) {
			refuse(w, fault.New(fault.Unavailable, "the database is not open, so guests can be neither shown nor changed", nil).WithCode("DB-108", "iwas-agent status"))
		})
		return mux
	}
	mux.HandleFunc("POST /v1/account/show", func(w http.ResponseWriter, r *http.Request) {
		c.answer(w, r, false, func(context.Context, accountAsk) error { return nil })
	})
	mux.HandleFunc("POST /v1/account/speed", func(w http.ResponseWriter, r *http.Request) {
		c.answer(w, r, true, func(ctx context.Context, in accountAsk) error {
			rate, err := hotspot.ParseRateLimit(in.Rate)
			if err != nil || in.Rate == "" {
				return fault.New(fault.Invalid, fmt.Sprintf("%q is not a speed", in.Rate), err).WithCode("", "Give upload/download, such as 2M/10M; 0/0 is no limit.")
			}
			return c.db.AdjustSpeed(ctx, in.Name, rate, in.Once, staffOf(ctx, in.As, in.By).String())
		})
	})
	c.counter(mux)
	c.grants(mux)
	setupDoor(mux, c.db)
	return mux
}

// accountAsk is what a command asks for.
type accountAsk struct {
	Name    string `json:"name"`
	By      string `json:"by,omitempty"` // the user of this box who asks
	As      string `json:"as,omitempty"` // for whom
	Rate    string `json:"rate,omitempty"`
	Once    bool   `json:"once,omitempty"`
	Seconds int64  `json:"seconds,omitempty"`
	Reason  string `json:"reason,omitempty"`
}

// accountAnswer is an account as this box knows it.
type accountAnswer struct {
	Name       string          `json:"name"`
	Kind       string          `json:"kind"`
	Locked     bool            `json:"locked"`
	Paused     bool            `json:"paused"`
	LockedBy   string          `json:"locked_by,omitempty"` // of a lock or a pause
	LockReason string          `json:"lock_reason,omitempty"`
	Plan       string          `json:"plan,omitempty"`
	Rate       string          `json:"rate"`                  // of the pass; "" is no limit
	TimeS      int64           `json:"time_s,omitempty"`      // allowance
	TimeUsedS  int64           `json:"time_used_s"`           //
	TimeOverS  int64           `json:"time_over_s,omitempty"` // had beyond a metered allowance
	TimeLeftS  *int64          `json:"time_left_s,omitempty"` // absent: no limit, or nothing left
	Ended      string          `json:"ended,omitempty"`       // why nobody may be on with it
	ValidUntil *time.Time      `json:"valid_until,omitempty"`
	Data       []dataAnswer    `json:"data,omitempty"`
	Unsent     int             `json:"unsent"`  // changes made here that the cloud has not confirmed
	Waiting    bool            `json:"waiting"` // a live session is still being changed
	Sessions   []sessionAnswer `json:"sessions"`
}

// dataAnswer is one data allowance, in octets.
type dataAnswer struct {
	Name    string `json:"name"` // upload, download, or both ways
	Allowed uint64 `json:"allowed"`
	Used    uint64 `json:"used"`
	Beyond  uint64 `json:"beyond"` // had above it: what devices did since their last report
}

type sessionAnswer struct {
	MAC     string `json:"mac"`
	IP      string `json:"ip,omitempty"`
	NAS     string `json:"nas"`
	Rate    string `json:"rate"`   // it runs at
	Wanted  string `json:"wanted"` // it should run at
	LeftS   int64  `json:"session_left_s,omitempty"`
	Outcome string `json:"outcome,omitempty"` // of the last change
	Code    string `json:"code,omitempty"`
	Detail  string `json:"detail,omitempty"`

	Device *statuspage.Device `json:"device,omitempty"` // nil: the router's hosts and cookies are not read
}

// problemAnswer is why nothing was done.
type problemAnswer struct {
	Kind  string `json:"kind"`
	Error string `json:"error"`
	Next  string `json:"next,omitempty"`
}

const maxControlBody = 16 << 10

// answer does what is asked and shows the account, after a change once it has
// reached the router or the wait is over.
func (c *control) answer(w http.ResponseWriter, r *http.Request, wait bool, do func(context.Context, accountAsk) error) {
	reply(w, r, func(ctx context.Context, in accountAsk) (accountAnswer, error) {
		if err := do(ctx, in); err != nil {
			return accountAnswer{}, err
		}
		return c.show(ctx, in.Name, wait)
	})
}

// reply reads what is asked, does it and writes the answer.
func reply[In, Out any](w http.ResponseWriter, r *http.Request, do func(context.Context, In) (Out, error)) {
	var in In
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxControlBody))
	dec.DisallowUnknownFields()
	err := dec.Decode(&in)
	if err != nil {
		err = fault.New(fault.Invalid, "read the request", err)
	}
	var out Out
	if err == nil {
		out, err = do(r.Context(), in)
	}
	if err != nil {
		refuse(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(out) // the caller went away
}

// refuse says why nothing was done.
func refuse(w http.ResponseWriter, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusBadRequest)
	_ = json.NewEncoder(w).Encode(problemAnswer{Kind: fault.KindOf(err).String(), Error: err.Error(), Next: fault.Hint(err)}) // the caller went away
}

// described adds what the routers know to what the store does.
func (c *control) described(v store.AccountView) accountAnswer {
	out := toAnswer(v)
	for i := range out.Sessions {
		if c.device != nil {
			out.Sessions[i].Device = c.device(v.Sessions[i])
		}
	}
	return out
}

// show reads the account; wait is for the reconciler to be done with it.
func (c *control) show(ctx context.Context, name string, wait bool) (accountAnswer, error) {
	ticks, cancel := c.db.Changed()
	defer cancel()
	over := time.NewTimer(c.patience())
	defer over.Stop()
	for {
		v, err := c.db.AccountNamed(ctx, name)
		if err != nil || !wait || !v.Waiting {
			return c.described(v), err
		}
		select {
		case <-ticks:
		case <-over.C:
			wait = false
		case <-ctx.Done():
			return accountAnswer{}, ctx.Err()
		}
	}
}

package demo

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"time"

	"iwas/internal/routersim"
)

// BenchLocks measures press Lock → enforced as a client of the console sees it:
// from the request to the first answer that says "enforced", asked every three
// milliseconds. Guests are online meanwhile, with their accounting, and log in
// again between locks. The last rounds have a slow router, and a long line.
func BenchLocks(ctx context.Context, o Options, locks, guests int, w io.Writer) error {
	link, err := StartLink(ctx, fmt.Sprintf("127.0.0.1:%d", o.Ports.MQTT))
	if err != nil {
		return err
	}
	o.MQTTVia = link.Port()
	c, err := Start(ctx, o)
	if err != nil {
		return err
	}
	defer func() {
		if err := c.Stop(); err != nil {
			fmt.Fprintln(w, "stop:", err)
		}
	}()
	var accounts []Account
	for i := range guests {
		a, err := c.CreateAccount(ctx, map[string]any{"kind": "user", "username": fmt.Sprintf("guest%d", i), "plan": c.PlanID(1)})
		if err != nil {
			return err
		}
		accounts = append(accounts, a)
	}
	if err := c.awaitStep(ctx); err != nil {
		return err
	}
	still := routersim.Knobs{Still: true}
	if err := c.Control(ctx, http.MethodPut, "/router/knobs", still, nil); err != nil {
		return err
	}
	for i, a := range accounts {
		if err := c.online(ctx, i, a); err != nil {
			return err
		}
	}
	if err := c.lockRound(ctx, w, fmt.Sprintf("%d locks, %d guests online", locks, guests), accounts, locks); err != nil {
		return err
	}
	link.Set(100*time.Millisecond, 0.01)
	if err := c.lockRound(ctx, w, fmt.Sprintf("%d locks, round trip 100 ms, 1 %% lost", locks/2), accounts, locks/2); err != nil {
		return err
	}
	link.Set(0, 0)
	still.CommandCost = true
	if err := c.Control(ctx, http.MethodPut, "/router/knobs", still, nil); err != nil {
		return err
	}
	if err := c.Control(ctx, http.MethodPost, "/router/connections", map[string]int{"N": 5000}, nil); err != nil {
		return err
	}
	return c.lockRound(ctx, w, fmt.Sprintf("%d locks, command cost on, 5000 connections", min(locks, 50)), accounts, min(locks, 50))
}

func benchMAC(i int) string { return fmt.Sprintf("02:00:00:00:10:%02X", i) }

// online logs a guest in and opens connections.
func (c *Cafe) online(ctx context.Context, i int, a Account) error {
	mac := benchMAC(i)
	if err := c.Control(ctx, http.MethodPost, "/guests/"+mac+"/arrive", map[string]string{}, nil); err != nil {
		return err
	}
	if err := c.Control(ctx, http.MethodPost, "/guests/"+mac+"/login", routersim.Login{Method: "http-chap", Username: a.Username, Password: a.Password}, nil); err != nil {
		return err
	}
	return c.Control(ctx, http.MethodPost, "/guests/"+mac+"/use", map[string]int{"Upload": 1000, "Download": 1000, "Connections": 20}, nil)
}

func (c *Cafe) lockRound(ctx context.Context, w io.Writer, name string, accounts []Account, locks int) error {
	var took []time.Duration
	parts := map[string][]time.Duration{}
	for n := range locks {
		i := n % len(accounts)
		a := accounts[i]
		// An Accept within the last 2 s makes the site read back once more when
		// they are over (design: nobody slips in behind a lock); so the guests
		// locked here have been online for longer.
		if err := c.settled(ctx, a); err != nil {
			return err
		}
		began := time.Now()
		if err := c.api(ctx, http.MethodPost, "/api/v1/accounts/"+a.ID+"/lock", map[string]string{"reason": "bench"}, nil); err != nil {
			return err
		}
		answered := time.Now()
		seen, err := c.lockState(ctx, a, "enforced")
		if err != nil {
			return err
		}
		now := time.Now()
		took = append(took, now.Sub(began))
		for name, d := range stages(seen, began, answered, now) {
			parts[name] = append(parts[name], d)
		}
		if err := c.api(ctx, http.MethodPost, "/api/v1/accounts/"+a.ID+"/unlock", map[string]string{"reason": "bench"}, nil); err != nil {
			return err
		}
		if err := c.back(ctx, i, a); err != nil {
			return err
		}
	}
	slices.Sort(took)
	at := func(q float64) time.Duration {
		return took[min(len(took)-1, int(q*float64(len(took))))].Round(100 * time.Microsecond)
	}
	fmt.Fprintf(w, "lock → enforced  %-44s median %-8s p90 %-8s p99 %-8s max %s\n", name, at(.5), at(.9), at(.99), at(1))
	for _, part := range slices.Sorted(maps.Keys(parts)) {
		all := parts[part]
		slices.Sort(all)
		fmt.Fprintf(w, "                   %-44s median %-8s p99 %s\n", part[2:], all[len(all)/2].Round(100*time.Microsecond), all[min(len(all)-1, len(all)*99/100)].Round(100*time.Microsecond))
	}
	return nil
}

// settled waits until a guest's login is two seconds old.
func (c *Cafe) settled(ctx context.Context, a Account) error {
	return c.until(ctx, c.running("agent"), 20*time.Second, func(ctx context.Context) (bool, error) {
		var acc struct {
			Sessions []struct {
				StartedAt time.Time `json:"started_at"`
			} `json:"sessions"`
		}
		err := c.api(ctx, http.MethodGet, "/api/v1/accounts/"+a.ID, nil, &acc)
		return err == nil && len(acc.Sessions) == 1 && time.Since(acc.Sessions[0].StartedAt) > 2200*time.Millisecond, err
	})
}

// lockSeen is a lock as the API tells it.
type lockSeen struct {
	State     string
	Steps     []lockStep
	SiteSteps []lockStep `json:"site_steps"`
}

type lockStep struct {
	Name   string
	At     time.Time
	TookMS float64 `json:"took_ms"`
}

// stages says where the time of a lock went. One machine has one clock, so the
// steps of cloud and site may be held against each other here.
func stages(l lockSeen, began, answered, seen time.Time) map[string]time.Duration {
	at := map[string]time.Time{}
	for _, s := range l.Steps {
		at[s.Name] = s.At
	}
	out := map[string]time.Duration{"0 accepted → enforced": at["enforced"].Sub(answered), "1 API answers": answered.Sub(began), "2 asked → sent": at["sent"].Sub(at["requested"]),
		"3 sent → received": at["received"].Sub(at["sent"]), "9 enforced → seen": seen.Sub(at["enforced"])}
	busy := time.Duration(0)
	for i, s := range l.SiteSteps {
		took := time.Duration(s.TookMS * float64(time.Millisecond))
		out[fmt.Sprintf("%d %s", 4+i, s.Name)] = took
		busy += took
	}
	out["8 site, between steps"] = at["enforced"].Sub(at["received"]) - busy
	return out
}

// askEvery is how often a lock's state is asked for. Every step is stamped where it
// happens, so this shows in "enforced → seen" only; asked every 3 ms, the cloud was so
// busy answering that all steps took half as long again.
const askEvery = 25 * time.Millisecond

func (c *Cafe) lockState(ctx context.Context, a Account, want string) (lockSeen, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		var acc struct{ Lock lockSeen }
		if err := c.api(ctx, http.MethodGet, "/api/v1/accounts/"+a.ID, nil, &acc); err != nil {
			return acc.Lock, fmt.Errorf("lock of %s, last seen %q: %w", a.Username, acc.Lock.State, err)
		}
		if acc.Lock.State == want {
			return acc.Lock, nil
		}
		select {
		case <-time.After(askEvery):
		case <-ctx.Done():
			return acc.Lock, fmt.Errorf("lock of %s is %q after 30 s", a.Username, acc.Lock.State)
		}
	}
}

// back logs a guest in again once the unlock has reached the site.
func (c *Cafe) back(ctx context.Context, i int, a Account) error {
	var err error
	for range 200 {
		if err = c.online(ctx, i, a); err == nil {
			return nil
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return err
}

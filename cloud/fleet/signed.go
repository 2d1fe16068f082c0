package fleet

import (
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/json"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/secret"
	"iwas/internal/wire"
)

// Bounds of what one box may ask with its signature: a burst, then one every so
// often. A renewal is asked for once a week, an outage told every five minutes.
const (
	signedBurst  = 10
	signedRefill = 30 * time.Second
	maxAskers    = 20_000 // boxes told apart; above it all of them begin anew
)

// revocationsEvery is how often the list of revoked certificates is written
// without any revocation, long before it ends.
const revocationsEvery = 12 * time.Hour

// askers bounds what boxes ask, each for itself.
type askers struct {
	mu  sync.Mutex
	all map[hotspot.AgentID]*rate.Limiter // guarded by mu
}

// wait returns how long the box must wait; 0 is not at all, and counts.
func (a *askers) wait(agent hotspot.AgentID, now time.Time) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.all == nil || len(a.all) >= maxAskers {
		a.all = map[hotspot.AgentID]*rate.Limiter{}
	}
	l := a.all[agent]
	if l == nil {
		l = rate.NewLimiter(rate.Every(signedRefill), signedBurst)
		a.all[agent] = l
	}
	if l.AllowN(now, 1) {
		return 0
	}
	return time.Duration((1 - l.TokensAt(now)) * float64(signedRefill))
}

// signed answers what a box asks with the signature of its certificate's key. A
// signature that is wrong counts as a wrong code of its address does.
func signed[T any](f *Fleet, path string, do func(context.Context, hotspot.AgentID, *x509.Certificate, T) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		g := f.knocks.of(address(r))
		g.mu.Lock()
		wait := g.wait(f.now())
		g.mu.Unlock()
		if wait > 0 {
			f.later(w, wait)
			return
		}
		var body T
		agent, cert, err := f.open(w, r, path, &body)
		if err != nil {
			g.mu.Lock()
			g.wrong.AllowN(f.now(), 1)
			g.mu.Unlock()
			f.o.Log.Warn("fleet: signed request refused", "path", path, "from", address(r), "err", err)
			f.refuse(w, err)
			return
		}
		if wait := f.askers.wait(agent, f.now()); wait > 0 {
			f.later(w, wait)
			return
		}
		answer, err := do(r.Context(), agent, cert, body)
		if err != nil {
			f.refuse(w, err)
			return
		}
		reply(w, http.StatusOK, "application/json", answer)
	}
}

func (f *Fleet) later(w http.ResponseWriter, wait time.Duration) {
	w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
	f.refuse(w, fault.New(fault.Unavailable, "wait "+wait.Round(time.Second).String()+" before the next try", nil).
		WithCode("CLD-211", "It is tried again by itself."))
}

// open reads a signed request and says whose it is.
func (f *Fleet) open(w http.ResponseWriter, r *http.Request, path string, body any) (hotspot.AgentID, *x509.Certificate, error) {
	var s wire.Signed
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest)).Decode(&s)
	if err == nil {
		err = wire.CheckVersion(s.V)
	}
	if err != nil {
		return "", nil, fault.New(fault.Invalid, "fleet: signed request", err)
	}
	cert, err := s.Open(path, body)
	if err != nil {
		return "", nil, fault.New(fault.Forged, "fleet", err).WithCode("CLD-209", "Enrol this box again.")
	}
	agent, err := f.o.CA.Known(cert)
	return agent, cert, err
}

// renew gives a box in force a certificate for the key it has, where that is due,
// and says where the broker is now and whom to believe.
func (f *Fleet) renew(ctx context.Context, agent hotspot.AgentID, shown *x509.Certificate, _ wire.RenewRequest) (any, error) {
	if _, err := f.o.Store.AgentSite(ctx, agent); err != nil {
		return nil, err
	}
	out := wire.RenewReply{MQTTURL: f.o.MQTTURL, MQTTCA: f.brokerCA(), SealKey: f.o.SealKey.String(), Time: f.now()}
	if !f.o.CA.Due(shown) {
		return out, nil
	}
	key, ok := shown.PublicKey.(*ecdsa.PublicKey)
	if !ok {
		return nil, fault.New(fault.Invalid, "fleet: the key is not ECDSA", nil)
	}
	cert, err := f.o.CA.Issue(key, agent)
	if err != nil {
		return nil, err
	}
	if err := f.o.Store.Renew(ctx, agent, cert); err != nil {
		return nil, err
	}
	out.Certificate = cert
	f.o.Log.Info("fleet: certificate renewed", "agent", agent, "shown_until", shown.NotAfter)
	return out, nil
}

// outage keeps what a box says of its missing MQTT connection.
func (f *Fleet) outage(ctx context.Context, agent hotspot.AgentID, _ *x509.Certificate, o wire.Outage) (any, error) {
	site, err := f.o.Store.RecordOutage(ctx, agent, o, f.now())
	if err != nil {
		return nil, err
	}
	f.o.Log.Info("fleet: a box says over HTTPS why it has no MQTT connection", "site", site, "agent", agent, "code", clip(o.Code), "text", clip(o.Text))
	f.o.Notify(site)
	return wire.OutageReply{Time: f.now()}, nil
}

// leave retires a box whose identity somebody took off it.
func (f *Fleet) leave(ctx context.Context, agent hotspot.AgentID, _ *x509.Certificate, _ wire.LeaveRequest) (any, error) {
	site, err := f.o.Store.LeaveAgent(ctx, agent)
	if err != nil {
		return nil, err
	}
	f.o.Log.Info("fleet: a box gave its identity up", "site", site, "agent", agent)
	f.drop(agent)
	f.o.Notify(site)
	return wire.LeaveReply{Time: f.now()}, nil
}

// brokerCA is whom boxes believe at the broker.
func (f *Fleet) brokerCA() string {
	if f.o.BrokerCA != "" {
		return f.o.CA.PEM() + f.o.BrokerCA
	}
	return f.o.CA.PEM()
}

// copied tells both boxes of one identity that there are two.
func (f *Fleet) copied(agent hotspot.AgentID, boot string) {
	f.o.Log.Warn("fleet: a second copy of a box speaks; that copy is refused until it is enrolled again", "agent", agent, "boot", boot, "code", "CLD-104")
	payload, err := wire.Encode(wire.Ack{V: wire.Version, Copy: boot, Time: f.now()})
	if err == nil {
		err = f.o.Publish(wire.Topic(agent, wire.DownAck), payload, false)
	}
	if err != nil { // its next hello asks again
		f.o.Log.Info("fleet: refusal of a copy not sent", "agent", agent, "err", err)
	}
}

// revocations keeps the file for brokers that are not ours up to date.
func (f *Fleet) revocations(ctx context.Context) {
	tick := time.NewTicker(revocationsEvery)
	defer tick.Stop()
	for {
		if err := f.WriteRevocations(ctx); err != nil && ctx.Err() == nil {
			f.o.Log.Error("fleet: list of revoked certificates not written", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-f.revoked:
		case <-tick.C:
		}
	}
}

// WriteRevocations writes the list of revoked certificates into RevocationsFile,
// for a broker that is not ours to check.
func (f *Fleet) WriteRevocations(ctx context.Context) error {
	if f.o.RevocationsFile == "" {
		return nil
	}
	revoked, err := f.o.Store.Revoked(ctx)
	if err != nil {
		return err
	}
	list, err := f.o.CA.Revocations(revoked)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(f.o.RevocationsFile), 0o700); err != nil {
		return fault.New(fault.Unavailable, "fleet: folder of the list of revoked certificates", err)
	}
	// No secret, and the broker runs as another user; whole under its name at any time.
	fresh := f.o.RevocationsFile + ".new"
	err = secret.WriteFile(fresh, list)
	if err == nil {
		err = os.Chmod(fresh, 0o644)
	}
	if err == nil {
		err = os.Rename(fresh, f.o.RevocationsFile)
	}
	if err != nil {
		return fault.New(fault.Unavailable, "fleet: write the list of revoked certificates", err)
	}
	return nil
}

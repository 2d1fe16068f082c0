package uplink

import (
	"cmp"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	"iwas/internal/fault"
	"iwas/internal/secret"
	"iwas/internal/wire"
)

// Times of a renewal. The cloud decides what is due; this box only asks.
const (
	renewEvery  = 7 * 24 * time.Hour // asked without need, to learn of new addresses and authorities
	renewLook   = time.Minute        // between looks at whether something presses
	renewFirst  = time.Minute        // after a failure, doubling
	renewMost   = 6 * time.Hour      // up to this
	renewSpread = 30 * time.Minute   // boxes that start together do not ask together
	renewLate   = 7 * 24 * time.Hour // of failing while it is due; then people are told
	renewShare  = 3                  // due when less than a third of the certificate's life is left
)

// door is where this box asks with its signature.
func (id Identity) door(op string, now func() time.Time) door {
	return door{op, id.CloudURL, id.Fingerprint, id.roots, now}
}

// ask sends a request signed by the key of our certificate.
func (id Identity) ask(ctx context.Context, op, path string, body, reply any, now func() time.Time) error {
	key, ok := id.certificate.PrivateKey.(crypto.Signer)
	if !ok {
		return fault.New(fault.NotFound, "this box is not enrolled", nil)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: id.certificate.Leaf.Raw})
	s, err := wire.Sign(key, string(cert), path, body)
	if err != nil {
		return fault.New(fault.Internal, op+": sign", err)
	}
	return id.door(op, now).post(ctx, path, s, reply)
}

// Due reports whether the certificate should be renewed by its own dates.
func (id Identity) Due(now time.Time) bool {
	leaf := id.certificate.Leaf
	return leaf != nil && leaf.NotAfter.Sub(now) < leaf.NotAfter.Sub(leaf.NotBefore)/renewShare
}

// Renew asks the cloud for a certificate that lasts longer, and puts what it
// answers in place: the key and the agent stay. The next connection uses it.
// renewed is false where the one there is good for long.
func Renew(ctx context.Context, stateDir, version string, now func() time.Time) (renewed bool, err error) {
	id, err := LoadIdentity(stateDir)
	if err != nil {
		return false, err
	}
	var r wire.RenewReply
	if err := id.ask(ctx, "renew", wire.PathRenew, wire.RenewRequest{V: wire.Version, Version: version, At: now().UTC()}, &r, now); err != nil {
		return false, err
	}
	if err := id.checkRenewed(r); err != nil {
		return false, fault.New(fault.Invalid, "renew: the cloud's answer", err).WithCode("CLD-111", "Tell whoever runs the cloud; the certificate here was not touched.")
	}
	if err := id.take(filepath.Join(stateDir, identityDir), r); err != nil {
		return false, fault.New(fault.Unavailable, "renew: store the certificate", err).
			WithCode("DB-103", "The state directory must exist, be writable for this program and have space left.")
	}
	return r.Certificate != "", nil
}

// checkRenewed refuses an answer that would break what works.
func (id Identity) checkRenewed(r wire.RenewReply) error {
	if r.Certificate != "" {
		block, _ := pem.Decode([]byte(r.Certificate))
		if block == nil {
			return errors.New("the certificate is not PEM")
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return err
		}
		key, ok := id.certificate.Leaf.PublicKey.(*ecdsa.PublicKey)
		if !ok || !key.Equal(cert.PublicKey) || cert.Subject.CommonName != string(id.Agent) {
			return fmt.Errorf("the certificate is of %q or of another key", cert.Subject.CommonName)
		}
		if !cert.NotAfter.After(id.certificate.Leaf.NotAfter) {
			return fmt.Errorf("the certificate ends at %s, not after the one here", cert.NotAfter)
		}
	}
	return checkBroker(r.MQTTURL, r.MQTTCA)
}

// take puts a checked answer in place, each file whole; the certificate comes
// after those who sign the other side, so that nothing works less in between.
func (id Identity) take(dir string, r wire.RenewReply) error {
	if err := secret.WriteFile(filepath.Join(dir, caFile), []byte(r.MQTTCA)); err != nil {
		return err
	}
	if r.Certificate != "" {
		if err := secret.WriteFile(filepath.Join(dir, certFile), []byte(r.Certificate)); err != nil {
			return err
		}
	}
	if r.MQTTURL == id.MQTTURL && r.SealKey == id.CloudSealKey {
		return nil
	}
	id.MQTTURL, id.CloudSealKey = r.MQTTURL, r.SealKey
	about, err := json.MarshalIndent(id, "", "  ")
	if err != nil {
		return err
	}
	return secret.WriteFile(filepath.Join(dir, aboutFile), append(about, '\n'))
}

// Renewer keeps the certificate of this box from ending.
type Renewer struct {
	StateDir string
	Version  string
	// Refused reports whether the cloud refuses this box's identity now; a renewal
	// is tried then, whatever the date here says. nil is never.
	Refused func() bool
	// Renewed hears of every renewal; nil is nobody cares.
	Renewed func()
	Now     func() time.Time // nil is time.Now
	Log     *slog.Logger     // nil discards

	ask  func(ctx context.Context) (bool, error) // nil is Renew
	look time.Duration                           // 0 is renewLook

	mu      sync.Mutex
	err     error     // guarded by mu; of the last try, nil when it went well
	failing time.Time // guarded by mu; since when, while it is due; zero: not
}

func (r *Renewer) now() time.Time {
	if r.Now != nil {
		return r.Now()
	}
	return time.Now()
}

// Serve asks until ctx ends. It returns an error for an identity that cannot be read.
func (r *Renewer) Serve(ctx context.Context) error {
	if r.Log == nil {
		r.Log = slog.New(slog.DiscardHandler)
	}
	if r.ask == nil {
		r.ask = func(ctx context.Context) (bool, error) { return Renew(ctx, r.StateDir, r.Version, r.now) }
	}
	look := time.NewTicker(cmp.Or(r.look, renewLook))
	defer look.Stop()
	next := time.Now().Add(rand.N(renewSpread)) // of this program's running time
	pause := renewFirst
	var pressed time.Time // last try because something pressed
	for {
		due, err := r.due()
		if err != nil {
			return err
		}
		now := time.Now()
		if pressing := due && now.Sub(pressed) >= pause; pressing || !now.Before(next) {
			pressed = now
			if helped := r.try(ctx, due); !helped {
				next, pause = now.Add(pause), min(2*pause, renewMost)
			} else {
				next, pause = now.Add(renewEvery+rand.N(renewSpread)), renewFirst
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-look.C:
		}
	}
}

func (r *Renewer) due() (bool, error) {
	id, err := LoadIdentity(r.StateDir)
	if err != nil {
		return false, err
	}
	return id.Due(r.now()) || r.Refused != nil && r.Refused(), nil
}

// try asks once and reports whether that was all there is to do: a cloud that sees
// no need where we do is asked again after a pause.
func (r *Renewer) try(ctx context.Context, due bool) (helped bool) {
	renewed, err := r.ask(ctx)
	if ctx.Err() != nil {
		return false
	}
	r.mu.Lock()
	r.err = err
	switch {
	case err == nil || !due:
		r.failing = time.Time{}
	case r.failing.IsZero():
		r.failing = time.Now()
	}
	r.mu.Unlock()
	switch {
	case err != nil:
		r.Log.Warn("uplink: certificate not renewed; it is tried again", "due", due, "err", err, "code", fault.Code(err))
	case renewed:
		r.Log.Info("uplink: certificate renewed")
		if r.Renewed != nil {
			r.Renewed()
		}
	}
	return err == nil && (renewed || !due)
}

// Trouble words why the certificate could not be renewed, once that has lasted a
// week or the certificate has ended; "" before.
func (r *Renewer) Trouble() string {
	r.mu.Lock()
	err, failing := r.err, r.failing
	r.mu.Unlock()
	if err == nil || failing.IsZero() {
		return ""
	}
	id, loaded := LoadIdentity(r.StateDir)
	if loaded != nil {
		return "" // said elsewhere
	}
	ended := !r.now().Before(id.NotAfter)
	if !ended && time.Since(failing) < renewLate {
		return ""
	}
	when := "ends " + id.NotAfter.UTC().Format("2006-01-02")
	if ended {
		when = "ended " + id.NotAfter.UTC().Format("2006-01-02")
	}
	return fmt.Sprintf("the certificate %s and could not be renewed: %v", when, err)
}

// refusedFile marks an identity as that of a second copy of the box.
const refusedFile = "refused.json"

// refusedMark is what it holds.
type refusedMark struct {
	Agent string    `json:"agent"`
	At    time.Time `json:"at"`
}

// RefuseCopy remembers that the cloud took this box for a second copy of another,
// so that it stays away until it is enrolled again, over restarts too.
func RefuseCopy(stateDir string, id Identity, now time.Time) error {
	b, err := json.Marshal(refusedMark{string(id.Agent), now.UTC()})
	if err != nil {
		return err
	}
	return secret.WriteFile(filepath.Join(stateDir, identityDir, refusedFile), append(b, '\n'))
}

// refused returns why this identity is not used, or nil.
func (id Identity) refused(dir string) error {
	b, err := os.ReadFile(filepath.Join(dir, refusedFile))
	var m refusedMark
	if err != nil || json.Unmarshal(b, &m) != nil || m.Agent != string(id.Agent) {
		return nil // none, or of an enrolment before
	}
	return fault.New(fault.Denied, "the cloud took this box for a second copy of another on "+m.At.Format("2006-01-02 15:04 MST"), nil).
		WithCode(codeCopy, "Make a code in the console and enrol this box again, or switch it off if it is the copy.")
}

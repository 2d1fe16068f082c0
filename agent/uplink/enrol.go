package uplink

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/secret"
	"iwas/internal/wire"
)

// EnrolOptions says what to enrol where.
type EnrolOptions struct {
	CloudURL    string // https://host[:port] of the agents' door
	Fingerprint string // SHA-256 of the door's certificate, 64 hexadecimal digits, colons allowed; "" trusts the system's roots
	Code        string // as typed
	Host        string // host name, for people
	Version     string // of this program
	StateDir    string
	Now         func() time.Time // nil is time.Now
}

func (o EnrolOptions) now() time.Time {
	if o.Now != nil {
		return o.Now()
	}
	return time.Now()
}

// pending is an enrolment that has no answer yet. It is on disk before the
// first try: the same request id and key get the same answer, so that a lost
// reply neither spends the code nor makes a twin.
type pending struct {
	Request     string `json:"request"`
	CloudURL    string `json:"cloud_url"`
	Code        string `json:"code"` // normalized
	Fingerprint string `json:"fingerprint,omitempty"`
}

// codeLength is how many characters a code has, without what people add to it.
const codeLength = 8

// Look asks what a code is for, without spending it. One that cannot be a code is not
// asked about: it would count as a guess, and the console would warn of it.
func Look(ctx context.Context, o EnrolOptions) (wire.EnrolOffer, error) {
	var offer wire.EnrolOffer
	if n := len([]rune(normalCode(o.Code))); n != codeLength {
		return offer, fault.New(fault.Invalid, fmt.Sprintf("enrol: a code has %d characters, this one has %d", codeLength, n), nil).
			WithCode("CLD-201", "Check the code letter by letter against the console; dashes, blanks and small letters do not matter.")
	}
	err := o.door().post(ctx, wire.PathLook, wire.EnrolRequest{V: wire.Version, Code: normalCode(o.Code), Version: o.Version, Host: o.Host, At: o.now().UTC()}, &offer)
	if err != nil {
		return offer, err
	}
	return offer, o.sameOrganization(offer)
}

// sameOrganization refuses a code of another business than the one this box
// belongs to: what it holds of guests is not the other's to see.
func (o EnrolOptions) sameOrganization(offer wire.EnrolOffer) error {
	id, err := LoadIdentity(o.StateDir)
	if err != nil || id.Organization == offer.Organization {
		return nil // none, or one that cannot be read: nothing to compare
	}
	return fault.New(fault.Conflict, fmt.Sprintf("enrol: the code is of %s, this box belongs to %s", offer.Organization, id.Organization), nil).
		WithCode("CLD-206", "If it is to change hands, run iwas-agent unenroll first. Else ask for a code of "+id.Organization+".")
}

// Enrol spends the code for an identity, stores it and returns it. It may be
// called again after any error.
func Enrol(ctx context.Context, o EnrolOptions) (Identity, error) {
	dir := filepath.Join(o.StateDir, identityDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return Identity{}, diskFault("make the identity folder", err)
	}
	p, key, err := prepare(dir, o)
	if err != nil {
		return Identity{}, diskFault("prepare the enrolment", err)
	}
	seal, err := secret.LoadKey(filepath.Join(dir, sealFile))
	if err != nil {
		return Identity{}, diskFault("sealing key", err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "iwas-agent"}}, key)
	if err != nil {
		return Identity{}, fault.New(fault.Internal, "enrol: certificate request", err)
	}
	var reply wire.EnrolReply
	err = o.door().post(ctx, wire.PathEnrol, wire.EnrolRequest{
		V: wire.Version, Code: p.Code, Request: p.Request, SealKey: seal.Public().String(), Version: o.Version, Host: o.Host, At: o.now().UTC(),
		CSR: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr})),
	}, &reply)
	if err != nil {
		if final(err) { // a code that is spent or wrong stays so: the next try is a new one
			err = errors.Join(err, p.forget(dir))
		}
		return Identity{}, err
	}
	if err := check(reply, key); err != nil {
		return Identity{}, fault.New(fault.Invalid, "enrol: the cloud's answer", err).
			WithCode("CLD-108", "The cloud answered with an identity that cannot work. Tell whoever runs the cloud; trying again gets the same answer.")
	}
	if err := p.save(dir, key, reply, o.now()); err != nil {
		return Identity{}, diskFault("store the identity", err)
	}
	return LoadIdentity(o.StateDir)
}

// prepare returns the pending enrolment of that code, made or found on disk.
func prepare(dir string, o EnrolOptions) (pending, *ecdsa.PrivateKey, error) {
	want := pending{CloudURL: o.CloudURL, Code: normalCode(o.Code), Fingerprint: normalFingerprint(o.Fingerprint)}
	var p pending
	b, err := os.ReadFile(filepath.Join(dir, pendingFile))
	switch {
	case err == nil:
		err = json.Unmarshal(b, &p)
	case errors.Is(err, fs.ErrNotExist):
		err = nil
	}
	if err != nil {
		return p, nil, err
	}
	if p.CloudURL != want.CloudURL || p.Code != want.Code {
		if err := p.forget(dir); err != nil {
			return p, nil, err
		}
		p = want
		p.Request = hotspot.NewID(o.now())
	}
	p.Fingerprint = want.Fingerprint
	key, err := loadOrMakeKey(filepath.Join(dir, pendingKey))
	if err != nil {
		return p, nil, err
	}
	if b, err = json.Marshal(p); err != nil {
		return p, nil, err
	}
	return p, key, secret.WriteFile(filepath.Join(dir, pendingFile), b)
}

// check refuses an answer that does not make a working identity.
func check(r wire.EnrolReply, key *ecdsa.PrivateKey) error {
	if !wire.ValidAgentID(r.Agent) {
		return fmt.Errorf("%q is not an agent's id", r.Agent)
	}
	block, _ := pem.Decode([]byte(r.Certificate))
	if block == nil {
		return errors.New("no certificate in it")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return err
	}
	if public, ok := cert.PublicKey.(*ecdsa.PublicKey); !ok || !public.Equal(&key.PublicKey) {
		return errors.New("the certificate is for another key")
	}
	if cert.Subject.CommonName != r.Agent {
		return fmt.Errorf("the certificate is for %q, not for %q", cert.Subject.CommonName, r.Agent)
	}
	return checkBroker(r.MQTTURL, r.MQTTCA)
}

// checkBroker refuses what says of a broker nothing one could connect to.
func checkBroker(address, authority string) error {
	if !x509.NewCertPool().AppendCertsFromPEM([]byte(authority)) {
		return errors.New("no certificate of the broker's authority in it")
	}
	if u, err := url.Parse(address); err != nil || u.Scheme != "tls" || u.Hostname() == "" {
		return fmt.Errorf("%q is not the address of a broker", address)
	}
	return nil
}

// final reports whether the cloud has judged the code, so that the same
// request can never succeed.
func final(err error) bool {
	var judged *refusal
	return errors.As(err, &judged) && judged.status >= 400 && judged.status < 500 && judged.status != 408 && judged.status != 429
}

// normalCode drops what people add to a code: case, dashes, blanks.
func normalCode(code string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '-' || r == ' ' || r == '\t' || r == '\n' || r == '\r':
			return -1
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		}
		return r
	}, code)
}

func diskFault(what string, err error) error {
	return fault.New(fault.Unavailable, "enrol: "+what, err).
		WithCode("DB-103", "The state directory must exist, be writable for this program and have space left.")
}

package uplink

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/secret"
	"iwas/internal/wire"
)

// Files of an identity, below the state directory; all of mode 0600.
const (
	identityDir = "identity"
	keyFile     = "key.pem"  // private key of the certificate; made here, never leaves
	certFile    = "cert.pem" // certificate chain, CN is the agent's id
	caFile      = "mqtt-ca.pem"
	sealFile    = "seal.key" // opens secrets inside documents
	aboutFile   = "identity.json"
	pendingFile = "pending.json"    // an enrolment without an answer yet
	pendingKey  = "pending-key.pem" // the key made for it
)

// Identity is who this box is for its cloud.
type Identity struct {
	Agent        hotspot.AgentID `json:"agent"`
	Site         hotspot.SiteID  `json:"site_id"`
	SiteName     string          `json:"site"`
	Organization string          `json:"organization"`
	CloudURL     string          `json:"cloud_url"`
	Fingerprint  string          `json:"fingerprint,omitempty"` // of the cloud's HTTPS certificate; "" is the system's roots
	MQTTURL      string          `json:"mqtt_url"`
	CloudSealKey string          `json:"cloud_seal_key,omitempty"`
	CheckNumber  string          `json:"check_number"`
	Confirmed    bool            `json:"confirmed"` // as of the enrolment
	EnrolledAt   time.Time       `json:"enrolled_at"`
	NotAfter     time.Time       `json:"not_after"` // of the certificate
	Seal         *secret.Key     `json:"-"`
	certificate  tls.Certificate
	roots        *x509.CertPool
}

// LoadIdentity reads the identity below the state directory. An error of kind
// NotFound means that this box was never enrolled; Damaged that a file is
// missing or does not fit the others.
func LoadIdentity(stateDir string) (Identity, error) {
	dir := filepath.Join(stateDir, identityDir)
	var id Identity
	b, err := os.ReadFile(filepath.Join(dir, aboutFile))
	if errors.Is(err, fs.ErrNotExist) {
		return id, fault.New(fault.NotFound, "this box is not enrolled", nil).
			WithCode("CLD-106", "Make a code in the console (Site, Add box) and run: iwas-agent enroll")
	}
	damaged := func(what string, err error) (Identity, error) {
		return Identity{}, fault.New(fault.Damaged, "identity in "+dir+": "+what, err).
			WithCode("CLD-107", "Restore the identity folder from a backup, or run iwas-agent enroll again.")
	}
	if err == nil {
		err = json.Unmarshal(b, &id)
	}
	if err != nil {
		return damaged(aboutFile, err)
	}
	if id.certificate, err = tls.LoadX509KeyPair(filepath.Join(dir, certFile), filepath.Join(dir, keyFile)); err != nil {
		return damaged(certFile+" and "+keyFile, err)
	}
	if cn := id.certificate.Leaf.Subject.CommonName; cn != string(id.Agent) {
		return damaged(certFile, fmt.Errorf("is of %q, not of %q", cn, id.Agent))
	}
	id.NotAfter = id.certificate.Leaf.NotAfter
	if b, err = os.ReadFile(filepath.Join(dir, caFile)); err != nil {
		return damaged(caFile, err)
	}
	if id.roots = x509.NewCertPool(); !id.roots.AppendCertsFromPEM(b) {
		return damaged(caFile, errors.New("holds no certificate"))
	}
	// LoadKey would make a new one, which opens nothing.
	if _, err := os.Stat(filepath.Join(dir, sealFile)); err != nil {
		return damaged(sealFile, err)
	}
	if id.Seal, err = secret.LoadKey(filepath.Join(dir, sealFile)); err != nil {
		return damaged(sealFile, err)
	}
	return id, nil
}

// TLS returns the configuration for the broker: our certificate, and nobody
// trusted but the authority named at enrolment. The server's name is the host
// of MQTTURL, which mqttlink fills in.
func (id Identity) TLS() (*tls.Config, error) {
	if id.roots == nil || len(id.certificate.Certificate) == 0 {
		return nil, fault.New(fault.NotFound, "this box is not enrolled", nil)
	}
	return &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: id.roots, Certificates: []tls.Certificate{id.certificate}}, nil
}

// TLSFrom returns a function for mqttlink.Options that reads the identity
// again before every attempt, so that a renewed certificate needs no restart.
func TLSFrom(stateDir string) func() (*tls.Config, error) {
	return func() (*tls.Config, error) {
		id, err := LoadIdentity(stateDir)
		if err == nil {
			err = id.refused(filepath.Join(stateDir, identityDir))
		}
		if err != nil {
			return nil, err
		}
		return id.TLS()
	}
}

// loadOrMakeKey reads an ECDSA P-256 key, or makes it.
func loadOrMakeKey(path string) (*ecdsa.PrivateKey, error) {
	b, err := os.ReadFile(path)
	if err == nil {
		block, _ := pem.Decode(b)
		if block == nil {
			return nil, fmt.Errorf("%s is not a PEM file", path)
		}
		key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		ec, ok := key.(*ecdsa.PrivateKey)
		if !ok {
			return nil, fmt.Errorf("%s is not an ECDSA key", path)
		}
		return ec, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	return key, secret.WriteFile(path, keyPEM(key))
}

func keyPEM(key *ecdsa.PrivateKey) []byte {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		panic(err) // only for a curve that x509 does not know
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// save puts a checked answer in place. The description goes last: until it is
// there the old identity, or none, is in force; a crash in between shows as
// Damaged and the same enrolment finishes it.
func (p pending) save(dir string, key *ecdsa.PrivateKey, r wire.EnrolReply, now time.Time) error {
	about, err := json.MarshalIndent(Identity{
		Agent: hotspot.AgentID(r.Agent), Site: hotspot.SiteID(r.SiteID), SiteName: r.Site, Organization: r.Organization,
		CloudURL: p.CloudURL, Fingerprint: p.Fingerprint, MQTTURL: r.MQTTURL, CloudSealKey: r.SealKey,
		CheckNumber: r.CheckNumber, Confirmed: r.Confirmed, EnrolledAt: now.UTC(),
	}, "", "  ")
	if err != nil {
		return err
	}
	for _, f := range []struct {
		name string
		b    []byte
	}{{keyFile, keyPEM(key)}, {certFile, []byte(r.Certificate)}, {caFile, []byte(r.MQTTCA)}, {aboutFile, append(about, '\n')}} {
		if err := secret.WriteFile(filepath.Join(dir, f.name), f.b); err != nil {
			return err
		}
	}
	if err := os.Remove(filepath.Join(dir, refusedFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err // it is of the identity before, and no longer heard
	}
	return p.forget(dir)
}

func (pending) forget(dir string) error {
	var all []error
	for _, name := range []string{pendingFile, pendingKey} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			all = append(all, err)
		}
	}
	return errors.Join(all...)
}

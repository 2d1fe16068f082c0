package fleet

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/secret"
	"iwas/internal/wire"
)

// Lifetimes of certificates.
const (
	caLife     = 20 * 365 * 24 * time.Hour
	serverLife = 5 * 365 * 24 * time.Hour // its fingerprint is in commands people keep
	serverLeft = 365 * 24 * time.Hour     // a server certificate with less is made anew at the start
	agentLife  = 365 * 24 * time.Hour
	clockSlack = 24 * time.Hour // certificates begin this much ago: the other side's clock may be behind
	maxCSR     = 8 << 10        // octets

	renewShare = 3                        // a certificate is renewed when less than a third of its life is left,
	renewGrace = 180 * 24 * time.Hour     // or when it ended no longer ago than this: a cafe that closes for a season comes back by itself
	crlLife    = 5 * 365 * 24 * time.Hour // a broker refuses everybody once its list is older, and a person has to copy that
)

// CA is the cloud's own certificate authority: it signs the agents' client
// certificates, and the certificates of the doors agents use. Its key is a file
// of mode 0600; replicas share it. Others in ca-*.pem beside it are believed as
// well and sign nothing but their lists: one to come, or one that was (DESIGN.md,
// "Another authority").
type CA struct {
	dir   string
	now   func() time.Time
	key   *ecdsa.PrivateKey
	cert  *x509.Certificate
	other []authority
	code  []byte // key of the hash under which enrolment codes are stored
}

// authority is one that is believed.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

// LoadCA reads the authority in dir, or makes one there. now nil is time.Now.
func LoadCA(dir string, now func() time.Time) (*CA, error) {
	if now == nil {
		now = time.Now
	}
	ca := &CA{dir: dir, now: now}
	err := os.MkdirAll(dir, 0o700)
	if err == nil {
		ca.key, ca.cert, err = readPair(dir, "ca")
		if errors.Is(err, fs.ErrNotExist) {
			err = ca.make()
		}
	}
	if err != nil {
		return nil, fault.New(fault.Unavailable, "fleet: certificate authority in "+dir, err).
			WithCode("DB-103", "Restore the folder from a backup, or fix its rights. A new authority would mean enrolling every box again.")
	}
	if !ca.cert.IsCA || now().After(ca.cert.NotAfter) {
		return nil, fault.New(fault.Damaged, "fleet: certificate authority in "+dir+" is expired, or not one", nil)
	}
	if err := ca.readOthers(); err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(ca.key)
	if err != nil {
		return nil, fault.New(fault.Internal, "fleet: key of the certificate authority", err)
	}
	sum := sha256.Sum256(append([]byte("iwas enrolment codes|"), der...))
	ca.code = sum[:]
	return ca, nil
}

func (ca *CA) make() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := ca.template("IWAS agents CA", caLife)
	template.IsCA, template.BasicConstraintsValid, template.MaxPathLenZero = true, true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	if err := writePair(ca.dir, "ca", key, der); err != nil {
		return err
	}
	ca.key, ca.cert, err = readPair(ca.dir, "ca")
	return err
}

func (ca *CA) template(name string, life time.Duration) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)) // crypto/rand does not fail
	return &x509.Certificate{SerialNumber: serial.Add(serial, big.NewInt(1)), Subject: pkix.Name{CommonName: name},
		NotBefore: ca.now().Add(-clockSlack), NotAfter: ca.now().Add(life)}
}

// readOthers reads the authorities that are believed besides the one that signs.
func (ca *CA) readOthers() error {
	names, err := filepath.Glob(filepath.Join(ca.dir, "ca-*.pem"))
	if err != nil {
		return fault.New(fault.Internal, "fleet: look for other authorities", err)
	}
	for _, path := range names {
		key, cert, err := readPair(ca.dir, strings.TrimSuffix(filepath.Base(path), ".pem"))
		if err != nil || !cert.IsCA {
			return fault.New(fault.Damaged, "fleet: "+path+" is no authority with its key", err).
				WithCode("DB-103", "Restore the file from a backup, or take it out of the folder if no box has a certificate of it any more.")
		}
		ca.other = append(ca.other, authority{key, cert})
	}
	return nil
}

// all returns every authority that is believed, the one that signs first.
func (ca *CA) all() []authority { return append([]authority{{ca.key, ca.cert}}, ca.other...) }

// PEM returns the certificates of all authorities, as agents keep them.
func (ca *CA) PEM() string {
	var out []byte
	for _, a := range ca.all() {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})...)
	}
	return string(out)
}

// Pool returns what to verify agents' certificates against.
func (ca *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	for _, a := range ca.all() {
		pool.AddCert(a.cert)
	}
	return pool
}

// Known returns whose agent's certificate this is. One that ended is known for
// the grace as well: whoever holds its key may have it renewed. Kind Forged for
// one that none of the authorities signed for an agent, Denied for one too old.
func (ca *CA) Known(cert *x509.Certificate) (hotspot.AgentID, error) {
	signed := slices.ContainsFunc(ca.all(), func(a authority) bool { return cert.CheckSignatureFrom(a.cert) == nil })
	name := cert.Subject.CommonName
	if !signed || !slices.Contains(cert.ExtKeyUsage, x509.ExtKeyUsageClientAuth) || !wire.ValidAgentID(name) {
		return "", fault.New(fault.Forged, "fleet: the certificate is none that was given to a box here", nil).
			WithCode("CLD-209", "Enrol this box again.")
	}
	if since := ca.now().Sub(cert.NotAfter); since > renewGrace {
		return "", fault.New(fault.Denied, fmt.Sprintf("fleet: the certificate ended %d days ago", int(since.Hours()/24)), nil).
			WithCode("CLD-208", "It ended too long ago to be renewed: make a code in the console and enrol this box again.")
	}
	return hotspot.AgentID(name), nil
}

// Due reports whether a certificate should be replaced: little of its life is
// left, or another authority signs now.
func (ca *CA) Due(cert *x509.Certificate) bool {
	life := cert.NotAfter.Sub(cert.NotBefore)
	return cert.NotAfter.Sub(ca.now()) < life/renewShare || cert.CheckSignatureFrom(ca.cert) != nil
}

// Revocations returns the lists of certificates that are not to be believed any
// more, one signed by each authority, as PEM.
func (ca *CA) Revocations(revoked []hotspot.RevokedCertificate) ([]byte, error) {
	entries := make([]x509.RevocationListEntry, 0, len(revoked))
	for _, r := range revoked {
		entries = append(entries, x509.RevocationListEntry{SerialNumber: r.Serial, RevocationTime: r.At})
	}
	now := ca.now()
	var out []byte
	for _, a := range ca.all() {
		der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{Number: big.NewInt(now.UnixMilli()),
			ThisUpdate: now.Add(-clockSlack), NextUpdate: now.Add(crlLife), RevokedCertificateEntries: entries}, a.cert, a.key)
		if err != nil {
			return nil, fault.New(fault.Internal, "fleet: sign the list of revoked certificates", err)
		}
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der})...)
	}
	return out, nil
}

// Server returns the certificate of one of our doors, for the names and
// addresses it is reached by. It is kept in a file of that name and made anew
// only when the hosts change or its end is near, so that its fingerprint lasts.
func (ca *CA) Server(name string, hosts []string) (tls.Certificate, error) {
	fail := func(err error) (tls.Certificate, error) {
		return tls.Certificate{}, fault.New(fault.Unavailable, "fleet: certificate of "+name, err)
	}
	if len(hosts) == 0 || name == "ca" || strings.ContainsAny(name, "./\\") {
		return fail(errors.New("a name for the file and at least one host are needed"))
	}
	key, cert, err := readPair(ca.dir, name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fail(err)
	}
	if err != nil || !ca.serves(cert, hosts) {
		if key, cert, err = ca.issueServer(name, hosts); err != nil {
			return fail(err)
		}
	}
	return tls.Certificate{Certificate: [][]byte{cert.Raw, ca.cert.Raw}, PrivateKey: key, Leaf: cert}, nil
}

func (ca *CA) serves(cert *x509.Certificate, hosts []string) bool {
	names, addresses := split(hosts)
	same := slices.EqualFunc(cert.IPAddresses, addresses, net.IP.Equal) && slices.Equal(cert.DNSNames, names)
	return same && cert.CheckSignatureFrom(ca.cert) == nil && ca.now().Add(serverLeft).Before(cert.NotAfter)
}

func split(hosts []string) (names []string, addresses []net.IP) {
	for _, h := range hosts {
		if ip := net.ParseIP(strings.Trim(h, "[]")); ip != nil {
			addresses = append(addresses, ip)
		} else {
			names = append(names, h)
		}
	}
	return names, addresses
}

func (ca *CA) issueServer(name string, hosts []string) (*ecdsa.PrivateKey, *x509.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := ca.template(hosts[0], serverLife)
	template.DNSNames, template.IPAddresses = split(hosts)
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, key.Public(), ca.key)
	if err != nil {
		return nil, nil, err
	}
	if err := writePair(ca.dir, name, key, der); err != nil {
		return nil, nil, err
	}
	return readPair(ca.dir, name)
}

// Fingerprint returns the SHA-256 of a door's certificate, 64 hexadecimal
// digits, as printed in the command that enrols a box.
func Fingerprint(cert tls.Certificate) string {
	sum := sha256.Sum256(cert.Certificate[0])
	return hex.EncodeToString(sum[:])
}

// SignAgent issues the client certificate of an agent: its id is the CN,
// whatever the request says. It returns the certificate as PEM and the public
// key as PKIX DER. Kind Invalid for a request that is not one, or of a key that
// is not ECDSA P-256.
func (ca *CA) SignAgent(csr string, agent hotspot.AgentID) (cert string, publicKey []byte, err error) {
	bad := func(err error) (string, []byte, error) {
		return "", nil, fault.New(fault.Invalid, "fleet: certificate request", err)
	}
	block, _ := pem.Decode([]byte(csr))
	if block == nil || block.Type != "CERTIFICATE REQUEST" || len(csr) > maxCSR {
		return bad(errors.New("not a PEM block of at most 8 KiB"))
	}
	request, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return bad(err)
	}
	if err := request.CheckSignature(); err != nil {
		return bad(err)
	}
	key, ok := request.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return bad(fmt.Errorf("the key is %T, not ECDSA P-256", request.PublicKey))
	}
	if publicKey, err = x509.MarshalPKIXPublicKey(key); err != nil {
		return "", nil, fault.New(fault.Internal, "fleet: public key", err)
	}
	cert, err = ca.Issue(key, agent)
	return cert, publicKey, err
}

// Issue signs the client certificate of an agent for a key it has proven to hold.
func (ca *CA) Issue(key *ecdsa.PublicKey, agent hotspot.AgentID) (cert string, err error) {
	template := ca.template(string(agent), agentLife)
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, key, ca.key)
	if err != nil {
		return "", fault.New(fault.Internal, "fleet: sign certificate", err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), nil
}

// codeHash is an enrolment code as stored. Codes are short, so the hash is
// keyed by what the database does not hold.
func (ca *CA) codeHash(code string) []byte {
	h := hmac.New(sha256.New, ca.code)
	h.Write([]byte(code))
	return h.Sum(nil)
}

func writePair(dir, name string, key *ecdsa.PrivateKey, cert []byte) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	// One file: a pair is there whole or not at all.
	both := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	both = append(both, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})...)
	return secret.WriteFile(filepath.Join(dir, name+".pem"), both)
}

func readPair(dir, name string) (*ecdsa.PrivateKey, *x509.Certificate, error) {
	path := filepath.Join(dir, name+".pem")
	both, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	pair, err := tls.X509KeyPair(both, both)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	key, ok := pair.PrivateKey.(crypto.Signer).(*ecdsa.PrivateKey)
	if !ok {
		return nil, nil, fmt.Errorf("%s: the key is %T, not ECDSA", path, pair.PrivateKey)
	}
	return key, pair.Leaf, nil
}

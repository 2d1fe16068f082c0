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
)

// Lifetimes of certificates.
const (
	caLife     = 20 * 365 * 24 * time.Hour
	serverLife = 5 * 365 * 24 * time.Hour // its fingerprint is in commands people keep
	serverLeft = 365 * 24 * time.Hour     // a server certificate with less is made anew at the start
	agentLife  = 365 * 24 * time.Hour
	clockSlack = 24 * time.Hour // certificates begin this much ago: the other side's clock may be behind
	maxCSR     = 8 << 10        // octets
)

// CA is the cloud's own certificate authority: it signs the agents' client
// certificates, and the certificates of the doors agents use. Its key is a file
// of mode 0600; replicas share it.
type CA struct {
	dir  string
	now  func() time.Time
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	code []byte // key of the hash under which enrolment codes are stored
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

// PEM returns the authority's certificate, as agents keep it.
func (ca *CA) PEM() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.cert.Raw}))
}

// Pool returns what to verify agents' certificates against.
func (ca *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	return pool
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
	template := ca.template(string(agent), agentLife)
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, key, ca.key)
	if err != nil {
		return "", nil, fault.New(fault.Internal, "fleet: sign certificate", err)
	}
	if publicKey, err = x509.MarshalPKIXPublicKey(key); err != nil {
		return "", nil, fault.New(fault.Internal, "fleet: public key", err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), publicKey, nil
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

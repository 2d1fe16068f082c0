package wire

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"time"
)

// What a box that is enrolled asks over HTTPS, below the cloud's agents door. It
// works with a certificate that has expired, and where MQTT does not get through.
const (
	PathRenew  = "/agents/v1/renew"  // POST Signed of RenewRequest → RenewReply
	PathOutage = "/agents/v1/outage" // POST Signed of Outage → OutageReply
	PathLeave  = "/agents/v1/leave"  // POST Signed of LeaveRequest → LeaveReply
)

// MaxSigned bounds the body of a signed request, octets.
const MaxSigned = 8 << 10

// Signed is a request proven by the key of the box's certificate.
type Signed struct {
	V           int    `json:"v"`
	Certificate string `json:"certificate"` // PEM, the agent's
	Body        []byte `json:"body"`        // JSON; base64 here, so that the bytes signed are the bytes read
	Signature   []byte `json:"signature"`   // ECDSA P-256, ASN.1, over SHA-256("iwas signed request|" path "|" body)
}

func signedSum(path string, body []byte) []byte {
	sum := sha256.Sum256(append([]byte("iwas signed request|"+path+"|"), body...))
	return sum[:]
}

// Sign makes a signed request for a path.
func Sign(key crypto.Signer, certificate, path string, body any) (Signed, error) {
	b, err := json.Marshal(body)
	if err != nil {
		return Signed{}, err
	}
	signature, err := key.Sign(rand.Reader, signedSum(path, b), crypto.SHA256)
	return Signed{V: Version, Certificate: certificate, Body: b, Signature: signature}, err
}

// Open returns the certificate of a signed request that its key has signed for
// that path, and reads the body. Whether the certificate is one to believe is the
// caller's to see.
func (s Signed) Open(path string, body any) (*x509.Certificate, error) {
	if len(s.Body) > MaxSigned || len(s.Certificate) > MaxSigned {
		return nil, errors.New("signed request: too long")
	}
	block, _ := pem.Decode([]byte(s.Certificate))
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("signed request: no certificate")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, err
	}
	key, ok := cert.PublicKey.(*ecdsa.PublicKey)
	if !ok || !ecdsa.VerifyASN1(key, signedSum(path, s.Body), s.Signature) {
		return nil, errors.New("signed request: the signature is not of the certificate's key, or for another request")
	}
	return cert, json.Unmarshal(s.Body, body)
}

// RenewRequest asks for a certificate that lasts longer, for the same key and the
// same agent. Asking while that is not due is the way to learn of new addresses
// and authorities.
type RenewRequest struct {
	V       int       `json:"v"`
	Version string    `json:"version"` // of the agent program
	At      time.Time `json:"at"`      // the box's clock
}

// RenewReply is the identity as it should be now.
type RenewReply struct {
	Certificate string    `json:"certificate,omitempty"` // PEM chain; absent: the one shown is good for long
	MQTTURL     string    `json:"mqtt_url"`
	MQTTCA      string    `json:"mqtt_ca"` // PEM; every authority that may sign the cloud's own certificates
	SealKey     string    `json:"seal_key"`
	Time        time.Time `json:"time"`
}

// Outage tells why the box has no MQTT connection, while HTTPS gets through.
type Outage struct {
	V     int       `json:"v"`
	Boot  string    `json:"boot"`
	N     int64     `json:"n"`     // counts the reports of this boot; a lower one is older news
	Since time.Time `json:"since"` // the box's clock, as At
	At    time.Time `json:"at"`
	Code  string    `json:"code"` // of the condition catalogue
	Text  string    `json:"text"`
}

// OutageReply answers an Outage that was taken.
type OutageReply struct {
	Time time.Time `json:"time"`
}

// LeaveRequest says that somebody took this identity off the box: it is retired, for
// ever. A repeat has no effect. A box that is taken for a copy must not send it: the
// identity is the other's as well.
type LeaveRequest struct {
	V  int       `json:"v"`
	At time.Time `json:"at"` // the box's clock
}

// LeaveReply answers a LeaveRequest that was taken.
type LeaveReply struct {
	Time time.Time `json:"time"`
}

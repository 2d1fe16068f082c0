package wire

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
)

// FuzzSigned: whatever comes is refused or was signed, and nothing panics.
func FuzzSigned(f *testing.F) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "agentone"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		f.Fatal(err)
	}
	cert := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	good, err := Sign(key, cert, PathRenew, RenewRequest{V: 1, Version: "1"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good.Certificate, good.Body, good.Signature)
	f.Add("", []byte("{}"), []byte{})
	f.Add(good.Certificate, []byte(strings.Repeat(" ", MaxSigned+1)), good.Signature)
	f.Fuzz(func(t *testing.T, certificate string, body, signature []byte) {
		var r RenewRequest
		got, err := Signed{V: 1, Certificate: certificate, Body: body, Signature: signature}.Open(PathRenew, &r)
		if err == nil && (got == nil || string(body) != string(good.Body)) {
			t.Errorf("took %q, which nobody signed", body)
		}
		if certificate == good.Certificate && string(body) == string(good.Body) && string(signature) == string(good.Signature) && (err != nil || r.Version != "1") {
			t.Errorf("refused what was signed: %v", err)
		}
	})
}

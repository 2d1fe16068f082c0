package store_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	"iwas/internal/wire"
)

// issuer makes identities as the fleet's CA does, for a given agent id.
func issuer(t testing.TB, agent string) func(wire.EnrolOffer) (wire.EnrolReply, error) {
	return func(o wire.EnrolOffer) (wire.EnrolReply, error) {
		t.Helper()
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return wire.EnrolReply{}, err
		}
		template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: agent}, NotAfter: time.Now().AddDate(1, 0, 0)}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			return wire.EnrolReply{}, err
		}
		return wire.EnrolReply{Agent: agent, SiteID: o.SiteID, Site: o.Site, Organization: o.Organization, CheckNumber: "123456",
			Certificate: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))}, nil
	}
}

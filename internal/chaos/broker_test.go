package chaos

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/rand/v2"
	"net"
	"syscall"
	"testing"
)

// broker is a mosquitto between agents and cloud.
type broker struct{}

func (b *broker) dial(agent string, _ tls.Certificate, _ *x509.CertPool) (net.Conn, error) {
	return nil, errors.New("none")
}
func (b *broker) config(t *testing.T, dir string) string     { return "" }
func (b *broker) kill(t *testing.T, dice *rand.Rand) error   { return nil }
func (b *broker) signal(name string, s syscall.Signal) error { return nil }

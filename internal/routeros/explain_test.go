package routeros

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"math/big"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/go-routeros/routeros/v3/proto"

	"iwas/internal/fault"
)

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// selfSigned makes a certificate as a router does, and its fingerprint.
func selfSigned(t *testing.T) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	// In a router's way: no name, and a clock that was wrong when it was made.
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0), NotAfter: time.Unix(86400, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(der)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, hex.EncodeToString(sum[:])
}

func TestPinnedCertificate(t *testing.T) {
	cert, pin := selfSigned(t)
	_, otherPin := selfSigned(t)
	l := tls.NewListener(listen(t), &tls.Config{Certificates: []tls.Certificate{cert}})
	loggedIn := make(chan struct{}, 10)
	p := startPeer(t, l, func(*proto.Sentence) []byte { loggedIn <- struct{}{}; return say("!done") })
	colons := ""
	for i := 0; i < len(pin); i += 2 {
		colons += ":" + strings.ToUpper(pin[i:i+2])
	}
	for _, tc := range []struct {
		name, pin, code string
		kind            fault.Kind
	}{
		{"as pinned", pin, "", 0},
		{"as RouterOS prints it", colons[1:], "", 0},
		{"another", otherPin, CodeCertificateChanged, fault.Forged},
		{"not trusted yet", "", CodeCertificateChanged, fault.Forged},
		{"not a fingerprint", "abcd", "", fault.Invalid},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, err := Dial(context.Background(), Options{URL: "api-ssl://" + p.Addr().String(), User: "agent", Password: "p", PinnedSHA256: tc.pin})
			if fault.Code(err) != tc.code || (err != nil && fault.KindOf(err) != tc.kind) || (err == nil) != (tc.kind == 0) {
				t.Fatalf("got %v (code %q, kind %v), want code %q, kind %v", err, fault.Code(err), fault.KindOf(err), tc.code, tc.kind)
			}
			if err == nil {
				<-loggedIn
				c.Close()
				return
			}
			if tc.kind == fault.Forged && !strings.Contains(err.Error(), pin[:16]) {
				t.Errorf("%v: want the fingerprint shown, so that a person can compare", err)
			}
			select {
			case <-loggedIn:
				t.Error("the password went to a router that is not trusted")
			case <-time.After(50 * time.Millisecond):
			}
		})
	}
}

// RouterOS without a certificate offers anonymous Diffie-Hellman only;
// openssl can be told to do the same.
func TestAnonymousDiffieHellmanIsExplained(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Fatal("openssl is missing: apt-get install openssl")
	}
	l := listen(t)
	address := l.Addr().String()
	l.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, openssl, "s_server", "-accept", address, "-nocert", "-cipher", "ADH:@SECLEVEL=0", "-tls1_2", "-quiet")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cancel(); cmd.Wait() }()
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		_, err = Dial(context.Background(), Options{URL: "api-ssl://" + address, PinnedSHA256: strings.Repeat("0", 64)})
		if !strings.Contains(fmt.Sprint(err), "refused") || time.Now().After(deadline) {
			break
		}
	}
	if fault.Code(err) != CodeServiceOff || !strings.Contains(fault.Hint(err), "certificate") {
		t.Errorf("got %v (%s: %s), want %s and how to make a certificate", err, fault.Code(err), fault.Hint(err), CodeServiceOff)
	}
}

func TestConnectionErrorsAreExplained(t *testing.T) {
	closed := listen(t)
	closed.Close()
	plain := startPeer(t, nil, func(*proto.Sentence) []byte { return say("!done") })
	talks := listen(t) // something else: greets, as SMTP or SSH would
	go func() {
		for {
			conn, err := talks.Accept()
			if err != nil {
				return
			}
			conn.Write([]byte("SSH-2.0-ROSSSH\r\n"))
		}
	}()
	pin := strings.Repeat("0", 64)
	for _, tc := range []struct {
		name, url, code, hint string
		kind                  fault.Kind
	}{
		{"service off", "api://" + closed.Addr().String(), CodeServiceOff, "/ip/service/enable api,", fault.Unavailable},
		{"service off, TLS", "api-ssl://" + closed.Addr().String(), CodeServiceOff, "api-ssl", fault.Unavailable},
		{"not TLS", "api-ssl://" + talks.Addr().String(), CodeServiceOff, "8729", fault.Unavailable},
		{"not the API", "api://" + talks.Addr().String(), CodeServiceOff, "8728", fault.Unavailable},
		{"no such host", "api://router.invalid", CodeUnreachable, "address", fault.Unavailable},
		{"SSH", "ssh://192.0.2.1", "", "", fault.Invalid},
		{"password in the address", "api://agent:hush@" + plain.Addr().String(), "", "", fault.Invalid},
		{"path", plain.url() + "/x", "", "", fault.Invalid},
		{"nothing", "", "", "", fault.Invalid},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Dial(context.Background(), Options{URL: tc.url, PinnedSHA256: pin})
			if fault.KindOf(err) != tc.kind || fault.Code(err) != tc.code || !strings.Contains(fault.Hint(err), tc.hint) {
				t.Errorf("got %v (kind %v, code %q, hint %q), want kind %v, code %q, hint with %q",
					err, fault.KindOf(err), fault.Code(err), fault.Hint(err), tc.kind, tc.code, tc.hint)
			}
			if strings.Contains(fmt.Sprint(err), "hush") {
				t.Errorf("the error shows the password: %v", err)
			}
		})
	}
}

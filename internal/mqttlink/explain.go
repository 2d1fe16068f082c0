package mqttlink

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"reflect"
	"syscall"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"iwas/internal/fault"
)

// TLS alerts the peer may send (RFC 8446 §6.2).
const (
	alertBadCertificate     = 42
	alertCertificateRevoked = 44
	alertCertificateExpired = 45
	alertCertificateUnknown = 46
	alertUnknownCA          = 48
	alertCertificateMissing = 116
)

// Explain gives an error of a connection to the broker its kind, its code of the
// condition catalogue and the next step for a person.
func Explain(op string, err error) *fault.Error {
	f := fault.New(fault.Unavailable, op, err)
	var already *fault.Error
	if errors.As(err, &already) {
		f.Kind = already.Kind
		return f // its own code and hint are found in the chain
	}
	if explainTLS(f, err) {
		return f
	}
	var dns *net.DNSError
	switch {
	case errors.Is(err, packets.ErrorRefusedNotAuthorised), errors.Is(err, packets.ErrorRefusedBadUsernameOrPassword):
		f.Kind = fault.Denied
		return f.WithCode("CLD-103", "The cloud refuses this identity (revoked, or replaced by a newer enrolment): enrol this box again.")
	case NoRoute(err):
		return f.WithCode("NET-101", "This box has no way to the internet: check the cable, and the gateway it was given (ip route).")
	case errors.As(err, &dns):
		return f.WithCode("NET-102", fmt.Sprintf("The name %s cannot be looked up: check the internet connection and the DNS server.", dns.Name))
	case errors.Is(err, syscall.ECONNREFUSED):
		return f.WithCode("CLD-101", "The cloud's machine answers, but nothing listens on that port: ask whoever runs the cloud whether it is up, and whether a firewall refuses the port.")
	case errors.Is(err, context.DeadlineExceeded), isTimeout(err):
		return f.WithCode("CLD-101", "No answer: check the internet connection, and that a firewall lets this port out.")
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return f.WithCode("CLD-101", "The other side closed the connection. It is tried again by itself; if it stays so, look at the cloud's log.")
	}
	return f.WithCode("CLD-101", "Check the internet connection. It is tried again by itself.")
}

// explainTLS handles what goes wrong while both sides prove who they are.
func explainTLS(f *fault.Error, err error) bool {
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		f.WithCode("CLK-101", "The cloud's certificate is not valid at this box's date: check the date here first, then the certificate of the cloud.")
	case errors.As(err, &unknown):
		f.WithCode("CLD-102", "The cloud's certificate is not from the authority named at enrolment: something in between intercepts TLS, or the cloud was set up anew. Then enrol again.")
	case errors.As(err, &host):
		f.WithCode("CLD-102", "The cloud's certificate is for another name: check the address, or whether something in between intercepts TLS.")
	case errors.As(err, &record) && string(record.RecordHeader[:4]) == "HTTP":
		f.WithCode("NET-103", "A web server answers in the broker's place, as a login page does: this box is most likely in the guest network. Move it out, or let it pass with an ip-binding.")
	case errors.As(err, &record):
		f.WithCode("CLD-102", "What answers on that port does not speak TLS: check the address and port.")
	default:
		return explainAlert(f, err)
	}
	f.Kind = fault.Forged
	return true
}

// explainAlert handles the cloud's refusal of our certificate. crypto/tls
// keeps the type of a received alert to itself, but not that it is a number.
func explainAlert(f *fault.Error, err error) bool {
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "remote error" {
		return false
	}
	v := reflect.ValueOf(op.Err)
	if v.Kind() != reflect.Uint8 {
		return false
	}
	f.Kind = fault.Denied
	switch v.Uint() {
	case alertCertificateExpired:
		f.WithCode("CLD-103", "The cloud says that this box's certificate has expired: check the date here, then enrol again.")
	case alertCertificateRevoked:
		f.WithCode("CLD-103", "The cloud has revoked this box's certificate: enrol again, or ask the owner why.")
	case alertBadCertificate, alertCertificateUnknown, alertUnknownCA, alertCertificateMissing:
		f.WithCode("CLD-103", "The cloud does not accept this box's certificate: check the date here, then enrol again.")
	default:
		f.WithCode("CLD-102", "The cloud broke off the TLS handshake: both sides need TLS 1.3.")
	}
	return true
}

// nowhere is an address of documentation (RFC 5737): a UDP socket is only given a
// route to it, and nothing is sent.
const nowhere = "192.0.2.1:9"

// Route returns the address this box would reach the internet from; an error where it
// has no way there. It sends nothing.
func Route() (netip.Addr, error) {
	c, err := net.Dial("udp4", nowhere)
	if err != nil {
		return netip.Addr{}, err
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).AddrPort().Addr(), nil
}

// NoRoute reports whether err came of this box having no route at all. A name that
// cannot be looked up is asked about: without a route the resolver's answer says
// only that it got none.
func NoRoute(err error) bool {
	var dns *net.DNSError
	if errors.As(err, &dns) {
		_, err = Route()
	}
	return errors.Is(err, syscall.ENETUNREACH)
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

package metrics

import (
	"crypto/subtle"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"

	"iwas/internal/fault"
)

// Codes of the catalogue.
const (
	CodeToken     = "SYS-110" // asked from elsewhere without the token
	CodeTokenFile = "SYS-111" // the file of the token is of no use
)

// tokenLeast is the shortest token believed, in characters: it may be tried from
// the network.
const tokenLeast = 16

// ReadToken reads the token of a file.
func ReadToken(file string) (string, error) {
	b, err := os.ReadFile(file)
	const next = "Make one: openssl rand -hex 32, in a file that the service can read."
	if err != nil {
		return "", fault.New(fault.Invalid, "read the token of the metrics", err).WithCode(CodeTokenFile, next)
	}
	token := strings.TrimSpace(string(b))
	if len(token) < tokenLeast {
		return "", fault.New(fault.Invalid, fmt.Sprintf("the token of the metrics in %s has %d characters, and needs %d", file, len(token), tokenLeast), nil).WithCode(CodeTokenFile, next)
	}
	return token, nil
}

// Guard lets programs on this machine read without a token, and others with the
// one in file, as "Authorization: Bearer …"; "" is no token, and nobody else. The
// file is read at each question, so that a token can be replaced.
//
// A proxy on this machine speaks for others: what came through one is not of
// this machine.
func Guard(inner http.Handler, file string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !fromHere(r) {
			if why := refused(r, file); why != "" {
				w.Header().Set("WWW-Authenticate", `Bearer realm="metrics"`)
				http.Error(w, CodeToken+": "+why, http.StatusUnauthorized)
				return
			}
		}
		w.Header().Set("Cache-Control", "no-store")
		inner.ServeHTTP(w, r)
	})
}

// fromHere reports whether a program on this machine asks, for itself: it came
// over loopback, calls us by a loopback address, and nobody forwarded it.
func fromHere(r *http.Request) bool {
	for _, h := range []string{"X-Forwarded-For", "Forwarded", "Via", "X-Real-Ip"} {
		if r.Header.Get(h) != "" {
			return false
		}
	}
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !peer.Addr().Unmap().IsLoopback() {
		return false
	}
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	at, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return host == "localhost" || err == nil && at.Unmap().IsLoopback()
}

// refused says why the request may not read; "" is that it may.
func refused(r *http.Request, file string) string {
	if file == "" {
		return "metrics are read on this machine only; name a token file in the configuration to read them from elsewhere"
	}
	want, err := ReadToken(file)
	if err != nil {
		return "the token file on this machine cannot be used"
	}
	scheme, got, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || subtle.ConstantTimeCompare([]byte(strings.TrimSpace(got)), []byte(want)) != 1 {
		return "send the token: Authorization: Bearer …"
	}
	return ""
}

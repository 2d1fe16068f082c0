package webui

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"slices"
	"strings"
)

// Policy is the Content-Security-Policy of every page: own files only, nothing
// inline, no frames, forms post home. Pages are written so that it costs
// nothing.
const Policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// Guard is what stands before every handler of a front end.
type Guard struct {
	Hosts   []string // names the server answers to, without port; nil is any. See KnownHost
	Local   bool     // and to the address that the connection came in on
	MaxBody int64    // bytes of a request body; 0 is 64 KiB
	Log     *slog.Logger
}

// Wrap returns h behind the guard: host check first, then headers, size limit,
// refusal of state changes from other origins, and a fixed page for a panic.
//
// The host check comes first because a page on a name of its own that resolves
// to a LAN address passes every origin check (DNS rebinding): its Origin equals
// its Host.
func (g Guard) Wrap(h http.Handler) http.Handler {
	limit := g.MaxBody
	if limit == 0 {
		limit = 64 << 10
	}
	cross := http.NewCrossOriginProtection()
	cross.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		Plain(w, http.StatusForbidden, "This request came from another web site and was refused.",
			"Open the page itself and try again.")
	}))
	inner := cross.Handler(h)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer g.recover(w, r)
		head := w.Header()
		head.Set("Content-Security-Policy", Policy)
		head.Set("X-Content-Type-Options", "nosniff")
		head.Set("Referrer-Policy", "no-referrer")
		head.Set("Cross-Origin-Opener-Policy", "same-origin")
		head.Set("Cross-Origin-Resource-Policy", "same-origin")
		if g.Hosts != nil && !KnownHost(r.Host, g.hosts(r)) {
			Plain(w, http.StatusMisdirectedRequest, "This server does not go by that name.",
				"Use the address printed by the program, or add the name to its configuration.")
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, limit)
		inner.ServeHTTP(w, r)
	})
}

func (g Guard) hosts(r *http.Request) []string {
	at, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !g.Local || !ok {
		return g.Hosts
	}
	p, err := netip.ParseAddrPort(at.String())
	if err != nil {
		return g.Hosts
	}
	return append([]string{p.Addr().Unmap().WithZone("").String()}, g.Hosts...)
}

func (g Guard) recover(w http.ResponseWriter, r *http.Request) {
	p := recover()
	if p == nil {
		return
	}
	if p == http.ErrAbortHandler {
		panic(p)
	}
	if g.Log != nil {
		g.Log.Error("web: handler panicked", "method", r.Method, "path", r.URL.Path, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	}
	// If the handler had begun to answer, the status stands and the text is
	// appended to a broken page: no worse than a cut connection.
	Plain(w, http.StatusInternalServerError, "Something went wrong on our side.", "It has been logged. Go back and try again.")
}

// Plain writes a page of fixed text that needs no template, for the moments
// when nothing else can be trusted to work.
func Plain(w http.ResponseWriter, status int, title, next string) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Del("Content-Encoding")
	h.Del("Content-Length")
	w.WriteHeader(status)
	fmt.Fprintf(w, `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>%s</title>
<link rel="stylesheet" href="%s"></head>
<body class="bare"><main id="content" class="wrap"><div class="card"><h1>%s</h1><p>%s</p><p><a class="button" href="/">To the start</a></p></div></main></body></html>
`, http.StatusText(status), AssetPath("app.css"), title, next)
}

// KnownHost reports whether the Host header, with or without a port, is one of
// the names. An IP literal in names matches that address only; "localhost"
// and the loopback addresses must be listed like any other.
func KnownHost(host string, names []string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.ToLower(strings.Trim(host, "[]")), ".")
	if host == "" {
		return false
	}
	if a, err := netip.ParseAddr(host); err == nil {
		host = a.Unmap().String()
	}
	return slices.ContainsFunc(names, func(n string) bool {
		if a, err := netip.ParseAddr(n); err == nil {
			n = a.Unmap().String()
		}
		return strings.EqualFold(n, host)
	})
}

// Proxies are the networks of proxies in front of a server, which end TLS for
// it. What they say in X-Forwarded-For is believed; from others it is not asked,
// since anyone can write it.
type Proxies []netip.Prefix

// ParseProxies reads addresses and networks.
func ParseProxies(texts []string) (Proxies, error) {
	var p Proxies
	for _, text := range texts {
		n, err := netip.ParsePrefix(text)
		if a, aerr := netip.ParseAddr(text); aerr == nil {
			n, err = netip.PrefixFrom(a, a.BitLen()), nil
		}
		if err != nil {
			return nil, fmt.Errorf("%q is not an address or a network such as 127.0.0.1 or 10.0.0.0/8", text)
		}
		p = append(p, n.Masked())
	}
	return p, nil
}

func (p Proxies) has(a netip.Addr) bool {
	return slices.ContainsFunc(p, func(n netip.Prefix) bool { return n.Contains(a) })
}

// RemoteAddr returns the address a request comes from, the key under which
// failed logins are counted: the peer's, or, behind proxies, the one nearest to
// us that is no proxy.
func (p Proxies) RemoteAddr(r *http.Request) string {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	at := peer.Addr().Unmap()
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && p.has(at); i-- {
		a, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break // a proxy that says nothing readable is as far as we see
		}
		at = a.Unmap()
	}
	return at.String()
}

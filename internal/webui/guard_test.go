package webui

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

func TestGuardSetsTheHeadersOfEveryAnswer(t *testing.T) {
	h := Guard{}.Wrap(http.NotFoundHandler())
	w := get(h, "/nothing")
	for name, want := range map[string]string{"Content-Security-Policy": Policy, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	for _, part := range []string{"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"} {
		if !strings.Contains(Policy, part) {
			t.Errorf("policy lacks %q", part)
		}
	}
	if strings.Contains(Policy, "unsafe") {
		t.Error("policy allows something unsafe")
	}
}

func TestGuardRefusesForgedHostNamesBeforeAnythingElse(t *testing.T) {
	asked := 0
	h := Guard{Hosts: []string{"127.0.0.1", "::1", "localhost", "box.lan"}}.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked++ }))
	for host, want := range map[string]int{
		"127.0.0.1:8480": 200, "localhost": 200, "LOCALHOST:80": 200, "[::1]:8480": 200, "box.lan.": 200, "[::ffff:127.0.0.1]": 200,
		"evil.example": 421, "evil.example:8480": 421, "127.0.0.1.evil.example": 421, "": 421, "192.168.1.5": 421, "box.lan.evil": 421,
	} {
		asked = 0
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		r.Host = host
		r.Header.Set("Origin", "http://"+host) // as a rebound page sends it
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != want || (asked == 1) != (want == 200) {
			t.Errorf("host %q: got %d, handler asked %d times, want %d", host, w.Code, asked, want)
		}
	}
}

func TestGuardRefusesChangesFromOtherOrigins(t *testing.T) {
	h := Guard{}.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	for _, tc := range []struct {
		method, origin, site string
		want                 int
	}{
		{"POST", "http://example.com", "same-origin", 200}, {"POST", "", "", 200}, {"POST", "https://evil.example", "cross-site", 403},
		{"POST", "https://evil.example", "", 403}, {"POST", "null", "", 403}, {"GET", "https://evil.example", "cross-site", 200},
		{"DELETE", "https://sub.example.com", "same-site", 403},
	} {
		r := httptest.NewRequest(tc.method, "http://example.com/", nil)
		r.Header.Set("Origin", tc.origin)
		r.Header.Set("Sec-Fetch-Site", tc.site)
		if tc.origin == "" {
			r.Header.Del("Origin")
		}
		if tc.site == "" {
			r.Header.Del("Sec-Fetch-Site")
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != tc.want {
			t.Errorf("%s from %q (%s): got %d, want %d", tc.method, tc.origin, tc.site, w.Code, tc.want)
		}
	}
}

func TestAPanicShowsFixedTextAndIsLogged(t *testing.T) {
	var logged bytes.Buffer
	h := Guard{Log: slog.New(slog.NewTextHandler(&logged, nil))}.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("hunter2") }))
	w := get(h, "/x")
	if w.Code != 500 || strings.Contains(w.Body.String(), "hunter2") || !strings.Contains(w.Body.String(), "Something went wrong") {
		t.Errorf("got %d %q", w.Code, w.Body)
	}
	if !strings.Contains(logged.String(), "hunter2") || !strings.Contains(logged.String(), "path=/x") {
		t.Errorf("log says %q", logged.String())
	}
}

func TestBodiesAreBounded(t *testing.T) {
	var err error
	h := Guard{MaxBody: 10}.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, err = io.ReadAll(r.Body) }))
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("POST", "/", strings.NewReader("01234567890")))
	if err == nil {
		t.Error("a body above the bound was read whole")
	}
}

func TestLocalPathStaysHere(t *testing.T) {
	for s, want := range map[string]string{
		"": "/", "/": "/", "/sites/a?q=b%20c": "/sites/a?q=b%20c", "https://evil.example": "/", "//evil.example": "/", "/\\evil.example": "/",
		"/a/../..//evil.example": "/evil.example", "javascript:alert(1)": "/", "/a\r\nSet-Cookie: x": "/", "/\t/evil.example": "/",
	} {
		if got := LocalPath(s); got != want {
			t.Errorf("LocalPath(%q) = %q, want %q", s, got, want)
		}
	}
}

func TestThemeIsKeptWithoutScripts(t *testing.T) {
	r := httptest.NewRequest("POST", "/theme", strings.NewReader(url.Values{"theme": {"dark"}, "back": {"/plans"}}.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	Theme(w, r)
	if w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/plans" || !strings.HasPrefix(w.Header().Get("Set-Cookie"), "theme=dark;") {
		t.Fatalf("got %d %v", w.Code, w.Header())
	}
	r = httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Cookie", "theme=><script>")
	if got := themeOf(r); got != "" {
		t.Errorf("theme of a strange cookie = %q, want none", got)
	}
}

package metrics_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"iwas/internal/metrics"
	"iwas/internal/metrics/metricstest"
)

func TestWhatIsToldCanBeRead(t *testing.T) {
	var h metrics.Histogram
	h.Observe(2 * time.Millisecond)
	h.Observe(20 * time.Millisecond)
	h.Observe(2 * time.Minute)
	srv := httptest.NewServer(metrics.New("iwas_agent", func(w metrics.Writer) {
		w.Counter("iwas_agent_things_total", "Things.", 3, "kind", `a"b`)
		w.Counter("iwas_agent_things_total", "Things.", 4, "kind", "c")
		w.Bool("iwas_agent_up", "Up.", true)
		w.Time("iwas_agent_never_timestamp_seconds", "Never.", time.Time{})
		w.Time("iwas_agent_once_timestamp_seconds", "Once.", time.Unix(1, 5e8))
		w.Histogram("iwas_agent_took_seconds", "Took.", &h, "kind", "x")
	}))
	defer srv.Close()
	got := metricstest.Get(t, srv.URL)
	for name, want := range map[string]float64{
		`iwas_agent_things_total{kind="a\"b"}`: 3, `iwas_agent_things_total{kind="c"}`: 4, "iwas_agent_up": 1, "iwas_agent_once_timestamp_seconds": 1.5,
		`iwas_agent_took_seconds_count{kind="x"}`: 3, `iwas_agent_took_seconds_sum{kind="x"}`: 120.022,
		`iwas_agent_took_seconds_bucket{kind="x",le="0.001"}`: 0, `iwas_agent_took_seconds_bucket{kind="x",le="0.0025"}`: 1, `iwas_agent_took_seconds_bucket{kind="x",le="30"}`: 2,
	} {
		if v, there := got[name]; !there || v != want {
			t.Errorf("%s: got %v (there: %v), want %v", name, v, there, want)
		}
	}
	for _, prefix := range []string{"go_goroutines", "process_open_fds", "iwas_agent_build_info"} {
		if !metricstest.Has(got, prefix) {
			t.Errorf("%s is missing", prefix)
		}
	}
	if metricstest.Has(got, "iwas_agent_never") {
		t.Error("what never happened has a time")
	}
}

func TestWhoMayReadMetrics(t *testing.T) {
	const token = "0123456789abcdef0123"
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	good, short := write("token", token+"\n"), write("short", "abc\n")
	ok := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	for _, test := range []struct {
		name, file, peer, host, auth, via string
		want                              int
	}{
		{"this machine", "", "127.0.0.1:1", "127.0.0.1:8480", "", "", 200},
		{"this machine by name", "", "[::1]:1", "localhost", "", "", 200},
		{"this machine with a token file", good, "127.0.0.1:1", "127.0.0.1:8480", "", "", 200},
		{"a proxy on this machine", "", "127.0.0.1:1", "127.0.0.1:8480", "", "203.0.113.9", 401},
		{"a proxy that says nothing", "", "127.0.0.1:1", "console.example", "", "", 401},
		{"a page that rebinds its name", "", "127.0.0.1:1", "evil.example:8480", "", "", 401},
		{"elsewhere, no token file", "", "192.0.2.1:1", "192.0.2.2", "Bearer " + token, "", 401},
		{"elsewhere, nothing", good, "192.0.2.1:1", "192.0.2.2", "", "", 401},
		{"elsewhere, another", good, "192.0.2.1:1", "192.0.2.2", "Bearer " + token[:19] + "x", "", 401},
		{"elsewhere, a part", good, "192.0.2.1:1", "192.0.2.2", "Bearer " + token[:19], "", 401},
		{"elsewhere, as a password", good, "192.0.2.1:1", "192.0.2.2", "Basic " + token, "", 401},
		{"elsewhere", good, "192.0.2.1:1", "192.0.2.2", "Bearer " + token, "", 200},
		{"elsewhere, through a proxy", good, "127.0.0.1:1", "console.example", "bearer " + token, "203.0.113.9", 200},
		{"a short token", short, "192.0.2.1:1", "192.0.2.2", "Bearer abc", "", 401},
		{"a file that is gone", filepath.Join(dir, "gone"), "192.0.2.1:1", "192.0.2.2", "Bearer ", "", 401},
	} {
		r := httptest.NewRequest("GET", "http://"+test.host+"/metrics", nil)
		r.RemoteAddr = test.peer
		if test.auth != "" {
			r.Header.Set("Authorization", test.auth)
		}
		if test.via != "" {
			r.Header.Set("X-Forwarded-For", test.via)
		}
		w := httptest.NewRecorder()
		metrics.Guard(ok, test.file).ServeHTTP(w, r)
		if w.Code != test.want {
			t.Errorf("%s: got %d, want %d", test.name, w.Code, test.want)
		}
		if body := w.Body.String(); w.Code == 401 && (!strings.HasPrefix(body, "SYS-110: ") || strings.Contains(body, token)) {
			t.Errorf("%s: it says %q", test.name, body)
		}
	}
}

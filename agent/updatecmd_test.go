package main

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"iwas/internal/fault"
)

const packagesList = `Package: iwas-cloud
Version: 9.0.0-1

Package: iwas-agent
Version: 1.2.0-1
Filename: pool/a.deb

Package: iwas-agent
Version: 1.10.0~rc1-1

Package: iwas-agent
Version: 1.9.3+2.gabcdef0-1
`

func TestUpdateCheckAsksTheRepository(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/iwas/dists/stable/main/binary-") || !strings.HasSuffix(r.URL.Path, "/Packages") {
			http.NotFound(w, r)
			return
		}
		fmt.Fprint(w, packagesList)
	}))
	t.Cleanup(srv.Close)
	file := filepath.Join(t.TempDir(), "agent.toml")
	ask := func(repository string) (code int, out, talk string) {
		if err := os.WriteFile(file, fmt.Appendf(nil, "update_url = %q\nstate_dir = %q\n", repository, t.TempDir()), 0o600); err != nil {
			t.Fatal(err)
		}
		var o, e bytes.Buffer
		code = run(t.Context(), []string{"--config", file, "--json", "update", "--check"}, strings.NewReader(""), &o, &e)
		return code, o.String(), e.String()
	}
	if code, out, talk := ask(srv.URL + "/iwas"); code != exitDone || !strings.Contains(out, `"newest": "1.10.0~rc1"`) {
		t.Errorf("got %d, %s %s", code, out, talk)
	}
	if code, _, talk := ask(srv.URL + "/elsewhere"); code != exitFailed || !strings.Contains(talk, "404 Not Found") || !strings.Contains(talk, `"next":"Check the way to the internet`) {
		t.Errorf("another folder: %d, %s", code, talk)
	}
	srv.Close()
	if code, _, talk := ask(srv.URL); code != exitFailed || !strings.Contains(talk, "cannot be asked") || !strings.Contains(talk, "guests are served all the same") {
		t.Errorf("offline: %d, %s", code, talk)
	}
}

func TestUpdateCheckReadsApt(t *testing.T) {
	for policy, want := range map[string]string{
		"iwas-agent:\n  Installed: 1.2.0-1\n  Candidate: 1.3.0-1\n  Version table:\n": "1.3.0",
		"iwas-agent:\n  Installed: (none)\n  Candidate: (none)\n":                     "", "": "",
	} {
		if got := candidate(policy); got != want {
			t.Errorf("got %q, want %q of %q", got, want, policy)
		}
	}
	if _, err := newestOf(t.Context(), "http://127.0.0.1:1"); fault.Code(err) != codeNoAnswer {
		t.Errorf("got %v", err)
	}
}

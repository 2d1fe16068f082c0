package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain is the program itself when a test starts it as a child.
func TestMain(m *testing.M) {
	if os.Getenv("ROUTERSIM_CHILD") != "" {
		main()
	}
	os.Exit(m.Run())
}

func child(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, args...)
	cmd.Env = append(os.Environ(), "ROUTERSIM_CHILD=1")
	return cmd
}

var free = []string{"-api", "127.0.0.1:0", "-coa", "127.0.0.1:0", "-control", "127.0.0.1:0", "-rest", "127.0.0.1:0"}

func TestReadyLineThenStopOnSignal(t *testing.T) {
	for _, sig := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		cmd := child(t, free...)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(out).ReadBytes('\n')
		if err != nil {
			t.Fatalf("%v before it said anything", err)
		}
		var ready map[string]string
		if err := json.Unmarshal(line, &ready); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		for _, door := range []string{"api", "coa"} {
			if _, port, err := net.SplitHostPort(ready[door]); err != nil || port == "0" {
				t.Errorf("%s: got %q, want where it listens", door, ready[door])
			}
		}
		if !strings.HasPrefix(ready["rest"], "https://127.0.0.1:") {
			t.Errorf("rest: got %q", ready["rest"])
		}
		r, err := http.Get(ready["control"] + "/guests")
		if err != nil || r.StatusCode != http.StatusOK {
			t.Fatalf("control: %v %v", r, err)
		}
		r.Body.Close()
		began := time.Now()
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil || time.Since(began) > 3*time.Second {
			t.Errorf("%v: got %v after %v, want exit 0 soon", sig, err, time.Since(began))
		}
	}
}

func TestWhatCannotStartSaysWhy(t *testing.T) {
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	addr := taken.Addr().String()
	for _, tc := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"a taken port", append([]string{"-radius-auth", "127.0.0.1:1"}, append(free, "-api", addr)...), 1, addr},
		{"a flag that is none", []string{"-colour", "red"}, 2, "-colour"},
		{"a word that is no flag", []string{"start"}, 2, `"start"`},
		{"an address that is none", []string{"-radius-auth", "agent:1812"}, 2, "-radius-auth"},
		{"a network that is none", []string{"-pool", "10.20.0.0"}, 2, "-pool"},
		{"a file that is not there", []string{"-password-file", filepath.Join(t.TempDir(), "none")}, 1, "-password-file"},
		{"help", []string{"--help"}, 0, "-radius-secret-file"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cmd := child(t, tc.args...)
			var out bytes.Buffer
			cmd.Stderr = &out
			code := 0
			var failed *exec.ExitError
			if err := cmd.Run(); errors.As(err, &failed) {
				code = failed.ExitCode()
			} else if err != nil {
				t.Fatal(err)
			}
			if code != tc.code || !strings.Contains(out.String(), tc.want) {
				t.Errorf("got exit %d and %q, want exit %d and %q named", code, out.String(), tc.code, tc.want)
			}
		})
	}
}

package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestMain(m *testing.M) {
	flag.Parse()
	if err := os.Chdir("../.."); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// sh runs a program to its end and returns what it said. Nobody answers it.
func sh(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := tried(t, name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}

// tried is sh for what may fail.
func tried(t *testing.T, name string, args ...string) (string, error) {
	t.Helper()
	c := exec.CommandContext(t.Context(), name, args...)
	c.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8")
	out, err := c.CombinedOutput()
	return string(out), err
}

// built runs the build and returns its folder.
func built(t *testing.T, args ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "dist")
	if err := run(t.Context(), append([]string{"-out", dir}, args...)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// only returns the one file of a pattern.
func only(t *testing.T, pattern ...string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(pattern...))
	if err != nil || len(found) != 1 {
		t.Fatalf("%v: got %v, %v", pattern, found, err)
	}
	return found[0]
}

// Two builds of one tree are the same bytes: from another folder, by somebody with
// another umask and another time zone, from files of another age.
func TestTwoBuildsAreTheSameBytes(t *testing.T) {
	stamp := []string{"-version", "v9.8.7-rc1-3-g0123456-dirty", "-date", "1790000000", "-arch", "amd64"}
	first := built(t, stamp...)
	copied := filepath.Join(t.TempDir(), "elsewhere", "tree")
	sh(t, "sh", "-c", `umask 077 && mkdir -p "$0" && git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t "$0" && find "$0" -exec touch -d 2001-01-01 {} +`, copied)
	second := filepath.Join(t.TempDir(), "dist")
	c := exec.CommandContext(t.Context(), "sh", append([]string{"-c", `umask 077 && exec go run ./packaging/package "$@"`, "sh", "-out", second}, stamp...)...)
	c.Dir, c.Env = copied, append(os.Environ(), "TZ=Pacific/Kiritimati", "LC_ALL=C")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	a, err := os.ReadFile(filepath.Join(first, "SHA256SUMS"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(second, "SHA256SUMS"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a, b) {
		t.Errorf("the first build:\n%sthe second:\n%s", a, b)
	}
	for _, want := range []string{"  iwas-agent_9.8.7~rc1+3.g0123456.dirty-1_amd64.deb\n", "  iwas-cloud-9.8.7~rc1+3.g0123456.dirty-1.x86_64.rpm\n", "_linux_amd64.tar.gz\n", "_windows_amd64.zip\n",
		"  iwas-agent_9.8.7~rc1+3.g0123456.dirty.cdx.json\n", "  apt/dists/stable/main/binary-amd64/Packages.gz\n"} {
		if !strings.Contains(string(a), want) {
			t.Errorf("%q is not among the sums:\n%s", want, a)
		}
	}
	sums := exec.CommandContext(t.Context(), "sha256sum", "--check", "--quiet", "SHA256SUMS")
	sums.Dir = second
	if out, err := sums.CombinedOutput(); err != nil {
		t.Errorf("sha256sum: %v\n%s", err, out)
	}
	inside(t, first)
	lint(t, first)
}

// inside looks into what was built.
func inside(t *testing.T, dist string) {
	rpm := sh(t, "rpm", "-qp", "--qf", "[%{FILEMODES:perms} %{FILENAMES}\n]%{PREIN}\n%{POSTIN}\n%{REQUIRES}", only(t, dist, "iwas-agent-*.rpm"))
	for _, want := range []string{"-rwxr-xr-x /usr/bin/iwas-agent\n", "-rw-r--r-- /usr/lib/systemd/system/iwas-agent.service\n", "/usr/share/zsh/site-functions/_iwas-agent\n",
		"-rw-r--r-- /usr/share/man/man8/iwas-agent-enroll.8.gz\n", "/usr/lib/iwas-agent/previous", "systemctl preset iwas-agent.service"} {
		if !strings.Contains(rpm, want) {
			t.Errorf("the rpm lacks %q", want)
		}
	}
	zip := sh(t, "unzip", "-l", only(t, dist, "*_windows_amd64.zip"))
	if !strings.Contains(zip, "/iwas-agent.exe\n") || !strings.Contains(zip, "/README.md\n") || strings.Contains(zip, ".service") {
		t.Errorf("the zip holds\n%s", zip)
	}
	bill, err := os.ReadFile(only(t, dist, "iwas-agent_*.cdx.json"))
	if err != nil || !bytes.Contains(bill, []byte(`"pkg:golang/modernc.org/sqlite@v`)) || !bytes.Contains(bill, []byte(`"pkg:golang/std@1.`)) {
		t.Errorf("the list of parts lacks the database or Go: %v\n%s", err, bill)
	}
	deb := only(t, dist, "iwas-agent_*.deb")
	packed, err := os.Stat(deb)
	if err != nil {
		t.Fatal(err)
	}
	program, err := exec.CommandContext(t.Context(), "sh", "-c", `dpkg-deb --fsys-tarfile "$0" | tar -xO ./usr/bin/iwas-agent | wc -c`, deb).Output()
	if err != nil {
		t.Fatal(err)
	}
	var bytesOf int64
	if _, err := fmt.Sscan(string(program), &bytesOf); err != nil {
		t.Fatal(err)
	}
	t.Logf("iwas-agent %.1f MB (25), its deb %.1f MB (10)", float64(bytesOf)/1e6, float64(packed.Size())/1e6)
	if bytesOf > 25e6 || packed.Size() > 10e6 {
		t.Error("too large for a cafe's line")
	}
}

// lint asks Debian's own critic.
func lint(t *testing.T, dist string) {
	debs, err := filepath.Glob(filepath.Join(dist, "*.deb"))
	if err != nil || len(debs) != 2 {
		t.Fatal(debs, err)
	}
	if out, err := tried(t, "lintian", append([]string{"--allow-root", "--fail-on", "error,warning", "--display-info"}, debs...)...); err != nil {
		t.Errorf("lintian: %v\n%s", err, out)
	}
}

func TestWhatIsNoVersionIsNotBuilt(t *testing.T) {
	for want, args := range map[string][]string{
		`"dev" is no version`:         {"-version", "dev"},
		`there is no processor "z80"`: {"-arch", "z80"},
		`there is no program "emacs"`: {"-program", "emacs"},
	} {
		if err := run(t.Context(), append([]string{"-out", t.TempDir()}, args...)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: got %v", args, err)
		}
	}
}

package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// scratch is the folder of what several tests use.
var scratch string

func TestMain(m *testing.M) {
	flag.Parse()
	err := os.Chdir("../..")
	if err == nil {
		scratch, err = os.MkdirTemp("", "packages-")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(scratch)
	os.Exit(code)
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

// took prints how long a part of the tests was: all of them have minutes only.
func took(what string, began time.Time) {
	fmt.Printf("    %s: %.0f s\n", what, time.Since(began).Seconds())
}

// Versions of the packages: what a cafe has, and what it upgrades to.
const (
	versionOlder = "v0.9.0"
	versionNewer = "v9.8.7-rc1-3-g0123456-dirty"
)

// olderBuild is this tree as it is, for a cafe that has it installed.
var olderBuild = sync.OnceValues(func() (string, error) {
	defer took("build of the older package", time.Now())
	dir := filepath.Join(scratch, "older")
	return dir, run(context.Background(), []string{"-out", dir, "-version", versionOlder, "-date", "1790000000", "-arch", "amd64", "-windows=false", "-program", "iwas-agent", "-format", "deb"})
})

// nextTree is a copy of this tree in another folder, of files with another age and other rights,
// which is one step of the database ahead: the version after this one.
func nextTree(to string) error {
	steps, err := filepath.Glob("agent/store/migrations/*.sql")
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(strings.TrimSuffix(filepath.Base(steps[len(steps)-1]), ".sql"))
	if err != nil {
		return err
	}
	if err := plainly("sh", "-c", `umask 077 && mkdir -p "$0" && git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t "$0" && find "$0" -exec touch -d 2001-01-01 {} +`, to); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(to, "agent", "store", "migrations", fmt.Sprintf("%04d.sql", n+1)), []byte("CREATE TABLE of_the_next_version (id INTEGER PRIMARY KEY) STRICT;\n"), 0o600)
}

// builtIn builds a tree by its own builder.
func builtIn(tree, out string, env []string, more ...string) error {
	c := exec.Command("sh", append([]string{"-c", `umask 077 && exec go run ./packaging/package "$@"`, "sh", "-out", out, "-version", versionNewer, "-date", "1790000100", "-arch", "amd64"}, more...)...)
	c.Dir, c.Env = tree, append(os.Environ(), env...)
	if said, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, said)
	}
	return nil
}

func plainly(name string, args ...string) error {
	if said, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", name, err, said)
	}
	return nil
}

// newerBuild is the version after this one, both programs, its repository signed.
var newerBuild = sync.OnceValues(func() (string, error) {
	defer took("build of the newer packages", time.Now())
	tree, dir := filepath.Join(scratch, "next"), filepath.Join(scratch, "newer")
	key, err := signingKey()
	if err == nil {
		err = nextTree(tree)
	}
	if err != nil {
		return "", err
	}
	return dir, builtIn(tree, dir, nil, "-key", key)
})

// of is what a build left, or the end of the test.
func of(t *testing.T, build func() (string, error)) string {
	t.Helper()
	dir, err := build()
	if err != nil {
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
// another umask and another time zone, from files of another age. Each Go file of
// the second ends in one more remark, of which no byte may show: so the compiler does
// its work anew, where its cache would answer for it.
func TestTwoBuildsAreTheSameBytes(t *testing.T) {
	t.Parallel()
	first := of(t, newerBuild)
	defer took("second build of the newer packages", time.Now())
	tree, second := filepath.Join(t.TempDir(), "else", "where"), filepath.Join(t.TempDir(), "dist")
	if err := nextTree(tree); err != nil {
		t.Fatal(err)
	}
	sh(t, "sh", "-c", `find "$0" -name '*.go' -exec sh -c 'for f; do echo "// Said once more." >>"$f"; done' sh {} +`, tree)
	if err := builtIn(tree, second, []string{"TZ=Pacific/Kiritimati", "LC_ALL=C", "IWAS_APT_KEY="}); err != nil {
		t.Fatal(err)
	}
	a, b := sums(t, first), sums(t, second)
	if a != b {
		t.Errorf("the first build:\n%sthe second:\n%s", a, b)
	}
	for _, want := range []string{"  iwas-agent_9.8.7~rc1+3.g0123456.dirty-1_amd64.deb\n", "  iwas-cloud-9.8.7~rc1+3.g0123456.dirty-1.x86_64.rpm\n", "_linux_amd64.tar.gz\n", "_windows_amd64.zip\n",
		"  iwas-agent_9.8.7~rc1+3.g0123456.dirty.cdx.json\n", "  apt/dists/stable/main/binary-amd64/Packages.gz\n"} {
		if !strings.Contains(a, want) {
			t.Errorf("%q is not among the sums:\n%s", want, a)
		}
	}
	if hidden := sh(t, "find", second, "-not", "-perm", "-a+r"); hidden != "" { // built by somebody with a strict umask
		t.Errorf("not everybody may read\n%s", hidden)
	}
	check := exec.CommandContext(t.Context(), "sha256sum", "--check", "--quiet", "SHA256SUMS")
	check.Dir = second
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("sha256sum: %v\n%s", err, out)
	}
}

// sums are those of a build, without the signature's.
func sums(t *testing.T, dist string) string {
	t.Helper()
	all, err := os.ReadFile(filepath.Join(dist, "SHA256SUMS"))
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for line := range strings.Lines(string(all)) {
		if name := strings.TrimSpace(line[64:]); name != "apt/dists/stable/InRelease" && name != "apt/dists/stable/Release.gpg" && name != "apt/iwas-archive-keyring.gpg" {
			out.WriteString(line)
		}
	}
	return out.String()
}

// What people get holds what it should, is small enough, and satisfies Debian's critic.
func TestWhatIsInside(t *testing.T) {
	t.Parallel()
	dist := of(t, newerBuild)
	defer took("look inside, lintian", time.Now())
	inside(t, dist)
	lint(t, dist)
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
	for _, name := range []string{"iwas-agent", "iwas-cloud"} {
		sizes(t, name, only(t, dist, name+"_*.deb"))
	}
}

// sizes are bounded for lines and disks of cafes: the program 25 MB, the package 10.
func sizes(t *testing.T, name, deb string) {
	t.Helper()
	packed, err := os.Stat(deb)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "sh", "-c", `dpkg-deb --fsys-tarfile "$0" | tar -xO ./usr/bin/`+name+` | wc -c`, deb).Output()
	if err != nil {
		t.Fatal(err)
	}
	program, err := strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s %.2f MB (25), its deb %.2f MB (10)", name, float64(program)/1e6, float64(packed.Size())/1e6)
	if program > 25e6 || packed.Size() > 10e6 || program < 5e6 {
		t.Errorf("%s: %d bytes, its package %d", name, program, packed.Size())
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
		`there is no format "msi"`:    {"-format", "deb,msi"},
	} {
		if err := run(t.Context(), append([]string{"-out", t.TempDir()}, args...)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: got %v", args, err)
		}
	}
}

// The Makefile's programs and the packaged ones are built alike.
func TestTheMakefileBuildsWhatIsPackaged(t *testing.T) {
	b, err := os.ReadFile("Makefile")
	if err != nil || !bytes.Contains(b, []byte("SMALL := $(foreach p,"+strings.Join(small, " ")+",")) {
		t.Errorf("the Makefile's SMALL is not %q (%v)", small, err)
	}
}

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// machine is a Debian of its own, in a folder.
type machine struct{ root string }

// fresh is a new minimal Debian, as it comes from its mirror.
func fresh(t *testing.T) machine {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("a Debian in a folder is made by root alone: run the tests as root, in a container or a virtual machine")
	}
	uris := sh(t, "sh", "-c", `apt-get indextargets --format '$(REPO_URI) $(CODENAME)'`)
	m := regexp.MustCompile(`(?m)^(\S+) bookworm$`).FindStringSubmatch(uris)
	if m == nil {
		t.Fatalf("this machine's apt knows no bookworm to take a Debian from:\n%s", uris)
	}
	root := filepath.Join(t.TempDir(), "debian")
	sh(t, "debootstrap", "--variant=minbase", "--include=systemd", "bookworm", root, m[1])
	if err := os.WriteFile(filepath.Join(root, "etc", "machine-id"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	return machine{root}
}

// sh runs a program inside, with /proc of its own.
func (m machine) sh(t *testing.T, args ...string) string {
	t.Helper()
	out, err := m.tried(t, args...)
	if err != nil {
		t.Fatalf("inside: %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func (m machine) tried(t *testing.T, args ...string) (string, error) {
	t.Helper()
	return tried(t, "unshare", append([]string{"--mount", "--pid", "--fork", "--kill-child", "--mount-proc=" + m.root + "/proc", "chroot", m.root, "env", "TMPDIR=/tmp", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"}, args...)...)
}

func (m machine) has(path string) bool {
	_, err := os.Lstat(filepath.Join(m.root, path))
	return err == nil
}

// put copies a file into the machine and returns its path there.
func (m machine) put(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	inside := filepath.Join("/srv", filepath.Base(file))
	m.write(t, inside, b, 0o644)
	return inside
}

func (m machine) write(t *testing.T, path string, b []byte, mode os.FileMode) {
	t.Helper()
	if err := write(filepath.Join(m.root, path), b, mode); err != nil {
		t.Fatal(err)
	}
}

// files lists the machine without what apt, dpkg and users leave by design.
func (m machine) files(t *testing.T) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(m.root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(path, m.root)
		for _, kept := range []string{"/var/cache", "/var/log", "/var/lib/apt", "/var/lib/dpkg", "/srv", "/tmp", "/proc", "/repository"} {
			if name == kept && e.IsDir() {
				return fs.SkipDir
			}
		}
		if !strings.HasSuffix(name, "-") { // /etc/passwd- and its like
			all = append(all, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// service is a program that runs inside as its unit says, as far as a machine
// without systemd as its first process can.
type service struct {
	m       machine
	name    string
	process *exec.Cmd
	said    *lines
	heard   chan string // what it told the service manager
	done    chan error
	began   time.Time
}

// start reads the installed unit and runs what it says: the user, no new privileges,
// no capability, a file system that is read only but for its own folders, its own
// /tmp, its umask and limits. The network is its own too, so that the ports of
// the tests of others are no matter. trace is a file for strace, or "".
func (m machine) start(t *testing.T, name, trace string) *service {
	t.Helper()
	u := readUnit(t, filepath.Join(m.root, "usr/lib/systemd/system", name+".service"))
	for key, want := range map[string]string{"Type": "notify", "NoNewPrivileges": "yes", "CapabilityBoundingSet": "", "ProtectSystem": "strict", "PrivateTmp": "yes", "ProtectHome": "yes"} {
		if got := u.one(t, key); got != want {
			t.Fatalf("%s=%s is not what this test applies", key, got)
		}
	}
	manager, err := os.MkdirTemp("", "n") // short: a socket's name has 107 octets at most
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(manager) })
	door, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(manager, "s"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Chmod(manager, 0o755), os.Chmod(filepath.Join(manager, "s"), 0o666)); err != nil {
		t.Fatal(err)
	}
	script := `set -e
ip link set lo up
mount --bind "$ROOT" "$ROOT"
for d in /var/lib/$STATE /run/$RUN; do mkdir -p "$ROOT$d"; chown "$OWNER" "$ROOT$d"; mount --bind "$ROOT$d" "$ROOT$d"; done
chmod ` + u.one(t, "StateDirectoryMode") + ` "$ROOT/var/lib/$STATE"
mkdir -p "$ROOT/run/manager"
mount --bind "$MANAGER" "$ROOT/run/manager"
mount -o remount,ro,bind "$ROOT"
mount -t tmpfs tmpfs "$ROOT/tmp"
mount -t tmpfs -o mode=0000 tmpfs "$ROOT/home"
mount -t tmpfs -o mode=0000 tmpfs "$ROOT/root"
mount -t proc -o hidepid=invisible proc "$ROOT/proc"
umask ` + u.one(t, "UMask") + `
ulimit -n ` + u.one(t, "LimitNOFILE") + ` || true # a container may forbid to raise it
exec chroot "$ROOT" setpriv --reuid ` + u.one(t, "User") + ` --regid ` + u.one(t, "Group") + ` --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all ` + u.one(t, "ExecStart")
	owner := strings.TrimSpace(m.sh(t, "sh", "-c", "echo $(id -u "+u.one(t, "User")+"):$(id -g "+u.one(t, "User")+")"))
	args := []string{"--mount", "--net", "--ipc", "--propagation", "private", "sh", "-c", script}
	s := &service{m: m, name: name, said: &lines{}, heard: make(chan string, 1000), done: make(chan error, 1)}
	s.process = exec.Command("unshare", args...)
	if trace != "" {
		s.process = exec.Command("strace", append([]string{"-f", "-qq", "-s", "0", "-o", trace, "unshare"}, args...)...)
	}
	s.process.Env = []string{"PATH=" + os.Getenv("PATH"), "ROOT=" + m.root, "OWNER=" + owner, "STATE=" + u.one(t, "StateDirectory"), "RUN=" + u.one(t, "RuntimeDirectory"),
		"MANAGER=" + manager, "NOTIFY_SOCKET=/run/manager/s", "WATCHDOG_USEC=3000000", "JOURNAL_STREAM=1:1"}
	s.process.Stdout, s.process.Stderr = s.said, s.said
	s.process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	go s.listen(door)
	s.began = time.Now()
	if err := s.process.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { s.done <- s.process.Wait() }()
	t.Cleanup(func() {
		_ = syscall.Kill(-s.process.Process.Pid, syscall.SIGKILL) // gone as a rule
		door.Close()
	})
	return s
}

// lines keeps what a program says, from several goroutines.
type lines struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (s *service) listen(door *net.UnixConn) {
	b := make([]byte, 4096)
	for {
		n, err := door.Read(b)
		if err != nil {
			return
		}
		select {
		case s.heard <- string(b[:n]):
		default: // more than anybody waits for
		}
	}
}

const patience = 2 * time.Minute // of a machine that does much else

// until waits for something, and ends the test with what the program said if it
// does not come.
func (s *service) until(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !is() {
		select {
		case err := <-s.done:
			t.Fatalf("%s ended before %s: %v\n%s", s.name, what, err, s.said)
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %s did not come\n%s", s.name, what, s.said)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// hears waits for a line to the service manager.
func (s *service) hears(t *testing.T, want string) {
	t.Helper()
	s.until(t, want, func() bool {
		select {
		case line := <-s.heard:
			return strings.Contains(line, want)
		default:
			return false
		}
	})
}

// inNet runs a program of this machine in the service's network, once it has one.
func (s *service) inNet(t *testing.T, args ...string) (string, error) {
	t.Helper()
	pid, err := s.pid(t)
	if err != nil {
		return "", err
	}
	return tried(t, "nsenter", append([]string{"--net=/proc/" + strconv.Itoa(pid) + "/ns/net"}, args...)...)
}

// pid is the program's process: whoever was started became it, but for strace,
// whose child it is.
func (s *service) pid(t *testing.T) (int, error) {
	t.Helper()
	pid := s.process.Process.Pid
	if filepath.Base(s.process.Path) != "strace" {
		return pid, nil
	}
	out, err := tried(t, "pgrep", "-P", strconv.Itoa(pid))
	if err != nil {
		return 0, err // not begun yet
	}
	return strconv.Atoi(strings.TrimSpace(out))
}

// stop asks the program to end, as systemd does.
func (s *service) stop(t *testing.T) {
	t.Helper()
	pid, err := s.pid(t)
	if err == nil {
		err = syscall.Kill(pid, syscall.SIGTERM)
	}
	if err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-s.done:
		if err != nil {
			t.Errorf("%s: it was asked to stop, and said %v\n%s", s.name, err, s.said)
		}
	case <-time.After(patience):
		t.Fatalf("%s does not stop\n%s", s.name, s.said)
	}
	for {
		select {
		case line := <-s.heard:
			if line == "STOPPING=1" {
				return
			}
		case <-time.After(patience):
			t.Fatalf("%s did not say that it stops", s.name)
		}
	}
}

// logIn waits until a guest may in, by RADIUS.
func (s *service) logIn(t *testing.T, secret string) {
	t.Helper()
	request := filepath.Join(t.TempDir(), "request")
	if err := os.WriteFile(request, []byte("User-Name=u0000007,User-Password=p0000007,NAS-IP-Address=127.0.0.1,Calling-Station-Id=02-00-00-00-00-07,Message-Authenticator=0x00\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out string
	s.until(t, "an Access-Accept", func() bool {
		out, _ = s.inNet(t, "radclient", "-r", "1", "-t", "0.2", "-f", request, "127.0.0.1:1812", "auth", secret) // asked again
		return strings.Contains(out, "Received Access-Accept")
	})
}

// The life of a package on a Debian of its own: installed, configured, upgraded over the
// admin's settings, refused a newer database, removed, purged.
func TestThePackagesLive(t *testing.T) {
	m := fresh(t)
	before := m.files(t)
	const older, newer = "v0.9.0", "v0.9.1-2-g0123456"
	first := built(t, "-version", older, "-date", "1790000000", "-arch", "amd64", "-windows=false", "-program", "iwas-agent")
	key := signingKey(t)
	second := built(t, "-version", newer, "-date", "1790000100", "-arch", "amd64", "-windows=false", "-key", key)

	// First installation: nobody there to answer, and no network.
	began := time.Now()
	said := m.sh(t, "apt-get", "install", "-y", "--no-install-recommends", m.put(t, only(t, first, "iwas-agent_*.deb")))
	if !strings.Contains(said, "sudo iwas-agent enroll --cloud") || !strings.Contains(said, "sudo iwas-agent router script") {
		t.Errorf("what comes next is not said:\n%s", said)
	}
	s := m.start(t, "iwas-agent", "")
	s.hears(t, "READY=1\nSTATUS=Answering RADIUS.")
	s.healthy(t, "http://127.0.0.1:8480/healthz")
	t.Logf("from apt install to healthy: %v (10 s)", time.Since(began).Round(10*time.Millisecond))
	s.hears(t, "WATCHDOG=1")
	s.stop(t)

	m.configure(t)
	m.callsAreAllowed(t)
	s = m.start(t, "iwas-agent", "")
	s.hears(t, "READY=1")
	s.logIn(t, "package-secret")
	t.Logf("from the service's start to an Access-Accept, sandbox and radclient included, with 10,000 accounts: %v (300 ms)", time.Since(s.began).Round(time.Millisecond))
	s.stop(t)

	// An upgrade from the repository, signed, over settings an admin edited.
	sh(t, "cp", "-r", filepath.Join(second, "apt"), filepath.Join(m.root, "repository"))
	m.write(t, "/etc/apt/sources.list.d/iwas.sources", []byte("Types: deb\nURIs: file:/repository\nSuites: stable\nComponents: main\nSigned-By: /repository/iwas-archive-keyring.gpg\n"), 0o644)
	m.sh(t, "apt-get", "update", "-o", "Dir::Etc::sourcelist=/dev/null", "-o", "Acquire::AllowInsecureRepositories=false")
	said = m.sh(t, "apt-get", "upgrade", "-y")
	if got := m.sh(t, "iwas-agent", "version"); !strings.Contains(got, newer) || strings.Contains(said, "sudo iwas-agent enroll") {
		t.Errorf("after the upgrade it is %s\n%s", got, said)
	}
	if got := m.sh(t, "/usr/lib/iwas-agent/previous/iwas-agent", "version"); !strings.Contains(got, older+" ") {
		t.Errorf("the program from before is not kept: %s", got)
	}
	if b, err := os.ReadFile(filepath.Join(m.root, "etc/iwas-agent/agent.toml")); err != nil || !bytes.Contains(b, []byte("# edited by an admin")) {
		t.Errorf("the settings are not the admin's any more: %s, %v", b, err)
	}
	s = m.start(t, "iwas-agent", "")
	s.logIn(t, "package-secret")
	s.stop(t)

	m.newerDatabase(t)
	m.cloud(t)
	m.leave(t, before)
}

// healthy waits for a page to answer "ok".
func (s *service) healthy(t *testing.T, url string) {
	t.Helper()
	s.until(t, url, func() bool {
		out, err := s.inNet(t, "curl", "-sS", "--max-time", "5", url)
		return err == nil && strings.HasPrefix(out, "ok")
	})
}

// configure is what an admin does: settings, secrets, ten thousand accounts, all as root.
func (m machine) configure(t *testing.T) {
	t.Helper()
	m.write(t, "/etc/iwas-agent/agent.toml", []byte("version = 1 # edited by an admin\n[[nas]]\nid = \"counter\"\naddress = \"127.0.0.1\"\nsecret_file = \"/var/lib/iwas-agent/secrets/radius\"\n"), 0o600)
	m.write(t, "/var/lib/iwas-agent/secrets/radius", []byte("package-secret\n"), 0o600)
	fill := filepath.Join(t.TempDir(), "fill")
	sh(t, "env", "CGO_ENABLED=0", "go", "build", "-trimpath", "-buildvcs=false", "-o", fill, "./agent/store/fill")
	sh(t, fill, "accounts", filepath.Join(m.root, "var/lib/iwas-agent"), "10000")
	// A command of root's hands over what root wrote.
	if out := m.sh(t, "iwas-agent", "config", "validate"); !strings.Contains(out, "is fine") {
		t.Error(out)
	}
	owners := m.sh(t, "stat", "-c", "%U:%G %a %n", "/etc/iwas-agent/agent.toml", "/var/lib/iwas-agent/iwas.db", "/var/lib/iwas-agent/secrets/radius")
	if want := "root:iwas-agent 640 /etc/iwas-agent/agent.toml\niwas-agent:iwas-agent 600 /var/lib/iwas-agent/iwas.db\niwas-agent:iwas-agent 600 /var/lib/iwas-agent/secrets/radius\n"; owners != want {
		t.Errorf("got\n%swant\n%s", owners, want)
	}
}

// callsAreAllowed runs the service under strace: no call that the unit refuses, no
// memory that is both written and run (MemoryDenyWriteExecute).
func (m machine) callsAreAllowed(t *testing.T) {
	t.Helper()
	trace := filepath.Join(t.TempDir(), "trace")
	s := m.start(t, "iwas-agent", trace)
	s.logIn(t, "package-secret")
	s.stop(t)
	u := readUnit(t, filepath.Join(m.root, "usr/lib/systemd/system/iwas-agent.service"))
	allowed := u.calls(t)
	used, both := usedCalls(t, trace)
	for _, name := range sorted(used) {
		if !allowed[name] && refused[name] == "" {
			t.Errorf("the unit refuses %s, which the program uses", name)
		}
	}
	for _, name := range []string{"adjtimex", "clock_adjtime"} { // agent/date_linux.go, where a grant ends by its date
		if !allowed[name] {
			t.Errorf("the unit refuses %s: every date would be in doubt", name)
		}
	}
	if len(used) < 20 || !used["recvmsg"] && !used["recvmmsg"] {
		t.Errorf("the trace is not the service's: %v", sorted(used))
	}
	if len(both) > 0 {
		t.Errorf("memory that is written and run:\n%s", strings.Join(both, ""))
	}
}

// newerDatabase is what a downgrade finds: it says so in words and serves its page.
func (m machine) newerDatabase(t *testing.T) {
	t.Helper()
	db := filepath.Join(m.root, "var/lib/iwas-agent/iwas.db")
	schema := strings.TrimSpace(sh(t, "sqlite3", db, "PRAGMA user_version"))
	sh(t, "sqlite3", db, "PRAGMA user_version=9999")
	sh(t, "chown", "--reference="+db, db)
	s := m.start(t, "iwas-agent", "")
	s.hears(t, "The database will not open; nobody can log in.")
	s.healthy(t, "http://127.0.0.1:8480/healthz")
	if out, _ := s.inNet(t, "curl", "-sS", "http://127.0.0.1:8480/status.json"); !strings.Contains(out, "schema 9999") || !strings.Contains(out, "install the newer program again") {
		t.Errorf("the page does not say why:\n%s", out)
	}
	s.stop(t)
	sh(t, "sqlite3", db, "PRAGMA user_version="+schema)
}

// cloud is iwas-cloud's installation, first run and purge.
func (m machine) cloud(t *testing.T) {
	t.Helper()
	if said := m.sh(t, "apt-get", "install", "-y", "--no-install-recommends", "iwas-cloud"); !strings.Contains(said, "sudo iwas-cloud owner add") {
		t.Errorf("what comes next is not said:\n%s", said)
	}
	m.write(t, "/srv/password", []byte("a long password\n"), 0o600)
	m.sh(t, "iwas-cloud", "owner", "add", "--organization", "Cafe", "--email", "owner@cafe.example", "--password-file", "/srv/password")
	s := m.start(t, "iwas-cloud", "")
	s.hears(t, "READY=1\nSTATUS=Console at http://127.0.0.1:8080.")
	s.healthy(t, "http://127.0.0.1:8080/healthz")
	s.hears(t, "WATCHDOG=1")
	s.stop(t)
	m.sh(t, "apt-get", "purge", "-y", "iwas-cloud")
}

// leave removes and purges the agent and looks for what stays.
func (m machine) leave(t *testing.T, before []string) {
	t.Helper()
	m.sh(t, "apt-get", "remove", "-y", "iwas-agent")
	for path, want := range map[string]bool{"/var/lib/iwas-agent/iwas.db": true, "/etc/iwas-agent/agent.toml": true, "/usr/bin/iwas-agent": false, "/usr/lib/iwas-agent": false} {
		if m.has(path) != want {
			t.Errorf("after removing, %s is there: %v", path, !want)
		}
	}
	m.sh(t, "apt-get", "purge", "-y", "iwas-agent")
	known := map[string]bool{"/etc/apt/sources.list.d/iwas.sources": true, "/run/manager": true, "/run/iwas-agent": true, "/run/iwas-cloud": true, // of this test
		"/etc/.pwd.lock": true, "/run/systemd": true} // of systemd-sysusers and deb-systemd-helper
	for _, path := range before {
		known[path] = true
	}
	for _, path := range m.files(t) {
		if !known[path] {
			t.Errorf("left behind: %s", path)
		}
	}
	if out := m.sh(t, "id", "iwas-agent"); !strings.Contains(out, "iwas-agent") {
		t.Error("the user's number is free for somebody else")
	}
}

// signingKey makes a key for the repository.
func signingKey(t *testing.T) string {
	t.Helper()
	home, err := os.MkdirTemp("", "g") // short: gpg-agent's socket is below it
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("GNUPGHOME", home)
	t.Cleanup(func() {
		_ = exec.Command("gpgconf", "--homedir", home, "--kill", "all").Run()
		os.RemoveAll(home)
	})
	sh(t, "gpg", "--batch", "--quiet", "--passphrase", "", "--quick-gen-key", "test of packages <nobody@iwas.example>", "ed25519", "sign")
	key := filepath.Join(t.TempDir(), "key.asc")
	sh(t, "gpg", "--batch", "--quiet", "--armor", "--output", key, "--export-secret-keys")
	return key
}

// The units satisfy systemd itself, and its opinion of their security.
func TestTheUnitsAreSound(t *testing.T) {
	for _, name := range []string{"iwas-agent", "iwas-cloud"} {
		file := filepath.Join("configs", "systemd", name+".service")
		if out, err := tried(t, "systemd-analyze", "security", "--no-pager", "--offline=true", "--threshold=15", file); err != nil {
			t.Errorf("exposed by more than 1.5: %v\n%s", err, out)
		}
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		placed := filepath.Join(t.TempDir(), name+".service") // where its program is on this machine
		if err := os.WriteFile(placed, bytes.ReplaceAll(b, []byte("/usr/bin/"+name), []byte("/bin/true")), 0o644); err != nil {
			t.Fatal(err)
		}
		out, err := tried(t, "systemd-analyze", "verify", "--man=no", placed)
		if err != nil || strings.Contains(out, name) {
			t.Errorf("verify: %v\n%s", err, out)
		}
	}
}

// What is built for other processors starts there, as far as an emulator is one.
func TestOtherProcessors(t *testing.T) {
	dist := built(t, "-version", "v0.9.0", "-date", "1790000000", "-arch", "arm64,armv7", "-windows=false", "-program", "iwas-agent")
	for arch, emulator := range map[string]string{"arm64": "qemu-aarch64-static", "armv7": "qemu-arm-static"} {
		dir := t.TempDir()
		sh(t, "tar", "-xzf", only(t, dist, "*_linux_"+arch+".tar.gz"), "--strip-components=1", "-C", dir)
		if out := sh(t, emulator, filepath.Join(dir, "iwas-agent"), "version"); !strings.Contains(out, "v0.9.0 (go1.") || !strings.Contains(out, "linux/arm") {
			t.Errorf("%s: %s", arch, out)
		}
		deb := only(t, dist, "*_"+systems["deb"][arch]+".deb")
		if got := strings.TrimSpace(sh(t, "dpkg-deb", "--field", deb, "Architecture")); got != systems["deb"][arch] {
			t.Errorf("%s is for %s", deb, got)
		}
		state := filepath.Join(t.TempDir(), "state")
		config := filepath.Join(dir, "agent.toml")
		if err := os.WriteFile(config, []byte(fmt.Sprintf("version = 1\nstate_dir = %q\n", state)), 0o600); err != nil {
			t.Fatal(err)
		}
		s := &service{name: "iwas-agent on " + arch, said: &lines{}, done: make(chan error, 1)}
		s.process = exec.Command("unshare", "--net", "sh", "-c", `ip link set lo up && exec "$0" "$@"`, emulator, filepath.Join(dir, "iwas-agent"), "--config", config, "run")
		s.process.Stdout, s.process.Stderr = s.said, s.said
		if err := s.process.Start(); err != nil {
			t.Fatal(err)
		}
		go func() { s.done <- s.process.Wait() }()
		t.Cleanup(func() { _ = s.process.Process.Kill() }) // gone as a rule
		s.healthy(t, "http://127.0.0.1:8480/healthz")
		if err := s.process.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if err := <-s.done; err != nil {
			t.Errorf("%s: %v\n%s", arch, err, s.said)
		}
	}
}

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// machine is a Debian of its own, in a folder, with a network of its own.
type machine struct {
	root   string
	holder int // process that holds the network
}

// debian is a new minimal Debian, as it comes from its mirror: made once, copied
// for each machine. mmdebstrap makes the same one as debootstrap, in a third of the time.
var debian = sync.OnceValues(func() (string, error) {
	defer took("a fresh Debian", time.Now())
	if os.Geteuid() != 0 {
		return "", errors.New("a Debian in a folder is made by root alone: run the tests as root, in a container or a virtual machine")
	}
	uris, err := exec.Command("apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME)").Output()
	if err != nil {
		return "", err
	}
	m := regexp.MustCompile(`(?m)^(\S+) bookworm$`).FindSubmatch(uris)
	if m == nil {
		return "", fmt.Errorf("this machine's apt knows no bookworm to take a Debian from:\n%s", uris)
	}
	root := filepath.Join(scratch, "debian")
	return root, plainly("mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", "--include=systemd", "--dpkgopt=force-unsafe-io", "bookworm", root, string(m[1]))
})

// fresh is a machine of this test alone.
func fresh(t *testing.T) machine {
	t.Helper()
	made := of(t, debian)
	m := machine{root: filepath.Join(t.TempDir(), "debian")}
	sh(t, "cp", "-a", "--reflink=auto", made, m.root)
	m.write(t, "/etc/machine-id", nil, 0o644)
	m.holder = network(t)
	return m
}

// network makes a network with nothing but its loopback, and returns the process that
// holds it until the test ends.
func network(t *testing.T) int {
	t.Helper()
	c := exec.Command("unshare", "--net", "sh", "-c", "ip link set lo up && echo up && exec sleep infinity")
	said, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill() // gone if it could not begin
		_ = c.Wait()
	})
	line := make([]byte, 3)
	if _, err := io.ReadFull(said, line); err != nil {
		t.Fatalf("no network of its own: %v", err)
	}
	return c.Process.Pid
}

func within(holder int) []string { return []string{"--net=/proc/" + strconv.Itoa(holder) + "/ns/net"} }

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
	return tried(t, "nsenter", m.inside(args...)...)
}

// inside is how nsenter runs a program in the machine.
func (m machine) inside(args ...string) []string {
	return slices.Concat(within(m.holder), []string{"unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc=" + m.root + "/proc", "chroot", m.root,
		"env", "TMPDIR=/tmp", "PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"}, args)
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
	args := append(within(m.holder), "unshare", "--mount", "--ipc", "--propagation", "private", "sh", "-c", script)
	s := &service{m: m, name: name, said: &lines{}, heard: make(chan string, 1000), done: make(chan error, 1)}
	s.process = exec.Command("nsenter", args...)
	if trace != "" {
		s.process = exec.Command("strace", append([]string{"-f", "-qq", "-s", "0", "-o", trace, "nsenter"}, args...)...)
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

// inNet runs a program of this machine in the service's network.
func (s *service) inNet(t *testing.T, args ...string) (string, error) {
	t.Helper()
	return tried(t, "nsenter", append(within(s.m.holder), args...)...)
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
// admin's settings and data to a version with another database, downgraded and refused,
// upgraded again, rolled back, removed, purged.
func TestThePackagesLive(t *testing.T) {
	t.Parallel()
	m := fresh(t)
	older, newer := of(t, olderBuild), of(t, newerBuild)
	defer took("a package's life", time.Now())
	before := m.files(t)
	oldDeb := m.put(t, only(t, older, "iwas-agent_*.deb"))

	// First installation: nobody there to answer, and no network.
	began := time.Now()
	said := m.sh(t, "apt-get", "install", "-y", "--no-install-recommends", oldDeb)
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
	schema := m.schema(t)

	// An upgrade from the repository, signed, over settings an admin edited.
	sh(t, "cp", "-r", filepath.Join(newer, "apt"), filepath.Join(m.root, "repository"))
	m.write(t, "/etc/apt/sources.list.d/iwas.sources", []byte("Types: deb\nURIs: file:/repository\nSuites: stable\nComponents: main\nSigned-By: /repository/iwas-archive-keyring.gpg\n"), 0o644)
	m.sh(t, "apt-get", "update", "-o", "Dir::Etc::sourcelist=/dev/null", "-o", "Acquire::AllowInsecureRepositories=false")
	if out := m.sh(t, "iwas-agent", "update", "--check"); !strings.Contains(out, "is newer than this one") {
		t.Errorf("the repository has a newer version:\n%s", out)
	}
	m.upgrade(t, schema)
	if got := m.sh(t, "/usr/lib/iwas-agent/previous/iwas-agent", "version"); !strings.Contains(got, versionOlder+" ") {
		t.Errorf("the program from before is not kept: %s", got)
	}
	if b, err := os.ReadFile(filepath.Join(m.root, "etc/iwas-agent/agent.toml")); err != nil || !bytes.Contains(b, []byte("# edited by an admin")) {
		t.Errorf("the settings are not the admin's any more: %s, %v", b, err)
	}
	m.downgraded(t, oldDeb, schema)
	m.upgrade(t, schema)
	m.rolledBack(t, schema)
	m.cloud(t)
	m.leave(t, before)
}

// upgrade is apt's, with nobody there, and the first start after it: the database is brought
// to its next step, and kept as it was before.
func (m machine) upgrade(t *testing.T, schema int) {
	t.Helper()
	said := m.sh(t, "apt-get", "upgrade", "-y")
	if got := m.sh(t, "iwas-agent", "version"); !strings.Contains(got, versionNewer) || strings.Contains(said, "sudo iwas-agent enroll") {
		t.Errorf("after the upgrade it is %s\n%s", got, said)
	}
	s := m.start(t, "iwas-agent", "")
	s.logIn(t, "package-secret")
	s.stop(t)
	m.whole(t, schema+1)
	if !m.has(fmt.Sprintf("/var/lib/iwas-agent/iwas.db.schema-%04d", schema)) {
		t.Error("the database from before the upgrade is not kept")
	}
}

const database = "var/lib/iwas-agent/iwas.db"

// asked asks the database while nobody has it open; what sqlite3 makes beside it is the
// service's again.
func (m machine) asked(t *testing.T, sql string) string {
	t.Helper()
	db := filepath.Join(m.root, database)
	out := strings.TrimSpace(sh(t, "sqlite3", "-readonly", db, sql))
	sh(t, "find", filepath.Dir(db), "-name", "iwas.db-*", "-exec", "chown", "--reference="+db, "{}", "+")
	return out
}

func (m machine) schema(t *testing.T) int {
	t.Helper()
	n, err := strconv.Atoi(m.asked(t, "PRAGMA user_version"))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// whole looks whether everything is there: every account, and the guest who logged in.
func (m machine) whole(t *testing.T, schema int) {
	t.Helper()
	if got, want := m.asked(t, "PRAGMA user_version; PRAGMA integrity_check; SELECT COUNT(*) FROM account"), fmt.Sprintf("%d\nok\n10000", schema); got != want {
		t.Errorf("the database is %q, want %q", got, want)
	}
}

// downgraded installs the older package over the newer database: it says so in words, serves its
// page, and touches nothing.
func (m machine) downgraded(t *testing.T, oldDeb string, schema int) {
	t.Helper()
	m.sh(t, "apt-get", "install", "-y", "--no-install-recommends", "--allow-downgrades", oldDeb)
	if got := m.sh(t, "iwas-agent", "version"); !strings.Contains(got, versionOlder) {
		t.Fatalf("after the downgrade it is %s", got)
	}
	s := m.start(t, "iwas-agent", "")
	s.hears(t, "The database will not open; nobody can log in.")
	s.healthy(t, "http://127.0.0.1:8480/healthz")
	if out, _ := s.inNet(t, "curl", "-sS", "http://127.0.0.1:8480/status.json"); !strings.Contains(out, fmt.Sprintf("schema %d, this program knows schemas to %d", schema+1, schema)) || !strings.Contains(out, "install the newer program again") {
		t.Errorf("the page does not say why:\n%s", out)
	}
	s.stop(t)
	m.whole(t, schema+1)
}

// rolledBack goes back to the program and the database of before the upgrade, by
// what the README says. This box has no cloud, so it asks for a person's word first.
func (m machine) rolledBack(t *testing.T, schema int) {
	t.Helper()
	s := m.start(t, "iwas-agent", "")
	s.hears(t, "READY=1")
	if out, err := m.tried(t, "iwas-agent", "rollback"); err == nil || !strings.Contains(out, "accept the loss: iwas-agent rollback --lose-unsent") {
		t.Errorf("rollback loses what happened since the upgrade without a word: %v\n%s", err, out)
	}
	m.systemctl(t)
	out := m.managed(t, map[string]**service{"iwas-agent": &s}, "iwas-agent", "rollback", "--lose-unsent")
	if !strings.Contains(out, "iwas-agent is "+versionOlder+" again, and runs.") || !strings.Contains(out, "The database from before the upgrade is back") {
		t.Errorf("rollback says\n%s", out)
	}
	s.logIn(t, "package-secret")
	s.stop(t)
	m.whole(t, schema)
	if got := m.sh(t, "iwas-agent", "version"); !strings.Contains(got, versionOlder) {
		t.Errorf("after rolling back it is %s", got)
	}
	if err := errors.Join(os.Remove(filepath.Join(m.root, "usr/local/sbin/systemctl")), os.RemoveAll(filepath.Join(m.root, "srv/systemctl"))); err != nil {
		t.Error(err)
	}
}

// systemctl puts one into the machine that asks this test, since no systemd runs there.
func (m machine) systemctl(t *testing.T) {
	t.Helper()
	m.write(t, "/usr/local/sbin/systemctl", []byte(`#!/bin/sh
mkdir -p /srv/systemctl
echo "$@" >/srv/systemctl/part
mv /srv/systemctl/part /srv/systemctl/asked
while [ -e /srv/systemctl/asked ]; do sleep 0.05; done
`), 0o755)
}

// managed runs a command inside and does meanwhile what it asks systemctl for.
func (m machine) managed(t *testing.T, services map[string]**service, args ...string) string {
	t.Helper()
	c := exec.CommandContext(t.Context(), "nsenter", m.inside(args...)...)
	said := &lines{}
	c.Stdout, c.Stderr = said, said
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- c.Wait() }()
	file := filepath.Join(m.root, "srv/systemctl/asked")
	for {
		select {
		case err := <-done:
			if err != nil {
				t.Fatalf("inside: %s: %v\n%s", strings.Join(args, " "), err, said)
			}
			return said.String()
		case <-time.After(20 * time.Millisecond): // looks again
		}
		asked, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		verb, name, _ := strings.Cut(strings.TrimSpace(string(asked)), " ")
		of := services[strings.TrimSuffix(name, ".service")]
		if err != nil || of == nil {
			t.Fatalf("systemctl is asked %q, %v", asked, err)
		}
		if verb == "stop" || verb == "restart" {
			(*of).stop(t)
		}
		if verb == "start" || verb == "restart" {
			*of = m.start(t, (*of).name, "")
			(*of).hears(t, "READY=1")
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
}

// Fedora's and openSUSE's side: the same files and scripts by rpm.
func TestTheRPMLives(t *testing.T) {
	t.Parallel()
	m := fresh(t)
	newer := of(t, newerBuild)
	defer took("an rpm's life", time.Now())
	rpm := func(args ...string) string {
		return sh(t, "unshare", append([]string{"--mount", "sh", "-c", `mount -t proc proc "$0/proc" && exec rpm --root "$0" --dbpath /var/lib/rpm "$@"`, m.root}, args...)...) // its scripts need /proc
	}
	rpm("--initdb")
	before := m.files(t)
	// --nodeps: what it needs came by dpkg.
	said := rpm("--install", "--nodeps", only(t, newer, "iwas-agent-*.rpm"))
	if !strings.Contains(said, "sudo iwas-agent enroll --cloud") {
		t.Errorf("what comes next is not said:\n%s", said)
	}
	if got := m.sh(t, "iwas-agent", "version"); !strings.Contains(got, versionNewer) {
		t.Errorf("installed is %s", got)
	}
	if got := m.sh(t, "stat", "-c", "%U:%G %a", "/var/lib/iwas-agent", "/etc/iwas-agent"); got != "iwas-agent:iwas-agent 700\nroot:iwas-agent 750\n" {
		t.Errorf("the folders are %s", got)
	}
	s := m.start(t, "iwas-agent", "")
	s.hears(t, "READY=1")
	s.stop(t)
	said = rpm("--upgrade", "--force", "--nodeps", only(t, newer, "iwas-agent-*.rpm"))
	if strings.Contains(said, "sudo iwas-agent enroll") || !m.has("/usr/lib/iwas-agent/previous/iwas-agent") {
		t.Errorf("an upgrade keeps no program of before, or takes itself for a first installation:\n%s", said)
	}
	rpm("--erase", "--nodeps", "iwas-agent")
	known := map[string]bool{"/etc/.pwd.lock": true, "/run/systemd": true, "/run/manager": true, "/run/iwas-agent": true,
		// Folders of the system's own where rpm is at home.
		"/usr/share/fish": true, "/usr/share/fish/vendor_completions.d": true, "/usr/share/zsh": true, "/usr/share/zsh/site-functions": true}
	for _, path := range before {
		known[path] = true
	}
	for _, path := range m.files(t) {
		if !known[path] && !strings.HasPrefix(path, "/var/lib/rpm") && !strings.HasPrefix(path, "/var/lib/iwas-agent") && path != "/etc/iwas-agent" {
			t.Errorf("left behind: %s", path)
		}
	}
	if !m.has("/var/lib/iwas-agent/iwas.db") {
		t.Error("guests are gone with the package")
	}
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

// signingKey makes a key for the repository, and returns its file.
func signingKey() (string, error) {
	home, err := os.MkdirTemp("", "g") // short: gpg-agent's socket is below it
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(home) // the key with it
	defer exec.Command("gpgconf", "--homedir", home, "--kill", "all").Run()
	key := filepath.Join(scratch, "key.asc")
	gpg := []string{"--homedir", home, "--batch", "--quiet", "--passphrase", ""}
	if err := plainly("gpg", append(gpg, "--quick-gen-key", "test of packages <nobody@iwas.example>", "ed25519", "sign")...); err != nil {
		return "", err
	}
	return key, plainly("gpg", append(gpg, "--armor", "--output", key, "--export-secret-keys")...)
}

// The units satisfy systemd itself, and its opinion of their security.
func TestTheUnitsAreSound(t *testing.T) {
	t.Parallel()
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

// What is built for other processors starts there, as far as an emulator is one. A
// Raspberry Pi of 64 bit gets the archive here, one of 32 bit the package.
func TestOtherProcessors(t *testing.T) {
	t.Parallel()
	for _, of := range []struct{ arch, emulator, format string }{{"arm64", "qemu-aarch64-static", "tar"}, {"armv7", "qemu-arm-static", "deb"}} {
		began := time.Now()
		dir := t.TempDir()
		dist := filepath.Join(dir, "dist")
		if err := run(t.Context(), []string{"-out", dist, "-version", versionOlder, "-date", "1790000000", "-arch", of.arch, "-windows=false", "-program", "iwas-agent", "-format", of.format}); err != nil {
			t.Fatal(err)
		}
		if of.format == "tar" {
			sh(t, "tar", "-xzf", only(t, dist, "*_linux_"+of.arch+".tar.gz"), "--strip-components=1", "-C", dir)
		} else {
			deb := only(t, dist, "*_"+systems["deb"][of.arch]+".deb")
			if got := strings.TrimSpace(sh(t, "dpkg-deb", "--field", deb, "Architecture")); got != "armhf" {
				t.Errorf("%s is for %s", deb, got)
			}
			sh(t, "sh", "-c", `dpkg-deb --fsys-tarfile "$0" | tar -xO ./usr/bin/iwas-agent >"$1/iwas-agent" && chmod +x "$1/iwas-agent"`, deb, dir)
		}
		took("build for "+of.arch, began)
		startsOn(t, of.emulator, filepath.Join(dir, "iwas-agent"))
		took("build for "+of.arch+" and its start", began)
	}
}

// startsOn runs a program of another processor until it is healthy.
func startsOn(t *testing.T, emulator, program string) {
	t.Helper()
	if out := sh(t, emulator, program, "version"); !strings.Contains(out, versionOlder+" (go1.") || !strings.Contains(out, "linux/arm") {
		t.Errorf("%s: %s", emulator, out)
	}
	config := program + ".toml"
	if err := os.WriteFile(config, fmt.Appendf(nil, "version = 1\nstate_dir = %q\n", filepath.Join(t.TempDir(), "state")), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &service{m: machine{holder: network(t)}, name: "iwas-agent on " + emulator, said: &lines{}, done: make(chan error, 1)}
	s.process = exec.Command("nsenter", append(within(s.m.holder), emulator, program, "--config", config, "run")...)
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
		t.Errorf("%s: %v\n%s", emulator, err, s.said)
	}
}

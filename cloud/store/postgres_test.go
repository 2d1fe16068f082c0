package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

// cluster is a private PostgreSQL for this package's tests: its own directory,
// no TCP port, ended with the tests.
type cluster struct {
	dir    string
	bin    string
	cred   *syscall.Credential // nil: as we are
	server *exec.Cmd
}

var (
	postgres cluster
	begin    = sync.OnceValue(func() error { return postgres.start() })
	nextDB   struct {
		sync.Mutex
		n int
	}
)

func TestMain(m *testing.M) {
	code := m.Run()
	postgres.stop()
	os.Exit(code)
}

// postgresURL returns an empty database of the cluster.
func postgresURL(t testing.TB) string {
	t.Helper()
	if err := begin(); err != nil {
		t.Fatal(err)
	}
	nextDB.Lock()
	nextDB.n++
	name := fmt.Sprintf("t%d", nextDB.n)
	nextDB.Unlock()
	admin, err := sql.Open("pgx", postgres.url("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	if _, err := admin.Exec("CREATE DATABASE " + name); err != nil {
		t.Fatal(err)
	}
	return postgres.url(name)
}

func (c *cluster) url(database string) string {
	return "postgres://iwas@/" + database + "?host=" + c.dir
}

func (c *cluster) start() error {
	if err := c.find(); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("/tmp", "iwaspg") // a socket's path may have 107 octets
	if err != nil {
		return err
	}
	c.dir = dir
	if os.Getuid() == 0 { // PostgreSQL refuses to run as root
		u, err := user.Lookup("postgres")
		if err != nil {
			return fmt.Errorf("install postgresql: %w", err)
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		c.cred = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		if err := os.Chown(dir, uid, gid); err != nil {
			return err
		}
	}
	data := filepath.Join(dir, "data")
	if out, err := c.command("initdb", "-D", data, "-U", "iwas", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync").CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	// Speed over safety: the data lives as long as the tests.
	c.server = c.command("postgres", "-D", data, "-k", dir, "-h", "", "-F", "-c", "full_page_writes=off", "-c", "max_connections=200")
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return err
	}
	defer log.Close()
	c.server.Stderr = log
	if err := c.server.Start(); err != nil {
		return err
	}
	return c.ready()
}

func (c *cluster) ready() error {
	db, err := sql.Open("pgx", c.url("postgres"))
	if err != nil {
		return err
	}
	defer db.Close()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		err := db.PingContext(ctx)
		cancel()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			log, _ := os.ReadFile(filepath.Join(c.dir, "log"))
			return fmt.Errorf("PostgreSQL does not answer: %w\n%s", err, log)
		}
	}
}

func (c *cluster) find() error {
	if path, err := exec.LookPath("initdb"); err == nil {
		c.bin = filepath.Dir(path)
		return nil
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) == 0 {
		return errors.New("no PostgreSQL here: apt-get install postgresql")
	}
	c.bin = filepath.Dir(found[len(found)-1])
	return nil
}

func (c *cluster) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(c.bin, name), args...)
	cmd.Dir = c.dir
	// Should the test process be killed, the server goes with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.cred, Pdeathsig: syscall.SIGTERM}
	return cmd
}

func (c *cluster) stop() {
	if c.server != nil && c.server.Process != nil {
		c.server.Process.Signal(syscall.SIGQUIT) // at once: nothing here is kept
		c.server.Wait()
	}
	if c.dir != "" {
		os.RemoveAll(c.dir)
	}
}

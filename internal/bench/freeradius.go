package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"iwas/internal/radload"
)

// backend is where a FreeRADIUS keeps its users.
type backend string

const (
	inFiles    backend = "files"
	inSQLite   backend = "SQLite"
	inPostgres backend = "PostgreSQL"
)

// threads is the number of workers, and of connections to the database, at which
// two processors did most. With more, SQLite's writers wait for its one lock and
// for each other's busy timeout; the packaged 32 did a third.
func (b backend) threads() string {
	return map[backend]string{inFiles: "4", inSQLite: "2", inPostgres: "8"}[b]
}

// freeRADIUS is Debian's package with a configuration of its own, kept as small
// as what is measured allows: no log of logins, no check of devices at once.
type freeRADIUS struct {
	in         backend
	doors      []netip.AddrPort
	proc       *process
	postgres   *process // nil unless in is inPostgres
	dir        string
	crowd      *radload.Crowd
	firstReply time.Duration // process start → first answer
}

func (f *freeRADIUS) Name() string                       { return "FR+" + string(f.in) }
func (f *freeRADIUS) Doors() (auth, acct netip.AddrPort) { return f.doors[0], f.doors[1] }
func (f *freeRADIUS) PIDs() []int {
	pids := []int{f.proc.pid()}
	if f.postgres != nil {
		pids = append(pids, f.postgres.pid())
	}
	return pids
}

func (f *freeRADIUS) Start(ctx context.Context, dir string, accounts int) (err error) {
	f.dir, f.crowd = dir, radload.NewCrowd(1, account)
	if f.doors, err = freePorts(2); err != nil {
		return err
	}
	if err := f.configure(accounts); err != nil {
		return err
	}
	switch f.in {
	case inSQLite:
		err = f.fillSQLite(ctx, accounts)
	case inPostgres:
		err = f.fillPostgres(ctx, accounts)
	}
	if err != nil {
		return err
	}
	return f.Restart(ctx)
}

// Restart starts the server on the data that is there.
func (f *freeRADIUS) Restart(ctx context.Context) error {
	program, err := find("freeradius", "freeradius")
	if err != nil {
		return err
	}
	began := time.Now()
	// -f: in the foreground. -s would be one thread.
	if f.proc, err = start(filepath.Join(f.dir, "freeradius.log"), nil, nil, program, "-f", "-l", "stdout", "-d", f.dir); err != nil {
		return err
	}
	if err := f.proc.until(ctx, 60*time.Second, func() bool { f.crowd.Rewind(); return answers(ctx, f, f.crowd) }); err != nil {
		return errors.Join(err, f.Stop(syscall.SIGKILL))
	}
	f.firstReply = time.Since(began)
	return nil
}

func (f *freeRADIUS) Stop(sig syscall.Signal) error {
	err := f.proc.stop(sig)
	if f.postgres != nil {
		err = errors.Join(err, f.postgres.stop(syscall.SIGINT)) // a fast shutdown
	}
	return err
}

// configure writes everything but the users of a database.
func (f *freeRADIUS) configure(accounts int) error {
	authorize, accounting, module := "sql", "acct_unique\n", f.sqlModule()
	if f.in == inFiles {
		authorize, module = "files", "files {\n\tusersfile = ${confdir}/users\n\tkey = \"%{User-Name}\"\n}\n"
		var users bytes.Buffer
		for i := range accounts {
			name, password := account(i)
			fmt.Fprintf(&users, "%s Cleartext-Password := \"%s\"\n\tMikrotik-Rate-Limit = \"2M/10M\",\n\tSession-Timeout = 2592000,\n\tIdle-Timeout = 900,\n\tPort-Limit = 2\n", name, password)
		}
		if err := os.WriteFile(filepath.Join(f.dir, "users"), users.Bytes(), 0o600); err != nil {
			return err
		}
	}
	store := "ok"
	if f.in != inFiles {
		store = "sql"
	}
	text := strings.NewReplacer("@DIR@", f.dir, "@AUTH@", fmt.Sprint(f.doors[0].Port()), "@ACCT@", fmt.Sprint(f.doors[1].Port()), "@SECRET@", sharedSecret,
		"@AUTHORIZE@", authorize, "@PREACCT@", accounting, "@STORE@", store, "@MODULE@", module, "@THREADS@", f.in.threads()).Replace(radiusd)
	return os.WriteFile(filepath.Join(f.dir, "radiusd.conf"), []byte(text), 0o600)
}

// radiusd is radiusd.conf. One statement stands on a line, and listen stands
// inside server: else policies do not run. Message-Authenticator is asked of
// requests and put into replies, which this version does not do by itself.
const radiusd = `
prefix = /usr
confdir = @DIR@
logdir = @DIR@
libdir = /usr/lib/freeradius
max_request_time = 30
cleanup_delay = 5
max_requests = 131072
hostname_lookups = no
proxy_requests = no
log {
	destination = stdout
	auth = no
}
security {
	max_attributes = 200
	reject_delay = 0
	status_server = yes
}
thread pool {
	start_servers = @THREADS@
	max_servers = @THREADS@
	min_spare_servers = 1
	max_spare_servers = @THREADS@
	max_queue_size = 65536
	max_requests_per_server = 0
}
client bench {
	ipaddr = 127.0.0.1
	secret = "@SECRET@"
	require_message_authenticator = yes
}
modules {
	expr {
	}
	pap {
	}
	chap {
	}
	always ok {
		rcode = ok
	}
	@MODULE@
}
instantiate {
	expr
}
policy {
	$INCLUDE /etc/freeradius/3.0/policy.d/accounting
}
server bench {
	listen {
		type = auth
		ipaddr = 127.0.0.1
		port = @AUTH@
		recv_buff = 4194304
	}
	listen {
		type = acct
		ipaddr = 127.0.0.1
		port = @ACCT@
		recv_buff = 4194304
	}
	authorize {
		chap
		@AUTHORIZE@
		pap
	}
	authenticate {
		Auth-Type PAP {
			pap
		}
		Auth-Type CHAP {
			chap
		}
	}
	preacct {
		@PREACCT@
	}
	accounting {
		@STORE@
	}
	post-auth {
		update reply {
			Message-Authenticator := 0x00
		}
		Post-Auth-Type REJECT {
			update reply {
				Message-Authenticator := 0x00
			}
		}
	}
}
`

// sqlModule is the packaged configuration with a file, or a socket, of our own.
func (f *freeRADIUS) sqlModule() string {
	dialect, driver := "sqlite", "sqlite {\n\t\tfilename = \""+filepath.Join(f.dir, "radius.db")+"\"\n\t\tbusy_timeout = 5000\n\t}"
	if f.in == inPostgres {
		dialect, driver = "postgresql", "server = \""+f.dir+"\"\n\tlogin = \"iwas\"\n"
	}
	return fmt.Sprintf(`sql {
	dialect = "%[1]s"
	driver = "rlm_sql_%[1]s"
	%[2]s
	radius_db = "radius"
	acct_table1 = "radacct"
	acct_table2 = "radacct"
	postauth_table = "radpostauth"
	authcheck_table = "radcheck"
	groupcheck_table = "radgroupcheck"
	authreply_table = "radreply"
	groupreply_table = "radgroupreply"
	usergroup_table = "radusergroup"
	client_table = "nas"
	group_attribute = "SQL-Group"
	delete_stale_sessions = yes
	pool {
		start = %[3]s
		min = %[3]s
		max = %[3]s
		spare = %[3]s
		uses = 0
		lifetime = 0
		idle_timeout = 0
	}
	$INCLUDE /etc/freeradius/3.0/mods-config/sql/main/%[1]s/queries.conf
	}
`, dialect, driver, f.in.threads())
}

// users are the statements that fill the tables: a password each, and the rest
// by a group, as its guides advise.
func users(w *bytes.Buffer, accounts int) {
	w.WriteString("BEGIN;\n")
	for _, reply := range [][2]string{{"Mikrotik-Rate-Limit", "2M/10M"}, {"Session-Timeout", "2592000"}, {"Idle-Timeout", "900"}, {"Port-Limit", "2"}} {
		fmt.Fprintf(w, "INSERT INTO radgroupreply (groupname, attribute, op, value) VALUES ('month', '%s', ':=', '%s');\n", reply[0], reply[1])
	}
	for i := range accounts {
		name, password := account(i)
		fmt.Fprintf(w, "INSERT INTO radcheck (username, attribute, op, value) VALUES ('%s', 'Cleartext-Password', ':=', '%s');\n", name, password)
		fmt.Fprintf(w, "INSERT INTO radusergroup (username, groupname, priority) VALUES ('%s', 'month', 1);\n", name)
	}
	w.WriteString("COMMIT;\n")
}

const schemas = "/etc/freeradius/3.0/mods-config/sql/main/"

// fillSQLite makes the database with write-ahead log, with which FreeRADIUS does
// three times as much as without; synchronous stays FULL, SQLite's default.
func (f *freeRADIUS) fillSQLite(ctx context.Context, accounts int) error {
	program, err := find("sqlite3", "sqlite3")
	if err != nil {
		return err
	}
	schema, err := os.ReadFile(schemas + "sqlite/schema.sql")
	if err != nil {
		return err
	}
	in := bytes.NewBufferString("PRAGMA journal_mode=WAL;\n")
	in.Write(schema)
	users(in, accounts)
	return pipe(exec.CommandContext(ctx, program, "-batch", filepath.Join(f.dir, "radius.db")), in)
}

// fillPostgres makes a cluster in the folder and starts it.
func (f *freeRADIUS) fillPostgres(ctx context.Context, accounts int) error {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		return errors.Join(errors.New("no PostgreSQL here: apt-get install postgresql"), err)
	}
	bin := filepath.Dir(found[len(found)-1])
	var cred *syscall.Credential
	if os.Getuid() == 0 { // it refuses to run as root
		if cred, err = give(f.dir, "postgres"); err != nil {
			return err
		}
	}
	data := filepath.Join(f.dir, "cluster")
	initdb := exec.CommandContext(ctx, filepath.Join(bin, "initdb"), "-D", data, "-U", "iwas", "-A", "trust", "-E", "UTF8", "--locale=C")
	initdb.SysProcAttr, initdb.Dir = &syscall.SysProcAttr{Credential: cred}, f.dir
	if err := pipe(initdb, nil); err != nil {
		return err
	}
	if f.postgres, err = start(filepath.Join(f.dir, "postgres.log"), cred, nil, filepath.Join(bin, "postgres"), "-D", data, "-k", f.dir, "-h", ""); err != nil {
		return err
	}
	psql := func(database string, in *bytes.Buffer) error {
		return pipe(exec.CommandContext(ctx, filepath.Join(bin, "psql"), "-q", "-v", "ON_ERROR_STOP=1", "-h", f.dir, "-U", "iwas", database), in)
	}
	if err := f.postgres.until(ctx, 20*time.Second, func() bool { return psql("postgres", bytes.NewBufferString("SELECT 1;")) == nil }); err != nil {
		return err
	}
	if err := psql("postgres", bytes.NewBufferString("CREATE DATABASE radius;")); err != nil {
		return err
	}
	schema, err := os.ReadFile(schemas + "postgresql/schema.sql")
	if err != nil {
		return err
	}
	in := bytes.NewBuffer(schema)
	users(in, accounts)
	in.WriteString("ANALYZE;\n")
	return psql("radius", in)
}

// give hands a folder to a user of the system.
func give(dir, name string) (*syscall.Credential, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return nil, err
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, os.Chown(dir, uid, gid)
}

// pipe runs a program to its end with in as its input.
func pipe(cmd *exec.Cmd, in *bytes.Buffer) error {
	if in != nil {
		cmd.Stdin = in
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", filepath.Base(cmd.Path), err, out)
	}
	return nil
}

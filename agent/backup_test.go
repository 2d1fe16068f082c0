package main

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"iwas/agent/aaa"
	"iwas/agent/store"
	"iwas/internal/hotspot"
	"iwas/internal/secret"
	"iwas/internal/wire"
)

const phrase = "a long passphrase"

// kiosk is a box on disk with a database, a secret and a configuration.
type kiosk struct {
	t    *testing.T
	dir  string
	file string // configuration
	pass string // file with the passphrase
	key  *secret.Key
}

func newKiosk(t *testing.T) *kiosk {
	t.Helper()
	dir, err := os.MkdirTemp("", "iwas") // short: a socket may lie in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	k := &kiosk{t: t, dir: dir}
	k.file = k.write("agent.toml", "version = 1\nstate_dir = \"state\"\ncontrol = \"c.sock\"\n[[nas]]\nid = \"counter\"\naddress = \"127.0.0.1\"\nsecret_file = \"radius.secret\"\n")
	k.write("radius.secret", "testing123")
	k.pass = k.write("passphrase", phrase+"\n")
	k.write("state/routers/counter.json", "{}")
	k.write("conf.d/notes.txt", "not ours")
	return k
}

func (k *kiosk) path(name string) string { return filepath.Join(k.dir, name) }

func (k *kiosk) write(name, text string) string {
	k.t.Helper()
	file := k.path(name)
	err := os.MkdirAll(filepath.Dir(file), 0o700)
	if err == nil {
		err = os.WriteFile(file, []byte(text), 0o600)
	}
	if err != nil {
		k.t.Fatal(err)
	}
	return file
}

func (k *kiosk) read(name string) string {
	k.t.Helper()
	b, err := os.ReadFile(k.path(name))
	if err != nil {
		k.t.Fatal(err)
	}
	return string(b)
}

// open opens its store as the service does.
func (k *kiosk) open() *store.DB {
	k.t.Helper()
	if err := os.MkdirAll(k.path("state/identity"), 0o700); err != nil {
		k.t.Fatal(err)
	}
	key, err := secret.LoadKey(k.path("state/identity/seal.key"))
	if err != nil {
		k.t.Fatal(err)
	}
	k.key = key
	db, err := store.Open(k.t.Context(), store.Options{Path: k.path("state/iwas.db"), Copies: k.path("state/backup"), Key: key, Decide: aaa.Decide, Off: aaa.OffReason})
	if err != nil {
		k.t.Fatal(err)
	}
	return db
}

func (k *kiosk) close(db *store.DB) {
	k.t.Helper()
	if err := db.Close(); err != nil {
		k.t.Fatal(err)
	}
}

// guest makes bob known, with a password.
func (k *kiosk) guest(db *store.DB) {
	k.t.Helper()
	b := &bench{t: k.t, key: k.key, db: db, rev: 1}
	sealed, err := k.key.Public().Seal("hello")
	if err != nil {
		k.t.Fatal(err)
	}
	b.apply(wire.State{Snapshot: "s1", Part: 1, Parts: 1, Docs: []wire.Doc{
		b.doc(wire.DocAccount, "a-bob", wire.AccountDoc{Kind: hotspot.User, Username: "bob", Password: sealed}),
		b.doc(wire.DocPass, "p-bob", wire.PassDoc{Account: "a-bob", Limits: wire.LimitsBody{Devices: 2}})}})
}

// lets reports whether bob is let in.
func lets(t *testing.T, db *store.DB) bool {
	t.Helper()
	v, err := db.Authorize(context.Background(), hotspot.Request{NAS: "counter", Username: "bob", MAC: hotspot.MAC{2, 0, 0, 0, 0, 1},
		Credential: hotspot.Credential{Kind: hotspot.Clear, Clear: "hello"}})
	if err != nil {
		t.Fatal(err)
	}
	return v.Accept
}

func (k *kiosk) typing(typed string, args ...string) (code int, out, talk string) {
	k.t.Helper()
	var o, e bytes.Buffer
	code = run(k.t.Context(), append([]string{"--config", k.file}, args...), strings.NewReader(typed), &o, &e)
	return code, o.String(), e.String()
}

func (k *kiosk) do(args ...string) (code int, out, talk string) {
	k.t.Helper()
	return k.typing("", args...)
}

// backedUp is a box with a guest, and the backup made while its store was open.
func backedUp(t *testing.T) (k *kiosk, file string) {
	t.Helper()
	k = newKiosk(t)
	db := k.open()
	k.guest(db)
	file = k.path("cafe.iwas")
	code, out, talk := k.do("backup", "--out", file, "--passphrase-file", k.pass)
	if code != 0 || !strings.Contains(out, "iwas-agent restore cafe.iwas") || !strings.Contains(talk, "Copying and checking the database") {
		t.Fatalf("exit %d\n%s%s", code, out, talk)
	}
	k.close(db)
	return k, file
}

// TestABackupBringsABoxBack: made while the store is open, put into an empty box, it
// brings guests with their passwords, secrets and configuration, and a new epoch.
func TestABackupBringsABoxBack(t *testing.T) {
	k, file := backedUp(t)
	raw := k.read("cafe.iwas")
	for _, s := range []string{"testing123", strings.TrimSpace(k.read("state/identity/seal.key"))} {
		if strings.Contains(raw, s) || strings.Contains(unzipped(t, file), s) {
			t.Errorf("%q can be read in the backup", s)
		}
	}
	db := k.open()
	was, err := db.Standing(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	k.close(db)

	other := newKiosk(t)
	if err := os.RemoveAll(other.path("state")); err != nil {
		t.Fatal(err)
	}
	other.write("agent.toml", "version = 1\nlanguage = \"ar\"\nstate_dir = \"state\"\n")
	other.write("conf.d/old.toml", "[[nas]]\nid = \"old\"\naddress = \"10.0.0.1\"\nsecret_file = \"x\"\n")
	code, out, talk := other.do("--json", "restore", file, "--yes", "--passphrase-file", k.pass)
	if code != 0 {
		t.Fatalf("exit %d\n%s%s", code, out, talk)
	}
	var r restoreResult
	if err := json.Unmarshal([]byte(out), &r); err != nil || r.Restored == nil || !strings.Contains(r.Next, "systemctl start iwas-agent") {
		t.Errorf("it prints %q (%v)", out, err)
	}
	if other.read("agent.toml") != k.read("agent.toml") || other.read("radius.secret") != "testing123" || other.read("state/routers/counter.json") != "{}" || other.read("conf.d/notes.txt") != "not ours" {
		t.Error("configuration or secrets are not those of the backup, or another file was touched")
	}
	if _, err := loadConfig(other.file, false); err != nil {
		t.Errorf("the configuration put back does not load: %v", err)
	}
	kept, err := filepath.Glob(other.path("*/old.toml." + asideFolder + "*"))
	if err != nil || len(kept) != 1 {
		t.Errorf("the router that is not in the backup: %q, %v", kept, err)
	}
	db = other.open()
	if !lets(t, db) {
		t.Error("the guest is not let in with the password from the backup")
	}
	now, err := db.Standing(t.Context())
	if err != nil || now.Epoch == was.Epoch || now.Revision != was.Revision || now.Hash != was.Hash {
		t.Errorf("standing %+v (%v), was %+v: want the same state in a new epoch", now, err, was)
	}
	other.close(db)

	// Over a box that is in use: everything that was there stays, in one folder.
	db = other.open()
	if err := db.Started(t.Context(), "v", "b"); err != nil {
		t.Fatal(err)
	}
	other.close(db)
	code, out, talk = other.do("restore", file, "--yes", "--passphrase-file", k.pass)
	dirs, err := filepath.Glob(other.path("state/" + asideFolder + "*"))
	if code != 0 || err != nil || len(dirs) != 1 || !strings.Contains(out, dirs[0]) {
		t.Fatalf("exit %d, aside %q (%v)\n%s%s", code, dirs, err, out, talk)
	}
	for _, name := range []string{"iwas.db", "identity/seal.key"} {
		if st, err := os.Stat(filepath.Join(dirs[0], name)); err != nil || st.Size() == 0 {
			t.Errorf("%s of before: %v", name, err)
		}
	}
}

// unzipped is all a zip holds.
func unzipped(t *testing.T, file string) string {
	t.Helper()
	var all strings.Builder
	eachPart(t, file, func(_ string, b []byte) { all.Write(b) })
	return all.String()
}

func eachPart(t *testing.T, file string, f func(name string, b []byte)) {
	t.Helper()
	z, err := zip.OpenReader(file)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	for _, part := range z.File {
		r, err := part.Open()
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		f(part.Name, b)
	}
}

// remade writes the backup again with one part changed; nil takes it out.
func remade(t *testing.T, file, to, name string, change func([]byte) []byte) {
	t.Helper()
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	eachPart(t, file, func(part string, b []byte) {
		if part == name {
			if b = change(b); b == nil {
				return
			}
		}
		p, err := w.Create(part)
		if err == nil {
			_, err = p.Write(b)
		}
		if err != nil {
			t.Fatal(err)
		}
	})
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

// state is every file of the state directory with its content.
func (k *kiosk) state() string {
	k.t.Helper()
	var all []string
	err := filepath.Walk(k.path("state"), func(p string, st os.FileInfo, err error) error {
		if err == nil && !st.IsDir() {
			b, rerr := os.ReadFile(p)
			all, err = append(all, p+" "+string(b)), rerr
		}
		return err
	})
	if err != nil {
		k.t.Fatal(err)
	}
	return strings.Join(all, "\n")
}

// TestABackupThatCannotBeUsedTouchesNothing, and says why.
func TestABackupThatCannotBeUsedTouchesNothing(t *testing.T) {
	k, file := backedUp(t)
	work := k.path("newer.db")
	if err := store.Backup(t.Context(), k.path("state/iwas.db"), work); err != nil {
		t.Fatal(err)
	}
	if err := store.Release(t.Context(), k.path("state/iwas.db")); err != nil { // which a refusal may do
		t.Fatal(err)
	}
	before := k.state()
	whole := k.read("cafe.iwas")
	flip := func(b []byte) []byte { b[len(b)/2] ^= 0x40; return b }
	text := func(old, fresh string) func([]byte) []byte {
		return func(b []byte) []byte { return bytes.Replace(b, []byte(old), []byte(fresh), 1) }
	}
	none := func([]byte) []byte { return nil }
	bad := k.path("bad.iwas")
	change := func(part string, how func([]byte) []byte) func() { return func() { remade(t, file, bad, part, how) } }
	wrong := k.write("wrong", "another passphrase")
	for name, tc := range map[string]struct {
		make func()
		pass string
		want string
	}{
		"another passphrase":                 {func() { k.write("bad.iwas", whole) }, wrong, "the passphrase does not open it"},
		"cut short":                          {func() { k.write("bad.iwas", whole[:len(whole)*2/3]) }, k.pass, notWhole},
		"not a zip":                          {func() { k.write("bad.iwas", "garbage") }, k.pass, notWhole},
		"not there":                          {func() {}, k.pass, "Name a file that iwas-agent backup wrote"},
		"a newer format":                     {change(partManifest, text(`"format": 1`, `"format": 2`)), k.pass, "newer version"},
		"of another program":                 {change(partManifest, text(`"product": "iwas-agent"`, `"product": "iwas-cloud"`)), k.pass, notWhole},
		"no manifest":                        {change(partManifest, none), k.pass, notWhole},
		"no database":                        {change(partDatabase, none), k.pass, notWhole},
		"a changed database":                 {change(partDatabase, flip), k.pass, "iwas.db is not as it was written"},
		"a changed box":                      {change(partSecrets, flip), k.pass, "secrets is not as it was written"},
		"somebody else's configuration":      {func() { forged(t, file, bad) }, k.pass, "is not the one that was closed with the passphrase"},
		"a database of a newer schema in it": {func() { k.newer(work, bad) }, k.pass, "schema 9999"},
	} {
		t.Run(name, func(t *testing.T) {
			_ = os.Remove(bad)
			tc.make()
			code, out, talk := k.do("restore", bad, "--yes", "--passphrase-file", tc.pass)
			if code != exitFailed || !strings.Contains(talk, tc.want) || !strings.Contains(talk, "Next: ") || out != "" {
				t.Errorf("exit %d\n%s%s\nwant %q", code, out, talk, tc.want)
			}
			if k.state() != before {
				t.Error("something was touched")
			}
		})
	}
}

// newer makes the backup of a program to come: its database is of a schema that this
// one does not know.
func (k *kiosk) newer(work, to string) {
	k.t.Helper()
	must := func(err error) {
		k.t.Helper()
		if err != nil {
			k.t.Fatal(err)
		}
	}
	setSchema(k.t, work, 9999)
	cfg, err := loadConfig(k.file, false)
	must(err)
	m := manifest{Format: backupFormat, Product: backupProduct, Version: "99.0"}
	must(writeParts(to, work, &m, cfg, k.file, phrase))
}

// forged changes the configuration, and the manifest with it, as somebody can who
// has the file and not the passphrase.
func forged(t *testing.T, file, to string) {
	t.Helper()
	evil := []byte("version = 1\nstate_dir = \"state\"\n")
	sum := sha256.Sum256(evil)
	remade(t, file, to+".1", partConfig+"agent.toml", func([]byte) []byte { return evil })
	remade(t, to+".1", to, partManifest, func(b []byte) []byte {
		var m manifest
		if err := json.Unmarshal(b, &m); err != nil {
			t.Fatal(err)
		}
		for i := range m.Files {
			if m.Files[i].Name == partConfig+"agent.toml" {
				m.Files[i].Bytes, m.Files[i].SHA256 = int64(len(evil)), hex.EncodeToString(sum[:])
			}
		}
		b, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return b
	})
}

// TestARestoreWantsTheServiceStopped, whether it answers or only holds the file, and
// a person's yes.
func TestARestoreWantsTheServiceStopped(t *testing.T) {
	k, file := backedUp(t)
	refused := func(want string, args ...string) {
		t.Helper()
		code, out, talk := k.do(append([]string{"restore", "--passphrase-file", k.pass}, args...)...)
		if code != exitFailed || !strings.Contains(talk, want) {
			t.Errorf("%q: exit %d\n%s%s\nwant %q", args, code, out, talk, want)
		}
		if dirs, _ := filepath.Glob(k.path("state/" + asideFolder + "*")); len(dirs) != 0 {
			t.Errorf("%q moved something aside", args)
		}
	}
	refused("nothing was changed", file)
	refused("nothing was changed", "--empty")
	db := k.open()
	refused("is in use", file, "--yes")
	refused("is in use", "--empty", "--yes")
	k.close(db)
	l, err := net.Listen("unix", k.path("c.sock"))
	if err != nil {
		t.Fatal(err)
	}
	refused("the service runs", file, "--yes")
	refused("the service runs", "--empty", "--yes")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestBeginningAnewMovesEverythingAside: also the copies, which would come back.
func TestBeginningAnewMovesEverythingAside(t *testing.T) {
	k := newKiosk(t)
	db := k.open()
	k.guest(db)
	if _, err := db.Snapshot(t.Context()); err != nil {
		t.Fatal(err)
	}
	k.close(db)
	key := k.read("state/identity/seal.key")
	code, out, talk := k.do("restore", "--empty", "--yes")
	if code != 0 || !strings.Contains(out, "Next: systemctl start iwas-agent") {
		t.Fatalf("exit %d\n%s%s", code, out, talk)
	}
	db = k.open()
	defer k.close(db)
	if _, now, _ := db.Restored(); now || lets(t, db) {
		t.Error("the copy came back, or the guest is still known")
	}
	if k.read("state/identity/seal.key") != key {
		t.Error("the identity was touched")
	}
	copies, err := filepath.Glob(k.path("state/" + asideFolder + "*/backup/copy-*"))
	if err != nil || len(copies) != 1 {
		t.Errorf("copies set aside: %q, %v", copies, err)
	}
}

// TestAPassphraseIsAskedForTwiceAndLong.
func TestAPassphraseIsAskedForTwiceAndLong(t *testing.T) {
	k := newKiosk(t)
	k.close(k.open())
	file := k.path("asked.iwas")
	for typed, want := range map[string]string{"short\nshort\n": "too short", phrase + "\n" + phrase + "x\n": "differ", "": "EOF"} {
		if code, _, talk := k.typing(typed, "backup", "--out", file); code == 0 || !strings.Contains(talk, want) {
			t.Errorf("%q: exit %d\n%s", typed, code, talk)
		}
	}
	if code, _, talk := k.typing(phrase+"\n"+phrase+"\n", "backup", "--out", file); code != 0 {
		t.Fatalf("exit %d\n%s", code, talk)
	}
	if code, _, talk := k.typing(phrase+"\n"+phrase+"\n", "backup", "--out", file); code == 0 || !strings.Contains(talk, "exists already") {
		t.Errorf("over a backup that is there: exit %d\n%s", code, talk)
	}
	if code, _, talk := k.typing(phrase+"\ny\n", "restore", file); code != 0 {
		t.Errorf("exit %d\n%s", code, talk)
	}
	if code, _, _ := k.do("restore"); code != exitUsage {
		t.Errorf("restore of nothing: exit %d", code)
	}
}

// setSchema writes the number of the schema into a database.
func setSchema(t *testing.T, file string, n int) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+file)
	if err == nil {
		_, err = db.Exec(fmt.Sprint("PRAGMA user_version = ", n))
		err = errors.Join(err, db.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

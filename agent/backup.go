package main

import (
	"archive/zip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"iwas/agent/store"
	"iwas/agent/uplink"
	"iwas/internal/buildinfo"
	"iwas/internal/fault"
	"iwas/internal/secret"
)

// A backup is one zip file:
//
//	iwas.db        the database, as it was at one moment; the guests' passwords in it are sealed
//	config/…       agent.toml and conf.d, as they are; no secret stands in them
//	secrets        a box that the passphrase opens (secret.CloseWith): identity, sealing key,
//	               what else the service keeps, the secrets that the configuration names, and
//	               the checksums of all the others, so that nobody changes those unseen
//	manifest.json  what is in it, with checksums: last, so that a file cut short has none
const (
	backupFormat  = 1
	backupProduct = "iwas-agent"
	partManifest  = "manifest.json"
	partDatabase  = "iwas.db"
	partSecrets   = "secrets"
	partConfig    = "config/"

	smallBound = 1 << 20  // of one small file; a larger one is no secret
	boxBound   = 64 << 20 // of all of them, and of a manifest
)

const thisNewer = "Install the version of iwas-agent that made it, or a later one, then restore again."

// manifest is what a backup says of itself.
type manifest struct {
	Format       int          `json:"format"`
	Product      string       `json:"product"`
	Version      string       `json:"version"` // of the program that made it
	MadeAt       time.Time    `json:"made_at"`
	Agent        string       `json:"agent,omitempty"` // "": the box was not enrolled
	Site         string       `json:"site,omitempty"`
	Organization string       `json:"organization,omitempty"`
	Files        []backupPart `json:"files"`
}

type backupPart struct {
	Name   string `json:"name"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// kept are the contents of the box.
type kept struct {
	Files []keptFile        `json:"files"`
	Sums  map[string]string `json:"sums"` // SHA-256 of the other parts
}

// keptFile is a small file. Where says what Path is relative to.
type keptFile struct {
	Where string `json:"where"` // state, config, or "" for a path from the root
	Path  string `json:"path"`
	Data  []byte `json:"data"`
}

// steps tells a person what is being done, one line a step.
type steps struct {
	talk  io.Writer
	began time.Time
}

func (s *steps) begin(what string) {
	s.began = time.Now()
	fmt.Fprint(s.talk, what, " … ")
}

func (s *steps) end() { fmt.Fprintf(s.talk, "%.1f s\n", time.Since(s.began).Seconds()) }

// do runs a step between its two halves of a line.
func (s *steps) do(what string, f func() error) error {
	s.begin(what)
	err := f()
	if err != nil {
		fmt.Fprintln(s.talk, "failed")
		return err
	}
	s.end()
	return nil
}

// backupFault is an error about a backup file.
func backupFault(kind fault.Kind, what string, err error, next string) error {
	return fault.New(kind, what, err).WithCode(store.CodeBackup, next)
}

// writeBackup makes a backup of the box at out, which must not exist.
func writeBackup(ctx context.Context, cfg config, configFile, out string, passphrase secret.Value, s *steps) (m manifest, size int64, err error) {
	m = manifest{Format: backupFormat, Product: backupProduct, Version: buildinfo.Version(), MadeAt: time.Now().UTC().Truncate(time.Second)}
	id, err := uplink.LoadIdentity(cfg.StateDir)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return m, 0, err
	}
	m.Agent, m.Site, m.Organization = string(id.Agent), id.SiteName, id.Organization
	if _, err := os.Stat(out); err == nil {
		return m, 0, backupFault(fault.Conflict, out+" exists already", nil, "Give --out another name.")
	}
	part, copied := out+".part", out+".db"
	defer func() {
		_ = os.Remove(copied)
		if err != nil {
			_ = os.Remove(part)
		}
	}()
	for _, left := range []string{part, copied} { // of one that was cut short
		if err := os.Remove(left); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return m, 0, backupFault(fault.Unavailable, "make a backup", err, "Remove what is left of the one before.")
		}
	}
	if err := s.do("Copying and checking the database", func() error { return store.Backup(ctx, cfg.databaseFile(), copied) }); err != nil {
		if fault.Is(err, fault.NotFound) {
			return m, 0, backupFault(fault.NotFound, "there is no database to back up", err, "Name the configuration of the service with --config, and run this as root.")
		}
		return m, 0, err
	}
	if err := s.do("Writing "+out, func() error { return writeParts(part, copied, &m, cfg, configFile, passphrase) }); err != nil {
		return m, 0, backupFault(fault.Unavailable, "write the backup", err, "Give --out another folder, on a disk with room.")
	}
	if err := os.Rename(part, out); err != nil {
		return m, 0, backupFault(fault.Unavailable, "put the backup in place", err, "Give --out another folder.")
	}
	st, err := os.Stat(out)
	if err != nil {
		return m, 0, err
	}
	return m, st.Size(), nil
}

func writeParts(part, copied string, m *manifest, cfg config, configFile string, passphrase secret.Value) (err error) {
	f, err := os.OpenFile(part, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, f.Sync(), f.Close())
	}()
	z := zip.NewWriter(f)
	add := func(name string, from io.Reader) error {
		w, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate, Modified: m.MadeAt})
		if err != nil {
			return err
		}
		sum := sha256.New()
		n, err := io.Copy(io.MultiWriter(w, sum), from)
		m.Files = append(m.Files, backupPart{name, n, hex.EncodeToString(sum.Sum(nil))})
		return err
	}
	db, err := os.Open(copied)
	if err != nil {
		return err
	}
	err = errors.Join(add(partDatabase, db), db.Close())
	if err != nil {
		return err
	}
	for name, b := range configFiles(configFile) {
		if err := add(partConfig+name, strings.NewReader(string(b))); err != nil {
			return err
		}
	}
	k := kept{Sums: map[string]string{}}
	for _, p := range m.Files {
		k.Sums[p.Name] = p.SHA256
	}
	if k.Files, err = smallFiles(cfg, configFile); err != nil {
		return err
	}
	plain, err := json.Marshal(k)
	if err != nil {
		return err
	}
	box, err := secret.CloseWith(passphrase, plain)
	if err != nil {
		return err
	}
	if err := add(partSecrets, strings.NewReader(string(box))); err != nil {
		return err
	}
	about, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	w, err := z.CreateHeader(&zip.FileHeader{Name: partManifest, Method: zip.Deflate, Modified: m.MadeAt})
	if err == nil {
		_, err = w.Write(about)
	}
	return errors.Join(err, z.Close())
}

// configFiles are the configuration and its parts, by their names below its folder.
// A box without any has none.
func configFiles(file string) map[string][]byte {
	out := map[string][]byte{}
	take := func(name, path string) {
		if b, err := os.ReadFile(path); err == nil {
			out[name] = b
		}
	}
	take("agent.toml", file)
	dir := filepath.Join(filepath.Dir(file), partsDir)
	parts, _ := filepath.Glob(filepath.Join(dir, "*.toml")) // the pattern is well formed
	for _, p := range parts {
		take(partsDir+"/"+filepath.Base(p), p)
	}
	return out
}

// smallFiles are what the service keeps besides the database, and the secrets that
// the configuration names, wherever they lie.
func smallFiles(cfg config, configFile string) (out []keptFile, err error) {
	seen := map[string]bool{}
	total := 0
	take := func(where, path, file string) error {
		if seen[file] {
			return nil
		}
		seen[file] = true
		st, err := os.Stat(file)
		if errors.Is(err, fs.ErrNotExist) || err == nil && (!st.Mode().IsRegular() || st.Size() > smallBound) {
			return nil
		}
		var b []byte
		if err == nil {
			b, err = os.ReadFile(file)
		}
		if total += len(b); total > boxBound/2 { // base64 in JSON
			return fmt.Errorf("the small files of %s are too many", cfg.StateDir)
		}
		out = append(out, keptFile{where, filepath.ToSlash(path), b})
		return err
	}
	err = filepath.WalkDir(cfg.StateDir, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(cfg.StateDir, file)
		switch {
		case err != nil:
			return err
		case d.IsDir() && !ofState(rel):
			return fs.SkipDir
		case d.IsDir() || !ofState(rel):
			return nil
		}
		return take("state", rel, file)
	})
	if err != nil {
		return nil, err
	}
	dir := filepath.Dir(configFile)
	for _, p := range cfg.paths() {
		if *p == "" || *p == cfg.StateDir || *p == cfg.Control {
			continue
		}
		where, path := "", *p
		if rel, err := filepath.Rel(dir, *p); err == nil && filepath.IsLocal(rel) {
			where, path = "config", rel
		}
		if err := take(where, path, *p); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// ofState reports whether a file below the state directory belongs into a backup's
// box: not the database and its copies, the charts, sockets, or what a restore set
// aside.
func ofState(rel string) bool {
	top, _, _ := strings.Cut(filepath.ToSlash(rel), "/")
	return !strings.HasPrefix(top, "iwas.db") && top != "backup" && !strings.HasPrefix(top, asideFolder) && !strings.HasPrefix(top, "history.") &&
		!strings.HasSuffix(rel, ".sock")
}

// backupFile is a backup that was read and checked as a whole.
type backupFile struct {
	about manifest
	box   kept
	zip   *zip.ReadCloser
}

const notWhole = "is not a whole backup of iwas-agent"

// openBackup checks a backup: that it is whole, of a format this program knows, and
// that the passphrase opens it.
func openBackup(file string, passphrase func() (secret.Value, error), s *steps) (*backupFile, error) {
	bad := func(err error) error {
		return backupFault(fault.Damaged, file+" "+notWhole, err, "Copy it again from where it is kept, or take the one before it. What is on this box was not touched.")
	}
	z, err := zip.OpenReader(file)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return nil, backupFault(fault.NotFound, "read the backup", err, "Name a file that iwas-agent backup wrote, and run this as root.")
	}
	if err != nil {
		return nil, bad(err)
	}
	b := &backupFile{zip: z}
	if err := s.do("Checking "+file, b.check); err != nil {
		_ = z.Close() // it was read only
		if fault.Is(err, fault.Invalid) {
			return nil, err
		}
		return nil, bad(err)
	}
	box, err := b.read(partSecrets, boxBound)
	if err != nil {
		_ = z.Close()
		return nil, bad(err)
	}
	pass, err := passphrase()
	if err != nil {
		_ = z.Close()
		return nil, err
	}
	plain, err := secret.OpenWith(pass, box)
	if err != nil {
		_ = z.Close()
		return nil, backupFault(fault.Denied, "open the secrets of "+file, err, "Type the passphrase it was made with. What is on this box was not touched.")
	}
	if err = json.Unmarshal(plain, &b.box); err == nil {
		err = b.asClosed()
	}
	if err != nil {
		_ = z.Close()
		return nil, bad(err)
	}
	return b, nil
}

// check reads every part and holds it against the manifest.
func (b *backupFile) check() error {
	about, err := b.read(partManifest, boxBound)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(about, &b.about); err != nil {
		return err
	}
	if b.about.Product != backupProduct {
		return fmt.Errorf("it is a backup of %q", b.about.Product)
	}
	if b.about.Format > backupFormat {
		return backupFault(fault.Invalid, fmt.Sprintf("the backup is of a newer version, %s: its format is %d, this program knows %d", b.about.Version, b.about.Format, backupFormat), nil, thisNewer)
	}
	if !slices.ContainsFunc(b.about.Files, func(p backupPart) bool { return p.Name == partDatabase }) {
		return errors.New("there is no database in it")
	}
	for _, p := range b.about.Files {
		f, err := b.zip.Open(p.Name)
		if err != nil {
			return err
		}
		sum := sha256.New()
		n, err := io.Copy(sum, io.LimitReader(f, p.Bytes+1))
		if err = errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
		if n != p.Bytes || hex.EncodeToString(sum.Sum(nil)) != p.SHA256 {
			return fmt.Errorf("%s is not as it was written", p.Name)
		}
	}
	return nil
}

// asClosed holds the parts against the checksums that only the passphrase's holder
// could write, and the paths against where a restore may write.
func (b *backupFile) asClosed() error {
	for _, p := range b.about.Files {
		if p.Name != partSecrets && b.box.Sums[p.Name] != p.SHA256 {
			return fmt.Errorf("%s is not the one that was closed with the passphrase", p.Name)
		}
		if !filepath.IsLocal(filepath.FromSlash(p.Name)) {
			return fmt.Errorf("%q is no name of a part", p.Name)
		}
	}
	for _, f := range b.box.Files {
		if f.Where != "" && !filepath.IsLocal(filepath.FromSlash(f.Path)) || f.Where == "" && !filepath.IsAbs(f.Path) {
			return fmt.Errorf("%q is no path of a kept file", f.Path)
		}
	}
	return nil
}

func (b *backupFile) read(name string, bound int64) ([]byte, error) {
	f, err := b.zip.Open(name)
	if err != nil {
		return nil, err
	}
	out, err := io.ReadAll(io.LimitReader(f, bound+1))
	if err == nil && int64(len(out)) > bound {
		err = errors.New(name + " is too long")
	}
	return out, errors.Join(err, f.Close())
}

// extract writes a part into a new file.
func (b *backupFile) extract(name, to string) error {
	f, err := b.zip.Open(name)
	if err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = io.Copy(out, f)
		err = errors.Join(err, out.Sync(), out.Close())
	}
	return errors.Join(err, f.Close())
}

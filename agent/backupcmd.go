package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"iwas/agent/aaa"
	"iwas/agent/store"
	"iwas/agent/uplink"
	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/secret"
	"iwas/internal/webui"
)

// passphraseLeast is how short a passphrase may be: it guards the keys of the box on
// a stick that may be lost.
const passphraseLeast = 10

// asideFolder begins the name of the folder below the state directory into which a
// restore moves what was there.
const asideFolder = "before-restore-"

// asRoot gives errors of rights their exit code.
func asRoot(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return &exitError{exitRights, err}
	}
	return err
}

// readPassphrase reads it from a file, or asks for it; twice when it is new.
func readPassphrase(cmd *cobra.Command, in *bufio.Reader, file string, fresh bool) (secret.Value, error) {
	if file != "" && file != "-" {
		v, err := readSecret(file)
		if err == nil && fresh && len(v.Reveal()) < passphraseLeast {
			err = fault.New(fault.Invalid, fmt.Sprintf("the passphrase in %s is too short: at least %d characters", file, passphraseLeast), nil)
		}
		return v, err
	}
	talk := cmd.ErrOrStderr()
	ask := func(prompt string) (string, error) {
		fmt.Fprint(talk, prompt)
		defer fmt.Fprintln(talk)
		if f, ok := cmd.InOrStdin().(*os.File); ok && term.IsTerminal(int(f.Fd())) {
			b, err := term.ReadPassword(int(f.Fd()))
			return string(b), err
		}
		line, err := in.ReadString('\n')
		if errors.Is(err, io.EOF) && line != "" {
			err = nil
		}
		return strings.TrimRight(line, "\r\n"), err
	}
	first, err := ask("Passphrase of the backup: ")
	if err != nil || !fresh {
		return secret.Value(first), err
	}
	if len(first) < passphraseLeast {
		return "", fault.New(fault.Invalid, fmt.Sprintf("the passphrase is too short: at least %d characters", passphraseLeast), nil)
	}
	again, err := ask("Once more: ")
	if err == nil && again != first {
		err = fault.New(fault.Invalid, "the two passphrases differ", nil)
	}
	return secret.Value(first), err
}

// backupResult is what backup prints with --json.
type backupResult struct {
	File  string `json:"file"`
	Bytes int64  `json:"bytes"`
	manifest
}

func backupCommand(o *options) *cobra.Command {
	var out, passphraseFile string
	c := &cobra.Command{
		Use: "backup", Short: "Write everything this box needs into one file", Args: cobra.NoArgs,
		Long: "Writes database, identity, keys, secrets and configuration into one file. What is secret opens by a passphrase\n" +
			"alone, which is asked for twice, or read from --passphrase-file; without it the backup is worth nothing.\n" +
			"The service may run meanwhile.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := o.load(cmd)
			if err != nil {
				return err
			}
			if out == "" {
				out = "iwas-agent-" + time.Now().UTC().Format("20060102T150405Z") + ".iwas"
			}
			passphrase, err := readPassphrase(cmd, bufio.NewReader(cmd.InOrStdin()), passphraseFile, true)
			if err != nil {
				return err
			}
			m, size, err := writeBackup(cmd.Context(), cfg, o.config, out, passphrase, &steps{talk: cmd.ErrOrStderr()})
			if err != nil {
				return asRoot(err)
			}
			if o.json {
				return printJSON(cmd, backupResult{out, size, m})
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: %s, %s.\nKeep it on another machine, and the passphrase apart from it. Next, on the box it is for: iwas-agent restore %s\n",
				out, webui.Bytes(hotspot.Octets(size)), describe(m), filepath.Base(out))
			return nil
		},
	}
	c.Flags().StringVar(&out, "out", "", "file to write, which must not exist (default iwas-agent-DATE.iwas here)")
	c.Flags().StringVar(&passphraseFile, "passphrase-file", "", "file with the passphrase; empty or - asks for it")
	return c
}

// describe says whose backup it is.
func describe(m manifest) string {
	at := " of " + m.MadeAt.UTC().Format("2006-01-02 15:04 UTC")
	if m.Agent == "" {
		return "a box that is not enrolled," + at
	}
	return m.Site + " of " + m.Organization + " (" + m.Agent + ")," + at
}

// restoreResult is what restore prints with --json.
type restoreResult struct {
	Restored *manifest `json:"restored,omitempty"` // nil: begun anew
	Aside    string    `json:"set_aside,omitempty"`
	Next     string    `json:"next"`
}

func restoreCommand(o *options) *cobra.Command {
	var passphraseFile string
	var empty, yes bool
	c := &cobra.Command{
		Use: "restore FILE | restore --empty", Short: "Put a backup in the place of what is here, or begin anew",
		Long: "Checks a backup as a whole, then puts it in the place of database, identity, secrets and configuration. What was\n" +
			"there is moved aside, never removed. The service must be stopped. The log of the site begins a new epoch, so that\n" +
			"the cloud stores nothing twice. With --empty the database alone is moved aside, and the service begins anew.",
		Args: func(cmd *cobra.Command, args []string) error {
			if empty {
				return cobra.NoArgs(cmd, args)
			}
			return cobra.ExactArgs(1)(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			r := &restore{cmd: cmd, in: bufio.NewReader(cmd.InOrStdin()), steps: &steps{talk: cmd.ErrOrStderr()}, configFile: o.config,
				named: cmd.Flags().Changed("config"), passphraseFile: passphraseFile, yes: yes, now: time.Now()}
			var result restoreResult
			var err error
			if empty {
				result, err = r.begin()
			} else {
				result, err = r.put(cmd.Context(), args[0])
			}
			if err != nil {
				return asRoot(err)
			}
			if o.json {
				return printJSON(cmd, result)
			}
			if result.Restored != nil {
				fmt.Fprintf(cmd.OutOrStdout(), "Put back: %s.\n", describe(*result.Restored))
			}
			if result.Aside != "" {
				fmt.Fprintf(cmd.OutOrStdout(), "What was here lies in %s.\n", result.Aside)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "Next: %s\n", result.Next)
			return nil
		},
	}
	c.Flags().StringVar(&passphraseFile, "passphrase-file", "", "file with the passphrase; empty or - asks for it")
	c.Flags().BoolVar(&empty, "empty", false, "begin with an empty database; what is there is moved aside")
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return c
}

const startNext = "systemctl start iwas-agent, then iwas-agent status"

// restore is one run of the command.
type restore struct {
	cmd            *cobra.Command
	in             *bufio.Reader
	steps          *steps
	configFile     string
	named          bool // the configuration was named: it must be there
	passphraseFile string
	yes            bool
	now            time.Time
}

// stopped makes sure that nobody uses the state directory.
func (r *restore) stopped(ctx context.Context, cfg config) error {
	conn, err := net.DialTimeout("unix", cfg.controlPath(), time.Second)
	if err == nil {
		_ = conn.Close()
		return fault.New(fault.Conflict, "the service runs: it answers at "+cfg.controlPath(), nil).
			WithCode(store.CodeInUse, "systemctl stop iwas-agent, then restore again. Nothing was touched.")
	}
	return store.Release(ctx, cfg.databaseFile())
}

func (r *restore) confirm(question string) error {
	if r.yes {
		return nil
	}
	fmt.Fprint(r.cmd.ErrOrStderr(), question, " [y/N] ")
	line, err := r.in.ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if a := strings.ToLower(strings.TrimSpace(line)); a != "y" && a != "yes" {
		return errors.New("nothing was changed")
	}
	return nil
}

func (r *restore) asideDir(cfg config) string {
	return filepath.Join(cfg.StateDir, asideFolder+r.now.UTC().Format("20060102T150405.000Z"))
}

// begin moves the database and its copies aside.
func (r *restore) begin() (restoreResult, error) {
	cfg, err := loadConfig(r.configFile, !r.named)
	if err != nil {
		return restoreResult{}, &exitError{exitBadConfig, err}
	}
	if err := r.stopped(r.cmd.Context(), cfg); err != nil {
		return restoreResult{}, err
	}
	if err := r.confirm("The database of " + cfg.StateDir + " is moved aside, and the service begins with an empty one. Accounts, plans and locks come from the cloud again, if this box is enrolled. Go on?"); err != nil {
		return restoreResult{}, err
	}
	aside, err := r.moveAside(cfg, func(name string) bool { return strings.HasPrefix(name, "iwas.db") || name == "backup" })
	return restoreResult{Aside: aside, Next: startNext}, err
}

// moveAside moves what is in the state directory, of the names given, into a folder
// of its own; "" when there was nothing.
func (r *restore) moveAside(cfg config, which func(name string) bool) (aside string, err error) {
	entries, err := os.ReadDir(cfg.StateDir)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		if !which(e.Name()) || strings.HasPrefix(e.Name(), asideFolder) || strings.HasSuffix(e.Name(), ".sock") {
			continue
		}
		if aside == "" {
			aside = r.asideDir(cfg)
			if err := os.Mkdir(aside, 0o700); err != nil {
				return "", err
			}
			if err := ownLike(aside, cfg.StateDir); err != nil {
				return "", err
			}
		}
		if err := os.Rename(filepath.Join(cfg.StateDir, e.Name()), filepath.Join(aside, e.Name())); err != nil {
			return aside, err
		}
	}
	return aside, nil
}

// target is the configuration that is in force once the backup's is at its place.
func (r *restore) target(b *backupFile) (config, error) {
	text, err := b.read(partConfig+"agent.toml", smallBound)
	c := defaultConfig()
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil // the box had none
	}
	if err == nil {
		err = toml.Unmarshal(text, &c)
	}
	if err != nil {
		return c, backupFault(fault.Damaged, "the configuration in the backup cannot be read", err, thisNewer)
	}
	dir := filepath.Dir(r.configFile)
	for _, p := range []*string{&c.StateDir, &c.Control} {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
	return c, nil
}

// put puts a backup in place. All that can fail for the backup's sake has been done
// before anything is moved.
func (r *restore) put(ctx context.Context, file string) (restoreResult, error) {
	var none restoreResult
	if here, err := loadConfig(r.configFile, true); err == nil { // one that is broken is a reason to restore
		if err := r.stopped(ctx, here); err != nil {
			return none, err
		}
	}
	b, err := openBackup(file, func() (secret.Value, error) { return readPassphrase(r.cmd, r.in, r.passphraseFile, false) }, r.steps)
	if err != nil {
		return none, err
	}
	defer func() { _ = b.zip.Close() }() // it was read only
	cfg, err := r.target(b)
	if err != nil {
		return none, err
	}
	if err := r.stopped(ctx, cfg); err != nil {
		return none, err
	}
	if err := r.confirm(r.question(b, cfg)); err != nil {
		return none, err
	}
	if err := os.MkdirAll(cfg.StateDir, 0o700); err != nil {
		return none, err
	}
	db := cfg.databaseFile()
	if err := r.steps.do("Preparing the database", func() error { return b.prepare(ctx, cfg) }); err != nil {
		return none, errors.Join(err, store.Discard(db))
	}
	var aside string
	err = r.steps.do("Putting everything in place", func() error {
		if aside, err = r.moveAside(cfg, func(name string) bool {
			return name != filepath.Base(store.Fresh(db)) && !strings.HasPrefix(name, filepath.Base(store.Fresh(db))) && !strings.HasPrefix(name, "history.")
		}); err != nil {
			return err
		}
		return r.place(b, cfg)
	})
	if err != nil {
		if aside != "" {
			err = fmt.Errorf("%w; what was there lies in %s", err, aside)
		}
		return none, err
	}
	return restoreResult{Restored: &b.about, Aside: aside, Next: startNext}, nil
}

// question says whose backup goes where, and what to mind.
func (r *restore) question(b *backupFile, cfg config) string {
	text := "This puts back " + describe(b.about) + " into " + cfg.StateDir + ".\n"
	here, err := uplink.LoadIdentity(cfg.StateDir)
	switch {
	case b.about.Agent == "":
	case err == nil && string(here.Agent) != b.about.Agent:
		text += "This box is another one: " + here.SiteName + " (" + string(here.Agent) + "). Should the box of the backup still run, there are two of it: the cloud\n" +
			"refuses the second (CLD-104), and guests may be served by the wrong one.\n"
	case err != nil:
		text += "If the box it was made on still runs, stop it first: the cloud refuses a second one (CLD-104).\n"
	}
	return text + "Go on?"
}

// prepare makes the database that is to take the place, with the key of the backup.
func (b *backupFile) prepare(ctx context.Context, cfg config) error {
	db := cfg.databaseFile()
	fresh := store.Fresh(db)
	if err := store.Discard(db); err != nil {
		return err
	}
	if err := b.extract(partDatabase, fresh); err != nil {
		return backupFault(fault.Unavailable, "bring the database of the backup to the disk", err, "Free room on the disk of "+cfg.StateDir+".")
	}
	if err := store.Sound(ctx, fresh); err != nil {
		next := "Take the backup before it. What is on this box was not touched."
		if fault.Is(err, fault.Invalid) {
			next = thisNewer
		}
		return backupFault(fault.KindOf(err), "the database in the backup", err, next)
	}
	key, err := b.key()
	if err != nil {
		return err
	}
	return store.Renew(ctx, store.Options{Path: db, Key: key, Decide: aaa.Decide, Off: aaa.OffReason}, fresh)
}

// key is the sealing key in the backup.
func (b *backupFile) key() (*secret.Key, error) {
	for _, f := range b.box.Files {
		if f.Where != "state" || f.Path != "identity/seal.key" {
			continue
		}
		k, err := secret.ParseKey(string(f.Data))
		if err != nil {
			return nil, backupFault(fault.Damaged, "the sealing key in the backup", err, "Take the backup before it.")
		}
		return k, nil
	}
	return nil, backupFault(fault.Damaged, "there is no sealing key in the backup", nil, "Take the backup before it.")
}

// place writes what the backup holds. The database goes last: until it is there the
// service finds none, and begins nothing with half of the rest.
func (r *restore) place(b *backupFile, cfg config) error {
	dir := filepath.Dir(r.configFile)
	for _, f := range b.box.Files {
		path := filepath.FromSlash(f.Path)
		switch f.Where {
		case "state":
			path = filepath.Join(cfg.StateDir, path)
		case "config":
			path = filepath.Join(dir, path)
		}
		if err := r.write(path, f.Data, cfg); err != nil {
			return err
		}
	}
	old, _ := filepath.Glob(filepath.Join(dir, partsDir, "*.toml")) // the pattern is well formed
	for _, file := range old {                                      // a router of before must not come back with it
		if err := r.keepBeside(file); err != nil {
			return err
		}
	}
	for _, p := range b.about.Files {
		name, is := strings.CutPrefix(p.Name, partConfig)
		if !is {
			continue
		}
		text, err := b.read(p.Name, smallBound)
		if err != nil {
			return err
		}
		path := filepath.Join(dir, filepath.FromSlash(name))
		if name == "agent.toml" {
			path = r.configFile
		}
		if err := r.write(path, text, cfg); err != nil {
			return err
		}
	}
	if err := store.Place(cfg.databaseFile()); err != nil {
		return err
	}
	for _, name := range []string{"", ".mark"} {
		if err := ownLike(cfg.databaseFile()+name, cfg.StateDir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// write puts a file at its place, for the user of the state directory; another one
// that is there stays beside it.
func (r *restore) write(path string, data []byte, cfg config) error {
	if old, err := os.ReadFile(path); err == nil && string(old) != string(data) {
		if err := r.keepBeside(path); err != nil {
			return err
		}
	}
	for _, dir := range missingAbove(path) {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
		if err := ownLike(dir, cfg.StateDir); err != nil {
			return err
		}
	}
	if err := secret.WriteFile(path, data); err != nil {
		return err
	}
	return ownLike(path, cfg.StateDir)
}

// missingAbove are the folders that a file needs, the outermost first.
func missingAbove(path string) (out []string) {
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(dir); err == nil || dir == filepath.Dir(dir) {
			return out
		}
		out = append([]string{dir}, out...)
	}
}

// keepBeside renames a file so that nothing reads it any more.
func (r *restore) keepBeside(file string) error {
	return os.Rename(file, file+"."+asideFolder+r.now.UTC().Format("20060102T150405.000Z"))
}

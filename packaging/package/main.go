// Command package builds everything that is given to people: deb and rpm
// packages, archives, a repository for apt, checksums, lists of what is inside.
// Two runs over one commit write the same bytes; only a signature differs.
//
// It runs at the top of the tree, and needs git, Go and dpkg-deb.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"iwas/internal/release"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	context.AfterFunc(ctx, stop) // a second signal kills at once
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "package:", err)
		os.Exit(1)
	}
}

// job is what one run builds, and of what.
type job struct {
	out     string    // folder of what people get
	work    string    // folder of what is only needed on the way
	version string    // as git says it
	number  string    // as Debian and rpm order it
	date    time.Time // of every file inside
	arches  []string
	names   []string // of the programs
	formats []string
	windows bool
	key     string // file with the secret key that signs the repository; "" leaves it unsigned
}

func run(ctx context.Context, args []string) error {
	var j job
	var arches, names, formats, date string
	flags := flag.NewFlagSet("package", flag.ContinueOnError)
	flags.StringVar(&j.out, "out", "dist", "folder to write into; what is in it goes")
	flags.StringVar(&j.version, "version", "", "version as git says it; empty asks packaging/version.sh")
	flags.StringVar(&date, "date", "", "seconds since 1970 that every file is dated with; empty is the commit's")
	flags.StringVar(&arches, "arch", "amd64,arm64,armv7", "processors")
	flags.StringVar(&names, "program", "iwas-agent,iwas-cloud", "programs")
	flags.StringVar(&formats, "format", "deb,rpm,tar", "what is made for Linux")
	flags.BoolVar(&j.windows, "windows", true, "build the zip for Windows too")
	flags.StringVar(&j.key, "key", os.Getenv("IWAS_APT_KEY"), "file with the secret OpenPGP key that signs the apt repository")
	if err := flags.Parse(args); err != nil {
		return err
	}
	j.arches, j.names, j.formats = strings.Split(arches, ","), strings.Split(names, ","), strings.Split(formats, ",")
	if err := j.stamp(ctx, date); err != nil {
		return err
	}
	return j.build(ctx)
}

// stamp finds version and date where they are not given.
func (j *job) stamp(ctx context.Context, date string) error {
	for _, a := range j.arches {
		if goarch[a] == nil {
			return fmt.Errorf("there is no processor %q: amd64, arm64, armv7", a)
		}
	}
	for _, n := range j.names {
		if _, ok := programs[n]; !ok {
			return fmt.Errorf("there is no program %q: iwas-agent, iwas-cloud", n)
		}
	}
	for _, f := range j.formats {
		if f != "tar" && systems[f] == nil {
			return fmt.Errorf("there is no format %q: deb, rpm, tar", f)
		}
	}
	var err error
	if j.version == "" {
		if j.version, err = output(ctx, nil, "packaging/version.sh"); err != nil {
			return err
		}
	}
	var ok bool
	if j.number, ok = release.Package(j.version); !ok {
		return fmt.Errorf("%q is no version: build in a clone with its history, or give one such as -version v1.2.3", j.version)
	}
	if date == "" {
		if date, err = output(ctx, nil, "git", "log", "-1", "--format=%ct"); err != nil {
			return err
		}
	}
	sec, err := strconv.ParseInt(date, 10, 64)
	if err != nil {
		return fmt.Errorf("-date: %w", err)
	}
	j.date = time.Unix(sec, 0).UTC()
	return nil
}

// build makes everything, in a folder that replaces out only once it is whole.
func (j *job) build(ctx context.Context) error {
	target, err := filepath.Abs(j.out)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	if j.work, err = os.MkdirTemp("", "iwas-package-"); err != nil {
		return err
	}
	defer os.RemoveAll(j.work) // what stays of it hurts nobody
	j.out = filepath.Join(j.work, "dist")
	if err := os.Mkdir(j.out, 0o755); err != nil {
		return err
	}
	for _, n := range j.names {
		if err := j.program(ctx, n); err != nil {
			return fmt.Errorf("%s: %w", n, err)
		}
	}
	if err := j.repository(ctx); err != nil {
		return fmt.Errorf("apt repository: %w", err)
	}
	if err := j.sums(); err != nil {
		return err
	}
	if err := os.RemoveAll(target); err != nil {
		return err
	}
	if err := os.CopyFS(target, os.DirFS(j.out)); err != nil {
		return err
	}
	return readable(target)
}

// readable lets everybody read what people get, whatever the umask: apt reads a
// repository as a user of its own.
func readable(dir string) error {
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chmod(path, map[bool]os.FileMode{true: 0o755, false: 0o644}[e.IsDir()])
	})
}

// program builds all of one program.
func (j *job) program(ctx context.Context, name string) error {
	papers, err := j.papers(ctx, name)
	if err != nil {
		return err
	}
	for _, arch := range j.arches {
		binary, err := j.compile(ctx, name, "linux", arch)
		if err != nil {
			return err
		}
		if err := j.formatted(ctx, name, arch, binary, papers); err != nil {
			return err
		}
	}
	if j.windows && name == "iwas-agent" {
		binary, err := j.compile(ctx, name, "windows", "amd64")
		if err != nil {
			return err
		}
		return j.zipped(name, binary, papers)
	}
	return nil
}

// formatted packs a program for one processor, all formats at once: compressing takes
// most of the time.
func (j *job) formatted(ctx context.Context, name, arch, binary string, papers []file) error {
	done := make(chan error, len(j.formats))
	for _, format := range j.formats {
		go func() {
			if format == "tar" {
				done <- j.tarball(name, arch, binary, papers)
				return
			}
			done <- j.packed(ctx, name, arch, format, binary, papers)
		}()
	}
	var errs []error
	for range j.formats {
		errs = append(errs, <-done)
	}
	return errors.Join(errs...)
}

func (j *job) say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// output runs a program and returns what it prints, without the line end.
func output(ctx context.Context, env []string, name string, args ...string) (string, error) {
	c := exec.CommandContext(ctx, name, args...)
	c.Env = append(os.Environ(), env...)
	c.Stderr = os.Stderr
	b, err := c.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", name, strings.Join(args[:min(len(args), 2)], " "), err)
	}
	return strings.TrimRight(string(b), "\r\n"), nil
}

// sorted returns the keys of a map in order.
func sorted[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

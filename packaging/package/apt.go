package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// repository writes a folder that apt can install from, on any web server or disk:
// the packages in pool/, and what lists them in dists/stable/.
func (j *job) repository(ctx context.Context) error {
	debs, err := filepath.Glob(filepath.Join(j.out, "*.deb"))
	if err != nil {
		return err
	}
	top := filepath.Join(j.out, "apt")
	lists := map[string]*strings.Builder{}
	for _, a := range j.arches {
		lists[systems["deb"][a]] = &strings.Builder{}
	}
	for _, deb := range debs {
		b, err := os.ReadFile(deb)
		if err != nil {
			return err
		}
		control, err := output(ctx, nil, "dpkg-deb", "--field", deb)
		if err != nil {
			return err
		}
		pool := filepath.Join("pool", filepath.Base(deb))
		if err := write(filepath.Join(top, pool), b, 0o644); err != nil {
			return err
		}
		arch, err := output(ctx, nil, "dpkg-deb", "--field", deb, "Architecture")
		if err != nil {
			return err
		}
		fmt.Fprintf(lists[arch], "%s\nFilename: %s\nSize: %d\nSHA256: %x\n\n", control, filepath.ToSlash(pool), len(b), sha256.Sum256(b))
	}
	release := fmt.Sprintf("Origin: IWAS\nLabel: IWAS\nSuite: stable\nCodename: stable\nDate: %s\nArchitectures: %s\nComponents: main\nDescription: IWAS\nSHA256:\n",
		strings.Replace(j.date.Format(time.RFC1123), "GMT", "UTC", 1), strings.Join(sorted(lists), " "))
	suite := filepath.Join(top, "dists", "stable")
	for _, arch := range sorted(lists) {
		plain := []byte(lists[arch].String())
		packed, err := gz(plain)
		if err != nil {
			return err
		}
		for ending, body := range map[string][]byte{"": plain, ".gz": packed} {
			if err := write(filepath.Join(suite, "main", "binary-"+arch, "Packages"+ending), body, 0o644); err != nil {
				return err
			}
		}
		for _, one := range []struct {
			ending string
			body   []byte
		}{{"", plain}, {".gz", packed}} {
			release += fmt.Sprintf(" %x %d main/binary-%s/Packages%s\n", sha256.Sum256(one.body), len(one.body), arch, one.ending)
		}
	}
	if err := write(filepath.Join(suite, "Release"), []byte(release), 0o644); err != nil {
		return err
	}
	if j.key == "" {
		j.say("The apt repository is not signed: no -key was given. apt takes it only with [trusted=yes].")
		return nil
	}
	return j.sign(ctx, top, suite)
}

// sign makes InRelease and Release.gpg, and puts the public key beside them.
func (j *job) sign(ctx context.Context, top, suite string) error {
	home, err := os.MkdirTemp("", "gpg") // a short name: gpg-agent's socket is below it
	if err != nil {
		return err
	}
	defer os.RemoveAll(home) // the key with it
	env := []string{"GNUPGHOME=" + home}
	gpg := func(args ...string) error {
		_, err := output(ctx, env, "gpg", slices.Concat([]string{"--batch", "--yes", "--quiet"}, args)...)
		return err
	}
	if err := gpg("--import", j.key); err != nil {
		return err
	}
	defer output(context.WithoutCancel(ctx), env, "gpgconf", "--kill", "all") // nothing listens in home any more
	in := filepath.Join(suite, "Release")
	for _, args := range [][]string{
		{"--clearsign", "--output", filepath.Join(suite, "InRelease"), in},
		{"--armor", "--detach-sign", "--output", in + ".gpg", in},
		{"--export", "--output", filepath.Join(top, "iwas-archive-keyring.gpg")},
	} {
		if err := gpg(args...); err != nil {
			return err
		}
	}
	return os.Chmod(filepath.Join(top, "iwas-archive-keyring.gpg"), 0o644)
}

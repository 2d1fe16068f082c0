package main

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// unpackaged are the files of an archive: the program on top, beside it what a
// person reads or copies; nothing that only a package's scripts would use.
func unpackaged(name, binary string, papers []file) ([]file, error) {
	b, err := os.ReadFile(binary)
	if err != nil {
		return nil, err
	}
	out := []file{{filepath.Base(binary), b, 0o755}}
	for _, f := range papers {
		for from, to := range map[string]string{
			"/usr/share/" + name + "/": "configs/", "/usr/share/doc/" + name + "/": "", "/usr/share/man/man8/": "man/",
			"/usr/lib/systemd/system/": "configs/", "/usr/lib/sysctl.d/": "configs/",
		} {
			if rest, ok := strings.CutPrefix(f.path, from); ok && !strings.HasPrefix(rest, "changelog") {
				out = append(out, file{to + rest, f.body, f.mode})
			}
		}
	}
	return out, nil
}

// tarball writes the archive for a Linux without packages.
func (j *job) tarball(name, arch, binary string, papers []file) error {
	files, err := unpackaged(name, binary, papers)
	if err != nil {
		return err
	}
	base := fmt.Sprintf("%s_%s_linux_%s", name, j.number, arch)
	f, err := os.Create(filepath.Join(j.out, base+".tar.gz"))
	if err != nil {
		return err
	}
	zw, err := gzip.NewWriterLevel(f, gzip.BestCompression)
	if err != nil {
		return err
	}
	tw := tar.NewWriter(zw)
	for _, one := range files {
		h := &tar.Header{Name: path.Join(base, one.path), Mode: int64(one.mode), Size: int64(len(one.body)), ModTime: j.date, Typeflag: tar.TypeReg, Format: tar.FormatUSTAR, Uname: "root", Gname: "root"}
		if err := tw.WriteHeader(h); err != nil {
			return err
		}
		if _, err := tw.Write(one.body); err != nil {
			return err
		}
	}
	return errors.Join(tw.Close(), zw.Close(), f.Close())
}

// zipped writes the archive for Windows.
func (j *job) zipped(name, binary string, papers []file) error {
	files, err := unpackaged(name, binary, papers)
	if err != nil {
		return err
	}
	base := fmt.Sprintf("%s_%s_windows_amd64", name, j.number)
	f, err := os.Create(filepath.Join(j.out, base+".zip"))
	if err != nil {
		return err
	}
	zw := zip.NewWriter(f)
	for _, one := range files {
		if strings.HasPrefix(one.path, "man/") || strings.HasSuffix(one.path, ".service") || strings.HasPrefix(path.Base(one.path), "60-") {
			continue // of Linux
		}
		w, err := zw.CreateHeader(&zip.FileHeader{Name: base + "/" + one.path, Method: zip.Deflate, Modified: j.date})
		if err != nil {
			return err
		}
		if _, err := w.Write(one.body); err != nil {
			return err
		}
	}
	return errors.Join(zw.Close(), f.Close())
}

// sums writes SHA256SUMS over every file, as sha256sum -c reads it.
func (j *job) sums() error {
	var text strings.Builder
	err := fs.WalkDir(os.DirFS(j.out), ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(filepath.Join(j.out, name))
		if err != nil {
			return err
		}
		fmt.Fprintf(&text, "%x  %s\n", sha256.Sum256(b), name)
		return nil
	})
	if err != nil {
		return err
	}
	return write(filepath.Join(j.out, "SHA256SUMS"), []byte(text.String()), 0o644)
}

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// logFiles is a log in files of a bounded size, for a system whose services have
// nowhere to write to: FILE is the newest, FILE.1 the one before, up to FILE.(keep-1).
type logFiles struct {
	path  string
	limit int64 // octets in one file; a line longer than that stands alone
	keep  int   // files

	mu   sync.Mutex // guards the rest
	file *os.File
	size int64
}

func openLogFiles(path string, limit int64, keep int) (*logFiles, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	l := &logFiles{path: path, limit: limit, keep: keep}
	return l, l.open()
}

func (l *logFiles) open() error {
	f, err := os.OpenFile(l.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	l.file, l.size = f, info.Size()
	return nil
}

// Write puts lines into the newest file, and begins another where it is full.
func (l *logFiles) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.size > 0 && l.size+int64(len(b)) > l.limit {
		if err := l.turn(); err != nil {
			return 0, err
		}
	}
	n, err := l.file.Write(b)
	l.size += int64(n)
	return n, err
}

func (l *logFiles) turn() error {
	if err := l.file.Close(); err != nil {
		return err
	}
	for i := l.keep - 1; i > 0; i-- {
		from := l.path
		if i > 1 {
			from = fmt.Sprintf("%s.%d", l.path, i-1)
		}
		if err := os.Rename(from, fmt.Sprintf("%s.%d", l.path, i)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return errors.Join(err, l.open())
		}
	}
	return l.open()
}

func (l *logFiles) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.file.Close()
}

package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestLogFilesAreBounded(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	l, err := openLogFiles(filepath.Join(dir, "a.log"), 20, 3)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"the first line\n", "second\n", "third\n", "fourth\n", "a line that is longer than all\n", "last\n"} {
		if _, err := l.Write([]byte(line)); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if l, err = openLogFiles(filepath.Join(dir, "a.log"), 20, 3); err != nil { // goes on where it was
		t.Fatal(err)
	}
	if _, err := l.Write([]byte("after a start\n")); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	var got []string
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e.Name()+": "+strings.TrimSpace(string(b)))
	}
	want := []string{"a.log: last\nafter a start", "a.log.1: a line that is longer than all", "a.log.2: second\nthird\nfourth"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

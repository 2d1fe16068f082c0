package ownership

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func owner(t *testing.T, path string) (uid, gid uint32, mode os.FileMode) {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	s := info.Sys().(*syscall.Stat_t)
	return s.Uid, s.Gid, info.Mode().Perm()
}

// tree is a folder of uid and gid in which root wrote.
func tree(t *testing.T, uid, gid int) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test gives files away: run it as root, as the container of the tests does")
	}
	dir := filepath.Join(t.TempDir(), "state")
	outside := filepath.Join(t.TempDir(), "outside")
	for _, err := range []error{
		os.MkdirAll(filepath.Join(dir, "identity"), 0o700),
		os.WriteFile(filepath.Join(dir, "identity", "key"), []byte("k"), 0o600),
		os.WriteFile(outside, []byte("o"), 0o600),
		os.Link(outside, filepath.Join(dir, "second-name")),
		os.Symlink(outside, filepath.Join(dir, "link")),
		os.WriteFile(filepath.Join(dir, "theirs"), nil, 0o600),
		os.Chown(filepath.Join(dir, "theirs"), 4242, 4242),
		os.Chown(dir, uid, gid),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestWhatRootWroteBelongsToTheService(t *testing.T) {
	dir := tree(t, 4711, 4712)
	if err := Settle(dir); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][2]uint32{
		"identity": {4711, 4712}, "identity/key": {4711, 4712}, "second-name": {0, 0}, "link": {0, 0}, "theirs": {4242, 4242},
	} {
		if uid, gid, _ := owner(t, filepath.Join(dir, name)); uid != want[0] || gid != want[1] {
			t.Errorf("%s: got %d:%d, want %d:%d", name, uid, gid, want[0], want[1])
		}
	}
	if _, _, mode := owner(t, filepath.Join(dir, "identity", "key")); mode != 0o600 {
		t.Errorf("the key's mode became %o", mode)
	}
}

func TestWhatRootConfiguredTheServiceMayRead(t *testing.T) {
	dir := tree(t, 0, 4712)
	if err := Settle(dir); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]os.FileMode{"identity": 0o750, "identity/key": 0o640} {
		if uid, gid, mode := owner(t, filepath.Join(dir, name)); uid != 0 || gid != 4712 || mode != want {
			t.Errorf("%s: got %d:%d %o, want 0:4712 %o", name, uid, gid, mode, want)
		}
	}
}

func TestRootsOwnFolderStaysRoots(t *testing.T) {
	dir := tree(t, 0, 0)
	if err := Settle(dir); err != nil {
		t.Fatal(err)
	}
	if uid, gid, mode := owner(t, filepath.Join(dir, "identity", "key")); uid != 0 || gid != 0 || mode != 0o600 {
		t.Errorf("got %d:%d %o", uid, gid, mode)
	}
	if err := Settle(filepath.Join(dir, "none")); err != nil {
		t.Errorf("a folder that does not exist: %v", err)
	}
}

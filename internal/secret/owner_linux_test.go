package secret

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// What an administrator's command writes must be readable for the service. Where
// the tests do not run as root there is nobody to give a file to, and it stays.
func TestRootWritesForTheOwnerOfTheFolder(t *testing.T) {
	dir := t.TempDir()
	want := uint32(os.Geteuid())
	if want == 0 {
		want = 65534 // nobody
		if err := os.Chown(dir, int(want), int(want)); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, "x")
	if err := WriteFile(file, []byte("secret")); err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(file)
	if err != nil || st.Mode().Perm() != 0o600 || st.Sys().(*syscall.Stat_t).Uid != want {
		t.Errorf("got %v of %+v, %v; want 0600 of %d", st.Mode(), st.Sys(), err, want)
	}
}

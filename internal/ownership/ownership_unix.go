//go:build unix

package ownership

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// Settle gives what this process wrote as root below dir to whom dir belongs to:
// its owner and group, or, where root owns dir, its group, which may then read. It does
// nothing unless root runs it, and nothing where dir is root's altogether.
//
// dir may belong to somebody who is not trusted: nothing outside is reached
// through links (os.Root), and no file that has a second name is given away.
func Settle(dir string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	top, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	to, ok := top.Sys().(*syscall.Stat_t)
	if !ok || to.Uid == 0 && to.Gid == 0 {
		return nil
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	err = fs.WalkDir(root.FS(), ".", func(name string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // gone meanwhile
		}
		if err != nil || name == "." {
			return err
		}
		return settle(root, name, to)
	})
	return errors.Join(err, root.Close())
}

func settle(root *os.Root, name string, to *syscall.Stat_t) error {
	info, err := root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	is, ok := info.Sys().(*syscall.Stat_t)
	if !ok || is.Uid != 0 || is.Uid == to.Uid && is.Gid == to.Gid {
		return nil // somebody meant it so
	}
	regular := info.Mode().IsRegular()
	if regular && is.Nlink > 1 || !regular && !info.IsDir() {
		return nil
	}
	if err := root.Lchown(name, int(to.Uid), int(to.Gid)); err != nil {
		return err
	}
	if to.Uid != 0 {
		return nil
	}
	read := fs.FileMode(0o040)
	if info.IsDir() {
		read = 0o050
	}
	return root.Chmod(name, info.Mode().Perm()|read)
}

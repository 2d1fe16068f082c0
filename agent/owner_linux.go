package main

import (
	"os"
	"syscall"
)

// ownLike gives a file to the owner of another: what root writes the service must
// be able to read.
func ownLike(path, like string) error {
	st, err := os.Stat(like)
	if err != nil {
		return err
	}
	owner, ok := st.Sys().(*syscall.Stat_t)
	if !ok || os.Geteuid() != 0 {
		_, err := os.Stat(path)
		return err
	}
	return os.Chown(path, int(owner.Uid), int(owner.Gid))
}

package main

import "golang.org/x/sys/unix"

// diskFree returns the octets free for us on the disk of path; 0 is unknown.
func diskFree(path string) uint64 {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return 0
	}
	return st.Bavail * uint64(st.Bsize)
}

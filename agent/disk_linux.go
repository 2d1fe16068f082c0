package main

import "golang.org/x/sys/unix"

// diskFree returns the octets free for us on the disk of path; 0 is unknown, or none.
func diskFree(path string) uint64 {
	free, _ := diskRoom(path)
	return free
}

// diskRoom tells the two apart.
func diskRoom(path string) (uint64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return 0, err
	}
	return st.Bavail * uint64(st.Bsize), nil
}

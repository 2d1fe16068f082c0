package main

import "golang.org/x/sys/windows"

// diskFree returns the octets free for us on the disk of path; 0 is unknown.
func diskFree(path string) uint64 {
	p, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return 0
	}
	var free uint64
	if err := windows.GetDiskFreeSpaceEx(p, &free, nil, nil); err != nil {
		return 0
	}
	return free
}

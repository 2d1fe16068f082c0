package main

import "golang.org/x/sys/windows"

// diskFree returns the octets free for us on the disk of path; 0 is unknown, or none.
func diskFree(path string) uint64 {
	free, _ := diskRoom(path)
	return free
}

// diskRoom tells the two apart.
func diskRoom(path string) (uint64, error) {
	p, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return 0, err
	}
	var free uint64
	err = windows.GetDiskFreeSpaceEx(p, &free, nil, nil)
	return free, err
}

package chaos

import (
	"errors"
	"os"
	"syscall"
)

const diskSize = "320m" // of a disk that is going to be full; below 128 MB an agent keeps nothing that the cloud has

// mount puts a small disk under a folder until the test ends. false: this
// process may not, and no disk gets full in this run, which its counts show.
func (c *cafes) mount(dir string) bool {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		c.Fatal(err)
	}
	err := syscall.Mount("iwas-chaos", dir, "tmpfs", syscall.MS_NOSUID|syscall.MS_NODEV, "mode=0700,size="+diskSize)
	if errors.Is(err, syscall.EPERM) {
		c.Logf("full disks are left out of this run: mounting one needs root (%v)", err)
		return false
	}
	if err != nil {
		c.Fatal(err)
	}
	c.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			c.Errorf("unmount %s: %v", dir, err)
		}
	})
	return true
}

package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// disk is an ext4 file system on a disk of our own making: a loop device whose
// file is served, over FUSE, by a process that takes as long as asked for every
// write and every flush, and that keeps what was not flushed in its memory only.
// Killing that process is a power cut: image is then what the platters hold.
type disk struct {
	image, at string // the disk's content; where the file system is mounted
	fuse      string
	server    *process
}

// Slow says how slow a disk is.
type Slow struct {
	Flush time.Duration // of every flush of its cache
	IOPS  int           // writes a second; 0 is no bound
}

// String says it as the tables do.
func (s Slow) String() string {
	if s.IOPS > 0 {
		return fmt.Sprintf("%d writes a second", s.IOPS)
	}
	return fmt.Sprintf("%s for a flush", s.Flush)
}

// newDisk makes a disk below dir and mounts it. self is this program, which also
// serves disks. It needs root, FUSE and loop devices.
func newDisk(ctx context.Context, self, dir string, slow Slow) (d *disk, err error) {
	d = &disk{image: filepath.Join(dir, "image"), at: filepath.Join(dir, "disk"), fuse: filepath.Join(dir, "fuse")}
	for _, sub := range []string{d.at, d.fuse} {
		if err := os.Mkdir(sub, 0o755); err != nil {
			return nil, err
		}
	}
	if err := errors.Join(os.WriteFile(d.image, nil, 0o600), os.Truncate(d.image, 512<<20)); err != nil {
		return nil, err
	}
	if err := tool(ctx, "mkfs.ext4", "-q", "-F", d.image); err != nil {
		return nil, err
	}
	d.server, err = start(filepath.Join(dir, "disk.log"), nil, nil, self, "disk", "-image", d.image, "-at", d.fuse, "-flush", slow.Flush.String(), "-iops", fmt.Sprint(slow.IOPS))
	if err != nil {
		return nil, err
	}
	served := filepath.Join(d.fuse, "disk")
	err = d.server.until(ctx, 5*time.Second, func() bool { _, err := os.Stat(served); return err == nil })
	if err == nil {
		err = mountLoop(ctx, served, d.at)
	}
	if err != nil {
		return nil, errors.Join(err, d.server.stop(syscall.SIGKILL), syscall.Unmount(d.fuse, syscall.MNT_DETACH))
	}
	return d, os.Chmod(d.at, 0o777)
}

// close unmounts everything and ends the server.
func (d *disk) close() error {
	return errors.Join(syscall.Unmount(d.at, 0), syscall.Unmount(d.fuse, syscall.MNT_DETACH), d.server.stop(syscall.SIGKILL))
}

// cut takes the power from the disk: whatever was not flushed is gone.
func (d *disk) cut() error { return d.server.stop(syscall.SIGKILL) }

// after mounts what a cut left, once nothing holds the disk any more.
func (d *disk) after(ctx context.Context, at string) error {
	if err := errors.Join(syscall.Unmount(d.at, syscall.MNT_DETACH), syscall.Unmount(d.fuse, syscall.MNT_DETACH), os.Mkdir(at, 0o755)); err != nil {
		return err
	}
	return mountLoop(ctx, d.image, at)
}

// mountLoop mounts a file with a file system in it. The loop device goes with
// the mount.
func mountLoop(ctx context.Context, file, at string) error {
	out, err := exec.CommandContext(ctx, "losetup", "--find", "--show", file).CombinedOutput()
	if err != nil {
		return fmt.Errorf("losetup: %w\n%s", err, out)
	}
	device := strings.TrimSpace(string(out))
	return errors.Join(tool(ctx, "mount", "-t", "ext4", device, at), tool(ctx, "losetup", "-d", device))
}

func tool(ctx context.Context, name string, args ...string) error {
	path, err := find(name, "e2fsprogs mount")
	if err != nil {
		return err
	}
	return pipe(exec.CommandContext(ctx, path, args...), nil)
}

// noDisk says why a part that needs a disk of our own is left out.
func noDisk(err error) error {
	return fmt.Errorf("no disk of our own here (it needs root, /dev/fuse and loop devices): %w", err)
}

// describe says how a server's disk was made slow, and how slow it came out.
func (r *run) describe(s server, d *disk, slow Slow) error {
	took, err := flushTime(d.at)
	if err != nil {
		return err
	}
	r.say("   %s: ext4 on a loop device whose file, served over FUSE by a process of the bench, takes %s; a fdatasync of 4 KiB takes %s there", s.Name(), slow, short(took))
	return nil
}

// flushTime measures one fdatasync of 4 KiB written over what a file held, which
// is what a write-ahead log does most of the time: the median of 50.
func flushTime(dir string) (took time.Duration, err error) {
	f, err := os.CreateTemp(dir, "probe-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	const writes, page = 50, 4096
	if _, err := f.Write(make([]byte, writes*page)); err != nil {
		return 0, err
	}
	if err := f.Sync(); err != nil {
		return 0, err
	}
	var all []time.Duration
	for i := range writes {
		if _, err := f.WriteAt(make([]byte, page), int64(i)*page); err != nil {
			return 0, err
		}
		began := time.Now()
		if err := syscall.Fdatasync(int(f.Fd())); err != nil {
			return 0, err
		}
		all = append(all, time.Since(began))
	}
	return median(all), nil
}

// FUSE's requests, as far as a loop device makes them, and the sizes of their
// headers (linux/fuse.h, 7.31).
const (
	fuseLookup   = 1
	fuseForget   = 2
	fuseGetattr  = 3
	fuseSetattr  = 4
	fuseOpen     = 14
	fuseRead     = 15
	fuseWrite    = 16
	fuseRelease  = 18
	fuseFsync    = 20
	fuseFlush    = 25
	fuseInit     = 26
	fuseForgets  = 42
	fuseInHeader = 40
	fuseIOHeader = 40 // of read and write, after the common one
	fuseBuffer   = 1<<20 + 8192
	fuseRoot     = 1
	fuseFile     = 2
)

// served is a disk as its server sees it.
type served struct {
	fuse  int
	image *os.File
	size  int64
	slow  Slow
	cache []cached // written and not yet flushed, the oldest first
}

type cached struct {
	at   int64
	data []byte
}

// ServeDisk serves an image as the file "disk" below a folder until it is
// unmounted or the process is killed.
func ServeDisk(image, at string, slow Slow) (err error) {
	f, err := os.OpenFile(image, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	fuse, err := syscall.Open("/dev/fuse", syscall.O_RDWR|syscall.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open /dev/fuse: %w", err)
	}
	if err := syscall.Mount("disk", at, "fuse", syscall.MS_NOSUID|syscall.MS_NODEV, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", fuse)); err != nil {
		return fmt.Errorf("mount FUSE: %w", err)
	}
	d := &served{fuse: fuse, image: f, size: info.Size(), slow: slow}
	b := make([]byte, fuseBuffer)
	for {
		n, err := syscall.Read(fuse, b)
		switch {
		case errors.Is(err, syscall.EINTR), errors.Is(err, syscall.ENOENT): // a request taken back
			continue
		case errors.Is(err, syscall.ENODEV): // unmounted
			return nil
		case err != nil:
			return err
		case n < fuseInHeader:
			return fmt.Errorf("a FUSE request of %d octets", n)
		}
		if err := d.serve(b[:n]); err != nil {
			return err
		}
	}
}

// serve answers one request. One after the other, as a disk does.
func (d *served) serve(b []byte) error {
	in := b[fuseInHeader:]
	node := binary.NativeEndian.Uint64(b[16:])
	var out []byte
	var errno syscall.Errno
	switch binary.NativeEndian.Uint32(b[4:]) {
	case fuseForget, fuseForgets:
		return nil
	case fuseInit:
		out = make([]byte, 64)
		for i, v := range []uint32{7, 31, 0, 1<<5 | 1<<22, 0, 1 << 20, 1} { // version, big writes, max_write, granularity
			binary.NativeEndian.PutUint32(out[4*i:], v)
		}
		binary.NativeEndian.PutUint16(out[28:], 256) // max_pages
	case fuseLookup:
		if string(in) != "disk\x00" {
			errno = syscall.ENOENT
			break
		}
		out = make([]byte, 40, 128)
		binary.NativeEndian.PutUint64(out, fuseFile)
		binary.NativeEndian.PutUint64(out[16:], 3600)
		binary.NativeEndian.PutUint64(out[24:], 3600)
		out = append(out, d.attr(fuseFile)...)
	case fuseGetattr, fuseSetattr:
		out = make([]byte, 16, 104)
		binary.NativeEndian.PutUint64(out, 3600)
		out = append(out, d.attr(node)...)
	case fuseOpen:
		out = make([]byte, 16)
		out[8] = 1 // no page cache in between
	case fuseRead:
		out, errno = d.read(in)
	case fuseWrite:
		errno = d.write(in)
		out = make([]byte, 8)
		copy(out, in[16:20])
	case fuseFsync:
		errno = d.flush()
	case fuseFlush, fuseRelease:
	default:
		errno = syscall.ENOSYS
	}
	if errno != 0 {
		out = nil
	}
	head := make([]byte, 16, 16+len(out))
	binary.NativeEndian.PutUint32(head, uint32(16+len(out)))
	binary.NativeEndian.PutUint32(head[4:], uint32(-int32(errno)))
	copy(head[8:], b[8:16])
	_, err := syscall.Write(d.fuse, append(head, out...))
	if errors.Is(err, syscall.ENOENT) { // the request was taken back
		return nil
	}
	return err
}

func (d *served) attr(node uint64) []byte {
	a := make([]byte, 88)
	mode, size := uint32(syscall.S_IFREG|0o600), uint64(d.size)
	if node == fuseRoot {
		mode, size = syscall.S_IFDIR|0o700, 0
	}
	binary.NativeEndian.PutUint64(a, node)
	binary.NativeEndian.PutUint64(a[8:], size)
	binary.NativeEndian.PutUint64(a[16:], size/512)
	binary.NativeEndian.PutUint32(a[60:], mode)
	binary.NativeEndian.PutUint32(a[64:], 1)
	binary.NativeEndian.PutUint32(a[80:], 4096)
	return a
}

// read returns what the file would hold were all flushed.
func (d *served) read(in []byte) ([]byte, syscall.Errno) {
	at, size := int64(binary.NativeEndian.Uint64(in[8:])), int64(binary.NativeEndian.Uint32(in[16:]))
	out := make([]byte, max(0, min(size, d.size-at)))
	if _, err := d.image.ReadAt(out, at); err != nil {
		return nil, syscall.EIO
	}
	for _, c := range d.cache {
		if from, to := max(at, c.at), min(at+int64(len(out)), c.at+int64(len(c.data))); from < to {
			copy(out[from-at:to-at], c.data[from-c.at:])
		}
	}
	return out, 0
}

func (d *served) write(in []byte) syscall.Errno {
	if d.slow.IOPS > 0 {
		pause(time.Second / time.Duration(d.slow.IOPS))
	}
	at, size := int64(binary.NativeEndian.Uint64(in[8:])), int(binary.NativeEndian.Uint32(in[16:]))
	if len(in) < fuseIOHeader+size {
		return syscall.EINVAL
	}
	if at+int64(size) > d.size {
		return syscall.ENOSPC
	}
	d.cache = append(d.cache, cached{at, append([]byte(nil), in[fuseIOHeader:fuseIOHeader+size]...)})
	if len(d.cache) > 4096 { // a disk's cache has an end too
		return d.settle()
	}
	return 0
}

func (d *served) flush() syscall.Errno {
	pause(d.slow.Flush)
	return d.settle()
}

// settle writes the cache to the image.
func (d *served) settle() syscall.Errno {
	for _, c := range d.cache {
		if _, err := d.image.WriteAt(c.data, c.at); err != nil {
			return syscall.EIO
		}
	}
	d.cache = d.cache[:0]
	return 0
}

// pause is the time a disk takes.
func pause(d time.Duration) {
	if d > 0 {
		time.Sleep(d) // the disk is the thing that is slow
	}
}

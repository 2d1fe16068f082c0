package radload

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// clockTick is the unit of times in /proc/PID/stat (sysconf(_SC_CLK_TCK), which
// is 100 on every Linux there is for Go).
const clockTick = 10 * time.Millisecond

// Usage is what a server's processes took from the machine.
type Usage struct {
	CPU  time.Duration // user and system, of all, since they began
	Peak int64         // bytes: the sum of each one's peak of resident memory (VmHWM)
}

// ServerUsage reads the usage of a process and of its descendants.
func ServerUsage(pid int) (Usage, error) {
	parents, err := parents()
	if err != nil {
		return Usage{}, err
	}
	var sum Usage
	for p := range parents {
		if !descends(p, pid, parents) {
			continue
		}
		u, err := processUsage(p)
		switch {
		case err == nil:
			sum.CPU += u.CPU
			sum.Peak += u.Peak
		case p == pid || !errors.Is(err, os.ErrNotExist): // else it ended meanwhile
			return Usage{}, err
		}
	}
	return sum, nil
}

// parents maps every process to its parent.
func parents() (map[int]int, error) {
	names, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	out := map[int]int{}
	for _, name := range names {
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		if err != nil {
			return nil, err
		}
		if f, err := statFields(pid); err == nil { // else it ended meanwhile
			out[pid] = f[1]
		}
	}
	return out, nil
}

func descends(pid, from int, parents map[int]int) bool {
	for ; pid > 0; pid = parents[pid] {
		if pid == from {
			return true
		}
	}
	return false
}

// statFields reads /proc/PID/stat from the third field on (proc(5)): what is not
// a number is 0.
func statFields(pid int) ([]int, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, err
	}
	words := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:]) // a name may hold blanks
	if len(words) < 15 {
		return nil, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(words))
	}
	out := make([]int, len(words))
	for i, w := range words {
		out[i], _ = strconv.Atoi(string(w))
	}
	return out, nil
}

func processUsage(pid int) (Usage, error) {
	f, err := statFields(pid)
	if err != nil {
		return Usage{}, err
	}
	u := Usage{CPU: time.Duration(f[11]+f[12]+f[13]+f[14]) * clockTick} // utime, stime, and those of children that ended
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return Usage{}, err
	}
	if _, rest, ok := bytes.Cut(b, []byte("VmHWM:")); ok {
		var kb int64
		if _, err := fmt.Sscanf(string(rest), "%d kB", &kb); err != nil {
			return Usage{}, err
		}
		u.Peak = kb << 10
	}
	return u, nil
}

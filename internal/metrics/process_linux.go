package metrics

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ticks a second in /proc/PID/stat: USER_HZ, 100 on every Linux that Go runs on.
const ticks = 100

// process tells of this process what /proc does (proc(5)); what cannot be read is
// left out.
func process(w Writer) {
	var used syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &used) == nil {
		w.Counter("process_cpu_seconds_total", helpCPU, time.Duration(used.Utime.Nano()+used.Stime.Nano()).Seconds())
	}
	if open, err := os.ReadDir("/proc/self/fd"); err == nil {
		w.Gauge("process_open_fds", helpOpen, float64(len(open)-1)) // one is this reading's
	}
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) == nil {
		w.Gauge("process_max_fds", helpMaxOpen, float64(limit.Cur))
	}
	stat, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return
	}
	// The second field is the program's name in brackets, and may hold anything.
	f := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:])) // from the third field on
	if len(f) < 22 {
		return
	}
	if virtual, err := strconv.ParseFloat(f[20], 64); err == nil {
		w.Gauge("process_virtual_memory_bytes", helpVirtual, virtual)
	}
	if pages, err := strconv.ParseFloat(f[21], 64); err == nil {
		w.Gauge("process_resident_memory_bytes", helpResident, pages*float64(os.Getpagesize()))
	}
	began, err := strconv.ParseFloat(f[19], 64)
	if boot := bootedAt(); err == nil && boot > 0 {
		w.Gauge("process_start_time_seconds", helpStarted, boot+began/ticks)
	}
}

// bootedAt is when this machine began, in Unix seconds; 0 if it does not say.
func bootedAt() float64 {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(stat)) {
		if at, ok := strings.CutPrefix(line, "btime "); ok {
			v, _ := strconv.ParseFloat(strings.TrimSpace(at), 64) // 0 is unknown
			return v
		}
	}
	return 0
}

package metrics

import (
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
)

var (
	kernel      = windows.NewLazySystemDLL("kernel32.dll")
	handleCount = kernel.NewProc("GetProcessHandleCount")
	memoryInfo  = kernel.NewProc("K32GetProcessMemoryInfo")
)

// memoryCounters is PROCESS_MEMORY_COUNTERS of psapi.h.
type memoryCounters struct {
	size, pageFaults           uint32
	peakWorkingSet, workingSet uintptr
	quotas                     [4]uintptr
	pagefile, peakPagefile     uintptr
}

// maxHandles is what Windows gives a process at most.
const maxHandles = 16 << 20

// process tells of this process what Windows does; what cannot be read is left out.
func process(w Writer) {
	self := windows.CurrentProcess()
	var began, ended, inKernel, inUser windows.Filetime
	if windows.GetProcessTimes(self, &began, &ended, &inKernel, &inUser) == nil {
		w.Counter("process_cpu_seconds_total", helpCPU, (span(inKernel) + span(inUser)).Seconds())
		w.Gauge("process_start_time_seconds", helpStarted, float64(began.Nanoseconds())/1e9)
	}
	var open uint32
	if ok, _, _ := handleCount.Call(uintptr(self), uintptr(unsafe.Pointer(&open))); ok != 0 {
		w.Gauge("process_open_fds", helpOpen, float64(open))
		w.Gauge("process_max_fds", helpMaxOpen, maxHandles)
	}
	m := memoryCounters{size: uint32(unsafe.Sizeof(memoryCounters{}))}
	if ok, _, _ := memoryInfo.Call(uintptr(self), uintptr(unsafe.Pointer(&m)), uintptr(m.size)); ok != 0 {
		w.Gauge("process_resident_memory_bytes", helpResident, float64(m.workingSet))
		w.Gauge("process_virtual_memory_bytes", helpVirtual, float64(m.pagefile))
	}
}

// span is a duration that Windows counts in steps of 100 ns.
func span(f windows.Filetime) time.Duration {
	return time.Duration(uint64(f.HighDateTime)<<32|uint64(f.LowDateTime)) * 100
}

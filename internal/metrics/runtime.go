package metrics

import (
	"runtime"
	"runtime/metrics"
	"strings"
)

// ofGo are the figures of Go itself, under the names Prometheus's own library gives
// them, so that the dashboards people have show them.
var ofGo = []struct{ name, from, help string }{
	{"go_goroutines", "/sched/goroutines:goroutines", "Number of goroutines that currently exist."},
	{"go_threads", "/sched/threads/total:threads", "Number of OS threads."},
	{"go_sched_gomaxprocs_threads", "/sched/gomaxprocs:threads", "Threads that run Go code at once."},
	{"go_gc_cycles_total", "/gc/cycles/total:gc-cycles", "Collections of garbage."},
	{"go_gc_gogc_percent", "/gc/gogc:percent", "Growth of the heap before the next collection."},
	{"go_gc_gomemlimit_bytes", "/gc/gomemlimit:bytes", "Limit of memory that the runtime keeps to."},
	{"go_memstats_alloc_bytes", "/memory/classes/heap/objects:bytes", "Bytes of objects on the heap, in use or not yet collected."},
	{"go_memstats_alloc_bytes_total", "/gc/heap/allocs:bytes", "Bytes of all objects made."},
	{"go_memstats_mallocs_total", "/gc/heap/allocs:objects", "Objects made."},
	{"go_memstats_frees_total", "/gc/heap/frees:objects", "Objects collected."},
	{"go_memstats_heap_objects", "/gc/heap/objects:objects", "Objects on the heap."},
	{"go_memstats_heap_idle_bytes", "/memory/classes/heap/free:bytes", "Bytes of the heap that wait to be used."},
	{"go_memstats_heap_released_bytes", "/memory/classes/heap/released:bytes", "Bytes of the heap given back to the system."},
	{"go_memstats_stack_inuse_bytes", "/memory/classes/heap/stacks:bytes", "Bytes of stacks."},
	{"go_memstats_next_gc_bytes", "/gc/heap/goal:bytes", "Size of the heap at the next collection."},
	{"go_memstats_sys_bytes", "/memory/classes/total:bytes", "Bytes taken from the system in all."},
}

func golang(w Writer) {
	read := make([]metrics.Sample, len(ofGo))
	for i, one := range ofGo {
		read[i].Name = one.from
	}
	metrics.Read(read)
	for i, one := range ofGo {
		if read[i].Value.Kind() != metrics.KindUint64 {
			continue // not of this Go
		}
		tell := w.Gauge
		if strings.HasSuffix(one.name, "_total") {
			tell = w.Counter
		}
		tell(one.name, one.help, float64(read[i].Value.Uint64()))
	}
	w.Gauge("go_info", "The Go that built this program.", 1, "version", runtime.Version())
}

// The help texts of what every system tells of a process.
const (
	helpCPU      = "Total user and system CPU time spent in seconds."
	helpResident = "Resident memory size in bytes."
	helpVirtual  = "Virtual memory size in bytes."
	helpOpen     = "Number of open file descriptors."
	helpMaxOpen  = "Maximum number of open file descriptors."
	helpStarted  = "Start time of the process since unix epoch in seconds."
)

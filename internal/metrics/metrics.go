// Package metrics says what a program counts in the text format of Prometheus.
// It is where the library enters: the rest of the program hands it numbers at
// the moment somebody asks, and counts nothing twice.
//
// A label names one of a small set of words that is fixed by the program or its
// configuration; never a guest, a device, a secret or a text of an error.
package metrics

import (
	"net/http"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"iwas/internal/buildinfo"
)

// Writer takes what one answer tells. Labels are pairs of name and value.
type Writer struct{ out chan<- prometheus.Metric }

// Counter tells what only grows while the program runs.
func (w Writer) Counter(name, help string, v float64, labels ...string) {
	w.put(prometheus.CounterValue, name, help, v, labels)
}

// Gauge tells what goes up and down.
func (w Writer) Gauge(name, help string, v float64, labels ...string) {
	w.put(prometheus.GaugeValue, name, help, v, labels)
}

// Bool is a gauge of 1 or 0.
func (w Writer) Bool(name, help string, v bool, labels ...string) {
	w.Gauge(name, help, map[bool]float64{true: 1}[v], labels...)
}

// Time is a gauge of Unix seconds; the zero time is left out, which is "never".
func (w Writer) Time(name, help string, t time.Time, labels ...string) {
	if !t.IsZero() {
		w.Gauge(name, help, float64(t.UnixNano())/1e9, labels...)
	}
}

// Histogram tells how long things took.
func (w Writer) Histogram(name, help string, h *Histogram, labels ...string) {
	d, values := describe(name, help, labels)
	count, sum, buckets := h.read()
	w.send(prometheus.NewConstHistogram(d, count, sum, buckets, values...))
}

func (w Writer) put(kind prometheus.ValueType, name, help string, v float64, labels []string) {
	d, values := describe(name, help, labels)
	w.send(prometheus.NewConstMetric(d, kind, v, values...))
}

// send tells a broken metric as its error, which the answer is then.
func (w Writer) send(m prometheus.Metric, err error) {
	if err != nil {
		m = prometheus.NewInvalidMetric(prometheus.NewInvalidDesc(err), err)
	}
	w.out <- m
}

func describe(name, help string, labels []string) (*prometheus.Desc, []string) {
	var names, values []string
	for i := 0; i+1 < len(labels); i += 2 {
		names, values = append(names, labels[i]), append(values, labels[i+1])
	}
	return prometheus.NewDesc(name, help, names, nil), values
}

// Bounds of what takes from a fraction of a millisecond to half a minute, in
// seconds.
var Bounds = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}

// Histogram counts how long things took, without a lock. The zero value counts
// in Bounds.
type Histogram struct {
	counts [16]atomic.Uint64 // one for each of Bounds, and one above
	nanos  atomic.Int64
}

// Observe counts one.
func (h *Histogram) Observe(d time.Duration) {
	at := len(Bounds)
	for i, b := range Bounds {
		if d.Seconds() <= b {
			at = i
			break
		}
	}
	h.counts[at].Add(1)
	h.nanos.Add(int64(d))
}

// read sums up: a bucket holds all that took no longer.
func (h *Histogram) read() (count uint64, sum float64, buckets map[float64]uint64) {
	buckets = make(map[float64]uint64, len(Bounds))
	for i, b := range Bounds {
		count += h.counts[i].Load()
		buckets[b] = count
	}
	count += h.counts[len(Bounds)].Load()
	return count, time.Duration(h.nanos.Load()).Seconds(), buckets
}

// gatherer asks for the numbers at each answer.
type gatherer func(Writer)

func (gatherer) Describe(chan<- *prometheus.Desc)       {} // what there is depends on the configuration
func (g gatherer) Collect(out chan<- prometheus.Metric) { g(Writer{out}) }

// New answers with what gather tells, and with process_*, go_* and the build,
// under names that begin with prefix.
func New(prefix string, gather func(Writer)) http.Handler {
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), gatherer(func(w Writer) {
		version, revision, golang := build()
		w.Gauge(prefix+"_build_info", "The build, in its labels.", 1, "version", version, "revision", revision, "goversion", golang)
		gather(w)
	}))
	return promhttp.HandlerFor(reg, promhttp.HandlerOpts{MaxRequestsInFlight: 2})
}

func build() (version, revision, golang string) {
	version = buildinfo.Version()
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return version, "", ""
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			revision = s.Value
		}
	}
	return version, revision, info.GoVersion
}

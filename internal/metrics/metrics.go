// Package metrics says what a program counts in the text format of Prometheus (version
// 0.0.4). The rest of the program hands it numbers at the moment somebody asks,
// and counts nothing twice. It writes the format itself: Prometheus's own library
// is a tenth of a program, for protocols that nobody asks for here.
//
// A label names one of a small set of words that is fixed by the program or its
// configuration; never a guest, a device, a secret or a text of an error.
package metrics

import (
	"net/http"
	"runtime/debug"
	"sync/atomic"
	"time"

	"iwas/internal/buildinfo"
)

// Writer takes what one answer tells. Labels are pairs of name and value.
type Writer struct{ page *page }

// Counter tells what only grows while the program runs.
func (w Writer) Counter(name, help string, v float64, labels ...string) {
	w.page.add("counter", name, help, sample{name, labels, v})
}

// Gauge tells what goes up and down.
func (w Writer) Gauge(name, help string, v float64, labels ...string) {
	w.page.add("gauge", name, help, sample{name, labels, v})
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
	count, sum, buckets := h.read()
	var all []sample
	for i, b := range Bounds {
		all = append(all, sample{name + "_bucket", with(labels, "le", number(b)), float64(buckets[i])})
	}
	w.page.add("histogram", name, help, append(all, sample{name + "_bucket", with(labels, "le", "+Inf"), float64(count)},
		sample{name + "_sum", labels, sum}, sample{name + "_count", labels, float64(count)})...)
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
func (h *Histogram) read() (count uint64, sum float64, buckets []uint64) {
	for i := range Bounds {
		count += h.counts[i].Load()
		buckets = append(buckets, count)
	}
	count += h.counts[len(Bounds)].Load()
	return count, time.Duration(h.nanos.Load()).Seconds(), buckets
}

// atOnce is how many answers are made at the same time; more are asked to come again.
const atOnce = 2

// New answers with what gather tells, and with process_*, go_* and the build,
// under names that begin with prefix.
func New(prefix string, gather func(Writer)) http.Handler {
	places := make(chan struct{}, atOnce)
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		select {
		case places <- struct{}{}:
			defer func() { <-places }()
		default:
			http.Error(w, "others are being answered; ask again", http.StatusServiceUnavailable)
			return
		}
		p := &page{families: map[string]*family{}}
		out := Writer{p}
		golang(out)
		process(out)
		version, revision, compiler := build()
		out.Gauge(prefix+"_build_info", "The build, in its labels.", 1, "version", version, "revision", revision, "goversion", compiler)
		gather(out)
		text, err := p.text()
		if err != nil {
			http.Error(w, "the metrics contradict themselves: "+err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		_, _ = w.Write(text) // whoever asked may be gone
	})
}

func build() (version, revision, compiler string) {
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

// Package metricstest reads metrics as Prometheus does. It is for tests.
package metricstest

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// Get reads the samples at a URL, by name and labels in the order of their
// names: `x_total{kind="a"}`.
func Get(t testing.TB, url string) map[string]float64 {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(resp.Body) // what it says helps, if it says anything
		t.Fatalf("%s: %s: %s", url, resp.Status, text)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(resp.Body)
	if err != nil {
		t.Fatalf("%s: it is not in the text format: %v", url, err)
	}
	out := map[string]float64{}
	for name, f := range families {
		for _, m := range f.GetMetric() {
			add(out, name, m)
		}
	}
	return out
}

func add(out map[string]float64, name string, m *dto.Metric) {
	switch {
	case m.Counter != nil:
		out[key(name, m.Label)] = m.Counter.GetValue()
	case m.Gauge != nil:
		out[key(name, m.Label)] = m.Gauge.GetValue()
	case m.Histogram != nil:
		out[key(name+"_count", m.Label)] = float64(m.Histogram.GetSampleCount())
		out[key(name+"_sum", m.Label)] = m.Histogram.GetSampleSum()
		for _, b := range m.Histogram.GetBucket() {
			out[key(name+"_bucket", m.Label, "le", strconv.FormatFloat(b.GetUpperBound(), 'g', -1, 64))] = float64(b.GetCumulativeCount())
		}
	}
}

func key(name string, labels []*dto.LabelPair, more ...string) string {
	var pairs []string
	for _, l := range labels {
		pairs = append(pairs, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
	}
	for i := 0; i+1 < len(more); i += 2 {
		pairs = append(pairs, fmt.Sprintf("%s=%q", more[i], more[i+1]))
	}
	if len(pairs) == 0 {
		return name
	}
	slices.Sort(pairs)
	return name + "{" + strings.Join(pairs, ",") + "}"
}

// Has reports whether a sample of that name is there, with whatever labels.
func Has(all map[string]float64, name string) bool {
	for k := range all {
		if strings.HasPrefix(k, name) {
			return true
		}
	}
	return false
}

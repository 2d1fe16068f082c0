package webui

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

var six = time.Date(2026, 11, 28, 6, 0, 0, 0, time.UTC)

// minutes makes points at the minutes given after six.
func minutes(at ...int) (out []Point) {
	for _, m := range at {
		out = append(out, Point{six.Add(time.Duration(m) * time.Minute), float64(m)})
	}
	return out
}

func chartOf(points []Point) Chart {
	c := Chart{Title: "Load", Clock: Clock{Now: six.Add(time.Hour)}, From: six, To: six.Add(time.Hour), Step: time.Minute, High: 100, Words: func(v float64) string { return strconv.Itoa(int(v)) + " %" }}
	c.Lines = []Line{{"Load", Fold(points, c.From, c.To, c.Step)}}
	return c
}

var (
	silent = regexp.MustCompile(`<path class="silent" d="M([0-9.]+) 0V100M([0-9.]+) 0V100`)
)

// pen is the drawing of the first line: strokes of x positions.
func pen(t *testing.T, html string) (strokes [][]float64) {
	t.Helper()
	d := regexp.MustCompile(`<path class="line k0" d="([^"]*)"`).FindStringSubmatch(html)[1]
	for stroke := range strings.SplitSeq(d, "M") {
		var xs []float64
		for _, m := range regexp.MustCompile(`(?:^|[LH])([0-9.]+)`).FindAllStringSubmatch(stroke, -1) {
			x, err := strconv.ParseFloat(m[1], 64)
			if err != nil {
				t.Fatal(err)
			}
			xs = append(xs, x)
		}
		if len(xs) > 0 {
			strokes = append(strokes, xs)
		}
	}
	return strokes
}

// TestNoLineIsDrawnOverSilence: whatever minutes are missing, no stroke crosses
// one of them, and each is hatched.
func TestNoLineIsDrawnOverSilence(t *testing.T) {
	for _, heard := range [][]int{{0, 1, 2, 10, 11, 59}, {5}, {0, 59}, {58, 59}, {0, 2, 4, 6}} {
		html := string(chartOf(minutes(heard...)).HTML())
		there := map[int]bool{}
		for _, m := range heard {
			there[m] = true
		}
		covered := func(ranges [][]float64, m int) bool {
			middle := (float64(m) + .5) * 1000 / 60
			for _, r := range ranges {
				if r[0] < middle+.5 && r[len(r)-1] > middle-.5 {
					return true
				}
			}
			return false
		}
		var hatched [][]float64
		for _, m := range silent.FindAllStringSubmatch(html, -1) {
			from, _ := strconv.ParseFloat(m[1], 64)
			to, _ := strconv.ParseFloat(m[2], 64)
			hatched = append(hatched, []float64{from, to})
		}
		strokes := pen(t, html)
		for m := range 59 { // the last minute is under way
			if got := covered(strokes, m); got != there[m] {
				t.Errorf("heard %v: minute %d is drawn: %v", heard, m, got)
			}
			if got := covered(hatched, m); got == there[m] {
				t.Errorf("heard %v: minute %d is hatched: %v", heard, m, got)
			}
		}
	}
}

func TestAChartSaysWhatItShows(t *testing.T) {
	c := chartOf(minutes(3, 4, 5, 58))
	c.Marks = []Mark{{six.Add(4 * time.Minute), "Restarted"}, {six.Add(-time.Hour), "Restarted"}}
	html := string(c.HTML())
	for _, want := range []string{"now 58 %, lowest 3 %, highest 58 %", "Nothing was heard for 55 min of it", "Restarted at 06:04:00.", `role="img" aria-label="Load, the last 1 h. Load: now 58 %, lowest 3 %, highest 58 %. Nothing`, "<span>06:15</span>"} {
		if !strings.Contains(html, want) {
			t.Errorf("the chart lacks %q:\n%s", want, html)
		}
	}
	if n := strings.Count(html, `class="mark"`); n != 1 {
		t.Errorf("got %d marks, want the one inside", n)
	}
	c = chartOf(minutes(3, 4, 5))
	if html := string(c.HTML()); !strings.Contains(html, "not known now, lowest 3 %") {
		t.Errorf("an old figure is told as one of now:\n%s", html)
	}
	if strings.Contains(html, "style=") || strings.Contains(html, "<script") {
		t.Error("the chart needs what the policy forbids")
	}
	c.Title = `<b>&"`
	if html := string(c.HTML()); strings.Contains(html, "<b>&") {
		t.Error("a title is taken for markup")
	}
}

func TestFoldingKeepsTheExtremes(t *testing.T) {
	got := Fold(minutes(-1, 0, 1, 2, 7, 60), six, six.Add(time.Hour), 5*time.Minute)
	want := []Span{{six, 0, 1, 2, 2}, {six.Add(5 * time.Minute), 7, 7, 7, 7}}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestTheTableSaysTheSame(t *testing.T) {
	c := chartOf(minutes(0, 1, 2, 31))
	c.Marks = []Mark{{six.Add(31 * time.Minute), "Restarted"}}
	two := c
	two.Title, two.Lines = "Logins", []Line{{"Accepted", nil}, {"Refused", c.Lines[0].Spans}}
	got := TableOf("x", 15*time.Minute, c, two)
	if fmt.Sprint(got.Columns) != "[Load Logins: accepted Logins: refused]" {
		t.Errorf("got columns %q", got.Columns)
	}
	want := "[{06:45–07:00 [– – –]} {06:30–06:45, restarted [31 % – 31 %]} {06:15–06:30 [– – –]} {06:00–06:15 [1 % (0 % to 2 %) – 1 % (0 % to 2 %)]}]"
	if fmt.Sprint(got.Rows) != want {
		t.Errorf("got %v, want %v", got.Rows, want)
	}
}

package metrics

import (
	"bytes"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// page is one answer: samples under the name of what they tell.
type page struct {
	families map[string]*family
	wrong    error // the first thing that no reader would take
}

type family struct {
	kind, help string
	samples    []sample
	told       map[string]bool // which name and labels there are already
}

type sample struct {
	name   string
	labels []string // pairs of name and value
	value  float64
}

// names are those of metrics and of labels; a metric's may hold a colon too, which
// is for rules that people write.
var names = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)

func (p *page) add(kind, name, help string, samples ...sample) {
	f := p.families[name]
	if f == nil {
		f = &family{kind: kind, help: help, told: map[string]bool{}}
		p.families[name] = f
	}
	if f.kind != kind || f.help != help || !names.MatchString(name) {
		p.fail("%s is two things, or no name", name)
	}
	for _, s := range samples {
		line, err := s.head()
		if err != nil {
			p.fail("%s: %w", name, err)
		}
		if f.told[line] {
			p.fail("%s is told twice", line)
		}
		f.told[line] = true
	}
	f.samples = append(f.samples, samples...)
}

func (p *page) fail(format string, args ...any) {
	if p.wrong == nil {
		p.wrong = fmt.Errorf(format, args...)
	}
}

// head is name and labels as they are written.
func (s sample) head() (string, error) {
	if len(s.labels) == 0 {
		return s.name, nil
	}
	var pairs []string
	for i := 0; i+1 < len(s.labels); i += 2 {
		if !names.MatchString(s.labels[i]) || strings.HasPrefix(s.labels[i], "__") {
			return "", fmt.Errorf("%q is no name of a label", s.labels[i])
		}
		pairs = append(pairs, s.labels[i]+`="`+escaped.Replace(strings.ToValidUTF8(s.labels[i+1], "\uFFFD"))+`"`)
	}
	return s.name + "{" + strings.Join(pairs, ",") + "}", nil
}

// escaped is how a label's value is written; a help text keeps its quotes.
var (
	escaped     = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
	escapedHelp = strings.NewReplacer(`\`, `\\`, "\n", `\n`)
)

// text is the whole answer, in the order of the names.
func (p *page) text() ([]byte, error) {
	if p.wrong != nil {
		return nil, p.wrong
	}
	all := make([]string, 0, len(p.families))
	for name := range p.families {
		all = append(all, name)
	}
	slices.Sort(all)
	var b bytes.Buffer
	for _, name := range all {
		f := p.families[name]
		fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s %s\n", name, escapedHelp.Replace(f.help), name, f.kind)
		for _, s := range f.samples {
			line, err := s.head()
			if err != nil {
				return nil, err
			}
			fmt.Fprintf(&b, "%s %s\n", line, number(s.value))
		}
	}
	return b.Bytes(), nil
}

func number(v float64) string {
	switch {
	case math.IsInf(v, 1):
		return "+Inf"
	case math.IsInf(v, -1):
		return "-Inf"
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}

// with is labels and one more, in a list of its own.
func with(labels []string, name, value string) []string {
	return append(slices.Clone(labels), name, value)
}

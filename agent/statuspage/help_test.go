package statuspage

import (
	"encoding/xml"
	"io"
	"strings"
	"testing"

	"iwas/internal/condition"
)

func TestMarkdown(t *testing.T) {
	for _, test := range []struct{ name, source, want string }{
		{"headings", "# A\n## B\n", "<h1>A</h1>\n<h2>B</h2>\n"},
		{"paragraphs", "one\ntwo\n\nthree\n", "<p>one two</p>\n<p>three</p>\n"},
		{"a list", "- a\n- b\n\ntext", "<ul>\n<li>a</li>\n<li>b</li>\n</ul>\n<p>text</p>\n"},
		{"numbers", "1. a\n2. b\n", "<ol>\n<li>a</li>\n<li>b</li>\n</ol>\n"},
		{"numbers that go on after code", "1. a\n\n```\nx\n```\n\n2. b\n",
			"<ol>\n<li>a</li>\n</ol>\n<pre tabindex=\"0\" role=\"region\" aria-label=\"Example\"><code>x</code></pre>\n<ol start=\"2\">\n<li>b</li>\n</ol>\n"},
		{"code keeps its lines", "```\na  b\n\n# c\n- d `e`\n```\n", "<pre tabindex=\"0\" role=\"region\" aria-label=\"Example\"><code>a  b\n\n# c\n- d `e`</code></pre>\n"},
		{"code never closed", "```\na\n", "<pre tabindex=\"0\" role=\"region\" aria-label=\"Example\"><code>a</code></pre>\n"},
		{"code in a line", "run `a < b` now", "<p>run <code>a &lt; b</code> now</p>\n"},
		{"a code of the catalogue", "see RTR-101, not `RTR-101`", "<p>see <a href=\"/help/RTR-101\">RTR-101</a>, not <code>RTR-101</code></p>\n"},
		{"a code that does not exist", "see RTR-999", "<p>see RTR-999</p>\n"},
		{"HTML is text", "<script>alert(1)</script>\n\n- <b>\n\n```\n<i>&\n```\n\n# <u>\n",
			"<p>&lt;script&gt;alert(1)&lt;/script&gt;</p>\n<ul>\n<li>&lt;b&gt;</li>\n</ul>\n<pre tabindex=\"0\" role=\"region\" aria-label=\"Example\"><code>&lt;i&gt;&amp;</code></pre>\n<h1>&lt;u&gt;</h1>\n"},
		{"nothing", "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := string(markdown(test.source)); got != test.want {
				t.Errorf("got\n%s\nwant\n%s", got, test.want)
			}
		})
	}
}

// Every element that is opened is closed, on every page there is.
func TestEveryPageOfHelpIsWellFormed(t *testing.T) {
	for _, c := range condition.All() {
		page, _ := condition.Page(c.Code)
		wellFormed(t, c.Code, string(markdown(page)))
	}
}

func wellFormed(t *testing.T, name, fragment string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader("<div>" + fragment + "</div>"))
	for {
		_, err := d.Token()
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Errorf("%s: %v in\n%s", name, err, fragment)
			return
		}
	}
}

func FuzzMarkdown(f *testing.F) {
	for _, c := range condition.All() {
		page, _ := condition.Page(c.Code)
		f.Add(page)
	}
	f.Add("```\n``` x `\n1. `<\n- \n`")
	f.Fuzz(func(t *testing.T, source string) {
		clean := strings.Map(func(r rune) rune { // what XML, our checker, does not take
			if r < ' ' && r != '\n' && r != '\t' || r == 0xfffe || r == 0xffff || r == 0xfffd {
				return -1
			}
			return r
		}, strings.ToValidUTF8(source, ""))
		got := string(markdown(clean))
		wellFormed(t, "fuzz", got)
		if strings.Contains(got, "<script") || strings.Contains(got, "<img") {
			t.Errorf("HTML came through: %q gave %q", clean, got)
		}
	})
}

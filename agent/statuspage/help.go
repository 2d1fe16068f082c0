package statuspage

import (
	"html"
	"html/template"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"iwas/internal/condition"
	"iwas/internal/webui"
)

// markdown turns a page of help into HTML. It knows what condition.Page
// promises: headings, paragraphs, lists, fenced code and `code`. Everything is
// escaped first; codes of the catalogue become links.
func markdown(source string) template.HTML {
	m := &mark{}
	for line := range strings.Lines(source) {
		m.line(strings.TrimRight(line, "\r\n"))
	}
	m.end()
	return template.HTML(m.out.String())
}

// mark is a page on its way.
type mark struct {
	out   strings.Builder
	block string   // open element: "p", "ul", "ol", "pre"; "" is none
	text  []string // lines of the open paragraph or code
}

var numbered = regexp.MustCompile(`^([0-9]{1,3})\. (.*)$`)

func (m *mark) line(s string) {
	fence := strings.HasPrefix(s, "```")
	switch {
	case m.block == "pre" && fence:
		m.end()
	case m.block == "pre":
		m.text = append(m.text, html.EscapeString(s))
	case fence:
		m.begin("pre", "")
	case s == "":
		if m.block == "p" { // a list goes on after a blank line
			m.end()
		}
	case strings.HasPrefix(s, "## "):
		m.end()
		m.out.WriteString("<h2>" + inline(s[3:]) + "</h2>\n")
	case strings.HasPrefix(s, "# "):
		m.end()
		m.out.WriteString("<h1>" + inline(s[2:]) + "</h1>\n")
	case strings.HasPrefix(s, "- "):
		m.begin("ul", "")
		m.out.WriteString("<li>" + inline(s[2:]) + "</li>\n")
	case numbered.MatchString(s):
		part := numbered.FindStringSubmatch(s)
		attr := ""
		if n, _ := strconv.Atoi(part[1]); n > 1 { // a code block stood in between
			attr = ` start="` + strconv.Itoa(n) + `"`
		}
		m.begin("ol", attr)
		m.out.WriteString("<li>" + inline(part[2]) + "</li>\n")
	default:
		m.begin("p", "")
		m.text = append(m.text, inline(s))
	}
}

// begin opens a block unless it is open already.
func (m *mark) begin(block, attr string) {
	if m.block == block {
		return
	}
	m.end()
	m.block = block
	switch block {
	case "ul", "ol":
		m.out.WriteString("<" + block + attr + ">\n")
	}
}

// end closes the open block.
func (m *mark) end() {
	switch m.block {
	case "p":
		m.out.WriteString("<p>" + strings.Join(m.text, " ") + "</p>\n")
	case "pre":
		// It scrolls by itself on a narrow screen, so a keyboard must reach it.
		m.out.WriteString(`<pre tabindex="0" role="region" aria-label="Example"><code>` + strings.Join(m.text, "\n") + "</code></pre>\n")
	case "ul", "ol":
		m.out.WriteString("</" + m.block + ">\n")
	}
	m.block, m.text = "", nil
}

var codeWord = regexp.MustCompile(`\b[A-Z]{2,3}-[0-9]{3}\b`)

// inline escapes a line and marks up `code` and codes of the catalogue.
func inline(s string) string {
	var out strings.Builder
	for i, part := range strings.Split(s, "`") {
		part = html.EscapeString(part)
		if i%2 == 1 {
			out.WriteString("<code>" + part + "</code>")
			continue
		}
		out.WriteString(codeWord.ReplaceAllStringFunc(part, func(code string) string {
			if _, ok := condition.Lookup(code); !ok {
				return code
			}
			return `<a href="/help/` + code + `">` + code + "</a>"
		}))
	}
	return out.String()
}

// helpPage is the body of the template "help".
type helpPage struct {
	Text template.HTML
	All  []condition.Condition // of the list of pages
}

func (s *Server) help(w http.ResponseWriter, r *http.Request) {
	c, ok := condition.Lookup(r.PathValue("code"))
	text, have := condition.Page(c.Code)
	if !ok || !have {
		webui.Plain(w, http.StatusNotFound, "There is no help on that code", "All codes of this version are listed at /help/")
		return
	}
	_, body, _ := strings.Cut(text, "\n") // the page's own heading says the same
	s.render(w, r, "help", webui.Page{Title: c.Code + ": " + c.Title, Body: helpPage{Text: markdown(body)}})
}

func (s *Server) helpList(w http.ResponseWriter, r *http.Request) {
	s.render(w, r, "codes", webui.Page{Title: "Help", Body: helpPage{All: condition.All()}})
}

package condition

import (
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestEveryConditionIsComplete(t *testing.T) {
	shape := regexp.MustCompile(`^(SYS|CLK|NET|CLD|RTR|HSP|RAD|DB|OUT|UPD)-[1-9][0-9]{2}$`)
	seen := map[string]bool{}
	for _, c := range All() {
		if !shape.MatchString(c.Code) {
			t.Errorf("%s: not AREA-NNN", c.Code)
		}
		if seen[c.Code] {
			t.Errorf("%s: there twice", c.Code)
		}
		seen[c.Code] = true
		if c.Severity.rank() < 0 {
			t.Errorf("%s: severity %q is none", c.Code, c.Severity)
		}
		if c.Title == "" || strings.HasSuffix(c.Title, ".") {
			t.Errorf("%s: title %q is empty or ends with a full stop", c.Code, c.Title)
		}
		for name, s := range map[string]string{"cause": c.Cause, "next step": c.Next} {
			if !strings.HasSuffix(s, ".") {
				t.Errorf("%s: %s %q is no sentence", c.Code, name, s)
			}
		}
		if c.ImpactsLogin && c.Severity != High {
			t.Errorf("%s: keeps guests out, yet its severity is %s", c.Code, c.Severity)
		}
		for _, parent := range c.DependsOn {
			if _, ok := Lookup(parent); !ok {
				t.Errorf("%s depends on %s, which is not in the catalogue", c.Code, parent)
			}
		}
	}
}

// A circle of causes would hide every condition in it.
func TestNoConditionExplainsItself(t *testing.T) {
	for _, c := range All() {
		seen := map[string]bool{}
		for todo := slices.Clone(c.DependsOn); len(todo) > 0; todo = todo[1:] {
			if todo[0] == c.Code {
				t.Errorf("%s depends on itself", c.Code)
			}
			if p, ok := Lookup(todo[0]); ok && !seen[p.Code] {
				seen[p.Code] = true
				todo = append(todo, p.DependsOn...)
			}
		}
	}
}

func TestAllIsSortedByAreaAndNumber(t *testing.T) {
	all := All()
	if len(all) < 40 {
		t.Fatalf("got %d conditions, want the whole catalogue", len(all))
	}
	for i := 1; i < len(all); i++ {
		a, b := slices.Index(areas, all[i-1].Area()), slices.Index(areas, all[i].Area())
		if a > b || a == b && all[i-1].Code >= all[i].Code {
			t.Errorf("%s stands before %s", all[i-1].Code, all[i].Code)
		}
	}
}

func TestLookup(t *testing.T) {
	c, ok := Lookup("rad-103")
	if !ok || c.Code != "RAD-103" || !c.ImpactsLogin {
		t.Errorf("got %+v, %v, want RAD-103, which keeps guests out", c, ok)
	}
	if c, ok := Lookup("RAD-999"); ok {
		t.Errorf("got %+v for a code that does not exist", c)
	}
	if page, ok := Page("RAD-999"); ok {
		t.Errorf("got page %q for a code that does not exist", page)
	}
}

// sections are the parts of every page, in order.
var sections = []string{"What you see", "Why", "Check", "Fix", "Still stuck"}

func TestEveryPageHelps(t *testing.T) {
	bodies := map[string]string{}
	for _, c := range All() {
		page, ok := Page(c.Code)
		if !ok {
			t.Errorf("%s has no page of help", c.Code)
			continue
		}
		head, body, _ := strings.Cut(page, "\n")
		if want := "# " + c.Code + ": " + c.Title; head != want {
			t.Errorf("%s: page is titled %q, want %q", c.Code, head, want)
		}
		if other, dup := bodies[body]; dup {
			t.Errorf("%s has the same page as %s", c.Code, other)
		}
		bodies[body] = c.Code
		parts := split(body)
		var names []string
		for _, p := range parts {
			names = append(names, p.name)
			if len(strings.Fields(p.text)) < 8 {
				t.Errorf("%s: section %q says nothing: %q", c.Code, p.name, p.text)
			}
			if p.name == "Check" {
				checkShows(t, c.Code, p.text)
			}
		}
		if !slices.Equal(names, sections) {
			t.Errorf("%s: sections are %q, want %q", c.Code, names, sections)
		}
	}
}

type section struct{ name, text string }

func split(body string) (out []section) {
	for _, part := range strings.Split("\n"+body, "\n## ")[1:] {
		name, text, _ := strings.Cut(part, "\n")
		out = append(out, section{name, strings.TrimSpace(text)})
	}
	return out
}

// checkShows wants a command and below it what it prints.
func checkShows(t *testing.T, code, text string) {
	t.Helper()
	_, block, found := strings.Cut(text, "```\n")
	block, _, closed := strings.Cut(block, "\n```")
	lines := strings.Split(block, "\n")
	if !found || !closed || len(lines) < 2 {
		t.Errorf("%s: Check shows no command with its output", code)
		return
	}
	if !strings.HasPrefix(lines[0], "$ ") && !strings.HasPrefix(lines[0], "[admin@") {
		t.Errorf("%s: Check begins with %q, want a command after a prompt", code, lines[0])
	}
}

func TestPagesNameOnlyCodesThatExist(t *testing.T) {
	code := regexp.MustCompile(`\b(?:SYS|CLK|NET|CLD|RTR|HSP|RAD|DB|OUT|UPD)-[0-9]{3}\b`)
	for _, c := range All() {
		page, _ := Page(c.Code)
		for _, named := range code.FindAllString(page, -1) {
			if _, ok := Lookup(named); !ok {
				t.Errorf("page %s names %s, which is not in the catalogue", c.Code, named)
			}
		}
	}
}

// A page left behind would be the sign of a code removed, and codes stay.
func TestEveryPageHasItsCondition(t *testing.T) {
	names, err := fs.Glob(pages, "pages/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		code := strings.TrimSuffix(strings.TrimPrefix(name, "pages/"), ".md")
		if _, ok := Lookup(code); !ok {
			t.Errorf("%s is of no condition", name)
		}
	}
}

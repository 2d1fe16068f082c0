// Package webui is the shared look and the shared guard rails of the two web
// front ends: the owner's console and the technician's status page. It holds
// the page shell, components, assets, live streams, security headers and
// password checks. It knows no route, no store and no role, and its pages load
// nothing from anywhere else.
package webui

import (
	"bytes"
	"compress/gzip"
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"
)

//go:embed templates
var shellFiles embed.FS

// Page is what the shell needs to know of one page.
type Page struct {
	Title   string  // of the tab and, unless Bare, the heading's fallback; without the product's name
	Product string  // "IWAS console"
	Home    string  // where the product's name leads; "" is "/"
	Lang    string  // BCP 47; "" is "en"
	Dir     string  // "ltr" or "rtl"; "" is "ltr"
	Nav     []Link  // main places; the bottom bar on a phone
	Person  string  // who is signed in; "" shows no menu
	SignOut string  // where the sign-out button posts; "" shows none
	SignIn  string  // where the page to sign in is; "" shows no link
	Live    string  // path of the page's event stream; "" is a page that stands still
	Refresh int     // whole seconds after which a live page reloads where scripts are off; 0 is never
	Bare    bool    // one narrow column without navigation: signing in, errors
	Alert   *Alert  // one line above the content
	Notes   []Alert // what became of what was just done, above it too
	Clock           // the moment the page shows and the zone it is told in
	Body    any     // for the page's own template

	theme string
	path  string
}

// Theme is the reader's choice: "light", "dark", or "" for what the device says.
func (p Page) Theme() string { return p.theme }

// NextTheme is what pressing the switch chooses.
func (p Page) NextTheme() string {
	switch p.theme {
	case "":
		return "dark"
	case "dark":
		return "light"
	}
	return "auto"
}

// Path is the path and query asked for, for forms that come back here.
func (p Page) Path() string { return p.path }

// Pages renders the templates of one front end inside the shared shell.
type Pages struct {
	fsys  fs.FS
	funcs template.FuncMap
	parts []string // files of what is shared

	mu     sync.Mutex                    // guards what follows
	base   *template.Template            // what every page begins as; never executed
	pages  map[string]*template.Template // nil until somebody asks for it
	shared *template.Template            // likewise, of fragments
}

// NewPages reads *.html of fsys. A file whose name starts with "_" holds
// templates that all pages and fragments share; each other file is a page,
// named without ".html", and defines the template "content". funcs may be nil.
// Templates are read when somebody first asks for them: mostly nobody looks, and
// every page holds the shell and all that is shared once more.
func NewPages(fsys fs.FS, funcs template.FuncMap) (*Pages, error) {
	names, err := fs.Glob(fsys, "*.html")
	if err != nil {
		return nil, fmt.Errorf("webui: list pages: %w", err)
	}
	p := &Pages{fsys: fsys, funcs: funcs, pages: map[string]*template.Template{}}
	for _, name := range names {
		if strings.HasPrefix(name, "_") {
			p.parts = append(p.parts, name)
		} else {
			p.pages[strings.TrimSuffix(name, ".html")] = nil
		}
	}
	return p, nil
}

// begin returns a copy of the shell and all that is shared. p.mu is held.
func (p *Pages) begin() (*template.Template, error) {
	if p.base == nil {
		base := template.New("").Option("missingkey=error").Funcs(helpers).Funcs(p.funcs)
		if _, err := base.ParseFS(shellFiles, "templates/*.html"); err != nil {
			return nil, fmt.Errorf("webui: shell: %w", err)
		}
		for _, name := range p.parts {
			if _, err := base.ParseFS(p.fsys, name); err != nil {
				return nil, fmt.Errorf("webui: %s: %w", name, err)
			}
		}
		p.base = base
	}
	return p.base.Clone()
}

// page returns the template of a page.
func (p *Pages) page(name string) (*template.Template, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t, ok := p.pages[name]
	if !ok {
		return nil, fmt.Errorf("webui: no page %q", name)
	}
	if t != nil {
		return t, nil
	}
	t, err := p.begin()
	if err == nil {
		_, err = t.ParseFS(p.fsys, name+".html")
	}
	if err != nil {
		return nil, fmt.Errorf("webui: %s: %w", name, err)
	}
	p.pages[name] = t
	return t, nil
}

// fragments returns the templates that are shared, likewise.
func (p *Pages) fragments() (t *template.Template, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shared == nil {
		p.shared, err = p.begin()
	}
	return p.shared, err
}

// Render writes one page. After an error nothing has been written.
func (p *Pages) Render(w http.ResponseWriter, r *http.Request, status int, name string, page Page) error {
	t, err := p.page(name)
	if err != nil {
		return err
	}
	page.theme, page.path = themeOf(r), r.URL.RequestURI()
	if page.Home == "" {
		page.Home = "/"
	}
	if page.Lang == "" {
		page.Lang = "en"
	}
	if page.Dir == "" {
		page.Dir = "ltr"
	}
	var b bytes.Buffer
	if err := t.ExecuteTemplate(&b, "shell", page); err != nil {
		return fmt.Errorf("webui: page %s: %w", name, err)
	}
	writeHTML(w, r, status, b.Bytes())
	return nil
}

// Fragment renders one shared template, to replace the element of that id on a
// live page. The template's outermost element carries the id.
func (p *Pages) Fragment(name string, data any) (string, error) {
	var b strings.Builder
	t, err := p.fragments()
	if err == nil {
		err = t.ExecuteTemplate(&b, name, data)
	}
	if err != nil {
		return "", fmt.Errorf("webui: fragment %s: %w", name, err)
	}
	return b.String(), nil
}

// gzipAbove is the size in bytes below which a page travels as it is: it fits
// one packet anyway.
const gzipAbove = 1200

func writeHTML(w http.ResponseWriter, r *http.Request, status int, b []byte) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", "no-store")
	}
	h.Add("Vary", "Accept-Encoding")
	if len(b) > gzipAbove && acceptsGzip(r) {
		var z bytes.Buffer
		g := gzip.NewWriter(&z)
		g.Write(b) // a bytes.Buffer takes everything
		g.Close()
		b = z.Bytes()
		h.Set("Content-Encoding", "gzip")
	}
	h.Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		w.Write(b) // the reader has gone: nobody is left to tell
	}
}

func acceptsGzip(r *http.Request) bool {
	for part := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		name, q, _ := strings.Cut(strings.TrimSpace(part), ";")
		if name == "gzip" && strings.TrimSpace(q) != "q=0" {
			return true
		}
	}
	return false
}

func themeOf(r *http.Request) string {
	c, err := r.Cookie("theme")
	if err == nil && (c.Value == "light" || c.Value == "dark") {
		return c.Value
	}
	return ""
}

// Theme answers POST /theme, the light/dark switch of pages without scripts:
// it keeps the choice in a cookie for a year and goes back to the page.
func Theme(w http.ResponseWriter, r *http.Request) {
	choice := r.PostFormValue("theme")
	age := 365 * 24 * 3600
	if choice != "light" && choice != "dark" {
		choice, age = "", -1
	}
	http.SetCookie(w, &http.Cookie{Name: "theme", Value: choice, Path: "/", MaxAge: age, SameSite: http.SameSiteLaxMode})
	http.Redirect(w, r, LocalPath(r.PostFormValue("back")), http.StatusSeeOther)
}

// LocalPath returns s if it is a path of this very server, else "/": a form
// field must not be able to send people elsewhere.
func LocalPath(s string) string {
	if !strings.HasPrefix(s, "/") || strings.HasPrefix(s, "//") || strings.ContainsAny(s, "\\\r\n\t") {
		return "/"
	}
	p, query, found := strings.Cut(s, "?")
	clean := path.Clean(p)
	if strings.HasPrefix(clean, "//") {
		return "/"
	}
	if found {
		return clean + "?" + query
	}
	return clean
}

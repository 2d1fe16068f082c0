package webui

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"
)

// TestPagesAreReadWhenSomebodyAsks: a program that nobody looks at holds none of them.
func TestPagesAreReadWhenSomebodyAsks(t *testing.T) {
	pages, err := NewPages(fstest.MapFS{
		"one.html":    {Data: []byte(`{{define "content"}}<p>one {{template "figure" .Body}}</p>{{end}}`)},
		"two.html":    {Data: []byte(`{{define "content"}}<p>two</p>{{end}}`)},
		"broken.html": {Data: []byte(`{{define "content"}}<p>{{if}}</p>{{end}}`)},
		"_parts.html": {Data: []byte(`{{define "figure"}}<b id="figure">{{.}}</b>{{end}}`)},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if pages.base != nil || pages.shared != nil || pages.pages["one"] != nil {
		t.Error("templates were read before anybody asked")
	}
	render := func(name string) (string, error) {
		w := httptest.NewRecorder()
		err := pages.Render(w, httptest.NewRequest(http.MethodGet, "/", nil), http.StatusOK, name, Page{Title: "Test", Body: 7})
		return w.Body.String(), err
	}
	// A fragment and a page, each before and after the other was executed.
	for range 2 {
		if got, err := pages.Fragment("figure", 7); err != nil || got != `<b id="figure">7</b>` {
			t.Errorf("fragment %q, %v", got, err)
		}
		for name, want := range map[string]string{"one": `<p>one <b id="figure">7</b></p>`, "two": "<p>two</p>"} {
			if got, err := render(name); err != nil || !strings.Contains(got, want) {
				t.Errorf("page %s: %v, want %s in %q", name, err, want, got)
			}
		}
	}
	for _, name := range []string{"broken", "nowhere", "_parts"} {
		if got, err := render(name); err == nil || got != "" || !strings.Contains(err.Error(), name) {
			t.Errorf("page %s: wrote %q, %v, want nothing and an error that names it", name, got, err)
		}
	}
	if pages.pages["broken"] != nil {
		t.Error("a page that cannot be read is kept")
	}
}

package statuspage

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"iwas/internal/fault"
	"iwas/internal/webui"
)

// Bundle is what a technician sends to whoever helps.
type Bundle struct {
	At    time.Time
	Files []BundleFile
	Zip   []byte
}

// BundleFile is one file of it.
type BundleFile struct {
	Name, About string
	Bytes       int
	Redacted    int    // secrets taken out
	Problem     string // why it is not there
}

// supportView is the body of the page of the bundle.
type supportView struct {
	webui.Clock
	Bundle
	Redacted int
}

// supportPage shows what a bundle of now would hold. It is made to be looked at,
// and made anew to be taken along.
func (s *Server) supportPage(w http.ResponseWriter, r *http.Request) {
	b, ok := s.bundle(w, r)
	if !ok {
		return
	}
	v := supportView{Bundle: b}
	for _, f := range b.Files {
		v.Redacted += f.Redacted
	}
	s.render(w, r, "support", webui.Page{Title: "Support bundle", Body: v})
}

func (s *Server) supportFile(w http.ResponseWriter, r *http.Request) {
	b, ok := s.bundle(w, r)
	if !ok {
		return
	}
	s.log().Info("a support bundle was taken along", "person", personOf(r.Context()).Name, "octets", len(b.Zip))
	h := w.Header()
	h.Set("Content-Type", "application/zip")
	h.Set("Content-Disposition", fmt.Sprintf(`attachment; filename="iwas-support-%s.zip"`, b.At.UTC().Format("20060102-150405")))
	h.Set("Content-Length", strconv.Itoa(len(b.Zip)))
	h.Set("Cache-Control", "no-store")
	_, _ = w.Write(b.Zip) // the reader has gone: nobody is left to tell
}

// bundle makes one, or answers why not.
func (s *Server) bundle(w http.ResponseWriter, r *http.Request) (Bundle, bool) {
	if s.Support == nil {
		webui.Plain(w, http.StatusNotFound, "No support bundle can be made here", "Run iwas-agent support-bundle on this box.")
		return Bundle{}, false
	}
	b, err := s.Support(r.Context())
	if err != nil {
		s.log().Error("make a support bundle", "err", err, "code", fault.Code(err))
		next := fault.Hint(err)
		if code := fault.Code(err); code != "" {
			next += " Help: /help/" + code
		}
		webui.Plain(w, http.StatusInternalServerError, "The support bundle could not be made: "+escaped(err.Error()), escaped(next))
		return Bundle{}, false
	}
	return b, true
}

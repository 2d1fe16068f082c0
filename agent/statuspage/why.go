package statuspage

import (
	"net/http"
	"strings"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/webui"
	"iwas/internal/whynot"
)

// Why says in one line why somebody cannot log in.
type Why struct {
	Verdict whynot.Verdict
	Line    string
	Next    string // "" when nothing is needed
	Command string // that does it

	LastAt                     time.Time // of the newest failed login; zero: none is remembered
	LastNAS, LastMAC, LastText string
	LastTimes                  int
}

// whyBody is the page of the answer.
type whyBody struct {
	webui.Clock
	Asked string
	Why   *Why // nil: nothing was asked
	Alert *webui.Alert
}

// whyBound is the longest question, in octets.
const whyBound = 253

// whyPage answers why somebody cannot log in. Names of other guests, which a code may
// be, are told to whoever signed in only.
func (s *Server) whyPage(w http.ResponseWriter, r *http.Request) {
	asked := strings.TrimSpace(r.URL.Query().Get("q"))
	b, status := whyBody{Asked: asked}, http.StatusOK
	b.Clock = s.zone()
	if asked != "" {
		var why Why
		err := error(fault.New(fault.Invalid, "that is longer than any name", nil))
		if len(asked) <= whyBound {
			why, err = s.Why(r.Context(), asked, visitorOf(r.Context()).Is())
		}
		if err == nil {
			b.Why, b.Alert = &why, &webui.Alert{Tone: whyTones[why.Verdict], Title: why.Line, Next: why.Next}
		} else {
			status = http.StatusServiceUnavailable
			if fault.KindOf(err) == fault.Invalid {
				status = http.StatusBadRequest
			}
			b.Alert = &webui.Alert{Tone: webui.Warn, Title: "It could not be looked up: " + err.Error() + ".", Next: fault.Hint(err)}
		}
	}
	s.renderAs(w, r, status, "why", webui.Page{Title: "Why can’t somebody log in?", Clock: b.Clock, Body: b})
}

var whyTones = map[whynot.Verdict]webui.Tone{whynot.Can: webui.Good, whynot.Online: webui.Good, whynot.Cannot: webui.Bad, whynot.Unknown: webui.Warn}

// zone is the clock of a page without a snapshot of its own.
func (s *Server) zone() webui.Clock {
	s.mu.Lock()
	zone := s.last.TimeZone
	s.mu.Unlock()
	now := time.Now()
	return webui.Clock{Now: now, Zone: zoneOf(Snapshot{At: now, TimeZone: zone})}
}

// whyRoutes adds the question, where there is somebody to answer.
func (s *Server) whyRoutes(mux *http.ServeMux) {
	if s.Why != nil {
		mux.HandleFunc("GET /why", s.whyPage)
	}
}

// Often says how often a login failed; "" for once.
func (r Reject) Often() string {
	if r.Times > 1 {
		return times(uint64(r.Times))
	}
	return ""
}

// Newest is when it happened last.
func (r Reject) Newest() time.Time {
	if r.Until.After(r.At) {
		return r.Until
	}
	return r.At
}

// From is who asked where that is no router of ours.
func (r Reject) From() string {
	if r.NAS == "" && r.Source != "" {
		return r.Source
	}
	return string(r.NAS)
}

// reasonWords are short names of reasons, for a list.
var reasonWords = map[hotspot.Reason]string{
	hotspot.ReasonUnknownNAS: "Unknown router", hotspot.ReasonBadSecret: "Wrong secret", hotspot.ReasonNotSigned: "Not signed", hotspot.ReasonDuplicates: "Duplicate flood",
	hotspot.ReasonOverload: "Too much at once", hotspot.ReasonUnjudged: "Not answered",
}

// Badge names what is wrong with a router rather than with a guest; the zero value
// where it is the guest's.
func (r Reject) Badge() webui.Badge {
	if w := reasonWords[r.Reason]; w != "" {
		return webui.Badge{Tone: webui.Bad, Text: w}
	}
	if r.Flood {
		return webui.Badge{Tone: webui.Warn, Text: "Flood"}
	}
	return webui.Badge{}
}

package statuspage

import (
	"cmp"
	"net/http"
	"slices"
	"time"

	"iwas/internal/condition"
	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/webui"
)

// Check is the last check of a router, and the one under way.
type Check struct {
	Running bool                   `json:"running"`
	Done    int                    `json:"done,omitempty"` // rows of the one under way,
	Of      int                    `json:"of,omitempty"`   // of so many
	Report  *condition.CheckReport `json:"report,omitempty"`
	// Problem is why the last one could not be made at all.
	Problem   string    `json:"problem,omitempty"`
	ProblemAt time.Time `json:"problem_at,omitzero"`
}

// checkView is the check of one router as the page shows it: what needs a person
// first, the rest folded away.
type checkView struct {
	NAS   hotspot.NASID
	Name  string
	Check // zero: none yet
	Ask   bool
	Tone  webui.Tone
	Needs []condition.CheckRow // that failed, warn, or are not known
	Fine  []condition.CheckRow
}

func checkViews(s Snapshot) []checkView {
	out := make([]checkView, 0, len(s.Routers))
	for _, r := range s.Routers {
		v := checkView{NAS: r.NAS, Name: cmp.Or(r.Name, string(r.NAS)), Ask: true}
		if r.Check != nil {
			v.Check = *r.Check
		}
		if v.Report != nil {
			v.Tone = markTones[v.Report.State]
			for _, row := range v.Report.Rows {
				if row.State == condition.OK || row.State == condition.Skipped {
					v.Fine = append(v.Fine, row)
				} else {
					v.Needs = append(v.Needs, row)
				}
			}
			slices.SortStableFunc(v.Needs, func(a, b condition.CheckRow) int { return cmp.Compare(rank(a.State), rank(b.State)) })
		}
		out = append(out, v)
	}
	return out
}

func rank(m condition.Mark) int {
	return slices.Index([]condition.Mark{condition.Fail, condition.Warn, condition.Unknown, condition.OK, condition.Skipped}, m)
}

var markTones = map[condition.Mark]webui.Tone{condition.OK: webui.Good, condition.Warn: webui.Warn, condition.Fail: webui.Bad, condition.Unknown: webui.Info, condition.Skipped: webui.Calm}

func markBadge(m condition.Mark) webui.Badge {
	text := map[condition.Mark]string{condition.OK: "OK", condition.Warn: "Warning", condition.Fail: "Failed", condition.Unknown: "Not known", condition.Skipped: "Skipped"}[m]
	return webui.Badge{Tone: markTones[m], Text: text}
}

// check has a router checked and goes back to the page, where it is followed.
func (s *Server) check(w http.ResponseWriter, r *http.Request) {
	if s.Check == nil {
		webui.Plain(w, http.StatusNotFound, "Checks cannot be made here", "Run iwas-agent router check on this box.")
		return
	}
	switch err := s.Check(hotspot.NASID(r.FormValue("router"))); {
	case fault.Is(err, fault.NotFound):
		webui.Plain(w, http.StatusNotFound, "There is no such router", "Go back and press the button again.")
	case err != nil:
		s.log().Error("start a check", "err", err)
		webui.Plain(w, http.StatusInternalServerError, "The check could not be started", "The log of iwas-agent says why.")
	default:
		http.Redirect(w, r, "/#checks", http.StatusSeeOther)
	}
}

package statuspage

import (
	"cmp"
	"html/template"
	"net/http"
	"slices"
	"time"

	"iwas/agent/statuspage/access"
	"iwas/internal/condition"
	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/webui"
)

// Asked is what a person wants checked: a router, or an area of this box.
type Asked struct {
	Router hotspot.NASID
	Area   string // where no router is named
}

// Everything is the area of whoever wants the whole box checked, with its routers.
const Everything = "all"

// Check is the last check of a router or of this box, and the one under way.
type Check struct {
	Running bool                   `json:"running"`
	Area    string                 `json:"area,omitempty"` // of this box the one under way is of; "": of all
	Done    int                    `json:"done,omitempty"` // rows of the one under way, or parts of this box,
	Of      int                    `json:"of,omitempty"`   // of so many
	Report  *condition.CheckReport `json:"report,omitempty"`
	// Problem is why the last one could not be made at all.
	Problem   string    `json:"problem,omitempty"`
	ProblemAt time.Time `json:"problem_at,omitzero"`
}

// checkView is the check of this box or of one router as the page shows it: what
// needs a person first, the rest folded away.
type checkView struct {
	NAS   hotspot.NASID // "": this box
	Name  string
	Check // zero: none yet
	Tone  webui.Tone
	Needs []checkArea // rows that failed, warn, or are not known
	Fine  []checkArea
	Rows  int // in Fine
}

// checkArea is what a check found of one area; of a router there is one, without a name.
type checkArea struct {
	Area, Name, Target string
	At                 time.Time // looked at
	Again              bool      // it can be looked at alone, by a button that stands here
	Rows               []condition.CheckRow
}

func (b board) checkViews() []checkView {
	out := []checkView{checkViewOf("", "", b.Check)}
	for _, r := range b.Routers {
		out = append(out, checkViewOf(r.NAS, cmp.Or(r.Name, string(r.NAS)), r.Check))
	}
	return out
}

func checkViewOf(nas hotspot.NASID, name string, c *Check) checkView {
	v := checkView{NAS: nas, Name: name}
	if c != nil {
		v.Check = *c
	}
	if v.Report == nil {
		return v
	}
	v.Tone = markTones[v.Report.State]
	for _, row := range v.Report.Rows {
		if row.State == condition.OK || row.State == condition.Skipped {
			v.Fine, v.Rows = v.filed(v.Fine, row), v.Rows+1
		} else {
			v.Needs = v.filed(v.Needs, row)
		}
	}
	for _, a := range v.Needs {
		slices.SortStableFunc(a.Rows, func(a, b condition.CheckRow) int { return cmp.Compare(rank(a.State), rank(b.State)) })
	}
	slices.SortStableFunc(v.Needs, func(a, b checkArea) int { return cmp.Compare(rank(a.Rows[0].State), rank(b.Rows[0].State)) })
	for i, a := range v.Fine { // one button an area
		v.Fine[i].Again = a.Again && !slices.ContainsFunc(v.Needs, func(n checkArea) bool { return n.Area == a.Area })
	}
	return v
}

// filed puts a row under its area.
func (v checkView) filed(areas []checkArea, row condition.CheckRow) []checkArea {
	i := slices.IndexFunc(areas, func(a checkArea) bool { return a.Area == row.Area })
	if i < 0 {
		i = len(areas)
		at := row.At
		if at.IsZero() {
			at = v.Report.At
		}
		areas = append(areas, checkArea{Area: row.Area, Name: areaName(row.Area), Target: row.Target, At: at, Again: row.Area != ""})
	}
	areas[i].Rows = append(areas[i].Rows, row)
	return areas
}

// areaHead is the line above the rows of an area.
type areaHead struct {
	checkArea
	Ago     template.HTML
	Button  bool // for who may press it
	Running bool
}

func headOf(a checkArea, v checkView, b board) areaHead {
	return areaHead{a, b.Ago(a.At), a.Again && b.Visitor.Is(access.Technician), v.Running}
}

// areaName is an area in the words of the page.
func areaName(area string) string {
	names := map[string]string{"radius": "RADIUS", "router": "Routers"}
	return cmp.Or(names[area], capital(area))
}

func rank(m condition.Mark) int {
	return slices.Index([]condition.Mark{condition.Fail, condition.Warn, condition.Unknown, condition.OK, condition.Skipped}, m)
}

var markTones = map[condition.Mark]webui.Tone{condition.OK: webui.Good, condition.Warn: webui.Warn, condition.Fail: webui.Bad, condition.Unknown: webui.Info, condition.Skipped: webui.Calm}

func markBadge(m condition.Mark) webui.Badge {
	text := map[condition.Mark]string{condition.OK: "OK", condition.Warn: "Warning", condition.Fail: "Failed", condition.Unknown: "Not known", condition.Skipped: "Skipped"}[m]
	return webui.Badge{Tone: markTones[m], Text: text}
}

// check has a router or this box checked and goes back to the page, where it is followed.
func (s *Server) check(w http.ResponseWriter, r *http.Request) {
	if s.Check == nil {
		webui.Plain(w, http.StatusNotFound, "Checks cannot be made here", "Run iwas-agent check on this box.")
		return
	}
	switch err := s.Check(Asked{hotspot.NASID(r.FormValue("router")), r.FormValue("area")}); {
	case fault.Is(err, fault.NotFound):
		webui.Plain(w, http.StatusNotFound, "There is no such router or area", "Go back and press the button again.")
	case err != nil:
		s.log().Error("start a check", "err", err)
		webui.Plain(w, http.StatusInternalServerError, "The check could not be started", "The log of iwas-agent says why.")
	default:
		http.Redirect(w, r, "/#checks", http.StatusSeeOther)
	}
}

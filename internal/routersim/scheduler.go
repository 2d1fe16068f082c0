package routersim

import (
	"errors"
	"strings"
	"time"
)

// A scheduler runs its script every interval, the first time one interval after its
// start; without an interval once, at its start; with start-time=startup at every
// boot. The script has the policies of its row, whatever became of its owner.

// finishScheduler completes a row of /system/scheduler. Device-mode may forbid it.
func (s *Sim) finishScheduler(m *menu, r *row) error {
	if !s.menus["system/device-mode"].rows[0].is("scheduler") {
		return trapf(4, "failure: not allowed by device-mode")
	}
	every, err := parseDuration(r.get("interval"))
	if err != nil {
		return trapf(1, "invalid value for argument interval")
	}
	now := s.now()
	date, clock, _ := strings.Cut(s.stamp(now), " ")
	given := r.get("start-time") != "" || r.get("start-date") != ""
	if r.get("start-date") == "" {
		r.props["start-date"] = date
	}
	if r.get("start-time") == "" {
		r.props["start-time"] = clock
	}
	old := m.find(formatID(r.id))
	if old != nil && old.get("interval") == r.get("interval") && old.get("start-time") == r.get("start-time") && old.get("start-date") == r.get("start-date") {
		return nil
	}
	r.due = time.Time{}
	switch start, err := s.start(r); {
	case err != nil:
		return err
	case r.get("start-time") == "startup" && every > 0:
		r.due = time.Now().Add(every)
	case r.get("start-time") == "startup":
	case start.After(now):
		r.due = time.Now().Add(start.Sub(now))
	case every > 0 && (old != nil || !given):
		r.due = time.Now().Add(every)
	case every > 0:
		r.due = time.Now().Add(every - now.Sub(start)%every)
	}
	return nil
}

// start is when a row says it begins, by the router's clock; zero for startup.
func (s *Sim) start(r *row) (time.Time, error) {
	if r.get("start-time") == "startup" {
		return time.Time{}, nil
	}
	at, err := parseStamp(r.get("start-date") + " " + r.get("start-time"))
	if err != nil {
		return at, trapf(1, "invalid value for argument start-time")
	}
	return at, nil
}

// listSchedulers adds to the stored rows when each runs next.
func (s *Sim) listSchedulers() []view {
	m := s.menus["system/scheduler"]
	out := m.stored()
	for i, r := range m.rows {
		if !r.due.IsZero() && !r.is("disabled") {
			out[i]["next-run"] = s.stamp(s.now().Add(time.Until(r.due)))
		}
	}
	return out
}

// script is what a scheduler wants run, and as whom.
type script struct {
	name, text string
	who        actor
}

func (s *Sim) scriptOf(r *row) script {
	out := script{"scheduler " + r.get("name"), r.get("on-event"), actor{r.get("owner"), splitPolicies(r.get("policy"))}}
	if named := s.menus["system/script"].find(strings.TrimSpace(out.text)); named != nil { // on-event may be the name of one
		out.text = named.get("source")
	}
	return out
}

// due returns the scripts whose time has come. The caller holds the lock.
func (s *Sim) due(now time.Time) []script {
	var out []script
	if s.dark || !s.menus["system/device-mode"].rows[0].is("scheduler") {
		return nil
	}
	for _, r := range s.menus["system/scheduler"].rows {
		if r.due.IsZero() || now.Before(r.due) || r.is("disabled") {
			continue
		}
		every, _ := parseDuration(r.get("interval")) // checked when it was written
		r.due = time.Time{}
		if every > 0 {
			r.due = now.Add(every)
		}
		out = append(out, s.runs(r))
	}
	return out
}

func (s *Sim) runs(r *row) script {
	r.runs++
	r.props["run-count"] = itoa(r.runs)
	return s.scriptOf(r)
}

// atStartup returns the scripts that run at a boot. The caller holds the lock.
func (s *Sim) atStartup() []script {
	var out []script
	for _, r := range s.menus["system/scheduler"].rows {
		every, _ := parseDuration(r.get("interval")) // checked when it was written
		if r.due = (time.Time{}); every > 0 {
			r.due = time.Now().Add(every)
		}
		if r.get("start-time") == "startup" && !r.is("disabled") && s.menus["system/device-mode"].rows[0].is("scheduler") {
			out = append(out, s.runs(r))
		} else if start, err := s.start(r); err == nil && start.After(s.now()) {
			r.due = time.Now().Add(start.Sub(s.now()))
		}
	}
	return out
}

// runScript runs a script up to its first error, which is logged.
func (s *Sim) runScript(p script) {
	if err := s.execute(p.who).text(p.text); err != nil && !errors.Is(err, errInterrupted) {
		s.note("script,error", "executing script from "+p.name+" failed, please check it manually: "+err.Error())
	}
}

package routersim

import (
	"strings"
	"time"
)

// A scheduler runs its script every interval, the first time one interval after
// it was made, with the rights of who made it. Scripts are lists of commands;
// of the language of the console only [find …] is understood.

// finishScheduler completes a row of /system/scheduler. Device-mode may forbid it.
func (s *Sim) finishScheduler(m *menu, r *row) error {
	if !s.menus["system/device-mode"].rows[0].is("scheduler") {
		return trapf(4, "failure: not allowed by device-mode")
	}
	every, err := parseDuration(r.get("interval"))
	if err != nil {
		return trapf(1, "invalid value for argument interval")
	}
	if old := m.find(formatID(r.id)); old == nil || old.get("interval") != r.get("interval") {
		r.due = time.Time{}
		if every > 0 {
			r.due = time.Now().Add(every)
		}
	}
	if r.get("start-date") == "" {
		r.props["start-date"], r.props["start-time"], _ = strings.Cut(s.stamp(time.Now()), " ")
	}
	return nil
}

// script is what a scheduler wants run, and as whom.
type script struct{ owner, text string }

// due returns the scripts whose time has come. The caller holds the lock.
func (s *Sim) due(now time.Time) []script {
	var out []script
	for _, r := range s.menus["system/scheduler"].rows {
		if r.due.IsZero() || now.Before(r.due) || r.is("disabled") {
			continue
		}
		every, _ := parseDuration(r.get("interval")) // checked when it was written
		r.due = now.Add(every)
		r.runs++
		r.props["run-count"] = itoa(r.runs)
		out = append(out, script{r.get("owner"), r.get("on-event")})
	}
	return out
}

// runScript runs command by command and stops at the first that fails, as
// RouterOS does.
func (s *Sim) runScript(p script) {
	for _, line := range splitOutside(p.text, ";\n") {
		words := splitOutside(line, " ")
		if len(words) == 0 {
			continue
		}
		c := parseCommand(words[:1])
		for _, w := range words[1:] {
			if find, ok := strings.CutPrefix(w, "["); ok {
				c.args[".id"] = s.found(p.owner, c.path, strings.TrimSuffix(find, "]"))
				continue
			}
			k, v, _ := strings.Cut(w, "=")
			c.args[k] = strings.Trim(v, `"`)
		}
		if id, finds := c.args[".id"]; finds && id == "" {
			continue // nothing was found
		}
		if _, _, err := s.Command(p.owner, c.path, c.verb, c.args, nil); err != nil {
			s.note("script,error", "executing script failed, please check it manually: "+err.Error())
			return
		}
	}
}

// found is what [find …] gives: ids with commas.
func (s *Sim) found(user, path, text string) string {
	words := splitOutside(text, " ")
	var query []string
	for _, w := range words[1:] {
		k, v, _ := strings.Cut(w, "=")
		query = append(query, k+"="+strings.Trim(v, `"`))
	}
	rows, _, err := s.Command(user, path, "print", nil, query)
	if err != nil {
		return ""
	}
	var ids []string
	for _, r := range rows {
		ids = append(ids, r[".id"])
	}
	return strings.Join(ids, ",")
}

// splitOutside splits at any of the separators that is in no quotes and no
// brackets; empty parts are left out.
func splitOutside(text, separators string) []string {
	var out []string
	part, quoted, depth := "", false, 0
	flush := func() {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
		part = ""
	}
	for _, c := range text {
		switch {
		case c == '"':
			quoted = !quoted
		case c == '[' && !quoted:
			depth++
		case c == ']' && !quoted:
			depth--
		case !quoted && depth == 0 && strings.ContainsRune(separators, c):
			flush()
			continue
		}
		part += string(c)
	}
	flush()
	return out
}

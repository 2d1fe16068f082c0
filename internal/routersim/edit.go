package routersim

import (
	"maps"
	"slices"
	"strings"
)

// add is the add command of a stored menu.
func (s *Sim) add(m *menu, args map[string]string) (string, error) {
	if err := m.check("add", args); err != nil {
		return "", err
	}
	for _, k := range m.shape.needs {
		if args[k] == "" {
			return "", trapf(0, "missing =%s=", k)
		}
	}
	r := &row{id: s.id(), props: maps.Clone(m.shape.fresh)}
	if r.props == nil {
		r.props = map[string]string{}
	}
	if from := args["copy-from"]; from != "" {
		other := m.find(from)
		if other == nil {
			return "", errNoItem
		}
		maps.Copy(r.props, other.props)
	}
	if m.path == "ip/hotspot" && s.knobs.HotSpotOff {
		r.props["disabled"] = "true"
	}
	at := len(m.rows)
	if before := args["place-before"]; before != "" {
		other := m.find(before)
		if other == nil {
			return "", errNoItem
		}
		at = slices.Index(m.rows, other)
	}
	if err := s.write(m, r, args); err != nil {
		return "", err
	}
	m.rows = slices.Insert(m.rows, at, r)
	s.written(m, r, nil)
	return formatID(r.id), nil
}

// set is the set command of a stored menu, and what enable, disable and comment
// are made of. A row is changed whole or stays as it was.
func (s *Sim) set(m *menu, verb string, args map[string]string) error {
	if err := m.check(verb, args); err != nil {
		return err
	}
	switch verb {
	case "enable":
		args = map[string]string{".id": firstOf(args, ".id", "numbers"), "disabled": "false"}
	case "disable":
		args = map[string]string{".id": firstOf(args, ".id", "numbers"), "disabled": "true"}
	}
	if several := strings.Contains(firstOf(args, ".id", "numbers"), ","); several && s.knobs.OneID != "" {
		if s.knobs.OneID == "refused" {
			return trapf(1, "invalid value for argument .id")
		}
		return nil
	}
	targets, err := m.targets(args)
	if err != nil {
		return err
	}
	for _, r := range targets {
		next, was := r.clone(), r.props
		if err := s.write(m, next, args); err != nil {
			return err
		}
		*r = *next
		s.written(m, r, was)
	}
	return nil
}

// write puts arguments into a row, each checked and in the words of a read, then
// checks the row as a whole.
func (s *Sim) write(m *menu, r *row, args map[string]string) error {
	for _, k := range slices.Sorted(maps.Keys(args)) {
		if k == ".id" || k == "numbers" || k == "copy-from" || k == "place-before" {
			continue
		}
		v, err := s.value(k, m.shape.values[k], args[k])
		if err != nil {
			return err
		}
		if _, always := m.shape.fresh[k]; v == "" && !always && !m.single {
			delete(r.props, k) // an unset key is absent
			continue
		}
		r.props[k] = v
	}
	if m.shape.finish != nil {
		if err := m.shape.finish(m, r); err != nil {
			return err
		}
	}
	return m.taken(r)
}

// written tells whoever keeps up with a row: those who refer to it by name, and
// what the shape of its menu names. was is nil for a new row.
func (s *Sim) written(m *menu, r *row, was map[string]string) {
	if was != nil && was["name"] != r.get("name") {
		s.refer(m.path, was["name"], r.get("name"))
		if slices.ContainsFunc(kinds, func(k struct{ path, kind string }) bool { return k.path == m.path }) {
			s.refer("interface", was["name"], r.get("name"))
		}
	}
	if m.shape.done != nil {
		m.shape.done(m, r, was)
	}
}

// taken refuses a second row of what may exist once.
func (m *menu) taken(r *row) error {
	if m.shape.once == nil {
		return nil
	}
	for _, other := range m.rows {
		if other.id != r.id && !slices.ContainsFunc(m.shape.once, func(k string) bool { return other.get(k) != r.get(k) }) {
			return trapf(4, "failure: %s", m.shape.taken)
		}
	}
	return nil
}

// removeRows is the remove command.
func (s *Sim) removeRows(m *menu, verb string, args map[string]string) error {
	if err := m.check(verb, args); err != nil {
		return err
	}
	if strings.Contains(firstOf(args, ".id", "numbers"), ",") {
		switch s.knobs.OneID {
		case "refused":
			return trapf(1, "invalid value for argument .id")
		case "ignored":
			return nil
		}
	}
	if m.remove == nil {
		targets, err := m.targets(args)
		if err != nil {
			return err
		}
		if m.shape.leave != nil {
			for _, r := range targets {
				if err := m.shape.leave(r); err != nil {
					return err
				}
			}
		}
		m.rows = slices.DeleteFunc(m.rows, func(r *row) bool { return slices.Contains(targets, r) })
		for _, r := range targets {
			s.refer(m.path, r.get("name"), formatID(r.id))
			if m.shape.gone != nil {
				m.shape.gone(m, r)
			}
		}
		return nil
	}
	ids := firstOf(args, ".id", "numbers")
	if ids == "" {
		return trapf(0, "missing =.id=")
	}
	for _, id := range strings.Split(ids, ",") {
		n, ok := parseID(id)
		if !ok {
			return errNoItem
		}
		if err := m.remove(n); err != nil {
			return err
		}
	}
	return nil
}

// unset takes a key out of rows.
func (s *Sim) unset(m *menu, args map[string]string) error {
	if err := m.check("unset", args); err != nil {
		return err
	}
	key := args["value-name"]
	if key == "" {
		return trapf(0, "missing =value-name=")
	}
	if !slices.Contains(m.verbs["set"], key) {
		return trapf(1, "input does not match any value of value-name")
	}
	targets, err := m.targets(args)
	for _, r := range targets {
		delete(r.props, key)
		if v, ok := m.shape.fresh[key]; ok {
			r.props[key] = v
		}
	}
	return err
}

// move puts rows before another; one that is not there is the end (facts.md §2).
func (s *Sim) move(m *menu, args map[string]string) error {
	if err := m.check("move", args); err != nil {
		return err
	}
	targets, err := m.targets(args)
	if err != nil {
		return err
	}
	before := m.find(args["destination"])
	if slices.Contains(targets, before) {
		return trapf(4, "failure: can not move object before itself")
	}
	m.rows = slices.DeleteFunc(m.rows, func(r *row) bool { return slices.Contains(targets, r) })
	at := len(m.rows)
	if before != nil {
		at = slices.Index(m.rows, before)
	}
	m.rows = slices.Insert(m.rows, at, targets...)
	return nil
}

// resetCounters zeroes what a menu counts.
func (s *Sim) resetCounters(m *menu, verb string, args map[string]string) error {
	if err := m.check(verb, args); err != nil {
		return err
	}
	if m.path == "radius" || m.path == "radius/incoming" {
		s.counters = Counters{Commands: s.counters.Commands}
		return nil
	}
	targets, err := m.rows, error(nil)
	if verb == "reset-counters" {
		targets, err = m.targets(args)
	}
	for _, r := range targets {
		for _, k := range []string{"bytes", "packets", "hits", "bytes-in", "bytes-out", "packets-in", "packets-out"} {
			if _, ok := r.props[k]; ok {
				r.props[k] = m.shape.fresh[k]
			}
		}
	}
	return err
}

package routersim

import (
	"maps"
	"slices"
	"strings"
)

// actor is on whose behalf a command runs: a user, or a script of theirs that has
// policies of its own.
type actor struct {
	user   string
	script []string // policies of the script; nil is the user's own
}

// may reports whether an actor has a policy. A script has its own, whatever became
// of who made it (facts.md §7).
func (s *Sim) may(a actor, policy string) bool {
	if a.script != nil {
		return slices.Contains(a.script, policy)
	}
	return s.allowed(a.user, policy)
}

// Command runs one command as the user, on behalf of either door. path has no
// leading slash; the answer is rows, or the one value of "ret".
func (s *Sim) Command(user, path, verb string, args map[string]string, query []string) (rows []view, ret string, err error) {
	if verb == "run" || verb == "import" || verb == "fetch" {
		return s.run1(actor{user: user}, path, verb, args, 0)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.command(actor{user: user}, path, verb, args, query)
}

// command is Command with the lock held.
func (s *Sim) command(a actor, path, verb string, args map[string]string, query []string) (rows []view, ret string, err error) {
	m, ok := s.menus[path]
	if !ok {
		if slices.ContainsFunc(s.paths, func(p string) bool { return strings.HasPrefix(p, path+"/") }) {
			return nil, "", errNoCommand // a directory with menus below
		}
		return nil, "", trapf(0, "no such command prefix")
	}
	for _, policy := range needed(path, verb, args) {
		if !s.may(a, policy) {
			return nil, "", trapf(-1, "not enough permissions (9)")
		}
	}
	ignored, refusal := s.misled(path, verb)
	if ignored {
		return nil, "", nil
	}
	switch verb {
	case "print", "getall":
		return s.printMenu(m, a, args, query)
	case "add":
		ret, err = s.add(m, args)
		if r := m.find(ret); err == nil && (path == "system/scheduler" || path == "system/script") && r.get("owner") == "" {
			r.props["owner"] = a.user
		}
	case "set", "enable", "disable", "comment":
		err = s.set(m, verb, args)
	case "remove", "request-logout":
		err = s.removeRows(m, verb, args)
	case "unset":
		err = s.unset(m, args)
	case "move":
		err = s.move(m, args)
	case "reset-counters", "reset-counters-all":
		err = s.resetCounters(m, verb, args)
	case "monitor":
		rows, err = s.monitor(m, args)
	case "login":
		err = s.forceLogin(m, args)
	case "make-binding":
		err = s.makeBinding(m, args)
	case "import":
		err = s.importCertificate(m, args)
	case "sign":
		rows, err = s.sign(m, args)
	case "make-static":
		err = s.makeStatic(m, args)
	case "read":
		rows, err = s.readFile(m, args)
	case "export":
		err = s.exportFile(a, m, args)
	case "save":
		err = s.backup(m, args)
	case "load":
		err = s.restore(m, args)
	case "reboot":
		if err = m.check(verb, args); err == nil {
			s.restart()
		}
	default:
		err = errNoCommand
	}
	if changing(verb) {
		s.reconsider()
		if err == nil {
			s.noteWritten(a, path+"/"+verb, args)
		}
	}
	if err == nil {
		err = refusal
	}
	return rows, ret, err
}

// needed are the policies that a command asks of the user's group (facts.md §7).
func needed(path, verb string, args map[string]string) []string {
	switch {
	case verb == "print" || verb == "getall" || verb == "monitor":
		return []string{"read"}
	case verb == "export" && args["file"] != "":
		return []string{"read", "ftp"}
	case verb == "export":
		return []string{"read"}
	case path == "user" || path == "user/group":
		return []string{"policy"}
	case path == "system/backup":
		return []string{"policy", "test"}
	case path == "system" && verb == "reboot":
		return []string{"reboot"}
	case path == "file" && verb == "read":
		return []string{"read", "ftp"}
	case path == "file":
		return []string{"write", "ftp"}
	}
	return []string{"write"}
}

// makeStatic is /ip/dhcp-server/lease/make-static.
func (s *Sim) makeStatic(m *menu, args map[string]string) error {
	if err := m.check("make-static", args); err != nil {
		return err
	}
	ids := firstOf(args, ".id", "numbers")
	for id := range strings.SplitSeq(ids, ",") {
		r := m.find(id)
		if r == nil {
			return errNoItem
		}
		r.dynamic, r.served, r.props["dynamic"] = false, false, "false"
	}
	return nil
}

// allowed reports whether the user's group has a policy.
func (s *Sim) allowed(user, policy string) bool {
	u := s.menus["user"].find(user)
	if u == nil || u.is("disabled") {
		return false
	}
	g := s.menus["user/group"].find(u.get("group"))
	return g != nil && slices.Contains(strings.Split(g.get("policy"), ","), policy)
}

// printOptions are the arguments print takes in any menu.
var printOptions = []string{"count-only", "detail", "without-paging", "terse", "stats", "show-ids", "where", "from", "brief", "status", "as-value", ".id"}

func (s *Sim) printMenu(m *menu, a actor, args map[string]string, query []string) ([]view, string, error) {
	for _, k := range slices.Sorted(maps.Keys(args)) {
		if !slices.Contains(printOptions, k) {
			return nil, "", trapf(0, "unknown parameter %s", k)
		}
	}
	hidden := m.secret != "" && (m.path == "user" || !s.may(a, "sensitive")) // nobody reads a user's password
	var out []view
	from := m
	if s.knobs.MixUp != "" && m.path == s.knobs.MixUp {
		from = s.menus["system/identity"]
	}
	for _, v := range from.print() {
		if hidden {
			delete(v, m.secret)
		}
		if match(v, query) && (args[".id"] == "" || v[".id"] == args[".id"]) {
			out = append(out, v)
		}
	}
	if _, counting := args["count-only"]; counting {
		return nil, itoa(len(out)), nil
	}
	return out, "", nil
}

// monitor reads what the RADIUS client and /radius/incoming count, once.
func (s *Sim) monitor(m *menu, args map[string]string) ([]view, error) {
	if err := m.check("monitor", args); err != nil {
		return nil, err
	}
	n := s.counters
	if m.path == "radius/incoming" {
		return []view{{"requests": itoa(n.CoA), "bad-requests": itoa(n.CoABad), "acks": itoa(n.CoAACKs), "naks": itoa(n.CoANAKs)}}, nil
	}
	if _, err := m.targets(args); err != nil {
		return nil, err
	}
	return []view{{"pending": "0", "requests": itoa(n.Requests), "accepts": itoa(n.Accepts), "rejects": itoa(n.Rejects), "resends": itoa(n.Resends),
		"timeouts": itoa(n.Timeouts), "bad-replies": itoa(n.BadReplies), "last-request-rtt": "1ms"}}, nil
}

// forceLogin is /ip/hotspot/active/login: an administrator logs a device in. What
// RADIUS says is in /log only.
func (s *Sim) forceLogin(m *menu, args map[string]string) error {
	if err := m.check("login", args); err != nil {
		return err
	}
	for _, h := range s.hosts {
		if h.ip.String() != args["ip"] && h.mac != canonical(args["mac-address"]) {
			continue
		}
		if h.busy != nil {
			return trapf(4, "failure: %s", errBusy)
		}
		h.begin(true)
		l := Login{Method: "http-pap", Username: args["user"], Password: args["password"]}
		if !s.run(func() { defer s.finish(h); _ = s.authenticate(h, l) }) {
			h.end()
		}
		return nil
	}
	return trapf(4, "failure: host not found")
}

// makeBinding is /ip/hotspot/host/make-binding: what a host is now, kept.
func (s *Sim) makeBinding(m *menu, args map[string]string) error {
	if err := m.check("make-binding", args); err != nil {
		return err
	}
	id, ok := parseID(firstOf(args, ".id", "numbers"))
	for _, h := range s.hosts {
		if !ok || h.id != id {
			continue
		}
		binding := map[string]string{"mac-address": h.mac, "address": h.ip.String(), "to-address": h.ip.String(), "type": firstOf(args, "type")}
		if binding["type"] == "" {
			binding["type"] = "regular"
		}
		if text := args["comment"]; text != "" {
			binding["comment"] = text
		}
		_, err := s.add(s.menus["ip/hotspot/ip-binding"], binding)
		return err
	}
	return errNoItem
}

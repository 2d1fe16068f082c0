package routersim

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// value is what an expression gives: a text, or several of them.
type value struct {
	text string
	many []string
	list bool // many counts
}

func (v value) String() string {
	if v.list {
		return strings.Join(v.many, ";")
	}
	return v.text
}

// ids writes a value as numbers= takes it.
func (v value) ids() string {
	if v.list {
		return strings.Join(v.many, ",")
	}
	return v.text
}

func (v value) true() bool { return v.text == "true" || v.text == "yes" }

func yes(b bool) value { return value{text: strconv.FormatBool(b)} }

// execution is one run of a text.
type execution struct {
	s     *Sim
	who   actor
	vars  map[string]value
	out   strings.Builder
	depth int // of scripts that run scripts
	live  <-chan struct{}
}

const maxDepth = 10 // of scripts that run scripts

var errInterrupted = trapf(2, "interrupted")

func (s *Sim) execute(who actor) *execution {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &execution{s: s, who: who, vars: map[string]value{}, live: s.boot.Done()}
}

// text reads a text as a whole, then runs it up to the first error.
func (p *execution) text(text string) error {
	p.s.mu.Lock()
	statements, err := p.s.parse(text)
	p.s.mu.Unlock()
	if err != nil {
		return err
	}
	return p.block(statements)
}

func (p *execution) block(statements []statement) error {
	for _, st := range statements {
		select {
		case <-p.live:
			return errInterrupted // the router lost power, or boots
		default:
		}
		if _, err := p.do(st); err != nil {
			return err
		}
	}
	return nil
}

func (p *execution) do(st statement) (value, error) {
	switch st.word {
	case "":
		return p.command(st)
	case "do":
		err := p.block(st.body)
		if err != nil && st.caught && !errors.Is(err, errInterrupted) {
			return value{}, p.block(st.otherwise)
		}
		return value{}, err
	}
	given, err := p.eval(st.args[0].value, nil)
	if err != nil {
		return value{}, err
	}
	switch st.word {
	case "if":
		if given.true() {
			return value{}, p.block(st.body)
		}
		return value{}, p.block(st.otherwise)
	case "foreach":
		each := given.many
		if !given.list && given.text != "" {
			each = []string{given.text}
		}
		for _, one := range each {
			p.vars[st.args[0].name] = value{text: one}
			if err := p.block(st.body); err != nil {
				return value{}, err
			}
		}
	case "local", "global", "set":
		p.vars[st.args[0].name] = given
	case "put":
		p.out.WriteString(given.String() + "\n")
	case "log":
		p.s.note("script,"+st.args[0].name, given.String())
	case "error":
		return value{}, trapf(3, "%s", given)
	case "delay":
		return value{}, p.wait(given.text)
	case "len":
		if given.list {
			return value{text: itoa(len(given.many))}, nil
		}
		return value{text: itoa(len(given.text))}, nil
	}
	return value{}, nil
}

func (p *execution) wait(text string) error {
	d, err := parseDuration(text)
	if err != nil {
		return trapf(1, "invalid value for argument delay-time")
	}
	select {
	case <-time.After(d):
		return nil
	case <-p.live:
		return errInterrupted
	case <-p.s.ctx.Done():
		return errInterrupted
	}
}

// command runs a command of a menu.
func (p *execution) command(st statement) (value, error) {
	args := map[string]string{}
	several := false
	for _, a := range st.args {
		v, err := p.eval(a.value, nil)
		if err != nil {
			return value{}, err
		}
		name := a.name
		if name == "numbers" || name == "number" {
			if v.list && len(v.many) == 0 && st.verb != "get" {
				return value{}, nil // nothing was found: nothing is done
			}
			name, several = ".id", v.list
		}
		args[name] = v.ids()
	}
	if err := p.s.consoleWords(st, args); err != nil {
		return value{}, err
	}
	switch st.verb {
	case "":
		return value{}, nil
	case "find":
		return p.find(st)
	case "get":
		return p.get(st, args)
	case "print":
		return p.print(st, args)
	case "info", "warning", "error", "debug":
		p.s.note("script,"+st.verb, args["message"])
		return value{}, nil
	case "export":
		if args["file"] == "" {
			text, err := p.s.exported(p.who, st.path, args)
			p.out.WriteString(text)
			return value{}, err
		}
	}
	if several {
		for id := range strings.SplitSeq(args[".id"], ",") {
			one := maps.Clone(args)
			one[".id"] = id
			if _, _, err := p.s.run1(p.who, st.path, st.verb, one, p.depth); err != nil {
				return value{}, err
			}
		}
		return value{}, nil
	}
	_, ret, err := p.s.run1(p.who, st.path, st.verb, args, p.depth)
	return value{text: ret}, err
}

// consoleWords refuses what the console refuses and the API takes: true and false
// (facts.md §1).
func (s *Sim) consoleWords(st statement, args map[string]string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.menus[st.path]
	for _, name := range slices.Sorted(maps.Keys(args)) {
		if m.shape.values[name] == yesNo && args[name] != "yes" && args[name] != "no" {
			return trapf(1, "invalid value for argument %s", name)
		}
	}
	return nil
}

// rows are those of a menu that a condition fits.
func (p *execution) rows(st statement) ([]view, error) {
	rows, _, err := p.s.run1(p.who, st.path, "print", nil, p.depth)
	if err != nil || st.where == nil {
		return rows, err
	}
	var out []view
	for _, v := range rows {
		fits, err := p.eval(st.where, v)
		if err != nil {
			return nil, err
		}
		if fits.true() {
			out = append(out, v)
		}
	}
	return out, nil
}

func (p *execution) find(st statement) (value, error) {
	rows, err := p.rows(st)
	out := value{list: true}
	for _, v := range rows {
		out.many = append(out.many, v[".id"])
	}
	return out, err
}

func (p *execution) get(st statement, args map[string]string) (value, error) {
	rows, err := p.rows(st)
	if err != nil {
		return value{}, err
	}
	name := args["value-name"]
	for _, v := range rows {
		if id := args[".id"]; id != v[".id"] && id != v["name"] && v[".id"] != "" || id == "" && v[".id"] != "" {
			continue
		}
		got, ok := v[name]
		p.s.mu.Lock()
		known := ok || p.s.hasKey(p.s.menus[st.path], name)
		p.s.mu.Unlock()
		if !known {
			return value{}, trapf(1, "input does not match any value of value-name")
		}
		return value{text: got}, nil
	}
	return value{}, errNoItem
}

func (p *execution) print(st statement, args map[string]string) (value, error) {
	rows, err := p.rows(st)
	if _, counting := args["count-only"]; counting && err == nil {
		p.out.WriteString(itoa(len(rows)) + "\n")
		return value{text: itoa(len(rows))}, nil
	}
	for _, v := range rows {
		for _, k := range slices.Sorted(maps.Keys(v)) {
			p.out.WriteString(k + "=" + v[k] + " ")
		}
		p.out.WriteString("\n")
	}
	return value{}, err
}

// eval gives the value of an expression; row is what find and where ask.
func (p *execution) eval(e *expression, row view) (value, error) {
	switch e.kind {
	case "all":
		return yes(true), nil
	case "variable":
		return p.vars[e.text], nil
	case "flag":
		return value{text: row[e.text]}, nil
	case "command":
		out := value{}
		for _, st := range e.run {
			var err error
			if out, err = p.do(st); err != nil {
				return value{}, err
			}
		}
		return out, nil
	case "operation":
		return p.operation(e, row)
	}
	if e.parts == nil {
		return value{text: e.text}, nil
	}
	var b strings.Builder
	for _, part := range e.parts {
		v, err := p.eval(part, row)
		if err != nil {
			return value{}, err
		}
		b.WriteString(v.String())
	}
	return value{text: b.String()}, nil
}

func (p *execution) operation(e *expression, row view) (value, error) {
	a, err := p.eval(e.parts[0], row)
	if err != nil {
		return value{}, err
	}
	switch {
	case e.text == "!":
		return yes(!a.true()), nil
	case (e.text == "&&" || e.text == "and") && !a.true(), (e.text == "||" || e.text == "or") && a.true():
		return yes(a.true()), nil
	}
	b, err := p.eval(e.parts[1], row)
	if err != nil {
		return value{}, err
	}
	switch e.text {
	case "&&", "and", "||", "or":
		return yes(b.true()), nil
	case "=":
		return yes(same(a, b)), nil
	case "!=":
		return yes(!same(a, b)), nil
	case "<":
		return yes(less(a.String(), b.String())), nil
	case ">":
		return yes(less(b.String(), a.String())), nil
	case "<=":
		return yes(!less(b.String(), a.String())), nil
	case ">=":
		return yes(!less(a.String(), b.String())), nil
	case ".":
		return value{text: a.String() + b.String()}, nil
	case "~":
		re, err := regexp.CompilePOSIX(b.String())
		if err != nil {
			return value{}, trapf(3, "invalid regular expression")
		}
		return yes(re.MatchString(a.String())), nil
	}
	return sum(e.text, a, b)
}

func sum(op string, a, b value) (value, error) {
	x, errX := strconv.Atoi(a.String())
	y, errY := strconv.Atoi(b.String())
	if errX != nil || errY != nil {
		return value{}, trapf(3, "cannot %s what is no number", map[string]string{"+": "add", "-": "subtract"}[op])
	}
	if op == "-" {
		y = -y
	}
	return value{text: itoa(x + y)}, nil
}

// same compares as the console does: yes is true, and a flag that is not there is
// no.
func same(a, b value) bool {
	x, y := normal(a.String()), normal(b.String())
	return x == y || x == "" && y == "false"
}

// run1 runs one command, and knows those that run others.
func (s *Sim) run1(who actor, path, verb string, args map[string]string, depth int) ([]view, string, error) {
	switch {
	case path == "system/script" && verb == "run", path == "" && verb == "import":
		return nil, "", s.runOther(who, path, args, depth)
	case path == "tool" && verb == "fetch":
		return nil, "", s.fetch(who, args)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.command(who, path, verb, args, nil)
}

// runOther is /system/script/run and /import: both stop at the first error.
func (s *Sim) runOther(who actor, path string, args map[string]string, depth int) error {
	if depth >= maxDepth {
		return trapf(3, "scripts run each other in a circle")
	}
	s.mu.Lock()
	text, as, err := s.other(who, path, args)
	s.mu.Unlock()
	if err != nil {
		return err
	}
	p := s.execute(as)
	p.depth = depth + 1
	return p.text(text)
}

// other is the text of a script or a file, and on whose behalf it runs.
func (s *Sim) other(who actor, path string, args map[string]string) (string, actor, error) {
	if path == "" {
		if err := s.menus[""].check("import", args); err != nil {
			return "", who, err
		}
		f := s.menus["file"].find(args["file-name"])
		if f == nil {
			return "", who, trapf(1, "input does not match any value of file-name")
		}
		return f.get("contents"), who, nil
	}
	m := s.menus[path]
	if err := m.check("run", args); err != nil {
		return "", who, err
	}
	r := m.find(firstOf(args, "number", ".id"))
	if r == nil {
		return "", who, errNoItem
	}
	own := splitPolicies(r.get("policy"))
	for _, policy := range own {
		if !r.is("dont-require-permissions") && !s.may(who, policy) {
			return "", who, trapf(-1, "not enough permissions (9)")
		}
	}
	r.runs++
	r.props["run-count"], r.props["last-started"] = itoa(r.runs), s.stamp(s.now())
	return r.get("source"), actor{user: who.user, script: own}, nil
}

func splitPolicies(text string) []string {
	return strings.FieldsFunc(text, func(c rune) bool { return c == ',' })
}

// Paste enters a text at the router's console as a user who sits there, line by
// line, as a terminal takes what is pasted: a line that is refused does not stop the
// next. It returns all that the console shows, and an error that names each refused
// line.
func (s *Sim) Paste(user, text string) (string, error) {
	p := s.execute(actor{user: user})
	s.mu.Lock()
	allowed := s.allowed(user, "local")
	s.mu.Unlock()
	if !allowed {
		return "", fmt.Errorf("%s may not log in at the console", user)
	}
	var errs []error
	lines := strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
	declared := ""
	for n := 0; n < len(lines); n++ {
		entered, first := lines[n], n
		for open(entered) && n+1 < len(lines) {
			n++
			entered += "\n" + lines[n]
		}
		if err := p.enter(entered, &declared); err != nil {
			p.out.WriteString(err.Error() + "\n")
			errs = append(errs, fmt.Errorf("line %d: %s: %w", first+1, strings.TrimSpace(entered), err))
		}
	}
	return p.out.String(), errors.Join(errs...)
}

// enter runs one line of a terminal: the menu it is in, and the variables, are kept
// from line to line.
func (p *execution) enter(text string, here *string) error {
	p.s.mu.Lock()
	statements, err := p.s.parseFrom(text, here, slices.Collect(maps.Keys(p.vars)))
	p.s.mu.Unlock()
	if err != nil {
		return err
	}
	return p.block(statements)
}

// open reports whether a line goes on in the next: by a backslash, or by brackets
// that are not closed.
func open(text string) bool {
	depth, quoted, escaped := 0, false, false
	for i := range len(text) {
		c := text[i]
		switch {
		case escaped:
			escaped = false
		case c == '\\':
			escaped = true
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '#' && strings.TrimSpace(text[:i]) == "":
			return false
		case c == '{' || c == '[' || c == '(':
			depth++
		case c == '}' || c == ']' || c == ')':
			depth--
		}
	}
	return depth > 0 || quoted || escaped
}

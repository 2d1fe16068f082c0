package routersim

import (
	"fmt"
	"slices"
	"strings"
)

// The language of the console and of scripts, as far as setting up and rolling back
// needs it: commands in every spelling of their path, [find …] and [get …], :do with
// on-error, :if, :foreach, :local, :set, :put, :log, :delay, :error. Anything else is
// a syntax error with its place, and a script with one does not begin.

// consoleError is what the console says of a text, with the place it means.
type consoleError struct {
	text         string
	line, column int
}

func (e *consoleError) Error() string {
	return fmt.Sprintf("%s (line %d column %d)", e.text, e.line, e.column)
}

// statement is one of the language.
type statement struct {
	word      string // of a ":" statement, or "" for a command
	path      string
	verb      string      // "" moves to the menu of path
	args      []argument  // of the command; those of a ":" statement that are no blocks
	where     *expression // of find and print
	body      []statement // do=
	otherwise []statement // on-error= or else=
	caught    bool        // on-error= is there, perhaps empty
}

type argument struct {
	name  string // "" is by its position
	value *expression
}

// expression is a value, or what gives one.
type expression struct {
	kind  string // text, variable, command, operation, flag, all
	text  string
	parts []*expression // of a text with values inside, or of an operation
	run   []statement   // of [ ]
}

// parser reads a text from left to right.
type parser struct {
	s       *Sim
	text    string
	at      int
	here    string // the menu that commands without a slash mean
	vars    []string
	refused error // the first; after it the text counts as read
}

// parse reads a whole text. The caller holds the lock: which commands there are is
// the router's.
func (s *Sim) parse(text string) ([]statement, error) {
	here := ""
	return s.parseFrom(text, &here, nil)
}

// parseFrom reads on from where a text before left off: in a menu, with variables.
func (s *Sim) parseFrom(text string, here *string, vars []string) ([]statement, error) {
	p := &parser{s: s, text: strings.ReplaceAll(text, "\r\n", "\n"), here: *here, vars: vars}
	out := p.block("")
	if p.refused != nil {
		return nil, p.refused
	}
	*here = p.here
	return out, nil
}

// fail keeps the first refusal, and ends the text, so that whoever reads on finds
// nothing more.
func (p *parser) fail(at int, format string, args ...any) {
	if p.refused == nil {
		before := p.text[:at]
		p.refused = &consoleError{fmt.Sprintf(format, args...), strings.Count(before, "\n") + 1, at - strings.LastIndexByte(before, '\n')}
	}
	p.at = len(p.text)
}

func (p *parser) peek() byte {
	if p.at < len(p.text) {
		return p.text[p.at]
	}
	return 0
}

// space skips blanks and continued lines; with lines, ends of statements too.
func (p *parser) space(lines bool) {
	for p.at < len(p.text) {
		c := p.text[p.at]
		switch {
		case c == ' ' || c == '\t':
			p.at++
		case strings.HasPrefix(p.text[p.at:], "\\\n"):
			p.at += 2
		case lines && (c == '\n' || c == ';'):
			p.at++
		case lines && c == '#':
			if end := strings.IndexByte(p.text[p.at:], '\n'); end >= 0 {
				p.at += end
			} else {
				p.at = len(p.text)
			}
		default:
			return
		}
	}
}

// block reads statements up to a closing bracket, or to the end of the text.
func (p *parser) block(end string) []statement {
	here, vars := p.here, len(p.vars)
	defer func() {
		if end != "" {
			p.here, p.vars = here, p.vars[:vars]
		}
	}()
	out := []statement{}
	for {
		p.space(true)
		if p.at == len(p.text) {
			if end != "" {
				p.fail(p.at, "syntax error")
			}
			return out
		}
		if end != "" && strings.HasPrefix(p.text[p.at:], end) {
			p.at += len(end)
			return out
		}
		out = append(out, p.statement(end))
		p.space(false)
		if c := p.peek(); c != 0 && c != '\n' && c != ';' && (end == "" || !strings.HasPrefix(p.text[p.at:], end)) {
			p.fail(p.at, "expected end of command")
		}
	}
}

// over reports whether the statement ends here.
func (p *parser) over() bool {
	p.space(false)
	return strings.IndexByte("\x00\n;]}", p.peek()) >= 0
}

func (p *parser) word() string {
	from := p.at
	for p.at < len(p.text) {
		if c := p.text[p.at]; c != '-' && c != '.' && c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			break
		}
		p.at++
	}
	return p.text[from:p.at]
}

func (p *parser) statement(end string) statement {
	if p.peek() == ':' {
		return p.colon()
	}
	if end == "" && p.peek() == '{' { // a block of its own
		p.at++
		return statement{word: "do", body: p.block("}")}
	}
	return p.command()
}

func (p *parser) colon() statement {
	from := p.at
	p.at++
	st := statement{word: p.word()}
	switch st.word {
	case "do":
		p.space(false)
		st.body = p.braces()
		if p.option("on-error") {
			st.otherwise, st.caught = p.braces(), true
		}
	case "if":
		p.space(false)
		st.args = []argument{{value: p.value()}}
		if !p.option("do") {
			p.fail(p.at, "syntax error")
		}
		st.body = p.braces()
		if p.option("else") {
			st.otherwise = p.braces()
		}
	case "foreach":
		p.space(false)
		name := p.word()
		if name == "" || !p.option("in") {
			p.fail(p.at, "syntax error")
		}
		st.args = []argument{{name: name, value: p.value()}}
		if !p.option("do") {
			p.fail(p.at, "syntax error")
		}
		p.vars = append(p.vars, name)
		st.body = p.braces()
		p.vars = p.vars[:len(p.vars)-1]
	case "local", "global", "set":
		p.space(false)
		name := p.word()
		if name == "" {
			p.fail(p.at, "expected variable name")
		}
		if st.word == "set" && !slices.Contains(p.vars, name) {
			p.fail(p.at, "syntax error")
		}
		st.args = []argument{{name: name, value: &expression{kind: "text"}}}
		if !p.over() {
			st.args[0].value = p.value()
		}
		p.vars = append(p.vars, name)
	case "log":
		p.space(false)
		level := p.at
		if name := p.word(); slices.Contains([]string{"debug", "error", "info", "warning"}, name) {
			p.space(false)
			st.args = []argument{{name: name, value: p.value()}}
			break
		}
		p.fail(level, "bad command name %s", p.text[level:p.at])
	case "put", "delay", "error", "len":
		p.space(false)
		st.args = []argument{{value: p.value()}}
	default:
		p.fail(from, "bad command name %s", st.word)
	}
	return st
}

// option reads "name=" if it is next.
func (p *parser) option(name string) bool {
	p.space(false)
	if strings.HasPrefix(p.text[p.at:], name+"=") {
		p.at += len(name) + 1
		return true
	}
	return false
}

func (p *parser) braces() []statement {
	if p.peek() != '{' {
		p.fail(p.at, "syntax error")
		return nil
	}
	p.at++
	return p.block("}")
}

// command reads the path, the command, and its arguments.
func (p *parser) command() statement {
	from := p.at
	path := p.here
	if p.peek() == '/' {
		p.at++
		path = ""
	}
	for {
		p.space(false)
		at := p.at
		if p.over() && at > from {
			p.here = path // "/ip firewall filter" alone goes there
			return statement{path: path}
		}
		if strings.HasPrefix(p.text[p.at:], "..") {
			p.at += 2
			path = path[:max(strings.LastIndexByte(path, '/'), 0)]
			continue
		}
		word := p.word()
		if word == "" {
			p.fail(at, "expected command name")
			return statement{}
		}
		deeper := strings.Trim(path+"/"+word, "/")
		switch {
		case p.s.isCommand(path, word):
			here := p.here
			p.here = path // [find] means the menu of its command
			st := p.arguments(statement{path: path, verb: word})
			p.here = here
			return st
		case p.s.isMenu(deeper):
			path = deeper
		default:
			p.fail(at, "bad command name %s", word)
			return statement{}
		}
		if p.peek() == '/' {
			p.at++
		}
	}
}

// isMenu reports whether a path is a menu, or leads to one.
func (s *Sim) isMenu(path string) bool {
	for have := range s.menus {
		if have == path || strings.HasPrefix(have, path+"/") {
			return true
		}
	}
	return false
}

func (s *Sim) isCommand(path, word string) bool {
	m := s.menus[path]
	if m == nil {
		return false
	}
	if _, ok := m.verbs[word]; ok {
		return true
	}
	return path != "" && path != "system" && path != "system/backup" && path != "tool" && slices.Contains([]string{"print", "find", "get", "export"}, word)
}

// byPosition names the arguments that need no name.
var byPosition = map[string][]string{"set": {"numbers"}, "remove": {"numbers"}, "enable": {"numbers"}, "disable": {"numbers"}, "unset": {"numbers", "value-name"},
	"comment": {"numbers"}, "move": {"numbers", "destination"}, "reset-counters": {"numbers"}, "make-static": {"numbers"}, "sign": {"number"}, "run": {"number"},
	"get": {"numbers", "value-name"}, "info": {"message"}, "warning": {"message"}, "error": {"message"}, "debug": {"message"}, "import": {"file-name"}, "fetch": {"url"}, "reboot": {}}

func (p *parser) arguments(st statement) statement {
	m := p.s.menus[st.path]
	position := byPosition[st.verb]
	if m.single && len(position) > 0 && position[0] == "numbers" {
		position = position[1:]
	}
	for !p.over() {
		at := p.at
		word := p.word()
		if word != "" && p.peek() == '=' && st.verb != "find" {
			if !p.takes(m, st.verb, word, at) {
				return st
			}
			p.at++
			st.args = append(st.args, argument{word, p.value()})
			continue
		}
		if word == "where" && (st.verb == "find" || st.verb == "print" || st.verb == "export") {
			st.where = p.condition(m)
			return st
		}
		p.at = at
		if st.verb == "find" {
			st.where = p.condition(m)
			return st
		}
		if word != "" && (st.verb == "print" || st.verb == "export") {
			if !p.takes(m, st.verb, word, at) { // a switch, such as count-only
				return st
			}
			p.at += len(word)
			st.args = append(st.args, argument{word, &expression{kind: "text"}})
			continue
		}
		if len(position) == 0 {
			p.fail(at, "expected end of command")
			return st
		}
		st.args = append(st.args, argument{position[0], p.value()})
		position = position[1:]
	}
	return st
}

// takes reports whether the command knows an argument, and refuses one it does not.
func (p *parser) takes(m *menu, verb, name string, at int) bool {
	var known []string
	switch verb {
	case "print":
		known = printOptions
	case "export":
		known = p.s.menus[""].verbs["export"]
	case "get":
		known = []string{"numbers", "value-name"}
	default:
		known = m.verbs[verb]
	}
	if slices.Contains(known, name) {
		return true
	}
	if verb == "print" || verb == "get" {
		p.fail(at, "expected end of command")
	} else {
		p.fail(at, "bad parameter %s", name)
	}
	return false
}

// value reads one value: a text, a variable, a command in brackets, an operation in
// parentheses.
func (p *parser) value() *expression {
	switch p.peek() {
	case '"':
		return p.quoted()
	case '$':
		return p.variable()
	case '[':
		p.at++
		return &expression{kind: "command", run: p.block("]")}
	case '(':
		p.at++
		e := p.operation()
		p.space(true)
		if p.peek() != ')' {
			p.fail(p.at, "syntax error")
			return e
		}
		p.at++
		return e
	}
	from := p.at
	for p.at < len(p.text) && strings.IndexByte(" \t\n;]}()\"[{$", p.text[p.at]) < 0 {
		p.at++
	}
	if p.at == from && strings.IndexByte(" \t\n;]}", p.peek()) < 0 {
		p.fail(p.at, "syntax error")
	}
	return &expression{kind: "text", text: p.text[from:p.at]}
}

func (p *parser) variable() *expression {
	from := p.at
	p.at++
	if p.peek() == '[' {
		p.at++
		return &expression{kind: "command", run: p.block("]")}
	}
	start := p.at
	for p.at < len(p.text) && (p.text[p.at] >= '0' && p.text[p.at] <= '9' || p.text[p.at]|0x20 >= 'a' && p.text[p.at]|0x20 <= 'z') {
		p.at++
	}
	name := p.text[start:p.at]
	if !slices.Contains(p.vars, name) {
		p.fail(from, "syntax error")
	}
	return &expression{kind: "variable", text: name}
}

// quoted reads a text in quotation marks, with its escapes and values inside.
func (p *parser) quoted() *expression {
	from := p.at
	p.at++
	e := &expression{kind: "text"}
	var b strings.Builder
	flush := func() {
		if b.Len() > 0 {
			e.parts = append(e.parts, &expression{kind: "text", text: b.String()})
			b.Reset()
		}
	}
	for {
		c := p.peek()
		switch {
		case p.at >= len(p.text):
			p.fail(from, "syntax error")
			return e
		case c == '"':
			p.at++
			flush()
			return e
		case c == '$':
			flush()
			e.parts = append(e.parts, p.variable())
		case c == '\\':
			p.escape(&b)
		default:
			b.WriteByte(c)
			p.at++
		}
	}
}

var escapes = map[byte]string{'"': "\"", '\\': "\\", 'n': "\n", 'r': "\r", 't': "\t", '$': "$", '?': "?", '_': " ", 'a': "\a", 'b': "\b", 'f': "\f", 'v': "\v", '\n': ""}

func (p *parser) escape(b *strings.Builder) {
	rest := p.text[p.at+1:]
	if rest != "" {
		var n byte
		if got, _ := fmt.Sscanf(rest[:min(2, len(rest))], "%02X", &n); got == 1 && len(rest) > 1 && isHex(rest[0]) && isHex(rest[1]) {
			b.WriteByte(n)
			p.at += 3
			return
		}
		if text, ok := escapes[rest[0]]; ok {
			b.WriteString(text)
			p.at += 2
			return
		}
	}
	p.fail(p.at, "syntax error")
}

func isHex(c byte) bool { return c >= '0' && c <= '9' || c >= 'A' && c <= 'F' }

// operators by how strongly they bind, weakest first.
var operators = [][]string{{"||", "or"}, {"&&", "and"}, {"!=", "<=", ">=", "=", "<", ">", "~"}, {"."}, {"+", "-"}}

func (p *parser) operation() *expression { return p.binds(0) }

func (p *parser) binds(level int) *expression {
	if level == len(operators) {
		return p.operand()
	}
	left := p.binds(level + 1)
	for {
		p.space(true)
		op := ""
		for _, o := range operators[level] {
			if op == "" && strings.HasPrefix(p.text[p.at:], o) {
				op = o
			}
		}
		if op == "" {
			return left
		}
		p.at += len(op)
		left = &expression{kind: "operation", text: op, parts: []*expression{left, p.binds(level + 1)}}
	}
}

func (p *parser) operand() *expression {
	p.space(true)
	if p.peek() == '!' {
		p.at++
		return &expression{kind: "operation", text: "!", parts: []*expression{p.operand()}}
	}
	switch p.peek() {
	case '"', '$', '[', '(':
		return p.value()
	}
	if word := p.word(); word != "" {
		return &expression{kind: "text", text: word}
	}
	p.fail(p.at, "syntax error")
	return nil
}

// condition reads what find and where ask of a row: "name=x", "name~x", "!dynamic",
// joined by and, or, or nothing.
func (p *parser) condition(m *menu) *expression {
	e := p.conditions(m)
	if e == nil {
		return &expression{kind: "all"}
	}
	return e
}

func (p *parser) conditions(m *menu) *expression {
	var either *expression
	for {
		both := p.test(m)
		for both != nil {
			p.joined("and", "&&")
			next := p.test(m)
			if next == nil {
				break
			}
			both = &expression{kind: "operation", text: "&&", parts: []*expression{both, next}}
		}
		if either == nil {
			either = both
		} else if both == nil {
			p.fail(p.at, "syntax error")
		} else {
			either = &expression{kind: "operation", text: "||", parts: []*expression{either, both}}
		}
		if !p.joined("or", "||") {
			return either
		}
		if both == nil {
			p.fail(p.at, "syntax error")
		}
	}
}

// joined reads a conjunction, if it is next.
func (p *parser) joined(words ...string) bool {
	p.space(false)
	for _, w := range words {
		if rest, ok := strings.CutPrefix(p.text[p.at:], w); ok && (w[0] == '&' || w[0] == '|' || rest != "" && rest[0] == ' ') {
			p.at += len(w)
			return true
		}
	}
	return false
}

// test reads one question to a row; nil when there is none.
func (p *parser) test(m *menu) *expression {
	if p.over() || p.peek() == ')' {
		return nil
	}
	at := p.at
	switch p.peek() {
	case '(':
		p.at++
		e := p.conditions(m)
		p.space(false)
		if e == nil || p.peek() != ')' {
			p.fail(p.at, "syntax error")
			return nil
		}
		p.at++
		return e
	case '!':
		p.at++
		not := p.test(m)
		if not == nil {
			p.fail(p.at, "syntax error")
			return nil
		}
		return &expression{kind: "operation", text: "!", parts: []*expression{not}}
	}
	name := p.word()
	if name == "or" || name == "and" {
		p.at = at
		return nil
	}
	if name == "" {
		p.fail(at, "syntax error")
		return nil
	}
	if !p.s.hasKey(m, name) {
		p.fail(at, "bad parameter %s", name)
	}
	for _, op := range []string{"!=", "<=", ">=", "=", "~", "<", ">"} {
		if strings.HasPrefix(p.text[p.at:], op) {
			p.at += len(op)
			return &expression{kind: "operation", text: op, parts: []*expression{{kind: "flag", text: name}, p.value()}}
		}
	}
	return &expression{kind: "operation", text: "=", parts: []*expression{{kind: "flag", text: name}, {kind: "text", text: "yes"}}}
}

// hasKey reports whether rows of a menu may have a key.
func (s *Sim) hasKey(m *menu, name string) bool {
	if _, ok := m.shape.fresh[name]; ok || slices.Contains([]string{"dynamic", "invalid", "default", "builtin", "running", "type", "comment", "disabled"}, name) {
		return true
	}
	for _, verb := range []string{"add", "set"} {
		if slices.Contains(m.verbs[verb], name) {
			return true
		}
	}
	return slices.ContainsFunc(m.print(), func(v view) bool { _, ok := v[name]; return ok })
}

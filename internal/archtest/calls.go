package archtest

import (
	"go/ast"
	"go/token"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"iwas/internal/condition"
)

// mayPanic are the files that may, each with its reason. A defect in data that
// is built into the program, and nothing that can come from outside.
var mayPanic = map[string]string{
	"agent/store/usage.go":     "encodes a struct of numbers, which cannot fail",
	"agent/uplink/identity.go": "encodes a key of a curve chosen here, which cannot fail",
	"cloud/console/console.go": "templates embedded at build time",
	"cloud/console/rights.go":  "a route without a right is seen at start, by every test",
	"internal/webui/assets.go": "files embedded at build time",
	"internal/webui/guard.go":  "passes on http.ErrAbortHandler, as net/http asks",
	"internal/wire/codec.go":   "options of the compressor are constants",
}

// called returns "pkg.Name" of a call of a package's function or a method.
func called(call *ast.CallExpr) string {
	switch fun := call.Fun.(type) {
	case *ast.Ident:
		return fun.Name
	case *ast.SelectorExpr:
		if x, ok := fun.X.(*ast.Ident); ok {
			return x.Name + "." + fun.Sel.Name
		}
		return "." + fun.Sel.Name
	}
	return ""
}

// inspect calls do for every node with the nodes around it, the nearest last.
func inspect(root ast.Node, do func(n ast.Node, around []ast.Node)) {
	var around []ast.Node
	ast.Inspect(root, func(n ast.Node) bool {
		if n == nil {
			around = around[:len(around)-1]
			return true
		}
		do(n, around)
		around = append(around, n)
		return true
	})
}

// function returns the name of the declared function that surrounds a node.
func function(around []ast.Node) string {
	for _, n := range around {
		if d, ok := n.(*ast.FuncDecl); ok {
			return d.Name.Name
		}
	}
	return ""
}

// checkCalls refuses what ends the program from within, and what lets a test
// pass without having looked.
func checkCalls(f *file, say sayer) {
	inspect(f.syntax, func(n ast.Node, around []ast.Node) {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return
		}
		name := called(call)
		_, method, _ := strings.Cut(name, ".")
		switch {
		case name == "os.Exit" && !f.main() && function(around) != "TestMain":
			say(n.Pos(), "exit", "os.Exit belongs to main alone: return an error")
		case strings.HasPrefix(name, "log.Fatal") || strings.HasPrefix(name, "log.Panic"):
			say(n.Pos(), "exit", "%s ends the program behind its caller's back: return an error", name)
		case name == "panic" && !f.test && mayPanic[f.path] == "":
			say(n.Pos(), "panic", "return an error, or give the reason in the list mayPanic")
		case f.test && slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, method):
			say(n.Pos(), "skip", "a skipped test looks like a passed one: fail, and say what to install")
		}
	})
}

// checkSleeps wants a reason for every pause: sleeping is either a guess at how
// long others take, or waiting that could be waiting for the thing itself.
// Polling in a loop, a synctest bubble (where sleeping takes no time), a fake
// with a knob for its slowness, and a comment on the same line or the one before
// are reasons.
func checkSleeps(f *file, say sayer) {
	bubbles := bubbled(f)
	inspect(f.syntax, func(n ast.Node, around []ast.Node) {
		call, ok := n.(*ast.CallExpr)
		if !ok || called(call) != "time.Sleep" || f.test && knob(call.Args[0]) {
			return
		}
		for _, a := range around {
			switch a := a.(type) {
			case *ast.ForStmt:
				if a.Cond != nil || a.Post != nil || a.Body != nil && leaves(a.Body) {
					return
				}
			case *ast.CallExpr:
				if bubbles[called(a)] {
					return
				}
			case *ast.FuncDecl:
				if bubbles[a.Name.Name] {
					return
				}
			}
		}
		line := f.lines[f.at(n.Pos())-1]
		before := ""
		if i := f.at(n.Pos()) - 2; i >= 0 {
			before = strings.TrimSpace(f.lines[i])
		}
		if !strings.Contains(line, "// ") && !strings.HasPrefix(before, "// ") {
			say(n.Pos(), "sleep", "say beside it why sleeping is right here; else wait for the thing itself")
		}
	})
}

// knob reports whether a length of time is a variable, set by each test.
func knob(e ast.Expr) bool {
	switch e.(type) {
	case *ast.Ident, *ast.SelectorExpr:
		return true
	}
	return false
}

// bubbled names the functions of a file that run inside synctest.Test: those it
// calls, those they call, and the helpers that start a bubble around a function
// given to them.
func bubbled(f *file) map[string]bool {
	in := map[string]bool{"synctest.Test": true}
	for grown := true; grown; {
		grown = false
		add := func(name string) {
			if name != "" && !in[name] && !strings.HasPrefix(name, "Test") {
				in[name], grown = true, true
			}
		}
		inspect(f.syntax, func(n ast.Node, around []ast.Node) {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return
			}
			if called(call) == "synctest.Test" {
				add(function(around))
			}
			inside := in[function(around)] || slices.ContainsFunc(around, func(a ast.Node) bool {
				c, ok := a.(*ast.CallExpr)
				return ok && in[called(c)]
			})
			if id, plain := call.Fun.(*ast.Ident); inside && plain {
				add(id.Name)
			}
		})
	}
	return in
}

// leaves reports whether a loop's body has a way out.
func leaves(body *ast.BlockStmt) bool {
	found := false
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit:
			return false
		case *ast.ReturnStmt:
			found = true
		case *ast.BranchStmt:
			found = found || n.Tok == token.BREAK || n.Tok == token.GOTO
		}
		return true
	})
	return found
}

// checkTLS refuses InsecureSkipVerify where nothing else verifies the peer.
func checkTLS(f *file, say sayer) {
	if f.test || strings.Contains(strings.Join(f.lines, "\n"), "VerifyConnection") {
		return
	}
	ast.Inspect(f.syntax, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok && id.Name == "InsecureSkipVerify" {
			say(n.Pos(), "tls", "InsecureSkipVerify without VerifyConnection trusts anybody: pin the certificate")
		}
		return true
	})
}

var codeShape = regexp.MustCompile(`^(SYS|CLK|NET|CLD|RTR|HSP|RAD|DB|OUT|UPD)-[0-9]{3}$`)

// checkCodes wants every code that the program can show in the catalogue, where
// its help is.
func checkCodes(f *file, say sayer) {
	if f.test {
		return
	}
	ast.Inspect(f.syntax, func(n ast.Node) bool {
		lit, ok := n.(*ast.BasicLit)
		if !ok || lit.Kind != token.STRING {
			return true
		}
		s, err := strconv.Unquote(lit.Value)
		if err != nil || !codeShape.MatchString(s) {
			return true
		}
		if _, known := condition.Lookup(s); !known {
			say(n.Pos(), "code", "%s is not in the catalogue of internal/condition: add it there, with a page of help", s)
		}
		return true
	})
}

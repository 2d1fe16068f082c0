package archtest

import (
	"go/ast"
	"go/token"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// logKey is how a key of the log is spelled.
var logKey = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

// otherKeys are keys that mean what one of internal/logs does, and the one to
// write instead: a search of the log finds all lines, or it is no search.
var otherKeys = map[string]string{
	"account": "user_ref", "account_id": "user_ref", "user": "user_ref (never the name)", "username": "user_ref (never the name)",
	"mac": "mac_masked", "device": "mac_masked", "router": "nas", "nas_id": "nas", "site_id": "site", "command": "command_id",
	"took": "dur_ms", "duration": "dur_ms", "elapsed": "dur_ms", "error": "err", "hint": "next", "acct_session": "acct_session_id",
	"not_logged": "repeated", "not_logged_before": "repeated", "suppressed": "repeated",
}

// checkLogKeys holds the lines of the log to one set of names.
func checkLogKeys(f *file, say sayer) {
	if f.test || strings.HasPrefix(f.dir, "internal/routersim") || strings.HasPrefix(f.dir, "internal/demo") {
		return
	}
	inspect(f.syntax, func(n ast.Node, _ []ast.Node) {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return
		}
		first := 1 // after the message
		fun, ok := call.Fun.(*ast.SelectorExpr)
		switch {
		case !ok || !isLog(fun.X):
			return
		case fun.Sel.Name == "With":
			first = 0
		case !slices.Contains([]string{"Debug", "Info", "Warn", "Error"}, fun.Sel.Name):
			return
		}
		for i := first; i < len(call.Args); i += 2 {
			key, ok := call.Args[i].(*ast.BasicLit)
			if !ok || key.Kind != token.STRING {
				continue // a constant of internal/logs
			}
			name, _ := strconv.Unquote(key.Value) // the parser took it for a string
			if better := otherKeys[name]; better != "" {
				say(key.Pos(), "log", "the key %q is written %s everywhere", name, better)
			} else if !logKey.MatchString(name) {
				say(key.Pos(), "log", "the key %q is not in lower_case", name)
			}
		}
	})
}

// isLog reports whether an expression is a logger, by what ours are called.
func isLog(x ast.Expr) bool {
	switch x := x.(type) {
	case *ast.Ident:
		return strings.EqualFold(x.Name, "log")
	case *ast.SelectorExpr:
		return strings.EqualFold(x.Sel.Name, "log")
	case *ast.CallExpr:
		sel, ok := x.Fun.(*ast.SelectorExpr)
		return ok && strings.EqualFold(sel.Sel.Name, "log")
	}
	return false
}

package archtest

import (
	"cmp"
	"go/ast"
	"go/token"
	"regexp"
	"slices"
	"strings"
)

// unfinished are the words by which people promise to come back. Written apart,
// or this file would breach its own rule.
var unfinished = regexp.MustCompile(`\b(` + strings.Join([]string{"TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK"}, "|") + `)\b`)

// machine are paths that exist on one machine only.
var machine = regexp.MustCompile(`(^|[\s"'` + "`" + `(=:])(/(?:work|root|Users)/|/home/[a-z]|[A-Z]:\\Users\\)`)

func checkWords(f *file, say sayer) {
	for _, group := range f.syntax.Comments {
		for _, c := range group.List {
			if w := unfinished.FindString(c.Text); w != "" {
				say(c.Pos(), "unfinished", "%s: finish it, or file it where issues are kept", w)
			}
		}
	}
	for i, line := range f.lines {
		if m := machine.FindStringSubmatch(line); m != nil {
			say(f.set.File(f.syntax.Package).LineStart(i+1), "path", "%s is a path of one machine", m[2])
		}
	}
}

func checkTexts(t *tree) (out []Breach) {
	for p, lines := range t.texts {
		for i, line := range lines {
			if w := unfinished.FindString(line); w != "" {
				out = append(out, Breach{p, i + 1, "unfinished", w + ": finish it, or file it where issues are kept"})
			}
			if m := machine.FindStringSubmatch(line); m != nil {
				out = append(out, Breach{p, i + 1, "path", m[2] + " is a path of one machine"})
			}
		}
	}
	return out
}

// checkDocs wants a comment on every package, and on every exported name of a
// package that others can import.
func checkDocs(t *tree) (out []Breach) {
	dirs := map[string][]*file{}
	for _, f := range t.files {
		if !f.test {
			dirs[f.dir] = append(dirs[f.dir], f)
		}
	}
	for _, files := range dirs {
		slices.SortFunc(files, func(a, b *file) int { return cmp.Compare(a.path, b.path) })
		if !slices.ContainsFunc(files, hasPackageComment) {
			out = append(out, Breach{files[0].path, files[0].at(files[0].syntax.Package), "package", "no file has a package comment: what it is for, and what it never does"})
		}
		if files[0].main() {
			continue
		}
		documented := documentedTypes(files)
		for _, f := range files {
			say := func(pos token.Pos, name string) {
				out = append(out, Breach{f.path, f.at(pos), "comment", "exported " + name + " has no comment"})
			}
			for _, d := range f.syntax.Decls {
				checkDecl(d, documented, say)
			}
		}
	}
	return out
}

func hasPackageComment(f *file) bool {
	words := []string{"Package " + f.syntax.Name.Name + " ", "Package " + f.syntax.Name.Name + "\n", "Command "}
	text := f.syntax.Doc.Text()
	return slices.ContainsFunc(words, func(w string) bool { return strings.HasPrefix(text, w) })
}

// documentedTypes names the types whose comment speaks for their constants.
func documentedTypes(files []*file) map[string]bool {
	out := map[string]bool{}
	for _, f := range files {
		for _, d := range f.syntax.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.TYPE {
				continue
			}
			for _, s := range g.Specs {
				t := s.(*ast.TypeSpec)
				out[t.Name.Name] = out[t.Name.Name] || said(g.Doc, t.Doc, t.Comment)
			}
		}
	}
	return out
}

func said(groups ...*ast.CommentGroup) bool {
	return slices.ContainsFunc(groups, func(g *ast.CommentGroup) bool { return strings.TrimSpace(g.Text()) != "" })
}

func checkDecl(d ast.Decl, documented map[string]bool, say func(token.Pos, string)) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Name.IsExported() && !said(d.Doc) && (d.Recv == nil || ast.IsExported(receiver(d))) {
			say(d.Pos(), "func "+d.Name.Name)
		}
	case *ast.GenDecl:
		typed := false // an iota list: the type of the first goes for the rest
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.TypeSpec:
				if s.Name.IsExported() && !said(d.Doc, s.Doc, s.Comment) {
					say(s.Pos(), "type "+s.Name.Name)
				}
			case *ast.ValueSpec:
				if s.Type != nil || len(s.Values) > 0 {
					id, ok := s.Type.(*ast.Ident)
					typed = ok && d.Tok == token.CONST && documented[id.Name]
				}
				for _, name := range s.Names {
					if name.IsExported() && !typed && !said(d.Doc, s.Doc, s.Comment) {
						say(name.Pos(), d.Tok.String()+" "+name.Name)
					}
				}
			}
		}
	}
}

func receiver(d *ast.FuncDecl) string {
	t := d.Recv.List[0].Type
	for {
		switch x := t.(type) {
		case *ast.StarExpr:
			t = x.X
		case *ast.IndexExpr:
			t = x.X
		case *ast.IndexListExpr:
			t = x.X
		case *ast.Ident:
			return x.Name
		default:
			return ""
		}
	}
}

package layers

import (
	"fmt"
	"go/ast"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// maxLines is how long a Go file may be before it has to be split, or to say why not in a comment "// Long: ...".
const maxLines = 500

// vagueNames would tell a reader nothing about what is inside: a type lives with the code that gives it meaning.
var vagueNames = []string{"util", "utils", "common", "models", "types", "helper", "helpers", "lib", "schemas", "misc", "shared", "base"}

// sleepers are the tests that may wait for real time, and why.
var sleepers = map[string]string{}

func TestPackagesSayWhatTheyAreFor(t *testing.T) {
	t.Parallel()
	report(t, poorDocs(readModule(t)))
}

func TestPackagesHaveTellingNames(t *testing.T) {
	t.Parallel()
	report(t, vagueNamed(readModule(t)))
}

func TestFilesAreShort(t *testing.T) {
	t.Parallel()
	report(t, longFiles(readModule(t)))
}

func TestTestsDoNotSleep(t *testing.T) {
	t.Parallel()
	report(t, sleepingTests(readModule(t), sleepers))
}

func TestNothingStartsInInit(t *testing.T) {
	t.Parallel()
	report(t, initFunctions(readModule(t)))
}

var (
	sentenceEnd = regexp.MustCompile(`[.!?]["')]*(\s|$)`)
	denial      = regexp.MustCompile(`(?i)\b(not|no|never|nothing|none)\b`)
)

// poorDocs finds packages whose comment is missing, is only one sentence, or does not say what the package is not for.
func poorDocs(all []*source) []string {
	var problems []string
	for _, files := range byPackage(all) {
		doc := packageDoc(files)
		dir := files[0].dir()
		switch {
		case doc == "":
			problems = append(problems, dir+": no package comment: say what it is for, and what it is not for")
		case len(sentenceEnd.FindAllString(doc, -1)) < 2:
			problems = append(problems, dir+": the package comment is one sentence: say also what it is not for, or how it is used")
		case !denial.MatchString(doc):
			problems = append(problems, dir+": the package comment does not say what the package is not for")
		}
	}
	return problems
}

// packageDoc is the package's comment: of the code, or of the tests where there is no code.
func packageDoc(files []*source) string {
	code := slices.ContainsFunc(files, func(s *source) bool { return !s.isTest() })
	var doc string
	for _, s := range files {
		if s.ast.Doc != nil && s.isTest() != code {
			doc += s.ast.Doc.Text()
		}
	}
	return doc
}

// vagueNamed finds packages whose name, or a folder above them, says nothing.
func vagueNamed(all []*source) []string {
	var problems []string
	for _, files := range byPackage(all) {
		dir := files[0].dir()
		for _, element := range strings.Split(dir, "/") {
			if slices.Contains(vagueNames, element) {
				problems = append(problems, fmt.Sprintf("%s: %q says nothing: name it after what it does", dir, element))
			}
		}
		for _, s := range files {
			name := strings.TrimSuffix(s.ast.Name.Name, "_test")
			if name != "main" && name != path.Base(dir) {
				problems = append(problems, fmt.Sprintf("%s: package %s does not bear the name of its folder", s.path, name))
			}
		}
	}
	return problems
}

// longFiles finds files over the limit that do not say why.
func longFiles(all []*source) []string {
	var problems []string
	for _, s := range all {
		if s.lines > maxLines && !s.isGenerated() && !saysWhyLong(s) {
			problems = append(problems, fmt.Sprintf("%s: %d lines, limit %d: split it, or say why not in a comment \"// Long: ...\"",
				s.path, s.lines, maxLines))
		}
	}
	return problems
}

func saysWhyLong(s *source) bool {
	for _, group := range s.ast.Comments {
		for _, c := range group.List {
			if reason, ok := strings.CutPrefix(c.Text, "// Long: "); ok && len(reason) > 10 {
				return true
			}
		}
	}
	return false
}

// sleepingTests finds tests that wait for real time. In a synctest bubble, a sleep only moves the fake clock, so files
// that import testing/synctest may.
func sleepingTests(all []*source, may map[string]string) []string {
	var problems []string
	for _, s := range all {
		if !s.isTest() || may[s.path] != "" || slices.Contains(s.imports, "testing/synctest") {
			continue
		}
		if callsSleep(s.ast) {
			problems = append(problems, s.path+": time.Sleep makes a test slow and still unsure: wait on what you wait for, "+
				"or use testing/synctest")
		}
	}
	return problems
}

func callsSleep(f *ast.File) bool {
	found := false
	ast.Inspect(f, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok && sel.Sel.Name == "Sleep" {
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == "time" {
				found = true
			}
		}
		return !found
	})
	return found
}

// initFunctions finds functions that run before main without anyone having called them.
func initFunctions(all []*source) []string {
	var problems []string
	for _, s := range all {
		for _, d := range s.ast.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				problems = append(problems, s.path+": func init runs unseen: call it, or use a table in package server")
			}
		}
	}
	return problems
}

func TestBrokenHouseRulesAreFound(t *testing.T) {
	t.Parallel()
	const doc = "// Package x is for this. It is not for that.\n"
	long := strings.Repeat("// line\n", maxLines+1)
	sleeps := "package x\nimport \"time\"\nfunc f() { time.Sleep(1) }\n"
	for _, tt := range []struct {
		name, file, text string
		rule             func([]*source) []string
		want             string
	}{
		{"documented", "internal/x/a.go", doc + "package x\n", poorDocs, ""},
		{"no comment", "internal/x/a.go", "package x\n", poorDocs, "no package comment"},
		{"comment of the tests only", "internal/x/a_test.go", doc + "package x\n", poorDocs, ""},
		{"one sentence", "internal/x/a.go", "// Package x is not for that.\npackage x\n", poorDocs, "is one sentence"},
		{"no bounds", "internal/x/a.go", "// Package x is this. And that.\npackage x\n", poorDocs, "not for"},
		{"vague name", "internal/util/a.go", "package util\n", vagueNamed, `"util" says nothing`},
		{"other name", "internal/x/a.go", "package y\n", vagueNamed, "does not bear the name"},
		{"external test", "internal/x/a_test.go", "package x_test\n", vagueNamed, ""},
		{"long", "internal/x/a.go", "package x\n" + long, longFiles, "502 lines, limit 500"},
		{"long with a reason", "internal/x/a.go", "package x\n// Long: the table is one table.\n" + long, longFiles, ""},
		{"long by a generator", "internal/x/a.go", "// Code generated by y. DO NOT EDIT.\npackage x\n" + long, longFiles, ""},
		{"sleep in a test", "internal/x/a_test.go", sleeps, func(s []*source) []string { return sleepingTests(s, nil) }, "time.Sleep makes"},
		{"sleep in code", "internal/x/a.go", sleeps, func(s []*source) []string { return sleepingTests(s, nil) }, ""},
		{"sleep in a bubble", "internal/x/a_test.go", strings.Replace(sleeps, "import", "import _ \"testing/synctest\"\nimport", 1),
			func(s []*source) []string { return sleepingTests(s, nil) }, ""},
		{"sleep with leave", "internal/x/a_test.go", sleeps,
			func(s []*source) []string { return sleepingTests(s, map[string]string{"internal/x/a_test.go": "y"}) }, ""},
		{"init", "internal/x/a.go", "package x\nfunc init() {}\n", initFunctions, "runs unseen"},
		{"method init", "internal/x/a.go", "package x\ntype t int\nfunc (t) init() {}\n", initFunctions, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := tt.rule(sources(t, map[string]string{tt.file: tt.text}))
			if tt.want == "" && len(got) > 0 {
				t.Errorf("got %q, want no problem", got)
			}
			if tt.want != "" && (len(got) != 1 || !strings.Contains(got[0], tt.want)) {
				t.Errorf("got %q, want one problem with %q", got, tt.want)
			}
		})
	}
}

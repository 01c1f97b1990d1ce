package layers

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestImportsPointDownwards(t *testing.T) {
	t.Parallel()
	report(t, wrongImports(readModule(t)))
}

// wrongImports has one line for every import of ours that the table forbids, and for every package that is not in it.
func wrongImports(all []*source) []string {
	var problems []string
	for _, files := range byPackage(all) {
		dir := files[0].dir()
		if !placed(dir) {
			problems = append(problems, dir+": this package is in no layer: enter it in internal/layers/table_test.go, "+
				"in the lowest row that still lies above all that it imports")
			continue
		}
		for _, s := range files {
			for _, imported := range s.imports {
				target, ours := strings.CutPrefix(imported, module+"/")
				if !ours || allowed(s, dir, target) {
					continue
				}
				problems = append(problems, fmt.Sprintf("%s: %s may not import %s: %s", s.path, dir, target, why(dir, target)))
			}
		}
	}
	return problems
}

// placed reports whether the table knows the package.
func placed(dir string) bool {
	name, internal := strings.CutPrefix(dir, "internal/")
	_, program := programOf(dir)
	return program || internal && (matchAny(support, name) || rank(name) >= 0)
}

// programOf finds what a program may import.
func programOf(dir string) ([]string, bool) {
	for pattern, may := range programs {
		if matchAny([]string{pattern}, dir) {
			return may, true
		}
	}
	return nil, false
}

// allowed reports whether the file of package dir may import target; both are folders from the module's root.
func allowed(s *source, dir, target string) bool {
	if dir == target {
		return true // a test package outside the package that it tests
	}
	from := strings.TrimPrefix(dir, "internal/")
	to := strings.TrimPrefix(target, "internal/")
	if may, program := programOf(dir); program {
		return matchAny(may, target)
	}
	if matchAny(support, from) {
		return true
	}
	if matchAny(support, to) {
		return s.isTest()
	}
	for pattern, sibling := range siblings {
		if to == sibling && from != to && matchAny([]string{pattern}, from) {
			return true
		}
	}
	return rank(to) >= 0 && rank(to) < rank(from)
}

// why says which rule an import breaks.
func why(dir, target string) string {
	from := strings.TrimPrefix(dir, "internal/")
	to := strings.TrimPrefix(target, "internal/")
	if may, program := programOf(dir); program {
		return fmt.Sprintf("it may import only %v", may)
	}
	switch {
	case matchAny(support, to):
		return "it is for tests only"
	case rank(to) < 0:
		return "it is in no layer"
	case rank(to) == rank(from):
		return fmt.Sprintf("both are in layer %q; take a small interface instead and let server connect them", layers[rank(to)].name)
	}
	return fmt.Sprintf("layer %q lies above layer %q", layers[rank(to)].name, layers[rank(from)].name)
}

func TestWrongImportsAreFound(t *testing.T) {
	t.Parallel()
	importing := func(pkg string) string { return "package x\nimport _ \"" + module + "/" + pkg + "\"\n" }
	for _, tt := range []struct{ name, file, text, want string }{
		{"downwards", "internal/route/a.go", importing("internal/llm"), ""},
		{"standard library", "internal/llm/a.go", "package llm\nimport _ \"net/http\"\n", ""},
		{"upwards", "internal/llm/a.go", importing("internal/route"), `layer "4 features" lies above layer "1 vocabulary"`},
		{"vocabulary", "internal/fault/a.go", importing("internal/llm"), `both are in layer "1 vocabulary"`},
		{"sibling", "internal/route/a.go", importing("internal/usage"), `both are in layer "4 features"`},
		{"sibling in a test", "internal/route/a_test.go", importing("internal/usage"), `both are in layer "4 features"`},
		{"codec and client", "internal/provider/openai/a.go", importing("internal/provider"), ""},
		{"client and codec", "internal/provider/a.go", importing("internal/provider/openai"), `both are in layer "3 mechanism"`},
		{"two codecs", "internal/provider/openai/a.go", importing("internal/provider/azure"), `both are in layer "3 mechanism"`},
		{"own external test", "internal/route/a_test.go", importing("internal/route"), ""},
		{"support in a test", "internal/gateway/a_test.go", importing("internal/penstocktest"), ""},
		{"support in code", "internal/gateway/a.go", importing("internal/penstocktest"), "it is for tests only"},
		{"support imports all", "internal/penstocktest/a.go", importing("internal/server"), ""},
		{"store imports features", "internal/store/a.go", importing("internal/usage"), ""},
		{"feature imports store", "internal/usage/a.go", importing("internal/store"), `layer "5 edges" lies above`},
		{"config by gateway", "internal/gateway/a.go", importing("internal/config"), `layer "6 assembly: config" lies above`},
		{"config by cli", "internal/cli/a.go", importing("internal/config"), ""},
		{"server by config", "internal/config/a.go", importing("internal/server"), `layer "6 assembly: server" lies above`},
		{"main", "cmd/penstock/main.go", importing("internal/cli"), ""},
		{"main by a side door", "cmd/penstock/main.go", importing("internal/server"), "it may import only [internal/cli]"},
		{"generator", "internal/catalog/gen/main.go", importing("internal/catalog"), ""},
		{"unknown package", "internal/things/a.go", "package things\n", "this package is in no layer"},
		{"unknown import", "internal/route/a.go", importing("internal/things"), "it is in no layer"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := wrongImports(sources(t, map[string]string{tt.file: tt.text}))
			if tt.want == "" && len(got) > 0 {
				t.Errorf("got %q, want no problem", got)
			}
			if tt.want != "" && (len(got) != 1 || !strings.Contains(got[0], tt.want)) {
				t.Errorf("got %q, want one problem with %q", got, tt.want)
			}
		})
	}
}

func TestTheTableNamesEachPackageOnce(t *testing.T) {
	t.Parallel()
	var all []string
	for _, l := range layers {
		all = append(all, l.packages...)
	}
	slices.Sort(all)
	if unique := slices.Compact(slices.Clone(all)); len(unique) != len(all) {
		t.Errorf("a package is in two rows: %v", all)
	}
}

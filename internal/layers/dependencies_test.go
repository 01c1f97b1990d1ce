package layers

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestDependenciesAreExplained compares what our code imports with the rows of docs/dependencies.md.
func TestDependenciesAreExplained(t *testing.T) {
	t.Parallel()
	root := moduleRoot(t)
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile(filepath.Join(root, "docs", "dependencies.md"))
	if err != nil {
		t.Fatal(err)
	}
	report(t, unexplained(imported(readModule(t), required(string(mod))), string(doc)))
}

var requirement = regexp.MustCompile(`(?m)^(?:require)?\s+(\S+\.\S+) v\S+`)

// required lists the modules of go.mod, direct or not.
func required(mod string) []string {
	var all []string
	for _, m := range requirement.FindAllStringSubmatch(mod, -1) {
		all = append(all, m[1])
	}
	return all
}

// imported lists which of the modules the sources import themselves, sorted.
func imported(all []*source, modules []string) []string {
	var used []string
	for _, s := range all {
		for _, imp := range s.imports {
			if m := owner(imp, modules); m != "" {
				used = append(used, m)
			}
		}
	}
	slices.Sort(used)
	return slices.Compact(used)
}

// owner is the module that holds a package: the longest that is a prefix of its path; "" for ours and the standard library.
func owner(imp string, modules []string) string {
	var best string
	for _, m := range modules {
		if (imp == m || strings.HasPrefix(imp, m+"/")) && len(m) > len(best) {
			best = m
		}
	}
	return best
}

var dependencyRow = regexp.MustCompile("(?m)^\\| `([^`]+)` \\|")

// unexplained compares the modules in use with the rows of the document, both ways.
func unexplained(used []string, doc string) []string {
	var rows []string
	for _, m := range dependencyRow.FindAllStringSubmatch(doc, -1) {
		rows = append(rows, m[1])
	}
	var problems []string
	for _, m := range used {
		if !slices.Contains(rows, m) {
			problems = append(problems, "docs/dependencies.md has no row for "+m+": say why we need it, its licence, and what it replaces")
		}
	}
	for _, m := range rows {
		if !slices.Contains(used, m) {
			problems = append(problems, "docs/dependencies.md has a row for "+m+", which nothing imports: delete it, and the requirement")
		}
	}
	return problems
}

func TestUnexplainedDependenciesAreFound(t *testing.T) {
	t.Parallel()
	modules := required("module x\n\ngo 1.26\n\nrequire a.com/b v1.0.0\n\nrequire (\n\ta.com/b/c v0.1.0 // indirect\n\td.com/e/v2 v2.0.0\n)\n")
	if want := []string{"a.com/b", "a.com/b/c", "d.com/e/v2"}; !slices.Equal(modules, want) {
		t.Fatalf("required: got %v, want %v", modules, want)
	}
	used := imported(sources(t, map[string]string{
		"internal/x/a.go": "package x\nimport (\n\"fmt\"\n\"a.com/b/c/deep\"\n\"d.com/e/v2\"\n)\n",
	}), modules)
	if want := []string{"a.com/b/c", "d.com/e/v2"}; !slices.Equal(used, want) {
		t.Fatalf("imported: got %v, want %v", used, want)
	}
	got := unexplained(used, "| `d.com/e/v2` | why |\n| `a.com/b` | why |\n")
	if len(got) != 2 || !strings.Contains(got[0], "no row for a.com/b/c") || !strings.Contains(got[1], "a.com/b, which nothing imports") {
		t.Errorf("got %q", got)
	}
}

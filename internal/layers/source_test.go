package layers

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A source is one Go file of the module.
type source struct {
	path    string // from the module's root, with slashes
	lines   int
	ast     *ast.File
	imports []string
}

// isTest reports whether only `go test` compiles the file.
func (s *source) isTest() bool { return strings.HasSuffix(s.path, "_test.go") }

// dir is the package's folder, from the module's root.
func (s *source) dir() string { return path.Dir(s.path) }

// isGenerated reports whether a program wrote the file.
func (s *source) isGenerated() bool { return ast.IsGenerated(s.ast) }

// parse reads one file.
func parse(name string, text []byte) (*source, error) {
	tree, err := parser.ParseFile(token.NewFileSet(), name, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, fmt.Errorf("parse: %w", err)
	}
	s := &source{path: name, lines: bytes.Count(text, []byte("\n")), ast: tree}
	for _, spec := range tree.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return nil, fmt.Errorf("%s: import %s: %w", name, spec.Path.Value, err)
		}
		s.imports = append(s.imports, imported)
	}
	return s, nil
}

// readModule parses every Go file of the module, tests included, and skips what the go command skips.
func readModule(t *testing.T) []*source {
	t.Helper()
	root := moduleRoot(t)
	var all []*source
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			hidden := strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_")
			if file != root && (hidden || name == "testdata" || name == "node_modules") {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		s, err := readSource(root, file)
		if err != nil {
			return err
		}
		all = append(all, s)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 10 {
		t.Fatalf("only %d Go files under %s: this test does not see the module", len(all), root)
	}
	return all
}

func readSource(root, file string) (*source, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	rel, err := filepath.Rel(root, file)
	if err != nil {
		return nil, err
	}
	return parse(filepath.ToSlash(rel), text)
}

// moduleRoot is the folder of go.mod above the working directory.
func moduleRoot(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		_, err := os.Stat(filepath.Join(dir, "go.mod"))
		if err == nil {
			return dir
		}
		if parent := filepath.Dir(dir); errors.Is(err, fs.ErrNotExist) && parent != dir {
			dir = parent
			continue
		}
		t.Fatalf("no go.mod above the working directory: %v", err)
	}
}

// byPackage groups the files by folder, sorted by its name.
func byPackage(all []*source) [][]*source {
	groups := map[string][]*source{}
	for _, s := range all {
		groups[s.dir()] = append(groups[s.dir()], s)
	}
	var dirs []string
	for dir := range groups {
		dirs = append(dirs, dir)
	}
	slices.Sort(dirs)
	var sorted [][]*source
	for _, dir := range dirs {
		sorted = append(sorted, groups[dir])
	}
	return sorted
}

// report fails the test with one line for each problem.
func report(t *testing.T, problems []string) {
	t.Helper()
	for _, p := range problems {
		t.Error(p)
	}
}

// sources parses files that are given as name and text, for tests of the rules themselves.
func sources(t *testing.T, files map[string]string) []*source {
	t.Helper()
	var all []*source
	for name, text := range files {
		s, err := parse(name, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b *source) int { return strings.Compare(a.path, b.path) })
	return all
}

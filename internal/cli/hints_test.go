package cli

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// aCommand finds commands where somebody is told to run one: behind ": ", in backquotes, at a prompt, or at the start of a line.
var aCommand = regexp.MustCompile("(?m)(?:^ *|: |`|\\$ )penstock ([a-z][a-z-]+)(?: ([a-z][a-z-]+))?")

// Whoever is told to run a command finds that there is one: in hints of errors and alerts, and in the documents.
func TestCommandsThatAreNamedAreThere(t *testing.T) {
	t.Parallel()
	root, found := testRoot(), 0
	for _, dir := range []string{"../../internal", "../../docs", "../../README.md"} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			ours := strings.HasSuffix(path, ".md") || strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go")
			if err != nil || d.IsDir() || !ours {
				return err
			}
			text, err := os.ReadFile(path)
			for _, m := range aCommand.FindAllStringSubmatch(string(text), -1) {
				if m[1] == "is" { // the name of a webhook's format, which is the same
					continue
				}
				found++
				c, rest, wrong := root.Find([]string{m[1]})
				if wrong == nil && len(rest) == 0 && c.HasSubCommands() && m[2] != "" {
					c, rest, wrong = root.Find([]string{m[1], m[2]})
				}
				if wrong != nil || c == root || len(rest) > 0 {
					t.Errorf("%s names %q, which is no command", path, m[0])
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if found < 100 {
		t.Errorf("only %d commands are named", found)
	}
}

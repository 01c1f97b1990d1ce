package cli

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// aCommand finds commands where somebody is told to run one: behind ": ", in backquotes, on a page, at a prompt, or at the start
// of a line. What stands behind it in the line may be its flags.
var (
	aCommand = regexp.MustCompile("(?m)(?:^ *|: |[`>]|(?:Command = |return |\\{)\"|\\$ )penstock ([a-z][a-z-]+)(?: ([a-z][a-z-]+))?([^\n`<;|,&]*)")
	aFlag    = regexp.MustCompile(`(?:^| )--([a-z][a-z-]*)`)
)

// Whoever is told to run a command finds that there is one: in hints of errors and alerts, and in the documents.
func TestCommandsThatAreNamedAreThere(t *testing.T) {
	t.Parallel()
	root, found, flags := testRoot(), 0, 0
	for _, dir := range []string{"../../internal", "../../docs", "../../README.md"} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			ours := strings.HasSuffix(path, ".md") || strings.HasSuffix(path, ".html") || strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go")
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
					continue
				}
				for _, flag := range aFlag.FindAllStringSubmatch(m[3], -1) {
					flags++
					if c.Flag(flag[1]) == nil && flag[1] != "help" {
						t.Errorf("%s: %q has no flag --%s", path, strings.TrimSpace(m[0]), flag[1])
					}
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if found < 100 || flags < 100 {
		t.Errorf("only %d commands are named, with %d flags", found, flags)
	}
}

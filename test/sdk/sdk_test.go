// Package sdk_test drives a real Penstock, as a process of its own in front of simulated providers of all dialects, with the
// vendors' own SDKs for Python, Node and Go, and with the frameworks that are built on them: what they send has to be
// understood whatever the provider speaks, and what they are sent has to be accumulated by their helpers, raise the right
// classes, stop their own retries, and end when they leave. At the end the providers' bill has to be what was recorded.
//
// It is not for what no SDK can see; that is tested beside the code. It needs the SDKs, so it runs only where
// PENSTOCK_TEST_SDK is 1: `make sdk` installs them and does so. Then whatever is missing fails the test.
//
// situations.json has what all suites share: the situations that a client can get into, and what becomes of it there.
package sdk_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// suiteTime bounds one suite.
const suiteTime = 3 * time.Minute

// TestMain says what is left out. The go command hides what passing packages print, but for one line of the testing package,
// which makes it write "[no tests to run]" behind the package's name: so plain `go test ./...` shows it too.
func TestMain(m *testing.M) {
	if os.Getenv("PENSTOCK_TEST_SDK") != "1" {
		fmt.Println("LEFT OUT: the vendors' SDKs for Python, Node and Go against a real Penstock; `make sdk` installs and runs them")
		fmt.Println("testing: warning: no tests to run")
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// Each SDK has a world of its own, so that they run side by side and each counts its own calls.
func TestSDKs(t *testing.T) {
	for _, s := range []struct {
		name string
		run  func(*testing.T, *world)
	}{
		{"Python openai", python("test_openai.py")},
		{"Python openai responses", python("test_openai_responses.py")},
		{"Python anthropic", python("test_anthropic.py")},
		{"Python langchain", python("test_langchain.py")},
		{"Node openai", node("openai.test.mjs")},
		{"Node openai responses", node("openai-responses.test.mjs")},
		{"Node anthropic", node("anthropic.test.mjs")},
		{"Node anthropic, the previous major", node("anthropic-previous.test.mjs")},
		{"Node ai", node("ai.test.mjs")},
		{"Node langchain", node("langchain.test.mjs")},
		{"Go openai", runOpenAI},
		{"Go anthropic", runAnthropic},
	} {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			w := startWorld(t)
			s.run(t, w)
			w.checkBooks(t)
		})
	}
}

// python is a suite in Python. Its warnings of things that will go away are errors.
func python(file string) func(*testing.T, *world) {
	return func(t *testing.T, w *world) {
		w.runSuite(t, fromRoot(t, ".tools/venv/bin/python"), "python", "-W", "error::DeprecationWarning", file)
	}
}

// node is a suite for Node.
func node(file string) func(*testing.T, *world) {
	return func(t *testing.T, w *world) {
		program, err := exec.LookPath("node")
		if err != nil {
			t.Fatalf("%v; do: install Node 20 or newer", err)
		}
		w.runSuite(t, program, "node", "--test", "--test-reporter=spec", file)
	}
}

// runSuite runs another language's suite in its folder, set up the way that its SDK documents.
func (w *world) runSuite(t *testing.T, program, folder string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), suiteTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = folder
	cmd.Env = append(cleanEnvironment(), "OPENAI_BASE_URL="+w.url+"/v1", "OPENAI_API_KEY="+w.key, "ANTHROPIC_BASE_URL="+w.url,
		"ANTHROPIC_API_KEY="+w.key, "SIM_URL="+w.sim, "DIALECTS="+strings.Join(dialects, ","), "PYTHONDONTWRITEBYTECODE=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%s %s: %v (if a module is missing: make tools)\n%s", program, strings.Join(args, " "), err, out)
		return
	}
	t.Logf("%s", out)
}

// fromRoot is the path of a file that must be there, given from the repository's root.
func fromRoot(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("..", "..", name))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%v; do: make tools", err)
	}
	return path
}

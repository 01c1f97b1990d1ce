// Package sdk_test drives a real Penstock, as a process of its own in front of simulated providers, with the real OpenAI
// SDKs for Python, Node and Go: what they send has to be understood, and what they are sent has to raise the right
// classes, stop their own retries, and end when they leave.
//
// It is not for what no SDK can see; that is tested beside the code. It needs the SDKs, so it runs only where
// PENSTOCK_TEST_SDK is 1: `make sdk` installs them and does so. Then whatever is missing fails the test.
package sdk_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// suiteTime bounds one language's suite.
const suiteTime = 3 * time.Minute

// TestMain says what is left out. The go command hides what passing packages print, but for one line of the testing package,
// which makes it write "[no tests to run]" behind the package's name: so plain `go test ./...` shows it too.
func TestMain(m *testing.M) {
	if os.Getenv("PENSTOCK_TEST_SDK") != "1" {
		fmt.Println("LEFT OUT: the OpenAI SDKs for Python, Node and Go against a real Penstock; `make sdk` installs and runs them")
		fmt.Println("testing: warning: no tests to run")
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestSDKs(t *testing.T) {
	w := startWorld(t)
	// One after the other: the suites count the calls that reach the provider.
	t.Run("Python", func(t *testing.T) {
		w.runSuite(t, fromRoot(t, ".tools/venv/bin/python"), "python", "-W", "error::DeprecationWarning", "test_openai.py")
	})
	t.Run("Node", func(t *testing.T) {
		node, err := exec.LookPath("node")
		if err != nil {
			t.Fatalf("%v; do: install Node 20 or newer", err)
		}
		w.runSuite(t, node, "node", "--test", "--test-reporter=spec", "openai.test.mjs")
	})
	t.Run("Go", func(t *testing.T) {
		w.runGo(t)
	})
}

// runSuite runs another language's suite in its folder, set up the way that its SDK documents.
func (w *world) runSuite(t *testing.T, program, folder string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), suiteTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = folder
	cmd.Env = append(cleanEnvironment(), "OPENAI_BASE_URL="+w.base, "OPENAI_API_KEY="+w.key, "SIM_URL="+w.sim,
		"PYTHONDONTWRITEBYTECODE=1")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stdout
	if err := cmd.Run(); err != nil {
		t.Errorf("%s: %v (if a module is missing: make tools)", program, err)
	}
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

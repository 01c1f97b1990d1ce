// Package console_test drives the console of a real Penstock, as a process of its own in front of simulated providers, with
// a real headless Chromium: what people see, in light and dark, wide and narrow, with a keyboard alone, without scripts and
// behind a proxy, what each role finds, and that nothing breaks the browser's rules.
//
// Which pages there are comes from [console.Pages], so a new one is covered the day that it is linked. It is not for what no
// browser is needed for; that is tested beside the code. It needs Chromium and axe-core, so it runs only where
// PENSTOCK_TEST_BROWSER is 1: `make browser` installs them and does so. Then whatever is missing fails the test.
package console_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"
)

// What all tests share, made by TestMain.
var (
	binary  string          // the program under test: PENSTOCK_BIN, or built from the sources
	browser context.Context // of one Chromium; each test has a profile of its own in it
	axe     string          // the source of axe-core
)

// TestMain says what is left out. The go command hides what passing packages print, but for one line of the testing package,
// which makes it write "[no tests to run]" behind the package's name: so plain `go test ./...` shows it too.
func TestMain(m *testing.M) {
	if os.Getenv("PENSTOCK_TEST_BROWSER") != "1" {
		fmt.Println("LEFT OUT: the console in a real browser; `make browser` installs Chromium and axe-core, and runs them")
		fmt.Println("testing: warning: no tests to run")
		os.Exit(0)
	}
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	dir, err := os.MkdirTemp("", "penstock-browser-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	source, err := os.ReadFile(filepath.Join("..", "..", ".tools", "axe", "node_modules", "axe-core", "axe.min.js"))
	if err != nil {
		return 0, fmt.Errorf("%w\ndo: scripts/tools.sh browser", err)
	}
	axe = string(source)
	program, err := chromium()
	if err != nil {
		return 0, err
	}
	if binary, err = penstock(dir); err != nil {
		return 0, err
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(program), chromedp.UserDataDir(filepath.Join(dir, "profile")),
		chromedp.NoSandbox) // all pages that it opens are ours, and as root there is no sandbox
	allocator, end := chromedp.NewExecAllocator(context.Background(), options...)
	defer end()
	browser, _ = chromedp.NewContext(allocator, chromedp.WithErrorf(func(format string, args ...any) {
		// Chromium says more than this version of chromedp knows.
		if text := fmt.Sprintf(format, args...); !strings.Contains(text, "unhandled node event") {
			fmt.Fprintln(os.Stderr, text)
		}
	}))
	// It is asked to close: what Debian installs is a script around the browser, whose end would leave the browser behind.
	defer func() { _ = chromedp.Cancel(browser) }()
	if err := chromedp.Run(browser); err != nil {
		return 0, fmt.Errorf("%s does not start: %w", program, err)
	}
	shared.dir = dir
	defer shared.stop()
	return m.Run(), nil
}

// chromium finds the browser: the one that is named, or one that lies where programs do.
func chromium() (string, error) {
	if named := os.Getenv("PENSTOCK_TEST_CHROMIUM"); named != "" {
		return exec.LookPath(named)
	}
	// scripts/tools.sh has the same list.
	for _, name := range []string{"chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("no Chromium is installed\ndo: scripts/tools.sh browser, or set PENSTOCK_TEST_CHROMIUM to the program")
}

func penstock(dir string) (string, error) {
	if named := os.Getenv("PENSTOCK_BIN"); named != "" {
		return named, nil
	}
	path := filepath.Join(dir, "penstock")
	build := exec.Command("go", "build", "-o", path, "../../cmd/penstock")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return path, nil
}

// shared is the world of the tests that change nothing in it. It is started by the first of them.
var shared sharedWorld

type sharedWorld struct {
	once  sync.Once
	world *world
	dir   string
	err   error
}

func furnished(t *testing.T) *world {
	t.Helper()
	shared.once.Do(func() {
		if shared.world, shared.err = startWorld(shared.dir); shared.err == nil {
			shared.err = shared.world.furnish()
		}
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.world
}

func (s *sharedWorld) stop() {
	if s.world != nil {
		if err := s.world.stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
}

//go:build linux

package chaos

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// binary is the program under test: PENSTOCK_BIN, or built from the sources.
var binary string

func TestMain(m *testing.M) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given { // most of a test is waiting, so more of them run at once than there are processors
		_ = flag.Set("test.parallel", "4")
	}
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (int, error) {
	if binary = os.Getenv("PENSTOCK_BIN"); binary != "" || testing.Short() {
		return m.Run(), nil
	}
	dir, err := os.MkdirTemp("", "penstock-chaos-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "penstock")
	build := exec.Command("go", "build", "-o", binary, "../../cmd/penstock")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("build: %w\n%s", err, out)
	}
	return m.Run(), nil
}

// soak is whether there is time for the long forms of the tests.
func soak() bool { return os.Getenv("PENSTOCK_SOAK") == "1" }

// longer gives the first number in a usual run and the second in a soak.
func longer(usual, soaking int) int {
	if soak() {
		return soaking
	}
	return usual
}

// draws begins a test, which runs beside others, and gives its random numbers.
func draws(t *testing.T) *rand.Rand {
	t.Helper()
	if testing.Short() {
		t.Skip("left out with -short: it drives a real process")
	}
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("PENSTOCK_TEST_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("PENSTOCK_TEST_SEED: %v", err)
		}
	}
	t.Logf("seed %d; again: PENSTOCK_TEST_SEED=%d go test ./test/chaos -run '^%s$'", seed, seed, t.Name())
	return rand.New(rand.NewPCG(seed, 0))
}

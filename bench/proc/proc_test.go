package proc

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestCPUCountsFromTheNamesLastBracket(t *testing.T) {
	t.Parallel()
	got, err := parseCPU([]byte("42 (a (b) c 1 2) S 1 42 42 0 -1 4194560 100 0 0 0 123 45 0 0 20 0 9 0 100 1000 200\n"))
	if err != nil || got != 1680*time.Millisecond {
		t.Errorf("got %s, %v; want 1.68s", got, err)
	}
	for _, bad := range []string{"", "42 (x) S 1 2", "42 (x) S 1 42 42 0 -1 4194560 100 0 0 0 a 45 0"} {
		if _, err := parseCPU([]byte(bad)); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

func TestMemoryIsReadInBytes(t *testing.T) {
	t.Parallel()
	got, err := parseMemory("Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\nRssAnon:\t     512 kB\nThreads:\t3\n")
	if want := (Memory{Resident: 1 << 20, Anon: 1 << 19, Peak: 2 << 20}); err != nil || got != want {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	for _, bad := range []string{"", "VmRSS: 1 kB\n", "VmRSS: many kB\nVmHWM: 1 kB\n"} {
		if _, err := parseMemory(bad); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

func TestWorkOfAProcessIsSeen(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("there is no /proc here")
	}
	before, err := cpu(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	const enough = 3 * tick
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); { // however busy the machine is
		for n := range 100_000 {
			_ = strings.Repeat("x", n%10)
		}
		after, err := cpu(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		if after-before >= enough {
			return
		}
	}
	t.Error("20 s of work are not seen")
}

func TestAProcessSaysThatItListens(t *testing.T) {
	t.Parallel()
	shell, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("there is no shell here")
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	p, line, err := Start(ctx, log, os.Environ(), shell, "-c", "echo here; exec sleep 60")
	if err != nil || string(line) != "here\n" {
		t.Fatalf("got %q, %v", line, err)
	}
	if _, err := p.Quiet(ctx, 5*time.Second); err != nil {
		t.Error(err)
	}
	if m, err := p.Memory(); err != nil || m.Peak < m.Resident {
		t.Errorf("got %+v, %v", m, err)
	}
	p.Stop()
	if _, err := p.CPU(); err == nil {
		t.Error("the process is still there after Stop")
	}
	_, _, err = Start(ctx, log, os.Environ(), shell, "-c", "echo no port >&2; exit 3")
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "no port") {
		t.Errorf("a process that ends before it listens: got %v", err)
	}
}

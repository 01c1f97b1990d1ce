package store

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/usage"
)

// child starts a copy of this binary on a store.
func child(t *testing.T, what, path string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), asChild+"="+what, "PENSTOCK_STORE_PATH="+path)
	cmd.Stderr = os.Stderr
	return cmd
}

func childOpens() {
	s, err := Open(context.Background(), "sqlite:"+os.Getenv("PENSTOCK_STORE_PATH"), Options{})
	if err == nil {
		err = s.Close()
	}
	fmt.Println(err, errors.Is(err, ErrLocked))
}

// childWrites writes batches and says after each how far it is, until it is killed.
func childWrites() {
	s, err := Open(context.Background(), "sqlite:"+os.Getenv("PENSTOCK_STORE_PATH"), Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	from, err := s.ReadUpTo(context.Background(), "j")
	for n := int(from); err == nil; n += 100 {
		err = s.AddRecords(context.Background(), "j", int64(n+100), workloads(n, 100))
		fmt.Println(n + 100)
	}
	fmt.Println(err)
}

// Fault 53 of reliability.md.
func TestASecondProcessIsRefused(t *testing.T) {
	t.Parallel()
	s := openTest(t)
	text := func() string {
		out, err := child(t, "open", s.path).Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(out))
	}
	want := regexp.MustCompile(`^` + regexp.QuoteMeta(s.path) + ` is in use by process ` + strconv.Itoa(os.Getpid()) + ` since \d\d:\d\d true$`)
	if got := text(); !want.MatchString(got) {
		t.Errorf("another process: got %q, want %s", got, want)
	}
	_, err := Open(t.Context(), "sqlite:"+s.path, Options{})
	var e *OpenError
	if !errors.As(err, &e) || !errors.Is(err, ErrLocked) || e.Hint == "" {
		t.Errorf("the same process: got %v", err)
	}
	link := filepath.Join(t.TempDir(), "other.db")
	if err := os.Symlink(s.path, link); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), "sqlite:"+link, Options{}); !errors.Is(err, ErrLocked) {
		t.Errorf("by another name: got %v", err)
	}
	if _, err := s.KeyVersion(t.Context()); err != nil {
		t.Errorf("the first one: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got := text(); got != "<nil> false" {
		t.Errorf("after the first one's end: got %q", got)
	}
	s.write, s.read, s.lock = nil, nil, nil // so that the clean-up does not close it again
}

func TestTheLockSaysSinceWhen(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "penstock.db")
	began := time.Date(2026, 11, 24, 13, 40, 30, 0, time.Local)
	l, err := lockFile(path, "data/penstock.db", began)
	if err != nil {
		t.Fatal(err)
	}
	for later, want := range map[time.Duration]string{time.Hour: "13:40", 48 * time.Hour: "Nov 24 13:40"} {
		_, err := lockFile(path, "data/penstock.db", began.Add(later))
		if want := fmt.Sprintf("data/penstock.db is in use by process %d since %s", os.Getpid(), want); err == nil || err.Error() != want {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if err := l.f.Truncate(0); err != nil {
		t.Fatal(err)
	}
	if _, err := lockFile(path, "p.db", began); err == nil || err.Error() != "p.db is in use by another process" {
		t.Errorf("got %v", err)
	}
	if err := l.free(); err != nil {
		t.Fatal(err)
	}
	if l, err = lockFile(path, "p.db", began); err != nil {
		t.Fatalf("after it was given back: %v", err)
	}
	if err := l.free(); err != nil {
		t.Fatal(err)
	}
}

// Fault 48 of reliability.md, for what this package promises: records and position are kept together or not at all.
func TestAKilledWriterLosesNothingThatItSaidItHad(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "penstock.db")
	for round := range 4 {
		cmd := child(t, "write", path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		acked := int64(0)
		lines := bufio.NewScanner(out)
		for n := 0; n < 3+round && lines.Scan(); n++ {
			if acked, err = strconv.ParseInt(lines.Text(), 10, 64); err != nil {
				t.Fatal(err)
			}
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for lines.Scan() { // what it still said before it died
			acked, _ = strconv.ParseInt(lines.Text(), 10, 64)
		}
		_ = cmd.Wait()
		checkKilled(t, path, acked)
	}
}

func checkKilled(t *testing.T, path string, acked int64) {
	t.Helper()
	s, err := Open(t.Context(), "sqlite:"+path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	upTo, err := s.ReadUpTo(t.Context(), "j")
	if err != nil || upTo < acked {
		t.Errorf("position %d, %v; %d was acknowledged", upTo, err, acked)
	}
	sums, err := s.Sums(t.Context(), usage.Query{})
	if err != nil || sums[0].Requests != upTo {
		t.Errorf("%d records, %v; the position is %d", sums[0].Requests, err, upTo)
	}
	var whole int64
	if err := s.row(t.Context(), "SELECT COUNT(*) FROM exchange_records").Scan(&whole); err != nil || whole != upTo {
		t.Errorf("%d whole records, %v; the position is %d", whole, err, upTo)
	}
	var check string
	if err := s.row(t.Context(), "PRAGMA integrity_check").Scan(&check); err != nil || check != "ok" {
		t.Errorf("integrity: %s, %v", check, err)
	}
}

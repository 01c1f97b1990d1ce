package config

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fsnotify/fsnotify"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// watching runs watch in a bubble with the events that the test sends.
func watching(t *testing.T, path string) (events chan fsnotify.Event, calls *atomic.Int32) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	events, calls = make(chan fsnotify.Event), new(atomic.Int32)
	done := make(chan struct{})
	go func() {
		defer close(done)
		watch(ctx, path, events, func() { calls.Add(1) })
	}()
	t.Cleanup(func() { cancel(); <-done })
	synctest.Wait()
	return events, calls
}

func TestWatchWaitsForTheLastWrite(t *testing.T) {
	t.Parallel()
	path := write(t, "one")
	synctest.Test(t, func(t *testing.T) {
		events, calls := watching(t, path)
		for _, text := range []string{"t", "tw", "two"} {
			put(t, path, text)
			events <- fsnotify.Event{Name: path, Op: fsnotify.Write}
			time.Sleep(settleTime - time.Millisecond)
		}
		if synctest.Wait(); calls.Load() != 0 {
			t.Error("called while it was written")
		}
		time.Sleep(2 * time.Millisecond)
		if synctest.Wait(); calls.Load() != 1 {
			t.Errorf("%d calls, want 1", calls.Load())
		}
	})
}

func TestWatchSeesOnlyOtherContent(t *testing.T) {
	t.Parallel()
	path := write(t, "one")
	synctest.Test(t, func(t *testing.T) {
		events, calls := watching(t, path)
		for _, step := range []struct {
			text  string
			event fsnotify.Event
			want  int
		}{
			{"one", fsnotify.Event{Name: path, Op: fsnotify.Write}, 0},                                         // saved again
			{"two", fsnotify.Event{Name: filepath.Join(filepath.Dir(path), "..data"), Op: fsnotify.Create}, 1}, // a link was swapped
			{"two", fsnotify.Event{Name: path, Op: fsnotify.Chmod}, 1},
			{"", fsnotify.Event{Name: path, Op: fsnotify.Write}, 2}, // an empty file is a file
		} {
			put(t, path, step.text)
			events <- step.event
			time.Sleep(settleTime)
			if synctest.Wait(); int(calls.Load()) != step.want {
				t.Errorf("%+v: %d calls", step, calls.Load())
			}
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		events <- fsnotify.Event{Name: path, Op: fsnotify.Remove}
		time.Sleep(10 * pollTime)
		if synctest.Wait(); calls.Load() != 2 {
			t.Errorf("%d calls for a file that is away", calls.Load())
		}
	})
}

// Where nothing is notified, the file is looked at.
func TestWatchPolls(t *testing.T) {
	t.Parallel()
	path := write(t, "one")
	synctest.Test(t, func(t *testing.T) {
		events, calls := watching(t, path)
		close(events)
		put(t, path, "three")
		time.Sleep(pollTime + settleTime)
		if synctest.Wait(); calls.Load() != 1 {
			t.Errorf("%d calls, want 1", calls.Load())
		}
	})
}

// The real thing, as Kubernetes changes a mounted file: penstock.yaml -> ..data/penstock.yaml, ..data -> ..1, swapped by
// renaming a new link over the old one.
func TestWatchFollowsSwappedLinks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	swap := func(version string) {
		if err := os.MkdirAll(filepath.Join(dir, version), 0o700); err != nil {
			t.Fatal(err)
		}
		put(t, filepath.Join(dir, version, "penstock.yaml"), version)
		if err := os.Symlink(version, filepath.Join(dir, "..data_tmp")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	swap("..0")
	path := filepath.Join(dir, "penstock.yaml")
	if err := os.Symlink("..data/penstock.yaml", path); err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	changed, done := make(chan struct{}, 1), make(chan error, 1)
	go func() {
		done <- Watch(ctx, path, func() {
			select {
			case changed <- struct{}{}:
			default:
			}
		})
	}()
	again := time.NewTicker(3 * settleTime) // the first swap may come before Watch has begun
	defer again.Stop()
	deadline := time.After(30 * time.Second)
	for n := 1; ; n++ {
		select {
		case <-changed:
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
			return
		case <-again.C:
			swap("..v" + strconv.Itoa(n))
		case <-deadline:
			t.Fatal("no change was seen")
		}
	}
}

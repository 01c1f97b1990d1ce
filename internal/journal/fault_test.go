package journal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// A badDisk fails from its n-th operation on, for so many operations.
type badDisk struct {
	osDisk

	mu       sync.Mutex // guards the fields below
	ops      int
	from, to int // operations that fail, counted from 1
	syncs    atomic.Int64
	syncing  func() // called in every sync
}

func (d *badDisk) fail() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ops++
	if d.ops >= d.from && d.ops < d.to {
		return syscall.ENOSPC
	}
	return nil
}

func (d *badDisk) untouched() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ops < d.from
}

func (d *badDisk) Open(path string, flag int) (file, error) {
	if flag != os.O_RDONLY {
		if err := d.fail(); err != nil {
			return nil, err
		}
	}
	f, err := d.osDisk.Open(path, flag)
	if err != nil {
		return nil, err
	}
	return &badFile{f, d}, nil
}

func (d *badDisk) Remove(path string) error {
	if err := d.fail(); err != nil {
		return err
	}
	return d.osDisk.Remove(path)
}

func (d *badDisk) SyncDir(dir string) error {
	if err := d.fail(); err != nil {
		return err
	}
	return d.osDisk.SyncDir(dir)
}

type badFile struct {
	file
	d *badDisk
}

// WriteAt writes a part of what it should before it fails, as a full disk does.
func (f *badFile) WriteAt(b []byte, off int64) (int, error) {
	if err := f.d.fail(); err != nil {
		n, _ := f.file.WriteAt(b[:len(b)*2/3], off)
		return n, err
	}
	return f.file.WriteAt(b, off)
}

func (f *badFile) Truncate(size int64) error {
	if err := f.d.fail(); err != nil {
		return err
	}
	return f.file.Truncate(size)
}

func (f *badFile) Sync() error {
	f.d.syncs.Add(1)
	if f.d.syncing != nil {
		f.d.syncing()
	}
	if err := f.d.fail(); err != nil {
		return err
	}
	return f.file.Sync()
}

// TestEveryDiskFault lets the n-th operation fail, for n = 1, 2, 3 and so on until the run is over before it comes to
// that: once with one failure, once with a disk that stays bad for a while. What was acknowledged is always there, what was
// not never is, and the journal works again when the disk does.
func TestEveryDiskFault(t *testing.T) {
	t.Parallel()
	for _, long := range []int{1, 2, 3, 7} {
		for n := 1; ; n++ {
			d := &badDisk{from: n, to: n + long}
			runOnBadDisk(t, d, fmt.Sprintf("%d failures from operation %d", long, n))
			if d.untouched() {
				if n < 15 {
					t.Errorf("the run has only %d operations", n)
				}
				break
			}
		}
	}
}

func runOnBadDisk(t *testing.T, d *badDisk, name string) {
	t.Helper()
	dir := t.TempDir()
	j := open(t, dir, Options{SegmentBytes: 150, disk: d})
	var acknowledged []string
	for i := range 12 {
		payload := fmt.Sprintf("entry number %d", i)
		if i%3 == 0 { // what a failed write leaves behind reaches further than the next entry
			payload += strings.Repeat(" and on", 6)
		}
		_, err := j.Append(1, []byte(payload))
		if err == nil {
			acknowledged = append(acknowledged, payload)
		} else if !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("%s: %v", name, err)
		}
		if i == 6 {
			_ = j.flush() // its failure is told to those who wait for it, of whom there are none
		}
		if i%4 == 1 {
			_ = j.Probe(100) // whatever comes of it, nothing is left of it
		}
		wantEntries(t, j, 0, acknowledged...)
	}
	d.mu.Lock()
	d.to = 0 // the disk is mended
	d.mu.Unlock()
	acknowledged = append(acknowledged, "at last")
	if _, err := j.Append(1, []byte("at last")); err != nil {
		t.Errorf("%s: after it was mended: %v", name, err)
	}
	wantEntries(t, j, 0, acknowledged...)
	if err := j.Close(); err != nil {
		t.Errorf("%s: %v", name, err)
	}
	wantEntries(t, open(t, dir, Options{}), 0, acknowledged...)
	if t.Failed() {
		t.Fatal(name)
	}
}

// A probe says whether there is room and leaves nothing, even if the process is killed before it has taken it back.
func TestProbe(t *testing.T) {
	t.Parallel()
	d, dir := &badDisk{}, t.TempDir()
	j := open(t, dir, Options{SegmentBytes: 500, MaxBytes: 2000, disk: d})
	add(t, j, "a")
	end := j.End()
	if err := j.Probe(400); err != nil {
		t.Error(err)
	}
	if err := j.Probe(3000); !errors.Is(err, ErrFull) {
		t.Errorf("over the limit: %v", err)
	}
	d.from, d.to = d.ops+1, d.ops+2
	if err := j.Probe(400); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("on a full disk: %v", err)
	}
	add(t, j, "b")
	d.from, d.to = d.ops+2, d.ops+3 // it is written and cannot be taken back, as if the process were killed in between
	if err := j.Probe(100); err != nil {
		t.Errorf("%v", err)
	}
	if j.End() != end+int64(headerSize+1) || j.Room() != 2000-j.End() {
		t.Errorf("the end is at %d, room for %d", j.End(), j.Room())
	}
	wantEntries(t, j, 0, "a", "b")
	if err := j.Close(); err != nil {
		t.Error(err)
	}
	if err := j.Probe(100); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	again := open(t, dir, Options{})
	add(t, again, "c")
	wantEntries(t, again, 0, "a", "b", "c")
}

func TestTrimSurvivesFailures(t *testing.T) {
	t.Parallel()
	d := &badDisk{}
	j := open(t, t.TempDir(), Options{SegmentBytes: 1, disk: d})
	positions := add(t, j, "a", "b", "c")
	d.from, d.to = d.ops+2, d.ops+3
	if err := j.Trim(positions[1]); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v", err)
	}
	wantEntries(t, j, 0, "b", "c")
	if err := j.Trim(positions[1]); err != nil {
		t.Error(err)
	}
	wantEntries(t, j, 0, "c")
}

func TestReadErrorsCanBeTriedAgain(t *testing.T) {
	t.Parallel()
	j := open(t, t.TempDir(), Options{})
	add(t, j, "a", "b")
	r := j.Reader(0)
	defer r.Close()
	if _, err := r.advance(); err != nil {
		t.Fatal(err)
	}
	good := r.f
	r.f = unreadable{good}
	if _, ok, err := r.Next(); ok || !errors.Is(err, syscall.EIO) {
		t.Errorf("got %v, %v", ok, err)
	}
	r.f = good
	if e, ok, err := r.Next(); !ok || err != nil || string(e.Payload) != "a" {
		t.Errorf("got %q, %v, %v", e.Payload, ok, err)
	}
}

type unreadable struct{ file }

func (unreadable) ReadAt([]byte, int64) (int, error) { return 0, syscall.EIO }

var _ io.ReaderAt = unreadable{}

func TestCallersShareASync(t *testing.T) {
	t.Parallel()
	begun, goOn := make(chan struct{}, 100), make(chan struct{})
	d := &badDisk{syncing: func() { begun <- struct{}{}; <-goOn }}
	j := open(t, t.TempDir(), Options{disk: d})
	var wg sync.WaitGroup
	sync := func() {
		if _, err := j.AppendSync(t.Context(), 1, []byte("x")); err != nil {
			t.Error(err)
		}
	}
	wg.Go(sync)
	<-begun // it is in its sync; all others come too late for it
	const others = 20
	for range others {
		wg.Go(sync)
	}
	for j.End() < (others+1)*10 {
		<-time.After(time.Millisecond)
	}
	close(goOn)
	wg.Wait()
	// One for the first caller, and as a rule one for all the others; one more if some had appended but not yet joined.
	if n := d.syncs.Load(); n < 2 || n > 3 {
		t.Errorf("%d syncs for %d callers", n, others+1)
	}
}

func TestSyncFailsClosed(t *testing.T) {
	t.Parallel()
	d := &badDisk{}
	dir := t.TempDir()
	j := open(t, dir, Options{disk: d})
	add(t, j, "a")
	d.from, d.to = d.ops+3, d.ops+4 // write, open for the sync, sync
	if _, err := j.AppendSync(t.Context(), 1, []byte("b")); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("got %v", err)
	}
	if _, err := j.AppendSync(t.Context(), 1, []byte("c")); err != nil {
		t.Fatal(err)
	}
	if files := segmentFiles(t, dir); len(files) != 2 {
		t.Errorf("files: %v: what follows a failed sync must not share its file", files)
	}
	wantEntries(t, j, 0, "a", "b", "c")
}

func TestSyncWaitIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		goOn := make(chan struct{})
		d := &badDisk{syncing: func() { <-goOn }}
		j := open(t, t.TempDir(), Options{disk: d, SyncWait: 3 * time.Second})
		start := time.Now()
		if _, err := j.AppendSync(t.Context(), 1, nil); !errors.Is(err, ErrSyncTimeout) {
			t.Errorf("got %v, want %v", err, ErrSyncTimeout)
		}
		if waited := time.Since(start); waited != 3*time.Second {
			t.Errorf("waited %s, want 3s", waited)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := j.AppendSync(ctx, 1, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want %v", err, context.DeadlineExceeded)
		}
		close(goOn)
	})
}

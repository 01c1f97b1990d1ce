package journal

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// open opens a journal that the test closes.
func open(tb testing.TB, dir string, o Options) *Journal {
	tb.Helper()
	j, err := Open(dir, o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := j.Close(); err != nil {
			tb.Error(err)
		}
	})
	return j
}

func add(tb testing.TB, j *Journal, payloads ...string) (positions []int64) {
	tb.Helper()
	for _, p := range payloads {
		pos, err := j.Append(1, []byte(p))
		if err != nil {
			tb.Fatal(err)
		}
		positions = append(positions, pos)
	}
	return positions
}

// read reads all that is there from a position on; damage says what was skipped.
func read(tb testing.TB, j *Journal, from int64) (payloads []string, damage []*DamageError) {
	tb.Helper()
	r := j.Reader(from)
	defer r.Close()
	payloads = []string{}
	for {
		e, ok, err := r.Next()
		if d, is := errors.AsType[*DamageError](err); is {
			damage = append(damage, d)
			continue
		}
		if err != nil {
			tb.Fatal(err)
		}
		if !ok {
			return payloads, damage
		}
		payloads = append(payloads, string(e.Payload))
	}
}

func wantEntries(tb testing.TB, j *Journal, from int64, want ...string) {
	tb.Helper()
	got, damage := read(tb, j, from)
	if len(damage) > 0 {
		tb.Errorf("damage: %v", damage[0])
	}
	if want == nil {
		want = []string{}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		tb.Errorf("entries (-want +got):\n%s", diff)
	}
}

func TestEntriesComeBackInOrder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := open(t, dir, Options{SegmentBytes: 40})
	positions := add(t, j, "one", "", "three is longer than the others", "four")
	wantEntries(t, j, 0, "one", "", "three is longer than the others", "four")
	wantEntries(t, j, positions[0], "", "three is longer than the others", "four")
	wantEntries(t, j, positions[3])
	if positions[3] != j.End() {
		t.Errorf("the last entry ends at %d, End says %d", positions[3], j.End())
	}
	if files := segmentFiles(t, dir); len(files) != 3 {
		t.Errorf("files: %v, want 3", files)
	}
}

func segmentFiles(tb testing.TB, dir string) []string {
	tb.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*"+suffix))
	if err != nil {
		tb.Fatal(err)
	}
	slices.Sort(files)
	return files
}

func TestReopening(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := open(t, dir, Options{})
	add(t, j, "a", "b")
	id, end := j.ID(), j.End()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = open(t, dir, Options{})
	if j.ID() != id {
		t.Errorf("id %s, want %s", j.ID(), id)
	}
	if j.Begin() <= end || j.End() != j.Begin() {
		t.Errorf("begins at %d and ends at %d after an end at %d: positions could be given out twice", j.Begin(), j.End(), end)
	}
	wantEntries(t, j, 0, "a", "b")
	add(t, j, "c")
	wantEntries(t, j, 0, "a", "b", "c")
	wantEntries(t, j, end, "c")
	r := j.Reader(end)
	defer r.Close()
	if e, ok, err := r.Next(); !ok || err != nil || e.Start != j.Begin() {
		t.Errorf("entry at %d, %v, %v; want it at %d", e.Start, ok, err, j.Begin())
	}
}

func TestReaderAtTheEndStandsAtEnd(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := open(t, dir, Options{})
	add(t, j, "a")
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = open(t, dir, Options{}) // End is far behind the entry, and no segment is there yet
	r := j.Reader(0)
	defer r.Close()
	for range 2 {
		if _, _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
	}
	if r.Position() != j.End() {
		t.Errorf("the reader stands at %d, End is %d", r.Position(), j.End())
	}
}

func TestASecondProcessIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := open(t, dir, Options{})
	if _, err := Open(dir, Options{}); !errors.Is(err, ErrInUse) {
		t.Fatalf("got %v, want %v", err, ErrInUse)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, dir, Options{})
}

func TestDamagedIDIsNotReplaced(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "ID"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, Options{}); err == nil || !strings.Contains(err.Error(), "is damaged (remove it") {
		t.Fatalf("got %v", err)
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	j := open(t, t.TempDir(), Options{SegmentBytes: 30, MaxBytes: 100})
	if _, err := j.Append(1, make([]byte, MaxPayload+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("got %v, want %v", err, ErrTooLarge)
	}
	ten := strings.Repeat("x", 16) // 25 bytes with its header
	positions := add(t, j, ten, ten, ten, ten)
	if room := j.Room(); room != 0 {
		t.Errorf("room for %d bytes, want 0", room)
	}
	if _, err := j.Append(1, nil); !errors.Is(err, ErrFull) {
		t.Errorf("got %v, want %v", err, ErrFull)
	}
	if err := j.Trim(positions[1]); err != nil {
		t.Fatal(err)
	}
	if room := j.Room(); room != 50 {
		t.Errorf("room for %d bytes, want 50", room)
	}
	add(t, j, ten, ten)
	wantEntries(t, j, 0, ten, ten, ten, ten)
}

func TestTrim(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := open(t, dir, Options{SegmentBytes: 1})
	positions := add(t, j, "a", "b", "c")
	for _, tt := range []struct {
		before int64
		left   []string
	}{
		{positions[0] - 1, []string{"a", "b", "c"}},
		{positions[0], []string{"b", "c"}},
		{positions[0], []string{"b", "c"}},
		{positions[2], []string{"c"}}, // the last one stays
	} {
		if err := j.Trim(tt.before); err != nil {
			t.Fatal(err)
		}
		wantEntries(t, j, 0, tt.left...)
	}
	if files := segmentFiles(t, dir); len(files) != 1 {
		t.Errorf("files: %v, want one", files)
	}
}

func TestBehind(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := open(t, dir, Options{SegmentBytes: 15})
	positions := add(t, j, "a", "b") // 10 bytes each
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = open(t, dir, Options{})
	add(t, j, "c")
	for _, tt := range []struct{ pos, want int64 }{{0, 30}, {5, 25}, {positions[0], 20}, {positions[1], 10}, {j.Begin(), 10}, {j.End(), 0}} {
		if got := j.Behind(tt.pos); got != tt.want {
			t.Errorf("behind %d: %d bytes, want %d", tt.pos, got, tt.want)
		}
	}
}

func TestDamage(t *testing.T) {
	t.Parallel()
	flip := func(at int) func([]byte) []byte {
		return func(b []byte) []byte { b[at] ^= 1; return b }
	}
	for _, tt := range []struct {
		name   string
		change func([]byte) []byte // of the first segment: "first", "second", "third"
		want   []string
		lost   int64
	}{
		{"payload of an entry", flip(14 + 9), []string{"first", "third", "next segment"}, 15},
		{"checksum of an entry", flip(14), []string{"first", "third", "next segment"}, 15},
		{"kind of an entry", flip(14 + 8), []string{"first", "third", "next segment"}, 15},
		{"length of an entry", flip(14 + 4), []string{"first", "next segment"}, 29},
		{"impossible length", flip(14 + 7), []string{"first", "next segment"}, 29},
		{"payload of the last entry", flip(14 + 15 + 9), []string{"first", "second", "next segment"}, 14},
		{"zeros", func(b []byte) []byte { clear(b); return b }, []string{"next segment"}, 43},
		{"file cut short", func(b []byte) []byte { return b[:20] }, []string{"first", "next segment"}, 29},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			j := open(t, dir, Options{SegmentBytes: 14 + 15 + 14})
			add(t, j, "first", "second", "third", "next segment")
			rewrite(t, segmentFiles(t, dir)[0], tt.change)
			got, damage := read(t, j, 0)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("entries (-want +got):\n%s", diff)
			}
			if len(damage) != 1 || damage[0].Lost != tt.lost || damage[0].Segment != segmentName(0) {
				t.Errorf("damage %v, want one of %d bytes", damage, tt.lost)
			}
		})
	}
}

func rewrite(tb testing.TB, path string, change func([]byte) []byte) {
	tb.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, change(b), 0o600)
	}
	if err != nil {
		tb.Fatal(err)
	}
}

func TestMissingSegmentIsReported(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := open(t, dir, Options{SegmentBytes: 1})
	add(t, j, "a", "b", "c")
	if err := os.Remove(segmentFiles(t, dir)[1]); err != nil {
		t.Fatal(err)
	}
	got, damage := read(t, j, 0)
	if diff := cmp.Diff([]string{"a", "c"}, got); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
	if len(damage) != 1 || damage[0].Lost != 10 {
		t.Errorf("damage %v, want one of 10 bytes", damage)
	}
}

func TestDamageInTheLastSegmentIsKeptForTheReader(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := open(t, dir, Options{})
	add(t, j, "first", "second", "third")
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	rewrite(t, segmentFiles(t, dir)[0], func(b []byte) []byte { b[14+9] ^= 1; return append(b, "unfinished"[:7]...) })
	var log bytes.Buffer
	j = open(t, dir, Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	got, damage := read(t, j, 0)
	if diff := cmp.Diff([]string{"first", "third"}, got); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
	if len(damage) != 1 || damage[0].Offset != 14 || damage[0].Lost != 15 {
		t.Errorf("damage %v", damage)
	}
	if !strings.Contains(log.String(), "bytes=7") {
		t.Errorf("log %q does not tell of the 7 bytes", log.String())
	}
}

// await waits for the next entry.
func await(ctx context.Context, r *Reader) (Entry, error) {
	for {
		if e, ok, err := r.Next(); ok || err != nil {
			return e, err
		}
		if err := r.Wait(ctx); err != nil {
			return Entry{}, err
		}
	}
}

func TestReadersFollow(t *testing.T) {
	t.Parallel()
	j := open(t, t.TempDir(), Options{SegmentBytes: 100})
	const writers, each = 4, 200
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				if _, err := j.Append(Kind(w+1), fmt.Appendf(nil, "%d", i)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	r := j.Reader(0)
	defer r.Close()
	next := make([]int, writers+1)
	for range writers * each {
		e, err := await(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprint(next[e.Kind]); string(e.Payload) != want {
			t.Fatalf("writer %d: entry %q, want %q", e.Kind, e.Payload, want)
		}
		next[e.Kind]++
	}
	wg.Wait()
}

// TestNothingIsMissedAtTheEnd reads at the very end all the time, where entries appear between two looks.
func TestNothingIsMissedAtTheEnd(t *testing.T) {
	t.Parallel()
	j := open(t, t.TempDir(), Options{SegmentBytes: 10 << 10})
	const entries = 50_000
	go func() {
		for i := range entries {
			if _, err := j.Append(1, binary.LittleEndian.AppendUint32(nil, uint32(i))); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	r := j.Reader(0)
	defer r.Close()
	for i := 0; i < entries; {
		e, ok, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			continue
		}
		if got := binary.LittleEndian.Uint32(e.Payload); got != uint32(i) {
			t.Fatalf("entry %d follows entry %d", got, i-1)
		}
		i++
	}
}

func TestWaitingEnds(t *testing.T) {
	t.Parallel()
	j := open(t, t.TempDir(), Options{})
	r := j.Reader(0)
	defer r.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := await(ctx, r); !errors.Is(err, context.Canceled) {
		t.Errorf("with its context ended: %v", err)
	}
	done := make(chan error)
	go func() {
		_, err := await(t.Context(), r)
		done <- err
	}()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, ErrClosed) {
		t.Errorf("with the journal closed: %v", err)
	}
	if _, err := j.Append(1, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("append: %v", err)
	}
	if _, err := j.AppendSync(t.Context(), 1, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("append and sync: %v", err)
	}
}

func TestLargeEntries(t *testing.T) {
	t.Parallel()
	j := open(t, t.TempDir(), Options{})
	big := strings.Repeat("0123456789abcdef", 4*blockSize/16)
	add(t, j, "small", big, "small again", big)
	wantEntries(t, j, 0, "small", big, "small again", big)
}

package journal

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// TestACutFileLosesItsTailOnly: whatever was appended, and wherever the last file was cut off, exactly the entries that
// lie wholly before the cut come back, and the journal goes on behind them.
func TestACutFileLosesItsTailOnly(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		dir := t.TempDir()
		o := Options{SegmentBytes: rapid.Int64Range(1, 400).Draw(rt, "segment")}
		var kept []string
		for range rapid.IntRange(1, 3).Draw(rt, "openings") {
			kept = appendAndCut(rt, dir, o, kept)
		}
		j := reopen(rt, dir, o)
		defer j.Close()
		compare(rt, j, kept)
	})
}

// appendAndCut opens the journal, which holds the entries kept, appends some, and cuts the last file.
func appendAndCut(t *rapid.T, dir string, o Options, kept []string) []string {
	j := reopen(t, dir, o)
	compare(t, j, kept)
	payloads := rapid.SliceOfN(rapid.StringN(0, -1, 200), 0, 12).Draw(t, "payloads")
	positions := make([]int64, 0, len(payloads))
	for _, p := range payloads {
		pos, err := j.Append(Kind(len(p)), []byte(p))
		if err != nil {
			t.Fatal(err)
		}
		positions = append(positions, pos)
	}
	compare(t, j, append(kept[:len(kept):len(kept)], payloads...))
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if len(payloads) == 0 {
		return kept
	}
	last := j.segments[len(j.segments)-1]
	cut := rapid.Int64Range(0, last.end-last.start).Draw(t, "cut")
	if err := os.Truncate(filepath.Join(dir, segmentName(last.start)), cut); err != nil {
		t.Fatal(err)
	}
	for i, pos := range positions {
		if pos <= last.start+cut {
			kept = append(kept, payloads[i])
		}
	}
	return kept
}

func reopen(t *rapid.T, dir string, o Options) *Journal {
	j, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func compare(t *rapid.T, j *Journal, want []string) {
	r := j.Reader(0)
	defer r.Close()
	got := []string{}
	for {
		e, ok, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		if e.Kind != Kind(len(e.Payload)) {
			t.Fatalf("entry of %d bytes has kind %d", len(e.Payload), e.Kind)
		}
		got = append(got, string(e.Payload))
	}
	if diff := cmp.Diff(append([]string{}, want...), got); diff != "" {
		t.Fatalf("entries (-want +got):\n%s", diff)
	}
	if r.Position() != j.End() {
		t.Fatalf("the reader stands at %d, the journal ends at %d", r.Position(), j.End())
	}
}

// FuzzRead opens a file of any bytes. Nothing panics, reading ends, every entry that comes back is in the bytes as it
// would have been written, and appending goes on.
func FuzzRead(f *testing.F) {
	entries := appendEntry(appendEntry(nil, 1, []byte("one")), 2, nil)
	f.Add(entries)
	f.Add(entries[:len(entries)-1])
	f.Add(append([]byte("noise"), entries...))
	f.Add(make([]byte, 100))
	f.Add([]byte{0, 0, 0, 0, 255, 255, 255, 255, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, segmentName(0)), b, 0o600); err != nil {
			t.Fatal(err)
		}
		j := open(t, dir, Options{})
		add(t, j, "and one more")
		r := j.Reader(0)
		defer r.Close()
		for range len(b) + 2 {
			before := r.Position()
			e, ok, err := r.Next()
			switch {
			case ok && e.Start < int64(len(b)):
				if diff := cmp.Diff(b[e.Start:e.Position], appendEntry(nil, e.Kind, e.Payload)); diff != "" {
					t.Fatal(diff)
				}
			case ok && string(e.Payload) == "and one more":
				return
			case r.Position() <= before:
				t.Fatalf("no progress at %d: %v", before, err)
			}
		}
		t.Fatal("the last entry was not found")
	})
}

package backup_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/penstock/penstock/internal/backup"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/seal"
)

func newRing(t *testing.T) *seal.Ring {
	t.Helper()
	ring, _, err := seal.Open(filepath.Join(t.TempDir(), "keyring.json"))
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

// A content is tables with their rows.
type content struct {
	table backup.Table
	rows  []backup.Row
}

func write(t rapid.TB, ring *seal.Ring, m backup.Manifest, all []content) ([]byte, backup.Summary) {
	t.Helper()
	var out bytes.Buffer
	w, err := backup.NewWriter(&out, ring, m)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range all {
		if err := w.Table(c.table); err != nil {
			t.Fatal(err)
		}
		for _, row := range c.rows {
			if err := w.Row(row); err != nil {
				t.Fatal(err)
			}
		}
	}
	sum, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), sum
}

// read reads a whole file; its error is the first that it came to.
func read(r io.Reader, ring *seal.Ring) (m backup.Manifest, all []content, sum backup.Summary, err error) {
	in, err := backup.NewReader(r, ring)
	if err != nil {
		return m, nil, sum, err
	}
	defer in.Close()
	for {
		table, err := in.NextTable()
		if err != nil {
			return m, nil, sum, err
		}
		if table == nil {
			if !in.Whole() {
				return m, nil, sum, errors.New("it is through, and not whole")
			}
			return in.Manifest, all, in.Summary(), nil
		}
		c := content{table: *table}
		for {
			row, err := in.NextRow()
			if err != nil {
				return m, nil, sum, err
			}
			if row == nil {
				break
			}
			kept := make(backup.Row, len(row))
			for i, v := range row {
				if b, ok := v.([]byte); ok {
					v = append([]byte{}, b...)
				}
				kept[i] = v
			}
			c.rows = append(c.rows, kept)
		}
		all = append(all, c)
	}
}

var sample = []content{
	{backup.Table{Name: "empty", Columns: []string{"a"}}, nil},
	{backup.Table{Name: "few", Columns: []string{"a", "b", "c"}}, []backup.Row{
		{int64(-1), "", []byte{}}, {nil, "text with \x00 and \xff", []byte{0, 1, 2}}, {int64(1) << 62, strings.Repeat("long ", 50_000), nil},
	}},
}

// TestWhatIsReadIsWhatWasWritten holds for any rows.
func TestWhatIsReadIsWhatWasWritten(t *testing.T) {
	t.Parallel()
	ring := newRing(t)
	value := rapid.OneOf(
		rapid.Map(rapid.Int64(), func(n int64) any { return n }), rapid.Map(rapid.String(), func(s string) any { return s }),
		rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 300), func(b []byte) any { return append([]byte{}, b...) }), rapid.Just(any(nil)),
	)
	rapid.Check(t, func(t *rapid.T) {
		var all []content
		for i := range rapid.IntRange(0, 3).Draw(t, "tables") {
			n := rapid.IntRange(1, 4).Draw(t, "columns")
			c := content{table: backup.Table{Name: string(rune('a' + i)), Columns: []string{"w", "x", "y", "z"}[:n]}}
			for range rapid.IntRange(0, 5).Draw(t, "rows") {
				c.rows = append(c.rows, rapid.SliceOfN(value, n, n).Draw(t, "row"))
			}
			all = append(all, c)
		}
		m := backup.Manifest{Format: 1, ID: "bak_1", Schema: 7, Keyring: ring.ID(), Taken: time.Unix(1_800_000_000, 0).UTC(), Chain: backup.Chain{ID: "c", Seq: 3, Hash: "00"}}
		file, sum := write(t, ring, m, all)
		gotM, got, gotSum, err := read(bytes.NewReader(file), ring)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(m, gotM); d != "" {
			t.Fatal(d)
		}
		if d := cmp.Diff(all, got, cmp.AllowUnexported(content{})); d != "" {
			t.Fatal(d)
		}
		if d := cmp.Diff(sum, gotSum); d != "" {
			t.Fatal(d)
		}
	})
}

// TestADamagedFileIsNeverTakenForWhole alters and cuts a file at many places; none may be read to its end.
func TestADamagedFileIsNeverTakenForWhole(t *testing.T) {
	t.Parallel()
	ring := newRing(t)
	file, _ := write(t, ring, backup.Manifest{Keyring: ring.ID()}, sample)
	step := max(len(file)/150, 1)
	for at := 0; at < len(file); at += step {
		if _, _, _, err := read(bytes.NewReader(file[:at]), ring); err == nil {
			t.Errorf("cut to %d of %d bytes, it was read as whole", at, len(file))
		}
		altered := bytes.Clone(file)
		altered[at] ^= 0x40
		if _, _, _, err := read(bytes.NewReader(altered), ring); err == nil {
			t.Errorf("altered at %d of %d bytes, it was read as whole", at, len(file))
		}
	}
	if _, _, _, err := read(bytes.NewReader(append(bytes.Clone(file), 'x')), ring); err == nil {
		t.Error("with something behind its end, it was read as whole")
	}
}

func TestOnlyItsRingOpensAFile(t *testing.T) {
	t.Parallel()
	ring, other := newRing(t), newRing(t)
	file, _ := write(t, ring, backup.Manifest{}, sample)
	_, _, _, err := read(bytes.NewReader(file), other)
	var wrong *backup.WrongRingError
	if !errors.As(err, &wrong) || wrong.Needs != ring.ID() || wrong.Has != other.ID() {
		t.Errorf("another ring: %v", err)
	}
	if id, err := backup.RingOf(bytes.NewReader(file)); id != ring.ID() || err != nil {
		t.Errorf("it says that it takes %q, %v", id, err)
	}
	for _, text := range []string{"", "x", "age-encryption.org/v1\n-> X25519 abc\n"} {
		var problem fault.Problem
		if _, err := backup.RingOf(strings.NewReader(text)); !errors.As(err, &problem) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestFault64AnOlderBackupOpensAfterARotation: the ring keeps the keys that once sealed.
func TestFault64AnOlderBackupOpensAfterARotation(t *testing.T) {
	t.Parallel()
	ring := newRing(t)
	file, _ := write(t, ring, backup.Manifest{}, sample)
	if _, err := ring.Rotate(t.Context(), time.Time{}, func(context.Context, seal.Key) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := read(bytes.NewReader(file), ring); err != nil {
		t.Error(err)
	}
	if later, _ := write(t, ring, backup.Manifest{}, sample); bytes.Equal(file[:200], later[:200]) {
		t.Error("the new key was not used")
	}
}

func TestRowsThatABackupDoesNotTake(t *testing.T) {
	t.Parallel()
	ring := newRing(t)
	w, err := backup.NewWriter(io.Discard, ring, backup.Manifest{})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Table(backup.Table{Name: "t", Columns: []string{"a"}}); err != nil {
		t.Fatal(err)
	}
	for _, row := range []backup.Row{{1.5}, {true}, {int64(1), int64(2)}, {}} {
		if err := w.Row(row); err == nil {
			t.Errorf("%v was taken", row)
		}
	}
}

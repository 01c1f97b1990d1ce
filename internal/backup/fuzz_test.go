package backup

import (
	"bytes"
	"testing"
)

// FuzzRow: whatever bytes are read as a row, nothing breaks, and what was read encodes to something that reads the same.
func FuzzRow(f *testing.F) {
	for _, row := range []Row{{}, {nil, int64(-7), "text", []byte{1, 2}}} {
		b, err := appendRow(nil, row)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, uint8(len(row)))
	}
	f.Add([]byte{isText, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}, uint8(1))
	f.Fuzz(func(t *testing.T, b []byte, n uint8) {
		row, rest, err := readRow(b, nil, int(n))
		if err != nil {
			return
		}
		if len(rest) > len(b) || len(row) != int(n) {
			t.Fatalf("%d values and %d bytes left of %d", len(row), len(rest), len(b))
		}
		again, err := appendRow(nil, row)
		if err != nil {
			t.Fatal(err)
		}
		row2, rest2, err := readRow(again, nil, int(n))
		if err != nil || len(rest2) > 0 {
			t.Fatalf("%v, %d bytes left", err, len(rest2))
		}
		if third, err := appendRow(nil, row2); err != nil || !bytes.Equal(again, third) {
			t.Fatalf("%x is read as %x (%v)", again, third, err)
		}
	})
}

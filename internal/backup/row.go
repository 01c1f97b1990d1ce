package backup

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
)

func sprintf(format string, args ...any) string { return fmt.Sprintf(format, args...) }

// How a value is encoded: a byte that says what it is, and then nothing, a zigzag varint, or bytes behind their length.
const (
	isNull byte = iota
	isInt
	isText
	isBytes
)

// errValue is a row that was encoded by nobody.
var errValue = errors.New("a row is not encoded as rows are")

// appendRow encodes a row.
func appendRow(b []byte, row Row) ([]byte, error) {
	for _, v := range row {
		switch v := v.(type) {
		case nil:
			b = append(b, isNull)
		case int64:
			b = binary.AppendVarint(append(b, isInt), v)
		case string:
			b = append(binary.AppendUvarint(append(b, isText), uint64(len(v))), v...)
		case []byte:
			b = append(binary.AppendUvarint(append(b, isBytes), uint64(len(v))), v...)
		default:
			return b, fmt.Errorf("a value is a %T, which backups do not have", v)
		}
	}
	return b, nil
}

// readRow decodes the row that b begins with, of n values, and gives what is behind it. Values of bytes point into b.
func readRow(b []byte, row Row, n int) (Row, []byte, error) {
	row = row[:0]
	for range n {
		if len(b) == 0 {
			return nil, nil, errValue
		}
		kind := b[0]
		b = b[1:]
		switch kind {
		case isNull:
			row = append(row, nil)
		case isInt:
			v, size := binary.Varint(b)
			if size <= 0 {
				return nil, nil, errValue
			}
			row, b = append(row, v), b[size:]
		case isText, isBytes:
			length, size := binary.Uvarint(b)
			if size <= 0 || length > uint64(len(b)-size) {
				return nil, nil, errValue
			}
			text := b[size : size+int(length)] //nolint:gosec // it is at most len(b)
			b = b[size+int(length):]           //nolint:gosec // as above
			if kind == isText {
				row = append(row, string(text))
			} else {
				row = append(row, text)
			}
		default:
			return nil, nil, errValue
		}
	}
	return row, b, nil
}

// A Digest is made of the rows of a table as they come. Two tables with the same columns and the same rows in the same
// order have the same, whatever engine they lie in.
type Digest struct {
	table Table
	sum   hash.Hash
	rows  int64
	buf   []byte
}

// NewDigest begins with a table.
func NewDigest(t Table) *Digest {
	d := &Digest{table: t, sum: sha256.New()}
	for _, text := range append([]string{t.Name}, t.Columns...) {
		d.buf = append(binary.AppendUvarint(d.buf, uint64(len(text))), text...)
	}
	_, _ = d.sum.Write(d.buf) // a hash takes everything
	return d
}

// Add takes the next row.
func (d *Digest) Add(row Row) (err error) {
	if d.buf, err = appendRow(d.buf[:0], row); err == nil {
		d.add(d.buf)
	}
	return err
}

func (d *Digest) add(encoded []byte) {
	d.rows++
	_, _ = d.sum.Write(encoded)
}

// Sum is the end.
func (d *Digest) Sum() TableSum {
	return TableSum{Name: d.table.Name, Rows: d.rows, SHA256: hex.EncodeToString(d.sum.Sum(nil))}
}

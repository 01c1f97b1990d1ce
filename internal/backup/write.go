package backup

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"filippo.io/age"
	"github.com/go-json-experiment/json"
	"github.com/klauspost/compress/zstd"

	"github.com/penstock/penstock/internal/seal"
)

// Inside of encryption and compression, a file is frames: a byte that says what it is, the length, and so many bytes.
const (
	frameManifest = 'M' // JSON; the first
	frameTable    = 'T' // JSON; the rows behind it are of this table
	frameRows     = 'R' // rows, one after the other
	frameEnd      = 'E' // JSON; the last
)

const (
	// frameSize is when a frame of rows is full; one that holds a long row is longer.
	frameSize = 64 << 10
	// maxFrame bounds a frame, and so a row.
	maxFrame = 256 << 20
	// window is what compression looks back over, in bytes: memory of both sides.
	window = 4 << 20
)

// A Writer writes a backup. End it with Close; a file without that is not whole.
type Writer struct {
	sealed io.WriteCloser
	packed *zstd.Encoder
	sum    Summary
	digest *Digest // of the table at hand, nil before the first
	table  Table
	rows   []byte // the frame at hand
	row    []byte
}

// NewWriter begins a file for the holders of the ring, which has to have a data key.
func NewWriter(w io.Writer, ring *seal.Ring, m Manifest) (*Writer, error) {
	m.Format = Format
	sealed, err := age.Encrypt(w, recipient{ring})
	if err != nil {
		return nil, fmt.Errorf("encrypt the backup: %w", err)
	}
	packed, err := zstd.NewWriter(sealed, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(window))
	if err != nil {
		return nil, fmt.Errorf("compress the backup: %w", err)
	}
	out := &Writer{sealed: sealed, packed: packed}
	return out, out.frameJSON(frameManifest, m)
}

func (w *Writer) frame(kind byte, b []byte) error {
	head := binary.AppendUvarint([]byte{kind}, uint64(len(b)))
	if _, err := w.packed.Write(head); err != nil {
		return err
	}
	_, err := w.packed.Write(b)
	return err
}

func (w *Writer) frameJSON(kind byte, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return w.frame(kind, text)
}

// Table begins a table, which ends the one before. Tables that others refer to come first.
func (w *Writer) Table(t Table) error {
	if err := w.endTable(); err != nil {
		return err
	}
	w.table, w.digest = t, NewDigest(t)
	return w.frameJSON(frameTable, t)
}

func (w *Writer) endTable() error {
	if w.digest == nil {
		return nil
	}
	w.sum.Tables = append(w.sum.Tables, w.digest.Sum())
	w.digest = nil
	return w.flush()
}

func (w *Writer) flush() error {
	if len(w.rows) == 0 {
		return nil
	}
	err := w.frame(frameRows, w.rows)
	w.rows = w.rows[:0]
	return err
}

// Row writes a row of the table at hand.
func (w *Writer) Row(row Row) (err error) {
	if w.row, err = appendRow(w.row[:0], row); err != nil {
		return fmt.Errorf("table %s: %w", w.table.Name, err)
	}
	if len(w.row) > maxFrame {
		return fmt.Errorf("table %s: a row has %d bytes, and a backup takes %d at most", w.table.Name, len(w.row), maxFrame)
	}
	if len(row) != len(w.table.Columns) || len(row) == 0 {
		return fmt.Errorf("table %s: a row has %d values, and the table %d columns", w.table.Name, len(row), len(w.table.Columns))
	}
	w.digest.add(w.row)
	if len(w.rows) > 0 && len(w.rows)+len(w.row) > frameSize {
		if err := w.flush(); err != nil {
			return err
		}
	}
	w.rows = append(w.rows, w.row...)
	return nil
}

// Close ends the file. What it was written to is not closed.
func (w *Writer) Close() (Summary, error) {
	err := w.endTable()
	if err == nil {
		err = w.frameJSON(frameEnd, w.sum)
	}
	return w.sum, errors.Join(err, w.packed.Close(), w.sealed.Close())
}

package backup

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/klauspost/compress/zstd"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/seal"
)

// A Reader reads a backup. What it has given is certain only after [Reader.NextTable] has said that there is no more.
type Reader struct {
	Manifest Manifest

	packed  *zstd.Decoder
	in      *bufio.Reader
	table   Table
	digest  *Digest // of the table at hand, nil if there is none
	frame   bytes.Buffer
	rows    []byte // what is left of the frame of rows at hand
	row     Row
	kind    byte // of a frame that was read and not used yet, 0 if there is none
	sum     Summary
	through bool
}

// NewReader opens a file. The error is a [*WrongRingError] if it takes another key ring, and else a [fault.Problem] or what
// reading failed with. Close it.
func NewReader(r io.Reader, ring *seal.Ring) (*Reader, error) {
	sealed, err := open(r, ring)
	if err != nil {
		return nil, err
	}
	packed, err := zstd.NewReader(sealed, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(window))
	if err != nil {
		return nil, fmt.Errorf("decompress the backup: %w", err)
	}
	in := &Reader{packed: packed, in: bufio.NewReaderSize(packed, frameSize)}
	if err := in.readManifest(); err != nil {
		packed.Close()
		return nil, err
	}
	return in, nil
}

// Close frees what reading takes.
func (r *Reader) Close() { r.packed.Close() }

func (r *Reader) readManifest() error {
	if err := r.next(); err != nil {
		return err
	}
	var format struct {
		Format int `json:"format"`
	}
	switch err := json.Unmarshal(r.frame.Bytes(), &format); {
	case r.kind != frameManifest || err != nil:
		return damaged("it does not begin with what it is of")
	case format.Format != Format:
		return fault.Problem{
			Text: fmt.Sprintf("the backup is of format %d, and this version reads format %d", format.Format, Format),
			Hint: "use the version that wrote it, or a newer one",
		}
	}
	r.kind = 0
	if err := json.Unmarshal(r.frame.Bytes(), &r.Manifest); err != nil {
		return damaged("what it is of cannot be read: %v", err)
	}
	return nil
}

// next reads a frame, unless there is one that was not used.
func (r *Reader) next() error {
	if r.kind != 0 {
		return nil
	}
	kind, err := r.in.ReadByte()
	if err != nil {
		return r.cut(err)
	}
	size, err := binary.ReadUvarint(r.in)
	if err != nil {
		return r.cut(err)
	}
	if size > maxFrame {
		return damaged("a part of it says that it has %d bytes", size)
	}
	r.frame.Reset()
	// It grows with what is there, and not with what the length says.
	if _, err := io.CopyN(&r.frame, r.in, int64(size)); err != nil { //nolint:gosec // at most maxFrame
		return r.cut(err)
	}
	r.kind = kind
	return nil
}

// cut is the error of a file that gives nothing more before its end.
func (r *Reader) cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return damaged("it ends before its end: it was cut off")
	}
	return damaged("%v", err)
}

// NextTable gives the next table, nil if there is none: then the file was whole and is as it was written.
func (r *Reader) NextTable() (*Table, error) {
	if r.digest != nil {
		for { // what the caller did not want
			row, err := r.NextRow()
			if err != nil {
				return nil, err
			}
			if row == nil {
				break
			}
		}
		r.sum.Tables, r.digest = append(r.sum.Tables, r.digest.Sum()), nil
	}
	if err := r.next(); err != nil {
		return nil, err
	}
	kind := r.kind
	r.kind = 0
	switch kind {
	case frameTable:
		var t Table
		if err := json.Unmarshal(r.frame.Bytes(), &t); err != nil || t.Name == "" || len(t.Columns) == 0 {
			return nil, damaged("a table cannot be read")
		}
		r.table, r.digest = t, NewDigest(t)
		return &r.table, nil
	case frameEnd:
		return nil, r.end()
	}
	return nil, damaged("it holds something that is not known")
}

func (r *Reader) end() error {
	var said Summary
	if err := json.Unmarshal(r.frame.Bytes(), &said); err != nil {
		return damaged("its end cannot be read")
	}
	if !slices.Equal(said.Tables, r.sum.Tables) {
		return damaged("its rows are not those that were written")
	}
	if _, err := r.in.ReadByte(); !errors.Is(err, io.EOF) {
		return damaged("something stands behind its end")
	}
	r.through = true
	return nil
}

// NextRow gives the next row of the table, nil at its end. The row, and bytes in it, are good until the next call.
func (r *Reader) NextRow() (Row, error) {
	for len(r.rows) == 0 {
		if err := r.next(); err != nil {
			return nil, err
		}
		if r.kind != frameRows {
			return nil, nil
		}
		r.kind, r.rows = 0, r.frame.Bytes()
	}
	row, rest, err := readRow(r.rows, r.row, len(r.table.Columns))
	if err != nil {
		return nil, damaged("table %s: %v", r.table.Name, err)
	}
	r.digest.add(r.rows[:len(r.rows)-len(rest)])
	r.row, r.rows = row, rest
	return row, nil
}

// Summary is what the file holds; it is known when NextTable has said that there is no more.
func (r *Reader) Summary() Summary { return r.sum }

// Whole reports whether the file was read to its end and found as it was written.
func (r *Reader) Whole() bool { return r.through }

package journal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// A DamageError says that entries could not be read: their bytes are not what was appended, or are gone. The reader goes
// on behind them. It happens through failing disks and foreign hands, not through a killed process.
type DamageError struct {
	Segment string // the file's name
	Offset  int64  // in the file
	Lost    int64  // bytes that were skipped
}

// Error implements error.
func (e *DamageError) Error() string {
	return fmt.Sprintf("journal: %s is damaged at byte %d: %d bytes skipped", e.Segment, e.Offset, e.Lost)
}

// A Reader goes through the journal in order, and can wait at its end for more. It is for one goroutine; several readers of
// one journal do not disturb each other.
type Reader struct {
	j   *Journal
	pos int64

	seg   segment // where pos is; its end is how far it had been written when last looked at
	f     file    // of seg
	block []byte  // bytes of the file from position from on
	from  int64
}

// blockSize is how much is read at once.
const blockSize = 256 << 10

// Reader reads from a position on: one that Append or an Entry gave, or 0 for the oldest entry there is.
func (j *Journal) Reader(from int64) *Reader { return &Reader{j: j, pos: from} }

// Position is where the next entry is looked for. At the end of the journal it is [Journal.End].
func (r *Reader) Position() int64 { return r.pos }

// Close frees the file that the reader has open. Reading again opens it again.
func (r *Reader) Close() {
	if r.f != nil {
		r.f.Close() // it was only read
		r.f, r.seg = nil, segment{}
	}
}

// Wait waits until there is an entry to read, until ctx ends, or until the journal is closed ([ErrClosed]).
func (r *Reader) Wait(ctx context.Context) error {
	more, err := r.j.more(r.pos)
	if err != nil {
		return err
	}
	select {
	case <-more:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Next gives the next entry if there is one; it does not wait. After a [DamageError] it may be called again and goes on
// behind the damage; after another error it tries the same again.
func (r *Reader) Next() (e Entry, ok bool, err error) {
	if r.pos >= r.seg.end {
		if ok, err := r.advance(); !ok || err != nil {
			return Entry{}, false, err
		}
	}
	b, err := r.entryAt(r.pos)
	if errors.Is(err, errDamaged) {
		return Entry{}, false, r.skip()
	}
	if err != nil {
		return Entry{}, false, err
	}
	e = Entry{Kind: Kind(b[headerSize-1]), Payload: b[headerSize:], Start: r.pos, Position: r.pos + int64(len(b))}
	r.pos = e.Position
	return e, true, nil
}

// advance looks for what lies behind pos, in this segment or the next; ok is false if there is nothing yet.
func (r *Reader) advance() (ok bool, err error) {
	s, end, ok := r.j.find(r.pos)
	if !ok {
		r.pos = max(r.pos, end)
		return false, nil
	}
	if r.f == nil || s.start != r.seg.start {
		r.Close()
		f, err := r.j.o.disk.Open(r.j.path(s.start), os.O_RDONLY)
		if errors.Is(err, fs.ErrNotExist) {
			from := max(r.pos, s.start)
			r.pos = s.end
			return false, &DamageError{Segment: segmentName(s.start), Offset: from - s.start, Lost: s.end - from}
		}
		if err != nil {
			return false, fmt.Errorf("journal: %w", err)
		}
		r.f, r.block = f, r.block[:0]
	}
	r.seg = s
	r.pos = max(r.pos, s.start)
	return true, nil
}

// errDamaged is for what cannot be an entry.
var errDamaged = errors.New("damaged")

// entryAt gives the bytes of the entry at a position of the segment.
func (r *Reader) entryAt(pos int64) ([]byte, error) {
	header, err := r.view(pos, headerSize)
	if err != nil {
		return nil, err
	}
	size, ok := entrySize(header)
	if !ok {
		return nil, errDamaged
	}
	entry, err := r.view(pos, size)
	if err != nil {
		return nil, err
	}
	if !whole(entry) {
		return nil, errDamaged
	}
	return entry, nil
}

// view gives n bytes of the segment from a position on, from the block in memory if they are there.
func (r *Reader) view(pos, n int64) ([]byte, error) {
	if pos+n > r.seg.end {
		return nil, errDamaged
	}
	if at := pos - r.from; at >= 0 && at+n <= int64(len(r.block)) {
		return r.block[at : at+n], nil
	}
	want := min(max(n, blockSize), r.seg.end-pos)
	if int64(cap(r.block)) < want {
		r.block = make([]byte, max(want, blockSize))
	}
	r.block, r.from = r.block[:want], pos
	got, err := r.f.ReadAt(r.block, pos-r.seg.start)
	r.block = r.block[:got]
	switch {
	case int64(got) >= n:
		return r.block[:n], nil
	case errors.Is(err, io.EOF): // somebody has cut the file
		return nil, errDamaged
	default:
		return nil, fmt.Errorf("journal: %w", err)
	}
}

// unfinished reports whether the entry at a position would end behind the segment.
func (r *Reader) unfinished(pos int64) bool {
	header, err := r.view(pos, headerSize)
	if err != nil {
		return errors.Is(err, errDamaged)
	}
	size, ok := entrySize(header)
	return ok && pos+size > r.seg.end
}

// skip goes on behind a damaged entry: at the one that follows by the damaged one's own length if that is whole, else
// behind the segment as it is now. (It does not search for the next thing that looks like an entry: callers' text is in
// the entries, and could look like one.)
func (r *Reader) skip() error {
	from := r.pos
	r.pos = r.seg.end
	if header, err := r.view(from, headerSize); err == nil {
		if size, ok := entrySize(header); ok && from+size < r.seg.end {
			if _, err := r.entryAt(from + size); err == nil {
				r.pos = from + size
			}
		}
	}
	return &DamageError{Segment: segmentName(r.seg.start), Offset: from - r.seg.start, Lost: r.pos - from}
}

// more gives a channel that is closed when, or if, there is something behind pos.
func (j *Journal) more(pos int64) (<-chan struct{}, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return nil, ErrClosed
	}
	if j.grown == nil {
		j.grown = make(chan struct{})
	}
	c := j.grown
	if j.end.Load() > pos {
		close(c)
		j.grown = nil
	}
	return c, nil
}

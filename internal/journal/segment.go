package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// A segment is one file. Its name is the position of its first byte, so that positions outlive the deletion of others.
type segment struct {
	start, end int64 // positions; what lies behind end in the file is not part of the journal
	synced     int64 // up to where the disk has confirmed it in this process
}

const suffix = ".journal"

func segmentName(start int64) string { return fmt.Sprintf("%020d%s", start, suffix) }

func (j *Journal) path(start int64) string { return filepath.Join(j.dir, segmentName(start)) }

// findSegments lists the segments and cuts an unfinished entry off the last.
func (j *Journal) findSegments() error {
	entries, err := os.ReadDir(j.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		digits, ok := strings.CutSuffix(e.Name(), suffix)
		start, err := strconv.ParseInt(digits, 10, 64)
		if !ok || err != nil || segmentName(start) != e.Name() {
			continue
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		j.segments = append(j.segments, segment{start: start, end: start + info.Size()})
	}
	slices.SortFunc(j.segments, func(a, b segment) int { return int(min(max(a.start-b.start, -1), 1)) })
	for i := 1; i < len(j.segments); i++ {
		// A write that failed may have left bytes that could not be taken back; the next segment begins before them.
		before := &j.segments[i-1]
		before.end = min(before.end, j.segments[i].start)
	}
	if n := len(j.segments); n > 0 {
		if err := j.cutTail(&j.segments[n-1]); err != nil {
			return err
		}
	}
	for _, s := range j.segments {
		j.held += s.end - s.start
	}
	return nil
}

// cutTail cuts off what a killed process left unfinished at the end of the last segment. What looks like damage instead
// stays, for a reader to report: whole entries may lie behind it.
func (j *Journal) cutTail(last *segment) error {
	good, unfinished, err := j.scan(*last)
	if err != nil || !unfinished {
		return err
	}
	j.o.Log.Warn("journal: cut off an unfinished entry", "segment", segmentName(last.start), "bytes", last.end-good)
	f, err := j.o.disk.Open(j.path(last.start), os.O_WRONLY)
	if err != nil {
		return err
	}
	last.end = good
	return errors.Join(f.Truncate(good-last.start), f.Close())
}

// scan finds the end of the last whole entry of a segment, and whether what follows is the beginning of another.
func (j *Journal) scan(s segment) (good int64, unfinished bool, err error) {
	r := &Reader{j: j, pos: s.start}
	defer r.Close()
	good = s.start
	for {
		e, ok, err := r.Next()
		if _, damaged := errors.AsType[*DamageError](err); damaged {
			continue
		}
		if err != nil {
			return 0, false, err
		}
		if !ok {
			return good, good < s.end && r.unfinished(good), nil
		}
		good = e.Position
	}
}

// segmentFor gives the segment that takes an entry of the given size, a new one if need be. mu is held.
func (j *Journal) segmentFor(size int64) (*segment, error) {
	if j.held+size > j.o.MaxBytes {
		return nil, fmt.Errorf("%w: %d of %d bytes are held", ErrFull, j.held, j.o.MaxBytes)
	}
	if j.out != nil {
		last := &j.segments[len(j.segments)-1]
		if written := last.end - last.start; written == 0 || written+size <= j.o.SegmentBytes {
			return last, nil
		}
	}
	start := j.end.Load()
	f, err := j.o.disk.Open(j.path(start), os.O_WRONLY|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	if j.out != nil {
		j.out.Close() // its entries are written; nothing is left that could fail
	}
	j.out = f
	j.newFiles = true
	j.segments = append(j.segments, segment{start: start, end: start, synced: start})
	return &j.segments[len(j.segments)-1], nil
}

// undo takes back what a failed write may have left behind the last whole entry. If even that fails, the segment ends
// here and the next entry begins another one. mu is held.
func (j *Journal) undo(last *segment) {
	if err := j.out.Truncate(last.end - last.start); err != nil {
		j.retire()
	}
}

// retire closes the segment that is being written; the next entry opens another. mu is held.
func (j *Journal) retire() {
	if j.out == nil {
		return
	}
	j.out.Close()
	j.out = nil
	n := len(j.segments) - 1
	if s := j.segments[n]; s.start == s.end {
		j.segments = j.segments[:n] // the next one has the same name, and is emptied when it is opened
	}
}

// Trim deletes the segments that lie wholly before a position. The last one always stays: it keeps the positions from
// beginning anew.
func (j *Journal) Trim(before int64) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	for len(j.segments) > 1 && j.segments[0].end <= before {
		s := j.segments[0]
		if err := j.o.disk.Remove(j.path(s.start)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("journal: %w", err)
		}
		j.segments = slices.Delete(j.segments, 0, 1)
		j.held -= s.end - s.start
	}
	return nil
}

// find gives the first segment with entries behind pos; ok is false if there is none. end is that of the journal at the
// same instant.
func (j *Journal) find(pos int64) (s segment, end int64, ok bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, s := range j.segments {
		if s.end > max(pos, s.start) {
			return s, j.end.Load(), true
		}
	}
	return segment{}, j.end.Load(), false
}

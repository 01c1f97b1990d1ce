// Package journal is an append-only local file for what must survive kill -9 before the store has it.
//
// An append is one write(2): when it returns, the entry is in the kernel's hands and outlives the process. AppendSync
// also waits for the disk, so that the entry outlives the machine; callers at the same time share one sync. A [Reader]
// follows what is appended. The file is cut into segments, and the oldest are deleted by Trim when nobody needs them.
//
// An entry is a kind and bytes; what they mean is the caller's affair. The journal has no transactions, no index and no
// retention of its own, it is not encrypted, and a directory belongs to one process at a time.
package journal

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Errors that a caller may branch on. All others come from the disk.
var (
	// ErrFull means that the entry would not fit under Options.MaxBytes. Trim makes room.
	ErrFull = errors.New("the journal is full")
	// ErrTooLarge means that a payload is over [MaxPayload].
	ErrTooLarge = errors.New("the entry is too large for the journal")
	// ErrClosed means that the journal was closed.
	ErrClosed = errors.New("the journal is closed")
	// ErrInUse means that another process has the directory.
	ErrInUse = errors.New("the journal is in use by another process")
	// ErrNotSynced means that an entry is in the journal, and the disk did not confirm it.
	ErrNotSynced = errors.New("the entry was not synced")
	// ErrSyncTimeout is an [ErrNotSynced]: the disk took longer than Options.SyncWait.
	ErrSyncTimeout = errors.New("the disk did not confirm the entry in time")
)

// Options are the bounds of a journal; zero values take the defaults.
type Options struct {
	SegmentBytes int64         // of one file; default 32 MiB. An entry larger than this has a segment of its own
	MaxBytes     int64         // of all files together; default 4 GiB. Appends fail beyond it
	SyncWait     time.Duration // how long AppendSync waits for the disk; default 2 s
	Log          *slog.Logger  // told what was cut off at opening; nil is silent

	// BeforeSync is called before each sync of the disk, and makes it fail with its error. It is for tests of what is above
	// the journal; nil is nothing.
	BeforeSync func() error

	disk disk // tests make it fail
}

func (o Options) withDefaults() Options {
	if o.SegmentBytes <= 0 {
		o.SegmentBytes = 32 << 20
	}
	if o.MaxBytes <= 0 {
		o.MaxBytes = 4 << 30
	}
	if o.SyncWait <= 0 {
		o.SyncWait = 2 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.disk == nil {
		o.disk = osDisk{}
	}
	return o
}

// A Journal is an open directory of segments. It is safe for concurrent use.
type Journal struct {
	dir   string
	id    string
	o     Options
	lock  *os.File
	begin int64

	end    atomic.Int64 // written under mu
	mu     sync.Mutex   // guards the fields below
	closed bool
	// segments are the files, oldest first. If out is set, it is the last one and takes the next entry; else the next
	// entry opens a new one at end.
	segments []segment
	out      file
	held     int64         // bytes in all segments
	buf      []byte        // the entry that is being written
	grown    chan struct{} // closed at the next append; nil if nobody waits
	newFiles bool          // the directory has entries that were not synced

	group group
}

// Open opens the directory, or makes it. What a killed process left unfinished at the end is cut off. It fails
// with [ErrInUse] if another process has the directory.
func Open(dir string, o Options) (*Journal, error) {
	j := &Journal{dir: dir, o: o.withDefaults()}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, fmt.Errorf("journal %s: %w", dir, err)
	}
	j.lock = lock
	if err := j.load(); err != nil {
		lock.Close()
		return nil, fmt.Errorf("journal %s: %w", dir, err)
	}
	j.group.flush = j.flush
	return j, nil
}

// load reads what is in the directory.
func (j *Journal) load() error {
	id, err := readID(j.dir)
	if err != nil {
		return err
	}
	j.id = id
	if err := j.findSegments(); err != nil {
		return err
	}
	// A power loss may have cut off entries that a reader had already handed on. No position is given out twice all the
	// same: each opening begins so far behind the last one that nothing of that can lie between.
	if n := len(j.segments); n > 0 {
		j.begin = j.segments[n-1].end + j.o.MaxBytes
	}
	j.end.Store(j.begin)
	return nil
}

// ID names the directory for good: it is random, and made when the directory is. Positions are meaningful with it only.
func (j *Journal) ID() string { return j.id }

// Begin is where this opening began: entries before it were written by processes that are gone.
func (j *Journal) Begin() int64 { return j.begin }

// End is where the next entry will be, or begin a new segment.
func (j *Journal) End() int64 { return j.end.Load() }

// Append writes an entry and returns the position behind it. If it fails, the entry is not in the journal; a later one
// may succeed, once there is room again.
func (j *Journal) Append(kind Kind, payload []byte) (int64, error) {
	if len(payload) > MaxPayload {
		return 0, fmt.Errorf("%w: %d bytes, limit %d", ErrTooLarge, len(payload), MaxPayload)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return 0, ErrClosed
	}
	j.buf = appendEntry(j.buf[:0], kind, payload)
	size := int64(len(j.buf))
	last, err := j.segmentFor(size)
	if err != nil {
		return 0, err
	}
	if _, err := j.out.WriteAt(j.buf, last.end-last.start); err != nil {
		j.undo(last)
		return 0, fmt.Errorf("journal: %w", err)
	}
	last.end += size
	j.held += size
	j.end.Store(last.end)
	if j.grown != nil {
		close(j.grown)
		j.grown = nil
	}
	if cap(j.buf) > keepBuffer {
		j.buf = nil
	}
	return last.end, nil
}

// keepBuffer is the largest write buffer that is kept for the next entry.
const keepBuffer = 1 << 20

// AppendSync is Append, and returns when the entry is on the disk. [ErrNotSynced] means that the entry is in the journal
// and may or may not survive the machine: the disk failed or took too long, or ctx ended.
func (j *Journal) AppendSync(ctx context.Context, kind Kind, payload []byte) (int64, error) {
	pos, err := j.Append(kind, payload)
	if err != nil {
		return 0, err
	}
	if err := j.group.wait(ctx, j.o.SyncWait); err != nil {
		return 0, fmt.Errorf("journal: %w: %w", ErrNotSynced, err)
	}
	return pos, nil
}

// Probe finds out whether n bytes could be appended now, by writing so many behind the last entry and taking them back.
// What a process that is killed meanwhile leaves of it is an unfinished entry to the next opening.
func (j *Journal) Probe(n int) error {
	n = min(max(n, headerSize), MaxPayload)
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return ErrClosed
	}
	last, err := j.segmentFor(int64(n))
	if err != nil {
		return err
	}
	entry := make([]byte, n)
	binary.LittleEndian.PutUint32(entry[sumSize:], uint32(n)) // a payload that does not fit into it
	_, err = j.out.WriteAt(entry, last.end-last.start)
	j.undo(last)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	return nil
}

// Room is how many bytes may still be appended before [ErrFull].
func (j *Journal) Room() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.o.MaxBytes - j.held
}

// MaxBytes is the size that the journal may reach.
func (j *Journal) MaxBytes() int64 { return j.o.MaxBytes }

// Behind is how many bytes of entries lie behind a position: the lag of a reader that has come to it.
func (j *Journal) Behind(pos int64) int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	var n int64
	for _, s := range j.segments {
		n += max(s.end-max(s.start, pos), 0)
	}
	return n
}

// Close ends appending and wakes readers. Entries that were not synced are left to the kernel.
func (j *Journal) Close() error {
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		return nil
	}
	j.closed = true
	var err error
	if j.out != nil {
		err = j.out.Close()
		j.out = nil
	}
	if j.grown != nil {
		close(j.grown)
		j.grown = nil
	}
	j.mu.Unlock()
	j.group.stop()
	return errors.Join(err, j.lock.Close())
}

// readID reads the directory's id, or makes one.
func readID(dir string) (string, error) {
	path := filepath.Join(dir, "ID")
	b, err := os.ReadFile(path)
	if err == nil {
		if id := strings.TrimSpace(string(b)); len(id) >= 16 {
			return id, nil
		}
		return "", fmt.Errorf("%s is damaged (remove it: entries that the store has already are recognised)", path)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	id := rand.Text()
	fresh := path + ".new"
	if err := os.WriteFile(fresh, []byte(id+"\n"), 0o600); err != nil {
		return "", err
	}
	return id, os.Rename(fresh, path)
}

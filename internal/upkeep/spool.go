package upkeep

import (
	"errors"
	"io"
	"os"
	"sync"
)

// A Spool is a file that one side writes as fast as it can while the other reads behind it, however slowly: the moment of a
// backup must not be held for as long as a network takes. It needs room on the disk for what is not read yet, and for what is.
type Spool struct {
	file *os.File
	room func() error

	mu      sync.Mutex
	changed *sync.Cond
	written int64
	ended   bool
	err     error // why it ended, nil if it was written whole
}

// roomEvery is how many bytes are written between two looks at the room, and spoolName the file until it has no name.
const (
	roomEvery = 4 << 20
	spoolName = "backup-*.spool"
)

// NewSpool makes a spool in a directory. room says when nothing more may be written there.
func NewSpool(dir string, room func() error) (*Spool, error) {
	if err := room(); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(dir, spoolName)
	if err != nil {
		return nil, err
	}
	_ = os.Remove(f.Name()) // so that nothing is left of a killed process; where that is refused, Close does it
	s := &Spool{file: f, room: room}
	s.changed = sync.NewCond(&s.mu)
	return s, nil
}

// Write implements [io.Writer]. It never waits for the reader.
func (s *Spool) Write(p []byte) (int, error) {
	s.mu.Lock()
	at, ended := s.written, s.ended
	s.mu.Unlock()
	if ended {
		return 0, errors.New("nobody reads it any more")
	}
	if at/roomEvery != (at+int64(len(p)))/roomEvery {
		if err := s.room(); err != nil {
			return 0, err
		}
	}
	n, err := s.file.WriteAt(p, at)
	s.mu.Lock()
	s.written += int64(n)
	s.mu.Unlock()
	s.changed.Broadcast()
	return n, err
}

// End says that nothing more comes, and why if it is not all.
func (s *Spool) End(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		s.ended, s.err = true, err
	}
	s.changed.Broadcast()
}

// WriteTo implements [io.WriterTo]: it copies all that is written, until the end.
func (s *Spool) WriteTo(w io.Writer) (n int64, err error) {
	buf := make([]byte, 64<<10)
	for {
		s.mu.Lock()
		for n == s.written && !s.ended {
			s.changed.Wait()
		}
		left, why := s.written-n, s.err
		s.mu.Unlock()
		if left == 0 || why != nil {
			return n, why
		}
		some, err := s.file.ReadAt(buf[:min(left, int64(len(buf)))], n)
		if err != nil {
			return n, err
		}
		some, err = w.Write(buf[:some])
		n += int64(some)
		if err != nil {
			return n, err
		}
	}
}

// Close gives the disk back.
func (s *Spool) Close() error {
	s.End(io.ErrClosedPipe)
	_ = os.Remove(s.file.Name()) // gone already, mostly
	return s.file.Close()
}

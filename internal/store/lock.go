package store

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// A fileLock keeps other processes off a database. It is the operating system's, so it ends with the process however that
// ends, and a file that is left behind locks nobody out.
type fileLock struct{ f *os.File }

// errHeld says that another process has a lock.
var errHeld = errors.New("held by another process")

// lockFile takes the lock beside path, or says who holds it. shown is the path as the operator wrote it.
func lockFile(path, shown string, now time.Time) (*fileLock, error) {
	f, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, unusable(shown, err)
	}
	if err := hold(f); err != nil {
		defer f.Close()
		if errors.Is(err, errHeld) {
			return nil, locked(f, shown, now)
		}
		return nil, unusable(shown, fmt.Errorf("lock: %w", err))
	}
	l := &fileLock{f}
	if err := l.sign(now); err != nil {
		return nil, errors.Join(unusable(shown, err), f.Close())
	}
	return l, nil
}

// sign writes who holds the lock into it: process and second since 1970.
func (l *fileLock) sign(now time.Time) error {
	if err := l.f.Truncate(0); err != nil {
		return err
	}
	_, err := l.f.WriteAt(fmt.Appendf(nil, "%d %d\n", os.Getpid(), now.Unix()), 0)
	return err
}

// free gives the lock back. To close the file would not be enough: a process that is just being started has a copy of it
// until it runs its own program. The file stays: whoever removed it could remove that of the next process.
func (l *fileLock) free() error { return errors.Join(l.f.Truncate(0), release(l.f), l.f.Close()) }

// locked says who holds the lock, as far as the file tells.
func locked(f *os.File, shown string, now time.Time) error {
	who := "another process"
	text := make([]byte, 64)
	n, _ := f.ReadAt(text, 0) // a short read is what there is; none at all is a holder that has only just come
	var pid, since int64
	if fields := strings.Fields(string(text[:n])); len(fields) == 2 {
		pid, _ = strconv.ParseInt(fields[0], 10, 64)
		since, _ = strconv.ParseInt(fields[1], 10, 64)
	}
	if pid > 0 && since > 0 {
		who = fmt.Sprintf("process %d since %s", pid, clock(time.Unix(since, 0), now))
	}
	return &OpenError{
		Kind: ErrLocked, Text: fmt.Sprintf("%s is in use by %s", shown, who),
		Hint: "stop it, or use another --data; several replicas need a store that they can share",
	}
}

// clock writes a time of today without its day.
func clock(t, now time.Time) string {
	if t.Local().Format(time.DateOnly) == now.Local().Format(time.DateOnly) {
		return t.Local().Format("15:04")
	}
	return t.Local().Format("Jan 2 15:04")
}

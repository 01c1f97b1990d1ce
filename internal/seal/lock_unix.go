//go:build unix

package seal

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// lockFile keeps other processes from changing the ring at path until free is called. file is where the file is, behind all
// links. The lock is on the file itself, so that no other file has to lie beside it; it ends with the process.
func lockFile(path string) (file string, free func(), err error) {
	for {
		if file, err = filepath.EvalSymlinks(path); err != nil {
			return "", nil, unlockable(path, err)
		}
		f, err := os.OpenFile(file, os.O_RDWR, 0)
		if err != nil {
			return "", nil, unlockable(path, err)
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
			_ = f.Close() // it was only locked
			return "", nil, unlockable(path, err)
		}
		// Whoever had the lock before has put another file in the place of this one.
		if stillThere(f, file) {
			return file, func() { _ = f.Close() }, nil
		}
		_ = f.Close()
	}
}

func stillThere(f *os.File, path string) bool {
	held, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(path)
	return err == nil && os.SameFile(held, there)
}

func unlockable(path string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return unwritable(path, err)
}

// sameOwner gives a new file to those that the old one belongs to: an operator may be another user than Penstock.
func sameOwner(path string, old fs.FileInfo) error {
	was, ok := old.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if now, ok := info.Sys().(*syscall.Stat_t); ok && now.Uid == was.Uid && now.Gid == was.Gid {
		return nil
	}
	return os.Lchown(path, int(was.Uid), int(was.Gid))
}

//go:build unix

package store

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// hold locks the file for this process; errHeld if another has it.
func hold(f *os.File) error {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return errHeld
	}
	return err
}

func release(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_UN) }

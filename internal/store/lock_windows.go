package store

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// beyond is a byte that is never written: what is locked here cannot be read either, and others shall read who we are.
func beyond() *windows.Overlapped { return &windows.Overlapped{OffsetHigh: 1} }

// hold locks the file for this process; errHeld if another has it.
func hold(f *os.File) error {
	const flags = windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY
	err := windows.LockFileEx(windows.Handle(f.Fd()), flags, 0, 1, 0, beyond())
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return errHeld
	}
	return err
}

func release(f *os.File) error {
	return windows.UnlockFileEx(windows.Handle(f.Fd()), 0, 1, 0, beyond())
}

//go:build unix

package server

import "golang.org/x/sys/unix"

// FileLimit is how many file descriptors the process may have, 0 if nobody says. The runtime has raised the limit to the
// hard one by now.
func FileLimit() uint64 {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return 0
	}
	return uint64(l.Cur) //nolint:unconvert // its type differs between systems
}

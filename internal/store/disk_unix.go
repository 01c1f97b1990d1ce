//go:build unix

package store

import "golang.org/x/sys/unix"

// diskFree is how many bytes an ordinary user may still write to the disk of a directory, -1 if that is not known.
func diskFree(dir string) (free int64) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return -1
	}
	return int64(s.Bavail) * int64(s.Bsize) //nolint:gosec,unconvert // disks are smaller; the types differ between systems
}

//go:build unix

package server

import "golang.org/x/sys/unix"

// DiskFree is how many bytes an ordinary user may still write to the disk of a directory.
func DiskFree(dir string) (free int64, known bool) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, false
	}
	return int64(s.Bavail) * int64(s.Bsize), true //nolint:gosec,unconvert // disks are smaller; the types differ between systems
}

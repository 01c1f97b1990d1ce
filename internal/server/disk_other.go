//go:build !unix

package server

// DiskFree is not known here.
func DiskFree(string) (free int64, known bool) { return 0, false }

//go:build !unix

package store

// diskFree is not known here.
func diskFree(string) (free int64) { return -1 }

//go:build !unix

package journal

import (
	"os"
	"path/filepath"
)

// lockDir opens the lock file. These systems have no lock that a dead process is sure to leave, so keeping a second
// process out is left to the store, which is locked as well.
func lockDir(dir string) (*os.File, error) {
	return os.OpenFile(filepath.Join(dir, "LOCK"), os.O_CREATE|os.O_RDWR, 0o600)
}

package seal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/penstock/penstock/internal/fault"
)

// maxPrivate bounds a file with a secret, in bytes; larger ones are something else by mistake.
const maxPrivate = 64 << 10

// ReadPrivate reads a small file that holds a secret. It refuses one that is readable or writable for everybody, or
// writable for its group. Errors are [fault.Problem], or match [fs.ErrNotExist] if there is no such file.
func ReadPrivate(path string) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err != nil {
		return nil, fault.Problem{Path: path, Text: "cannot be read: " + cause(err), Hint: "it must belong to the user that runs Penstock"}
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, fault.Problem{Path: path, Text: "cannot be read: " + cause(err)}
	case !info.Mode().IsRegular():
		return nil, fault.Problem{Path: path, Text: "is not a file"}
	case info.Mode().Perm()&0o027 != 0:
		return nil, fault.Problem{
			Path: path, Text: fmt.Sprintf("is open to others than its owner (mode %04o)", info.Mode().Perm()),
			Hint: "close it with: chmod 600 " + path,
		}
	case info.Size() > maxPrivate:
		return nil, fault.Problem{Path: path, Text: fmt.Sprintf("has %d bytes, limit %d", info.Size(), maxPrivate), Hint: "is it the right file?"}
	}
	text, err := io.ReadAll(io.LimitReader(f, maxPrivate))
	if err != nil {
		return nil, fault.Problem{Path: path, Text: "cannot be read: " + cause(err)}
	}
	return text, nil
}

// CreatePrivate writes a new file that only its owner may read. It is there whole and durably, or not at all. Errors are
// [fault.Problem], or match [fs.ErrExist] if there is such a file already; that is left as it is.
func CreatePrivate(path string, text []byte) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fault.Problem{Path: dir, Text: "cannot be made: " + cause(err)}
	}
	f, err := os.CreateTemp(dir, filepath.Base(path)+".new*") // mode 0600
	if err != nil {
		return unwritable(path, err)
	}
	defer func() { _ = os.Remove(f.Name()) }() // gone already, or of no use
	_, err = f.Write(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return unwritable(path, err)
	}
	// A link, unlike a rename, never replaces what another process has put there meanwhile.
	err = os.Link(f.Name(), path)
	switch {
	case errors.Is(err, fs.ErrExist):
		return err
	case err != nil:
		return unwritable(path, err)
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return unwritable(dir, err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return unwritable(dir, err)
	}
	return nil
}

func unwritable(path string, err error) error {
	return fault.Problem{Path: path, Text: "cannot be written: " + cause(err), Hint: "the directory must belong to the user that runs Penstock, and have room"}
}

// cause leaves the path out of what the system said; it stands before it already.
func cause(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err.Error()
	}
	var l *os.LinkError
	if errors.As(err, &l) {
		return l.Err.Error()
	}
	return err.Error()
}

// replace puts another text in the place of a file, which keeps its mode and owner. Readers see the one text or the other,
// whole. proof is given what has come to lie on the disk, and commit is called just before it is in the place of the old
// text; if one of them fails, nothing has changed, and its error is returned as it is. Other errors are [fault.Problem].
func replace(path string, text []byte, proof func([]byte) error, commit func() error) error {
	old, err := os.Lstat(path)
	if err != nil {
		return unwritable(path, err)
	}
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, filepath.Base(path)+".new*") // mode 0600
	if err != nil {
		return unwritable(path, err)
	}
	defer func() { _ = os.Remove(f.Name()) }() // gone already, or of no use
	_, err = f.Write(text)
	if err == nil {
		err = sameOwner(f.Name(), old)
	}
	if err == nil {
		err = f.Chmod(old.Mode().Perm())
	}
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return unwritable(path, err)
	}
	written, err := os.ReadFile(f.Name())
	if err != nil {
		return unwritable(path, err)
	}
	if err := proof(written); err != nil {
		return err
	}
	if err := commit(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return unwritable(path, err)
	}
	return syncDir(dir)
}

package journal

import (
	"io"
	"os"
)

// disk is what the journal does to the file system.
type disk interface {
	// Open opens a file as os.OpenFile does.
	Open(path string, flag int) (file, error)
	Remove(path string) error
	// SyncDir makes the names in a directory survive the machine.
	SyncDir(dir string) error
}

// A file is one segment.
type file interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Truncate(size int64) error
	Sync() error
}

type osDisk struct{}

func (osDisk) Open(path string, flag int) (file, error) {
	f, err := os.OpenFile(path, flag, 0o600)
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (osDisk) Remove(path string) error { return os.Remove(path) }

func (osDisk) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

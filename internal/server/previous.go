package server

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/penstock/penstock/internal/config"
)

// The data directory keeps two texts of the configuration file: the one that is in force, and the last other one that was.
// From them `penstock config rollback` writes the file back. They hold references to secrets and no secrets, but comments
// may say anything, so only their owner reads them.
func currentPath(dir string) string  { return filepath.Join(dir, "config.current") }
func previousPath(dir string) string { return filepath.Join(dir, "config.previous") }

// KeptConfigs reads the texts of configuration files that were in force, the latest first. There is none before the first
// start from a file, and one before the first change.
func KeptConfigs(dir string) ([][]byte, error) {
	var texts [][]byte
	for _, path := range []string{currentPath(dir), previousPath(dir)} {
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		texts = append(texts, text)
	}
	return texts, nil
}

// remember keeps the text of the file that has come into force. Where only its words have changed, and nothing that it
// says, the previous one stays. Not being able to keep it is no reason to stop serving.
func (s *Server) remember(cfg *config.File, changed bool) {
	if cfg.Path() == "" {
		return
	}
	if err := keep(cfg.Data, cfg.Source(), changed); err != nil {
		s.o.Log.Error("the configuration is in force, but its text cannot be kept for a rollback", "error", err)
	}
}

// keep writes the previous text first, so that a crash in between only makes both the same until the next start.
func keep(dir string, text []byte, changed bool) error {
	current, err := os.ReadFile(currentPath(dir))
	known := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if known && bytes.Equal(current, text) {
		return nil
	}
	if known && changed {
		if err := replace(previousPath(dir), current); err != nil {
			return err
		}
	}
	return replace(currentPath(dir), text)
}

// replace writes a file whole or not at all; only its owner reads it.
func replace(path string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // gone already, or of no use
	_, err = f.Write(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

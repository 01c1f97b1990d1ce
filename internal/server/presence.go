package server

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/go-json-experiment/json"
)

// A Presence is what a running Penstock leaves in its data directory, so that commands find it even where it took free
// ports. It holds nothing secret.
type Presence struct {
	DataURL  string `json:"data_url"`
	AdminURL string `json:"admin_url"`
	PID      int    `json:"pid"`
}

func presencePath(dir string) string { return filepath.Join(dir, "serving.json") }

// ReadPresence finds the Penstock that serves from a data directory.
func ReadPresence(dir string) (Presence, error) {
	var p Presence
	b, err := os.ReadFile(presencePath(dir))
	if err != nil {
		return p, err
	}
	if err := json.Unmarshal(b, &p); err != nil {
		return p, fmt.Errorf("%s: %w", presencePath(dir), err)
	}
	return p, nil
}

func (p Presence) write(dir string) error {
	b, err := json.Marshal(p)
	if err != nil {
		return err
	}
	next := presencePath(dir) + ".new"
	if err := os.WriteFile(next, append(b, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(next, presencePath(dir))
}

package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"path/filepath"
	"time"

	"github.com/penstock/penstock/internal/audit"
	"github.com/penstock/penstock/internal/config"
)

// openAudit makes what verifies the audit chain and signs it.
func (s *Server) openAudit(cfg *config.File) error {
	key, err := audit.OpenKey(cfg.AuditKeyPath())
	if err != nil {
		return err
	}
	s.keeper, err = audit.NewKeeper(s.store, audit.Options{
		Key: key, Local: cfg.CheckpointsPath(), Config: cfg.Audit, Log: s.o.Log, Metrics: s.metrics,
	})
	return err
}

// auditStatus is how the audit chain is, in a word and in a sentence.
func (s *Server) auditStatus() (intact bool, problem string) {
	state := s.keeper.State()
	if state.Break != nil {
		return false, state.Break.Text
	}
	return true, state.Problem
}

// started is what the audit chain keeps of a start: what ran, on which file, and which of its switches are dangerous.
type started struct {
	Version  string   `json:"version"`
	File     string   `json:"file,omitzero"`
	SHA256   string   `json:"sha256,omitzero"` // of the file
	Switches []string `json:"dangerous_switches,omitempty"`
	Ring     string   `json:"keyring"`
	DataKey  string   `json:"data_key,omitzero"` // that seals
	Wraps    []string `json:"keyring_wraps,omitempty"`
}

// recordStart makes the start an act of the process.
func (s *Server) recordStart(ctx context.Context, cfg *config.File) error {
	after := started{Version: s.o.Version, Switches: cfg.DangerousSwitches()}
	ring := s.ring.Status()
	after.Ring, after.Wraps = ring.ID, ring.Wraps
	for _, k := range ring.Keys {
		if k.Current {
			after.DataKey = k.ID
		}
	}
	if cfg.Path() != "" {
		sum := sha256.Sum256(cfg.Source())
		after.File, after.SHA256 = filepath.Base(cfg.Path()), hex.EncodeToString(sum[:])
	}
	for _, name := range after.Switches {
		s.o.Log.Warn("a dangerous switch is on", "setting", name)
	}
	return s.store.AppendAudit(ctx, audit.Act{Action: audit.ConfigTaken, After: after})
}

// recordWithin bounds the recording of a reload; without an entry, it does not come into force.
const recordWithin = 5 * time.Second

// recordReload makes the changes of a reload an act of the process. Their texts are those of config plan, which hide what
// looks like a secret.
func (s *Server) recordReload(changes []config.Change) error {
	if len(changes) == 0 {
		return nil
	}
	before, after := map[string]string{}, map[string]string{}
	for _, c := range changes {
		if c.Old != "" {
			before[c.Path] = c.Old
		}
		if c.New != "" {
			after[c.Path] = c.New
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), recordWithin)
	defer cancel()
	return s.store.AppendAudit(ctx, audit.Act{Action: audit.ConfigTaken, Before: before, After: after})
}

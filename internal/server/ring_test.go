package server_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/penstocktest"
	"github.com/penstock/penstock/internal/seal"
)

// TestARingOfAnEarlierVersionIsUpgradedAtTheStart: its keys are known on, and it can seal.
func TestARingOfAnEarlierVersionIsUpgradedAtTheStart(t *testing.T) {
	t.Parallel()
	w := start(t, penstocktest.Options{})
	model := w.model("")
	w.Stop()
	path := filepath.Join(w.Dir, "data", "keyring.json")
	forgetKeys(t, path)
	w.Restart()
	if got := w.ask(model, "hi", false); got.Status != http.StatusOK {
		t.Errorf("status %d: %s", got.Status, got.Body)
	}
	ring, _, err := seal.Open(path)
	if err != nil || len(ring.Keys()) != 1 {
		t.Errorf("keys %+v, %v", ring.Keys(), err)
	}
}

// TestARingThatCannotBeWrittenServesAll but what has to be sealed.
func TestARingThatCannotBeWrittenServesAll(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("LEFT OUT: root may write everything")
	}
	t.Parallel()
	log := &logs{}
	w := start(t, penstocktest.Options{Log: log})
	model := w.model("")
	w.Stop()
	path := filepath.Join(w.Dir, "data", "keyring.json")
	forgetKeys(t, path)
	if err := os.Chmod(path, 0o400); err != nil {
		t.Fatal(err)
	}
	w.Restart()
	if got := w.ask(model, "hi", false); got.Status != http.StatusOK {
		t.Errorf("status %d: %s", got.Status, got.Body)
	}
	if !strings.Contains(log.String(), "the key ring has no data key") {
		t.Errorf("not told:\n%s", log)
	}
}

// forgetKeys makes a ring what the first version wrote.
func forgetKeys(t *testing.T, path string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var ring map[string]any
	if err := json.Unmarshal(text, &ring); err != nil {
		t.Fatal(err)
	}
	delete(ring, "keys")
	if text, err = json.Marshal(ring); err == nil {
		err = os.WriteFile(path, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

package seal

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestAnOlderCopyTakesNoKeyAway: whoever puts yesterday's file back does not make what was sealed since unreadable.
func TestAnOlderCopyTakesNoKeyAway(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keyring.json")
	r := load(t, path, nil)
	older, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := rotate(t, r); err != nil {
		t.Fatal(err)
	}
	newest, _ := os.ReadFile(path)
	sealed := mustSeal(t, r, "value", "p")
	if err := os.WriteFile(path, older, 0o600); err != nil {
		t.Fatal(err)
	}
	r.reread(t.Context(), true)
	wantUnsealed(t, r, sealed, "p", "value")
	if s := r.Status(); len(s.Keys) != 2 || !strings.Contains(s.Unread, "older copy") {
		t.Errorf("%+v", s)
	}
	if err := rotate(t, r); err == nil || !strings.Contains(err.Error(), "older copy") {
		t.Errorf("a key was added to an older copy: %v", err)
	}
	wantUnsealed(t, r, sealed, "p", "value")
	if err := os.WriteFile(path, newest, 0o600); err != nil {
		t.Fatal(err)
	}
	r.reread(t.Context(), true)
	if s := r.Status(); len(s.Keys) != 2 || s.Unread != "" {
		t.Errorf("%+v", s)
	}
	if err := rotate(t, r); err != nil {
		t.Error(err)
	}
	wantUnsealed(t, r, sealed, "p", "value")
}

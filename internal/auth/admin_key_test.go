package auth

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/fault"
)

func TestTheFirstAdminKeyIsMadeOnce(t *testing.T) {
	t.Parallel()
	store, ring, path := newMemory(), newRing(t), filepath.Join(t.TempDir(), "data", "admin.key")
	ensure := func(path string, want AdminKeyFile) {
		t.Helper()
		got, err := EnsureAdminKey(t.Context(), store, ring, path)
		if err != nil || got != want {
			t.Fatalf("got %d, %v, want %d", got, err, want)
		}
	}
	ensure(path, AdminKeyMade)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %04o, %v", info.Mode().Perm(), err)
	}
	key, ok := strings.CutSuffix(string(text), "\n")
	if !ok || !strings.HasPrefix(key, "psk_") || store.admin != Hash(ring.Hash(key)) {
		t.Errorf("the file holds %q, which is not what the store knows", text)
	}
	keys := NewKeys(store, ring, quiet, KeysOptions{})
	if err := keys.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := keys.CheckAdmin(key); err != nil {
		t.Errorf("the admin key: %v", err)
	}
	ensure(path, AdminKeyThere)
	other := filepath.Join(t.TempDir(), "admin.key")
	ensure(other, AdminKeyElsewhere)
	if _, err := os.Stat(other); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a later replica made a file: %v", err)
	}
	if err := os.WriteFile(other, []byte("psk_"+strings.Repeat("1", 44)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ensure(other, AdminKeyOther)
}

func TestAnAdminKeyFileWithoutAKeyIsRefused(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{"empty": "", "newline": "\n", "changeme": "changeme\n", "two keys": "psk_" + strings.Repeat("1", 44) + "\npsk_1"} {
		store, path := newMemory(), filepath.Join(t.TempDir(), "admin.key")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := EnsureAdminKey(t.Context(), store, newRing(t), path)
		var p fault.Problem
		if !errors.As(err, &p) || p.Path != path || store.admin != (Hash{}) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// A crash between the file and the store must leave neither a store whose key nobody has, nor a start that fails.
func TestACrashBetweenFileAndStoreIsMended(t *testing.T) {
	t.Parallel()
	store, ring, path := newMemory(), newRing(t), filepath.Join(t.TempDir(), "admin.key")
	crash := errors.New("crash")
	calls := 0
	store.breakWith(func(context.Context, string) error {
		if calls++; calls == 2 {
			return crash
		}
		return nil
	})
	if _, err := EnsureAdminKey(t.Context(), store, ring, path); !errors.Is(err, crash) {
		t.Fatalf("got %v", err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got, err := EnsureAdminKey(t.Context(), store, ring, path)
	if err != nil || got != AdminKeyMade {
		t.Fatalf("got %d, %v", got, err)
	}
	after, err := os.ReadFile(path)
	if err != nil || string(after) != string(before) {
		t.Errorf("the key changed from %q to %q, %v", before, after, err)
	}
}

func TestTheReplicaThatIsSlowerLeavesNoKeyBehind(t *testing.T) {
	t.Parallel()
	store, ring, path := newMemory(), newRing(t), filepath.Join(t.TempDir(), "admin.key")
	store.breakWith(func(_ context.Context, method string) error {
		if _, err := os.Stat(path); err == nil { // our file is written: now the other replica is there first
			store.mu.Lock()
			store.admin = Hash{1}
			store.mu.Unlock()
		}
		return nil
	})
	got, err := EnsureAdminKey(t.Context(), store, ring, path)
	if err != nil || got != AdminKeyElsewhere {
		t.Fatalf("got %d, %v", got, err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a key that opens nothing is left: %v", err)
	}
}

func TestTheWrongRingIsRefused(t *testing.T) {
	t.Parallel()
	store, first, second := newMemory(), newRing(t), newRing(t)
	for range 2 {
		if err := CheckRing(t.Context(), store, first, "a/keyring.json"); err != nil {
			t.Fatal(err)
		}
	}
	err := CheckRing(t.Context(), store, second, "b/keyring.json")
	want := "b/keyring.json: is key ring " + second.ID() + ", but the store belongs to key ring " + first.ID()
	if err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
}

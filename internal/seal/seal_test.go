package seal

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/penstock/penstock/internal/fault"
)

func TestOpenMakesARingOnceAndKeepsIt(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "fresh", "keyring.json")
	first, created, err := Open(path)
	if err != nil || !created {
		t.Fatalf("first Open: created %v, %v", created, err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %04o, want 0600", info.Mode().Perm())
	}
	second, created, err := Open(path)
	if err != nil || created {
		t.Fatalf("second Open: created %v, %v", created, err)
	}
	if first.ID() != second.ID() || !strings.HasPrefix(first.ID(), "ring_") || first.Hash("a") != second.Hash("a") {
		t.Errorf("the second ring differs from the first: %s, %s", first, second)
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 {
		t.Errorf("files besides the ring: %v, %v", left, err)
	}
	other, _, err := Open(filepath.Join(t.TempDir(), "keyring.json"))
	if err != nil {
		t.Fatal(err)
	}
	if other.ID() == first.ID() || other.Hash("a") == first.Hash("a") {
		t.Error("two installations have the same ring")
	}
}

func TestReplicasThatStartTogetherShareOneRing(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keyring.json")
	var wg sync.WaitGroup
	ids := make([]string, 8)
	made := make([]bool, len(ids))
	for i := range ids {
		wg.Go(func() {
			ring, created, err := Open(path)
			if err != nil {
				t.Error(err)
				return
			}
			ids[i], made[i] = ring.ID(), created
		})
	}
	wg.Wait()
	n := 0
	for i := range ids {
		if ids[i] != ids[0] {
			t.Errorf("replica %d has %s, replica 0 has %s", i, ids[i], ids[0])
		}
		if made[i] {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d replicas say that they made the ring, want 1", n)
	}
}

func TestHashIsHMACOfSHA256(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		pepper := rapid.SliceOfN(rapid.Byte(), pepperSize, sha256.BlockSize).Draw(t, "pepper")
		key := rapid.String().Draw(t, "key")
		sum := sha256.Sum256([]byte(key))
		mac := hmac.New(sha256.New, pepper)
		mac.Write(sum[:])
		ring := newRing("r", pepper)
		if got := ring.Hash(key); !bytes.Equal(got[:], mac.Sum(nil)) {
			t.Fatalf("got %x, want %x", got, mac.Sum(nil))
		}
		if ring.Hash(key) != ring.HashSHA256(sum) {
			t.Fatal("Hash and HashSHA256 differ")
		}
	})
}

func TestBadRingsAreRefused(t *testing.T) {
	t.Parallel()
	good := base64.StdEncoding.EncodeToString(func() []byte { b := make([]byte, 32); _, _ = rand.Read(b); return b }())
	ring := func(pepper string) string {
		return fmt.Sprintf(`{"id":"ring_1","pepper":%q,"created":"2026-11-24T00:00:00Z"}`, pepper)
	}
	repeat := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(strings.Repeat(s, 32))) }
	for _, tt := range []struct {
		name, text string
		mode       fs.FileMode
		want       string // "" if the ring is good
	}{
		{"good", ring(good), 0o600, ""},
		{"read only", ring(good), 0o400, ""},
		{"group readable, as mounted secrets are", ring(good), 0o640, ""},
		{"empty pepper", ring(""), 0o600, "pepper: has 0 bytes, needs 32"},
		{"short pepper", ring(base64.StdEncoding.EncodeToString([]byte("changeme"))), 0o600, "pepper: has 8 bytes, needs 32"},
		{"long pepper", ring(repeat("abc")), 0o600, "pepper: has 96 bytes, at most 64"},
		{"zero pepper", ring(repeat("\x00")), 0o600, "pepper: is not random"},
		{"default pepper", ring(repeat("x")), 0o600, "pepper: is not random"},
		{"pepper in hex with signs", ring("zz-zz"), 0o600, "pepper: is not base64"},
		{"no id", strings.Replace(ring(good), "ring_1", "", 1), 0o600, "id: is empty"},
		{"unknown member", strings.Replace(ring(good), `"id"`, `"data_keys":[],"id"`, 1), 0o600, "unknown member /data_keys"},
		{"repeated member", strings.Replace(ring(good), `"id"`, `"id":"x","id"`, 1), 0o600, "broken JSON at byte"},
		{"empty file", "", 0o600, "broken JSON"},
		{"not JSON", "hello", 0o600, "broken JSON"},
		{"world readable", ring(good), 0o644, "is open to others than its owner (mode 0644) (close it with: chmod 600 "},
		{"group writable", ring(good), 0o660, "mode 0660"},
		{"world writable", ring(good), 0o602, "mode 0602"},
		{"huge", strings.Repeat(" ", maxPrivate+1), 0o600, "limit 65536"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "keyring.json")
			if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, tt.mode); err != nil {
				t.Fatal(err)
			}
			_, created, err := Open(path)
			if created {
				t.Error("an existing ring was replaced")
			}
			if tt.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			var p fault.Problem
			if !errors.As(err, &p) || !strings.Contains(err.Error(), tt.want) || p.Path != path {
				t.Errorf("got %v, want a problem of %s with %q", err, path, tt.want)
			}
			if strings.Contains(err.Error(), good) {
				t.Error("the error shows the pepper")
			}
		})
	}
}

func TestADirectoryIsNotARing(t *testing.T) {
	t.Parallel()
	if _, _, err := Open(t.TempDir()); err == nil || !strings.Contains(err.Error(), "is not a file") {
		t.Errorf("got %v", err)
	}
}

func TestPrintingARingShowsNoPepper(t *testing.T) {
	t.Parallel()
	pepper := []byte("canary-canary-canary-canary-1234")
	r := newRing("ring_1", pepper)
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("ring", "ring", r)
	text := log.String() + fmt.Sprintf("%v %+v %#v %s %x %q %d", r, r, r, r, r, r, r)
	for _, form := range []string{string(pepper), hex.EncodeToString(pepper), "99 97 110"} {
		if strings.Contains(text, form) {
			t.Errorf("%q is in %q", form, text)
		}
	}
	if !strings.Contains(text, "ring_1") {
		t.Errorf("no id in %q", text)
	}
}

func TestCreatePrivateNeverReplaces(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a")
	if err := CreatePrivate(path, []byte("one")); err != nil {
		t.Fatal(err)
	}
	if err := CreatePrivate(path, []byte("two")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("got %v, want %v", err, fs.ErrExist)
	}
	if text, err := ReadPrivate(path); err != nil || string(text) != "one" {
		t.Errorf("got %q, %v", text, err)
	}
	if _, err := ReadPrivate(path + "b"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want %v", err, fs.ErrNotExist)
	}
}

func TestCreatePrivateSaysWhereItCannotWrite(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	err := CreatePrivate(filepath.Join(file, "x"), nil)
	var p fault.Problem
	if !errors.As(err, &p) || p.Path != file {
		t.Errorf("got %v", err)
	}
}

func BenchmarkHash(b *testing.B) {
	r := newRing("r", []byte("0123456789abcdef0123456789abcdef"))
	key := "psk_" + strings.Repeat("k", 44)
	b.ReportAllocs()
	for b.Loop() {
		r.Hash(key)
	}
}

package seal

import (
	"bytes"
	"context"
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
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/penstock/penstock/internal/fault"
)

// ring makes a ring in a file of its own.
func ring(t testing.TB) *Ring {
	t.Helper()
	r, _, err := Open(filepath.Join(t.TempDir(), "keyring.json"))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func again(t testing.TB, r *Ring) *Ring {
	t.Helper()
	other, created, err := Open(r.path)
	if err != nil || created {
		t.Fatalf("created %v, %v", created, err)
	}
	return other
}

// rotate adds a data key that seals at once.
func rotate(t testing.TB, r *Ring) error {
	t.Helper()
	_, err := r.Rotate(t.Context(), time.Time{}, func(context.Context, Key) error { return nil })
	return err
}

func mustSeal(t testing.TB, r *Ring, value, boundTo string) []byte {
	t.Helper()
	sealed, err := r.Seal(nil, []byte(value), []byte(boundTo))
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

func wantUnsealed(t testing.TB, r *Ring, sealed []byte, boundTo, want string) {
	t.Helper()
	if got, err := r.Unseal(nil, sealed, []byte(boundTo)); err != nil || string(got) != want {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
}

func TestWhatIsSealedOpensWithTheSameBindingOnly(t *testing.T) {
	t.Parallel()
	r := ring(t)
	other := again(t, r) // another replica
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "value")
		parts := rapid.SliceOfN(rapid.String(), 1, 4).Draw(t, "parts")
		prefix := rapid.SliceOfN(rapid.Byte(), 0, 8).Draw(t, "prefix")
		sealed, err := r.Seal(bytes.Clone(prefix), value, Bind(nil, parts...))
		if err != nil {
			t.Fatal(err)
		}
		sealed, ok := bytes.CutPrefix(sealed, prefix)
		if !ok || len(sealed) != len(value)+Overhead {
			t.Fatalf("%d bytes became %d", len(value), len(sealed))
		}
		if got, err := other.Unseal(nil, sealed, Bind(nil, parts...)); err != nil || !bytes.Equal(got, value) {
			t.Fatalf("got %q, %v", got, err)
		}
		bad := bytes.Clone(sealed)
		bad[rapid.IntRange(0, len(bad)-1).Draw(t, "at")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		if got, err := other.Unseal(nil, bad, Bind(nil, parts...)); err == nil {
			t.Fatalf("a changed value opened as %q", got)
		}
		elsewhere := rapid.SliceOfN(rapid.String(), 1, 4).Draw(t, "elsewhere")
		if !bytes.Equal(Bind(nil, elsewhere...), Bind(nil, parts...)) {
			if _, err := other.Unseal(nil, sealed, Bind(nil, elsewhere...)); !errors.Is(err, ErrForeign) {
				t.Fatalf("got %v, want %v", err, ErrForeign)
			}
		}
	})
}

func TestBindTellsListsApart(t *testing.T) {
	t.Parallel()
	seen := map[string][]string{}
	for _, parts := range [][]string{{}, {""}, {"", ""}, {"ab"}, {"a", "b"}, {"ab", ""}, {"", "ab"}, {"a", "", "b"}} {
		b := string(Bind(nil, parts...))
		if other, ok := seen[b]; ok {
			t.Errorf("%q and %q are the same bytes", parts, other)
		}
		seen[b] = parts
	}
}

func TestEqualValuesAreSealedDifferently(t *testing.T) {
	t.Parallel()
	r := ring(t)
	a, b := mustSeal(t, r, "the same", "p"), mustSeal(t, r, "the same", "p")
	if bytes.Equal(a, b) || bytes.Equal(a[headSize:], b[headSize:]) {
		t.Error("two values have one nonce")
	}
	c := mustSeal(t, again(t, r), "the same", "p")
	if head(a[:headSize]) == head(c[:headSize]) {
		t.Error("two processes encrypt under one key")
	}
}

func TestADerivedKeyIsUsedForABoundedNumberOfValues(t *testing.T) {
	t.Parallel()
	r := ring(t)
	first := mustSeal(t, r, "a", "p")
	r.sealing.Load().left.Store(1)
	last := mustSeal(t, r, "b", "p")
	next := mustSeal(t, r, "c", "p")
	if head(first[:headSize]) != head(last[:headSize]) || head(last[:headSize]) == head(next[:headSize]) {
		t.Errorf("heads: %x, %x, %x", first[:headSize], last[:headSize], next[:headSize])
	}
	if KeyID(first) != KeyID(next) || KeyID(first) != r.Keys()[0].ID {
		t.Errorf("key ids %s, %s", KeyID(first), KeyID(next))
	}
	wantUnsealed(t, r, first, "p", "a")
	wantUnsealed(t, r, next, "p", "c")
}

func TestUnsealSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	r := ring(t)
	sealed := mustSeal(t, r, "value", "p")
	newer := bytes.Clone(sealed)
	newer[0] = 2
	for _, tt := range []struct {
		name string
		b    []byte
		want error
	}{
		{"empty", nil, ErrForeign},
		{"short", sealed[:Overhead-1], ErrForeign},
		{"cut", sealed[:len(sealed)-1], ErrForeign},
		{"newer", newer, ErrNewer},
	} {
		if _, err := r.Unseal(nil, tt.b, []byte("p")); !errors.Is(err, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, err, tt.want)
		}
	}
	_, err := ring(t).Unseal(nil, sealed, []byte("p"))
	var missing *MissingKeyError
	if !errors.As(err, &missing) || missing.KeyID != KeyID(sealed) {
		t.Errorf("got %v", err)
	}
}

func TestRotationSealsWithTheNewKeyAndOpensWithTheOld(t *testing.T) {
	t.Parallel()
	r := ring(t)
	replica := again(t, r)
	old := mustSeal(t, r, "old", "p")
	if err := rotate(t, r); err != nil {
		t.Fatal(err)
	}
	fresh := mustSeal(t, r, "new", "p")
	if KeyID(old) == KeyID(fresh) {
		t.Error("the old key seals on")
	}
	// The replica has not looked at the file since.
	wantUnsealed(t, replica, fresh, "p", "new")
	wantUnsealed(t, replica, old, "p", "old")
	if got := KeyID(mustSeal(t, replica, "x", "p")); got != KeyID(fresh) {
		t.Errorf("the replica seals with %s, want %s", got, KeyID(fresh))
	}
	keys := r.Keys()
	if len(keys) != 2 || keys[0].Current || !keys[1].Current || keys[1].ID != KeyID(fresh) {
		t.Errorf("keys %+v", keys)
	}
	if r.ID() != replica.ID() || r.Hash("a") != replica.Hash("a") {
		t.Error("the rotation changed id or pepper")
	}
}

func TestRunTakesOverARotation(t *testing.T) {
	t.Parallel()
	r := ring(t)
	replica := again(t, r)
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- replica.Run(ctx) }()
		if err := rotate(t, r); err != nil {
			t.Fatal(err)
		}
		time.Sleep(every + time.Millisecond)
		if got, want := replica.current(), r.current(); got != want {
			t.Errorf("seals with %s, want %s", got, want)
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestAFileThatBecomesAnotherRingChangesNothing(t *testing.T) {
	t.Parallel()
	r, other := ring(t), ring(t)
	sealed := mustSeal(t, r, "value", "p")
	foreign, err := os.ReadFile(other.path)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	r.o.Log = slog.New(slog.NewTextHandler(&log, nil))
	for _, text := range []string{"", "{}", string(foreign)} {
		if err := os.WriteFile(r.path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		r.reread(t.Context(), true)
		r.reread(t.Context(), true)
		wantUnsealed(t, r, sealed, "p", "value")
		mustSeal(t, r, "value", "p")
	}
	if n := strings.Count(log.String(), "cannot be read again"); n != 3 {
		t.Errorf("told %d times, want once for each of 3:\n%s", n, &log)
	}
	if err := rotate(t, r); err == nil || !strings.Contains(err.Error(), "has become another key ring") {
		t.Errorf("rotated somebody else's ring: %v", err)
	}
}

// oldRing writes a ring as the first version made it.
func oldRing(t *testing.T, mode fs.FileMode) string {
	t.Helper()
	pepper := base64.StdEncoding.EncodeToString([]byte("0123456789abcdefghijklmnopqrstuv"))
	path := filepath.Join(t.TempDir(), "keyring.json")
	text := fmt.Sprintf(`{"id":"ring_1","pepper":%q,"created":"2026-11-24T00:00:00Z"}`, pepper)
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAnOldRingHashesAndGetsOneDataKeyFromSeveralReplicas(t *testing.T) {
	t.Parallel()
	path := oldRing(t, 0o640)
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	rings := make([]*Ring, 8)
	for i := range rings {
		r, created, err := Open(path)
		if err != nil || created || r.ID() != "ring_1" {
			t.Fatal(created, err)
		}
		if _, err := r.Seal(nil, nil, nil); !errors.Is(err, ErrNoDataKey) {
			t.Fatalf("got %v, want %v", err, ErrNoDataKey)
		}
		rings[i] = r
	}
	hash := rings[0].Hash("a")
	var wg sync.WaitGroup
	for _, r := range rings {
		wg.Go(func() {
			if err := r.EnsureKey(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, r := range rings {
		if len(r.Keys()) != 1 || r.current() != rings[0].current() {
			t.Errorf("keys %+v", r.Keys())
		}
		wantUnsealed(t, r, mustSeal(t, rings[0], "value", "p"), "p", "value")
	}
	if again(t, rings[0]).Hash("a") != hash {
		t.Error("the upgrade changed the pepper")
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 1 {
		t.Errorf("files besides the ring: %v, %v", left, err)
	}
}

func TestARingThatCannotBeWrittenStillHashes(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("LEFT OUT: root may write everything")
	}
	path := oldRing(t, 0o400)
	r, _, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	var p fault.Problem
	if err := r.EnsureKey(t.Context()); !errors.As(err, &p) || p.Path != path || !strings.Contains(p.Text, "cannot be written") {
		t.Errorf("got %v", err)
	}
	r.Hash("a")
}

func TestBadDataKeysAreRefused(t *testing.T) {
	t.Parallel()
	secret := []byte("canary-canary-canary-canary-1234")
	good := base64.StdEncoding.EncodeToString(secret)
	for _, tt := range []struct{ name, keys, want string }{
		{"good", `{"id":"0011223344556677","created":"2026-11-24T00:00:00Z","key":"` + good + `"}`, ""},
		{"no id", `{"key":"` + good + `"}`, "keys[0].id: is not 16 hexadecimal digits"},
		{"short id", `{"id":"00","key":"` + good + `"}`, "keys[0].id"},
		{"no key", `{"id":"0011223344556677"}`, "keys[0].key: a ring that is not wrapped has it"},
		{"both", `{"id":"0011223344556677","key":"` + good + `","sealed":"AAAA"}`, "and nothing sealed"},
		{"no base64", `{"id":"0011223344556677","key":"%"}`, "keys[0].key: is not base64"},
		{"short", `{"id":"0011223344556677","key":"AAAA"}`, "keys[0].key: has 3 bytes, needs 32"},
		{"zero", `{"id":"0011223344556677","key":"` + base64.StdEncoding.EncodeToString(make([]byte, 32)) + `"}`, "keys[0].key: is not random"},
		{"twice", `{"id":"0011223344556677","key":"` + good + `"},{"id":"0011223344556677","key":"` + good + `"}`, "keys[1].id: is there twice"},
		{"sealed in clear", `{"id":"0011223344556677","sealed":"AAAA"}`, "keys[0].key: a ring that is not wrapped has it"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := oldRing(t, 0o600)
			text, _ := os.ReadFile(path)
			text = []byte(strings.Replace(string(text), `{"id"`, `{"keys":[`+tt.keys+`],"id"`, 1))
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
			_, _, err := Open(path)
			if tt.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			var p fault.Problem
			if !errors.As(err, &p) || p.Path != path || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if strings.Contains(fmt.Sprint(err), good) {
				t.Error("the error shows the key")
			}
		})
	}
}

func TestNothingPrintsADataKey(t *testing.T) {
	t.Parallel()
	r := ring(t)
	secret := r.keys.Load().current().secret
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("ring", "ring", r, "keys", r.Keys())
	text := log.String() + fmt.Sprintf("%v %+v %#v %s %v", r, r, r, r, r.Keys())
	for _, form := range []string{string(secret[:]), hex.EncodeToString(secret[:]), base64.StdEncoding.EncodeToString(secret[:])} {
		if strings.Contains(text, form) {
			t.Errorf("a data key is in %q", text)
		}
	}
}

func FuzzUnseal(f *testing.F) {
	r := ring(f)
	f.Add([]byte(nil))
	f.Add(mustSeal(f, r, "value", "other"))
	f.Add(bytes.Repeat([]byte{1}, Overhead))
	f.Fuzz(func(t *testing.T, b []byte) {
		if out, err := r.Unseal(nil, b, []byte("p")); err == nil {
			t.Errorf("%x opened as %x", b, out)
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	for _, size := range []int{1 << 10, 16 << 10} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			r, value, bound := ring(b), make([]byte, size), []byte("bound")
			buf := make([]byte, 0, size+Overhead)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := r.Seal(buf, value, bound); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

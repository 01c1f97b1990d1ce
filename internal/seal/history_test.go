package seal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestAnyHistoryKeepsEveryValue: whatever is rotated and rewrapped in whatever order by whichever of two replicas, and
// wherever one of it breaks off, every value that was ever sealed opens, in a process that runs and in one that starts.
func TestAnyHistoryKeepsEveryValue(t *testing.T) {
	t.Parallel()
	first, second := kek(t), kek(t)
	rapid.Check(t, func(rt *rapid.T) {
		var err error
		path := filepath.Join(t.TempDir(), "keyring.json")
		both := &either{a: first, b: second}
		var replicas [2]*Ring
		for i := range replicas {
			if replicas[i], _, err = Load(t.Context(), path, Options{Wrapper: both}); err != nil {
				rt.Fatal(err)
			}
		}
		var values [][]byte
		for range rapid.IntRange(1, 12).Draw(rt, "steps") {
			r := replicas[rapid.IntRange(0, 1).Draw(rt, "replica")]
			breaks := rapid.IntRange(0, 4).Draw(rt, "breaks") // at which step it breaks off, if it has so many
			commit := func(context.Context, Key) error {
				if breaks > 0 {
					return errors.New("broken off")
				}
				return nil
			}
			if rapid.Bool().Draw(rt, "torn") { // what a killed process leaves: part of a text that never came into force
				text, _ := os.ReadFile(path)
				if err := os.WriteFile(path+".new1", text[:rapid.IntRange(0, len(text)).Draw(rt, "written")], 0o600); err != nil {
					rt.Fatal(err)
				}
			}
			switch rapid.SampledFrom([]string{"seal", "rotate", "rewrap", "add", "restart", "look"}).Draw(rt, "step") {
			case "seal":
				sealed, err := r.Seal(nil, fmt.Appendf(nil, "value %d", len(values)), []byte("p"))
				if err != nil {
					rt.Fatal(err)
				}
				values = append(values, sealed)
			case "rotate":
				if _, err := r.Rotate(t.Context(), time.Time{}, commit); (err == nil) != (breaks == 0) {
					rt.Fatal(err)
				}
			case "rewrap":
				to := rapid.SampledFrom([]Wrapper{nil, first, second}).Draw(rt, "to")
				if to != nil {
					to = &breaking{Wrapper: to, at: breaks}
				}
				_, _ = Rewrap(t.Context(), path, Rewrapping{From: both, To: to})
			case "add":
				to := rapid.SampledFrom([]Wrapper{first, second}).Draw(rt, "to")
				_, _ = Rewrap(t.Context(), path, Rewrapping{From: both, To: &breaking{Wrapper: to, at: breaks}, Add: true})
			case "restart":
				i := rapid.IntRange(0, 1).Draw(rt, "which")
				if replicas[i], _, err = Load(t.Context(), path, Options{Wrapper: both}); err != nil {
					rt.Fatal(err)
				}
			case "look":
				r.reread(t.Context(), true)
			}
			fresh, created, err := Load(t.Context(), path, Options{Wrapper: both})
			if err != nil || created {
				rt.Fatalf("created %v: %v", created, err)
			}
			for _, ring := range []*Ring{replicas[0], replicas[1], fresh} {
				for i, sealed := range values {
					got, err := ring.Unseal(nil, sealed, []byte("p"))
					if _, missing := errors.AsType[*MissingKeyError](err); missing { // the ring was rewrapped: Run asks for its new key
						ring.reread(t.Context(), true)
						got, err = ring.Unseal(nil, sealed, []byte("p"))
					}
					if err != nil || string(got) != fmt.Sprintf("value %d", i) {
						rt.Fatalf("value %d: %q, %v", i, got, err)
					}
				}
			}
		}
	})
}

// A breaking is a wrapper that fails at its nth call, if n is not 0.
type breaking struct {
	Wrapper
	at, calls int
}

func (b *breaking) count() error {
	if b.calls++; b.calls == b.at {
		return errors.New("broken off")
	}
	return nil
}

func (b *breaking) Wrap(ctx context.Context, ring string, key []byte) ([]byte, error) {
	if err := b.count(); err != nil {
		return nil, err
	}
	return b.Wrapper.Wrap(ctx, ring, key)
}

func (b *breaking) Unwrap(ctx context.Context, ring string, wrapped []byte) ([]byte, error) {
	if err := b.count(); err != nil {
		return nil, err
	}
	return b.Wrapper.Unwrap(ctx, ring, wrapped)
}

// An either unwraps by one of two, as a process does that is told of both.
type either struct{ a, b Wrapper }

func (e *either) String() string { return e.a.String() }

func (e *either) Wrap(ctx context.Context, ring string, key []byte) ([]byte, error) {
	return e.a.Wrap(ctx, ring, key)
}

func (e *either) Unwrap(ctx context.Context, ring string, wrapped []byte) ([]byte, error) {
	if key, err := e.a.Unwrap(ctx, ring, wrapped); err == nil {
		return key, nil
	}
	return e.b.Unwrap(ctx, ring, wrapped)
}

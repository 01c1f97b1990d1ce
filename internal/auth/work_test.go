package auth

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// A write that waits, as behind another process's lock, is no reason to refuse keys: reads go on beside it.
func TestASlowWriteOfUsesHoldsUpNothing(t *testing.T) {
	t.Parallel()
	for name, wait := range map[string]func(context.Context) error{
		"minds its context": func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
		"minds nothing":     func(context.Context) error { time.Sleep(30 * time.Second); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := setup(t)
				_, key := f.issueKey(t, KeySpec{})
				f.store.breakWith(func(ctx context.Context, method string) error {
					if method == "TouchKeys" {
						return wait(ctx)
					}
					return nil
				})
				defer run(t, f.keys)()
				started := time.Now()
				for range 40 {
					if _, err := f.keys.Check(key); err != nil {
						t.Fatalf("%v after the start: %v", time.Since(started), err)
					}
					began := time.Now()
					if err := f.keys.Refresh(t.Context()); err != nil || time.Since(began) > 0 {
						t.Fatalf("Refresh took %v: %v", time.Since(began), err)
					}
					_, fresh := f.issueKey(t, KeySpec{}) // which tells Keys of the change
					if _, err := f.keys.Check(fresh); err != nil || time.Since(began) > 0 {
						t.Fatalf("a new key works after %v: %v", time.Since(began), err)
					}
					time.Sleep(time.Second)
				}
			})
		})
	}
}

// A store that never takes the last write does not keep the process from stopping.
func TestStoppingWaitsForTheLastWriteNoLongerThanAWriteMayTake(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := setup(t)
		_, key := f.issueKey(t, KeySpec{})
		f.store.breakWith(func(ctx context.Context, method string) error {
			if method == "TouchKeys" {
				<-ctx.Done()
			}
			return ctx.Err()
		})
		stop := run(t, f.keys)
		if _, err := f.keys.Check(key); err != nil {
			t.Fatal(err)
		}
		time.Sleep(11 * time.Second) // in the midst of a write
		began := time.Now()
		stop()
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("stopped after %v, want 2s", took)
		}
	})
}

// Uses that are noted while a write is under way are not taken for written by it.
func TestUsesDuringAWriteAreWrittenByTheNext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := setup(t)
		k, key := f.issueKey(t, KeySpec{})
		f.store.breakWith(func(_ context.Context, method string) error {
			if method == "TouchKeys" {
				time.Sleep(1500 * time.Millisecond)
			}
			return nil
		})
		stop := run(t, f.keys)
		use := func() {
			if _, err := f.keys.Check(key); err != nil {
				t.Fatal(err)
			}
		}
		use()
		time.Sleep(11 * time.Second) // in the midst of the write of that use
		at := time.Now()
		use()
		time.Sleep(11 * time.Second)
		stop()
		if got, err := f.store.FindKey(t.Context(), k.ID); err != nil || !got.LastUsed.Equal(at) {
			t.Errorf("last used %v, want %v: %v", got.LastUsed, at, err)
		}
	})
}

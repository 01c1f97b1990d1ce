package journal

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A retry goes on with longer pauses until it succeeds, tells of trouble once and of its end once, and asks a store again
// that hangs.
func TestRetry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		paused := 0
		r := Retry{Log: slog.New(slog.NewTextHandler(&log, nil)), Waiting: "all waits", Again: "all goes on", Paused: func() { paused++ }}
		begin := time.Now()
		var at []time.Duration
		err := r.Do(t.Context(), "write", func(ctx context.Context) error {
			at = append(at, time.Since(begin))
			switch len(at) {
			case 3:
				<-ctx.Done() // hangs
				return ctx.Err()
			case 10:
				return nil
			}
			return errors.New("away")
		})
		ms := time.Millisecond
		want := []time.Duration{0, 100 * ms, 300 * ms, Attempt + 700*ms, Attempt + 1500*ms, Attempt + 3100*ms, Attempt + 6300*ms,
			Attempt + 11300*ms, Attempt + 16300*ms, Attempt + 21300*ms}
		if err != nil || !slices.Equal(at, want) || paused != 9 {
			t.Errorf("%v: tried at %v, want %v; %d pauses", err, at, want, paused)
		}
		if told := log.String(); strings.Count(told, "all waits") != 1 || strings.Count(told, "all goes on") != 1 {
			t.Error(told)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := r.Do(ctx, "write", func(context.Context) error { return errors.New("away") }); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("its end: %v", err)
		}
	})
}

func TestOutlive(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		out, stop := Outlive(ctx, 10*time.Second)
		defer stop()
		time.Sleep(time.Hour)
		cancel()
		time.Sleep(9 * time.Second)
		if out.Err() != nil {
			t.Error("ended with what it should outlive")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if out.Err() == nil {
			t.Error("goes on")
		}
	})
}

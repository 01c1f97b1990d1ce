package usage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/journal"
)

// pass lets time pass in a bubble, until everything that follows from it has happened.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// exchange sends whole exchanges.
func exchange(tb testing.TB, b bench, ids ...string) {
	tb.Helper()
	handler := b.Stage()(answering(b.Recorder, nil, stream()...))
	for _, id := range ids {
		resp, err := handler(context.Background(), newExchange(id))
		if err != nil {
			tb.Fatal(err)
		}
		if _, err := walk(resp, 0); err != nil {
			tb.Fatal(err)
		}
	}
}

func numbered(n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("ex_%05d", i)
	}
	return ids
}

func wantIDs(tb testing.TB, store *fakeStore, ids ...string) {
	tb.Helper()
	if diff := cmp.Diff(ids, store.ids()); diff != "" {
		tb.Errorf("records in the store (-want +got):\n%s", diff)
	}
}

func TestRecordsComeInBatches(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, store := newBench(t, journal.Options{}, Options{}), newStore()
		run(t, b.writer(t, store))
		synctest.Wait()
		exchange(t, b, "ex_1", "ex_2")
		pass(linger - time.Millisecond)
		exchange(t, b, "ex_3")
		synctest.Wait()
		if sizes := store.batchSizes(); len(sizes) > 0 {
			t.Errorf("batches %v before the time was over", sizes)
		}
		pass(2 * time.Millisecond)
		exchange(t, b, numbered(2*maxBatch+1)...)
		pass(2 * linger)
		if diff := cmp.Diff([]int{3, maxBatch, maxBatch, 1}, store.batchSizes()); diff != "" {
			t.Errorf("batches (-want +got):\n%s", diff)
		}
		if got, want := store.upTo[b.journal.ID()], b.journal.End(); got != want {
			t.Errorf("the store has the journal up to %d of %d", got, want)
		}
	})
}

func TestAFailingStoreIsAskedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		b, store := newBench(t, journal.Options{}, Options{Log: slog.New(slog.NewTextHandler(&log, nil))}), newStore()
		var asked []time.Duration
		start := time.Now()
		store.before = func(context.Context, []*Record) error {
			asked = append(asked, time.Since(start).Round(10*time.Millisecond))
			if len(asked) < 10 {
				return errors.New("no connection")
			}
			return nil
		}
		w := b.writer(t, store)
		run(t, w)
		exchange(t, b, "ex_1")
		pass(time.Second)
		if lag := w.Lag(); lag < 900*time.Millisecond || lag > time.Second {
			t.Errorf("the lag is %s", lag)
		}
		if b.value(t, "penstock_journal_lag_bytes") < 100 || b.value(t, "penstock_journal_lag_seconds") < 0.9 {
			t.Error("the metrics show no lag")
		}
		pass(time.Minute)
		wantIDs(t, store, "ex_1")
		var pauses []time.Duration
		for i := range asked[1:] {
			pauses = append(pauses, asked[i+1]-asked[i])
		}
		ms := time.Millisecond
		if diff := cmp.Diff([]time.Duration{100 * ms, 200 * ms, 400 * ms, 800 * ms, 1600 * ms, 3200 * ms, 5 * time.Second, 5 * time.Second,
			5 * time.Second}, pauses); diff != "" {
			t.Errorf("pauses (-want +got):\n%s", diff)
		}
		if strings.Count(log.String(), "records wait in the journal") != 1 || strings.Count(log.String(), "records are written again") != 1 {
			t.Errorf("not told once each:\n%s", log.String())
		}
		if w.Lag() != 0 || w.LagBytes() != 0 {
			t.Errorf("the lag is %s, %d bytes", w.Lag(), w.LagBytes())
		}
	})
}

func TestAHangingStoreIsGivenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, store := newBench(t, journal.Options{}, Options{}), newStore()
		var calls atomic.Int32
		store.before = func(ctx context.Context, _ []*Record) error {
			if calls.Add(1) == 1 {
				<-ctx.Done()
			}
			return ctx.Err()
		}
		run(t, b.writer(t, store))
		exchange(t, b, "ex_1")
		pass(journal.Attempt + time.Second)
		wantIDs(t, store, "ex_1")
	})
}

func TestSync(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, store := newBench(t, journal.Options{}, Options{}), newStore()
		w := b.writer(t, store)
		run(t, w)
		exchange(t, b, "ex_1")
		synctest.Wait()
		start := time.Now()
		if err := w.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(start); waited != 0 {
			t.Errorf("waited %s for a batch to fill", waited)
		}
		wantIDs(t, store, "ex_1")
		if _, err := send(t.Context(), b.Recorder, newExchange("ex_2"), "openai/m"); err != nil { // an open one is nothing to wait for
			t.Fatal(err)
		}
		if err := w.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		store.before = func(context.Context, []*Record) error { return errors.New("away") }
		exchange(t, b, "ex_3")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := w.Sync(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("with the store away: %v", err)
		}
	})
}

func TestStoppingDrains(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, store := newBench(t, journal.Options{}, Options{}), newStore()
		store.before = func(context.Context, []*Record) error { time.Sleep(time.Second); return nil }
		stop := run(t, b.writer(t, store))
		ids := numbered(3 * maxBatch)
		exchange(t, b, ids...)
		start := time.Now()
		stop()
		wantIDs(t, store, ids...)
		if took := time.Since(start); took < 3*time.Second || took > 4*time.Second {
			t.Errorf("stopping took %s", took)
		}
	})
}

func TestStoppingIsBounded(t *testing.T) {
	t.Parallel()
	for _, hangs := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			b, store := newBench(t, journal.Options{}, Options{}), newStore()
			store.before = func(ctx context.Context, _ []*Record) error {
				if hangs {
					<-ctx.Done()
				}
				return errors.New("away")
			}
			stop := run(t, b.writer(t, store))
			exchange(t, b, "ex_1")
			start := time.Now()
			stop()
			if took := time.Since(start); took != drainTime {
				t.Errorf("stopping took %s", took)
			}
		})
	}
}

func TestAClosedJournalEndsTheWriter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, store := newBench(t, journal.Options{}, Options{}), newStore()
		done := make(chan error, 1)
		w := b.writer(t, store)
		go func() { done <- w.Run(t.Context()) }()
		exchange(t, b, "ex_1")
		if err := b.journal.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		wantIDs(t, store, "ex_1")
	})
}

func TestTheJournalIsTrimmed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, store := newBench(t, journal.Options{SegmentBytes: 4 << 10}, Options{}), newStore()
		w := b.writer(t, store)
		w.carry = 16 << 10
		run(t, w)
		exchange(t, b, numbered(1000)...)
		pass(time.Second)
		held := func() int64 { return b.journal.MaxBytes() - b.journal.Room() }
		if held() > 8<<10 {
			t.Errorf("%d bytes are held of what the store has", held())
		}
		// An exchange that stays open holds the journal back, but not for ever.
		x := newExchange("ex_long")
		if _, err := send(t.Context(), b.Recorder, x, "openai/m"); err != nil {
			t.Fatal(err)
		}
		for i := range 20 {
			exchange(t, b, fmt.Sprintf("ex_more_%d", i))
			exchange(t, b, numbered(50)...)
			pass(time.Second)
		}
		if held() > 32<<10 {
			t.Errorf("%d bytes are held", held())
		}
		kinds, records := b.entries(t)
		i := slices.Index(kinds, kindCarried)
		if i < 0 || records[i].ID != "ex_long" || records[i].Project != "prj_1" || len(records[i].Tries) != 1 {
			t.Errorf("the open exchange is not in the journal any more: %v", kinds)
		}
	})
}

func TestLateRecordsFollow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, store := newBench(t, journal.Options{MaxBytes: 64 << 10, SegmentBytes: 4 << 10}, Options{}), newStore()
		resp, err := b.Stage()(answering(b.Recorder, nil, stream()...))(t.Context(), newExchange("ex_1"))
		if err != nil {
			t.Fatal(err)
		}
		run(t, b.writer(t, store))
		pass(time.Second)
		failingJournal(t, b)
		if _, err := walk(resp, 0); err == nil {
			t.Fatal("the end was acknowledged without a record")
		}
		pass(2 * idle)
		wantIDs(t, store, "ex_1")
		if b.journal.Room() < b.journal.MaxBytes()*3/4 {
			t.Error("the journal stays full: the exchange counts as open")
		}
	})
}

func TestDamageIsTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		j, err := journal.Open(dir, journal.Options{})
		if err != nil {
			t.Fatal(err)
		}
		exchange(t, newBenchOver(t, j, Options{}), "ex_1", "ex_2")
		files, err := filepath.Glob(filepath.Join(dir, "*.journal"))
		if err != nil || len(files) != 1 {
			t.Fatal(files, err)
		}
		content, err := os.ReadFile(files[0])
		if err != nil {
			t.Fatal(err)
		}
		content[20] ^= 1 // in the first intent
		if err := os.WriteFile(files[0], content, 0o600); err != nil {
			t.Fatal(err)
		}
		b, store := reopen(t, dir, j, journal.Options{}), newStore()
		if _, err := b.journal.Append(kindRecord, []byte("\x01garbled")); err != nil {
			t.Fatal(err)
		}
		exchange(t, b, "ex_3")
		run(t, b.writer(t, store))
		pass(time.Second)
		wantIDs(t, store, "ex_1", "ex_2", "ex_3")
		if n := b.value(t, "penstock_journal_damage_total"); n != 2 {
			t.Errorf("damage was counted %v times, want 2", n)
		}
	})
}

func TestANewerJournalStopsTheWriter(t *testing.T) {
	t.Parallel()
	b, store := newBench(t, journal.Options{}, Options{}), newStore()
	payload := appendRecord(nil, fullRecord())
	payload[0] = entryVersion + 1
	if _, err := b.journal.Append(kindRecord, payload); err != nil {
		t.Fatal(err)
	}
	if err := b.writer(t, store).Run(t.Context()); !errors.Is(err, errNewer) {
		t.Errorf("got %v, want %v", err, errNewer)
	}
}

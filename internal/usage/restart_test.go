package usage

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

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
)

// reopen closes the journal as a dead process would leave it, and opens it for another recorder.
func reopen(tb testing.TB, dir string, j *journal.Journal, o journal.Options) bench {
	tb.Helper()
	if err := j.Close(); err != nil {
		tb.Fatal(err)
	}
	next, err := journal.Open(dir, o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = next.Close() })
	return newBenchOver(tb, next, Options{})
}

// TestAfterARestart: what was journalled and not stored is stored, once; what had begun and not ended is unknown.
func TestAfterARestart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		j, err := journal.Open(dir, journal.Options{})
		if err != nil {
			t.Fatal(err)
		}
		b, store := newBenchOver(t, j, Options{}), newStore()
		openAtFirst := newExchange("ex_open")
		if _, err := send(t.Context(), b.Recorder, openAtFirst, "openai/m"); err != nil {
			t.Fatal(err)
		}
		stop := run(t, b.writer(t, store))
		exchange(t, b, "ex_1", "ex_2")
		pass(time.Second)
		stop()
		wantIDs(t, store, "ex_1", "ex_2")

		exchange(t, b, "ex_3")
		fallenBack := newExchange("ex_fallback")
		try, err := send(t.Context(), b.Recorder, fallenBack, "claude/m")
		if err != nil {
			t.Fatal(err)
		}
		try.Reason, try.Status, try.Outcome, try.TookNS = "status", 500, pipeline.Released, 7
		if err := b.Outcome(fallenBack, try); err != nil {
			t.Fatal(err)
		}
		if _, err := send(t.Context(), b.Recorder, fallenBack, "openai/m"); err != nil {
			t.Fatal(err)
		}

		b = reopen(t, dir, j, journal.Options{})
		exchange(t, b, "ex_4")
		if _, err := send(t.Context(), b.Recorder, newExchange("ex_alive"), "openai/m"); err != nil {
			t.Fatal(err)
		}
		run(t, b.writer(t, store))
		pass(time.Second)
		wantIDs(t, store, "ex_1", "ex_2", "ex_3", "ex_4", "ex_fallback", "ex_open")
		if store.rejected > 0 {
			t.Errorf("%d records were written twice", store.rejected)
		}
		got := store.records["ex_fallback"]
		want := &Record{
			ID: "ex_fallback", Time: fallenBack.Received.UTC().Truncate(time.Microsecond), Org: "default", Project: "prj_1", Key: "key_1",
			User: "user-1", Model: "support", Op: llm.OpChat, Dialect: llm.OpenAI, Stream: true, Tags: []string{"blue"}, ClientID: "client-1",
			Error: &Error{Code: string(fault.OutcomeUnknown), Message: got.Error.Message}, Replayed: true,
			Tries: []pipeline.Try{
				{ID: "ex_fallback-1", Target: "claude/m", StartNS: fallenBack.Tries[0].StartNS, TookNS: 7, Status: 500, Reason: "status", Outcome: pipeline.Released},
				{ID: "ex_fallback-2", Target: "openai/m", StartNS: fallenBack.Tries[1].StartNS, Reason: reasonStopped, Outcome: pipeline.Unknown},
			},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if _, ok := fault.Lookup(fault.OutcomeUnknown); !ok {
			t.Error("the code is not in the registry")
		}
	})
}

// TestOrphansAreSettledOnce: a further restart finds their records in the journal beside their intents.
func TestOrphansAreSettledOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		j, err := journal.Open(dir, journal.Options{})
		if err != nil {
			t.Fatal(err)
		}
		b, store := newBenchOver(t, j, Options{}), newStore()
		for _, id := range []string{"ex_1", "ex_2"} {
			if _, err := send(t.Context(), b.Recorder, newExchange(id), "openai/m"); err != nil {
				t.Fatal(err)
			}
		}
		pass(time.Hour)
		for _, want := range []struct{ told, written float64 }{{1, 2}, {0, 0}, {0, 0}} {
			b = reopen(t, dir, b.journal, journal.Options{})
			var log bytes.Buffer
			b.o.Log = slog.New(slog.NewTextHandler(&log, nil))
			w := b.writer(t, store)
			store.before = func(context.Context, []*Record) error {
				if lag := w.Lag(); lag > time.Minute {
					t.Errorf("the lag is %s, since the exchanges began", lag)
				}
				return nil
			}
			stop := run(t, w)
			pass(time.Second)
			stop()
			wantIDs(t, store, "ex_1", "ex_2")
			if n := strings.Count(log.String(), "settled exchanges"); float64(n) != want.told || n > 0 && !strings.Contains(log.String(), "records=2") {
				t.Errorf("told %d times, want %v:\n%s", n, want.told, log.String())
			}
			if n := b.value(t, "penstock_records_written_total"); n != want.written {
				t.Errorf("%v records were written, want %v", n, want.written)
			}
		}
		if store.rejected > 0 {
			t.Errorf("%d records were written twice", store.rejected)
		}
	})
}

// TestAStoreThatKnowsMore: the journal's files were deleted under a store that had read them. What is journalled then has
// positions that the store has seen, and must be stored all the same.
func TestAStoreThatKnowsMore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, store := newBench(t, journal.Options{}, Options{}), newStore()
		store.upTo[b.journal.ID()] = 1 << 40
		exchange(t, b, "ex_1")
		stop := run(t, b.writer(t, store))
		exchange(t, b, "ex_2")
		pass(time.Second)
		wantIDs(t, store, "ex_1", "ex_2")
		if got, want := store.upTo[b.journal.ID()], b.journal.End(); got != want {
			t.Errorf("the store has the journal up to %d, want %d", got, want)
		}
		stop()
	})
}

// TestACopyOpensNothing: an exchange may end while it is written again, and its record then comes before the copy.
func TestACopyOpensNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, store := newBench(t, journal.Options{}, Options{}), newStore()
		w := b.writer(t, store)
		stop := run(t, w)
		exchange(t, b, "ex_1")
		if _, err := b.journal.Append(kindCarried, appendRecord(nil, &Record{ID: "ex_1"})); err != nil {
			t.Fatal(err)
		}
		pass(time.Second)
		stop()
		if len(w.open.byID) > 0 {
			t.Errorf("%d exchanges count as open", len(w.open.byID))
		}
	})
}

// TestOpenExchangesAreNotTrimmed: what nobody needs goes, but not the segments in which an open exchange lies.
func TestOpenExchangesAreNotTrimmed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		small := journal.Options{SegmentBytes: 4 << 10}
		j, err := journal.Open(dir, small)
		if err != nil {
			t.Fatal(err)
		}
		b, store := newBenchOver(t, j, Options{}), newStore()
		stop := run(t, b.writer(t, store))
		exchange(t, b, numbered(100)...)
		pass(time.Second)
		if _, err := send(t.Context(), b.Recorder, newExchange("ex_open"), "openai/m"); err != nil {
			t.Fatal(err)
		}
		exchange(t, b, numbered(200)[100:]...)
		pass(time.Second)
		stop()
		if kinds, _ := b.entries(t); len(kinds) < 200 || len(kinds) > 250 {
			t.Fatalf("%d entries are left", len(kinds))
		}
		b = reopen(t, dir, j, small)
		run(t, b.writer(t, store))
		pass(time.Second)
		if got := store.records["ex_open"]; got == nil || !got.Replayed {
			t.Errorf("the open exchange: %+v", got)
		}
	})
}

// TestACarriedExchangeIsSettledAfterARestart, and not twice if its record came between.
func TestACarriedExchangeIsSettledAfterARestart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		small := journal.Options{SegmentBytes: 4 << 10}
		j, err := journal.Open(dir, small)
		if err != nil {
			t.Fatal(err)
		}
		b, store := newBenchOver(t, j, Options{}), newStore()
		w := b.writer(t, store)
		w.carry = 8 << 10
		stop := run(t, w)
		resp, err := b.Stage()(answering(b.Recorder, nil, stream()...))(t.Context(), newExchange("ex_ends"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := send(t.Context(), b.Recorder, newExchange("ex_stays"), "openai/m"); err != nil {
			t.Fatal(err)
		}
		exchange(t, b, numbered(200)...)
		pass(time.Second)
		if _, err := walk(resp, 0); err != nil {
			t.Fatal(err)
		}
		pass(time.Second)
		stop()
		if kinds, _ := b.entries(t); !slices.Contains(kinds, kindCarried) { // where segments end decides what else there is
			t.Fatalf("nothing was carried: the test tests nothing: %v", kinds)
		}
		b = reopen(t, dir, j, small)
		run(t, b.writer(t, store))
		pass(time.Second)
		if got := store.records["ex_ends"]; got == nil || got.Replayed {
			t.Errorf("the exchange that ended: %+v", got)
		}
		if got := store.records["ex_stays"]; got == nil || !got.Replayed || len(got.Tries) != 1 || got.Project != "prj_1" {
			t.Errorf("the exchange that did not end: %+v", got)
		}
	})
}

func TestTheStoreMayComeLate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, journal.Options{}, Options{})
		store := &absentStore{fakeStore: newStore(), until: time.Now().Add(time.Minute)}
		w := b.writer(t, store)
		run(t, w)
		exchange(t, b, "ex_1")
		pass(30 * time.Second)
		if w.LagBytes() == 0 || w.Lag() < 29*time.Second {
			t.Errorf("the lag is %s, %d bytes", w.Lag(), w.LagBytes())
		}
		pass(time.Minute)
		wantIDs(t, store.fakeStore, "ex_1")
	})
}

type absentStore struct {
	*fakeStore

	until time.Time
}

func (s *absentStore) ReadUpTo(ctx context.Context, id string) (int64, error) {
	if time.Now().Before(s.until) {
		return 0, errors.New("no connection")
	}
	return s.fakeStore.ReadUpTo(ctx, id)
}

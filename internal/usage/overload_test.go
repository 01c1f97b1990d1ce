package usage

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/pipeline"
)

// A slowStore takes its time for every batch, and keeps nothing but how often it saw an id.
type slowStore struct {
	fakeStore

	perBatch time.Duration
	mu       sync.Mutex // guards the fields below
	seen     []uint8    // by number
	batches  int
	strange  int
}

func (s *slowStore) AddRecords(_ context.Context, _ string, _ int64, records []*Record) error {
	time.Sleep(s.perBatch)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, rec := range records {
		var n int
		if _, err := fmt.Sscanf(rec.ID, "ex_%d", &n); err != nil || n >= len(s.seen) || rec.Usage != counted.Usage {
			s.strange++
			continue
		}
		s.seen[n]++
	}
	s.batches++
	return nil
}

// TestOverload drives ten times as many exchanges through as the store can take. None is lost or written twice, and
// memory does not follow the lag. It runs alone, since it looks at the memory of the whole process.
func TestOverload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const perSecond, seconds = 5000, 4
		store := &slowStore{perBatch: time.Second, seen: make([]uint8, perSecond*seconds)} // 500 records a second
		store.upTo = map[string]int64{}
		b := newBench(t, journal.Options{}, Options{})
		w := b.writer(t, store)
		run(t, w)
		handler := b.Stage()(answering(b.Recorder, nil, stream()...))
		var begin, most uint64
		for n := range perSecond * seconds {
			resp, err := handler(t.Context(), newExchange(fmt.Sprintf("ex_%d", n)))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := walk(resp, 0); err != nil {
				t.Fatal(err)
			}
			if n%50 == 49 {
				time.Sleep(10 * time.Millisecond)
			}
			switch {
			case n == perSecond/2:
				begin = heap()
			case n%perSecond == perSecond/4 && n > perSecond:
				most = max(most, heap())
			}
		}
		if lag := w.LagBytes(); lag < 5<<20 {
			t.Errorf("the writer lags by %d bytes only: this is no overload", lag)
		}
		if grown := int64(most) - int64(begin); grown > 3<<20 {
			t.Errorf("memory has grown by %d bytes", grown)
		}
		if err := w.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		for n, times := range store.seen {
			if times != 1 {
				t.Fatalf("exchange %d was written %d times", n, times)
			}
		}
		if store.strange > 0 {
			t.Errorf("%d records were not as they should be", store.strange)
		}
	})
}

// heap is the memory in use.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestWhenStoreAndJournalFail: while the store is away, records wait in the journal; when that is full, exchanges are
// refused before anything is sent; when the store is back, everything recovers, and nothing acknowledged was lost.
func TestWhenStoreAndJournalFail(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, store := newBench(t, journal.Options{MaxBytes: 256 << 10, SegmentBytes: 16 << 10}, Options{}), newStore()
		var away sync.Mutex // held while the store is away
		store.before = func(context.Context, []*Record) error {
			if !away.TryLock() {
				return errors.New("no connection")
			}
			away.Unlock()
			return nil
		}
		run(t, b.writer(t, store))
		away.Lock()
		handler := b.Stage()(answering(b.Recorder, nil, stream()...))
		// A stream that is under way all the time holds the journal back as well.
		long, err := handler(t.Context(), newExchange("ex_long"))
		if err != nil {
			t.Fatal(err)
		}
		answered, refused := []string{"ex_long"}, 0
		try := func(id string) {
			x := newExchange(id)
			resp, err := handler(t.Context(), x)
			if err != nil {
				if f := fault.From(err); f.Code != fault.StoreDown || len(x.Tries) > 0 {
					t.Fatalf("got %v with %d tries", err, len(x.Tries))
				}
				refused++
				return
			}
			if _, err := walk(resp, 0); err != nil {
				t.Fatal(err)
			}
			answered = append(answered, id)
		}
		for i := range 2000 {
			try(fmt.Sprintf("ex_%05d", i))
			pass(time.Millisecond)
		}
		if refused == 0 || len(answered) < 100 {
			t.Fatalf("%d refused, %d answered: this is no test", refused, len(answered))
		}
		if _, err := walk(long, 0); err != nil {
			t.Errorf("the one that was under way: %v", err)
		}
		away.Unlock()
		pass(time.Minute)
		was := refused
		try("ex_recovered")
		pass(time.Second)
		if refused > was {
			t.Error("it does not recover")
		}
		for _, id := range answered {
			rec, err := store.Record(t.Context(), "", id)
			if err != nil || rec.Status != 200 || rec.Tries[0].Outcome != pipeline.SettledActual {
				t.Fatalf("%s: %+v, %v", id, rec, err)
			}
		}
	})
}

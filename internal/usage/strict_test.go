package usage

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/pipeline"
)

// strictExchange is of a project that is strict.
func strictExchange(id string) *pipeline.Exchange {
	x := newExchange(id)
	caller := *x.Caller
	caller.Strict = true
	x.Caller = &caller
	return x
}

// TestControl45StrictFailsClosed (security.md): if the disk does not confirm the intent, nothing is sent; if it does not
// confirm the record, the end of the answer is withheld. Both are 503, and the journal works again when the disk does.
func TestControl45StrictFailsClosed(t *testing.T) {
	t.Parallel()
	var bad atomic.Bool
	b := newBench(t, journal.Options{BeforeSync: func() error {
		if bad.Load() {
			return errors.New("input/output error")
		}
		return nil
	}}, Options{})
	bad.Store(true)
	if _, err := send(t.Context(), b.Recorder, strictExchange("ex_1"), "openai/m"); fault.From(err).Code != fault.StoreDown {
		t.Errorf("an intent that is not synced: %v", err)
	}
	if _, err := send(t.Context(), b.Recorder, newExchange("ex_2"), "openai/m"); err != nil {
		t.Errorf("a project that is not strict: %v", err)
	}
	rec := Record{ID: "ex_3", Tries: []pipeline.Try{{}}}
	if err := b.end(&rec, true); !errors.Is(err, journal.ErrNotSynced) {
		t.Errorf("a record that is not synced: %v", err)
	}
	if err := b.end(&Record{ID: "ex_4"}, true); err != nil {
		t.Errorf("a refusal has no effect to be sure of: %v", err)
	}
	bad.Store(false)
	if _, err := send(t.Context(), b.Recorder, strictExchange("ex_5"), "openai/m"); err != nil {
		t.Errorf("after the disk was mended: %v", err)
	}
	if err := b.end(&rec, true); err != nil {
		t.Errorf("after the disk was mended: %v", err)
	}
}

// TestStrictExchangesShareSyncs: many at once cost few syncs, and each has one of its own before it goes on.
func TestStrictExchangesShareSyncs(t *testing.T) {
	t.Parallel()
	var syncs atomic.Int64
	gate, atGate := make(chan struct{}), make(chan struct{})
	b := newBench(t, journal.Options{BeforeSync: func() error {
		if syncs.Add(1) == 1 {
			close(atGate)
			<-gate // all others come meanwhile
		}
		return nil
	}}, Options{})
	const many = 200
	var wg sync.WaitGroup
	for i := range many {
		if i == 1 {
			<-atGate // or the first sync might be that of all
		}
		wg.Go(func() {
			if _, err := send(t.Context(), b.Recorder, strictExchange(fmt.Sprint(i)), "openai/m"); err != nil {
				t.Error(err)
			}
		})
	}
	for kinds, _ := b.entries(t); len(kinds) < many; kinds, _ = b.entries(t) {
	}
	close(gate)
	wg.Wait()
	if n := syncs.Load(); n < 2 || n > many/4 {
		t.Errorf("%d syncs for %d exchanges at once", n, many)
	}
}

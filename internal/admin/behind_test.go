package admin

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/usage"
)

// written is a store with one record.
type written struct {
	usage.Store
	id string
}

func (w written) Record(_ context.Context, _, id string) (*usage.Record, error) {
	if id != w.id {
		return nil, fault.New(fault.RecordNotFound, "There is no exchange here.")
	}
	return &usage.Record{ID: id}, nil
}

func (w written) Records(context.Context, usage.Filter) ([]*usage.Record, error) {
	return []*usage.Record{{ID: w.id}}, nil
}

func (w written) Sums(context.Context, usage.Query) ([]usage.Sum, error) {
	return []usage.Sum{{Requests: 1}}, nil
}

// While records wait in the journal, what the store has is shown, and said to be not all; whether an exchange that it does
// not have exists cannot be known.
func TestReadingWhileRecordsWait(t *testing.T) {
	t.Parallel()
	never := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	broken := func(context.Context) error { return errors.New("disk full") }
	for _, c := range []struct {
		name   string
		sync   func(context.Context) error
		behind bool
		longer time.Duration
	}{
		{"all is written", func(context.Context) error { return nil }, false, 0},
		{"the store is slow", never, true, 2 * time.Second},
		{"the store is broken", broken, true, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			a := &API{o: Options{Records: written{id: "ex_1"}, Sync: c.sync, Now: time.Now}}
			begun := time.Now()
			records, err := a.listExchanges(t.Context(), &call{query: query{}})
			if err != nil || len(records.Data) != 1 || records.Behind != c.behind {
				t.Errorf("%s: list %+v, %v", c.name, records, err)
			}
			sums, err := a.usage(t.Context(), &call{query: query{}})
			if err != nil || len(sums.Data) != 1 || sums.Behind != c.behind {
				t.Errorf("%s: sums %+v, %v", c.name, sums, err)
			}
			if r, err := a.exchange(t.Context(), &call{id: "ex_1"}); err != nil || r.ID != "ex_1" {
				t.Errorf("%s: a record that is there: %v, %v", c.name, r, err)
			}
			_, err = a.exchange(t.Context(), &call{id: "ex_2"})
			want := fault.RecordNotFound
			if c.behind {
				want = fault.RecordsBehind
			}
			if f := fault.From(err); f.Code != want || c.behind && f.RetryAfter == 0 {
				t.Errorf("%s: a record that is not there: %v", c.name, err)
			}
			if took := time.Since(begun); took > 4*c.longer {
				t.Errorf("%s: took %v", c.name, took)
			}
		})
	}
}

// A caller who left is not told that the store is behind.
func TestReadingForNobody(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	a := &API{o: Options{Records: written{id: "ex_1"}, Sync: func(ctx context.Context) error { return ctx.Err() }, Now: time.Now}}
	if _, err := a.listExchanges(ctx, &call{query: query{}}); fault.From(err).Code != fault.ClientGone {
		t.Errorf("list: %v", err)
	}
	if _, err := a.exchange(ctx, &call{id: "ex_2"}); fault.From(err).Code != fault.ClientGone {
		t.Errorf("record: %v", err)
	}
}

package console

import (
	"context"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/ledger"
)

// A slowBook is a ledger of ten entries that is not read on until somebody lets it.
type slowBook struct {
	ledger.Snapshot

	reached, goOn chan struct{}
}

func (b *slowBook) ReadLedger(_ context.Context, read func(ledger.Snapshot) error) error {
	return read(b)
}

func (b *slowBook) Last(context.Context) (int64, error) { return 10, nil }

func (b *slowBook) Entries(ctx context.Context, _ int64, _ int) ([]ledger.SnapshotEntry, error) {
	b.reached <- struct{}{}
	select {
	case <-b.goOn:
		return []ledger.SnapshotEntry{{Seq: 1}}, context.Canceled // it ends there
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// One check runs at a time, tells how far it is, and ends with the console.
func TestOneCheckAtATime(t *testing.T) {
	t.Parallel()
	k := newChecks()
	book := &slowBook{reached: make(chan struct{}), goOn: make(chan struct{})}
	one := k.begin("ann", time.Now, book)
	<-book.reached
	if s := k.state(); !s.ended.IsZero() || s.by != "ann" || s.of != 10 || s.done != 0 {
		t.Errorf("under way: %+v", s)
	}
	if two := k.begin("bob", time.Now, book); two != one {
		t.Error("two checks run at once")
	}
	close(book.goOn)
	<-one.over
	if s := k.state(); s.ended.IsZero() || s.done != 1 || s.err == nil {
		t.Errorf("at its end: %+v", s)
	}

	book.goOn = make(chan struct{})
	two := k.begin("bob", time.Now, book)
	<-book.reached
	(&Console{checks: k}).Close()
	<-two.over
	if s := k.state(); s.err == nil || s.by != "bob" {
		t.Errorf("after the end of the console: %+v", s)
	}
	if three := k.begin("ann", time.Now, book); three.err == nil {
		t.Error("a check begins after the end of the console")
	}
}

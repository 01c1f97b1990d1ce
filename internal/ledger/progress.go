package ledger

import "context"

// CheckTelling is Check, and tells how far it is: that it has added up so many entries of so many. Comparing comes after that.
func CheckTelling(ctx context.Context, s Reader, tell func(done, of int64)) (*Report, error) {
	return Check(ctx, &toldReader{s, tell})
}

type toldReader struct {
	Reader

	tell func(done, of int64)
}

// ReadLedger implements [Reader].
func (r *toldReader) ReadLedger(ctx context.Context, read func(Snapshot) error) error {
	return r.Reader.ReadLedger(ctx, func(n Snapshot) error {
		last, err := n.Last(ctx)
		if err != nil {
			return err
		}
		r.tell(0, last)
		return read(&toldSnapshot{n, last, r.tell})
	})
}

type toldSnapshot struct {
	Snapshot

	last int64
	tell func(done, of int64)
}

// Entries implements [Snapshot].
func (n *toldSnapshot) Entries(ctx context.Context, after int64, limit int) ([]SnapshotEntry, error) {
	page, err := n.Snapshot.Entries(ctx, after, limit)
	if len(page) > 0 {
		n.tell(page[len(page)-1].Seq, n.last)
	}
	return page, err
}

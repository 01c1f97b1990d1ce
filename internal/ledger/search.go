package ledger

import (
	"context"
	"time"
)

// A PoolName says which window of a budget a pool is: whose, and when it begins.
type PoolName struct {
	Rule, Subject string
	Start         int64 // microseconds since 1970
}

// A Search chooses entries as a Query does, and of them those that moved something in windows of one budget.
type Search struct {
	Query

	Budget  string // id; "" is any, also none
	Subject string // whose part, of a budget for each; "" is any
}

// Found is what a search came to.
type Found struct {
	Entries []Entry
	// Pools names those that the entries moved something in, as far as they are kept: windows that ended long ago are deleted.
	Pools map[int64]PoolName
	// Next is the number behind which to go on, 0 at the end.
	Next int64
	// Back is set if the search was ended before it had as many entries as were asked for, and is when the last that it looked at
	// was sent.
	Back time.Time
}

const (
	searchAtOnce = 1000
	// searchMost is how many entries one search looks at: in the ledger, which budgets an entry was for has no index.
	searchMost = 20_000
)

// Find searches, the newest first. One that is for a budget looks at a bounded number of entries, and says how far it came.
func Find(ctx context.Context, s Store, q Search) (*Found, error) {
	f := &Found{Entries: []Entry{}, Pools: map[int64]PoolName{}}
	most := q.Limit
	if most <= 0 {
		most = 100
	}
	asked := map[int64]bool{}
	for looked := 0; ; {
		if q.Limit = most + 1; q.Budget != "" {
			q.Limit = searchAtOnce
		}
		batch, err := s.LedgerEntries(ctx, q.Query)
		if err != nil {
			return nil, err
		}
		if err := f.name(ctx, s, batch, asked); err != nil {
			return nil, err
		}
		for i := range batch {
			if !f.moved(&batch[i], &q) {
				continue
			}
			if len(f.Entries) == most {
				f.Next = f.Entries[most-1].Seq
				return f, nil
			}
			f.Entries = append(f.Entries, batch[i])
		}
		if looked += len(batch); len(batch) < q.Limit {
			return f, nil
		}
		q.After = batch[len(batch)-1].Seq
		if looked >= searchMost {
			f.Next, f.Back = q.After, batch[len(batch)-1].At
			return f, nil
		}
	}
}

// moved reports whether an entry is searched for.
func (f *Found) moved(e *Entry, q *Search) bool {
	if q.Budget == "" {
		return true
	}
	for _, m := range e.Moves {
		if of, ok := f.Pools[m.Pool]; ok && of.Rule == q.Budget && (q.Subject == "" || of.Subject == q.Subject) {
			return true
		}
	}
	return false
}

// name finds out what pools of entries are that were not asked for yet.
func (f *Found) name(ctx context.Context, s Store, entries []Entry, asked map[int64]bool) error {
	var ids []int64
	for i := range entries {
		for _, m := range entries[i].Moves {
			if !asked[m.Pool] {
				asked[m.Pool] = true
				ids = append(ids, m.Pool)
			}
		}
	}
	if len(ids) == 0 {
		return nil
	}
	named, err := s.LedgerPools(ctx, ids)
	for id, of := range named {
		f.Pools[id] = of
	}
	return err
}

package ledger_test

import (
	"context"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/penstock/penstock/internal/ledger"
)

// entryList is a store of entries, the first with number 1.
type entryList struct {
	ledger.Store

	all   []ledger.Entry
	pools map[int64]ledger.PoolName
	asked int
}

func (s *entryList) LedgerEntries(_ context.Context, q ledger.Query) (found []ledger.Entry, _ error) {
	s.asked++
	for i := len(s.all) - 1; i >= 0 && len(found) < q.Limit; i-- {
		if e := s.all[i]; (q.After == 0 || e.Seq < q.After) && (q.Kind == 0 || e.Kind == q.Kind) {
			found = append(found, e)
		}
	}
	return found, nil
}

func (s *entryList) LedgerPools(_ context.Context, ids []int64) (map[int64]ledger.PoolName, error) {
	named := map[int64]ledger.PoolName{}
	for _, id := range ids {
		if n, ok := s.pools[id]; ok {
			named[id] = n
		}
	}
	return named, nil
}

// Whoever turns all pages finds each entry of the budget once, the newest first, and no other.
func TestFindTurnsAllPages(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := &entryList{pools: map[int64]ledger.PoolName{1: {Rule: "a"}, 2: {Rule: "b", Subject: "x"}, 3: {Rule: "b", Subject: "y"}}}
		n := rapid.IntRange(0, 2500).Draw(t, "entries")
		often := rapid.IntRange(1, 40).Draw(t, "one in")
		for i := range n {
			e := ledger.Entry{Seq: int64(i + 1), Kind: ledger.Posted, At: time.Unix(int64(i), 0)}
			if i%often == 0 {
				e.Moves = []ledger.Move{{Pool: int64(i/often%4 + 1)}} // 4 is kept no more
			}
			s.all = append(s.all, e)
		}
		q := ledger.Search{Query: ledger.Query{Limit: rapid.IntRange(1, 60).Draw(t, "page")}}
		q.Budget = rapid.SampledFrom([]string{"", "a", "b", "c"}).Draw(t, "budget")
		if q.Budget == "b" {
			q.Subject = rapid.SampledFrom([]string{"", "x", "z"}).Draw(t, "subject")
		}
		var want, got []int64
		for i := n - 1; i >= 0; i-- {
			fits := q.Budget == ""
			for _, m := range s.all[i].Moves {
				of := s.pools[m.Pool]
				fits = fits || of.Rule == q.Budget && (q.Subject == "" || of.Subject == q.Subject)
			}
			if fits {
				want = append(want, s.all[i].Seq)
			}
		}
		for {
			f, err := ledger.Find(context.Background(), s, q)
			if err != nil || len(f.Entries) > q.Limit {
				t.Fatalf("%d entries: %v", len(f.Entries), err)
			}
			for i := range f.Entries {
				got = append(got, f.Entries[i].Seq)
			}
			if f.Next == 0 {
				break
			}
			q.After = f.Next
		}
		if len(got) != len(want) {
			t.Fatalf("%d entries, want %d", len(got), len(want))
		}
		for i := range want {
			if got[i] != want[i] {
				t.Fatalf("entry %d is %d, want %d", i, got[i], want[i])
			}
		}
	})
}

// A search that finds nothing is bounded, says how far it came, and goes on there.
func TestFindIsBounded(t *testing.T) {
	t.Parallel()
	s := &entryList{}
	for i := range 50_000 {
		s.all = append(s.all, ledger.Entry{Seq: int64(i + 1), At: time.Unix(int64(i), 0)})
	}
	q := ledger.Search{Query: ledger.Query{Limit: 10}, Budget: "none"}
	for _, want := range []int64{30_001, 10_001, 0} {
		f, err := ledger.Find(context.Background(), s, q)
		if err != nil || f.Next != want || f.Back.IsZero() != (want == 0) {
			t.Fatalf("went on behind %d (%v), want %d: %v", f.Next, f.Back, want, err)
		}
		q.After = f.Next
	}
	if s.asked > 51 {
		t.Errorf("asked %d times", s.asked)
	}
}

package ledger

import (
	"context"
	"fmt"
	"math"
	"math/big"
	"testing"

	"github.com/penstock/penstock/internal/llm"
)

// FuzzCheck has entries of any kind and amount, and books that follow from them as exact numbers say. Of these nothing is found, if
// they are numbers that can be kept; and whatever is changed in them is found.
func FuzzCheck(f *testing.F) {
	f.Add([]byte{0, 1, 9, 0, 2, 1, 30, 1, 3, 1, 12, 1, 4, 0, 0, 0, 5, 0, 0, 0}, byte(0), int64(0))
	f.Add([]byte{2, 1, 30, 1, 2, 0, 31, 1, 3, 0, 12, 2}, byte(3), int64(1))
	f.Add([]byte{0, 1, 255, 0, 0, 1, 255, 0, 6, 1, 255, 3}, byte(0), int64(0))
	f.Add([]byte{3, 0, 9, 0, 0, 3, 1, 1}, byte(9), int64(-7))
	f.Add([]byte{65, 48, 48, 49}, byte(82), int64(-30)) // a number that no store gives
	f.Fuzz(func(t *testing.T, text []byte, where byte, by int64) {
		m, wrong, fits := booksOf(text)
		fits = m.change(where, by, &wrong) && fits
		r, err := Check(context.Background(), m)
		if err != nil || len(r.Findings) > maxFindings || r.Entries > int64(len(m.entries)) || r.Spent < 0 && fits && !wrong {
			t.Fatalf("%+v: %v", r, err)
		}
		if found := len(r.Findings) > 0; fits && found != wrong {
			t.Fatalf("found %v in %+v, and something is wrong: %v", r.Findings, m, wrong)
		}
	})
}

// An exact sum.
type exact struct{ big.Int }

func (s *exact) add(n int64)  { s.Add(&s.Int, big.NewInt(n)) }
func (s *exact) less(n int64) { s.Sub(&s.Int, big.NewInt(n)) }

// kept is the sum as it is kept, if it can be.
func (s *exact) kept() int64 { return s.Int64() }

// booksOf makes books: each entry is of four bytes, its kind, its accounts, its amount, and what it ends or moves. Wrong says that an
// entry cannot be as it is, and fits that all sums can be kept at any time.
func booksOf(text []byte) (m *memory, wrong, fits bool) {
	m = &memory{pools: []Pool{{ID: 7, Rule: "b"}}}
	var sums [3][4]exact // of accounts 1 and 2: debit, credit, and what is pending of these
	var pool [3]exact
	open := map[int64]SnapshotEntry{}
	cost := map[int64]*exact{}
	unknown := map[int64]bool{}
	fits = true
	note := func(s *exact) { fits = fits && s.IsInt64() }
	for ; len(text) >= 4 && len(m.entries) < 300; text = text[4:] {
		e := SnapshotEntry{Seq: int64(len(m.entries) + 1), Kind: Kinds()[int(text[0])%len(Kinds())], Amount: int64(text[2])}
		if e.Amount >= 250 {
			e.Amount = math.MaxInt64 >> (e.Amount - 250)
		}
		if text[1]&1 != 0 {
			e.Debit, e.Credit = 1, 2
			if e.Kind == Adjusted && text[1]&2 != 0 {
				e.Debit, e.Credit = 2, 1
			}
		}
		if e.Kind != Pending && e.Debit == 0 && e.Amount != 0 {
			wrong = true
		}
		if e.Kind == Pending {
			e.Debit, e.Credit = 1, 2
		}
		if e.Kind == Settled || e.Kind == Void {
			e.Settles = int64(text[3])
		} else if text[3]&1 != 0 {
			e.Exchange = e.Seq
			cost[e.Seq] = &exact{}
		}
		if e.Exchange != 0 && e.Kind == Pending {
			unknown[e.Seq] = true
		} else if e.Exchange != 0 {
			cost[e.Seq].add(e.Amount)
		}
		if was, ok := open[e.Settles]; ok {
			sums[was.Debit][2].less(was.Amount)
			sums[was.Credit][3].less(was.Amount)
			delete(open, e.Settles)
		} else if e.Settles != 0 {
			wrong = true
		}
		switch {
		case e.Kind == Pending:
			open[e.Seq] = e
			sums[1][2].add(e.Amount)
			sums[2][3].add(e.Amount)
		case e.Debit != 0:
			sums[e.Debit][0].add(e.Amount)
			sums[e.Credit][1].add(e.Amount)
		}
		if text[3]&2 != 0 {
			e.Moves = []Move{{Pool: 7, Settled: e.Amount, Unknown: -int64(text[3]), Over: int64(text[1])}}
			pool[0].add(e.Amount)
			pool[1].add(-int64(text[3]))
			pool[2].add(int64(text[1]))
		}
		for i := range sums {
			for j := range sums[i] {
				note(&sums[i][j])
			}
		}
		for i := range pool {
			note(&pool[i])
		}
		m.entries = append(m.entries, e)
	}
	for i, side := range []Side{Spend, Owed} {
		s := &sums[i+1]
		kept := Balance{llm.Money(s[0].kept()), llm.Money(s[1].kept()), llm.Money(s[2].kept()), llm.Money(s[3].kept())}
		m.accounts = append(m.accounts, Account{ID: int64(i + 1), Name: string(side), Side: side, Balance: kept})
	}
	var debit, credit exact
	for i := range sums {
		debit.add(sums[i][0].kept())
		credit.add(sums[i][1].kept())
	}
	note(&debit)
	note(&credit)
	p := &m.pools[0]
	p.Settled, p.Unknown, p.Over = pool[0].kept(), pool[1].kept(), pool[2].kept()
	for seq := int64(1); seq <= int64(len(m.entries)); seq++ {
		if _, ok := open[seq]; ok {
			m.open = append(m.open, seq)
		}
		if c := cost[seq]; c != nil {
			m.exchanges = append(m.exchanges, Exchange{Seq: seq, ID: fmt.Sprint(seq), Cost: c.kept(), Unknown: unknown[seq]})
		}
	}
	m.last = int64(len(m.entries))
	return m, wrong, fits
}

// change makes one number of the books another. It is false if that cannot be said, for the number cannot be kept.
func (m *memory) change(where byte, by int64, wrong *bool) bool {
	s, o, p := &m.accounts[0].Balance, &m.accounts[1].Balance, &m.pools[0]
	numbers := []*int64{
		(*int64)(&s.Debit), (*int64)(&s.Credit), (*int64)(&s.PendingDebit), (*int64)(&s.PendingCredit),
		(*int64)(&o.Debit), (*int64)(&o.Credit), (*int64)(&o.PendingDebit), (*int64)(&o.PendingCredit),
		&p.Settled, &p.Unknown, &p.Over, &p.Held, &p.Leases, &m.last,
	}
	for i := range m.entries {
		numbers = append(numbers, &m.entries[i].Seq)
	}
	for i := range m.exchanges {
		numbers = append(numbers, &m.exchanges[i].Cost)
	}
	for i := range m.open {
		numbers = append(numbers, &m.open[i])
	}
	n := numbers[int(where)%len(numbers)]
	var sum exact
	sum.add(*n)
	sum.add(by)
	if !sum.IsInt64() {
		return false
	}
	*n = sum.kept()
	*wrong = *wrong || by != 0
	return true
}

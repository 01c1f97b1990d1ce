package ledger

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/penstock/penstock/internal/llm"
)

// A memory is books that are kept in slices.
type memory struct {
	entries   []SnapshotEntry
	accounts  []Account
	pools     []Pool
	open      []int64
	exchanges []Exchange
	last      int64
	asked     []int64 // where reads of exchanges began and ended
}

func (m *memory) ReadLedger(_ context.Context, read func(Snapshot) error) error { return read(m) }

func (m *memory) Entries(_ context.Context, after int64, limit int) ([]SnapshotEntry, error) {
	i := slices.IndexFunc(m.entries, func(e SnapshotEntry) bool { return e.Seq > after })
	if i < 0 {
		return nil, nil
	}
	return m.entries[i:min(i+limit, len(m.entries))], nil
}

func (m *memory) Accounts(context.Context) ([]Account, error) { return m.accounts, nil }

func (m *memory) Pools(_ context.Context, do func(*Pool) error) error {
	for i := range m.pools {
		if err := do(&m.pools[i]); err != nil {
			return err
		}
	}
	return nil
}

func (m *memory) Open(context.Context) ([]int64, error) { return m.open, nil }

func (m *memory) Exchanges(_ context.Context, first, last int64, do func(*Exchange) error) error {
	m.asked = append(m.asked, first, last)
	for i := range m.exchanges {
		if x := &m.exchanges[i]; x.Seq >= first && x.Seq <= last {
			if err := do(x); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *memory) Last(context.Context) (int64, error) { return m.last, nil }

// many makes books of exchanges with up to so many tries each, some of unknown end, of which some are settled.
func many(t *rapid.T, exchanges int) *memory {
	m := &memory{accounts: []Account{{ID: 1, Name: "spend:o/p", Side: Spend}, {ID: 2, Name: "owed:a", Side: Owed}}, pools: []Pool{{ID: 7, Rule: "bud", Terms: true, Highest: 1 << 60}}}
	s, o, p := &m.accounts[0], &m.accounts[1], &m.pools[0]
	var pending []SnapshotEntry
	add := func(e SnapshotEntry) {
		e.Seq, e.Debit, e.Credit = int64(len(m.entries)+1), 1, 2
		for _, move := range e.Moves {
			p.Settled, p.Unknown, p.Over = p.Settled+move.Settled, p.Unknown+move.Unknown, p.Over+move.Over
		}
		if e.Kind == Pending {
			s.PendingDebit, o.PendingCredit = s.PendingDebit+llm.Money(e.Amount), o.PendingCredit+llm.Money(e.Amount)
			pending = append(pending, e)
		} else {
			s.Debit, o.Credit = s.Debit+llm.Money(e.Amount), o.Credit+llm.Money(e.Amount)
		}
		m.entries = append(m.entries, e)
	}
	tries := rapid.SliceOfN(rapid.IntRange(0, 3), 10, 10).Draw(t, "tries")
	for seq := int64(1); seq <= int64(exchanges); seq++ {
		x := Exchange{Seq: seq, ID: fmt.Sprint("ex_", seq)}
		for n := range tries[seq%10] {
			amount := seq + int64(n)
			if seq%13 == 0 {
				x.Unknown = true
				add(SnapshotEntry{Kind: Pending, Amount: amount, Exchange: seq, Moves: []Move{{Pool: 7, Unknown: amount}}})
				continue
			}
			x.Cost += amount
			add(SnapshotEntry{Kind: Posted, Amount: amount, Exchange: seq, Moves: []Move{{Pool: 7, Settled: amount}}})
		}
		m.exchanges = append(m.exchanges, x)
		if seq%50 == 0 && len(pending) > 0 {
			was := pending[0]
			pending = pending[1:]
			s.PendingDebit, o.PendingCredit = s.PendingDebit-llm.Money(was.Amount), o.PendingCredit-llm.Money(was.Amount)
			add(SnapshotEntry{Kind: Settled, Amount: was.Amount / 2, Settles: was.Seq, Moves: []Move{{Pool: 7, Settled: was.Amount / 2, Unknown: -was.Amount}}})
		}
	}
	for _, e := range pending {
		m.open = append(m.open, e.Seq)
	}
	m.last = int64(len(m.entries))
	return m
}

// However entries fall into the pages in which they are read, what fits is no finding, and what does not is one.
func TestCheckReadsInPages(t *testing.T) {
	t.Parallel()
	runs := 0
	rapid.Check(t, func(rt *rapid.T) {
		if runs++; runs > 10 {
			return
		}
		m := many(rt, rapid.SampledFrom([]int{0, 10, 3_000, 8_000, 12_000}).Draw(rt, "exchanges"))
		r, err := Check(context.Background(), m)
		if err != nil || len(r.Findings) > 0 || r.Entries != m.last || r.Exchanges != int64(len(m.exchanges)) || r.Unknown != int64(len(m.open)) {
			rt.Fatalf("%+v, %v", r, err)
		}
		for i := 2; i < len(m.asked); i += 2 {
			if m.asked[i] != m.asked[i-1]+1 {
				rt.Fatalf("exchanges were read from %v", m.asked)
			}
		}
		if len(m.exchanges) == 0 {
			return
		}
		at := rapid.IntRange(0, len(m.exchanges)-1).Draw(rt, "wrong")
		m.exchanges[at].Cost++
		if r, err = Check(context.Background(), m); err != nil || len(r.Findings) != 1 || r.Findings[0].Where != "exchange "+m.exchanges[at].ID {
			rt.Fatalf("%+v, %v", r, err)
		}
	})
}

func TestManyFindingsAreCounted(t *testing.T) {
	t.Parallel()
	m := &memory{last: 300}
	for seq := int64(1); seq <= 300; seq++ {
		m.entries = append(m.entries, SnapshotEntry{Seq: seq, Kind: Posted, Amount: 1, Exchange: seq})
	}
	r, err := Check(t.Context(), m)
	if err != nil || len(r.Findings) != maxFindings || r.More != 200 || !strings.Contains(r.Findings[0].String(), "entry 1: amount that moves on no account is 1, and should be 0") {
		t.Errorf("%d findings, %d more, %v", len(r.Findings), r.More, err)
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	for want, a := range map[string]Account{
		"spend:default/prj_1": {Side: Spend, Org: "default", Project: "prj_1"}, "owed:openai": {Side: Owed, Provider: "openai"},
		"owed:openai#2": {Side: Owed, Provider: "openai", Credential: 2},
	} {
		if got := NameOf(&a); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	for _, k := range Kinds() {
		if k.String() == Kind(0).String() {
			t.Errorf("kind %d has no name", k)
		}
	}
}

// A check that tells how far it is comes to the same, and tells of every entry.
func TestCheckTelling(t *testing.T) {
	t.Parallel()
	m := &memory{}
	for i := range int64(2*atOnce + 7) {
		m.entries = append(m.entries, SnapshotEntry{Seq: i + 1, Kind: Posted, Debit: 1, Credit: 2, Amount: 1})
	}
	m.last = int64(len(m.entries))
	var told [][2]int64
	got, err := CheckTelling(t.Context(), m, func(done, of int64) { told = append(told, [2]int64{done, of}) })
	if err != nil {
		t.Fatal(err)
	}
	want, err := Check(t.Context(), m)
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%+v, want %+v: %v", got, want, err)
	}
	if len(told) != 4 || told[0] != [2]int64{0, m.last} || told[3] != [2]int64{m.last, m.last} {
		t.Errorf("told %v", told)
	}
}

// Each thing that may be wrong in the books is a finding of its own, and the only one.
func TestWhatIsWrongIsFound(t *testing.T) {
	t.Parallel()
	books := func() *memory {
		return &memory{
			entries: []SnapshotEntry{
				{Seq: 1, Kind: Posted, Debit: 1, Credit: 2, Amount: 30, Exchange: 5, Moves: []Move{{Pool: 7, Settled: 30, Over: 10}}},
				{Seq: 2, Kind: Pending, Debit: 1, Credit: 2, Amount: 8, Exchange: 6, Moves: []Move{{Pool: 7, Unknown: 8}}},
			},
			accounts: []Account{
				{ID: 1, Name: "spend:o/p", Side: Spend, Balance: Balance{Debit: 30, PendingDebit: 8}},
				{ID: 2, Name: "owed:a", Side: Owed, Balance: Balance{Credit: 30, PendingCredit: 8}},
			},
			pools:     []Pool{{ID: 7, Rule: "b", Terms: true, Highest: 40, Settled: 30, Over: 10, Unknown: 8, Held: 12, Leases: 12}},
			open:      []int64{2},
			exchanges: []Exchange{{Seq: 5, ID: "x5", Cost: 30}, {Seq: 6, ID: "x6", Unknown: true}},
			last:      2,
		}
	}
	for want, change := range map[string]func(*memory){
		"":                      func(*memory) {}, // what is over is within no limit
		"what is used, at most": func(m *memory) { m.pools[0].Highest-- },
		"exchange, which are in order,": func(m *memory) {
			m.entries[0].Exchange, m.entries[1].Exchange = 6, 5
			m.exchanges[0], m.exchanges[1] = Exchange{Seq: 5, ID: "x5", Unknown: true}, Exchange{Seq: 6, ID: "x6", Cost: 30}
		},
		"tries whose end is unknown":                   func(m *memory) { m.exchanges[1].Unknown = false },
		"the list of what is unknown, which has it":    func(m *memory) { m.open = nil },
		"what its tries came to":                       func(m *memory) { m.exchanges[0].Cost++ },
		"what is held, which is the sum of its leases": func(m *memory) { m.pools[0].Leases++ },
		"number of the last entry":                     func(m *memory) { m.last++ },
	} {
		m := books()
		change(m)
		r, err := Check(context.Background(), m)
		if err != nil {
			t.Fatal(err)
		}
		if want == "" && len(r.Findings) > 0 || want != "" && (len(r.Findings) != 1 || r.Findings[0].What != want) {
			t.Errorf("want %q, found %v", want, r.Findings)
		}
		if r.Spent != 30 || r.Pending != 8 {
			t.Errorf("%q: %s spent and %s pending", want, r.Spent, r.Pending)
		}
	}
}

// An account's net is what was spent, or is owed: the sides of a correction downwards.
func TestNet(t *testing.T) {
	t.Parallel()
	for side, want := range map[Side]llm.Money{Spend: 20, Owed: -20} {
		if a := (Account{Side: side, Balance: Balance{Debit: 30, Credit: 10}}); a.Net() != want {
			t.Errorf("%s: %s, want %s", side, a.Net(), want)
		}
	}
}

// totals are a store that has only these.
type totals struct {
	Store
	rows []Total
}

func (s totals) LedgerTotals(context.Context, time.Time, time.Time) ([]Total, error) {
	return s.rows, nil
}

// What is pending is told beside a closing's total, and is not in it.
func TestClose(t *testing.T) {
	t.Parallel()
	s := totals{rows: []Total{{Kind: Posted, Amount: 30}, {Kind: Pending, Amount: 8}, {Kind: Settled, Amount: 5}, {Kind: Adjusted, Amount: -2}}}
	c, err := Close(context.Background(), s, time.Unix(0, 0), time.Unix(9, 0))
	if err != nil || c.Total != 33 || c.Pending != 8 || len(c.Rows) != 4 {
		t.Errorf("%+v, %v", c, err)
	}
}

package storetest

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/audit"
	"github.com/penstock/penstock/internal/escrow"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/ledger"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/usage"
)

// fits fails the test if something in the books does not.
func fits(t testing.TB, s Store) *ledger.Report {
	t.Helper()
	r, err := ledger.Check(t.Context(), s)
	must(t, err)
	same(t, "findings", r.Findings, nil)
	return r
}

// A ledgerLine is what tests look at of an entry.
type ledgerLine struct {
	Seq           int64
	Kind          ledger.Kind
	Debit, Credit string
	Amount        llm.Money
	Try, Target   string
	Settles       int64
	Note          string
}

func ledgerLines(all ...ledger.Entry) (out []ledgerLine) {
	for _, e := range all {
		out = append(out, ledgerLine{e.Seq, e.Kind, e.Debit, e.Credit, e.Amount, e.Try, e.Target, e.Settles, e.Note})
	}
	return out
}

const spendOfPrj1 = "spend:default/prj_1"

// testLedger keeps books from the first record to a closed month. Each step goes on from what those before have written.
func testLedger(t *testing.T, s Store) {
	ctx := t.Context()
	same(t, "an empty ledger", *fits(t, s), ledger.Report{Findings: []ledger.Finding{}})

	two := charged("ex_2", pipeline.SettledEstimated, 70)
	two.Tries[0].Target, two.Tries[0].Credential = "claude/haiku", 2
	two.Tries = append(two.Tries, pipeline.Try{ID: "try_ex_2b", Target: "openai/gpt-5", Outcome: pipeline.SettledActual, CostNano: 5, StartNS: 3_000_000_000})
	two.CostNano = 75
	lost := charged("ex_4", pipeline.Unknown, 0, pipeline.Charge{Budget: "bud_1", Held: 30, Tokens: true})
	lost.Tries[0].Reason = "process lost"
	later := charged("ex_5", pipeline.Unknown, 0)
	later.Time = day.AddDate(0, 1, 0)
	records := []*usage.Record{
		charged("ex_1", pipeline.SettledActual, 40), two, charged("ex_3", pipeline.Released, 0), lost, later,
		charged("ex_6", pipeline.SettledActual, 0), // at no price
	}
	for range 2 {
		must(t, s.AddRecords(ctx, "j", 1, records))
	}
	ledgerIsRead(t, s)
	ledgerIsSettled(t, s)
	total := ledgerIsClosed(t, s)
	ledgerIsOwed(t, s, total)

	entries, err := s.AuditEntries(ctx, audit.Filter{Ascending: true}, 10)
	must(t, err)
	var done []string
	for _, e := range entries {
		done = append(done, fmt.Sprint(e.Action, " ", e.Object, " ", e.Project, " ", e.Reason))
	}
	same(t, "audit", done, []string{
		"ledger.settle try_ex_4 prj_1 the bill", "ledger.adjust  prj_1 bill", "ledger.adjust try_ex_1 prj_2 bill", "ledger.settle try_ex_5 prj_1 never arrived",
	})
}

// ledgerIsRead reads what records have come to.
func ledgerIsRead(t *testing.T, s Store) {
	t.Helper()
	ctx := t.Context()
	all, err := s.LedgerEntries(ctx, ledger.Query{})
	must(t, err)
	same(t, "entries", ledgerLines(all...), []ledgerLine{
		{5, ledger.Pending, spendOfPrj1, "owed:openai", 1000, "try_ex_5", "openai/gpt-5", 0, "ok"},
		{4, ledger.Pending, spendOfPrj1, "owed:openai", 1000, "try_ex_4", "openai/gpt-5", 0, "process lost"},
		{3, ledger.Posted, spendOfPrj1, "owed:openai", 5, "try_ex_2b", "openai/gpt-5", 0, ""},
		{2, ledger.Estimated, spendOfPrj1, "owed:claude#2", 70, "try_ex_2", "claude/haiku", 0, ""},
		{1, ledger.Posted, spendOfPrj1, "owed:openai", 40, "try_ex_1", "openai/gpt-5", 0, ""},
	})
	same(t, "when a try was sent", all[2].At, day.Add(3*time.Second).Truncate(time.Microsecond))
	same(t, "what moved", all[1].Moves[0].Unknown, int64(30))
	pool := all[1].Moves[0].Pool
	named, err := s.LedgerPools(ctx, []int64{pool, pool + 1000})
	must(t, err)
	same(t, "where it moved", named, map[int64]ledger.PoolName{pool: {Rule: "bud_1"}})
	found, err := ledger.Find(ctx, s, ledger.Search{Budget: "bud_1"})
	must(t, err)
	same(t, "what counts for the budget", ledgerLines(found.Entries...), ledgerLines(all[1]))
	for q, want := range map[ledger.Query][]int64{
		{Provider: "claude"}: {2}, {Kind: ledger.Pending, Project: "prj_1"}: {5, 4}, {After: 3, Limit: 1}: {2}, {Try: "try_ex_1"}: {1},
		{From: day.AddDate(0, 0, 1)}: {5}, {To: day.AddDate(0, 0, 1), Kind: ledger.Pending}: {4}, {Org: "other"}: nil,
	} {
		some, err := s.LedgerEntries(ctx, q)
		must(t, err)
		var seqs []int64
		for _, e := range some {
			seqs = append(seqs, e.Seq)
		}
		same(t, fmt.Sprintf("%+v", q), seqs, want)
	}
	same(t, "report", *fits(t, s), ledger.Report{
		Entries: 5, Accounts: 3, Pools: 1, Exchanges: 6, Unknown: 2, Spent: 115, Pending: 2000, Findings: []ledger.Finding{},
	})

	tries, leases, err := s.LedgerUnknowns(ctx, 10)
	must(t, err)
	same(t, "leases", len(leases), 0)
	same(t, "unknown", tries[0], ledger.Unknown{
		Try: "try_ex_4", Entry: 4, At: day.UTC(), Org: "default", Project: "prj_1", Target: "openai/gpt-5", Bound: 1000, Reason: "process lost",
		Held: []ledger.UnknownPart{{Rule: "bud_1", Amount: 30, Tokens: true}},
	})
	same(t, "how many are unknown", len(tries), 2)
}

// ledgerIsSettled says once what an unknown try came to.
func ledgerIsSettled(t *testing.T, s Store) {
	t.Helper()
	ctx := t.Context()
	made, err := s.SettleTry(ctx, ledger.Resolution{Try: "try_ex_4", Amount: 7, Tokens: -1, Reason: "the bill"})
	must(t, err)
	same(t, "settled", ledgerLines(made), []ledgerLine{{6, ledger.Settled, spendOfPrj1, "owed:openai", 7, "try_ex_4", "openai/gpt-5", 4, "the bill"}})
	same(t, "when that was", made.At, day.UTC())
	_, err = s.SettleTry(ctx, ledger.Resolution{Try: "try_ex_4", Void: true, Reason: "again"})
	refused(t, err, fault.AlreadyThere)
	_, err = s.SettleTry(ctx, ledger.Resolution{Try: "try_ex_1", Void: true, Reason: "again"})
	refused(t, err, fault.NotThere)
	got := trade(t, s, escrow.Holder{Journal: "j", Run: "1"}, escrow.Trade{Key: escrow.Key{Rule: "bud_1"}, Terms: limited(100), Lease: "l", Need: 9, Want: 9, Replicas: 1})
	same(t, "window", got.State, escrow.State{Limit: 100, Highest: 100, Settled: 30, Held: 9})

	// A lease that is renewed is its process's.
	_, err = s.SettleLease(ctx, ledger.LeaseSettlement{Lease: "l", Amount: 1, Reason: "gone"})
	refused(t, err, fault.InUse)
	_, err = s.SettleLease(ctx, ledger.LeaseSettlement{Lease: "nothing", Amount: 1, Reason: "gone"})
	refused(t, err, fault.NotThere)
}

// ledgerIsClosed corrects the books, which goes either way, and closes two months. It gives what the first came to.
func ledgerIsClosed(t *testing.T, s Store) llm.Money {
	t.Helper()
	ctx := t.Context()
	_, err := s.AdjustLedger(ctx, ledger.Adjustment{Org: "default", Project: "prj_1", Provider: "openai", Target: "openai/gpt-5", Amount: -6, At: day, Reason: "bill"})
	must(t, err)
	_, err = s.AdjustLedger(ctx, ledger.Adjustment{Org: "default", Project: "prj_2", Provider: "new", Amount: 11, At: day, Try: "try_ex_1", Reason: "bill"})
	must(t, err)
	month := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	c, err := ledger.Close(ctx, s, month, month.AddDate(0, 1, 0))
	must(t, err)
	same(t, "month", c, &ledger.Closing{From: month, To: month.AddDate(0, 1, 0), Total: 40 + 70 + 5 + 7 - 6 + 11, Rows: []ledger.Total{
		{Org: "default", Project: "prj_1", Provider: "claude", Credential: 2, Target: "claude/haiku", Kind: ledger.Estimated, Entries: 1, Amount: 70},
		{Org: "default", Project: "prj_1", Provider: "openai", Target: "openai/gpt-5", Kind: ledger.Posted, Entries: 2, Amount: 45},
		{Org: "default", Project: "prj_1", Provider: "openai", Target: "openai/gpt-5", Kind: ledger.Settled, Entries: 1, Amount: 7},
		{Org: "default", Project: "prj_1", Provider: "openai", Target: "openai/gpt-5", Kind: ledger.Adjusted, Entries: 1, Amount: -6},
		{Org: "default", Project: "prj_2", Provider: "new", Kind: ledger.Adjusted, Entries: 1, Amount: 11},
	}})
	next, err := ledger.Close(ctx, s, c.To, c.To.AddDate(0, 1, 0))
	must(t, err)
	same(t, "the next month", [2]llm.Money{next.Total, next.Pending}, [2]llm.Money{0, 1000})
	_, err = s.SettleTry(ctx, ledger.Resolution{Try: "try_ex_5", Void: true, Reason: "never arrived"})
	must(t, err)
	if next, err = ledger.Close(ctx, s, c.To, c.To.AddDate(0, 1, 0)); err != nil || len(next.Rows) > 0 {
		t.Errorf("%+v, %v", next, err)
	}
	same(t, "spent", fits(t, s).Spent, c.Total)
	return c.Total
}

// ledgerIsOwed adds accounts up: what is spent is what somebody gets.
func ledgerIsOwed(t *testing.T, s Store, total llm.Money) {
	t.Helper()
	accounts, err := s.LedgerAccounts(t.Context())
	must(t, err)
	var owed, spent llm.Money
	for i := range accounts {
		if accounts[i].Side == ledger.Owed {
			owed += accounts[i].Net()
		} else {
			spent += accounts[i].Net()
		}
	}
	same(t, "what is owed and spent", [2]llm.Money{owed, spent}, [2]llm.Money{total, total})
}

// testLedgerAtOnce settles, corrects, trades and writes at once; of those who settle the same try, one does.
func testLedgerAtOnce(t *testing.T, s Store) {
	ctx := t.Context()
	key := escrow.Key{Rule: "bud_1"}
	const tries = 20
	var records []*usage.Record
	for i := range tries {
		records = append(records, charged(fmt.Sprint("ex_u", i), pipeline.Unknown, 0, pipeline.Charge{Budget: key.Rule, Held: 10}))
	}
	must(t, s.AddRecords(ctx, "j", 1, records))
	var all sync.WaitGroup
	var mu sync.Mutex
	settled := 0
	for i := range 4 {
		all.Go(func() {
			for j := range tries {
				_, err := s.SettleTry(ctx, ledger.Resolution{Try: fmt.Sprint("try_ex_u", j), Amount: 4, Reason: "bill"})
				if err == nil {
					mu.Lock()
					settled++
					mu.Unlock()
				} else {
					refused(t, err, fault.AlreadyThere)
				}
			}
		})
		all.Go(func() {
			for j := range tries {
				r := charged(fmt.Sprint("ex_", i, "_", j), pipeline.SettledActual, 3, pipeline.Charge{Budget: key.Rule, Lease: fmt.Sprint("l", i), Held: 5})
				if _, err := s.Trade(ctx, escrow.Holder{Journal: "j", Run: "1"}, []escrow.Trade{
					{Key: key, Terms: limited(10_000), Lease: fmt.Sprint("l", i), Need: 5, Want: 5, Replicas: 4},
				}); err != nil {
					t.Error(err)
				}
				if err := s.AddRecords(ctx, "j", 1, []*usage.Record{r}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	same(t, "settled", settled, tries)
	r := fits(t, s)
	same(t, "spent", r.Spent, llm.Money(tries*4+4*tries*3))
}

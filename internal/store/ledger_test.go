//go:build unix

package store

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/audit"
	"github.com/penstock/penstock/internal/escrow"
	"github.com/penstock/penstock/internal/ledger"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/seal"
	"github.com/penstock/penstock/internal/usage"
)

// onEach runs a test on an empty store of each engine.
func onEach(t *testing.T, test func(t *testing.T, s *Store)) {
	t.Helper()
	t.Parallel()
	for name, address := range emptyAt {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, openAt(t, address(t)))
		})
	}
}

func tradeOne(t *testing.T, s *Store, h escrow.Holder, tr escrow.Trade) escrow.Result {
	t.Helper()
	tr.Terms, tr.Replicas = escrow.Terms{Limit: 100, Version: 1}, 1
	all, err := s.Trade(t.Context(), h, []escrow.Trade{tr})
	if err != nil {
		t.Fatal(err)
	}
	return all[0]
}

// spent is the record of a call that reserved an amount from a lease.
func spent(id string, outcome pipeline.Outcome, cost, reserved int64, key escrow.Key, lease string) *usage.Record {
	return &usage.Record{ID: id, Time: time.Now(), Org: "default", Project: "prj_1", Target: "openai/gpt-5", CostNano: llm.Money(cost), Tries: []pipeline.Try{{
		ID: "try_" + id, Target: "openai/gpt-5", Outcome: outcome, CostNano: llm.Money(cost), BoundNano: llm.Money(reserved),
		Charges: []pipeline.Charge{{Budget: key.Rule, Subject: key.Subject, Start: key.Start, Lease: lease, Held: reserved}},
	}}}
}

func book(t *testing.T, s *Store, records ...*usage.Record) {
	t.Helper()
	if err := s.AddRecords(t.Context(), "j_a", 1, records); err != nil {
		t.Fatal(err)
	}
}

// booksFit fails the test if something in the books does not.
func booksFit(t *testing.T, s *Store) *ledger.Report {
	t.Helper()
	r, err := ledger.Check(t.Context(), s)
	if err != nil || len(r.Findings) > 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	return r
}

func wantState(t *testing.T, what string, got, want escrow.State) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %+v, want %+v", what, got, want)
	}
}

// age makes leases look as if nobody had renewed them for an hour.
func age(t *testing.T, s *Store, leases ...string) {
	t.Helper()
	for _, id := range leases {
		if _, err := s.write.ExecContext(t.Context(), s.d.rebind("UPDATE budget_leases SET renewed = renewed - 3600000000 WHERE id = ?"), id); err != nil {
			t.Fatal(err)
		}
	}
}

// What is in a lease that nobody renews is unknown, and nobody else gets it; whoever wakes up and renews it goes on.
func TestALeaseThatNobodyRenewsIsUnknown(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		key := escrow.Key{Rule: "bud_1"}
		a, b := escrow.Holder{Journal: "j_a", Run: "1"}, escrow.Holder{Journal: "j_b", Run: "1"}
		tradeOne(t, s, a, escrow.Trade{Key: key, Lease: "l_a", Need: 80, Want: 80})
		age(t, s, "l_a")
		got := tradeOne(t, s, b, escrow.Trade{Key: key, Lease: "l_b", Need: 30, Want: 30})
		if got.Granted != 0 {
			t.Errorf("granted %d of what is unknown", got.Granted)
		}
		wantState(t, "not renewed", got.State, escrow.State{Limit: 100, Highest: 100, Unknown: 80})
		_, dead, err := s.LedgerUnknowns(t.Context(), 10)
		if err != nil || len(dead) != 1 || dead[0].ID != "l_a" || dead[0].Amount != 80 || dead[0].Restored {
			t.Errorf("%+v, %v", dead, err)
		}
		got = tradeOne(t, s, a, escrow.Trade{Key: key, Lease: "l_a"})
		wantState(t, "renewed", got.State, escrow.State{Limit: 100, Highest: 100, Held: 80})
		booksFit(t, s)
	})
}

// Somebody says what a lost process spent. What it tells after all is not counted twice, and what goes beyond is over.
func TestALeaseThatWasSettledByHand(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		key := escrow.Key{Rule: "bud_1"}
		a := escrow.Holder{Journal: "j_a", Run: "1"}
		tradeOne(t, s, a, escrow.Trade{Key: key, Lease: "l_a", Need: 80, Want: 80})
		age(t, s, "l_a")
		entry, err := s.SettleLease(t.Context(), ledger.LeaseSettlement{Lease: "l_a", Amount: 50, Reason: "the bill"})
		if err != nil || entry.Kind != ledger.Lease || entry.Amount != 0 {
			t.Fatalf("%+v, %v", entry, err)
		}
		spy := escrow.Holder{Journal: "j_spy"}
		look := func(what string, want escrow.State) {
			t.Helper()
			want.Limit, want.Highest = 100, 100
			wantState(t, what, tradeOne(t, s, spy, escrow.Trade{Key: key, Lease: "l_spy"}).State, want)
			booksFit(t, s)
		}
		look("settled", escrow.State{Settled: 50})
		got := tradeOne(t, s, a, escrow.Trade{Key: key, Lease: "l_a", Need: 1, Want: 1, Back: 10})
		if !got.Lost || got.Granted != 0 {
			t.Errorf("a zombie went on: %+v", got)
		}
		book(t, s, spent("ex_1", pipeline.SettledActual, 30, 40, key, "l_a"))
		look("what it had spent", escrow.State{Settled: 50})
		book(t, s, spent("ex_2", pipeline.Unknown, 0, 15, key, "l_a"))
		look("what nobody knows of", escrow.State{Settled: 50})
		book(t, s, spent("ex_3", pipeline.SettledActual, 25, 25, key, "l_a"))
		look("what it spent since", escrow.State{Settled: 70, Over: 20})
		book(t, s, spent("ex_4", pipeline.Unknown, 0, 8, key, "l_a"))
		look("what may be", escrow.State{Settled: 78, Over: 28})
		for try, r := range map[string]ledger.Resolution{"try_ex_2": {Amount: 18}, "try_ex_4": {Void: true}} {
			r.Try, r.Reason = try, "the bill"
			if _, err := s.SettleTry(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}
		look("what that was", escrow.State{Settled: 73, Over: 23}) // 50, 20, and 18 less the 15 that were in the 50
		if err := s.ReleaseOlder(t.Context(), escrow.Holder{Journal: "j_a", Run: "2"}); err != nil {
			t.Fatal(err)
		}
		look("after it came back", escrow.State{Settled: 73, Over: 23})
		if r := booksFit(t, s); r.Spent != 30+25+18 {
			t.Errorf("spent %d", r.Spent)
		}
	})
}

// More may be said than was in the lease: that is over.
func TestALeaseThatCameToMore(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		key := escrow.Key{Rule: "bud_1"}
		tradeOne(t, s, escrow.Holder{Journal: "j_a"}, escrow.Trade{Key: key, Lease: "l_a", Need: 80, Want: 80})
		age(t, s, "l_a")
		if _, err := s.SettleLease(t.Context(), ledger.LeaseSettlement{Lease: "l_a", Amount: 95, Reason: "the bill"}); err != nil {
			t.Fatal(err)
		}
		got := tradeOne(t, s, escrow.Holder{Journal: "j_b"}, escrow.Trade{Key: key, Lease: "l_b", Need: 6, Want: 6})
		wantState(t, "settled", got.State, escrow.State{Limit: 100, Highest: 100, Settled: 95, Over: 15})
		booksFit(t, s)
	})
}

// A store that was put back gives nobody what was in its leases, not even to their processes: what they spent since the backup may be
// in no record any more.
func TestARestoredStoreGivesNobodyWhatWasInLeases(t *testing.T) {
	t.Parallel()
	ring, _, err := seal.Open(filepath.Join(t.TempDir(), "keyring.json"))
	if err != nil {
		t.Fatal(err)
	}
	for from, origin := range emptyAt {
		for into, target := range emptyAt {
			t.Run(from+" into "+into, func(t *testing.T) {
				t.Parallel()
				key := escrow.Key{Rule: "bud_1", Subject: "é", Start: 5}
				a := escrow.Holder{Journal: "j_a", Run: "1"}
				s := openAt(t, origin(t))
				tradeOne(t, s, a, escrow.Trade{Key: key, Lease: "l_a", Need: 40, Want: 40})
				book(t, s, spent("ex_1", pipeline.SettledActual, 10, 10, key, "l_a"), spent("ex_2", pipeline.Unknown, 0, 5, key, "l_a"))
				file, _ := take(t, s, ring)
				address := target(t)
				if err := load(t, address, file, ring); err != nil {
					t.Fatal(err)
				}
				r := openWith(t, address, Options{Restoring: true})
				if _, err := r.Check(t.Context()); err != nil {
					t.Fatal(err)
				}
				if _, err := r.Restored(t.Context(), func(int64) audit.Act { return audit.Act{Action: audit.StoreRestored} }); err != nil {
					t.Fatal(err)
				}
				got := tradeOne(t, r, a, escrow.Trade{Key: key, Lease: "l_a", Need: 1, Want: 1})
				if !got.Lost || got.Granted != 0 {
					t.Errorf("a lease from before went on: %+v", got)
				}
				wantState(t, "restored", got.State, escrow.State{Limit: 100, Highest: 100, Settled: 10, Unknown: 5 + 25})
				if err := r.ReleaseOlder(t.Context(), escrow.Holder{Journal: "j_a", Run: "2"}); err != nil {
					t.Fatal(err)
				}
				// What a journal still has is taken from it.
				book(t, r, spent("ex_3", pipeline.SettledActual, 3, 4, key, "l_a"), spent("ex_1", pipeline.SettledActual, 10, 10, key, "l_a"))
				got = tradeOne(t, r, escrow.Holder{Journal: "j_b"}, escrow.Trade{Key: key, Lease: "l_b", Need: 60, Want: 60})
				wantState(t, "restored", got.State, escrow.State{Limit: 100, Highest: 100, Settled: 13, Unknown: 5 + 22, Held: 60})
				_, dead, err := r.LedgerUnknowns(t.Context(), 10)
				if err != nil || len(dead) != 1 || !dead[0].Restored || dead[0].Amount != 22 {
					t.Errorf("%+v, %v", dead, err)
				}
				if _, err := r.SettleLease(t.Context(), ledger.LeaseSettlement{Lease: "l_a", Amount: 2, Reason: "the bill"}); err != nil {
					t.Fatal(err)
				}
				got = tradeOne(t, r, escrow.Holder{Journal: "j_b"}, escrow.Trade{Key: key, Lease: "l_b", Need: 20, Want: 20})
				wantState(t, "settled", got.State, escrow.State{Limit: 100, Highest: 100, Settled: 15, Unknown: 5, Held: 80})
				if rep := booksFit(t, r); rep.Spent != 13 || rep.Unknown != 1 {
					t.Errorf("%+v", rep)
				}
			})
		}
	}
}

// What a version without a ledger wrote is in no books, and nobody looks for it there.
func TestExchangesOfAnOlderVersionAreNoFindings(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		key := escrow.Key{Rule: "bud_1"}
		older := func(query string) {
			t.Helper()
			for _, q := range []string{query, "DELETE FROM ledger_gaps"} {
				if _, err := s.write.ExecContext(t.Context(), q); err != nil {
					t.Fatal(err)
				}
			}
		}
		book(t, s, spent("ex_1", pipeline.SettledActual, 10, 10, key, ""), spent("ex_2", pipeline.SettledActual, 10, 10, key, ""))
		booksFit(t, s)
		// As an older one leaves it: exchanges that the state knows nothing of.
		older("INSERT INTO exchanges SELECT seq + 2, id || 'x', time, org, project, key_id, end_user, model, target, op, error, status, failed, stream, input, " +
			"output, cached_input, cache_write, reasoning, estimated, cost_nano, unpriced, total_ns, first_ns, cost_unknown, overhead_ns, trace FROM exchanges")
		booksFit(t, s)
		book(t, s, spent("ex_3", pipeline.SettledActual, 10, 10, key, ""))
		if r := booksFit(t, s); r.Exchanges != 3 || r.Spent != 30 {
			t.Errorf("%+v", r)
		}
	})
}

// TestWhatDoesNotFitInTheBooksIsFound alters the books in every way.
func TestWhatDoesNotFitInTheBooksIsFound(t *testing.T) {
	t.Parallel()
	for query, want := range map[string]string{
		"UPDATE ledger_accounts SET debit_posted = debit_posted + 1 WHERE kind = 'spend'": "spend:default/prj_1: what is debited is 15, and should be 14",
		"UPDATE ledger_accounts SET credit_pending = 0":                                   "owed:openai: what is credited and pending is 0, and should be 5",
		"DELETE FROM ledger_accounts WHERE kind = 'owed'":                                 "accounts of that number is 0, and should be 1",
		"UPDATE budget_pools SET settled = settled - 1":                                   "window of bud_1 from 0: what is settled is 13, and should be 14",
		"UPDATE budget_pools SET unknown = 0":                                             "what is unknown is 0, and should be 5",
		"UPDATE budget_pools SET overrun = 7":                                             "what is over is 7, and should be 1",
		"UPDATE budget_pools SET held = 3":                                                "which is the sum of its leases is 3, and should be 62",
		"UPDATE budget_leases SET amount = amount - 1":                                    "which is the sum of its leases is 62, and should be 61",
		"UPDATE budget_pools SET highest = 79":                                            "what is used, at most is 80, and should be 79",
		"UPDATE exchanges SET cost_nano = 9 WHERE cost_nano = 10":                         "exchange ex_1: what its tries came to is 10, and should be 9",
		"UPDATE ledger_unknowns SET settled = 1":                                          "entry 2: the list of what is unknown",
		"UPDATE ledger_state SET entries = 4":                                             "number of the last entry is 4, and should be 3",
		"INSERT INTO ledger_entries (seq, at, made, kind, debit, credit, amount, try, exchange, target, settles, note) VALUES (5, 1, 1, 1, 1, 2, 3, 't', 1, 0, 0, '')": "entry 5: number is 5, and should be 4",
	} {
		t.Run(query, func(t *testing.T) {
			t.Parallel()
			s := openAt(t, emptyAt["SQLite"](t))
			key := escrow.Key{Rule: "bud_1"}
			tradeOne(t, s, escrow.Holder{Journal: "j_a"}, escrow.Trade{Key: key, Lease: "l_a", Need: 80, Want: 80})
			book(t, s, spent("ex_1", pipeline.SettledActual, 10, 10, key, "l_a"), spent("ex_2", pipeline.Unknown, 0, 5, key, "l_a"),
				spent("ex_3", pipeline.SettledActual, 4, 3, key, "l_a"))
			booksFit(t, s)
			if _, err := s.write.ExecContext(t.Context(), query); err != nil {
				t.Fatal(err)
			}
			r, err := ledger.Check(t.Context(), s)
			if err != nil || !strings.Contains(fmt.Sprint(texts(r)), want) {
				t.Errorf("found %s, %v, want %s", texts(r), err, want)
			}
		})
	}
}

func texts(r *ledger.Report) (all []string) {
	for i := range r.Findings {
		all = append(all, r.Findings[i].String())
	}
	return all
}

func TestTheLedgerIsAppendOnly(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		book(t, s, spent("ex_1", pipeline.SettledActual, 10, 10, escrow.Key{Rule: "bud_1"}, ""))
		for _, query := range []string{"DELETE FROM ledger_entries", "UPDATE ledger_entries SET amount = 1"} {
			if _, err := s.write.ExecContext(t.Context(), query); err == nil || !strings.Contains(err.Error(), "append-only") {
				t.Errorf("%s: %v", query, err)
			}
		}
	})
}

// BenchmarkAddChargedRecords is what it costs to keep records that count for four budgets: with AddRecords, the price of the books.
func BenchmarkAddChargedRecords(b *testing.B) {
	for _, charges := range []int{0, 1, 4} {
		b.Run(fmt.Sprint("budgets=", charges), func(b *testing.B) {
			s := openTest(b)
			var spentCPU float64
			for n := 0; n < b.N; n += 500 {
				b.StopTimer()
				records := workloads(n, 500)
				for _, r := range records {
					for c := range charges {
						r.Tries[0].Charges = append(r.Tries[0].Charges, pipeline.Charge{Budget: fmt.Sprint("bgt_01KA00000000000000000000", c), Lease: fmt.Sprint("l", c), Held: 1000})
					}
				}
				began := cpu()
				b.StartTimer()
				if err := s.AddRecords(b.Context(), "j", int64(n), records); err != nil {
					b.Fatal(err)
				}
				spentCPU += cpu() - began
			}
			b.ReportMetric(spentCPU/float64(b.N), "cpu-ns/row")
		})
	}
}

// BenchmarkCheckLedger is what it costs to check an entry.
func BenchmarkCheckLedger(b *testing.B) {
	s := openTest(b)
	for n := 0; n < b.N; n += 500 {
		if err := s.AddRecords(b.Context(), "j", int64(n), workloads(n, 500)); err != nil {
			b.Fatal(err)
		}
	}
	b.ResetTimer()
	if r, err := ledger.Check(b.Context(), s); err != nil || len(r.Findings) > 0 {
		b.Fatalf("%+v, %v", r, err)
	}
}

// Windows go some time after they ended, but not as long as something of them is held, unknown or renewed.
func TestOldWindowsGo(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		now, long := time.Now().UnixMicro(), int64(24*time.Hour/time.Microsecond)
		a := escrow.Holder{Journal: "j_a", Run: "1"}
		want := map[string]bool{}
		for name, w := range map[string]struct {
			subject     string
			start, end  int64
			held, renew bool
			unknown     bool
			stays       bool
		}{
			"current":                       {subject: "u", start: now - long, end: now + long, stays: true},
			"an hour, of a user":            {subject: "u", start: now - 3*long, end: now - 3*long + long/24},
			"an hour just over":             {subject: "u", start: now - long, end: now - long + long/24, stays: true},
			"a month, of a user":            {subject: "u", start: now - 40*long, end: now - 10*long, stays: true},
			"a month, of a user, long over": {subject: "u", start: now - 70*long, end: now - 40*long},
			"an hour, of one":               {start: now - 3*long, end: now - 3*long + long/24, stays: true},
			"an hour, of one, long over":    {start: now - 500*long, end: now - 499*long},
			"held":                          {subject: "u", start: now - 900*long, end: now - 800*long, held: true, stays: true},
			"unknown":                       {subject: "u", start: now - 900*long, end: now - 800*long, unknown: true, stays: true},
			"renewed":                       {subject: "u", start: now - 900*long, end: now - 800*long, renew: true, stays: true},
			"without end":                   {subject: "u", start: 0, end: 0, stays: true},
		} {
			key, lease := escrow.Key{Rule: name, Subject: w.subject, Start: w.start}, "l "+name
			tr := escrow.Trade{Key: key, Terms: escrow.Terms{Limit: 100, Version: 1, End: w.end}, Lease: lease, Need: 9, Want: 9, Replicas: 1}
			if _, err := s.Trade(t.Context(), a, []escrow.Trade{tr}); err != nil {
				t.Fatal(err)
			}
			if w.unknown {
				book(t, s, spent("ex_"+name, pipeline.Unknown, 0, 4, key, lease))
			} else {
				book(t, s, spent("ex_"+name, pipeline.SettledActual, 4, 4, key, lease))
			}
			tr.Need, tr.Want, tr.Back, tr.Terms = 0, 0, 5, escrow.Terms{}
			if w.held {
				tr.Back = 0
			}
			if _, err := s.Trade(t.Context(), a, []escrow.Trade{tr}); err != nil {
				t.Fatal(err)
			}
			if !w.renew {
				age(t, s, lease)
			}
			want[name] = w.stays
		}
		tradeOne(t, s, a, escrow.Trade{Key: escrow.Key{Rule: "the last"}, Lease: "l"})
		for {
			n, err := s.PurgeWindows(t.Context(), 2)
			if err != nil {
				t.Fatal(err)
			}
			if n == 0 {
				break
			}
		}
		for name, stays := range want {
			var n int
			if err := s.row(t.Context(), "SELECT COUNT(*) FROM budget_pools WHERE rule = ?", name).Scan(&n); err != nil || n == 1 != stays {
				t.Errorf("%s: %d, %v", name, n, err)
			}
		}
		if r := booksFit(t, s); r.Entries != int64(len(want)) {
			t.Errorf("%+v", r)
		}
		book(t, s, spent("ex_late", pipeline.SettledActual, 4, 4, escrow.Key{Rule: "an hour, of one, long over", Start: now - 500*long}, "l an hour, of one, long over"))
		if r := booksFit(t, s); r.Spent != llm.Money(4*len(want)) { // the unknown one is not in it, the late one is
			t.Errorf("%+v", r)
		}
	})
}

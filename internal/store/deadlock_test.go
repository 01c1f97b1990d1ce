//go:build unix

package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/escrow"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/ledger"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/store/pgtest"
	"github.com/penstock/penstock/internal/usage"
)

// giveUp has a server give up each fifth transaction that touches money, at its end: with 40001, or with 40P01.
const giveUp = `CREATE FUNCTION give_up() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		IF txid_current() % 10 = 0 THEN RAISE EXCEPTION 'given up' USING ERRCODE = '40001'; END IF;
		IF txid_current() % 10 = 5 THEN RAISE EXCEPTION 'given up' USING ERRCODE = '40P01'; END IF;
		RETURN NULL;
	END $$;
	CREATE CONSTRAINT TRIGGER give_up AFTER INSERT ON ledger_entries DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION give_up();
	CREATE CONSTRAINT TRIGGER give_up AFTER INSERT OR UPDATE ON budget_leases DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION give_up()`

// opposing locks all windows of budgets in the order opposite to ours until ctx ends. Most deadlocks are found by us: who waits last
// finds them, and it waits for longer before it looks.
func opposing(ctx context.Context, db *sql.DB) error {
	lock := func() error {
		t, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer func() { _ = t.Rollback() }() // it changes nothing
		if _, err := t.ExecContext(ctx, "SET LOCAL deadlock_timeout = '50ms'"); err != nil {
			return err
		}
		for i := keysAtOdds - 1; i >= 0; i-- {
			if _, err := t.ExecContext(ctx, "SELECT 1 FROM budget_pools WHERE rule = $1 FOR UPDATE", keyAtOdds(i).Rule); err != nil {
				return err
			}
			<-time.After(time.Millisecond)
		}
		return nil
	}
	for ctx.Err() == nil {
		if err := lock(); err != nil && ctx.Err() == nil && postgresCode(err) != "40P01" {
			return err
		}
		<-time.After(200 * time.Millisecond) // or nobody else would get on
	}
	return nil
}

const keysAtOdds = 4

func keyAtOdds(i int) escrow.Key { return escrow.Key{Rule: fmt.Sprint("bud_", i)} }

// A spender is one replica that takes leases of all windows, and writes what it spends from them, as often as it takes.
type spender struct {
	s       *Store
	holder  escrow.Holder
	rng     *rand.Rand
	mu      sync.Mutex // guards given
	given   map[string]int
	n, cost int64
}

// watched counts the errors that are tried again.
func (r *spender) watched() {
	d := *r.s.d
	passing := d.isPassing
	d.isPassing = func(err error) bool {
		if !passing(err) {
			return false
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.given[postgresCode(err)]++
		if !giveUpSaid(err) {
			r.given["deadlock"]++
		}
		return true
	}
	r.s.d = &d
}

// giveUpSaid tells what giveUp raises from what the server finds.
func giveUpSaid(err error) bool { return strings.Contains(err.Error(), "given up") }

// untilTaken repeats what was given up more often than the store tries it again.
func untilTaken(f func() error) error {
	for {
		err := f()
		told, ok := errors.AsType[*fault.Error](err)
		if !ok || told.RetryAfter == 0 {
			return err
		}
	}
}

// spend has one call pay from all windows: it takes what it needs, in any order, and is written.
func (r *spender) spend(ctx context.Context) error {
	const need = 10
	trades := make([]escrow.Trade, keysAtOdds)
	for place, i := range r.rng.Perm(keysAtOdds) {
		trades[place] = escrow.Trade{
			Key: keyAtOdds(i), Lease: fmt.Sprint(r.holder.Journal, "_", i), Need: need, Want: need, Replicas: 1,
			Terms: escrow.Terms{Limit: 1 << 40, Version: 1},
		}
	}
	var had []escrow.Result
	err := untilTaken(func() (err error) { had, err = r.s.Trade(ctx, r.holder, trades); return err })
	if err != nil {
		return err
	}
	cost := 1 + r.rng.Int64N(need)
	record := spent(fmt.Sprint(r.holder.Journal, "_", r.n), pipeline.SettledActual, cost, need, escrow.Key{}, "")
	charges := make([]pipeline.Charge, len(trades))
	for i := range trades {
		if had[i].Granted != need {
			return fmt.Errorf("granted %+v", had[i])
		}
		charges[i] = pipeline.Charge{Budget: trades[i].Key.Rule, Lease: trades[i].Lease, Held: need}
		trades[i].Need, trades[i].Want, trades[i].Back = 0, 0, need-cost
	}
	record.Tries[0].Charges = charges
	if err := untilTaken(func() error { return r.s.AddRecords(ctx, r.holder.Journal, r.n, []*usage.Record{record}) }); err != nil {
		return err
	}
	r.n, r.cost = r.n+1, r.cost+cost
	return untilTaken(func() (err error) { had, err = r.s.Trade(ctx, r.holder, trades); return err })
}

// Fault 13: three replicas spend from the same windows, somebody locks them in the opposite order, and each fifth commit is given up.
// What the server gives up is tried again whole: nothing is booked twice or lost, and the books fit.
func TestFault13(t *testing.T) {
	t.Parallel()
	address := pgtest.Database(t)
	var all []*spender
	for i := range 3 {
		r := &spender{s: openAt(t, address), holder: escrow.Holder{Journal: fmt.Sprint("j_", i), Run: "1"}, rng: rand.New(rand.NewPCG(13, uint64(i))), given: map[string]int{}}
		r.watched()
		all = append(all, r)
	}
	pgtest.Execute(t, address, giveUp)
	pgtest.Execute(t, address, "DO $$ BEGIN EXECUTE 'ALTER DATABASE ' || current_database() || ' SET deadlock_timeout = ''10ms'''; END $$")
	for _, r := range all { // connections that were there have the old setting
		r.s.write.SetMaxIdleConns(0)
	}
	db, err := sql.Open("pgx", address)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	ctx, end := context.WithCancel(t.Context())
	defer end()
	var spending, odds sync.WaitGroup
	odds.Go(func() {
		if err := opposing(ctx, db); err != nil {
			t.Error(err)
		}
	})
	for _, r := range all {
		spending.Go(func() {
			for range 25 {
				if err := r.spend(t.Context()); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	spending.Wait()
	end()
	odds.Wait()
	given := map[string]int{}
	var cost, n int64
	for _, r := range all {
		cost, n = cost+r.cost, n+r.n
		for code, times := range r.given {
			given[code] += times
		}
	}
	t.Logf("%d calls came to %d; given up: %v", n, cost, given)
	if given["40001"] < 10 || given["40P01"] < 10 || given["deadlock"] == 0 {
		t.Errorf("given up: %v: this test tests little", given)
	}
	for i := range keysAtOdds {
		got := tradeOne(t, all[0].s, all[0].holder, escrow.Trade{Key: keyAtOdds(i), Lease: "asks", End: true}).State
		wantState(t, keyAtOdds(i).Rule, got, escrow.State{Limit: 1 << 40, Highest: 1 << 40, Settled: cost})
	}
	if report := booksFit(t, all[0].s); report.Entries != n {
		t.Errorf("%d entries of %d calls", report.Entries, n)
	}
}

// What a transaction has made and remembered is forgotten when the server gives it up at its end: the next try, and whoever comes
// after it, would write numbers of accounts and names that are not there.
func TestWhatIsGivenUpAtCommitIsForgotten(t *testing.T) {
	t.Parallel()
	for name, write := range map[string]func(t *testing.T, s *Store) error{
		"records": func(t *testing.T, s *Store) error {
			return s.AddRecords(t.Context(), "j_a", 1, []*usage.Record{spent("ex_1", pipeline.SettledActual, 5, 10, escrow.Key{Rule: "bud_1"}, "")})
		},
		"a correction": func(t *testing.T, s *Store) error {
			_, err := s.AdjustLedger(t.Context(), ledger.Adjustment{Org: "default", Project: "prj_1", Provider: "openai", Target: "openai/gpt-5", Amount: 5, Reason: "late"})
			return err
		},
	} {
		for _, failures := range []int{1, 4} { // one that is tried again, and one that fails for good
			t.Run(fmt.Sprint(name, " ", failures), func(t *testing.T) {
				t.Parallel()
				address := pgtest.Database(t)
				s := openAt(t, address)
				pgtest.Execute(t, address, fmt.Sprintf(`CREATE SEQUENCE tries; CREATE FUNCTION give_up() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
						IF nextval('tries') <= %d THEN RAISE EXCEPTION 'given up' USING ERRCODE = '40001'; END IF; RETURN NULL;
					END $$;
					CREATE CONSTRAINT TRIGGER give_up AFTER INSERT ON ledger_entries DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION give_up()`, failures))
				if err := write(t, s); (err != nil) != (failures == 4) {
					t.Fatal(err)
				}
				book(t, s, spent("ex_2", pipeline.SettledActual, 7, 10, escrow.Key{Rule: "bud_1"}, ""))
				booksFit(t, s)
				entries, err := s.LedgerEntries(t.Context(), ledger.Query{Limit: 10})
				if err != nil || len(entries) == 0 {
					t.Fatal(err)
				}
				for _, e := range entries {
					if e.Target != "openai/gpt-5" || e.Debit == "" || e.Credit == "" {
						t.Errorf("entry %+v", e)
					}
				}
			})
		}
	}
}

//go:build linux

package chaos

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"

	"github.com/penstock/penstock/internal/failpoint"
	"github.com/penstock/penstock/internal/store/pgtest"
)

// A budgetWatch samples how all windows of budgets stand, past everything that is tested.
type budgetWatch struct {
	db       *sql.DB
	samples  atomic.Int64
	broken   atomic.Pointer[string] // the first sample that breaks the promise
	stop     context.CancelFunc
	sampling sync.WaitGroup
}

// watchBudgets looks each 5 ms. A database that does not answer is asked again.
func watchBudgets(t *testing.T, database string) *budgetWatch {
	t.Helper()
	db, err := sql.Open("pgx", database)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	ctx, cancel := context.WithCancel(context.Background())
	w := &budgetWatch{db: db, stop: cancel}
	w.sampling.Go(func() {
		for tick := time.NewTicker(5 * time.Millisecond); ctx.Err() == nil; <-tick.C {
			w.sample(ctx)
		}
	})
	t.Cleanup(w.end)
	return w
}

func (w *budgetWatch) end() {
	w.stop()
	w.sampling.Wait()
}

// sample checks the promise: what is settled, but for overruns, with all that is open is never more than the highest limit, and what
// is held is the sum of the leases.
func (w *budgetWatch) sample(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	rows, err := w.db.QueryContext(ctx, `SELECT rule, settled, overrun, held, unknown, highest,
		(SELECT COALESCE(SUM(amount), 0) FROM budget_leases WHERE pool = p.id AND state = 0) FROM budget_pools p`)
	if err != nil {
		return
	}
	defer rows.Close()
	for rows.Next() {
		var rule string
		var settled, over, held, unknown, highest, leased int64
		if rows.Scan(&rule, &settled, &over, &held, &unknown, &highest, &leased) != nil {
			return
		}
		if settled-over+held+unknown > highest || settled < 0 || held < 0 || unknown < 0 || over < 0 {
			text := fmt.Sprintf("%s: settled %d, overrun %d, held %d (leases %d), unknown %d, highest limit %d", rule, settled, over, held, leased, unknown, highest)
			w.broken.CompareAndSwap(nil, &text)
		}
	}
	if rows.Err() == nil {
		w.samples.Add(1)
	}
}

// sums are those of the window of the budget that was set first. Which of them is made first is a race.
func (w *budgetWatch) sums(t *testing.T) (settled, held, unknown, over int64) {
	t.Helper()
	row := w.db.QueryRow("SELECT settled, held, unknown, overrun FROM budget_pools ORDER BY rule, id LIMIT 1")
	if err := row.Scan(&settled, &held, &unknown, &over); err != nil {
		t.Fatal(err)
	}
	return settled, held, unknown, over
}

// limit is that of the same window.
func (w *budgetWatch) limit(t *testing.T) (n int64) {
	t.Helper()
	if err := w.db.QueryRow("SELECT allowed FROM budget_pools ORDER BY rule, id LIMIT 1").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// log tells how all windows stand.
func (w *budgetWatch) log(t *testing.T) {
	t.Helper()
	rows, err := w.db.Query("SELECT rule, subject, allowed, settled, held, unknown, overrun FROM budget_pools ORDER BY id")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var rule, subject string
		var allowed, settled, held, unknown, over int64
		if err := rows.Scan(&rule, &subject, &allowed, &settled, &held, &unknown, &over); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s %s: limit %d, settled %d, held %d, unknown %d, overrun %d", rule, subject, allowed, settled, held, unknown, over)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
}

// setBudget sets a budget of the shared project.
func (r *replica) setBudget(more map[string]any) {
	r.t.Helper()
	body := map[string]any{"project": "shared", "per": "month"}
	for name, value := range more {
		body[name] = value
	}
	if err := r.admin(http.MethodPut, "/budgets", body, nil); err != nil {
		r.t.Fatal(err)
	}
}

// moneyModels are what is called: streams and plain answers, with and without usage, quick ones and slow ones.
var moneyModels = []string{"sim-a/m?events=20&gap=10ms", "sim-a/short?events=3", "sim-b/none?events=20&usage=none", "sim-b/split?events=10&usage=split"}

// Faults 2, 13 and 21 under all that may happen to three replicas on one database: they are killed and started again, frozen, the
// database is restarted and frozen, its replies are lost, a clock is wrong, clients leave. At no commit is more spent and open than the budget allows; and at the end every
// call that the provider charges is in the books, to the nano-dollar where it said what it charges.
func TestMoneyOverReplicas(t *testing.T) {
	server := pgtest.New(t)
	database := server.Database(t)
	a, b := newReplicas(t, database)
	program, err := faulty()
	if err != nil {
		t.Fatal(err)
	}
	address, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	way := newLine(t, address.Host)
	address.Host = way.listener.Addr().String()
	c := a.joinAs("c", address.String(), program, failpoint.SkewVariable+"=-47m") // its clock is wrong, and its way to the database loses replies
	all := []*replica{a, b, c}
	soon(t, patience, "the third knows the key", func() bool { return c.ask().status == 200 })
	a.price(append([]string{"sim-a/plain?events=3"}, moneyModels...)...)
	before := len(a.bill().Calls)
	seconds := longer(20, 300)
	limit := fmt.Sprintf("%.4f", 0.003*float64(seconds)) // less than what is asked for
	a.setBudget(map[string]any{"amount": limit})
	a.setBudget(map[string]any{"user": "*", "tokens": 50_000_000})
	a.setBudget(map[string]any{"model": "sim-a/*", "amount": "1000"})
	<-time.After(2 * time.Second) // they look each second
	watch := watchBudgets(t, database)

	f := &fleet{}
	ctx, end := context.WithCancel(t.Context())
	rng := a.rng
	var mu sync.Mutex
	draw := func(n int) int {
		mu.Lock()
		defer mu.Unlock()
		return rng.IntN(n)
	}
	var alive [3]atomic.Bool
	for i := range all {
		alive[i].Store(true)
	}
	for range 9 {
		f.done.Go(func() {
			for ctx.Err() == nil {
				i := draw(3)
				if !alive[i].Load() {
					pause(ctx, 5*time.Millisecond)
					continue
				}
				next := call{model: moneyModels[draw(len(moneyModels))], stream: draw(2) == 0, most: 100 * draw(6)}
				if draw(8) == 0 { // a client that leaves
					next.stream, next.seen = true, func(soFar []byte) bool { return len(soFar) < 400 }
				}
				got := all[i].chat(context.WithoutCancel(ctx), next)
				if got.status != 0 && got.status != 200 && got.status != 429 && got.status != 503 {
					t.Errorf("%s: %s", all[i].name, got)
				}
				f.note(got)
				if got.status != 200 {
					pause(ctx, 20*time.Millisecond)
				}
			}
		})
	}
	kinds := map[string]int{}
	for until := time.Now().Add(time.Duration(seconds) * time.Second); time.Now().Before(until); <-time.After(time.Duration(500+draw(1500)) * time.Millisecond) {
		i := draw(3)
		switch what := draw(10); {
		case what < 3:
			kinds["killed"]++
			alive[i].Store(false)
			all[i].serve.end(t, syscall.SIGKILL, patience)
			all[i].begin()
			alive[i].Store(true)
		case what < 6:
			kinds["frozen"]++
			all[i].serve.signal(t, syscall.SIGSTOP)
			<-time.After(time.Duration(200+draw(2000)) * time.Millisecond)
			all[i].serve.signal(t, syscall.SIGCONT)
		case what < 8:
			kinds["replies lost"]++
			way.lose(true)
			<-time.After(time.Duration(500+draw(2000)) * time.Millisecond)
			way.lose(false)
		case what < 9:
			kinds["database restarted"]++
			server.Stop(t)
			<-time.After(time.Duration(draw(1500)) * time.Millisecond)
			server.Start(t)
		default:
			kinds["database frozen"]++
			server.Freeze(t)
			<-time.After(time.Duration(draw(2500)) * time.Millisecond)
			server.Thaw(t)
		}
	}
	end()
	f.done.Wait()
	answers := f.soFar()
	whole := count(answers, func(g answer) bool { return g.whole })
	refused := count(answers, func(g answer) bool { return g.status == 429 })

	bill := a.bill()
	for _, r := range all {
		soon(t, 2*patience, r.name+" is well again", func() bool { return r.status("/readyz") == 200 })
		soon(t, 2*patience, "the store has all of "+r.name, func() bool { return r.metric("penstock_journal_lag_bytes") == 0 })
	}
	bill.Calls = bill.Calls[before:]
	records := slices.DeleteFunc(a.records(), func(r record) bool { return r.Model == "sim-a/plain?events=3" })
	unknown := a.compare(records, nil, bill)
	a.checkLedger()
	a.sameWindows(all[1:]...)
	for _, r := range all {
		if code := r.serve.end(t, syscall.SIGTERM, time.Minute); code != 0 {
			t.Errorf("%s: exit code %d", r.name, code)
		}
	}
	watch.end()
	watch.log(t)
	settled, held, open, over := watch.sums(t)
	t.Logf("%v; %d answers, %d whole, %d refused; %d calls charged $%.6f; settled $%.6f, unknown $%.6f of %d tries, overrun $%.6f of $%s; %d samples",
		kinds, len(answers), whole, refused, len(bill.Calls), float64(bill.Total.Cost)/1e9, float64(settled)/1e9, float64(open)/1e9, unknown, float64(over)/1e9, limit, watch.samples.Load())
	var cost, bounds int64
	for _, r := range records {
		cost += r.Cost
		for _, try := range r.Tries {
			if try.Outcome == "unknown" {
				bounds += try.Bound
			}
		}
	}
	if settled != cost || open != bounds {
		t.Errorf("settled %d, and the records say %d; unknown %d, and the tries say %d", settled, cost, open, bounds)
	}
	if text := watch.broken.Load(); text != nil {
		t.Errorf("more than the limit: %s", *text)
	}
	if over != 0 {
		t.Errorf("%d nano-dollars are over, and no provider billed more than was reserved", over)
	}
	if held != 0 {
		t.Errorf("%d nano-dollars are held although nobody runs", held)
	}
	if spent := settled + open; refused == 0 && spent < watch.limit(t)*95/100 || spent > watch.limit(t) {
		t.Errorf("%d of %d are spent, and %d calls were refused", spent, watch.limit(t), refused)
	}
	if whole < 20 || watch.samples.Load() < 200 {
		t.Errorf("too little: this test tests nothing")
	}
}

// checkLedger has the books checked.
func (w *world) checkLedger() {
	w.t.Helper()
	var out map[string]json.RawMessage
	if err := w.admin(http.MethodGet, "/ledger/check", nil, &out); err != nil {
		w.t.Error(err)
		return
	}
	if found := string(out["findings"]); found != "" && found != "[]" && found != "null" {
		w.t.Errorf("the books: %s", found)
	}
}

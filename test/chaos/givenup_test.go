//go:build linux

package chaos

import (
	"database/sql"
	"net/http"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/failpoint"
	"github.com/penstock/penstock/internal/store/pgtest"
)

// giveUp has the database give up each fifth transaction that touches money, at its end: with 40001, or with 40P01. Sequences are not
// taken back, so they count what was given up.
const giveUp = `CREATE SEQUENCE failures; CREATE SEQUENCE deadlocks;
	CREATE FUNCTION give_up() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		IF txid_current() % 10 = 0 THEN PERFORM nextval('failures'); RAISE EXCEPTION 'given up' USING ERRCODE = '40001'; END IF;
		IF txid_current() % 10 = 5 THEN PERFORM nextval('deadlocks'); RAISE EXCEPTION 'given up' USING ERRCODE = '40P01'; END IF;
		RETURN NULL;
	END $$;
	CREATE CONSTRAINT TRIGGER give_up AFTER INSERT ON ledger_entries DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION give_up();
	CREATE CONSTRAINT TRIGGER give_up AFTER INSERT OR UPDATE ON budget_leases DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION give_up()`

// Fault 13: the database gives up each fifth commit of what two replicas spend and trade. Callers hardly hear of it, every call that the
// provider charges is in the books once, and the books fit.
func TestCommitsThatAreGivenUp(t *testing.T) {
	database := pgtest.Database(t)
	a, b := newReplicas(t, database)
	model := "sim-a/m?events=6"
	a.price(model, "sim-a/plain?events=3")
	a.setBudget(map[string]any{"amount": "0.03"}) // less than is asked for, so that calls ask the store
	a.setBudget(map[string]any{"user": "*", "tokens": 5_000_000})
	<-time.After(2 * time.Second) // they look each second
	before := len(a.bill().Calls)
	pgtest.Execute(t, database, giveUp)
	var fleets []*fleet
	for _, r := range []*replica{a, b} {
		fleets = append(fleets, r.drive(3, func(_, turn int) call { return call{model: model, stream: turn%2 == 0, most: 100} }))
	}
	<-time.After(time.Duration(longer(6, 60)) * time.Second)
	var answers []answer
	for _, f := range fleets {
		answers = append(answers, f.home()...)
	}
	whole := count(answers, func(g answer) bool { return g.whole })
	failed := count(answers, func(g answer) bool { return g.status != 0 && g.status != 200 && g.status != 429 })
	for _, r := range []*replica{a, b} { // also those whose clients have left
		soon(t, patience, "calls of "+r.name+" have ended", func() bool { return r.metric("penstock_open_requests") == 0 })
	}
	bill := a.bill()
	for _, r := range []*replica{a, b} {
		soon(t, patience, "the store has all of "+r.name, func() bool { return r.metric("penstock_journal_lag_bytes") == 0 })
	}
	bill.Calls = bill.Calls[before:]
	records := slices.DeleteFunc(a.records(), func(r record) bool { return r.Model != model })
	if unknown := a.compare(records, nil, bill); unknown != 0 {
		t.Errorf("%d tries are unknown, and nobody was killed", unknown)
	}
	a.checkLedger()
	a.sameWindows(b)
	for _, r := range []*replica{a, b} {
		if code := r.serve.end(t, syscall.SIGTERM, time.Minute); code != 0 {
			t.Errorf("%s: exit code %d", r.name, code)
		}
	}
	db, err := sql.Open("pgx", database)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var failures, deadlocks, held, over, settled, cost int64
	err = db.QueryRow(`SELECT (SELECT last_value FROM failures), (SELECT last_value FROM deadlocks), SUM(held), SUM(overrun),
		(SELECT settled FROM budget_pools ORDER BY rule, id LIMIT 1) FROM budget_pools`).Scan(&failures, &deadlocks, &held, &over, &settled)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		cost += r.Cost
	}
	t.Logf("%d answers, %d whole, %d failed; given up: %d with 40001, %d with 40P01", len(answers), whole, failed, failures, deadlocks)
	if held != 0 || over != 0 || settled != cost {
		t.Errorf("%d held, %d over, %d settled of %d in records", held, over, settled, cost)
	}
	if failed > len(answers)/100 { // what is given up four times in a row is refused
		t.Errorf("%d of %d answers are neither whole nor refused for their budget", failed, len(answers))
	}
	if whole < 20 || failures < 5 || deadlocks < 5 {
		t.Error("too little: this test tests nothing")
	}
}

// budgetWindow is what the tests look at of one.
type budgetWindow struct {
	Start   time.Time
	Settled int64 `json:"settled_nano"`
	Unknown int64 `json:"unknown_nano"`
	Over    int64 `json:"overrun_nano"`
}

// windows are those of all budgets, by their ids, as this replica shows them.
func (w *world) windows() map[string][]budgetWindow {
	w.t.Helper()
	var all struct {
		Data []struct {
			ID      string
			Windows []budgetWindow
		}
	}
	if err := w.admin(http.MethodGet, "/budgets", nil, &all); err != nil {
		w.t.Fatal(err)
	}
	by := map[string][]budgetWindow{}
	for _, b := range all.Data {
		by[b.ID] = b.Windows
	}
	return by
}

// sameWindows: replicas that are at rest show the same spend of every budget.
func (r *replica) sameWindows(others ...*replica) {
	r.t.Helper()
	want := r.windows()
	if len(want) == 0 {
		r.t.Error("no budgets are shown")
	}
	for _, other := range others {
		for id, windows := range other.windows() {
			if !slices.Equal(windows, want[id]) {
				r.t.Errorf("budget %s: %s shows %+v, and %s shows %+v", id, r.name, want[id], other.name, windows)
			}
		}
	}
}

// Faults 77 and 78 over replicas: windows are the database's, whatever a replica's own clock says. One that is an hour and a half late,
// and one that is as much ahead, spend from the same hour as all others, and nobody resets it for them.
func TestOneWindowWhateverClocksSay(t *testing.T) {
	database := pgtest.Database(t)
	a, b := newReplicas(t, database)
	program, err := faulty()
	if err != nil {
		t.Fatal(err)
	}
	late := a.joinAs("late", database, program, failpoint.SkewVariable+"=-90m")
	early := a.joinAs("early", database, program, failpoint.SkewVariable+"=90m")
	all := []*replica{a, b, late, early}
	for _, r := range all[2:] {
		soon(t, patience, r.name+" knows the key", func() bool { return r.ask().status == 200 })
	}
	a.price("sim-a/plain?events=3")
	a.setBudget(map[string]any{"amount": "1", "per": "hour"})
	<-time.After(2 * time.Second)
	begun := time.Now().UTC().Truncate(time.Hour)
	for range 5 {
		for _, r := range all {
			if got := r.ask(); got.status != 200 {
				t.Fatalf("%s: %s", r.name, got)
			}
		}
	}
	for _, r := range all {
		soon(t, patience, "the store has all of "+r.name, func() bool { return r.metric("penstock_journal_lag_bytes") == 0 })
	}
	ended := time.Now().UTC().Truncate(time.Hour)
	for _, windows := range a.windows() {
		if len(windows) == 0 || !ended.Equal(begun) && len(windows) > 2 || ended.Equal(begun) && len(windows) != 1 {
			t.Errorf("%+v", windows)
		}
		for _, one := range windows {
			if at := one.Start.UTC(); !at.Equal(begun) && !at.Equal(ended) || one.Settled == 0 {
				t.Errorf("the window of %v has %d", at, one.Settled)
			}
		}
	}
	a.sameWindows(all[1:]...)
	a.checkLedger()
}

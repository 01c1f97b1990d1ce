//go:build linux

package chaos

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/penstock/penstock/internal/failpoint"
)

// faulty is the program with its failpoints.
var faulty = sync.OnceValues(func() (string, error) {
	path := filepath.Join(filepath.Dir(binary), "penstock-faults")
	if out, err := exec.Command("go", "build", "-tags", "faults", "-o", path, "../../cmd/penstock").CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

// A process that dies at any place where state changes hands leaves books behind that the next one brings in order: nothing is
// booked twice, nothing that was sent is lost, and nothing is held for ever.
func TestEveryFailpoint(t *testing.T) {
	rng := draws(t)
	program, err := faulty()
	if err != nil {
		t.Fatal(err)
	}
	for _, place := range failpoint.Places() {
		for _, what := range []string{"crash", "error"} {
			if what == "error" && slices.Contains([]string{failpoint.Reserved, failpoint.Answered, failpoint.Metered, failpoint.Settling, failpoint.RecordWritten}, place) {
				continue // nobody asks there
			}
			n := 1 + rng.IntN(longer(6, 40))
			if place == failpoint.ReleaseInStore || place == failpoint.Released {
				n = 1
			}
			if place == failpoint.TradeInStore || place == failpoint.TradeCommitted { // few calls have a trade made
				n = 1 + n%2
			}
			t.Run(fmt.Sprintf("%s=%s:%d", place, what, n), func(t *testing.T) { dieAt(t, program, place, what, n) })
		}
	}
}

func dieAt(t *testing.T, program, place, what string, n int) {
	t.Parallel()
	w := newWorld(t, rand.New(rand.NewPCG(uint64(n), 0)), plan{config: providers, targets: failpointModels})
	for _, b := range []map[string]any{{"amount": "5"}, {"user": "*", "tokens": 10_000_000}} {
		b["project"], b["per"] = "chaos", "day"
		if err := w.admin("PUT", "/budgets", b, nil); err != nil {
			t.Fatal(err)
		}
	}
	w.must(call{model: "sim-a/m?events=6", most: 50})
	w.serve.end(t, syscall.SIGKILL, patience) // so that there is something to give back
	usual := binaryOf(w, program, []string{failpoint.Variable + "=" + fmt.Sprintf("%s=%s:%d", place, what, n)})
	f := w.drive(4, func(client, turn int) call {
		return call{model: failpointModels[(client+turn)%3], stream: turn%2 == 0, most: 50}
	})
	until := time.Now().Add(5 * time.Second)
	for w.serve.running() && time.Now().Before(until) {
		<-time.After(20 * time.Millisecond)
	}
	f.home()
	if what == "crash" && w.serve.running() {
		t.Fatalf("it still runs: nothing came to %s", place)
	}
	if what == "crash" {
		usual()
	}
	w.http.CloseIdleConnections()
	soon(t, patience, "calls whose clients have left have ended", func() bool { return w.metric("penstock_open_requests") == 0 })
	b := w.bill()
	soon(t, patience, "the store has all", func() bool { return w.metric("penstock_journal_lag_bytes") == 0 })
	w.compare(w.records(), nil, b)
	w.checkLedger()
	soon(t, patience, "what earlier runs held is given back", func() bool { return w.holders() <= 1 })
	if code := w.serve.end(t, syscall.SIGTERM, time.Minute); code != 0 {
		t.Errorf("exit code %d", code)
	}
	w.checkHeld()
}

// holders is how many runs of Penstock hold something of budgets, by the store's file; all of them if it cannot be asked.
func (w *world) holders() (n int) {
	w.t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(w.dataDir(), "penstock.db")+"?mode=ro")
	if err != nil {
		w.t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRow("SELECT COUNT(DISTINCT run) FROM budget_leases WHERE state = 0").Scan(&n); err != nil {
		return math.MaxInt
	}
	return n
}

// failpointModels are what is called: one of them fails.
var failpointModels = []string{"sim-a/m?events=6", "sim-a/slow?events=10&gap=5ms", "sim-a/bad?status=503"}

// What an operator does to the books is done whole or not at all, wherever the process dies or the store fails; whoever was not told asks
// for it again, and it is done once.
func TestEveryFailpointOfActs(t *testing.T) {
	draws(t)
	program, err := faulty()
	if err != nil {
		t.Fatal(err)
	}
	for _, place := range failpoint.Acts() {
		for _, what := range []string{"crash", "error"} {
			t.Run(place+"="+what, func(t *testing.T) { actAt(t, program, place, what) })
		}
	}
}

func actAt(t *testing.T, program, place, what string) {
	t.Parallel()
	w := newWorld(t, rand.New(rand.NewPCG(1, 0)), plan{config: providers, targets: []string{"sim-a/stalls?first=20s"}})
	for range 2 { // two tries of which nobody knows what they came to
		go w.chat(t.Context(), call{model: "sim-a/stalls?first=20s", most: 50})
		soon(t, patience, "the provider is asked", func() bool {
			var now bill
			return w.billNow(&now) == nil && now.Open > 0
		})
		w.serve.end(t, syscall.SIGKILL, patience)
		w.up()
		w.bill() // the provider has given it up
	}
	var unknown struct {
		Tries []struct{ Try string }
	}
	soon(t, patience, "both are known as unknown", func() bool {
		return w.admin("GET", "/ledger/unknown", nil, &unknown) == nil && len(unknown.Tries) == 2
	})
	for _, act := range []struct {
		method, path string
		body         map[string]any
		twice        bool // may be done again, and is the same
		blind        bool // done again it would be done twice: whoever was not told looks first
	}{
		{"POST", "/ledger/settle", map[string]any{"id": unknown.Tries[0].Try, "amount": "0.0001", "reason": "as billed"}, false, false},
		{"POST", "/ledger/settle", map[string]any{"id": unknown.Tries[1].Try, "void": true, "reason": "not billed"}, false, false},
		{"POST", "/ledger/adjust", map[string]any{"project": "chaos", "provider": "sim-a", "amount": "-0.00001", "reason": "a credit note"}, false, true},
		{"PUT", "/budgets", map[string]any{"project": "chaos", "per": "day", "amount": "5"}, true, false},
		{"POST", "/limits", map[string]any{"data": []map[string]any{{"project": "chaos", "measure": "requests", "amount": 600}, {"project": "chaos", "measure": "tokens", "amount": 6_000_000}}}, true, false},
	} {
		w.serve.end(t, syscall.SIGTERM, time.Minute)
		usual := binaryOf(w, program, []string{failpoint.Variable + "=" + place + "=" + what + ":2"}) // the first is that of the start
		if err := w.admin(act.method, act.path, act.body, nil); err == nil {
			t.Errorf("%s %s: nothing came to %s", act.method, act.path, place)
		}
		if what == "crash" {
			soon(t, patience, "it is gone", func() bool { return !w.serve.running() })
			usual()
		} else {
			w.plan.env, w.other = nil, ""
		}
		if act.blind && place == failpoint.ActCommitted {
			continue
		}
		err := w.admin(act.method, act.path, act.body, nil)
		if again := place == failpoint.ActInStore || act.twice; (err == nil) != again {
			t.Errorf("%s %s %v, asked for again: %v", act.method, act.path, act.body, err)
		}
		w.checkLedger()
	}
	var left struct{ Data []json.RawMessage }
	for path, want := range map[string]int{"/ledger?kind=settled": 1, "/ledger?kind=void": 1, "/ledger?kind=adjusted": 1, "/budgets": 1, "/limits": 2} {
		if err := w.admin("GET", path, nil, &left); err != nil || len(left.Data) != want {
			t.Errorf("%s: %d, want %d; %v", path, len(left.Data), want, err)
		}
	}
}

// binaryOf starts another program in the place of the usual one, and gives what starts the usual one again.
func binaryOf(w *world, program string, env []string) (usual func()) {
	w.t.Helper()
	before := w.plan.env
	w.plan.env, w.other = append(slices.Clone(before), env...), program
	w.up()
	return func() {
		w.plan.env, w.other = before, ""
		w.up()
	}
}

// checkHeld looks into the store's file while no Penstock runs: nothing is held, and nothing is over.
func (w *world) checkHeld() {
	w.t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(w.dataDir(), "penstock.db"))
	if err != nil {
		w.t.Fatal(err)
	}
	defer db.Close()
	var held, over, most int64
	row := db.QueryRow("SELECT SUM(held), SUM(overrun), MAX(settled - overrun + held + unknown - highest) FROM budget_pools")
	if err := row.Scan(&held, &over, &most); err != nil {
		w.t.Fatal(err)
	}
	if held != 0 || over != 0 || most > 0 {
		w.t.Errorf("%d held, %d over, a window is %d past its limit", held, over, most)
	}
}

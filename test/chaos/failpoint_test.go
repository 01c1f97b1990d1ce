//go:build linux

package chaos

import (
	"database/sql"
	"fmt"
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
			if what == "error" && !slices.Contains([]string{failpoint.IntentWritten, failpoint.RecordsInStore, failpoint.RecordsCommitted, failpoint.TradeInStore, failpoint.TradeCommitted}, place) {
				continue // nobody asks there
			}
			n := 1 + rng.IntN(longer(6, 40))
			if place == failpoint.Released {
				n = 1
			}
			t.Run(fmt.Sprintf("%s=%s:%d", place, what, n), func(t *testing.T) { dieAt(t, program, place, what, n) })
		}
	}
}

func dieAt(t *testing.T, program, place, what string, n int) {
	t.Parallel()
	w := newWorld(t, rand.New(rand.NewPCG(uint64(n), 0)), plan{config: providers, targets: []string{"sim-a/m?events=6", "sim-a/slow?events=10&gap=5ms"}})
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
		return call{model: []string{"sim-a/m?events=6", "sim-a/slow?events=10&gap=5ms"}[(client+turn)%2], stream: turn%2 == 0, most: 50}
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
	b := w.bill()
	soon(t, patience, "the store has all", func() bool { return w.metric("penstock_journal_lag_bytes") == 0 })
	w.compare(w.records(), nil, b)
	w.checkLedger()
	if code := w.serve.end(t, syscall.SIGTERM, time.Minute); code != 0 {
		t.Errorf("exit code %d", code)
	}
	w.checkHeld()
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

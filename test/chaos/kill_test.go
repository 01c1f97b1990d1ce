//go:build linux

package chaos

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	_ "modernc.org/sqlite" // looks at the store without Penstock
)

// killModels make calls that end at once, take a while, stream, and fall back.
const killModels = providers + `models:
  plain:  { targets: ["sim-a/plain?events=5"] }
  slow:   { targets: ["sim-a/slow?events=20&gap=5ms"] }
  mended: { targets: ["sim-a/broken?status=503", "sim-b/mends?events=5"] }
`

// killTargets are their targets.
var killTargets = []string{"sim-a/plain?events=5", "sim-a/slow?events=20&gap=5ms", "sim-a/broken?status=503", "sim-b/mends?events=5"}

// Fault 48: Penstock is killed again and again while it writes. What was answered has its record, once; what was open
// becomes a record too; and what the records say of money is what the provider's bill says.
func TestKilledAgainAndAgain(t *testing.T) {
	rng := draws(t)
	w := newWorld(t, rng, plan{config: killModels, targets: killTargets})
	var answered []answer
	for round := range longer(8, 50) {
		if round > 0 {
			w.up()
		}
		next := func(client, turn int) call {
			return []call{{model: "plain"}, {model: "slow", stream: true}, {model: "mended", stream: turn%2 == 0}}[(client+turn)%3]
		}
		f := w.drive(12, next)
		life := time.Duration(200+rng.IntN(600)) * time.Millisecond
		<-time.After(life)
		w.serve.end(t, syscall.SIGKILL, patience)
		for _, a := range f.home() {
			if a.whole {
				answered = append(answered, a)
			}
		}
	}
	w.up()
	b := w.bill()
	records := w.records()
	if open := w.metric("penstock_in_flight"); open != 0 {
		t.Errorf("%v exchanges are open and nobody calls", open)
	}
	if code := w.serve.end(t, syscall.SIGTERM, patience); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if len(answered) < 100 {
		t.Fatalf("only %d answers: this test tests nothing", len(answered))
	}
	unknown := w.compare(records, answered, b)
	w.checkStore(len(records))
	t.Logf("%d answered, %d records, %d of them of killed processes with %d tries unknown, %d calls at the provider",
		len(answered), len(records), countRecords(records, func(r record) bool { return r.Replayed }), unknown, len(b.Calls))
}

// compare checks that every answer has its record, and that every try that says what it cost says what the provider
// charged. It gives how many tries are unknown: those of calls that were open when the process was killed.
func (w *world) compare(records []record, answered []answer, b bill) (unknown int) {
	w.t.Helper()
	byID := map[string]record{}
	for _, r := range records {
		if _, twice := byID[r.ID]; twice {
			w.t.Errorf("two records of %s", r.ID)
		}
		byID[r.ID] = r
	}
	for _, a := range answered {
		if r, ok := byID[a.id()]; !ok {
			w.t.Errorf("no record of %s, which was answered", a.id())
		} else if r.Status != 200 || r.Error != nil {
			w.t.Errorf("%s was answered whole, and its record says status %d, %+v", a.id(), r.Status, r.Error)
		}
	}
	charged := map[string]int{}
	for i, c := range b.Calls {
		charged[c.ID] = i
	}
	for _, r := range records {
		for _, try := range r.Tries {
			at, ok := charged[try.Upstream]
			switch {
			case try.Outcome == "unknown" && try.Upstream == "":
				unknown++
				continue
			case !ok:
				w.t.Errorf("%s: the provider knows nothing of the try %+v", r.ID, try)
				continue
			}
			delete(charged, try.Upstream)
			c := b.Calls[at]
			if try.Outcome == "settled_actual" && (try.Cost != c.Cost || try.Usage.Input != c.Prompt || try.Usage.Output != c.Completion) {
				w.t.Errorf("%s: the try %+v, the bill %+v", r.ID, try, c)
			}
		}
	}
	if len(charged) > unknown {
		w.t.Errorf("the provider charges %d calls that no record has, and only %d tries are unknown", len(charged), unknown)
	}
	return unknown
}

// checkStore looks into the store's file while no Penstock runs.
func (w *world) checkStore(records int) {
	w.t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(w.dataDir(), "penstock.db"))
	if err != nil {
		w.t.Fatal(err)
	}
	defer db.Close()
	var verdict string
	if err := db.QueryRow("PRAGMA integrity_check").Scan(&verdict); err != nil || verdict != "ok" {
		w.t.Errorf("integrity_check says %q, %v", verdict, err)
	}
	var rows, distinct int
	if err := db.QueryRow("SELECT COUNT(*), COUNT(DISTINCT id) FROM exchanges").Scan(&rows, &distinct); err != nil {
		w.t.Fatal(err)
	}
	if rows != records || distinct != records {
		w.t.Errorf("%d records, and %d rows with %d ids", records, rows, distinct)
	}
}

func countRecords(all []record, which func(record) bool) int {
	n := 0
	for _, r := range all {
		if which(r) {
			n++
		}
	}
	return n
}

// Fault 53: a second process on the same data is refused and says why; the lock of a killed process holds nobody up.
func TestTwoProcessesOnOneStore(t *testing.T) {
	w := newWorld(t, draws(t), plan{config: killModels})
	_, words, code := command(t, w.dir, "serve", "-c", w.file, "--json")
	if code != 4 || !strings.Contains(words, fmt.Sprintf("in use by process %d", w.serve.cmd.Process.Pid)) {
		t.Errorf("the second process ended with %d and said:\n%s", code, words)
	}
	_, words, code = command(t, w.dir, "serve", "-c", w.file, "--json", "--store", "sqlite:"+filepath.Join(w.dir, "other.db"))
	if code != 4 || !strings.Contains(words, "journal") {
		t.Errorf("a second process on the journal alone ended with %d and said:\n%s", code, words)
	}
	w.must(call{model: "plain"})
	w.serve.end(t, syscall.SIGKILL, patience)
	w.up()
	w.must(call{model: "plain"})
}

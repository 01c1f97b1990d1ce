//go:build linux

package chaos

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/store/pgtest"
)

// A restored is what penstock restore --json says.
type restored struct {
	Rows, Exchanges int64
	Entries         int64 `json:"audit_entries"`
	Epoch           int64
	Taken           time.Time
}

func (w *world) restore(args ...string) (out restored) {
	w.t.Helper()
	stdout, stderr, code := command(w.t, w.dir, append([]string{"restore", "--json"}, args...)...)
	if code != 0 {
		w.t.Fatalf("restore %v: %d %s", args, code, stderr)
	}
	if err := json.Unmarshal([]byte(stdout), &out); err != nil {
		w.t.Fatal(err)
	}
	return out
}

// Fault 55: backups are taken while Penstock is under load. Each passes every check of a restore, and is one moment: it has
// each exchange that was answered before it was asked for, none that began after it was there, and none twice. The restored
// copy is served from, and the live one has not lost anything.
func TestBackupsUnderLoad(t *testing.T) {
	rng := draws(t)
	w := newWorld(t, rng, plan{config: killModels, targets: killTargets})
	f := w.drive(8, func(client, turn int) call {
		return []call{{model: "plain"}, {model: "slow", stream: true}, {model: "mended", stream: turn%2 == 0}}[(client+turn)%3]
	})
	ring := filepath.Join(w.dataDir(), "keyring.json")
	var before, after []answer
	for i := range longer(4, 20) {
		<-time.After(time.Duration(100+rng.IntN(400)) * time.Millisecond)
		before = f.soFar()
		name := fmt.Sprintf("%d.backup", i)
		if _, stderr, code := command(t, w.dir, "backup", name, "-c", w.file); code != 0 {
			t.Fatalf("backup: %d %s\n%s", code, stderr, w.serve.log(t))
		}
		after = f.soFar()
		w.restore("--verify", name, "--keyring", ring)
	}
	<-time.After(200 * time.Millisecond)
	all := f.home()
	last := fmt.Sprintf("%d.backup", longer(4, 20)-1)
	if err := os.MkdirAll(filepath.Join(w.dir, "copy"), 0o700); err != nil {
		t.Fatal(err)
	}
	out := w.restore(last, "--data", "copy", "--keyring", ring)
	kept := ids(t, filepath.Join(w.dir, "copy", "penstock.db"))
	if int64(len(kept)) != out.Exchanges || out.Epoch != 2 || out.Entries < 3 {
		t.Errorf("%d exchanges are in the copy, and it says %+v", len(kept), out)
	}
	for _, a := range before {
		if a.whole && !kept[a.id()] {
			t.Errorf("%s was answered before the backup, and is not in it", a)
		}
	}
	later := map[string]bool{}
	for _, a := range after {
		later[a.id()] = true
	}
	// Ids are made when an exchange begins, and sort by time: the last answer before the end of the backup bounds them.
	newest := ""
	for id := range later {
		newest = max(newest, id)
	}
	extra := 0
	for id := range kept {
		if id > newest && !later[id] {
			extra++
		}
	}
	if extra > 16 { // those that were open when it was there
		t.Errorf("%d exchanges are in the backup that began after the last one that had been answered by then", extra)
	}
	if len(before) < 20 {
		t.Fatalf("only %d answers: this test tests nothing", len(before))
	}
	w.serve.end(t, syscall.SIGTERM, patience)
	live := ids(t, filepath.Join(w.dataDir(), "penstock.db"))
	for id := range kept {
		if !live[id] {
			t.Errorf("%s is in the backup, and not in the store", id)
		}
	}
	for _, a := range all {
		if a.whole && !live[a.id()] {
			t.Errorf("%s was answered, and is not in the store", a)
		}
	}
	if left, err := filepath.Glob(filepath.Join(w.dataDir(), "*.spool")); len(left) > 0 || err != nil {
		t.Errorf("left over: %v %v", left, err)
	}
}

// ids are those of the exchanges in a store that nobody works with.
func ids(t *testing.T, path string) map[string]bool {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.Query("SELECT id FROM exchanges")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	all := map[string]bool{}
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			t.Fatal(err)
		}
		all[id] = true
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// Fault 55 on PostgreSQL, and the way from one engine to the other: a backup of replicas that serve goes into a new database
// and into a file.
func TestBackupsOfADatabase(t *testing.T) {
	a, b := newReplicas(t, pgtest.Database(t))
	for range 20 {
		a.ask()
		b.ask()
	}
	soon(t, patience, "all records are there", func() bool { return len(a.records()) >= 40 })
	kept := a.keep()
	if _, stderr, code := command(t, a.dir, "backup", "one.backup", "--data", "a"); code != 0 && !strings.Contains(stderr, "admin key") {
		t.Fatalf("backup: %d %s", code, stderr)
	} else if code != 0 { // the admin key lies with the other
		if _, stderr, code := command(t, a.dir, "backup", "one.backup", "--data", "b"); code != 0 {
			t.Fatalf("backup: %d %s", code, stderr)
		}
	}
	file := a.restore("one.backup", "--data", "copy", "--keyring", "keyring.json")
	database := pgtest.Database(t)
	moved := a.restore("one.backup", "--data", "moved", "--store", database, "--keyring", "keyring.json")
	if file.Exchanges < 40 || moved.Exchanges != file.Exchanges || moved.Epoch != 2 || file.Rows != moved.Rows {
		t.Errorf("into a file %+v, into a database %+v", file, moved)
	}
	if _, stderr, code := command(t, a.dir, "restore", "one.backup", "--data", "moved", "--store", database, "--keyring", "keyring.json"); code != 4 ||
		!strings.Contains(stderr, "a backup goes into an empty database") {
		t.Errorf("over another store: %d %s", code, stderr)
	}
	c := a.join("moved", database)
	soon(t, patience, "the restored one is ready", func() bool { return c.status("/readyz") == 200 })
	if got := c.ask(); got.status != 200 {
		t.Errorf("a key from before the backup: %s", got)
	}
	var bodies struct{ Answer struct{ Text string } }
	want := strings.Replace(string(kept.body), `"sim-a/plain?events=3"`, `"plain"`, 1) // what the provider calls it
	if err := c.admin(http.MethodGet, "/exchanges/"+kept.id()+"/bodies?reason=test", nil, &bodies); err != nil || bodies.Answer.Text != want {
		t.Errorf("kept bodies after the restore: %v, %q and not %q", err, bodies.Answer.Text, want)
	}
}

// keep makes a call of a project that keeps bodies.
func (r *replica) keep() answer {
	r.t.Helper()
	if err := r.admin(http.MethodPost, "/projects", map[string]any{"name": "keeping", "bodies": "keep", "retention": "30d"}, nil); err != nil {
		r.t.Fatal(err)
	}
	shared := r.key
	defer func() { r.key = shared }()
	r.key = r.newKey("keeping")
	var kept answer
	soon(r.t, patience, "the key is known", func() bool { kept = r.ask(); return kept.status == http.StatusOK })
	return kept
}

// Fault 50: somebody holds a read transaction of the store's file for long. Calls, records and changes go on, and the
// write-ahead log shrinks again when the reader has gone.
func TestALongReaderHoldsTheStore(t *testing.T) {
	w := newWorld(t, draws(t), plan{config: killModels, targets: killTargets})
	path := filepath.Join(w.dataDir(), "penstock.db")
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	tx, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	var n int
	if err := tx.QueryRow("SELECT COUNT(*) FROM exchanges").Scan(&n); err != nil {
		t.Fatal(err)
	}
	f := w.drive(8, func(int, int) call { return call{model: "plain"} })
	var slowest time.Duration
	for until := time.Now().Add(time.Duration(longer(5, 60)) * time.Second); time.Now().Before(until); {
		began := time.Now()
		w.newKey(fmt.Sprintf("held-%d", began.UnixNano()))
		slowest = max(slowest, time.Since(began))
	}
	answered := f.home()
	if slowest > 5*time.Second {
		t.Errorf("a change took %v while a reader held the store", slowest)
	}
	w.must(call{model: "plain"})
	records := len(w.records())
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	held := size(t, path+"-wal")
	if whole := count(answered, func(a answer) bool { return a.whole }); records < whole || whole < 50 {
		t.Errorf("%d answers, and %d records while a reader held the store", whole, records)
	}
	if code := w.serve.end(t, syscall.SIGTERM, patience); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if left := size(t, path+"-wal"); left > 0 {
		t.Errorf("the write-ahead log has %d bytes of %d after the end", left, held)
	}
	t.Logf("%d answers; slowest change %v; the log had %d bytes", len(answered), slowest, held)
}

func size(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if os.IsNotExist(err) {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

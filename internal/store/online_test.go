//go:build unix

package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/pressly/goose/v3"

	"github.com/penstock/penstock/internal/store/pgtest"
)

// longestLock is how long a migration that says it is online may keep anybody waiting.
const longestLock = time.Second

// Fault 65: migrations that say they are online let nobody wait for a second, however large the tables are. Each is run on
// tables of many rows while a writer of the oldest schema and a reader go on; the server says how long they waited. What
// would be long on larger tables shows on these too: a table that was written anew, an index that was made in a transaction.
func TestOnlineMigrationsLetNobodyWait(t *testing.T) {
	t.Parallel()
	rows := 10_000
	if os.Getenv("PENSTOCK_SLOW") != "" {
		rows = 5_000_000
	}
	files, err := fs.Sub(migrations, postgresDialect.migrations)
	if err != nil {
		t.Fatal(err)
	}
	all, err := (&Store{d: &postgresDialect}).migrations()
	if err != nil {
		t.Fatal(err)
	}
	u := newUnderTraffic(t, files)
	for _, m := range all {
		before := u.shape(t)
		waited, took := u.step(t)
		t.Logf("migration %d (%s): %v, the longest wait was %v", m.Number, m.Name, took.Round(time.Millisecond), waited.Round(time.Millisecond))
		if m.Online && waited >= longestLock {
			t.Errorf("migration %d (%s) says that it is online, and somebody waited for %v", m.Number, m.Name, waited)
		}
		if long := grown(before, u.shape(t), u.full, u.transacted(t, m.Number)); m.Online && long != "" {
			t.Errorf("migration %d (%s) says that it is online, and %s while the table was locked", m.Number, m.Name, long)
		}
		u.enlarge(t, rows)
	}
	if u.written() < int64(len(all)) {
		t.Errorf("only %d rows were written meanwhile: this test tests nothing", u.written())
	}
}

// A migration that holds a table is found out: the test above can fail.
func TestALockingMigrationIsFoundOut(t *testing.T) {
	t.Parallel()
	spine, err := migrations.ReadFile("migrations/postgres/00001_spine.sql")
	if err != nil {
		t.Fatal(err)
	}
	u := newUnderTraffic(t, fstest.MapFS{
		"00001_spine.sql": {Data: spine},
		"00002_bad.sql":   {Data: []byte("-- +goose Up\nALTER TABLE exchanges ADD COLUMN bad BIGINT;\nSELECT pg_sleep(1.5);\n")},
		"00003_new.sql":   {Data: []byte("-- +goose Up\nALTER TABLE exchanges ALTER COLUMN bad TYPE TEXT;\n")},
		"00004_index.sql": {Data: []byte("-- +goose Up\nCREATE INDEX bad ON exchanges (bad);\n")},
	})
	u.step(t)
	u.enlarge(t, 100)
	if waited, _ := u.step(t); waited < longestLock {
		t.Errorf("the longest wait was %v", waited)
	}
	for _, want := range []string{"exchanges was written anew", "the index bad was made"} {
		before := u.shape(t)
		u.step(t)
		if got := grown(before, u.shape(t), u.full, true); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// A shape is where the rows of tables lie, and which table an index is of, by name.
type shape struct {
	node  map[string]int64
	index map[string]string
}

func (u *underTraffic) shape(t *testing.T) shape {
	t.Helper()
	s := shape{map[string]int64{}, map[string]string{}}
	db, err := sql.Open("pgx", u.address)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.QueryContext(t.Context(), `SELECT c.relname, c.relfilenode, COALESCE(o.relname, '') FROM pg_class c
		LEFT JOIN pg_index i ON i.indexrelid = c.oid LEFT JOIN pg_class o ON o.oid = i.indrelid
		WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'i')`)
	err = each(rows, err, func(r scanner) error {
		var name, of string
		var node int64
		err := r.Scan(&name, &node, &of)
		if of == "" {
			s.node[name] = node
		} else {
			s.index[name] = of
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// grown says what took long in proportion to a full table, "" if nothing did.
func grown(before, after shape, full map[string]bool, transacted bool) string {
	for table := range full {
		if was := before.node[table]; was != 0 && was != after.node[table] {
			return table + " was written anew"
		}
	}
	for index, table := range after.index {
		if _, was := before.index[index]; !was && full[table] && transacted {
			return "the index " + index + " was made"
		}
	}
	return ""
}

// transacted says whether a migration runs in a transaction, and so keeps its locks to its end.
func (u *underTraffic) transacted(t *testing.T, number int64) bool {
	t.Helper()
	found, err := fs.Glob(u.files, fmt.Sprintf("%05d_*.sql", number))
	if err != nil || len(found) != 1 {
		t.Fatal(found, err)
	}
	text, err := fs.ReadFile(u.files, found[0])
	if err != nil {
		t.Fatal(err)
	}
	return !strings.Contains(string(text), "+goose NO TRANSACTION")
}

// An underTraffic is a database that is migrated step by step while others use it.
type underTraffic struct {
	address string
	store   *Store // that migrates, with the settings that replicas migrate with
	files   fs.FS
	full    map[string]bool // tables that have many rows
	mu      sync.Mutex      // guards the field below
	writes  int64
}

func newUnderTraffic(t *testing.T, files fs.FS) *underTraffic {
	t.Helper()
	address := pgtest.Database(t)
	s, err := New(address, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return &underTraffic{address: address, store: s, files: files, full: map[string]bool{}}
}

func (u *underTraffic) written() int64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.writes
}

// step runs the next migration, and says for how long anybody but itself waited for a lock at most.
func (u *underTraffic) step(t *testing.T) (waited, took time.Duration) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	if u.full["exchanges"] {
		all.Go(func() { u.use(ctx, t) })
	}
	longest := make(chan time.Duration, 1)
	all.Go(func() { longest <- u.watch(ctx, t) })
	p, err := goose.NewProvider(goose.DialectPostgres, u.store.schemas, u.files,
		goose.WithTableName(versionTable), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		t.Fatal(err)
	}
	pause(ctx, 100*time.Millisecond) // the others are under way
	begun := time.Now()
	for {
		_, err = p.UpByOne(ctx)
		if postgresCode(err) != "55P03" {
			break
		}
	}
	took = time.Since(begun)
	cancel()
	if err != nil {
		t.Fatal(err)
	}
	return <-longest, took
}

// use writes as the oldest version does, and reads, until ctx ends.
func (u *underTraffic) use(ctx context.Context, t *testing.T) {
	db, err := sql.Open("pgx", u.address)
	if err != nil {
		t.Error(err)
		return
	}
	defer db.Close()
	const columns = "seq, id, time, org, project, key_id, end_user, model, target, op, error, status, failed, stream, " +
		"input, output, cached_input, cache_write, reasoning, estimated, cost_nano, unpriced, total_ns, first_ns"
	for ctx.Err() == nil {
		_, err := db.ExecContext(ctx, "INSERT INTO exchanges ("+columns+") SELECT max(seq) + 1, 'n' || max(seq) + 1"+strings.Repeat(", 1", 22)+" FROM exchanges")
		if err == nil {
			_, err = db.ExecContext(ctx, "SELECT id, status FROM exchanges ORDER BY seq DESC LIMIT 50")
		}
		if err != nil && ctx.Err() == nil {
			t.Errorf("the oldest version could not go on: %v", err)
			return
		}
		u.mu.Lock()
		u.writes++
		u.mu.Unlock()
	}
}

// watch asks the server who waits for how long in this database, until ctx ends: other tests have others. Whoever migrates may
// wait.
func (u *underTraffic) watch(ctx context.Context, t *testing.T) (longest time.Duration) {
	db, err := sql.Open("pgx", u.address)
	if err != nil {
		t.Error(err)
		return 0
	}
	defer db.Close()
	for pause(ctx, 5*time.Millisecond) {
		var ms float64
		err := db.QueryRowContext(ctx, `SELECT COALESCE(max(extract(epoch FROM clock_timestamp() - l.waitstart)) * 1000, 0)::float8
			FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE NOT l.granted AND a.datname = current_database() AND a.application_name <> 'penstock'`).Scan(&ms)
		if err != nil && ctx.Err() == nil {
			t.Error(err)
			return longest
		}
		longest = max(longest, time.Duration(ms*float64(time.Millisecond)))
	}
	return longest
}

// enlarge gives the tables that grow with traffic many rows, if they are there and have not got them.
func (u *underTraffic) enlarge(t *testing.T, rows int) {
	t.Helper()
	db, err := sql.Open("pgx", u.address)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, table := range []string{"exchanges", "exchange_records", "exchange_tags", "audit_entries", "usage_sums"} {
		if u.full[table] {
			continue
		}
		var list, values string
		err := db.QueryRowContext(t.Context(), `SELECT string_agg(quote_ident(column_name), ', ' ORDER BY ordinal_position), string_agg(CASE data_type
			WHEN 'bytea' THEN 'decode(md5(g::text), ''hex'')' WHEN 'bigint' THEN 'g' ELSE '''x'' || g' END, ', ' ORDER BY ordinal_position)
			FROM information_schema.columns WHERE table_name = $1 AND table_schema = current_schema() HAVING count(*) > 0`, table).Scan(&list, &values)
		if errors.Is(err, sql.ErrNoRows) {
			continue // not in this schema yet
		}
		if err == nil {
			_, err = db.ExecContext(t.Context(), fmt.Sprintf("INSERT INTO %s (%s) SELECT %s FROM generate_series(1, %d) g", table, list, values, rows))
		}
		if err != nil {
			t.Fatalf("%s: %v", table, err)
		}
		u.full[table] = true
	}
}

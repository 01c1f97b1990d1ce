package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

//go:embed migrations
var migrations embed.FS

// dialect is everything in which engines differ. Keep it this short: SQL that two engines read in the same way is worth
// a longer query.
type dialect struct {
	name       string // in texts for people
	goose      goose.Dialect
	migrations string // folder of the numbered files
	tables     string // the query for the names of all tables
	// primary is the query for what to order a table by: its primary key, texts byte by byte. refers is the one for the
	// tables that it refers to. Both take the table's name.
	primary, refers string
	// snapshot opens a transaction all of whose reads see one moment.
	snapshot *sql.TxOptions
	// join joins two tables so that the left one is read first.
	join string
	// ofBlock is what join joins to a block b: its exchanges, as e.
	ofBlock string
	// among is the condition that what stands before it is among what a query gives, which is asked once.
	among string
	// lock waits until no other transaction holds a lane, and holds it until the end of its own; "" where there is one
	// writer anyway.
	lock string
	// lockAll is lock for any number of lanes, which must be in order.
	lockAll string
	// alone says that one process at a time has the store, so that whoever is there has nobody beside it.
	alone bool
	// now is the database's clock in microseconds since 1970.
	now string
	// chunk is how many rows one statement inserts: more cost less a row only where a statement is a way to a server.
	chunk int
	// arrays says that a statement takes whole columns, so that it inserts any number of rows.
	arrays bool
	// patience is for a transaction or a read to end, 0 for no bound but the caller's: a file answers or fails.
	patience time.Duration
	// hintRead says what to do about a read that failed.
	hintRead string
	// rebind turns the ? of a query into the engine's own placeholders.
	rebind func(query string) string
	// args makes arguments such as the engine takes.
	args func([]any) []any
	// isConflict reports that a write would have made twice what there may be once.
	isConflict func(error) bool
	// isPassing reports that a transaction was undone because of others, and may be tried again.
	isPassing func(error) bool
	// isForeign reports that the file or database is not one that the engine can read.
	isForeign func(error) bool
	// isAway reports that the engine could not be asked.
	isAway func(error) bool
	// isTooLarge reports that a sum is beyond the engine's numbers.
	isTooLarge func(error) bool
}

// A lane is a row of writers who wait for each other, over all replicas. A transaction is in one lane only, but for acts,
// which may join others, and tables belong to one lane each, so nobody waits in a circle.
type lane int64

// The lanes.
const (
	laneNone     lane = iota // what waits for nobody but who changes the same row
	laneActs                 // what people change, and whatever has no lane of its own
	laneRecords              // exchanges, in the order of their numbers
	laneSums                 // sums of them
	laneSchema               // migrations
	laneReplicas             // who is there
	laneBodies               // bodies of exchanges
	lanePurge                // exchanges that are deleted, with all that hangs on them
)

// laneClass is the first of the two numbers of a lock; the second is the schema that the tables are in.
const laneClass = 0x50656e00 // "Pen"

// join waits until no other transaction is in any of the lanes, and is in them until its end.
func (t tx) join(ctx context.Context, lanes ...lane) error {
	if t.d.lock == "" {
		return nil
	}
	for _, l := range lanes {
		if l == laneNone {
			continue
		}
		if _, err := t.exec(ctx, t.d.lock, laneClass+int64(l)); err != nil {
			return err
		}
	}
	return nil
}

var sqliteDialect = dialect{
	name:       "SQLite",
	goose:      goose.DialectSQLite3,
	migrations: "migrations/sqlite",
	tables:     "SELECT name FROM sqlite_schema WHERE type = 'table'",
	primary:    "SELECT name FROM pragma_table_info(?) WHERE pk > 0 ORDER BY pk",
	refers:     `SELECT "table" FROM pragma_foreign_key_list(?)`,
	snapshot:   &sql.TxOptions{ReadOnly: true},
	join:       " CROSS JOIN ", // which keeps the order
	among:      "IN (%s)",
	ofBlock:    "exchanges e ON e.seq >= b.block * " + blockText + " AND e.seq < (b.block + 1) * " + blockText,
	alone:      true,
	now:        "CAST(unixepoch('now', 'subsec') * 1000000 AS INTEGER)",
	chunk:      32,
	hintRead:   "Look at its disk and retry.",
	rebind:     func(query string) string { return query },
	args:       func(args []any) []any { return args },
	isConflict: func(err error) bool {
		code, _ := sqliteCode(err)
		return code == sqlite3.SQLITE_CONSTRAINT_UNIQUE || code == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY
	},
	isPassing: func(error) bool { return false },
	isForeign: func(err error) bool {
		code, ok := sqliteCode(err)
		return ok && (code&0xff == sqlite3.SQLITE_NOTADB || code&0xff == sqlite3.SQLITE_CORRUPT)
	},
	isAway: func(error) bool { return false },
	isTooLarge: func(err error) bool {
		_, ok := sqliteCode(err)
		return ok && strings.Contains(err.Error(), "integer overflow") // which has no code of its own
	},
}

var postgresDialect = dialect{
	name:       "PostgreSQL",
	goose:      goose.DialectPostgres,
	migrations: "migrations/postgres",
	tables:     "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()",
	primary: `SELECT a.attname || CASE WHEN a.atttypid = 'text'::regtype THEN ' COLLATE "C"' ELSE '' END
		FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey)
		WHERE i.indrelid = ?::text::regclass AND i.indisprimary ORDER BY array_position(i.indkey::int2[], a.attnum)`,
	refers:   "SELECT confrelid::regclass::text FROM pg_constraint WHERE conrelid = ?::text::regclass AND contype = 'f'",
	snapshot: &sql.TxOptions{ReadOnly: true, Isolation: sql.LevelRepeatableRead},
	join:     " JOIN ", // join_collapse_limit keeps the order
	among:    "= ANY (ARRAY(%s))",
	// A planner that expects few exchanges would read all of them first, and then look for their blocks; the OFFSET, which
	// skips nothing, is what it does not look behind.
	ofBlock: "LATERAL (SELECT * FROM exchanges x WHERE x.seq >= b.block * " + blockText + " AND x.seq < (b.block + 1) * " + blockText +
		" ORDER BY x.seq DESC OFFSET 0) e ON TRUE",
	lock:       "SELECT pg_advisory_xact_lock(?::int, current_schema()::regnamespace::oid::int)",
	now:        "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)",
	lockAll:    "SELECT pg_advisory_xact_lock(k::int, current_schema()::regnamespace::oid::int) FROM unnest(?::bigint[]) AS k",
	chunk:      4096,
	arrays:     true,
	patience:   15 * time.Second,
	hintRead:   "Look at the database server and retry.",
	rebind:     numbered,
	args:       storable,
	isConflict: func(err error) bool { return postgresCode(err) == "23505" },
	isPassing: func(err error) bool {
		code := postgresCode(err)
		return code == "40001" || code == "40P01"
	},
	isForeign:  func(error) bool { return false },
	isAway:     postgresAway,
	isTooLarge: func(err error) bool { return postgresCode(err) == "22003" },
}

// sqliteCode is the extended result code of an error of SQLite.
func sqliteCode(err error) (int, bool) {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return 0, false
	}
	return e.Code(), true
}

// numbered writes $1, $2 and so on for the ? of a query. Those in texts stay.
func numbered(query string) string {
	var b strings.Builder
	b.Grow(len(query) + 64)
	n, inText := 0, false
	for i := range len(query) {
		switch c := query[i]; {
		case c == '?' && !inText:
			n++
			b.WriteByte('$')
			b.WriteString(strconv.Itoa(n))
		default:
			inText = inText != (c == '\'')
			b.WriteByte(c)
		}
	}
	return b.String()
}

// storable replaces what PostgreSQL takes in no text: zero bytes, and what is no UTF-8. What is looked for is replaced in
// the same way, so it is found.
func storable(args []any) []any {
	clean := args
	for i, a := range args {
		if column, ok := a.([]string); ok { // ours, so that it may be changed
			for j, s := range column {
				column[j] = storableText(s)
			}
		}
		s, ok := a.(string)
		if !ok || isStorable(s) {
			continue
		}
		if &clean[0] == &args[0] {
			clean = append([]any(nil), args...)
		}
		clean[i] = storableText(s)
	}
	return clean
}

func isStorable(s string) bool { return strings.IndexByte(s, 0) < 0 && utf8.ValidString(s) }

func storableText(s string) string {
	if isStorable(s) {
		return s
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\ufffd"), "\x00", "\ufffd")
}

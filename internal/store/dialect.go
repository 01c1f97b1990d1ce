package store

import (
	"database/sql"
	"embed"
	"errors"

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
	// snapshot opens a transaction all of whose reads see one moment.
	snapshot *sql.TxOptions
	// rebind turns the ? of a query into the engine's own placeholders.
	rebind func(query string) string
	// isConflict reports that a write would have made twice what there may be once.
	isConflict func(error) bool
	// isForeign reports that the file or database is not one that the engine can read.
	isForeign func(error) bool
}

var sqliteDialect = dialect{
	name:       "SQLite",
	goose:      goose.DialectSQLite3,
	migrations: "migrations/sqlite",
	tables:     "SELECT name FROM sqlite_schema WHERE type = 'table'",
	snapshot:   &sql.TxOptions{ReadOnly: true},
	rebind:     func(query string) string { return query },
	isConflict: func(err error) bool {
		code, _ := sqliteCode(err)
		return code == sqlite3.SQLITE_CONSTRAINT_UNIQUE || code == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY
	},
	isForeign: func(err error) bool {
		code, ok := sqliteCode(err)
		return ok && (code&0xff == sqlite3.SQLITE_NOTADB || code&0xff == sqlite3.SQLITE_CORRUPT)
	},
}

// sqliteCode is the extended result code of an error of SQLite.
func sqliteCode(err error) (int, bool) {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return 0, false
	}
	return e.Code(), true
}

// Package backup is the file that a backup is: what a store holds at one moment, table by table, in a form that belongs to
// no engine, compressed and encrypted for the holder of the key ring.
//
// A file is written ([Writer]) and read ([Reader]) in one pass with little memory, whatever its size. It can be told apart
// from a part of itself, and from one that was altered. What is in a store, and how it gets back in there, is the store's
// to know; when and by whom, the server's. docs/backup.md describes the format.
package backup

import (
	"time"

	"github.com/penstock/penstock/internal/fault"
)

// Format is the version of the file that is written, and the only one that is read.
const Format = 1

// A Manifest says what a backup is of. It is the first thing inside.
type Manifest struct {
	Format  int       `json:"format"`
	ID      string    `json:"id"`      // bak_ and a ULID
	Version string    `json:"version"` // of the Penstock that wrote it
	Engine  string    `json:"engine"`  // SQLite or PostgreSQL
	Schema  int64     `json:"schema"`  // number of the last migration
	Keyring string    `json:"keyring"` // id of the ring that the store belongs to, "" if it never had one
	Epoch   int64     `json:"epoch"`   // how often the store was restored, and one
	Taken   time.Time `json:"taken"`   // the moment, UTC
	Chain   Chain     `json:"chain"`
}

// A Chain is the end of the audit chain at the moment.
type Chain struct {
	ID   string `json:"id"` // "" before the first entry
	Seq  int64  `json:"seq"`
	Hash string `json:"hash"` // hexadecimal
}

// A Table is a table of a store.
type Table struct {
	Name    string   `json:"name"`
	Columns []string `json:"columns"`
}

// A Row is its values in the order of the table's columns: int64, string, []byte or nil each.
type Row []any

// A Summary is what a file holds, by table in the order of the file. It is the last thing inside.
type Summary struct {
	Tables []TableSum `json:"tables"`
}

// A TableSum is how many rows a table has, and a hash of all of them in their order.
type TableSum struct {
	Name   string `json:"name"`
	Rows   int64  `json:"rows"`
	SHA256 string `json:"sha256"` // of columns and rows as they are encoded, hexadecimal
}

// Rows is how many rows there are in all.
func (s Summary) Rows() (n int64) {
	for _, t := range s.Tables {
		n += t.Rows
	}
	return n
}

// Of is how many rows a table has.
func (s Summary) Of(table string) int64 {
	for _, t := range s.Tables {
		if t.Name == table {
			return t.Rows
		}
	}
	return 0
}

// damaged is the error of a file that is not as it was written.
func damaged(format string, args ...any) error {
	return fault.Problem{Text: "the backup is damaged: " + sprintf(format, args...), Hint: "take another copy of it; `sha256sum` tells two copies apart"}
}

package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/usage"
)

const (
	// blockSize is how many numbers a block of exchanges has; see exchange_blocks.
	blockSize = 1024
	// maxNames bounds the numbers of names in memory; with more, as where every call has a user of its own, the table is
	// asked again.
	maxNames = 1 << 16
	// maxBuffer is how much space for encoding is kept from one batch to the next, in bytes.
	maxBuffer = 4 << 20
)

// exchangeColumns are the columns of an exchange, in the order of row.values.
const exchangeColumns = "seq, id, time, org, project, key_id, end_user, model, target, op, error, status, failed, stream, " +
	"input, output, cached_input, cache_write, reasoning, estimated, cost_nano, unpriced, total_ns, first_ns, cost_unknown, overhead_ns, trace"

// What writing records runs. All of it is prepared once.
var (
	addExchange = insertInto("exchanges", exchangeColumns, 1)
	addRecord   = insertInto("exchange_records", "seq, record", 1)
	addTag      = insertInto("exchange_tags", "seq, tag", 1)
	noteName    = insertInto("exchange_block_names", "name, block", 1)
	addExtras   = insertInto("exchange_extras", extrasColumns, 1)
)

const (
	// Numbers that were summed up are not given again, whether or not their exchanges are still there.
	lastSeq   = "SELECT MAX(seq) FROM (SELECT MAX(seq) AS seq FROM exchanges UNION ALL SELECT seq FROM usage_summed) AS given"
	seqsFrom  = "SELECT seq FROM exchanges WHERE seq >= ? ORDER BY seq"
	noteBlock = `INSERT INTO exchange_blocks (block, first_time, last_time) VALUES (?, ?, ?) ON CONFLICT (block) DO UPDATE SET
		first_time = CASE WHEN excluded.first_time < exchange_blocks.first_time THEN excluded.first_time ELSE exchange_blocks.first_time END,
		last_time = CASE WHEN excluded.last_time > exchange_blocks.last_time THEN excluded.last_time ELSE exchange_blocks.last_time END`
	// The update changes nothing; it is there so that the number comes back in either case.
	addName  = "INSERT INTO names (name) VALUES (?) ON CONFLICT (name) DO UPDATE SET name = excluded.name RETURNING id"
	readUpTo = "INSERT INTO journals (id, read_up_to) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET read_up_to = excluded.read_up_to"
)

// kinds are the types of the columns of what is inserted, a letter each: i is a number, t a text, b bytes.
var kinds = map[string]string{
	addExchange: "iti" + strings.Repeat("i", strings.Count(exchangeColumns, ",")-3) + "b",
	addRecord:   "ib", addTag: "ii", noteName: "ii", addBody: "tttb", addExtras: strings.Repeat("i", 1+len(extraFields)),
	addEntry: entryKinds,
}

// insertArrays is a statement that inserts any number of rows, but for those that are there already: its arguments are
// columns. Where a statement is a way to a server, a row then costs neither a parameter for each value nor a longer plan.
func insertArrays(table, columns, kinds string) string {
	types := map[rune]string{'i': "?::bigint[]", 't': "?::text[]", 'b': "?::bytea[]"}
	all := make([]string, 0, len(kinds))
	for _, k := range kinds {
		all = append(all, types[k])
	}
	return "INSERT INTO " + table + " (" + columns + ") SELECT * FROM unnest(" + strings.Join(all, ", ") + ") ON CONFLICT DO NOTHING"
}

// transposed makes columns of values that stand row by row. A nil among bytes stays one.
func transposed(kinds string, values []any) []any {
	rows := len(values) / len(kinds)
	columns := make([]any, len(kinds))
	for c, kind := range kinds {
		switch kind {
		case 'i':
			columns[c] = column[int64](values[c:], rows, len(kinds))
		case 't':
			columns[c] = column[string](values[c:], rows, len(kinds))
		case 'b':
			columns[c] = column[[]byte](values[c:], rows, len(kinds))
		}
	}
	return columns
}

func column[T any](values []any, rows, width int) []T {
	all := make([]T, rows)
	for i := range all {
		all[i], _ = values[i*width].(T) // what is not one is a nil
	}
	return all
}

// insertInto is a statement that inserts n rows, but for those that are there already.
func insertInto(table, columns string, n int) string {
	one := "(" + strings.Repeat("?, ", strings.Count(columns, ",")) + "?)"
	return "INSERT INTO " + table + " (" + columns + ") VALUES " + one + strings.Repeat(", "+one, n-1) + " ON CONFLICT DO NOTHING"
}

// A recorder writes records. It remembers what the tables hold already, which is nearly always all that a record refers to.
type recorder struct {
	d        *dialect
	prepared map[string]*sql.Stmt // by text
	many     map[string]string    // the statement that inserts d.chunk rows, by the one that inserts one

	mu   sync.Mutex // held from before a transaction until after it; guards the fields below
	buf  []byte     // for encode
	args []any      // for insert
	// entries and moves are room for those of a posting.
	entries []any
	moves   []byte
	names   map[string]int64
	books   map[string]int64   // accounts of the ledger
	block   int64              // the block that is being filled
	seen    map[int64]struct{} // the names that exchange_block_names has for it
	fresh   gathering          // what is to be summed up next, as far as this process has written it
	summed  time.Time          // when this process last summed up, or began
}

func (c *recorder) prepare(ctx context.Context, d *dialect, db *sql.DB) error {
	c.forget()
	c.d, c.prepared = d, map[string]*sql.Stmt{}
	c.many = map[string]string{
		addExchange: insertInto("exchanges", exchangeColumns, d.chunk), addRecord: insertInto("exchange_records", "seq, record", d.chunk),
		addBody: insertInto("exchange_bodies", "project, exchange, data_key, sealed", d.chunk),
		addTag:  insertInto("exchange_tags", "seq, tag", d.chunk), noteName: insertInto("exchange_block_names", "name, block", d.chunk),
		addEntry: insertInto("ledger_entries", entryColumns, d.chunk), addExtras: insertInto("exchange_extras", extrasColumns, d.chunk),
	}
	if d.arrays {
		c.many = map[string]string{
			addExchange: insertArrays("exchanges", exchangeColumns, kinds[addExchange]),
			addRecord:   insertArrays("exchange_records", "seq, record", kinds[addRecord]),
			addBody:     insertArrays("exchange_bodies", "project, exchange, data_key, sealed", kinds[addBody]),
			addTag:      insertArrays("exchange_tags", "seq, tag", kinds[addTag]),
			noteName:    insertArrays("exchange_block_names", "name, block", kinds[noteName]),
			addEntry:    insertArrays("ledger_entries", entryColumns, entryKinds),
			addExtras:   insertArrays("exchange_extras", extrasColumns, kinds[addExtras]),
		}
	}
	for _, query := range slices.Concat(bookStatements(d), slices.Collect(maps.Values(addings)), []string{
		c.many[addExchange], c.many[addRecord], c.many[addTag], c.many[noteName],
		addExchange, addRecord, addTag, noteName, noteBlock, lastSeq, seqsFrom, addName, readUpTo,
		addBody, c.many[addBody], addEntry, c.many[addEntry], setSummed, toSum, tagsToSum, findHistograms, setHistograms,
		addExtras, c.many[addExtras], extrasToSum,
	}) {
		stmt, err := db.PrepareContext(ctx, d.rebind(query)) //nolint:sqlclosecheck // close does
		if err != nil {
			return fmt.Errorf("prepare: %w", err)
		}
		c.prepared[query] = stmt
	}
	return nil
}

func (c *recorder) close() error {
	var errs []error
	for _, stmt := range c.prepared {
		errs = append(errs, stmt.Close())
	}
	return errors.Join(errs...)
}

// forget drops what was remembered: after a transaction that was undone, it may not be in the tables.
func (c *recorder) forget() {
	c.names, c.books, c.block, c.seen, c.fresh = map[string]int64{}, map[string]int64{}, -1, nil, gathering{}
}

// A recording is a transaction in which records are written.
type recording struct {
	*recorder
	tx
	bound map[string]statement // prepared ones, which end with the transaction
}

// A statement is what can be run of a [sql.Stmt].
type statement interface {
	ExecContext(ctx context.Context, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, args ...any) *sql.Row
}

// bind gives a prepared statement.
func (c *recording) bind(ctx context.Context, query string) statement {
	stmt := c.bound[query]
	if stmt == nil {
		stmt = c.StmtContext(ctx, c.prepared[query])
		c.bound[query] = stmt
	}
	return stmt
}

// run runs a prepared statement and says how many rows it changed.
func (c *recording) run(ctx context.Context, query string, args ...any) (int64, error) {
	result, err := c.bind(ctx, query).ExecContext(c.tx.ctx, c.tx.d.args(args)...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// add writes what is not there yet: rows first, since they tell which are new, then all that hangs on those.
// It gives the number of the exchange before them, and the rows that were not there.
func (c *recording) add(ctx context.Context, records []*usage.Record, texts [][]byte) (before int64, rows []row, err error) {
	if len(records) == 0 {
		return 0, nil, nil
	}
	if rows, err = c.number(ctx, records, texts); err != nil {
		return 0, nil, err
	}
	before = rows[0].seq - 1
	n, err := c.insert(ctx, addExchange, rows, (*row).values)
	if err != nil {
		return 0, nil, err
	}
	if n < int64(len(rows)) {
		if rows, err = c.added(ctx, rows); err != nil {
			return 0, nil, err
		}
	}
	if _, err := c.insert(ctx, addRecord, rows, (*row).text); err != nil {
		return 0, nil, err
	}
	var tags []any
	for _, r := range rows {
		for _, tag := range r.tags {
			tags = append(tags, r.seq, tag)
		}
	}
	if _, err := c.insertAll(ctx, addTag, 2, tags); err != nil {
		return 0, nil, err
	}
	if err := c.addExtras(ctx, rows); err != nil {
		return 0, nil, err
	}
	return before, rows, c.note(ctx, rows)
}

// number gives records their numbers, and their texts those of names.
func (c *recording) number(ctx context.Context, records []*usage.Record, texts [][]byte) ([]row, error) {
	var last int64
	if err := c.bind(ctx, lastSeq).QueryRowContext(c.tx.ctx).Scan(&last); err != nil {
		return nil, err
	}
	rows := make([]row, len(records))
	for i, rec := range records {
		r := &rows[i]
		*r = row{Record: rec, seq: last + 1 + int64(i), record: texts[i]}
		for j, text := range r.texts() {
			id, err := c.name(ctx, text)
			if err != nil {
				return nil, err
			}
			r.names[j] = id
		}
		for _, tag := range rec.Tags {
			id, err := c.name(ctx, tag)
			if err != nil {
				return nil, err
			}
			if !slices.Contains(r.tags, id) {
				r.tags = append(r.tags, id)
			}
		}
	}
	return rows, nil
}

// name gives the number of a text, which gets one now if it has none.
func (c *recording) name(ctx context.Context, text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	id, ok := c.names[text]
	if ok {
		return id, nil
	}
	if err := c.bind(ctx, addName).QueryRowContext(c.tx.ctx, c.tx.d.args([]any{text})...).Scan(&id); err != nil {
		return 0, err
	}
	if len(c.names) >= maxNames {
		clear(c.names)
	}
	c.names[text] = id
	return id, nil
}

// insert writes rows and says how many were new.
func (c *recording) insert(ctx context.Context, one string, rows []row, values func(*row, []any) []any) (n int64, err error) {
	for len(rows) > 0 && err == nil {
		size := min(len(rows), c.tx.d.chunk)
		c.args = c.args[:0]
		for i := range rows[:size] {
			c.args = values(&rows[i], c.args)
		}
		var done int64
		done, err = c.insertAll(ctx, one, len(c.args)/size, c.args)
		n, rows = n+done, rows[size:]
	}
	return n, err
}

// insertAll writes rows of some columns, in chunks as far as they go.
func (c *recording) insertAll(ctx context.Context, one string, columns int, args []any) (n int64, err error) {
	if c.tx.d.arrays && len(args) > 0 {
		return c.run(ctx, c.many[one], transposed(kinds[one], args)...)
	}
	for len(args) > 0 {
		query, size := one, columns
		if whole := columns * c.tx.d.chunk; len(args) >= whole {
			query, size = c.many[one], whole
		}
		done, err := c.run(ctx, query, args[:size]...)
		if err != nil {
			return n, err
		}
		n, args = n+done, args[size:]
	}
	return n, nil
}

// added keeps the rows that were inserted just now; the others' exchanges were there before.
func (c *recording) added(ctx context.Context, rows []row) ([]row, error) {
	first := rows[0].seq
	found, err := c.bind(ctx, seqsFrom).QueryContext(c.tx.ctx, first)
	seqs, err := collect(found, err, func(r scanner) (seq int64, err error) { return seq, r.Scan(&seq) })
	if err != nil {
		return nil, err
	}
	kept := make([]row, len(seqs))
	for i, seq := range seqs {
		kept[i] = rows[seq-first]
	}
	return kept, nil
}

// note enters into the tables of blocks what is in rows, so that whoever looks for it does not skip them.
func (c *recording) note(ctx context.Context, rows []row) error {
	for len(rows) > 0 {
		block, n := rows[0].seq/blockSize, 0
		first, last := rows[0].micros(), rows[0].micros()
		if block != c.block {
			c.block, c.seen = block, map[int64]struct{}{}
		}
		var names []any
		var err error
		for ; n < len(rows) && rows[n].seq/blockSize == block; n++ {
			first, last = min(first, rows[n].micros()), max(last, rows[n].micros())
			if names, err = c.noteRow(ctx, &rows[n], names); err != nil {
				return err
			}
		}
		if _, err := c.insertAll(ctx, noteName, 2, names); err != nil {
			return err
		}
		if _, err := c.run(ctx, noteBlock, block, first, last); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}

// noteRow appends the names of a row that its block does not have yet. Statuses of failures are entered as texts like all else.
func (c *recording) noteRow(ctx context.Context, r *row, names []any) ([]any, error) {
	ids := append(r.names[:], r.tags...)
	if r.failed() {
		for _, text := range []string{statusError, statusClass(r.Status), strconv.Itoa(r.Status)} {
			id, err := c.name(ctx, text)
			if err != nil {
				return nil, err
			}
			ids = append(ids, id)
		}
	}
	for _, id := range ids {
		if _, ok := c.seen[id]; ok || id == 0 {
			continue
		}
		names = append(names, id, c.block)
		c.seen[id] = struct{}{}
	}
	return names, nil
}

// A row is a record on its way into the tables.
type row struct {
	*usage.Record
	seq    int64
	names  [8]int64 // of texts
	tags   []int64
	record []byte
}

// texts are what a row has the numbers of.
func (r *row) texts() [8]string {
	code := ""
	if r.Error != nil {
		code = r.Error.Code
	}
	return [8]string{r.Org, r.Project, r.Key, r.User, r.Model, r.Target, string(r.Op), code}
}

// failed says whether the exchange counts as an error.
func (r *row) failed() bool { return r.Error != nil || r.Status >= 400 }

// values appends what exchangeColumns names. What is summed is never below zero, whatever a provider has reported: a sum
// that only grows can be kept within bounds.
func (r *row) values(args []any) []any {
	u, t := r.Usage, r.Timings
	return append(args, r.seq, r.ID, r.micros(), r.names[0], r.names[1], r.names[2], r.names[3], r.names[4], r.names[5],
		r.names[6], r.names[7], int64(r.Status), flag(r.failed()), flag(r.Stream), max(u.Input, 0), max(u.Output, 0), max(u.CachedInput, 0),
		max(u.CacheWrite, 0), max(u.Reasoning, 0), flag(u.Estimated), max(int64(r.CostNano), 0), flag(r.Unpriced), max(t.TotalNS, 0),
		max(t.FirstNS, 0), flag(r.CostUnknown()), max(t.OverheadNS, 0), r.trace())
}

// trace is the trace of others that the exchange is part of, nil if it is in none.
func (r *row) trace() any {
	if r.Trace.IsZero() || pipeline.IDOfTrace(r.Trace) == r.ID {
		return nil
	}
	return r.Trace[:]
}

// micros is when the exchange began; nothing begins before 1970.
func (r *row) micros() int64 { return max(micros(r.Time), 0) }

func (r *row) text(args []any) []any { return append(args, r.seq, r.record) }

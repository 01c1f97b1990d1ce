package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/usage"
	"github.com/penstock/penstock/internal/wire/w3c"
)

// defaultLimit is how many records a filter without a limit gives.
const defaultLimit = 50

// What Filter.Status may be besides a status.
const (
	statusOK    = "ok"
	statusError = "error"
)

// statusClass is "4xx" for 429.
func statusClass(status int) string { return strconv.Itoa(status/100) + "xx" }

// Record implements [usage.Store].
func (s *Store) Record(ctx context.Context, project, id string) (*usage.Record, error) {
	var text []byte
	// One query for all cases: an exchange of another project costs the same time as one that is not there.
	err := s.row(ctx, `SELECT r.record FROM exchanges e JOIN names p ON p.id = e.project JOIN exchange_records r ON r.seq = e.seq
		WHERE e.id = ? AND (? = '' OR p.name = ?)`, id, project, project).Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, s.noRecord(ctx, id)
	}
	if err != nil {
		return nil, s.unread(ctx, "read a record", err)
	}
	return decode(text)
}

// noRecord is the fault of an exchange that is not there. That it may have been deleted is told by its id alone, so that the words
// are the same whether or not there was one, and of whom.
func (s *Store) noRecord(ctx context.Context, id string) error {
	f := fault.New(fault.RecordNotFound, "There is no exchange %s here.", quote(id))
	var purged int64
	if s.row(ctx, "SELECT purged_before FROM usage_summed WHERE id = 1").Scan(&purged) == nil && purged > 0 {
		before := time.UnixMicro(purged)
		if first := pipeline.FirstID(before); len(id) == len(first) && id < first {
			f.Hint = "Those from before " + before.UTC().Format(time.DateTime) + " UTC are deleted, but for what is on hold: see docs/retention.md."
		}
	}
	return f
}

// Records implements [usage.Store]. Newest is what was written last, so that a page that was read never changes.
func (s *Store) Records(ctx context.Context, f usage.Filter) ([]*usage.Record, error) {
	if f.Limit <= 0 {
		f.Limit = defaultLimit
	}
	q, err := s.search(ctx, f)
	if err != nil || q == nil {
		return nil, err
	}
	rows, err := s.query(ctx, recordsQuery(q), append(q.args, f.Limit)...)
	all, err := collect(rows, err, func(r scanner) (*usage.Record, error) {
		var text sql.RawBytes
		if err := r.Scan(&text); err != nil {
			return nil, err
		}
		return decode(text)
	})
	if err != nil {
		return nil, s.unread(ctx, "read records", err)
	}
	return all, nil
}

func recordsQuery(q *search) string {
	return "SELECT r.record FROM " + q.from() + q.join + "exchange_records r ON r.seq = e.seq" + q.where() +
		" ORDER BY b.block DESC, e.seq DESC LIMIT ?"
}

// A search is the part of a query that says where to look: in which blocks, and for what in them. Its texts are all
// written here; what callers sent is in args only.
type search struct {
	join, ofBlock     string // of the dialect, and so is among
	among             string
	joins, conditions []string
	joinArgs, args    []any
}

func (q *search) and(condition string, args ...any) {
	q.conditions = append(q.conditions, condition)
	q.args = append(q.args, args...)
}

// inBlock skips the blocks that cannot hold the name.
func (q *search) inBlock(name int64) {
	alias := "n" + strconv.Itoa(len(q.joins))
	q.joins = append(q.joins, q.join+"exchange_block_names "+alias+" ON "+alias+".name = ? AND "+alias+".block = b.block")
	q.joinArgs = append(q.joinArgs, name)
}

// from joins blocks, and behind them their exchanges, in this order, which the engine cannot know to be best.
func (q *search) from() string {
	return "exchange_blocks b" + strings.Join(q.joins, "") +
		q.join + q.ofBlock
}

var blockText = strconv.Itoa(blockSize)

func (q *search) where() string {
	if len(q.conditions) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(q.conditions, " AND ")
}

// inTrace looks for a trace: one that callers named, or that of an exchange which is in none.
func (q *search) inTrace(trace w3c.TraceID) {
	if trace.IsZero() {
		return
	}
	named, own := trace[:], pipeline.IDOfTrace(trace)
	q.and("b.block "+fmt.Sprintf(q.among, "SELECT seq / "+blockText+" FROM exchanges WHERE trace = ? UNION SELECT seq / "+blockText+
		" FROM exchanges WHERE id = ? AND trace IS NULL"), named, own)
	q.and("(e.trace = ? OR e.id = ? AND e.trace IS NULL)", named, own)
}

// span looks between two times.
func (q *search) span(from, to time.Time) {
	if !from.IsZero() {
		q.and("b.last_time >= ? AND e.time >= ?", from.UnixMicro(), from.UnixMicro())
	}
	if !to.IsZero() {
		q.and("b.first_time < ? AND e.time < ?", to.UnixMicro(), to.UnixMicro())
	}
}

// search makes a search of a filter; nil if nothing can fit.
func (s *Store) search(ctx context.Context, f usage.Filter) (*search, error) {
	q := &search{join: s.d.join, ofBlock: s.d.ofBlock, among: s.d.among}
	for _, c := range []struct{ value, condition string }{
		{f.Project, "e.project = ?"}, {f.Key, "e.key_id = ?"}, {f.Model, "e.model = ?"}, {f.Target, "e.target = ?"},
		{f.User, "e.end_user = ?"},
		// Not EXISTS, which PostgreSQL makes a join of, behind the one that reads records.
		{f.Tag, "(SELECT 1 FROM exchange_tags t WHERE t.seq = e.seq AND t.tag = ?) IS NOT NULL"},
	} {
		if c.value == "" {
			continue
		}
		id, err := s.nameID(ctx, c.value)
		if err != nil || id == 0 {
			return nil, err
		}
		q.inBlock(id)
		q.and(c.condition, id)
	}
	q.inTrace(f.Trace)
	known, err := s.searchStatus(ctx, q, f.Status)
	if err != nil || !known {
		return nil, err
	}
	q.span(f.From, f.To)
	if f.After != "" {
		if err := s.searchAfter(ctx, q, f); err != nil {
			return nil, err
		}
	}
	q.args = append(q.joinArgs, q.args...)
	return q, nil
}

// searchStatus looks for a status; known is false if nothing can fit.
func (s *Store) searchStatus(ctx context.Context, q *search, status string) (known bool, err error) {
	n, notNumber := strconv.Atoi(status)
	switch {
	case status == "":
		return true, nil
	case status == statusOK:
		q.and("e.failed = 0")
		return true, nil
	case status == statusError:
		q.and("e.failed = 1")
	case len(status) == 3 && status[1:] == "xx" && status[0] >= '1' && status[0] <= '5':
		q.and("e.status >= ? AND e.status < ?", int(status[0]-'0')*100, int(status[0]-'0'+1)*100)
	case notNumber == nil && n >= 100 && n <= 599:
		q.and("e.status = ?", n)
	default:
		f := fault.New(fault.InvalidRequest, "%s is not a status to look for.", quote(status))
		f.Param, f.Hint = "status", "Send ok, error, a class such as 4xx, or a status such as 429."
		return false, f
	}
	if status[0] < '4' {
		return true, nil // only failures are entered in the tables of blocks: all else is in nearly every one
	}
	id, err := s.nameID(ctx, status)
	if err != nil || id == 0 {
		return false, err
	}
	q.inBlock(id)
	return true, nil
}

// searchAfter goes on behind a record.
func (s *Store) searchAfter(ctx context.Context, q *search, f usage.Filter) error {
	var seq int64
	err := s.row(ctx, "SELECT e.seq FROM exchanges e JOIN names p ON p.id = e.project WHERE e.id = ? AND (? = '' OR p.name = ?)",
		f.After, f.Project, f.Project).Scan(&seq)
	if errors.Is(err, sql.ErrNoRows) {
		return fault.New(fault.RecordNotFound, "There is no exchange %s to continue behind.", quote(f.After))
	}
	if err != nil {
		return s.unread(ctx, "read records", err)
	}
	q.and("b.block <= ? AND e.seq < ?", seq/blockSize, seq)
	return nil
}

// nameID gives the number of a text; 0 if no exchange has it.
func (s *Store) nameID(ctx context.Context, name string) (id int64, err error) {
	err = s.row(ctx, "SELECT id FROM names WHERE name = ?", name).Scan(&id)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, s.unread(ctx, "read the number of a name", err)
	}
	return id, nil
}

// nameIDs gives the numbers of those texts that have one; that of "" is 0.
func (s *Store) nameIDs(ctx context.Context, names []string) ([]int64, error) {
	var ids []int64
	for some := range slices.Chunk(names, namesAtOnce) {
		rows, err := s.query(ctx, "SELECT id FROM names WHERE name IN ("+questionMarks(len(some))+")", anys(some)...)
		more, err := collect(rows, err, func(r scanner) (id int64, err error) { return id, r.Scan(&id) })
		if err != nil {
			return nil, s.unread(ctx, "read the numbers of names", err)
		}
		ids = append(ids, more...)
	}
	return ids, nil
}

// namesAtOnce is how many names one query asks for.
const namesAtOnce = 200

func questionMarks(n int) string { return strings.Repeat(", ?", n)[2:] }

func anys[T any](values []T) []any {
	all := make([]any, len(values))
	for i, v := range values {
		all[i] = v
	}
	return all
}

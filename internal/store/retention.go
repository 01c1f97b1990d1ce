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
	"time"

	"github.com/penstock/penstock/internal/retention"
)

// Exchanges are deleted by the block, and only out of blocks that are summed up whole and that nobody writes into any more:
// what the recorder remembers of the block that is being filled stays true, and so do the sums. Those read the rows that
// are not summed yet, and never rows of a time of which some may be gone: see pieces.

const (
	// heldVersion changes with every hold. Whoever deletes holds to it: a hold that somebody was told of wins.
	heldVersion = "SELECT version FROM versions WHERE name = 'holds'"
	// exemptVersion changes with every hold, too, and with which projects are strict.
	exemptVersion = "SELECT CAST((" + heldVersion + ") + (SELECT COALESCE(SUM(created % 1000003 + 1), 0) FROM projects WHERE strict = 1) AS BIGINT)"
)

// Due implements [retention.Store].
func (s *Store) Due(ctx context.Context, now time.Time, keep time.Duration) (due retention.Due, err error) {
	due.Policy = retention.Policy{Now: now, Keep: keep}
	if s.d != &sqliteDialect { // whose clock is ours
		var theirs int64
		if err := s.row(ctx, "SELECT "+s.d.now).Scan(&theirs); err != nil {
			return due, s.unread(ctx, "read the database's clock", err)
		}
		if at := fromMicros(theirs); at.Before(now) {
			due.Policy.Now = at
		}
	}
	knows, err := Schema()
	if err != nil {
		return due, err
	}
	before := micros(due.Policy.Before(false))
	var older int
	var last sql.NullInt64
	err = s.row(ctx, "SELECT (SELECT COUNT(*) FROM replicas WHERE knows < ? AND seen > "+s.d.now+" - ?), (SELECT MAX(block) FROM exchange_blocks WHERE first_time < ?)",
		knows, Gone.Microseconds(), before).Scan(&older, &last)
	if err != nil {
		return due, s.unread(ctx, "look for exchanges whose retention is over", err)
	}
	if older > 0 || !last.Valid { // an older version would take what is left for all that there was
		return due, nil
	}
	if err := s.settle(ctx, last.Int64); err != nil {
		return due, err
	}
	err = s.look(ctx, func(v view) error {
		if err := v.row(ctx, exemptVersion).Scan(&due.Version); err != nil {
			return err
		}
		rows, err := v.query(ctx, "SELECT b.block, b.first_time FROM exchange_blocks b WHERE b.first_time < ? AND b.block < (SELECT (MIN(s.seq) + 1) / "+
			blockText+" FROM usage_summed s) ORDER BY b.block", before)
		due.Blocks, err = collect(rows, err, func(r scanner) (b retention.Block, err error) {
			var first int64
			err = r.Scan(&b.N, &first)
			b.Oldest = fromMicros(first)
			return b, err
		})
		return err
	})
	if err != nil {
		return due, s.unread(ctx, "look for exchanges whose retention is over", err)
	}
	return due, nil
}

// settle sums up all exchanges of a block and of those before it, although they are few, and closes the block if it is the
// one that is being filled.
func (s *Store) settle(ctx context.Context, block int64) error {
	s.records.mu.Lock()
	defer s.records.mu.Unlock()
	for end := (block+1)*blockSize - 1; ; {
		var at reached
		var last int64
		var told telling
		err := s.row(ctx, findSummed).Scan(append(at.into(), &last, &told.upTo, &told.gap)...)
		told.last = min(last, end)
		switch seq := at[reachFirst]; {
		case err != nil:
			return s.unread(ctx, "read how far exchanges are summed up", err)
		case told.lacksUpTo(end):
			err = s.fillGap(ctx, &told)
		case seq < min(last, end):
			_, err = s.sumUp(ctx, seq, min(last, seq+s.atOnce))
		case at.least() < min(seq, end):
			err = s.refillSums(ctx, &at)
		default:
			// Of what is deleted, nothing can be counted any more.
			if more, err := s.countSettled(ctx); err != nil {
				return err
			} else if more {
				continue
			}
			if seq >= end {
				return nil
			}
			return s.closeBlock(ctx, seq, end)
		}
		if err != nil {
			return err
		}
	}
}

// closeBlock lets the next exchange have the first number behind a block whose exchanges, up to a number, are all summed up.
// It does so only while no replica is there of a version that would go on with the block.
func (s *Store) closeBlock(ctx context.Context, summed, end int64) error {
	knows, err := Schema()
	if err != nil {
		return err
	}
	return s.changeIn(ctx, laneRecords, "close a block of exchanges", func(t tx) error {
		var against int
		err := t.row(ctx, `SELECT (SELECT COUNT(*) FROM exchanges WHERE seq > ?) + (SELECT COUNT(*) FROM usage_summed WHERE seq <> ?) +
			(SELECT COUNT(*) FROM replicas WHERE knows < ? AND seen > `+s.d.now+" - ?)", summed, summed, knows, Gone.Microseconds()).Scan(&against)
		if err == nil && against == 0 {
			_, err = t.exec(ctx, "UPDATE usage_summed SET seq = ? WHERE seq = ?", end, summed)
		}
		return err
	})
}

// A purgeable is an exchange as far as it matters for deleting it.
type purgeable struct {
	counted
	id    string
	names []int64 // by which its block is found, those of its tags and of its failure too
	tags  []int64
}

// A purging is what is to be deleted of a block in one transaction.
type purging struct {
	block        int64
	version      int64 // of holds
	due          []purgeable
	kept         int  // how many stay
	scattered    bool // some of those stand between the ones that are due
	first, last  int64
	names        []int64             // that none has which stays
	bodies       map[string][]string // exchanges that may have bodies, by the id of their project
	sums, tagged map[sumOf]*sums     // of what is due, by the day
	done         retention.Done
}

// PurgeBlock implements [retention.Store]. What is to be done is found out without keeping anybody from writing: a block that
// is closed changes by this alone.
func (s *Store) PurgeBlock(ctx context.Context, holder string, block int64, policy retention.Policy, limit int) (retention.Done, error) {
	p := &purging{block: block, bodies: map[string][]string{}, sums: map[sumOf]*sums{}, tagged: map[sumOf]*sums{}}
	if err := s.look(ctx, func(v view) error { return p.read(v, policy, limit) }); err != nil {
		return p.done, s.unread(ctx, "read exchanges whose retention is over", err)
	}
	more := p.done.More
	if len(p.due) == 0 && p.kept > 0 {
		p.done.Mine = true
		return p.done, nil
	}
	err := s.changeIn(ctx, lanePurge, "delete exchanges", func(t tx) (err error) {
		p.done.Deleted, p.done.More = 0, more
		defer func(begun time.Time) { p.done.Took = time.Since(begun) }(time.Now())
		if p.done.Mine, err = t.lease(ctx, "records", holder, s.now()); err != nil || !p.done.Mine {
			return err
		}
		var version int64
		if err := t.row(ctx, heldVersion).Scan(&version); err != nil {
			return err
		}
		if version != p.version { // somebody holds or lifts: it is looked at again
			p.done.More = true
			return nil
		}
		return s.purge(ctx, t, p, micros(policy.Before(false)))
	})
	return p.done, err
}

// read finds out what is due, all of one moment.
func (p *purging) read(v view, policy retention.Policy, limit int) error {
	x, err := exemptionsOf(v)
	if err != nil {
		return err
	}
	rows, err := p.rows(v)
	if err != nil {
		return err
	}
	tenants, err := tenantsOf(v, rows)
	if err != nil {
		return err
	}
	p.version = x.version
	stay, gone := map[int64]bool{}, map[int64]bool{}
	from, to := 0, 0
	for i := range rows {
		r, names := &rows[i], stay
		org, project := tenants[r.counted.names[byOrg]], tenants[r.counted.names[byProject]]
		before := micros(policy.Before(x.strict[project]))
		switch {
		case x.projects[project] || x.orgs[org]:
			p.keep(r, time.Time{})
		case r.time >= before:
			p.keep(r, policy.Now.Add(time.Duration(r.time-before+1)*time.Microsecond))
		case len(p.due) == limit:
			p.done.More = true
			p.keep(r, policy.Now)
		default:
			if len(p.due) == 0 {
				from = i
			}
			to, names = i, gone
			p.due = append(p.due, *r)
			p.sum(r)
		}
		for _, id := range r.names {
			names[id] = true
		}
	}
	p.scattered = len(p.due) > 0 && to-from+1 > len(p.due)
	for _, id := range slices.Sorted(maps.Keys(gone)) {
		if !stay[id] {
			p.names = append(p.names, id)
		}
	}
	return p.readBodies(v, tenants)
}

// keep takes note of an exchange that stays, and when it is due; zero is never.
func (p *purging) keep(r *purgeable, due time.Time) {
	if p.kept == 0 {
		p.first, p.last = r.time, r.time
	}
	p.kept++
	p.first, p.last = min(p.first, r.time), max(p.last, r.time)
	if next := &p.done.Next; !due.IsZero() && (next.IsZero() || due.Before(*next)) {
		*next = due
	}
}

// sum adds an exchange to what was deleted of its day.
func (p *purging) sum(r *purgeable) {
	k := sumOf{start: r.time / day}
	if p.sums[k] == nil {
		p.sums[k], p.tagged[k] = &sums{}, &sums{}
	}
	p.sums[k].add(&r.sums)
	for range max(len(r.tags), 1) {
		p.tagged[k].add(&r.sums)
	}
}

// A behind is a row with columns of its own before those that others read.
type behind struct {
	scanner
	first []any
}

// Scan reads the row.
func (b behind) Scan(into ...any) error { return b.scanner.Scan(append(b.first, into...)...) }

// rows reads the exchanges of the block.
func (p *purging) rows(v view) ([]purgeable, error) {
	from, to := p.block*blockSize-1, (p.block+1)*blockSize-1
	tags := map[int64][]int64{}
	found, err := v.query(v.ctx, tagsToSum, from, to)
	err = each(found, err, func(r scanner) error {
		var seq, tag int64
		err := r.Scan(&seq, &tag)
		tags[seq] = append(tags[seq], tag)
		return err
	})
	if err != nil {
		return nil, err
	}
	more, err := extrasFrom(v.query(v.ctx, extrasToSum, from, to))
	if err != nil {
		return nil, err
	}
	statuses := map[int][]int64{} // the names that failures with a status have
	found, err = v.query(v.ctx, "SELECT id, op, error, status, "+countedColumns+" FROM exchanges WHERE seq > ? AND seq <= ? ORDER BY seq", from, to)
	var failed []int
	rows, err := collect(found, err, func(r scanner) (e purgeable, err error) {
		var op, code int64
		var status int
		if err := e.counted.scan(behind{r, []any{&e.id, &op, &code, &status}}); err != nil {
			return e, err
		}
		e.sums.have(more[e.seq])
		n := &e.counted.names
		e.tags = tags[e.seq]
		e.names = slices.Concat([]int64{n[byOrg], n[byProject], n[byKey], n[byUser], n[byModel], n[byTarget], op, code}, e.tags)
		if !e.timed.Failed {
			status = 0
		}
		failed = append(failed, status)
		statuses[status] = nil
		return e, nil
	})
	if err != nil {
		return nil, err
	}
	for status := range statuses {
		if statuses[status], err = statusNames(v, status); err != nil {
			return nil, err
		}
	}
	for i, status := range failed {
		rows[i].names = append(rows[i].names, statuses[status]...)
	}
	return rows, nil
}

// statusNames are the names that a block has of failures with a status, 0 being none.
func statusNames(v view, status int) ([]int64, error) {
	if status == 0 {
		return nil, nil
	}
	rows, err := v.query(v.ctx, "SELECT id FROM names WHERE name IN (?, ?, ?)", statusError, statusClass(status), strconv.Itoa(status))
	return collect(rows, err, func(r scanner) (id int64, err error) { return id, r.Scan(&id) })
}

// exemptions are what a retention does not touch, or not so soon.
type exemptions struct {
	version                int64
	projects, orgs, strict map[string]bool
}

func exemptionsOf(v view) (x exemptions, err error) {
	if err := v.row(v.ctx, heldVersion).Scan(&x.version); err != nil {
		return x, err
	}
	x.projects, x.orgs, x.strict = map[string]bool{}, map[string]bool{}, map[string]bool{}
	rows, err := v.query(v.ctx, "SELECT org, project, 0 FROM holds UNION ALL SELECT '', id, 1 FROM projects WHERE strict = 1")
	return x, each(rows, err, func(r scanner) error {
		var org, project string
		var strict bool
		err := r.Scan(&org, &project, &strict)
		switch {
		case strict:
			x.strict[project] = true
		case org != "":
			x.orgs[org] = true
		default:
			x.projects[project] = true
		}
		return err
	})
}

// tenantsOf are the names of the organisations and projects of rows, by their numbers.
func tenantsOf(v view, rows []purgeable) (map[int64]string, error) {
	names := map[int64]string{}
	for i := range rows {
		n := &rows[i].counted.names
		names[n[byOrg]], names[n[byProject]] = "", ""
	}
	if len(names) == 0 {
		return names, nil
	}
	found, err := v.query(v.ctx, "SELECT id, name FROM names WHERE id IN ("+numbers(slices.Sorted(maps.Keys(names)))+")")
	return names, each(found, err, func(r scanner) error {
		var id int64
		var name string
		err := r.Scan(&id, &name)
		names[id] = name
		return err
	})
}

// readBodies finds out which of the exchanges that are due may have bodies: those of projects that have any.
func (p *purging) readBodies(v view, tenants map[int64]string) error {
	by := map[string][]string{}
	for i := range p.due {
		project := tenants[p.due[i].counted.names[byProject]]
		by[project] = append(by[project], p.due[i].id)
	}
	for project, ids := range by {
		var some int
		err := v.row(v.ctx, "SELECT 1 FROM exchange_bodies WHERE project = ? LIMIT 1", project).Scan(&some)
		if err == nil {
			p.bodies[project] = ids
		} else if !errors.Is(err, sql.ErrNoRows) {
			return err
		}
	}
	return nil
}

// purge deletes what is due. before is what reports are told: of exchanges that began earlier, some may be gone.
func (s *Store) purge(ctx context.Context, t tx, p *purging, before int64) error {
	if _, err := t.exec(ctx, "UPDATE usage_summed SET purged_before = ? WHERE id = 1 AND purged_before < ?", before, before); err != nil {
		return err
	}
	if len(p.due) > 0 {
		for _, table := range []string{"exchanges", "exchange_records", "exchange_tags", "exchange_extras"} {
			n, err := t.deleteSeqs(ctx, table, p)
			if err != nil {
				return err
			}
			if table == "exchanges" && n != int64(len(p.due)) {
				return fmt.Errorf("block %d changed while it was looked at: of %d exchanges there are %d", p.block, len(p.due), n)
			}
		}
	}
	for _, project := range slices.Sorted(maps.Keys(p.bodies)) {
		ids := p.bodies[project]
		_, err := t.exec(ctx, "DELETE FROM exchange_bodies WHERE project = ? AND exchange IN ("+questionMarks(len(ids))+")", append([]any{project}, anys(ids)...)...)
		if err != nil {
			return err
		}
	}
	if len(p.names) > 0 {
		_, err := t.exec(ctx, "DELETE FROM exchange_block_names WHERE block = ? AND name IN ("+numbers(p.names)+")", p.block)
		if err != nil {
			return err
		}
	}
	query, args := "UPDATE exchange_blocks SET first_time = ?, last_time = ? WHERE block = ?", []any{p.first, p.last, p.block}
	if p.kept == 0 {
		query, args = "DELETE FROM exchange_blocks WHERE block = ?", []any{p.block}
	}
	if _, err := t.exec(ctx, query, args...); err != nil {
		return err
	}
	p.done.Deleted = len(p.due)
	r := &recording{&s.records, t, map[string]statement{}}
	return errors.Join(r.addSums(ctx, purgedDays, p.sums), r.addSums(ctx, purgedTagDays, p.tagged))
}

// deleteSeqs deletes the rows of a table that belong to the exchanges that are due.
func (t tx) deleteSeqs(ctx context.Context, table string, p *purging) (int64, error) {
	if !p.scattered {
		return t.exec(ctx, "DELETE FROM "+table+" WHERE seq >= ? AND seq <= ?", p.due[0].seq, p.due[len(p.due)-1].seq)
	}
	seqs := make([]int64, len(p.due))
	for i := range p.due {
		seqs[i] = p.due[i].seq
	}
	return t.exec(ctx, "DELETE FROM "+table+" WHERE seq IN ("+numbers(seqs)+")")
}

// numbers writes numbers for a list in a query.
func numbers(all []int64) string {
	var b strings.Builder
	for i, n := range all {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(decimal(n))
	}
	return b.String()
}

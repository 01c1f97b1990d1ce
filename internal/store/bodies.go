package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/penstock/penstock/internal/audit"
	"github.com/penstock/penstock/internal/auth"
	"github.com/penstock/penstock/internal/bodies"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/purge"
)

var addBody = insertInto("exchange_bodies", "project, exchange, data_key, sealed", 1)

// AddBodies implements [bodies.Store].
func (s *Store) AddBodies(ctx context.Context, journal string, upTo int64, rows []bodies.Row) error {
	args := make([]any, 0, 4*len(rows))
	for _, r := range rows {
		args = append(args, r.Project, r.Exchange, r.Key, r.Sealed)
	}
	return s.changeIn(ctx, laneBodies, "write bodies", func(t tx) error {
		r := &recording{&s.records, t, map[string]statement{}}
		if _, err := r.insertAll(ctx, addBody, 4, args); err != nil {
			return err
		}
		_, err := r.run(ctx, readUpTo, journal, upTo)
		return err
	})
}

// OpenBodies implements [bodies.Store].
func (s *Store) OpenBodies(ctx context.Context, project, exchange, reason string) (sealed []byte, err error) {
	err = s.act(ctx, "read bodies", func(t tx) (acts, error) {
		err := t.row(ctx, "SELECT sealed FROM exchange_bodies WHERE project = ? AND exchange = ?", project, exchange).Scan(&sealed)
		if errors.Is(err, sql.ErrNoRows) {
			return nil, fault.New(fault.NotThere, "No bodies of exchange %s are kept.", quote(exchange))
		}
		if err != nil {
			return nil, err
		}
		return acts{{Action: audit.BodiesRead, Object: exchange, Project: project, Reason: reason}}, nil
	})
	if err != nil {
		return nil, err
	}
	return sealed, nil
}

// SealedBodies counts the bodies and the responses in the store by the id of the data key that sealed them. It reads an index of each from end to end:
// a quarter of a second for each million in SQLite.
func (s *Store) SealedBodies(ctx context.Context) (map[string]int64, error) {
	counts := map[string]int64{}
	rows, err := s.query(ctx, `SELECT data_key, COUNT(*) FROM (
			SELECT data_key FROM exchange_bodies UNION ALL SELECT data_key FROM kept_responses UNION ALL SELECT data_key FROM idempotency_keys WHERE data_key <> ''
		) AS k GROUP BY data_key`)
	_, err = collect(rows, err, func(r scanner) (key string, err error) {
		var n int64
		err = r.Scan(&key, &n)
		counts[key] = n
		return key, err
	})
	if err != nil {
		return nil, s.unread(ctx, "count sealed bodies", err)
	}
	return counts, nil
}

// KeptBodies implements [bodies.Store]. It steps from project to project, and reads no more than one row of each.
func (s *Store) KeptBodies(ctx context.Context) ([]bodies.Kept, error) {
	rows, err := s.query(ctx, `WITH RECURSIVE kept(project) AS (
			SELECT MIN(project) FROM exchange_bodies
			UNION ALL
			SELECT (SELECT MIN(b.project) FROM exchange_bodies b WHERE b.project > kept.project) FROM kept WHERE kept.project IS NOT NULL
		)
		SELECT kept.project, COALESCE(p.bodies, ''), COALESCE(p.retention, 0) FROM kept LEFT JOIN projects p ON p.id = kept.project
		WHERE kept.project IS NOT NULL ORDER BY kept.project`)
	all, err := collect(rows, err, func(r scanner) (k bodies.Kept, err error) {
		var how string
		var retention int64
		err = r.Scan(&k.Project, &how, &retention)
		if how == auth.BodiesKeep {
			k.Retention = time.Duration(retention) * time.Microsecond
		}
		return k, err
	})
	if err != nil {
		return nil, s.unread(ctx, "read which projects have bodies", err)
	}
	return all, nil
}

// PurgeBodies implements [bodies.Store].
func (s *Store) PurgeBodies(ctx context.Context, holder, project string, now time.Time, limit int) (n int, mine bool, err error) {
	err = s.changeIn(ctx, laneBodies, "delete bodies", func(t tx) (err error) {
		if mine, err = t.lease(ctx, "bodies", holder, s.now()); err != nil || !mine {
			return err
		}
		before, err := t.keptSince(ctx, project, now)
		if err != nil {
			return err
		}
		deleted, err := t.exec(ctx, `DELETE FROM exchange_bodies WHERE project = ? AND exchange IN (
			SELECT exchange FROM exchange_bodies WHERE project = ? AND exchange < ? ORDER BY exchange LIMIT ?)`,
			project, project, pipeline.FirstID(before), limit)
		n = int(deleted)
		return err
	})
	return n, mine, err
}

// keptSince is from when on a project keeps bodies, by what it says now: whoever asked may have waited since. A project that
// is gone, or keeps none, keeps none before now. One that is on hold keeps all that there is.
func (t tx) keptSince(ctx context.Context, project string, now time.Time) (time.Time, error) {
	if held, err := t.held(ctx, project); err != nil || held {
		return time.Time{}, err
	}
	var how string
	var retention int64
	err := t.row(ctx, "SELECT bodies, retention FROM projects WHERE id = ?", project).Scan(&how, &retention)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return now, nil
	case err != nil:
		return now, err
	case how == auth.BodiesKeep:
		return now.Add(-time.Duration(retention) * time.Microsecond), nil
	}
	return now, nil
}

// lease gives one of many a task that only one may do at a time: the one that has it, or the first one after it has run
// out. It counts as long as the transaction does.
func (t tx) lease(ctx context.Context, task, holder string, now time.Time) (mine bool, err error) {
	n, err := t.exec(ctx, `INSERT INTO leases (task, holder, runs_out) VALUES (?, ?, ?) ON CONFLICT (task) DO UPDATE SET
		holder = excluded.holder, runs_out = excluded.runs_out WHERE leases.holder = excluded.holder OR leases.runs_out < ?`,
		task, holder, micros(now.Add(purge.LeaseFor)), micros(now))
	return n == 1, err
}

package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/penstock/penstock/internal/idempotency"
)

var _ idempotency.Store = (*Store)(nil)

// ClaimKey implements [idempotency.Store]. It waits for nobody but who claims the same key.
func (s *Store) ClaimKey(ctx context.Context, r idempotency.Row, lease, keep time.Duration) (is idempotency.Row, mine bool, err error) {
	err = s.changeIn(ctx, laneNone, "claim an idempotency key", func(t tx) error {
		if mine, err = t.insertKey(ctx, r, lease); mine || err != nil {
			return err
		}
		// One that is over is kept under another name until it is purged: its project may be on hold.
		n, err := t.exec(ctx, "UPDATE idempotency_keys SET key = key || '~' || exchange WHERE project = ? AND key = ? AND made <= "+t.d.now+" - ?",
			r.Project, r.Key, keep.Microseconds())
		if err != nil {
			return err
		}
		if n > 0 {
			if mine, err = t.insertKey(ctx, r, lease); mine || err != nil {
				return err
			}
		}
		is = idempotency.Row{Project: r.Project, Key: r.Key}
		var over bool
		err = t.row(ctx, "SELECT request, exchange, state, data_key, sealed, lease <= "+t.d.now+" FROM idempotency_keys WHERE project = ? AND key = ?", r.Project, r.Key).
			Scan(&is.Request, &is.Exchange, &is.State, &is.DataKey, &is.Sealed, &over)
		switch {
		case errors.Is(err, sql.ErrNoRows): // it was given back this moment
			is.Request, is.State = r.Request, idempotency.Running
			return nil
		case is.State == idempotency.Running && over:
			is.State = idempotency.Lost
		}
		return err
	})
	return is, mine, err
}

func (t tx) insertKey(ctx context.Context, r idempotency.Row, lease time.Duration) (mine bool, err error) {
	n, err := t.exec(ctx, "INSERT INTO idempotency_keys (project, key, request, exchange, made, lease) VALUES (?, ?, ?, ?, "+t.d.now+", "+t.d.now+" + ?) ON CONFLICT DO NOTHING",
		r.Project, r.Key, r.Request, r.Exchange, lease.Microseconds())
	return n == 1, err
}

// KeyBusy implements [idempotency.Store].
func (s *Store) KeyBusy(ctx context.Context, project, key string) (busy bool, err error) {
	var n int
	err = s.watched(ctx, "SELECT COUNT(*) FROM idempotency_keys WHERE project = ? AND key = ? AND state = 0 AND lease > "+s.d.now, project, key).Scan(&n)
	if err != nil {
		return false, s.unread(ctx, "look at an idempotency key", err)
	}
	return n > 0, nil
}

// SettleKey implements [idempotency.Store].
func (s *Store) SettleKey(ctx context.Context, r idempotency.Row) error {
	return s.changeIn(ctx, laneNone, "settle an idempotency key", func(t tx) error {
		_, err := t.exec(ctx, "UPDATE idempotency_keys SET state = ?, data_key = ?, sealed = ? WHERE project = ? AND key = ? AND exchange = ? AND state = 0",
			int64(r.State), r.DataKey, r.Sealed, r.Project, r.Key, r.Exchange)
		return err
	})
}

// ReturnKey implements [idempotency.Store].
func (s *Store) ReturnKey(ctx context.Context, project, key, exchange string) error {
	return s.changeIn(ctx, laneNone, "give an idempotency key back", func(t tx) error {
		_, err := t.exec(ctx, "DELETE FROM idempotency_keys WHERE project = ? AND key = ? AND exchange = ? AND state = 0", project, key, exchange)
		return err
	})
}

// RenewKeys implements [idempotency.Store].
func (s *Store) RenewKeys(ctx context.Context, exchanges []string, lease time.Duration) error {
	if len(exchanges) == 0 {
		return nil
	}
	return s.changeIn(ctx, laneNone, "renew idempotency keys", func(t tx) error {
		_, err := t.exec(ctx, "UPDATE idempotency_keys SET lease = "+t.d.now+" + ? WHERE state = 0 AND exchange IN ("+questionMarks(len(exchanges))+")",
			append([]any{lease.Microseconds()}, anys(exchanges)...)...)
		return err
	})
}

// KeyProjects implements [idempotency.Store]. It steps from project to project, and reads no more than one row of each.
func (s *Store) KeyProjects(ctx context.Context) ([]string, error) {
	rows, err := s.query(ctx, `WITH RECURSIVE kept(project) AS (
			SELECT MIN(project) FROM idempotency_keys
			UNION ALL
			SELECT (SELECT MIN(k.project) FROM idempotency_keys k WHERE k.project > kept.project) FROM kept WHERE kept.project IS NOT NULL
		)
		SELECT project FROM kept WHERE project IS NOT NULL ORDER BY project`)
	all, err := collect(rows, err, func(r scanner) (project string, err error) { return project, r.Scan(&project) })
	if err != nil {
		return nil, s.unread(ctx, "read which projects have idempotency keys", err)
	}
	return all, nil
}

// PurgeKeys implements [idempotency.Store].
func (s *Store) PurgeKeys(ctx context.Context, holder, project string, keep time.Duration, limit int) (n int, mine bool, err error) {
	err = s.changeIn(ctx, laneBodies, "delete idempotency keys", func(t tx) (err error) {
		if mine, err = t.lease(ctx, "idempotency", holder, s.now()); err != nil || !mine {
			return err
		}
		if held, err := t.held(ctx, project); err != nil || held {
			return err
		}
		var there int
		if err := t.row(ctx, "SELECT COUNT(*) FROM projects WHERE id = ?", project).Scan(&there); err != nil {
			return err
		}
		if there == 0 { // and so are its keys
			keep = 0
		}
		deleted, err := t.exec(ctx, "DELETE FROM idempotency_keys WHERE project = ? AND key IN (SELECT key FROM idempotency_keys WHERE project = ? AND made <= "+t.d.now+" - ? ORDER BY made, key LIMIT ?)",
			project, project, keep.Microseconds(), limit)
		n = int(deleted)
		return err
	})
	return n, mine, err
}

package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/penstock/penstock/internal/audit"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/stop"
)

const stopColumns = "id, model, project, reason, by_key, by_name, since, until, cut"

// SetStop implements [stop.Store].
func (s *Store) SetStop(ctx context.Context, next stop.Stop, most int) (set stop.Stop, err error) {
	err = s.act(ctx, "set a stop", func(t tx) (acts, error) {
		if _, err := t.exec(ctx, "DELETE FROM stops WHERE until <> 0 AND until <= ?", micros(next.Since)); err != nil {
			return nil, err
		}
		set = next
		act := audit.Act{Action: audit.StopSet, Project: next.Project, Reason: next.Reason, After: stopStateOf(next)}
		was, err := scanStop(t.row(ctx, "SELECT "+stopColumns+" FROM stops WHERE model = ? AND project = ?", next.Model, next.Project))
		switch {
		case err == nil:
			set.ID, set.Since, act.Before = was.ID, was.Since, stopStateOf(was)
			_, err = t.exec(ctx, "UPDATE stops SET reason = ?, by_key = ?, by_name = ?, until = ?, cut = ? WHERE id = ?",
				set.Reason, set.ByKey, set.ByName, micros(set.Until), flag(set.Cut), set.ID)
		case errors.Is(err, sql.ErrNoRows):
			err = t.insertStop(ctx, set, most)
		}
		if err != nil {
			return nil, err
		}
		act.Object = set.ID
		return acts{act}, t.bump(ctx, "stops")
	})
	return set, err
}

func (t tx) insertStop(ctx context.Context, next stop.Stop, most int) error {
	var n int
	if err := t.row(ctx, "SELECT COUNT(*) FROM stops").Scan(&n); err != nil {
		return err
	}
	if n >= most {
		f := fault.New(fault.InvalidRequest, "There are %d stops, limit %d.", n, most)
		f.Hint = "Lift those that are not needed, or stop more at once: a model may have a * in it."
		return f
	}
	_, err := t.exec(ctx, "INSERT INTO stops ("+stopColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", next.ID, next.Model, next.Project,
		next.Reason, next.ByKey, next.ByName, micros(next.Since), micros(next.Until), flag(next.Cut))
	return err
}

// LiftStop implements [stop.Store].
func (s *Store) LiftStop(ctx context.Context, id string) (lifted stop.Stop, err error) {
	err = s.act(ctx, "lift a stop", func(t tx) (acts, error) {
		lifted, err = scanStop(t.row(ctx, "DELETE FROM stops WHERE id = ? RETURNING "+stopColumns, id))
		if errors.Is(err, sql.ErrNoRows) {
			f := fault.New(fault.NotThere, "There is no stop with the id %s here.", quote(id))
			f.Hint = "List them with: penstock stop list"
			return nil, f
		}
		if err != nil {
			return nil, err
		}
		act := audit.Act{Action: audit.StopLifted, Object: id, Project: lifted.Project, Before: stopStateOf(lifted)}
		return acts{act}, t.bump(ctx, "stops")
	})
	return lifted, err
}

// StopVersion implements [stop.Store].
func (s *Store) StopVersion(ctx context.Context) (int64, error) { return s.version(ctx, "stops") }

// Stops implements [stop.Store].
func (s *Store) Stops(ctx context.Context) (version int64, all []stop.Stop, err error) {
	err = s.lookWith(ctx, s.watch, func(v view) error {
		if err := v.row(ctx, "SELECT version FROM versions WHERE name = 'stops'").Scan(&version); err != nil {
			return err
		}
		rows, err := v.query(ctx, "SELECT "+stopColumns+" FROM stops ORDER BY since, id")
		all, err = collect(rows, err, scanStop)
		return err
	})
	if err != nil {
		return 0, nil, fmt.Errorf("read the stops: %w", err)
	}
	return version, all, nil
}

func scanStop(r scanner) (s stop.Stop, err error) {
	var since, until int64
	err = r.Scan(&s.ID, &s.Model, &s.Project, &s.Reason, &s.ByKey, &s.ByName, &since, &until, &s.Cut)
	s.Since, s.Until = fromMicros(since), fromMicros(until)
	return s, err
}

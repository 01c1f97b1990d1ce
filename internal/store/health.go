package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/penstock/penstock/internal/audit"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/health"
)

const (
	ejectionColumns = "target, since, until, failing, reason, instance"
	disabledColumns = "name, reason, by_key, by_name, since, until"
)

// Eject implements [health.Store].
func (s *Store) Eject(ctx context.Context, e health.Ejection) (noted health.Ejection, err error) {
	err = s.change(ctx, "eject a target", func(t tx) error {
		noted, err = scanEjection(t.row(ctx, `INSERT INTO ejections (`+ejectionColumns+`, probe_by, probe_until) VALUES (?, ?, ?, ?, ?, ?, '', 0)
			ON CONFLICT (target) DO UPDATE SET
				since = CASE WHEN excluded.since < ejections.since THEN excluded.since ELSE ejections.since END,
				until = CASE WHEN excluded.until > ejections.until THEN excluded.until ELSE ejections.until END,
				failing = CASE WHEN excluded.failing < ejections.failing THEN excluded.failing ELSE ejections.failing END,
				reason = excluded.reason, instance = excluded.instance, probe_by = '', probe_until = 0
			RETURNING `+ejectionColumns,
			e.Target, micros(e.Since), micros(e.Until), micros(e.Failing), e.Reason, e.Instance))
		if err != nil {
			return err
		}
		return t.bump(ctx, "health")
	})
	return noted, err
}

// Recover implements [health.Store].
func (s *Store) Recover(ctx context.Context, target string, until time.Time) error {
	return s.change(ctx, "take a target back", func(t tx) error {
		n, err := t.exec(ctx, "DELETE FROM ejections WHERE target = ? AND until <= ?", target, micros(until))
		if err != nil || n == 0 {
			return err
		}
		return t.bump(ctx, "health")
	})
}

// LeaseProbe implements [health.Store].
func (s *Store) LeaseProbe(ctx context.Context, target string, until time.Time, holder string, d time.Duration) (yes bool, err error) {
	err = s.change(ctx, "lease the probe of a target", func(t tx) error {
		now := s.now()
		n, err := t.exec(ctx, "UPDATE ejections SET probe_by = ?, probe_until = ? WHERE target = ? AND until = ? AND (probe_by = ? OR probe_until <= ?)",
			holder, micros(now.Add(d)), target, micros(until), holder, micros(now))
		yes = n > 0
		return err
	})
	return yes, err
}

// Disable implements [health.Store].
func (s *Store) Disable(ctx context.Context, d health.Disabling, most int) (noted health.Disabling, err error) {
	err = s.act(ctx, "disable a target", func(t tx) (acts, error) {
		if _, err := t.exec(ctx, "DELETE FROM disabled_targets WHERE until <> 0 AND until <= ?", micros(d.Since)); err != nil {
			return nil, err
		}
		noted = d
		act := audit.Act{Action: audit.TargetDisabled, Object: d.Name, Reason: d.Reason, After: disabledStateOf(d)}
		was, err := scanDisabling(t.row(ctx, "SELECT "+disabledColumns+" FROM disabled_targets WHERE name = ?", d.Name))
		switch {
		case err == nil:
			noted.Since, act.Before = was.Since, disabledStateOf(was)
			_, err = t.exec(ctx, "UPDATE disabled_targets SET reason = ?, by_key = ?, by_name = ?, until = ? WHERE name = ?",
				d.Reason, d.ByKey, d.ByName, micros(d.Until), d.Name)
		case errors.Is(err, sql.ErrNoRows):
			err = t.insertDisabling(ctx, d, most)
		}
		if err != nil {
			return nil, err
		}
		return acts{act}, t.bump(ctx, "health")
	})
	return noted, err
}

func (t tx) insertDisabling(ctx context.Context, d health.Disabling, most int) error {
	var n int
	if err := t.row(ctx, "SELECT COUNT(*) FROM disabled_targets").Scan(&n); err != nil {
		return err
	}
	if n >= most {
		f := fault.New(fault.InvalidRequest, "There are %d disabled targets, limit %d.", n, most)
		f.Hint = "Enable those that are well, disable a provider as a whole, or take them out of the file."
		return f
	}
	_, err := t.exec(ctx, "INSERT INTO disabled_targets ("+disabledColumns+") VALUES (?, ?, ?, ?, ?, ?)",
		d.Name, d.Reason, d.ByKey, d.ByName, micros(d.Since), micros(d.Until))
	return err
}

// Enable implements [health.Store].
func (s *Store) Enable(ctx context.Context, name string) error {
	return s.act(ctx, "enable a target", func(t tx) (acts, error) {
		act := audit.Act{Action: audit.TargetEnabled, Object: name}
		state := disabledState{}
		was, err := scanDisabling(t.row(ctx, "DELETE FROM disabled_targets WHERE name = ? RETURNING "+disabledColumns, name))
		switch {
		case err == nil && (was.Until.IsZero() || s.now().Before(was.Until)):
			state = disabledStateOf(was)
		case err != nil && !errors.Is(err, sql.ErrNoRows):
			return nil, err
		}
		if state.Ejected, err = t.pardon(ctx, name); err != nil {
			return nil, err
		}
		if !state.Disabled && len(state.Ejected) == 0 {
			f := fault.New(fault.NotThere, "%s is neither disabled nor ejected.", quote(name))
			f.Hint = "See how targets are with: penstock route status"
			return nil, f
		}
		act.Before = state
		return acts{act}, t.bump(ctx, "health")
	})
}

// pardon forgets the ejections that a name covers.
func (t tx) pardon(ctx context.Context, name string) (ended []string, err error) {
	rows, err := t.QueryContext(t.ctx, "SELECT target FROM ejections ORDER BY target")
	all, err := collect(rows, err, func(r scanner) (target string, err error) { return target, r.Scan(&target) })
	if err != nil {
		return nil, err
	}
	for _, target := range all {
		if !health.Covers(name, target) {
			continue
		}
		if _, err := t.exec(ctx, "DELETE FROM ejections WHERE target = ?", target); err != nil {
			return nil, err
		}
		ended = append(ended, target)
	}
	return ended, nil
}

// HealthVersion implements [health.Store].
func (s *Store) HealthVersion(ctx context.Context) (int64, error) { return s.version(ctx, "health") }

// Health implements [health.Store].
func (s *Store) Health(ctx context.Context) (all health.Shared, err error) {
	err = s.lookWith(ctx, s.watch, func(v view) error {
		if err := v.row(ctx, "SELECT version FROM versions WHERE name = 'health'").Scan(&all.Version); err != nil {
			return err
		}
		rows, err := v.query(ctx, "SELECT "+ejectionColumns+" FROM ejections ORDER BY target")
		if all.Ejections, err = collect(rows, err, scanEjection); err != nil {
			return err
		}
		rows, err = v.query(ctx, "SELECT "+disabledColumns+" FROM disabled_targets ORDER BY name")
		all.Disabled, err = collect(rows, err, scanDisabling)
		return err
	})
	if err != nil {
		return health.Shared{}, fmt.Errorf("read how targets are: %w", err)
	}
	return all, nil
}

func scanEjection(r scanner) (e health.Ejection, err error) {
	var since, until, failing int64
	err = r.Scan(&e.Target, &since, &until, &failing, &e.Reason, &e.Instance)
	e.Since, e.Until, e.Failing = fromMicros(since), fromMicros(until), fromMicros(failing)
	return e, err
}

func scanDisabling(r scanner) (d health.Disabling, err error) {
	var since, until int64
	err = r.Scan(&d.Name, &d.Reason, &d.ByKey, &d.ByName, &since, &until)
	d.Since, d.Until = fromMicros(since), fromMicros(until)
	return d, err
}

package store

import (
	"context"
	"database/sql"
	"errors"

	"github.com/penstock/penstock/internal/audit"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/retention"
)

const holdColumns = "id, org, project, reason, by_key, by_name, since"

// MakeHold implements [retention.HoldStore]. It waits for what is being deleted at the moment: whoever deletes after that
// sees the hold. Nobody who holds the lanes of those waits for acts.
func (s *Store) MakeHold(ctx context.Context, h retention.Hold, most int) error {
	return s.act(ctx, "make a hold", func(t tx) (acts, error) {
		if err := t.join(ctx, lanePurge, laneBodies); err != nil {
			return nil, err
		}
		var n, known int
		if err := t.row(ctx, "SELECT COUNT(*), (SELECT COUNT(*) FROM orgs WHERE name = ?) FROM holds", h.Org).Scan(&n, &known); err != nil {
			return nil, err
		}
		switch {
		case n >= most:
			return nil, fault.New(fault.InvalidRequest, "There are %d holds, limit %d.", n, most)
		case h.Org != "" && known == 0:
			f := fault.New(fault.NotThere, "There is no organisation %s here.", quote(h.Org))
			f.Hint = "See: penstock project list"
			return nil, f
		}
		_, err := t.exec(ctx, "INSERT INTO holds ("+holdColumns+") VALUES (?, ?, ?, ?, ?, ?, ?)",
			h.ID, h.Org, h.Project, h.Reason, h.ByKey, h.ByName, micros(h.Since))
		if err != nil {
			return nil, err
		}
		act := audit.Act{Action: audit.HoldMade, Object: h.ID, Project: h.Project, Reason: h.Reason, After: holdStateOf(h)}
		return acts{act}, t.bump(ctx, "holds")
	})
}

// LiftHold implements [retention.HoldStore].
func (s *Store) LiftHold(ctx context.Context, id, reason string) (lifted retention.Hold, err error) {
	err = s.act(ctx, "lift a hold", func(t tx) (acts, error) {
		lifted, err = scanHold(t.row(ctx, "DELETE FROM holds WHERE id = ? RETURNING "+holdColumns, id))
		if errors.Is(err, sql.ErrNoRows) {
			f := fault.New(fault.NotThere, "There is no hold with the id %s here.", quote(id))
			f.Hint = "List them with: penstock hold list"
			return nil, f
		}
		if err != nil {
			return nil, err
		}
		act := audit.Act{Action: audit.HoldLifted, Object: id, Project: lifted.Project, Reason: reason, Before: holdStateOf(lifted)}
		return acts{act}, t.bump(ctx, "holds")
	})
	return lifted, err
}

// Holds implements [retention.HoldStore].
func (s *Store) Holds(ctx context.Context) ([]retention.Hold, error) {
	rows, err := s.query(ctx, "SELECT "+holdColumns+" FROM holds ORDER BY since, id")
	all, err := collect(rows, err, scanHold)
	if err != nil {
		return nil, s.unread(ctx, "read the holds", err)
	}
	return all, nil
}

func scanHold(r scanner) (h retention.Hold, err error) {
	var since int64
	err = r.Scan(&h.ID, &h.Org, &h.Project, &h.Reason, &h.ByKey, &h.ByName, &since)
	h.Since = fromMicros(since)
	return h, err
}

// held reports whether a hold is of a project, or of its organisation.
func (t tx) held(ctx context.Context, project string) (held bool, err error) {
	var n int
	err = t.row(ctx, "SELECT COUNT(*) FROM holds WHERE project = ? OR org <> '' AND org = (SELECT org FROM projects WHERE id = ?)", project, project).Scan(&n)
	return n > 0, err
}

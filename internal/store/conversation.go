package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/penstock/penstock/internal/conversation"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/pipeline"
)

var _ conversation.Store = (*Store)(nil)

// AddResponse implements [conversation.Store].
func (s *Store) AddResponse(ctx context.Context, r conversation.Row) error {
	return s.changeIn(ctx, laneBodies, "keep a response", func(t tx) error {
		n, err := t.exec(ctx, "INSERT INTO kept_responses (project, id, exchange, data_key, sealed) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
			r.Project, r.ID, r.Exchange, r.Key, r.Sealed)
		if err != nil || n == 0 {
			return err
		}
		for _, item := range r.Items {
			if _, err := t.exec(ctx, "INSERT INTO kept_items (project, id, response) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", r.Project, item, r.ID); err != nil {
				return err
			}
		}
		return nil
	})
}

// ItemResponses implements [conversation.Store].
func (s *Store) ItemResponses(ctx context.Context, project string, items []string) (map[string]string, error) {
	of := map[string]string{}
	if len(items) == 0 {
		return of, nil
	}
	rows, err := s.query(ctx, "SELECT id, response FROM kept_items WHERE project = ? AND id IN ("+questionMarks(len(items))+")", append([]any{project}, anys(items)...)...)
	_, err = collect(rows, err, func(r scanner) (id string, err error) {
		var response string
		err = r.Scan(&id, &response)
		of[id] = response
		return id, err
	})
	if err != nil {
		return nil, s.unread(ctx, "find items", err)
	}
	return of, nil
}

// Response implements [conversation.Store].
func (s *Store) Response(ctx context.Context, project, id string) (sealed []byte, err error) {
	err = s.row(ctx, "SELECT sealed FROM kept_responses WHERE project = ? AND id = ?", project, id).Scan(&sealed)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil, conversation.NotKept(id)
	case err != nil:
		return nil, s.unread(ctx, "read a response", err)
	}
	return sealed, nil
}

// DeleteResponse implements [conversation.Store].
func (s *Store) DeleteResponse(ctx context.Context, project, id string) error {
	return s.changeIn(ctx, laneBodies, "delete a response", func(t tx) error {
		held, err := t.held(ctx, project)
		switch {
		case err != nil:
			return err
		case held:
			return fault.New(fault.OnHold, "The project is on hold: nothing of it is deleted.")
		}
		if _, err := t.exec(ctx, "DELETE FROM kept_items WHERE project = ? AND response = ?", project, id); err != nil {
			return err
		}
		n, err := t.exec(ctx, "DELETE FROM kept_responses WHERE project = ? AND id = ?", project, id)
		if err == nil && n == 0 {
			return conversation.NotKept(id)
		}
		return err
	})
}

// ResponseProjects implements [conversation.Store]. It steps from project to project, and reads no more than one row of each.
func (s *Store) ResponseProjects(ctx context.Context) ([]string, error) {
	rows, err := s.query(ctx, `WITH RECURSIVE kept(project) AS (
			SELECT MIN(project) FROM kept_responses
			UNION ALL
			SELECT (SELECT MIN(r.project) FROM kept_responses r WHERE r.project > kept.project) FROM kept WHERE kept.project IS NOT NULL
		)
		SELECT project FROM kept WHERE project IS NOT NULL ORDER BY project`)
	all, err := collect(rows, err, func(r scanner) (project string, err error) { return project, r.Scan(&project) })
	if err != nil {
		return nil, s.unread(ctx, "read which projects have responses", err)
	}
	return all, nil
}

// PurgeResponses implements [conversation.Store].
func (s *Store) PurgeResponses(ctx context.Context, holder, project string, now time.Time, keep time.Duration, limit int) (n int, mine bool, err error) {
	err = s.changeIn(ctx, laneBodies, "delete responses", func(t tx) (err error) {
		if mine, err = t.lease(ctx, "responses", holder, s.now()); err != nil || !mine {
			return err
		}
		if held, err := t.held(ctx, project); err != nil || held {
			return err
		}
		before := now
		var none bool
		switch err := t.row(ctx, "SELECT stateless FROM projects WHERE id = ?", project).Scan(&none); {
		case errors.Is(err, sql.ErrNoRows): // the project is gone, and so are they
		case err != nil:
			return err
		case !none:
			before = now.Add(-keep)
		}
		const due = "(SELECT id FROM kept_responses WHERE project = ? AND exchange < ? ORDER BY exchange, id LIMIT ?)"
		of := []any{project, project, pipeline.FirstID(before), limit}
		if _, err := t.exec(ctx, "DELETE FROM kept_items WHERE project = ? AND response IN "+due, of...); err != nil {
			return err
		}
		deleted, err := t.exec(ctx, "DELETE FROM kept_responses WHERE project = ? AND id IN "+due, of...)
		n = int(deleted)
		return err
	})
	return n, mine, err
}

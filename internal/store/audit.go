package store

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/oklog/ulid/v2"

	"github.com/penstock/penstock/internal/audit"
	"github.com/penstock/penstock/internal/failpoint"
)

const auditColumns = "seq, time, actor_key, actor_name, actor_prefix, actor_role, actor_org, actor_project, address, user_agent, request, " +
	"action, object, project, reason, before_state, after_state, version, prev, hash"

// acts are what one transaction did; each becomes an entry of the audit chain.
type acts []audit.Act

// act is change for what an administrator does: what f says that it did is in the audit chain if, and only if, it was done.
func (s *Store) act(ctx context.Context, what string, f func(tx) (acts, error)) error {
	err := s.change(ctx, what, func(t tx) error {
		done, err := f(t)
		if err != nil {
			return err
		}
		for _, a := range done {
			if err := t.record(ctx, s.now(), a); err != nil {
				return fmt.Errorf("audit: %w", err)
			}
		}
		return failpoint.Pass(failpoint.ActInStore)
	})
	if err != nil {
		return err
	}
	return failpoint.Pass(failpoint.ActCommitted)
}

// record appends an entry. The row of the head is locked from its first change to the end of the transaction, so that
// nobody else continues the same entry.
func (t tx) record(ctx context.Context, now time.Time, act audit.Act) error {
	e, err := audit.NewEntry(ctx, now, act)
	if err != nil {
		return err
	}
	fresh := "chain_" + ulid.MustNew(ulid.Timestamp(now), rand.Reader).String()
	var head audit.Head
	var hash []byte
	err = t.row(ctx, "UPDATE audit_head SET seq = seq + 1, chain = CASE WHEN chain = '' THEN ? ELSE chain END WHERE id = 1 RETURNING chain, seq, hash",
		fresh).Scan(&head.Chain, &head.Seq, &hash)
	if err != nil {
		return err
	}
	head.Seq--
	if head.Hash, err = hashOf(hash, head.Chain); err != nil {
		return err
	}
	next := e.Link(head)
	a := &e.Actor
	_, err = t.exec(ctx, "INSERT INTO audit_entries ("+auditColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
		e.Seq, micros(e.Time), a.Key, a.Name, a.Prefix, a.Role, a.Org, a.Project, a.Address, a.Agent, a.Request,
		string(e.Action), e.Object, e.Project, e.Reason, string(e.Before), string(e.After), e.Version, e.Prev[:], e.Hash[:])
	if err != nil {
		return err
	}
	_, err = t.exec(ctx, "UPDATE audit_head SET hash = ? WHERE id = 1", next.Hash[:])
	return err
}

// hashOf reads a hash; there is none before the first entry.
func hashOf(b []byte, chain string) (h audit.Hash, err error) {
	if len(b) == 0 {
		return audit.Genesis(chain), nil
	}
	if len(b) != len(h) {
		return h, fmt.Errorf("the audit chain has a hash of %d bytes", len(b))
	}
	return audit.Hash(b), nil
}

// AppendAudit implements [audit.Store].
func (s *Store) AppendAudit(ctx context.Context, act audit.Act) error {
	return s.act(ctx, "append to the audit chain", func(tx) (acts, error) { return acts{act}, nil })
}

// AuditHead implements [audit.Store].
func (s *Store) AuditHead(ctx context.Context) (head audit.Head, err error) {
	var hash []byte
	err = s.row(ctx, "SELECT chain, seq, hash FROM audit_head WHERE id = 1").Scan(&head.Chain, &head.Seq, &hash)
	if err == nil {
		head.Hash, err = hashOf(hash, head.Chain)
	}
	if err != nil {
		return audit.Head{}, s.unread(ctx, "read the end of the audit chain", err)
	}
	return head, nil
}

// AuditEntries implements [audit.Store].
func (s *Store) AuditEntries(ctx context.Context, f audit.Filter, limit int) ([]audit.Entry, error) {
	where, args := auditWhere(f)
	order := "DESC"
	if f.Ascending {
		order = "ASC"
	}
	rows, err := s.query(ctx, "SELECT "+auditColumns+" FROM audit_entries"+where+" ORDER BY seq "+order+" LIMIT ?", append(args, limit)...)
	all, err := collect(rows, err, scanAudit)
	if err != nil {
		return nil, s.unread(ctx, "read the audit chain", err)
	}
	return all, nil
}

// auditWhere writes the conditions of a filter, with their arguments.
func auditWhere(f audit.Filter) (where string, args []any) {
	var all []string
	add := func(condition string, arg any) {
		all, args = append(all, condition), append(args, arg)
	}
	for _, equal := range [...]struct{ condition, to string }{
		{"actor_key = ?", f.Actor}, {"object = ?", f.Object}, {"project = ?", f.Project}, {"action = ?", string(f.Action)},
	} {
		if equal.to != "" {
			add(equal.condition, equal.to)
		}
	}
	if !f.From.IsZero() {
		add("time >= ?", micros(f.From))
	}
	if !f.To.IsZero() {
		add("time < ?", micros(f.To))
	}
	switch {
	case f.After > 0 && f.Ascending:
		add("seq > ?", f.After)
	case f.After > 0:
		add("seq < ?", f.After)
	}
	if len(all) == 0 {
		return "", nil
	}
	return " WHERE " + strings.Join(all, " AND "), args
}

func scanAudit(r scanner) (e audit.Entry, err error) {
	var at int64
	var before, after string
	var prev, hash []byte
	a := &e.Actor
	err = r.Scan(&e.Seq, &at, &a.Key, &a.Name, &a.Prefix, &a.Role, &a.Org, &a.Project, &a.Address, &a.Agent, &a.Request,
		&e.Action, &e.Object, &e.Project, &e.Reason, &before, &after, &e.Version, &prev, &hash)
	if err != nil {
		return e, err
	}
	e.Time = time.UnixMicro(at).UTC()
	if before != "" {
		e.Before = jsontext.Value(before)
	}
	if after != "" {
		e.After = jsontext.Value(after)
	}
	copy(e.Prev[:], prev) // one of another length is another hash, which verifying finds
	copy(e.Hash[:], hash)
	return e, nil
}

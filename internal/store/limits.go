package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/oklog/ulid/v2"

	"github.com/penstock/penstock/internal/audit"
	"github.com/penstock/penstock/internal/escrow"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/limit"
	"github.com/penstock/penstock/internal/llm"
)

const (
	scopeColumns  = "org, project, api_key, end_user, model"
	budgetColumns = "id, " + scopeColumns + ", unit, per, starts, ends, amount, zone, mode, alerts, kept, version, set_at"
	limitColumns  = "id, " + scopeColumns + ", measure, amount, mode, version, set_at"
	tierColumns   = "name, terms, version, set_at"
	whereScope    = "org = ? AND project = ? AND api_key = ? AND end_user = ? AND model = ?"
)

// LimitVersion implements [limit.Store].
func (s *Store) LimitVersion(ctx context.Context) (int64, error) { return s.version(ctx, "limits") }

// Definitions implements [limit.Store].
func (s *Store) Definitions(ctx context.Context) (d limit.Definitions, err error) {
	err = s.lookWith(ctx, s.watch, func(v view) error {
		if err := v.row(ctx, "SELECT version FROM versions WHERE name = 'limits'").Scan(&d.Version); err != nil {
			return err
		}
		rows, err := v.query(ctx, "SELECT "+budgetColumns+" FROM budgets ORDER BY id")
		if d.Budgets, err = collect(rows, err, scanBudget); err != nil {
			return err
		}
		rows, err = v.query(ctx, "SELECT "+limitColumns+" FROM limits ORDER BY id")
		if d.Limits, err = collect(rows, err, scanLimit); err != nil {
			return err
		}
		rows, err = v.query(ctx, "SELECT "+tierColumns+" FROM tiers ORDER BY name")
		if d.Tiers, err = collect(rows, err, scanTier); err != nil {
			return err
		}
		rows, err = v.query(ctx, "SELECT project, api_key, end_user, tier, set_at FROM tier_assignments ORDER BY project, api_key, end_user")
		d.Assigned, err = collect(rows, err, scanAssignment)
		return err
	})
	if err != nil {
		return limit.Definitions{}, fmt.Errorf("read budgets and limits: %w", err)
	}
	return d, nil
}

// define is act for a change of one definition: others see by the version that there was one.
func define[T any](ctx context.Context, s *Store, what string, f func(tx) (T, audit.Act, error)) (of T, err error) {
	err = s.act(ctx, what, func(t tx) (acts, error) {
		done, act, err := f(t)
		if err != nil {
			return nil, err
		}
		of = done
		return acts{act}, t.bump(ctx, "limits")
	})
	return of, err
}

// SetBudget implements [limit.Store].
func (s *Store) SetBudget(ctx context.Context, b limit.Budget, was limit.Was) (limit.Budget, error) {
	return define(ctx, s, "set a budget", func(t tx) (limit.Budget, audit.Act, error) { return t.setBudget(ctx, b, was, s.now()) })
}

func (t tx) setBudget(ctx context.Context, b limit.Budget, on limit.Was, now time.Time) (limit.Budget, audit.Act, error) {
	b.Set, b.From, b.To = coarse(now), coarse(b.From), coarse(b.To)
	act := audit.Act{Action: audit.BudgetSet, Project: ofProject(b.Project)}
	was, err := scanBudget(t.row(ctx, "SELECT "+budgetColumns+" FROM budgets WHERE "+whereScope+" AND unit = ? AND per = ? AND starts = ?",
		append(scopeArgs(&b.Scope), string(b.Unit), string(b.Per), micros(b.From))...))
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return b, act, err
	}
	is := was.Version
	if on > limit.NotYet && b.ID != "" && was.ID != b.ID {
		is = 0 // the one that is meant was deleted
	}
	if err := on.Still("budget", is); err != nil {
		return b, act, err
	}
	switch {
	case err == nil:
		b.ID, b.Version, act.Before = was.ID, was.Version+1, budgetStateOf(was)
		_, err = t.exec(ctx, "DELETE FROM budgets WHERE id = ?", b.ID)
	case errors.Is(err, sql.ErrNoRows):
		b.ID = idOr(b.ID, "bgt_", now)
		b.Version, err = t.firstVersion(ctx)
	}
	if err != nil {
		return b, act, err
	}
	text := termsTextOf(&b.Terms)
	alerts, err := json.Marshal(text.Alerts)
	if err != nil {
		return b, act, err
	}
	kept, err := json.Marshal(text.Kept)
	if err != nil {
		return b, act, err
	}
	args := append(append([]any{b.ID}, scopeArgs(&b.Scope)...), text.Unit, text.Per, text.From, text.To, text.Amount, text.Zone, text.Mode,
		string(alerts), string(kept), b.Version, micros(b.Set))
	_, err = t.exec(ctx, "INSERT INTO budgets ("+budgetColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", args...)
	act.Object, act.After = b.ID, budgetStateOf(b)
	return b, act, err
}

// DeleteBudget implements [limit.Store].
func (s *Store) DeleteBudget(ctx context.Context, id string) (limit.Budget, error) {
	return define(ctx, s, "delete a budget", func(t tx) (limit.Budget, audit.Act, error) { return t.deleteBudget(ctx, id) })
}

func (t tx) deleteBudget(ctx context.Context, id string) (limit.Budget, audit.Act, error) {
	was, err := scanBudget(t.row(ctx, "DELETE FROM budgets WHERE id = ? RETURNING "+budgetColumns, id))
	if errors.Is(err, sql.ErrNoRows) {
		err = notThere("budget", "id", id, "penstock budget list")
	}
	return was, audit.Act{Action: audit.BudgetDeleted, Object: id, Project: ofProject(was.Project), Before: budgetStateOf(was)}, err
}

// SetLimit implements [limit.Store].
func (s *Store) SetLimit(ctx context.Context, l limit.Limit, was limit.Was) (limit.Limit, error) {
	return define(ctx, s, "set a limit", func(t tx) (limit.Limit, audit.Act, error) { return t.setLimit(ctx, l, was, s.now()) })
}

// SetLimits implements [limit.Store].
func (s *Store) SetLimits(ctx context.Context, all []limit.Limit, was []limit.Was) (set []limit.Limit, err error) {
	err = s.act(ctx, "set limits", func(t tx) (done acts, err error) {
		set = make([]limit.Limit, len(all))
		done = make(acts, len(all))
		for i := range all {
			on := limit.Whatever
			if was != nil {
				on = was[i]
			}
			if set[i], done[i], err = t.setLimit(ctx, all[i], on, s.now()); err != nil {
				return nil, err
			}
		}
		return done, t.bump(ctx, "limits")
	})
	if err != nil {
		return nil, err
	}
	return set, nil
}

func (t tx) setLimit(ctx context.Context, l limit.Limit, on limit.Was, now time.Time) (limit.Limit, audit.Act, error) {
	l.Set = coarse(now)
	act := audit.Act{Action: audit.LimitSet, Project: ofProject(l.Project)}
	was, err := scanLimit(t.row(ctx, "SELECT "+limitColumns+" FROM limits WHERE "+whereScope+" AND measure = ?",
		append(scopeArgs(&l.Scope), string(l.Measure))...))
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return l, act, err
	}
	if err := on.Still("limit", was.Version); err != nil {
		return l, act, err
	}
	switch {
	case err == nil:
		l.ID, l.Version, act.Before = was.ID, was.Version+1, limitStateOf(was)
		_, err = t.exec(ctx, "DELETE FROM limits WHERE id = ?", l.ID)
	case errors.Is(err, sql.ErrNoRows):
		l.ID = idOr(l.ID, "lim_", now)
		l.Version, err = t.firstVersion(ctx)
	}
	if err != nil {
		return l, act, err
	}
	args := append(append([]any{l.ID}, scopeArgs(&l.Scope)...), string(l.Measure), l.Amount, string(l.Mode), l.Version, micros(l.Set))
	_, err = t.exec(ctx, "INSERT INTO limits ("+limitColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", args...)
	act.Object, act.After = l.ID, limitStateOf(l)
	return l, act, err
}

// DeleteLimit implements [limit.Store].
func (s *Store) DeleteLimit(ctx context.Context, id string) (limit.Limit, error) {
	return define(ctx, s, "delete a limit", func(t tx) (limit.Limit, audit.Act, error) { return t.deleteLimit(ctx, id) })
}

func (t tx) deleteLimit(ctx context.Context, id string) (limit.Limit, audit.Act, error) {
	was, err := scanLimit(t.row(ctx, "DELETE FROM limits WHERE id = ? RETURNING "+limitColumns, id))
	if errors.Is(err, sql.ErrNoRows) {
		err = notThere("limit", "id", id, "penstock limit list")
	}
	return was, audit.Act{Action: audit.LimitDeleted, Object: id, Project: ofProject(was.Project), Before: limitStateOf(was)}, err
}

// SetTier implements [limit.Store].
func (s *Store) SetTier(ctx context.Context, tier limit.Tier, was limit.Was) (limit.Tier, error) {
	return define(ctx, s, "set a tier", func(t tx) (limit.Tier, audit.Act, error) { return t.setTier(ctx, tier, was, s.now()) })
}

func (t tx) setTier(ctx context.Context, tier limit.Tier, on limit.Was, now time.Time) (limit.Tier, audit.Act, error) {
	tier.Set, tier.Budgets = coarse(now), slices.Clone(tier.Budgets)
	for i := range tier.Budgets {
		b := &tier.Budgets[i]
		b.From, b.To = coarse(b.From), coarse(b.To)
	}
	act := audit.Act{Action: audit.TierSet, Object: tier.Name, After: tierStateOf(&tier)}
	was, err := scanTier(t.row(ctx, "SELECT "+tierColumns+" FROM tiers WHERE name = ?", tier.Name))
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return tier, act, err
	}
	if err := on.Still("tier "+tier.Name, was.Version); err != nil {
		return tier, act, err
	}
	switch {
	case err == nil:
		tier.Version, act.Before = was.Version+1, tierStateOf(&was)
	case errors.Is(err, sql.ErrNoRows):
		tier.Version, err = t.firstVersion(ctx)
	}
	if err != nil {
		return tier, act, err
	}
	text, err := json.Marshal(tierTextOf(&tier))
	if err != nil {
		return tier, act, err
	}
	_, err = t.exec(ctx, `INSERT INTO tiers (`+tierColumns+`) VALUES (?, ?, ?, ?)
		ON CONFLICT (name) DO UPDATE SET terms = excluded.terms, version = excluded.version, set_at = excluded.set_at`,
		tier.Name, string(text), tier.Version, micros(tier.Set))
	return tier, act, err
}

// DeleteTier implements [limit.Store].
func (s *Store) DeleteTier(ctx context.Context, name string) (limit.Tier, error) {
	return define(ctx, s, "delete a tier", func(t tx) (limit.Tier, audit.Act, error) { return t.deleteTier(ctx, name) })
}

func (t tx) deleteTier(ctx context.Context, name string) (limit.Tier, audit.Act, error) {
	var n int
	if err := t.row(ctx, "SELECT COUNT(*) FROM tier_assignments WHERE tier = ?", name).Scan(&n); err != nil {
		return limit.Tier{}, audit.Act{}, err
	}
	if n > 0 {
		f := fault.New(fault.InUse, "The tier %s is given to %d projects, keys or end users.", quote(name), n)
		f.Hint = "Take it from them first; penstock tier list says who has it."
		return limit.Tier{}, audit.Act{}, f
	}
	was, err := scanTier(t.row(ctx, "DELETE FROM tiers WHERE name = ? RETURNING "+tierColumns, name))
	if errors.Is(err, sql.ErrNoRows) {
		err = notThere("tier", "name", name, "penstock tier list")
	}
	return was, audit.Act{Action: audit.TierDeleted, Object: name, Before: tierStateOf(&was)}, err
}

// Assign implements [limit.Store].
func (s *Store) Assign(ctx context.Context, a limit.Assignment) error {
	_, err := define(ctx, s, "assign a tier", func(t tx) (limit.Assignment, audit.Act, error) {
		act, err := t.assign(ctx, a, s.now())
		return a, act, err
	})
	return err
}

func (t tx) assign(ctx context.Context, a limit.Assignment, now time.Time) (audit.Act, error) {
	act := audit.Act{Action: audit.TierAssigned, Object: a.Tier, Project: a.Project}
	was, err := scanAssignment(t.row(ctx, "SELECT project, api_key, end_user, tier, set_at FROM tier_assignments WHERE project = ? AND api_key = ? AND end_user = ?",
		a.Project, a.Key, a.User))
	there := err == nil
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return act, err
	}
	if there {
		act.Before = assignmentStateOf(was)
	}
	if a.Tier == "" {
		if !there {
			f := fault.New(fault.NotThere, "There is no tier of its own to take.")
			f.Hint = "See who has which with: penstock tier list"
			return act, f
		}
		act.Action, act.Object = audit.TierTaken, was.Tier
		_, err = t.exec(ctx, "DELETE FROM tier_assignments WHERE project = ? AND api_key = ? AND end_user = ?", a.Project, a.Key, a.User)
		return act, err
	}
	act.After = assignmentStateOf(a)
	var known, n int
	if err := t.row(ctx, "SELECT (SELECT COUNT(*) FROM tiers WHERE name = ?), COUNT(*) FROM tier_assignments", a.Tier).Scan(&known, &n); err != nil {
		return act, err
	}
	switch {
	case known == 0:
		return act, notThere("tier", "name", a.Tier, "penstock tier list")
	case n >= limit.MaxAssigned && !there:
		f := fault.New(fault.InvalidRequest, "There are %d assignments of tiers, limit %d.", n, limit.MaxAssigned)
		f.Hint = "Give a tier to all other end users of a project with user *, and name only those who differ."
		return act, f
	}
	_, err = t.exec(ctx, `INSERT INTO tier_assignments (project, api_key, end_user, tier, set_at) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (project, api_key, end_user) DO UPDATE SET tier = excluded.tier, set_at = excluded.set_at`,
		a.Project, a.Key, a.User, a.Tier, micros(now))
	return act, err
}

// firstVersion is that of a definition which is not there yet, if there is room for it. It is asked for after it was looked for, and is
// above each that one of its name or scope may have had: none is above the version of all definitions, which grows with a deletion, too.
// So who read one that was deleted does not overwrite it, and windows, which take the terms of the highest version, take these.
func (t tx) firstVersion(ctx context.Context) (version int64, err error) {
	if err := t.room(ctx); err != nil {
		return 0, err
	}
	err = t.row(ctx, "SELECT version + 1 FROM versions WHERE name = 'limits'").Scan(&version)
	return version, err
}

// room refuses one more definition where there are as many as there may be.
func (t tx) room(ctx context.Context) error {
	var n int
	err := t.row(ctx, "SELECT (SELECT COUNT(*) FROM budgets) + (SELECT COUNT(*) FROM limits) + (SELECT COUNT(*) FROM tiers)").Scan(&n)
	if err != nil || n < limit.MaxDefinitions {
		return err
	}
	f := fault.New(fault.InvalidRequest, "There are %d budgets, limits and tiers, limit %d.", n, limit.MaxDefinitions)
	f.Hint = "Delete those that are not needed, or make one for each project, key or user at once: * stands for each."
	return f
}

// Windows implements [limit.Store]. What lies in leases that nobody renews is unknown, as [escrow] has it.
func (s *Store) Windows(ctx context.Context, q limit.WindowQuery) (all []limit.Standing, err error) {
	where, args := "", []any(nil)
	add := func(condition string, values ...any) {
		where, args = where+" AND "+condition, append(args, values...)
	}
	if q.Budget != "" {
		add("p.rule = ?", q.Budget)
	}
	if q.Subject != "" {
		add("p.subject = ?", q.Subject)
	}
	if len(q.Keys) > 0 {
		const one = "(?, ?, CAST(? AS BIGINT))"
		add("p.id IN (SELECT w.id FROM (VALUES "+one+strings.Repeat(", "+one, len(q.Keys)-1)+") AS k JOIN budget_pools w "+
			"ON w.rule = k.column1 AND w.subject = k.column2 AND w.start = k.column3)", keyValues(q.Keys)...)
	}
	if !q.At.IsZero() {
		at := micros(q.At)
		add("p.start <= ? AND (p.ends > ? OR p.ends = 0)", at, at)
	}
	err = s.lookWith(ctx, s.watch, func(v view) error {
		now, err := s.clock(ctx, v)
		if err != nil {
			return err
		}
		query := `SELECT p.rule, p.subject, p.start, p.ends, p.allowed, p.settled, p.held, p.unknown, p.overrun, (SELECT
			CAST(COALESCE(SUM(l.amount), 0) AS BIGINT) FROM budget_leases l WHERE l.pool = p.id AND (l.state = ? OR l.state = ? AND l.renewed < ?))
			FROM budget_pools p WHERE p.start > 0` + where + ` ORDER BY p.start DESC, p.rule, p.subject`
		args := append([]any{leaseRestored, leaseOpen, now - escrow.Life.Microseconds()}, args...)
		if q.Limit > 0 {
			query, args = query+" LIMIT ?", append(args, q.Limit)
		}
		rows, err := v.query(ctx, query, args...)
		all, err = collect(rows, err, scanStanding)
		return err
	})
	if err != nil {
		return nil, s.unread(ctx, "read the windows of budgets", err)
	}
	return all, nil
}

func scanStanding(r scanner) (w limit.Standing, err error) {
	var start, end, stale int64
	err = r.Scan(&w.Budget, &w.Subject, &start, &end, &w.Limit, &w.Settled, &w.Held, &w.Unknown, &w.Over, &stale)
	w.Start, w.End = fromMicros(start), fromMicros(end)
	w.Held, w.Unknown = w.Held-stale, llm.Sum(w.Unknown, stale)
	w.Free = max(w.Limit-w.Settled-w.Held-w.Unknown, 0)
	return w, err
}

func notThere(what, by, name, list string) error {
	f := fault.New(fault.NotThere, "There is no %s with the %s %s here.", what, by, quote(name))
	f.Hint = "List them with: " + list
	return f
}

func idOr(id, start string, now time.Time) string {
	if id != "" {
		return id
	}
	return start + ulid.MustNew(ulid.Timestamp(now), rand.Reader).String()
}

// coarse is a time as it is kept.
func coarse(t time.Time) time.Time { return fromMicros(micros(t)) }

// ofProject is the project that an act is about, "" if it is about all of them.
func ofProject(project string) string {
	if project == limit.Each {
		return ""
	}
	return project
}

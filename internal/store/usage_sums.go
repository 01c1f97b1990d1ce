package store

import (
	"context"
	"database/sql"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/usage"
)

// groupColumns are the columns that sums can be grouped by. All but the day are numbers of names.
var groupColumns = map[string]string{
	"org": "e.org", "project": "e.project", "key": "e.key_id", "user": "e.end_user", "model": "e.model", "target": "e.target",
	"tag": "COALESCE(t.tag, 0)", "day": "e.time / 86400000000",
}

const sumColumns = "COUNT(*) requests, SUM(e.failed) errors, SUM(e.input) input, SUM(e.output) output, " +
	"SUM(e.cached_input) cached_input, SUM(e.cache_write) cache_write, SUM(e.reasoning) reasoning, MAX(e.estimated) estimated, " +
	"SUM(e.cost_nano) cost_nano, SUM(e.unpriced) unpriced, SUM(e.cost_unknown) cost_unknown"

// Sums implements [usage.Store]. Without columns it is one sum of all; grouped by tag, an exchange counts once for each of
// its tags, and as "" if it has none. Days are UTC. Groups are in the order of their values.
func (s *Store) Sums(ctx context.Context, q usage.Query) ([]usage.Sum, error) {
	text, args, err := s.sumsQuery(ctx, q)
	switch {
	case err != nil:
		return nil, err
	case text == "" && len(q.By) == 0:
		return []usage.Sum{{Group: map[string]string{}}}, nil
	case text == "":
		return nil, nil
	}
	rows, err := s.query(ctx, text, args...)
	sums, err := collect(rows, err, func(r scanner) (usage.Sum, error) { return scanSum(r, q.By) })
	if err != nil {
		return nil, unread(ctx, "sum records", err)
	}
	return sums, nil
}

// sumsQuery sums by numbers of names first, and gives the few groups that are left their names. It is "" if there is
// nothing to sum.
func (s *Store) sumsQuery(ctx context.Context, q usage.Query) (text string, args []any, err error) {
	var keys, names, joins, order []string
	tags := ""
	for i, by := range q.By {
		expression, ok := groupColumns[by]
		if !ok || slices.Contains(q.By[:i], by) {
			f := fault.New(fault.InvalidRequest, "%s is not a column to sum by, or is there twice.", quote(by))
			f.Param, f.Hint = "group_by", "Send some of "+strings.Join(slices.Sorted(maps.Keys(groupColumns)), ", ")+"."
			return "", nil, f
		}
		n := strconv.Itoa(i)
		keys = append(keys, expression+" k"+n)
		order = append(order, strconv.Itoa(i+1))
		switch by {
		case "day":
			names = append(names, "g.k"+n)
			continue
		case "tag":
			tags = " LEFT JOIN exchange_tags t ON t.seq = e.seq"
		}
		names = append(names, "n"+n+".name")
		joins = append(joins, " JOIN names n"+n+" ON n"+n+".id = g.k"+n)
	}
	look, err := s.search(ctx, usage.Filter{Project: q.Project, From: q.From, To: q.To})
	if err != nil || look == nil {
		return "", nil, err
	}
	inner := "SELECT " + strings.Join(append(keys, sumColumns), ", ") + " FROM " + look.from() + tags + look.where()
	if len(q.By) == 0 {
		return inner, look.args, nil
	}
	inner += " GROUP BY " + strings.Join(order, ", ")
	outer := append(names, "requests, errors, input, output, cached_input, cache_write, reasoning, estimated, cost_nano, unpriced, cost_unknown")
	return "SELECT " + strings.Join(outer, ", ") + " FROM (" + inner + ") g" + strings.Join(joins, "") +
		" ORDER BY " + strings.Join(order, ", "), look.args, nil
}

func scanSum(r scanner, by []string) (usage.Sum, error) {
	sum := usage.Sum{Group: map[string]string{}}
	texts := make([]string, len(by))
	counts := make([]sql.NullInt64, 11) // null is the sum of nothing
	into := make([]any, 0, len(texts)+len(counts))
	for i := range texts {
		into = append(into, &texts[i])
	}
	for i := range counts {
		into = append(into, &counts[i])
	}
	if err := r.Scan(into...); err != nil {
		return sum, err
	}
	for i, name := range by {
		if sum.Group[name] = texts[i]; name == "day" {
			days, err := strconv.ParseInt(texts[i], 10, 64)
			if err != nil {
				return sum, err
			}
			sum.Group[name] = time.Unix(days*86400, 0).UTC().Format(time.DateOnly)
		}
	}
	u := &sum.Usage
	for i, field := range []*int64{
		&sum.Requests, &sum.Errors, &u.Input, &u.Output, &u.CachedInput, &u.CacheWrite, &u.Reasoning, nil, (*int64)(&sum.CostNano), &sum.Unpriced,
		&sum.Unknown,
	} {
		if field != nil {
			*field = counts[i].Int64
		}
	}
	u.Estimated = counts[7].Int64 != 0
	return sum, nil
}

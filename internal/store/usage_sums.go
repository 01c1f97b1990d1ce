package store

import (
	"cmp"
	"context"
	"database/sql"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/usage"
)

// dimensionNames are the group columns that are dimensions.
var dimensionNames = map[string]int{
	"org": byOrg, "project": byProject, "key": byKey, "user": byUser, "model": byModel, "target": byTarget, "tag": byTag,
}

// Sums implements [usage.Store]. Without columns it is one sum of all; grouped by tag, an exchange counts once for each of
// its tags, and as "" if it has none. Groups are in the order of their values. A sum that would be too large
// for its field is the largest number that the field holds.
func (s *Store) Sums(ctx context.Context, q usage.Query) ([]usage.Sum, error) {
	g, err := groupingOf(q.By, dimensionNames, sumTimes)
	if err != nil {
		return nil, err
	}
	g.in(q.Zone)
	names := [dimensions]string{q.Org, q.Project, q.Key, q.Model, q.Target, q.User, q.Tag}
	totals, err := s.total(ctx, g, question{q.From, q.To, names, q.Users})
	if err != nil {
		return nil, err
	}
	groups, err := s.named(ctx, g, slices.Collect(maps.Keys(totals)))
	if err != nil {
		return nil, err
	}
	if len(q.By) == 0 && len(groups) == 0 {
		return []usage.Sum{{Group: map[string]string{}}}, nil
	}
	all := make([]usage.Sum, 0, len(groups))
	for _, k := range groups {
		all = append(all, sumFrom(k.labels(g), totals[k.key]))
	}
	return all, nil
}

// Series implements [usage.Store]. Points are in the order of time, and then of groups.
func (s *Store) Series(ctx context.Context, q usage.SeriesQuery) ([]usage.Point, error) {
	by := []string{}
	if q.By != "" {
		by = append(by, q.By)
	}
	g, err := groupingOf(by, dimensionNames, nil)
	if err != nil {
		return nil, err
	}
	switch q.Step {
	case usage.Minute, usage.Hour, usage.Day:
		g.width = q.Step.Microseconds()
	default:
		f := fault.New(fault.InvalidRequest, "%v is not a step of a series.", q.Step)
		f.Param, f.Hint = "step", "Send minute, hour or day."
		return nil, f
	}
	totals, err := s.total(ctx, g, question{q.From, q.To, [dimensions]string{byProject: q.Project}, nil})
	if err != nil {
		return nil, err
	}
	groups, err := s.named(ctx, g, slices.Collect(maps.Keys(totals)))
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(groups, func(a, b namedGroup) int { return cmp.Compare(a.key.span, b.key.span) })
	all := make([]usage.Point, 0, len(groups))
	for _, k := range groups {
		all = append(all, usage.Point{Start: fromSpan(k.key.span, g.width), Sum: sumFrom(k.labels(g), totals[k.key])})
	}
	return all, nil
}

func fromSpan(span, width int64) time.Time { return time.UnixMicro(span * width).UTC() }

func sumFrom(group map[string]string, s *sums) usage.Sum {
	sum := usage.Sum{
		Group: group, Requests: s[0], Errors: s[1], Unpriced: s[2], Unknown: s[3], CostNano: llm.Money(s[10]),
		Usage: llm.Usage{
			Estimated: s[4] > 0, Input: s[5], Output: s[6], CachedInput: s[7], CacheWrite: s[8], Reasoning: s[9],
		},
	}
	for i, part := range sum.Usage.Parts.All() {
		*part = s[plainFields+i]
	}
	sum.Settled, sum.SettledNano = s[settledField], llm.Money(s[settledField+1])
	sum.Unknown -= sum.Settled
	return sum
}

// A grouping says what is told apart: some dimensions, and time in spans of a width, 0 for all time at once.
type grouping struct {
	names []string       // as they were asked for
	by    []int          // their dimensions; -1 for the time
	width int64          // microseconds
	zone  *time.Location // of the days, which are put together from spans of the width; nil if spans are as they are
	halve bool           // sums in halves: the whole is too large a number for the engine
}

// groupingOf reads group columns: those of known, and one of times.
func groupingOf(by []string, known map[string]int, times map[string]int64) (grouping, error) {
	g := grouping{names: by}
	for i, name := range by {
		d, ok := known[name]
		if width := times[name]; width > 0 {
			d, ok = -1, g.width == 0
			g.width = width
		}
		if !ok || slices.Contains(by[:i], name) {
			names := slices.Concat(slices.Collect(maps.Keys(known)), slices.Collect(maps.Keys(times)))
			slices.Sort(names)
			f := fault.New(fault.InvalidRequest, "%s is not a column to sum by, or is there twice.", quote(name))
			f.Param, f.Hint = "group_by", "Send some of "+strings.Join(names, ", ")+"."
			return g, f
		}
		g.by = append(g.by, d)
	}
	return g, nil
}

// has says whether the grouping tells a dimension apart.
func (g *grouping) has(d int) bool { return slices.Contains(g.by, d) }

// A groupKey is one group of a grouping: which span of time, and the numbers of the names by which it goes.
type groupKey struct {
	span  int64
	names [dimensions]int64
}

// total sums what a question asks for.
func (s *Store) total(ctx context.Context, g grouping, q question) (map[groupKey]*sums, error) {
	totals, err := s.totalOf(ctx, g, q)
	if err != nil && s.d.isTooLarge(err) {
		g.halve = true
		totals, err = s.totalOf(ctx, g, q)
	}
	if err != nil {
		return nil, s.unread(ctx, "sum records", err)
	}
	return totals, nil
}

func (s *Store) totalOf(ctx context.Context, g grouping, q question) (map[groupKey]*sums, error) {
	totals := map[groupKey]*sums{}
	err := s.pieces(ctx, g, sumLevels, q, func(v view, p piece, look *search) error {
		query := g.sumOfRows(look)
		if p.level != nil {
			query = g.sumOfSums(p, look)
		}
		rows, err := v.query(ctx, query, look.args...)
		return each(rows, err, func(r scanner) error {
			k, sum, err := g.scan(r)
			k.span = g.place(k.span, p)
			switch had := totals[k]; {
			case err != nil:
				return err
			case sum[0] == 0: // of nothing
			case p.late:
				had.add(sum.onlyExtras()) // what they are of is there
			case had == nil:
				totals[k] = sum
			default:
				had.add(sum)
			}
			return nil
		})
	})
	return totals, err
}

var (
	levelColumns = [dimensions]string{"org", "project", "key_id", "model", "target", "end_user", "tag"}
	rowColumns   = [dimensions]string{"e.org", "e.project", "e.key_id", "e.model", "e.target", "e.end_user", "COALESCE(t.tag, 0)"}
)

// keys are the columns of a group, and the clause that groups by them.
func (g *grouping) keys(columns [dimensions]string, span string) (keys, clause string) {
	var all, numbers []string
	if g.width > 0 {
		all = append(all, span)
	}
	for _, d := range g.by {
		if d >= 0 {
			all = append(all, columns[d])
		}
	}
	for i := range all {
		numbers = append(numbers, strconv.Itoa(i+1))
	}
	if len(all) == 0 {
		return "", ""
	}
	return strings.Join(all, ", ") + ", ", " GROUP BY " + strings.Join(numbers, ", ")
}

// summing are the sums themselves. What providers reported may be summed in two halves, where the whole is too large a number
// for the engine.
func summing(halve bool, from func(field string) string) string {
	var all []string
	for i, f := range sumFields {
		if column := from(f); i < counts || !halve {
			all = append(all, "CAST(SUM("+column+") AS BIGINT)")
		} else {
			all = append(all, "CAST(SUM("+column+" >> 32) AS BIGINT), CAST(SUM("+column+" & 4294967295) AS BIGINT)")
		}
	}
	return strings.Join(all, ", ")
}

// counts are the first of sumFields, which are numbers of exchanges.
const counts = 5

func levelField(field string) string { return field }

func rowField(field string) string {
	switch {
	case field == "requests":
		return "1"
	case slices.Contains(extraFields, field):
		return "x." + field
	}
	return "e." + field
}

// summingLevels and summingRows are sums in halves or not.
var (
	summingLevels = map[bool]string{false: summing(false, levelField), true: summing(true, levelField)}
	summingRows   = map[bool]string{false: summing(false, rowField), true: summing(true, rowField)}
)

func (g *grouping) sumOfSums(p piece, look *search) string {
	keys, clause := g.keys(levelColumns, "start / "+decimal(max(g.width/p.level.width, 1)))
	return "SELECT " + keys + summingLevels[g.halve] + " FROM " + p.level.table + look.where() + clause
}

func (g *grouping) sumOfRows(look *search) string {
	keys, clause := g.keys(rowColumns, "e.time / "+decimal(g.width))
	tags := ""
	if g.has(byTag) {
		tags = " LEFT JOIN exchange_tags t ON t.seq = e.seq"
	}
	return "SELECT " + keys + summingRows[g.halve] + " FROM " + look.from() + joinExtras + tags + look.where() + clause
}

func decimal(n int64) string { return strconv.FormatInt(n, 10) }

// scan reads a row of either sum, and more columns behind it.
func (g *grouping) scan(r scanner, more ...any) (k groupKey, s *sums, err error) {
	var values [2*len(sums{}) - counts]sql.NullInt64 // null is the sum of nothing
	n := len(sums{})
	if g.halve {
		n = len(values)
	}
	into := g.into(&k)
	for i := range values[:n] {
		into = append(into, &values[i])
	}
	if err := r.Scan(append(into, more...)...); err != nil {
		return k, nil, err
	}
	s = &sums{}
	for i := range s {
		if i < counts || !g.halve {
			s[i] = values[i].Int64
			continue
		}
		s[i] = joined(values[2*i-counts].Int64, values[2*i-counts+1].Int64)
	}
	return k, s, nil
}

// into is where the columns of keys go.
func (g *grouping) into(k *groupKey) []any {
	var into []any
	if g.width > 0 {
		into = append(into, &k.span)
	}
	for _, d := range g.by {
		if d >= 0 {
			into = append(into, &k.names[d])
		}
	}
	return into
}

// joined puts together the sums of upper and lower halves.
func joined(upper, lower int64) int64 {
	if upper += lower >> 32; upper >= 1<<31 {
		return 1<<63 - 1
	}
	return upper<<32 | lower&(1<<32-1)
}

// A namedGroup is a group with the texts of its names.
type namedGroup struct {
	key   groupKey
	texts [dimensions]string
}

func (n *namedGroup) labels(g grouping) map[string]string {
	labels := make(map[string]string, len(g.by))
	for i, d := range g.by {
		if d < 0 {
			labels[g.names[i]] = g.when(n.key.span)
			continue
		}
		labels[g.names[i]] = n.texts[d]
	}
	return labels
}

// named gives groups the texts of their names, and puts them in the order of those, column by column.
func (s *Store) named(ctx context.Context, g grouping, keys []groupKey) ([]namedGroup, error) {
	ids := map[int64]string{0: ""}
	for _, k := range keys {
		for _, d := range g.by {
			if d >= 0 {
				ids[k.names[d]] = ""
			}
		}
	}
	if err := s.texts(ctx, ids); err != nil {
		return nil, err
	}
	groups := make([]namedGroup, len(keys))
	for i, k := range keys {
		groups[i].key = k
		for _, d := range g.by {
			if d >= 0 {
				groups[i].texts[d] = ids[k.names[d]]
			}
		}
	}
	slices.SortFunc(groups, func(a, b namedGroup) int { return g.compare(&a, &b) })
	return groups, nil
}

func (g *grouping) compare(a, b *namedGroup) int {
	for _, d := range g.by {
		c := cmp.Compare(a.key.span, b.key.span)
		if d >= 0 {
			c = strings.Compare(a.texts[d], b.texts[d])
		}
		if c != 0 {
			return c
		}
	}
	return 0
}

// texts fills in the texts of numbers.
func (s *Store) texts(ctx context.Context, ids map[int64]string) error {
	for some := range slices.Chunk(slices.Sorted(maps.Keys(ids)), namesAtOnce) {
		rows, err := s.query(ctx, "SELECT id, name FROM names WHERE id IN ("+questionMarks(len(some))+")", anys(some)...)
		err = each(rows, err, func(r scanner) error {
			var id int64
			var name string
			err := r.Scan(&id, &name)
			ids[id] = name
			return err
		})
		if err != nil {
			return s.unread(ctx, "read names", err)
		}
	}
	return nil
}

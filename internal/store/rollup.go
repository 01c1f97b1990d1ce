package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/penstock/penstock/internal/usage"
)

// A level is one way of summing exchanges: by spans of one width, and by some of the dimensions. What two levels share is
// there twice, so that a question is answered from the fewest rows.
type level struct {
	id    int64
	width int64 // microseconds
	by    []int // dimensions that it tells apart
}

// The dimensions of usage_sums, in the order of its columns.
const (
	byOrg = iota
	byProject
	byKey
	byModel
	byTarget
	byUser
	byTag
	dimensions
)

const (
	minute = 60_000_000 // microseconds
	hour   = 60 * minute
	day    = 24 * hour
)

// The levels. There may be as many users and tags as exchanges, so they are told apart by the day and by nothing else.
// Minutes are for plots of everything.
var (
	tenants   = []int{byOrg, byProject, byKey, byModel, byTarget}
	perMinute = level{1, minute, []int{byOrg, byProject}}
	perHour   = level{2, hour, tenants}
	perDay    = level{3, day, tenants}
	userDays  = level{4, day, []int{byOrg, byProject, byUser}}
	tagDays   = level{5, day, []int{byOrg, byProject, byTag}}

	sumLevels     = []level{perMinute, perHour, perDay, userDays, tagDays}
	gathered      = []level{perMinute, perHour, userDays} // from exchanges; tags apart, and days from hours
	latencyLevels = []level{perHour, perDay}
)

// summedAtOnce is how many exchanges are summed up in one transaction: with fewer, the same row of sums is changed more
// often; with more, more exchanges have to be read one by one by whoever asks, at some microsecond each.
const summedAtOnce = 16384

const (
	sumKey     = "level, start, org, project, key_id, model, target, end_user, tag"
	latencyKey = "level, start, project, model, target"
	setSummed  = "UPDATE usage_summed SET seq = ? WHERE id = 1 AND seq = ?"
	findSummed = "SELECT s.seq, COALESCE((SELECT MAX(seq) FROM exchanges), 0) FROM usage_summed s WHERE s.id = 1"
	toSum      = "SELECT seq, time, org, project, key_id, model, target, end_user, " + timedColumns + ", input, cached_input, cache_write, reasoning, " +
		"estimated + 2 * unpriced + 4 * cost_unknown, cost_nano FROM exchanges WHERE seq > ? AND seq <= ? ORDER BY seq"
	timedColumns   = "failed + 2 * stream, total_ns, first_ns, overhead_ns, output"
	tagsToSum      = "SELECT seq, tag FROM exchange_tags WHERE seq > ? AND seq <= ?"
	findHistograms = "SELECT histograms FROM usage_latencies WHERE level = ? AND start = ? AND project = ? AND model = ? AND target = ?"
	setHistograms  = "INSERT INTO usage_latencies (" + latencyKey + ", histograms) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (" + latencyKey +
		") DO UPDATE SET histograms = excluded.histograms"
)

// sumFields are what is summed, in the order of sums. Those that are not counts of exchanges may be anything that a
// provider has reported.
var sumFields = [...]string{
	"requests", "failed", "unpriced", "cost_unknown", "estimated", "input", "output", "cached_input", "cache_write", "reasoning", "cost_nano",
}

// sums are the fields of sumFields. They stay at the largest number instead of going beyond it.
type sums [len(sumFields)]int64

func (s *sums) add(more *sums) {
	for i := range s {
		s[i] = plus(s[i], more[i])
	}
}

// plus adds what is not negative.
func plus(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

var addSum, addSums = addToSums(1), addToSums(sumChunk)

// sumChunk is how many rows of sums one statement writes.
const sumChunk = 8

// addToSums is a statement that adds to n rows of sums, which it makes where there are none.
func addToSums(n int) string {
	columns := sumKey + ", " + strings.Join(sumFields[:], ", ")
	var set []string
	for _, f := range sumFields {
		set = append(set, fmt.Sprintf("%[1]s = CASE WHEN usage_sums.%[1]s > %[2]d - excluded.%[1]s THEN %[2]d ELSE usage_sums.%[1]s + excluded.%[1]s END",
			f, int64(math.MaxInt64)))
	}
	head, _, _ := strings.Cut(insertInto("usage_sums", columns, n), " ON CONFLICT")
	return head + " ON CONFLICT (" + sumKey + ") DO UPDATE SET " + strings.Join(set, ", ")
}

// SumUp implements [usage.Summer].
func (s *Store) SumUp(ctx context.Context) (behind int64, more bool, err error) {
	s.records.mu.Lock()
	defer s.records.mu.Unlock()
	var seq, last int64
	if err := s.watched(ctx, findSummed).Scan(&seq, &last); err != nil {
		return 0, false, s.unread(ctx, "read how far exchanges are summed up", err)
	}
	if last-seq < s.atOnce {
		return last - seq, false, nil
	}
	to, fromMemory := min(last, seq+s.atOnce), false
	err = s.changeIn(ctx, laneSums, "sum exchanges up", func(t tx) error {
		r := &recording{&s.records, t, map[string]statement{}}
		var g *gathering
		if g, to, fromMemory, err = r.gather(ctx, seq, to); err != nil {
			return err
		}
		n, err := r.run(ctx, setSummed, to, seq)
		if err != nil || n == 0 { // another replica has just done it
			return err
		}
		return errors.Join(r.addSums(ctx, g.sums), r.addLatencies(ctx, g.latencies))
	})
	if fromMemory {
		s.records.fresh.begin(to) // if it failed, too: they are read from the table then
	}
	if err != nil {
		return last - seq, false, err
	}
	return last - to, last-to >= s.atOnce, nil
}

// sumOf is the key of a row of sums, latencyOf that of a row of histograms.
type (
	sumOf struct {
		level, start int64
		names        [dimensions]int64
	}
	latencyOf struct{ level, start, project, model, target int64 }
)

// A gathering is what some exchanges add to sums: those behind the first number up to the last.
type gathering struct {
	first, last int64
	sums        map[sumOf]*sums
	latencies   map[latencyOf]*usage.Latencies
}

// begin empties a gathering, which then goes on behind a number.
func (g *gathering) begin(first int64) {
	*g = gathering{first: first, last: first, sums: map[sumOf]*sums{}, latencies: map[latencyOf]*usage.Latencies{}}
}

func (g *gathering) take(e *counted, tags []int64) {
	g.last = e.seq
	for _, l := range gathered {
		k := sumOf{level: l.id, start: e.time / l.width}
		for _, d := range l.by {
			k.names[d] = e.names[d]
		}
		g.add(k, &e.sums)
	}
	if len(tags) == 0 {
		tags = []int64{0}
	}
	k := sumOf{level: tagDays.id, start: e.time / day}
	k.names[byOrg], k.names[byProject] = e.names[byOrg], e.names[byProject]
	for _, k.names[byTag] = range tags {
		g.add(k, &e.sums)
	}
	if !e.timed.Failed {
		g.latency(latencyOf{perHour.id, e.time / hour, e.names[byProject], e.names[byModel], e.names[byTarget]}).Add(e.timed)
	}
}

func (g *gathering) add(k sumOf, more *sums) {
	s := g.sums[k]
	if s == nil {
		s = &sums{}
		g.sums[k] = s
	}
	s.add(more)
}

func (g *gathering) latency(k latencyOf) *usage.Latencies {
	l := g.latencies[k]
	if l == nil {
		l = &usage.Latencies{}
		g.latencies[k] = l
	}
	return l
}

// addDays makes the sums of days from those of hours.
func (g *gathering) addDays() {
	for k, s := range maps.Clone(g.sums) {
		if k.level == perHour.id {
			k.level, k.start = perDay.id, k.start*hour/day
			g.add(k, s)
		}
	}
	for k, l := range maps.Clone(g.latencies) {
		k.level, k.start = perDay.id, k.start*hour/day
		g.latency(k).Merge(l)
	}
}

// addSums writes in the order of keys, so that pages are changed once and replicas never wait for each other in a circle.
func (c *recording) addSums(ctx context.Context, all map[sumOf]*sums) error {
	keys := slices.SortedFunc(maps.Keys(all), func(a, b sumOf) int {
		return cmp.Or(cmp.Compare(a.level, b.level), cmp.Compare(a.start, b.start), slices.Compare(a.names[:], b.names[:]))
	})
	var args []any
	for len(keys) > 0 {
		query, n := addSum, 1
		if len(keys) >= sumChunk {
			query, n = addSums, sumChunk
		}
		args = args[:0]
		for _, k := range keys[:n] {
			args = append(args, k.level, k.start)
			for _, id := range k.names {
				args = append(args, id)
			}
			for _, v := range all[k] {
				args = append(args, v)
			}
		}
		if _, err := c.run(ctx, query, args...); err != nil {
			return err
		}
		keys = keys[n:]
	}
	return nil
}

func (c *recording) addLatencies(ctx context.Context, all map[latencyOf]*usage.Latencies) error {
	keys := slices.SortedFunc(maps.Keys(all), func(a, b latencyOf) int {
		return cmp.Or(cmp.Compare(a.level, b.level), cmp.Compare(a.start, b.start), cmp.Compare(a.project, b.project),
			cmp.Compare(a.model, b.model), cmp.Compare(a.target, b.target))
	})
	for _, k := range keys {
		l := all[k]
		var had []byte
		err := c.bind(ctx, findHistograms).QueryRowContext(c.tx.ctx, k.level, k.start, k.project, k.model, k.target).Scan(&had)
		if err == nil {
			err = l.MergeBinary(had)
		}
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		text, err := l.AppendBinary(nil)
		if err != nil {
			return err
		}
		if _, err := c.run(ctx, setHistograms, k.level, k.start, k.project, k.model, k.target, text); err != nil {
			return err
		}
	}
	return nil
}

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
	"time"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/usage"
)

// A level is one way of summing exchanges: by spans of one width, and by some of the dimensions. What two levels share is
// there twice, so that a question is answered from the fewest rows.
type level struct {
	id    int64
	width int64 // microseconds
	by    []int // dimensions that it tells apart
	reach int   // the row of usage_summed that says up to which exchange it holds all
	table string
}

// The tables. They have the same columns: sums are in the order of time, and details in that of users and tags, so that what is
// asked of one is read together.
const (
	inSums    = "usage_sums"
	inDetails = "usage_details"
)

// The rows of usage_summed. Levels that came with a later schema hold less than the others for a while, in a store that has
// exchanges from before them, and where a replica of an older version sums up; they are not asked then. Only what is behind
// none of the rows is not needed any more to make sums of, and may be deleted. Of what was deleted before a level came, it
// has nothing: one that is added here must not be asked about a time before usage_summed.purged_before at its migration.
const (
	reachFirst = 1 + iota
	reachUsers
	reachDetails
	reachExtras // the columns of extras, in all levels
)

var laterReaches = []int{reachUsers, reachDetails, reachExtras}

// reached is up to which exchange levels hold all, by reach; -1 in a store of a schema before them.
type reached [reachExtras + 1]int64

func (r *reached) of(l level) int64 { return r[l.reach] }

// into is what summedColumns are scanned into.
func (r *reached) into() []any {
	return []any{&r[reachFirst], &r[reachUsers], &r[reachDetails], &r[reachExtras]}
}

const summedColumns = "COALESCE((SELECT seq FROM usage_summed WHERE id = 1), -1), COALESCE((SELECT seq FROM usage_summed WHERE id = 2), -1), " +
	"COALESCE((SELECT seq FROM usage_summed WHERE id = 3), -1), COALESCE((SELECT seq FROM usage_summed WHERE id = 4), -1)"

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

// The levels. There may be as many users and tags as exchanges, so they are told apart by nothing shorter than an hour: such a
// level has a row for each exchange at most. Minutes are for plots of everything.
var (
	projects = []int{byOrg, byProject}
	tenants  = []int{byOrg, byProject, byKey, byModel, byTarget}
	users    = []int{byOrg, byProject, byUser}
	tags     = []int{byOrg, byProject, byTag}

	perMinute    = level{1, minute, projects, reachFirst, inSums}
	perHour      = level{2, hour, tenants, reachFirst, inSums}
	perDay       = level{3, day, tenants, reachFirst, inSums}
	userDays     = level{4, day, users, reachFirst, inSums}
	tagDays      = level{5, day, tags, reachFirst, inSums}
	userHours    = level{6, hour, users, reachUsers, inSums}
	tagHours     = level{7, hour, tags, reachUsers, inSums}
	orgUsers     = level{8, day, []int{byOrg, byUser}, reachUsers, inSums} // who works in many projects is in few rows
	projectHours = level{9, hour, projects, reachDetails, inSums}
	projectDays  = level{10, day, projects, reachDetails, inSums}
	ofUser       = level{11, hour, append(tenants[:5:5], byUser), reachDetails, inDetails}
	ofTag        = level{12, hour, append(tenants[:5:5], byTag), reachDetails, inDetails}
	ofTagDays    = level{13, day, ofTag.by, reachDetails, inDetails}

	sumLevels = []level{
		perMinute, perHour, perDay, userDays, tagDays, userHours, tagHours, orgUsers, projectHours, projectDays, ofUser, ofTag, ofTagDays,
	}
	latencyLevels = []level{perHour, perDay}

	gathered = []level{perMinute, ofUser} // from exchanges; ofTag apart
	derived  = []struct{ from, to level }{
		{ofUser, perHour}, {perHour, perDay}, {perHour, projectHours}, {perDay, projectDays}, {ofUser, userHours}, {userHours, userDays}, {userDays, orgUsers},
		{ofTag, tagHours}, {tagHours, tagDays}, {ofTag, ofTagDays},
	}
)

// What was deleted, by the day: no report reads it. With the exchanges that are left it makes up what the other levels have.
// The second counts an exchange once for each of its tags, as tagDays does.
var (
	purgedDays    = level{id: 30, width: day, table: inSums}
	purgedTagDays = level{id: 31, width: day, by: []int{byTag}, table: inSums}
)

// summedAtOnce is how many exchanges are summed up in one transaction: with fewer, the same row of sums is changed more
// often; with more, more exchanges have to be read one by one by whoever asks, at some microsecond each. What waits for
// summedEvery is summed up even if it is less. What lies there from before a level is read again, refilledAtOnce in one
// transaction, so that what is written meanwhile does not wait.
const (
	summedAtOnce   = 16384
	refilledAtOnce = summedAtOnce / 8
	summedEvery    = time.Minute
)

const (
	sumKey     = "level, start, org, project, key_id, model, target, end_user, tag"
	latencyKey = "level, start, project, model, target"
	setSummed  = "UPDATE usage_summed SET seq = ? WHERE id = ? AND seq = ?"
	findSummed = "SELECT " + summedColumns + ", COALESCE((SELECT MAX(seq) FROM exchanges), 0), " +
		"(SELECT extras FROM ledger_state WHERE id = 1), COALESCE((SELECT MIN(first) FROM exchange_gaps), 0)"
	toSum = "SELECT " + countedColumns + " FROM exchanges WHERE seq > ? AND seq <= ? ORDER BY seq"
	// countedColumns are read by counted.scan.
	countedColumns = "seq, time, org, project, key_id, model, target, end_user, " + timedColumns + ", input, cached_input, cache_write, reasoning, " +
		"estimated + 2 * unpriced + 4 * cost_unknown, cost_nano"
	timedColumns   = "failed + 2 * stream, total_ns, first_ns, overhead_ns, output"
	tagsToSum      = "SELECT seq, tag FROM exchange_tags WHERE seq > ? AND seq <= ?"
	findHistograms = "SELECT histograms FROM usage_latencies WHERE level = ? AND start = ? AND project = ? AND model = ? AND target = ?"
	setHistograms  = "INSERT INTO usage_latencies (" + latencyKey + ", histograms) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (" + latencyKey +
		") DO UPDATE SET histograms = excluded.histograms"
)

// sumFields are what is summed, in the order of sums. Those that are not counts of exchanges may be anything that a
// provider has reported. Those behind plainFields are extras: columns of exchange_extras, and null in most rows of sums.
var sumFields = [...]string{
	"requests", "failed", "unpriced", "cost_unknown", "estimated", "input", "output", "cached_input", "cache_write", "reasoning", "cost_nano",
	"cache_write_1h", "cache_write_5m", "input_audio", "cached_audio", "output_audio", "output_image", "searches",
	"settled", "settled_nano",
}

// sums are the fields of sumFields. They stay at the largest number instead of going beyond it.
type sums [len(sumFields)]int64

func (s *sums) add(more *sums) {
	for i := range plainFields {
		s[i] = llm.Sum(s[i], more[i])
	}
	if !more.extra() {
		return
	}
	for i := plainFields; i < len(s); i++ {
		s[i] = llm.Sum(s[i], more[i])
	}
}

// sumChunk is how many rows of sums one statement writes.
const sumChunk = 8

// An adding is a statement that adds to rows of sums: in which table, to how many, and how many of their fields.
type adding struct {
	table        string
	rows, fields int
}

var addings = func() map[adding]string {
	all := map[adding]string{}
	for _, table := range []string{inSums, inDetails} {
		for _, rows := range []int{1, sumChunk} {
			for _, fields := range []int{plainFields, len(sumFields)} {
				all[adding{table, rows, fields}] = addTo(table, rows, fields)
			}
		}
	}
	return all
}()

// addTo is a statement that adds to n rows of sums, which it makes where there are none.
func addTo(table string, n, fields int) string {
	columns := sumKey + ", " + strings.Join(sumFields[:fields], ", ")
	var set []string
	for i, f := range sumFields[:fields] {
		was := table + "." + f
		if i >= plainFields {
			was = "COALESCE(" + was + ", 0)"
		}
		set = append(set, fmt.Sprintf("%[1]s = CASE WHEN %[3]s > %[2]d - excluded.%[1]s THEN %[2]d ELSE %[3]s + excluded.%[1]s END",
			f, int64(math.MaxInt64), was))
	}
	head, _, _ := strings.Cut(insertInto(table, columns, n), " ON CONFLICT")
	return head + " ON CONFLICT (" + sumKey + ") DO UPDATE SET " + strings.Join(set, ", ")
}

// SumUp implements [usage.Summer].
func (s *Store) SumUp(ctx context.Context) (behind int64, more bool, err error) {
	s.records.mu.Lock()
	defer s.records.mu.Unlock()
	var at reached
	var last int64
	var told telling
	if err := s.watched(ctx, findSummed).Scan(append(at.into(), &last, &told.upTo, &told.gap)...); err != nil {
		return 0, false, s.unread(ctx, "read how far exchanges are summed up", err)
	}
	told.last = last
	seq, began := at[reachFirst], s.now()
	last = max(last, seq) // the last ones may have been deleted
	enough := func() bool { return last-at[reachFirst] >= s.atOnce }
	switch {
	case enough(), last > seq && began.Sub(s.records.summed) >= summedEvery:
		to, err := s.sumUp(ctx, seq, min(last, seq+s.atOnce))
		if err != nil {
			return last - at.least(), false, err
		}
		s.records.summed = began
		at.move(seq, to, append(laterReaches, reachFirst))
	case at.least() < seq:
		if err := s.refillSums(ctx, &at); err != nil {
			return last - at.least(), false, err
		}
	case told.lacks():
		if err := s.fillGap(ctx, &told); err != nil {
			return last - at.least(), false, err
		}
	default:
		if more, err = s.countSettled(ctx); err != nil {
			return last - at.least(), false, err
		}
	}
	return last - at.least(), enough() || at.least() < at[reachFirst] || told.lacks() || more, nil
}

// least is how far all levels reach.
func (r *reached) least() int64 { return slices.Min(r[reachFirst:]) }

// move has those of some reaches that were at one exchange be at another.
func (r *reached) move(from, to int64, reaches []int) {
	for _, reach := range reaches {
		if r[reach] == from {
			r[reach] = to
		}
	}
}

// sumUp adds to the sums what lies behind an exchange: up to another, or as far as it lies in memory.
func (s *Store) sumUp(ctx context.Context, from, upTo int64) (to int64, err error) {
	fromMemory := false
	err = s.changeIn(ctx, laneSums, "sum exchanges up", func(t tx) error {
		r := &recording{&s.records, t, map[string]statement{}}
		var g *gathering
		if g, to, fromMemory, err = r.gather(ctx, from, upTo); err != nil {
			return err
		}
		return r.addTo(ctx, g, from, to, append(laterReaches, reachFirst))
	})
	if fromMemory {
		s.records.fresh.begin(to) // if it failed, too: they are read from the table then
	}
	return to, err
}

// refillSums adds to the later levels that are farthest behind some of what the first have had.
func (s *Store) refillSums(ctx context.Context, at *reached) error {
	from := at.least()
	to := min(at[reachFirst], from+s.refill)
	for _, r := range laterReaches {
		if at[r] > from {
			to = min(to, at[r]) // from there on they go together
		}
	}
	err := s.changeIn(ctx, laneSums, "sum exchanges up", func(t tx) error {
		r := &recording{&s.records, t, map[string]statement{}}
		g := &gathering{}
		g.begin(from)
		if err := r.readInto(ctx, g, from, to); err != nil {
			return err
		}
		g.derive()
		return r.addTo(ctx, g, from, to, laterReaches)
	})
	if err == nil {
		at.move(from, to, laterReaches)
	}
	return err
}

// addTo adds what exchanges give, to those levels of some reaches that hold all before them: another replica may just have
// done it.
func (c *recording) addTo(ctx context.Context, g *gathering, from, to int64, reaches []int) error {
	var reached []int
	for _, reach := range reaches {
		n, err := c.run(ctx, setSummed, to, reach, from)
		if err != nil {
			return err
		}
		if n > 0 {
			reached = append(reached, reach)
		}
	}
	extras := slices.Contains(reached, reachExtras)
	for _, l := range sumLevels {
		all := g.sums[l.id]
		switch plain := slices.Contains(reached, l.reach); {
		case !plain && !extras:
			continue
		case !plain:
			all = extrasOf(all)
		case !extras:
			all = withoutExtras(all)
		}
		if err := c.addSums(ctx, l, all); err != nil {
			return err
		}
	}
	if !slices.Contains(reached, reachFirst) {
		return nil
	}
	return c.addLatencies(ctx, g.latencies)
}

// sumOf is the key of a row of sums, latencyOf that of a row of histograms.
type (
	sumOf struct {
		start int64
		names [dimensions]int64
	}
	latencyOf struct{ level, start, project, model, target int64 }
)

// A gathering is what some exchanges add to sums: those behind the first number up to the last.
type gathering struct {
	first, last int64
	sums        map[int64]map[sumOf]*sums // by level
	latencies   map[latencyOf]*usage.Latencies
}

// begin empties a gathering, which then goes on behind a number.
func (g *gathering) begin(first int64) {
	*g = gathering{first: first, last: first, sums: map[int64]map[sumOf]*sums{}, latencies: map[latencyOf]*usage.Latencies{}}
	for _, l := range sumLevels {
		g.sums[l.id] = map[sumOf]*sums{}
	}
}

func (g *gathering) take(e *counted, tags []int64) {
	g.last = e.seq
	for _, l := range gathered {
		g.add(l, sumOf{e.time / l.width, l.only(&e.names)}, &e.sums)
	}
	if len(tags) == 0 {
		tags = []int64{0}
	}
	k := sumOf{e.time / ofTag.width, ofTag.only(&e.names)}
	for _, k.names[byTag] = range tags {
		g.add(ofTag, k, &e.sums)
	}
	if !e.timed.Failed {
		g.latency(latencyOf{perHour.id, e.time / hour, e.names[byProject], e.names[byModel], e.names[byTarget]}).Add(e.timed)
	}
}

func (l *level) tells(dimension int) bool { return slices.Contains(l.by, dimension) }

// only are the names that a level tells apart.
func (l *level) only(names *[dimensions]int64) (told [dimensions]int64) {
	for _, d := range l.by {
		told[d] = names[d]
	}
	return told
}

func (g *gathering) add(l level, k sumOf, more *sums) {
	s := g.sums[l.id][k]
	if s == nil {
		s = &sums{}
		g.sums[l.id][k] = s
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

// derive makes sums of longer spans, and of fewer names, from others.
func (g *gathering) derive() {
	for _, d := range derived {
		for k, s := range g.sums[d.from.id] {
			g.add(d.to, sumOf{k.start * d.from.width / d.to.width, d.to.only(&k.names)}, s)
		}
	}
	for k, l := range maps.Clone(g.latencies) {
		k.level, k.start = perDay.id, k.start*hour/day
		g.latency(k).Merge(l)
	}
}

// addSums writes in the order of the table, so that pages are changed once and replicas never wait for each other in a circle.
func (c *recording) addSums(ctx context.Context, l level, all map[sumOf]*sums) error {
	keys := slices.SortedFunc(maps.Keys(all), func(a, b sumOf) int {
		if l.table == inDetails {
			if c := slices.Compare(a.names[byUser:], b.names[byUser:]); c != 0 {
				return c
			}
		}
		return cmp.Or(cmp.Compare(a.start, b.start), slices.Compare(a.names[:], b.names[:]))
	})
	var args []any
	for len(keys) > 0 {
		n, fields := 1, plainFields
		if len(keys) >= sumChunk {
			n = sumChunk
		}
		if slices.ContainsFunc(keys[:n], func(k sumOf) bool { return all[k].extra() }) {
			fields = len(sumFields)
		}
		args = args[:0]
		for _, k := range keys[:n] {
			args = append(args, l.id, k.start)
			for _, id := range k.names {
				args = append(args, id)
			}
			for _, v := range all[k][:fields] {
				args = append(args, v)
			}
		}
		if _, err := c.run(ctx, addings[adding{l.table, n, fields}], args...); err != nil {
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

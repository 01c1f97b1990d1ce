package storetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/penstock/penstock/internal/audit"
	"github.com/penstock/penstock/internal/auth"
	"github.com/penstock/penstock/internal/bodies"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/retention"
	"github.com/penstock/penstock/internal/usage"
)

// keep is a retention.
const keep = 24 * time.Hour

// purgeAll deletes all that is due, some rows at a time, and says how many that were.
func purgeAll(t rapid.TB, s Store, now time.Time, limit int) (deleted int) {
	t.Helper()
	ctx := context.Background()
	due, err := s.Due(ctx, now, keep)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range due.Blocks {
		for more := true; more; {
			done, err := s.PurgeBlock(ctx, "a", b.N, due.Policy, limit)
			if err != nil {
				t.Fatal(err)
			}
			if !done.Mine {
				t.Fatal("another has the lease")
			}
			if done.Deleted > limit {
				t.Errorf("%d deleted at once, limit %d", done.Deleted, limit)
			}
			deleted += done.Deleted
			more = done.More
		}
	}
	return deleted
}

// aged makes records of times that are apart by a step, the oldest first; names tell them apart.
func aged(prefix string, n int, from time.Time, step time.Duration) []*usage.Record {
	var records []*usage.Record
	for i := range n {
		at := from.Add(time.Duration(i) * step)
		r := record("")
		r.ID, _ = pipeline.NewID(at)
		r.Time, r.User, r.Tags = at, fmt.Sprintf("%s-%d", prefix, i%7), []string{prefix, fmt.Sprintf("t%d", i%3)}
		r.CostNano, r.Usage.Input, r.Usage.Output = 1000, 10, 5
		if i%10 == 0 {
			r.Status, r.Error = 429+i%20/10*71, &usage.Error{Code: "x"}
		}
		records = append(records, r)
	}
	return records
}

// asked are the answers to what the sums of a purged time still answer.
func asked(t rapid.TB, s Store) (answers []any) {
	t.Helper()
	ctx := context.Background()
	for _, q := range []usage.Query{
		{}, {By: []string{"day"}}, {By: []string{"hour", "model", "key"}}, {By: []string{"user", "day"}}, {By: []string{"tag"}},
		{By: []string{"project"}, From: day.Truncate(time.Hour).Add(-time.Hour)},
	} {
		got, err := s.Sums(ctx, q)
		if err != nil {
			t.Fatalf("%+v: %v", q, err)
		}
		answers = append(answers, got)
	}
	series, err := s.Series(ctx, usage.SeriesQuery{Step: usage.Minute, By: "project"})
	if err != nil {
		t.Fatal(err)
	}
	latencies, err := s.Latencies(ctx, usage.LatencyQuery{By: []string{"model", "hour"}})
	if err != nil {
		t.Fatal(err)
	}
	return append(answers, series, latencies)
}

func count(t rapid.TB, s Store, f usage.Filter) int {
	t.Helper()
	f.Limit = 100_000
	all, err := s.Records(context.Background(), f)
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// What is older than the retention goes whole, and is the same in all sums as before; what is younger stays and is found.
func testRetention(t *testing.T, s Store) {
	ctx := t.Context()
	const n = 2200 // some blocks
	old := aged("old", n, day, time.Second)
	young := aged("young", 500, day.Add(20*time.Hour), time.Second)
	add(t, s, old...)
	add(t, s, young...)
	must(t, s.AddBodies(ctx, "b", 1, []bodies.Row{body("prj_1", old[0].ID, "old"), body("prj_1", old[n-1].ID, "old"), body("prj_1", young[0].ID, "young")}))
	sumUp(t, s, 5) // not all
	before := asked(t, s)

	same(t, "deleted when nothing is due", purgeAll(t, s, day.Add(keep), 100), 0)
	same(t, "deleted", purgeAll(t, s, day.Add(keep+1000*time.Second), 100), 1000)
	same(t, "sums after the first", asked(t, s), before)
	same(t, "left", count(t, s, usage.Filter{}), n-1000+500)
	same(t, "left of the old", count(t, s, usage.Filter{Tag: "old"}), n-1000)
	_, err := s.Record(ctx, "", old[999].ID)
	refused(t, err, fault.RecordNotFound)
	if f := fault.From(err); !strings.Contains(f.Hint, "are deleted") {
		t.Errorf("that it was deleted is not told: %q", f.Hint)
	}
	_, err = s.Record(ctx, "", old[1000].ID)
	must(t, err)

	now := day.Add(keep + 10*time.Hour)
	same(t, "deleted", purgeAll(t, s, now, 1024), n-1000)
	same(t, "sums", asked(t, s), before)
	for _, f := range []usage.Filter{{Tag: "old"}, {User: "old-1"}, {To: day.Add(10 * time.Hour)}} {
		same(t, fmt.Sprintf("%+v", f), count(t, s, f), 0)
	}
	for _, f := range []usage.Filter{{}, {Tag: "young"}, {Project: "prj_1", From: young[0].Time}} {
		same(t, fmt.Sprintf("%+v", f), count(t, s, f), 500)
	}
	same(t, "failures", count(t, s, usage.Filter{Status: "429"})+count(t, s, usage.Filter{Status: "500"}), 50)
	_, err = s.OpenBodies(ctx, "prj_1", old[0].ID, "test")
	refused(t, err, fault.NotThere)
	_, err = s.OpenBodies(ctx, "prj_1", young[0].ID, "test")
	must(t, err)

	// What only exchanges could tell of that time is refused, with words, and never told wrongly.
	for _, q := range []usage.Query{
		{By: []string{"model"}, From: day, To: day.Add(30 * time.Minute)}, {By: []string{"user", "model"}}, {By: []string{"tag"}, From: day},
	} {
		_, err := s.Sums(ctx, q)
		refused(t, err, fault.InvalidRequest)
	}
	_, err = s.Latencies(ctx, usage.LatencyQuery{By: []string{"minute"}})
	refused(t, err, fault.InvalidRequest)
	q := usage.Query{By: []string{"user", "model"}, From: day.Add(10 * time.Hour)}
	got, err := s.Sums(ctx, q)
	must(t, err)
	same(t, "sums of what is left", got, summed(young, q))

	// The last one goes too, and what is written then is counted once.
	same(t, "deleted", purgeAll(t, s, day.Add(keep+30*time.Hour), 1024), 500)
	same(t, "sums of what is gone", asked(t, s), before)
	same(t, "left", count(t, s, usage.Filter{}), 0)
	// Among them are late ones, which are due as soon as they are there.
	more := append(aged("late", 20, day.Add(time.Minute), time.Second), aged("new", 20, day.Add(40*time.Hour), time.Second)...)
	add(t, s, more...)
	records := slices.Concat(old, young, more)
	whole := usage.Query{By: []string{"day"}}
	check := func(what string) {
		t.Helper()
		sums, err := s.Sums(ctx, whole)
		must(t, err)
		same(t, what, sums, summed(records, whole))
	}
	check("with late ones")
	same(t, "late ones deleted", purgeAll(t, s, day.Add(keep+30*time.Hour), 1024), 20)
	check("without them")
	same(t, "left", count(t, s, usage.Filter{}), 20)
	add(t, s, more[20:]...) // the journal is read again
	check("read again")
	last := aged("last", 1100, day.Add(41*time.Hour), time.Millisecond)
	add(t, s, last...)
	records = append(records, last...)
	check("at last")
	sumUp(t, s, all)
	check("summed up at last")
	same(t, "left", count(t, s, usage.Filter{}), 1120)
}

// A strict project keeps its exchanges for half a year at least, a hold keeps all, also bodies, and the lease is one's.
func testRetentionHolds(t *testing.T, s Store) {
	ctx := audit.As(t.Context(), audit.Actor{Key: "key_1", Role: "auditor"})
	strict := project("prj_strict", "default", "strict")
	strict.Strict = true
	kept := project("prj_bodies", "acme", "bodies")
	kept.Bodies, kept.Retention = auth.BodiesKeep, time.Hour
	for _, p := range []auth.Project{strict, kept, project("prj_held", "default", "held"), project("prj_usual", "default", "usual")} {
		must(t, s.CreateProject(ctx, p))
	}
	began := day.Add(-200 * 24 * time.Hour)
	var records []*usage.Record
	for i, r := range aged("r", 1200, began, time.Second) {
		p := []struct{ id, org string }{{"prj_strict", "default"}, {"prj_bodies", "acme"}, {"prj_held", "default"}, {"prj_usual", "default"}}[i%4]
		r.Project, r.Org = p.id, p.org
		records = append(records, r)
	}
	add(t, s, records...)
	must(t, s.AddBodies(ctx, "b", 1, []bodies.Row{body("prj_bodies", records[1].ID, "x")}))
	before := asked(t, s)
	must(t, s.MakeHold(ctx, retention.Hold{ID: "hold_1", Project: "prj_held", Reason: "case 1", Since: day}, 10))
	must(t, s.MakeHold(ctx, retention.Hold{ID: "hold_2", Org: "acme", Reason: "case 2", Since: day}, 10))
	left := func() map[string]int {
		t.Helper()
		all, err := s.Records(ctx, usage.Filter{Limit: 10_000})
		must(t, err)
		n := map[string]int{}
		for _, r := range all {
			n[r.Project]++
		}
		return n
	}
	const keep = 30 * 24 * time.Hour // others are for a day
	now := began.Add(100 * 24 * time.Hour)
	due, err := s.Due(ctx, now, keep)
	must(t, err)
	done, err := s.PurgeBlock(ctx, "b", due.Blocks[0].N, due.Policy, 1)
	must(t, err)
	same(t, "deleted by another", done.Deleted, 1)
	done, err = s.PurgeBlock(ctx, "a", due.Blocks[0].N, due.Policy, 1)
	must(t, err)
	same(t, "without the lease", done.Mine || done.Deleted > 0, false)
	purge := func(now time.Time) (next time.Time) {
		t.Helper()
		for _, b := range due.Blocks {
			for done.More = true; done.More; {
				done, err = s.PurgeBlock(ctx, "b", b.N, retention.Policy{Now: now, Keep: keep}, 77)
				must(t, err)
			}
		}
		return done.Next
	}
	purge(now)
	same(t, "left", left(), map[string]int{"prj_strict": 300, "prj_bodies": 300, "prj_held": 300})
	same(t, "sums", asked(t, s), before)
	n, _, err := s.PurgeBodies(ctx, "b", "prj_bodies", now, 100)
	must(t, err)
	same(t, "bodies deleted on hold", n, 0)

	// What is exempt for now is due one day, or never.
	purge(began.Add(180*24*time.Hour - time.Second))
	same(t, "left", left(), map[string]int{"prj_strict": 300, "prj_bodies": 300, "prj_held": 300})
	last := purge(began.Add(180*24*time.Hour + 1024*time.Second))
	same(t, "next", last, began.Add(180*24*time.Hour+1024*time.Second+time.Microsecond))
	same(t, "never", purge(began.Add(181*24*time.Hour)), time.Time{})
	same(t, "left", left(), map[string]int{"prj_bodies": 300, "prj_held": 300})

	// What is exempt changes with holds and strict projects, and with nothing else, such as a project's labels.
	version := due.Version
	change := func(strict bool) int64 {
		t.Helper()
		_, err := s.UpdateProject(ctx, "prj_usual", func(p *auth.Project) error { p.Strict, p.Labels = strict, map[string]string{"a": "b"}; return nil })
		must(t, err)
		due, err := s.Due(ctx, now, keep)
		must(t, err)
		return due.Version
	}
	same(t, "the version after other labels", change(false), version)
	if change(true) == version {
		t.Error("a project is strict, and the version is the same")
	}
	same(t, "the version as before", change(false), version)
	_, err = s.LiftHold(ctx, "hold_2", "settled")
	must(t, err)
	due, err = s.Due(ctx, now, keep)
	must(t, err)
	if due.Version <= version {
		t.Errorf("version %d, before %d", due.Version, version)
	}
	purge(now)
	same(t, "left", left(), map[string]int{"prj_held": 300})
	_, err = s.OpenBodies(ctx, "prj_bodies", records[1].ID, "test")
	refused(t, err, fault.NotThere)
	same(t, "found by its project", count(t, s, usage.Filter{Project: "prj_held"}), 300)
	same(t, "found by its tag", count(t, s, usage.Filter{Tag: "r"}), 300)
	same(t, "sums", asked(t, s), before)
}

func testHolds(t *testing.T, s Store) {
	ctx := audit.As(t.Context(), audit.Actor{Key: "key_1", Role: "auditor"})
	must(t, s.CreateProject(ctx, project("prj_1", "acme", "shop")))
	one := retention.Hold{ID: "hold_1", Project: "prj_1", Reason: "case 1", ByKey: "key_1", ByName: "legal", Since: day}
	two := retention.Hold{ID: "hold_2", Org: "acme", Reason: "case 2", ByKey: "key_1", ByName: "legal", Since: day.Add(time.Second)}
	must(t, s.MakeHold(ctx, one, 2))
	refused(t, s.MakeHold(ctx, retention.Hold{ID: "hold_3", Org: "nobody"}, 2), fault.NotThere)
	must(t, s.MakeHold(ctx, two, 2))
	refused(t, s.MakeHold(ctx, retention.Hold{ID: "hold_4", Project: "prj_1"}, 2), fault.InvalidRequest)
	got, err := s.Holds(ctx)
	must(t, err)
	same(t, "holds", got, []retention.Hold{one, two})
	lifted, err := s.LiftHold(ctx, "hold_1", "settled")
	must(t, err)
	same(t, "lifted", lifted, one)
	_, err = s.LiftHold(ctx, "hold_1", "settled")
	refused(t, err, fault.NotThere)
	got, err = s.Holds(ctx)
	must(t, err)
	same(t, "holds", got, []retention.Hold{two})
	var entries []string
	for _, e := range wholeChain(t, s) {
		if e.Object != "prj_1" {
			entries = append(entries, string(e.Action)+" "+e.Object+" of "+e.Project+" by "+e.Actor.Key+" for "+e.Reason)
		}
	}
	same(t, "entries", entries, []string{
		"hold.create hold_1 of prj_1 by key_1 for case 1", "hold.create hold_2 of  by key_1 for case 2", "hold.lift hold_1 of prj_1 by key_1 for settled",
	})
}

// testRetentionAgainstModel deletes what is old of random exchanges: those that a loop in Go keeps are left, and questions
// are answered as if all were there, or refused.
func testRetentionAgainstModel(t *testing.T, s Store) {
	ctx := context.WithoutCancel(t.Context())
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		if run++; run > checks/2 {
			return
		}
		project := fmt.Sprintf("prj_%d", run)
		base := day.Add(time.Duration(run-200) * 100 * time.Hour)
		records := rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) *usage.Record {
			r := drawTimed(t, project, run)
			r.Time = r.Time.Add(base.Sub(day))
			return r
		}), 0, 200, func(r *usage.Record) string { return r.ID }).Draw(rt, "records")
		model := records
		var left []*usage.Record
		purge := func(limit int) {
			now := base.Add(time.Duration(rapid.IntRange(24, 99).Draw(rt, "now")) * time.Hour)
			purgeAll(rt, s, now, limit)
			left = slices.DeleteFunc(left, func(r *usage.Record) bool { return r.Time.Before(now.Add(-keep)) })
		}
		for len(records) > 0 {
			some := records[:rapid.IntRange(1, len(records)).Draw(rt, "batch")]
			records = records[len(some):]
			if err := s.AddRecords(ctx, "j", 1, some); err != nil {
				rt.Fatal(err)
			}
			left = append(left, some...)
			sumUp(rt, s, rapid.IntRange(0, 3).Draw(rt, "sum up"))
			purge(rapid.IntRange(10, 100).Draw(rt, "limit"))
		}
		purge(1000)
		f := drawFilter(rt, project)
		for _, at := range []*time.Time{&f.From, &f.To} {
			if !at.IsZero() {
				*at = at.Add(base.Sub(day))
			}
		}
		found, err := s.Records(ctx, f)
		if err != nil {
			rt.Fatal(err)
		}
		same(rt, fmt.Sprintf("%+v", f), ids(found), ids(filtered(left, f)))
		q := drawQuery(rt, project)
		for _, at := range []*time.Time{&q.From, &q.To} {
			if !at.IsZero() {
				*at = at.Add(base.Sub(day))
			}
		}
		sums, err := s.Sums(ctx, q)
		var refusal *fault.Error
		switch {
		case errors.As(err, &refusal) && refusal.Code == fault.InvalidRequest && refusal.Param == "from":
		case err != nil:
			rt.Fatal(err)
		default:
			same(rt, fmt.Sprintf("%+v", q), sums, summed(model, q))
		}
		for _, q := range []usage.Query{
			{By: []string{"hour", "model", "key", "target"}}, {By: []string{"user", "day"}}, {By: []string{"tag", "day"}}, {By: []string{"day"}},
			{By: []string{"model"}, From: base.Truncate(24 * time.Hour), To: base.Truncate(time.Hour).Add(30 * time.Hour)},
		} {
			q.Project = project
			got, err := s.Sums(ctx, q)
			if err != nil {
				rt.Fatal(err)
			}
			same(rt, fmt.Sprintf("%+v", q), got, summed(model, q))
		}
	})
}

// testRetentionAtOnce writes, sums, reads, holds and deletes at the same time: nothing is counted twice or lost, and nothing
// goes that is young.
func testRetentionAtOnce(t *testing.T, s Store) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	const batches, each = 40, 50
	var working, running sync.WaitGroup
	var mu sync.Mutex
	fail := func(err error) {
		mu.Lock()
		defer mu.Unlock()
		if err != nil && ctx.Err() == nil {
			t.Error(err)
		}
	}
	for w := range 2 {
		working.Go(func() {
			for b := range batches {
				age := map[bool]time.Duration{true: 0, false: 30 * time.Hour}[b%2 == 0]
				fail(s.AddRecords(ctx, fmt.Sprint("j", w), int64(b), aged(fmt.Sprintf("w%d", w), each, day.Add(age), time.Millisecond)))
			}
		})
	}
	for _, work := range []func() error{
		func() error { _, _, err := s.SumUp(ctx); return err },
		func() error {
			due, err := s.Due(ctx, day.Add(40*time.Hour), keep)
			for i := 0; i < len(due.Blocks) && err == nil; i++ {
				_, err = s.PurgeBlock(ctx, "a", due.Blocks[i].N, due.Policy, 100)
			}
			return err
		},
		func() error {
			sums, err := s.Sums(ctx, usage.Query{By: []string{"day"}})
			for _, one := range sums {
				if int64(one.CostNano) != 1000*one.Requests {
					return fmt.Errorf("torn: %+v", one)
				}
			}
			return err
		},
		func() error {
			h := retention.Hold{ID: fmt.Sprint("hold_", time.Now().UnixNano()), Project: "prj_2", Since: day}
			if err := s.MakeHold(ctx, h, 10); err != nil {
				return err
			}
			_, err := s.LiftHold(ctx, h.ID, "test")
			return err
		},
	} {
		running.Go(func() {
			for ctx.Err() == nil {
				fail(work())
			}
		})
	}
	working.Wait()
	stop()
	running.Wait()
	purgeAll(t, s, day.Add(40*time.Hour), 1000)
	const total = 2 * batches * each
	same(t, "left", count(t, s, usage.Filter{}), total/2)
	same(t, "left of the old", count(t, s, usage.Filter{To: day.Add(10 * time.Hour)}), 0)
	sums, err := s.Sums(t.Context(), usage.Query{By: []string{"day"}})
	must(t, err)
	got := map[string]int64{}
	for _, one := range sums {
		got[one.Group["day"]] = one.Requests
	}
	same(t, "sums", got, map[string]int64{"2026-11-24": total / 2, "2026-11-25": total / 2})
	same(t, "days", slices.Sorted(maps.Keys(got)), []string{"2026-11-24", "2026-11-25"})
}

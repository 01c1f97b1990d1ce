package storetest

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/usage"
)

// sumUp sums up to so many times.
func sumUp(t rapid.TB, s Store, times int) {
	t.Helper()
	for more := true; more && times > 0; times-- {
		var err error
		if _, more, err = s.SumUp(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
}

// all is enough for sumUp to go as far as there are records.
const all = math.MaxInt

// testSumsEqualRecords asks the same of a store whenever its sums are behind by another number of records, and of a loop in
// Go: the answers are the same.
func testSumsEqualRecords(t *testing.T, s Store) {
	ctx := context.WithoutCancel(t.Context())
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		if run++; run > checks {
			return
		}
		project := fmt.Sprintf("prj_%d", run)
		records := rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) *usage.Record { return drawTimed(t, project, run) }), 0, 200,
			func(r *usage.Record) string { return r.ID }).Draw(rt, "records")
		var mine []*usage.Record // of the one project
		for _, r := range records {
			if r.Project == project {
				mine = append(mine, r)
			}
		}
		if err := s.AddRecords(ctx, "j", 1, records); err != nil {
			rt.Fatal(err)
		}
		q := drawQuery(rt, project)
		series := usage.SeriesQuery{
			From: q.From, To: q.To, Project: project, By: rapid.SampledFrom(append([]string{""}, groups[:7]...)).Draw(rt, "series by"),
			Step: rapid.SampledFrom([]time.Duration{usage.Minute, usage.Hour, usage.Day}).Draw(rt, "step"),
		}
		late := usage.LatencyQuery{
			From: q.From, To: q.To, Project: project, Model: rapid.SampledFrom([]string{"", "", "a", "c"}).Draw(rt, "model"),
			By: rapid.Permutation([]string{"project", "model", "target", rapid.SampledFrom([]string{"day", "hour", "minute"}).Draw(rt, "late time")}).Draw(rt, "late by")[:rapid.IntRange(0, 3).Draw(rt, "late n")],
		}
		for step := 0; ; step++ {
			sums, err := s.Sums(ctx, q)
			if err != nil {
				rt.Fatal(err)
			}
			same(rt, fmt.Sprintf("step %d: %+v", step, q), sums, summed(records, q))
			points, err := s.Series(ctx, series)
			if err != nil {
				rt.Fatal(err)
			}
			same(rt, fmt.Sprintf("step %d: %+v", step, series), points, plotted(mine, series))
			latencies, err := s.Latencies(ctx, late)
			if err != nil {
				rt.Fatal(err)
			}
			same(rt, fmt.Sprintf("step %d: %+v", step, late), latencies, timed(mine, late))
			_, more, err := s.SumUp(ctx)
			if err != nil {
				rt.Fatal(err)
			}
			if !more && step > 0 {
				return
			}
		}
	})
}

func drawTimed(t *rapid.T, project string, run int) *usage.Record {
	r := drawRecord(t, project, run)
	r.Org = orgOf(project)
	if rapid.IntRange(0, 3).Draw(t, "project") == 0 {
		r.Project += "_2"
	}
	r.Time = day.Add(time.Duration(rapid.Int64Range(0, int64(75*time.Hour/time.Microsecond)).Draw(t, "micros")) * time.Microsecond)
	r.Stream = rapid.Bool().Draw(t, "stream")
	r.Timings = usage.Timings{
		TotalNS: rapid.Int64Range(0, 1e11).Draw(t, "total"), OverheadNS: rapid.Int64Range(0, 1e8).Draw(t, "overhead"),
	}
	r.Timings.FirstNS = rapid.Int64Range(0, r.Timings.TotalNS).Draw(t, "first")
	return r
}

// orgOf is the organisation of a project and of another one, so that sums over projects can be asked for.
func orgOf(project string) string { return "org_of_" + project }

// zones are as far from UTC as whole hours, halves and quarters of one.
var zones = func() []*time.Location {
	all := []*time.Location{nil, time.UTC}
	for _, name := range []string{"Europe/Berlin", "Asia/Kolkata", "Asia/Kathmandu", "America/New_York"} {
		zone, err := time.LoadLocation(name)
		if err != nil {
			panic(err)
		}
		all = append(all, zone)
	}
	return all
}()

// testZones sums by the days of zones: on the day on which clocks are set, too, and where midnight is not at a whole hour.
func testZones(t *testing.T, s Store) {
	ctx := t.Context()
	var records []*usage.Record
	for i := range 4 * 24 * 4 { // each quarter of an hour, of days of which one has 25 hours in Berlin
		r := record(fmt.Sprintf("ex_zone_%d", i))
		r.Project, r.Key, r.User = "prj_zones", "k", "u"
		r.Time = time.Date(2026, 10, 23, 12, 7, 0, 0, time.UTC).Add(time.Duration(i) * 15 * time.Minute)
		records = append(records, r)
	}
	if err := s.AddRecords(ctx, "j", 1, records); err != nil {
		t.Fatal(err)
	}
	check := func() {
		for _, zone := range zones {
			for _, by := range [][]string{{"day"}, {"day", "model"}, {"user", "day"}} {
				q := usage.Query{Project: "prj_zones", By: by, Zone: zone, From: records[9].Time, To: records[300].Time}
				got, err := s.Sums(ctx, q)
				if err != nil {
					t.Fatal(err)
				}
				same(t, fmt.Sprintf("by %v in %v", by, zone), got, summed(records, q))
			}
		}
	}
	check()
	sumUp(t, s, all)
	check()
}

// drawQuery asks for times that are whole days, hours, minutes or nothing.
func drawQuery(t *rapid.T, project string) usage.Query {
	at := func(what string) time.Time {
		if rapid.Bool().Draw(t, what+"?") {
			return time.Time{}
		}
		d := time.Duration(rapid.Int64Range(0, int64(80*time.Hour)).Draw(t, what))
		return day.Add(d).Truncate(rapid.SampledFrom([]time.Duration{usage.Day, usage.Hour, usage.Minute, time.Microsecond}).Draw(t, what+" unit"))
	}
	maybe := func(values ...string) string {
		return rapid.SampledFrom(append(values, "", "", "", "", "")).Draw(t, "choose")
	}
	whose := rapid.SampledFrom([][2]string{{"", project}, {orgOf(project), ""}, {orgOf(project), project}}).Draw(t, "whose")
	q := usage.Query{
		From: at("from"), To: at("to"), Org: whose[0], Project: whose[1],
		Key: maybe("k1", "k3"), Model: maybe("a", "c"), Target: maybe("x/a"), User: maybe("u1", "u3"), Tag: maybe("t1", "t3"),
		Zone: rapid.SampledFrom(zones).Draw(t, "zone"),
		By:   rapid.Permutation(groups).Draw(t, "by")[:rapid.IntRange(0, 4).Draw(t, "n")],

		Users: rapid.SampledFrom([][]string{nil, nil, nil, {"u1"}, {"u2", "", "u3"}, {"u3"}, {}}).Draw(t, "users"),
	}
	if rapid.Bool().Draw(t, "hours") {
		for i, by := range q.By {
			if by == "day" {
				q.By[i] = "hour"
			}
		}
	}
	return q
}

// plotted is a series by a loop.
func plotted(model []*usage.Record, q usage.SeriesQuery) (points []usage.Point) {
	by := []string{q.By}
	if q.By == "" {
		by = nil
	}
	steps := map[time.Time][]*usage.Record{}
	for _, r := range model {
		if within(r.Time, q.From, q.To) {
			at := r.Time.UTC().Truncate(q.Step)
			steps[at] = append(steps[at], r)
		}
	}
	for _, at := range slices.SortedFunc(maps.Keys(steps), time.Time.Compare) {
		for _, sum := range summed(steps[at], usage.Query{By: by}) {
			points = append(points, usage.Point{Start: at, Sum: sum})
		}
	}
	return points
}

// timed are latencies by a loop.
func timed(model []*usage.Record, q usage.LatencyQuery) (found []usage.Latency) {
	groups, latencies := map[string]map[string]string{}, map[string]*usage.Latencies{}
	for _, r := range model {
		if r.Error != nil || !within(r.Time, q.From, q.To) || q.Model != "" && q.Model != r.Model {
			continue
		}
		group := groupsOf(r, q.By, nil)[0]
		key := ""
		for _, name := range q.By {
			key += group[name] + "\x00"
		}
		if latencies[key] == nil {
			groups[key], latencies[key] = group, &usage.Latencies{}
		}
		latencies[key].Add(usage.Timed{
			Stream: r.Stream, Total: r.Timings.TotalNS, First: r.Timings.FirstNS, Overhead: r.Timings.OverheadNS, Output: r.Usage.Output,
		})
	}
	for _, key := range slices.SortedFunc(maps.Keys(groups), cmp.Compare[string]) {
		found = append(found, usage.NewLatency(groups[key], latencies[key]))
	}
	return found
}

// What a confused provider reports must not keep others from being summed: sums stay at the largest number.
func testAbsurdSums(t *testing.T, s Store) {
	var records []*usage.Record
	for i := range 40 {
		r := record(fmt.Sprintf("ex_%d", i))
		r.Model = "absurd"
		r.Usage = llm.Usage{Input: math.MaxInt64, Output: math.MaxInt64 - 1, CachedInput: 1 << 62, Reasoning: math.MinInt64, CacheWrite: 1<<32 - 1}
		r.Usage.Parts = llm.Parts{CacheWriteHour: math.MaxInt64, CacheWriteMinutes: math.MinInt64, Searches: 1<<32 - 1}
		r.CostNano = math.MaxInt64
		r.Timings.TotalNS = math.MaxInt64
		records = append(records, r)
	}
	sane := record("ex_sane")
	sane.Usage, sane.CostNano = llm.Usage{Input: 812, Output: 240}, 5
	add(t, s, append(records, sane)...)
	for range 2 {
		sums, err := s.Sums(t.Context(), usage.Query{By: []string{"model"}})
		must(t, err)
		same(t, "sums", sums, []usage.Sum{{
			Group: map[string]string{"model": "absurd"}, Requests: 40, CostNano: math.MaxInt64,
			Usage: llm.Usage{Input: math.MaxInt64, Output: math.MaxInt64, CachedInput: math.MaxInt64, CacheWrite: 40 * (1<<32 - 1), Parts: llm.Parts{CacheWriteHour: math.MaxInt64, Searches: 40 * (1<<32 - 1)}},
		}, {Group: map[string]string{"model": sane.Model}, Requests: 1, CostNano: 5, Usage: sane.Usage}})
		whole, err := s.Sums(t.Context(), usage.Query{})
		must(t, err)
		same(t, "whole", whole[0].CostNano, math.MaxInt64)
		sumUp(t, s, all)
	}
}

func testSeries(t *testing.T, s Store) {
	ctx := t.Context()
	none, err := s.Series(ctx, usage.SeriesQuery{Step: usage.Minute})
	must(t, err)
	same(t, "series of nothing", len(none), 0)
	for _, q := range []usage.SeriesQuery{
		{Step: time.Second}, {Step: 0}, {Step: usage.Hour, By: "day"}, {Step: usage.Hour, By: "colour"}, {Step: 7 * usage.Day},
	} {
		_, err := s.Series(ctx, q)
		refused(t, err, fault.InvalidRequest)
	}
	first, second := record("ex_1"), record("ex_2")
	second.Time = first.Time.Add(time.Hour)
	second.CostNano = 7
	add(t, s, second, first)
	got, err := s.Series(ctx, usage.SeriesQuery{Step: usage.Hour, By: "model"})
	must(t, err)
	same(t, "points", got, []usage.Point{
		{Start: first.Time.Truncate(time.Hour), Sum: usage.Sum{Group: map[string]string{"model": "support"}, Requests: 1}},
		{Start: second.Time.Truncate(time.Hour), Sum: usage.Sum{Group: map[string]string{"model": "support"}, Requests: 1, CostNano: 7}},
	})
}

func testLatencies(t *testing.T, s Store) {
	ctx := t.Context()
	none, err := s.Latencies(ctx, usage.LatencyQuery{})
	must(t, err)
	same(t, "latencies of nothing", len(none), 0)
	for _, by := range [][]string{{"user"}, {"tag"}, {"model", "model"}, {"org"}, {""}} {
		_, err := s.Latencies(ctx, usage.LatencyQuery{By: by})
		refused(t, err, fault.InvalidRequest)
	}
	failed := record("ex_1")
	failed.Error, failed.Timings.TotalNS = &usage.Error{Code: "x"}, 1e12
	quick := record("ex_2")
	quick.Timings = usage.Timings{TotalNS: 1_000_000, OverheadNS: 1000}
	slow := record("ex_3")
	slow.Stream, slow.Usage.Output = true, 11
	slow.Timings = usage.Timings{TotalNS: 3_000_000_000, FirstNS: 1_000_000_000, OverheadNS: 2000}
	add(t, s, failed, quick, slow)
	got, err := s.Latencies(ctx, usage.LatencyQuery{By: []string{"model"}})
	must(t, err)
	same(t, "counts", []int64{got[0].Total.Count, got[0].First.Count, got[0].Overhead.Count, got[0].PerToken.Count}, []int64{2, 1, 2, 1})
	same(t, "longest", []int64{got[0].Total.Max, got[0].First.Max, got[0].Overhead.Max, got[0].PerToken.Max},
		[]int64{3_000_000_000, 1_000_000_000, 2000, 200_000_000})
}

// Several may sum up at once, as replicas do, while records are written and read: what is read never counts a record twice
// or not at all.
func testSumsAtOnce(t *testing.T, s Store) {
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	defer stop()
	const batches, size = 30, 20
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for ctx.Err() == nil {
				if _, _, err := s.SumUp(ctx); err != nil && ctx.Err() == nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Go(func() {
		defer stop()
		last := int64(0)
		for b := range batches {
			var records []*usage.Record
			for i := range size {
				r := record(fmt.Sprintf("ex_%d_%d", b, i))
				r.Time = day.Add(time.Duration(b*i) * time.Minute)
				records = append(records, r)
			}
			if err := s.AddRecords(ctx, "j", 1, records); err != nil {
				t.Error(err)
				return
			}
			last += size
			if sums, err := s.Sums(ctx, usage.Query{To: day.Add(time.Hour * 1000)}); err != nil || sums[0].Requests != last {
				t.Errorf("%+v, %v: want %d requests", sums, err, last)
				return
			}
		}
	})
	wg.Wait()
}

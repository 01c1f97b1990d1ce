package storetest

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/usage"
	"github.com/penstock/penstock/internal/wire/w3c"
)

// testRecordsAgainstModel writes random records in random batches and asks random questions, which a loop in Go answers
// too.
func testRecordsAgainstModel(t *testing.T, s Store) {
	ctx := context.WithoutCancel(t.Context())
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		if run++; run > checks {
			return
		}
		project := fmt.Sprintf("prj_%d", run)
		var model []*usage.Record // oldest first
		one := rapid.Custom(func(t *rapid.T) *usage.Record { return drawRecord(t, project, run) })
		for range rapid.IntRange(1, 4).Draw(rt, "batches") {
			batch := rapid.SliceOfN(one, 0, 70).Draw(rt, "batch")
			if err := s.AddRecords(ctx, "j", 1, batch); err != nil {
				rt.Fatal(err)
			}
			for _, r := range batch {
				if !slices.ContainsFunc(model, func(m *usage.Record) bool { return m.ID == r.ID }) {
					model = append(model, r)
				}
			}
		}
		sumUp(rt, s, rapid.IntRange(0, 20).Draw(rt, "sum up"))
		f := drawFilter(rt, project)
		got, err := s.Records(ctx, f)
		if err != nil {
			rt.Fatal(err)
		}
		same(rt, fmt.Sprintf("%+v", f), ids(got), ids(filtered(model, f)))

		q := usage.Query{From: f.From, To: f.To, Project: project, By: rapid.Permutation(groups).Draw(rt, "by")[:rapid.IntRange(0, 3).Draw(rt, "n")]}
		sums, err := s.Sums(ctx, q)
		if err != nil {
			rt.Fatal(err)
		}
		same(rt, fmt.Sprintf("%+v", q), sums, summed(model, q))
	})
}

var groups = []string{"org", "project", "key", "user", "model", "target", "tag", "day"}

var traces = []w3c.TraceID{{}, {}, {15: 1}, {0: 1}}

func drawRecord(t *rapid.T, project string, run int) *usage.Record {
	r := record(fmt.Sprintf("ex_%d_%d", run, rapid.IntRange(0, 300).Draw(t, "id")))
	r.Project = project
	r.Time = day.Add(time.Duration(rapid.IntRange(0, 3*24*60).Draw(t, "minute")) * time.Minute)
	r.Key = rapid.SampledFrom([]string{"k1", "k2"}).Draw(t, "key")
	r.Model = rapid.SampledFrom([]string{"a", "b", ""}).Draw(t, "model")
	r.User = rapid.SampledFrom([]string{"", "u1", "u2"}).Draw(t, "user")
	r.Target = rapid.SampledFrom([]string{"", "x/a", "x/b"}).Draw(t, "target")
	r.Tags = rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"t1", "t2"}), 0, 2, rapid.ID[string]).Draw(t, "tags")
	r.Status = rapid.SampledFrom([]int{200, 200, 200, 400, 429, 502}).Draw(t, "status")
	if r.Status >= 400 || rapid.IntRange(0, 9).Draw(t, "cut") == 0 {
		r.Error = &usage.Error{Code: "x"}
	}
	r.Usage = llm.Usage{
		Input: rapid.Int64Range(0, 1000).Draw(t, "input"), Output: rapid.Int64Range(0, 1000).Draw(t, "output"),
		CachedInput: rapid.Int64Range(0, 9).Draw(t, "cached"), CacheWrite: rapid.Int64Range(0, 9).Draw(t, "write"),
		Reasoning: rapid.Int64Range(0, 9).Draw(t, "reasoning"), Estimated: rapid.Bool().Draw(t, "estimated"),
	}
	if rapid.IntRange(0, 3).Draw(t, "parts?") == 0 {
		for i, part := range r.Usage.Parts.All() {
			*part = rapid.Int64Range(0, 9).Draw(t, llm.PartNames[i])
		}
	}
	outcome := rapid.SampledFrom([]pipeline.Outcome{pipeline.SettledActual, pipeline.SettledEstimated, pipeline.Released, pipeline.Unknown})
	for range rapid.IntRange(0, 2).Draw(t, "tries") {
		r.Tries = append(r.Tries, pipeline.Try{Outcome: outcome.Draw(t, "outcome")})
	}
	r.Trace = rapid.SampledFrom(traces).Draw(t, "trace")
	r.CostNano, r.Unpriced = llm.Money(rapid.Int64Range(0, 1e9).Draw(t, "cost")), rapid.Bool().Draw(t, "unpriced")
	return r
}

func drawFilter(t *rapid.T, project string) usage.Filter {
	f := usage.Filter{Project: project, Limit: rapid.IntRange(1, 300).Draw(t, "limit")}
	maybe := func(values ...string) string { return rapid.SampledFrom(append(values, "", "", "")).Draw(t, "filter") }
	f.Key, f.Model, f.Target, f.User, f.Tag = maybe("k1", "k3"), maybe("a", "c"), maybe("x/a"), maybe("u1"), maybe("t1", "t3")
	f.Trace = rapid.SampledFrom(traces).Draw(t, "filter")
	f.Status = maybe("ok", "error", "4xx", "5xx", "200", "429")
	if rapid.Bool().Draw(t, "from?") {
		f.From = day.Add(time.Duration(rapid.IntRange(0, 72).Draw(t, "from")) * time.Hour)
	}
	if rapid.Bool().Draw(t, "to?") {
		f.To = day.Add(time.Duration(rapid.IntRange(0, 72).Draw(t, "to")) * time.Hour)
	}
	return f
}

func filtered(model []*usage.Record, f usage.Filter) (found []*usage.Record) {
	is := func(want, have string) bool { return want == "" || want == have }
	for _, r := range slices.Backward(model) {
		if is(f.Project, r.Project) && is(f.Key, r.Key) && is(f.Model, r.Model) && is(f.Target, r.Target) && is(f.User, r.User) &&
			(f.Trace.IsZero() || f.Trace == r.Trace) && (f.Tag == "" || slices.Contains(r.Tags, f.Tag)) && hasStatus(r, f.Status) && within(r.Time, f.From, f.To) && len(found) < f.Limit {
			found = append(found, r)
		}
	}
	return found
}

func within(t, from, to time.Time) bool {
	return (from.IsZero() || !t.Before(from)) && (to.IsZero() || t.Before(to))
}

func hasStatus(r *usage.Record, want string) bool {
	failed := r.Error != nil || r.Status >= 400
	return want == "" || want == fmt.Sprint(r.Status) || want == fmt.Sprintf("%dxx", r.Status/100) ||
		want == "ok" && !failed || want == "error" && failed
}

// groupsOf are the groups that a record belongs to: one, but for one with several tags.
func groupsOf(r *usage.Record, by []string, zone *time.Location) []map[string]string {
	tags := []string{""}
	if slices.Contains(by, "tag") && len(r.Tags) > 0 {
		tags = r.Tags
	}
	if zone == nil {
		zone = time.UTC
	}
	var all []map[string]string
	for _, tag := range tags {
		values := map[string]string{
			"org": r.Org, "project": r.Project, "key": r.Key, "user": r.User, "model": r.Model, "target": r.Target,
			"tag": tag, "day": r.Time.In(zone).Format(time.DateOnly), "hour": r.Time.UTC().Truncate(time.Hour).Format(time.RFC3339),
			"minute": r.Time.UTC().Truncate(time.Minute).Format(time.RFC3339),
		}
		maps.DeleteFunc(values, func(name, _ string) bool { return !slices.Contains(by, name) })
		all = append(all, values)
	}
	return all
}

// asks reports whether a query chooses a record.
func asks(q usage.Query, r *usage.Record) bool {
	is := func(want, have string) bool { return want == "" || want == have }
	return is(q.Org, r.Org) && is(q.Project, r.Project) && is(q.Key, r.Key) && is(q.Model, r.Model) && is(q.Target, r.Target) && is(q.User, r.User) &&
		(q.Tag == "" || slices.Contains(r.Tags, q.Tag)) && (q.User != "" || q.Users == nil || slices.Contains(q.Users, r.User))
}

func summed(model []*usage.Record, q usage.Query) []usage.Sum {
	sums := map[string]*usage.Sum{}
	text := func(group map[string]string) string {
		var parts []string
		for _, name := range q.By {
			parts = append(parts, group[name])
		}
		return strings.Join(parts, "\x00")
	}
	if len(q.By) == 0 {
		sums[""] = &usage.Sum{Group: map[string]string{}}
	}
	for _, r := range model {
		if !within(r.Time, q.From, q.To) || !asks(q, r) {
			continue
		}
		for _, group := range groupsOf(r, q.By, q.Zone) {
			if q.Tag != "" && slices.Contains(q.By, "tag") && group["tag"] != q.Tag {
				continue
			}
			sum := sums[text(group)]
			if sum == nil {
				sum = &usage.Sum{Group: group}
				sums[text(group)] = sum
			}
			sum.Requests++
			if r.Error != nil {
				sum.Errors++
			}
			sum.Usage = sum.Usage.Add(r.Usage)
			sum.CostNano += r.CostNano
			if r.Unpriced {
				sum.Unpriced++
			}
			if slices.ContainsFunc(r.Tries, func(t pipeline.Try) bool { return t.Outcome == pipeline.Unknown }) {
				sum.Unknown++
			}
		}
	}
	var all []usage.Sum
	for _, k := range slices.SortedFunc(maps.Keys(sums), cmp.Compare[string]) {
		all = append(all, *sums[k])
	}
	return all
}

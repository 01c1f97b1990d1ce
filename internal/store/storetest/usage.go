package storetest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/auth"
	"github.com/penstock/penstock/internal/catalog"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/usage"
	"github.com/penstock/penstock/internal/wire/w3c"
)

// record is an exchange that was answered.
func record(id string) *usage.Record {
	return &usage.Record{
		ID: id, Time: day, Org: "default", Project: "prj_1", Key: "key_1", Model: "support", Target: "openai/gpt-5",
		Op: llm.OpChat, Dialect: llm.OpenAI, Status: 200, Tags: []string{}, Tries: []pipeline.Try{}, Stages: []pipeline.Decision{},
	}
}

// whole is a record in which everything is said.
func whole(id string) *usage.Record {
	r := record(id)
	r.User, r.Stream, r.Status = "user-1", true, 502
	r.Error = &usage.Error{Code: "provider_failed", Message: `2 targets tried: "é"`, Detail: "dial: <refused>"}
	r.Usage = llm.Usage{Input: 812, Output: 240, CachedInput: 100, CacheWrite: 7, Reasoning: 50, Estimated: true}
	r.CostNano, r.Unpriced = 2_012_000, true
	r.Timings = usage.Timings{TotalNS: 1_553_000_000, FirstNS: 238_000_000, OverheadNS: 900_000}
	r.Trace, r.ParentSpan = w3c.TraceID{0x4b, 15: 0x36}, w3c.SpanID{7: 0xb7}
	r.Tags, r.ClientID, r.Replayed = []string{"team-a", "é"}, "their-id", true
	r.Tries = []pipeline.Try{{
		ID: "try_1", Target: "openai/gpt-5", StartNS: 1, TookNS: 2, FirstNS: 3, Status: 429, Reason: "status", Detail: "slow down",
		Upstream: "req_1", Outcome: pipeline.Released, Usage: llm.Usage{Input: 1}, CostNano: 5, Unpriced: true,
	}, {ID: "try_2", Target: "claude/haiku", Reason: "ok", Outcome: pipeline.SettledActual}}
	r.Stages = []pipeline.Decision{{Stage: "auth", Decision: "key trial"}, {Stage: "route", Decision: "1 of 2", TookNS: 9}}
	return r
}

func add(t testing.TB, s Store, records ...*usage.Record) {
	t.Helper()
	must(t, s.AddRecords(context.WithoutCancel(t.Context()), "j", 1, records))
}

func testRecords(t *testing.T, s Store) {
	want := []*usage.Record{whole("ex_1"), record("ex_2")}
	add(t, s, want...)
	for _, w := range want {
		got, err := s.Record(t.Context(), "", w.ID)
		must(t, err)
		same(t, w.ID, got, w)
	}
	got, err := s.Records(t.Context(), usage.Filter{})
	must(t, err)
	same(t, "newest first", got, []*usage.Record{want[1], want[0]})
	_, err = s.Record(t.Context(), "", "ex_3")
	refused(t, err, fault.RecordNotFound)
}

// An exchange of another project is not there, in words that are the same as for one that is nowhere.
func testRecordsAreWalls(t *testing.T, s Store) {
	ctx := t.Context()
	mine, theirs := record("ex_1"), record("ex_2")
	theirs.Project = "prj_2"
	add(t, s, mine, theirs)
	_, err := s.Record(ctx, "prj_1", "ex_1")
	must(t, err)
	for _, project := range []string{"prj_1", "prj_9"} {
		_, foreign := s.Record(ctx, project, "ex_2")
		_, nowhere := s.Record(ctx, project, "ex_9")
		refused(t, foreign, fault.RecordNotFound)
		refused(t, nowhere, fault.RecordNotFound)
		same(t, "words", strings.ReplaceAll(fault.From(foreign).Text(), "ex_2", "ex_9"), fault.From(nowhere).Text())
	}
	got, err := s.Records(ctx, usage.Filter{Project: "prj_1"})
	must(t, err)
	same(t, "list", got, []*usage.Record{mine})
	_, err = s.Records(ctx, usage.Filter{Project: "prj_1", After: "ex_2"})
	refused(t, err, fault.RecordNotFound)
	sums, err := s.Sums(ctx, usage.Query{Project: "prj_1"})
	must(t, err)
	same(t, "sum", sums[0].Requests, 1)
}

func testRecordsTwice(t *testing.T, s Store) {
	ctx := t.Context()
	first, again := record("ex_1"), record("ex_1")
	first.CostNano, again.CostNano = 5, 7
	first.Tags, again.Tags = []string{"a", "a"}, []string{"b"}
	add(t, s, first, again)                                 // in one batch
	add(t, s, again, record("ex_2"), again, record("ex_3")) // and in the next, among new ones
	got, err := s.Records(ctx, usage.Filter{})
	must(t, err)
	same(t, "records", got, []*usage.Record{record("ex_3"), record("ex_2"), first})
	sums, err := s.Sums(ctx, usage.Query{})
	must(t, err)
	same(t, "requests", sums[0].Requests, 3)
	same(t, "cost", sums[0].CostNano, 5)
	for tag, want := range map[string]int{"a": 1, "b": 0} {
		tagged, err := s.Records(ctx, usage.Filter{Tag: tag})
		must(t, err)
		same(t, "tagged "+tag, len(tagged), want)
	}
}

// Pages are cut at what was written, so that an exchange that ends late cannot slip in behind a reader.
func testRecordsInOrder(t *testing.T, s Store) {
	ctx := t.Context()
	var want []string
	for i := range 2500 { // more than two blocks
		id := fmt.Sprintf("ex_%05d", i)
		want = append(want, id)
	}
	for batch := range slices.Chunk(want, 333) {
		var records []*usage.Record
		for _, id := range batch {
			records = append(records, record(id))
		}
		add(t, s, records...)
	}
	var got []string
	f := usage.Filter{Limit: 700}
	for {
		page, err := s.Records(ctx, f)
		must(t, err)
		for _, r := range page {
			got = append(got, r.ID)
		}
		if len(page) < f.Limit {
			break
		}
		f.After = page[len(page)-1].ID
		late := record("ex_late" + f.After)
		late.Time = day.Add(-time.Hour)
		add(t, s, late)
	}
	slices.Reverse(want)
	same(t, "ids", got, want)
	page, err := s.Records(ctx, usage.Filter{})
	must(t, err)
	same(t, "default limit", len(page), 50)
	_, err = s.Records(ctx, usage.Filter{After: "ex_none"})
	refused(t, err, fault.RecordNotFound)
}

func testJournalPositions(t *testing.T, s Store) {
	ctx := t.Context()
	at := func(journal string, want int64) {
		t.Helper()
		got, err := s.ReadUpTo(ctx, journal)
		must(t, err)
		same(t, journal, got, want)
	}
	at("a", 0)
	must(t, s.AddRecords(ctx, "a", 1000, []*usage.Record{record("ex_1")}))
	must(t, s.AddRecords(ctx, "b", 5, nil))
	at("a", 1000)
	at("b", 5)
	must(t, s.AddRecords(ctx, "a", 10, nil)) // a journal that was lost begins anew
	at("a", 10)

	gone, cancel := context.WithCancel(ctx)
	cancel()
	if err := s.AddRecords(gone, "a", 2000, []*usage.Record{record("ex_2")}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	at("a", 10)
	_, err := s.Record(ctx, "", "ex_2")
	refused(t, err, fault.RecordNotFound)
}

// One record must not keep all others from being written.
func testOddRecords(t *testing.T, s Store) {
	odd := record("ex_1")
	odd.Model, odd.User = "a\xff\xfeb", "nul\x00nul"
	odd.Error = &usage.Error{Message: "\xc3\x28 \u202e \x1b[31m"}
	odd.Status, odd.Time = 0, time.Time{}
	odd.Usage = llm.Usage{Input: math.MaxInt64, Output: -1}
	odd.Timings.TotalNS = math.MinInt64
	odd.Tags = []string{"", "\x00", strings.Repeat("x", 100_000)}
	large := record("ex_2")
	large.Stages = []pipeline.Decision{{Stage: "route", Decision: strings.Repeat("<&>", 1<<20)}}
	empty := &usage.Record{ID: "ex_3"}
	add(t, s, odd, large, empty, record("ex_4"))
	for _, id := range []string{"ex_1", "ex_2", "ex_3", "ex_4"} {
		if _, err := s.Record(t.Context(), "", id); err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
	got, err := s.Record(t.Context(), "", "ex_2")
	must(t, err)
	same(t, "large", got, large)
}

func testFilters(t *testing.T, s Store) {
	ctx := t.Context()
	one := func(id string, minutes int, change func(*usage.Record)) {
		r := record(id)
		r.Time = day.Add(time.Duration(minutes) * time.Minute)
		change(r)
		add(t, s, r)
	}
	failed := func(status int) func(*usage.Record) {
		return func(r *usage.Record) { r.Status, r.Error = status, &usage.Error{Code: "x"} }
	}
	one("1", 1, func(r *usage.Record) { r.Key = "key_2" })
	one("2", 2, func(r *usage.Record) { r.Model, r.Target = "embed", "" })
	one("3", 3, func(r *usage.Record) { r.User, r.Tags = "u", []string{"t1", "t2"} })
	one("4", 4, failed(429))
	one("5", 5, failed(502))
	one("6", 6, func(r *usage.Record) { r.Error = &usage.Error{Code: "stream_interrupted"} }) // cut behind its 200
	one("7", 7, func(r *usage.Record) { r.Project, r.Tags = "prj_2", []string{"t1"} })
	for _, tt := range []struct {
		f    usage.Filter
		want string
	}{
		{usage.Filter{}, "7 6 5 4 3 2 1"},
		{usage.Filter{Limit: 2}, "7 6"},
		{usage.Filter{Limit: 2, After: "6"}, "5 4"},
		{usage.Filter{After: "1"}, ""},
		{usage.Filter{Key: "key_2"}, "1"},
		{usage.Filter{Model: "embed"}, "2"},
		{usage.Filter{Target: "openai/gpt-5"}, "7 6 5 4 3 1"},
		{usage.Filter{User: "u"}, "3"},
		{usage.Filter{Tag: "t1"}, "7 3"},
		{usage.Filter{Tag: "t2"}, "3"},
		{usage.Filter{Tag: "t1", Project: "prj_2"}, "7"},
		{usage.Filter{Tag: "t2", Project: "prj_2"}, ""},
		{usage.Filter{Status: "ok"}, "7 3 2 1"},
		{usage.Filter{Status: "error"}, "6 5 4"},
		{usage.Filter{Status: "200"}, "7 6 3 2 1"},
		{usage.Filter{Status: "2xx"}, "7 6 3 2 1"},
		{usage.Filter{Status: "429"}, "4"},
		{usage.Filter{Status: "4xx"}, "4"},
		{usage.Filter{Status: "5xx"}, "5"},
		{usage.Filter{Status: "503"}, ""},
		{usage.Filter{Status: "3xx"}, ""},
		{usage.Filter{From: day.Add(5 * time.Minute)}, "7 6 5"},
		{usage.Filter{To: day.Add(3 * time.Minute)}, "2 1"},
		{usage.Filter{From: day.Add(2 * time.Minute), To: day.Add(4 * time.Minute), Project: "prj_1"}, "3 2"},
		{usage.Filter{From: day.Add(time.Hour)}, ""},
		{usage.Filter{Model: "429"}, ""}, // a word of another column
		{usage.Filter{User: "prj_1"}, ""},
		{usage.Filter{Model: "nowhere"}, ""},
	} {
		got, err := s.Records(ctx, tt.f)
		must(t, err)
		same(t, fmt.Sprintf("%+v", tt.f), ids(got), tt.want)
	}
	for _, status := range []string{"bad", "99", "600", "6xx", "4XX", "-1", "4xxx", "' OR 1=1"} {
		_, err := s.Records(ctx, usage.Filter{Status: status})
		refused(t, err, fault.InvalidRequest)
	}
}

func ids(records []*usage.Record) string {
	var all []string
	for _, r := range records {
		all = append(all, r.ID)
	}
	return strings.Join(all, " ")
}

func testSums(t *testing.T, s Store) {
	ctx := t.Context()
	empty, err := s.Sums(ctx, usage.Query{})
	must(t, err)
	same(t, "sum of nothing", empty, []usage.Sum{{}})
	for _, by := range groups {
		none, err := s.Sums(ctx, usage.Query{By: []string{by}})
		must(t, err)
		same(t, "sum of nothing by "+by, len(none), 0)
	}
	elsewhere, err := s.Sums(ctx, usage.Query{Project: "prj_none"})
	must(t, err)
	same(t, "sum of no project", elsewhere, []usage.Sum{{}})

	midnight := time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC)
	before, after := record("ex_1"), record("ex_2")
	before.Time, after.Time = midnight.Add(-time.Microsecond), midnight
	before.CostNano, after.CostNano = 1, 2
	add(t, s, before, after)
	days, err := s.Sums(ctx, usage.Query{By: []string{"day"}})
	must(t, err)
	same(t, "days", days, []usage.Sum{
		{Group: map[string]string{"day": "2026-11-24"}, Requests: 1, CostNano: 1},
		{Group: map[string]string{"day": "2026-11-25"}, Requests: 1, CostNano: 2},
	})
	for _, by := range [][]string{{"colour"}, {"model", "model"}, {""}, {"cost_nano"}, {"1; DROP TABLE names"}} {
		_, err := s.Sums(ctx, usage.Query{By: by})
		refused(t, err, fault.InvalidRequest)
	}
}

func testReadersWhileWriting(t *testing.T, s Store) {
	ctx := t.Context()
	const batches, size = 40, 25
	var wg sync.WaitGroup
	done := make(chan struct{})
	for range 3 {
		wg.Go(func() {
			for last := int64(0); ; {
				sums, err := s.Sums(ctx, usage.Query{})
				if err != nil {
					t.Error(err)
					return
				}
				n := sums[0].Requests
				if n < last || n%size != 0 {
					t.Errorf("%d requests behind %d: a batch was seen in part", n, last)
					return
				}
				last = n
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for b := range batches {
		var records []*usage.Record
		for i := range size {
			records = append(records, record(fmt.Sprintf("ex_%d_%d", b, i)))
		}
		add(t, s, records...)
	}
	close(done)
	wg.Wait()
	sums, err := s.Sums(ctx, usage.Query{})
	must(t, err)
	same(t, "requests", sums[0].Requests, batches*size)
}

// Control 4 of security.md: what callers and operators send is data, wherever it ends up.
func testHostileText(t *testing.T, s Store) {
	ctx := t.Context()
	must(t, s.CreateProject(ctx, project("prj_1", "default", "checkout")))
	must(t, s.CreateKey(ctx, key("key_1", "prj_1", "trial")))
	add(t, s, record("ex_1"))
	for i, text := range []string{
		"' OR '1'='1", `" OR ""="`, "'; DROP TABLE api_keys; --", "' UNION SELECT 1--", "x') ON CONFLICT DO NOTHING; --", "?", "?1", "$1",
		":a", "%", "_", "\\", "NULL", "a\x00' OR 1=1", "\u0027", "${jndi:ldap://x}", "%s%n", strings.Repeat("'", 10_000), random(),
	} {
		_, err := s.FindProject(ctx, text, "checkout")
		refused(t, err, fault.NotThere)
		_, err = s.FindProject(ctx, "", text)
		refused(t, err, fault.NotThere)
		_, err = s.FindKey(ctx, text)
		refused(t, err, fault.NotThere)
		_, err = s.RevokeKey(ctx, text, day)
		refused(t, err, fault.NotThere)
		must(t, s.TouchKeys(ctx, map[string]time.Time{text: day}))
		keys, err := s.Keys(ctx, text, "", 10)
		must(t, err)
		same(t, text, len(keys), 0)
		_, err = s.Record(ctx, text, "ex_1")
		refused(t, err, fault.RecordNotFound)
		_, err = s.Record(ctx, "", text)
		refused(t, err, fault.RecordNotFound)
		for _, f := range []usage.Filter{{Project: text}, {Key: text}, {Model: text}, {Target: text}, {User: text}, {Tag: text}} {
			got, err := s.Records(ctx, f)
			must(t, err)
			same(t, fmt.Sprintf("%+v", f), len(got), 0)
		}
		_, err = s.Sums(ctx, usage.Query{By: []string{text}})
		refused(t, err, fault.InvalidRequest)

		// And it can be kept like any other. What tenants are called has no zero bytes, which package auth sees to; texts of
		// callers may have them.
		kept := strings.ReplaceAll(text, "\x00", "")
		id := fmt.Sprintf("prj_%d%s", i, kept)
		p := project(id, kept+"o", kept)
		p.Labels = map[string]string{kept: kept}
		must(t, s.CreateProject(ctx, p))
		k := key("key_"+id, id, kept)
		k.Models = []string{kept}
		must(t, s.CreateKey(ctx, k))
		must(t, s.SetPrices(ctx, []catalog.Override{{Target: llm.Target{Provider: kept, Model: kept}, Source: kept}}))
		r := record("ex_" + id)
		r.Project, r.User, r.Model, r.Tags = id, text, text+"m", []string{text + "t"}
		must(t, s.AddRecords(ctx, text, 7, []*usage.Record{r}))
		for _, f := range []usage.Filter{{Project: id}, {User: text}, {Model: text + "m"}, {Tag: text + "t"}} {
			got, err := s.Records(ctx, f)
			must(t, err)
			same(t, "kept", ids(got), r.ID)
		}
		got, err := s.FindKey(ctx, k.ID)
		must(t, err)
		same(t, "kept", got, k)
	}
	_, err := s.FindKey(ctx, "key_1")
	must(t, err)
}

func testContexts(t *testing.T, s Store) {
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	late, stop := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer stop()
	for want, ctx := range map[error]context.Context{context.Canceled: gone, context.DeadlineExceeded: late} {
		calls := map[string]error{
			"CreateProject": s.CreateProject(ctx, project("prj_1", "a", "a")),
			"SetPrices":     s.SetPrices(ctx, []catalog.Override{{}}),
			"AddRecords":    s.AddRecords(ctx, "j", 1, []*usage.Record{record("ex_1")}),
			"TouchKeys":     s.TouchKeys(ctx, map[string]time.Time{"key_1": day}),
		}
		_, calls["KeyVersion"] = s.KeyVersion(ctx)
		_, _, _, calls["AllKeys"] = s.AllKeys(ctx)
		_, calls["Records"] = s.Records(ctx, usage.Filter{})
		_, calls["Record"] = s.Record(ctx, "", "ex_1")
		_, calls["Sums"] = s.Sums(ctx, usage.Query{})
		_, calls["Prices"] = s.Prices(ctx)
		_, calls["ReadUpTo"] = s.ReadUpTo(ctx, "j")
		_, _, calls["AdminKeyHash"] = s.AdminKeyHash(ctx, auth.Hash{1})
		for name, err := range calls {
			if !errors.Is(err, want) {
				t.Errorf("%s: got %v, want %v", name, err, want)
			}
		}
	}
	must(t, s.CreateProject(t.Context(), project("prj_1", "a", "a"))) // and the store goes on
}

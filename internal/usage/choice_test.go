package usage

import (
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
)

func TestWordsOfAChoice(t *testing.T) {
	t.Parallel()
	const why = "region us-east, the project wants eu"
	for _, c := range []struct {
		name   string
		choice pipeline.Choice
		policy string
		score  string // the head
		rows   []string
	}{
		{"fastest", pipeline.Choice{Policy: "fastest", Candidates: []pipeline.Candidate{
			{Target: "a/m", Score: 0.4242, Probability: 1}, {Target: "b/m@10.0.0.7:8000", Score: 61.5}, {Target: "c/m", Excluded: why, Score: 3, Probability: 1},
		}}, "fastest", "expected time", []string{"a/m|yes||424 ms|100 %", "b/m@10.0.0.7:8000|yes||1 m 1 s|0 %", "c/m|no|" + why + "|–|–"}},
		{"cheapest", pipeline.Choice{Policy: "cheapest", Rule: "night", Candidates: []pipeline.Candidate{
			{Target: "a/m", Score: 2_012_000.4, Probability: 0.9996}, {Target: "b/m"},
		}}, "cheapest by the rule night", "cost", []string{"a/m|yes||$0.00201|99.9 %", "b/m|yes||–|0 %"}},
		{"weighted", pipeline.Choice{Policy: "weighted", Candidates: []pipeline.Candidate{
			{Target: "a/m", Score: 3, Probability: 0.75}, {Target: "b/m", Score: 1, Probability: 0.25}, {Target: "c/m"},
		}}, "weighted", "weight", []string{"a/m|yes||3|75.0 %", "b/m|yes||1|25.0 %", "c/m|yes||0|0 %"}},
		{"the only one left", pipeline.Choice{Policy: "weighted", Candidates: []pipeline.Candidate{
			{Target: "a/m", Probability: 1}, {Target: "b/m", Excluded: why},
		}}, "weighted", "weight", []string{"a/m|yes||–|100 %", "b/m|no|" + why + "|–|–"}},
		{"another version's", pipeline.Choice{Policy: "best", Candidates: []pipeline.Candidate{
			{Target: "a/m", Score: math.Inf(1), Probability: math.NaN()}, {Target: "b/m", Score: 1e300, Probability: 2}, {Target: "c/m", Score: 0.5},
		}}, "best", "score", []string{"a/m|yes||–|0 %", "b/m|yes||–|100 %", "c/m|yes||0.5|0 %"}},
	} {
		r := &Record{Choice: &c.choice, Stages: []pipeline.Decision{
			{Stage: "auth", Decision: "key"}, {Stage: "route", Decision: "the rule x could not be worked out"}, {Stage: "route", Decision: c.choice.Policy + ", 2 of 3"},
			{Stage: "route", Decision: "waited for a/m"},
		}}
		v := r.ChoiceView()
		var rows []string
		for _, row := range v.Rows {
			rows = append(rows, strings.Join(row.Cells(), "|"))
		}
		if d := cmp.Diff(c.rows, rows); d != "" || v.Policy != c.policy || v.Head[3] != c.score || v.Plain || v.Stage != 2 {
			t.Errorf("%s: %q %q plain %v, at %d\n%s", c.name, v.Policy, v.Head, v.Plain, v.Stage, d)
		}
	}
	if v := (&Record{}).ChoiceView(); v != nil {
		t.Errorf("nothing to choose: %+v", v)
	}
}

// A list says nothing more of a failover where nobody was left out and the first was the first.
func TestPlainChoices(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		want  bool
		alter func(*pipeline.Choice)
	}{
		{"failover", true, func(*pipeline.Choice) {}},
		{"a rule", false, func(c *pipeline.Choice) { c.Rule = "night" }},
		{"left out", false, func(c *pipeline.Choice) { c.Candidates[1].Excluded = "ejected" }},
		{"recovers", false, func(c *pipeline.Choice) { c.Candidates[0].Probability, c.Candidates[1].Probability = 0.1, 0.9 }},
		{"probed", false, func(c *pipeline.Choice) { c.Candidates[0].Probability, c.Candidates[1].Probability = 0, 1 }},
		{"another policy", false, func(c *pipeline.Choice) { c.Policy = "fastest" }},
	} {
		r := &Record{Choice: &pipeline.Choice{Policy: "failover", Candidates: []pipeline.Candidate{{Target: "a/m", Score: 1, Probability: 1}, {Target: "b/m", Score: 2}}}}
		c.alter(r.Choice)
		if got := r.ChoiceView().Plain; got != c.want {
			t.Errorf("%s: plain %v", c.name, got)
		}
	}
}

// Who was outrun did not fail.
func TestWordsOfARace(t *testing.T) {
	t.Parallel()
	ok := pipeline.Try{Target: "a/m", Reason: "ok", Finish: []llm.FinishReason{"length"}}
	outrun := pipeline.Try{Target: "b/m", Reason: "canceled"}
	hedge := func(t pipeline.Try) pipeline.Try { t.Hedge = true; return t }
	failed := pipeline.Try{Target: "c/m", Reason: "status", Status: 503}
	for _, c := range []struct {
		name    string
		tries   []pipeline.Try
		status  string
		story   []string
		without string
	}{
		{"the hedge was first", []pipeline.Try{outrun, hedge(ok)}, "200", []string{"b/m was late with its first token, so a/m was asked beside it, and was first.", "limit of tokens"}, "failed"},
		{"the hedge was late", []pipeline.Try{ok, hedge(outrun)}, "200", []string{"The first token was late, so b/m was asked beside it, and was later still.", "limit of tokens"}, "failed"},
		{"the other failed", []pipeline.Try{failed, hedge(ok)}, "200 after one failure", []string{"c/m failed (503), so a/m answered."}, "late"},
		{"no race", []pipeline.Try{ok}, "200", []string{"Answered at the first try."}, "late"},
	} {
		r := &Record{Status: 200, Target: "a/m", Tries: c.tries}
		if got := r.StatusWords(); got != c.status {
			t.Errorf("%s: %q", c.name, got)
		}
		story := r.Story()
		for _, want := range c.story {
			if !strings.Contains(story, want) || strings.Contains(story, c.without) {
				t.Errorf("%s: %q, want %q in it", c.name, story, want)
			}
		}
	}
	try := hedge(outrun)
	try.Endpoint, try.Credential = "10.0.0.7:8000", 2
	if got := WayWords(&try); !strings.HasPrefix(got, "hedge: ") || !strings.HasSuffix(got, ", server 10.0.0.7:8000, credential 2") || WayWords(&ok) != "" {
		t.Errorf("%q", got)
	}
}

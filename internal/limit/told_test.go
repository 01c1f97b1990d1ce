package limit

import (
	"context"
	"errors"
	"maps"
	"testing"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
)

// TestStanding: of whom neither model nor end user is known, the limits are told that hold for all of them, and nothing is taken.
func TestStanding(t *testing.T) {
	t.Parallel()
	requests := func(amount int64) Rate { return Rate{Measure: Requests, Amount: amount, Mode: Enforce} }
	prj := func(s Scope) Scope { s.Project = "prj"; return s }
	for name, c := range map[string]struct {
		limits  []Limit
		tier    Assignment
		nobody  int64 // of the standing of requests, 0 is none
		ann     int64 // of a refused call of ann for m
		without int64 // of a refused call without an end user for m
	}{
		"none":                      {},
		"of the project":            {limits: []Limit{{ID: "a", Scope: prj(Scope{}), Rate: requests(5)}}, nobody: 5, ann: 5, without: 5},
		"of another project":        {limits: []Limit{{ID: "a", Scope: Scope{Project: "other"}, Rate: requests(5)}}},
		"of a model":                {limits: []Limit{{ID: "a", Scope: prj(Scope{Model: "m"}), Rate: requests(5)}}, ann: 5, without: 5},
		"of an end user":            {limits: []Limit{{ID: "a", Scope: prj(Scope{User: "ann"}), Rate: requests(5)}}, ann: 5},
		"of each end user":          {limits: []Limit{{ID: "a", Scope: prj(Scope{User: Each}), Rate: requests(5)}}, ann: 5, without: 5},
		"of a tier of the project":  {tier: Assignment{Project: "prj"}, nobody: 7, ann: 7, without: 7},
		"of a tier of each of them": {tier: Assignment{Project: "prj", User: Each}, ann: 7, without: 7},
	} {
		d := Definitions{Version: 1, Limits: c.limits, Tiers: []Tier{{Name: "t", Rates: []Rate{requests(7)}}}}
		if c.tier.Project != "" {
			c.tier.Tier = "t"
			d.Assigned = []Assignment{c.tier}
		}
		l := onBench(t, d)
		caller := &pipeline.Caller{Org: "org", Project: "prj", Key: "key"}
		left := func(a pipeline.Allowance) int64 {
			if a == nil {
				return 0
			}
			all := a.Rates(nil)
			if len(all) != 1 || all[0].Measure != "requests" || all[0].Left != all[0].Limit {
				t.Fatalf("%s: %+v", name, all)
			}
			return all[0].Left
		}
		refused := func(r *llm.Request) int64 {
			x := &pipeline.Exchange{Caller: caller, Request: r}
			no := errors.New("no")
			if _, err := l.Told()(func(context.Context, *pipeline.Exchange) (*llm.Response, error) { return nil, no })(t.Context(), x); !errors.Is(err, no) {
				t.Fatal(err)
			}
			return left(x.Allowance)
		}
		got := map[string]int64{"nobody": left(l.Standing(caller)), "not understood": refused(nil), "ann": refused(&llm.Request{Model: "m", User: "ann"}), "without": refused(&llm.Request{Model: "m"})}
		if want := map[string]int64{"nobody": c.nobody, "not understood": c.nobody, "ann": c.ann, "without": c.without}; !maps.Equal(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

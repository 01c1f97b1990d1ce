package drill

import (
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/sim"
	"github.com/penstock/penstock/internal/usage"
)

// A drill that finds its books in order must be able to find that they are not.
func TestBooksThatDoNotAgree(t *testing.T) {
	t.Parallel()
	try := func(upstream string, outcome pipeline.Outcome, cost llm.Money) pipeline.Try {
		return pipeline.Try{Upstream: upstream, Target: "a/x", Outcome: outcome, CostNano: cost, Usage: llm.Usage{Input: 10, Output: 5}}
	}
	call := func(id string, cost llm.Money) sim.Call {
		return sim.Call{ID: id, Provider: "twin-a", Model: "x", Prompt: 10, Completion: 5, Cost: cost}
	}
	for name, c := range map[string]struct {
		tries []pipeline.Try
		bill  []sim.Call
		want  string // a part of a problem, "" if there is none
	}{
		"nothing":              {nil, nil, ""},
		"same":                 {[]pipeline.Try{try("1", pipeline.SettledActual, 70)}, []sim.Call{call("1", 70)}, ""},
		"refused for nothing":  {[]pipeline.Try{try("1", pipeline.Released, 0)}, nil, ""},
		"unknown":              {[]pipeline.Try{try("1", pipeline.Unknown, 0)}, []sim.Call{call("1", 70)}, ""},
		"unknown, no name":     {[]pipeline.Try{try("", pipeline.Unknown, 0)}, []sim.Call{call("1", 70)}, ""},
		"a hedge's loser":      {[]pipeline.Try{try("", pipeline.SettledEstimated, 60)}, []sim.Call{call("1", 70)}, ""},
		"of another target":    {[]pipeline.Try{try("", pipeline.Unknown, 0)}, []sim.Call{{ID: "1", Provider: "twin-b", Model: "x", Cost: 70}}, "is in no record"},
		"estimated":            {[]pipeline.Try{try("1", pipeline.SettledEstimated, 60)}, []sim.Call{call("1", 70)}, ""},
		"other money":          {[]pipeline.Try{try("1", pipeline.SettledActual, 71)}, []sim.Call{call("1", 70)}, "has $0.000000071"},
		"not billed":           {[]pipeline.Try{try("1", pipeline.SettledActual, 70)}, nil, "is not on the bill"},
		"not recorded":         {nil, []sim.Call{call("1", 70)}, "is in no record"},
		"twice for one":        {[]pipeline.Try{try("", pipeline.Unknown, 0)}, []sim.Call{call("1", 70), call("2", 70)}, "is in no record"},
		"unknown, and it has":  {[]pipeline.Try{try("1", pipeline.Unknown, 70)}, []sim.Call{call("1", 70)}, "of unknown cost has one"},
		"released, but billed": {[]pipeline.Try{try("1", pipeline.Released, 0)}, []sim.Call{call("1", 70)}, "has $0"},
	} {
		r := &usage.Record{ID: "ex_1", Tries: c.tries}
		for _, one := range c.tries {
			r.CostNano += one.CostNano
		}
		bill := sim.Bill{Calls: c.bill}
		for _, one := range c.bill {
			bill.Total.Cost += one.Cost
		}
		b := compare([]*usage.Record{r}, bill)
		if got := strings.Join(b.Problems, "\n"); b.Agree != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %+v", name, b)
		}
	}
}

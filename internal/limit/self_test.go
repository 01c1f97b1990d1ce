package limit

import (
	"reflect"
	"testing"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
)

// TestWhereACallerStands: all of its tiers, the strictest of their caps, each limit with what is left, and each budget with what is
// kept of it and what was used.
func TestWhereACallerStands(t *testing.T) {
	t.Parallel()
	kept := []Kept{{"interactive", 30}}
	b := onBench(t, Definitions{
		Budgets: []Budget{
			daily(TokenCount, 1000, func(b *Budget) { b.Kept, b.Model = kept, "openai/*" }),
			daily(USD, 1_000_000, func(b *Budget) { b.Project = "other" }),
		},
		Limits: []Limit{{ID: "lim", Scope: Scope{Project: "prj"}, Rate: Rate{Measure: Requests, Amount: 5, Mode: Enforce}}},
		Tiers: []Tier{
			{Name: "wide", Class: "default", MaxOutput: 500, Models: []string{"s*"}},
			{Name: "narrow", Class: "flex", MaxInput: 2000, MaxOutput: 800, Rates: []Rate{{Requests, 3, Observe}}},
		},
		Assigned: []Assignment{{Project: "prj", Tier: "wide"}, {Project: "prj", Key: "key", Tier: "narrow"}},
	})
	x := exchange(llm.OpEmbeddings, 36)
	if _, err := b.call(x, target, 100, 0); err != nil {
		t.Fatal(err)
	}
	got := b.Allowed(t.Context(), x.Caller, "")
	want := Allowed{
		Tiers: []string{"wide", "narrow"}, Class: "flex", Models: []string{"s*"}, Input: 2000, Output: 500,
		Rates: []AllowedRate{{Measure: Requests, Mode: Enforce, Limit: 5, Left: 4}, {Measure: Requests, Mode: Observe, Limit: 3, Left: 2}},
	}
	if len(got.Budgets) != 1 {
		t.Fatalf("%+v", got.Budgets)
	}
	one := got.Budgets[0]
	if got.Budgets = nil; !reflect.DeepEqual(got, want) {
		t.Errorf("\n got %+v\nwant %+v", got, want)
	}
	if one.InNano != nil || one.InTokens == nil || one.Model != "openai/*" || !reflect.DeepEqual(one.Kept, kept) {
		t.Fatalf("%+v", one)
	}
	if s := one.InTokens; s.Limit != 1000 || s.Settled != 100 || s.Held+s.Unknown != 0 || s.Free != 900 {
		t.Errorf("%+v", s)
	}
	if none := b.Allowed(t.Context(), &pipeline.Caller{Project: "third"}, ""); len(none.Tiers)+len(none.Rates)+len(none.Budgets) != 0 {
		t.Errorf("another: %+v", none)
	}
}

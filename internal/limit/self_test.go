package limit

import (
	"errors"
	"reflect"
	"testing"
	"time"

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
	if s := one.InTokens; s.Limit != 1000 || *s.Settled != 100 || *s.Held+*s.Unknown != 0 || *s.Free != 900 {
		t.Errorf("%+v", s)
	}
	if none := b.Allowed(t.Context(), &pipeline.Caller{Project: "third"}, ""); len(none.Tiers)+len(none.Rates)+len(none.Budgets) != 0 {
		t.Errorf("another: %+v", none)
	}
}

// TestWhereACallerStandsIsOneRead, of what this process does not know itself, and makes nothing in memory. What the store does not say
// is left out.
func TestWhereACallerStandsIsOneRead(t *testing.T) {
	t.Parallel()
	var d Definitions
	for i := range 30 {
		d.Budgets = append(d.Budgets, daily(USD, int64(1000+i), func(b *Budget) { b.User = Each }))
	}
	b := onBench(t, d)
	store := b.o.Board.store.(*fickle) //nolint:forcetypeassert // put there by onBench
	who := &pipeline.Caller{Org: "acme", Project: "prj", Key: "key"}
	begins := time.UnixMicro(d.Budgets[3].Calendar().At(noon).Start.UnixMicro())
	store.windows = []Standing{{Budget: d.Budgets[3].ID, Subject: "ann", Start: begins, Limit: 1003, Settled: 400, Held: 100, Unknown: 3}}
	got := b.Allowed(t.Context(), who, "ann")
	if len(got.Budgets) != 30 || len(store.asked) != 1 || len(store.asked[0].Keys) != 30 {
		t.Fatalf("%d budgets, asked %+v", len(got.Budgets), store.asked)
	}
	for i, one := range got.Budgets {
		used := int64(0)
		if i == 3 {
			used = 503
		}
		if in := one.InNano; in.Limit != int64(1000+i) || *in.Settled+*in.Held+*in.Unknown != used || *in.Free != in.Limit-used {
			t.Errorf("%d: %d free of %d", i, *in.Free, in.Limit)
		}
	}
	if pool := b.o.Bank.Lookup(store.asked[0].Keys[0]); pool != nil {
		t.Error("who asks where it stands is kept in memory")
	}
	store.err = errors.New("away")
	for _, one := range b.Allowed(t.Context(), who, "ann").Budgets {
		if in := one.InNano; in.Limit < 1000 || in.Settled != nil || in.Held != nil || in.Unknown != nil || in.Free != nil {
			t.Fatalf("the store is away, and %+v is known", in)
		}
	}
}

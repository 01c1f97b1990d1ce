package limit

import (
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"
	"weak"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/rate"
	"github.com/penstock/penstock/internal/window"
)

// outline is what of a plan can be compared.
func (p *plan) outline() string {
	text := fmt.Sprint(p.org, " ", p.project, " ", p.key, " ", p.user, " ", p.model, " ", p.output, p.scoped, p.observes)
	for i := range p.all {
		h := &p.all[i]
		text += fmt.Sprintf("\n%+v %d %+v %p", h.key, h.part, h.terms(h.in), h.pool)
	}
	for _, t := range p.tiers {
		text += fmt.Sprintf("\ntier %s of %q", t.Name, t.subject)
	}
	for _, r := range p.rates {
		text += fmt.Sprintf("\n%+v", rate.Rule{ID: r.ID, Subject: r.Subject, Measure: r.Measure, Amount: r.Amount, Observe: r.Observe})
	}
	return text
}

// TestPlansAreThoseOfTheirCalls: what is remembered for a call is what would be found out for it now, whoever called before, whenever
// that was, and whatever was in force then.
func TestPlansAreThoseOfTheirCalls(t *testing.T) {
	t.Parallel()
	day := Terms{Unit: USD, Amount: 1000, Per: window.Day, Mode: Enforce}
	with := func(change func(*Terms)) Terms {
		terms := day
		change(&terms)
		return terms
	}
	budgets := []Budget{
		{ID: "org", Scope: Scope{Org: "acme"}, Terms: with(func(t *Terms) { t.Per, t.Zone = window.Hour, "Asia/Kathmandu" })},
		{ID: "each key", Scope: Scope{Project: "prj", Key: Each}, Terms: with(func(t *Terms) { t.Mode = Observe })},
		{ID: "each user", Scope: Scope{User: Each}, Terms: with(func(t *Terms) { t.Zone = "Europe/Berlin" })},
		{ID: "tagged", Scope: Scope{Project: "prj"}, Terms: with(func(t *Terms) { t.Kept = []Kept{{"blue", 20}, {"red", 30}} })},
		{ID: "model", Scope: Scope{Project: Each, Model: "sup*"}, Terms: day},
		{ID: "term", Scope: Scope{Project: "prj"}, Terms: with(func(t *Terms) { t.Per, t.From, t.To = window.Term, noon.Add(time.Hour), noon.Add(30*time.Hour) })},
	}
	tiers := []Tier{{Name: "free", MaxOutput: 100, Rates: []Rate{{Measure: Requests, Amount: 5, Mode: Enforce}}, Budgets: []Terms{with(func(t *Terms) { t.Per = window.Week })}}}
	limits := []Limit{{ID: "lim", Scope: Scope{Project: "prj", Model: "support"}, Rate: Rate{Measure: Tokens, Amount: 1000, Mode: Enforce}}}
	text := func(of ...string) *rapid.Generator[string] { return rapid.SampledFrom(of) }
	rapid.Check(t, func(rt *rapid.T) {
		b := onBench(t, Definitions{})
		var c *compiled
		for range rapid.IntRange(1, 40).Draw(rt, "calls") {
			if c == nil || rapid.IntRange(0, 9).Draw(rt, "change") == 0 {
				d := Definitions{Tiers: tiers, Limits: limits}
				for _, one := range budgets {
					if rapid.Bool().Draw(rt, one.ID) {
						d.Budgets = append(d.Budgets, one)
					}
				}
				if rapid.Bool().Draw(rt, "assigned") {
					d.Assigned = []Assignment{{Project: "prj", User: Each, Tier: "free"}}
				}
				c = compile(d)
			}
			who := call{
				org: "acme", project: text("prj", "prj2").Draw(rt, "project"), key: text("key", "key2").Draw(rt, "key"),
				user: text("", "anna", "ben").Draw(rt, "user"), model: text("support", "other").Draw(rt, "model"),
				tags: rapid.SampledFrom([][]string{nil, {"blue"}, {"red", "blue"}, {"green"}}).Draw(rt, "tags"),
			}
			at := noon.Add(time.Duration(rapid.IntRange(-6, 80).Draw(rt, "half hours")) * 30 * time.Minute)
			if got, want := b.planOf(c, &who, at).outline(), b.newPlan(c, who, at).outline(); got != want {
				rt.Fatalf("%+v at %s (-want +got):\n%s", who, at, cmp.Diff(want, got))
			}
		}
	})
}

// TestCallsThatAreAlikeHaveOnePlan, and what it was made for is not held: a request is large.
func TestCallsThatAreAlikeHaveOnePlan(t *testing.T) {
	t.Parallel()
	b := onBench(t, Definitions{Budgets: []Budget{daily(USD, 1_000_000)}})
	c := b.o.Board.inForce.Load()
	plan := func(at time.Time, tags ...string) *plan {
		return b.planOf(c, &call{org: "acme", project: "prj", key: "key", user: "anna", model: "support", tags: tags}, at)
	}
	first := plan(noon)
	if plan(noon.Add(time.Minute)) != first || plan(noon, "blue") != first {
		t.Error("it was found out again for a call that is alike")
	}
	if plan(noon.Add(24*time.Hour)) == first {
		t.Error("it is the one of another day")
	}
}

// TestPlansNeverShareWhatOneTryChanges: what budgets that only observe are asked for differs from try to try.
func TestPlansNeverShareWhatOneTryChanges(t *testing.T) {
	t.Parallel()
	b := onBench(t, Definitions{Budgets: []Budget{daily(USD, 1_000_000_000, func(b *Budget) { b.Mode = Observe })}})
	x := exchange("chat", 100)
	a := b.allowanceOf(b.o.Board.inForce.Load(), x)
	x.Allowance = a
	before := slices.Clone(a.all)
	try := pipeline.Try{Price: b.price}
	if _, err := b.Reserve(t.Context(), x, target, &try); err != nil {
		t.Fatal(err)
	}
	if before[0].observed != a.all[0].observed {
		t.Errorf("the plan says %d of a try", a.all[0].observed)
	}
}

// TestPlansDoNotHoldFormerDefinitions: those may be large and change each second, while some call only once an hour.
func TestPlansDoNotHoldFormerDefinitions(t *testing.T) {
	t.Parallel()
	d := Definitions{Budgets: []Budget{daily(USD, 1_000_000)}}
	b := onBench(t, d)
	plan := func(user string) weak.Pointer[compiled] {
		c := compile(d)
		b.planOf(c, &call{org: "acme", project: "prj", key: "key", user: user, model: "support"}, noon)
		return weak.Make(c)
	}
	former := plan("anna")
	plan("ben")
	runtime.GC()
	if former.Value() != nil {
		t.Error("they are held by the plan of a call")
	}
	runtime.KeepAlive(b)
}

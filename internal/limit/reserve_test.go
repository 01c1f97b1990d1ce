package limit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"pgregory.net/rapid"

	"github.com/penstock/penstock/internal/escrow"
	"github.com/penstock/penstock/internal/escrow/escrowtest"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/rate"
	"github.com/penstock/penstock/internal/window"
)

// A bench is a limiter over a store in memory.
type bench struct {
	*Limiter
	t     *testing.T
	store *escrowtest.Store
	known Known
	price *llm.Price
	over  []string // overruns that somebody was told of
}

// Stage is the stage with what has to be around it.
func (b *bench) Stage() pipeline.Stage {
	return func(next pipeline.Handler) pipeline.Handler { return pipeline.Living(b.Limiter.Stage()(next)) }
}

// onBench has definitions in force. A token costs a nano-dollar, whichever.
func onBench(t *testing.T, d Definitions) *bench {
	t.Helper()
	d.Version = 1
	b := &bench{t: t, store: &escrowtest.Store{}, price: &llm.Price{Input: 1000, CachedInput: 1000, CacheWrite: 1000, Output: 1000}}
	board := NewBoard(&fickle{d: d}, slog.New(slog.DiscardHandler), time.Hour)
	if err := board.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	var err error
	b.Limiter, err = New(Options{
		Board: board, Bank: escrow.New(escrow.Options{Store: b.store, Holder: escrow.Holder{Journal: "j", Run: "r"}}), Rates: rate.New(rate.Options{}),
		Learned: rate.NewLearned(), Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(), Now: func() time.Time { return noon },
		Model:   func(llm.Target) Known { return b.known },
		Overrun: func(t llm.Target, _ *pipeline.Try) { b.over = append(b.over, t.String()) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// daily is a budget of the project.
func daily(unit Unit, amount int64, more ...func(*Budget)) Budget {
	b := Budget{ID: fmt.Sprintf("bgt_%s_%d", unit, amount), Scope: Scope{Project: "prj"}, Version: 1, Terms: Terms{Unit: unit, Amount: amount, Per: window.Day, Mode: Enforce}}
	for _, do := range more {
		do(&b)
	}
	return b
}

var (
	target  = llm.Target{Provider: "openai", Model: "gpt-5-mini"}
	another = llm.Target{Provider: "claude", Model: "haiku"}
)

// exchange is a call of so many bytes. Embeddings have no output, so that what they need is known: their bytes and 64.
func exchange(op llm.Operation, bytes int, tags ...string) *pipeline.Exchange {
	raw := `{"model":"support"}`
	r := &llm.Request{Dialect: llm.OpenAI, Op: op, Model: "support", Choices: 1, Raw: []byte(raw + strings.Repeat(" ", max(bytes-len(raw), 0)))}
	r.DecodeChat = func([]byte) (*llm.Chat, error) { return &llm.Chat{}, nil }
	return &pipeline.Exchange{Caller: &pipeline.Caller{Org: "acme", Project: "prj", Key: "key"}, Op: op, Request: r, Tags: tags, Received: time.Now(), Time: noon}
}

// call makes one try at a target that comes to so many tokens of input; with -1 it is whatever was reserved.
func (b *bench) call(x *pipeline.Exchange, to llm.Target, input, output int64) (try pipeline.Try, err error) {
	b.t.Helper()
	handle := b.Stage()(func(ctx context.Context, x *pipeline.Exchange) (*llm.Response, error) {
		try = pipeline.Try{ID: "t", Target: to.String(), Price: b.price, Outcome: pipeline.Unknown}
		held, err := b.Reserve(ctx, x, to, &try)
		if err != nil {
			return nil, err
		}
		try.Outcome, try.Usage = pipeline.SettledActual, llm.Usage{Input: input, Output: output}
		if b.price != nil {
			try.CostNano = b.price.Cost(try.Usage)
		}
		held.Settle(&try)
		return &llm.Response{Events: func(yield func(llm.Event, error) bool) { yield(llm.Event{Has: llm.End}, nil) }}, nil
	})
	resp, err := handle(b.t.Context(), x)
	if err != nil {
		return try, err
	}
	for range resp.Events {
	}
	return try, nil
}

// refused is the fault of a call that a budget has not enough left for.
func refused(t *testing.T, err error) *fault.Error {
	t.Helper()
	var no *pipeline.Unaffordable
	var f *fault.Error
	if !errors.As(err, &no) || !errors.As(err, &f) || f.Code != fault.QuotaSpent || f.Kind != fault.RateLimited || !f.Spent || f.RetryAfter > time.Minute {
		t.Fatalf("it is no refusal: %+v", err)
	}
	return f
}

// TestAffords: the cap that is found is the largest that what is free buys.
func TestAffords(t *testing.T) {
	t.Parallel()
	n := rapid.OneOf(rapid.Int64Range(0, 5000), rapid.Int64Range(0, 1<<40))
	rate := rapid.OneOf(rapid.Just(int64(0)), rapid.Int64Range(0, 100_000_000))
	rapid.Check(t, func(t *rapid.T) {
		p := &llm.Price{Input: llm.Rate(rate.Draw(t, "in")), CacheWrite: llm.Rate(rate.Draw(t, "write")), Output: llm.Rate(rate.Draw(t, "out"))}
		if rapid.Bool().Draw(t, "long") {
			p.LongOver, p.Long = n.Draw(t, "over"), &llm.Price{Input: llm.Rate(rate.Draw(t, "long in")), Output: llm.Rate(rate.Draw(t, "long out"))}
		}
		h := &held{budgetRule: &budgetRule{Terms: Terms{Unit: rapid.SampledFrom([]Unit{USD, TokenCount}).Draw(t, "unit")}}}
		free, input, most := n.Draw(t, "free"), n.Draw(t, "input"), rapid.Int64Range(0, math.MaxInt32).Draw(t, "most")
		choices := rapid.Int64Range(1, 128).Draw(t, "choices")
		got := h.affords(p, free, input, most, choices)
		if got < 0 || got > most || got > 0 && h.need(p, input, got*choices) > free {
			t.Fatalf("%d of at most %d, which may come to %d of %d", got, most, h.need(p, input, got*choices), free)
		}
		if got < most && h.need(p, input, (got+1)*choices) <= free {
			t.Fatalf("%d, and one more is at most %d of %d", got, h.need(p, input, (got+1)*choices), free)
		}
	})
}

func TestShare(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		amount, percent := rapid.Int64Range(0, MaxAmount).Draw(t, "amount"), rapid.IntRange(1, 99).Draw(t, "percent")
		got := share(amount, percent)
		if rest := share(amount, 100-percent); got < 0 || got+rest > amount || got+rest < amount-1 {
			t.Fatalf("%d%% of %d is %d, and the rest %d", percent, amount, got, rest)
		}
	})
}

// TestKeptShares: calls without the tag stop where the kept share begins; calls with it go on to the end.
func TestKeptShares(t *testing.T) {
	t.Parallel()
	b := onBench(t, Definitions{Budgets: []Budget{daily(TokenCount, 1000, func(b *Budget) { b.Kept = []Kept{{"vip", 30}, {"night", 20}} })}})
	count := func(want int, tags ...string) {
		t.Helper()
		for n := 0; ; n++ {
			_, err := b.call(exchange(llm.OpEmbeddings, 36, tags...), target, 100, 0)
			if err == nil && n < 20 {
				continue
			}
			refused(t, err)
			if n != want {
				t.Errorf("%d calls with %q, want %d", n, tags, want)
			}
			return
		}
	}
	count(7)                 // 70 % are for calls without vip
	count(0, "x")            //
	count(0, "night")        // which has not vip either
	count(1, "vip")          // and 80 % for calls without night
	count(2, "vip", "night") // all of it
	count(0, "vip", "night")
}

// TestLowIsOfWhatACallMayUse: when_low goes by what the call may use. One without the tag is refused where the kept share begins, so
// what is cheaper is to come before that.
func TestLowIsOfWhatACallMayUse(t *testing.T) {
	t.Parallel()
	b := onBench(t, Definitions{Budgets: []Budget{daily(TokenCount, 1000, func(b *Budget) { b.Kept = []Kept{{"vip", 50}} })}})
	for range 4 {
		if _, err := b.call(exchange(llm.OpEmbeddings, 36), target, 100, 0); err != nil {
			t.Fatal(err)
		}
	}
	for want, tags := range map[int][]string{80: nil, 40: {"vip"}} {
		x := exchange(llm.OpEmbeddings, 36, tags...)
		if _, err := b.call(x, target, 1, 0); err != nil || x.Allowance.Low() != want {
			t.Errorf("with %q: %d %% are used, want %d: %v", tags, x.Allowance.Low(), want, err)
		}
	}
}

// TestTheStrictestBudgetWins, and what refuses leaves no trace in the others.
func TestTheStrictestBudgetWins(t *testing.T) {
	t.Parallel()
	d := Definitions{Budgets: []Budget{
		daily(TokenCount, 10_000), daily(USD, 350), daily(TokenCount, 100_000, func(b *Budget) { b.Scope = Scope{Org: "acme"} }),
		daily(TokenCount, 1, func(b *Budget) { b.Scope = Scope{Project: "other"} }), daily(USD, 2, func(b *Budget) { b.Model = "claude/*" }),
	}}
	b := onBench(t, d)
	for i := range 3 {
		try, err := b.call(exchange(llm.OpEmbeddings, 36), target, 100, 0)
		if err != nil || len(try.Charges) != 3 {
			t.Fatalf("call %d: %v, %+v", i, err, try.Charges)
		}
	}
	f := refused(t, errorOf(b.call(exchange(llm.OpEmbeddings, 36), target, 100, 0)))
	var detail map[string]any
	if err := json.Unmarshal(f.Detail, &detail); err != nil || detail["budget"] != "bgt_usd_350" || detail["limit_nano"] != 350. || detail["settled_nano"] != 300. ||
		detail["held_nano"] != 0. || detail["free_nano"] != 50. || detail["needed_nano"] != 100. || detail["unknown_nano"] != 0. || detail["resets_at"] != "2026-11-25T00:00:00Z" {
		t.Errorf("%v: %s", err, f.Detail)
	}
	for _, words := range []string{"$0.00000035 a day", "$0.00000005 free", "begins anew 2026-11-25T00:00:00Z"} {
		if !strings.Contains(f.Message, words) {
			t.Errorf("%q is not in %q", words, f.Message)
		}
	}
	if n := testutil.ToFloat64(b.m.refused.WithLabelValues("usd")); n != 1 {
		t.Errorf("%v refusals are counted", n)
	}
	c := b.o.Board.inForce.Load()
	for _, rule := range append(c.budgets.others, c.budgets.byProject["prj"]...) {
		in := rule.at(noon)
		pool := b.o.Bank.Pool(escrow.Key{Rule: rule.id, Start: in.Start.UnixMicro()}, rule.terms(in))
		reserved := func() int64 {
			s, _ := pool.State()
			return s.Held - pool.Spare()
		}
		for begun := time.Now(); reserved() != 0 && time.Since(begun) < 2*time.Second; <-time.After(10 * time.Millisecond) {
			// what was promised to the call that was refused is kept for a moment
		}
		if n := reserved(); n != 0 {
			t.Errorf("%s: %d are reserved, and nothing runs", rule.id, n)
		}
	}
	refused(t, errorOf(b.call(exchange(llm.OpEmbeddings, 36), another, 100, 0)))
}

func errorOf(_ pipeline.Try, err error) error { return err }

// TestRetryAfterARefusal: it is never beyond a minute, and never nothing.
func TestRetryAfterARefusal(t *testing.T) {
	t.Parallel()
	for at, want := range map[time.Time]time.Duration{
		noon: time.Minute, noon.Add(12*time.Hour - 20*time.Second): 20 * time.Second, noon.Add(12*time.Hour - time.Millisecond): time.Second,
	} {
		b := onBench(t, Definitions{Budgets: []Budget{daily(USD, 1)}})
		b.o.Now = func() time.Time { return at }
		x := exchange(llm.OpEmbeddings, 36)
		x.Time = at
		if f := refused(t, errorOf(b.call(x, target, 1, 0))); f.RetryAfter != want {
			t.Errorf("at %v: %v, want %v", at, f.RetryAfter, want)
		}
	}
}

// TestCapsAreLoweredToWhatIsLeft, and no call is sent that could not say more than 63 tokens.
func TestCapsAreLoweredToWhatIsLeft(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		amount, asked int64
		choices       int
		cap           int64 // 0: refused
	}{
		{10_000, 0, 1, 4096}, {10_000, 500, 1, 500}, {1100, 0, 1, 1000}, {1100, 2000, 1, 1000}, {1100, 2000, 2, 500}, {164, 0, 1, 64}, {163, 0, 1, 0},
		{163, 63, 1, 63}, // the caller's own cap may be lower
		{162, 63, 1, 0}, {100, 0, 1, 0}, {227, 500, 2, 0}, {228, 500, 2, 64}, {0, 0, 1, 0},
	} {
		for _, unit := range []Unit{USD, TokenCount} {
			b := onBench(t, Definitions{Budgets: []Budget{daily(unit, c.amount)}})
			x := exchange(llm.OpChat, 36)
			x.Request.MaxOutput, x.Request.Choices = c.asked, c.choices
			try, err := b.call(x, target, 5, 5)
			if c.cap == 0 {
				refused(t, err)
				continue
			}
			if err != nil || try.MaxOutput != c.cap || try.Charges[0].Held != 100+c.cap*int64(c.choices) || int64(try.BoundNano) != try.Charges[0].Held {
				t.Errorf("%+v: %v, %+v", c, err, try)
			}
			if said := string(x.Request.Field("max_completion_tokens")); c.asked != c.cap && said != fmt.Sprint(c.cap) {
				t.Errorf("%+v: the provider is asked for %q", c, said)
			}
		}
	}
}

// TestWhatBoundsAnAnswer: the caller's cap, the tier's, the model's rule and what the model can do; the least counts.
func TestWhatBoundsAnAnswer(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ asked, tier, rule, usual, model, want int64 }{
		{0, 0, 0, 0, 0, 4096}, {0, 0, 0, 0, 1000, 1000}, {0, 0, 0, 300, 1000, 300}, {0, 0, 0, 300, 200, 200}, {700, 0, 0, 300, 0, 700},
		{700, 500, 0, 0, 0, 500}, {700, 500, 400, 0, 0, 400}, {700, 500, 400, 0, 90, 90}, {0, 500, 0, 0, 0, 500}, {0, 0, 400, 0, 0, 400},
		{0, 9000, 0, 0, 0, 4096}, {0, 9000, 0, 8000, 9000, 8000},
	} {
		b := onBench(t, Definitions{
			Budgets: []Budget{daily(USD, 1_000_000)}, Tiers: []Tier{{Name: "t", MaxOutput: c.tier}}, Assigned: []Assignment{{Project: "prj", Tier: "t"}},
		})
		b.known = Known{MaxOutput: c.model}
		x := exchange(llm.OpChat, 36)
		x.Request.MaxOutput, x.OutputCap, x.DefaultOutput = c.asked, c.rule, c.usual
		if try, err := b.call(x, target, 5, 5); err != nil || try.MaxOutput != c.want {
			t.Errorf("%+v: %d, %v", c, try.MaxOutput, err)
		}
	}
}

// TestALaterTryMayHaveMore: what a dear target had to be capped at does not bound the cheap one that answers instead.
func TestALaterTryMayHaveMore(t *testing.T) {
	t.Parallel()
	b := onBench(t, Definitions{Budgets: []Budget{daily(USD, 100_000)}})
	x := exchange(llm.OpChat, 36)
	x.Request.MaxOutput = 5000
	handle := b.Stage()(func(ctx context.Context, x *pipeline.Exchange) (*llm.Response, error) {
		dear, cheap := pipeline.Try{Price: &llm.Price{Input: 10_000, Output: 100_000}}, pipeline.Try{Price: b.price}
		first, err := b.Reserve(ctx, x, target, &dear)
		if err != nil {
			return nil, err
		}
		if dear.MaxOutput != 990 || string(x.Request.Field("max_completion_tokens")) != "990" {
			t.Errorf("the dear one: %d", dear.MaxOutput)
		}
		dear.Outcome = pipeline.Released
		first.Settle(&dear)
		second, err := b.Reserve(ctx, x, another, &cheap)
		if err != nil {
			return nil, err
		}
		if cheap.MaxOutput != 5000 || x.Request.Field("max_completion_tokens") != nil {
			t.Errorf("the cheap one: %d, %s", cheap.MaxOutput, x.Request.Field("max_completion_tokens"))
		}
		cheap.Outcome = pipeline.Released
		second.Settle(&cheap)
		return nil, errors.New("enough")
	})
	if _, err := handle(t.Context(), x); err == nil || err.Error() != "enough" {
		t.Error(err)
	}
}

// TestWhatABudgetCannotHold is refused, if it is in dollars and in force: targets without a price, and tools with one of their own.
func TestWhatABudgetCannotHold(t *testing.T) {
	t.Parallel()
	observes := func(b *Budget) { b.Mode = Observe }
	for name, c := range map[string]struct {
		budget Budget
		passes bool
	}{
		"dollars": {daily(USD, 1_000_000), false}, "tokens": {daily(TokenCount, 10_000_000), true}, "observed": {daily(USD, 1_000_000, observes), true},
		"another's": {daily(USD, 1_000_000, func(b *Budget) { b.Project = "other" }), true}, "another model's": {daily(USD, 1_000_000, func(b *Budget) { b.Model = "claude/*" }), true},
	} {
		b := onBench(t, Definitions{Budgets: []Budget{c.budget}})
		b.price = nil
		if try, err := b.call(exchange(llm.OpChat, 36), target, 5, 5); (err == nil) != c.passes || err != nil && !strings.Contains(refused(t, err).Message, "no price") {
			t.Errorf("%s, without a price: %v, %+v", name, err, try)
		}
		b.price = &llm.Price{Input: 1, Output: 1}
		x := exchange(llm.OpChat, 36)
		x.Request.Set("tools", []byte(`[{"type":"web_search"}]`))
		_, err := b.call(x, target, 5, 5)
		if f := fault.From(err); (err == nil) != c.passes || err != nil && (f.Param != "tools" || !f.Spent || f.Code != fault.QuotaSpent) {
			t.Errorf("%s, with a tool: %v", name, err)
		}
		for _, of := range []struct {
			dialect     llm.Dialect
			name, value string
			endless     bool // tokens, too
		}{
			{llm.Responses, "prompt", `{"id":"pmpt_1"}`, false}, {llm.Anthropic, "speed", `"fast"`, false},
			{llm.OpenAI, "models", `["openai/gpt-5.5-pro"]`, false},
			{llm.OpenAI, "prediction", `{"type":"content","content":"x"}`, true},
			{llm.Anthropic, "context_management", `{"edits":[{"type":"clear_tool_uses_20250919"},{"type":"\u0063ompact_20260112"}]}`, true},
			{llm.Responses, "context_management", `[{"type":"compaction","compact_threshold":1000}]`, true},
			{llm.Anthropic, "compaction", `{"type":"summarize"}`, true}, {llm.Anthropic, "fallbacks", `"default"`, true},
			{llm.Responses, "reasoning", `{"mode":"pro"}`, true},
		} {
			passes := c.passes && !(of.endless && name == "tokens")
			x = exchange(llm.OpChat, 36)
			x.Request.Dialect = of.dialect
			x.Request.Set(of.name, []byte(of.value))
			_, err = b.call(x, target, 5, 5)
			if f := fault.From(err); (err == nil) != passes || err != nil && (f.Param != of.name || !f.Spent || f.Code != fault.QuotaSpent) {
				t.Errorf("%s, with %s: %v", name, of.name, err)
			}
		}
		for member, value := range map[string]string{
			"context_management": `{"edits":[{"type":"clear_thinking_20251015"}]}`, "prediction": "null", "reasoning": `{"effort":"low"}`, "fallbacks": "[]",
		} {
			x = exchange(llm.OpChat, 36)
			x.Request.Set(member, []byte(value))
			if _, err = b.call(x, target, 5, 5); err != nil {
				t.Errorf("%s, with %s %s: %v", name, member, value, err)
			}
		}
	}
}

// TestATermIsAllThatItsBudgetHolds: before and after it, calls neither count nor are refused.
func TestATermIsAllThatItsBudgetHolds(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		from, to time.Duration
		holds    bool
	}{"before": {time.Hour, 2 * time.Hour, false}, "at its beginning": {0, time.Hour, true}, "at its end": {-time.Hour, 0, false}} {
		term := daily(USD, 1000, func(b *Budget) { b.Per, b.From, b.To = window.Term, noon.Add(c.from), noon.Add(c.to) })
		b := onBench(t, Definitions{Budgets: []Budget{term}})
		try, err := b.call(exchange(llm.OpEmbeddings, 36), target, 100, 0)
		if err != nil || (len(try.Charges) == 1) != c.holds {
			t.Errorf("%s: %v, charges %+v", name, err, try.Charges)
		}
		_, err = b.call(exchange(llm.OpEmbeddings, 5000), target, 5000, 0)
		if c.holds {
			refused(t, err)
		} else if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if n := len(b.Allowed(t.Context(), exchange(llm.OpChat, 36).Caller, "").Budgets); (n == 1) != c.holds {
			t.Errorf("%s: its caller is told of %d budgets", name, n)
		}
	}
}

// TestCountingIsFree of budgets, and no call of a minute less.
func TestCountingIsFree(t *testing.T) {
	t.Parallel()
	limit := Limit{ID: "lim", Scope: Scope{Project: "prj"}, Rate: Rate{Measure: Requests, Amount: 2, Mode: Enforce}}
	b := onBench(t, Definitions{Budgets: []Budget{daily(USD, 0)}, Limits: []Limit{limit}})
	for range 2 {
		if try, err := b.call(exchange(llm.OpCount, 36), target, 0, 0); err != nil || len(try.Charges) != 0 {
			t.Errorf("%v, %+v", err, try)
		}
	}
	if f := fault.From(errorOf(b.call(exchange(llm.OpCount, 36), target, 0, 0))); f == nil || f.Code != fault.RateExceeded {
		t.Errorf("%v", f)
	}
}

// TestObservedBudgets let everything through, count it, and tell of what they would have refused; what is counted is nobody's overrun.
func TestObservedBudgets(t *testing.T) {
	t.Parallel()
	b := onBench(t, Definitions{Budgets: []Budget{daily(TokenCount, 1000, func(b *Budget) { b.Mode = Observe })}})
	would := 0
	for i := range 5 {
		x := exchange(llm.OpChat, 36) // names no cap, and is given none
		try, err := b.call(x, target, 100, 200)
		if err != nil || try.MaxOutput != 0 || len(try.Charges) != 1 || x.Request.Edited() {
			t.Fatalf("call %d: %v, %+v", i, err, try)
		}
		if c := try.Charges[0]; c.Lease != "" {
			if over := c.Spent(&try) - c.Held; over > 0 && i < 3 {
				t.Errorf("call %d: %d are beyond what was reserved, and the budget has room", i, over)
			}
		}
		for _, d := range x.Decisions {
			if d.Stage == "budget" && strings.Contains(d.Decision, "observed") {
				would++
			}
		}
	}
	if n := testutil.ToFloat64(b.m.observed); would != 2 || n != 2 {
		t.Errorf("of five calls with room for three and a bit, %d and %v would have been refused", would, n)
	}
	if len(b.over) > 0 {
		t.Errorf("overruns %q", b.over)
	}
}

// TestOverruns: a target that bills more than was reserved gets no calls with a budget for a while; others do.
func TestOverruns(t *testing.T) {
	t.Parallel()
	b := onBench(t, Definitions{Budgets: []Budget{daily(USD, 1_000_000)}})
	if _, err := b.call(exchange(llm.OpEmbeddings, 36), target, 100, 0); err != nil || b.over != nil {
		t.Fatalf("%v, %q", err, b.over)
	}
	if try, err := b.call(exchange(llm.OpEmbeddings, 36), target, 101, 0); err != nil || len(b.over) != 1 || try.Charges[0].Held != 100 {
		t.Fatalf("%v, %q, %+v", err, b.over, try)
	}
	if f := refused(t, errorOf(b.call(exchange(llm.OpEmbeddings, 36), target, 1, 0))); !strings.Contains(f.Message, "billed more") {
		t.Errorf("%s", f.Message)
	}
	if _, err := b.call(exchange(llm.OpEmbeddings, 36), another, 1, 0); err != nil {
		t.Errorf("another target: %v", err)
	}
	b.ward.mu.Lock()
	b.ward.until[target] = time.Now().Add(-time.Second)
	b.ward.mu.Unlock()
	if _, err := b.call(exchange(llm.OpEmbeddings, 36), target, 1, 0); err != nil {
		t.Errorf("later: %v", err)
	}
}

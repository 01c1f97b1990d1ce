package route

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/penstock/penstock/internal/catalog"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/quota"
)

// stopping stops some targets.
type stopping []string

func (s stopping) Try(_ *pipeline.Exchange, t llm.Target) error {
	if slices.Contains(s, t.String()) {
		return fault.New(fault.Stopped, "stopped")
	}
	return nil
}

// chosen is the choice of an exchange as its record has it.
func (s *theatre) chosen(x *pipeline.Exchange) (*pipeline.Choice, []string) {
	c := s.choose(x, s.pool())
	defer c.free()
	c.record()
	var order []string
	for _, i := range c.order {
		order = append(order, c.all[i].key)
	}
	return x.Choice, order
}

func TestWhoIsEligible(t *testing.T) {
	t.Parallel()
	private := true
	three := []TargetConfig{{Target: "a/m", Weight: 1, Region: "eu-1"}, {Target: "b/m", Weight: 1, Region: "us-1"}, {Target: "c/m", Weight: 1, Private: &private}}
	for name, c := range map[string]struct {
		around  func(*theatre)
		caller  pipeline.Caller
		then    func(*theatre, *pipeline.Exchange)
		want    []string // why each is out
		refused fault.Code
	}{
		"all": {want: []string{"", "", ""}},
		"region": {caller: pipeline.Caller{Regions: []string{"eu*"}},
			want: []string{"", "region us-1, the project wants eu*", "region not known, the project wants eu*"}},
		"private": {caller: pipeline.Caller{PrivateOnly: true},
			want: []string{"not private, and the project's data stays with you", "not private, and the project's data stays with you", ""}},
		"both": {caller: pipeline.Caller{PrivateOnly: true, Regions: []string{"eu*"}}, refused: fault.NoTarget,
			want: []string{"not private, and the project's data stays with you", "not private, and the project's data stays with you", "region not known, the project wants eu*"}},
		"stopped": {around: func(s *theatre) { s.options.Stops = stopping{"a/m", "c/m"} }, want: []string{"stopped by an operator", "", "stopped by an operator"}},
		"all stopped": {around: func(s *theatre) { s.options.Stops = stopping{"a/m", "b/m", "c/m"} }, refused: fault.Stopped,
			want: []string{"stopped by an operator", "stopped by an operator", "stopped by an operator"}},
		"limited": {then: func(s *theatre, _ *pipeline.Exchange) { s.limit("b/m", 40*time.Second) },
			want: []string{"", "the provider's rate limit is used up, for another 40.0 s", ""}},
		"all limited": {then: func(s *theatre, _ *pipeline.Exchange) {
			s.limit("a/m", 40*time.Second)
			s.limit("b/m", 20*time.Second)
			s.limit("c/m", 40*time.Second)
		}, refused: fault.ProviderLimited,
			want: []string{"the provider's rate limit is used up, for another 40.0 s", "the provider's rate limit is used up, for another 20.0 s", "the provider's rate limit is used up, for another 40.0 s"}},
		"exhausted": {then: func(s *theatre, _ *pipeline.Exchange) {
			s.putOut("a/m", quota.Exhausted)
			s.putOut("b/m", quota.Refused)
		},
			want: []string{"the provider's account has nothing left to spend", "the provider refuses the credential", ""}},
		"all exhausted": {then: func(s *theatre, _ *pipeline.Exchange) {
			s.putOut("a/m", quota.Exhausted)
			s.putOut("b/m", quota.Refused)
			s.putOut("c/m", quota.Refused)
		}, want: []string{"", "", ""}}, // a refusal may have been a mistake, and nobody else is left
		"unable": {then: func(s *theatre, x *pipeline.Exchange) {
			s.upstream("a/m").lacks = needsTools
			withTools(x)
		}, want: []string{"takes no tools", "", ""}},
		"all unable": {then: func(s *theatre, x *pipeline.Exchange) { // the catalogue may be wrong
			for _, u := range s.pool().upstreams {
				u.lacks = needsTools
			}
			withTools(x)
		}, want: []string{"", "", ""}},
		"unable is not looked for where nothing lacks it": {then: func(s *theatre, _ *pipeline.Exchange) { s.upstream("a/m").lacks = needsTools | needsVision },
			want: []string{"", "", ""}},
		"too small": {around: func(s *theatre) {
			s.options.Count = func(string, *llm.Request) (int64, bool) { return 5000, true }
		}, then: func(s *theatre, x *pipeline.Exchange) {
			s.upstream("a/m").context = 4000
			s.upstream("b/m").context = 6000
			x.Request.Raw = make([]byte, 20_000)
		}, want: []string{"its context of 4,000 tokens is too small", "", ""}},
		"all too small": {around: func(s *theatre) {
			s.options.Count = func(string, *llm.Request) (int64, bool) { return 5000, true }
		}, then: func(s *theatre, x *pipeline.Exchange) {
			for _, u := range s.pool().upstreams {
				u.context = 4000
			}
			x.Request.Raw = make([]byte, 20_000)
		}, want: []string{"", "", ""}},
		"ejected": {then: func(s *theatre, _ *pipeline.Exchange) { s.sicken("b/m") }, want: []string{"", "ejected: status 500, for another 5.00 s", ""}},
		"two of three ejected": {then: func(s *theatre, _ *pipeline.Exchange) { s.sicken("b/m"); s.later(time.Millisecond); s.sicken("c/m") },
			want: []string{"", "ejected: status 500, for another 5.00 s", ""}},
		"all ejected": {then: func(s *theatre, _ *pipeline.Exchange) {
			for _, key := range []string{"a/m", "b/m", "c/m"} {
				s.sicken(key)
				s.later(time.Millisecond)
			}
		}, want: []string{"ejected: status 500, for another 5.00 s", "", ""}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var around []func(*theatre)
			if c.around != nil {
				around = append(around, c.around)
			}
			s := play(t, &cast{}, ModelConfig{Targets: three}, around...)
			x := exchange(100)
			x.Caller = &c.caller
			if c.then != nil {
				c.then(s, x)
			}
			choice, order := s.chosen(x)
			var got []string
			var eligible []string
			for _, one := range choice.Candidates {
				got = append(got, one.Excluded)
				if one.Excluded == "" {
					eligible = append(eligible, one.Target)
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
			if !slices.Equal(order, eligible) {
				t.Errorf("order %v, eligible %v", order, eligible)
			}
			if len(eligible) > 0 {
				if x.Choice = nil; s.call(t.Context(), x, -1) != nil {
					t.Error("nobody answers")
				}
				return
			}
			e := fault.From(s.call(t.Context(), x, -1))
			if e.Code != c.refused || len(s.cast.calls) != 0 {
				t.Errorf("%s after %d calls: %v", e.Code, len(s.cast.calls), e)
			}
			if c.refused == fault.ProviderLimited && (e.RetryAfter < 19*time.Second || e.RetryAfter > 20*time.Second) {
				t.Errorf("retry after %v", e.RetryAfter)
			}
		})
	}
}

func withTools(x *pipeline.Exchange) {
	x.Request.Raw = []byte(`{"tools":[{}]}`)
	x.Request.Fields = []llm.Field{{Name: "tools", Value: llm.Span{Start: 9, End: 13}}}
}

// limit lets the provider of a target say that its limit is reached, for all its credentials.
func (s *theatre) limit(key string, wait time.Duration) {
	s.outOf(key, quota.Failure{Status: 429, RetryAfter: wait})
}

func (s *theatre) putOut(key, class string) { s.outOf(key, quota.Failure{Status: 401, Class: class}) }

func (s *theatre) outOf(key string, f quota.Failure) {
	u := s.upstream(key)
	for i := range u.account.Credentials() {
		now := time.Now()
		ticket := u.account.Take(now, i, u.Model, quota.Need{Requests: 1})
		ticket.Failed(now, f)
	}
}

func TestLacksAreThoseOfTheCatalogue(t *testing.T) {
	t.Parallel()
	chats := catalog.Model{Abilities: []string{catalog.Tools, catalog.Vision}}
	if got := lacks(&chats); got != needsVectors|needsAudio|needsPDF {
		t.Errorf("%b", got)
	}
}

// The first of a draw is as often each as its chance says, whatever the weights and whoever recovers.
func TestChancesAreFrequencies(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		route   string
		targets int
		ramping bool
	}{
		"weighted": {route: Weighted, targets: 4}, "weighted, one recovers": {route: Weighted, targets: 4, ramping: true},
		"failover": {route: Failover, targets: 3}, "failover, one recovers": {route: Failover, targets: 3, ramping: true},
		"fastest": {route: Fastest, targets: 3}, "fastest of many": {route: Fastest, targets: 20},
		"fastest of many, one recovers": {route: Fastest, targets: 20, ramping: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var targets []TargetConfig
			for i := range c.targets {
				targets = append(targets, TargetConfig{Target: fmt.Sprintf("p%d/m", i), Weight: i})
			}
			s := play(t, &cast{}, ModelConfig{Targets: targets, Route: c.route})
			for i, u := range s.pool().upstreams {
				for range i {
					u.load.backlog.Add(500)
				}
			}
			first, expected := map[string]int{}, map[string]float64{}
			const draws = 4000
			for range draws {
				x := exchange(100)
				p := s.choose(x, s.pool())
				if c.ramping { // as if health had said so
					p.all[1].share = 0.3
					p.rank()
				}
				sum := 0.0
				for i := range p.all {
					sum += p.all[i].chance
					expected[p.all[i].key] += p.all[i].chance
				}
				if math.Abs(sum-1) > 1e-9 {
					t.Fatalf("the chances sum to %v", sum)
				}
				if slices.Sort(slices.Clone(p.order)); len(p.order) != c.targets {
					t.Fatalf("the order has %d of %d", len(p.order), c.targets)
				}
				first[p.all[p.order[0]].key]++
				p.free()
			}
			// Chi-square; its 99.99th percentile for k degrees of freedom is below k + 4 sqrt(2k) + 12.
			chi, k := 0.0, 0
			for key, want := range expected {
				if want < 1e-6 {
					if first[key] > 0 {
						t.Errorf("%s was the first %d times without a chance of it", key, first[key])
					}
					continue
				}
				k++
				chi += (float64(first[key]) - want) * (float64(first[key]) - want) / want
			}
			if most := float64(k) + 4*math.Sqrt(2*float64(k)) + 12; chi > most {
				t.Errorf("chi-square %.1f over %.1f: drew %v, expected %v", chi, most, first, expected)
			}
		})
	}
}

func TestWeightNoneIsOnlyForWhenOthersFail(t *testing.T) {
	t.Parallel()
	s := play(t, &cast{}, ModelConfig{Route: Weighted, Targets: []TargetConfig{{Target: "a/m"}, {Target: "b/m", Weight: 1}, {Target: "c/m"}}})
	for range 100 {
		if _, order := s.chosen(exchange(10)); order[0] != "b/m" || len(order) != 3 {
			t.Fatalf("order %v", order)
		}
	}
}

func TestFastest(t *testing.T) {
	t.Parallel()
	fresh := func(c *cast) *theatre {
		return play(t, c, ModelConfig{Targets: Targets("a/m", "b/m", "c/m"), Route: Fastest})
	}
	t.Run("by measured speed", func(t *testing.T) {
		t.Parallel()
		s := fresh(&cast{})
		for range 30 {
			s.warm("a/m", 800*time.Millisecond)
			s.warm("b/m", 200*time.Millisecond)
			s.warm("c/m", 500*time.Millisecond)
		}
		choice, order := s.chosen(exchange(100))
		if !slices.Equal(order, []string{"b/m", "c/m", "a/m"}) || choice.Candidates[1].Probability != 1 {
			t.Errorf("%v, %+v", order, choice)
		}
		if score := choice.Candidates[1].Score; score < 0.1 || score > 0.4 {
			t.Errorf("predicted %v s, takes 0.2 s", score)
		}
	})
	t.Run("by what waits there", func(t *testing.T) {
		t.Parallel()
		s := fresh(&cast{})
		s.upstream("a/m").load.begin(time.Now(), 20_000, 0, true, false)
		s.upstream("b/m").load.begin(time.Now(), 1000, 0, true, false)
		if _, order := s.chosen(exchange(100)); !slices.Equal(order, []string{"c/m", "b/m", "a/m"}) {
			t.Errorf("%v", order)
		}
	})
	t.Run("by what is cached", func(t *testing.T) {
		t.Parallel()
		s := fresh(&cast{})
		x := exchange(40_000)
		long := *x.Request
		c := s.choose(x, s.pool())
		s.pool().prefix.sent(&c.prompt.begin, since(s.pool().prefix.born, c.now), 2)
		c.free()
		again := exchange(0)
		*again.Request = long
		if _, order := s.chosen(again); order[0] != "c/m" {
			t.Errorf("%v", order)
		}
		if _, order := s.chosen(exchange(100)); order[0] != "a/m" {
			t.Errorf("a short prompt: %v", order)
		}
	})
	t.Run("the nearest of equals", func(t *testing.T) {
		t.Parallel()
		s := fresh(&cast{near: map[string]time.Duration{"a": 80 * time.Millisecond, "b": 5 * time.Millisecond, "c": 30 * time.Millisecond}})
		if _, order := s.chosen(exchange(100)); !slices.Equal(order, []string{"b/m", "c/m", "a/m"}) {
			t.Errorf("%v", order)
		}
	})
}

func TestCheapest(t *testing.T) {
	t.Parallel()
	s := play(t, &cast{near: map[string]time.Duration{"d": time.Millisecond, "e": time.Second}},
		ModelConfig{Targets: Targets("a/m", "b/m", "c/m", "d/m", "e/m"), Route: Cheapest})
	s.prices["b/m"] = llm.Price{Input: 1500, CachedInput: 100, Output: 2000}
	s.prices["c/m"] = llm.Price{Input: 1000, CachedInput: 1000, Output: 9000}
	s.prices["d/m"] = llm.Price{Input: 1000, CachedInput: 1000, Output: 9000}
	s.prices["e/m"] = llm.Price{Input: 1000, CachedInput: 1000, Output: 9000}
	x := exchange(40_000) // about 10,000 tokens, of an answer about 200
	choice, order := s.chosen(x)
	if want := []string{"c/m", "d/m", "e/m", "b/m", "a/m"}; !slices.Equal(order, want) {
		t.Errorf("got %v, want %v (unpriced last)", order, want)
	}
	if got, want := choice.Candidates[2].Score, float64(10_000*1000+200*9000)/1000; got != want {
		t.Errorf("score %v, want %v nano-dollars", got, want)
	}
	c := s.choose(x, s.pool())
	s.pool().prefix.sent(&c.prompt.begin, since(s.pool().prefix.born, c.now), 1)
	c.free()
	if _, order = s.chosen(x); order[0] != "b/m" {
		t.Errorf("its provider has the beginning cached: %v", order)
	}
	x.Request.MaxOutput = 1
	if choice, _ := s.chosen(x); choice.Candidates[2].Score != float64(10_000*1000+9000)/1000 {
		t.Errorf("the caller's cap: score %v", choice.Candidates[2].Score)
	}
}

// TestNearestOfEquals holds for cheapest and failover, too, where failover has no equals.
func TestNearestOfEquals(t *testing.T) {
	t.Parallel()
	far := map[string]time.Duration{"a": time.Second, "b": time.Millisecond}
	for policy, want := range map[string]string{Failover: "a/m", Cheapest: "b/m"} {
		s := play(t, &cast{near: far}, ModelConfig{Targets: Targets("a/m", "b/m"), Route: policy})
		s.prices["a/m"], s.prices["b/m"] = llm.Price{Input: 1}, llm.Price{Input: 1}
		if _, order := s.chosen(exchange(100)); order[0] != want {
			t.Errorf("%s: %v", policy, order)
		}
	}
}

// Whatever is out, the chances sum to 1 over the eligible, the order has each of them once, and nothing that is excluded has one.
func TestChoicesAreWhole(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(2, 20).Draw(rt, "targets")
		var targets []TargetConfig
		for i := range n {
			targets = append(targets, TargetConfig{Target: fmt.Sprintf("p%d/m", i), Weight: rapid.IntRange(0, 3).Draw(rt, "weight")})
		}
		targets[0].Weight = 1
		s := play(t, &cast{}, ModelConfig{Targets: targets, Route: rapid.SampledFrom(Policies()).Draw(rt, "policy")})
		var stops stopping
		for _, one := range targets {
			switch rapid.IntRange(0, 6).Draw(rt, one.Target) {
			case 0:
				stops = append(stops, one.Target)
			case 1:
				s.sicken(one.Target)
			case 2:
				s.limit(one.Target, time.Hour)
			case 3:
				s.upstream(one.Target).lacks = needsTools
			case 4:
				s.upstream(one.Target).load.begin(time.Now(), 1000, 0, true, false)
			}
		}
		s.Router.o.Stops = stops
		x := exchange(rapid.IntRange(0, 10_000).Draw(rt, "bytes"))
		choice, order := s.chosen(x)
		sum, in := 0.0, 0
		for _, one := range choice.Candidates {
			sum += one.Probability
			if one.Excluded == "" {
				in++
			} else if one.Probability != 0 {
				rt.Fatalf("%+v is out, and has a chance", one)
			}
		}
		if in != len(order) || in > 0 && math.Abs(sum-1) > 1e-9 {
			rt.Fatalf("%d eligible, order %v, chances sum to %v: %+v", in, order, sum, choice)
		}
		if slices.Sort(order); len(slices.Compact(order)) != in {
			rt.Fatalf("the order has one twice: %v", order)
		}
	})
}

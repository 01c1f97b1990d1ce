package route

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock/penstock/internal/catalog"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/health"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/provider"
	"github.com/penstock/penstock/internal/quota"
)

func refusedAs(class provider.Class) role {
	return fails(&provider.Failure{Reason: provider.ReasonStatus, Status: 400, Class: class, Message: "refused", NothingBilled: true})
}

// TestWhatIsRefusedGoesToNobodyElse: not even to a target that is only waited for, or was left out as unwell.
func TestWhatIsRefusedGoesToNobodyElse(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*theatre){
		"limited": func(s *theatre) {
			s.limit("b/m", 2*time.Second)
		},
		"unwell": func(s *theatre) { s.sicken("b/m") },
	} {
		synctest.Test(t, func(t *testing.T) {
			c := &cast{roles: map[string]role{
				"a/m": refusedAs(provider.ClassContentPolicy), "c/m": fails(&provider.Failure{Reason: provider.ReasonFirstToken, Timer: "first_token"}),
			}}
			s := play(t, c, ModelConfig{Targets: Targets("a/m", "b/m", "d/m"), OnContentPolicy: []string{"c/m"}})
			c.roles["d/m"] = answers
			s.state.Health.Target("d/m") // it is there, and must not be asked either
			spoil(s)
			if err := s.call(t.Context(), exchange(10), -1); err == nil {
				t.Errorf("%s: answered", name)
			}
			if got := c.targets(); !slices.Equal(got, []string{"a/m", "c/m"}) {
				t.Errorf("%s: asked %v", name, got)
			}
		})
	}
}

// switchboard stops targets.
type switchboard struct {
	mu  sync.Mutex
	off map[string]bool
}

func (s *switchboard) Try(_ *pipeline.Exchange, t llm.Target) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.off[t.String()] {
		return fault.New(fault.Stopped, "no")
	}
	return nil
}

// TestAStopHoldsForTheNextTry, of an exchange that runs and of one that waits.
func TestAStopHoldsForTheNextTry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stops := &switchboard{off: map[string]bool{}}
		c := &cast{roles: map[string]role{"a/m": func(context.Context, int) (*llm.Response, error) {
			stops.mu.Lock()
			defer stops.mu.Unlock()
			stops.off["b/m"], stops.off["a/m"] = true, true
			return nil, status(503)
		}}}
		s := play(t, c, ModelConfig{Targets: Targets("a/m", "b/m", "c/m")}, func(s *theatre) { s.options.Stops = stops })
		if err := s.call(t.Context(), exchange(10), -1); err != nil || !slices.Equal(c.targets(), []string{"a/m", "c/m"}) {
			t.Errorf("asked %v, %v", c.targets(), err)
		}
		if err := s.rest(); err != nil {
			t.Error(err)
		}
	})
}

// TestLimitedCallsAreRetriedWithinTheBudget: all that a provider refuses at once do not come back at once.
func TestLimitedCallsAreRetriedWithinTheBudget(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &cast{roles: map[string]role{"a/m": fails(statusIn(429, time.Second))}}
		s := play(t, c, ModelConfig{Targets: Targets("a/m")})
		var all sync.WaitGroup
		for i := range 100 {
			all.Go(func() {
				x := exchange(10)
				x.ID = strconv.Itoa(i)
				_ = s.call(t.Context(), x, -1)
			})
		}
		all.Wait()
		if n := len(c.targets()); n > 2*100+4*budgetFloor { // it has two credentials
			t.Errorf("%d tries for 100 calls", n)
		}
		if err := s.rest(); err != nil {
			t.Error(err)
		}
	})
}

// TestStreamsThatBreakCountOnce, as failures: a target that breaks most of them is ejected, and a probe that breaks off has
// not found it well for long.
func TestStreamsThatBreakCountOnce(t *testing.T) {
	t.Parallel()
	broken := func(context.Context, int) (*llm.Response, error) {
		return answer(&provider.Failure{Reason: provider.ReasonCut, Message: "broke the connection off"}), nil
	}
	synctest.Test(t, func(t *testing.T) {
		s := play(t, &cast{roles: map[string]role{"a/m": broken}}, ModelConfig{Targets: Targets("a/m", "b/m")})
		n := 0
		call := func() {
			n++
			x := exchange(10)
			x.ID = strconv.Itoa(n)
			_ = s.call(t.Context(), x, -1)
		}
		for range 5 {
			call()
		}
		if got := s.upstream("a/m").health.State(time.Now()).Kind; got != health.Ejected {
			t.Errorf("after five broken streams it is %v", got)
		}
		time.Sleep(6 * time.Second)
		for range 40 {
			call()
			time.Sleep(50 * time.Millisecond)
		}
		if got := s.upstream("a/m").health.State(time.Now()).Kind; got == health.Ramping || got == health.Healthy {
			t.Errorf("a probe, and what came behind it, broke off: it is %v", got)
		}
		if err := s.rest(); err != nil {
			t.Error(err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		s := play(t, &cast{}, ModelConfig{Targets: Targets("a/m")})
		_ = s.call(t.Context(), exchange(10), -1)
		for _, one := range s.state.Health.Standings() {
			if one.Target == "a/m" && one.OK != 1 {
				t.Errorf("one answer counts %d times", one.OK)
			}
		}
	})
}

// countingCast counts tokens for nothing.
type countingCast struct{ *cast }

func (countingCast) Counts() bool { return true }

// TestACountThatIsTooLateIsAnError, and no panic.
func TestACountThatIsTooLateIsAnError(t *testing.T) {
	t.Parallel()
	c := countingCast{&cast{}}
	l := &ledger{}
	r := New(Options{Table: NewTable(Config{"m": {Targets: Targets("a/m")}}, Surroundings{Providers: map[string]Provider{"a": c}}), Prices: noPrices{}, Journal: l, Reserver: l})
	x := exchange(10)
	x.Op, x.Deadline = llm.OpCount, time.Now().Add(-time.Millisecond)
	ctx, cancel := context.WithDeadlineCause(t.Context(), x.Deadline, fault.New(fault.DeadlinePassed, "too late"))
	defer cancel()
	if _, err := r.Handle(ctx, x); fault.From(err).Code != fault.DeadlinePassed || len(c.calls) != 0 {
		t.Errorf("%v, %d calls", err, len(c.calls))
	}
}

// TestWhoIsLeftOutHasNoChance: probabilities are those of having been first, so they sum to one.
func TestWhoIsLeftOutHasNoChance(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, policy := range Policies() {
			s := play(t, &cast{}, ModelConfig{Targets: Targets("a/m", "b/m", "c/m"), Route: policy})
			s.sicken("a/m")
			time.Sleep(6 * time.Second)
			if _, ok := s.upstream("a/m").health.Probe(time.Now()); !ok { // elsewhere
				t.Fatal("it cannot be probed")
			}
			x := exchange(10)
			if err := s.call(t.Context(), x, -1); err != nil {
				t.Fatal(err)
			}
			sum := 0.0
			for _, one := range x.Choice.Candidates {
				sum += one.Probability
				if one.Excluded != "" && one.Probability != 0 {
					t.Errorf("%s: %+v", policy, one)
				}
			}
			if sum < 0.999 || sum > 1.001 {
				t.Errorf("%s: the chances sum to %v", policy, sum)
			}
		}
	})
}

// TestAPrefixStaysWithItsServer, whoever is found beside it.
func TestAPrefixStaysWithItsServer(t *testing.T) {
	t.Parallel()
	house := &findingProvider{ends: &provider.Endpoints{Generation: 1, All: []provider.Endpoint{{Addr: "10.0.0.2:80"}, {Addr: "10.0.0.3:80"}}}}
	l := &ledger{}
	table := NewTable(Config{"m": {Targets: Targets("house/q"), Route: Fastest}}, Surroundings{Providers: map[string]Provider{"house": house}})
	r := New(Options{Table: table, Prices: noPrices{}, Journal: l, Reserver: l})
	p := table.models["m"]
	cached := func() map[string]int64 {
		c := r.choose(exchange(8192), p)
		defer c.free()
		out := map[string]int64{}
		for i := range c.all {
			out[c.all[i].endpoint] = c.all[i].cached
		}
		return out
	}
	x := exchange(8192)
	resp, err := r.Handle(t.Context(), x)
	if err != nil {
		t.Fatal(err)
	}
	drain(t, resp)
	asked := x.Tries[0].Endpoint
	if got := cached(); got[asked] == 0 {
		t.Fatalf("%s was asked: %v", asked, got)
	}
	house.ends = &provider.Endpoints{Generation: 2, All: []provider.Endpoint{{Addr: "10.0.0.1:80"}, {Addr: "10.0.0.2:80"}, {Addr: "10.0.0.3:80"}}}
	for at, n := range cached() {
		if (n > 0) != (at == asked) {
			t.Errorf("%s has %d tokens, and %s was asked", at, n, asked)
		}
	}
}

// TestUpstreamsAreForgotten: addresses and callers' names come and go, and whoever comes later is told apart all the same.
func TestUpstreamsAreForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &State{}
		busy := s.of("busy/m")
		trip := busy.load.begin(time.Now(), 1, 0, true, false)
		for i := range 2 * maxShared {
			s.of("p/" + strconv.Itoa(i))
		}
		if a, b := s.of("new/1"), s.of("new/2"); a == b {
			t.Error("two upstreams are one")
		}
		time.Sleep(time.Hour)
		s.of("later/m")
		if n := len(s.all); n > maxShared || s.all["busy/m"] != busy || s.all["later/m"] == nil {
			t.Errorf("%d are kept", n)
		}
		trip.end(0, 0)
	})
}

// TestOneDoubtDoesNotUndoAnother: where all that can do it are too small, whoever cannot do it is not asked.
func TestOneDoubtDoesNotUndoAnother(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &cast{roles: map[string]role{"b/m": refusedAs(provider.ClassContextLength)}}
		s := play(t, c, ModelConfig{Targets: Targets("a/m", "b/m"), OnContextLength: []string{"big/m"}},
			func(s *theatre) { s.options.Count = func(string, *llm.Request) (int64, bool) { return 5000, true } })
		s.upstream("a/m").lacks, s.upstream("b/m").context = needsTools, 4000
		x := exchange(20_000)
		withTools(x)
		x.Request.Raw = append(x.Request.Raw, make([]byte, 20_000)...)
		if err := s.call(t.Context(), x, -1); err != nil || !slices.Equal(c.targets(), []string{"b/m", "big/m"}) {
			t.Errorf("asked %v, %v", c.targets(), err)
		}
	})
}

// TestAllCredentialsThatAreOutAreTried, where nobody else is left.
func TestAllCredentialsThatAreOutAreTried(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &cast{roles: map[string]role{"a/m": fails(&provider.Failure{Reason: provider.ReasonStatus, Status: 401, Class: provider.ClassCredential, NothingBilled: true})}}
		s := play(t, c, ModelConfig{Targets: Targets("a/m", "b/m")})
		s.putOut("a/m", quota.Refused)
		s.putOut("b/m", quota.Refused)
		if err := s.call(t.Context(), exchange(10), -1); err != nil {
			t.Errorf("asked %v, %v", c.targets(), err)
		}
	})
}

// TestARotatedKeyFailsNoCall: however many calls find out at once that a credential is refused, each goes on with the next.
func TestARotatedKeyFailsNoCall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var s *theatre
		c := &cast{}
		c.roles = map[string]role{"a/m": func(ctx context.Context, n int) (*llm.Response, error) {
			time.Sleep(10 * time.Millisecond)
			c.mu.Lock()
			first := c.calls[n].via.Credential == 0
			c.mu.Unlock()
			if first {
				return nil, &provider.Failure{Reason: provider.ReasonStatus, Status: 401, Class: provider.ClassCredential, NothingBilled: true}
			}
			time.Sleep(10 * time.Millisecond)
			return answer(nil), nil
		}}
		s = play(t, c, ModelConfig{Targets: Targets("a/m")})
		var all sync.WaitGroup
		for i := range 50 {
			all.Go(func() {
				x := exchange(10)
				x.ID = strconv.Itoa(i)
				if err := s.call(t.Context(), x, -1); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if err := s.rest(); err != nil {
			t.Error(err)
		}
	})
}

// contracts are prices that depend on the credential and the service tier.
type contracts struct{}

func (contracts) PriceFor(_ llm.Target, d catalog.Dispatch) (llm.Price, bool) {
	return llm.Price{Input: llm.Rate(d.Credential), Output: llm.Rate(len(d.Tier))}, true
}

// TestTriesArePricedByTheirCredentialAndTier: the next try, with another credential, has its own price.
func TestTriesArePricedByTheirCredentialAndTier(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &cast{}
		c.roles = map[string]role{"a/m": func(_ context.Context, n int) (*llm.Response, error) {
			if n == 0 {
				return nil, &provider.Failure{Reason: provider.ReasonStatus, Status: 401, Class: provider.ClassCredential, NothingBilled: true}
			}
			return answer(nil), nil
		}}
		s := play(t, c, ModelConfig{Targets: Targets("a/m")}, func(s *theatre) { s.options.Prices = contracts{} })
		x := exchange(10)
		x.Request.ServiceTier = "flex"
		if err := s.call(t.Context(), x, -1); err != nil {
			t.Fatal(err)
		}
		for i := range x.Tries {
			if p := x.Tries[i].Price; p == nil || int(p.Input) != c.calls[i].via.Credential+1 || p.Output != 4 {
				t.Errorf("try %d with credential %d: %+v", i, c.calls[i].via.Credential+1, p)
			}
		}
		if len(x.Tries) != 2 || x.Tries[0].Price.Input == x.Tries[1].Price.Input {
			t.Errorf("%+v", x.Tries)
		}
	})
}

package route

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/provider"
)

// findingProvider is one whose servers are looked for.
type findingProvider struct {
	fakeProvider
	ends *provider.Endpoints
}

func (p *findingProvider) Discovers() (time.Duration, bool) { return time.Second, true }
func (p *findingProvider) Found() *provider.Endpoints       { return p.ends }

// TestServersThatAreFoundAreTargetsOfTheirOwn: by themselves in the choice, with their addresses in the record, and gone when
// they are.
func TestServersThatAreFoundAreTargetsOfTheirOwn(t *testing.T) {
	t.Parallel()
	house := &findingProvider{}
	l := &ledger{}
	table := NewTable(Config{"m": {Targets: append(Targets("house/q"), TargetConfig{Target: "b/m", Weight: 2}), Route: Weighted}},
		Surroundings{Providers: map[string]Provider{"house": house, "b": &fakeProvider{}}})
	r := New(Options{Table: table, Prices: noPrices{}, Journal: l, Reserver: l})
	choice := func() (keys []string, chances []float64, tried []pipeline.Try) {
		x := &pipeline.Exchange{ID: "ex_1", Received: time.Now(), Op: llm.OpChat, Request: &llm.Request{Model: "m"}}
		resp, err := r.Handle(t.Context(), x)
		if err != nil {
			t.Fatal(err)
		}
		drain(t, resp)
		for _, c := range x.Choice.Candidates {
			keys, chances = append(keys, c.Target), append(chances, c.Probability)
		}
		return keys, chances, x.Tries
	}
	if keys, _, _ := choice(); !slices.Equal(keys, []string{"house/q", "b/m"}) {
		t.Errorf("before any were found: %v", keys)
	}
	house.ends = &provider.Endpoints{Generation: 1, All: []provider.Endpoint{
		{Addr: "10.0.0.1:8000", Priority: 1, Weight: 3}, {Addr: "10.0.0.2:8000", Priority: 1, Weight: 1}, {Addr: "10.0.0.3:8000", Priority: 2},
	}}
	asked := map[string]bool{}
	for range 200 {
		keys, chances, tries := choice()
		if want := []string{"house/q@10.0.0.1:8000", "house/q@10.0.0.2:8000", "b/m"}; !slices.Equal(keys, want) {
			t.Fatalf("%v", keys)
		}
		if want := []float64{0.25, 1.0 / 12, 2.0 / 3}; !nearly(chances, want) {
			t.Fatalf("chances %v", chances)
		}
		if tries[0].Target == "house/q" {
			asked[tries[0].Endpoint] = true
		}
	}
	if !asked["10.0.0.1:8000"] || !asked["10.0.0.2:8000"] || len(asked) != 2 {
		t.Errorf("asked %v", asked)
	}
	house.ends = &provider.Endpoints{Generation: 2, All: house.ends.All[1:2]}
	if keys, _, _ := choice(); !slices.Equal(keys, []string{"house/q@10.0.0.2:8000", "b/m"}) {
		t.Errorf("after one went: %v", keys)
	}
}

func nearly(a, b []float64) bool {
	return slices.EqualFunc(a, b, func(x, y float64) bool { return x-y < 1e-9 && y-x < 1e-9 })
}

// TestOnlyWhoWouldAskItFindsOut: a call whose first target is well is not given a stand-in's answer to find out whether that is
// well again, until nobody else has for half a minute; if the first fails, the ejected one is asked all the same.
func TestOnlyWhoWouldAskItFindsOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &cast{}
		s := play(t, c, ModelConfig{Targets: Targets("a/m", "b/m")})
		s.sicken("b/m")
		time.Sleep(6 * time.Second)
		for range 5 {
			if err := s.call(t.Context(), exchange(10), -1); err != nil {
				t.Fatal(err)
			}
		}
		if got := c.targets(); slices.Contains(got, "b/m") {
			t.Errorf("asked %v", got)
		}
		c.roles = map[string]role{"a/m": fails(status(503))}
		if err := s.call(t.Context(), exchange(10), -1); err != nil {
			t.Errorf("with the first broken: %v", err)
		}
		if got := c.targets(); got[len(got)-1] != "b/m" {
			t.Errorf("asked %v", got)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		c := &cast{}
		s := play(t, c, ModelConfig{Targets: Targets("a/m", "b/m")})
		s.sicken("b/m")
		time.Sleep(6*time.Second + doubtFor)
		if err := s.call(t.Context(), exchange(10), -1); err != nil || c.targets()[0] != "b/m" {
			t.Errorf("after a while: %v, %v", c.targets(), err)
		}
	})
}

package route

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"pgregory.net/rapid"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/provider"
)

// A scripted provider answers as do says, and notes whom it was asked for.
type scripted struct {
	do func(llm.Target) error

	mu    sync.Mutex // guards the field below
	calls []string
}

func (p *scripted) Do(ctx context.Context, _ provider.Via, t llm.Target, _ *llm.Request) (*llm.Response, error) {
	p.mu.Lock()
	p.calls = append(p.calls, t.String())
	p.mu.Unlock()
	if err := p.do(t); err != nil {
		return nil, err
	}
	return (&fakeProvider{}).Do(ctx, provider.Via{}, t, nil)
}

// places are a table's providers and where each is.
func places(p Provider, at map[string]Place) Surroundings {
	s := Surroundings{Providers: map[string]Provider{}, Places: func(name string) Place { return at[name] }}
	for name := range at {
		s.Providers[name] = p
	}
	return s
}

// The rules of a project hold for whoever is asked, whatever opens the way to them: policies, rules, failures, refusals that
// name other targets, and counts. Whom they leave out is not asked, and the record says why.
func TestControl44WhateverIsAskedIsWhereTheProjectWants(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		at := map[string]Place{}
		var targets []TargetConfig
		var names []string
		for _, name := range []string{"a", "b", "c", "d"} {
			at[name] = Place{rapid.SampledFrom([]string{"", "eu", "eu-west-1", "us-east"}).Draw(rt, name+" region"), rapid.Bool().Draw(rt, name+" private")}
			target := TargetConfig{Target: name + "/m", Weight: rapid.IntRange(0, 3).Draw(rt, name+" weight")}
			if rapid.Bool().Draw(rt, name+" by itself") { // a target may say otherwise than its provider
				target.Region = rapid.SampledFrom([]string{"eu", "us-east"}).Draw(rt, name+" own region")
				at[name] = Place{target.Region, at[name].Private}
			}
			targets, names = append(targets, target), append(names, target.Target)
		}
		caller := &pipeline.Caller{
			Project: "prj_1", PrivateOnly: rapid.Bool().Draw(rt, "private only"),
			Regions: rapid.SampledFrom([][]string{nil, {"eu"}, {"eu*"}, {"us-*", "eu"}, {"*"}}).Draw(rt, "regions"),
		}
		may := func(name string) bool {
			p := at[strings.TrimSuffix(name, "/m")]
			return (!caller.PrivateOnly || p.Private) && (len(caller.Regions) == 0 || p.Region != "" &&
				slices.ContainsFunc(caller.Regions, func(glob string) bool { return llm.MatchName(glob, p.Region) }))
		}
		p := &scripted{do: func(llm.Target) error {
			f := status(rapid.SampledFrom([]int{500, 429, 400}).Draw(rt, "status"))
			f.Class = rapid.SampledFrom([]provider.Class{"", provider.ClassContextLength, provider.ClassContentPolicy}).Draw(rt, "class")
			return f
		}}
		model := ModelConfig{
			Targets: targets[:rapid.IntRange(1, 4).Draw(rt, "targets")], Route: rapid.SampledFrom(Policies()).Draw(rt, "policy"), Tries: 4,
			OnContextLength: names, OnContentPolicy: names[2:],
		}
		l := &ledger{}
		r := New(Options{Table: NewTable(Config{"support": model}, places(p, at)), Prices: noPrices{}, Journal: l, Reserver: l})
		x := &pipeline.Exchange{ID: "ex_1", Received: time.Now(), Request: &llm.Request{Model: "support"}, Caller: caller}
		_, err := r.Handle(t.Context(), x)
		for _, name := range p.calls {
			if !may(name) {
				rt.Fatalf("%s was asked, which is at %+v", name, at[name[:1]])
			}
		}
		able := slices.ContainsFunc(model.Targets, func(t TargetConfig) bool { return may(t.Target) })
		if (len(p.calls) > 0) != able {
			rt.Fatalf("asked %v, though there is one: %v", p.calls, able)
		}
		if e := fault.From(err); !able && (e.Code != fault.NoTarget || e.HTTPStatus() != http.StatusServiceUnavailable) {
			rt.Fatalf("nobody may be asked: %+v", e)
		}
	})
}

// TestControl44Hedges: a hedge is a call like any other.
func TestControl44Hedges(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		regions []string
		want    []string // beside the first
	}{{"anywhere", nil, []string{"away/m"}}, {"at home", []string{"home"}, nil}} {
		synctest.Test(t, func(t *testing.T) {
			late := time.Millisecond
			p := &scripted{do: func(to llm.Target) error {
				if to.Provider == "home" {
					time.Sleep(late)
				}
				return nil
			}}
			l := &ledger{}
			metrics, err := NewMetrics(prometheus.NewRegistry())
			if err != nil {
				t.Fatal(err)
			}
			table := NewTable(Config{"support": {Targets: Targets("home/m", "away/m"), Tries: 2, Hedge: HedgeConfig{Share: "100%"}}},
				places(p, map[string]Place{"home": {Region: "home"}, "away": {Region: "away"}}))
			r := New(Options{Table: table, Prices: noPrices{}, Journal: l, Reserver: l, Metrics: metrics})
			ask := func() {
				x := &pipeline.Exchange{
					ID: "ex_1", Received: time.Now(), Op: llm.OpChat, Request: &llm.Request{Model: "support", Stream: true},
					Caller: &pipeline.Caller{Regions: c.regions},
				}
				resp, err := r.Handle(t.Context(), x)
				if err != nil {
					t.Fatal(err)
				}
				drain(t, resp)
				for i := range x.Tries {
					x.Tries[i].Settle()
				}
			}
			for range 40 { // until it is known how long the first token takes
				ask()
			}
			counted := func(c prometheus.Counter) int { return int(testutil.ToFloat64(c)) }
			before := counted(metrics.hedges[hedgeWon])
			p.calls, late = nil, time.Minute
			ask()
			if want := append([]string{"home/m"}, c.want...); !slices.Equal(p.calls, want) {
				t.Errorf("%s: asked %v, want %v", c.name, p.calls, want)
			}
			if won := counted(metrics.hedges[hedgeWon]) - before; won != len(c.want) {
				t.Errorf("%s: %d hedges won", c.name, won)
			}
			if left := counted(metrics.excluded[misplaced]); (left == 41) != (c.want == nil) || left != 41 && left != 0 {
				t.Errorf("%s: %d targets were left out", c.name, left)
			}
		})
	}
}

package drill

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/provider"
	"github.com/penstock/penstock/internal/usage"
)

// played is a report as of calls that were made, without making them.
func played(t *testing.T, file string, o Options, calls []*call) *Report {
	t.Helper()
	o.Config, o.Length, o.Rate, o.Allow = load(t, file), 10*time.Second, 20, 0.01
	d, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	r := &Report{Scenario: d.scenario, Model: d.model, Troubled: d.troubledNames(), Books: Books{Agree: true}}
	for _, one := range d.targets {
		r.Targets = append(r.Targets, one.String())
	}
	for _, p := range d.phases {
		r.Phases = append(r.Phases, phaseOf(p, calls))
	}
	r.Whole, r.Tries, r.Recovery = phaseOf(span{"whole", 0, o.Length}, calls), tallies(r.Targets, calls), d.recovery(calls)
	if r.Whole.Calls > 0 {
		r.Failed = float64(r.Whole.Calls-r.Whole.Answered) / float64(r.Whole.Calls)
	}
	d.judge(r, calls)
	return r
}

// at makes a call of a moment, with tries written as TARGET:REASON, each 100 ms after the one before.
func at(due time.Duration, kind string, tries ...string) *call {
	c := &call{due: due, stream: true, kind: kind, first: 300 * time.Millisecond, took: 800 * time.Millisecond, record: &usage.Record{}}
	if kind == kindUnanswered {
		c.first, c.took = 0, 5*time.Second
	}
	for i, text := range tries {
		target, reason, _ := strings.Cut(text, ":")
		c.record.Tries = append(c.record.Tries, pipeline.Try{Target: target, Reason: reason, StartNS: int64(i) * 1e8})
		if reason == reasonOK {
			c.record.Target = target
		}
	}
	return c
}

const pair = `
providers: { a: { dialect: openai }, b: { dialect: anthropic, timeouts: { first_token: 2s } } }
models: { m: { tries: 2, targets: [a/x, a/y, b/z] }, one: { targets: [a/x] }, same: { targets: [a/x, a/y] } }
`

func TestVerdicts(t *testing.T) {
	t.Parallel()
	first := string(provider.ReasonFirstToken)
	for name, c := range map[string]struct {
		o          Options
		calls      []*call
		say, hints []string // parts of sentences, and the keys of the hints
	}{
		"hidden": {
			Options{Scenario: "outage"},
			[]*call{at(0, "", "a/x:ok"), at(2*time.Second, "", "a/x:status", "b/z:ok"), at(3*time.Second, "", "a/x:status", "a/x:status", "b/z:ok"), at(9*time.Second, "", "a/x:ok")},
			[]string{"No client saw an error.", "a/x failed 3 tries; while it was in trouble, answers came from b/z 2.", "2 calls were answered after a try had failed, by one that began 150 ms later on average."},
			nil,
		},
		"alone": {
			Options{Scenario: "outage", Model: "one"},
			[]*call{at(2*time.Second, "503 provider_overloaded", "a/x:status")},
			[]string{"100 % of the calls failed (1 of 1), most of them with: 503 provider_overloaded.", "nobody else answered"},
			[]string{"models.one.targets"},
		},
		"all at one provider": {
			Options{Scenario: "outage", Model: "same", Targets: []string{"a"}},
			[]*call{at(2*time.Second, "503 x", "a/x:status", "a/y:status")},
			nil,
			[]string{"models.same.targets"},
		},
		"too few tries": {
			Options{Scenario: "outage", Model: "m", Targets: []string{"a"}},
			[]*call{at(2*time.Second, "503 x", "a/x:status", "a/y:status")},
			nil,
			[]string{"models.m.tries"},
		},
		"long timer": {
			Options{Scenario: "stall", Model: "m"},
			[]*call{at(0, "", "a/x:ok"), at(2*time.Second, kindUnanswered, "a/x:canceled"), at(3*time.Second, "", "a/x:"+first, "b/z:ok")},
			[]string{"1 call was still without an answer"},
			[]string{"providers.a.timeouts.first_token"},
		},
		"short timer": {
			Options{Scenario: "outage", Model: "m"},
			[]*call{at(0, "", "a/x:ok"), at(2*time.Second, "504 timeout", "a/x:status", "b/z:"+first)},
			nil,
			[]string{"models.m.tries", "providers.b.timeouts.first_token"},
		},
		"nobody called": {Options{Scenario: "outage"}, nil, []string{"No call was made"}, nil},
	} {
		r := played(t, pair, c.o, c.calls)
		for _, part := range c.say {
			if text := strings.Join(r.Verdict, "\n"); !strings.Contains(text, part) {
				t.Errorf("%s: %q is not in\n%s", name, part, text)
			}
		}
		var keys []string
		for _, h := range r.Hints {
			keys = append(keys, h.Key)
		}
		if !slices.Equal(keys, c.hints) {
			t.Errorf("%s: hints %v", name, r.Hints)
		}
	}
}

package drill

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/penstock/penstock/internal/figure"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/provider"
	"github.com/penstock/penstock/internal/route"
)

// judge says in words what came of the drill, and which settings would have helped.
func (d *Drill) judge(r *Report, calls []*call) {
	say := func(format string, args ...any) { r.Verdict = append(r.Verdict, fmt.Sprintf(format, args...)) }
	switch failed := r.Whole.Calls - r.Whole.Answered; {
	case r.Whole.Calls == 0:
		say("No call was made: the drill was too short for its rate.")
		return
	case failed == 0:
		say("No client saw an error.")
	default:
		worst := r.Whole.Errors[0]
		say("%s of the calls failed (%s of %s), most of them with: %s.", percent(r.Failed), count(failed),
			count(r.Whole.Calls), worst.Kind)
	}
	if r.Interrupted {
		say("The drill was interrupted: this is about what had been played by then.")
	}
	d.sayWho(r, say)
	d.sayTimes(r, say)
	d.sayMoney(r, say)
	d.sayRecovery(r, say)
	d.hint(r, calls)
}

// percent is a share in a few figures.
func percent(share float64) string {
	switch p := 100 * share; {
	case p == 0:
		return "0 %"
	case p < 1:
		return fmt.Sprintf("%.2g %%", p)
	default:
		return fmt.Sprintf("%.0f %%", p)
	}
}

// sayWho tells which targets failed and who answered instead.
func (d *Drill) sayWho(r *Report, say func(string, ...any)) {
	failed, instead := 0, []string{}
	for i := range r.Tries {
		t := &r.Tries[i]
		if slices.Contains(r.Troubled, t.Target) {
			failed += t.Failed
		} else if n := r.Phases[1].Answers[t.Target]; n > 0 {
			instead = append(instead, fmt.Sprintf("%s %s", t.Target, count(n)))
		}
	}
	who := strings.Join(r.Troubled, ", ")
	switch waiting := countKind(r, kindUnanswered); {
	case waiting > 0:
		say("%s still without an answer when the drill gave up waiting, most likely from %s; answers came from %s.", callsWere(waiting),
			who, orNobody(instead))
	case failed == 0 && r.Phases[1].Answered == r.Phases[1].Calls && !touched(r):
		say("%s was asked nothing while it was in trouble: the drill shows nothing of it.", who)
	case failed == 0:
		say("No try at %s failed.", who)
	case len(instead) > 0:
		say("%s failed %s tries; while it was in trouble, answers came from %s.", who, count(failed), strings.Join(instead, ", "))
	default:
		say("%s failed %s tries, and nobody else answered.", who, count(failed))
	}
	if n := r.Whole.Fallbacks; n > 0 {
		say("%s answered after a try had failed, by one that began %s later on average.", callsWere(n), took(r.Whole.Later))
	}
}

// countKind is how many clients saw one kind of error.
func countKind(r *Report, kind string) int {
	for _, e := range r.Whole.Errors {
		if e.Kind == kind {
			return e.Calls
		}
	}
	return 0
}

func orNobody(names []string) string {
	if len(names) == 0 {
		return "nobody"
	}
	return strings.Join(names, ", ")
}

// touched reports whether a troubled target had any try.
func touched(r *Report) bool {
	return slices.ContainsFunc(r.Tries, func(t Tally) bool { return slices.Contains(r.Troubled, t.Target) && t.Tries > 0 })
}

func (d *Drill) sayTimes(r *Report, say func(string, ...any)) {
	quiet, trouble := &r.Phases[0], &r.Phases[1]
	if quiet.FirstToken.P50 == 0 || trouble.FirstToken.P50 == 0 {
		return
	}
	say("The first token came after %s (95 %%: %s) while there was trouble, %s (%s) before.", took(trouble.FirstToken.P50), took(trouble.FirstToken.P95),
		took(quiet.FirstToken.P50), took(quiet.FirstToken.P95))
}

func took(s float64) string { return figure.Duration(time.Duration(s * float64(time.Second))) }

func (d *Drill) sayMoney(r *Report, say func(string, ...any)) {
	before, during := r.Phases[0].CostPerAnswer(), r.Phases[1].CostPerAnswer()
	if before == 0 || during == 0 || near(before, during) {
		return
	}
	say("An answer cost %s on average while there was trouble, %s before.", figure.Money(during), figure.Money(before))
}

// settle is within what time a target that is well again has its share back.
const settle = 15 * time.Second

// near reports whether two costs are the same but for chance.
func near(a, b llm.Money) bool { return max(a, b)-min(a, b) <= max(a, b)/10 }

func (d *Drill) sayRecovery(r *Report, say func(string, ...any)) {
	who := strings.Join(r.Troubled, ", ")
	switch x := r.Recovery; {
	case r.Interrupted || r.Recovery.Before == 0:
	case x.Back < 0:
		say("%s did not answer again before the drill ended, %s after its trouble had.", who, took(r.Phases[2].Until-r.Phases[2].From))
	case x.Even < 0:
		say("%s answered again %s after its trouble had ended; it had not its share of before (%s) back when the drill ended (%s).", who,
			took(x.Back), percent(x.Before), percent(x.After))
	default:
		say("%s answered again %s after its trouble had ended, and had its share of before (%s) back after %s.", who, took(x.Back), percent(x.Before), took(x.Even))
		return
	}
	if left := r.Phases[2].Until - r.Phases[2].From; left < settle.Seconds() && !r.Interrupted && r.Recovery.Before > 0 {
		say("That takes up to %s, and the drill left %s for it: one of %s (--for) leaves enough.", took(settle.Seconds()), took(left), took(4*settle.Seconds()))
	}
}

// hint names the settings that would have spared clients something.
func (d *Drill) hint(r *Report, calls []*call) {
	add := func(key, format string, args ...any) {
		r.Hints = append(r.Hints, Hint{key, fmt.Sprintf(format, args...)})
	}
	path, m := "models."+d.model, d.o.Config.Models[d.model]
	healthy := slices.ContainsFunc(d.targets, func(t llm.Target) bool { return !d.troubled(t) })
	if r.Failed > 0 {
		d.hintTargets(add, path, healthy)
		if healthy && m.Tries > 0 && m.Tries < len(d.targets) && d.exhausted(calls, m.Tries) {
			add(path+".tries", "%d tries are not enough to come to the last of %d targets.", m.Tries, len(d.targets))
		}
	}
	d.hintTimers(r, calls, healthy, add)
	d.hintHedge(r, healthy, m, add)
	if d.scenario.Name == "throttle" && !healthy {
		for _, t := range d.trouble {
			if len(d.o.Config.Providers[t.Provider].References()) == 1 {
				add("providers."+t.Provider+".credentials", "a second credential with a rate limit of its own would take over. (Twins refuse all credentials alike.)")
			}
		}
	}
	d.hintLeft(r, path, add)
}

func (d *Drill) hintTargets(add func(key, format string, args ...any), path string, healthy bool) {
	key := path + ".targets"
	if _, named := d.o.Config.Models[d.model]; !named {
		key = "models"
	}
	switch {
	case len(d.targets) == 1 && key == "models":
		add(key, "%s is called by its provider's name, so nobody else can answer. Give it a name of its own, with two targets.", d.model)
	case len(d.targets) == 1:
		add(key, "%s has no target beside %s. Add one, best at another provider.", d.model, d.targets[0])
	case !healthy && sameProvider(d.targets):
		add(key, "all targets of %s are at %s. Add one at another provider.", d.model, d.targets[0].Provider)
	case !healthy:
		add(key, "all targets of %s were in trouble at once; no setting helps against that but one more target.", d.model)
	}
}

func sameProvider(targets []llm.Target) bool {
	return !slices.ContainsFunc(targets, func(t llm.Target) bool { return t.Provider != targets[0].Provider })
}

// exhausted reports whether a failed call had all of its tries.
func (d *Drill) exhausted(calls []*call, tries int) bool {
	return slices.ContainsFunc(calls, func(c *call) bool { return c.kind != "" && c.record != nil && len(c.record.Tries) >= tries })
}

// long is how long a client should not have to wait for a sign of life.
const long = 15 * time.Second

// hintTimers looks for timers that let clients wait for a target that says nothing.
func (d *Drill) hintTimers(r *Report, calls []*call, healthy bool, add func(key, format string, args ...any)) {
	waited, expired := 0, map[string]int{}
	for _, c := range calls {
		if c.kind == kindUnanswered && c.took.Seconds() > 1.5*r.Phases[0].Answer.P95 { // not just late
			waited++
		}
		if c.record == nil {
			continue
		}
		for i := range c.record.Tries {
			if provider.Reason(c.record.Tries[i].Reason) == provider.ReasonFirstToken {
				t, _ := llm.ParseTarget(c.record.Tries[i].Target)
				if d.troubled(t) {
					expired[t.Provider]++
				} else {
					expired["not "+t.Provider]++
				}
			}
		}
	}
	for _, name := range d.troubledProviders() {
		timer := d.o.Config.Providers[name].Timeouts.FirstToken
		key := "providers." + name + ".timeouts.first_token"
		switch {
		case waited > 0 && timer > 0:
			add(key, "is %s: so long a call waits for a target that says nothing, before another is asked. %s without an answer when the drill gave up.",
				figure.Duration(timer), callsWere(waited))
		case expired[name] > 0 && healthy && (timer >= long || timer.Seconds() > 3*r.Phases[0].Answer.P95):
			add(key, "is %s: so long a call waits for a target that says nothing, before another is asked. Little more than its slowest good answers take is enough.",
				figure.Duration(timer))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(d.o.Config.Providers)) {
		if n := expired["not "+name]; n > 0 {
			add("providers."+name+".timeouts.first_token", "is %s, and it ended %s good tries at %s, which had no trouble: for a plain answer it is the time for "+
				"the whole. Twins answer 50 tokens in 0.8 s on average; look at your own answers with penstock latency before you set it.",
				figure.Duration(d.o.Config.Providers[name].Timeouts.FirstToken), count(n), name)
		}
	}
}

func callsWere(n int) string {
	if n == 1 {
		return "1 call was"
	}
	return count(n) + " calls were"
}

// count is a number as it is written in sentences.
func count(n int) string { return figure.Count(int64(n)) }

func (d *Drill) troubledProviders() (names []string) {
	for _, t := range d.trouble {
		if !slices.Contains(names, t.Provider) {
			names = append(names, t.Provider)
		}
	}
	return names
}

// hintHedge tells of hedging where answers were slow and another target would have been quicker.
func (d *Drill) hintHedge(r *Report, healthy bool, m route.ModelConfig, add func(key, format string, args ...any)) {
	slow := r.Phases[0].FirstToken.P95 > 0 && r.Phases[1].FirstToken.P95 > 3*r.Phases[0].FirstToken.P95
	if slow && healthy && m.Hedge.Share == "" && d.scenario.Name != "outage" && len(m.Targets) > 1 {
		add("models."+d.model+".hedge.share", "is not set: with 5%%, so many of the calls whose first token is late would be sent to a second target, too.")
	}
}

// hintLeft tells which targets could not be chosen at all, for another reason than their health.
func (d *Drill) hintLeft(r *Report, path string, add func(key, format string, args ...any)) {
	for i := range r.Tries {
		t := &r.Tries[i]
		if t.Tries > 0 || slices.Contains(r.Troubled, t.Target) || r.Failed == 0 {
			continue
		}
		for why, n := range t.Left {
			if n == r.Whole.Calls {
				add(path+".targets", "%s was never asked: %s.", t.Target, why)
			}
		}
	}
}

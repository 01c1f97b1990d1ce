package drill

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/usage"
)

// A Report is what came of a drill. Its JSON is a contract (penstock drill --json).
type Report struct {
	Scenario Scenario `json:"scenario"`
	Model    string   `json:"model"`
	Targets  []string `json:"targets"`  // of the model, in the order of the file
	Troubled []string `json:"troubled"` // those that had the trouble
	Seed     uint64   `json:"seed"`
	Rate     float64  `json:"rate"` // calls a second
	Seconds  float64  `json:"seconds"`
	// Interrupted says that the drill was ended before its time, so that less was played.
	Interrupted bool `json:"interrupted"`

	Phases []Phase `json:"phases"` // quiet, trouble, recovery
	Whole  Phase   `json:"whole"`
	Turns  []Turn  `json:"turns"` // how Penstock saw the targets change
	Tries  []Tally `json:"tries"` // by target
	Slots  []Slot  `json:"slots"` // over time
	// Recovery is about the targets that had the trouble, once it was over.
	Recovery Recovery `json:"recovery"`
	Books    Books    `json:"books"`

	Allow   float64  `json:"allow"`   // share of failed calls that was allowed
	Failed  float64  `json:"failed"`  // share of failed calls
	Passed  bool     `json:"passed"`  // it was played whole, not more failed than was allowed, and the books agree
	Verdict []string `json:"verdict"` // sentences
	Hints   []Hint   `json:"hints"`
	// Data is where the records are, if they and the bill do not agree; else everything was removed.
	Data string `json:"data,omitzero"`
}

// A Phase sums the calls that were due in a part of the time.
type Phase struct {
	Name      string  `json:"name"`
	From      float64 `json:"from_seconds"`
	Until     float64 `json:"until_seconds"`
	Calls     int     `json:"calls"`
	Answered  int     `json:"answered"`
	Fallbacks int     `json:"fallbacks"` // answered after a try had failed
	// Later is by how much those were sent later to the target that answered them than to the first, on average, in seconds.
	Later  float64 `json:"fallback_later_seconds"`
	Hedged int     `json:"hedged"` // with a second request beside the first
	Errors []Error `json:"errors"` // that clients saw, the most frequent first
	// FirstToken is of answered streams, Answer the whole of every answer, from when the call was due.
	FirstToken Quantiles `json:"first_token_seconds"`
	Answer     Quantiles `json:"answer_seconds"`
	Tries      float64   `json:"tries_per_call"`
	CostNano   llm.Money `json:"cost_nano"` // by Penstock's records
	// Answers are how many calls each target answered.
	Answers map[string]int `json:"answers"`
}

// CostPerAnswer is what one answer cost on average, failed tries included.
func (p *Phase) CostPerAnswer() llm.Money {
	if p.Answered == 0 {
		return 0
	}
	return p.CostNano / llm.Money(p.Answered)
}

// Quantiles are in seconds; 0 where nothing was measured.
type Quantiles struct {
	P50 float64 `json:"p50"`
	P95 float64 `json:"p95"`
}

// An Error is one kind of error that clients saw.
type Error struct {
	Kind    string `json:"kind"` // the status and the code, or in words what is neither
	Calls   int    `json:"calls"`
	Example string `json:"example"` // a message, or what the client's side said
}

// A Tally is what became of the tries at one target.
type Tally struct {
	Target  string         `json:"target"`
	Tries   int            `json:"tries"`
	Failed  int            `json:"failed"`
	Reasons map[string]int `json:"reasons"` // of those that failed
	Left    map[string]int `json:"left"`    // why it could not be chosen, and for how many calls
}

// A Slot is a short part of the time.
type Slot struct {
	From    float64        `json:"from_seconds"`
	Answers map[string]int `json:"answers"` // by target, of calls that were due in it
	Errors  int            `json:"errors"`
}

// A Recovery says how the load came back.
type Recovery struct {
	// Before and After are the shares of the answers that the troubled targets gave in the quiet phase and at the end.
	Before float64 `json:"share_before"`
	After  float64 `json:"share_after"`
	// Back is when the first of the troubled targets answered again, in seconds after the trouble had ended; -1: it did not.
	Back float64 `json:"back_seconds"`
	// Even is when they had at least four fifths of Before again, and kept it; -1: not within the drill.
	Even float64 `json:"even_seconds"`
	// Peak is the most that they answered within a second or more after the trouble, against their average before it.
	Peak float64 `json:"peak"`
}

// A Hint is a setting that would have spared clients something.
type Hint struct {
	Key  string `json:"key"` // the path of the setting
	Text string `json:"text"`
}

// report evaluates what was played.
func (d *Drill) report(ctx context.Context, interrupted bool) (*Report, error) {
	d.mu.Lock()
	calls := d.calls
	d.mu.Unlock()
	records, err := d.settled(ctx, calls)
	if err != nil {
		return nil, err
	}
	if interrupted { // what was cut off by that tells nothing
		calls = slices.DeleteFunc(slices.Clone(calls), func(c *call) bool { return c.kind == kindUnanswered })
	}
	out := &Report{
		Scenario: d.scenario, Model: d.model, Targets: []string{}, Troubled: d.troubledNames(), Seed: d.o.Seed, Rate: d.o.Rate,
		Seconds: seconds(time.Since(d.begun)), Interrupted: interrupted, Turns: d.watch.seen(), Allow: d.o.Allow, Verdict: []string{}, Hints: []Hint{},
	}
	for _, t := range d.targets {
		out.Targets = append(out.Targets, t.String())
	}
	for _, p := range d.phases {
		out.Phases = append(out.Phases, phaseOf(p, calls))
	}
	out.Whole = phaseOf(span{"whole", 0, d.o.Length}, calls)
	out.Tries = tallies(out.Targets, calls)
	out.Slots = slotsOf(d.o.Length, calls)
	out.Recovery = d.recovery(calls)
	out.Books = compare(records, d.sim.Bill())
	if out.Whole.Calls > 0 {
		out.Failed = float64(out.Whole.Calls-out.Whole.Answered) / float64(out.Whole.Calls)
	}
	out.Passed = out.Failed <= out.Allow && out.Books.Agree && !interrupted
	d.judge(out, calls)
	return out, nil
}

// settled reads the records once there is one of each call, and gives them to the calls. A call that its client gave up has
// its record a moment later; one that never came to Penstock has none.
func (d *Drill) settled(ctx context.Context, calls []*call) ([]*usage.Record, error) {
	byID := make(map[string]*call, len(calls))
	for _, c := range calls {
		byID[c.id()] = c
	}
	enough := time.Now().Add(5 * time.Second)
	for {
		resting, cancel := context.WithTimeout(ctx, 10*time.Second)
		err := d.sim.Idle(resting)
		cancel()
		if err != nil {
			return nil, fmt.Errorf("the twins do not come to rest: %w", err)
		}
		records, err := d.admin.records(ctx)
		if err != nil {
			return nil, err
		}
		left := len(calls)
		for _, r := range records {
			if c := byID[r.ClientID]; c != nil {
				c.record = r
				left--
			}
		}
		if left <= 0 || time.Now().After(enough) {
			return records, nil
		}
		sleepUntil(ctx, time.Now().Add(lookEvery))
	}
}

// within are the calls that were due in a part of the time.
func within(s span, calls []*call) (some []*call) {
	for _, c := range calls {
		if c.due >= s.from && c.due < s.until {
			some = append(some, c)
		}
	}
	return some
}

func phaseOf(s span, calls []*call) Phase {
	p := Phase{Name: s.name, From: seconds(s.from), Until: seconds(s.until), Errors: []Error{}, Answers: map[string]int{}}
	errors := map[string]*Error{}
	var first, took []time.Duration
	tries, later := 0, time.Duration(0)
	for _, c := range within(s, calls) {
		p.Calls++
		if c.record != nil {
			p.CostNano += c.record.CostNano
			tries += len(c.record.Tries)
		}
		if c.kind != "" {
			e := errors[c.kind]
			if e == nil {
				e = &Error{Kind: c.kind, Example: c.example}
				errors[c.kind] = e
			}
			e.Calls++
			continue
		}
		p.Answered++
		took = append(took, c.took)
		if c.stream {
			first = append(first, c.first)
		}
		if c.record != nil {
			p.Answers[c.record.Target]++
			if c.fellBack() {
				p.Fallbacks++
				later += c.later()
			}
			if c.hedged() {
				p.Hedged++
			}
		}
	}
	if p.Calls > 0 {
		p.Tries = math.Round(1000*float64(tries)/float64(p.Calls)) / 1000
	}
	if p.Fallbacks > 0 {
		p.Later = seconds(later / time.Duration(p.Fallbacks))
	}
	p.FirstToken, p.Answer = quantiles(first), quantiles(took)
	for _, e := range errors {
		p.Errors = append(p.Errors, *e)
	}
	slices.SortFunc(p.Errors, func(x, y Error) int { return cmp.Or(y.Calls-x.Calls, cmp.Compare(x.Kind, y.Kind)) })
	return p
}

// fellBack reports whether the call was answered by another try than its first, which had failed.
func (c *call) fellBack() bool {
	for i := range c.record.Tries {
		if t := &c.record.Tries[i]; t.Reason != reasonOK && t.Reason != reasonCanceled {
			return true
		}
	}
	return false
}

// later is how long after its first try the call's try began that answered it.
func (c *call) later() time.Duration {
	tries := c.record.Tries
	for i := range tries {
		if tries[i].Reason == reasonOK {
			return time.Duration(tries[i].StartNS - tries[0].StartNS)
		}
	}
	return 0
}

func (c *call) hedged() bool {
	for i := range c.record.Tries {
		if c.record.Tries[i].Hedge {
			return true
		}
	}
	return false
}

// The reasons of tries that did not fail: an answer, and one that was ended since nobody needed it any more.
const (
	reasonOK       = "ok"
	reasonCanceled = "canceled"
)

func quantiles(of []time.Duration) (q Quantiles) {
	if len(of) == 0 {
		return q
	}
	slices.Sort(of)
	return Quantiles{P50: seconds(of[len(of)/2]), P95: seconds(of[len(of)*95/100])}
}

// tallies sums the tries by target: those of the model first, in the order of the file.
func tallies(targets []string, calls []*call) []Tally {
	by := map[string]*Tally{}
	of := func(target string) *Tally {
		if by[target] == nil {
			by[target] = &Tally{Target: target, Reasons: map[string]int{}, Left: map[string]int{}}
		}
		return by[target]
	}
	for _, t := range targets {
		of(t)
	}
	for _, c := range calls {
		if c.record == nil {
			continue
		}
		for i := range c.record.Tries {
			try := &c.record.Tries[i]
			t := of(try.Target)
			t.Tries++
			if try.Reason != reasonOK && try.Reason != reasonCanceled {
				t.Failed++
				t.Reasons[try.Reason]++
			}
		}
		if c.record.Choice != nil {
			for _, one := range c.record.Choice.Candidates {
				if one.Excluded != "" {
					of(one.Target).Left[one.Excluded]++
				}
			}
		}
	}
	out := []Tally{}
	for _, t := range targets {
		out = append(out, *by[t])
		delete(by, t)
	}
	for _, name := range slices.Sorted(maps.Keys(by)) {
		out = append(out, *by[name])
	}
	return out
}

// maxSlots is how many points a picture has at most.
const maxSlots = 60

func slotsOf(length time.Duration, calls []*call) []Slot {
	every := max(time.Second, length/maxSlots)
	out := []Slot{}
	for from := time.Duration(0); from < length; from += every {
		s := Slot{From: seconds(from), Answers: map[string]int{}}
		for _, c := range within(span{"", from, min(from+every, length)}, calls) {
			switch {
			case c.kind != "":
				s.Errors++
			case c.record != nil:
				s.Answers[c.record.Target]++
			}
		}
		out = append(out, s)
	}
	return out
}

// recovery looks at the share of the troubled targets second by second.
func (d *Drill) recovery(calls []*call) Recovery {
	out := Recovery{Back: -1, Even: -1}
	share := func(calls []*call) (part float64, answers int) {
		all := 0
		for _, c := range calls {
			if c.kind == "" && c.record != nil {
				all++
				if t, ok := llm.ParseTarget(c.record.Target); ok && d.troubled(t) {
					answers++
				}
			}
		}
		if all == 0 {
			return 0, 0
		}
		return float64(answers) / float64(all), answers
	}
	last := d.phases[2]
	before, answersBefore := share(within(d.phases[0], calls))
	out.Before = round3(before)
	after := within(span{"", last.until - (last.until-last.from)/4, last.until}, calls)
	part, _ := share(after)
	out.After = round3(part)
	for _, c := range within(last, calls) {
		if c.kind != "" || c.record == nil {
			continue
		}
		if t, ok := llm.ParseTarget(c.record.Target); ok && d.troubled(t) {
			out.Back = seconds(c.due + c.took - last.from)
			break
		}
	}
	// What comes in a second is chance where the load is small: a window has ten calls or more on average.
	window := max(time.Second, time.Duration(10/d.o.Rate*float64(time.Second)))
	window = min(window, last.until-last.from)
	perWindow := float64(answersBefore) * float64(window) / float64(d.phases[0].until)
	for from := last.from; from+window <= last.until; from += window / 2 {
		some := within(span{"", from, from + window}, calls)
		part, answers := share(some)
		if perWindow > 0 {
			out.Peak = max(out.Peak, round3(float64(answers)/perWindow))
		}
		switch {
		case len(some) == 0: // it tells nothing
		case before == 0 || part < 0.8*before:
			out.Even = -1
		case out.Even < 0:
			out.Even = seconds(from - last.from)
		}
	}
	return out
}

func round3(x float64) float64 { return math.Round(1000*x) / 1000 }

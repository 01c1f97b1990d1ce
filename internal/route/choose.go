package route

import (
	"slices"
	"sync"
	"time"

	"github.com/penstock/penstock/internal/admission"
	"github.com/penstock/penstock/internal/health"
	"github.com/penstock/penstock/internal/pipeline"
)

// An exclusion is why a candidate is not eligible.
type exclusion uint8

const (
	eligible  exclusion = iota
	byRule              // a rule of the model leaves it out
	stopped             // an operator stopped its model
	disabled            // an operator took it out
	misplaced           // the project's data may not go there
	unnamed             // another refused the request, and it is not named for that
	unpaid              // no budget of the caller buys a try
	exhausted           // no credential of its provider can be used
	limited             // its provider's limits leave no room for now
	unable              // the model is known not to do what is asked
	tooSmall            // the model's context is known to be smaller than the prompt
	unwell              // ejected
)

// final reports whether nothing makes up for it: neither time nor the lack of others.
func (e exclusion) final() bool { return e >= byRule && e <= unpaid }

// A candidate is an upstream as one choice sees it.
type candidate struct {
	*upstream
	out    exclusion
	why    string        // in words, if out
	wait   time.Duration // for how long it is limited
	score  float64       // what the policy goes by; less is better, but for weights
	share  float64       // of what it would get, 0 to 1: less while it recovers
	chance float64       // of having been first
	draw   float64       // of weighted
	away   time.Duration // how far it is
	cached int64         // tokens of the prompt that it was sent of late
	via    int           // which credential

	pickWords string    // why that one, if it is not the usual
	shown     uint64    // credentials that it was asked with in this exchange, a bit each
	excused   bool      // its credentials are out, and nobody else is left
	tries     int       // so far, of this exchange
	ready     time.Time // when it may be tried again; zero is at once
	retried   bool      // it may be tried again at all
	resort    bool      // it is not well, and nobody else was left
}

// A choosing is the choice of one exchange, and the bookkeeping of its tries. It is for one goroutine, and is used again.
type choosing struct {
	r     *Router
	x     *pipeline.Exchange
	pool  *pool
	now   time.Time
	facts facts

	all     []candidate
	order   []int // places of the eligible, the best first
	policy  policy
	rule    string
	refusal error // of the last that an operator stopped
	unpaid  error // of the last that the caller's budgets do not buy
	probe   health.Token
	probing int // the place of the candidate that is probed, -1 if none is
	// doubtful is the place of one that may be well again, -1 if none is.
	doubtful int

	states []health.State
	in     []bool
	hashed bool
	prompt *prompt // as the pool's prefixes know it, if hashed

	tried    int // upstreams that were asked
	failures []failed
	diverted bool // only targets for what cannot be asked elsewhere are left
	poor     bool // the retry budget forbids a try
	broke    bool // and that was the end
	offered  []int
	gates    []*admission.Gate
}

var choosings = sync.Pool{New: func() any { return new(choosing) }}

// choose begins an exchange: it finds out who is eligible, and in what order.
func (r *Router) choose(x *pipeline.Exchange, p *pool) *choosing {
	c := choosings.Get().(*choosing)
	*c = choosing{
		r: r, x: x, pool: p, now: time.Now(), policy: p.policy, probing: -1, doubtful: -1,
		all: c.all[:0], order: c.order[:0], states: c.states[:0], in: c.in[:0], prompt: c.prompt,
		failures: c.failures[:0], offered: c.offered[:0], gates: c.gates[:0],
	}
	c.facts.of(x)
	c.gather(p.members(r.o.Table))
	x.DefaultOutput = p.output
	if !c.spare() {
		c.apply(p.rules)
	}
	c.exclude()
	c.rank()
	c.findOut()
	return c
}

// free ends the use of a choosing.
func (c *choosing) free() {
	if c.probing >= 0 { // it was not sent after all
		c.all[c.probing].health.End(c.probe, health.Ignored)
	}
	c.r, c.x, c.pool, c.policy, c.refusal, c.unpaid, c.facts = nil, nil, nil, nil, nil, nil, facts{}
	clear(c.all)
	clear(c.failures)
	clear(c.gates)
	choosings.Put(c)
}

func (c *choosing) gather(members []*upstream) {
	for _, u := range members {
		c.all = append(c.all, candidate{upstream: u, share: 1})
	}
}

// hash fills in which upstreams were sent the beginning of the prompt of late.
func (c *choosing) hash() {
	if c.hashed || c.pool.prefix == nil {
		return
	}
	c.hashed = true
	if c.prompt == nil {
		c.prompt = new(prompt)
	}
	c.pool.prefix.of(&c.prompt.begin, c.x.Request.Raw)
	c.pool.prefix.match(&c.prompt.begin, since(c.pool.prefix.born, c.now), &c.prompt.cached)
	for i := range c.all {
		if one := &c.all[i]; one.bit != noBit {
			one.cached = min(c.prompt.cached[one.bit], c.facts.tokens)
		}
	}
}

// rank puts the eligible in order, and the probed one first.
func (c *choosing) rank() {
	c.order = c.order[:0]
	for i := range c.all {
		if c.all[i].out == eligible {
			c.order = append(c.order, i)
		}
	}
	if len(c.order) == 1 {
		c.hash() // what it has of the prompt counts all the same
		c.all[c.order[0]].chance = 1
	} else if len(c.order) > 1 {
		c.policy.rank(c)
	}
	if c.probing >= 0 { // the one call that finds out
		for _, i := range c.order {
			c.all[i].chance = 0
		}
		c.all[c.probing].chance = 1
		c.lead(slices.Index(c.order, c.probing))
	}
}

// record writes the choice down.
func (c *choosing) record() {
	c.r.o.Metrics.count(c.all)
	if !c.pool.chosen {
		c.x.Note("route", c.pool.words, time.Since(c.now))
		return
	}
	room := &struct {
		pipeline.Choice
		few [8]pipeline.Candidate
	}{}
	choice := &room.Choice
	choice.Policy, choice.Rule = c.policy.name(), c.rule
	choice.Candidates = room.few[:0]
	left := 0
	for i := range c.all {
		one := &c.all[i]
		choice.Candidates = append(choice.Candidates, pipeline.Candidate{Target: one.key, Excluded: one.why, Score: one.score, Probability: one.chance})
		if one.out != eligible {
			left++
		}
	}
	c.x.Choice = choice
	words := c.pool.words
	if left > 0 || c.rule != "" || c.probing >= 0 {
		words = c.say(left)
	}
	c.x.Note("route", words, time.Since(c.now))
}

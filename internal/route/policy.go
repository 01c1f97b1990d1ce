package route

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/penstock/penstock/internal/llm"
)

// A policy puts the eligible candidates of a choice in order, the best first, and says of each what it went by (score) and
// how likely it was to be the first (chance). It is one value for all choices of a pool, and safe for concurrent use.
type policy interface {
	name() string
	rank(c *choosing)
}

func policyOf(name string) policy {
	switch name {
	case Weighted:
		return weighted{}
	case Fastest:
		return fastest{}
	case Cheapest:
		return cheapest{}
	}
	return failover{}
}

// failover is the order of the configuration.
type failover struct{}

func (failover) name() string { return Failover }

func (failover) rank(c *choosing) {
	for _, i := range c.order {
		c.all[i].score = float64(c.all[i].place + 1)
	}
	c.settle()
}

// weighted draws without putting back: the first with probabilities as the weights, the next of what is left.
type weighted struct{}

func (weighted) name() string { return Weighted }

func (weighted) rank(c *choosing) {
	sum := 0.0
	for _, i := range c.order {
		one := &c.all[i]
		one.score = one.weight
		sum += one.weight * one.share
	}
	for _, i := range c.order {
		one := &c.all[i]
		if sum > 0 {
			one.chance = one.weight * one.share / sum
		} else {
			one.chance = 1 / float64(len(c.order))
		}
		// The least of exponential draws with these rates is each with its probability; those without a rate come behind.
		one.draw = math.Inf(1)
		if w := one.weight * one.share; w > 0 {
			one.draw = rand.ExpFloat64() / w
		}
	}
	c.sort(func(a, b *candidate) int {
		switch {
		case a.draw < b.draw:
			return -1
		case a.draw > b.draw:
			return 1
		}
		return a.place - b.place
	})
}

// fastest goes by the predicted time to the first token (algorithms.md §3.1), the way there included.
type fastest struct{}

// scanned is up to how many candidates all are looked at. Of more, two are drawn, and the one whose server has most of the
// prompt already is looked at beside them: looking at two does nearly as well, and does not send everybody to the same.
const scanned = 16

func (fastest) name() string { return Fastest }

func (fastest) rank(c *choosing) {
	c.hash()
	kind := kindOf(c.x.Request.Stream)
	output := c.meanOutput()
	for _, i := range c.order {
		one := &c.all[i]
		one.score = one.load.eta(c.now, float64(c.facts.tokens-one.cached), output, one.slots, kind) + one.distance().Seconds()
	}
	if len(c.order) <= scanned {
		c.settle()
		return
	}
	c.drawn()
}

// meanOutput is that of the answers of those that can be chosen: what one of them had of late is too few.
func (c *choosing) meanOutput() float64 {
	sum := 0.0
	for _, i := range c.order {
		sum += read(&c.all[i].load.output)
	}
	return sum / float64(max(len(c.order), 1))
}

// drawn is as if two were drawn, and the better of them and of the closest were taken. Each has an exact probability of that,
// so one draw does.
func (c *choosing) drawn() {
	c.byScore()
	closest, n, left, sum := c.closest(), float64(len(c.order)), 1.0, 0.0
	for at, i := range c.order {
		best := min(2*(n-1-float64(at))/(n*(n-1)), left) // of two, this and one behind it
		if i == closest {
			best = left
		}
		left -= best
		one := &c.all[i]
		one.chance = best * one.share
		sum += one.chance
	}
	draw, first := rand.Float64()*sum, 0
	for at, i := range c.order {
		one := &c.all[i]
		if one.chance > 0 && draw >= 0 {
			first = at
		}
		draw -= one.chance
		one.chance /= sum
	}
	c.lead(first)
}

// closest is the candidate that was sent most of the prompt's beginning, -1 if none was.
func (c *choosing) closest() int {
	best, most := -1, int64(0)
	for _, i := range c.order {
		if c.all[i].cached > most {
			best, most = i, c.all[i].cached
		}
	}
	return best
}

// lead puts the one at a place of the order first, the others stay.
func (c *choosing) lead(at int) {
	first := c.order[at]
	copy(c.order[1:at+1], c.order[:at])
	c.order[0] = first
}

// cheapest goes by what the request is expected to cost: its prompt, of which providers may have the beginning in their
// caches, and an answer as long as others were. Targets without a price come last.
type cheapest struct{}

func (cheapest) name() string { return Cheapest }

// leastCached is how many tokens providers cache at least.
const leastCached = 1024

func (cheapest) rank(c *choosing) {
	c.hash()
	output := c.expectedOutput()
	for _, i := range c.order {
		one := &c.all[i]
		one.score = math.Inf(1)
		if cost, known := c.expectedCost(one, output); known {
			one.score = float64(cost)
		}
	}
	c.settle()
	for _, i := range c.order { // records hold numbers
		if math.IsInf(c.all[i].score, 1) {
			c.all[i].score = -1
		}
	}
}

// expectedCost is what the request would cost at a candidate with an answer of so many tokens.
func (c *choosing) expectedCost(one *candidate, output int64) (cost llm.Money, known bool) {
	price, ok := c.r.price(c.x, one.Target, 0)
	if !ok {
		return 0, false
	}
	use := llm.Usage{Input: c.facts.tokens, Output: output}
	if one.cached >= leastCached {
		use.CachedInput = one.cached
	}
	return price.ForCall(use), true
}

// expectedOutput is the mean length of the answers of those that can be chosen, within the caller's cap.
func (c *choosing) expectedOutput() int64 {
	sum := int64(0)
	for _, i := range c.order {
		sum += c.likelyOutput(c.all[i].upstream)
	}
	return sum / int64(max(len(c.order), 1))
}

// settle orders by score; among equals the nearest wins, then the order of the configuration. Then it lets those that recover
// take part as often as their shares say: the first that does is the first, and each gets its chance of that.
func (c *choosing) settle() {
	for _, i := range c.order {
		c.all[i].away = c.all[i].distance()
	}
	c.byScore()
	left, first := 1.0, -1
	for at, i := range c.order {
		one := &c.all[i]
		one.chance = left * one.share
		left *= 1 - one.share
		if first < 0 && (one.share >= 1 || rand.Float64() < one.share) {
			first = at
		}
	}
	c.all[c.order[0]].chance += left // if all recover, and none took part
	c.lead(max(first, 0))
}

func (c *choosing) byScore() {
	c.sort(func(a, b *candidate) int {
		switch {
		case a.score < b.score:
			return -1
		case a.score > b.score:
			return 1
		case a.away < b.away:
			return -1
		case a.away > b.away:
			return 1
		}
		return a.place - b.place
	})
}

// sort allocates nothing: a few by insertion, as most are, and the many servers that the DNS may name by more.
func (c *choosing) sort(less func(a, b *candidate) int) {
	if len(c.order) > scanned {
		slices.SortStableFunc(c.order, func(i, j int) int { return less(&c.all[i], &c.all[j]) })
		return
	}
	for i := 1; i < len(c.order); i++ {
		for j := i; j > 0 && less(&c.all[c.order[j]], &c.all[c.order[j-1]]) < 0; j-- {
			c.order[j], c.order[j-1] = c.order[j-1], c.order[j]
		}
	}
}

// distance is the measured time to the upstream, 0 if it is not known.
func (u *upstream) distance() time.Duration {
	if far, ok := u.provider.(distant); ok {
		return far.Network(u.endpoint)
	}
	return 0
}

// A distant provider knows how far it is.
type distant interface {
	Network(endpoint string) time.Duration
}

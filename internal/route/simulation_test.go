//go:build !race

package route

import (
	"container/heap"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
)

// What the simulation is like: servers as engines are, with so many streams at once and a queue without end before them, that
// read prompts one after the other and generate at a fixed speed in each stream; prompts and answers as long as chats are (medians
// and means as published of the Azure traces of 2023, log-normal), that come in bursts as they do.
const (
	simServers = 8
	simSlow    = 2   // of them
	simSlower  = 0.6 // their speed, of the others'
	simSlots   = 16
	simPrefill = 8000.0 // prompt tokens a second
	simDecode  = 20.0
	simBase    = 0.05   // seconds to a first token besides
	simFor     = 7200.0 // seconds
	simWarm    = 120.0  // seconds that do not count
	simHeld    = 8      // beginnings of prompts that a server has room for
	simBroken  = 1800.0 // seconds
	simBursts  = 1.5
)

func drawPrompt(r *rand.Rand) float64 { return min(1020*math.Exp(0.5*r.NormFloat64()), 16_000) }
func drawOutput(r *rand.Rand) float64 { return min(max(129*math.Exp(r.NormFloat64()), 1), 2000) }

// A job is one call in a simulation. Times are in seconds.
type job struct {
	came, first, end float64
	prompt, output   float64
	prefix           int // which beginning it shares with others, -1 for none
	text             []byte
	server           int
	trip             trip
}

// An engine is a simulated server.
type engine struct {
	slots, busy   int
	speed, decode float64
	reads         float64 // until when it reads prompts that it has begun
	queue         []*job
	held          map[int]float64 // the beginnings that it has, and when they were used last
}

const (
	arrives = iota
	begins
	ends
)

type event struct {
	at   float64
	kind int
	job  *job
}

type events []event

func (e events) Len() int           { return len(e) }
func (e events) Less(i, j int) bool { return e[i].at < e[j].at }
func (e events) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)        { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	old := *e
	last := old[len(old)-1]
	*e = old[:len(old)-1]
	return last
}

// A simulation is one run of a policy.
type simulation struct {
	random  *rand.Rand
	noise   *rand.Rand
	engines []*engine
	future  events
	now     float64
	pick    func(s *simulation, j *job) int
	told    func(s *simulation, j *job, kind int)

	breaks   float64 // when the first server becomes five times slower, for simBroken; 0 is never
	broken   bool
	shared   float64 // tokens of the beginnings that calls share; 0 is none
	prefixes int
}

// newSimulation has the same calls for the same seed, whoever picks.
func newSimulation(seed uint64) *simulation {
	s := &simulation{random: rand.New(rand.NewPCG(seed, 1)), noise: rand.New(rand.NewPCG(seed, 2))}
	for i := range simServers {
		e := &engine{slots: simSlots, speed: simPrefill, decode: simDecode, held: map[int]float64{}}
		if i >= simServers-simSlow {
			e.speed, e.decode = e.speed*simSlower, e.decode*simSlower
		}
		s.engines = append(s.engines, e)
	}
	return s
}

// capacity is how many calls a second all servers together can answer.
func (s *simulation) capacity() float64 {
	r := rand.New(rand.NewPCG(1, 1))
	prompt, output := 0.0, 0.0
	const draws = 100_000
	for range draws {
		prompt += drawPrompt(r) / draws
		output += drawOutput(r) / draws
	}
	sum := 0.0
	for _, e := range s.engines {
		sum += float64(e.slots) / ((prompt+s.shared)/e.speed + output/e.decode)
	}
	return sum
}

// run plays calls at a share of the capacity, and gives the times to their first tokens, sorted.
func (s *simulation) run(share float64) []float64 {
	rate := share * s.capacity()
	// A mixture of two exponential times between calls, with balanced means, gives bursts.
	v := simBursts * simBursts
	p := (1 + math.Sqrt((v-1)/(v+1))) / 2
	for at := 0.0; at < simFor; {
		of := rate * 2 * p
		if s.random.Float64() >= p {
			of = rate * 2 * (1 - p)
		}
		at += s.random.ExpFloat64() / of
		j := &job{came: at, prompt: drawPrompt(s.random), output: drawOutput(s.random), prefix: -1}
		if s.shared > 0 {
			j.prefix = int(float64(s.prefixes) * s.random.Float64() * s.random.Float64()) // some are asked more often
			j.prompt += s.shared
			j.text = textOf(j.prefix, int(j.prompt*4), len(s.future))
		}
		s.future = append(s.future, event{at, arrives, j})
	}
	heap.Init(&s.future)
	var late []float64
	for len(s.future) > 0 {
		next := heap.Pop(&s.future).(event)
		s.now = next.at
		if slow := s.breaks > 0 && s.now > s.breaks && s.now < s.breaks+simBroken; slow != s.broken {
			s.broken = slow
			times := 5.0
			if slow {
				times = 1.0 / 5
			}
			s.engines[0].speed *= times
			s.engines[0].decode *= times
		}
		j := next.job
		switch next.kind {
		case arrives:
			j.server = s.pick(s, j)
			e := s.engines[j.server]
			if e.queue = append(e.queue, j); e.busy < e.slots {
				s.serve(e)
			}
		case begins:
			if j.came > simWarm {
				late = append(late, j.first-j.came)
			}
		case ends:
			e := s.engines[j.server]
			e.busy--
			s.serve(e)
		}
		if s.told != nil {
			s.told(s, j, next.kind)
		}
	}
	slices.Sort(late)
	return late
}

// serve gives the next in the queue of a server, if there is one, a slot.
func (s *simulation) serve(e *engine) {
	if len(e.queue) == 0 {
		return
	}
	j := e.queue[0]
	e.queue = e.queue[1:]
	e.busy++
	work := j.prompt
	if j.prefix >= 0 {
		if _, ok := e.held[j.prefix]; ok {
			work -= s.shared
		}
		e.held[j.prefix] = s.now
		if len(e.held) > simHeld {
			oldest := -1
			for k, at := range e.held {
				if oldest < 0 || at < e.held[oldest] {
					oldest = k
				}
			}
			delete(e.held, oldest)
		}
	}
	e.reads = max(e.reads, s.now) + work/e.speed*math.Exp(0.1*s.noise.NormFloat64())
	j.first = e.reads + simBase
	j.end = j.first + (j.output-1)/e.decode
	heap.Push(&s.future, event{j.first, begins, j})
	heap.Push(&s.future, event{j.end, ends, j})
}

// textOf is the body of a prompt: a beginning that others have, and then its own.
func textOf(prefix, bytes, own int) []byte {
	text := make([]byte, bytes)
	for i := range text {
		text[i] = byte('a' + prefix%26)
	}
	copy(text, fmt.Sprintf("beginning %d ", prefix))
	return text[:bytes-bytes/8+own%7]
}

// fastestPick decides as the router does, with the code of the router.
func fastestPick(tb testing.TB, s *simulation, slots int, affine bool) {
	tb.Helper()
	var targets []TargetConfig
	for i := range simServers {
		targets = append(targets, TargetConfig{Target: fmt.Sprintf("p%d/m", i), Weight: 1, Slots: slots})
	}
	t := play(tb, &cast{}, ModelConfig{Targets: targets, Route: Fastest})
	p, born := t.pool(), time.Now()
	p.prefix.born = born
	for _, u := range p.upstreams {
		u.load.birth(born)
	}
	clock := func(at float64) time.Time { return born.Add(time.Duration(at * float64(time.Second))) }
	x := &pipeline.Exchange{Op: llm.OpChat, Request: &llm.Request{Stream: true}}
	s.pick = func(s *simulation, j *job) int {
		c := choosings.Get().(*choosing)
		*c = choosing{r: t.Router, x: x, pool: p, policy: p.policy, probing: -1, now: clock(s.now), all: c.all[:0], order: c.order[:0], prompt: c.prompt}
		defer c.free()
		x.Request.Raw = j.text
		c.facts.tokens = int64(j.prompt)
		c.hashed = !affine
		c.gather(p.members(t.options.Table))
		c.rank()
		one := &c.all[c.order[0]]
		uncached := max(c.facts.tokens-one.cached, 0)
		j.trip = one.load.begin(c.now, uncached, one.slots, true, false)
		if affine {
			p.prefix.sent(&c.prompt.begin, since(born, c.now), one.bit)
		}
		return c.order[0]
	}
	s.told = func(s *simulation, j *job, kind int) {
		switch kind {
		case begins:
			j.trip.first(clock(s.now))
		case ends:
			j.trip.end(int64(j.output), time.Duration((j.end-j.first)*float64(time.Second)))
		}
	}
}

// leastRequests picks the server with the fewest calls under way, any of equals.
func leastRequests(s *simulation) {
	open := make([]int, simServers)
	random := rand.New(rand.NewPCG(3, 3))
	s.pick = func(*simulation, *job) int {
		best, equals := 0, 0
		for i, n := range open {
			switch {
			case n < open[best] || equals == 0:
				best, equals = i, 1
			case n == open[best]:
				if equals++; random.IntN(equals) == 0 {
					best = i
				}
			}
		}
		open[best]++
		return best
	}
	s.told = func(_ *simulation, j *job, kind int) {
		if kind == ends {
			open[j.server]--
		}
	}
}

func roundRobin(s *simulation) {
	turn := 0
	s.pick = func(*simulation, *job) int { turn++; return turn % simServers }
}

func p99(late []float64) float64 { return late[len(late)*99/100] }
func p50(late []float64) float64 { return late[len(late)/2] }

// The bars: the 99th percentile of the time to the first token, against that of the others with the same calls.
const (
	overLeast = 0.9
	overRound = 0.2
	overGuess = 0.95 // overLeast where slots are not known: how many there are is found out by being late at times
	simRuns   = 5    // of which the median of the ratios counts
)

// simPolicies are what is compared, fastest first.
var simPolicies = []struct {
	name string
	pick func(testing.TB, *simulation)
}{
	{"fastest", func(tb testing.TB, s *simulation) { fastestPick(tb, s, simSlots, false) }},
	{"fastest without slots", func(tb testing.TB, s *simulation) { fastestPick(tb, s, 0, false) }},
	{"least requests", func(_ testing.TB, s *simulation) { leastRequests(s) }},
	{"round robin", func(_ testing.TB, s *simulation) { roundRobin(s) }},
}

// TestFastestIsFaster: eight servers, two of which are slower. Its rows are the table of docs/benchmarks.md.
func TestFastestIsFaster(t *testing.T) {
	t.Parallel()
	seed := simSeed(t)
	for _, share := range []float64{0.50, 0.70, 0.85} {
		var late, least, round [4][]float64
		for run := range simRuns {
			var all [4]float64
			for i, policy := range simPolicies {
				s := newSimulation(seed + uint64(run))
				policy.pick(t, s)
				all[i] = p99(s.run(share))
			}
			for i := range all {
				late[i] = append(late[i], all[i])
				least[i], round[i] = append(least[i], all[i]/all[2]), append(round[i], all[i]/all[3])
			}
		}
		for i, policy := range simPolicies {
			row := fmt.Sprintf("| %.0f %% | %s | %.2f |", share*100, policy.name, middle(late[i]))
			if i < 2 {
				row += fmt.Sprintf(" %s | %s |", spread(least[i]), spread(round[i]))
				if got, most := middle(least[i]), [...]float64{overLeast, overGuess}[i]; got > most {
					t.Errorf("%s at %.0f %%: p99 is %.2f of that of least requests, at most %.2f", policy.name, share*100, got, most)
				}
				if got := middle(round[i]); got > overRound {
					t.Errorf("%s at %.0f %%: p99 is %.2f of that of round robin, at most %.2f", policy.name, share*100, got, overRound)
				}
			} else {
				row += " | |"
			}
			t.Log(row)
		}
	}
}

func middle(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

func spread(values []float64) string {
	return fmt.Sprintf("%.2f [%.2f-%.2f]", middle(values), slices.Min(values), slices.Max(values))
}

// TestASlowedServerIsAvoided: one of the eight becomes five times slower, and few of the calls are the worse for it. When it is
// as fast again as it was, it is found out.
func TestASlowedServerIsAvoided(t *testing.T) {
	t.Parallel()
	seed := simSeed(t)
	for _, slots := range []int{simSlots, 0} {
		var late [2][]float64
		var calls [2]int // of the first server, in the last half hour
		for i, breaks := range []float64{0, 600} {
			s := newSimulation(seed)
			s.breaks = breaks
			fastestPick(t, s, slots, false)
			told := s.told
			s.told = func(s *simulation, j *job, kind int) {
				if told(s, j, kind); kind == arrives && j.server == 0 && j.came > simFor-1800 {
					calls[i]++
				}
			}
			late[i] = s.run(0.5)
		}
		if well, sick := p99(late[0]), p99(late[1]); sick > 1.5*well {
			t.Errorf("p99 is %.2f s, and %.2f s with all well (%d slots)", sick, well, slots)
		}
		if calls[1] < calls[0]*8/10 {
			t.Errorf("it gets %d calls, before %d (%d slots)", calls[1], calls[0], slots)
		}
	}
}

// simSeed is that of a run: PENSTOCK_SEED, else always the same.
func simSeed(t *testing.T) uint64 {
	seed := uint64(5)
	if v, err := strconv.ParseUint(os.Getenv("PENSTOCK_SEED"), 10, 64); err == nil {
		seed = v
	}
	t.Logf("seed %d", seed)
	return seed
}

// TestAffinityPays: where prompts begin alike, they go to who has read that.
func TestAffinityPays(t *testing.T) {
	t.Parallel()
	seed := simSeed(t)
	play := func(affine bool) []float64 {
		s := newSimulation(seed)
		s.shared, s.prefixes = 4000, 40
		fastestPick(t, s, simSlots, affine)
		return s.run(0.7)
	}
	with, without := play(true), play(false)
	t.Logf("| with affinity | %.2f | %.2f |", p50(with), p99(with))
	t.Logf("| without | %.2f | %.2f |", p50(without), p99(without))
	if p50(with) > 0.7*p50(without) || p99(with) > p99(without) {
		t.Errorf("p50 %.2f s and p99 %.2f s with affinity, %.2f and %.2f without", p50(with), p99(with), p50(without), p99(without))
	}
}

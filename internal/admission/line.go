package admission

import "container/heap"

// A line is the queue of one class at one gate.
type line struct {
	n          int     // places in it
	load       float64 // of those: a place of one that stands at n gates is 1/n
	tenants    map[string]*tenant
	backlogged byCounter
	level      float64 // the counter of the tenant that was served last, before it was
	turns      uint64
	came       int64   // who joined, ever
	credit     float64 // towards a grant before higher classes
	since      int64   // since when somebody waits without a pause, or nobody does
}

// A tenant is one in one line.
type tenant struct {
	name    string
	weight  float64
	counter float64    // what it was served, by its weight
	turn    uint64     // when it was served last, so that equals take turns
	places  byDeadline // of those who wait
	since   int64      // since when some do, or so that granted is what it got since
	granted float64    // slots since then
	at      int        // in line.backlogged, -1 if nobody waits
}

// Bounds of the memory of tenants that do not wait.
const (
	maxIdleTenants = 1024
	forgetAfter    = 60e9 // nanoseconds without anybody waiting: there is no contention that could be unfair
)

// join puts a place into the line of its class.
func (g *Gate) join(p *place, now int64) {
	l := &g.lines[p.w.ticket.Class]
	if l.n == 0 {
		if l.tenants == nil || now-l.since > forgetAfter {
			l.tenants, l.level = map[string]*tenant{}, 0
		}
		l.since = now
	}
	t := l.tenant(p.w.ticket.Tenant)
	t.weight = p.w.ticket.Weight
	if t.at < 0 {
		// Whoever was away has not saved up, and whoever was served while away owes it.
		lift := l.level
		if len(l.backlogged) > 0 {
			lift = l.backlogged[0].counter
		}
		t.counter = max(t.counter, lift)
		t.since, t.granted = now, 0
		heap.Push(&l.backlogged, t)
	}
	p.tenant = t
	heap.Push(&t.places, p)
	l.n++
	l.load += p.load()
	g.waiting.Add(1)
	if g.waiting.Load() == 1 {
		g.pace.begin(g.mark(now))
	}
	l.came++
}

// part takes a place out of its line, if it is in it.
func (g *Gate) part(p *place) {
	if p.at < 0 {
		return
	}
	l, t := &g.lines[p.w.ticket.Class], p.tenant
	heap.Remove(&t.places, p.at)
	l.n--
	l.load -= p.load()
	g.waiting.Add(-1)
	if l.n == 0 {
		l.load = 0 // without what rounding left
		l.since = g.s.now()
	}
	if len(t.places) == 0 {
		heap.Remove(&l.backlogged, t.at)
		l.tidy(t)
	}
}

// tenant finds or makes one.
func (l *line) tenant(name string) *tenant {
	t := l.tenants[name]
	if t == nil {
		t = &tenant{name: name, weight: 1, counter: l.level, at: -1}
		l.tenants[name] = t
	}
	return t
}

// tidy forgets a tenant that nobody waits for, unless it is ahead of the others: coming back, it would be lifted to where
// it is now.
func (l *line) tidy(t *tenant) {
	if t.counter <= l.level {
		delete(l.tenants, t.name)
		return
	}
	if len(l.tenants)-len(l.backlogged) > maxIdleTenants {
		for name, other := range l.tenants {
			if other.at < 0 {
				delete(l.tenants, name) // some debts are forgiven
			}
		}
	}
}

// pick says whose turn it is at a gate where somebody waits.
func (g *Gate) pick() *place {
	top := Priority
	for g.lines[top].n == 0 {
		top--
	}
	chosen := top
	for c := range top {
		if l := &g.lines[c]; l.n > 0 {
			l.credit = min(l.credit+g.s.o.Floor, 2)
			if l.credit >= 1 && (chosen == top || l.credit > g.lines[chosen].credit) {
				chosen = c
			}
		}
	}
	l := &g.lines[chosen]
	if chosen != top {
		l.credit--
	}
	return l.backlogged[0].places[0]
}

// charge adds a cost to the counter of a place's tenant, which is served with it, or gives it back.
func (s *Scheduler) charge(p *place, cost float64) {
	l, t := &p.g.lines[p.w.ticket.Class], p.tenant
	if cost > 0 {
		l.level = max(l.level, t.counter)
		l.turns++
		t.turn = l.turns
	}
	l.add(t, cost/p.w.ticket.Weight)
}

// add changes a counter.
func (l *line) add(t *tenant, cost float64) {
	t.counter += cost
	if t.at >= 0 {
		heap.Fix(&l.backlogged, t.at)
	}
}

// correct changes the counter of a tenant whose request took more or less than was expected.
func (s *Scheduler) correct(g *Gate, c Class, name string, cost float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := &g.lines[c]
	t := l.tenants[name]
	if t == nil {
		if cost < 0 {
			return // it would be lifted again
		}
		t = l.tenant(name)
	}
	l.add(t, cost)
	if t.at < 0 {
		l.tidy(t)
	}
}

// newest is the place that was taken last, nil of an empty line.
func (l *line) newest() *place {
	var newest *place
	for _, t := range l.backlogged {
		if p := t.newest(); newest == nil || p.w.seq > newest.w.seq {
			newest = p
		}
	}
	return newest
}

// newest is the place that was taken last.
func (t *tenant) newest() *place {
	newest := t.places[0]
	for _, p := range t.places {
		if p.w.seq > newest.w.seq {
			newest = p
		}
	}
	return newest
}

// byCounter is a heap: the tenant that was served least is first.
type byCounter []*tenant

func (h byCounter) Len() int { return len(h) }
func (h byCounter) Less(i, j int) bool {
	if h[i].counter != h[j].counter {
		return h[i].counter < h[j].counter
	}
	return h[i].turn < h[j].turn
}
func (h byCounter) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}
func (h *byCounter) Push(x any) {
	t := x.(*tenant)
	t.at = len(*h)
	*h = append(*h, t)
}
func (h *byCounter) Pop() any {
	last := len(*h) - 1
	t := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	t.at = -1
	return t
}

// byDeadline is a heap: whoever can wait least is first, among equals who came first.
type byDeadline []*place

func (h byDeadline) Len() int { return len(h) }
func (h byDeadline) Less(i, j int) bool {
	if a, b := h[i].w.until, h[j].w.until; a != b {
		return a < b
	}
	return h[i].w.seq < h[j].w.seq
}
func (h byDeadline) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}
func (h *byDeadline) Push(x any) {
	p := x.(*place)
	p.at = len(*h)
	*h = append(*h, p)
}
func (h *byDeadline) Pop() any {
	last := len(*h) - 1
	p := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	p.at = -1
	return p
}

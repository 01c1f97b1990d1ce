package sim

import (
	"sync"
	"time"

	"github.com/penstock/penstock/internal/llm"
)

// MaxCalls is how many calls a bill lists one by one. Older ones are in the totals only.
const MaxCalls = 200_000

// maxModels is how many models have totals of their own; what comes after is summed as "*" of its provider. It bounds
// the memory of a simulator that accepts any name.
const maxModels = 10_000

// A Call is one line of the bill: a request and what the provider charges for it.
type Call struct {
	Seq       int64  `json:"seq"` // from 1, in the order in which calls ended
	ID        string `json:"id"`  // the answer's x-request-id
	Provider  string `json:"provider"`
	Model     string `json:"model"` // without knobs
	Operation string `json:"operation"`
	Do        string `json:"do,omitempty"` // the knobs of model name and header
	Number    int64  `json:"number"`       // of the model's calls, from 1; it seeds the draws
	// Status is what was answered; 0 if nothing was.
	Status     int   `json:"status"`
	Stream     bool  `json:"stream"`
	Prompt     int64 `json:"prompt_tokens"` // cached ones included
	Cached     int64 `json:"cached_tokens"`
	Completion int64 `json:"completion_tokens"`
	llm.Parts
	Cost    llm.Money `json:"cost_nano"`
	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended"`
	// Canceled is when the client was noticed to have left; zero if it stayed.
	Canceled time.Time `json:"canceled_at,omitzero"`
	Cut      bool      `json:"cut,omitempty"` // by the simulator, as was asked for
	Try      string    `json:"try,omitempty"` // the request's X-Penstock-Try
	Bytes    int64     `json:"bytes"`         // of the answer's body
}

// Totals sum calls.
type Totals struct {
	Calls      int64     `json:"calls"`
	Errors     int64     `json:"errors"` // answered with another status than 200, or not at all
	Cancels    int64     `json:"canceled"`
	Cuts       int64     `json:"cut"`
	Prompt     int64     `json:"prompt_tokens"`
	Cached     int64     `json:"cached_tokens"`
	Completion int64     `json:"completion_tokens"`
	Cost       llm.Money `json:"cost_nano"`
}

func (t *Totals) add(c *Call) {
	t.Calls++
	if c.Status != 200 {
		t.Errors++
	}
	if !c.Canceled.IsZero() {
		t.Cancels++
	}
	if c.Cut {
		t.Cuts++
	}
	t.Prompt += c.Prompt
	t.Cached += c.Cached
	t.Completion += c.Completion
	t.Cost += c.Cost
}

// A Bill is what the simulated providers charge for all calls that have ended. Its totals are exact however many calls
// there were.
type Bill struct {
	Seed      uint64            `json:"seed"`
	Open      int               `json:"open"` // calls that have not ended, and are not in the bill yet
	Total     Totals            `json:"total"`
	Providers map[string]Totals `json:"providers"`
	Models    map[string]Totals `json:"models"`    // by provider/model
	Forgotten int64             `json:"forgotten"` // calls that are in the totals and no longer in Calls
	Calls     []Call            `json:"calls"`
}

// A Peak is how many calls were in passage at once.
type Peak struct {
	Open int `json:"open"`
	Peak int `json:"peak"`
}

// A ledger keeps the bill.
type ledger struct {
	mu     sync.Mutex // guards the fields below
	seq    int64
	ring   []Call // of the last MaxCalls calls; full, the oldest is at seq % MaxCalls
	models map[llm.Target]*Totals
	all    Peak
	peaks  map[string]*Peak // by provider
	idle   chan struct{}    // closed when the last open call ends; nil if nobody waits
}

func newLedger() *ledger {
	return &ledger{models: map[llm.Target]*Totals{}, peaks: map[string]*Peak{}}
}

// open counts a call in.
func (l *ledger) open(provider string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.peaks[provider]
	if p == nil {
		p = &Peak{}
		l.peaks[provider] = p
	}
	for _, p := range [...]*Peak{p, &l.all} {
		p.Open++
		p.Peak = max(p.Peak, p.Open)
	}
}

// close counts a call out and bills it.
func (l *ledger) close(c *Call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all.Open--
	l.peaks[c.Provider].Open--
	l.seq++
	c.Seq = l.seq
	if len(l.ring) < MaxCalls {
		l.ring = append(l.ring, *c)
	} else {
		l.ring[(c.Seq-1)%MaxCalls] = *c
	}
	target := llm.Target{Provider: c.Provider, Model: c.Model}
	t := l.models[target]
	if t == nil && len(l.models) >= maxModels {
		target.Model = anyModel
		t = l.models[target]
	}
	if t == nil {
		t = &Totals{}
		l.models[target] = t
	}
	t.add(c)
	if l.all.Open == 0 && l.idle != nil {
		close(l.idle)
		l.idle = nil
	}
}

// whenIdle is closed once no call is open.
func (l *ledger) whenIdle() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all.Open == 0 {
		done := make(chan struct{})
		close(done)
		return done
	}
	if l.idle == nil {
		l.idle = make(chan struct{})
	}
	return l.idle
}

// bill copies the bill, with those calls for which keep says so.
func (l *ledger) bill(keep func(*Call) bool) Bill {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := Bill{
		Open: l.all.Open, Providers: map[string]Totals{}, Models: map[string]Totals{},
		Forgotten: l.seq - int64(len(l.ring)), Calls: []Call{},
	}
	for target, t := range l.models {
		b.Models[target.String()] = *t
		sum := b.Providers[target.Provider]
		sum.merge(t)
		b.Providers[target.Provider] = sum
		b.Total.merge(t)
	}
	for i := range l.ring {
		c := &l.ring[(b.Forgotten+int64(i))%int64(len(l.ring))]
		if keep(c) {
			b.Calls = append(b.Calls, *c)
		}
	}
	return b
}

func (t *Totals) merge(o *Totals) {
	t.Calls += o.Calls
	t.Errors += o.Errors
	t.Cancels += o.Cancels
	t.Cuts += o.Cuts
	t.Prompt += o.Prompt
	t.Cached += o.Cached
	t.Completion += o.Completion
	t.Cost += o.Cost
}

// peak copies the peaks: all, and by provider.
func (l *ledger) peak() (all Peak, providers map[string]Peak) {
	l.mu.Lock()
	defer l.mu.Unlock()
	providers = map[string]Peak{}
	for name, p := range l.peaks {
		providers[name] = *p
	}
	return l.all, providers
}

// reset forgets all that has ended. Open calls stay open, and are billed when they end.
func (l *ledger) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seq, l.ring = 0, nil
	clear(l.models)
	l.all.Peak = l.all.Open
	for _, p := range l.peaks {
		p.Peak = p.Open
	}
}

// Package quota mirrors the rate limits that providers have for each credential and model, and says which credential a try should
// show, and when.
//
// What a provider tells of its limits with each answer is kept in buckets that are drawn from when a try goes out and fill up again
// as time passes, so that the first request too many is not sent, or is sent with another credential. One that a provider refuses,
// or whose account has nothing left to spend, is out of use for a while, then tried by one call, and at once when its value
// changes. A 429 keeps a credential from a model for as long as the provider says.
//
// It does not choose providers or models and waits for nothing (route), reads no headers (provider), and knows nothing of what
// callers may use (limit). What it knows is this process's own. With several replicas each has its own mirror, and what providers
// tell holds all of them up to date: it counts what every replica sent. 5 % are left free for what is not told yet.
package quota

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// A Need is what one try may take of a provider's limits: an estimate.
type Need struct {
	Requests int64 // 1, but for batches
	Input    int64 // tokens of the prompt that are not read from a cache
	// Output is what the provider will count: of one that counts at once what may be generated, that limit; of others what is
	// likely to be generated.
	Output int64
}

// Options are what a Book works with.
type Options struct {
	// Metrics are registered there; nil has none.
	Metrics prometheus.Registerer
	// Random gives numbers from 0 to 1, without 1, for the jitter of waits.
	Random func() float64
}

// A Book holds the mirrors of all providers. It is safe for concurrent use.
type Book struct {
	o Options

	mu        sync.Mutex // guards the fields below; it is taken before that of a provider
	providers map[string]*provider
	named     func(provider, model string) bool
}

// New makes a book that knows of no provider.
func New(o Options) *Book {
	b := &Book{o: o, providers: map[string]*provider{}}
	if o.Metrics != nil {
		o.Metrics.MustRegister(collector{b})
	}
	return b
}

// A Provider is what must be known of one.
type Provider struct {
	Name string
	// References are those of its credentials, in the order that tries count them by; none is one credential without a name.
	References []string
	// Mark gives a number that changes when a credential's value does, 0 if it cannot be read; nil if that is not known.
	Mark func(credential int) uint64
	// AtOnce says that the provider counts at once what a call may generate, and gives nothing back if it is less.
	AtOnce bool
}

// Account gives the account at a provider, as a configuration has it that may come into force. Accounts of one provider share what is
// known of the credentials that they have in common, so a reload forgets nothing.
func (b *Book) Account(p Provider) *Account {
	b.mu.Lock()
	defer b.mu.Unlock()
	of := b.providers[p.Name]
	if of == nil {
		of = &provider{name: p.Name, random: b.o.Random, byReference: map[string]*credential{}, last: map[string]*credential{}}
		b.providers[p.Name] = of
	}
	references := p.References
	if len(references) == 0 {
		references = []string{""}
	}
	of.mu.Lock()
	defer of.mu.Unlock()
	a := &Account{of: of, mark: p.Mark, atOnce: p.AtOnce}
	for _, ref := range references {
		c := of.byReference[ref]
		if c == nil {
			c = &credential{reference: ref, models: map[string]*meter{}}
			of.byReference[ref] = c
		}
		a.credentials = append(a.credentials, c)
	}
	return a
}

// Use says which accounts are in force, by provider. What is known of other providers and credentials is forgotten, but for tries that
// are under way. named reports whether metrics may name a model of a provider: callers may invent others. It must take no lock.
func (b *Book) Use(accounts map[string]*Account, named func(provider, model string) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.named = named
	clear(b.providers)
	for name, a := range accounts {
		b.providers[name] = a.of
		a.of.use(a)
	}
}

func (p *provider) use(a *Account) {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.byReference)
	for i, c := range a.credentials {
		c.number = i + 1
		p.byReference[c.reference] = c
	}
}

// A provider is what all accounts of one have in common.
type provider struct {
	name   string
	random func() float64

	mu          sync.Mutex // guards the fields below, and all that hangs on them
	byReference map[string]*credential
	last        map[string]*credential // the one that was used last, by model
	spills      int64                  // tries that went out with another credential than those before
}

// A credential is what is known of one.
type credential struct {
	reference string
	number    int // in the configuration in force, from 1; 0 if it is in none
	models    map[string]*meter
	limited   int64 // 429s
	out       out
}

// Limits of what is kept, for callers may invent names of models.
const (
	maxModels = 256       // of one credential
	idle      = time.Hour // after which a model is forgotten, if there is need
)

// meterOf finds what is known of a model, or makes room for it; nil if there is none. The caller holds mu.
func (c *credential) meterOf(model string, now time.Time) *meter {
	if m := c.models[model]; m != nil {
		return m
	}
	if len(c.models) >= maxModels {
		for name, m := range c.models {
			if now.Sub(m.used) > idle && m.blocked.Before(now) {
				delete(c.models, name)
			}
		}
		if len(c.models) >= maxModels {
			return nil
		}
	}
	m := &meter{used: now}
	c.models[model] = m
	return m
}

package route

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/penstock/penstock/internal/admission"
	"github.com/penstock/penstock/internal/catalog"
	"github.com/penstock/penstock/internal/health"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/provider"
	"github.com/penstock/penstock/internal/quota"
)

// A role is how a target answers its n-th call, from 0.
type role func(ctx context.Context, n int) (*llm.Response, error)

// A cast is the providers of a test, and what they were asked. Unlike fakeProvider it may be asked by several at once.
type cast struct {
	mu    sync.Mutex
	roles map[string]role // by target; without one, it answers at once
	calls []asked
	times map[string]int
	near  map[string]time.Duration // by provider
}

type asked struct {
	target string
	via    provider.Via
	at     time.Time
}

// Do implements [Provider].
func (c *cast) Do(ctx context.Context, via provider.Via, t llm.Target, _ *llm.Request) (*llm.Response, error) {
	c.mu.Lock()
	n := c.times[t.String()]
	if c.times == nil {
		c.times = map[string]int{}
	}
	c.times[t.String()]++
	c.calls = append(c.calls, asked{t.String(), via, time.Now()})
	play := c.roles[t.String()]
	c.mu.Unlock()
	if play == nil {
		play = answers
	}
	return play(ctx, n)
}

// targets are those that were asked, in order.
func (c *cast) targets() (all []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, one := range c.calls {
		all = append(all, one.target)
	}
	return all
}

// distantCast is a provider of a cast at a distance.
type distantCast struct {
	*cast
	far time.Duration
}

func (d distantCast) Network(string) time.Duration { return d.far }

func answers(context.Context, int) (*llm.Response, error) { return answer(nil), nil }

// answer is one of two events. If then is set, it ends with that instead.
func answer(then error) *llm.Response {
	return &llm.Response{Stream: true, Events: func(yield func(llm.Event, error) bool) {
		if !yield(llm.Event{Has: llm.Content}, nil) {
			return
		}
		if then != nil {
			yield(llm.Event{}, then)
			return
		}
		yield(llm.Event{Has: llm.UsageIn | llm.End, Usage: llm.Usage{Input: 100, Output: 10}}, nil)
	}}
}

// after answers when so much time is over.
func after(d time.Duration) role {
	return func(ctx context.Context, _ int) (*llm.Response, error) {
		select {
		case <-time.After(d):
			return answer(nil), nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// failsAfter fails when so much time is over.
func failsAfter(d time.Duration, f *provider.Failure) role {
	return func(ctx context.Context, _ int) (*llm.Response, error) {
		select {
		case <-time.After(d):
			one := *f
			return nil, &one
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func fails(f *provider.Failure) role { return failsAfter(0, f) }

func statusIn(code int, wait time.Duration) *provider.Failure {
	f := status(code)
	f.RetryAfter = wait
	return f
}

// A theatre is a router with all that it works with.
type theatre struct {
	*Router
	cast    *cast
	state   *State
	books   *books
	quotas  *quota.Book
	placed  map[string]Place
	prices  prices
	options Options
}

// books counts what was announced, and what was settled, by try.
type books struct {
	mu       sync.Mutex
	intents  map[string]int
	outcomes map[string]int
	settled  map[string]int
	ends     map[string]pipeline.Outcome
}

func newBooks() *books {
	return &books{intents: map[string]int{}, outcomes: map[string]int{}, settled: map[string]int{}, ends: map[string]pipeline.Outcome{}}
}

func (b *books) Intent(_ context.Context, _ *pipeline.Exchange, try *pipeline.Try) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.intents[try.ID]++
	return nil
}

func (b *books) Outcome(_ *pipeline.Exchange, try *pipeline.Try) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.outcomes[try.ID]++
	return nil
}

func (b *books) Reserve(_ context.Context, _ *pipeline.Exchange, _ llm.Target, _ *pipeline.Try) (pipeline.Reservation, error) {
	return b, nil
}

func (b *books) Settle(try *pipeline.Try) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.settled[try.ID]++
	b.ends[try.ID] = try.Outcome
}

// balance reports whether each announced try was settled, and once.
func (b *books) balance() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, n := range b.intents {
		if n != 1 || b.settled[id] != 1 {
			return fmt.Errorf("try %s was announced %d times and settled %d times", id, n, b.settled[id])
		}
	}
	if len(b.settled) != len(b.intents) {
		return fmt.Errorf("%d tries were settled, %d announced", len(b.settled), len(b.intents))
	}
	return nil
}

type prices map[string]llm.Price

func (p prices) PriceFor(t llm.Target, _ catalog.Dispatch) (llm.Price, bool) {
	price, ok := p[t.String()]
	return price, ok
}

// play makes a router with health, admission and quotas for one model, m, of the configuration.
func play(tb testing.TB, c *cast, m ModelConfig, more ...func(*theatre)) *theatre {
	tb.Helper()
	return playWithin(tb, admission.Options{}, c, m, more...)
}

// playWithin is play with other limits of calls at once.
func playWithin(tb testing.TB, limits admission.Options, c *cast, m ModelConfig, more ...func(*theatre)) *theatre {
	tb.Helper()
	board, err := health.New(health.Options{Rand: func() float64 { return 0 }, Metrics: prometheus.NewRegistry(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		tb.Fatal(err)
	}
	queue, err := admission.New(limits)
	if err != nil {
		tb.Fatal(err)
	}
	s := &theatre{
		cast: c, books: newBooks(), state: &State{Health: board, Admission: queue}, placed: map[string]Place{}, prices: prices{},
		quotas: quota.New(quota.Options{Random: func() float64 { return 0 }}),
	}
	s.options = Options{Prices: s.prices, Journal: s.books, Reserver: s.books, Admission: queue}
	for _, f := range more {
		f(s)
	}
	if m.RetryWait == 0 {
		m.RetryWait = defaultRetryWait
	}
	if problems := (Config{"m": m}).Validate(); len(problems) > 0 {
		tb.Fatal(problems)
	}
	providers, accounts := map[string]Provider{}, map[string]*quota.Account{}
	for _, one := range m.Targets {
		target, _ := llm.ParseTarget(one.Target)
		providers[target.Provider] = distantCast{c, c.near[target.Provider]}
		accounts[target.Provider] = s.quotas.Account(quota.Provider{Name: target.Provider, References: []string{"env:1", "env:2"}})
	}
	for _, one := range slices.Concat(m.OnContentPolicy, m.OnContextLength) {
		target, _ := llm.ParseTarget(one)
		providers[target.Provider] = c
	}
	s.quotas.Use(accounts, func(string, string) bool { return true })
	s.options.Table = NewTable(Config{"m": m}, Surroundings{
		Providers: providers, State: s.state, Region: "eu-central",
		Places:  func(provider string) Place { return s.placed[provider] },
		Account: func(provider string) *quota.Account { return accounts[provider] },
	})
	s.Router = New(s.options)
	return s
}

func (s *theatre) pool() *pool { return s.options.Table.models["m"] }

// exchange is a call of the model, with so many bytes of body.
func exchange(bytes int) *pipeline.Exchange {
	return &pipeline.Exchange{
		ID: "ex", Received: time.Now(), Op: llm.OpChat, Dialect: llm.OpenAI,
		Request: &llm.Request{Model: "m", Stream: true, Op: llm.OpChat, Raw: make([]byte, bytes)},
	}
}

// call makes a call as the rest of the pipeline does: it walks the answer, up to some events (all, if below 0), and then
// settles what is not settled.
func (s *theatre) call(ctx context.Context, x *pipeline.Exchange, events int) (err error) {
	resp, err := s.Handle(ctx, x)
	var last llm.Event
	if err == nil && events != 0 {
		for ev, failed := range resp.Events {
			if last = ev; failed != nil {
				err = failed
				break
			}
			if events--; events == 0 {
				break
			}
		}
	}
	settleRest(x, last)
	return err
}

// settleRest is what the stage usage does with tries that route has left to it.
func settleRest(x *pipeline.Exchange, last llm.Event) {
	for i := range x.Tries {
		try := &x.Tries[i]
		if try.Held == nil {
			continue
		}
		if last.Is(llm.UsageIn) {
			try.Usage, try.Outcome = last.Usage, pipeline.SettledActual
		}
		try.Settle()
	}
}

// rest reports what is held although nothing is under way.
func (s *theatre) rest() error {
	for _, u := range s.pool().upstreams {
		if n := u.gate.Inflight(); n != 0 {
			return fmt.Errorf("%s has %d slots taken", u.key, n)
		}
		if a, b, c := u.load.inflight.Load(), u.load.backlog.Load(), u.load.retries.Load(); a != 0 || b != 0 || c != 0 {
			return fmt.Errorf("%s has %d calls, %d tokens and %d retries under way", u.key, a, b, c)
		}
	}
	return s.books.balance()
}

func (s *theatre) upstream(key string) *upstream {
	for _, u := range s.pool().upstreams {
		if u.key == key {
			return u
		}
	}
	panic("no upstream " + key)
}

// sicken ejects a target.
func (s *theatre) sicken(key string) {
	target := s.upstream(key).health
	for range 5 {
		target.End(target.Begin(), health.Failed("status_500"))
	}
}

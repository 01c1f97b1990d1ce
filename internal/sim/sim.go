// Package sim simulates model providers: a server that speaks their dialects with chosen delays, errors, cuts, lies and
// outages, and keeps its own bill.
//
// It is for tests, drills, load tests and the demonstration, and it is the judge of all questions of money: what the
// bill says was charged is what Penstock must have recorded, try by try. It is not a model: answers are words without
// meaning, of the length, shape and speed that were asked for.
//
//	s, err := sim.New(sim.Default())
//	err = s.Run(ctx, listener)          // or use s.Handler() in a server of your own
//	bill := s.Bill()
//
// A provider NAME is at /NAME/v1/chat/completions, /NAME/v1/embeddings and /NAME/v1/models. The bare /v1/... is the
// provider named "default", or the first by name. What a call shall do is written behind its model's name, as in
// "gpt-x?status=503&retry_after=2", or in the header X-Sim-Do; see [Knobs]. Messages can steer too: "echo:TEXT" is
// answered with TEXT, "say:120" with 120 tokens, "call:NAME" with a call of that tool.
//
// Tokens: an answer's are its words (of JSON, every six bytes); a prompt's are a quarter of its text's bytes, rounded
// up. Billing: refused calls cost nothing; from the moment the first delay begins the prompt is billed, and every token
// as it is generated; a client that leaves pays what was generated until that was noticed, a stream that was cut pays
// what was sent. Draws depend on the seed and the number of the model's call, not on timing.
//
// A model may have a capacity: slots and prefill ([Model]). Then its time to the first token grows with load, as that of a
// server of one's own does.
//
// The simulator's own routes are /_bill, /_requests, /_peak, /_knobs, /_reset, /_outage and /_trouble.
package sim

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// A Sim is a set of running simulated providers. Its methods may be called at any time from any goroutine.
type Sim struct {
	seed      uint64
	providers map[string]*provider
	standard  *provider // of paths without a provider's name
	ledger    *ledger
	requests  *requestLog
	ids       atomic.Uint64
	anyFast   bool
}

// New makes providers of a configuration, or reports all of its problems. Outages are counted from now.
func New(c Config) (*Sim, error) {
	if err := join(c.Validate()); err != nil {
		return nil, err
	}
	s := &Sim{seed: c.Seed, providers: compile(c, time.Now()), ledger: newLedger(), requests: &requestLog{}}
	for _, p := range s.providers {
		s.anyFast = s.anyFast || p.anyFast
	}
	s.standard = s.providers["default"]
	if s.standard == nil {
		s.standard = s.providers[slices.Sorted(maps.Keys(s.providers))[0]]
	}
	return s, nil
}

// Handler serves all providers and the simulator's own routes.
func (s *Sim) Handler() http.Handler { return http.HandlerFunc(s.serveHTTP) }

// readHeaderTimeout bounds how long a connection may take to say what it wants.
const readHeaderTimeout = 30 * time.Second

// Run serves on l until ctx ends; then it closes l and all connections, and returns nil when no call is left. An error
// is one of the listener.
func (s *Sim) Run(ctx context.Context, l net.Listener) error {
	front := newFront(s, l)
	server := &http.Server{Handler: s.Handler(), ReadHeaderTimeout: readHeaderTimeout}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		_ = front.Close()
		_ = server.Close()
	})
	err := server.Serve(front)
	if stop() { // ctx goes on, so the listener failed
		_ = front.Close()
		_ = server.Close()
		close(stopped)
	}
	<-stopped
	front.wait()
	<-s.ledger.whenIdle()
	if ctx.Err() == nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve simulated providers: %w", err)
	}
	return nil
}

// Bill is what has been charged so far. A call is in it once it has ended, which may be a moment after its client has
// read the answer: wait with [Sim.Idle] first where that matters.
func (s *Sim) Bill() Bill { return s.billOf(func(*Call) bool { return true }) }

func (s *Sim) billOf(keep func(*Call) bool) Bill {
	b := s.ledger.bill(keep)
	b.Seed = s.seed
	return b
}

// Requests are the last requests (at most 500), the oldest first.
func (s *Sim) Requests() []Request { return s.requests.last(-1) }

// Peak says how many calls are and were in passage at once: over all, and by provider.
func (s *Sim) Peak() (all Peak, providers map[string]Peak) { return s.ledger.peak() }

// Idle waits until no call is open, so that the bill is whole. It gives ctx's error if ctx ends first.
func (s *Sim) Idle(ctx context.Context) error {
	select {
	case <-s.ledger.whenIdle():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Outage takes a provider down for a while, or ends its outage if d is 0. Kinds are refuse, hang, 503 and 429.
func (s *Sim) Outage(provider, kind string, d time.Duration) error {
	p := s.providers[provider]
	if p == nil {
		return fmt.Errorf("there is no provider %q (there are: %s)", provider, strings.Join(slices.Sorted(maps.Keys(s.providers)), ", "))
	}
	if d < 0 || (d > 0 && !slices.Contains(outageKinds, kind)) {
		return fmt.Errorf("%q for %v is not an outage (kinds are %s)", kind, d, strings.Join(outageKinds, ", "))
	}
	p.takeDown(kind, time.Now(), d)
	return nil
}

// Reset forgets bill, requests, peaks, counters, and outages and troubles that were begun by hand, as if the Sim were new; only
// the schedule of outages goes on. Calls that are open stay so, and will be in the new bill.
func (s *Sim) Reset() {
	s.ledger.reset()
	s.requests.reset()
	for _, p := range s.providers {
		p.reset()
	}
}

// serveHTTP finds whose route it is.
func (s *Sim) serveHTTP(w http.ResponseWriter, r *http.Request) {
	first, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	switch {
	case strings.HasPrefix(first, "_") || first == "":
		s.serveOwn(w, r)
	case first == "v1":
		s.serveProvider(w, r, s.standard, r.URL.Path)
	case s.providers[first] != nil:
		s.serveProvider(w, r, s.providers[first], "/"+rest)
	default:
		http.Error(w, fmt.Sprintf("There is no provider %q here. There are: %s", first, strings.Join(slices.Sorted(maps.Keys(s.providers)), ", ")), http.StatusNotFound)
	}
}

// nextID makes the id of a call: unique within the Sim, and the same in every run with one seed and order.
func (s *Sim) nextID() string {
	x := s.ids.Add(1) + s.seed*0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return fmt.Sprintf("%016x", x^x>>31)
}

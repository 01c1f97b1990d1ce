// Package route chooses who answers: it resolves the asked-for model to targets, puts those that may be asked in an order, and
// tries them until one answers.
//
// It holds the one retry loop of the request path. Every try has an id, is announced to the journal and to the Reserver
// before it is sent, and is in the record whatever became of it. A try that fails before its first content is followed by
// the next target; after content there is no way back, and the failure becomes an error event.
//
// It does not open connections (provider), and does not decide what a caller may spend (limit).
package route

import (
	"context"

	"github.com/penstock/penstock/internal/catalog"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/provider"
)

// A Provider makes one attempt. Its errors are *provider.Failure or those of ctx.
type Provider interface {
	Do(ctx context.Context, via provider.Via, t llm.Target, r *llm.Request) (*llm.Response, error)
}

// Prices knows what a try to a target costs that is sent now.
type Prices interface {
	PriceFor(t llm.Target, d catalog.Dispatch) (llm.Price, bool)
}

// price is what a try to a target costs that is sent now, with one of the provider's credentials, counted from 1; 0 is not known yet.
func (r *Router) price(x *pipeline.Exchange, t llm.Target, credential int) (llm.Price, bool) {
	p, ok := r.o.Prices.PriceFor(t, catalog.Dispatch{Tier: x.Request.ServiceTier, Region: regionOf(x.Request), Credential: credential})
	p.May.Hour = x.Request.MayCacheAnHour()
	if p.Sounds() {
		p.May.Hear, p.May.Speak = x.Request.MayHear(), x.Request.MaySpeak()
	}
	return p, ok
}

// regionOf is what a request says of where it may run, which Anthropic has a price for.
func regionOf(r *llm.Request) llm.Region {
	if r.Dialect != llm.Anthropic {
		return llm.RegionUnsaid
	}
	switch string(r.Field("inference_geo")) {
	case "", "null":
		return llm.RegionUnsaid
	case `"global"`:
		return llm.RegionNone
	}
	return llm.RegionKept
}

// A Journal makes tries durable. An error of Intent means that the try must not be sent.
type Journal interface {
	Intent(ctx context.Context, x *pipeline.Exchange, try *pipeline.Try) error
	// Outcome is told of a try that failed, and puts what it cost.
	Outcome(x *pipeline.Exchange, try *pipeline.Try) error
}

// A Reserver holds the money of a try from before it is sent until it is settled. An error means that the try must not
// be sent, and that no other target will be asked.
type Reserver interface {
	Reserve(ctx context.Context, x *pipeline.Exchange, t llm.Target, try *pipeline.Try) (pipeline.Reservation, error)
}

// Stops says which targets an operator has stopped.
type Stops interface {
	// Try is asked before each try. An error, a fault, means that the target must not be used; the next may be.
	Try(x *pipeline.Exchange, t llm.Target) error
}

// Free is the Reserver of a Penstock without budgets: it admits everything and holds nothing.
type Free struct{}

// Reserve implements [Reserver].
func (Free) Reserve(context.Context, *pipeline.Exchange, llm.Target, *pipeline.Try) (pipeline.Reservation, error) {
	return Free{}, nil
}

// Settle implements [pipeline.Reservation].
func (Free) Settle(*pipeline.Try) {}

package route

import (
	"context"
	"errors"
	"net/http"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/provider"
)

// A counter is a provider that may count the tokens of chats, for nothing.
type counter interface{ Counts() bool }

// estimated is how much is added to an estimate, in percent: whoever asks wants to know whether a prompt has room, and a count
// that is too low lets it overrun.
const estimated = 10

// count answers how many tokens a chat has for the first target that may be asked: by the provider's own count, else by an
// estimate. A provider that cannot be reached is no reason to know nothing.
func (r *Router) count(ctx context.Context, x *pipeline.Exchange, targets []llm.Target) (*llm.Response, error) {
	var refusal error
	for _, target := range targets {
		if r.o.Stops != nil {
			if refusal = r.o.Stops.Try(x, target); refusal != nil {
				continue
			}
		}
		if c, ok := r.o.Table.providers[target.Provider].(counter); ok && c.Counts() {
			resp, err := r.try(ctx, x, target)
			f, failed := errors.AsType[*provider.Failure](err)
			switch {
			case !failed: // it has counted, or the exchange must end
				return resp, err
			case f.Reason == provider.ReasonCanceled:
				return nil, stopped(ctx, err)
			case f.Reason == provider.ReasonStatus && blames(f.Status):
				return nil, explain(x, []*provider.Failure{f})
			}
		}
		return r.estimate(x, target), nil
	}
	return nil, refusal
}

// blames reports whether a status says that the request is to blame, and not that there is nobody who counts.
func blames(status int) bool {
	return status == http.StatusBadRequest || status == http.StatusRequestEntityTooLarge || status == http.StatusUnprocessableEntity
}

// estimate is the answer of Penstock's own count.
func (r *Router) estimate(x *pipeline.Exchange, target llm.Target) *llm.Response {
	n, exact := int64(0), false
	if r.o.Count != nil {
		n, exact = r.o.Count(target.Model, x.Request)
	}
	if !exact {
		n += (n*estimated + 99) / 100
	}
	x.Note("count", "counted by Penstock for "+target.String(), 0)
	return &llm.Response{Target: target, Events: func(yield func(llm.Event, error) bool) {
		yield(llm.Event{Has: llm.Content | llm.End, Dialect: x.Dialect, Count: n}, nil)
	}}
}

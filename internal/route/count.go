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

// count answers how many tokens a chat has for the target that would be asked first: by the provider's own count, else by an
// estimate. A provider that cannot be reached is no reason to know nothing.
func (r *Router) count(ctx context.Context, x *pipeline.Exchange, p *pool) (*llm.Response, error) {
	c := r.choose(x, p)
	defer c.free()
	if len(c.order) == 0 {
		return nil, c.nobody()
	}
	first := &c.all[c.order[0]]
	if one, ok := first.provider.(counter); ok && one.Counts() {
		l, err := c.next(ctx)
		if err != nil {
			return nil, err
		}
		if l == nil {
			return nil, c.explain()
		}
		resp, err := c.ask(ctx, l)
		f, failed := errors.AsType[*provider.Failure](err)
		switch {
		case !failed: // it has counted, or the exchange must end
			return resp, err
		case f.Reason == provider.ReasonCanceled:
			return nil, halted(ctx, err)
		case f.Reason == provider.ReasonStatus && blames(f.Status):
			return nil, c.explain()
		}
	}
	return r.estimate(x, first.Target), nil
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

package stop

import (
	"context"
	"iter"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
)

// Stage refuses what is stopped, and lets what runs be ended by a stop that says so.
func (b *Board) Stage() pipeline.Stage {
	return func(next pipeline.Handler) pipeline.Handler {
		return func(ctx context.Context, x *pipeline.Exchange) (*llm.Response, error) {
			ctx, end := context.WithCancelCause(ctx)
			refused := b.enter(x, end)
			// Whoever gets the answer walks it or ends ctx, and so does a panic: the exchange is not running any more then.
			unwatch := context.AfterFunc(ctx, func() { b.leave(x) })
			over := func() {
				if unwatch() {
					b.leave(x)
				}
				end(nil)
			}
			if refused != nil {
				over()
				return nil, refused
			}
			resp, err := next(ctx, x)
			if err != nil {
				over()
				return nil, err
			}
			resp.Events = before(resp.Events, over)
			return resp, nil
		}
	}
}

// before passes events on and calls over when they have ended.
func before(events iter.Seq2[llm.Event, error], over func()) iter.Seq2[llm.Event, error] {
	return func(yield func(llm.Event, error) bool) {
		defer over()
		events(yield)
	}
}

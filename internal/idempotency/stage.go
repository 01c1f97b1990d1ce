package idempotency

import (
	"context"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
)

// Stage claims the key of each exchange that has one, or gives the answer of the first again. It stands behind whatever may refuse
// a call, so that a repeat is refused like any other, and before all that costs something.
func Stage(next pipeline.Handler) pipeline.Handler {
	return func(ctx context.Context, x *pipeline.Exchange) (*llm.Response, error) {
		if x.Once != nil {
			if resp, err := x.Once.Begin(ctx); resp != nil || err != nil {
				return resp, err
			}
		}
		return next(ctx, x)
	}
}

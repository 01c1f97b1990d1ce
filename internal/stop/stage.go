package stop

import (
	"context"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
)

// Stage refuses what is stopped, and lets what runs be ended by a stop that says so. It belongs inside [pipeline.Living].
func (b *Board) Stage() pipeline.Stage {
	return func(next pipeline.Handler) pipeline.Handler {
		return func(ctx context.Context, x *pipeline.Exchange) (*llm.Response, error) {
			if err := b.enter(x); err != nil {
				return nil, err
			}
			return next(ctx, x)
		}
	}
}

package server

import (
	"context"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/route"
	"github.com/penstock/penstock/internal/usage"
)

// buildPipeline is the one place that says what an exchange passes, outermost first. Every route that can spend or
// return content goes through it.
func buildPipeline(records *usage.Recorder, stops pipeline.Stage, router *route.Router) pipeline.Handler {
	return pipeline.Chain(router.Handle,
		records.Stage(), // the record, the log line and the metrics of every exchange
		refuse,          // what the gateway could not read or does not know goes no further
		stops,           // nor what an operator has stopped
	)
}

// refuse ends an exchange that the gateway has refused already; it has come this far to be recorded.
func refuse(next pipeline.Handler) pipeline.Handler {
	return func(ctx context.Context, x *pipeline.Exchange) (*llm.Response, error) {
		if x.Refused != nil {
			return nil, x.Refused
		}
		return next(ctx, x)
	}
}

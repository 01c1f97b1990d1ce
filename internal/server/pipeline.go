package server

import (
	"context"

	"github.com/penstock/penstock/internal/bodies"
	"github.com/penstock/penstock/internal/idempotency"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/recall"
	"github.com/penstock/penstock/internal/route"
	"github.com/penstock/penstock/internal/usage"
)

// buildPipeline is the one place that says what an exchange passes, outermost first. Every route that can spend or
// return content goes through it.
func buildPipeline(records *usage.Recorder, told, stops, limits pipeline.Stage, keeper *bodies.Keeper, memory *recall.Memory, router *route.Router) pipeline.Handler {
	stages := []pipeline.Stage{
		records.Stage(),   // the record, the log line and the metrics of every exchange
		told,              // how its caller's limits stand, whatever refuses it
		refuse,            // what the gateway could not read or does not know goes no further
		pipeline.Living,   // from here on it may outlive its client, if somebody pays for that
		stops,             // nor what an operator has stopped
		idempotency.Stage, // a call that is made again is not run again
		limits,            // nor one that its caller's limits leave no room for
	}
	if keeper != nil { // records are kept
		stages = append(stages, keeper.Stage()) // innermost: what is kept is what a provider was sent, and answered
	}
	stages = append(stages, memory.Stage()) // what callers cannot keep of a model's reasoning, its next turn finds again
	return pipeline.Chain(router.Handle, stages...)
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

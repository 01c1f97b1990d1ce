package usage

import (
	"context"
	"log/slog"
	"time"
)

// maxLogged is how much of a name the log line has, in bytes.
const maxLogged = 128

// log writes the one line of an exchange: everything one greps for, and nothing of what was asked or answered. The model
// is a name that the caller wrote, so it is there only if Penstock knew it well enough to try a target.
func (r *Recorder) log(rec *Record) {
	ctx := context.Background()
	if !r.o.Log.Enabled(ctx, slog.LevelInfo) {
		return
	}
	code, model, finish := "", "", ""
	if rec.Error != nil {
		code = rec.Error.Code
	}
	if rec.Target != "" { // else the name may be anybody's invention
		model = clip(rec.Model, maxLogged)
	}
	if len(rec.Tries) > 0 {
		model, finish = clip(rec.Model, maxLogged), FinishWords(rec.answering())
	}
	r.o.Log.LogAttrs(ctx, slog.LevelInfo, "exchange",
		slog.String("exchange", rec.ID),
		slog.String("trace", rec.Trace.String()),
		slog.String("project", rec.Project),
		slog.String("key", rec.Key),
		slog.String("op", string(rec.Op)),
		slog.String("model", model),
		slog.String("target", clip(rec.Target, maxLogged)),
		slog.Bool("stream", rec.Stream),
		slog.Int("status", rec.Status),
		slog.String("code", code),
		slog.String("finish", finish),
		slog.Int64("input", rec.Usage.Input),
		slog.Int64("output", rec.Usage.Output),
		slog.Bool("estimated", rec.Usage.Estimated),
		slog.String("cost", rec.CostNano.String()),
		slog.Bool("unpriced", rec.Unpriced),
		slog.Int("tries", len(rec.Tries)),
		slog.Duration("first_token", time.Duration(rec.Timings.FirstNS)),
		slog.Duration("total", time.Duration(rec.Timings.TotalNS)),
		slog.Duration("overhead", time.Duration(rec.Timings.OverheadNS)),
	)
}

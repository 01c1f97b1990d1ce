package usage

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// What a [Rollup] waits for.
const (
	rollupEvery = time.Second      // between looks at what is to be summed up
	rollupTells = 30 * time.Second // between log lines of how far it is
	rollupLate  = 20_000           // exchanges that are worth a log line
)

// A Summer keeps sums of records, so that questions about many of them need not read each.
type Summer interface {
	// SumUp adds the next records to the sums, some thousand at once, in one transaction with how far they go. While there
	// are too few to be worth it, and a minute has not passed, it does nothing. behind is how many records are not in all sums
	// yet: questions are answered from those one by one, so that sums never differ from records, however far they are. more
	// says that there are enough for another call.
	SumUp(ctx context.Context) (behind int64, more bool, err error)
}

// A Rollup is the worker that sums records up: those that are being written, and, in a store of a version that had no
// sums, all that lie there, while it serves.
type Rollup struct {
	store  Summer
	log    *slog.Logger
	behind prometheus.Gauge

	// The fields below belong to Run.
	told   time.Time // when a log line said so; zero if none did
	failed bool
}

// NewRollup makes the worker.
func NewRollup(store Summer, o Options) (*Rollup, error) {
	r := &Rollup{store: store, log: o.Log, behind: prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "penstock_rollup_behind", Help: "Records that are not in all sums yet; those of the last minute never are. Questions about usage read them one by one."})}
	return r, register(o.Metrics, r.behind)
}

// Run sums up until ctx ends. A store that cannot be written is asked again.
func (r *Rollup) Run(ctx context.Context) error {
	tick := time.NewTicker(rollupEvery)
	defer tick.Stop()
	for {
		r.pass(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// pass sums up all that is worth it.
func (r *Rollup) pass(ctx context.Context) {
	for more := true; more && ctx.Err() == nil; {
		behind, again, err := r.store.SumUp(ctx)
		if err != nil {
			r.tellFailure(ctx, err)
			return
		}
		more, r.failed = again, false
		r.behind.Set(float64(behind))
		r.tell(behind)
	}
}

// tell says how far it is, where that is far.
func (r *Rollup) tell(behind int64) {
	switch now := time.Now(); {
	case behind < rollupLate && !r.told.IsZero():
		r.told = time.Time{}
		r.log.Info("records are summed up")
	case behind >= rollupLate && now.Sub(r.told) >= rollupTells:
		r.told = now
		r.log.Info("summing up records: until it is done, reports are slower, and right", "left", behind)
	}
}

// tellFailure says once that sums stay behind.
func (r *Rollup) tellFailure(ctx context.Context, err error) {
	if r.failed || ctx.Err() != nil {
		return
	}
	r.failed = true
	r.log.Warn("records cannot be summed up: reports get slower, and stay right", "error", err)
}

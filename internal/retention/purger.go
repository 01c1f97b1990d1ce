package retention

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/penstock/penstock/internal/purge"
)

// How the purger goes about it; see [purge.Pace].
const (
	firstPurge = 5 * time.Second // after the start
	someRows   = 512             // of the first batch
	fewRows    = 128             // of any, unless no more are due: a block is read anew for each
	manyRows   = 1024            // of any: a whole block
	short      = 8 * time.Millisecond
	long       = 24 * time.Millisecond
	tellEvery  = time.Hour // between log lines
)

// Options are what a Purger works with. Those without a default are needed.
type Options struct {
	Store   Store
	Keep    func() time.Duration // how long exchanges are kept at the moment, 0 for ever
	Log     *slog.Logger
	Metrics prometheus.Registerer
	Now     func() time.Time // civil time; nil is time.Now
}

// A Purger deletes exchanges whose retention is over. Replicas have one each; a lease in the store lets one of them work.
type Purger struct {
	o      Options
	me     string // as the lease knows it
	purged prometheus.Counter
	late   prometheus.Gauge

	// The fields below belong to Run.
	quiet   map[int64]time.Time // blocks in which nothing is due before an instant, zero for never
	version int64               // of what is exempt, that quiet is right for
	keep    time.Duration       // the same
	untold  int                 // deleted since the last log line
	told    time.Time           // when that was
	failed  bool                // the last pass did, and the log says so
	lag     lag
}

// A lag finds out whether deleting gently keeps up with what comes due.
type lag struct {
	at     time.Time
	late   time.Duration // then
	behind bool
}

// look takes how late deleting is. Where an hour of it has not brought that down, it is behind, until it is nearly on time.
func (l *lag) look(now time.Time, late time.Duration) {
	const hour = time.Hour
	switch {
	case l.at.IsZero() || late <= 0:
		*l = lag{at: now, late: late}
	case now.Sub(l.at) >= hour:
		*l = lag{now, late, late >= l.late || l.behind && late > 2*hour}
	}
}

// rest is how many times as long as it works the purger rests.
func (l *lag) rest() int {
	if l.behind {
		return purge.Briskly
	}
	return purge.Gently
}

// NewPurger makes the purger.
func NewPurger(o Options) (*Purger, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	p := &Purger{
		o: o, me: rand.Text(), quiet: map[int64]time.Time{},
		purged: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "penstock_records_purged_total", Help: "Exchanges that were deleted when their retention was over."}),
		late: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "penstock_retention_late_seconds", Help: "By how much the oldest exchange that is due is over its retention, as the replica sees it that deletes; 0 if none is."}),
	}
	return p, errors.Join(o.Metrics.Register(p.purged), o.Metrics.Register(p.late))
}

// Run purges every minute until ctx ends.
func (p *Purger) Run(ctx context.Context) error { return purge.Loop(ctx, firstPurge, p.once, p.tell) }

// tell writes what was done, once an hour at most, and that it failed, once.
func (p *Purger) tell(deleted int, err error) {
	p.untold += deleted
	if now := time.Now(); p.untold > 0 && now.Sub(p.told) >= tellEvery {
		p.o.Log.Info("deleted exchanges whose retention is over; sums of them stay", "exchanges", p.untold, "kept", p.keep)
		p.untold, p.told = 0, now
	}
	switch {
	case err == nil:
		p.failed = false
	case !p.failed:
		p.failed = true
		p.o.Log.Error("exchanges whose retention is over cannot all be deleted: it is tried again every minute", "error", err)
	}
}

// once deletes all that is due, and says how much that was; then it gives back the space. Another replica that has the lease
// is no error.
func (p *Purger) once(ctx context.Context) (deleted int, err error) {
	keep := p.o.Keep()
	if keep <= 0 {
		p.late.Set(0)
		return 0, nil
	}
	due, err := p.o.Store.Due(ctx, p.o.Now(), keep)
	if err != nil {
		return 0, err
	}
	if due.Version != p.version || keep != p.keep {
		clear(p.quiet)
		p.version, p.keep = due.Version, keep
	}
	pace := purge.NewPace(someRows, fewRows, manyRows, short, long)
	for i, blocks := 0, p.awake(due); i < len(blocks); {
		late := due.Policy.Before(false).Sub(blocks[i].Oldest)
		p.late.Set(late.Seconds())
		p.lag.look(p.o.Now(), late)
		begun := time.Now()
		done, err := p.o.Store.PurgeBlock(ctx, p.me, blocks[i].N, due.Policy, pace.Rows())
		if err != nil {
			return deleted, err
		}
		if !done.Mine {
			p.late.Set(0)
			return deleted, nil
		}
		deleted += done.Deleted
		p.purged.Add(float64(done.Deleted))
		pace.Did(done.Deleted, done.Took)
		if !done.More {
			p.quiet[blocks[i].N] = done.Next
			if i++; i == len(blocks) {
				break
			}
		}
		if err := purge.Rest(ctx, time.Since(begun), p.lag.rest()); err != nil {
			return deleted, err
		}
	}
	p.late.Set(0)
	return deleted, purge.GiveBack(ctx, p.o.Store.GiveBack)
}

// awake are the blocks in which something may be due. Those that are gone are forgotten.
func (p *Purger) awake(due Due) []Block {
	var blocks []Block
	quiet := make(map[int64]time.Time, len(p.quiet))
	for _, b := range due.Blocks {
		next, known := p.quiet[b.N]
		if known {
			quiet[b.N] = next
		}
		if !known || !next.IsZero() && !next.After(due.Policy.Now) {
			blocks = append(blocks, b)
		}
	}
	p.quiet = quiet
	return blocks
}

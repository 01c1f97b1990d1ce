package stop

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/fresh"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
)

// Options are what a Board works with. Those without a default are needed.
type Options struct {
	Store   Store
	Log     *slog.Logger
	Metrics prometheus.Registerer
	// MaxStale is how long after the last good look at the store exchanges are still served; 5 s.
	MaxStale time.Duration
	Poll     time.Duration    // between two looks; 1 s
	Now      func() time.Time // civil time, by which stops end; nil is time.Now
}

// A Board knows which stops are in force, and which exchanges run. It is safe for concurrent use.
type Board struct {
	o        Options
	known    *fresh.Copy[[]Stop]
	cut      prometheus.Counter
	inFlight sync.Mutex // guards running
	running  map[*pipeline.Exchange]*flight
}

// A flight is an exchange that runs.
type flight struct {
	board  *Board
	x      *pipeline.Exchange
	model  string
	target llm.Target // that is being tried; zero before the first try
}

// Stays implements [pipeline.Party].
func (*flight) Stays(error) bool { return false }

// Over implements [pipeline.Party].
func (f *flight) Over() {
	f.board.inFlight.Lock()
	defer f.board.inFlight.Unlock()
	delete(f.board.running, f.x)
}

// New makes a board that refuses everything until its first Refresh.
func New(o Options) (*Board, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	b := &Board{o: o, running: map[*pipeline.Exchange]*flight{}}
	b.known = fresh.New(fresh.Options[[]Stop]{
		What: "stops", Version: o.Store.StopVersion, Log: o.Log, MaxStale: o.MaxStale, Poll: o.Poll,
		Read: func(ctx context.Context) (int64, *[]Stop, error) {
			version, stops, err := o.Store.Stops(ctx)
			return version, &stops, err
		},
		Taken: func(stops *[]Stop) { b.sweep(*stops) },
	}, new([]Stop))
	b.cut = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "penstock_stopped_running_total", Help: "Exchanges that were ended while they ran, because an operator stopped what they used.",
	})
	inForce := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "penstock_stops", Help: "Stops that are in force.",
	}, func() float64 { return float64(len(b.InForce())) })
	return b, errors.Join(o.Metrics.Register(b.cut), o.Metrics.Register(inForce))
}

// InForce lists the stops that hold now, the oldest first.
func (b *Board) InForce() []Stop {
	now := b.o.Now()
	var list []Stop
	for _, s := range *b.known.Load() {
		if s.InForce(now) {
			list = append(list, s)
		}
	}
	return list
}

// Ready reports whether it is known what is stopped.
func (b *Board) Ready() bool { return b.known.Ready() }

// Refresh looks whether stops have changed, and takes them over. It is for the start, and after a change made here; Run
// does it by itself.
func (b *Board) Refresh(ctx context.Context) error { return b.known.Refresh(ctx) }

// Run keeps what is known young, until ctx ends. It returns nil.
func (b *Board) Run(ctx context.Context) error { return b.known.Run(ctx) }

// Set makes a stop that holds for the span, 0 being until it is lifted, and takes it over here at once; other replicas
// find it within a second.
func (b *Board) Set(ctx context.Context, s Stop, span time.Duration) (Stop, error) {
	if err := check(&s, span); err != nil {
		return Stop{}, err
	}
	s.Since = b.o.Now().UTC().Truncate(time.Microsecond)
	if span > 0 {
		s.Until = s.Since.Add(span)
	}
	s.ID = "stop_" + ulid.MustNew(ulid.Timestamp(s.Since), rand.Reader).String()
	s, err := b.o.Store.SetStop(ctx, s, most)
	if err != nil {
		return Stop{}, err
	}
	b.changed(ctx)
	return s, nil
}

// Lift ends a stop, here at once and elsewhere within a second.
func (b *Board) Lift(ctx context.Context, id string) (Stop, error) {
	s, err := b.o.Store.LiftStop(ctx, id)
	if err != nil {
		return Stop{}, err
	}
	b.changed(ctx)
	return s, nil
}

// changed lets this process know of a change. The change stands whether or not that succeeds.
func (b *Board) changed(ctx context.Context) {
	if err := b.Refresh(ctx); err != nil {
		b.o.Log.Warn("a stop was changed and cannot be read back yet", "error", err)
	}
}

// Try says whether an exchange may use a target now. It is asked before each try; its error, a fault, means that it may
// not, and that another target might.
func (b *Board) Try(x *pipeline.Exchange, t llm.Target) error {
	b.inFlight.Lock()
	if f := b.running[x]; f != nil {
		f.target = t // before the look at the stops, so that one that comes now is not missed
	}
	b.inFlight.Unlock()
	stops, now := *b.known.Load(), b.o.Now()
	for i := range stops {
		if s := &stops[i]; s.InForce(now) && (s.asks(x.Caller.Project, x.Request.Model) || s.uses(x.Caller.Project, t)) {
			return refusal(x, s, &t, now)
		}
	}
	return b.fresh() // an exchange may have begun long ago, before the store was away
}

// fresh refuses while it is not known what is stopped.
func (b *Board) fresh() error {
	if b.Ready() {
		return nil
	}
	f := fault.New(fault.StopsUnavailable, "Whether calls are stopped cannot be known: the store does not answer.")
	f.RetryAfter = 2 * time.Second
	return f
}

// enter registers an exchange and says whether it may begin.
func (b *Board) enter(x *pipeline.Exchange) error {
	f := &flight{board: b, x: x, model: x.Request.Model}
	b.inFlight.Lock()
	b.running[x] = f
	b.inFlight.Unlock()
	x.Life.Join(f)
	if err := b.fresh(); err != nil {
		return err
	}
	stops, now := *b.known.Load(), b.o.Now()
	for i := range stops {
		if s := &stops[i]; s.InForce(now) && s.asks(x.Caller.Project, x.Request.Model) {
			return refusal(x, s, nil, now)
		}
	}
	return nil
}

// sweep ends the running exchanges that a stop wants ended.
func (b *Board) sweep(stops []Stop) {
	now := b.o.Now()
	stops = slices.DeleteFunc(slices.Clone(stops), func(s Stop) bool { return !s.Cut || !s.InForce(now) })
	if len(stops) == 0 {
		return
	}
	b.inFlight.Lock()
	defer b.inFlight.Unlock()
	for x, f := range b.running {
		for i := range stops {
			s := &stops[i]
			if !s.asks(x.Caller.Project, f.model) && (f.target == (llm.Target{}) || !s.uses(x.Caller.Project, f.target)) {
				continue
			}
			x.Life.Cut(ended(s, now))
			b.cut.Inc()
			delete(b.running, x)
			break
		}
	}
}

// refusal is what a caller is told, and notes for the record who stopped it. The target is nil if the call is refused
// whatever would answer.
func refusal(x *pipeline.Exchange, s *Stop, t *llm.Target, now time.Time) *fault.Error {
	what := told(s, x.Request.Model)
	if t != nil && !s.asks(x.Caller.Project, x.Request.Model) {
		what = "Calls to " + t.String() + " are stopped"
	}
	x.Note("stop", by(s), 0)
	return stopped(s, what+".", now)
}

// ended is why a running exchange ends.
func ended(s *Stop, now time.Time) *fault.Error {
	return stopped(s, "An operator has stopped what you were using; your answer is incomplete.", now)
}

func stopped(s *Stop, what string, now time.Time) *fault.Error {
	if s.Reason != "" {
		what += " Reason: " + s.Reason + "."
	}
	if !s.Until.IsZero() {
		what += " It ends " + s.Until.UTC().Format(time.DateTime) + " UTC."
	}
	f := fault.Wrap(fault.Stopped, errors.New(by(s)), "%s", what)
	f.Hint = fmt.Sprintf("Do not retry; ask whoever runs Penstock, and name %s.", s.ID)
	f.Spent = true
	if left := s.Until.Sub(now); !s.Until.IsZero() && left > 0 {
		f.RetryAfter = left
	}
	return f
}

// told is what is stopped, in words for the caller: what it knows of itself.
func told(s *Stop, model string) string {
	switch {
	case s.Model == "" && s.Project == "":
		return "All calls are stopped"
	case s.Model == "":
		return "Your project's calls are stopped"
	case s.Project == "":
		return "Calls to " + model + " are stopped"
	}
	return "Your project's calls to " + model + " are stopped"
}

// by says who stopped it, for the record.
func by(s *Stop) string {
	text := fmt.Sprintf("stopped by %s (%s) since %s UTC: %s", s.ByName, s.ByKey, s.Since.UTC().Format(time.DateTime), s.Scope())
	if s.Reason != "" {
		text += ", reason: " + s.Reason
	}
	return text + " (" + s.ID + ")"
}

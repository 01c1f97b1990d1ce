// Package server puts Penstock together: it builds everything from a configuration, runs it, takes over changed
// configurations, and stops it without losing an exchange.
//
// All long-running parts are in one group here; nothing else in the program starts a goroutine that it does not end
// itself. It holds no behaviour of a request: the order of the stages is in pipeline.go, the rest is in the packages.
package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"

	"github.com/penstock/penstock/internal/admin"
	"github.com/penstock/penstock/internal/alert"
	"github.com/penstock/penstock/internal/audit"
	"github.com/penstock/penstock/internal/auth"
	"github.com/penstock/penstock/internal/catalog"
	"github.com/penstock/penstock/internal/clock"
	"github.com/penstock/penstock/internal/config"
	"github.com/penstock/penstock/internal/console"
	"github.com/penstock/penstock/internal/gateway"
	"github.com/penstock/penstock/internal/health"
	"github.com/penstock/penstock/internal/idempotency"
	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/quota"
	"github.com/penstock/penstock/internal/recall"
	"github.com/penstock/penstock/internal/retention"
	"github.com/penstock/penstock/internal/route"
	"github.com/penstock/penstock/internal/seal"
	"github.com/penstock/penstock/internal/stop"
	"github.com/penstock/penstock/internal/store"
	"github.com/penstock/penstock/internal/telemetry"
	"github.com/penstock/penstock/internal/usage"
)

// Options are what a Server needs besides its configuration.
type Options struct {
	Log     *slog.Logger
	Version string
	// Load reads the configuration anew: when its file changes, and when Hangup gives a signal. Without it there are no
	// reloads but those by Reload.
	Load   func(context.Context) (*config.File, error)
	Hangup <-chan os.Signal
	// Hurry ends the wait for open exchanges while the server stops, as the end of the grace does. May be nil.
	Hurry <-chan os.Signal
	// Skew is by how much this machine's clock is wrong, for tests of what that does.
	Skew time.Duration
}

// A Server is one Penstock.
type Server struct {
	o       Options
	started time.Time

	ring     *seal.Ring
	ringSeen ringSeen
	store    *store.Store
	journal  *journal.Journal
	keys     *auth.Keys
	catalog  *catalog.Catalog
	stops    *stop.Board
	targets  *health.Board
	// upstreams is what route has learnt of targets; it outlives configurations.
	upstreams *route.State
	choices   *route.Metrics
	quotas    *quota.Book
	// configured are the targets of the configuration in force, sorted.
	configured atomic.Pointer[[]string]
	limits     limitParts
	recorder   *usage.Recorder
	writer     *usage.Writer
	rollup     *usage.Rollup
	bodies     bodyParts
	recall     *recall.Memory
	purger     *retention.Purger
	gateway    *gateway.Gateway
	tenants    *auth.Service
	keeper     *audit.Keeper
	console    *console.Console
	metrics    *prometheus.Registry

	alerts      *alert.Board
	telemetry   *telemetry.Exporter
	tally       *tally
	lines       *lastLines
	clock       clock.Clock      // corrected by compareClocks
	offset      prometheus.Gauge // of the database's clock, in seconds
	budget      budget
	doors       struct{ data, admin *door }
	data, admin net.Listener
	present     string // the data directory that says where, "" before
	waiting     bool   // the store did not answer at the start; Run waits for it
	stopping    atomic.Bool
	// replicaCount is how many replicas share the store, 0 before that is known.
	replicaCount atomic.Int64
	taken        chan struct{} // a configuration has come into force, and the store was not told yet
	backingUp    sync.Mutex    // held while a backup is taken
	once         *idempotency.Keeper
	cutting      chan struct{}   // closed when exchanges that go on are ended
	winding      context.Context // ends when exchanges are drained: what else is under way has to end
	wind         context.CancelFunc

	mu       sync.Mutex // guards the fields below
	runtime  *runtime
	loaded   time.Time
	reloaded error // of the last reload
}

// New opens the store and everything else, and the two addresses. Close it, or Run it.
func New(ctx context.Context, cfg *config.File, o Options) (*Server, error) {
	s := &Server{
		o: o, started: time.Now(), metrics: prometheus.NewRegistry(), taken: make(chan struct{}, 1), cutting: make(chan struct{}), lines: &lastLines{},
		recall: recall.New(recall.Options{}),
	}
	o.Log = s.lines.also(o.Log)
	s.clock.Skew = o.Skew
	s.o = o
	s.winding, s.wind = context.WithCancel(context.WithoutCancel(ctx))
	s.alerts, s.tally = alert.New(alert.Options{Log: o.Log, Metrics: s.metrics}), newTally()
	s.telemetry = telemetry.New(telemetry.Options{
		Log: o.Log, Metrics: s.metrics, Gather: s.metrics, Version: o.Version, Instance: instance(cfg),
	})
	s.offset = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "penstock_clock_offset_seconds", Help: "How far the database's clock is ahead of this machine's; 0 for a store that is a file.",
	})
	s.metrics.MustRegister(s.offset, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if err := s.open(ctx, cfg); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// open makes the parts in the order in which they need each other. What fails leaves the earlier ones for Close.
func (s *Server) open(ctx context.Context, cfg *config.File) error {
	if err := os.MkdirAll(cfg.Data, 0o700); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	var err error
	reached := cfg.StoreOptions()
	reached.Log, reached.Metrics = s.o.Log, s.metrics
	reached.Now, reached.Local = s.clock.Now, s.clock.Local
	if s.store, err = store.New(cfg.Store, reached); err != nil {
		return err
	}
	if err := s.openRing(ctx, cfg); err != nil {
		return err
	}
	s.keys = auth.NewKeys(s.store, s.ring, s.o.Log, auth.KeysOptions{MaxStale: cfg.Auth.MaxStale, Now: s.clock.Now})
	s.tenants = &auth.Service{Store: s.store, Ring: s.ring, Keys: s.keys, Now: s.clock.Now}
	s.catalog = catalog.New(catalog.Default(), s.store, s.o.Log)
	s.catalog.Measure(s.used, s.clock.Now)
	if s.stops, err = stop.New(stop.Options{Store: s.store, Log: s.o.Log, Metrics: s.metrics, MaxStale: cfg.Auth.MaxStale, Now: s.clock.Now}); err != nil {
		return err
	}
	if err := s.openTargets(cfg); err != nil {
		return err
	}
	record := func() error { return s.recordStart(ctx, cfg) }
	switch err := s.meet(ctx, cfg, func() error { return nil }); {
	case err != nil && ctx.Err() == nil && s.away(err):
		s.waiting = true
		record = func() error { return nil } // when the store is there
		s.o.Log.Warn("the store does not answer: waiting for it; alive, and not ready", "error", err)
	case err != nil:
		return err
	}
	if err := s.openAudit(cfg); err != nil {
		return err
	}
	if err := s.openRecords(cfg); err != nil {
		return err
	}
	if err := s.openLimits(ctx, cfg); err != nil {
		return err
	}
	if err := s.openRetention(); err != nil {
		return err
	}
	if s.once, err = idempotency.NewKeeper(idempotency.Options{Store: s.store, Ring: s.ring, Log: s.o.Log, Metrics: s.metrics}); err != nil {
		return err
	}
	s.makeDoors()
	s.gateway = gateway.New(gateway.Options{
		Keys: s.keys, Records: s.store, Sync: s.settled, Ready: s.ready, Log: s.o.Log, Metrics: s.metrics, Version: s.o.Version,
		Crowded: s.doors.data.crowded, Clock: &s.clock, Conversations: s.bodies.talks,
		Once: s.once, Cut: s.cutting, Allowed: s.limits.allowed(), Standing: s.limits.standing(),
	})
	if s.console, err = s.newConsole(); err != nil {
		return err
	}
	if err := s.take(cfg, record); err != nil {
		return err
	}
	if s.data, err = listen(ctx, s.doors.data, cfg.Listen, cfg.TLS, cfg.Resolver(), s.o.Log); err != nil {
		return err
	}
	if s.admin, err = listen(ctx, s.doors.admin, cfg.Admin.Listen, cfg.Admin.TLS, cfg.Resolver(), s.o.Log); err != nil {
		return err
	}
	// Before anybody is told that the server listens: whoever is told may ask a command to find it.
	s.present = cfg.Data
	s.remember(cfg, true)
	return s.Presence().write(cfg.Data)
}

// ensureAdminKey makes the first admin key, and says so where the file is not what commands will need.
func (s *Server) ensureAdminKey(ctx context.Context, ring *seal.Ring, path string) error {
	found, err := auth.EnsureAdminKey(ctx, s.store, ring, path)
	switch {
	case err != nil:
		return err
	case found == auth.AdminKeyElsewhere:
		s.o.Log.Warn("the store has an admin key already, and its file is not here: commands need it", "file", path)
	case found == auth.AdminKeyOther:
		s.o.Log.Warn("the file holds another key than the store's admin key: commands that read it will be refused", "file", path)
	}
	return nil
}

// take builds the runtime of a configuration, has it recorded and puts it in force, or changes nothing.
func (s *Server) take(cfg *config.File, record func() error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	next, err := s.build(cfg, s.runtime)
	if err != nil {
		return err
	}
	if err := record(); err != nil {
		next.retire(s.runtime)
		return err
	}
	old := s.runtime
	s.runtime, s.loaded = next, time.Now()
	s.gateway.Swap(next.gateway)
	s.alerts.Use(next.webhook)
	targets := next.targets()
	s.configured.Store(&targets)
	s.targets.Use(targets)
	s.quotas.Use(next.accounts, s.named)
	select {
	case s.taken <- struct{}{}:
	default:
	}
	s.telemetry.Use(next.telemetry)
	if old != nil {
		old.retire(next)
	}
	return nil
}

// ready says why traffic should not be sent here, nil if it may be.
func (s *Server) ready() error {
	switch {
	case s.stopping.Load():
		return errors.New("this Penstock is stopping")
	case !s.keys.Ready():
		return errors.New("keys cannot be checked: the store does not answer")
	case !s.stops.Ready():
		return errors.New("whether calls are stopped cannot be known: the store does not answer")
	case s.limits.board != nil && !s.limits.board.Ready():
		return errors.New("what callers may use cannot be known: the store does not answer")
	}
	return s.recorder.Ready()
}

// Presence says where the server listens.
func (s *Server) Presence() Presence {
	scheme := func(tls bool) string {
		if tls {
			return "https://"
		}
		return "http://"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	cfg := s.runtime.cfg
	return Presence{
		DataURL:  scheme(cfg.TLS.On()) + s.data.Addr().String(),
		AdminURL: scheme(cfg.Admin.TLS.On()) + s.admin.Addr().String(),
		PID:      os.Getpid(),
	}
}

// Describe is one line a provider: its models and how many of them have a price.
func (s *Server) Describe() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.runtime.describe()
}

func (s *Server) status() admin.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := admin.Status{
		Version: s.o.Version, Started: s.started.UTC(), ConfigLoaded: s.loaded.UTC(), ConfigVersion: configVersion(s.runtime.cfg), Ready: true,
		Models: len(s.runtime.table.Names()), Providers: len(s.runtime.clients), JournalBacklog: s.backlog(),
	}
	out.Stops = len(s.stops.InForce())
	if err := s.ready(); err != nil {
		out.Ready, out.Reason = false, err.Error()
	}
	out.AuditIntact, out.AuditProblem = s.auditStatus()
	if s.reloaded != nil {
		out.ConfigError = s.reloaded.Error()
	}
	return out
}

// errStopped ends the group of workers in good order.
var errStopped = errors.New("stopped")

// Run serves until ctx ends, then drains and stops. It returns nil if everything ended in good order.
func (s *Server) Run(ctx context.Context) error {
	s.mu.Lock()
	cfg := s.runtime.cfg
	s.mu.Unlock()
	// The workers outlive the listeners: what the last exchanges leave behind is theirs to write.
	background, stopWorkers := context.WithCancelCause(context.WithoutCancel(ctx))
	workers, running := errgroup.WithContext(background)
	for _, work := range []func(context.Context) error{giveBack, s.alerts.Run, s.lookOut, s.discover, s.probe} {
		workers.Go(func() error { return work(running) })
	}
	workers.Go(func() error {
		if s.waiting {
			if met, err := s.await(running, cfg); !met {
				return err
			}
		}
		s.employ(running, workers, cfg)
		return nil
	})

	// Telemetry outlives the workers: what the writer makes of the last records is to be sent, too.
	exporting, stopExporting := context.WithCancel(context.WithoutCancel(ctx))
	defer stopExporting()
	var exporter errgroup.Group
	exporter.Go(func() error { return s.telemetry.Run(exporting) })

	base, cut := context.WithCancelCause(context.WithoutCancel(ctx))
	context.AfterFunc(base, func() { close(s.cutting) })
	data, control := s.httpServers(base, cfg)
	listeners, listening := errgroup.WithContext(background)
	listeners.Go(func() error { return serve(data, s.data) })
	listeners.Go(func() error { return serve(control, s.admin) })

	select {
	case <-ctx.Done():
	case <-running.Done(): // a worker has failed: nothing can be promised any more
	case <-listening.Done(): // a listener has failed: nobody would be served
	}
	s.drain(data, s.grace(), cut)
	s.wind()
	err := errors.Join(s.dismiss(background, control), listeners.Wait())
	stopWorkers(errStopped)
	cut(errStopped)
	err = errors.Join(err, workers.Wait())
	stopExporting()
	return errors.Join(err, exporter.Wait(), s.Close())
}

// employ starts the workers that need the store.
func (s *Server) employ(running context.Context, workers *errgroup.Group, cfg *config.File) {
	all := []func(context.Context) error{s.keys.Run, s.stops.Run, s.targets.Run, s.ring.Run, s.watchRing, s.catalog.Run, s.keeper.Run, s.appear, s.purger.Run, s.once.Run, s.once.Renew}
	all = append(all, s.limits.workers(s)...)
	if s.writer != nil {
		all = append(all, s.writer.Run, s.rollup.Run)
		all = append(all, s.bodies.workers()...)
	}
	if s.o.Load != nil {
		all = append(all, func(ctx context.Context) error { return s.follow(ctx, cfg.Path(), s.o.Hangup) })
	}
	for _, work := range all {
		workers.Go(func() error { return work(running) })
	}
}

func (s *Server) httpServers(base context.Context, cfg *config.File) (data, control *http.Server) {
	quiet := slog.NewLogLogger(s.o.Log.Handler(), slog.LevelDebug)
	data = &http.Server{
		Handler: s.doors.data.usher(s.gateway), ReadHeaderTimeout: cfg.Limits.HeadTime, MaxHeaderBytes: int(cfg.Limits.Headers),
		IdleTimeout: 2 * time.Minute, ErrorLog: quiet, BaseContext: func(net.Listener) context.Context { return base },
		DisableGeneralOptionsHandler: true, // "OPTIONS *" is no route here
		ConnContext:                  mark,
		ConnState:                    watch,
	}
	control = &http.Server{
		Handler: s.doors.admin.usher(controlPlane(admin.New(admin.Options{
			Keys: s.keys, Tenants: s.tenants, Catalog: s.catalog,
			Declarer: s.store,
			Records:  s.store, Audit: s.store, Keeper: s.keeper,
			Stops:  s.stops,
			Limits: s.store, LimitsChanged: s.limits.changed(s.o.Log),
			Ledger:  s.store,
			Targets: s.targets, MayAnswer: func(name string) bool { return s.inForce().mayAnswer(name) },
			Holds:      &retention.Holds{Store: s.store, Now: s.clock.Now},
			Support:    s.support,
			Desk:       s.limits.desk,
			Configured: func(provider string) bool { return s.inForce().clients[provider] != nil },
			Sync:       s.settled, Routes: s.routes, Status: s.status, Ready: s.ready, OpenMetrics: s.openMetrics, Log: s.o.Log, Now: s.clock.Now,
			Replicas: s.replicas,
			Alerts:   s.alerts, Ring: s.ring, Sealed: s.store.SealedBodies, Bodies: s.bodies.reader,
			Metrics: promhttp.HandlerFor(s.metrics, promhttp.HandlerOpts{}), Register: s.metrics,
			Backup: s.backup,
		}), s.console)),
		ConnContext:       mark,
		ConnState:         watch,
		ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, WriteTimeout: time.Minute, IdleTimeout: 2 * time.Minute, ErrorLog: quiet,
		BaseContext: func(net.Listener) context.Context { return base },
	}
	return data, control
}

// Close frees what New opened. Run does it by itself.
func (s *Server) Close() error {
	var errs []error
	s.wind()
	s.console.Close()
	s.mu.Lock()
	if s.runtime != nil {
		s.runtime.retire(nil)
	}
	s.mu.Unlock()
	for _, l := range []net.Listener{s.data, s.admin} {
		if l != nil {
			if err := l.Close(); !errors.Is(err, net.ErrClosed) {
				errs = append(errs, err)
			}
		}
	}
	if s.present != "" {
		if err := os.Remove(presencePath(s.present)); !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	for _, j := range []*journal.Journal{s.journal, s.bodies.journal} {
		if j != nil {
			errs = append(errs, j.Close())
		}
	}
	if s.store != nil {
		errs = append(errs, s.store.Close())
	}
	return errors.Join(errs...)
}

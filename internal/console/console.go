// Package console is the web console at the root of the control plane: pages for people about what the process is doing,
// what it did and what it costs, and the few acts that people do by hand.
//
// Pages are rendered here, from html/template, and work without scripts; one small script adds live figures, copying and
// keys. Everything is embedded, nothing is loaded from elsewhere, and all addresses are relative, so that the console
// works behind any path prefix that a proxy takes off. Who is signed in is a sealed cookie ([Session]) that holds no key;
// it is checked against the snapshot of keys at every request.
//
// The console holds no rules about tenants, money or roles: it calls auth, usage, catalog, limit, ledger, reconcile, bodies, retention and audit, which are
// what the control API (admin) calls too. Every page is in one table ([Pages]) with the permission that it needs. It is not for
// machines: they use the control API.
package console

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/penstock/penstock/internal/alert"
	"github.com/penstock/penstock/internal/audit"
	"github.com/penstock/penstock/internal/auth"
	"github.com/penstock/penstock/internal/bodies"
	"github.com/penstock/penstock/internal/catalog"
	"github.com/penstock/penstock/internal/health"
	"github.com/penstock/penstock/internal/ledger"
	"github.com/penstock/penstock/internal/limit"
	"github.com/penstock/penstock/internal/reconcile"
	"github.com/penstock/penstock/internal/retention"
	"github.com/penstock/penstock/internal/seal"
	"github.com/penstock/penstock/internal/usage"
)

// Options are what the console works with. All are needed but Bodies.
type Options struct {
	Keys    *auth.Keys
	Tenants *auth.Service
	Records usage.Store
	Chain   audit.Store
	Keeper  *audit.Keeper
	Ring    *seal.Ring // seals the sessions
	// Bodies gives out what was asked and answered, and has that audited. nil where records are off.
	Bodies *bodies.Reader
	Holds  *retention.Holds
	// Limits keeps budgets, limits and tiers. LimitsChanged lets this process know at once that they were changed; nil: nobody.
	Limits        limit.Store
	LimitsChanged func(context.Context)
	Ledger        ledger.Store // the books
	Desk          *reconcile.Desk
	// Sync waits until all that has been answered so far can be read from Records.
	Sync   func(context.Context) error
	Status func() Status
	Models func() []Model // all that can be asked for by name, in its order
	// Targets knows how targets are, and which operators have disabled.
	Targets *health.Board
	// MayAnswer tells whether there is a target, or a provider, of a name at the moment.
	MayAnswer func(name string) bool
	Health    func() map[string]Health // of providers, as the last five minutes show it
	// Catalog knows the prices that operators set, and takes new ones.
	Catalog *catalog.Catalog
	Log     *slog.Logger
	// Register takes the console's metrics.
	Register prometheus.Registerer
	Now      func() time.Time // civil time
}

// A Status says how the process is.
type Status struct {
	Version      string
	Started      time.Time
	Reason       string // why it is not ready, "" if it is
	ConfigLoaded time.Time
	ConfigError  string // of the last reload, "" if it succeeded
	Models       int
	Providers    int
	Open         int64         // exchanges that are being served
	Backlog      int64         // bytes of the journal that wait for the store
	Lag          time.Duration // how long the oldest of them has waited
	Alerts       []alert.Alert // that are open, the most severe first
	Certificates []Certificate
	AuditProblem string // what is wrong with the audit chain or its checkpoints, "" if nothing is
	DataURL      string
	Stops        []string // what operators have stopped
	Store        Store
}

// A Certificate is that of a listener.
type Certificate struct {
	Setting string    // where it is configured: tls, admin.tls
	Ends    time.Time // zero if it cannot be read
}

// A Store says how the store is.
type Store struct {
	Engine    string
	Bytes     int64
	LastWrite time.Time // zero: none since the start
	Err       string    // why it cannot be written, "" if it can
}

// A Console is the http.Handler of all pages.
type Console struct {
	o        Options
	pages    []Page
	views    views
	assets   map[string]asset
	foreign  *http.CrossOriginProtection
	sessions sessions
	guesses  throttle
	checks   *checks       // of the books
	queries  chan struct{} // a place for each page that reads the store
	served   *prometheus.CounterVec
}

const (
	// maxQueries is how many pages read the store at once: however many people look, traffic comes first.
	maxQueries = 4
	// maxRead is how long a page may read.
	maxRead = 5 * time.Second
)

// New makes a console. An error is one of the program's own files.
func New(o Options) (*Console, error) {
	c := &Console{
		o: o, pages: Pages(), foreign: http.NewCrossOriginProtection(), queries: make(chan struct{}, maxQueries),
		sessions: newSessions(o.Ring, o.Now), guesses: newThrottle(time.Now), checks: newChecks(), // which counts by the monotonic clock
	}
	var err error
	if c.assets, err = loadAssets(); err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	if c.views, err = loadViews(c.assets); err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	c.served = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "penstock_console_requests_total", Help: "Requests to the console, by page and the HTTP status that was sent.",
	}, []string{"page", "status"})
	return c, o.Register.Register(c.served)
}

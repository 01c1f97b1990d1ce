// Package admin is the control API: projects, keys, prices, records, sums and the state of the process, for operators and
// for the command line.
//
// Its routes are in one table ([Endpoints]) that names the permission each one needs, what it takes and what it gives; no
// handler can be reached past it, and api/openapi.yaml is made from it. The package holds no rules about tenants or money
// of its own: it calls auth, catalog and usage.
package admin

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/penstock/penstock/internal/alert"
	"github.com/penstock/penstock/internal/audit"
	"github.com/penstock/penstock/internal/auth"
	"github.com/penstock/penstock/internal/bodies"
	"github.com/penstock/penstock/internal/catalog"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/health"
	"github.com/penstock/penstock/internal/ledger"
	"github.com/penstock/penstock/internal/limit"
	"github.com/penstock/penstock/internal/reconcile"
	"github.com/penstock/penstock/internal/retention"
	"github.com/penstock/penstock/internal/seal"
	"github.com/penstock/penstock/internal/stop"
	"github.com/penstock/penstock/internal/usage"
)

// Options are what the control API works with. All are needed.
type Options struct {
	Keys    *auth.Keys
	Tenants *auth.Service
	Catalog *catalog.Catalog
	Records usage.Store
	Audit   audit.Store
	Bodies  *bodies.Reader // nil with records off
	Keeper  *audit.Keeper
	Stops   *stop.Board
	// Targets knows how targets are, and which operators have disabled.
	Targets *health.Board
	Holds   *retention.Holds
	// Limits keeps budgets, limits and tiers. LimitsChanged lets this process know at once that they were changed; nil: nobody.
	Limits        limit.Store
	Ledger        ledger.Store
	LimitsChanged func(context.Context)
	// Declarer is the store: it makes what a declaration changes.
	Declarer Declarer
	// Sync waits until all that has been answered so far can be read from Records.
	Sync func(context.Context) error
	// Routes tells what answers for which model at the moment.
	Routes func() []Route
	// Desk takes exports of providers.
	Desk *reconcile.Desk
	// Configured tells whether there is a provider of a name at the moment.
	Configured func(provider string) bool
	// MayAnswer tells whether there is a target, or a provider, of a name at the moment.
	MayAnswer func(name string) bool
	Status    func() Status
	// Replicas lists the Penstocks on the same store.
	Replicas func(context.Context) ([]Replica, error)
	Alerts   *alert.Board
	Ring     *seal.Ring
	// Sealed counts what the store has sealed, by the id of the data key. nil where nothing is kept sealed that can be counted.
	Sealed func(context.Context) (map[string]int64, error)
	// Support tells of the inside of the process.
	Support func() Support
	// Backup begins a backup of the store, which is an act of whoever the context says.
	Backup func(context.Context) (*Backup, error)
	// Ready says why the process cannot take traffic, nil if it can.
	Ready func() error
	// Metrics serves the Prometheus text format; the API registers its own on Register. OpenMetrics says whether
	// everybody may read them at the moment.
	Metrics     http.Handler
	Register    prometheus.Registerer
	OpenMetrics func() bool
	Log         *slog.Logger
	Now         func() time.Time
}

// An API is the control plane's http.Handler.
type API struct {
	o         Options
	endpoints []Endpoint
	foreign   *http.CrossOriginProtection
	calls     *prometheus.CounterVec
	quiet     atomic.Int64 // until when no refused key is logged, in nanoseconds since 1970
}

// New makes the control API.
func New(o Options) *API {
	a := &API{o: o, endpoints: Endpoints(), foreign: http.NewCrossOriginProtection()}
	a.calls = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "penstock_admin_requests_total",
		Help: "Requests to the control plane, by route and the HTTP status that was sent.",
	}, []string{"route", "status"})
	o.Register.MustRegister(a.calls)
	return a
}

// A call is a request that has passed the door.
type call struct {
	grant *auth.Grant // who makes it; nil on open routes
	id    string      // from the path, "" if it has none
	query query
	body  body
}

// slowWithin is how long an answer may take that is a slow one ([Action]).
const slowWithin = time.Hour

// ServeHTTP implements [http.Handler].
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	out := &answer{w: w, id: "ad_" + ulid.Make().String(), route: "other"}
	defer a.end(out)
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Request-Id", out.id)
	e, c, err := a.enter(r, out)
	var v any
	if err == nil {
		if e.Slow {
			_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(slowWithin)) // or it has as long as all others
		}
		v, err = e.serve(a, acting(r, out, c), c)
	}
	if err != nil {
		out.refuse(a.o.Log, err)
		return
	}
	if foreign, ok := v.(http.Handler); ok {
		out.status = e.Status
		foreign.ServeHTTP(w, r)
		return
	}
	out.write(e.Status, v)
}

// end counts the request. A panic becomes a 500, if nothing was written yet, and the process lives.
func (a *API) end(out *answer) {
	if p := recover(); p != nil {
		if p == http.ErrAbortHandler { //nolint:errorlint // a sentinel that is panicked with as it is
			panic(p)
		}
		a.o.Log.Error("panic in an administrative call", "request", out.id, "route", out.route, "panic", p, "stack", string(debug.Stack()))
		if out.status != 0 {
			panic(http.ErrAbortHandler) // the answer has begun: all that is left is to cut it
		}
		out.write(http.StatusInternalServerError, shown(fault.New(fault.InternalError, "Penstock met an error of its own.")))
	}
	a.calls.WithLabelValues(out.route, strconv.Itoa(out.status)).Inc()
}

// enter is the door of every request: what it is, who is asking, may they. A stranger learns nothing but that a key is
// needed: not even which routes there are.
func (a *API) enter(r *http.Request, out *answer) (*Endpoint, *call, error) {
	if r.URL.Host != "" || strings.ContainsAny(r.Host, "/\\#@? ") {
		return nil, nil, fault.New(fault.InvalidRequest, "The request names its host in a form that is not served here.")
	}
	if err := a.foreign.Check(r); err != nil {
		return nil, nil, fault.Wrap(fault.NotAllowed, err, "A page of another origin may change nothing here.")
	}
	e, id, allowed := a.find(r.Method, r.URL.EscapedPath())
	c := &call{id: id}
	if e == nil || !a.open(e) {
		var err error
		if c.grant, err = a.authenticate(r); err != nil {
			return nil, nil, err
		}
	}
	if e == nil {
		return nil, nil, out.noRoute(r, allowed)
	}
	out.route = e.Method + " " + e.Path
	if c.grant != nil && !c.grant.Key.Role.Can(e.Permission) {
		return nil, nil, fault.New(fault.NotAllowed, "The role %s may not do this; it needs the permission %s.", c.grant.Key.Role, e.Permission)
	}
	var err error
	c.query, err = readQuery(r.URL.RawQuery, e)
	most := int64(maxBody)
	if e.File {
		most = maxFileBody
	}
	c.body = body{r: http.MaxBytesReader(out.w, r.Body, most), mayBeEmpty: e.MayBeEmpty}
	return e, c, err
}

// open reports whether an endpoint needs no key.
func (a *API) open(e *Endpoint) bool {
	return e.Permission == "" || e.Permission == auth.ReadMetrics && a.o.OpenMetrics()
}

// authenticate finds out who is asking. A wrong key costs one hash and one look into a map, and at most one line in the
// log a second; keys have 256 random bits, so guesses are not counted by sender: a lock-out would only be a way to lock
// the operator out.
func (a *API) authenticate(r *http.Request) (*auth.Grant, error) {
	presented := r.Header["Authorization"]
	if len(presented) == 0 {
		return nil, keyless("The control plane wants an admin key.")
	}
	scheme, key, _ := strings.Cut(presented[0], " ")
	if len(presented) > 1 || !strings.EqualFold(scheme, "bearer") || key == "" {
		return nil, keyless("Authorization is not one header of the form: Bearer KEY.")
	}
	grant, err := a.o.Keys.CheckAdmin(strings.TrimLeft(key, " "))
	if err != nil {
		a.noteRefused(r, err)
	}
	return grant, err
}

func keyless(message string) error {
	f := fault.New(fault.InvalidAPIKey, "%s", message)
	f.Hint = "Send it as Authorization: Bearer KEY; the first one lies in <data>/admin.key."
	return f
}

// noteRefused logs one refused key a second; the counter counts them all.
func (a *API) noteRefused(r *http.Request, err error) {
	due, now := a.quiet.Load(), time.Now().UnixNano()
	if now >= due && a.quiet.CompareAndSwap(due, now+int64(time.Second)) {
		a.o.Log.Warn("the control plane refused a key", "from", r.RemoteAddr, "error", err)
	}
}

func (a *API) metrics(context.Context, *call) (http.Handler, error) { return a.o.Metrics, nil }

func (a *API) healthz(context.Context, *call) (Health, error) { return Health{Status: "alive"}, nil }

func (a *API) readyz(context.Context, *call) (Health, error) {
	err := a.o.Ready()
	if err == nil {
		return Health{Status: "ready"}, nil
	}
	f := fault.Wrap(fault.NotReady, err, "Not ready: %v.", err)
	f.RetryAfter = time.Second
	return Health{}, f
}

// catchUp waits a moment for the records of all that has been answered; what the store has is shown in any case, and
// behind says that it is not all.
func (a *API) catchUp(ctx context.Context) (behind bool, err error) {
	waiting, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := a.o.Sync(waiting); err == nil || ctx.Err() == nil {
		return err != nil, nil
	}
	return false, ctx.Err()
}

// settle waits for the records of all that has been answered, so that one who got an answer finds its record.
func (a *API) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	err := a.o.Sync(ctx)
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	f := fault.Wrap(fault.RecordsBehind, err, "Records cannot be read at the moment: they wait in the journal for the store.")
	f.RetryAfter = 2 * time.Second
	return f
}

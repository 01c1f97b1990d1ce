// Package gateway is the data plane: it authenticates a request, reads and decodes it, hands an exchange to the pipeline
// and writes what comes back in the client's own dialect.
//
// All its routes are in one table, and all of them go through the same door. It decides nothing about models, money or
// content: those are stages. Nothing administrative is reachable here.
package gateway

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/penstock/penstock/internal/auth"
	"github.com/penstock/penstock/internal/clock"
	"github.com/penstock/penstock/internal/conversation"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/idempotency"
	"github.com/penstock/penstock/internal/limit"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/route"
	"github.com/penstock/penstock/internal/usage"
	"github.com/penstock/penstock/internal/wire/w3c"
)

// Keys checks presented keys. Errors are faults.
type Keys interface {
	Check(presented string) (*auth.Grant, error)
}

// Records reads back what was recorded.
type Records interface {
	Record(ctx context.Context, project, id string) (*usage.Record, error)
}

// A Runtime is what one configuration makes of the request path. It is immutable; a reload swaps in another, and
// exchanges finish on the one they began with.
type Runtime struct {
	Table   *route.Table
	Handler pipeline.Handler
	Limits  Limits
	// Sample says whether a trace that begins here is recorded; nil says never. Traces that callers began are recorded if
	// they say so.
	Sample func(w3c.TraceID) bool
}

// Options are what a Gateway works with for all of its life.
type Options struct {
	Keys    Keys
	Records Records
	// Sync waits until all that has been answered so far can be read from Records.
	Sync func(context.Context) error
	// Ready says why the process cannot take traffic, nil if it can.
	Ready func() error
	// Crowded says why a request can have no more than its connection, nil if it can; open is how many are being served,
	// itself among them. It may be nil.
	Crowded func(ctx context.Context, open int64) error
	// Clock tells the time of records and of ids; nil is this machine's.
	Clock   *clock.Clock
	Log     *slog.Logger
	Metrics prometheus.Registerer
	Version string
	// Conversations keeps what callers of the Responses dialect go on from; nil keeps nothing.
	Conversations *conversation.Keeper
	// Once keeps calls with an Idempotency-Key from running twice; nil takes no notice of keys.
	Once *idempotency.Keeper
	// Allowed says how much a caller may use, and how it stands; nil says nothing.
	Allowed func(ctx context.Context, caller *pipeline.Caller, user string) limit.Allowed
	// Standing says how the rate limits of a caller stand that hold whatever it asks for; nil, or nil of it, says nothing.
	Standing func(caller *pipeline.Caller) pipeline.Allowance
	// Cut is closed when exchanges that go on without their clients have to end.
	Cut <-chan struct{}
}

// A Gateway is the data plane's http.Handler.
type Gateway struct {
	o        Options
	runtime  atomic.Pointer[Runtime]
	held     atomic.Int64 // bytes of bodies in memory
	open     atomic.Int64 // requests being served
	refusals *prometheus.CounterVec
	quiet    sampler
	pulses   sync.Pool // of streams that have ended
	exact    map[string]*Route
	below    []*Route
}

// A Route is one entry of the data plane's inventory.
type Route struct {
	Method string
	Path   string // with a trailing slash: everything below it
	// Open routes need no key. Spends says that a call can cost money.
	Open, Spends bool
	voice        voice // of its dialect; nil is that of the client's headers
	serve        func(g *Gateway, w http.ResponseWriter, r *http.Request, c *call)
}

// Routes is the whole inventory. A test calls each one without a key, and each that spends with one.
func Routes() []Route {
	return []Route{
		{Method: http.MethodPost, Path: "/v1/chat/completions", Spends: true, voice: openaiVoice{}, serve: exchange(llm.OpChat)},
		{Method: http.MethodPost, Path: "/v1/embeddings", Spends: true, voice: openaiVoice{}, serve: exchange(llm.OpEmbeddings)},
		{Method: http.MethodPost, Path: "/v1/moderations", Spends: true, voice: openaiVoice{}, serve: exchange(llm.OpModerations)},
		{Method: http.MethodPost, Path: "/v1/responses", Spends: true, voice: responsesVoice{}, serve: exchange(llm.OpChat)},
		{Method: http.MethodPost, Path: "/v1/messages", Spends: true, voice: anthropicVoice{}, serve: exchange(llm.OpChat)},
		{Method: http.MethodPost, Path: "/v1/messages/count_tokens", Spends: true, voice: anthropicVoice{}, serve: exchange(llm.OpCount)},
		{Method: http.MethodPost, Path: "/v1/responses/input_tokens", Spends: true, voice: responsesVoice{}, serve: exchange(llm.OpCount)},
		{Method: http.MethodGet, Path: "/v1/responses/", voice: responsesVoice{}, serve: (*Gateway).response},
		{Method: http.MethodDelete, Path: "/v1/responses/", voice: responsesVoice{}, serve: (*Gateway).deleteResponse},
		{Method: http.MethodGet, Path: "/v1/models", serve: (*Gateway).models},
		{Method: http.MethodGet, Path: "/v1/models/", serve: (*Gateway).model},
		{Method: http.MethodGet, Path: "/penstock/v1/self", serve: (*Gateway).self},
		{Method: http.MethodGet, Path: "/penstock/v1/exchanges/", serve: (*Gateway).record},
		{Method: http.MethodGet, Path: "/healthz", Open: true, serve: (*Gateway).healthz},
		{Method: http.MethodGet, Path: "/readyz", Open: true, serve: (*Gateway).readyz},
	}
}

// A call is what is known of a request before its body is read.
type call struct {
	id        string
	trace     w3c.TraceID // its own, if the client is in none
	voice     voice
	received  time.Time
	at        time.Time     // received, by the clock that records go by
	corrected time.Duration // by how much that is not this machine's
	grant     *auth.Grant   // nil on open routes
	runtime   *Runtime
	rest      string                     // of the path, unescaped, below a route that ends in a slash
	keep      func(response []byte) bool // keeps a response for its caller to go on from, and says whether it could; nil keeps none
	held      int64                      // bytes beside the body, counted against Limits.InFlight
	left      bool                       // the body, or a part of it, is not read: the answer comes before it

	once   *once      // of a call with an Idempotency-Key, else nil
	target llm.Target // that answers

	values []string // of the answer's headers; see set
	room   [6]string
}

// New makes the data plane. Swap must be called before it serves.
func New(o Options) *Gateway {
	g := &Gateway{o: o, exact: map[string]*Route{}}
	g.refusals = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "penstock_refused_requests_total",
		Help: "Requests that were refused before they became an exchange, by error code.",
	}, []string{"code"})
	o.Metrics.MustRegister(g.refusals,
		gauge("penstock_open_requests", "Requests of the data plane that are being served.", &g.open),
		gauge("penstock_held_body_bytes", "Bytes of requests' bodies that are held.", &g.held))
	for _, r := range Routes() {
		if strings.HasSuffix(r.Path, "/") {
			g.below = append(g.below, &r)
		} else {
			g.exact[r.Path] = &r
		}
	}
	return g
}

func gauge(name, help string, of *atomic.Int64) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(of.Load()) })
}

// Swap puts a runtime in force for the exchanges that begin from now on.
func (g *Gateway) Swap(r *Runtime) { g.runtime.Store(r) }

// Open is how many requests are being served.
func (g *Gateway) Open() int64 { return g.open.Load() }

// ServeHTTP implements [http.Handler].
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	open := g.open.Add(1)
	defer g.open.Add(-1)
	c := &call{received: time.Now(), runtime: g.runtime.Load(), voice: voiceOf(r.Header)}
	c.at, c.corrected = g.o.Clock.At(c.received)
	c.id, c.trace = pipeline.NewID(c.at)
	c.values = c.room[:0]
	c.set(w, "X-Request-Id", c.id)
	defer g.survive(w, c)
	rt, err := g.find(r, c)
	if err == nil && rt.voice != nil {
		c.voice = rt.voice
	}
	if name := c.voice.idHeader(); name != "" {
		c.set(w, name, c.id)
	}
	if err == nil && !rt.takes(r.Method) {
		c.set(w, "Allow", g.methods(rt))
		err = fault.New(fault.MethodNotAllow, "%s takes %s, not %s.", clip(r.URL.Path), g.methods(rt), clip(r.Method))
	}
	if err == nil && !rt.Open && g.o.Crowded != nil {
		err = g.o.Crowded(r.Context(), open)
	}
	if err == nil && !rt.Open {
		c.grant, err = g.authenticate(r.Header)
	}
	if err != nil || !rt.Spends {
		c.leaveBody(w, r)
	}
	if err == nil && !rt.Open && !rt.Spends { // an exchange tells of all limits that hold for it
		g.setStanding(w, c)
	}
	if err != nil {
		g.refuse(w, r, c, err)
	} else {
		rt.serve(g, w, r, c)
	}
	if c.left && c.grant != nil { // strangers are not listened to
		hearOut(w, r)
	}
}

// find looks the route up by the path as it was written: one that is spelled in another way, with escapes or doubled
// slashes, is none, so that whatever stands before Penstock and looks at paths sees the same. Targets and hosts that could
// be read in two ways are refused.
func (g *Gateway) find(r *http.Request, c *call) (*Route, error) {
	if r.URL.Host != "" || r.URL.Scheme != "" || strings.ContainsAny(r.Host, "/\\#@? ") {
		return nil, fault.New(fault.InvalidRequest, "The request names its host in a form that is not served here.")
	}
	if rt := g.exact[r.URL.Path]; rt != nil && r.URL.RawPath == "" {
		return rt, nil
	}
	var found *Route
	for _, rt := range g.below {
		written, ok := strings.CutPrefix(r.URL.EscapedPath(), rt.Path)
		if rest, err := url.PathUnescape(written); ok && err == nil && rest != "" {
			c.rest = rest
			if found = rt; rt.takes(r.Method) { // another may have the same path
				break
			}
		}
	}
	if found != nil {
		return found, nil
	}
	return nil, fault.New(fault.UnknownRoute, "No route %s here.", clip(r.URL.Path))
}

// takes reports whether the route is called by a method. What can be read can be asked for without its body.
func (rt *Route) takes(method string) bool {
	return method == rt.Method || method == http.MethodHead && rt.Method == http.MethodGet
}

// methods is the Allow header of a path.
func (g *Gateway) methods(rt *Route) string {
	all := rt.Method
	for _, other := range g.below {
		if other.Path == rt.Path && other.Method != rt.Method {
			all = other.Method + ", " + all
		}
	}
	if strings.Contains(all, http.MethodGet) {
		all += ", " + http.MethodHead
	}
	return all
}

// authenticate checks the key of a request. It is taken from Authorization or x-api-key; two that differ are nobody's.
func (g *Gateway) authenticate(h http.Header) (*auth.Grant, error) {
	presented, err := presentedKey(h)
	if err != nil {
		return nil, err
	}
	grant, err := g.o.Keys.Check(presented)
	if err != nil {
		return nil, err
	}
	if !grant.Key.Role.Can(auth.Call) {
		return nil, fault.New(fault.NotAllowed, "The key %s has the role %s, which may not call models.", grant.Key.Prefix, grant.Key.Role)
	}
	return grant, nil
}

func presentedKey(h http.Header) (string, error) {
	bearers, plain := h["Authorization"], h["X-Api-Key"]
	if len(bearers) > 1 || len(plain) > 1 {
		return "", fault.New(fault.InvalidAPIKey, "The request carries more than one key. Send one, once.")
	}
	var key string
	if len(bearers) == 1 {
		scheme, rest, _ := strings.Cut(bearers[0], " ")
		if !strings.EqualFold(scheme, "bearer") {
			return "", fault.New(fault.InvalidAPIKey, "Authorization is not of the form: Bearer KEY.")
		}
		key = strings.TrimLeft(rest, " ")
	}
	if len(plain) == 1 {
		if key != "" && key != plain[0] {
			return "", fault.New(fault.InvalidAPIKey, "Authorization and x-api-key carry different keys. Send one.")
		}
		key = plain[0]
	}
	if key == "" {
		return "", fault.New(fault.InvalidAPIKey, "The request carries no key. Send it as Authorization: Bearer KEY.")
	}
	return key, nil
}

// survive turns a panic into a 500, if nothing was written yet, and lets the process live.
func (g *Gateway) survive(w http.ResponseWriter, c *call) {
	p := recover()
	if p == nil {
		return
	}
	if p == http.ErrAbortHandler { //nolint:errorlint // a sentinel that is panicked with as it is
		panic(p)
	}
	g.o.Log.Error("panic in a request", "exchange", c.id, "panic", p, "stack", string(debug.Stack()))
	if w.Header().Get("Content-Type") != "" {
		panic(http.ErrAbortHandler) // the answer has begun: all that is left is to cut it
	}
	c.writeError(w, fault.New(fault.InternalError, "Penstock met an error of its own. Request %s.", c.id))
}

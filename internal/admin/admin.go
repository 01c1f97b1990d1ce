// Package admin is the control API: projects, keys, prices, records, sums and the state of the process, for operators and
// for the command line.
//
// Its routes are in one table that names the permission each one needs; a handler cannot be reached without it. It holds
// no rules about tenants or money of its own: it calls auth, catalog and usage.
package admin

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/penstock/penstock/internal/auth"
	"github.com/penstock/penstock/internal/catalog"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/usage"
)

// Options are what the control API works with.
type Options struct {
	Keys    *auth.Keys
	Tenants *auth.Service
	Catalog *catalog.Catalog
	Records usage.Store
	// Sync waits until all that has been answered so far can be read from Records.
	Sync func(context.Context) error
	// Routes tells what answers for which model at the moment.
	Routes func() []Route
	Status func() Status
	Ready  func() error
	// Metrics serves the Prometheus text format. OpenMetrics lets everybody read it.
	Metrics     http.Handler
	OpenMetrics bool
	Log         *slog.Logger
	Now         func() time.Time
}

// An API is the control plane's http.Handler.
type API struct {
	o   Options
	mux *http.ServeMux
}

// A Route of the inventory. Permission "" is open to everybody.
type endpoint struct {
	method, path string
	permission   auth.Permission
	status       int
	serve        func(a *API, r *http.Request) (any, error)
}

var endpoints = []endpoint{
	{http.MethodPost, "/admin/v1/projects", auth.WriteTenants, http.StatusCreated, (*API).createProject},
	{http.MethodGet, "/admin/v1/projects", auth.ReadTenants, http.StatusOK, (*API).listProjects},
	{http.MethodPatch, "/admin/v1/projects/{id}", auth.WriteTenants, http.StatusOK, (*API).updateProject},
	{http.MethodPost, "/admin/v1/keys", auth.WriteTenants, http.StatusCreated, (*API).createKey},
	{http.MethodGet, "/admin/v1/keys", auth.ReadTenants, http.StatusOK, (*API).listKeys},
	{http.MethodPost, "/admin/v1/keys/{id}/revoke", auth.WriteTenants, http.StatusOK, (*API).revokeKey},
	{http.MethodPost, "/admin/v1/keys/{id}/rotate", auth.WriteTenants, http.StatusCreated, (*API).rotateKey},
	{http.MethodGet, "/admin/v1/exchanges", auth.ReadExchanges, http.StatusOK, (*API).listExchanges},
	{http.MethodGet, "/admin/v1/exchanges/{id}", auth.ReadExchanges, http.StatusOK, (*API).exchange},
	{http.MethodGet, "/admin/v1/usage", auth.ReadUsage, http.StatusOK, (*API).usage},
	{http.MethodGet, "/admin/v1/prices", auth.ReadPrices, http.StatusOK, (*API).listPrices},
	{http.MethodPut, "/admin/v1/prices", auth.WritePrices, http.StatusOK, (*API).setPrices},
	{http.MethodGet, "/admin/v1/routes", auth.ReadRoutes, http.StatusOK, (*API).routes},
	{http.MethodGet, "/admin/v1/status", auth.ReadRoutes, http.StatusOK, (*API).status},
}

// New makes the control API.
func New(o Options) *API {
	a := &API{o: o, mux: http.NewServeMux()}
	for _, e := range endpoints {
		a.mux.Handle(e.method+" "+e.path, a.handler(e))
	}
	a.mux.HandleFunc("GET /metrics", a.metrics)
	a.mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		writeValue(w, http.StatusOK, map[string]string{"status": "alive"})
	})
	a.mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := o.Ready(); err != nil {
			writeFault(w, fault.Wrap(fault.NotReady, err, "Not ready: %v.", err))
			return
		}
		writeValue(w, http.StatusOK, map[string]string{"status": "ready"})
	})
	a.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if _, err := a.authenticate(r); err != nil { // a stranger learns nothing of what exists
			writeFault(w, fault.From(err))
			return
		}
		writeFault(w, fault.New(fault.UnknownRoute, "No route %s %s on the control plane.", r.Method, strconv.Quote(r.URL.Path)))
	})
	return a
}

// ServeHTTP implements [http.Handler].
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if r.URL.Host != "" || strings.ContainsAny(r.Host, "/\\#@? ") {
		writeFault(w, fault.New(fault.InvalidRequest, "The request names its host in a form that is not served here."))
		return
	}
	a.mux.ServeHTTP(w, r)
}

type grantKey struct{}

// grantOf is who makes an administrative call; handlers run behind authenticate, which put it there.
func grantOf(ctx context.Context) *auth.Grant { g, _ := ctx.Value(grantKey{}).(*auth.Grant); return g }

// handler wraps an endpoint with what all have in common: who is asking, may they, and the form of the answer.
func (a *API) handler(e endpoint) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g, err := a.authenticate(r)
		if err == nil && !g.Key.Role.Can(e.permission) {
			err = fault.New(fault.NotAllowed, "The role %s may not do this; it needs the permission %s.", g.Key.Role, e.permission)
		}
		if err != nil {
			writeFault(w, fault.From(err))
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, 16<<20)
		v, err := e.serve(a, r.WithContext(context.WithValue(r.Context(), grantKey{}, g)))
		if err != nil {
			f := fault.From(err)
			if f.Kind == fault.Internal {
				a.o.Log.Error("administrative call failed", "route", e.method+" "+e.path, "error", err)
			}
			writeFault(w, f)
			return
		}
		writeValue(w, e.status, v)
	})
}

func (a *API) authenticate(r *http.Request) (*auth.Grant, error) {
	scheme, key, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "bearer") || key == "" {
		f := fault.New(fault.InvalidAPIKey, "The control plane wants an admin key.")
		f.Hint = "Send it as Authorization: Bearer KEY; it lies in <data>/admin.key."
		return nil, f
	}
	return a.o.Keys.CheckAdmin(key)
}

func (a *API) metrics(w http.ResponseWriter, r *http.Request) {
	if !a.o.OpenMetrics {
		g, err := a.authenticate(r)
		if err == nil && !g.Key.Role.Can(auth.ReadMetrics) {
			err = fault.New(fault.NotAllowed, "The role %s may not read metrics.", g.Key.Role)
		}
		if err != nil {
			writeFault(w, fault.From(err))
			return
		}
	}
	a.o.Metrics.ServeHTTP(w, r)
}

// A list is the form of every list answer.
type list[T any] struct {
	Data []T    `json:"data"`
	Next string `json:"next"`
}

// pageSize is how much of a list one answer holds, unless the caller asks for less.
const pageSize = 200

func limitOf(r *http.Request) (int, error) {
	s := r.URL.Query().Get("limit")
	if s == "" {
		return pageSize, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > 1000 {
		return 0, fault.New(fault.InvalidRequest, "limit is %q; send a number from 1 to 1000.", s)
	}
	return n, nil
}

// cut makes a page of the rows that a store gave, one more than asked for telling that there are more.
func cut[T, U any](rows []T, limit int, id func(T) string, show func(T) U) list[U] {
	out := list[U]{Data: []U{}}
	if len(rows) > limit {
		rows = rows[:limit]
		out.Next = id(rows[limit-1])
	}
	for _, r := range rows {
		out.Data = append(out.Data, show(r))
	}
	return out
}

// read decodes a body strictly: unknown and repeated members are refused, so that nothing is accepted and ignored.
func read(r *http.Request, into any) error {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		var big *http.MaxBytesError
		if errors.As(err, &big) {
			return fault.Wrap(fault.BodyTooLarge, err, "The body is over 16 MB.")
		}
		return fault.Wrap(fault.InvalidRequest, err, "The body ended before its length.")
	}
	if err := json.Unmarshal(b, into, json.RejectUnknownMembers(true)); err != nil {
		return fault.Wrap(fault.InvalidRequest, err, "The body is not what this route takes: %s.", reason(err))
	}
	return nil
}

// reason takes the words of a JSON error without the Go types in it.
func reason(err error) string {
	var s *json.SemanticError
	if errors.As(err, &s) {
		where := string(s.JSONPointer)
		if where == "" {
			where = "/"
		}
		if s.Err != nil && errors.Is(s.Err, json.ErrUnknownName) {
			return "unknown member " + where
		}
		return "wrong type or value at " + where
	}
	return strings.TrimPrefix(err.Error(), "jsontext: ")
}

func writeValue(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		writeFault(w, fault.From(err))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(b) // a client that left has nobody to tell
}

func writeFault(w http.ResponseWriter, f *fault.Error) {
	var body struct {
		Error struct {
			Code    fault.Code `json:"code"`
			Message string     `json:"message"`
			Hint    string     `json:"hint"`
		} `json:"error"`
	}
	body.Error.Code, body.Error.Message, body.Error.Hint = f.Code, f.Message, f.Advice()
	if f.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int((f.RetryAfter+time.Second-1)/time.Second)))
	}
	writeValue(w, f.HTTPStatus(), body)
}

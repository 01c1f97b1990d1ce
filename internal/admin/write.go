package admin

import (
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/penstock/penstock/internal/fault"
)

// An answer is one request and what became of it.
type answer struct {
	w      http.ResponseWriter
	id     string // X-Request-Id
	route  string // for metrics and logs; "other" until the caller may know of it
	status int    // what was sent, 0 if nothing was
}

// write sends a value as JSON. Text that is no UTF-8 is sent with replacement characters, so that no answer fails by what
// somebody else once wrote.
func (out *answer) write(status int, v any) {
	b, err := json.Marshal(v, json.Deterministic(true), jsontext.AllowInvalidUTF8(true))
	if err != nil {
		panic(err) // a type of ours that JSON does not have
	}
	out.status = status
	out.w.Header().Set("Content-Type", "application/json")
	out.w.WriteHeader(status)
	_, _ = out.w.Write(b) // a client that left has nobody to tell
}

// refuse sends an error. Those of our own and of the store go to the log as well, with their cause.
func (out *answer) refuse(log *slog.Logger, err error) {
	f := fault.From(err)
	if f.Kind == fault.Internal || f.Code == fault.StoreFailed {
		log.Error("administrative call failed", "request", out.id, "route", out.route, "error", err)
	}
	if f.Kind == fault.Unauthenticated {
		out.w.Header().Set("WWW-Authenticate", "Bearer")
	}
	if f.RetryAfter > 0 {
		out.w.Header().Set("Retry-After", strconv.Itoa(int((f.RetryAfter+time.Second-1)/time.Second)))
	}
	out.write(f.HTTPStatus(), shown(f))
}

// shown is what a caller is told of an error.
func shown(f *fault.Error) Refusal {
	return Refusal{RefusalError{Code: string(f.Code), Message: f.Message, Hint: f.Advice()}}
}

// noRoute says that there is no such route, or that it has other methods.
func (out *answer) noRoute(r *http.Request, allowed []string) error {
	path := quote(r.URL.Path)
	if len(allowed) == 0 {
		return fault.New(fault.UnknownRoute, "No route %s %s on the control plane.", quote(r.Method), path)
	}
	methods := strings.Join(allowed, ", ")
	out.w.Header().Set("Allow", methods)
	return fault.New(fault.MethodNotAllow, "%s takes %s, not %s.", path, methods, quote(r.Method))
}

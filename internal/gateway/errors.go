package gateway

import (
	"net/http"
	"strconv"
	"time"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/wire/openai"
)

// refuse answers a request that does not become an exchange. It is counted, and one such a second is logged: strangers
// must not be able to fill the log.
func (g *Gateway) refuse(w http.ResponseWriter, r *http.Request, err error) {
	f := fault.From(err)
	g.refusals.WithLabelValues(string(f.Code)).Inc()
	if g.quiet.pass(time.Now()) {
		g.o.Log.Warn("request refused (one in a second is logged)", "code", f.Code, "status", f.HTTPStatus(),
			"remote", r.RemoteAddr, "path", clip(r.URL.Path))
	}
	if r.ContentLength != 0 {
		w.Header().Set("Connection", "close") // and the body stays unread
	}
	writeError(w, f)
}

// writeError answers with an error in the OpenAI dialect, the only one of this version.
func writeError(w http.ResponseWriter, f *fault.Error) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	if f.RetryAfter > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64((f.RetryAfter+time.Second-1)/time.Second), 10))
	}
	if f.Spent {
		h.Set("X-Should-Retry", "false")
	}
	body := openai.AppendError(nil, f)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(f.HTTPStatus())
	_, _ = w.Write(body) // a client that left has nobody to tell
}

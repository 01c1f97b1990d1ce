package gateway

import (
	"net/http"
	"strconv"
	"time"

	"github.com/penstock/penstock/internal/fault"
)

// refuse answers a request that does not become an exchange. It is counted, and one such a second is logged: strangers
// must not be able to fill the log.
func (g *Gateway) refuse(w http.ResponseWriter, r *http.Request, c *call, err error) {
	f := fault.From(err)
	g.refusals.WithLabelValues(string(f.Code)).Inc()
	if g.quiet.pass(c.received) {
		g.o.Log.Warn("request refused (one in a second is logged)", "code", f.Code, "status", c.voice.status(f),
			"remote", r.RemoteAddr, "path", clip(r.URL.Path))
	}
	c.writeError(w, f)
}

// writeError answers with an error in the client's dialect.
func (c *call) writeError(w http.ResponseWriter, f *fault.Error) {
	if f.RetryAfter > 0 {
		c.set(w, "Retry-After", strconv.FormatInt(int64((f.RetryAfter+time.Second-1)/time.Second), 10))
	}
	if f.Spent {
		c.set(w, "X-Should-Retry", "false")
	}
	c.once.failed(f)
	c.write(w, c.voice.status(f), c.voice.appendError(nil, f, c.id))
}

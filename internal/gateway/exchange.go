package gateway

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/penstock/penstock/internal/admission"
	"github.com/penstock/penstock/internal/auth"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/figure"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/wire/w3c"
)

// exchange serves a route that calls a model: read, decode, hand to the pipeline, write. What cannot be read or decoded
// goes through the pipeline too, so that it has its record.
func exchange(op llm.Operation) func(*Gateway, http.ResponseWriter, *http.Request, *call) {
	return func(g *Gateway, w http.ResponseWriter, r *http.Request, c *call) {
		x := &pipeline.Exchange{
			ID: c.id, Received: c.received, Time: c.at, Corrected: c.corrected, Caller: c.grant.Caller, Dialect: c.voice.dialect(), Op: op,
			ClientID: clip(r.Header.Get("X-Request-Id")), Trace: c.traceContext(r.Header),
		}
		ctx := r.Context()
		options := callerOptions(x, r.Header)
		b, err := g.readBody(w, r, c)
		if err == nil {
			defer b.free()
			if took := time.Since(x.Received); took >= slowBody {
				x.Note("read", "a request of "+figure.Bytes(int64(len(b.b))), took)
			}
			x.Request, err = c.voice.parse(op, b.b, r)
		}
		if err == nil {
			err = options
		}
		if err == nil {
			x.Class = classOf(x.Request.ServiceTier)
			err = admit(x, c)
		}
		if err == nil && x.Dialect == llm.Responses {
			defer func() { g.held.Add(-c.held) }()
			err = g.goOn(ctx, x, c)
		}
		if err == nil {
			if ctx, err = c.keyed(ctx, g, r, x, b.b); c.once != nil {
				defer c.once.end()
			}
		}
		x.Refused = err
		if !x.Deadline.IsZero() {
			var cancel context.CancelFunc
			ctx, cancel = context.WithDeadlineCause(ctx, x.Deadline, fault.New(fault.DeadlinePassed,
				"No answer within your deadline of %s (X-Request-Timeout-Ms).", x.Deadline.Sub(x.Received).Round(time.Millisecond)))
			defer cancel()
		}
		g.answer(ctx, r.Context(), w, x, c)
	}
}

// slowBody is from when on the arrival of a body is worth a line in the record: it is the caller's network, and counts as
// Penstock's time.
const slowBody = time.Millisecond

// traceContext is the client's, else that of a trace which begins here.
func (c *call) traceContext(h http.Header) w3c.Context {
	if sent := w3c.Read(h); !sent.IsZero() {
		return sent
	}
	own := w3c.Context{Trace: c.trace, Flags: w3c.Random}
	if c.runtime.Sample != nil && c.runtime.Sample(own.Trace) {
		own.Flags |= w3c.Sampled
	}
	return own
}

// classOf is the class of a service_tier as records have it: the default is "".
func classOf(tier string) string {
	if c := admission.ParseClass(tier); c != admission.Default {
		return c.String()
	}
	return ""
}

// admit checks that the key may use the model, and that there is such a model: for the caller both are the same 404.
func admit(x *pipeline.Exchange, c *call) error {
	key := c.grant.Key
	if !key.MayUse(x.Request.Model) || !c.runtime.Table.Has(x.Request.Model) {
		return c.runtime.Table.NotFound(x.Request.Model, key.MayUse)
	}
	x.Note("auth", authWords(c.grant), 0)
	return nil
}

func authWords(g *auth.Grant) string {
	name := g.Key.Name
	if name == "" {
		name = g.Key.ID
	}
	return "key " + name + " (" + g.Key.Prefix + "), project " + g.Caller.ProjectName
}

// The limits on what a caller may write into its record.
const (
	maxTags   = 16
	maxTagLen = 64
)

// callerOptions reads the headers by which a caller says more than the dialect can.
func callerOptions(x *pipeline.Exchange, h http.Header) error {
	if s := h.Get("X-Request-Timeout-Ms"); s != "" {
		ms, err := strconv.ParseInt(s, 10, 32)
		if err != nil || ms <= 0 {
			return fault.New(fault.InvalidRequest, "X-Request-Timeout-Ms is %q; send whole milliseconds, such as 30000.", clip(s))
		}
		x.Deadline = x.Received.Add(time.Duration(ms) * time.Millisecond)
	}
	if s := h.Get("X-Penstock-Tags"); s != "" {
		for tag := range strings.SplitSeq(s, ",") {
			if tag = strings.TrimSpace(tag); tag == "" {
				continue
			}
			if len(tag) > maxTagLen || clip(tag) != tag || len(x.Tags) == maxTags {
				return fault.New(fault.InvalidRequest, "X-Penstock-Tags: %q; send at most %d tags of at most %d printable characters, with commas between.",
					clip(tag), maxTags, maxTagLen)
			}
			x.Tags = append(x.Tags, tag)
		}
	}
	return nil
}

// answer runs the pipeline and writes what comes of it. The client's context may end before that of the exchange.
func (g *Gateway) answer(ctx, client context.Context, w http.ResponseWriter, x *pipeline.Exchange, c *call) {
	p := g.startPulse(w, x, c)
	defer p.end(g)
	resp, err := c.runtime.Handler(ctx, x)
	begun := p.still()
	c.once.watch(client)
	if c.replayed(w, resp, err) {
		return
	}
	if err != nil {
		f := fault.From(err)
		c.setTries(w, x)
		c.once.refuse(w, f)
		if f.Kind == fault.Internal {
			g.o.Log.Error("exchange failed", "exchange", x.ID, "error", f)
		}
		if f.Kind == fault.Canceled {
			panic(http.ErrAbortHandler) // nobody is left to read it
		}
		if begun {
			c.writeStreamError(w, f, p)
			return
		}
		c.writeError(w, f)
		return
	}
	c.setTries(w, x)
	c.target = resp.Target
	c.set(w, "X-Penstock-Target", resp.Target.String())
	if len(x.Request.Adapted) > 0 {
		c.set(w, "X-Penstock-Adapted", strings.Join(x.Request.Adapted, ", "))
	}
	if resp.Stream {
		c.writeStream(w, x, resp, p)
		return
	}
	c.writePlain(w, x, resp)
}

// setTries says what became of the call on the way: how often it was sent, and what is left of its limits.
func (c *call) setTries(w http.ResponseWriter, x *pipeline.Exchange) {
	c.setRates(w, x.Allowance)
	c.set(w, "X-Penstock-Tries", strconv.Itoa(len(x.Tries))) // small numbers do not allocate
}

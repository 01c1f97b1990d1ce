package gateway

import (
	"context"
	"net/http"
	"strings"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/idempotency"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
)

// A call with an Idempotency-Key goes on when its client leaves, and what the client is sent, or would have been, is gathered and
// kept before the client is told the end. The methods of a nil *once do nothing: they are for all the calls without a key.

// A once is what is gathered of a call with a key.
type once struct {
	*idempotency.Call
	g    *Gateway
	x    *pipeline.Exchange
	c    *call
	tape []byte // of a stream
	held int64  // of it, counted against Limits.InFlight
	over bool   // the stream was too large for it
	gone bool   // the client is, and the exchange goes on without it

	fault *fault.Error    // that the client is told, nil if none
	ctx   context.Context //nolint:containedctx // of the exchange, which has no other that outlives the client
	stop  func()
}

// tapeStep is by how much a tape grows.
const tapeStep = 64 << 10

// keyOf is the key that a request carries, "" for none.
func keyOf(h http.Header) (string, error) {
	values := h["Idempotency-Key"]
	if len(values) == 0 {
		return "", nil
	}
	key := values[0]
	switch {
	case len(values) > 1:
		return "", badKey("is there more than once")
	case key == "":
		return "", badKey("is empty")
	case len(key) > idempotency.LongestKey:
		return "", badKey("is longer than 255 characters")
	case strings.ContainsFunc(key, func(r rune) bool { return r < ' ' || r > '~' }):
		return "", badKey("has characters that are not printable ASCII")
	}
	return key, nil
}

func badKey(what string) error {
	f := fault.New(fault.InvalidRequest, "Idempotency-Key: it %s.", what)
	f.Hint = "Send 1 to 255 printable characters, such as a UUID."
	return f
}

// keyed makes the call one with a key, if it has one: ctx is that of the exchange from then on, which its client does not end. Its
// once is to be ended.
func (c *call) keyed(ctx context.Context, g *Gateway, r *http.Request, x *pipeline.Exchange, body []byte) (context.Context, error) {
	key, err := keyOf(r.Header)
	if key == "" || err != nil || g.o.Once == nil {
		return ctx, err
	}
	h := r.Header
	o := &once{g: g, x: x, c: c}
	o.Call = g.o.Once.Call(x, key, []byte(r.URL.Path), []byte(r.URL.RawQuery), []byte(x.Dialect),
		[]byte(h.Get("Anthropic-Version")), []byte(strings.Join(h["Anthropic-Beta"], ",")), body)
	c.once, x.Once = o, o.Call
	o.ctx, o.stop = o.Stay(ctx, g.o.Cut)
	return o.ctx, nil
}

// end ends the call, whatever became of it.
func (o *once) end() {
	o.End(o.ctx)
	o.g.held.Add(-o.held)
	o.stop()
}

// waits reports whether the call waits for a twin, or to hear of one: its answer must not begin by itself then.
func (o *once) waits() bool { return o != nil && !o.Claimed() }

// left notes that the client is gone, and reports whether the exchange goes on for its key.
func (o *once) left() bool {
	if o == nil || !o.Claimed() {
		return false
	}
	if !o.gone {
		o.gone = true
		o.x.Note("idempotency", "the client left: the answer is taken to its end, for whoever repeats the call", 0)
	}
	return true
}

// watch looks whether the client left while there was no answer.
func (o *once) watch(client context.Context) {
	if o != nil && client.Err() != nil {
		o.left()
	}
}

// record gathers bytes of a stream.
func (o *once) record(b []byte) {
	if o == nil || o.over || !o.Claimed() {
		return
	}
	need := int64(len(o.tape) + len(b))
	for need > o.held && !o.over {
		o.over = need > idempotency.Largest || !o.g.hold(tapeStep, o.c.runtime.Limits.InFlight)
		if !o.over {
			o.held += tapeStep
		}
	}
	if o.over {
		o.tape = nil
		return
	}
	o.tape = append(o.tape, b...)
}

// refuse decides what becomes of the key of a call that ends in an error before it was answered.
func (o *once) refuse(w http.ResponseWriter, f *fault.Error) {
	switch {
	case o == nil || !o.Claimed():
	case !o.Final(f):
		o.Return(o.ctx)
	default:
		w.Header()["X-Should-Retry"] = never // it would be given the same
	}
}

var never = []string{"false"}

// failed notes the error that the client is told.
func (o *once) failed(f *fault.Error) {
	if o != nil {
		o.fault = f
	}
}

// settles reports whether what the client is sent is the key's answer. That it has left is none: whoever repeats the call did not, and
// how the call would have ended is not known.
func (o *once) settles() bool {
	return o != nil && o.Claimed() && (o.fault == nil || o.fault.Kind != fault.Canceled)
}

// keepStream keeps a stream that is at its end.
func (o *once) keepStream(h http.Header) {
	if !o.settles() {
		return
	}
	a := o.answer(http.StatusOK, h, o.tape)
	a.Stream, a.Over = true, o.over
	o.Settle(o.ctx, a)
}

// keep keeps a plain answer, or an error.
func (o *once) keep(status int, h http.Header, b []byte) {
	if !o.settles() {
		return
	}
	a := o.answer(status, h, b)
	a.Over = len(b) > idempotency.Largest
	o.Settle(o.ctx, a)
}

// answer is what the client is sent. Of its headers those are kept that belong to the answer, and not to the moment.
func (o *once) answer(status int, h http.Header, b []byte) *idempotency.Answer {
	a := &idempotency.Answer{Status: status, Body: b, Target: o.c.target}
	for name, values := range h {
		switch {
		case len(values) == 0:
		case strings.HasPrefix(name, "X-Penstock-"), name == "Content-Type", name == "Cache-Control", name == "X-Accel-Buffering",
			name == "Retry-After", name == "X-Should-Retry":
			a.Header = append(a.Header, [2]string{name, values[0]})
		}
	}
	if o.fault != nil {
		a.Code, a.Message = o.fault.Code, o.fault.Message
	}
	return a
}

// replayed gives the answer of the first call with the key again, if there is one, and reports whether it did. The pipeline has it
// too: its end is walked for the record, and if that cannot be made, or anything else came up, that is the answer.
func (c *call) replayed(w http.ResponseWriter, resp *llm.Response, err error) bool {
	if c.once == nil {
		return false
	}
	a, told := c.once.Replay()
	if a == nil {
		return false
	}
	if resp != nil {
		err = walked(resp)
	}
	c.setRates(w, c.once.x.Allowance)
	if err != nil && (told == nil || fault.From(err) != told) {
		c.writeError(w, fault.From(err))
		return true
	}
	c.replay(w, a)
	return true
}

// walked walks an answer that has no content, and gives the error that it ends with.
func walked(resp *llm.Response) error {
	var last error
	for _, err := range resp.Events {
		last = err
	}
	return last
}

// replay gives the answer of the first call with the key again.
func (c *call) replay(w http.ResponseWriter, a *idempotency.Answer) {
	h := w.Header()
	for _, one := range a.Header {
		h[one[0]] = []string{one[1]}
	}
	h["Idempotency-Replayed"] = replayed
	if !a.Stream {
		c.send(w, a.Status, a.Body)
		return
	}
	out := c.streamWriter(w, nil)
	defer out.free()
	_ = out.send(a.Body, false)
}

var replayed = []string{"true"}

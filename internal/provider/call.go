package provider

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/secret"
)

// maxHeld caps what Do holds of a stream that goes on without content, in bytes; then it hands the stream on as it is.
const maxHeld = 256 << 10

// A call is one try under way. It is for one goroutine.
type call struct {
	client     *Client
	ctx        context.Context
	watch      *watch
	credential secret.String
	status     int           // the provider's, 0 until there is one
	head       http.Header   // of the answer, nil until there is one
	body       io.ReadCloser // as it came over the network, nil until there is one
	answer     Answer        // nil until there is one
	held       []llm.Event   // before first, copied
	first      llm.Event     // the event that made Do return
	flowing    bool          // there has been content
	walked     bool
	whole      bool // the end of the answer has been seen
}

// open sends the request and opens the answer. id is the provider's own id of the call, whatever became of it.
func (x *call) open(via Via, t llm.Target, r *llm.Request) (id string, err error) {
	req, err := x.client.prepare(x.ctx, via.Credential, x.credential, t, r)
	if err != nil {
		return "", err
	}
	via.direct(req)
	resp, err := x.client.rt.RoundTrip(req)
	if err != nil {
		return "", err
	}
	x.body, x.status, x.head = resp.Body, resp.StatusCode, resp.Header
	id = upstreamID(resp.Header)
	err = decodeBody(resp)
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		if err != nil {
			resp.Body = http.NoBody // the status says enough
		}
		return id, x.refusal(resp)
	}
	if err != nil {
		return id, err
	}
	x.answer, err = x.client.codec.Decode(resp, x.client.settings, t, r)
	return id, err
}

// refusal reads an answer that is not 2xx.
func (x *call) refusal(resp *http.Response) error {
	err := x.client.codec.DecodeError(resp, x.client.settings)
	if f, ok := errors.AsType[*Failure](err); ok && f.RetryAfter == 0 {
		f.RetryAfter = ParseRetryAfter(resp.Header, time.Now())
	}
	return err
}

// idHeaders are where vendors write their id of a call: the first is that of most.
var idHeaders = []string{"X-Request-Id", "Request-Id", "Apim-Request-Id", "X-Amzn-Requestid"}

// upstreamID is the provider's id of the call. It is written to records and logs, so only plain short text is taken.
func upstreamID(h http.Header) string {
	id := ""
	for _, name := range idHeaders {
		if id = h.Get(name); id != "" {
			break
		}
	}
	if len(id) > 128 || strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return ""
	}
	return id
}

// readHead reads up to the first event with content, or the end.
func (x *call) readHead() error {
	size := 0
	for {
		e, err := x.answer.Next()
		if err != nil {
			return err
		}
		if e.Is(llm.Content) || e.Is(llm.End) || size > maxHeld {
			x.first, x.flowing = e, e.Is(llm.Content)
			x.watch.got(x.flowing)
			return nil
		}
		e.Raw, e.Text, e.Deltas, e.More = slices.Clone(e.Raw), slices.Clone(e.Text), slices.Clone(e.Deltas), true
		size += len(e.Raw) + len(e.Text) + 256
		x.held = append(x.held, e)
	}
}

// filtered is the failure that the answer has ended, and a filter has kept it empty.
func (x *call) filtered() error {
	meta := x.answer.Meta()
	if x.flowing || !x.first.Is(llm.End) || meta == nil || !slices.Contains(meta.Finish, llm.FinishFilter) {
		return nil
	}
	x.whole = true
	return &Failure{Reason: ReasonEmpty, Class: ClassContentPolicy, Message: "answered nothing: its filter was in the way"}
}

// events walks the answer. It is the llm.Response's Events.
func (x *call) events(yield func(llm.Event, error) bool) {
	if x.walked {
		return
	}
	x.walked = true
	defer x.end()
	for _, e := range x.held {
		if !yield(e, nil) {
			return
		}
	}
	x.held = nil
	for e := x.first; ; {
		x.whole = e.Is(llm.End)
		if !yield(e, nil) || x.whole {
			return
		}
		// An event that has been received already is not waited for: this spares the clock for most of them.
		waits := !e.More
		if waits {
			x.watch.wait()
		}
		var err error
		e, err = x.answer.Next()
		if err != nil {
			yield(llm.Event{}, x.failure(err))
			return
		}
		if flows := e.Is(llm.Content) && !x.flowing; waits || flows {
			x.flowing = x.flowing || flows
			x.watch.got(x.flowing)
		}
	}
}

// end frees what the call holds. If the answer is not whole, the upstream is cancelled.
func (x *call) end() {
	if b, ok := x.body.(*body); ok && x.whole {
		b.drain()
	}
	if x.answer != nil {
		_ = x.answer.Close()
	}
	if x.body != nil {
		_ = x.body.Close()
	}
	x.watch.stop()
}

// failure says what an error means. What ended the try's context counts more than what that did to the network.
func (x *call) failure(err error) *Failure {
	f := new(Failure)
	given, found := errors.AsType[*Failure](err)
	switch {
	case x.ctx.Err() != nil && !(found && given.Reason == ReasonStatus):
		*f = x.ended()
		f.NothingBilled = found && given.NothingBilled
	case found:
		*f = *given
	default:
		*f = x.classify(err)
	}
	if f.Status == 0 {
		f.Status = x.status
	}
	if f.Reason == ReasonInBand && f.RetryAfter == 0 { // the head was written by whoever knew already
		f.RetryAfter = ParseRetryAfter(x.head, time.Now())
	}
	f.Limits = ParseLimits(x.head, time.Now)
	x.redact(f)
	return f
}

// ended says who ended the try's context: a timer, or whoever made the call. That may be for a reason of its own, which it leaves
// as the context's cause.
func (x *call) ended() Failure {
	cause := context.Cause(x.ctx)
	if timer, ok := errors.AsType[*Failure](cause); ok {
		return *timer
	}
	f := Failure{Reason: ReasonCanceled, Message: "was not waited for: the caller left", Err: cause}
	said, _ := errors.AsType[*fault.Error](cause)
	switch {
	case errors.Is(cause, context.DeadlineExceeded), said != nil && said.Code == fault.DeadlinePassed:
		f.Message = "was not waited for: the caller's deadline passed"
	case said != nil && said.Code == fault.Stopped:
		f.Message = "was ended: an operator stopped what it used"
	case said != nil && said.Code == fault.ShuttingDown:
		f.Message = "was ended: Penstock was stopping"
	}
	return f
}

// classify makes a failure of what the network, or the reading of an answer, gave.
func (x *call) classify(err error) Failure {
	answered := x.body != nil
	switch {
	case errors.Is(err, errHeadTooLong):
		return Failure{Reason: ReasonTooLarge, Message: "sent headers without end", Err: err}
	case !answered && (x.client.http2 || broken(err)):
		return Failure{Reason: ReasonCut, Message: "closed the connection without an answer", Err: err}
	case !answered:
		return Failure{Reason: ReasonGarbage, Message: "sent something that is not HTTP", Err: err}
	case x.client.http2 || broken(err):
		return Failure{Reason: ReasonCut, Message: "broke the connection off", Err: err}
	}
	return Failure{Reason: ReasonGarbage, Message: "sent something that cannot be read", Err: err}
}

// redact takes the credential out of whatever came from the provider: some repeat it in their errors.
func (x *call) redact(f *Failure) {
	s := x.credential
	f.Message, f.Code, f.Param, f.Body = s.Redact(f.Message), s.Redact(f.Code), s.Redact(f.Param), s.RedactBytes(f.Body)
	if f.Err != nil {
		if text := f.Err.Error(); s.Redact(text) != text {
			f.Err = errors.New(s.Redact(text))
		}
	}
}

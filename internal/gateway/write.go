package gateway

import (
	"net/http"
	"strconv"
	"time"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
)

// Header values that answers share; nobody changes them.
var (
	jsonType   = []string{"application/json"}
	streamType = []string{"text/event-stream; charset=utf-8"}
	noCache    = []string{"no-cache"}
	noStore    = []string{"no-store"}
	noBuffer   = []string{"no"}
	closing    = []string{"close"}
)

// set puts a header of one value. All of a call's share one array, instead of an allocation each.
func (c *call) set(w http.ResponseWriter, name, value string) {
	c.values = append(c.values, value)
	n := len(c.values)
	w.Header()[name] = c.values[n-1 : n : n]
}

// write sends a whole JSON answer.
func (c *call) write(w http.ResponseWriter, status int, b []byte) {
	w.Header()["Content-Type"] = jsonType
	c.once.keep(status, w.Header(), b)
	c.send(w, status, b)
}

// send sends a whole answer. A client that does not take it in time is given up.
func (c *call) send(w http.ResponseWriter, status int, b []byte) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(c.runtime.Limits.Write)) // recorders in tests cannot
	c.set(w, "Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	_, _ = w.Write(b) // a client that left has nobody to tell
}

// writePlain writes an answer of one event.
func (c *call) writePlain(w http.ResponseWriter, x *pipeline.Exchange, resp *llm.Response) {
	for ev, err := range resp.Events {
		if err != nil {
			c.writeError(w, fault.From(err))
			return
		}
		if cost, ok := totalCost(x); ok {
			c.set(w, "X-Penstock-Cost", cost.String())
		}
		out := takeBuffer(len(ev.Raw) + len(x.Request.Model))
		answer := c.voice.writer(x, ev.Dialect)
		if out.b, err = answer.appendAnswer(out.b, ev); err != nil {
			c.writeError(w, unwritable(err))
		} else {
			out.b = c.keepWhole(out.b, answer, ev)
			c.write(w, http.StatusOK, out.b)
		}
		out.free()
		return
	}
}

// totalCost is what all tries cost; ok is false if any of them has no price, or it is not known what it used.
func totalCost(x *pipeline.Exchange) (sum llm.Money, ok bool) {
	for i := range x.Tries {
		if x.Tries[i].Unpriced || x.Tries[i].Outcome == pipeline.Unknown {
			return 0, false
		}
		sum = sum.Plus(x.Tries[i].CostNano)
	}
	return sum, len(x.Tries) > 0
}

// flushAt is how much is gathered before it is written: the server's own buffer holds 4 KB, and what is larger becomes
// several system calls.
const flushAt = 3900

// writeStream writes events as they come. What arrived together is flushed together; the end is left to the server,
// which flushes it with the last chunk. An error becomes the dialect's error event, and no clean end follows it.
func (c *call) writeStream(w http.ResponseWriter, x *pipeline.Exchange, resp *llm.Response, p *pulse) {
	streamHead(w.Header())
	out := c.streamWriter(w, p)
	defer out.free()
	p.flow()
	var answer writer
	for ev, err := range resp.Events {
		if err == nil && !ev.Is(llm.Hidden) {
			if answer == nil {
				answer = c.voice.writer(x, ev.Dialect)
			}
			if out.b, err = answer.appendEvent(out.b, ev); err != nil {
				err = unwritable(err)
			}
		}
		if err != nil {
			f := fault.From(err)
			c.once.failed(f)
			out.b = c.appendEnd(out.b, answer, f)
			break
		}
		if ev.Is(llm.End) {
			out.b = c.keepWhole(out.b, answer, ev)
			break
		}
		if len(out.b) >= flushAt || !ev.More {
			c.once.record(out.b)
			if out.write(!ev.More) != nil && !c.once.left() {
				return // breaking off ends the upstream call; the record says that the client left
			}
		}
	}
	c.once.record(out.b)
	c.once.keepStream(w.Header())
	_ = out.write(false) // the answer has its record already
}

// writeStreamError ends a stream that has begun, and has no event, with an error.
func (c *call) writeStreamError(w http.ResponseWriter, f *fault.Error, p *pulse) {
	out := c.streamWriter(w, p)
	defer out.free()
	c.once.failed(f)
	out.b = c.appendEnd(out.b, nil, f)
	c.once.record(out.b)
	c.once.keepStream(w.Header())
	_ = out.write(false)
}

// streamHead sets the head of a stream.
func streamHead(h http.Header) {
	h["Content-Type"] = streamType
	h["Cache-Control"] = noCache
	h["X-Accel-Buffering"] = noBuffer
}

func (c *call) streamWriter(w http.ResponseWriter, p *pulse) streamWriter {
	return streamWriter{w: w, rc: http.NewResponseController(w), buffer: takeBuffer(flushAt), patience: c.runtime.Limits.Write, pulse: p}
}

// appendEnd appends the last event of a stream that an error ends; answer is nil if nothing was written yet.
func (c *call) appendEnd(dst []byte, answer writer, f *fault.Error) []byte {
	if begun, ok := answer.(failing); ok {
		return begun.appendFailure(dst, f)
	}
	return c.voice.appendErrorEvent(dst, f, c.id)
}

// A streamWriter gathers what is written to a client.
type streamWriter struct {
	*buffer
	w        http.ResponseWriter
	rc       *http.ResponseController
	patience time.Duration
	renew    time.Time // when the deadline for a slow client is to be moved on
	pulse    *pulse    // that writes too, nil if none does
}

// write hands what was gathered, whole events always, to the server.
func (s *streamWriter) write(flush bool) error {
	if s.pulse != nil {
		s.pulse.mu.Lock()
		defer s.pulse.mu.Unlock()
	}
	err := s.send(s.b, flush)
	s.b = s.b[:0]
	return err
}

// send hands bytes to the server. A client that takes nothing for patience long is given up; the deadline is moved a few times
// in that span only, since each move costs.
func (s *streamWriter) send(b []byte, flush bool) error {
	now := time.Now()
	if now.After(s.renew) {
		_ = s.rc.SetWriteDeadline(now.Add(s.patience)) // writers that cannot are test recorders
		s.renew = now.Add(s.patience / 4)
	}
	if s.pulse != nil {
		s.pulse.last = now
	}
	if len(b) > 0 {
		if _, err := s.w.Write(b); err != nil {
			return err
		}
	}
	if flush {
		return s.rc.Flush()
	}
	return nil
}

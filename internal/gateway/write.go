package gateway

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/wire/openai"
)

// writePlain writes an answer of one event.
func (g *Gateway) writePlain(w http.ResponseWriter, x *pipeline.Exchange, resp *llm.Response) {
	for ev, err := range resp.Events {
		if err != nil {
			writeError(w, fault.From(err))
			return
		}
		h := w.Header()
		if cost, ok := totalCost(x); ok {
			h["X-Penstock-Cost"] = []string{cost.String()}
		}
		buf := openai.AppendAnswer(takeBuffer(len(ev.Raw)+256), &ev, x.Request.Model)
		h["Content-Type"] = jsonType
		h["Content-Length"] = []string{strconv.Itoa(len(buf))}
		_, _ = w.Write(buf) // a client that left has its record already: the answer was whole
		putBuffer(buf)
		return
	}
}

var (
	jsonType   = []string{"application/json"}
	streamType = []string{"text/event-stream; charset=utf-8"}
	noCache    = []string{"no-cache"}
	noBuffer   = []string{"no"}
)

// totalCost is what all tries cost; ok is false if any of them has no price.
func totalCost(x *pipeline.Exchange) (sum llm.Money, ok bool) {
	for i := range x.Tries {
		if x.Tries[i].Unpriced {
			return 0, false
		}
		sum += x.Tries[i].CostNano
	}
	return sum, len(x.Tries) > 0
}

// flushAt is how much is gathered before it is written: the server's own buffer holds 4 KB, and what is larger becomes
// several system calls.
const flushAt = 3900

// writeStream writes events as they come. What arrived together is flushed together; the end is left to the server,
// which flushes it with the last chunk. An error becomes the dialect's error event, and no clean end follows it.
func (g *Gateway) writeStream(ctx context.Context, w http.ResponseWriter, x *pipeline.Exchange, resp *llm.Response, patience time.Duration) {
	h := w.Header()
	h["Content-Type"] = streamType
	h["Cache-Control"] = noCache
	h["X-Accel-Buffering"] = noBuffer
	out := streamWriter{w: w, rc: http.NewResponseController(w), buf: takeBuffer(flushAt), patience: patience}
	defer func() { putBuffer(out.buf) }()
	for ev, err := range resp.Events {
		if err != nil {
			out.buf = openai.AppendErrorEvent(out.buf, shown(ctx, err))
			break
		}
		if !ev.Is(llm.Hidden) {
			out.buf = openai.AppendChunk(out.buf, &ev, x.Request.Model)
		}
		if ev.Is(llm.End) {
			break
		}
		if len(out.buf) >= flushAt || !ev.More {
			if out.write(!ev.More) != nil {
				return // breaking off ends the upstream call; the record says that the client left
			}
		}
	}
	_ = out.write(false)
}

// shown is what the client is told of an error in mid-stream: who ended the context may have said why.
func shown(ctx context.Context, err error) *fault.Error {
	var f *fault.Error
	if errors.As(context.Cause(ctx), &f) {
		return f
	}
	return fault.From(err)
}

type streamWriter struct {
	w        http.ResponseWriter
	rc       *http.ResponseController
	buf      []byte
	patience time.Duration
	renew    time.Time // when the deadline for a slow client is to be moved on
}

// write hands what was gathered to the server. A client that takes nothing for patience long is given up; the deadline
// is moved a few times in that span only, since each move costs.
func (s *streamWriter) write(flush bool) error {
	if now := time.Now(); now.After(s.renew) {
		_ = s.rc.SetWriteDeadline(now.Add(s.patience)) // writers that cannot are test recorders
		s.renew = now.Add(s.patience / 4)
	}
	if len(s.buf) > 0 {
		if _, err := s.w.Write(s.buf); err != nil {
			return err
		}
		s.buf = s.buf[:0]
	}
	if flush {
		return s.rc.Flush()
	}
	return nil
}

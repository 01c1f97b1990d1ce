package openai

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/provider"
	wire "github.com/penstock/penstock/internal/wire/openai"
	"github.com/penstock/penstock/internal/wire/sse"
)

// doneMark is the data of the event that ends a stream.
var doneMark = []byte("[DONE]")

// A streamAnswer gives the events of a stream as they come.
type streamAnswer struct {
	body    io.Closer
	events  *sse.Scanner
	scanner wire.ChunkScanner
	event   llm.Event // reused for every event, as text is
	text    []byte
	choices int   // how many were asked for
	asked   bool  // the client asked for usage
	limit   int64 // of one event

	usage    llm.Usage
	some     bool // there was an event
	content  bool // there was content
	finished int  // how many events had a finish reason
	excused  bool // a choice finished for another reason than having said all
	last     bool // the stream ended within the event at hand
	ended    bool

	meta  llm.Meta
	first [1]llm.FinishReason // room in meta
}

// decodeStream sees to it that there is a stream; its events are read later.
func decodeStream(resp *http.Response, s provider.Settings, r *llm.Request) (provider.Answer, error) {
	if t := provider.MediaType(resp); t != "" && !isStream(resp) {
		return nil, noStream(resp, t)
	}
	a := &streamAnswer{
		body: resp.Body, events: sse.NewScanner(resp.Body, int(s.MaxEvent)), choices: max(r.Choices, 1),
		asked: r.IncludeUsage, limit: s.MaxEvent,
	}
	a.meta.Finish = a.first[:0]
	return a, nil
}

// noStream reads an answer that should have been a stream: it may be an error that came with status 200.
func noStream(resp *http.Response, t string) error {
	body, err := io.ReadAll(io.LimitReader(resp.Body, provider.MaxErrorBody))
	if err != nil {
		return err
	}
	var e llm.Event
	if err := wire.ScanAnswer(llm.OpChat, body, &e, nil); err != nil {
		if _, ok := errors.AsType[*wire.InBandError](err); ok {
			return failure(err)
		}
	}
	return &provider.Failure{
		Reason: provider.ReasonGarbage, Message: "answered with something else where a stream was asked for",
		Err: fmt.Errorf("content type %.80q", t),
	}
}

// Next gives the next event.
func (a *streamAnswer) Next() (llm.Event, error) {
	if a.ended {
		return llm.Event{}, io.EOF
	}
	if a.last {
		return a.end(io.EOF)
	}
	in, err := a.events.Next()
	if errors.Is(err, io.ErrUnexpectedEOF) && len(in.Data) > 0 {
		// The stream ended without the blank line. Some servers leave it out behind [DONE].
		a.last, err = true, nil
	}
	if err != nil {
		return a.end(err)
	}
	a.some = true
	if in.Name == "error" {
		err = named(in.Data)
	} else {
		err = a.scanner.Scan(in.Data, &a.event, a.text[:0], &a.meta)
	}
	if err != nil {
		if a.last && errors.Is(err, wire.ErrGarbage) {
			return a.end(io.ErrUnexpectedEOF)
		}
		a.ended = true
		return llm.Event{}, failure(err)
	}
	e := a.event
	e.Name, e.More = in.Name, a.events.Buffered()
	a.text = e.Text
	return a.note(e)
}

// named reads an event that is called an error, whatever is in it.
func named(data []byte) error {
	e, ok := wire.ParseError(data)
	if !ok {
		e.Message = "The provider reported an error and did not describe it."
	}
	return &wire.InBandError{UpstreamError: e}
}

// note keeps in mind what decides later whether the stream was whole.
func (a *streamAnswer) note(e llm.Event) (llm.Event, error) {
	if e.Is(llm.Content) {
		a.content = true
	}
	if e.Is(llm.Finish) {
		a.finished++
		a.excused = a.excused || !bytes.Contains(e.Raw, []byte(`"stop"`))
	}
	if e.Is(llm.UsageIn) {
		a.usage = merge(a.usage, e.Usage)
		e.Usage = a.usage
	}
	if a.asked {
		e.Has &^= llm.Hidden
	}
	if e.Is(llm.End) {
		if a.empty() {
			return a.end(io.EOF)
		}
		a.ended, e.More = true, false
	}
	return e, nil
}

// empty reports whether nothing was generated, as for a plain answer: no content, and nothing that would explain that, such
// as hidden reasoning that was counted, or a finish for another reason than having said all.
func (a *streamAnswer) empty() bool {
	return !a.content && (a.finished == 0 || (!a.excused && a.usage.Output == 0))
}

// end says what the end of the stream means. Some servers send no [DONE]: then finish reasons for all choices and a
// clean end of the connection are the proof that it is whole, and the event is made up for it.
func (a *streamAnswer) end(err error) (llm.Event, error) {
	a.ended = true
	clean := errors.Is(err, io.EOF)
	switch {
	case errors.Is(err, sse.ErrTooLong):
		return llm.Event{}, provider.TooLarge("an event", a.limit, err)
	case !clean && !a.last:
		return llm.Event{}, err
	case a.empty():
		return llm.Event{}, &provider.Failure{Reason: provider.ReasonEmpty, Message: "sent a stream with nothing in it"}
	case clean && a.finished >= a.choices:
		return llm.Event{Has: llm.End, Dialect: llm.OpenAI, Raw: doneMark}, nil
	}
	return llm.Event{}, &provider.Failure{Reason: provider.ReasonCut, Message: "ended the stream without its end mark"}
}

// merge takes the later of two usages. A count that the later one leaves out is taken from the earlier: some servers
// report the prompt in the first event and the rest in the last.
func merge(before, now llm.Usage) llm.Usage {
	if !now.Estimated {
		return now
	}
	if now.Input == 0 {
		now.Input, now.CachedInput, now.CacheWrite = before.Input, before.CachedInput, before.CacheWrite
	}
	if now.Output == 0 {
		now.Output, now.Reasoning = before.Output, before.Reasoning
	}
	now.Estimated = now.Input == 0 || now.Output == 0
	return now
}

// Meta is what the provider has said of the answer so far.
func (a *streamAnswer) Meta() *llm.Meta { return &a.meta }

// Close frees the scanner's buffer and ends the upstream's call.
func (a *streamAnswer) Close() error {
	a.ended = true
	a.events.Close()
	return a.body.Close()
}

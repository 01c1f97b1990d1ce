package openai

import (
	"bytes"
	"errors"
	"io"
	"net/http"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/provider"
	wire "github.com/penstock/penstock/internal/wire/openai"
)

// doneMark is the data of the event that ends a stream.
var doneMark = []byte("[DONE]")

// A streamAnswer gives the events of a stream as they come.
type streamAnswer struct {
	in      provider.Stream
	scanner wire.ChunkScanner
	deltas  *wire.Deltas // nil where the caller's dialect is the provider's
	event   llm.Event    // reused for every event, as text is
	text    []byte
	choices int  // how many were asked for
	asked   bool // the client asked for usage

	usage    llm.Usage
	some     bool // there was an event
	content  bool // there was content
	finished int  // how many events had a finish reason
	excused  bool // a choice finished for another reason than having said all
	ended    bool

	meta  llm.Meta
	first [1]llm.FinishReason // room in meta
}

// decodeStream sees to it that there is a stream; its events are read later.
func decodeStream(resp *http.Response, s provider.Settings, r *llm.Request) (provider.Answer, error) {
	if t := provider.MediaType(resp); t != "" && !isStream(resp) {
		return nil, provider.NoStream(resp, func(body []byte) *provider.Failure {
			var e llm.Event
			if err := wire.ScanAnswer(llm.OpChat, body, &e, nil); err != nil {
				return failure(err)
			}
			return nil
		})
	}
	a := &streamAnswer{in: provider.OpenStream(resp, s), choices: max(r.Choices, 1), asked: r.IncludeUsage}
	a.meta.Finish = a.first[:0]
	if r.Dialect != llm.OpenAI {
		a.deltas, a.asked = &wire.Deltas{Request: r.Raw}, true // nothing is passed on as it is, so nothing is hidden
	}
	return a, nil
}

// Next gives the next event.
func (a *streamAnswer) Next() (llm.Event, error) {
	if a.ended {
		return llm.Event{}, io.EOF
	}
	in, err := a.in.Next()
	if err != nil {
		return a.end(err)
	}
	a.some = true
	if in.Name == "error" {
		err = named(in.Data)
	} else {
		err = a.scanner.Scan(in.Data, &a.event, a.text[:0], &a.meta)
	}
	if err == nil && a.deltas != nil && !a.event.Is(llm.End) {
		a.event.Deltas, err = a.deltas.Chunk(in.Data)
	}
	if err != nil {
		if a.in.Last() && errors.Is(err, wire.ErrGarbage) {
			return a.end(io.ErrUnexpectedEOF)
		}
		a.ended = true
		return llm.Event{}, failure(err)
	}
	e := a.event
	e.Name, e.More = in.Name, a.in.More()
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
		a.close(&e)
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
	failed := a.in.End(err)
	switch {
	case failed != nil:
		return llm.Event{}, failed
	case a.empty():
		return llm.Event{}, provider.EmptyStream()
	case errors.Is(err, io.EOF) && a.finished >= a.choices:
		e := llm.Event{Has: llm.End, Dialect: llm.OpenAI, Raw: doneMark}
		a.close(&e)
		return e, nil
	}
	return llm.Event{}, provider.Cut()
}

// close tells what is left of the canonical form with the end.
func (a *streamAnswer) close(e *llm.Event) {
	if a.deltas != nil {
		e.Deltas = a.deltas.End()
	}
}

// merge takes the later of two usages. A count that the later one leaves out is taken from the earlier: some servers
// report the prompt in the first event and the rest in the last.
func merge(before, now llm.Usage) llm.Usage {
	if !now.Estimated {
		return now
	}
	if now.Input == 0 {
		now.Input, now.CachedInput, now.CacheWrite = before.Input, before.CachedInput, before.CacheWrite
		now.InputAudio, now.CachedAudio = before.InputAudio, before.CachedAudio
	}
	if now.Output == 0 {
		now.Output, now.Reasoning = before.Output, before.Reasoning
		now.OutputAudio, now.OutputImage = before.OutputAudio, before.OutputImage
	}
	now.Estimated = now.Input == 0 || now.Output == 0
	return now
}

// Meta is what the provider has said of the answer so far.
func (a *streamAnswer) Meta() *llm.Meta { return &a.meta }

// Close frees the scanner's buffer and ends the upstream's call.
func (a *streamAnswer) Close() error {
	a.ended = true
	return a.in.Close()
}

package gemini

import (
	"errors"
	"io"
	"net/http"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/provider"
	wire "github.com/penstock/penstock/internal/wire/gemini"
	"github.com/penstock/penstock/internal/wire/openai"
)

// A plainAnswer is an answer that was read whole.
type plainAnswer struct {
	body  io.Closer
	event llm.Event
	meta  llm.Meta
	given bool
}

func decodePlain(resp *http.Response, s provider.Settings) (provider.Answer, error) {
	body, err := readPlain(resp, s)
	if err != nil {
		return nil, err
	}
	a := &plainAnswer{body: resp.Body}
	if err := wire.ScanAnswer(body, &a.event, &a.meta); err != nil {
		return nil, failure(err)
	}
	return a, nil
}

// decodeCount reads how many tokens a chat has.
func decodeCount(resp *http.Response, s provider.Settings) (provider.Answer, error) {
	body, err := readPlain(resp, s)
	if err != nil {
		return nil, err
	}
	n, err := wire.ScanCount(body)
	if err != nil {
		return nil, failure(err)
	}
	return &plainAnswer{
		body: resp.Body, event: llm.Event{Has: llm.Content | llm.End, Dialect: llm.Gemini, Raw: body, Count: n},
	}, nil
}

// decodeVectors reads vectors, and makes them what whoever asks for vectors speaks: OpenAI's dialect.
func decodeVectors(resp *http.Response, s provider.Settings, t llm.Target, r *llm.Request) (provider.Answer, error) {
	body, err := readPlain(resp, s)
	if err != nil {
		return nil, err
	}
	a := &plainAnswer{body: resp.Body}
	body, err = wire.AppendVectors(make([]byte, 0, len(body)+256), body, t.Model)
	if err == nil {
		body, err = openai.FixEmbeddings(body, r.Base64, openai.CountInputs(r))
	}
	if err == nil {
		err = openai.ScanAnswer(r.Op, body, &a.event, &a.meta)
	}
	if err != nil {
		return nil, failure(err)
	}
	return a, nil
}

// readPlain reads the body of an answer that is no stream.
func readPlain(resp *http.Response, s provider.Settings) ([]byte, error) {
	if provider.MediaType(resp) == streamType {
		return nil, &provider.Failure{Reason: provider.ReasonGarbage, Message: "answered with a stream where none was asked for"}
	}
	return provider.ReadWhole(resp, s.MaxBody)
}

// Next gives the answer as one event.
func (a *plainAnswer) Next() (llm.Event, error) {
	if a.given {
		return llm.Event{}, io.EOF
	}
	a.given = true
	return a.event, nil
}

// Meta is what the provider says of the answer.
func (a *plainAnswer) Meta() *llm.Meta { return &a.meta }

// Close closes the body.
func (a *plainAnswer) Close() error { return a.body.Close() }

// A streamAnswer gives the events of a stream as they come.
type streamAnswer struct {
	in    provider.Stream
	scan  wire.Stream
	text  []byte
	meta  llm.Meta
	begun bool // there was a frame
	ended bool
}

func decodeStream(resp *http.Response, s provider.Settings) (provider.Answer, error) {
	if t := provider.MediaType(resp); t != "" && t != streamType {
		return nil, provider.NoStream(resp, func(body []byte) *provider.Failure {
			var e llm.Event
			if err := wire.ScanAnswer(body, &e, nil); err != nil {
				return failure(err)
			}
			return nil
		})
	}
	a := &streamAnswer{in: provider.OpenStream(resp, s)}
	a.scan.Meta = &a.meta
	return a, nil
}

// Next gives the next event.
func (a *streamAnswer) Next() (llm.Event, error) {
	if a.ended {
		return llm.Event{}, io.EOF
	}
	in, err := a.in.Next()
	switch {
	case err != nil:
		return a.end(err)
	case a.in.Last(): // the vendor ends every frame; this one may be cut
		a.ended = true
		return llm.Event{}, provider.Cut()
	}
	first := !a.begun
	a.begun = true
	var e llm.Event
	if err := a.scan.Frame(in.Data, &e, a.text[:0]); err != nil {
		a.ended = true
		if in, ok := errors.AsType[*wire.InBandError](err); ok {
			return llm.Event{}, reported(in.UpstreamError, first)
		}
		return llm.Event{}, failure(err)
	}
	a.text, e.More = e.Text, a.in.More()
	return e, nil
}

// end says what the end of the stream means. There is no mark: it is whole if it ended by itself, behind the reasons of all choices.
func (a *streamAnswer) end(err error) (llm.Event, error) {
	a.ended = true
	if failed := a.in.End(err); failed != nil {
		return llm.Event{}, failed
	}
	if !a.begun {
		return llm.Event{}, provider.EmptyStream()
	}
	var e llm.Event
	switch err := a.scan.End(&e); {
	case errors.Is(err, wire.ErrCut):
		return llm.Event{}, provider.Cut()
	case errors.Is(err, wire.ErrEmpty):
		return llm.Event{}, provider.EmptyStream()
	case err != nil:
		return llm.Event{}, failure(err)
	}
	return e, nil
}

// Meta is what the provider has said of the answer so far.
func (a *streamAnswer) Meta() *llm.Meta { return &a.meta }

// Close frees the scanner's buffer and ends the upstream's call.
func (a *streamAnswer) Close() error {
	a.ended = true
	return a.in.Close()
}

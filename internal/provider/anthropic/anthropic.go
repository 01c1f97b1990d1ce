// Package anthropic is the codec of the Anthropic dialect, version 2023-06-01 where a request is translated.
//
// It knows HTTP paths, headers and statuses, and which of them is what failure. It does not know what is inside the JSON
// (wire/anthropic), and nothing of connections, credentials and timers (provider).
package anthropic

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/provider"
	"github.com/penstock/penstock/internal/secret"
	wire "github.com/penstock/penstock/internal/wire/anthropic"
)

// New makes the codec.
func New() provider.Codec { return codec{} }

type codec struct{}

var _ provider.Codec = codec{}

// messagesPath is behind the base URL, which ends where the vendor's SDKs have it end: before the version.
const messagesPath = "/v1/messages"

// Header values that all requests share; nobody changes them.
var (
	contentJSON  = []string{"application/json"}
	acceptJSON   = []string{"application/json"}
	acceptStream = []string{"text/event-stream"}
	// version is the one that still takes knobs of sampling.
	version = []string{"2023-06-01"}
)

// Encode makes the request of a chat of any dialect.
func (codec) Encode(ctx context.Context, s provider.Settings, t llm.Target, r *llm.Request) (*http.Request, error) {
	if r.Op != llm.OpChat {
		return nil, fmt.Errorf("operation %q is not in the Anthropic dialect", r.Op)
	}
	c, err := r.Chat()
	if err != nil {
		return nil, err
	}
	body, adapted, err := wire.EncodeChat(c, t.Model, s.TraitsOf(t.Model))
	if err != nil {
		return nil, err
	}
	r.Adapted = adapted
	accept := acceptJSON
	if r.Stream {
		accept = acceptStream
	}
	req := &http.Request{
		Method: http.MethodPost, URL: s.Endpoint(messagesPath),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header:        http.Header{"Content-Type": contentJSON, "Accept": accept, "Anthropic-Version": version},
		Body:          io.NopCloser(bytes.NewReader(body)),
		GetBody:       func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil },
		ContentLength: int64(len(body)),
	}
	return req.WithContext(ctx), nil
}

// Models asks for the list of models.
func (codec) Models(ctx context.Context, s provider.Settings) *http.Request {
	return provider.Get(ctx, s, "/v1/models", http.Header{"Accept": acceptJSON, "Anthropic-Version": version})
}

// Authorize sends the credential as the vendor's key.
func (codec) Authorize(h http.Header, credential secret.String) {
	h["X-Api-Key"] = []string{credential.Reveal()}
}

// Decode reads a 2xx answer.
func (codec) Decode(resp *http.Response, s provider.Settings, t llm.Target, r *llm.Request) (provider.Answer, error) {
	reading, err := readingOf(s, t, r)
	if err != nil {
		return nil, err
	}
	if r.Stream {
		return decodeStream(resp, s, reading)
	}
	return decodePlain(resp, s, reading)
}

// readingOf says how the answer to a request is read.
func readingOf(s provider.Settings, t llm.Target, r *llm.Request) (wire.Reading, error) {
	if r.Dialect == llm.Anthropic {
		return wire.Reading{}, nil
	}
	c, err := r.Chat()
	if err != nil {
		return wire.Reading{}, err
	}
	return wire.Reading{Canonical: true, Schema: c.Format.Kind == llm.FormatJSONSchema && s.TraitsOf(t.Model).NoSchema}, nil
}

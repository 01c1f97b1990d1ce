// Package bedrock is the codec of Amazon Bedrock's Converse and ConverseStream.
//
// It knows HTTP paths, headers and statuses, which of them is what failure, and how requests are signed. It does not know what is
// inside the JSON (wire/bedrock) or how frames are cut (wire/eventstream), and nothing of connections and timers (provider). It
// reads no profiles, roles or metadata services: credentials come to it as text.
package bedrock

import (
	"bytes"
	"context"
	"io"
	"net/http"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/provider"
	wire "github.com/penstock/penstock/internal/wire/bedrock"
	"github.com/penstock/penstock/internal/wire/eventstream"
)

// New makes the codec.
func New() provider.Codec { return codec{} }

type codec struct{}

var (
	_ provider.Codec  = codec{}
	_ provider.Signer = codec{}
)

// Header values that all requests share; nobody changes them.
var (
	contentJSON  = []string{"application/json"}
	acceptJSON   = []string{"application/json"}
	acceptStream = []string{eventstream.MediaType}
)

// Encode makes the request of a chat of any dialect.
func (codec) Encode(ctx context.Context, s provider.Settings, t llm.Target, r *llm.Request) (*http.Request, error) {
	if r.Op != llm.OpChat {
		return nil, provider.HasNo(r.Op, "Bedrock's Converse")
	}
	c, err := r.Chat()
	if err != nil {
		return nil, err
	}
	body, adapted, err := wire.EncodeChat(c, s.TraitsOf(t.Model), s.ServiceTiers)
	if err != nil {
		return nil, err
	}
	r.Adapted = adapted
	operation, accept := "converse", acceptJSON
	if r.Stream {
		operation, accept = "converse-stream", acceptStream
	}
	req := &http.Request{
		Method: http.MethodPost, URL: s.Elements("model", t.Model, operation),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header:        http.Header{"Content-Type": contentJSON, "Accept": accept},
		Body:          io.NopCloser(bytes.NewReader(body)),
		GetBody:       func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil },
		ContentLength: int64(len(body)),
	}
	return req.WithContext(ctx), nil
}

// Models is nil: models are listed at another host, which is not configured.
func (codec) Models(context.Context, provider.Settings) *http.Request { return nil }

// Decode reads a 2xx answer.
func (codec) Decode(resp *http.Response, s provider.Settings, t llm.Target, r *llm.Request) (provider.Answer, error) {
	c, err := r.Chat()
	if err != nil {
		return nil, err
	}
	reading := wire.Reading{
		Canonical: r.Dialect != llm.Bedrock,
		Schema:    c.Format.Kind == llm.FormatJSONSchema && s.TraitsOf(t.Model).NoSchema,
	}
	if r.Stream {
		return decodeStream(resp, s, reading)
	}
	return decodePlain(resp, s, reading)
}

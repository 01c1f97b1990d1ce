// Package openai is the codec of the OpenAI dialect: OpenAI itself, and the many servers that speak like it (vLLM,
// Ollama, llama.cpp, Azure's v1 endpoint, ...).
//
// It knows HTTP paths, headers and statuses, and which of them is what failure. It does not know what is inside the JSON
// (wire/openai), and nothing of connections, credentials and timers (provider).
package openai

import (
	"bytes"
	"context"
	"io"
	"net/http"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/provider"
	"github.com/penstock/penstock/internal/secret"
	wire "github.com/penstock/penstock/internal/wire/openai"
)

// New makes the codec.
func New() provider.Codec { return codec{} }

type codec struct{}

var _ provider.Codec = codec{}

// paths are behind the base URL, which ends with the API's version.
var paths = map[llm.Operation]string{
	llm.OpChat:        "/chat/completions",
	llm.OpEmbeddings:  "/embeddings",
	llm.OpModerations: "/moderations",
}

// editRoom is how much longer a body usually becomes by our edits: the model's name and the request for usage.
const editRoom = 128

// Encode makes the request: the client's own body with the model and the stream options as they must be, or, of a chat in
// another dialect, its translation.
func (codec) Encode(ctx context.Context, s provider.Settings, t llm.Target, r *llm.Request) (*http.Request, error) {
	path, ok := paths[r.Op]
	if !ok {
		return nil, provider.HasNo(r.Op, "OpenAI's dialect")
	}
	if SpeaksResponses(s, t, r) {
		path = ResponsesPath
	}
	body, err := bodyOf(s, t, r)
	if err != nil {
		return nil, err
	}
	accept := acceptJSON
	if r.Stream {
		accept = acceptStream
	}
	req := &http.Request{
		Method: http.MethodPost, URL: s.Endpoint(path),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header:        http.Header{"Content-Type": contentJSON, "Accept": accept},
		Body:          io.NopCloser(bytes.NewReader(body)),
		GetBody:       func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil },
		ContentLength: int64(len(body)),
	}
	return req.WithContext(ctx), nil
}

func bodyOf(s provider.Settings, t llm.Target, r *llm.Request) ([]byte, error) {
	if SpeaksResponses(s, t, r) {
		return responsesBody(s, t, r), nil
	}
	if r.Dialect == llm.OpenAI {
		return wire.AppendRequest(make([]byte, 0, len(r.Raw)+editRoom), r, t.Model, s.StreamUsage, s.ServiceTiers), nil
	}
	c, err := r.Chat()
	if err != nil {
		return nil, err
	}
	body, adapted, err := wire.TranslateChat(c, wire.Server{
		Model: t.Model, Traits: s.TraitsOf(t.Model), StreamUsage: s.StreamUsage, ServiceTiers: s.ServiceTiers,
	})
	if err != nil {
		return nil, err
	}
	r.Adapted = adapted
	return body, nil
}

// Header values that all requests share; nobody changes them.
var (
	contentJSON  = []string{"application/json"}
	acceptJSON   = []string{"application/json"}
	acceptStream = []string{"text/event-stream"}
)

// Models asks for the list of models.
func (codec) Models(ctx context.Context, s provider.Settings) *http.Request {
	return provider.Get(ctx, s, "/models", http.Header{"Accept": acceptJSON})
}

// Authorize sends the credential as a bearer token.
func (codec) Authorize(h http.Header, credential secret.String) {
	h["Authorization"] = []string{"Bearer " + credential.Reveal()}
}

// Decode reads a 2xx answer.
func (codec) Decode(resp *http.Response, s provider.Settings, t llm.Target, r *llm.Request) (provider.Answer, error) {
	if SpeaksResponses(s, t, r) {
		if r.Stream {
			return openResponses(resp, s)
		}
		return responsesPlain(resp, s)
	}
	if r.Stream && r.Op == llm.OpChat {
		return decodeStream(resp, s, r)
	}
	return decodePlain(resp, s, r)
}

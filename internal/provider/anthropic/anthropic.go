// Package anthropic is the codec of the Anthropic dialect. What came in it is passed on as it is, with the client's version and
// betas; what is translated is of version 2023-06-01.
//
// It knows HTTP paths, headers and statuses, and which of them is what failure. It does not know what is inside the JSON
// (wire/anthropic), and nothing of connections, credentials and timers (provider).
package anthropic

import (
	"bytes"
	"context"
	"io"
	"net/http"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/provider"
	"github.com/penstock/penstock/internal/secret"
	wire "github.com/penstock/penstock/internal/wire/anthropic"
	"github.com/penstock/penstock/internal/wire/rawjson"
)

// New makes the codec.
func New() provider.Codec { return codec{} }

type codec struct{}

var _ provider.Codec = codec{}

// Paths are behind the base URL, which ends where the vendor's SDKs have it end: before the version.
const (
	messagesPath = "/v1/messages"
	countPath    = "/v1/messages/count_tokens"
)

// Header values that all requests share; nobody changes them.
var (
	contentJSON  = []string{"application/json"}
	acceptJSON   = []string{"application/json"}
	acceptStream = []string{"text/event-stream"}
	// version is the one that still takes knobs of sampling.
	version = []string{"2023-06-01"}
)

// Encode makes the request of a chat of any dialect, or the one that has its tokens counted.
func (codec) Encode(ctx context.Context, s provider.Settings, t llm.Target, r *llm.Request) (*http.Request, error) {
	path := messagesPath
	switch r.Op {
	case llm.OpChat:
	case llm.OpCount:
		path = countPath
	default:
		return nil, provider.HasNo(r.Op, "Anthropic's dialect")
	}
	encode := translated
	if r.Dialect == llm.Anthropic {
		encode = same
	}
	body, err := encode(s, t, r)
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
		Header:        http.Header{"Content-Type": contentJSON, "Accept": accept, "Anthropic-Version": version},
		Body:          io.NopCloser(bytes.NewReader(body)),
		GetBody:       func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil },
		ContentLength: int64(len(body)),
	}
	if r.Dialect == llm.Anthropic {
		asSent(req, r)
	}
	return req.WithContext(ctx), nil
}

// translated is the body for a chat of another dialect.
func translated(s provider.Settings, t llm.Target, r *llm.Request) ([]byte, error) {
	c, err := r.Chat()
	if err != nil {
		return nil, err
	}
	body, adapted, err := wire.EncodeChat(c, t.Model, s.TraitsOf(t.Model))
	r.Adapted = adapted
	return body, err
}

// same is the client's own body with the provider's name of the model. Only thoughts are left out that another vendor's model
// had, which this one would refuse.
func same(_ provider.Settings, t llm.Target, r *llm.Request) ([]byte, error) {
	edits := append(make([]llm.Edit, 0, 3), llm.Edit{Name: "model", Value: rawjson.AppendQuoted(nil, t.Model)})
	if kept, open := wire.Proven(r.Field("messages")); kept != nil {
		edits = append(edits, llm.Edit{Name: "messages", Value: kept})
		r.Adapted = append(r.Adapted, "reasoning_content")
		if open && wire.Reasons(r.Field("thinking")) {
			edits = append(edits, llm.Edit{Name: "thinking"})
			r.Adapted = append(r.Adapted, "reasoning")
		}
	}
	return r.AppendBody(make([]byte, 0, len(r.Raw)+len(t.Model)), edits...), nil
}

// asSent repeats what a client of the dialect says beside the body.
func asSent(req *http.Request, r *llm.Request) {
	if r.Version != "" {
		req.Header["Anthropic-Version"] = []string{r.Version}
	}
	if r.Betas != "" {
		req.Header["Anthropic-Beta"] = []string{r.Betas}
	}
	if r.Beta {
		req.URL.RawQuery = "beta=true"
	}
}

// Counts says that the dialect has a call that counts tokens.
func (codec) Counts() bool { return true }

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
	switch {
	case r.Op == llm.OpCount:
		return decodeCount(resp, s)
	case r.Stream:
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

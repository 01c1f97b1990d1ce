// Package gemini is the codec of Google's Gemini: its own API with a key, and Vertex AI with an access token.
//
// It knows HTTP paths, headers and statuses, and which of them is what failure. It does not know what is inside the JSON
// (wire/gemini), and nothing of connections and timers (provider). It fetches no tokens: credentials come to it as text.
package gemini

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/provider"
	"github.com/penstock/penstock/internal/secret"
	wire "github.com/penstock/penstock/internal/wire/gemini"
)

// New makes the codec.
func New() provider.Codec { return codec{} }

type codec struct{}

var (
	_ provider.Codec   = codec{}
	_ provider.Signer  = codec{}
	_ provider.Counter = codec{}
)

const streamType = "text/event-stream"

// Header values that all requests share; nobody changes them.
var (
	contentJSON  = []string{"application/json"}
	acceptJSON   = []string{"application/json"}
	acceptStream = []string{streamType}
)

// version is that of Gemini's own API, unless the base URL ends with one. Vertex AI's always has one.
const version = "v1beta"

// isVertex reports whether requests go to Vertex AI, where models are resources of a project.
func isVertex(s provider.Settings) bool { return strings.Contains(s.BaseURL.Path+"/", "/projects/") }

// resource is what a model's name is a path to. A name with slashes is one already: tunedModels/NAME, endpoints/NUMBER.
func resource(s provider.Settings, model string) string {
	switch {
	case strings.Contains(model, "/"):
		return model
	case isVertex(s):
		return "publishers/google/models/" + model
	}
	return "models/" + model
}

// at is a path behind the version. Unlike other characters, the colon before a method is not escaped.
func at(s provider.Settings, resource, method string) *url.URL {
	u := *s.BaseURL
	raw := u.EscapedPath()
	add := func(element, escaped string) {
		u.Path += "/" + element
		raw += "/" + escaped
	}
	if last := u.Path[strings.LastIndexByte(u.Path, '/')+1:]; !isVertex(s) && !strings.HasPrefix(last, "v1") {
		add(version, version)
	}
	for element := range strings.SplitSeq(resource, "/") {
		add(element, url.PathEscape(element))
	}
	u.Path += method
	u.RawPath = raw + method
	return &u
}

// Encode makes the request of a chat of any dialect, or of vectors.
func (codec) Encode(ctx context.Context, s provider.Settings, t llm.Target, r *llm.Request) (*http.Request, error) {
	body, method, err := encode(s, t, r)
	if err != nil {
		return nil, err
	}
	accept := acceptJSON
	u := at(s, resource(s, t.Model), ":"+method)
	if method == streamMethod {
		u.RawQuery, accept = "alt=sse", acceptStream
	}
	return post(ctx, u, accept, body), nil
}

const streamMethod = "streamGenerateContent"

// encode makes the body of a request, and says which method of the model it is for.
func encode(s provider.Settings, t llm.Target, r *llm.Request) (body []byte, method string, err error) {
	o, model := wire.Options{Vertex: isVertex(s), Tiers: s.ServiceTiers}, resource(s, t.Model)
	if r.Op == llm.OpModerations {
		return nil, "", provider.HasNo(r.Op, "Gemini's dialect")
	}
	if r.Op == llm.OpEmbeddings {
		if r.Dialect != llm.OpenAI {
			return nil, "", fmt.Errorf("a request for vectors in the dialect %q is not translated", r.Dialect)
		}
		method = "batchEmbedContents"
		if o.Vertex {
			method = "predict"
		}
		body, r.Adapted, err = wire.EncodeEmbeddings(r, model, o)
		return body, method, err
	}
	c, err := r.Chat()
	if err != nil {
		return nil, "", err
	}
	switch {
	case r.Op == llm.OpCount:
		method = "countTokens"
		body, r.Adapted, err = wire.EncodeCount(c, model, s.TraitsOf(t.Model), o)
		return body, method, err
	case r.Stream:
		method = streamMethod
	default:
		method = "generateContent"
	}
	body, r.Adapted, err = wire.EncodeChat(c, s.TraitsOf(t.Model), o)
	return body, method, err
}

// Counts says that the vendor counts the tokens of chats.
func (codec) Counts() bool { return true }

func post(ctx context.Context, u *url.URL, accept []string, body []byte) *http.Request {
	req := &http.Request{
		Method: http.MethodPost, URL: u, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header:        http.Header{"Content-Type": contentJSON, "Accept": accept},
		Body:          io.NopCloser(bytes.NewReader(body)),
		GetBody:       func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil },
		ContentLength: int64(len(body)),
	}
	return req.WithContext(ctx)
}

// Models asks for the list of models. Vertex AI has none at a project's address.
func (codec) Models(ctx context.Context, s provider.Settings) *http.Request {
	if isVertex(s) {
		return nil
	}
	req := provider.Get(ctx, s, "", http.Header{"Accept": acceptJSON})
	req.URL = at(s, "models", "")
	return req
}

// Authorize sends the credential as a key of Gemini's own API.
func (codec) Authorize(h http.Header, credential secret.String) {
	h["X-Goog-Api-Key"] = []string{credential.Reveal()}
}

// Sign sends the credential as a key, or to Vertex AI as an access token.
func (c codec) Sign(req *http.Request, s provider.Settings, credential secret.String, _ time.Time) error {
	if strings.ContainsFunc(credential.Reveal(), func(r rune) bool { return r < ' ' || r > '~' }) {
		return errors.New("it has line breaks or other characters that keys and tokens do not have")
	}
	if isVertex(s) {
		req.Header["Authorization"] = []string{"Bearer " + credential.Reveal()}
		return nil
	}
	c.Authorize(req.Header, credential)
	return nil
}

// Decode reads a 2xx answer.
func (codec) Decode(resp *http.Response, s provider.Settings, t llm.Target, r *llm.Request) (provider.Answer, error) {
	switch {
	case r.Op == llm.OpEmbeddings:
		return decodeVectors(resp, s, t, r)
	case r.Op == llm.OpCount:
		return decodeCount(resp, s)
	case r.Stream:
		return decodeStream(resp, s)
	}
	return decodePlain(resp, s)
}

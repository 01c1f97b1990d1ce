// Package azure is the codec of Azure OpenAI: OpenAI's JSON at Azure's addresses.
//
// It knows the two forms of address and the header of the key. It is not for the JSON, nor for what failures mean: that is OpenAI's
// codec, which it wraps. So its events are of the OpenAI dialect, and clients of that are passed on what came.
package azure

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/provider"
	"github.com/penstock/penstock/internal/provider/openai"
	"github.com/penstock/penstock/internal/secret"
)

// New makes the codec.
func New() provider.Codec { return codec{openai.New()} }

// A codec is OpenAI's, but for where requests go and what they identify themselves with.
type codec struct{ provider.Codec }

// The newer form of address has a version of its own, in which the body names the deployment. The older form has the deployment
// in the path, and the version of the API in the query.
const (
	newer = "/openai/v1"
	older = "/openai"
)

// operations are the ends of paths, which both forms have in common.
var operations = map[llm.Operation]string{llm.OpChat: "/chat/completions", llm.OpEmbeddings: "/embeddings"}

// Encode makes the request of OpenAI's dialect, and sends it to Azure's address.
func (c codec) Encode(ctx context.Context, s provider.Settings, t llm.Target, r *llm.Request) (*http.Request, error) {
	s = within(s)
	operation, ok := operations[r.Op]
	if !ok {
		return nil, provider.HasNo(r.Op, "Azure OpenAI")
	}
	req, err := c.Codec.Encode(ctx, s, t, r)
	if err != nil {
		return nil, err
	}
	if openai.SpeaksResponses(s, t, r) {
		operation = openai.ResponsesPath
	}
	if isNewer(s) {
		req.URL = address(s, operation)
	} else {
		req.URL = address(s, operation, "deployments", t.Model)
	}
	return req, nil
}

// Decode reads an answer as OpenAI's.
func (c codec) Decode(resp *http.Response, s provider.Settings, t llm.Target, r *llm.Request) (provider.Answer, error) {
	return c.Codec.Decode(resp, within(s), t, r)
}

// within are the settings without what the older form does not have: OpenAI's second dialect has no deployments in its path.
func within(s provider.Settings) provider.Settings {
	if traits := s.TraitsOf; !isNewer(s) {
		s.Takes &^= llm.TakesResponses
		s.Traits = func(model string) llm.Traits {
			t := traits(model)
			t.Takes &^= llm.TakesResponses
			return t
		}
	}
	return s
}

// isNewer reports whether the newer form is spoken: where no version is asked for, and where the base URL ends in that form.
func isNewer(s provider.Settings) bool {
	return s.APIVersion == "" || strings.HasSuffix(s.BaseURL.Path, newer)
}

// address is the URL of an operation; before are the elements of the path that stand before it. The base URL may end where the
// resource does, or with a part of what is added here.
func address(s provider.Settings, operation string, before ...string) *url.URL {
	form := older
	if isNewer(s) {
		form = newer
	}
	root := *s.BaseURL
	root.Path, root.RawPath = resource(root.Path)+form, ""
	u := provider.Settings{BaseURL: &root}.Elements(before...)
	u = provider.Settings{BaseURL: u}.Endpoint(operation)
	if s.APIVersion != "" {
		u.RawQuery = url.Values{"api-version": {s.APIVersion}}.Encode()
	}
	return u
}

// resource is the part of a path that is before either form.
func resource(path string) string { return strings.TrimSuffix(strings.TrimSuffix(path, newer), older) }

// Models asks for the list of models that the resource could serve.
func (c codec) Models(ctx context.Context, s provider.Settings) *http.Request {
	req := c.Codec.Models(ctx, s)
	req.URL = address(s, "/models")
	return req
}

// Authorize sends the credential as the resource's key, or as a bearer token if it is one of Entra ID: those are JSON web tokens,
// which begin and are divided as no key is.
func (codec) Authorize(h http.Header, credential secret.String) {
	value := credential.Reveal()
	if strings.HasPrefix(value, "eyJ") && strings.Count(value, ".") == 2 {
		h["Authorization"] = []string{"Bearer " + value}
		return
	}
	h["Api-Key"] = []string{value}
}

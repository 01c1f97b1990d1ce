package openai

import (
	"errors"
	"net/http"

	"github.com/penstock/penstock/internal/provider"
	wire "github.com/penstock/penstock/internal/wire/openai"
)

// DecodeError reads an answer that is not 2xx.
func (codec) DecodeError(resp *http.Response, _ provider.Settings) error {
	return provider.Refusal(resp, func(body []byte) (provider.Said, bool) {
		e, ok := wire.ParseError(body)
		return said(e), ok
	})
}

func said(e wire.UpstreamError) provider.Said {
	return provider.Said{Message: e.Message, Code: e.Code, Type: e.Type, Param: e.Param, Body: e.Raw}
}

// failure makes a failure of what wire found wrong with an answer that came with status 2xx.
func failure(err error) *provider.Failure {
	if e, ok := errors.AsType[*wire.InBandError](err); ok {
		f := provider.InBand(said(e.UpstreamError))
		if f.Class == "" && (e.Code == "rate_limit_exceeded" || e.Code == "429" || e.Type == "rate_limit_error") {
			f.Status = http.StatusTooManyRequests // which it would have been a moment earlier
		}
		return f
	}
	f := &provider.Failure{Reason: provider.ReasonGarbage, Message: "sent something that is not an OpenAI answer", Err: err}
	if errors.Is(err, wire.ErrEmpty) {
		f.Reason, f.Message = provider.ReasonEmpty, "sent an empty answer"
	}
	return f
}

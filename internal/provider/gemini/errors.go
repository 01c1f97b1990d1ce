package gemini

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/penstock/penstock/internal/provider"
	wire "github.com/penstock/penstock/internal/wire/gemini"
)

// DecodeError reads an answer that is not 2xx. A key that is refused comes as 400, and how long to wait is in the body.
func (codec) DecodeError(resp *http.Response, _ provider.Settings) error {
	var e wire.UpstreamError
	f := provider.Refusal(resp, func(body []byte) (provider.Said, bool) {
		var ok bool
		e, ok = wire.ParseError(body)
		e.HTTP = resp.StatusCode
		return said(e), ok
	})
	if f.Status == http.StatusBadRequest && e.OfCredential() { // its words may hold parts of the key
		return provider.Refusal(&http.Response{StatusCode: http.StatusForbidden, Body: http.NoBody}, nil)
	}
	if e.Wait > 0 {
		seconds := strconv.FormatFloat(e.Wait.Seconds(), 'f', -1, 64)
		f.RetryAfter = provider.ParseRetryAfter(http.Header{"Retry-After": {seconds}}, time.Time{})
	}
	return f
}

func said(e wire.UpstreamError) provider.Said {
	return provider.Said{Message: e.Message, Code: e.Code(), Param: e.Param, Body: e.Object()}
}

// failure makes a failure of what wire found wrong with an answer that came with status 2xx.
func failure(err error) *provider.Failure {
	if e, ok := errors.AsType[*wire.InBandError](err); ok {
		return provider.InBand(said(e.UpstreamError), e.OfCredential())
	}
	f := &provider.Failure{Reason: provider.ReasonGarbage, Message: "sent something that is not a Gemini answer", Err: err}
	if errors.Is(err, wire.ErrEmpty) {
		f.Reason, f.Message = provider.ReasonEmpty, "sent an empty answer"
	}
	return f
}

package gemini

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/penstock/penstock/internal/provider"
	wire "github.com/penstock/penstock/internal/wire/gemini"
)

// DecodeError reads an answer that is not 2xx. How long to wait is in the body.
func (codec) DecodeError(resp *http.Response, _ provider.Settings) error {
	var e wire.UpstreamError
	f := provider.Refusal(resp, func(body []byte) (provider.Said, bool) {
		var ok bool
		e, ok = wire.ParseError(body)
		e.HTTP = resp.StatusCode
		return said(e), ok
	})
	f.RetryAfter = wait(e)
	return f
}

func said(e wire.UpstreamError) provider.Said {
	return provider.Said{Message: e.Message, Code: e.Code(), Type: e.Status, Param: e.Param, Body: e.Object()}
}

// reported makes a failure of an error inside of a stream; first says that nothing was before it. It means what it would mean as the
// status of an answer: the request is to blame for a bad one, and before the first frame nothing has been billed for an overload.
func reported(e wire.UpstreamError, first bool) *provider.Failure {
	f := provider.InBand(said(e))
	f.Status, f.RetryAfter = e.HTTP, wait(e)
	switch e.HTTP {
	case http.StatusBadRequest:
		if f.Body != nil { // neither the credential nor the account is
			f.Reason, f.Message = provider.ReasonStatus, fmt.Sprintf("answered 400: %v", f.Err)
		}
		f.NothingBilled = first
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		f.NothingBilled = first
	}
	return f
}

// wait is how long an error asks to wait.
func wait(e wire.UpstreamError) time.Duration {
	if e.Wait <= 0 {
		return 0
	}
	seconds := strconv.FormatFloat(e.Wait.Seconds(), 'f', -1, 64)
	return provider.ParseRetryAfter(http.Header{"Retry-After": {seconds}}, time.Time{})
}

// failure makes a failure of what wire found wrong with an answer that came with status 2xx.
func failure(err error) *provider.Failure {
	if e, ok := errors.AsType[*wire.InBandError](err); ok {
		return provider.InBand(said(e.UpstreamError))
	}
	f := &provider.Failure{Reason: provider.ReasonGarbage, Message: "sent something that is not a Gemini answer", Err: err}
	if errors.Is(err, wire.ErrEmpty) {
		f.Reason, f.Message = provider.ReasonEmpty, "sent an empty answer"
	}
	return f
}

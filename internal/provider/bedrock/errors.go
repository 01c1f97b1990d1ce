package bedrock

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/penstock/penstock/internal/provider"
	wire "github.com/penstock/penstock/internal/wire/bedrock"
	"github.com/penstock/penstock/internal/wire/eventstream"
)

// DecodeError reads an answer that is not 2xx. What its type means counts more than its status: a quota that is used up may come
// as 400, and so may a credential that is refused, and neither is a mistake of the caller.
func (codec) DecodeError(resp *http.Response, _ provider.Settings) error {
	var e wire.UpstreamError
	f := provider.Refusal(resp, func(body []byte) (provider.Said, bool) {
		var ok bool
		e, ok = wire.ParseError(resp.Header.Get("X-Amzn-Errortype"), body)
		return said(e, resp.StatusCode), ok
	})
	if f.Status != http.StatusBadRequest {
		return f
	}
	if e.Status() == http.StatusTooManyRequests {
		f.Status, f.Message, f.Body = http.StatusTooManyRequests, "is at its quota", nil
	}
	return f
}

func said(e wire.UpstreamError, status int) provider.Said {
	return provider.Said{Message: e.Message, Code: e.Type, Body: e.Object(status)}
}

// exception makes a failure of an event that is one; first says that none was before it. It means what it would mean as the status
// of an answer: the request is to blame for a bad one, and before the first event nothing has been billed for an overload.
func exception(in eventstream.Event, first bool) *provider.Failure {
	e, ok := wire.ParseError(in.Name, in.Data)
	if !ok {
		e.Message = "The provider reported an error and did not describe it."
	}
	status := e.Status()
	f := provider.InBand(said(e, http.StatusOK))
	f.Status = status
	switch status {
	case http.StatusBadRequest:
		f.Reason, f.Message, f.NothingBilled = provider.ReasonStatus, fmt.Sprintf("answered 400: %v", f.Err), first
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		f.NothingBilled = first
	}
	return f
}

// failure makes a failure of what wire found wrong with an answer that came with status 2xx.
func failure(err error) *provider.Failure {
	if e, ok := errors.AsType[*wire.InBandError](err); ok {
		return provider.InBand(said(e.UpstreamError, http.StatusOK))
	}
	f := &provider.Failure{Reason: provider.ReasonGarbage, Message: "sent something that is not a Bedrock answer", Err: err}
	if errors.Is(err, wire.ErrEmpty) {
		f.Reason, f.Message = provider.ReasonEmpty, "sent an empty answer"
	}
	return f
}

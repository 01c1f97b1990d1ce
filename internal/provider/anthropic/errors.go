package anthropic

import (
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/penstock/penstock/internal/provider"
	wire "github.com/penstock/penstock/internal/wire/anthropic"
)

// DecodeError reads an answer that is not 2xx. What a provider says of a request is passed on if the request is to blame; what it
// says of itself is for the operator; what it says of Penstock's credential is for nobody.
func (codec) DecodeError(resp *http.Response, _ provider.Settings) error {
	status := resp.StatusCode
	f := &provider.Failure{Reason: provider.ReasonStatus, Status: status, NothingBilled: provider.Unbilled(status)}
	switch {
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		f.Message = "refused Penstock's own credential"
		f.Err = fmt.Errorf("status %d", status)
		return f
	case status < 400:
		f.Reason, f.Message = provider.ReasonGarbage, "answered with a redirect, which is never followed"
		f.Err = fmt.Errorf("status %d", status)
		return f
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, provider.MaxErrorBody))
	f.Message = fmt.Sprintf("answered %d", status)
	e, ok := wire.ParseError(body)
	if !ok {
		f.Err = errors.Join(errors.New(provider.Words(string(body))), err)
		return f
	}
	f.Code = provider.Words(e.Code)
	f.Err = errors.New(provider.Words(e.Message))
	if !f.Fallback() { // the request is to blame
		f.Message += ": " + provider.Words(e.Message)
		f.Body = e.Object()
	}
	return f
}

// failure makes a failure of what wire found wrong with an answer that came with status 2xx.
func failure(err error) error {
	if e, ok := errors.AsType[*wire.InBandError](err); ok {
		return inBand(e)
	}
	f := &provider.Failure{Reason: provider.ReasonGarbage, Message: "sent something that is not an Anthropic answer", Err: err}
	if errors.Is(err, wire.ErrEmpty) {
		f.Reason, f.Message = provider.ReasonEmpty, "sent an empty answer"
	}
	return f
}

func inBand(e *wire.InBandError) error {
	f := &provider.Failure{Reason: provider.ReasonInBand, Message: "reported an error inside its answer"}
	if e.Type == "authentication_error" || e.Type == "permission_error" {
		f.Err = errors.New("it refuses Penstock's own credential")
		return f
	}
	f.Code, f.Body = provider.Words(e.Code), e.Object()
	f.Err = errors.New(provider.Words(e.Message))
	return f
}

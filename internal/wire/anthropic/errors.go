package anthropic

import (
	"bytes"

	"github.com/penstock/penstock/internal/wire/rawjson"
)

// An UpstreamError is an upstream's own description of an error.
type UpstreamError struct {
	Message, Type, Code string // "" for what it did not say
	// Details is the object of what else the vendor says; nil if there is none.
	Details []byte
	// Raw is the whole error body of this dialect.
	Raw []byte
}

// An InBandError is an error that the upstream reported inside an answer that began, or ended, with status 200.
type InBandError struct{ UpstreamError }

// Error is the upstream's own message.
func (e *InBandError) Error() string {
	return "the provider reported an error in its answer: " + e.Message
}

// inBand makes an error of a body that says it is one.
func inBand(body []byte) error {
	e, ok := ParseError(body)
	if !ok {
		e.Message = "The provider reported an error and did not describe it."
	}
	return &InBandError{e}
}

// ParseError reads the body of an error: {"type":"error","error":{"type","message"}}, and what gateways before the provider make
// of it. ok is false if it is none: HTML, text, nothing.
func ParseError(body []byte) (e UpstreamError, ok bool) {
	body = bytes.TrimSpace(body)
	if !rawjson.Valid(body) {
		return e, false
	}
	o := rawjson.ObjectOf(body)
	e.Raw = body
	inner := o
	switch o.Kind("error") {
	case '{':
		inner = rawjson.ObjectOf(o.Value("error"))
	case '"':
		e.Message = o.Str("error")
		return e, e.Message != ""
	}
	e.Message, e.Type = inner.Str("message"), inner.Str(typeField)
	if inner.Kind(detailsField) == '{' {
		e.Details = inner.Value(detailsField)
		e.Code = rawjson.ObjectOf(e.Details).Str("error_code")
	}
	return e, e.Message != ""
}

const detailsField = "details"

// Object is the error in the OpenAI dialect, which is what failures carry, with the details beside it.
func (e *UpstreamError) Object() []byte {
	w := rawjson.Writer{Dst: []byte{'{'}}
	w.Member("message", e.Message)
	w.Member(typeField, e.Type)
	w.Dst = append(w.Dst, `,"param":null,"code":`...)
	if e.Code == "" {
		w.Dst = append(w.Dst, "null"...)
	} else {
		w.Quoted(e.Code)
	}
	w.Object(nil, detailsField, e.Details)
	return append(w.Dst, '}')
}

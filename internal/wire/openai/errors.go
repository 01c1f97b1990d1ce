package openai

import (
	"bytes"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/wire/rawjson"
)

// An UpstreamError is an upstream's own description of an error.
type UpstreamError struct {
	Message, Type, Code, Param string // "" for what it did not say
	// Raw is the error object of this dialect: the upstream's own where it sent one, else one made from the above.
	Raw []byte
}

// ParseError reads the body of an error, in the forms that servers of this dialect have: {"error":{...}},
// {"error":"text"}, {"message":...} alone (vLLM, API gateways), {"detail":...} (FastAPI), and any of these in an array
// (Gemini's compatible endpoint). ok is false if the body is none of them: HTML, text, nothing.
func ParseError(body []byte) (e UpstreamError, ok bool) {
	body = bytes.TrimSpace(body)
	if !rawjson.Valid(body) {
		return e, false
	}
	c := rawjson.Cursor{Text: body}
	if c.Kind() == '[' {
		c.At++
	}
	if c.Kind() != '{' {
		return e, false
	}
	body = c.Value()
	r := llm.Request{Raw: body, Fields: rawjson.Fields(body)}
	if value := r.Field("error"); value != nil {
		if e, ok = errorValue(value); ok {
			return e, true
		}
	}
	e.take(body)
	if value := r.Field("detail"); value != nil && e.Message == "" {
		e.Message = detail(value)
	}
	e.Raw = e.object()
	return e, e.Message != ""
}

// errorValue reads what stands behind "error"; ok is false for what says nothing: null, "", false.
func errorValue(value []byte) (e UpstreamError, ok bool) {
	switch value[0] {
	case '"':
		e.Message = string(rawjson.Unquoted(value))
		e.Raw = e.object()
		return e, e.Message != ""
	case '{':
		e.take(value)
		e.Raw = value
		if e.Message == "" {
			e.Message = "The provider reported an error and did not describe it."
			e.Raw = e.object()
		}
		return e, true
	}
	return e, false
}

// take reads the members of an error object.
func (e *UpstreamError) take(object []byte) {
	c := rawjson.Cursor{Text: object}
	for name := range c.Members() {
		value := scalar(c.Value())
		switch string(name) {
		case "message":
			e.Message = value
		case "type":
			e.Type = value
		case "status": // Gemini's word for it
			if e.Type == "" {
				e.Type = value
			}
		case "code":
			e.Code = value
		case "param":
			e.Param = value
		}
	}
}

// scalar is a string or a number as text, "" for all else.
func scalar(value []byte) string {
	switch {
	case value[0] == '"':
		return string(rawjson.Unquoted(value))
	case value[0] == '-' || value[0] >= '0' && value[0] <= '9':
		return string(value)
	}
	return ""
}

// detail reads FastAPI's description: a text, or a list of what is wrong where.
func detail(value []byte) string {
	if value[0] != '[' {
		return scalar(value)
	}
	c := rawjson.Cursor{Text: value}
	var all []string
	for range c.Elements() {
		var place []string
		var problem string
		for name := range c.Members() {
			switch string(name) {
			case "msg":
				problem = scalar(c.Value())
			case "loc":
				for range c.Elements() {
					place = append(place, scalar(c.Value()))
				}
			}
		}
		all = append(all, strings.Join(place, ".")+": "+problem)
	}
	return strings.Join(all, "; ")
}

// object makes the error object of the dialect.
func (e *UpstreamError) object() []byte {
	return appendErrorObject(nil, e.Message, e.Type, e.Param, e.Code)
}

// appendErrorObject writes all four members, null for what is "".
func appendErrorObject(dst []byte, message, kind, param, code string) []byte {
	dst = append(dst, `{"message":`...)
	dst = rawjson.AppendQuoted(dst, message)
	dst = appendNullable(dst, "type", kind)
	dst = appendNullable(dst, "param", param)
	dst = appendNullable(dst, "code", code)
	return append(dst, '}')
}

func appendNullable(dst []byte, name, value string) []byte {
	dst = append(append(append(dst, `,"`...), name...), `":`...)
	if value == "" {
		return append(dst, "null"...)
	}
	return rawjson.AppendQuoted(dst, value)
}

// AppendError appends the body of an error: {"error":{"message","type","param","code"}}. A provider's own error object
// (e.Body) is passed on as it is, with null for what it lacks of the four; one that is no JSON object is left out.
func AppendError(dst []byte, e *fault.Error) []byte {
	dst = append(dst, `{"error":`...)
	if object, ok := passedOn(e.Body); ok {
		dst = append(dst, object...)
	} else {
		dst = appendErrorObject(dst, e.Text(), ErrorType(e), e.Param, string(e.Code))
		if len(e.Detail) > 0 {
			dst = append(append(append(dst[:len(dst)-1], `,"penstock":`...), e.Detail...), '}')
		}
	}
	return append(dst, '}')
}

// AppendErrorEvent appends an error as an event of a stream. It is the last one: no [DONE] follows an error.
func AppendErrorEvent(dst []byte, e *fault.Error) []byte {
	dst = append(dst, dataPrefix...)
	dst = AppendError(dst, e)
	return append(dst, eventEnd...)
}

// passedOn is a provider's error object on one line with all four members.
func passedOn(body []byte) (object []byte, ok bool) {
	v := jsontext.Value(bytes.Clone(body))
	if v.Kind() != '{' || v.Compact() != nil {
		return nil, false
	}
	r := llm.Request{Raw: v, Fields: rawjson.Fields(v)}
	for _, name := range []string{"message", "type", "param", "code"} {
		if r.Field(name) == nil {
			r.Set(name, []byte("null"))
		}
	}
	return r.AppendBody(nil), true
}

// ErrorType is the dialect's word for the kind of an error. Clients' libraries choose their class by the status, and
// people read this.
func ErrorType(e *fault.Error) string {
	if e.Code == fault.QuotaSpent {
		return string(e.Code) // as the vendor has it
	}
	switch e.Kind {
	case fault.Internal, fault.Unavailable, fault.Upstream:
		return "server_error"
	case fault.RateLimited:
		return "rate_limit_error"
	case fault.Timeout:
		return "timeout_error"
	case fault.Unauthenticated:
		return "authentication_error"
	case fault.Forbidden:
		return "permission_error"
	}
	return "invalid_request_error"
}

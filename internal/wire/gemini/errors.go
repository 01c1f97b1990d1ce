package gemini

import (
	"bytes"
	"net/http"
	"strings"
	"time"

	"github.com/penstock/penstock/internal/wire/rawjson"
)

// An UpstreamError is an upstream's own description of an error.
type UpstreamError struct {
	// Message is for people; Status and Reason are the provider's words for the kind, "INVALID_ARGUMENT", and more closely,
	// "API_KEY_INVALID". Param is where in the request it is. All are "" for what it did not say.
	Message, Status, Reason, Param string
	// HTTP is the status that it means, 0 if it does not say.
	HTTP int
	// Wait is how long it asks to wait, 0 if it does not.
	Wait time.Duration
}

// An InBandError is an error that the upstream reported inside an answer that began, or ended, with status 200.
type InBandError struct{ UpstreamError }

// Error is the upstream's own message.
func (e *InBandError) Error() string {
	return "the provider reported an error in its answer: " + e.Message
}

// ParseError reads an error, which may be the one element of an array. ok is false if it says nothing.
func ParseError(body []byte) (e UpstreamError, ok bool) {
	body = bytes.TrimSpace(body)
	if !rawjson.Valid(body) {
		return e, false
	}
	if all, array := rawjson.ObjectsOf(body); array {
		body = all[0].Text
	}
	o := rawjson.ObjectOf(body)
	if o.Kind(errorField) != '{' {
		return e, false
	}
	inner := rawjson.ObjectOf(o.Value(errorField))
	e.Message, e.Status = inner.Str(messageField), inner.Str(statusField)
	if n := inner.Integer("code"); n != nil && *n >= 400 && *n < 600 {
		e.HTTP = int(*n)
	}
	details, _ := rawjson.ObjectsOf(inner.Value("details"))
	for _, d := range details {
		e.detail(d)
	}
	if e.Message == "" && e.Status != "" {
		e.Message = "The provider reported " + e.Status + " and did not describe it."
	}
	return e, e.Message != ""
}

// detail reads one of an error's details: a reason, a wait, or places in the request.
func (e *UpstreamError) detail(d *rawjson.Object) {
	switch _, kind, _ := strings.Cut(d.Str("@type"), "/google.rpc."); kind {
	case "ErrorInfo":
		e.Reason = d.Str("reason")
	case "RetryInfo":
		if wait, err := time.ParseDuration(d.Str("retryDelay")); err == nil && wait > 0 {
			e.Wait = wait
		}
	case "BadRequest":
		if all, _ := rawjson.ObjectsOf(d.Value("fieldViolations")); len(all) > 0 && e.Param == "" {
			e.Param = all[0].Str("field")
		}
	}
}

// Code is the provider's closest word for what is wrong, "" if it has none.
func (e *UpstreamError) Code() string {
	if e.Reason != "" {
		return e.Reason
	}
	return e.Status
}

// Object is the error in the OpenAI dialect, which is what failures carry.
func (e *UpstreamError) Object() []byte {
	kind := "invalid_request_error"
	switch {
	case e.HTTP == http.StatusTooManyRequests, e.Status == "RESOURCE_EXHAUSTED":
		kind = "rate_limit_error"
	case e.HTTP >= http.StatusInternalServerError, e.HTTP == 0 && e.Status != "INVALID_ARGUMENT":
		kind = "server_error"
	}
	w := rawjson.Writer{Dst: []byte{'{'}}
	w.Member(messageField, e.Message)
	w.Member("type", kind)
	for _, m := range [][2]string{{"param", e.Param}, {"code", e.Code()}} {
		w.Name(m[0])
		if m[1] == "" {
			w.Dst = append(w.Dst, "null"...)
		} else {
			w.Quoted(m[1])
		}
	}
	return append(w.Dst, '}')
}

package bedrock

import (
	"bytes"
	"strings"

	"github.com/penstock/penstock/internal/wire/rawjson"
)

// An UpstreamError is an upstream's own description of an error.
type UpstreamError struct {
	// Message is for people; Type is the name of an exception: "ThrottlingException". Both are "" for what it did not say.
	Message, Type string
}

// An InBandError is an error that the upstream reported inside an answer that began, or ended, with status 200.
type InBandError struct{ UpstreamError }

// Error is the upstream's own message.
func (e *InBandError) Error() string {
	return "the provider reported an error in its answer: " + e.Message
}

// ParseError reads an error: its body, which has a message, and the header that names its type, which may be missing. ok is false
// if neither says anything.
func ParseError(header string, body []byte) (e UpstreamError, ok bool) {
	e.Type = typeName(header)
	body = bytes.TrimSpace(body)
	if rawjson.Valid(body) {
		o := rawjson.ObjectOf(body)
		for _, name := range []string{"message", "Message", "errorMessage"} {
			if e.Message == "" {
				e.Message = o.Str(name)
			}
		}
		for _, name := range []string{"__type", "code"} {
			if e.Type == "" {
				e.Type = typeName(o.Str(name))
			}
		}
		if e.Type == "" && e.Message == "" {
			e.Type = typeName(rawjson.ObjectOf(o.Value("Output")).Str("__type")) // of an operation that is not known
		}
	}
	if e.Message == "" && e.Type != "" {
		e.Message = "The provider reported " + e.Type + " and did not describe it."
	}
	return e, e.Message != ""
}

// maxType is how long the name of an exception may be, in bytes.
const maxType = 100

// typeName is the name of an exception without what stands around it: a namespace before it, an address behind it. Names of streams
// begin with a small letter, and mean the same.
func typeName(s string) string {
	if i := strings.LastIndexByte(s, '#'); i >= 0 {
		s = s[i+1:]
	}
	s, _, _ = strings.Cut(s, ":")
	s = strings.TrimSpace(s)
	if s == "" || len(s) > maxType || strings.ContainsFunc(s, func(r rune) bool { return r < '!' || r > '~' }) {
		return ""
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// statuses are those that exceptions mean where they come without one, or with another.
var statuses = map[string]int{
	"ValidationException": 400, "ConflictException": 400, "AccessDeniedException": 403, "UnrecognizedClientException": 403,
	"ExpiredTokenException": 403, "InvalidSignatureException": 403, "IncompleteSignatureException": 403, "MissingAuthenticationTokenException": 403,
	"ResourceNotFoundException": 404, "ModelTimeoutException": 408,
	"ModelErrorException": 424, "ModelStreamErrorException": 424, "ThrottlingException": 429, "ModelNotReadyException": 429,
	"ServiceQuotaExceededException": 429, "InternalServerException": 500, "ServiceUnavailableException": 503,
}

// Status is the HTTP status that the error means, 0 if that is not known.
func (e *UpstreamError) Status() int { return statuses[e.Type] }

// Object is the error in the OpenAI dialect, which is what failures carry. status is the answer's; where the error's type means
// another, that counts.
func (e *UpstreamError) Object(status int) []byte {
	if meant := e.Status(); meant != 0 {
		status = meant
	}
	kind := "invalid_request_error"
	switch {
	case status == 429:
		kind = "rate_limit_error"
	case status < 400, status >= 500, status == 424:
		kind = "server_error"
	}
	w := rawjson.Writer{Dst: []byte{'{'}}
	w.Member(messageField, e.Message)
	w.Member(typeField, kind)
	w.Dst = append(w.Dst, `,"param":null,"code":`...)
	if e.Type == "" {
		w.Dst = append(w.Dst, "null"...)
	} else {
		w.Quoted(e.Type)
	}
	return append(w.Dst, '}')
}

package provider

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"unicode"
)

// What follows is what all codecs need to read answers.

const (
	// maxErrorBody is how much of an error's body is read, in bytes.
	maxErrorBody = 64 << 10
	// maxWords is how much of an upstream's own words is repeated, in characters.
	maxWords = 500
	// firstRead is how much is read into at first where the answer does not say how long it is, and bound is how much is
	// believed of what it says, in bytes.
	firstRead = 4 << 10
	bound     = 1 << 20
)

// ReadWhole reads the body of a plain answer, at most limit bytes of it: more is a *Failure.
func ReadWhole(resp *http.Response, limit int64) ([]byte, error) {
	if resp.ContentLength > limit {
		return nil, TooLarge("an answer", limit, nil)
	}
	size := int64(firstRead)
	if resp.ContentLength >= 0 {
		size = min(resp.ContentLength, bound)
	}
	body := make([]byte, 0, max(size, 1))
	for {
		n, err := resp.Body.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		switch {
		case int64(len(body)) > limit:
			return nil, TooLarge("an answer", limit, nil)
		case err == io.EOF:
			return body, nil
		case err != nil:
			return nil, err
		case len(body) == cap(body):
			body = append(body, 0)[:len(body)]
		}
	}
}

// TooLarge is the failure that a provider sent something, "an answer" or "an event", of more than limit bytes.
func TooLarge(what string, limit int64, err error) *Failure {
	return &Failure{Reason: ReasonTooLarge, Message: "sent " + what + " of more than " + size(limit), Err: err}
}

// size writes a limit for people.
func size(bytes int64) string {
	if bytes < 1<<20 {
		return fmt.Sprintf("%d KB", bytes>>10)
	}
	return fmt.Sprintf("%d MB", bytes>>20)
}

// Get makes a request without a body for a path behind the base URL, which codecs need for what is no call of a model.
func Get(ctx context.Context, s Settings, path string, h http.Header) *http.Request {
	req := &http.Request{Method: http.MethodGet, URL: s.Endpoint(path), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: h}
	return req.WithContext(ctx)
}

// Endpoint is a path behind the base URL.
func (s Settings) Endpoint(path string) *url.URL {
	u := *s.BaseURL
	u.Path += path
	if u.RawPath != "" {
		u.RawPath += path
	}
	return &u
}

// Elements is a path behind the base URL whose elements may hold any characters, such as the names of resources with colons and
// slashes; all but letters, digits and -_.~ are sent escaped.
func (s Settings) Elements(elements ...string) *url.URL {
	u := *s.BaseURL
	raw := u.EscapedPath()
	for _, e := range elements {
		u.Path += "/" + e
		raw += "/" + strings.ReplaceAll(url.QueryEscape(e), "+", "%20")
	}
	u.RawPath = raw
	return &u
}

// MediaType is an answer's content type without parameters, in lower case.
func MediaType(resp *http.Response) string {
	t, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";")
	return strings.ToLower(strings.TrimSpace(t))
}

// unbilled reports whether a status is evidence that nothing was generated: a refusal, or an overload, which is said before the
// work begins. 408, 500, 502 and 504 may be said after it.
func unbilled(status int) bool {
	switch status {
	case http.StatusRequestTimeout:
		return false
	case http.StatusServiceUnavailable, StatusOverloaded:
		return true
	}
	return status >= 400 && status < 500
}

// Said is what a provider's error says. Code is its closest word for what is wrong, and Type another if it has one. Body is the
// error object in the OpenAI dialect.
type Said struct {
	Message, Code, Type, Param string
	Body                       []byte
}

// Refusal makes a failure of an answer that is not 2xx, whose body read understands, or does not.
//
// What a provider says of a request is passed on if the request is to blame (most of 4xx). What it says of itself is for the
// operator: it may name hosts, or say what is on an account. What it says of Penstock's credential is for nobody, since it may
// repeat parts of it; the status is 403 then, if it was one that would blame the request.
func Refusal(resp *http.Response, read func(body []byte) (Said, bool)) *Failure {
	status := resp.StatusCode
	f := &Failure{Reason: ReasonStatus, Status: status, NothingBilled: unbilled(status)}
	if status < 400 {
		f.Reason, f.Message = ReasonGarbage, "answered with a redirect, which is never followed"
		f.Err = fmt.Errorf("status %d", status)
		return f
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	e, ok := read(body)
	f.Class = Classify(status, e)
	switch {
	case f.Class.ofAccess():
		f.Message, f.Err = "refused Penstock's own credential", fmt.Errorf("status %d", status)
		if word, known := wordClass(e); known != "" { // and thus holds nothing else
			f.Err = fmt.Errorf("status %d, %s", status, word)
		}
		if status != http.StatusUnauthorized {
			f.Status = http.StatusForbidden
		}
		return f
	case f.Class == ClassQuota:
		f.Message = outOfQuota
	default:
		f.Message = fmt.Sprintf("answered %d", status)
	}
	if !ok {
		f.Err = errors.Join(errors.New(oneLine(string(body))), err)
		return f
	}
	f.Code, f.Param = oneLine(e.Code), oneLine(e.Param)
	f.Err = errors.New(oneLine(e.Message))
	if !f.Fallback() { // the request is to blame
		f.Message += ": " + oneLine(e.Message)
		f.Body = e.Body
	}
	return f
}

// outOfQuota is what callers are told, whoever's words it came in: they can do nothing about it.
const outOfQuota = "says that Penstock's account with it has nothing left to spend"

// InBand makes a failure of an error inside an answer that is 2xx.
func InBand(e Said) *Failure {
	f := &Failure{Reason: ReasonInBand, Message: "reported an error inside its answer", Class: Classify(0, e)}
	if f.Class.ofAccess() {
		f.Err = errors.New("it refuses Penstock's own credential")
		return f
	}
	f.Code, f.Param = oneLine(e.Code), oneLine(e.Param)
	f.Err = errors.New(oneLine(e.Message))
	if f.Class == ClassQuota {
		f.Message = outOfQuota
	} else {
		f.Body = e.Body
	}
	return f
}

// NoStream makes a failure of a 2xx answer of another type where a stream was asked for. It may be an error that came with
// status 200, which scan finds in the body.
func NoStream(resp *http.Response, scan func(body []byte) *Failure) error {
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	if err != nil {
		return err
	}
	if f := scan(body); f != nil && f.Reason == ReasonInBand {
		return f
	}
	return &Failure{
		Reason: ReasonGarbage, Message: "answered with something else where a stream was asked for",
		Err: fmt.Errorf("content type %.80q", MediaType(resp)),
	}
}

// oneLine makes text of an upstream fit for one line of a log: no control characters, and cut where it is long.
func oneLine(s string) string {
	var b strings.Builder
	n := 0
	for _, r := range strings.TrimSpace(s) {
		if n++; n > maxWords {
			b.WriteString("...")
			break
		}
		if unicode.IsControl(r) || r == unicode.ReplacementChar || !unicode.IsPrint(r) && r != ' ' {
			r = ' '
		}
		b.WriteRune(r)
	}
	return b.String()
}

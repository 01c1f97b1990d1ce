package provider

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"unicode"
)

// What follows is what all codecs need to read answers.

const (
	// MaxErrorBody is how much of an error's body codecs read, in bytes.
	MaxErrorBody = 64 << 10
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

// MediaType is an answer's content type without parameters, in lower case.
func MediaType(resp *http.Response) string {
	t, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";")
	return strings.ToLower(strings.TrimSpace(t))
}

// Unbilled reports whether a status is evidence that nothing was generated: a refusal, or an overload, which is said before the
// work begins. 408, 500, 502 and 504 may be said after it.
func Unbilled(status int) bool {
	switch status {
	case http.StatusRequestTimeout:
		return false
	case http.StatusServiceUnavailable, 529:
		return true
	}
	return status >= 400 && status < 500
}

// Words makes text of an upstream fit for one line of a log: no control characters, and cut where it is long.
func Words(s string) string {
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

package openai

import (
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/provider"
	wire "github.com/penstock/penstock/internal/wire/openai"
)

// A plainAnswer is an answer that was read whole.
type plainAnswer struct {
	body  io.Closer
	event llm.Event
	given bool
	meta  llm.Meta
	first [1]llm.FinishReason // room in meta
}

// decodePlain reads a whole answer and checks that it is one.
func decodePlain(resp *http.Response, s provider.Settings, r *llm.Request) (provider.Answer, error) {
	if isStream(resp) {
		return nil, &provider.Failure{Reason: provider.ReasonGarbage, Message: "answered with a stream where none was asked for"}
	}
	body, err := readAll(resp, s.MaxBody)
	if err != nil {
		return nil, err
	}
	a := &plainAnswer{body: resp.Body}
	a.meta.Finish = a.first[:0]
	if err := wire.ScanAnswer(r.Op, body, &a.event, &a.meta); err != nil {
		return nil, failure(err)
	}
	if r.Op == llm.OpEmbeddings {
		return a, a.fix(r)
	}
	return a, nil
}

// fix brings vectors into the form that the client asked for.
func (a *plainAnswer) fix(r *llm.Request) error {
	fixed, err := wire.FixEmbeddings(a.event.Raw, r.Base64, wire.CountInputs(r))
	if err == nil && len(fixed) != len(a.event.Raw) {
		err = wire.ScanAnswer(r.Op, fixed, &a.event, nil) // everything lies elsewhere now
	}
	if err != nil {
		return failure(err)
	}
	return nil
}

// Next gives the answer as one event.
func (a *plainAnswer) Next() (llm.Event, error) {
	if a.given {
		return llm.Event{}, io.EOF
	}
	a.given = true
	return a.event, nil
}

// Meta is what the provider says of the answer.
func (a *plainAnswer) Meta() *llm.Meta { return &a.meta }

// Close closes the body.
func (a *plainAnswer) Close() error { return a.body.Close() }

// firstRead is how much is read into at first where the answer does not say how long it is, and bound is how much is
// believed of what it says, in bytes.
const (
	firstRead = 4 << 10
	bound     = 1 << 20
)

// readAll reads the body, at most limit bytes of it.
func readAll(resp *http.Response, limit int64) ([]byte, error) {
	if resp.ContentLength > limit {
		return nil, tooLarge(limit)
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
			return nil, tooLarge(limit)
		case err == io.EOF:
			return body, nil
		case err != nil:
			return nil, err
		case len(body) == cap(body):
			body = append(body, 0)[:len(body)]
		}
	}
}

func tooLarge(limit int64) error {
	return &provider.Failure{Reason: provider.ReasonTooLarge, Message: "sent an answer of more than " + size(limit)}
}

// size writes a limit for people.
func size(bytes int64) string {
	if bytes < 1<<20 {
		return fmt.Sprintf("%d KB", bytes>>10)
	}
	return fmt.Sprintf("%d MB", bytes>>20)
}

// isStream reports whether the answer says that it is an event stream.
func isStream(resp *http.Response) bool { return mediaType(resp) == "text/event-stream" }

// mediaType is the answer's content type without parameters.
func mediaType(resp *http.Response) string {
	t, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";")
	return strings.ToLower(strings.TrimSpace(t))
}

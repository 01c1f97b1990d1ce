package drill

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/penstock/penstock/internal/usage"
	"github.com/penstock/penstock/internal/wire/sse"
)

// A call is one call of the load, and what its client saw.
type call struct {
	number int
	due    time.Duration // from the start of the load
	stream bool

	// kind is "" if the client has a whole answer, else what it saw, in few words that many calls share.
	kind, example string
	first, took   time.Duration // from when it was due; first is 0 if nothing came
	record        *usage.Record // what Penstock wrote of it, nil if nothing
}

// id is what the call says of itself, and its record repeats.
func (c *call) id() string { return "drill-" + strconv.Itoa(c.number) }

// What clients see besides a status and a code.
const (
	kindUnanswered = "no answer"
	kindBroken     = "broken answer"
	kindConnection = "connection"
)

// A caller sends calls the way that applications do.
type caller struct {
	base, key, model string
	embed            bool
	http             *http.Client
}

func newCaller(base, key, model string, embed bool) *caller {
	t := http.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert // the default transport is one
	t.Proxy, t.MaxIdleConns, t.MaxIdleConnsPerHost = nil, 512, 512
	return &caller{base: base, key: key, model: model, embed: embed, http: &http.Client{Transport: t}}
}

// prompt is what each call asks, about 50 tokens.
const prompt = "A customer writes that the parcel of last week has not come, and asks where it is and what to do next. " +
	"Answer in three friendly sentences, and say when the parcel is to be expected at the latest."

// send makes the call, which began at begun by the clock, and notes what came of it.
func (c *caller) send(ctx context.Context, begun time.Time, one *call) {
	due := begun.Add(one.due)
	path, body := "/v1/chat/completions", map[string]any{
		"model": c.model, "messages": []map[string]string{{"role": "user", "content": prompt}}, "stream": one.stream,
	}
	if c.embed {
		path, body = "/v1/embeddings", map[string]any{"model": c.model, "input": prompt}
	}
	err := c.post(ctx, path, body, one, func() { one.first = time.Since(due) })
	one.took = time.Since(due)
	if seen, ok := errors.AsType[*seen](err); ok {
		one.kind, one.example = seen.kind, seen.example
	} else if err != nil {
		one.kind, one.example = kindConnection, err.Error()
	}
	if ctx.Err() != nil && one.kind != "" {
		one.kind, one.example = kindUnanswered, "nothing had come when the drill gave up waiting"
	}
}

// A seen is an error that a client sees.
type seen struct{ kind, example string }

func (s *seen) Error() string { return s.kind + ": " + s.example }

func (c *caller) post(ctx context.Context, path string, body any, one *call, first func()) error {
	b, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+path, bytes.NewReader(b))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+c.key)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Request-Id", one.id())
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK && one.stream {
		return readStream(resp.Body, first)
	}
	b, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return &seen{kindBroken, err.Error()}
	}
	if resp.StatusCode != http.StatusOK {
		code, message := errorIn(b)
		return &seen{fmt.Sprintf("%d %s", resp.StatusCode, code), message}
	}
	first()
	return checkPlain(b, c.embed)
}

// maxAnswer is more than an answer of a twin has.
const maxAnswer = 16 << 20

type wireError struct {
	Code    string `json:"code"`
	Type    string `json:"type"`
	Message string `json:"message"`
}

func (e *wireError) name() string {
	if e.Code != "" {
		return e.Code
	}
	return e.Type
}

// errorIn is what the body of an error says.
func errorIn(b []byte) (code, message string) {
	var body struct {
		Error wireError `json:"error"`
	}
	if json.Unmarshal(b, &body) != nil || body.Error.Message == "" {
		return "without an error in the body", ""
	}
	return body.Error.name(), body.Error.Message
}

func checkPlain(b []byte, embed bool) error {
	var answer struct {
		Choices []struct {
			Message struct {
				Content string `json:"content"`
			} `json:"message"`
		} `json:"choices"`
		Data []any `json:"data"`
	}
	switch err := json.Unmarshal(b, &answer); {
	case err != nil:
		return &seen{kindBroken, err.Error()}
	case embed && len(answer.Data) == 0, !embed && (len(answer.Choices) == 0 || answer.Choices[0].Message.Content == ""):
		return &seen{kindBroken, "the answer is empty"}
	}
	return nil
}

// readStream reads a stream to its end, and calls first at its first text.
func readStream(r io.Reader, first func()) error {
	events := sse.NewScanner(r, maxAnswer)
	defer events.Close()
	begun := false
	for {
		ev, err := events.Next()
		if err != nil {
			return &seen{kindBroken, "the stream broke off: " + err.Error()}
		}
		if string(bytes.TrimSpace(ev.Data)) == "[DONE]" {
			if !begun {
				return &seen{kindBroken, "the stream has no text"}
			}
			return nil
		}
		var chunk struct {
			Choices []struct {
				Delta struct {
					Content string `json:"content"`
				} `json:"delta"`
			} `json:"choices"`
			Error *wireError `json:"error"`
		}
		if err := json.Unmarshal(ev.Data, &chunk); err != nil {
			return &seen{kindBroken, "an event is not understood: " + err.Error()}
		}
		if chunk.Error != nil {
			where := "in the stream, before its text"
			if begun {
				where = "in the stream, after text"
			}
			return &seen{chunk.Error.name() + " " + where, chunk.Error.Message}
		}
		if !begun && len(chunk.Choices) > 0 && chunk.Choices[0].Delta.Content != "" {
			begun = true
			first()
		}
	}
}

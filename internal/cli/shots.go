package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
)

// A shot is one call of a load, and what is expected of its answer.
type shot struct {
	key    string
	model  string
	stream bool
	embed  bool
	body   []byte
	expect string // the whole text of the answer, "" if anything that is whole will do
}

// A hit is what became of a shot.
type hit struct {
	shot   *shot
	took   time.Duration // from when it was due, so that waiting behind others counts
	first  time.Duration // to the first content, 0 if there was none
	tries  string
	id     string
	target string
	err    error
}

// A gunner sends shots to one data plane.
type gunner struct {
	base string
	http *http.Client
}

func newGunner(base string, connections int) *gunner {
	t := http.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert // the default transport is one
	t.Proxy, t.MaxIdleConns, t.MaxIdleConnsPerHost, t.DisableCompression = nil, connections, connections, true
	return &gunner{base: strings.TrimSuffix(base, "/v1"), http: &http.Client{Transport: t}}
}

func (g *gunner) close() { g.http.CloseIdleConnections() }

// chatShot makes a shot whose prompt is text. maxTokens 0 leaves the length to the model.
func chatShot(key, model, text string, stream bool, maxTokens int) *shot {
	body, _ := json.Marshal(chatBody{ // strings and numbers always encode
		Model: model, Messages: []chatMessage{{"system", "You are brief."}, {"user", text}}, Stream: stream, MaxTokens: maxTokens,
	})
	return &shot{key: key, model: model, stream: stream, body: body}
}

func embedShot(key, model, text string) *shot {
	body, _ := json.Marshal(map[string]string{"model": model, "input": text}) // strings always encode
	return &shot{key: key, model: model, embed: true, body: body}
}

// fire sends a shot and checks its answer: status, form, the end of the stream, and the text if it is known.
func (g *gunner) fire(ctx context.Context, s *shot, due time.Time) hit {
	h := hit{shot: s}
	path := "/v1/chat/completions"
	if s.embed {
		path = "/v1/embeddings"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, g.base+path, bytes.NewReader(s.body))
	if err != nil {
		h.err = err
		return h
	}
	req.Header.Set("Authorization", "Bearer "+s.key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := g.http.Do(req)
	if err != nil {
		h.err, h.took = err, time.Since(due)
		return h
	}
	defer resp.Body.Close()
	h.tries, h.id, h.target = resp.Header.Get("X-Penstock-Tries"), resp.Header.Get("X-Request-Id"), resp.Header.Get("X-Penstock-Target")
	h.err = g.check(resp, s, func() { h.first = time.Since(due) })
	h.took = time.Since(due)
	return h
}

func (g *gunner) check(resp *http.Response, s *shot, first func()) error {
	if resp.StatusCode != http.StatusOK {
		b, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20)) // what came is shown
		return fmt.Errorf("%d: %s", resp.StatusCode, errorText(b, resp.StatusCode))
	}
	if s.stream {
		return checkStream(resp.Body, s.expect, first)
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("the answer broke off: %w", err)
	}
	first()
	return checkPlain(b, s)
}

func checkPlain(b []byte, s *shot) error {
	var answer struct {
		Model   string `json:"model"`
		Choices []struct {
			Message struct {
				Content string `json:"content"`
			} `json:"message"`
		} `json:"choices"`
		Data []struct {
			Embedding any `json:"embedding"`
		} `json:"data"`
	}
	if err := json.Unmarshal(b, &answer); err != nil {
		return fmt.Errorf("the answer is not understood: %w", err)
	}
	switch {
	case answer.Model != s.model:
		return fmt.Errorf("the answer names the model %q, asked was %q", answer.Model, s.model)
	case s.embed && len(answer.Data) == 0, !s.embed && (len(answer.Choices) == 0 || answer.Choices[0].Message.Content == ""):
		return errors.New("the answer is empty")
	case s.expect != "" && answer.Choices[0].Message.Content != s.expect:
		return errors.New("the answer's text is not the expected one")
	}
	return nil
}

func checkStream(r io.Reader, expect string, first func()) error {
	var text strings.Builder
	err := readStream(r, func(piece string) error {
		if piece != "" && text.Len() == 0 {
			first()
		}
		text.WriteString(piece)
		return nil
	})
	if err == nil && (text.Len() == 0 || (expect != "" && text.String() != expect)) {
		err = errors.New("the stream's text is not the expected one")
	}
	return err
}

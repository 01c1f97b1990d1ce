package provider

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/secret"
	"github.com/penstock/penstock/internal/wire/sse"
)

// A wordCodec is a dialect without JSON, for tests of what is around a codec. A plain answer is its content. An event of
// a stream is a word: "role" has no content, "end" is the end, all else is content.
type wordCodec struct {
	elsewhere string // if set, the host that requests are written to
}

func (c wordCodec) Encode(ctx context.Context, s Settings, _ llm.Target, r *llm.Request) (*http.Request, error) {
	u := s.BaseURL.JoinPath("words")
	if c.elsewhere != "" {
		u.Host = c.elsewhere
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(r.Raw))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "text/words")
	return req, nil
}

func (wordCodec) Authorize(h http.Header, credential secret.String) {
	h.Set("Authorization", "Bearer "+credential.Reveal())
}

func (wordCodec) Decode(resp *http.Response, s Settings, _ llm.Target, r *llm.Request) (Answer, error) {
	if r.Stream {
		return &words{body: resp.Body, events: sse.NewScanner(resp.Body, int(s.MaxEvent))}, nil
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, s.MaxBody+1))
	switch {
	case err != nil:
		return nil, err
	case int64(len(b)) > s.MaxBody:
		return nil, &Failure{Reason: ReasonTooLarge, Message: "sent too much"}
	case len(b) == 0:
		return nil, &Failure{Reason: ReasonEmpty, Message: "sent nothing"}
	}
	return &words{body: resp.Body, plain: b}, nil
}

func (wordCodec) Models(ctx context.Context, s Settings) *http.Request {
	return Get(ctx, s, "/words", http.Header{})
}

func (wordCodec) DecodeError(resp *http.Response, _ Settings) error {
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	return &Failure{
		Reason: ReasonStatus, Status: resp.StatusCode, Message: "answered " + resp.Status + ": " + string(b),
		Code: string(b), Param: string(b), Body: b, Err: errors.Join(errors.New(string(b)), err),
	}
}

type words struct {
	body   io.Closer
	plain  []byte
	events *sse.Scanner
	ended  bool
	meta   llm.Meta
}

func (w *words) Next() (llm.Event, error) {
	switch {
	case w.ended:
		return llm.Event{}, io.EOF
	case w.events == nil:
		w.ended = true
		return llm.Event{Has: llm.Content | llm.Finish | llm.End, Raw: w.plain}, nil
	}
	e, err := w.events.Next()
	switch {
	case err == io.EOF:
		return llm.Event{}, &Failure{Reason: ReasonCut, Message: "ended its answer before its end"}
	case err != nil:
		return llm.Event{}, err
	}
	out := llm.Event{Raw: e.Data, More: w.events.Buffered()}
	switch string(e.Data) {
	case "role":
	case "end":
		out.Has = llm.End
		w.ended = true
	default:
		out.Has = llm.Content
	}
	return out, nil
}

func (w *words) Meta() *llm.Meta { return &w.meta }

func (w *words) Close() error {
	if w.events != nil {
		w.events.Close()
	}
	return w.body.Close()
}

// The heads of answers, and an event.
const (
	streamHead = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nX-Request-Id: up-1\r\nTransfer-Encoding: chunked\r\n\r\n"
	lastChunk  = "0\r\n\r\n"
)

// word frames words as events of a stream in one chunk.
func word(words ...string) string {
	var b strings.Builder
	for _, w := range words {
		b.WriteString("data: " + w + "\n\n")
	}
	return chunk(b.String())
}

func chunk(s string) string {
	const hex = "0123456789abcdef"
	n := len(s)
	size := ""
	for n > 0 {
		size, n = string(hex[n%16])+size, n/16
	}
	return size + "\r\n" + s + "\r\n"
}

// newTestClient makes a client for the words of one upstream.
func newTestClient(t testing.TB, cfg Config, o Options) *Client {
	t.Helper()
	if o.Codec == nil {
		o.Codec = wordCodec{}
	}
	c, err := New("house", cfg, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

var house = llm.Target{Provider: "house", Model: "m"}

func stream() *llm.Request { return &llm.Request{Stream: true, Raw: []byte("ask")} }
func plain() *llm.Request  { return &llm.Request{Raw: []byte("ask")} }

// walk reads an answer whole: its words, and the failure at its end.
func walk(resp *llm.Response) (words []string, failure *Failure) {
	for e, err := range resp.Events {
		if err != nil {
			failure, _ = errors.AsType[*Failure](err)
			return words, failure
		}
		words = append(words, string(e.Raw))
	}
	return words, nil
}

// call makes a call and walks its answer.
func callAndWalk(ctx context.Context, c *Client, r *llm.Request) (words []string, failure *Failure) {
	resp, err := c.Do(ctx, Via{}, house, r)
	if err != nil {
		failure, _ = errors.AsType[*Failure](err)
		return nil, failure
	}
	return walk(resp)
}

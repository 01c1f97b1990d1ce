package openai

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/provider"
	wire "github.com/penstock/penstock/internal/wire/openai"
)

// foreign is a chat that came in another dialect.
func foreign(stream bool) *llm.Request {
	return &llm.Request{
		Dialect: llm.Anthropic, Op: llm.OpChat, Model: "m", Stream: stream, Choices: 1, Raw: []byte("{}"),
		DecodeChat: func([]byte) (*llm.Chat, error) {
			return &llm.Chat{Dialect: llm.Anthropic, Stream: stream, Messages: []llm.Message{
				{Role: llm.RoleUser, Parts: []llm.Part{{Kind: llm.PartText, Text: "hi"}}},
			}}, nil
		},
	}
}

// Traps 16 and 23: callers of other dialects are told what was said and what it cost, wherever the server says it; a stream the
// same as a plain answer.
func TestTrap16AnswersToOtherDialects(t *testing.T) {
	t.Parallel()
	const usage = `"usage":{"prompt_tokens":7,"completion_tokens":3}`
	for name, c := range map[string]struct {
		stream bool
		body   string
	}{
		"plain":           {false, `{"id":"a","choices":[{"index":0,"message":{"role":"assistant","content":"Hello"},"finish_reason":"stop"}],` + usage + `}`},
		"usage last":      {true, chunkOf("Hel") + chunkOf("lo") + finish + `data: {"choices":[],` + usage + "}\n\n" + done},
		"usage first":     {true, `data: {"choices":[],` + usage + "}\n\n" + chunkOf("Hel") + chunkOf("lo") + finish + done},
		"without the end": {true, chunkOf("Hello") + finish + `data: {"choices":[],` + usage + "}\n\n"},
	} {
		kind := "application/json"
		if c.stream {
			kind = "text/event-stream"
		}
		resp := &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {kind}}, Body: io.NopCloser(strings.NewReader(c.body)), ContentLength: -1}
		a, err := New().Decode(resp, provider.Settings{MaxBody: 1 << 20, MaxEvent: 1 << 16}, target, foreign(c.stream))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		text, finished, counted := "", llm.FinishReason(""), llm.Usage{}
		for {
			e, err := a.Next()
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if e.Is(llm.Hidden) {
				t.Errorf("%s: an event is hidden", name)
			}
			if e.Is(llm.UsageIn) {
				counted = e.Usage
			}
			for _, d := range e.Deltas {
				text += d.Text
				if d.Finish != "" {
					finished = d.Finish
				}
			}
			if e.Is(llm.End) {
				break
			}
		}
		if text != "Hello" || finished != llm.FinishStop || counted.Input != 7 || counted.Output != 3 {
			t.Errorf("%s: %q, %q, %+v", name, text, finished, counted)
		}
		_ = a.Close()
	}
}

func TestEncodeOfOtherDialects(t *testing.T) {
	t.Parallel()
	r := foreign(true)
	s := provider.Settings{BaseURL: &url.URL{Scheme: "http", Host: "up.test", Path: "/v1"}, StreamUsage: true, Takes: llm.TakesCompletionCap}
	req, err := New().Encode(t.Context(), s, target, r)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := wire.ParseChat(body); err != nil || !strings.Contains(string(body), `"include_usage":true`) || !strings.Contains(string(body), target.Model) {
		t.Errorf("%v: %s", err, body)
	}
}

package bedrock

import (
	"bytes"
	"io"
	"net/http"
	"testing"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/wire/eventstream"
	"github.com/penstock/penstock/internal/wire/openai"
)

// fifty is a stream of fifty pieces of text.
func fifty() []byte {
	w := &written{}
	w.event("messageStart", object{"role": "assistant"})
	for range 50 {
		w.delta(0, object{"text": " word"})
	}
	w.event("contentBlockStop", object{"contentBlockIndex": 0})
	w.event("messageStop", object{"stopReason": "end_turn"})
	w.event("metadata", object{"usage": object{"inputTokens": 10, "outputTokens": 50, "totalTokens": 60}})
	return w.frames
}

func BenchmarkStream50(b *testing.B) {
	frames := fifty()
	req, err := openai.ParseChat([]byte(`{"model":"m","messages":[{"role":"user","content":"Hi"}],"stream":true}`))
	if err != nil {
		b.Fatal(err)
	}
	resp := &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {eventstream.MediaType}}}
	b.ReportAllocs()
	for b.Loop() {
		resp.Body = io.NopCloser(bytes.NewReader(frames))
		in, err := New().Decode(resp, settings, llm.Target{Model: "m"}, req)
		if err != nil {
			b.Fatal(err)
		}
		for {
			e, err := in.Next()
			if err != nil {
				b.Fatal(err)
			}
			if e.Is(llm.End) {
				break
			}
		}
	}
}

package bodies

import (
	"fmt"
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/llm"
)

// BenchmarkKeep is what keeping bodies adds to an exchange, up to the journal: of a plain answer, and of a stream of tokens.
func BenchmarkKeep(b *testing.B) {
	message := strings.Repeat(`The quick brown fox says \"hello\" to the lazy dog, who does not answer. `, 14)
	request := fmt.Sprintf(`{"model":"bench","messages":[{"role":"user","content":"%s"}],"temperature":0.2,"stream":true}`, message)
	var events []llm.Event
	for i := range 50 {
		events = append(events, data(fmt.Sprintf(`{"id":"chatcmpl-9tX2","object":"chat.completion.chunk","created":1712345678,`+
			`"model":"bench-model","choices":[{"index":0,"delta":{"content":" word%d"},"logprobs":null,"finish_reason":null}]}`, i), llm.Content))
	}
	events = append(events, data("[DONE]", llm.End))
	plain := []llm.Event{data(`{"id":"chatcmpl-9tX2","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"`+
		strings.Repeat("another word ", 20)+`"},"finish_reason":"stop"}],"usage":{"prompt_tokens":200,"completion_tokens":50}}`, llm.Content|llm.End)}
	for name, h := range map[string]struct {
		stream bool
		events []llm.Event
	}{"plain": {false, plain}, "stream": {true, events}} {
		b.Run(name, func(b *testing.B) {
			bench := newBench(b, DefaultConfig(), journal.Options{MaxBytes: 1 << 40})
			stage := bench.Stage()(answering(h.stream, nil, h.events...))
			b.ReportAllocs()
			for b.Loop() {
				x := exchange("ex_1", request)
				resp, err := stage(b.Context(), x)
				if err != nil {
					b.Fatal(err)
				}
				for range resp.Events {
				}
			}
			b.ReportMetric(float64(bench.o.Journal.End()-bench.o.Journal.Begin())/float64(b.N), "B-journalled/op")
		})
	}
}

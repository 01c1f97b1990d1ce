package gateway

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
)

// nowhere is a client that takes everything.
type nowhere struct{ tape }

func (n *nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (n *nowhere) FlushError() error           { return nil }

// exchanger makes a function that serves the same call over and over: what remains is the gateway's own part.
func exchanger(tb testing.TB, body string, h pipeline.Handler) func() {
	w := setup(tb, func(ctx context.Context, x *pipeline.Exchange) (*llm.Response, error) { return h(ctx, x) })
	rt := *w.runtime.Load()
	rt.Handler = h
	w.Swap(&rt)
	r := httptest.NewRequest(http.MethodPost, "/v1/chat/completions", nil)
	r.URL.Host, r.URL.Scheme = "", ""
	r.Header["Authorization"] = []string{"Bearer " + good}
	r.ContentLength = int64(len(body))
	src := strings.NewReader(body)
	r.Body = io.NopCloser(src)
	out := &nowhere{tape{header: http.Header{}}}
	return func() {
		src.Reset(body)
		clear(out.header)
		w.ServeHTTP(out, r)
	}
}

// sizes are bodies of about 1 KB and 10 KB.
var sizes = map[string]string{
	"1KB":  strings.Replace(chat, "hello", strings.Repeat("some words of a prompt, ", 40), 1),
	"10KB": strings.Replace(chat, "hello", strings.Repeat("some words of a prompt, ", 420), 1),
}

func BenchmarkPlain(b *testing.B) {
	answered := events(false, llm.Event{Has: llm.Content | llm.End, Raw: []byte(`{"model":"m-2026","choices":[]}`), ModelAt: llm.Span{Start: 9, End: 17}})
	for name, body := range sizes {
		b.Run(name, func(b *testing.B) {
			run := exchanger(b, body, func(context.Context, *pipeline.Exchange) (*llm.Response, error) { return answered, nil })
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				run()
			}
		})
	}
}

// fifty is a stream of 50 events.
func fifty() *llm.Response {
	ev := llm.Event{Has: llm.Content, Dialect: llm.OpenAI, Raw: []byte(`{"model":"m-2026","choices":[{"delta":{"content":" word"}}]}`), ModelAt: llm.Span{Start: 9, End: 17}}
	return response(true, func(yield func(llm.Event, error) bool) {
		for range 50 {
			if !yield(ev, nil) {
				return
			}
		}
		yield(done, nil)
	})
}

func BenchmarkStream(b *testing.B) {
	answered := fifty()
	run := exchanger(b, chat, func(context.Context, *pipeline.Exchange) (*llm.Response, error) { return answered, nil })
	b.ReportAllocs()
	for b.Loop() {
		run()
	}
}

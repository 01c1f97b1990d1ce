package openai

import (
	"fmt"
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/llm"
)

// chatBody is a chat of about size bytes in messages of 1 KB, with escapes as real prompts have them.
func chatBody(size int) []byte {
	var b strings.Builder
	b.WriteString(`{"model":"gpt-5-mini","messages":[{"role":"system","content":"You are a \"helpful\" assistant.\nAnswer briefly."}`)
	const sentence = `Is the quick brown fox, at 10:30,\nover the lazy dog? \"Yes.\" `
	for i := 0; b.Len() < size-200; i++ {
		n := min(15, (size-100-b.Len())/len(sentence))
		fmt.Fprintf(&b, `,{"role":%q,"content":"%s"}`, []string{"user", "assistant"}[i%2], strings.Repeat(sentence, max(n, 1)))
	}
	b.WriteString(`],"temperature":0.7,"max_tokens":256,"stream":true,"user":"customer-17"}`)
	return []byte(b.String())
}

// usualChunk is an event of about 200 bytes.
const usualChunk = `{"id":"chatcmpl-123","object":"chat.completion.chunk","created":1694268190,"model":"gpt-4o-mini","system_fingerprint":"fp_44709d6fcb","choices":[{"index":0,"delta":{"content":" Hello"},"logprobs":null,"finish_reason":null}]}`

const usualAnswer = `{"id":"chatcmpl-123","object":"chat.completion","created":1694268190,"model":"gpt-4o-mini","choices":[{"index":0,"message":{"role":"assistant","content":"Hello there, how may I assist you today? I can answer questions, or write something for you.","refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":19,"completion_tokens":20,"total_tokens":39,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}},"service_tier":"default"}`

func benchmarkParse(b *testing.B, body []byte) {
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseChat(body); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseChat1K(b *testing.B)  { benchmarkParse(b, chatBody(1<<10)) }
func BenchmarkParseChat10K(b *testing.B) { benchmarkParse(b, chatBody(10<<10)) }

func BenchmarkAppendRequest(b *testing.B) {
	r, err := ParseChat(chatBody(1 << 10))
	if err != nil {
		b.Fatal(err)
	}
	dst := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		dst = AppendRequest(dst[:0], r, "gpt-5-mini-2026", true, false)
	}
}

func BenchmarkScanChunk(b *testing.B) {
	data, text := []byte(usualChunk), make([]byte, 0, 64)
	var ev llm.Event
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if err := ScanChunk(data, &ev, text, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkScanAnswer(b *testing.B) {
	body := []byte(usualAnswer)
	var ev llm.Event
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if err := ScanAnswer(llm.OpChat, body, &ev, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendChunk(b *testing.B) {
	var ev llm.Event
	if err := ScanChunk([]byte(usualChunk), &ev, nil, nil); err != nil {
		b.Fatal(err)
	}
	dst := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		dst = AppendChunk(dst[:0], &ev, "support")
	}
}

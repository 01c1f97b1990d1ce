package openai

import (
	"testing"

	"github.com/penstock/penstock/internal/llm"
)

// decoded is a chat of about size bytes in its canonical form.
func decoded(tb testing.TB, size int) *llm.Chat {
	tb.Helper()
	c, err := DecodeChat(chatBody(size))
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// grown is an event of another dialect by which the text of an answer grows.
func grown() *llm.Event {
	return &llm.Event{Dialect: llm.Anthropic, Has: llm.Content, Deltas: []llm.Delta{{Text: " Hello"}}}
}

// begun is a translator that stands within the text of an answer.
func begun() *Translator {
	t := &Translator{ID: "chatcmpl-01JABCDEFGHJKMNPQRSTVWXYZ0", Created: 1764000000, Model: "support", Usage: true}
	_, _ = t.AppendEvent(nil, &llm.Event{Deltas: []llm.Delta{{Open: &llm.Part{Kind: llm.PartText}}}})
	return t
}

// answered is a plain answer of another dialect.
func answered() *llm.Event {
	return &llm.Event{
		Dialect: llm.Anthropic, Has: llm.Content | llm.Finish | llm.UsageIn | llm.End, Usage: llm.Usage{Input: 19, Output: 20},
		Deltas: []llm.Delta{
			{Open: &llm.Part{Kind: llm.PartText}, Text: "Hello there, how may I assist you today? I can answer questions, or write.", Close: true},
			{Finish: llm.FinishStop},
		},
	}
}

func BenchmarkEncodeChat10K(b *testing.B) {
	c := decoded(b, 10<<10)
	c.Dialect = llm.Anthropic
	b.ReportAllocs()
	for b.Loop() {
		if _, err := EncodeChat(c); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkTranslateEvent(b *testing.B) {
	t, ev, dst := begun(), grown(), make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		dst, _ = t.AppendEvent(dst[:0], ev)
	}
}

func BenchmarkTranslateAnswer(b *testing.B) {
	ev, dst := answered(), make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		t := Translator{ID: "chatcmpl-1", Created: 1764000000, Model: "support"}
		dst, _ = t.AppendAnswer(dst[:0], ev)
	}
}

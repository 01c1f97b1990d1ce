package openai

import (
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/llm"
)

// longChat is a chat of another dialect with 10 KB of text in twenty turns.
func longChat() *llm.Chat {
	c := &llm.Chat{Dialect: llm.Anthropic, Stream: true}
	line := strings.Repeat("The quick brown fox jumps over the lazy dog. ", 11)
	for range 10 {
		c.Messages = append(c.Messages, said(llm.RoleUser, text(line)), said(llm.RoleAssistant, text(line)))
	}
	c.Messages = append(c.Messages, said(llm.RoleUser, text("So?")))
	return c
}

func BenchmarkTranslateChat10KB(b *testing.B) {
	c := longChat()
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := TranslateChat(c, Server{Model: "m"}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDeltas50Events(b *testing.B) {
	chunk := []byte(usualChunk)
	b.ReportAllocs()
	for b.Loop() {
		d := Deltas{}
		for range 50 {
			if _, err := d.Chunk(chunk); err != nil {
				b.Fatal(err)
			}
		}
		d.End()
	}
}

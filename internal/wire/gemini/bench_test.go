package gemini

import (
	"fmt"
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/llm"
)

// talk is a chat of ten messages, 10 KB in all, in its canonical form, as a client of another dialect sent it.
func talk() *llm.Chat {
	limit, warmth := int64(200), 0.2
	c := &llm.Chat{Dialect: llm.OpenAI, Model: "support", MaxOutput: &limit, Sampling: llm.Sampling{Temperature: &warmth}}
	say := func(role llm.Role, text string) {
		c.Messages = append(c.Messages, llm.Message{Role: role, Plain: true, Parts: []llm.Part{{Kind: llm.PartText, Text: text}}})
	}
	say(llm.RoleSystem, "You are a \"helpful\" assistant.\nAnswer briefly.")
	for i := range 9 {
		text := strings.Repeat("Is the quick brown fox, at 10:30,\nover the lazy dog? \"Yes.\" ", 18)
		say([]llm.Role{llm.RoleUser, llm.RoleAssistant}[i%2], fmt.Sprint(text, i))
	}
	return c
}

const usualFrame = `{"candidates":[{"content":{"parts":[{"text":" Hello"}],"role":"model"},"index":0}],"usageMetadata":{"promptTokenCount":250,"totalTokenCount":250},"modelVersion":"gemini-3-flash","responseId":"r1"}`

const usualAnswer = `{"candidates":[{"content":{"parts":[{"text":"Hello there, how may I assist you today?"}],"role":"model"},"finishReason":"STOP","index":0}],` +
	`"usageMetadata":{"promptTokenCount":250,"candidatesTokenCount":50,"totalTokenCount":300},"modelVersion":"gemini-3-flash","responseId":"r1"}`

func BenchmarkEncodeChat10K(b *testing.B) {
	c := talk()
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := EncodeChat(c, llm.Traits{}, Options{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkFrame(b *testing.B) {
	var meta llm.Meta
	var ev llm.Event
	s, data, text := Stream{Meta: &meta}, []byte(usualFrame), make([]byte, 0, 64)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Frame(data, &ev, text); err != nil {
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
		if err := ScanAnswer(body, &ev, nil); err != nil {
			b.Fatal(err)
		}
	}
}

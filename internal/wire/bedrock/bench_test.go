package bedrock

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

const usualPiece = `{"contentBlockIndex":0,"delta":{"text":" Hello"},"p":"abcdefghijkl"}`

const usualAnswer = `{"metrics":{"latencyMs":5},"output":{"message":{"content":[{"text":"Hello there, how may I assist you today?"}],"role":"assistant"}},` +
	`"stopReason":"end_turn","usage":{"inputTokens":250,"outputTokens":50,"totalTokens":300}}`

func BenchmarkEncodeChat10K(b *testing.B) {
	c := talk()
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := EncodeChat(c, llm.Traits{}, false); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkScan(b *testing.B) {
	s, data, text := Stream{Reading: Reading{Canonical: true}}, []byte(usualPiece), make([]byte, 0, 64)
	var ev llm.Event
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Scan(eventBlockDelta, data, &ev, text); err != nil {
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
		if err := ScanAnswer(body, &ev, Reading{Canonical: true}); err != nil {
			b.Fatal(err)
		}
	}
}

package anthropic

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

// client is the same as clients of this dialect write it.
func client() []byte {
	var b strings.Builder
	b.WriteString(`{"model":"support","max_tokens":200,"temperature":0.2,"system":"Answer briefly.","messages":[`)
	for i := range 9 {
		text := strings.Repeat(`Is the quick brown fox, at 10:30,\nover the lazy dog? \"Yes.\" `, 18)
		fmt.Fprintf(&b, `{"role":%q,"content":"%s%d"},`, []string{"user", "assistant"}[i%2], text, i)
	}
	return []byte(strings.TrimSuffix(b.String(), ",") + "]}")
}

const usualAnswer = `{"id":"msg_01","type":"message","role":"assistant","model":"claude-sonnet-5","content":[{"type":"text","text":"Hello there, how may I assist you today?"}],` +
	`"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":19,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":20,"service_tier":"standard"}}`

const usualPiece = `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" Hello"}}`

// reading is a stream that stands within a block of text.
func reading(tb testing.TB, r Reading) *Stream {
	tb.Helper()
	s := &Stream{Reading: r}
	var ev llm.Event
	for _, data := range []string{
		`{"type":"message_start","message":{"id":"msg_01","type":"message","role":"assistant","model":"m","content":[],"usage":{"input_tokens":9,"output_tokens":1}}}`,
		`{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`,
	} {
		if err := s.Scan([]byte(data), &ev, nil); err != nil {
			tb.Fatal(err)
		}
	}
	return s
}

// grown is an event of another dialect by which the text of an answer grows.
func grown() *llm.Event {
	return &llm.Event{Dialect: llm.OpenAI, Has: llm.Content, Deltas: []llm.Delta{{Text: " Hello"}}}
}

// writing is a translator that stands within the text of an answer.
func writing(tb testing.TB) *Translator {
	tb.Helper()
	t := &Translator{ID: "msg_01", Model: "support"}
	if _, err := t.AppendEvent(nil, &llm.Event{Deltas: []llm.Delta{{Open: &llm.Part{Kind: llm.PartText}}}}); err != nil {
		tb.Fatal(err)
	}
	return t
}

func BenchmarkDecodeChat10K(b *testing.B) {
	body := client()
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeChat(body); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncodeChat10K(b *testing.B) {
	c := talk()
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := EncodeChat(c, "claude-sonnet-5", llm.Traits{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkScan(b *testing.B) {
	s, data, text := reading(b, Reading{Canonical: true}), []byte(usualPiece), make([]byte, 0, 64)
	var ev llm.Event
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Scan(data, &ev, text); err != nil {
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

func BenchmarkTranslateEvent(b *testing.B) {
	t, ev, dst := writing(b), grown(), make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		dst, _ = t.AppendEvent(dst[:0], ev)
	}
}

//go:build !race

package openai

import (
	"bytes"
	"testing"

	"github.com/penstock/penstock/internal/llm"
)

// TestAllocations guards what is paid for every request and every event. The race detector empties pools at random, so it
// holds without it only.
func TestAllocations(t *testing.T) {
	body := chatBody(10 << 10)
	r, err := ParseChat(body)
	if err != nil {
		t.Fatal(err)
	}
	var ev, answer llm.Event
	var meta llm.Meta
	known := llm.Meta{ID: "chatcmpl-123", Model: "gpt-4o-mini"}
	chunk, plain := []byte(usualChunk), []byte(usualAnswer)
	c, w, grows, whole := decoded(t, 10<<10), begun(), grown(), answered()
	text, dst := make([]byte, 0, 64), make([]byte, 0, 16<<10)
	var told Deltas
	for _, g := range []struct {
		name string
		most float64
		f    func() error
	}{
		{"ParseChat", 6, func() error { _, err := ParseChat(body); return err }},
		{"ScanChunk", 0, func() error { return ScanChunk(chunk, &ev, text, nil) }},
		{"ScanChunk, the meta known", 0, func() error { return ScanChunk(chunk, &ev, text, &known) }},
		{"ScanAnswer, a meta with room", 1, func() error {
			meta = llm.Meta{Finish: meta.Finish[:0]}
			return ScanAnswer(llm.OpChat, plain, &answer, &meta)
		}},
		{"ScanAnswer", 0, func() error { return ScanAnswer(llm.OpChat, plain, &answer, nil) }},
		{"AppendChunk", 0, func() error { dst = AppendChunk(dst[:0], &ev, "support"); return nil }},
		{"AppendAnswer", 0, func() error { dst = AppendAnswer(dst[:0], &answer, "support"); return nil }},
		{"Deltas, of a chunk", 5, func() error { _, err := told.Chunk(chunk); return err }},
		{"DecodeChat, ten messages", 93, func() error { _, err := DecodeChat(body); return err }},
		{"EncodeChat, ten messages", 1, func() error { _, err := EncodeChat(c); return err }},
		{"Translator.AppendEvent", 0, func() (err error) { dst, err = w.AppendEvent(dst[:0], grows); return err }},
		{"Translator.AppendAnswer", 4, func() (err error) {
			dst, err = (&Translator{ID: "chatcmpl-1", Model: "support"}).AppendAnswer(dst[:0], whole)
			return err
		}},
		{"AppendRequest", 3, func() error { dst = AppendRequest(dst[:0], r, "gpt-5-mini-2026", true, false); return nil }},
	} {
		got := testing.AllocsPerRun(200, func() {
			if err := g.f(); err != nil {
				t.Fatal(err)
			}
		})
		if got > g.most {
			t.Errorf("%s: %v allocations, at most %v", g.name, got, g.most)
		}
	}
	if !bytes.Contains(dst, []byte("quick brown fox")) {
		t.Error("AppendRequest lost the text")
	}
}
